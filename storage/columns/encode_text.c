/*
 * Values as text, and where it goes. See encode_text.h.
 */
#include "storage/columns/encode_text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum {
    SINK_BYTES_AHEAD = 1024,
    FLOAT_DIGITS_MIN = 6, /* always survive a float */
    FLOAT_DIGITS_MAX = 9, /* always suffice for one */
};
_Static_assert((int)ENCODE_SCALAR_BYTES_MAX >= (int)TEXT_TIMESTAMP_BYTES, "covers timestamps");
_Static_assert((int)ENCODE_SCALAR_BYTES_MAX >= (int)TEXT_DOUBLE_BYTES, "covers doubles");

/* ---- values -------------------------------------------------------------------------- */

struct row_value encode_value_of(const struct column *column, int64_t row)
{
    struct row_value value = {.type = column->type};
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY:
        value.bytes = column_bytes(column, row);
        break;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        value.integer = column->values.i32[row];
        break;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        value.integer = column->values.i64[row];
        break;
    case COLUMN_BOOLEAN:
        value.integer = column->values.u8[row];
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        value.real = column->values.f64[row];
        break;
    case COLUMN_DECIMAL:
        value.decimal = column->values.i128[row];
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        assert(false && "a type of the enum");
    }
    return value;
}

/* ---- scalars: each writes to `out` and returns its length ------------------------------ */

static size_t put_literal(const char *literal, size_t size, char *out)
{
    memcpy(out, literal, size);
    return size;
}
#define PUT_LITERAL(literal, out) put_literal(literal, sizeof(literal) - 1, out)

static size_t put_double(double real, char *out)
{
    if (isfinite(real)) {
        return text_format_double(real, out);
    }
    if (isnan(real)) {
        return PUT_LITERAL("NaN", out);
    }
    return real > 0 ? PUT_LITERAL("Infinity", out) : PUT_LITERAL("-Infinity", out);
}

/* The shortest text that reads back as this float: a float widened has digits of its own. */
static size_t put_float(double real, char *out)
{
    if (!isfinite(real)) {
        return put_double(real, out);
    }
    for (int digits = FLOAT_DIGITS_MIN; digits <= FLOAT_DIGITS_MAX; digits++) {
        char text[TEXT_DOUBLE_BYTES];
        int size = snprintf(text, sizeof text, "%.*g", digits, real);
        double back = 0;
        assert(size > 0 && size < (int)sizeof text);
        if (text_parse_double(span_of(text, (size_t)size), &back) && (float)back == (float)real) {
            return put_double(back, out);
        }
    }
    return put_double(real, out);
}

/* Fraction digits only when one of them is not zero. */
static size_t put_timestamp(int64_t us, bool zone, char *out)
{
    enum { FRACTION_BYTES = 7 }; /* the point and six digits, last but for the zone */
    size_t size = text_format_timestamp_ntz(us, out);
    if (us % 1000000 == 0) {
        size -= FRACTION_BYTES;
    }
    if (zone) {
        out[size++] = 'Z';
    }
    return size;
}

size_t encode_scalar(const struct field *field, const struct row_value *value,
                     char text_out[ENCODE_SCALAR_BYTES_MAX])
{
    switch (field->type) {
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        return text_format_int64(value->integer, text_out);
    case COLUMN_DOUBLE:
        return put_double(value->real, text_out);
    case COLUMN_FLOAT:
        return put_float(value->real, text_out);
    case COLUMN_BOOLEAN:
        return value->integer != 0 ? PUT_LITERAL("true", text_out) : PUT_LITERAL("false", text_out);
    case COLUMN_DATE:
        return text_format_date((int32_t)value->integer, text_out);
    case COLUMN_TIMESTAMP:
        return put_timestamp(value->integer, true, text_out);
    case COLUMN_TIMESTAMP_NTZ:
        return put_timestamp(value->integer, false, text_out);
    case COLUMN_DECIMAL:
        return text_format_decimal(value->decimal, field->scale, text_out);
    case COLUMN_STRING:
    case COLUMN_BINARY:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a scalar type");
    return 0;
}

/* ---- the sink ------------------------------------------------------------------------ */

void encode_sink_settle(struct encode_sink *sink)
{
    if (sink->at != NULL) {
        buffer_advance(sink->buffer, (size_t)(sink->at - sink->buffer->data) - sink->buffer->size);
    }
    sink->at = NULL;
    sink->end = NULL;
}

uint8_t *encode_sink_refill(struct encode_sink *sink, size_t size)
{
    encode_sink_settle(sink);
    const struct buffer *buffer = sink->buffer;
    size_t left = buffer->size_max - buffer->size;
    size_t ahead = size < left && SINK_BYTES_AHEAD < left - size ? SINK_BYTES_AHEAD : 0;
    sink->at = buffer_reserve(sink->buffer, size + ahead);
    sink->end = sink->at == NULL ? NULL : sink->at + size + ahead;
    return sink->at;
}

void encode_sink_base64(struct encode_sink *sink, struct span bytes)
{
    encode_sink_settle(sink);
    text_base64_encode(bytes, sink->buffer);
}
