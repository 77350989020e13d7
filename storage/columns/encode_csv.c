/*
 * CSV rows from frames. See encode_csv.h for the forms.
 */
#include "storage/columns/encode_csv.h"

#include "storage/columns/decode_scan.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/encode_text.h"

#include <assert.h>

static bool is_wanted(const bool *columns_mask, size_t column)
{
    return columns_mask == NULL || columns_mask[column];
}

enum err_code encode_csv_check(const struct schema *schema, const bool *columns_mask,
                               struct err *err)
{
    size_t count = 0;
    size_t last = 0;
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (is_wanted(columns_mask, i)) {
            count++;
            last = i;
        }
    }
    if (count == 1 && schema->fields[last].nullable) {
        return err_set(err, ERR_INVALID,
                       "CSV of the nullable column '%s' alone would lose its nulls: an empty line "
                       "is no row; add a column, or take ndjson or parquet",
                       schema->fields[last].name);
    }
    return ERR_OK;
}

/* A text with each quote doubled, between quotes. */
static void write_quoted(struct encode_sink *sink, struct span text)
{
    encode_sink_write(sink, "\"", 1);
    while (text.size > 0) {
        const uint8_t *quote = memchr(text.data, '"', text.size);
        size_t size = quote == NULL ? text.size : (size_t)(quote + 1 - text.data);
        encode_sink_write(sink, text.data, size);
        if (quote != NULL) {
            encode_sink_write(sink, "\"", 1);
        }
        text = span_of(text.data + size, text.size - size);
    }
    encode_sink_write(sink, "\"", 1);
}

/* spec: RFC 4180 2 — line breaks, double quotes and commas need quotes; the empty text is not
 * null, which is our reader's distinction */
static void write_text(struct encode_sink *sink, struct span text)
{
    bool high = false;
    const uint8_t *end = text.data + text.size;
    if (text.size == 0 || scan_csv_text(text.data, end, &high) != end) {
        write_quoted(sink, text);
    } else {
        encode_sink_write(sink, text.data, text.size);
    }
}

static void write_binary(struct encode_sink *sink, struct span bytes)
{
    if (bytes.size == 0) {
        encode_sink_write(sink, "\"\"", 2);
    } else {
        encode_sink_base64(sink, bytes);
    }
}

/* JSON, which the decoder of CSV reads back. */
static void write_nested(struct encode_sink *sink, const struct frame *frame, size_t index,
                         int64_t row)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, sink->buffer->size_max);
    encode_json_value(frame, index, row, &text);
    write_text(sink, buffer_span(&text));
}

static void write_cell(struct encode_sink *sink, const struct frame *frame, size_t index,
                       int64_t row)
{
    const struct field *field = &frame->schema->fields[index];
    const struct column *column = &frame->columns[index];
    if (!column_is_valid(column, row)) {
        return;
    }
    if (column_type_is_nested(field->type)) {
        write_nested(sink, frame, index, row);
        return;
    }
    struct row_value value = encode_value_of(column, row);
    if (field->type == COLUMN_STRING) {
        write_text(sink, value.bytes);
    } else if (field->type == COLUMN_BINARY) {
        write_binary(sink, value.bytes);
    } else {
        uint8_t *out = encode_sink_room(sink, ENCODE_SCALAR_BYTES_MAX);
        if (out != NULL) {
            sink->at += encode_scalar(field, &value, (char *)out);
        }
    }
}

static void write_line_end(struct encode_sink *sink)
{
    encode_sink_write(sink, "\r\n", 2);
    encode_sink_settle(sink);
}

void encode_csv_header(const struct schema *schema, const bool *columns_mask, struct buffer *text)
{
    struct encode_sink sink = {.buffer = text};
    bool first = true;
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (is_wanted(columns_mask, i)) {
            encode_sink_write(&sink, ",", first ? 0 : 1);
            write_text(&sink, span_of_text(schema->fields[i].name));
            first = false;
        }
    }
    write_line_end(&sink);
}

void encode_csv_row(const struct frame *frame, int64_t row, const bool *columns_mask,
                    struct buffer *text)
{
    assert(row >= 0);
    assert(row < frame->rows_count);
    struct encode_sink sink = {.buffer = text};
    bool first = true;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        if (is_wanted(columns_mask, i)) {
            encode_sink_write(&sink, ",", first ? 0 : 1);
            write_cell(&sink, frame, i, row);
            first = false;
        }
    }
    write_line_end(&sink);
}
