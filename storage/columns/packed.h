/*
 * Packed runs: the integers of one column as distances from the smallest, in as
 * few bytes a row as the largest distance needs. One pass for the range and one
 * for the bytes; it halves what zstd has to read.
 *
 *   head      1     high five bits: bytes of `smallest`, 0 to 16; low three:
 *                   0 for width 0, else one more than the logarithm of the width
 *   smallest  0…16  two's complement, little endian, no longer than needed
 *   rows      rows × width, little endian, width 0, 1, 2, 4, 8 or 16
 *
 * Private to the frame codec. Runs have at least one row.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/cursor.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes that hold `value` in two's complement, and reading that many back. */
static inline unsigned packed_integer_bytes(__int128 value)
{
    /* the bits of the magnitude without leading copies of the sign, and the sign */
    unsigned __int128 magnitude = (unsigned __int128)(value < 0 ? ~value : value);
    uint64_t high = (uint64_t)(magnitude >> 64);
    uint64_t low = (uint64_t)magnitude;
    unsigned bits = high != 0  ? 128 - (unsigned)__builtin_clzll(high)
                    : low != 0 ? 64 - (unsigned)__builtin_clzll(low)
                               : 0;
    return value == 0 ? 0 : bits / 8 + 1;
}

static inline __int128 packed_integer_load(struct span bytes)
{
    __int128 value = 0;
    if (bytes.size > 0) {
        bool negative = (bytes.data[bytes.size - 1] & 0x80) != 0;
        memset(&value, negative ? 0xff : 0, sizeof value);
        memcpy(&value, bytes.data, bytes.size);
    }
    return value;
}

/* Append a run; the buffer's ceiling applies. */
void packed_store_i32(const int32_t *values, int64_t rows, struct buffer *bytes);
void packed_store_i64(const int64_t *values, int64_t rows, struct buffer *bytes);
void packed_store_i128(const __int128 *values, int64_t rows, struct buffer *bytes);
/* The lengths between `ends`, the first from 0. */
void packed_store_lengths(const uint32_t *ends, int64_t rows, struct buffer *bytes);

/* A run whose bytes are borrowed from the cursor's. */
struct packed {
    __int128 smallest;
    unsigned width; /* bytes a row */
    struct span rows;
};

/* Which values a run may hold and how wide it may be; from the column's type. */
struct packed_limits {
    __int128 low;
    __int128 high;
    unsigned width_max;
};

/* False when the run ends early, is malformed or leaves its limits: no row needs a check then. */
bool packed_read(struct cursor *cursor, int64_t rows, const struct packed_limits *limits,
                 struct packed *packed_out);

/* Values of a run that was read with limits that fit the type. */
void packed_load_i32(const struct packed *packed, int64_t rows, int32_t *values);
void packed_load_i64(const struct packed *packed, int64_t rows, int64_t *values);
void packed_load_i128(const struct packed *packed, int64_t rows, __int128 *values);
