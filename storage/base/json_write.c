/*
 * JSON values as text (RFC 8259). See json.h for the contract.
 */
#include "storage/base/json.h"

#include "storage/base/json_plain.h"
#include "storage/base/text.h"

#include <string.h>

/* A character that may not stand for itself in a string. */
static void write_escape(struct buffer *buffer, uint8_t c)
{
    static const char short_escapes[][3] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
        ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
    };
    if (c < sizeof short_escapes / sizeof short_escapes[0] && short_escapes[c][0] != '\0') {
        buffer_append_text(buffer, short_escapes[c]);
        return;
    }
    static const char digits[] = "0123456789abcdef";
    const char escape[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
    buffer_append(buffer, escape, sizeof escape);
}

void json_write_string(struct buffer *buffer, struct span text)
{
    buffer_append_byte(buffer, '"');
    for (size_t at = 0; at < text.size;) {
        size_t run = json_plain_run(text.data + at, text.size - at);
        buffer_append(buffer, text.data + at, run);
        at += run;
        if (at == text.size) {
            break;
        }
        if (text.data[at] < 0x80) {
            write_escape(buffer, text.data[at++]);
            continue;
        }
        size_t size = text_utf8_sequence(span_of(text.data + at, text.size - at));
        if (size > 0) {
            buffer_append(buffer, text.data + at, size);
        } else {
            buffer_append_text(buffer, "\xef\xbf\xbd"); /* U+FFFD */
        }
        at += size > 0 ? size : 1;
    }
    buffer_append_byte(buffer, '"');
}

void json_write_name(struct buffer *buffer, const char *name)
{
    if (buffer->size > 0 && buffer->data[buffer->size - 1] != '{') {
        buffer_append_byte(buffer, ',');
    }
    buffer_append_byte(buffer, '"');
    buffer_append_text(buffer, name);
    buffer_append(buffer, "\":", 2);
}

void json_write_text_member(struct buffer *buffer, const char *name, const char *text)
{
    json_write_name(buffer, name);
    json_write_string(buffer, span_of_text(text));
}

void json_write_integer_member(struct buffer *buffer, const char *name, int64_t integer)
{
    json_write_name(buffer, name);
    text_append_int64(integer, buffer);
}

/* How to lay out: compact, or a line for each child. */
struct layout {
    bool pretty;
    unsigned depth;
};

static void write_value(const struct json *value, struct layout layout, struct buffer *buffer);

static void write_break(struct layout layout, struct buffer *buffer)
{
    if (layout.pretty) {
        buffer_append_byte(buffer, '\n');
        for (unsigned i = 0; i < layout.depth; i++) {
            buffer_append_text(buffer, "  ");
        }
    }
}

static void write_items(const struct json *array, struct layout inner, struct buffer *buffer)
{
    for (size_t i = 0; i < json_count(array); i++) {
        if (i > 0) {
            buffer_append_byte(buffer, ',');
        }
        write_break(inner, buffer);
        write_value(json_at(array, i), inner, buffer);
    }
}

static void write_members(const struct json *object, struct layout inner, struct buffer *buffer)
{
    size_t position = 0;
    const char *name = NULL;
    const struct json *value = NULL;
    for (bool first = true; json_member(object, &position, &name, &value); first = false) {
        if (!first) {
            buffer_append_byte(buffer, ',');
        }
        write_break(inner, buffer);
        json_write_string(buffer, span_of_text(name));
        buffer_append_text(buffer, inner.pretty ? ": " : ":");
        write_value(value, inner, buffer);
    }
}

static void write_container(const struct json *value, struct layout layout, struct buffer *buffer)
{
    struct layout inner = {.pretty = layout.pretty, .depth = layout.depth + 1};
    bool array = json_kind(value) == JSON_KIND_ARRAY;
    buffer_append_byte(buffer, array ? '[' : '{');
    if (array) {
        write_items(value, inner, buffer);
    } else {
        write_members(value, inner, buffer);
    }
    if (json_count(value) > 0) {
        write_break(layout, buffer);
    }
    buffer_append_byte(buffer, array ? ']' : '}');
}

static void write_integer(const struct json *value, struct buffer *buffer)
{
    char text[TEXT_DOUBLE_BYTES];
    int64_t integer = 0;
    (void)json_as_integer(value, &integer); /* it is one */
    buffer_append(buffer, text, text_format_int64(integer, text));
}

/* The shortest text of the double, with a fraction or an exponent, so that it reads as a real. */
static void write_real(const struct json *value, struct buffer *buffer)
{
    char text[TEXT_DOUBLE_BYTES];
    double real = 0;
    (void)json_as_real(value, &real); /* it is one */
    size_t size = text_format_double(real, text);
    buffer_append(buffer, text, size);
    if (memchr(text, '.', size) == NULL && memchr(text, 'e', size) == NULL) {
        buffer_append_text(buffer, ".0");
    }
}

static void write_boolean(const struct json *value, struct buffer *buffer)
{
    bool boolean = false;
    (void)json_as_boolean(value, &boolean); /* it is one */
    buffer_append_text(buffer, boolean ? "true" : "false");
}

static void write_text(const struct json *value, struct buffer *buffer)
{
    struct span text = {0};
    (void)json_as_string(value, &text); /* it is one */
    json_write_string(buffer, text);
}

/* Recursion follows the value: parsed ones are bounded, built ones nest as our code does. */
static void write_value(const struct json *value, struct layout layout, struct buffer *buffer)
{
    switch (json_kind(value)) {
    case JSON_KIND_NULL:
        buffer_append_text(buffer, "null");
        break;
    case JSON_KIND_BOOLEAN:
        write_boolean(value, buffer);
        break;
    case JSON_KIND_INTEGER:
        write_integer(value, buffer);
        break;
    case JSON_KIND_REAL:
        write_real(value, buffer);
        break;
    case JSON_KIND_STRING:
        write_text(value, buffer);
        break;
    case JSON_KIND_ARRAY:
    case JSON_KIND_OBJECT:
        write_container(value, layout, buffer);
        break;
    }
}

void json_write(const struct json *value, struct buffer *buffer)
{
    write_value(value, (struct layout){.pretty = false}, buffer);
}

void json_write_pretty(const struct json *value, struct buffer *buffer)
{
    write_value(value, (struct layout){.pretty = true}, buffer);
}
