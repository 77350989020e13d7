/*
 * RLE / bit-packing hybrid: reading. See hybrid.h for the contract.
 */
#include "storage/parquet/hybrid.h"

#include "storage/base/cursor.h"

#include <assert.h>
#include <string.h>

struct hybrid hybrid_of(struct span bytes, unsigned width)
{
    assert(width <= HYBRID_WIDTH_MAX);
    return (struct hybrid){.bytes = bytes, .width = width};
}

struct hybrid hybrid_of_bit_packed(struct span bytes, unsigned width, size_t count)
{
    assert(width <= HYBRID_WIDTH_MAX);
    return (struct hybrid){.bytes = bytes,
                           .width = width,
                           .position = bytes.size,
                           .packed_left = count,
                           .big_endian = true};
}

/* Read the next run's header; false at the end or when it lies. */
static bool open_run(struct hybrid *hybrid)
{
    struct cursor in = cursor_of(hybrid->bytes);
    in.position = hybrid->position;
    uint64_t head = cursor_varint(&in);
    if (in.failed || head >> 1 == 0 || head >> 1 > UINT32_MAX) {
        return false;
    }
    size_t count = (size_t)(head >> 1);
    if ((head & 1) == 0) {
        uint32_t value = 0;
        struct span raw = cursor_bytes(&in, (hybrid->width + 7) / 8);
        if (in.failed) {
            return false;
        }
        memcpy(&value, raw.data != NULL ? raw.data : (const uint8_t *)"", raw.size);
        if (hybrid->width < 32 && value >> hybrid->width != 0) {
            return false;
        }
        hybrid->repeated = value;
        hybrid->run_left = count;
        hybrid->position = in.position;
        return true;
    }
    /* A writer may cut the padding of the last group: take the values that are there. */
    size_t needed = count * hybrid->width; /* bytes, as a group is 8 values */
    size_t left = cursor_left(&in);
    hybrid->packed_bit = (uint64_t)in.position * 8;
    hybrid->packed_left = count * HYBRID_GROUP;
    if (needed > left) {
        hybrid->packed_left = left * 8 / hybrid->width;
        needed = left;
    }
    hybrid->position = in.position + needed;
    return hybrid->packed_left > 0;
}

/* Up to 8 bytes from `offset`, zeros past the end. */
static uint64_t load_tail(const struct hybrid *hybrid, size_t offset)
{
    uint64_t word = 0;
    size_t left = offset < hybrid->bytes.size ? hybrid->bytes.size - offset : 0;
    if (left > 0) {
        memcpy(&word, hybrid->bytes.data + offset, left < sizeof word ? left : sizeof word);
    }
    return word;
}

static uint32_t next_big_endian(struct hybrid *hybrid)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < hybrid->width; i++, hybrid->packed_bit++) {
        uint8_t byte = hybrid->bytes.data[hybrid->packed_bit >> 3];
        value = value << 1 | (uint32_t)(byte >> (7 - (hybrid->packed_bit & 7)) & 1);
    }
    return value;
}

/* One value spans at most 32 + 7 bits, so a single 8-byte load has it whole. */
static void unpack_u32(struct hybrid *hybrid, uint32_t *values, size_t count)
{
    uint64_t bit = hybrid->packed_bit;
    unsigned width = hybrid->width;
    uint64_t mask = (UINT64_C(1) << width) - 1;
    const uint8_t *data = hybrid->bytes.data;
    size_t size = hybrid->bytes.size;
    size_t i = 0;
    for (; i < count && (bit >> 3) + 8 <= size; i++, bit += width) {
        uint64_t word;
        memcpy(&word, data + (bit >> 3), sizeof word);
        values[i] = (uint32_t)(word >> (bit & 7) & mask);
    }
    for (; i < count; i++, bit += width) {
        values[i] = (uint32_t)(load_tail(hybrid, (size_t)(bit >> 3)) >> (bit & 7) & mask);
    }
    hybrid->packed_bit = bit;
}

static void unpack_u8(struct hybrid *hybrid, uint8_t *values, size_t count)
{
    uint64_t bit = hybrid->packed_bit;
    unsigned width = hybrid->width;
    uint64_t mask = (UINT64_C(1) << width) - 1;
    const uint8_t *data = hybrid->bytes.data;
    size_t i = 0;
    /* the usual case, optional columns: a byte holds eight levels */
    if (width == 1 && (bit & 7) == 0) {
        for (; i + HYBRID_GROUP <= count; i += HYBRID_GROUP, bit += HYBRID_GROUP) {
            uint64_t spread = data[bit >> 3] * UINT64_C(0x8040201008040201);
            spread = (spread >> 7) & UINT64_C(0x0101010101010101);
            /* bit n of the byte is now the lowest bit of byte 7 - n */
            spread = __builtin_bswap64(spread);
            memcpy(values + i, &spread, sizeof spread);
        }
    }
    for (; i < count; i++, bit += width) {
        values[i] = (uint8_t)(load_tail(hybrid, (size_t)(bit >> 3)) >> (bit & 7) & mask);
    }
    hybrid->packed_bit = bit;
}

static bool check_big_endian(const struct hybrid *hybrid, size_t count)
{
    uint64_t bits = (uint64_t)count * hybrid->width;
    return bits <= (uint64_t)hybrid->bytes.size * 8 - hybrid->packed_bit;
}

/* How many values of one kind of run come next, at most `wanted`; 0 = the bytes end. */
static size_t next_stretch(struct hybrid *hybrid, size_t wanted)
{
    if (hybrid->run_left == 0 && hybrid->packed_left == 0 && !open_run(hybrid)) {
        return 0;
    }
    size_t left = hybrid->run_left > 0 ? hybrid->run_left : hybrid->packed_left;
    size_t count = left < wanted ? left : wanted;
    if (hybrid->run_left == 0 && hybrid->big_endian && !check_big_endian(hybrid, count)) {
        return 0;
    }
    return count;
}

bool hybrid_read_u8(struct hybrid *hybrid, uint8_t *values_out, size_t count)
{
    assert(hybrid->width <= 8);
    if (hybrid->width == 0) {
        memset(values_out, 0, count);
        return true;
    }
    while (count > 0) {
        size_t stretch = next_stretch(hybrid, count);
        if (stretch == 0) {
            return false;
        }
        if (hybrid->run_left > 0) {
            memset(values_out, (int)hybrid->repeated, stretch);
            hybrid->run_left -= stretch;
        } else {
            if (hybrid->big_endian) {
                for (size_t i = 0; i < stretch; i++) {
                    values_out[i] = (uint8_t)next_big_endian(hybrid);
                }
            } else {
                unpack_u8(hybrid, values_out, stretch);
            }
            hybrid->packed_left -= stretch;
        }
        values_out += stretch;
        count -= stretch;
    }
    return true;
}

bool hybrid_read_u32(struct hybrid *hybrid, uint32_t *values_out, size_t count)
{
    if (hybrid->width == 0) {
        memset(values_out, 0, count * sizeof *values_out);
        return true;
    }
    while (count > 0) {
        size_t stretch = next_stretch(hybrid, count);
        if (stretch == 0) {
            return false;
        }
        if (hybrid->run_left > 0) {
            for (size_t i = 0; i < stretch; i++) {
                values_out[i] = hybrid->repeated;
            }
            hybrid->run_left -= stretch;
        } else {
            assert(!hybrid->big_endian); /* levels only, and they fit a byte */
            unpack_u32(hybrid, values_out, stretch);
            hybrid->packed_left -= stretch;
        }
        values_out += stretch;
        count -= stretch;
    }
    return true;
}
