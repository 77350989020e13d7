/*
 * NDJSON and JSON arrays: a pull parser that knows the schema. It walks the
 * bytes once, guesses each field name from the one before, and hands values to
 * the decoder; no tree is built. Names of known fields may be escaped.
 */
#include "storage/columns/decode_json_text.h"
#include "storage/columns/decoder.h"

/* ---- records ------------------------------------------------------------------ */

enum { RECORD_DEPTH = 1 }; /* the record is the first level; an array around it is not counted */

_Static_assert((int)DECODER_QUOTED_BYTES == (int)SCAN_STEP, "a quoted name is one step");

/* is_name_of for a name that its first bytes do not tell. */
static bool is_long_name_of(const uint8_t *p, size_t readable, const struct decode_field *field)
{
    size_t name_size = field->quoted_size - 2;
    return readable >= field->quoted_size && p[name_size + 1] == '"' &&
           memcmp(p + 1, field->field->name, name_size) == 0;
}

/* Do the bytes at `p` spell this field's name in quotes? A line's end is in no name. */
static inline bool is_name_of(const struct json_parser *parser, const uint8_t *p,
                              const struct decode_field *field)
{
    size_t readable = (size_t)(parser->readable_end - p);
    bool is_long = field->quoted_size > DECODER_QUOTED_BYTES;
#if defined(__SSE2__)
    if (readable >= SCAN_STEP) {
        __m128i equal = _mm_cmpeq_epi8(scan_load(p), scan_load(field->quoted));
        unsigned differs = ~(unsigned)_mm_movemask_epi8(equal) & field->quoted_mask;
        return differs == 0 && (!is_long || is_long_name_of(p, readable, field));
    }
#endif
    if (is_long) {
        return is_long_name_of(p, readable, field);
    }
    return field->quoted_size > 0 && scan_equals(p, readable, field->quoted, field->quoted_size);
}

/* A member name that was not the predicted one. Returns the byte after its closing quote. */
static const uint8_t *find_name(struct json_parser *parser, const uint8_t *p, int *index_out)
{
    struct json_token name;
    if (json_peek(parser, p) != '"') {
        return json_stop(parser, p, "expected a field name in quotes");
    }
    p = json_read_string(parser, p + 1, &name);
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
    const struct decode_field *fields = parser->decoder->fields;
    size_t predicted = fields[parser->previous].next;
    if (is_name_of(parser, p, &fields[predicted])) {
        *index_out = (int)predicted;
        p += fields[predicted].quoted_size;
    } else {
        p = find_name(parser, p, index_out);
        if (p == NULL) {
            return NULL;
        }
    }
    if (json_peek(parser, p) != ':') {
        p = json_skip_space(parser, p);
        if (json_peek(parser, p) != ':') {
            return json_stop(parser, p, "expected ':' after a field name");
        }
    }
    p++;
    return json_peek(parser, p) > ' ' ? p : json_skip_space(parser, p);
}

/* The rest of a string value that has its first escape, or a fault, at `p`. */
static const uint8_t *__attribute__((noinline))
read_escaped_value(struct json_parser *parser, const uint8_t *start, const uint8_t *p, bool high,
                   size_t index)
{
    struct json_token text;
    p = json_read_escaped_string(parser, start, p, high, &text);
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

/* `p` is at the opening quote. */
static inline __attribute__((always_inline)) const uint8_t *
read_string_value(struct json_parser *parser, const uint8_t *p, size_t index)
{
    const uint8_t *start = p + 1;
    bool high = false;
    p = scan_json_text(start, parser->readable_end, &high);
    if (__builtin_expect(json_peek(parser, p) != '"', 0)) {
        return read_escaped_value(parser, start, p, high, index);
    }
    decoder_put_string(parser->decoder, index, span_of(start, (size_t)(p - start)), !high);
    return p + 1;
}

static const uint8_t *__attribute__((noinline))
read_number_value(struct json_parser *parser, const uint8_t *p, size_t index)
{
    struct decode_number number;
    const uint8_t *after = decode_number_scan(p, parser->end, &number);
    if (after == NULL) {
        return json_stop(parser, p, "not a JSON value");
    }
    decoder_put_number(parser->decoder, index, &number);
    return after;
}

static const uint8_t *read_value(struct json_parser *parser, const uint8_t *p, size_t index,
                                 int depth);

/* ---- nested values: recursion is bounded by the schema, and by DECODE_DEPTH_MAX ---- */

/* `p` is after a part; returns where the next one starts, or the byte after `close`. */
static const uint8_t *read_separator(struct json_parser *parser, const uint8_t *p, uint8_t close,
                                     bool *more_out)
{
    p = json_skip_space(parser, p);
    uint8_t c = json_peek(parser, p);
    *more_out = c == ',';
    if (c == close) {
        return p + 1;
    }
    if (c != ',') {
        return json_stop(parser, p, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    }
    return json_skip_space(parser, p + 1);
}

/* The colon behind a name; returns where the value starts. */
static const uint8_t *read_colon(struct json_parser *parser, const uint8_t *p)
{
    if (json_peek(parser, p) != ':') {
        p = json_skip_space(parser, p);
        if (json_peek(parser, p) != ':') {
            return json_stop(parser, p, "expected ':' after a field name");
        }
    }
    return json_skip_space(parser, p + 1);
}

static const uint8_t *read_text_name(struct json_parser *parser, const uint8_t *p,
                                     struct json_token *name)
{
    if (json_peek(parser, p) != '"') {
        return json_stop(parser, p, "expected a field name in quotes");
    }
    p = json_read_string(parser, p + 1, name);
    return p == NULL ? NULL : read_colon(parser, p);
}

/* As read_name, of a field of a struct: `prediction` is what followed here last time. */
static const uint8_t *read_child_name(struct json_parser *parser, const uint8_t *p, size_t index,
                                      size_t *prediction, int *child_out)
{
    struct decoder *decoder = parser->decoder;
    const struct decode_field *predicted = &decoder->fields[*prediction];
    struct json_token name;
    if (is_name_of(parser, p, predicted)) {
        *child_out = (int)*prediction;
        return read_colon(parser, p + predicted->quoted_size);
    }
    p = read_text_name(parser, p, &name);
    if (p == NULL) {
        return NULL;
    }
    *child_out = decoder_child_index(decoder, index, name.text);
    if (*child_out < 0) {
        decoder_fault_unknown_child(decoder, index, name.text);
    } else {
        *prediction = (size_t)*child_out;
    }
    return p;
}

/* A field of a struct; `prediction` goes on to what will be predicted after it. */
static const uint8_t *read_struct_member(struct json_parser *parser, const uint8_t *p, size_t index,
                                         size_t **prediction, int depth)
{
    struct decoder *decoder = parser->decoder;
    int child = -1;
    p = read_child_name(parser, p, index, *prediction, &child);
    if (p == NULL) {
        return NULL;
    }
    if (child < 0 || !decoder_claim_child(decoder, (size_t)child)) {
        return json_skip_value(parser, p, depth);
    }
    *prediction = &decoder->fields[child].next;
    return read_value(parser, p, (size_t)child, depth);
}

static const uint8_t *read_struct(struct json_parser *parser, const uint8_t *p, size_t index,
                                  int depth)
{
    size_t *prediction = &parser->decoder->fields[index].first_given;
    p = json_skip_space(parser, p + 1);
    bool more = json_peek(parser, p) != '}';
    p = more ? p : p + 1;
    while (more) {
        p = read_struct_member(parser, p, index, &prediction, depth);
        p = p == NULL ? NULL : read_separator(parser, p, '}', &more);
        if (p == NULL) {
            return NULL;
        }
    }
    decoder_end_struct(parser->decoder, index);
    return p;
}

static const uint8_t *read_element(struct json_parser *parser, const uint8_t *p, size_t index,
                                   int depth)
{
    if (!decoder_begin_element(parser->decoder, index)) {
        return json_skip_value(parser, p, depth);
    }
    return read_value(parser, p, parser->decoder->fields[index].first_child, depth);
}

static const uint8_t *read_array_value(struct json_parser *parser, const uint8_t *p, size_t index,
                                       int depth)
{
    decoder_begin_elements(parser->decoder, index);
    p = json_skip_space(parser, p + 1);
    bool more = json_peek(parser, p) != ']';
    p = more ? p : p + 1;
    while (more) {
        p = read_element(parser, p, index, depth);
        p = p == NULL ? NULL : read_separator(parser, p, ']', &more);
        if (p == NULL) {
            return NULL;
        }
    }
    decoder_end_elements(parser->decoder, index);
    return p;
}

static const uint8_t *read_entry(struct json_parser *parser, const uint8_t *p, size_t index,
                                 int depth)
{
    struct decoder *decoder = parser->decoder;
    size_t key = decoder->fields[index].first_child;
    struct json_token name;
    p = read_text_name(parser, p, &name);
    if (p == NULL) {
        return NULL;
    }
    if (!decoder_begin_element(decoder, index)) {
        return json_skip_value(parser, p, depth);
    }
    if (name.refused != NULL) {
        decoder_fault(decoder, key, DECODE_INVALID_CHARACTER, "a key %s", name.refused);
        decoder_put_nothing(decoder, key);
    } else {
        decoder_put_text(decoder, key, name.text, name.ascii);
    }
    return read_value(parser, p, key + 1, depth);
}

static const uint8_t *read_map(struct json_parser *parser, const uint8_t *p, size_t index,
                               int depth)
{
    decoder_begin_elements(parser->decoder, index);
    p = json_skip_space(parser, p + 1);
    bool more = json_peek(parser, p) != '}';
    p = more ? p : p + 1;
    while (more) {
        p = read_entry(parser, p, index, depth);
        p = p == NULL ? NULL : read_separator(parser, p, '}', &more);
        if (p == NULL) {
            return NULL;
        }
    }
    decoder_end_elements(parser->decoder, index);
    return p;
}

/* `p` is at a bracket or brace, around which `depth` containers are open. */
static const uint8_t *read_nested(struct json_parser *parser, const uint8_t *p, size_t index,
                                  int depth)
{
    enum column_type type = parser->decoder->fields[index].type;
    bool is_object = *p == '{';
    bool fits = is_object ? type == COLUMN_STRUCT || type == COLUMN_MAP : type == COLUMN_ARRAY;
    if (!fits || depth >= DECODE_DEPTH_MAX) { /* skipping says that it is too deep */
        decoder_fault_kind(parser->decoder, index, is_object ? "an object" : "an array");
        decoder_put_nothing(parser->decoder, index);
        return json_skip_value(parser, p, depth);
    }
    if (type == COLUMN_STRUCT) {
        return read_struct(parser, p, index, depth + 1);
    }
    return type == COLUMN_MAP ? read_map(parser, p, index, depth + 1)
                              : read_array_value(parser, p, index, depth + 1);
}

/* The value of field `index`, which the record has claimed. */
static const uint8_t *read_value(struct json_parser *parser, const uint8_t *p, size_t index,
                                 int depth)
{
    struct decoder *decoder = parser->decoder;
    const uint8_t *after = NULL;
    switch (json_peek(parser, p)) {
    case '"':
        return read_string_value(parser, p, index);
    case 'n':
        after = json_skip_word(parser, p, "null");
        if (after != NULL) {
            decoder_put_null(decoder, index);
        }
        return after;
    case 't':
    case 'f':
        after = json_skip_word(parser, p, *p == 't' ? "true" : "false");
        if (after != NULL) {
            decoder_put_boolean(decoder, index, *p == 't');
        }
        return after;
    case '{':
    case '[':
        return read_nested(parser, p, index, depth);
    default:
        return read_number_value(parser, p, index);
    }
}

/* Texts and numbers are most of all values, and shorter to read than the call of read_value. */
static inline const uint8_t *read_member_value(struct json_parser *parser, const uint8_t *p,
                                               size_t index)
{
    uint8_t c = json_peek(parser, p);
    if (c == '"') {
        return read_string_value(parser, p, index);
    }
    return c <= '9' ? read_number_value(parser, p, index)
                    : read_value(parser, p, index, RECORD_DEPTH);
}

static inline const uint8_t *read_member(struct json_parser *parser, const uint8_t *p)
{
    int index = -1;
    p = read_name(parser, p, &index);
    if (p == NULL) {
        return NULL;
    }
    if (index < 0 || !decoder_claim(parser->decoder, (size_t)index)) {
        return json_skip_value(parser, p, RECORD_DEPTH);
    }
    parser->previous = (size_t)index;
    return read_member_value(parser, p, (size_t)index);
}

/* `p` is at the opening brace; returns the byte after the closing one. */
static const uint8_t *read_record(struct json_parser *parser, const uint8_t *p)
{
    parser->previous = parser->decoder->fields_count + 1; /* the start of a record */
    p = json_skip_space(parser, p + 1);
    if (json_peek(parser, p) == '}') {
        return p + 1;
    }
    for (;;) {
        p = read_member(parser, p);
        if (p == NULL) {
            return NULL;
        }
        uint8_t c = json_peek(parser, p);
        if (c <= ' ') {
            p = json_skip_space(parser, p);
            c = json_peek(parser, p);
        }
        if (c == '}') {
            return p + 1;
        }
        if (c != ',') {
            return json_stop(parser, p, "expected ',' or '}'");
        }
        p = json_peek(parser, p + 1) > ' ' ? p + 1 : json_skip_space(parser, p + 1);
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

/* ---- a nested value by itself ---- */

void decoder_put_nested_text(struct decoder *decoder, size_t index, struct span text)
{
    CLEANUP(parser_deinit) struct json_parser parser;
    parser_init(&parser, decoder, text);
    int64_t rows_before = decoder->fields[index].column->rows_count;
    const uint8_t *p = json_skip_space(&parser, parser.body);
    uint8_t c = json_peek(&parser, p);
    if (c != '{' && c != '[') {
        decoder_fault_form(decoder, index);
        decoder_put_nothing(decoder, index);
        return;
    }
    p = read_value(&parser, p, index, RECORD_DEPTH);
    if (p == NULL) {
        decoder_put_nothing_after(decoder, index, rows_before);
    }
    if (p == NULL || json_skip_space(&parser, p) != parser.end) {
        decoder_fault(decoder, index, DECODE_TYPE, "is not JSON at byte %zu: %s",
                      (size_t)((p == NULL ? parser.fault_at : p) - parser.body) + 1,
                      p == NULL ? parser.fault : "there is more after the value");
    }
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
    p = object ? read_record(parser, p) : json_skip_value(parser, p, 0);
    if (p == NULL) {
        parser->decoder->incomplete = true;
        decoder_fault_record(parser->decoder, DECODE_SYNTAX, "not JSON at byte %zu: %s",
                             (size_t)(parser->fault_at - start) + 1, parser->fault);
        return;
    }
    bool alone = json_skip_space(parser, p) == parser->end;
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
    int64_t first = 1 + parser->decoder->options.line_offset;
    for (int64_t line = first; start < parser->readable_end; line++) {
        size_t left = (size_t)(parser->readable_end - start);
        const uint8_t *feed = memchr(start, '\n', left);
        parser->end = feed != NULL ? feed : parser->readable_end;
        const uint8_t *p = json_skip_space(parser, start);
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
    if (parser->decoder->options.is_part) {
        /* lines before it are not known */
        return err_set(err, ERR_INVALID, "element %lld: %s", (long long)element, parser->fault);
    }
    if (element == 0) {
        return err_set(err, ERR_INVALID, "line %lld, byte %lld: %s", (long long)line, column,
                       parser->fault);
    }
    return err_set(err, ERR_INVALID, "element %lld, at line %lld, byte %lld: %s",
                   (long long)element, (long long)line, column, parser->fault);
}

static enum err_code read_record_element(struct json_parser *parser, const uint8_t **p,
                                         int64_t element, struct err *err)
{
    const uint8_t *start = *p;
    bool object = json_peek(parser, start) == '{';
    TRY(decoder_begin(parser->decoder, element, err));
    const uint8_t *after = object ? read_record(parser, start) : json_skip_value(parser, start, 0);
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
    *p = json_skip_space(parser, *p);
    if (json_peek(parser, *p) == ']') {
        (*p)++;
        return ERR_OK;
    }
    for (int64_t element = 1 + parser->decoder->options.line_offset;; element++) {
        TRY(read_record_element(parser, p, element, err));
        *p = json_skip_space(parser, *p);
        uint8_t c = json_peek(parser, *p);
        if (c != ',' && c != ']') {
            (void)json_stop(parser, *p, "expected ',' or ']' after an element"); /* reported next */
            return broken_body(parser, element, err);
        }
        (*p)++;
        if (c == ']') {
            return ERR_OK;
        }
        *p = json_skip_space(parser, *p);
    }
}

static enum err_code read_array(struct json_parser *parser, struct err *err)
{
    const uint8_t *p = json_skip_space(parser, parser->body);
    if (p == parser->end) {
        return ERR_OK; /* no records, which the caller refuses */
    }
    if (*p == '{') {
        TRY(read_record_element(parser, &p, 1 + parser->decoder->options.line_offset, err));
    } else if (*p == '[') {
        p++;
        TRY(read_elements(parser, &p, err));
    } else {
        (void)json_stop(parser, p, "expected an array of objects"); /* reported next */
        return broken_body(parser, 0, err);
    }
    p = json_skip_space(parser, p);
    if (p < parser->end) {
        (void)json_stop(parser, p, "there is more after the end; lines of objects are NDJSON");
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
