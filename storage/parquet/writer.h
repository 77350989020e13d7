/*
 * Writing frames as Parquet files that every engine reads: V1 data pages,
 * dictionary (RLE_DICTIONARY over a PLAIN dictionary page) while it pays, else
 * PLAIN; zstd level 1 where it pays; statistics, column and offset index; Bloom filters of
 * columns that are asked for single values, where they pay.
 *
 * Columns are called by their physical names, with their mapping ids as field_id.
 * Everything but keys of maps is OPTIONAL in the file, whatever the table says: a table
 * may become looser later, and readers take nullability from the table.
 * Types: Delta's mapping (string UTF8, DATE, TIMESTAMP micros adjusted to UTC,
 * decimals in INT32, INT64 or FIXED_LEN_BYTE_ARRAY by precision, INT(8|16)).
 * Nested columns have the three levels of lists and maps, without bounds and page indexes;
 * rows that do not come from frames (Delta checkpoints) are written by nested.h.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/parquet/statistics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PARQUET_WRITE_ROW_GROUP_ROWS_MAX = 1 << 20,
    PARQUET_WRITE_ROW_GROUP_BYTES_MAX = 128 << 20, /* of values, before encoding */
    PARQUET_WRITE_PAGE_ROWS_MAX = 20000,
    PARQUET_WRITE_PAGE_BYTES_MAX = 1 << 20, /* of values; one longer value has its own page */
    PARQUET_WRITE_DICTIONARY_BYTES_MAX = 1 << 20,
    PARQUET_WRITE_INDEX_BYTES_MAX = 64, /* of a string bound in footer and page index */
};

/* Takes the file's bytes in order. After a failure the file is worthless. */
struct parquet_sink {
    enum err_code (*write)(void *self, struct span bytes, struct err *err);
    void *self;
};

/* A sink that appends to `buffer`, which must outlive it; fails as ERR_TOO_LARGE at its ceiling. */
struct parquet_sink parquet_sink_to_buffer(struct buffer *buffer);

/*
 * Scratch memory and compression state, reused from file to file: a small file
 * costs no set-up. One thread and one file at a time.
 */
struct parquet_writer_context;
struct parquet_writer_context *parquet_writer_context_new(void);
void parquet_writer_context_free(struct parquet_writer_context **context);

struct parquet_write_options {
    const int64_t
        *row_order;          /* rows of the frame to write, in this order; NULL = all as they are */
    int64_t row_order_count; /* of row_order; ignored when that is NULL */
    const bool *columns;     /* per schema field: write it? NULL = all (partition columns: false) */
    const bool *statistics;  /* per schema field: min and max in the file and in the result? NULL =
                                all. false (protected values) leaves only null counts. */
    const bool *blooms;      /* per schema field: a Bloom filter a row group, where it pays? NULL =
                                none; of flat fields but booleans */
};

/* What was written; statistics go to Delta's log. Deinit with parquet_written_deinit. */
struct parquet_written {
    int64_t rows_count;
    int64_t file_bytes;
    size_t columns_count; /* = fields of the schema; columns left out have zeroed statistics */
    struct parquet_column_statistics *columns; /* of a struct: nulls_count -1, not counted */
};
void parquet_written_deinit(struct parquet_written *written);

/*
 * Write one file from one frame.
 *
 *   context      NULL = a private one for this call
 *   options      NULL = all rows, all columns
 *   written_out  to the caller: parquet_written_deinit
 *
 * Errors:  what the sink returns; ERR_INVALID a map has a null among its keys.
 * Thread:  reentrant with different contexts.
 */
enum err_code parquet_write_frame(struct parquet_writer_context *context, const struct frame *frame,
                                  const struct parquet_write_options *options,
                                  const struct parquet_sink *sink,
                                  struct parquet_written *written_out, struct err *err) MUST_USE;

/*
 * One file from many frames of one schema (compaction). Rows are gathered into
 * row groups; memory is one row group. Of the options row_order is ignored.
 *
 *   schema   referenced until close
 *   options  borrowed arrays must live until finish or close
 */
struct parquet_writer;
enum err_code parquet_writer_open(struct parquet_writer_context *context,
                                  const struct schema *schema,
                                  const struct parquet_write_options *options,
                                  const struct parquet_sink *sink,
                                  struct parquet_writer **writer_out, struct err *err) MUST_USE;

/*
 * The rows of the row group that is being gathered, for the caller to append whole rows to;
 * parquet_writer_gathered writes them when they are enough for a row group. It is told after at
 * most PARQUET_WRITE_ROW_GROUP_ROWS_MAX rows; row groups end where it was.
 */
struct frame *parquet_writer_rows(struct parquet_writer *writer);
enum err_code parquet_writer_gathered(struct parquet_writer *writer, struct err *err) MUST_USE;

/* Rows given so far, and bytes that went to the sink so far. */
int64_t parquet_writer_rows_count(const struct parquet_writer *writer);
int64_t parquet_writer_bytes_count(const struct parquet_writer *writer);

/* Write what is left and the footer. The writer takes no more rows; still close it. */
enum err_code parquet_writer_finish(struct parquet_writer *writer,
                                    struct parquet_written *written_out, struct err *err) MUST_USE;
void parquet_writer_close(struct parquet_writer **writer);
