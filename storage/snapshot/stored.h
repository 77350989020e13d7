/*
 * Rows of one data file as frames of the table's schema: Parquet columns by
 * name, partition columns from the log. For scans, rewriting, and rows that have
 * no image.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/delta/log.h"
#include "storage/parquet/statistics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object;
struct object_store;
struct parquet_reader;

/* One open data file; one thread at a time. */
struct stored {
    const struct schema *schema; /* borrowed, like `file` */
    const struct delta_file *file;
    struct object *object;
    struct parquet_reader *reader;
    bool *columns;      /* per field: wanted and in the Parquet file */
    bool *partition;    /* per field: wanted and a partition column */
    int64_t rows_count; /* physical */
    /* set by the owner after opening, else zero: as parquet_read_options */
    int64_t column_bytes_max;
    bool exact;
};

/*
 *   columns  per schema field: wanted? NULL = all; others are null in frames
 * Errors:  ERR_NOT_FOUND, ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO, wrapped with the path.
 */
enum err_code stored_open(struct object_store *store, const struct schema *schema,
                          const struct delta_file *file, const bool *columns,
                          struct stored *stored_out, struct err *err) MUST_USE;
/* Accepts a zeroed struct. */
void stored_close(struct stored *stored);

/* Choose other columns (NULL = all) for the reads that follow. */
void stored_choose(struct stored *stored, const bool *columns);

/* Append rows start … start + count - 1 to `frame` (of stored->schema). */
enum err_code stored_read_range(struct stored *stored, int64_t start, int64_t count,
                                struct frame *frame, struct err *err) MUST_USE;
/* Append chosen rows, strictly ascending. */
enum err_code stored_read_rows(struct stored *stored, const int64_t *rows, int64_t count,
                               struct frame *frame, struct err *err) MUST_USE;

size_t stored_row_groups_count(const struct stored *stored);
int64_t stored_row_group_start(const struct stored *stored, size_t row_group);
int64_t stored_row_group_rows(const struct stored *stored, size_t row_group);
void stored_statistics(const struct stored *stored, size_t row_group, size_t column,
                       struct parquet_column_statistics *statistics_out);

/* Is the field one of the schema's partition columns? */
bool stored_is_partition_column(const struct schema *schema, size_t column);
