/*
 * JSON rows from frames and from row images. See encode_json.h for the forms.
 *
 * Both paths meet in one value: what a column or an image holds becomes a
 * struct row_value, and that becomes text. Text goes through a sink that keeps
 * room ahead, because this is the last step of every lookup.
 */
#include "storage/columns/encode_json.h"

#include "storage/base/text.h"
#include "storage/columns/row.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum {
    SCALAR_BYTES_MAX = TEXT_DECIMAL_BYTES + 2, /* the longest number, date or name, quoted */
    FLOAT_DIGITS_MIN = 6,                      /* always survive a float */
    FLOAT_DIGITS_MAX = 9,                      /* always suffice for one */
};
_Static_assert((int)TEXT_DECIMAL_BYTES >= (int)TEXT_TIMESTAMP_BYTES, "the bound covers timestamps");
_Static_assert((int)TEXT_DECIMAL_BYTES >= (int)TEXT_DOUBLE_BYTES, "the bound covers doubles");

/* ---- the sink ------------------------------------------------------------------------ */

enum { SINK_BYTES_AHEAD = 1024 };

/* Where text goes: room taken from the buffer and not yet counted in its size. */
struct sink {
    struct buffer *buffer;
    uint8_t *at;  /* the next byte; NULL when no room is taken */
    uint8_t *end; /* of the room */
};

/* Count what was written; the buffer may be used directly until the next write. */
static void sink_settle(struct sink *sink)
{
    if (sink->at != NULL) {
        buffer_advance(sink->buffer, (size_t)(sink->at - sink->buffer->data) - sink->buffer->size);
    }
    sink->at = NULL;
    sink->end = NULL;
}

/* NULL past the buffer's ceiling, which is sticky there. */
static uint8_t *sink_refill(struct sink *sink, size_t size)
{
    sink_settle(sink);
    const struct buffer *buffer = sink->buffer;
    size_t left = buffer->size_max - buffer->size;
    size_t ahead = size < left && SINK_BYTES_AHEAD < left - size ? SINK_BYTES_AHEAD : 0;
    sink->at = buffer_reserve(sink->buffer, size + ahead);
    sink->end = sink->at == NULL ? NULL : sink->at + size + ahead;
    return sink->at;
}

/* Where the next `size` bytes go; the caller moves sink->at behind what it wrote. */
static inline uint8_t *sink_room(struct sink *sink, size_t size)
{
    return (size_t)(sink->end - sink->at) >= size && sink->at != NULL ? sink->at
                                                                      : sink_refill(sink, size);
}

static inline void sink_write(struct sink *sink, const void *bytes, size_t size)
{
    uint8_t *out = sink_room(sink, size);
    if (out != NULL && size > 0) {
        memcpy(out, bytes, size);
        sink->at += size;
    }
}

/* ---- strings ------------------------------------------------------------------------ */

/* A byte with its top bit set where a byte of `word` is below 0x20, '"' or '\\'. */
static uint64_t escaped_bytes(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101U;
    const uint64_t tops = 0x8080808080808080U;
    uint64_t quote = word ^ (ones * '"');
    uint64_t backslash = word ^ (ones * '\\');
    /* x - 1 borrows into the top bit exactly of zero bytes, unless the bit was set before;
     * a borrow out of a hit can mark its neighbour too, which only costs a closer look */
    return (((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
            ((backslash - ones) & ~backslash)) &
           tops;
}

static bool is_escaped(uint8_t c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Length of the part at the start that JSON takes as it is. */
static size_t plain_run(struct span text)
{
    size_t at = 0;
    uint64_t word = 0;
    for (; text.size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text.data + at, sizeof word);
        if (escaped_bytes(word) != 0) {
            break;
        }
    }
    while (at < text.size && !is_escaped(text.data[at])) {
        at++;
    }
    return at;
}

/* spec: RFC 8259 7 — quote, backslash and U+0000 to U+001F must be escaped, nothing else */
static void write_escape(uint8_t c, struct sink *sink)
{
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    static const char digits[] = "0123456789abcdef";
    if (c >= 0x20 || letters[c] != 0) {
        const char escape[] = {'\\', c >= 0x20 ? (char)c : letters[c]};
        sink_write(sink, escape, sizeof escape);
    } else {
        const char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        sink_write(sink, escape, sizeof escape);
    }
}

/* Bytes that are well-formed UTF-8 already. */
static void write_string(struct span string, struct sink *sink)
{
    size_t run = plain_run(string);
    uint8_t *out = sink_room(sink, run + 2);
    if (out == NULL) {
        return;
    }
    out[0] = '"';
    if (run > 0) {
        memcpy(out + 1, string.data, run);
    }
    out[run + 1] = '"';
    if (run == string.size) {
        sink->at += run + 2;
        return;
    }
    sink->at += run + 1; /* the quote was too early */
    while (run < string.size) {
        write_escape(string.data[run], sink);
        struct span rest = span_of(string.data + run + 1, string.size - run - 1);
        size_t plain = plain_run(rest);
        sink_write(sink, rest.data, plain);
        run += 1 + plain;
    }
    sink_write(sink, "\"", 1);
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
        return PUT_LITERAL("\"NaN\"", out);
    }
    return real > 0 ? PUT_LITERAL("\"Infinity\"", out) : PUT_LITERAL("\"-Infinity\"", out);
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

static size_t put_date(int64_t days, char *out)
{
    out[0] = '"';
    size_t size = text_format_date((int32_t)days, out + 1);
    out[size + 1] = '"';
    return size + 2;
}

/* Fraction digits only when one of them is not zero. */
static size_t put_timestamp(int64_t us, bool zone, char *out)
{
    enum { FRACTION_BYTES = 7 }; /* the point and six digits, last but for the zone */
    out[0] = '"';
    size_t size = text_format_timestamp_ntz(us, out + 1);
    if (us % 1000000 == 0) {
        size -= FRACTION_BYTES;
    }
    if (zone) {
        out[1 + size++] = 'Z';
    }
    out[1 + size] = '"';
    return size + 2;
}

static size_t put_scalar(const struct field *field, const struct row_value *value, char *out)
{
    switch (field->type) {
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        return text_format_int64(value->integer, out);
    case COLUMN_DOUBLE:
        return put_double(value->real, out);
    case COLUMN_FLOAT:
        return put_float(value->real, out);
    case COLUMN_BOOLEAN:
        return value->integer != 0 ? PUT_LITERAL("true", out) : PUT_LITERAL("false", out);
    case COLUMN_DATE:
        return put_date(value->integer, out);
    case COLUMN_TIMESTAMP:
        return put_timestamp(value->integer, true, out);
    case COLUMN_TIMESTAMP_NTZ:
        return put_timestamp(value->integer, false, out);
    case COLUMN_DECIMAL:
        return text_format_decimal(value->decimal, field->scale, out);
    case COLUMN_STRING:
    case COLUMN_BINARY:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a scalar type");
    return 0;
}

static void write_binary(struct span bytes, struct sink *sink)
{
    sink_settle(sink);
    buffer_append_byte(sink->buffer, '"');
    text_base64_encode(bytes, sink->buffer);
    buffer_append_byte(sink->buffer, '"');
}

static void write_value(const struct field *field, const struct row_value *value, struct sink *sink)
{
    if (field->type == COLUMN_STRING) {
        write_string(value->bytes, sink);
    } else if (field->type == COLUMN_BINARY) {
        write_binary(value->bytes, sink);
    } else {
        uint8_t *out = sink_room(sink, SCALAR_BYTES_MAX);
        if (out != NULL) {
            sink->at += put_scalar(field, value, (char *)out);
        }
    }
}

static void write_null(struct sink *sink)
{
    sink_write(sink, "null", 4);
}

/* "{" or "," and the member's name. */
static void write_name(const struct field *field, bool first, struct sink *sink)
{
    uint8_t *out = sink_room(sink, 1 + field->json_name.size);
    if (out != NULL) {
        out[0] = first ? '{' : ',';
        memcpy(out + 1, field->json_name.data, field->json_name.size);
        sink->at += 1 + field->json_name.size;
    }
}

static void write_end(bool empty, struct sink *sink)
{
    sink_write(sink, empty ? "{}" : "}", empty ? 2 : 1);
    sink_settle(sink);
}

/* ---- from a frame --------------------------------------------------------------------- */

/* A value that is not null. */
static struct row_value value_of(const struct column *column, int64_t row)
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
    case COLUMN_TYPE_COUNT:
        assert(false && "a type of the enum");
    }
    return value;
}

static void write_cell(const struct frame *frame, size_t column, int64_t row, struct sink *sink)
{
    if (column_is_valid(&frame->columns[column], row)) {
        struct row_value value = value_of(&frame->columns[column], row);
        write_value(&frame->schema->fields[column], &value, sink);
    } else {
        write_null(sink);
    }
}

void encode_json_value(const struct frame *frame, size_t column, int64_t row, struct buffer *text)
{
    assert(column < frame->schema->fields_count);
    assert(row >= 0);
    assert(row < frame->rows_count);
    struct sink sink = {.buffer = text};
    write_cell(frame, column, row, &sink);
    sink_settle(&sink);
}

void encode_json_row(const struct frame *frame, int64_t row, const bool *columns_mask,
                     struct buffer *text)
{
    assert(row >= 0);
    assert(row < frame->rows_count);
    struct sink sink = {.buffer = text};
    bool first = true;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        if (columns_mask == NULL || columns_mask[i]) {
            write_name(&frame->schema->fields[i], first, &sink);
            write_cell(frame, i, row, &sink);
            first = false;
        }
    }
    write_end(first, &sink);
}

/* ---- from a row image ------------------------------------------------------------------ */

static enum err_code write_image(struct row_reader *reader, const struct schema *schema,
                                 const bool *columns_mask, struct sink *sink, struct err *err)
{
    struct row_value value;
    bool have = row_reader_next(reader, &value);
    bool first = true;
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct field *field = &schema->fields[i];
        bool found = have && value.field_id == field->id;
        bool wanted = columns_mask == NULL || columns_mask[i];
        if (found && !row_value_fits(&value, field)) {
            return err_set(err, ERR_CORRUPT, "row image holds no %s in field '%s'",
                           column_type_name(field->type), field->name);
        }
        if (wanted) {
            write_name(field, first, sink);
            first = false;
        }
        if (wanted && found) {
            write_value(field, &value, sink);
        } else if (wanted) {
            write_null(sink);
        }
        have = found ? row_reader_next(reader, &value) : have;
    }
    write_end(first, sink);
    while (have) {
        have = row_reader_next(reader, &value); /* fields added after this schema's version */
    }
    return row_reader_check(reader, err);
}

enum err_code encode_json_image(struct span image, const struct schema *schema,
                                const bool *columns_mask, struct buffer *text, struct err *err)
{
    struct row_reader reader;
    TRY(row_reader_init(&reader, image, err));
    size_t size_before = text->size;
    struct sink sink = {.buffer = text};
    enum err_code code = write_image(&reader, schema, columns_mask, &sink, err);
    if (code != ERR_OK) {
        text->size = size_before;
    }
    return code;
}
