/*
 * DELTA_BINARY_PACKED, and the two byte-array encodings built on it; decoding.
 * Source: parquet-format Encodings.md "Delta Encoding", "Delta-length byte
 * array", "Delta Strings".
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A stream of integers over borrowed bytes. Arithmetic wraps, as the format
 * demands; INT32 columns take the low 32 bits.
 */
struct delta_integers {
    struct span bytes;
    size_t position;     /* of the next block, miniblock or, at the end, what follows */
    size_t values_total; /* stated count */
    size_t values_given;
    size_t miniblocks;       /* a block has */
    size_t miniblock_values; /* each has; a multiple of 8 */
    size_t miniblock;        /* current one of its block; = miniblocks: block used up */
    size_t widths_position;  /* where the block's bit widths are */
    size_t miniblock_given;  /* values of it already decoded */
    size_t miniblock_position;
    unsigned width;
    uint64_t min_delta;
    uint64_t last;
};

/*
 * Read the header.
 *   values_max  more stated values are ERR_CORRUPT (the page's count)
 */
enum err_code delta_integers_begin(struct delta_integers *stream, struct span bytes,
                                   size_t values_max, struct err *err) MUST_USE;

/* Give the next `count` values. Errors: ERR_CORRUPT fewer values or bytes than stated. */
enum err_code delta_integers_next(struct delta_integers *stream, int64_t *values_out, size_t count,
                                  struct err *err) MUST_USE;

/* Skip what is left and return where the stream ends, for what follows it. */
enum err_code delta_integers_end(struct delta_integers *stream, size_t *position_out,
                                 struct err *err) MUST_USE;

/*
 * A stream of byte strings: DELTA_LENGTH_BYTE_ARRAY, or DELTA_BYTE_ARRAY with
 * prefixes. Init, begin a page, next …, deinit.
 */
struct delta_strings {
    struct delta_integers lengths_left;  /* of suffixes; not known yet */
    struct delta_integers prefixes_left; /* the same, with prefixes */
    bool with_prefixes;
    int64_t *lengths;  /* of the next `known` suffixes */
    int64_t *prefixes; /* the same, with prefixes */
    size_t known;
    size_t known_capacity;
    size_t count; /* of the page */
    size_t given;
    struct span data; /* suffixes back to back */
    size_t position;
    uint8_t *scratch; /* values of the last batch when they have prefixes */
    size_t scratch_size;
    uint8_t *last; /* the value before the batch */
    size_t last_size;
    size_t last_capacity;
};
void delta_strings_deinit(struct delta_strings *stream);
enum err_code delta_strings_begin(struct delta_strings *stream, struct span bytes,
                                  bool with_prefixes, size_t values_max, struct err *err) MUST_USE;

/*
 * How many of the next `count` values to ask for, at least one: a few bytes may stand for
 * any number of values with long prefixes. `count` when fewer are left.
 * Errors:  ERR_CORRUPT.
 */
enum err_code delta_strings_fit(struct delta_strings *stream, size_t count, size_t *fit_out,
                                struct err *err) MUST_USE;

/*
 * Give the next `count` values; they are borrowed from the page or from the
 * stream until the next call.
 * Errors:  ERR_CORRUPT; ERR_UNSUPPORTED values of the call over PARQUET_PAGE_BYTES_MAX.
 */
enum err_code delta_strings_next(struct delta_strings *stream, struct span *values_out,
                                 size_t count, struct err *err) MUST_USE;
