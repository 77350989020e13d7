/*
 * Footer, page headers and page indexes as typed structs. Decoding is the gate:
 * numbers that Parquet bounds are bounded here; meaning across structs (levels,
 * offsets inside the file, leaf counts) is checked by reader.c.
 * Source: apache/parquet-format parquet.thrift.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/parquet/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory of a decoded footer; far above any real one. */
enum { PARQUET_FOOTER_MEMORY_MAX = 1 << 30 };

/* SchemaElement. Names and everything else borrowed from the footer's bytes. */
struct metadata_element {
    struct span name;
    enum parquet_type type; /* PARQUET_TYPE_NONE: group */
    int32_t type_length;    /* bytes of FIXED, 0 otherwise */
    enum parquet_repetition repetition;
    int32_t children_count;
    int converted;    /* enum parquet_converted; unknown ones are NONE */
    int logical;      /* enum parquet_logical; unknown ones are NONE */
    bool has_logical; /* a logical type is stated, known or not */
    int32_t scale;
    int32_t precision;
    int32_t field_id; /* -1 = none */
    bool is_utc;      /* logical TIMESTAMP, TIME */
    int unit;         /* enum parquet_unit of logical TIMESTAMP, TIME; 0 otherwise */
    int8_t bit_width; /* logical INTEGER */
    bool is_signed;   /* logical INTEGER */
};

/* Statistics of a chunk or page. Absent bounds have NULL data. */
struct metadata_statistics {
    struct span min, max;             /* deprecated fields 2 and 1 */
    struct span min_value, max_value; /* fields 6 and 5 */
    int64_t nulls_count;              /* -1 = absent */
    bool min_exact, max_exact;        /* absent counts as exact */
};

/* ColumnChunk with its ColumnMetaData. */
struct metadata_chunk {
    enum parquet_type type;
    int codec;
    bool encrypted;
    int64_t values_count; /* nulls included */
    int64_t packed_bytes; /* of all pages with headers */
    int64_t raw_bytes;
    int64_t data_offset;
    int64_t dictionary_offset;   /* 0 = not stated */
    int64_t offset_index_offset; /* 0 = none */
    int32_t offset_index_bytes;
    int64_t column_index_offset; /* 0 = none */
    int32_t column_index_bytes;
    struct metadata_statistics statistics;
};

struct metadata_row_group {
    int64_t rows_count;
    size_t chunks_count;
    struct metadata_chunk *chunks;
};

struct metadata_key_value {
    struct span key, value;
};

struct metadata_footer {
    int64_t rows_count;
    struct span created_by;
    size_t elements_count;
    struct metadata_element *elements; /* depth-first, root first */
    size_t row_groups_count;
    struct metadata_row_group *row_groups;
    size_t key_values_count;
    struct metadata_key_value *key_values;
    size_t orders_count; /* column_orders; 0 = absent */
    bool *type_ordered;  /* orders_count: is it TYPE_ORDER? */
    bool encrypted;      /* encryption_algorithm is stated (plain-text footer) */
};

/*
 * Decode FileMetaData. Everything lives in `arena` or borrows from `bytes`.
 * Errors: ERR_CORRUPT malformed, ERR_TOO_LARGE over the arena's ceiling or a named limit.
 */
enum err_code metadata_footer_decode(struct span bytes, struct arena *arena,
                                     struct metadata_footer *footer_out, struct err *err) MUST_USE;

struct metadata_page {
    enum parquet_page_type type;
    int32_t raw_bytes;    /* 0 … PARQUET_PAGE_BYTES_MAX */
    int32_t packed_bytes; /* 0 … */
    bool has_checksum;
    uint32_t checksum;
    int32_t values_count; /* 0 … PARQUET_PAGE_VALUES_MAX, nulls included */
    int32_t rows_count;   /* V2 only, else -1 */
    int32_t nulls_count;  /* V2 only, else -1 */
    int encoding;
    int definition_encoding;  /* V1 */
    int repetition_encoding;  /* V1 */
    int32_t definition_bytes; /* V2 */
    int32_t repetition_bytes; /* V2 */
    bool compressed;          /* V2: the values are; V1: by the chunk's codec */
};

/*
 * Decode the PageHeader that `bytes` starts with; *size_out is its length.
 * Errors: ERR_CORRUPT malformed or longer than `bytes`; ERR_UNSUPPORTED over a limit.
 */
enum err_code metadata_page_decode(struct span bytes, struct metadata_page *page_out,
                                   size_t *size_out, struct err *err) MUST_USE;
void metadata_page_encode(const struct metadata_page *page, struct buffer *out);

/* OffsetIndex: one location a data page. */
struct metadata_location {
    int64_t offset;
    int32_t packed_bytes; /* header included */
    int64_t first_row;    /* of the row group */
};

/* The page that holds `row`: the last one that starts at or before it; count > 0. */
size_t metadata_location_of(const struct metadata_location *locations, size_t count, int64_t row);

/*
 * Decode an OffsetIndex; rows ascend from 0, checked.
 * Errors: ERR_CORRUPT, ERR_TOO_LARGE (arena).
 */
enum err_code metadata_offset_index_decode(struct span bytes, struct arena *arena,
                                           struct metadata_location **locations_out,
                                           size_t *count_out, struct err *err) MUST_USE;
