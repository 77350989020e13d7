/*
 * Reading Parquet files that anybody wrote: footers, and columns into frames, nested ones
 * too: lists of two and three levels, bare repeated fields, maps, structs. Rows of trees
 * one by one (Delta checkpoints) are read by nested.h over the same handle.
 *
 * Reads: pages V1 and V2; PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY, RLE,
 * BIT_PACKED levels, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY,
 * DELTA_BYTE_ARRAY, BYTE_STREAM_SPLIT; uncompressed, snappy, gzip, zstd, LZ4
 * (Hadoop framing, frame or raw block) and LZ4_RAW; INT96 timestamps; decimals
 * in INT32, INT64, FIXED_LEN_BYTE_ARRAY and BYTE_ARRAY. Refused by name
 * (ERR_UNSUPPORTED): encrypted files, brotli, LZO, VARIANT, wider decimals, and dates or timestamps
 * that a legacy Spark wrote in the hybrid calendar before its switch (1582-10-15 for dates,
 * 1900-01-01 for timestamps); later ones are the same in both calendars.
 *
 * Every byte of the file is untrusted: lengths are checked, page sizes and
 * counts are capped, and a damaged file is ERR_CORRUPT with column and offset.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/parquet/statistics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PARQUET_FOOTER_BYTES_MAX = 256 << 20,
    PARQUET_PAGE_BYTES_MAX = 128 << 20, /* of one page, uncompressed */
    /* of the pages and dictionaries a reader holds at once: one page always, more in proportion
       to the file, so that a small one that lies cannot take much */
    PARQUET_READER_MEMORY_LEAST = PARQUET_PAGE_BYTES_MAX,
    PARQUET_READER_MEMORY_MAX = 512 << 20,
    PARQUET_READER_MEMORY_RATIO = 64,
    PARQUET_PAGE_VALUES_MAX = 1 << 26, /* of one page, nulls included */
    PARQUET_PAGE_HEADER_BYTES_MAX = 1 << 20,
    PARQUET_SCHEMA_NODES_MAX = 20000,
    PARQUET_SCHEMA_DEPTH_MAX = 2 * SCHEMA_DEPTH_MAX + 2, /* a list is two groups */
    PARQUET_ROW_GROUPS_MAX = 1 << 20,
    PARQUET_DICTIONARY_VALUES_MAX = 1 << 24,
    PARQUET_ROW_BYTES_MAX = 256 << 20,    /* memory of one assembled nested row */
    PARQUET_NESTED_BYTES_MAX = 256 << 20, /* that one call adds to a nested column of a frame, when
                                             its options do not say */
};

/*
 * Where a file's bytes come from. read_at fills all of `size` bytes or fails;
 * offset + size <= `size` of the source is guaranteed. `self` outlives the reader.
 */
struct parquet_source {
    enum err_code (*read_at)(void *self, int64_t offset, void *out, size_t size, struct err *err);
    void *self;
    int64_t size; /* bytes of the whole file */
};

/* A whole file in memory (or mapped); `file` itself must outlive the reader. */
struct parquet_source parquet_source_of(const struct span *file);

struct parquet_reader; /* one open file; one thread at a time */

/*
 * Read and check the footer (usually one read of the file's last 64 KiB).
 *
 * Memory:  reader_out goes to the caller: parquet_reader_close. The source is
 *          copied, its `self` is borrowed until then.
 * Errors:  ERR_CORRUPT not a Parquet file, damaged footer;
 *          ERR_UNSUPPORTED encrypted; what read_at returns.
 */
enum err_code parquet_reader_open(const struct parquet_source *source,
                                  struct parquet_reader **reader_out, struct err *err) MUST_USE;
void parquet_reader_close(struct parquet_reader **reader);

int64_t parquet_reader_rows_count(const struct parquet_reader *reader);
size_t parquet_reader_row_groups_count(const struct parquet_reader *reader);
/* Rows of one row group, and the file row its first row has. */
int64_t parquet_reader_row_group_rows(const struct parquet_reader *reader, size_t row_group);
int64_t parquet_reader_row_group_start(const struct parquet_reader *reader, size_t row_group);

/* Is there a top-level column of this name (exact, else ignoring ASCII case when unique)? */
bool parquet_reader_has_column(const struct parquet_reader *reader, struct span name);

/* Does any column carry a field_id? */
bool parquet_reader_has_field_ids(const struct parquet_reader *reader);

/*
 * The file's columns as a schema of foreign rows (no key, all nullable), in which
 * parquet_reader_read_range reads them: float stays float, timestamps become µs, an
 * unsigned number the next larger type (of 64 bits decimal(20,0)), FLOAT16 float; TIME,
 * INTERVAL and UUID become texts that say them exactly: odd_text.h.
 *
 * Nested columns are there, too; a map without values has null texts for them; a group without
 * fields is left out. Names may differ in nothing but case.
 *
 *   names  the columns wanted, exact, NULL-terminated; NULL = all. Others may be anything.
 *
 * Memory:  schema_out: schema_release.
 * Errors:  ERR_UNSUPPORTED naming a column that is VARIANT, a decimal of more than 38 digits or
 *          nested deeper than SCHEMA_DEPTH_MAX; ERR_CORRUPT a name that occurs twice; ERR_INVALID a
 *          name that the file does not have.
 */
enum err_code parquet_reader_schema(const struct parquet_reader *reader, const char *const *names,
                                    struct schema **schema_out, struct err *err) MUST_USE;

/* The top-level columns, in the order of the file; names are borrowed from the reader. */
size_t parquet_reader_columns_count(const struct parquet_reader *reader);
struct span parquet_reader_column_name(const struct parquet_reader *reader, size_t column);

/* Value of a footer key ("org.apache.spark.version"); false when absent. Borrowed. */
bool parquet_reader_metadata(const struct parquet_reader *reader, const char *key,
                             struct span *value_out);

struct parquet_read_options {
    const bool *columns;      /* per schema field: read it? NULL = all; others become null */
    const char *const *names; /* per schema field: name in the file; NULL = as the field says */
    int64_t column_bytes_max; /* contents of one string or binary column of the frame, ERR_TOO_LARGE
                                 beyond; 0 = COLUMN_BYTES_MAX */
    int64_t bytes_max;        /* contents of strings and elements of arrays that the call adds to
                                 all columns together, ERR_TOO_LARGE beyond: a few bytes of a file
                                 may repeat a value without end; 0 = not limited but by the others */
    bool exact;               /* refuse nanoseconds that are no whole µs, instead of rounding */
};

/*
 * Append rows start … start + count - 1 of the file to `frame`, columns matched
 * by the names of frame->schema (fields' physical names and ids, where they have
 * them): exactly, else ignoring ASCII case when that is unique. A column the file does not have, or
 * that options leave out, becomes null for these rows. frame->rows_count grows by `count`; on
 * failure the frame is as it was.
 *
 * Nested fields take columns of the same shape; fields of a struct are found by name as
 * columns are, at any depth, and null when the file has none.
 *
 * Type differences: widening only: byte → short → integer → long, integer and smaller →
 *          double, float → double, decimal to larger precision with at least as many integral
 *          digits and scale, unsigned numbers to decimals, date → timestamp_ntz; timestamps in
 *          any unit and INT96 → µs.
 * Cost:    touches only the pages of the range when the file has an offset index, else reads page
 *          headers up to it (of nested columns, entries; but a range behind the last one goes on
 *          where that ended). Memory grows with `count`, and a row group's row count is the
 *          file's claim: read large files in pieces.
 * Text:    strings are checked to be UTF-8.
 * Errors:  ERR_CORRUPT and ERR_UNSUPPORTED with column and offset (a nested column where the
 *          schema has a flat one, a type that does not widen); ERR_TOO_LARGE a column over
 *          2^31 - 1 bytes, pages over PARQUET_READER_MEMORY_MAX; what read_at returns.
 * Requires: 0 <= start, 0 <= count, start + count <= rows of the file (asserted).
 */
enum err_code parquet_reader_read_range(struct parquet_reader *reader, int64_t start, int64_t count,
                                        const struct parquet_read_options *options,
                                        struct frame *frame, struct err *err) MUST_USE;

/* The same for all rows of one row group. */
enum err_code parquet_reader_read_row_group(struct parquet_reader *reader, size_t row_group,
                                            const struct parquet_read_options *options,
                                            struct frame *frame, struct err *err) MUST_USE;

/*
 * The same for `count` chosen rows of the file, strictly ascending (asserted),
 * appended in that order. Pages without a chosen row are not decompressed, and
 * with an offset index not even read.
 */
enum err_code parquet_reader_read_rows(struct parquet_reader *reader, const int64_t *rows,
                                       int64_t count, const struct parquet_read_options *options,
                                       struct frame *frame, struct err *err) MUST_USE;

/*
 * What the footer says about one column of one row group, in the type of
 * `field`. Untrustworthy bounds (deprecated fields of unsigned or binary order,
 * INT96, NaN, PARQUET-251 writers, other column order) are left out:
 * has_range false. A missing column is all null. Bounds may be wider than the
 * values, never narrower.
 *
 *   field  also says how the file calls the column
 */
void parquet_reader_statistics(const struct parquet_reader *reader, size_t row_group,
                               const struct field *field,
                               struct parquet_column_statistics *statistics_out);
