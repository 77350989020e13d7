/*
 * JSON values as text (RFC 8259). See json.h for the contract.
 */
#include "storage/base/json.h"

#include "storage/base/json_node.h"
#include "storage/base/text.h"

#include <assert.h>
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

static void write_child(const struct json *parent, uint32_t index, struct layout layout,
                        struct buffer *buffer)
{
    if (parent->kind == JSON_KIND_ARRAY) {
        write_value(parent->children.items[index], layout, buffer);
        return;
    }
    const struct json_member *member = &parent->children.members[index];
    json_write_string(buffer, span_of(member->name, member->name_size));
    buffer_append_text(buffer, layout.pretty ? ": " : ":");
    write_value(member->value, layout, buffer);
}

static void write_children(const struct json *parent, struct layout layout, struct buffer *buffer)
{
    struct layout inner = {.pretty = layout.pretty, .depth = layout.depth + 1};
    buffer_append_byte(buffer, parent->kind == JSON_KIND_ARRAY ? '[' : '{');
    for (uint32_t i = 0; i < parent->children.count; i++) {
        if (i > 0) {
            buffer_append_byte(buffer, ',');
        }
        write_break(inner, buffer);
        write_child(parent, i, inner, buffer);
    }
    if (parent->children.count > 0) {
        write_break(layout, buffer);
    }
    buffer_append_byte(buffer, parent->kind == JSON_KIND_ARRAY ? ']' : '}');
}

static void write_integer(int64_t integer, struct buffer *buffer)
{
    char text[TEXT_DOUBLE_BYTES];
    buffer_append(buffer, text, text_format_int64(integer, text));
}

static void write_value(const struct json *value, struct layout layout, struct buffer *buffer)
{
    switch (json_kind(value)) {
    case JSON_KIND_NULL:
        buffer_append_text(buffer, "null");
        break;
    case JSON_KIND_BOOLEAN:
        buffer_append_text(buffer, value->boolean ? "true" : "false");
        break;
    case JSON_KIND_INTEGER:
        write_integer(value->integer, buffer);
        break;
    case JSON_KIND_REAL:
        buffer_append(buffer, value->text, value->size);
        break;
    case JSON_KIND_STRING:
        json_write_string(buffer, span_of(value->text, value->size));
        break;
    case JSON_KIND_ARRAY:
    case JSON_KIND_OBJECT:
        write_children(value, layout, buffer);
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
