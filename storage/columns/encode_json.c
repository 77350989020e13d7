/*
 * JSON rows from frames and from row images. See encode_json.h for the forms.
 *
 * Both paths meet in one value: what a column or an image holds becomes a
 * struct row_value, and that becomes text.
 */
#include "storage/columns/encode_json.h"

#include "storage/columns/encode_text.h"
#include "storage/columns/widen.h"

#include <assert.h>
#include <math.h>

enum { QUOTED_BYTES_MAX = ENCODE_SCALAR_BYTES_MAX + 2 };

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
static void write_escape(uint8_t c, struct encode_sink *sink)
{
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    static const char digits[] = "0123456789abcdef";
    if (c >= 0x20 || letters[c] != 0) {
        const char escape[] = {'\\', c >= 0x20 ? (char)c : letters[c]};
        encode_sink_write(sink, escape, sizeof escape);
    } else {
        const char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        encode_sink_write(sink, escape, sizeof escape);
    }
}

/* Bytes that are well-formed UTF-8 already. */
static void write_string(struct span string, struct encode_sink *sink)
{
    size_t run = plain_run(string);
    uint8_t *out = encode_sink_room(sink, run + 2);
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
        encode_sink_write(sink, rest.data, plain);
        run += 1 + plain;
    }
    encode_sink_write(sink, "\"", 1);
}

/* ---- values -------------------------------------------------------------------------- */

/* What JSON has no literal for is a string: dates, and doubles that are not numbers. */
static bool is_quoted(const struct field *field, const struct row_value *value)
{
    switch (field->type) {
    case COLUMN_DATE:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        return true;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return !isfinite(value->real);
    default:
        return false;
    }
}

static size_t put_scalar(const struct field *field, const struct row_value *value, char *out)
{
    if (!is_quoted(field, value)) {
        return encode_scalar(field, value, out);
    }
    out[0] = '"';
    size_t size = encode_scalar(field, value, out + 1);
    out[size + 1] = '"';
    return size + 2;
}

static void write_binary(struct span bytes, struct encode_sink *sink)
{
    encode_sink_write(sink, "\"", 1);
    encode_sink_base64(sink, bytes);
    encode_sink_write(sink, "\"", 1);
}

static void write_value(const struct field *field, const struct row_value *value,
                        struct encode_sink *sink)
{
    if (field->type == COLUMN_STRING) {
        write_string(value->bytes, sink);
    } else if (field->type == COLUMN_BINARY) {
        write_binary(value->bytes, sink);
    } else {
        uint8_t *out = encode_sink_room(sink, QUOTED_BYTES_MAX);
        if (out != NULL) {
            sink->at += put_scalar(field, value, (char *)out);
        }
    }
}

static void write_null(struct encode_sink *sink)
{
    encode_sink_write(sink, "null", 4);
}

/* "{" or "," and the member's name. */
static void write_name(const struct field *field, bool first, struct encode_sink *sink)
{
    uint8_t *out = encode_sink_room(sink, 1 + field->json_name.size);
    if (out != NULL) {
        out[0] = first ? '{' : ',';
        memcpy(out + 1, field->json_name.data, field->json_name.size);
        sink->at += 1 + field->json_name.size;
    }
}

static void write_end(bool empty, struct encode_sink *sink)
{
    encode_sink_write(sink, empty ? "{}" : "}", empty ? 2 : 1);
    encode_sink_settle(sink);
}

/* ---- from a frame --------------------------------------------------------------------- */

static void write_cell(const struct field *field, const struct column *column, int64_t row,
                       struct encode_sink *sink);

static void write_struct(const struct field *field, const struct column *column, int64_t row,
                         struct encode_sink *sink)
{
    for (size_t i = 0; i < field->children_count; i++) {
        write_name(&field->children[i], i == 0, sink);
        write_cell(&field->children[i], &column->children[i], row, sink);
    }
    encode_sink_write(sink, "}", 1);
}

static void write_array(const struct field *field, const struct column *column, int64_t row,
                        struct encode_sink *sink)
{
    struct column_stretch elements = column_elements(column, row);
    encode_sink_write(sink, "[", 1);
    for (int64_t at = elements.start; at < elements.end; at++) {
        if (at > elements.start) {
            encode_sink_write(sink, ",", 1);
        }
        write_cell(&field->children[0], &column->children[0], at, sink);
    }
    encode_sink_write(sink, "]", 1);
}

static void write_text_of_key(struct span json, struct encode_sink *sink)
{
    bool is_text = json.size > 0 && json.data[0] == '"';
    if (is_text) { /* it has its quotes and escapes */
        encode_sink_write(sink, json.data, json.size);
    } else {
        write_string(json, sink);
    }
}

/* A map's key as a member's name: texts as they are, all else as the text of its JSON. */
static void write_key(const struct field *field, const struct column *column, int64_t row,
                      struct encode_sink *sink)
{
    if (field->type == COLUMN_STRING && column_is_valid(column, row)) {
        write_string(column_bytes(column, row), sink);
        return;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, sink->buffer->size_max);
    struct encode_sink inner = {.buffer = &text};
    write_cell(field, column, row, &inner);
    encode_sink_settle(&inner);
    write_text_of_key(buffer_span(&text), sink);
}

static void write_map(const struct field *field, const struct column *column, int64_t row,
                      struct encode_sink *sink)
{
    struct column_stretch entries = column_elements(column, row);
    encode_sink_write(sink, "{", 1);
    for (int64_t at = entries.start; at < entries.end; at++) {
        if (at > entries.start) {
            encode_sink_write(sink, ",", 1);
        }
        write_key(&field->children[0], &column->children[0], at, sink);
        encode_sink_write(sink, ":", 1);
        write_cell(&field->children[1], &column->children[1], at, sink);
    }
    encode_sink_write(sink, "}", 1);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void write_nested(const struct field *field, const struct column *column, int64_t row,
                         struct encode_sink *sink)
{
    switch (column->type) {
    case COLUMN_STRUCT:
        write_struct(field, column, row, sink);
        return;
    case COLUMN_ARRAY:
        write_array(field, column, row, sink);
        return;
    default:
        assert(column->type == COLUMN_MAP);
        write_map(field, column, row, sink);
        return;
    }
}

static void write_cell(const struct field *field, const struct column *column, int64_t row,
                       struct encode_sink *sink)
{
    if (!column_is_valid(column, row)) {
        write_null(sink);
    } else if (column_type_is_nested(column->type)) {
        write_nested(field, column, row, sink);
    } else {
        struct row_value value = encode_value_of(column, row);
        write_value(field, &value, sink);
    }
}

void encode_json_value(const struct frame *frame, size_t column, int64_t row, struct buffer *text)
{
    assert(column < frame->schema->fields_count);
    assert(row >= 0);
    assert(row < frame->rows_count);
    struct encode_sink sink = {.buffer = text};
    write_cell(&frame->schema->fields[column], &frame->columns[column], row, &sink);
    encode_sink_settle(&sink);
}

void encode_json_row(const struct frame *frame, int64_t row, const bool *columns_mask,
                     struct buffer *text)
{
    assert(row >= 0);
    assert(row < frame->rows_count);
    struct encode_sink sink = {.buffer = text};
    bool first = true;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        if (columns_mask == NULL || columns_mask[i]) {
            write_name(&frame->schema->fields[i], first, &sink);
            write_cell(&frame->schema->fields[i], &frame->columns[i], row, &sink);
            first = false;
        }
    }
    write_end(first, &sink);
}

void encode_ndjson_rows(const struct frame *frame, int64_t first, int64_t count,
                        const bool *columns_mask, struct buffer *text)
{
    for (int64_t row = first; row < first + count; row++) {
        encode_json_row(frame, row, columns_mask, text);
        buffer_append_byte(text, '\n');
    }
}

/* ---- from a row image ------------------------------------------------------------------ */

static void write_part(const struct field *field, const struct row_value *value,
                       struct encode_sink *sink);

static void write_fields_of(const struct field *field, const struct row_value *value,
                            struct encode_sink *sink)
{
    struct row_reader reader = row_fields_of(value);
    struct row_value part;
    bool have = row_reader_next(&reader, &part);
    for (size_t i = 0; i < field->children_count; i++) {
        write_name(&field->children[i], i == 0, sink);
        bool found = have && (size_t)part.field_id == i + 1;
        if (found) {
            write_part(&field->children[i], &part, sink);
        } else {
            write_null(sink);
        }
        have = found ? row_reader_next(&reader, &part) : have;
    }
    encode_sink_write(sink, "}", 1);
}

static void write_elements_of(const struct field *field, const struct row_value *value,
                              struct encode_sink *sink)
{
    struct row_elements elements = row_elements_of(value);
    struct row_value part;
    encode_sink_write(sink, "[", 1);
    for (bool first = true; row_elements_next(&elements, &part); first = false) {
        encode_sink_write(sink, ",", first ? 0 : 1);
        write_part(&field->children[0], &part, sink);
    }
    encode_sink_write(sink, "]", 1);
}

static void write_key_of(const struct field *field, const struct row_value *value,
                         struct encode_sink *sink);

static void write_entries_of(const struct field *field, const struct row_value *value,
                             struct encode_sink *sink)
{
    struct row_elements elements = row_elements_of(value);
    struct row_value part;
    encode_sink_write(sink, "{", 1);
    for (bool first = true; row_elements_next(&elements, &part); first = false) {
        encode_sink_write(sink, ",", first ? 0 : 1);
        write_key_of(&field->children[0], &part, sink);
        encode_sink_write(sink, ":", 1);
        if (row_elements_next(&elements, &part)) {
            write_part(&field->children[1], &part, sink);
        }
    }
    encode_sink_write(sink, "}", 1);
}

/* Of an image, whose value fits the field. Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void write_part(const struct field *field, const struct row_value *value,
                       struct encode_sink *sink)
{
    if (value->type == COLUMN_TYPE_COUNT) {
        write_null(sink);
    } else if (value->type == COLUMN_STRUCT) {
        write_fields_of(field, value, sink);
    } else if (value->type == COLUMN_ARRAY) {
        write_elements_of(field, value, sink);
    } else if (value->type == COLUMN_MAP) {
        write_entries_of(field, value, sink);
    } else {
        write_value(field, value, sink);
    }
}

static void write_key_of(const struct field *field, const struct row_value *value,
                         struct encode_sink *sink)
{
    if (value->type == COLUMN_STRING) {
        write_string(value->bytes, sink);
        return;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, sink->buffer->size_max);
    struct encode_sink inner = {.buffer = &text};
    write_part(field, value, &inner);
    encode_sink_settle(&inner);
    write_text_of_key(buffer_span(&text), sink);
}

static enum err_code write_image(struct row_reader *reader, const struct schema *schema,
                                 const bool *columns_mask, struct encode_sink *sink,
                                 struct err *err)
{
    struct row_value value;
    bool have = row_reader_next(reader, &value);
    bool first = true;
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct field *field = &schema->fields[i];
        while (have && value.field_id < field->id) { /* of a field that was dropped since */
            have = row_reader_next(reader, &value);
        }
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
            const struct row_value widened = row_value_widened(&value, field);
            write_part(field, &widened, sink);
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
    struct encode_sink sink = {.buffer = text};
    enum err_code code = write_image(&reader, schema, columns_mask, &sink, err);
    if (code != ERR_OK) {
        text->size = size_before;
    }
    return code;
}
