/*
 * Keys as bytes. Each value is written so that it ends itself and that unsigned
 * byte order is the order of its type; a key is its values back to back.
 *
 *   string                          its bytes, 00 written as 00 FF, then 00 01
 *   boolean                         1 byte
 *   integer, date, byte, short      4 bytes, big endian, sign flipped
 *   long, timestamp, timestamp_ntz  8 bytes, the same
 *   decimal                         16 bytes, the same (scale is the column's)
 */
#include "storage/columns/frame.h"

#include <assert.h>

/* "a" sorts before "a\0" and before "ab": the end 00 01 is below 00 FF and every other byte. */
static const uint8_t string_end[] = {0x00, 0x01};
static const uint8_t string_zero[] = {0x00, 0xff};

static void append_string(struct span text, struct buffer *key)
{
    while (text.size > 0) {
        const uint8_t *zero = memchr(text.data, 0, text.size);
        size_t size = zero == NULL ? text.size : (size_t)(zero - text.data);
        buffer_append(key, text.data, size);
        if (zero == NULL) {
            break;
        }
        buffer_append(key, string_zero, sizeof string_zero);
        text = span_of(zero + 1, text.size - size - 1);
    }
    buffer_append(key, string_end, sizeof string_end);
}

static void append_u64(uint64_t value, struct buffer *key)
{
    uint64_t big_endian = __builtin_bswap64(value);
    buffer_append(key, &big_endian, sizeof big_endian);
}

static void append_i32(int32_t value, struct buffer *key)
{
    uint32_t big_endian = __builtin_bswap32((uint32_t)value ^ UINT32_C(1) << 31);
    buffer_append(key, &big_endian, sizeof big_endian);
}

static void append_i64(int64_t value, struct buffer *key)
{
    append_u64((uint64_t)value ^ UINT64_C(1) << 63, key);
}

static void append_i128(__int128 value, struct buffer *key)
{
    append_u64((uint64_t)((unsigned __int128)value >> 64) ^ UINT64_C(1) << 63, key);
    append_u64((uint64_t)value, key);
}

void column_key(const struct column *column, int64_t row, struct buffer *key)
{
    assert(row >= 0);
    assert(row < column->rows_count);
    assert(column_is_valid(column, row));
    switch (column->type) {
    case COLUMN_STRING:
        append_string(column_bytes(column, row), key);
        return;
    case COLUMN_BOOLEAN:
        buffer_append_byte(key, column->values.u8[row]);
        return;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        append_i32(column->values.i32[row], key);
        return;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        append_i64(column->values.i64[row], key);
        return;
    case COLUMN_DECIMAL:
        append_i128(column->values.i128[row], key);
        return;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
    case COLUMN_BINARY:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a type that the schema allows in keys");
}

void frame_key(const struct frame *frame, int64_t row, struct buffer *key)
{
    const struct schema *schema = frame->schema;
    assert(schema->key_count > 0);
    for (size_t i = 0; i < schema->key_count; i++) {
        column_key(&frame->columns[schema->key[i]], row, key);
    }
}

int64_t frame_sequence(const struct frame *frame, int64_t row)
{
    assert(frame->schema->has_sequence);
    const struct column *column = &frame->columns[frame->schema->sequence];
    assert(row >= 0);
    assert(row < column->rows_count);
    assert(column_is_valid(column, row));
    if (column->type == COLUMN_INTEGER || column->type == COLUMN_DATE) {
        return column->values.i32[row];
    }
    assert(column->type == COLUMN_LONG || column->type == COLUMN_TIMESTAMP);
    return column->values.i64[row];
}
