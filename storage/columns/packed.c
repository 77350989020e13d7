/*
 * Packed runs. See packed.h for the layout and the contracts.
 */
#include "storage/columns/packed.h"

#include <assert.h>
#include <string.h>

enum {
    WIDTH_MAX = sizeof(__int128),
    HEAD_CODE_BITS = 3,
    HEAD_CODE_MAX = 5, /* width 16 */
};

/* ---- writing ----------------------------------------------------- */

static unsigned width_of(unsigned __int128 range)
{
    if (range <= UINT16_MAX) {
        return range == 0 ? 0 : range <= UINT8_MAX ? 1 : 2;
    }
    return range <= UINT32_MAX ? 4 : range <= UINT64_MAX ? 8 : 16;
}

/* Writes the head of a packed run and returns where its rows go; NULL past the ceiling. */
static uint8_t *begin_packed(__int128 smallest, unsigned width, int64_t rows, struct buffer *bytes)
{
    unsigned base_bytes = packed_integer_bytes(smallest);
    unsigned code = width == 0 ? 0 : (unsigned)__builtin_ctz(width) + 1;
    buffer_append_byte(bytes, (uint8_t)(base_bytes << HEAD_CODE_BITS | code));
    buffer_append(bytes, &smallest, base_bytes);
    size_t size = width * (size_t)rows;
    uint8_t *target = buffer_reserve(bytes, size);
    if (target != NULL) {
        buffer_advance(bytes, size);
    }
    return target;
}

/* Store the low bytes of `value(i)` for every row, at one fixed width a loop. */
#define STORE_ROWS(target_type, expression)                                                        \
    do {                                                                                           \
        for (int64_t i = 0; i < rows; i++) {                                                       \
            target_type stored = (target_type)(expression);                                        \
            memcpy(target + (size_t)i * sizeof stored, &stored, sizeof stored);                    \
        }                                                                                          \
    } while (0)

#define STORE_AT_WIDTH(width, expression)                                                          \
    do {                                                                                           \
        switch (width) {                                                                           \
        case 1:                                                                                    \
            STORE_ROWS(uint8_t, expression);                                                       \
            break;                                                                                 \
        case 2:                                                                                    \
            STORE_ROWS(uint16_t, expression);                                                      \
            break;                                                                                 \
        case 4:                                                                                    \
            STORE_ROWS(uint32_t, expression);                                                      \
            break;                                                                                 \
        case 8:                                                                                    \
            STORE_ROWS(uint64_t, expression);                                                      \
            break;                                                                                 \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    } while (0)

void packed_store_i32(const int32_t *values, int64_t rows, struct buffer *bytes)
{
    int32_t smallest = values[0];
    int32_t largest = values[0];
    for (int64_t i = 1; i < rows; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    uint32_t base = (uint32_t)smallest;
    unsigned width = width_of((uint32_t)largest - base);
    uint8_t *target = begin_packed(smallest, width, rows, bytes);
    if (target != NULL) {
        STORE_AT_WIDTH(width, (uint32_t)values[i] - base);
    }
}

void packed_store_i64(const int64_t *values, int64_t rows, struct buffer *bytes)
{
    int64_t smallest = values[0];
    int64_t largest = values[0];
    for (int64_t i = 1; i < rows; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    uint64_t base = (uint64_t)smallest;
    unsigned width = width_of((uint64_t)largest - base);
    uint8_t *target = begin_packed(smallest, width, rows, bytes);
    if (target != NULL) {
        STORE_AT_WIDTH(width, (uint64_t)values[i] - base);
    }
}

void packed_store_i128(const __int128 *values, int64_t rows, struct buffer *bytes)
{
    __int128 smallest = values[0];
    __int128 largest = values[0];
    for (int64_t i = 1; i < rows; i++) {
        smallest = values[i] < smallest ? values[i] : smallest;
        largest = values[i] > largest ? values[i] : largest;
    }
    unsigned __int128 base = (unsigned __int128)smallest;
    unsigned width = width_of((unsigned __int128)largest - base);
    uint8_t *target = begin_packed(smallest, width, rows, bytes);
    if (target != NULL && width == WIDTH_MAX) {
        STORE_ROWS(unsigned __int128, (unsigned __int128)values[i] - base);
    } else if (target != NULL) {
        STORE_AT_WIDTH(width, (unsigned __int128)values[i] - base);
    }
}

void packed_store_lengths(const uint32_t *ends, int64_t rows, struct buffer *bytes)
{
    uint32_t largest = ends[0];
    for (int64_t i = 1; i < rows; i++) {
        uint32_t length = ends[i] - ends[i - 1];
        largest = length > largest ? length : largest;
    }
    unsigned width = width_of(largest);
    uint8_t *target = begin_packed(0, width, rows, bytes);
    if (target != NULL) {
        STORE_AT_WIDTH(width, i == 0 ? ends[0] : ends[i] - ends[i - 1]);
    }
}

/* ---- reading ------------------------------------------------------- */

#define LARGEST_OF(type)                                                                           \
    do {                                                                                           \
        type largest = 0;                                                                          \
        for (size_t i = 0; i < packed->rows.size; i += sizeof largest) {                           \
            type value = 0;                                                                        \
            memcpy(&value, packed->rows.data + i, sizeof value);                                   \
            largest = value > largest ? value : largest;                                           \
        }                                                                                          \
        return largest;                                                                            \
    } while (0)

static unsigned __int128 largest_distance(const struct packed *packed)
{
    switch (packed->width) {
    case 1:
        LARGEST_OF(uint8_t);
    case 2:
        LARGEST_OF(uint16_t);
    case 4:
        LARGEST_OF(uint32_t);
    case 8:
        LARGEST_OF(uint64_t);
    case WIDTH_MAX:
        LARGEST_OF(unsigned __int128);
    default:
        return 0;
    }
}

bool packed_read(struct cursor *cursor, int64_t rows, const struct packed_limits *limits,
                 struct packed *packed_out)
{
    assert(rows > 0);
    uint8_t head = cursor_u8(cursor);
    unsigned code = head & ((1U << HEAD_CODE_BITS) - 1);
    size_t base_bytes = head >> HEAD_CODE_BITS;
    unsigned width = code == 0 ? 0 : 1U << (code - 1);
    if (code > HEAD_CODE_MAX || base_bytes > WIDTH_MAX || width > limits->width_max) {
        return false;
    }
    struct packed packed = {.width = width};
    packed.smallest = packed_integer_load(cursor_bytes(cursor, base_bytes));
    packed.rows = cursor_bytes(cursor, width * (size_t)rows);
    if (cursor->failed || packed.smallest < limits->low || packed.smallest > limits->high) {
        return false;
    }
    /* the extremes decide for every row between them; the difference cannot wrap */
    unsigned __int128 room = (unsigned __int128)limits->high - (unsigned __int128)packed.smallest;
    if (largest_distance(&packed) > room) {
        return false;
    }
    *packed_out = packed;
    return true;
}

#define LOAD_ROWS(source_type, target, target_type)                                                \
    do {                                                                                           \
        for (int64_t i = 0; i < rows; i++) {                                                       \
            source_type distance = 0;                                                              \
            memcpy(&distance, packed->rows.data + (size_t)i * sizeof distance, sizeof distance);   \
            (target)[i] = (target_type)(base + distance);                                          \
        }                                                                                          \
    } while (0)

#define LOAD_AT_WIDTH(target, target_type)                                                         \
    do {                                                                                           \
        switch (packed->width) {                                                                   \
        case 0:                                                                                    \
            for (int64_t i = 0; i < rows; i++) {                                                   \
                (target)[i] = (target_type)base;                                                   \
            }                                                                                      \
            break;                                                                                 \
        case 1:                                                                                    \
            LOAD_ROWS(uint8_t, target, target_type);                                               \
            break;                                                                                 \
        case 2:                                                                                    \
            LOAD_ROWS(uint16_t, target, target_type);                                              \
            break;                                                                                 \
        case 4:                                                                                    \
            LOAD_ROWS(uint32_t, target, target_type);                                              \
            break;                                                                                 \
        default:                                                                                   \
            LOAD_ROWS(uint64_t, target, target_type);                                              \
            break;                                                                                 \
        }                                                                                          \
    } while (0)

void packed_load_i32(const struct packed *packed, int64_t rows, int32_t *values)
{
    uint32_t base = (uint32_t)packed->smallest;
    LOAD_AT_WIDTH(values, int32_t);
}

void packed_load_i64(const struct packed *packed, int64_t rows, int64_t *values)
{
    uint64_t base = (uint64_t)packed->smallest;
    LOAD_AT_WIDTH(values, int64_t);
}

void packed_load_i128(const struct packed *packed, int64_t rows, __int128 *values)
{
    unsigned __int128 base = (unsigned __int128)packed->smallest;
    if (packed->width == WIDTH_MAX) {
        LOAD_ROWS(unsigned __int128, values, __int128);
    } else {
        LOAD_AT_WIDTH(values, __int128);
    }
}
