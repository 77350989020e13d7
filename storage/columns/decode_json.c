/*
 * NDJSON and JSON arrays: a pull parser that knows the schema. It walks the
 * bytes once, guesses each field name from the one before, and hands values to
 * decode_value.c; no tree is built. RFC 8259 is obeyed to the letter, names of
 * known fields may be escaped, nesting is limited, nothing recurses.
 */
#include "storage/columns/decode_scan.h"
#include "storage/columns/decode_value.h"

#include <assert.h>

/*
 * Bytes are read up to `end`. Inside an NDJSON line that is the line's end: the
 * scans may look further, as far as `readable_end`, because the line feed stops
 * every one of them.
 */
struct json_parser {
    struct decoder *decoder;
    const uint8_t *body;
    const uint8_t *end;
    const uint8_t *readable_end;
    size_t previous;         /* index of the field read last, which predicts the next */
    struct buffer unescaped; /* the last text that had escapes */
    /* why parsing stopped; set when a function returns NULL */
    const uint8_t *fault_at;
    const char *fault;
    bool too_deep;
};

/* A string as read: borrowed from the body or from `unescaped` until the next one. */
struct json_text {
    struct span text;
    bool ascii;
    const char *refused; /* NULL, or why this well-formed JSON string cannot be a value */
};

static const uint8_t *stop(struct json_parser *parser, const uint8_t *at, const char *why)
    __attribute__((cold));

static const uint8_t *stop(struct json_parser *parser, const uint8_t *at, const char *why)
{
    parser->fault_at = at;
    parser->fault = why;
    return NULL;
}

/* The byte at `p`, or 0, which no JSON has outside of strings, at the end. */
static inline uint8_t peek(const struct json_parser *parser, const uint8_t *p)
{
    return p < parser->end ? *p : 0;
}

static inline const uint8_t *skip_space(const struct json_parser *parser, const uint8_t *p)
{
    while (p < parser->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
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
                                          struct json_text *text)
{
    int32_t unit = read_hex(parser, p);
    if (unit < 0) {
        return stop(parser, p, "\\u needs four hexadecimal digits");
    }
    p += 4;
    uint32_t code_point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xdc00 && peek(parser, p) == '\\' && parser->end - p > 1 &&
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
                                  struct json_text *text)
{
    static const uint8_t plain[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };
    uint8_t c = peek(parser, p);
    if (c == 'u') {
        return read_unicode_escape(parser, p + 1, text);
    }
    if (plain[c] == 0) {
        return stop(parser, p, "unknown escape in a string");
    }
    buffer_append_byte(&parser->unescaped, plain[c]);
    return p + 1;
}

/* The rest of a string whose first escape is at `p`. */
static const uint8_t *read_escaped_string(struct json_parser *parser, const uint8_t *start,
                                          const uint8_t *p, bool high, struct json_text *text)
{
    buffer_reset(&parser->unescaped);
    *text = (struct json_text){.ascii = true};
    for (;;) {
        buffer_append(&parser->unescaped, start, (size_t)(p - start));
        uint8_t c = peek(parser, p);
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            return stop(parser, p, "a string is not closed, or has a control character");
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

/* `p` is after the opening quote; returns the byte after the closing one. */
static inline const uint8_t *read_string(struct json_parser *parser, const uint8_t *p,
                                         struct json_text *text)
{
    const uint8_t *start = p;
    bool high = false;
    p = scan_json_text(p, parser->readable_end, &high);
    if (__builtin_expect(peek(parser, p) == '"', 1)) {
        *text = (struct json_text){.text = span_of(start, (size_t)(p - start)), .ascii = !high};
        return p + 1;
    }
    return read_escaped_string(parser, start, p, high, text);
}

/* ---- values that go nowhere --------------------------------------------------- */

static const uint8_t *skip_word(struct json_parser *parser, const uint8_t *p, const char *word)
{
    size_t size = strlen(word);
    if (!scan_equals(p, (size_t)(parser->end - p), (const uint8_t *)word, size)) {
        return stop(parser, p, "not a JSON value");
    }
    return p + size;
}

static const uint8_t *skip_number(struct json_parser *parser, const uint8_t *p)
{
    struct decode_number number;
    const uint8_t *after = decode_number_scan(p, parser->end, &number);
    return after != NULL ? after : stop(parser, p, "not a JSON number");
}

/* A value without members. */
static const uint8_t *skip_scalar(struct json_parser *parser, const uint8_t *p)
{
    struct json_text text;
    switch (peek(parser, p)) {
    case '"':
        return read_string(parser, p + 1, &text);
    case 't':
        return skip_word(parser, p, "true");
    case 'f':
        return skip_word(parser, p, "false");
    case 'n':
        return skip_word(parser, p, "null");
    default:
        return skip_number(parser, p);
    }
}

/* `p` is where a member name must start; returns where its value starts. */
static const uint8_t *skip_name(struct json_parser *parser, const uint8_t *p)
{
    if (peek(parser, p) != '"') {
        return stop(parser, p, "expected a field name in quotes");
    }
    struct json_text text;
    p = read_string(parser, p + 1, &text);
    if (p == NULL) {
        return NULL;
    }
    p = skip_space(parser, p);
    if (peek(parser, p) != ':') {
        return stop(parser, p, "expected ':' after a field name");
    }
    return skip_space(parser, p + 1);
}

/* Containers that are open while skipping; bit 0 of `objects` is the innermost. */
struct json_nesting {
    int depth;
    uint64_t objects;
};
_Static_assert(DECODE_DEPTH_MAX < 64, "one bit a level");
_Static_assert((int)DECODER_QUOTED_BYTES == (int)SCAN_STEP, "a quoted name is one step");

/*
 * `p` is at a bracket. Returns where the first value inside starts, or the
 * closing bracket when there is none, which `empty_out` tells apart.
 */
static const uint8_t *open_container(struct json_parser *parser, const uint8_t *p,
                                     struct json_nesting *nesting, bool *empty_out)
{
    if (nesting->depth == DECODE_DEPTH_MAX) {
        parser->too_deep = true;
        return stop(parser, p, "nested too deeply");
    }
    bool object = *p == '{';
    nesting->depth++;
    nesting->objects = nesting->objects << 1 | (object ? 1 : 0);
    p = skip_space(parser, p + 1);
    *empty_out = peek(parser, p) == (object ? '}' : ']');
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
        p = skip_space(parser, p);
        uint8_t c = peek(parser, p);
        if (c == ',') {
            p = skip_space(parser, p + 1);
            return (nesting->objects & 1) != 0 ? skip_name(parser, p) : p;
        }
        if (c != closing_bracket(nesting)) {
            return stop(parser, p, "expected ',' or a closing bracket");
        }
        nesting->depth--;
        nesting->objects >>= 1;
        p++;
    }
    return p;
}

/* Any value, checked for well-formedness; `depth` containers are open around it. */
static const uint8_t *skip_value(struct json_parser *parser, const uint8_t *p, int depth)
{
    struct json_nesting nesting = {.depth = depth};
    do {
        bool ended = true;
        uint8_t c = peek(parser, p);
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

/* ---- records ------------------------------------------------------------------ */

enum { RECORD_DEPTH = 1 }; /* the record is the first level; an array around it is not counted */

/* The same for a name of sixteen bytes or more. */
static bool is_long_name_of(const uint8_t *p, size_t readable, const struct decode_field *field)
{
    size_t name_size = field->quoted_size - 1;
    return readable > name_size && p[name_size] == '"' &&
           memcmp(p, field->field->name, name_size) == 0;
}

/* Do the bytes at `p`, after an opening quote, spell this field's name and its closing quote? */
static inline bool is_name_of(const struct json_parser *parser, const uint8_t *p,
                              const struct decode_field *field)
{
    size_t readable = (size_t)(parser->readable_end - p);
    if (field->quoted_size > DECODER_QUOTED_BYTES) {
        return is_long_name_of(p, readable, field);
    }
#if defined(__SSE2__)
    if (readable >= SCAN_STEP) {
        __m128i equal = _mm_cmpeq_epi8(scan_load(p), scan_load(field->quoted));
        unsigned wanted = (1U << field->quoted_size) - 1U;
        return ((unsigned)_mm_movemask_epi8(equal) & wanted) == wanted && wanted != 0;
    }
#endif
    return field->quoted_size > 0 && scan_equals(p, readable, field->quoted, field->quoted_size);
}

/* A member name that was not the predicted one. Returns the byte after its closing quote. */
static const uint8_t *find_name(struct json_parser *parser, const uint8_t *p, int *index_out)
{
    struct json_text name;
    p = read_string(parser, p, &name);
    if (p == NULL) {
        return NULL;
    }
    *index_out = decoder_field_index(parser->decoder, name.text);
    if (*index_out >= 0) {
        parser->decoder->fields[parser->previous].next = (size_t)*index_out;
    } else {
        decoder_fault_unknown(parser->decoder, name.text);
    }
    return p;
}

/*
 * `p` is where a member name must start. Returns where its value starts and the
 * field it names, -1 when there is none. Clients repeat the order of their
 * fields, so what followed last time is tried before anything is looked up.
 */
static inline const uint8_t *read_name(struct json_parser *parser, const uint8_t *p, int *index_out)
{
    if (peek(parser, p) != '"') {
        return stop(parser, p, "expected a field name in quotes");
    }
    const struct decode_field *fields = parser->decoder->fields;
    size_t predicted = fields[parser->previous].next;
    if (is_name_of(parser, p + 1, &fields[predicted])) {
        *index_out = (int)predicted;
        p += 1 + fields[predicted].quoted_size;
    } else {
        p = find_name(parser, p + 1, index_out);
        if (p == NULL) {
            return NULL;
        }
    }
    if (peek(parser, p) != ':') {
        p = skip_space(parser, p);
        if (peek(parser, p) != ':') {
            return stop(parser, p, "expected ':' after a field name");
        }
    }
    p++;
    return peek(parser, p) > ' ' ? p : skip_space(parser, p);
}

static const uint8_t *read_string_value(struct json_parser *parser, const uint8_t *p, size_t index)
{
    struct json_text text;
    p = read_string(parser, p + 1, &text);
    if (p == NULL) {
        return NULL;
    }
    if (text.refused != NULL) {
        decoder_fault(parser->decoder, index, DECODE_INVALID_CHARACTER, "%s", text.refused);
        decoder_put_nothing(parser->decoder, index);
    } else {
        decoder_put_string(parser->decoder, index, text.text, text.ascii);
    }
    return p;
}

static const uint8_t *read_number_value(struct json_parser *parser, const uint8_t *p, size_t index)
{
    struct decode_number number;
    const uint8_t *after = decode_number_scan(p, parser->end, &number);
    if (after == NULL) {
        return stop(parser, p, "not a JSON value");
    }
    decoder_put_number(parser->decoder, index, &number);
    return after;
}

/* The value of field `index`, which the record has claimed. */
static const uint8_t *read_value(struct json_parser *parser, const uint8_t *p, size_t index)
{
    struct decoder *decoder = parser->decoder;
    const uint8_t *after = NULL;
    switch (peek(parser, p)) {
    case '"':
        return read_string_value(parser, p, index);
    case 'n':
        after = skip_word(parser, p, "null");
        if (after != NULL) {
            decoder_put_null(decoder, index);
        }
        return after;
    case 't':
    case 'f':
        after = skip_word(parser, p, *p == 't' ? "true" : "false");
        if (after != NULL) {
            decoder_put_boolean(decoder, index, *p == 't');
        }
        return after;
    case '{':
    case '[':
        decoder_fault_kind(decoder, index, *p == '{' ? "an object" : "an array");
        decoder_put_nothing(decoder, index);
        return skip_value(parser, p, RECORD_DEPTH);
    default:
        return read_number_value(parser, p, index);
    }
}

static const uint8_t *read_member(struct json_parser *parser, const uint8_t *p)
{
    int index = -1;
    p = read_name(parser, p, &index);
    if (p == NULL) {
        return NULL;
    }
    if (index < 0 || !decoder_claim(parser->decoder, (size_t)index)) {
        return skip_value(parser, p, RECORD_DEPTH);
    }
    parser->previous = (size_t)index;
    return read_value(parser, p, (size_t)index);
}

/* `p` is at the opening brace; returns the byte after the closing one. */
static const uint8_t *read_record(struct json_parser *parser, const uint8_t *p)
{
    parser->previous = parser->decoder->fields_count + 1; /* the start of a record */
    p = skip_space(parser, p + 1);
    if (peek(parser, p) == '}') {
        return p + 1;
    }
    for (;;) {
        p = read_member(parser, p);
        if (p == NULL) {
            return NULL;
        }
        uint8_t c = peek(parser, p);
        if (c <= ' ') {
            p = skip_space(parser, p);
            c = peek(parser, p);
        }
        if (c == '}') {
            return p + 1;
        }
        if (c != ',') {
            return stop(parser, p, "expected ',' or '}'");
        }
        p = peek(parser, p + 1) > ' ' ? p + 1 : skip_space(parser, p + 1);
    }
}

static void parser_init(struct json_parser *parser, struct decoder *decoder, struct span body)
{
    *parser = (struct json_parser){
        .decoder = decoder,
        .body = body.data,
        .end = body.data + body.size,
        .readable_end = body.data + body.size,
    };
    buffer_init(&parser->unescaped, body.size + 1); /* escapes only get shorter */
}

static void parser_deinit(struct json_parser *parser)
{
    buffer_deinit(&parser->unescaped);
}

/* ---- NDJSON ------------------------------------------------------------------- */

static enum err_code too_deep(const char *what, int64_t number, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s %lld: nested more than %d levels deep", what,
                   (long long)number, DECODE_DEPTH_MAX);
}

/* What stands on one line, blank ones excluded; `p` is its first character. */
static void read_line(struct json_parser *parser, const uint8_t *p)
{
    const uint8_t *start = p;
    bool object = *p == '{';
    p = object ? read_record(parser, p) : skip_value(parser, p, 0);
    if (p == NULL) {
        parser->decoder->incomplete = true;
        decoder_fault_record(parser->decoder, DECODE_SYNTAX, "not JSON at byte %zu: %s",
                             (size_t)(parser->fault_at - start) + 1, parser->fault);
        return;
    }
    bool alone = skip_space(parser, p) == parser->end;
    if (!object || !alone) {
        parser->decoder->incomplete = true;
        decoder_faults_clear(parser->decoder);
        decoder_fault_record(parser->decoder, DECODE_NOT_AN_OBJECT, "%s",
                             object ? "a line holds one object; there is more after it"
                                    : "a line holds one object; this is another JSON value");
    }
}

static enum err_code read_line_record(struct json_parser *parser, const uint8_t *start,
                                      const uint8_t *p, int64_t line, struct err *err)
{
    struct span payload = span_of(start, (size_t)(parser->end - start));
    if (payload.size > 0 && payload.data[payload.size - 1] == '\r') {
        payload.size--;
    }
    TRY(decoder_check_size(parser->decoder, line, payload, err));
    TRY(decoder_begin(parser->decoder, line, err));
    read_line(parser, p);
    if (parser->too_deep) {
        return too_deep("line", line, err);
    }
    decoder_end(parser->decoder, payload);
    return ERR_OK;
}

static enum err_code read_lines(struct json_parser *parser, struct err *err)
{
    const uint8_t *start = parser->body;
    for (int64_t line = 1; start < parser->readable_end; line++) {
        size_t left = (size_t)(parser->readable_end - start);
        const uint8_t *feed = memchr(start, '\n', left);
        parser->end = feed != NULL ? feed : parser->readable_end;
        const uint8_t *p = skip_space(parser, start);
        if (p < parser->end) {
            TRY(read_line_record(parser, start, p, line, err));
        }
        if (feed == NULL) {
            break;
        }
        start = feed + 1;
    }
    return ERR_OK;
}

enum err_code decode_ndjson(struct decoder *decoder, struct span body, struct err *err)
{
    CLEANUP(parser_deinit) struct json_parser parser;
    parser_init(&parser, decoder, body);
    return read_lines(&parser, err);
}

/* ---- JSON array --------------------------------------------------------------- */

/* Line of the body that `at` is on, and the byte within it, for people with an editor. */
static enum err_code broken_body(const struct json_parser *parser, int64_t element, struct err *err)
{
    int64_t line = 1;
    const uint8_t *start = parser->body;
    while (start < parser->fault_at) {
        const uint8_t *feed = memchr(start, '\n', (size_t)(parser->fault_at - start));
        if (feed == NULL) {
            break;
        }
        line++;
        start = feed + 1;
    }
    long long column = (long long)(parser->fault_at - start) + 1;
    if (element == 0) {
        return err_set(err, ERR_INVALID, "line %lld, byte %lld: %s", (long long)line, column,
                       parser->fault);
    }
    return err_set(err, ERR_INVALID, "element %lld, at line %lld, byte %lld: %s",
                   (long long)element, (long long)line, column, parser->fault);
}

static enum err_code read_element(struct json_parser *parser, const uint8_t **p, int64_t element,
                                  struct err *err)
{
    const uint8_t *start = *p;
    bool object = peek(parser, start) == '{';
    TRY(decoder_begin(parser->decoder, element, err));
    const uint8_t *after = object ? read_record(parser, start) : skip_value(parser, start, 0);
    if (parser->too_deep) {
        return too_deep("element", element, err);
    }
    if (after == NULL) {
        return broken_body(parser, element, err);
    }
    if (!object) {
        parser->decoder->incomplete = true;
        decoder_fault_record(parser->decoder, DECODE_NOT_AN_OBJECT,
                             "an element of the array must be an object");
    }
    struct span payload = span_of(start, (size_t)(after - start));
    TRY(decoder_check_size(parser->decoder, element, payload, err));
    decoder_end(parser->decoder, payload);
    *p = after;
    return ERR_OK;
}

/* `*p` is after the opening bracket, and afterwards after the closing one. */
static enum err_code read_elements(struct json_parser *parser, const uint8_t **p, struct err *err)
{
    *p = skip_space(parser, *p);
    if (peek(parser, *p) == ']') {
        (*p)++;
        return ERR_OK;
    }
    for (int64_t element = 1;; element++) {
        TRY(read_element(parser, p, element, err));
        *p = skip_space(parser, *p);
        uint8_t c = peek(parser, *p);
        if (c != ',' && c != ']') {
            (void)stop(parser, *p, "expected ',' or ']' after an element"); /* reported next */
            return broken_body(parser, element, err);
        }
        (*p)++;
        if (c == ']') {
            return ERR_OK;
        }
        *p = skip_space(parser, *p);
    }
}

static enum err_code read_array(struct json_parser *parser, struct err *err)
{
    const uint8_t *p = skip_space(parser, parser->body);
    if (p == parser->end) {
        return ERR_OK; /* no records, which the caller refuses */
    }
    if (*p == '{') {
        TRY(read_element(parser, &p, 1, err));
    } else if (*p == '[') {
        p++;
        TRY(read_elements(parser, &p, err));
    } else {
        (void)stop(parser, p, "expected an array of objects"); /* reported next */
        return broken_body(parser, 0, err);
    }
    p = skip_space(parser, p);
    if (p < parser->end) {
        (void)stop(parser, p, "there is more after the end; lines of objects are NDJSON");
        return broken_body(parser, 0, err);
    }
    return ERR_OK;
}

enum err_code decode_json_array(struct decoder *decoder, struct span body, struct err *err)
{
    CLEANUP(parser_deinit) struct json_parser parser;
    parser_init(&parser, decoder, body);
    return read_array(&parser, err);
}
