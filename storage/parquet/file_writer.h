/*
 * The frame of a Parquet file being written: magic, schema, the bytes that go
 * to the sink, page indexes and the footer. What is inside a column chunk is
 * chunk_writer.c's; both writers (frames, trees) stand on this.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/parquet/codec.h"
#include "storage/parquet/dictionary.h"
#include "storage/parquet/format.h"
#include "storage/parquet/leaf.h"
#include "storage/parquet/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Pages and footers of a file; a writer has no larger piece in memory. */
    FILE_BUFFER_BYTES_MAX = 1 << 30,
    FILE_CREATED_BYTES_MAX = 64,
};

/* One data page, for the indexes. */
struct page_record {
    int64_t offset;       /* in the file */
    int32_t packed_bytes; /* header included */
    int64_t first_row;    /* of the row group */
    int64_t nulls_count;
    bool has_bounds; /* else all null, or NaN among the values */
    bool all_null;
    size_t min_at, min_size; /* in parquet_writer_context.bounds */
    size_t max_at, max_size;
};

/* Scratch and compression state; see writer.h. Every buffer is reused, none is shared. */
struct parquet_writer_context {
    struct codec codec;
    struct dictionary dictionary;
    uint32_t *selected; /* rows of the chunk that have a value */
    uint8_t *valid;     /* one byte a row: has it a value? */
    uint8_t *dense;     /* values of `selected`, 16 bytes a row allocated */
    struct leaf_piece *pieces;
    size_t rows_capacity; /* of the four above */
    struct buffer header; /* of the page at hand */
    struct buffer raw;    /* its body */
    struct buffer packed;
    struct buffer dictionary_raw;
    struct buffer dictionary_packed;
    struct buffer bounds; /* encoded bounds of the chunk's pages */
    struct page_record *pages;
    size_t pages_count;
    size_t pages_capacity;
    struct buffer out; /* not yet given to the sink */
};

/* Bytes inside file_writer.bounds. */
struct bound_place {
    size_t at, size;
    bool is_set;
    bool exact;
};

/* What the footer says about a chunk. */
struct chunk_result {
    bool has_dictionary;
    bool compressed;
    int64_t values_count; /* nulls included */
    int64_t nulls_count;
    int64_t raw_bytes; /* pages with headers, before compression */
    int64_t packed_bytes;
    int64_t dictionary_offset;
    int64_t data_offset;
    int32_t data_pages_count;
    struct bound_place min, max;
    size_t column_index_at, column_index_size; /* in file_writer.column_indexes; size 0 = none */
    size_t offset_index_at, offset_index_size;
    size_t bloom_at,
        bloom_size;       /* in file_writer.blooms, until the row group ends; size 0 = none */
    int64_t bloom_offset; /* in the file */
};

/* One leaf of the schema. */
struct file_leaf {
    struct leaf_type type;
    const char *const *path; /* names below the root; borrowed */
    size_t path_count;
};

struct file_writer {
    struct parquet_writer_context *context;
    bool owns_context;
    struct parquet_sink sink;
    int64_t position;     /* bytes of the file so far, those in context->out included */
    struct buffer schema; /* SchemaElements */
    size_t elements_count;
    struct file_leaf *leaves;
    size_t leaves_count;
    struct chunk_result *chunks; /* row group by row group, leaves in order */
    size_t chunks_count;
    size_t chunks_capacity;
    int64_t *groups; /* rows of each row group */
    size_t groups_count;
    size_t groups_capacity;
    struct buffer bounds;
    struct buffer column_indexes;
    struct buffer offset_indexes;
    struct buffer blooms; /* of the row group at hand */
};

/* `context` NULL: a private one. Writes the magic. */
void file_writer_init(struct file_writer *file, struct parquet_writer_context *context,
                      const struct parquet_sink *sink, size_t leaves_count);
void file_writer_deinit(struct file_writer *file);

/* The schema in depth-first order; the root first. */
void file_writer_root(struct file_writer *file, size_t children_count);
struct file_element {
    const char *name;
    enum parquet_repetition repetition;
    int32_t field_id; /* 0 = none */
};
void file_writer_group(struct file_writer *file, const struct file_element *element,
                       size_t children_count, enum parquet_converted converted);
void file_writer_leaf(struct file_writer *file, const struct file_element *element,
                      enum column_type type, int precision, int scale, const char *const *path,
                      size_t path_count);

/* Append to the file; what is gathered goes to the sink when it is a megabyte. */
enum err_code file_writer_append(struct file_writer *file, struct span bytes,
                                 struct err *err) MUST_USE;

/* Room for the results of one more row group; returns leaves_count of them, zeroed. */
struct chunk_result *file_writer_add_row_group(struct file_writer *file, int64_t rows_count);

/* Behind the chunks of the newest row group: its Bloom filters, when it has any. */
enum err_code file_writer_end_row_group(struct file_writer *file, struct err *err) MUST_USE;

/* Indexes, footer, tail; everything to the sink. */
enum err_code file_writer_finish(struct file_writer *file, struct err *err) MUST_USE;
