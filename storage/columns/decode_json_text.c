/*
 * JSON text without a schema: escapes, and skipping what no field takes. RFC 8259
 * to the letter; nothing recurses, so depth costs a bit a level.
 */
#include "storage/columns/decode_json_text.h"

#include "storage/columns/decode_number.h"

#include <assert.h>

const uint8_t *json_stop(struct json_parser *parser, const uint8_t *at, const char *why)
{
    parser->fault_at = at;
    parser->fault = why;
    return NULL;
}

/* ---- strings ------------------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX, or -1. */
static int32_t read_hex(const struct json_parser *parser, const uint8_t *p)
{
    int32_t unit = 0;
    if (parser->end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

static void append_code_point(struct buffer *buffer, uint32_t c)
{
    uint8_t bytes[4];
    size_t size = 0;
    if (c < 0x80) {
        bytes[size++] = (uint8_t)c;
    } else if (c < 0x800) {
        bytes[size++] = (uint8_t)(0xc0 | c >> 6);
        bytes[size++] = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        bytes[size++] = (uint8_t)(0xe0 | c >> 12);
        bytes[size++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        bytes[size++] = (uint8_t)(0xf0 | c >> 18);
        bytes[size++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        bytes[size++] = (uint8_t)(0x80 | (c & 0x3f));
    }
    buffer_append(buffer, bytes, size);
}

/* `p` is after "\u". spec: RFC 8259 section 7 — a pair of escapes for what is past U+FFFF */
static const uint8_t *read_unicode_escape(struct json_parser *parser, const uint8_t *p,
                                          struct json_token *text)
{
    int32_t unit = read_hex(parser, p);
    if (unit < 0) {
        return json_stop(parser, p, "\\u needs four hexadecimal digits");
    }
    p += 4;
    uint32_t code_point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xdc00 && json_peek(parser, p) == '\\' && parser->end - p > 1 &&
        p[1] == 'u') {
        int32_t low = read_hex(parser, p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            p += 6;
            code_point = 0x10000 + ((uint32_t)unit - 0xd800) * 0x400 + ((uint32_t)low - 0xdc00);
        }
    }
    if (code_point >= 0xd800 && code_point < 0xe000) {
        text->refused = "has an escape that is half of a surrogate pair";
        code_point = 0xfffd;
    } else if (code_point == 0) {
        text->refused = "has the character U+0000";
    }
    text->ascii &= code_point < 0x80;
    append_code_point(&parser->unescaped, code_point);
    return p;
}

/* `p` is after the backslash. */
static const uint8_t *read_escape(struct json_parser *parser, const uint8_t *p,
                                  struct json_token *text)
{
    static const uint8_t plain[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };
    uint8_t c = json_peek(parser, p);
    if (c == 'u') {
        return read_unicode_escape(parser, p + 1, text);
    }
    if (plain[c] == 0) {
        return json_stop(parser, p, "unknown escape in a string");
    }
    buffer_append_byte(&parser->unescaped, plain[c]);
    return p + 1;
}

const uint8_t *json_read_escaped_string(struct json_parser *parser, const uint8_t *start,
                                        const uint8_t *p, bool high, struct json_token *text)
{
    buffer_reset(&parser->unescaped);
    *text = (struct json_token){.ascii = true};
    for (;;) {
        buffer_append(&parser->unescaped, start, (size_t)(p - start));
        uint8_t c = json_peek(parser, p);
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            return json_stop(parser, p, "a string is not closed, or has a control character");
        }
        p = read_escape(parser, p + 1, text);
        if (p == NULL) {
            return NULL;
        }
        start = p;
        p = scan_json_text(p, parser->readable_end, &high);
    }
    assert(!parser->unescaped.overflowed);
    text->text = buffer_span(&parser->unescaped);
    text->ascii &= !high;
    return p + 1;
}

/* ---- values that go nowhere --------------------------------------------------- */

const uint8_t *json_skip_word(struct json_parser *parser, const uint8_t *p, const char *word)
{
    size_t size = strlen(word);
    if (!scan_equals(p, (size_t)(parser->end - p), (const uint8_t *)word, size)) {
        return json_stop(parser, p, "not a JSON value");
    }
    return p + size;
}

static const uint8_t *skip_number(struct json_parser *parser, const uint8_t *p)
{
    struct decode_number number;
    const uint8_t *after = decode_number_scan(p, parser->end, &number);
    return after != NULL ? after : json_stop(parser, p, "not a JSON number");
}

/* A value without members. */
static const uint8_t *skip_scalar(struct json_parser *parser, const uint8_t *p)
{
    struct json_token text;
    switch (json_peek(parser, p)) {
    case '"':
        return json_read_string(parser, p + 1, &text);
    case 't':
        return json_skip_word(parser, p, "true");
    case 'f':
        return json_skip_word(parser, p, "false");
    case 'n':
        return json_skip_word(parser, p, "null");
    default:
        return skip_number(parser, p);
    }
}

/* `p` is where a member name must start; returns where its value starts. */
static const uint8_t *skip_name(struct json_parser *parser, const uint8_t *p)
{
    if (json_peek(parser, p) != '"') {
        return json_stop(parser, p, "expected a field name in quotes");
    }
    struct json_token text;
    p = json_read_string(parser, p + 1, &text);
    if (p == NULL) {
        return NULL;
    }
    p = json_skip_space(parser, p);
    if (json_peek(parser, p) != ':') {
        return json_stop(parser, p, "expected ':' after a field name");
    }
    return json_skip_space(parser, p + 1);
}

/* Containers that are open while skipping; bit 0 of `objects` is the innermost. */
struct json_nesting {
    int depth;
    uint64_t objects;
};
_Static_assert(DECODE_DEPTH_MAX < 64, "one bit a level");

/*
 * `p` is at a bracket. Returns where the first value inside starts, or the
 * closing bracket when there is none, which `empty_out` tells apart.
 */
static const uint8_t *open_container(struct json_parser *parser, const uint8_t *p,
                                     struct json_nesting *nesting, bool *empty_out)
{
    if (nesting->depth == DECODE_DEPTH_MAX) {
        parser->too_deep = true;
        return json_stop(parser, p, "nested too deeply");
    }
    bool object = *p == '{';
    nesting->depth++;
    nesting->objects = nesting->objects << 1 | (object ? 1 : 0);
    p = json_skip_space(parser, p + 1);
    *empty_out = json_peek(parser, p) == (object ? '}' : ']');
    return object && !*empty_out ? skip_name(parser, p) : p;
}

static uint8_t closing_bracket(const struct json_nesting *nesting)
{
    return (nesting->objects & 1) != 0 ? '}' : ']';
}

/*
 * After a value: close what ends here. Returns where the next value starts, or
 * the byte after the outermost one when nesting is back at `base`.
 */
static const uint8_t *after_value(struct json_parser *parser, const uint8_t *p,
                                  struct json_nesting *nesting, int base)
{
    while (nesting->depth > base) {
        p = json_skip_space(parser, p);
        uint8_t c = json_peek(parser, p);
        if (c == ',') {
            p = json_skip_space(parser, p + 1);
            return (nesting->objects & 1) != 0 ? skip_name(parser, p) : p;
        }
        if (c != closing_bracket(nesting)) {
            return json_stop(parser, p, "expected ',' or a closing bracket");
        }
        nesting->depth--;
        nesting->objects >>= 1;
        p++;
    }
    return p;
}

const uint8_t *json_skip_value(struct json_parser *parser, const uint8_t *p, int depth)
{
    struct json_nesting nesting = {.depth = depth};
    do {
        bool ended = true;
        uint8_t c = json_peek(parser, p);
        if (c == '{' || c == '[') {
            p = open_container(parser, p, &nesting, &ended);
        } else {
            p = skip_scalar(parser, p);
        }
        if (p != NULL && ended) {
            p = after_value(parser, p, &nesting, depth);
        }
    } while (p != NULL && nesting.depth > depth);
    return p;
}
