/*
 * An open file, as reader.c and rows.c share it.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/parquet/codec.h"
#include "storage/parquet/column_reader.h"
#include "storage/parquet/metadata.h"
#include "storage/parquet/reader.h"
#include "storage/parquet/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct parquet_reader {
    struct parquet_source source;
    uint8_t *footer_bytes; /* names and bounds borrow from it */
    struct arena arena;    /* footer, tree */
    struct metadata_footer footer;
    struct tree tree;
    int64_t *starts; /* first file row of each row group, and after the last the row count */
    struct codec codec;
    size_t memory_used;          /* of all column readers; see PARQUET_READER_MEMORY_MAX */
    struct column_reader column; /* scratch of flat reads */
    struct batch *batch;         /* the same; NULL until the first read */
    bool legacy_calendar;        /* dates, timestamps in INT64 */
    bool legacy_int96;
};
