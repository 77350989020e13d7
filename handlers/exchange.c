/* Reading a request and filling an answer; nothing here knows of HTTP libraries. */
#include "handlers/exchange.h"

#include "storage/base/hash.h"
#include "storage/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static exchange_finish_fn *finish_hook; /* set once at start, before the first request */

static struct span find_pair(const struct exchange_pair *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_text(pairs[i].name, name)) {
            return pairs[i].value;
        }
    }
    return (struct span){0};
}

struct span exchange_header(const struct exchange *exchange, const char *name)
{
    return find_pair(exchange->headers, exchange->headers_count, name);
}

struct span exchange_query(const struct exchange *exchange, const char *name)
{
    return find_pair(exchange->query, exchange->query_count, name);
}

struct span exchange_media_type(const struct exchange *exchange)
{
    struct span type = exchange_header(exchange, "content-type");
    size_t size = 0;
    while (size < type.size && type.data[size] != ';' && type.data[size] != ' ') {
        size++;
    }
    return span_of(type.data, size);
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

static bool equal_ignoring_case(struct span a, const char *b)
{
    if (a.size != strlen(b)) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        if (lower(a.data[i]) != lower((uint8_t)b[i])) {
            return false;
        }
    }
    return true;
}

static struct span trim(struct span text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* The part before the first `separator`; `rest` moves behind it. */
static struct span cut(struct span *rest, uint8_t separator)
{
    const uint8_t *at = rest->size > 0 ? memchr(rest->data, separator, rest->size) : NULL;
    size_t size = at != NULL ? (size_t)(at - rest->data) : rest->size;
    struct span part = span_of(rest->data, size);
    size_t used = at != NULL ? size + 1 : size;
    rest->data = rest->size > 0 ? rest->data + used : rest->data;
    rest->size -= used;
    return part;
}

static struct span unquote(struct span value)
{
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"') {
        return span_of(value.data + 1, value.size - 2);
    }
    return value;
}

/* spec: RFC 7240 section 2 — preference = token [ "=" word ] *( ";" parameter ) */
static bool find_preference(struct span header, const char *name, struct span *value_out)
{
    while (header.size > 0) {
        struct span preference = cut(&header, ',');
        struct span value = cut(&preference, ';');
        struct span token = trim(cut(&value, '='));
        if (equal_ignoring_case(token, name)) {
            *value_out = unquote(trim(value));
            return true;
        }
    }
    return false;
}

bool exchange_prefers(const struct exchange *exchange, const char *name, struct span *value_out)
{
    for (size_t i = 0; i < exchange->headers_count; i++) {
        if (span_equal_text(exchange->headers[i].name, "prefer") &&
            find_preference(exchange->headers[i].value, name, value_out)) {
            return true;
        }
    }
    return false;
}

enum err_code exchange_query_integer(struct exchange *exchange, const char *name, int64_t minimum,
                                     int64_t maximum, int64_t *value_out)
{
    struct span text = exchange_query(exchange, name);
    int64_t value = 0;
    if (text.data == NULL) {
        return ERR_OK;
    }
    if (!text_parse_int64(text, &value) || value < minimum || value > maximum) {
        return err_set(&exchange->err, ERR_INVALID,
                       "query parameter '%s' must be a whole number from %" PRId64 " to %" PRId64,
                       name, minimum, maximum);
    }
    *value_out = value;
    return ERR_OK;
}

enum err_code exchange_query_boolean(struct exchange *exchange, const char *name, bool *value_out)
{
    struct span text = exchange_query(exchange, name);
    if (text.data == NULL) {
        return ERR_OK;
    }
    bool is_true = span_equal_text(text, "true");
    if (!is_true && !span_equal_text(text, "false")) {
        return err_set(&exchange->err, ERR_INVALID, "query parameter '%s' must be true or false",
                       name);
    }
    *value_out = is_true;
    return ERR_OK;
}

/* The slot of `name`: the one it has, or a new one. */
static size_t header_slot(struct exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->answer_headers_count; i++) {
        if (strcmp(exchange->answer_headers[i].name, name) == 0) {
            return i;
        }
    }
    assert(exchange->answer_headers_count < EXCHANGE_HEADERS_MAX);
    exchange->answer_headers_count++;
    return exchange->answer_headers_count - 1;
}

/* A value that HTTP can carry: what is built from input must not start another header. */
static void replace_controls(char *value)
{
    for (char *at = value; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = ' ';
        }
    }
}

bool exchange_is_current(const struct exchange *exchange, const char *etag)
{
    struct span rest = exchange_header(exchange, "if-none-match");
    while (rest.size > 0) {
        struct span held = trim(cut(&rest, ','));
        if (held.size > 2 && memcmp(held.data, "W/", 2) == 0) { /* If-None-Match compares weakly */
            held = span_of(held.data + 2, held.size - 2);
        }
        if (span_equal_text(held, "*") || span_equal_text(held, etag)) {
            return true;
        }
    }
    return false;
}

void exchange_set_header(struct exchange *exchange, const char *name, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    assert((size_t)size < sizeof text);
    char *value = arena_text(&exchange->arena, span_of(text, (size_t)size));
    if (value == NULL) {
        return; /* the arena is full: the answer goes without this header */
    }
    replace_controls(value);
    size_t slot = header_slot(exchange, name);
    exchange->answer_headers[slot].name = name;
    exchange->answer_headers[slot].value = value;
}

void exchange_note_table(struct exchange *exchange, const char *name)
{
    size_t size = strnlen(name, sizeof exchange->log_table - 1); /* names fit */
    memcpy(exchange->log_table, name, size);
    exchange->log_table[size] = '\0';
}

const char *exchange_set_etag(struct exchange *exchange, struct span content)
{
    uint64_t checksum = hash_checksum(content);
    struct buffer text = {.data = (uint8_t *)exchange->etag,
                          .capacity = sizeof exchange->etag,
                          .size_max = sizeof exchange->etag};
    buffer_append_byte(&text, '"');
    text_hex_encode(span_of(&checksum, sizeof checksum), &text);
    buffer_append(&text, "\"", sizeof "\""); /* its end, too */
    assert(!text.overflowed);
    size_t slot = header_slot(exchange, "ETag");
    exchange->answer_headers[slot].name = "ETag";
    exchange->answer_headers[slot].value = exchange->etag;
    return exchange->etag;
}

void exchange_answer_json(struct exchange *exchange, int status, struct json **value)
{
    buffer_reset(&exchange->answer);
    json_write(*value, &exchange->answer);
    json_free(value);
    exchange->status = status;
    exchange->answer_type = NULL;
}

void exchange_answer_empty(struct exchange *exchange, int status)
{
    buffer_reset(&exchange->answer);
    exchange->status = status;
    exchange->answer_type = NULL;
}

enum err_code exchange_body_json(struct exchange *exchange, struct json **body_out)
{
    struct json *body = NULL;
    if (exchange->body.size == 0) {
        return err_set(&exchange->err, ERR_INVALID, "the body is empty; a JSON object is expected");
    }
    TRY(json_parse(exchange->body, &body, &exchange->err));
    if (json_kind(body) != JSON_KIND_OBJECT) {
        json_free(&body);
        return err_set(&exchange->err, ERR_INVALID, "the body must be one JSON object");
    }
    *body_out = body;
    return ERR_OK;
}

void exchange_set_finish_hook(exchange_finish_fn *hook)
{
    finish_hook = hook;
}

void exchange_finish(struct exchange *exchange)
{
    assert(finish_hook != NULL);
    finish_hook(exchange);
}
