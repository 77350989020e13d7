/*
 * Parquet as a library: the public headers of this folder, in the order to read them.
 * Link libsluice_delta.a (make lib).
 *
 *   writer.h      frames become files, with statistics, page index, dictionaries
 *   reader.h      files of anybody become frames, nested columns and all
 *   statistics.h  what both know of a column
 *   nested.h      rows of trees, one by one
 *
 * A frame is rows in columns of one schema: storage/columns/frame.h, schema.h.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/parquet/nested.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/statistics.h"
#include "storage/parquet/writer.h"
