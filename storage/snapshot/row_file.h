/*
 * Rows as a file for others: NDJSON or CSV, plain or compressed, or Parquet. Bytes
 * go to a sink in order. They depend on the rows alone, not on the frames they
 * came in: exports of the same rows are equal byte by byte.
 *
 * Parquet compresses its pages itself, so nothing is put around it. Statistics of
 * protected columns (phi) are left out of its footer.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/inflate.h"

#include <stdbool.h>
#include <stdint.h>

enum row_format { ROW_NDJSON, ROW_CSV, ROW_PARQUET };
enum { ROW_FORMAT_COUNT = ROW_PARQUET + 1 };

const char *row_format_name(enum row_format format); /* ndjson csv parquet */
bool row_format_parse(struct span name, enum row_format *format_out);
/* "text/csv" and the like, for requests that carry such a file. */
const char *row_format_media_type(enum row_format format);

/* Takes the file's bytes in order. After a failure the file is worthless. */
struct row_sink {
    enum err_code (*write)(void *self, struct span bytes, struct err *err);
    void *self;
};

struct row_file_options {
    const struct schema *schema;
    const bool *columns; /* per schema field: write it? NULL = all; borrowed until close */
    enum row_format format;
    enum content_encoding compression; /* around NDJSON and CSV */
};

/*
 * Can such a file be written?
 * Errors:  ERR_INVALID no column at all; CSV of one nullable column (encode_csv_check);
 *          compression around Parquet.
 */
enum err_code row_file_check(const struct row_file_options *options, struct err *err) MUST_USE;

struct row_file;

/*
 *   options  as row_file_check wants them (asserted)
 *   sink     copied; its `self` is borrowed until close
 * Errors:  ERR_NOMEM; what the sink returns.
 */
enum err_code row_file_open(const struct row_file_options *options, const struct row_sink *sink,
                            struct row_file **file_out, struct err *err) MUST_USE;

/* Append all rows of a frame of options.schema. Errors: what the sink returns; ERR_NOMEM;
 * ERR_TOO_LARGE a row over 1 GiB as text. */
enum err_code row_file_append(struct row_file *file, const struct frame *frame,
                              struct err *err) MUST_USE;

/* Write what is left. The file takes no more rows; still close it. */
enum err_code row_file_finish(struct row_file *file, struct err *err) MUST_USE;
void row_file_close(struct row_file **file);

/* Rows given, and bytes that went to the sink, so far. */
int64_t row_file_rows_count(const struct row_file *file);
int64_t row_file_bytes_count(const struct row_file *file);
