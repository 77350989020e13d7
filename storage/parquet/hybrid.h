/*
 * RLE / bit-packing hybrid: definition and repetition levels, dictionary
 * indexes, V2 booleans; and the legacy BIT_PACKED levels.
 * Source: parquet-format Encodings.md "Run Length Encoding / Bit-Packing Hybrid".
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HYBRID_WIDTH_MAX = 32,
    HYBRID_GROUP = 8, /* values of a bit-packed group */
};

/* Decoder over borrowed bytes; a stream, so that no run needs memory. */
struct hybrid {
    struct span bytes;
    size_t position;
    unsigned width;      /* bits of a value, 0 … 32 */
    uint32_t repeated;   /* value of the current RLE run */
    size_t run_left;     /* values of the current RLE run still to give */
    size_t packed_left;  /* values of the current bit-packed run still to give */
    uint64_t packed_bit; /* position in it, in bits from the start of `bytes` */
    bool big_endian;     /* legacy BIT_PACKED: one run, most significant bit first */
};

/* Requires: width <= HYBRID_WIDTH_MAX (asserted; the caller's gate). */
struct hybrid hybrid_of(struct span bytes, unsigned width);

/* BIT_PACKED: `count` values without any run header; fails on reading when bytes are missing. */
struct hybrid hybrid_of_bit_packed(struct span bytes, unsigned width, size_t count);

/*
 * Give the next `count` values; false when the bytes end before. Values past the
 * end of the bytes inside a last bit-packed group are not given.
 */
bool hybrid_read_u8(struct hybrid *hybrid, uint8_t *values_out, size_t count); /* width <= 8 */
bool hybrid_read_u32(struct hybrid *hybrid, uint32_t *values_out, size_t count);

/* Bits to hold `value`: 0 for 0. */
unsigned hybrid_width(uint32_t value);

/* Append values as runs; every value < 2^width. */
void hybrid_write_u32(struct buffer *out, const uint32_t *values, size_t count, unsigned width);
void hybrid_write_u8(struct buffer *out, const uint8_t *values, size_t count, unsigned width);

/* Append `count` bits of a bitmap (least significant first, from bit 0) as values of width 1. */
void hybrid_write_bits(struct buffer *out, const uint8_t *bits, size_t count);

/* Append one run of `count` equal values. */
void hybrid_write_run(struct buffer *out, uint32_t value, size_t count, unsigned width);
