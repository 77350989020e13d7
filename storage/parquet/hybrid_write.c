/*
 * RLE / bit-packing hybrid: writing. See hybrid.h for the contract.
 */
#include "storage/parquet/hybrid.h"

#include <assert.h>
#include <string.h>

enum {
    REPEAT_MIN = 3 * 8, /* equal values that are worth a run of their own */
    PIECE = 512,        /* a multiple of HYBRID_GROUP */
};

unsigned hybrid_width(uint32_t value)
{
    return value == 0 ? 0 : 32 - (unsigned)__builtin_clz(value);
}

void hybrid_write_run(struct buffer *out, uint32_t value, size_t count, unsigned width)
{
    if (count == 0) {
        return;
    }
    buffer_append_varint(out, (uint64_t)count << 1);
    buffer_append(out, &value, (width + 7) / 8);
}

/* Whole groups of eight, packed; the last one is padded with zeros. */
static void pack(struct buffer *out, const uint32_t *values, size_t count, unsigned width)
{
    size_t size = (count + HYBRID_GROUP - 1) / HYBRID_GROUP * width;
    uint8_t *target = buffer_reserve(out, size + sizeof(uint64_t));
    if (target == NULL) {
        return; /* sticky in the buffer */
    }
    const uint8_t *begin = target;
    uint64_t word = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < count; i++) {
        word |= (uint64_t)values[i] << bits;
        bits += width;
        if (bits >= 32) {
            memcpy(target, &word, sizeof(uint32_t));
            target += sizeof(uint32_t);
            word >>= 32;
            bits -= 32;
        }
    }
    /* at most 31 bits are left, and the padding of the last group after them */
    size_t written = (size_t)(target - begin);
    assert(written <= size);
    memset(target, 0, size - written);
    memcpy(target, &word, size - written < sizeof word ? size - written : sizeof word);
    buffer_advance(out, size);
}

static void write_packed_head(struct buffer *out, size_t count)
{
    buffer_append_varint(out, (uint64_t)(count + HYBRID_GROUP - 1) / HYBRID_GROUP << 1 | 1);
}

static void write_packed(struct buffer *out, const uint32_t *values, size_t count, unsigned width)
{
    if (count > 0) {
        write_packed_head(out, count);
        pack(out, values, count, width);
    }
}

static size_t equal_run(const uint32_t *values, size_t count)
{
    size_t run = 1;
    while (run < count && values[run] == values[0]) {
        run++;
    }
    return run;
}

void hybrid_write_u32(struct buffer *out, const uint32_t *values, size_t count, unsigned width)
{
    assert(width <= HYBRID_WIDTH_MAX);
    if (width == 0) {
        hybrid_write_run(out, 0, count, 0);
        return;
    }
    size_t literal = 0; /* start of the values that no run has yet */
    size_t i = 0;       /* always a whole number of groups after `literal` */
    while (i + HYBRID_GROUP <= count) {
        /* quick refusal before the run is measured */
        if (values[i] != values[i + HYBRID_GROUP - 1] || values[i] != values[i + 1]) {
            i += HYBRID_GROUP;
            continue;
        }
        size_t run = equal_run(values + i, count - i);
        if (run < REPEAT_MIN) {
            i += HYBRID_GROUP;
            continue;
        }
        write_packed(out, values + literal, i - literal, width);
        hybrid_write_run(out, values[i], run, width);
        i += run;
        literal = i;
    }
    write_packed(out, values + literal, count - literal, width);
}

/* How many of the first `count` bytes are all equal to `byte`. */
static size_t equal_bytes(const uint8_t *bytes, size_t count, uint8_t byte)
{
    size_t run = 0;
    while (run < count && bytes[run] == byte) {
        run++;
    }
    return run;
}

/* Levels of nested columns: widened in pieces of whole groups, so that only the last is padded. */
static void write_packed_u8(struct buffer *out, const uint8_t *values, size_t count, unsigned width)
{
    if (count == 0) {
        return;
    }
    write_packed_head(out, count);
    uint32_t piece[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        size_t size = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < size; i++) {
            piece[i] = values[at + i];
        }
        pack(out, piece, size, width);
    }
}

void hybrid_write_u8(struct buffer *out, const uint8_t *values, size_t count, unsigned width)
{
    size_t literal = 0; /* as in hybrid_write_u32 */
    size_t i = 0;
    while (i + HYBRID_GROUP <= count) {
        size_t run = equal_bytes(values + i, count - i, values[i]);
        if (run < REPEAT_MIN) {
            i += HYBRID_GROUP;
            continue;
        }
        write_packed_u8(out, values + literal, i - literal, width);
        hybrid_write_run(out, values[i], run, width);
        i += run;
        literal = i;
    }
    write_packed_u8(out, values + literal, count - literal, width);
}

void hybrid_write_bits(struct buffer *out, const uint8_t *bits, size_t count)
{
    size_t bytes = count / 8;
    size_t literal = 0;
    size_t i = 0;
    while (i < bytes) {
        if (bits[i] != 0x00 && bits[i] != 0xff) {
            i++;
            continue;
        }
        size_t run = equal_bytes(bits + i, bytes - i, bits[i]);
        if (run >= REPEAT_MIN / 8) {
            if (i > literal) {
                buffer_append_varint(out, (uint64_t)(i - literal) << 1 | 1);
                buffer_append(out, bits + literal, i - literal);
            }
            hybrid_write_run(out, bits[i] & 1, run * 8, 1);
            literal = i + run;
        }
        i += run;
    }
    size_t rest = count - literal * 8;
    if (rest > 0) {
        size_t size = (rest + 7) / 8;
        buffer_append_varint(out, (uint64_t)size << 1 | 1);
        buffer_append(out, bits + literal, size);
    }
}
