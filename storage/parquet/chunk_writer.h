/*
 * Writing one column of one row group: dictionary or PLAIN, pages, compression,
 * bounds and page indexes. The hot path of the writer.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/parquet/file_writer.h"
#include "storage/parquet/statistics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of one chunk; everything borrowed for the call. */
struct chunk_input {
    const struct column *column;
    /* flat: rows of `column`, in order; nulls make the definition levels */
    const int64_t *order; /* NULL: start, start + 1, … */
    int64_t start;
    int64_t count; /* rows; of nested chunks level entries */
    /* nested: levels are given; values_count rows of `column`, all with a value, are those at
       definition_max */
    int64_t values_count;
    const uint8_t *definitions; /* NULL: flat and optional */
    const uint8_t *repetitions; /* NULL when repetition_max is 0 */
    uint8_t definition_max;
    uint8_t repetition_max;
    bool wants_bounds;  /* min and max in the footer and in `statistics` */
    bool wants_indexes; /* flat only: offset index, and column index with bounds */
    bool wants_bloom;   /* a Bloom filter, unless a dictionary tells as much or it does not pay */
};

/*
 * Write the chunk's pages to the file.
 *
 *   leaf        how the column is stored
 *   result      zeroed; filled for the footer
 *   statistics  widened by what was written; NULL = not wanted
 *
 * Errors: of the sink.
 */
enum err_code chunk_write(struct file_writer *file, const struct leaf_type *leaf,
                          const struct chunk_input *input, struct chunk_result *result,
                          struct parquet_column_statistics *statistics, struct err *err) MUST_USE;
