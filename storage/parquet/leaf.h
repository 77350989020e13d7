/*
 * A column as the writer's inner loops see it: the physical kind, and the
 * non-null values of one row group packed densely.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/parquet/format.h"

#include <stddef.h>
#include <stdint.h>

enum leaf_kind {
    LEAF_BOOLEAN, /* uint8_t */
    LEAF_I32,
    LEAF_I64,
    LEAF_F32,
    LEAF_F64,
    LEAF_FIXED, /* __int128 in memory, big-endian of leaf_type.fixed_bytes in the file */
    LEAF_BYTES, /* struct leaf_piece */
};

/* Bytes of one value in a string column: where it starts in `bytes`, and how long it is. */
struct leaf_piece {
    uint32_t start;
    uint32_t size;
};

/* How one column is stored. */
struct leaf_type {
    enum leaf_kind kind;
    enum parquet_type physical;
    int32_t fixed_bytes; /* LEAF_FIXED */
    bool is_text;        /* bounds are cut at characters */
};

/* Non-null values of one row group; borrowed from the frame or the writer's scratch. */
struct leaf_values {
    struct leaf_type type;
    size_t count;
    const void *slots;               /* not LEAF_BYTES: `count` values of leaf_slot_bytes */
    const struct leaf_piece *pieces; /* LEAF_BYTES */
    const uint8_t *bytes;            /* LEAF_BYTES: what the pieces refer to */
    size_t bytes_readable; /* bytes of it that are mapped memory, maybe beyond the last value */
};

/* Storage of a Delta type: decimals in INT32, INT64 or the shortest FIXED. */
struct leaf_type leaf_type_of(enum column_type type, int precision);

/* Bytes of a value in leaf_values.slots. */
static inline size_t leaf_slot_bytes(enum leaf_kind kind)
{
    static const uint8_t sizes[] = {[LEAF_BOOLEAN] = 1,
                                    [LEAF_I32] = 4,
                                    [LEAF_I64] = 8,
                                    [LEAF_F32] = 4,
                                    [LEAF_F64] = 8,
                                    [LEAF_FIXED] = 16,
                                    [LEAF_BYTES] = sizeof(struct leaf_piece)};
    return sizes[kind];
}

/* Write `value` as `size` big-endian bytes of two's complement; it must fit. */
static inline void leaf_store_fixed(uint8_t *out, __int128 value, size_t size)
{
    for (size_t i = size; i-- > 0;) {
        out[i] = (uint8_t)value;
        value >>= 8;
    }
}
