/*
 * JSON text to values (RFC 8259), without recursion: the containers that are
 * open stand on a stack of LOG_JSON_DEPTH_MAX. See log_json.h for the contract.
 */
#include "storage/delta/log_json.h"

#include "storage/base/json_plain.h"
#include "storage/base/text.h"
#include "storage/delta/log_json_node.h"

#include <assert.h>
#include <string.h>

/* One parse; on the stack of log_json_parse. The text is well-formed UTF-8. */
struct parser {
    const uint8_t *data;
    size_t size;
    size_t at; /* <= size */
    struct arena *arena;
    const char *reason; /* why it stopped; a full arena is a reason of its own */
    struct log_json *root;
    struct log_json *open[LOG_JSON_DEPTH_MAX];
    size_t depth; /* containers in `open` */
};

static bool refuse(struct parser *parser, const char *reason)
{
    parser->reason = reason;
    return false;
}

/* A value with `size` bytes of text and a NUL, all zero; NULL when the arena is full. */
static struct log_json *new_value(struct parser *parser, enum log_json_kind kind, size_t size)
{
    struct log_json *value = arena_alloc(parser->arena, sizeof *value + size + 1);
    if (value != NULL) {
        value->kind = kind;
        value->size = size;
    }
    return value;
}

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->size) {
        uint8_t c = parser->data[parser->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            break;
        }
        parser->at++;
    }
}

/* The next byte that is not space, or NUL at the end (a real NUL is refused by everyone). */
static char peek(struct parser *parser)
{
    skip_space(parser);
    return parser->at < parser->size ? (char)parser->data[parser->at] : '\0';
}

/* ---- strings ---- */

/* Move past a string's body; *end_out is its closing quote. */
static bool find_string_end(struct parser *parser, size_t *end_out, bool *escaped_out)
{
    size_t at = parser->at;
    *escaped_out = false;
    for (;;) {
        at += json_plain_run(parser->data + at, parser->size - at);
        if (at == parser->size) {
            parser->at = at;
            return refuse(parser, "a string does not end");
        }
        uint8_t c = parser->data[at];
        if (c == '"') {
            *end_out = at;
            return true;
        }
        if (c < 0x20) {
            parser->at = at;
            return refuse(parser, "a control character in a string must be escaped");
        }
        bool escape = c == '\\';
        *escaped_out |= escape;
        /* the character after a backslash is looked at when decoding */
        at += escape && at + 1 < parser->size ? 2 : 1;
    }
}

/* Four hexadecimal digits at `at`, or -1. */
static int hex4(const uint8_t *digits)
{
    int value = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t lower = digits[i] | 0x20;
        int digit = digits[i] >= '0' && digits[i] <= '9' ? digits[i] - '0'
                    : lower >= 'a' && lower <= 'f'       ? lower - 'a' + 10
                                                         : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static char *put_code_point(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/*
 * "\uXXXX" or a surrogate pair of them at parser->at, which is at the first "\u".
 * spec: RFC 8259 7 — characters outside the basic plane are a surrogate pair
 */
static bool take_unicode(struct parser *parser, size_t end, uint32_t *code_out)
{
    const uint8_t *text = parser->data + parser->at;
    size_t left = end - parser->at;
    int high = left >= 6 ? hex4(text + 2) : -1;
    if (high < 0) {
        return refuse(parser, "\\u needs four hexadecimal digits");
    }
    if (high < 0xd800 || high > 0xdfff) {
        *code_out = (uint32_t)high;
        parser->at += 6;
        return true;
    }
    bool pair = high < 0xdc00 && left >= 12 && text[6] == '\\' && text[7] == 'u';
    int low = pair ? hex4(text + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return refuse(parser, "half a surrogate pair");
    }
    *code_out = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    parser->at += 12;
    return true;
}

static bool take_escape(struct parser *parser, size_t end, char **out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t letter = parser->data[parser->at + 1]; /* there is at least the closing quote */
    if (letter == 'u') {
        uint32_t code = 0;
        if (!take_unicode(parser, end, &code)) {
            return false;
        }
        *out = put_code_point(*out, code);
        return true;
    }
    const char *found = letter != '\0' ? strchr(letters, letter) : NULL;
    if (found == NULL) {
        return refuse(parser, "an unknown escape in a string");
    }
    *(*out)++ = meanings[found - letters];
    parser->at += 2;
    return true;
}

/* Decode up to the quote at `end` into `out`, which has room for the escaped form. */
static bool decode_escaped(struct parser *parser, size_t end, char *out, size_t *size_out)
{
    char *start = out;
    while (parser->at < end) {
        const uint8_t *text = parser->data + parser->at;
        const uint8_t *escape = memchr(text, '\\', end - parser->at);
        size_t plain = escape != NULL ? (size_t)(escape - text) : end - parser->at;
        memcpy(out, text, plain);
        out += plain;
        parser->at += plain;
        if (escape != NULL && !take_escape(parser, end, &out)) {
            return false;
        }
    }
    *out = '\0';
    *size_out = (size_t)(out - start);
    return true;
}

/* Decode up to the quote at `end` and go behind it. */
static bool decode_string(struct parser *parser, size_t end, bool escaped, char *out,
                          size_t *size_out)
{
    if (escaped) {
        if (!decode_escaped(parser, end, out, size_out)) {
            return false;
        }
    } else {
        *size_out = end - parser->at;
        memcpy(out, parser->data + parser->at, *size_out); /* the NUL is there */
    }
    parser->at = end + 1;
    return true;
}

/* A string value; parser->at is behind its opening quote. */
static bool take_string(struct parser *parser, struct log_json **value_out)
{
    size_t end = 0;
    bool escaped = false;
    if (!find_string_end(parser, &end, &escaped)) {
        return false;
    }
    *value_out = new_value(parser, LOG_JSON_STRING, end - parser->at);
    return *value_out != NULL &&
           decode_string(parser, end, escaped, (*value_out)->text, &(*value_out)->size);
}

/* `"name":` of the innermost object, added without its value. */
static bool take_name(struct parser *parser)
{
    if (peek(parser) != '"') {
        return refuse(parser, "expected a name in quotes");
    }
    parser->at++;
    size_t end = 0;
    size_t size = 0;
    bool escaped = false;
    if (!find_string_end(parser, &end, &escaped)) {
        return false;
    }
    char *name = arena_alloc(parser->arena, end - parser->at + 1);
    if (name == NULL || !decode_string(parser, end, escaped, name, &size)) {
        return false;
    }
    if (escaped && strlen(name) != size) {
        return refuse(parser, "a name may not hold a NUL character");
    }
    if (peek(parser) != ':') {
        return refuse(parser, "expected ':' after a name");
    }
    parser->at++;
    return log_json_add_name(parser->open[parser->depth - 1], span_of(name, size), parser->arena);
}

/* ---- numbers and words ---- */

static bool is_number_byte(uint8_t c)
{
    return (uint8_t)(c - '0') < 10 || c == '-' || c == '+' || c == '.' || (c | 0x20) == 'e';
}

/* spec: RFC 8259 6 — an integer has no leading zeros */
static bool has_leading_zero(struct span text)
{
    size_t first = text.data[0] == '-';
    return text.size > first + 1 && text.data[first] == '0';
}

static bool take_number(struct parser *parser, struct log_json **value_out)
{
    size_t end = parser->at;
    while (end < parser->size && is_number_byte(parser->data[end])) {
        end++;
    }
    struct span text = span_of(parser->data + parser->at, end - parser->at);
    int64_t integer = 0;
    double ignored = 0;
    bool is_integer = text_parse_int64(text, &integer) && !has_leading_zero(text);
    if (!is_integer && !text_parse_double(text, &ignored)) {
        return refuse(parser, "a malformed number or one out of range");
    }
    parser->at = end;
    *value_out = new_value(parser, is_integer ? LOG_JSON_INTEGER : LOG_JSON_REAL, 0);
    if (*value_out == NULL) {
        return false;
    }
    (*value_out)->integer = integer;
    return true;
}

static bool take_word(struct parser *parser, struct log_json **value_out)
{
    static const struct {
        const char *word;
        size_t size;
        enum log_json_kind kind;
        bool boolean;
    } words[] = {
        {"true", 4, LOG_JSON_BOOLEAN, true},
        {"false", 5, LOG_JSON_BOOLEAN, false},
        {"null", 4, LOG_JSON_NULL, false},
    };
    struct span rest = span_of(parser->data + parser->at, parser->size - parser->at);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (rest.size >= words[i].size && memcmp(rest.data, words[i].word, words[i].size) == 0) {
            parser->at += words[i].size;
            *value_out = new_value(parser, words[i].kind, 0);
            if (*value_out != NULL) {
                (*value_out)->boolean = words[i].boolean;
            }
            return *value_out != NULL;
        }
    }
    return refuse(parser, rest.size == 0 ? "the document ends early" : "expected a value");
}

/* ---- structure ---- */

static bool open_container(struct parser *parser, enum log_json_kind kind,
                           struct log_json **value_out)
{
    if (parser->depth == LOG_JSON_DEPTH_MAX) {
        return refuse(parser, "nested too deep");
    }
    parser->at++;
    *value_out = new_value(parser, kind, 0);
    parser->open[parser->depth++] = *value_out;
    return *value_out != NULL;
}

static bool take_value(struct parser *parser, struct log_json **value_out)
{
    char c = peek(parser);
    switch (c) {
    case '{':
        return open_container(parser, LOG_JSON_OBJECT, value_out);
    case '[':
        return open_container(parser, LOG_JSON_ARRAY, value_out);
    case '"':
        parser->at++;
        return take_string(parser, value_out);
    default:
        return c == '-' || (c >= '0' && c <= '9') ? take_number(parser, value_out)
                                                  : take_word(parser, value_out);
    }
}

/* Hang `value` on the innermost container `parent` or make it the root. */
static bool attach(struct parser *parser, struct log_json *parent, struct log_json *value)
{
    if (parent == NULL) {
        parser->root = value;
        return true;
    }
    if (parent->kind == LOG_JSON_ARRAY) {
        return log_json_add_item(parent, value, parser->arena);
    }
    parent->children.members[parent->children.count - 1].value = value;
    return true;
}

/* A value and its place in the tree; containers stay open. */
static bool add_value(struct parser *parser)
{
    struct log_json *parent = parser->depth > 0 ? parser->open[parser->depth - 1] : NULL;
    struct log_json *value = NULL;
    return take_value(parser, &value) && attach(parser, parent, value);
}

static bool close_container(struct parser *parser)
{
    struct log_json *closed = parser->open[--parser->depth];
    if (closed->kind == LOG_JSON_OBJECT && !log_json_seal(closed, parser->arena)) {
        return refuse(parser, "an object has a name twice");
    }
    parser->at++;
    return true;
}

static char closing_of(const struct log_json *container)
{
    return container->kind == LOG_JSON_ARRAY ? ']' : '}';
}

/* Behind a value: close what ends here, up to the comma before the next value or the end. */
static bool finish_value(struct parser *parser)
{
    while (parser->depth > 0) {
        struct log_json *container = parser->open[parser->depth - 1];
        char c = peek(parser);
        if (c == closing_of(container)) {
            if (!close_container(parser)) {
                return false;
            }
            continue;
        }
        if (c != ',') {
            return refuse(parser, container->kind == LOG_JSON_ARRAY ? "expected ',' or ']'"
                                                                    : "expected ',' or '}'");
        }
        parser->at++;
        return container->kind == LOG_JSON_ARRAY || take_name(parser);
    }
    return true;
}

/* Behind an opening bracket: a name or nothing must come before the first value. */
static bool begin_container(struct parser *parser, bool *empty_out)
{
    struct log_json *container = parser->open[parser->depth - 1];
    *empty_out = peek(parser) == closing_of(container);
    return *empty_out || container->kind == LOG_JSON_ARRAY || take_name(parser);
}

static bool parse_document(struct parser *parser)
{
    do {
        size_t depth = parser->depth;
        if (!add_value(parser)) {
            return false;
        }
        bool opened = parser->depth > depth;
        bool empty = false;
        if (opened && !begin_container(parser, &empty)) {
            return false;
        }
        if ((!opened || empty) && !finish_value(parser)) {
            return false;
        }
    } while (parser->depth > 0);

    skip_space(parser);
    return parser->at == parser->size || refuse(parser, "text after the end of the document");
}

static enum err_code refuse_at(struct span text, size_t offset, const char *reason, struct err *err)
{
    size_t line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < offset; i++) {
        if (text.data[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return err_set(err, ERR_CORRUPT, "malformed JSON at line %zu, column %zu: %s", line,
                   offset - line_start + 1, reason);
}

enum err_code log_json_parse(struct span text, struct arena *arena,
                             const struct log_json **root_out, struct err *err)
{
    size_t bad_offset = 0;
    if (!text_is_utf8(text, &bad_offset)) {
        return refuse_at(text, bad_offset, "not UTF-8", err);
    }
    struct parser parser = {.data = text.data != NULL ? text.data : (const uint8_t *)"",
                            .size = text.size,
                            .arena = arena};
    if (!parse_document(&parser)) {
        return arena->overflowed
                   ? err_set(err, ERR_TOO_LARGE, "reading it takes more than %zu bytes of memory",
                             arena->used_max)
                   : refuse_at(text, parser.at, parser.reason, err);
    }
    *root_out = parser.root;
    return ERR_OK;
}
