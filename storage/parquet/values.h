/*
 * Decoding the values of one page: any encoding, as a stream, to dense arrays
 * of one C type per physical type.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/parquet/delta_encodings.h"
#include "storage/parquet/format.h"
#include "storage/parquet/hybrid.h"

#include <stddef.h>
#include <stdint.h>

/* What a physical type decodes to. INT96 becomes µs since the epoch, FLOAT a double. */
enum values_kind {
    VALUES_U8,    /* BOOLEAN */
    VALUES_I32,   /* INT32 */
    VALUES_I64,   /* INT64, INT96 */
    VALUES_F64,   /* FLOAT, DOUBLE */
    VALUES_SPANS, /* BYTE_ARRAY, FIXED: borrowed from page, dictionary or decoder */
};
enum { VALUES_SLOT_BYTES_MAX = 16 };

enum values_kind values_kind_of(enum parquet_type type);
size_t values_slot_bytes(enum values_kind kind);

/* A decoded dictionary page; owned by the column reader. */
struct values_dictionary {
    void *slots;
    size_t count;
    size_t capacity; /* in slots of VALUES_SLOT_BYTES_MAX */
};

struct values_decoder {
    enum parquet_type type;
    int32_t fixed_bytes; /* FIXED */
    int encoding;
    struct span bytes;
    size_t position;      /* PLAIN: bytes taken (of booleans: bits) */
    struct hybrid hybrid; /* dictionary indexes, RLE booleans */
    struct delta_integers integers;
    struct delta_strings strings;
    size_t stride;    /* BYTE_STREAM_SPLIT: values in the page */
    size_t given;     /* BYTE_STREAM_SPLIT */
    uint8_t *scratch; /* BYTE_STREAM_SPLIT of FIXED: joined values */
    size_t scratch_capacity;
    const struct values_dictionary *dictionary;
};

/* What a page's values are. */
struct values_page {
    enum parquet_type type;
    int32_t fixed_bytes;
    int encoding;                               /* from the page header, any number */
    struct span bytes;                          /* after the levels */
    size_t values_max;                          /* values of the page, nulls included */
    const struct values_dictionary *dictionary; /* NULL = the chunk has none */
};

/* Zeroed to start; begun for every page; deinit at the end. Errors: ERR_CORRUPT, ERR_UNSUPPORTED.
 */
enum err_code values_begin(struct values_decoder *decoder, const struct values_page *page,
                           struct err *err) MUST_USE;

/*
 * How many of the next `count` values to ask for, at least one, so that they take no more
 * than some megabytes together. Errors: ERR_CORRUPT.
 */
enum err_code values_fit(struct values_decoder *decoder, size_t count, size_t *fit_out,
                         struct err *err) MUST_USE;

/* The next `count` values to `out` (of values_slot_bytes each). Errors: ERR_CORRUPT too few. */
enum err_code values_next(struct values_decoder *decoder, size_t count, void *out,
                          struct err *err) MUST_USE;
void values_deinit(struct values_decoder *decoder);

/* Does the page's count fit its bytes and the limit? Errors: ERR_CORRUPT, ERR_UNSUPPORTED. */
enum err_code values_check_dictionary(const struct values_page *page, struct err *err) MUST_USE;

/*
 * Decode a dictionary page's body, which was checked; spans borrow from `page->bytes`.
 * Requires: dictionary->capacity >= page->values_max (asserted).
 */
enum err_code values_read_dictionary(struct values_dictionary *dictionary,
                                     const struct values_page *page, struct err *err) MUST_USE;
