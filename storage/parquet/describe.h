/*
 * What columns a file has, as types of ours: for files whose shape nobody told.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/columns/schema.h"
#include "storage/parquet/reader.h"

#include <stddef.h>

/* One top-level column. Texts live in the arena, or forever. */
struct parquet_column {
    const char *name;
    const char *refused; /* why no frame can hold it; NULL: it has a type */
    enum column_type type;
    int precision; /* decimal */
    int scale;     /* decimal */
};

/*
 * The top-level columns in the order of the file. A type is one that the reader reads
 * the column into without loss.
 *
 * Errors:  ERR_TOO_LARGE the arena.
 */
enum err_code parquet_reader_columns(const struct parquet_reader *reader, struct arena *arena,
                                     struct parquet_column **columns_out, size_t *count_out,
                                     struct err *err) MUST_USE;
