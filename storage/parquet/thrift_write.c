/*
 * Thrift's compact protocol: writing. See thrift.h for the contract.
 */
#include "storage/parquet/thrift.h"

#include <assert.h>

enum { FIELD_DELTA_MAX = 15 };

static void write_zigzag(struct buffer *out, int64_t value)
{
    buffer_append_varint(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static void write_head(struct buffer *out, int *last, int id, enum thrift_type type)
{
    int delta = id - *last;
    assert(delta > 0);
    assert(delta <= FIELD_DELTA_MAX);
    buffer_append_byte(out, (uint8_t)((unsigned)delta << 4 | (unsigned)type));
    *last = id;
}

void thrift_write_bool(struct buffer *out, int *last, int id, bool value)
{
    write_head(out, last, id, value ? THRIFT_TRUE : THRIFT_FALSE);
}

void thrift_write_i8(struct buffer *out, int *last, int id, int8_t value)
{
    write_head(out, last, id, THRIFT_I8);
    buffer_append_byte(out, (uint8_t)value);
}

void thrift_write_i16(struct buffer *out, int *last, int id, int16_t value)
{
    write_head(out, last, id, THRIFT_I16);
    write_zigzag(out, value);
}

void thrift_write_i32(struct buffer *out, int *last, int id, int32_t value)
{
    write_head(out, last, id, THRIFT_I32);
    write_zigzag(out, value);
}

void thrift_write_i64(struct buffer *out, int *last, int id, int64_t value)
{
    write_head(out, last, id, THRIFT_I64);
    write_zigzag(out, value);
}

void thrift_write_binary(struct buffer *out, int *last, int id, struct span value)
{
    write_head(out, last, id, THRIFT_BINARY);
    thrift_put_binary(out, value);
}

void thrift_write_struct(struct buffer *out, int *last, int id)
{
    write_head(out, last, id, THRIFT_STRUCT);
}

void thrift_write_list(struct buffer *out, int *last, int id, enum thrift_type element,
                       size_t count)
{
    write_head(out, last, id, THRIFT_LIST);
    if (count <= THRIFT_LIST_SHORT_MAX) {
        buffer_append_byte(out, (uint8_t)(count << 4 | (unsigned)element));
    } else {
        buffer_append_byte(out, (uint8_t)(0xf0u | (unsigned)element));
        buffer_append_varint(out, count);
    }
}

void thrift_write_stop(struct buffer *out)
{
    buffer_append_byte(out, THRIFT_STOP);
}

void thrift_put_integer(struct buffer *out, int64_t value)
{
    write_zigzag(out, value);
}

void thrift_put_binary(struct buffer *out, struct span value)
{
    buffer_append_varint(out, value.size);
    buffer_append_span(out, value);
}

void thrift_put_bool(struct buffer *out, bool value)
{
    buffer_append_byte(out, value ? THRIFT_TRUE : THRIFT_FALSE);
}
