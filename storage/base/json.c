/*
 * JSON documents on jansson: the only file that knows it. See json.h for the
 * contract; json_write.c turns values into text.
 *
 * Left to us are the limit of depth (jansson's own is 2048), NUL bytes, integers
 * beyond int64 (jansson refuses them) and the messages (jansson's quote the document).
 *
 * jansson recurses where it walks a whole value: a parsed one is at most
 * JSON_DEPTH_MAX deep, and built ones as deep as our own code nests its calls.
 */
#include "storage/base/json.h"

#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* struct json is never defined: a pointer to one is a pointer to jansson's. */
static json_t *inner(const struct json *value)
{
    return (json_t *)(uintptr_t)value; /* reading takes no const there */
}

static struct json *outer(json_t *value)
{
    assert(value != NULL); /* memory never runs out (mem.h), and arguments are checked here */
    return (struct json *)value;
}

/*
 * Before main, and so before any thread and any value: memory from mem.h, and a
 * secret seed, so that nobody can send names which all fall into one bucket.
 */
__attribute__((constructor)) static void set_up(void)
{
    uint32_t seed = 0;
    json_set_alloc_funcs(mem_alloc, mem_free);
    secret_random(&seed, sizeof seed);
    json_object_seed(seed);
}

/* ---- parsing ---- */

static size_t skip_string(struct span text, size_t at)
{
    for (at++; at < text.size && text.data[at] != '"'; at++) {
        at += text.data[at] == '\\';
    }
    return at;
}

/* Offset of the first bracket that is nested deeper than `depth_max`, or of the end. */
static size_t find_too_deep(struct span text, size_t depth_max)
{
    size_t depth = 0;
    for (size_t at = 0; at < text.size; at++) {
        uint8_t c = text.data[at];
        if (c == '"') {
            at = skip_string(text, at);
        } else if (c == '[' || c == '{') {
            if (++depth > depth_max) {
                return at;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return text.size;
}

static bool is_number_byte(uint8_t c)
{
    return (uint8_t)(c - '0') < 10 || c == '-' || c == '+' || c == '.' || (c | 0x20) == 'e';
}

/* An integer of RFC 8259 beyond int64 that is a double. */
static bool is_wide_integer(struct span number, double *real_out)
{
    int64_t integer = 0;
    for (size_t i = number.data[0] == '-'; i < number.size; i++) {
        if ((uint8_t)(number.data[i] - '0') >= 10) {
            return false;
        }
    }
    return !text_parse_int64(number, &integer) && text_parse_double(number, real_out);
}

/*
 * Write the double of a wide integer over its digits: 17 of them and an exponent say
 * it exactly and are never longer. Blanks fill the rest, so that offsets stay.
 */
static void widen(uint8_t *number, size_t size, double real)
{
    enum { DIGITS = 17 };
    char scientific[TEXT_DOUBLE_BYTES]; /* -d.dddddddddddddddde+xx */
    char text[TEXT_DOUBLE_BYTES];
    (void)snprintf(scientific, sizeof scientific, "%.*e", DIGITS - 1, real); /* fits */
    const char *first = scientific + (scientific[0] == '-');
    int64_t exponent = 0;
    bool read = text_parse_int64(span_of_text(strchr(first, 'e') + 2), &exponent);
    assert(read);
    int length = snprintf(text, sizeof text, "%s%c%.*se%d", real < 0 ? "-" : "", first[0],
                          DIGITS - 1, first + 2, (int)exponent - (DIGITS - 1));
    assert(length > 0 && (size_t)length <= size);
    memset(number, ' ', size);
    memcpy(number, text, (size_t)length);
}

/* A copy of the text in which integers beyond int64 are written as reals. mem_free. */
static uint8_t *widen_integers(struct span text)
{
    uint8_t *copy = mem_copy(text.data, text.size);
    for (size_t at = 0; at < text.size; at++) {
        size_t start = at;
        double real = 0;
        if (text.data[at] == '"') {
            at = skip_string(text, at);
            continue;
        }
        while (at < text.size && is_number_byte(text.data[at])) {
            at++;
        }
        if (at > start && is_wide_integer(span_of(text.data + start, at - start), &real)) {
            widen(copy + start, at - start, real);
        }
        at -= at > start; /* the loop goes on behind the number */
    }
    return copy;
}

static const char *reason_of(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "the document ends early";
    case json_error_end_of_input_expected:
        return "text after the end of the document";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_duplicate_key:
        return "an object has a name twice";
    case json_error_null_byte_in_key:
        return "a name may not hold a NUL character";
    case json_error_numeric_overflow:
        return "a number out of range";
    default:
        return "not what JSON allows here";
    }
}

/* `read` is how many bytes had been read: the place is the last one of them. */
static enum err_code refuse_at(struct span text, size_t read, const char *reason, struct err *err)
{
    size_t line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i + 1 < read && i < text.size; i++) {
        if (text.data[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return err_set(err, ERR_INVALID, "malformed JSON at line %zu, column %zu: %s", line,
                   read > line_start ? read - line_start : 1, reason);
}

static json_t *load(const void *text, size_t size, json_error_t *error)
{
    return json_loadb(size > 0 ? text : "", size,
                      JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, error);
}

enum err_code json_parse(struct span text, struct json **root_out, struct err *err)
{
    return json_parse_deep(text, JSON_DEPTH_MAX, root_out, err);
}

enum err_code json_parse_deep(struct span text, size_t depth_max, struct json **root_out,
                              struct err *err)
{
    assert(depth_max <= JSON_DEPTH_DEEPEST);
    size_t too_deep = find_too_deep(text, depth_max);
    if (too_deep < text.size) {
        return refuse_at(text, too_deep + 1, "nested too deep", err);
    }
    /* jansson passes over some of them, and JSON has none: in texts they are escaped */
    const uint8_t *nul = text.size > 0 ? memchr(text.data, '\0', text.size) : NULL;
    if (nul != NULL) {
        return refuse_at(text, (size_t)(nul - text.data) + 1, "a NUL byte", err);
    }
    json_error_t error; /* its text may quote the document: not for messages */
    json_t *root = load(text.data, text.size, &error);
    if (root == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        CLEANUP(mem_cleanup) uint8_t *wider = widen_integers(text);
        root = load(wider, text.size, &error);
    }
    if (root == NULL) {
        enum json_error_code code = json_error_code(&error);
        bool is_before = code == json_error_invalid_utf8; /* the position is before the byte */
        return refuse_at(text, (size_t)error.position + is_before, reason_of(code), err);
    }
    *root_out = outer(root);
    return ERR_OK;
}

void json_free(struct json **value)
{
    json_decref(inner(*value));
    *value = NULL;
}

/* ---- reading ---- */

enum json_kind json_kind(const struct json *value)
{
    if (value == NULL) {
        return JSON_KIND_NULL;
    }
    switch (json_typeof(inner(value))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_STRING;
    case JSON_INTEGER:
        return JSON_KIND_INTEGER;
    case JSON_REAL:
        return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOLEAN;
    case JSON_NULL:
        break;
    }
    return JSON_KIND_NULL;
}

const struct json *json_get(const struct json *object, const char *name)
{
    return (const struct json *)json_object_get(inner(object), name); /* NULL is no object */
}

size_t json_count(const struct json *array_or_object)
{
    const json_t *value = inner(array_or_object);
    return json_is_object(value) ? json_object_size(value) : json_array_size(value);
}

const struct json *json_at(const struct json *array, size_t index)
{
    return (const struct json *)json_array_get(inner(array), index);
}

bool json_as_string(const struct json *value, struct span *text_out)
{
    const json_t *string = inner(value);
    if (!json_is_string(string)) {
        return false;
    }
    *text_out = span_of(json_string_value(string), json_string_length(string));
    return true;
}

bool json_as_integer(const struct json *value, int64_t *integer_out)
{
    const json_t *integer = inner(value);
    if (!json_is_integer(integer)) {
        return false;
    }
    *integer_out = json_integer_value(integer);
    return true;
}

bool json_as_real(const struct json *value, double *real_out)
{
    const json_t *number = inner(value);
    if (!json_is_number(number)) {
        return false;
    }
    *real_out = json_number_value(number);
    return true;
}

bool json_as_boolean(const struct json *value, bool *boolean_out)
{
    const json_t *boolean = inner(value);
    if (!json_is_boolean(boolean)) {
        return false;
    }
    *boolean_out = json_is_true(boolean);
    return true;
}

const char *json_text(const struct json *value)
{
    struct span text;
    bool is_text = json_as_string(value, &text) &&
                   (text.size == 0 || memchr(text.data, '\0', text.size) == NULL);
    return is_text ? (const char *)text.data : NULL; /* jansson ends it with a NUL */
}

/* A position is jansson's iterator at the member that was read last. */
bool json_member(const struct json *object, size_t *position, const char **name_out,
                 const struct json **value_out)
{
    void *last = (void *)(uintptr_t)*position; /* NULL before the first */
    void *next =
        last == NULL ? json_object_iter(inner(object)) : json_object_iter_next(inner(object), last);
    if (next == NULL) {
        return false;
    }
    *name_out = json_object_iter_key(next);
    *value_out = (const struct json *)json_object_iter_value(next);
    *position = (uintptr_t)next;
    return true;
}

static bool is_listed(const char *name, const char *const list[])
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* spec: RFC 6901 3 — "~" and "/" of a name are written "~0" and "~1" */
void json_write_pointer(struct buffer *pointer, const char *name)
{
    buffer_append_byte(pointer, '/');
    for (; *name != '\0'; name++) {
        if (*name == '~' || *name == '/') {
            buffer_append_text(pointer, *name == '~' ? "~0" : "~1");
        } else {
            buffer_append_byte(pointer, (uint8_t)*name);
        }
    }
}

/* Does a step of a pointer, escapes and all, spell the name? */
static bool spells(struct span step, const char *name)
{
    for (size_t i = 0; i < step.size; i++, name++) {
        char wanted = (char)step.data[i];
        if (wanted == '~') {
            i++;
            if (i == step.size || (step.data[i] != '0' && step.data[i] != '1')) {
                return false;
            }
            wanted = step.data[i] == '0' ? '~' : '/';
        }
        if (*name != wanted || wanted == '\0') {
            return false;
        }
    }
    return *name == '\0';
}

static const struct json *step_into(const struct json *value, struct span step)
{
    if (json_kind(value) == JSON_KIND_OBJECT) {
        size_t position = 0;
        const char *name = NULL;
        const struct json *member = NULL;
        while (json_member(value, &position, &name, &member)) {
            if (spells(step, name)) {
                return member;
            }
        }
        return NULL;
    }
    int64_t index = 0;
    /* spec: RFC 6901 4 — an index has no leading zeros; "-" is no element that exists */
    bool plain = step.size > 0 && step.data[0] != '-' && (step.size == 1 || step.data[0] != '0');
    if (json_kind(value) != JSON_KIND_ARRAY || !plain || !text_parse_int64(step, &index)) {
        return NULL;
    }
    return json_at(value, (size_t)index);
}

const struct json *json_find(const struct json *root, struct span pointer)
{
    const struct json *value = root;
    while (value != NULL && pointer.size > 0) {
        if (pointer.data[0] != '/') {
            return NULL;
        }
        pointer = span_of(pointer.data + 1, pointer.size - 1);
        const uint8_t *slash = pointer.size > 0 ? memchr(pointer.data, '/', pointer.size) : NULL;
        size_t size = slash != NULL ? (size_t)(slash - pointer.data) : pointer.size;
        value = step_into(value, span_of(pointer.data, size));
        pointer = span_of(pointer.data + size, pointer.size - size);
    }
    return value;
}

static enum err_code refuse_name(const char *pointer, const char *name, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer place;
    buffer_init(&place, ERR_MESSAGE_BYTES); /* a longer one is cut there anyway */
    buffer_append_text(&place, pointer);
    json_write_pointer(&place, name);
    return err_set(err, ERR_INVALID, "%.*s is not a name that is known here",
                   SPAN_PRINT(buffer_span(&place)));
}

enum err_code json_check_names(const struct json *object, const char *pointer,
                               const char *const allowed[], struct err *err)
{
    if (json_kind(object) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "%s must be an object",
                       pointer[0] != '\0' ? pointer : "the document");
    }
    size_t position = 0;
    const char *name = NULL;
    const struct json *ignored = NULL;
    while (json_member(object, &position, &name, &ignored)) {
        if (!is_listed(name, allowed)) {
            return refuse_name(pointer, name, err);
        }
    }
    return ERR_OK;
}

/* ---- building ---- */

static json_t *child_of(struct json *value)
{
    return value != NULL ? inner(value) : json_null();
}

struct json *json_new_object(void)
{
    return outer(json_object());
}

struct json *json_new_array(void)
{
    return outer(json_array());
}

/* Copy `text` with every byte that is not part of a sequence as U+FFFD. */
static struct json *new_repaired_string(struct span text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    CLEANUP(buffer_deinit) struct buffer repaired;
    buffer_init(&repaired, SIZE_MAX);
    for (size_t at = 0; at < text.size;) {
        size_t size = text_utf8_sequence(span_of(text.data + at, text.size - at));
        if (size > 0) {
            buffer_append(&repaired, text.data + at, size);
        } else {
            buffer_append_text(&repaired, replacement);
        }
        at += size > 0 ? size : 1;
    }
    return json_new_string(buffer_span(&repaired));
}

struct json *json_new_string(struct span text)
{
    size_t bad_offset = 0;
    if (!text_is_utf8(text, &bad_offset)) {
        return new_repaired_string(text);
    }
    const char *bytes = text.size > 0 ? (const char *)text.data : "";
    return outer(json_stringn_nocheck(bytes, text.size));
}

struct json *json_new_text(const char *text)
{
    return text != NULL ? json_new_string(span_of_text(text)) : json_new_null();
}

struct json *json_new_integer(int64_t integer)
{
    return outer(json_integer(integer));
}

struct json *json_new_real(double real)
{
    assert(isfinite(real));
    return outer(json_real(real));
}

struct json *json_new_boolean(bool boolean)
{
    return outer(json_boolean(boolean));
}

struct json *json_new_null(void)
{
    return outer(json_null());
}

struct json *json_duplicate(const struct json *value)
{
    return value != NULL ? outer(json_deep_copy(inner(value))) : json_new_null();
}

void json_set(struct json *object, const char *name, struct json *value)
{
    /* names that are not UTF-8 are repaired when they are written */
    int failed = json_object_set_new_nocheck(inner(object), name, child_of(value));
    assert(failed == 0);
}

void json_set_text(struct json *object, const char *name, const char *text)
{
    json_set(object, name, json_new_text(text));
}

void json_set_integer(struct json *object, const char *name, int64_t integer)
{
    json_set(object, name, json_new_integer(integer));
}

void json_set_boolean(struct json *object, const char *name, bool boolean)
{
    json_set(object, name, json_new_boolean(boolean));
}

void json_remove(struct json *object, const char *name)
{
    assert(json_is_object(inner(object)));
    (void)json_object_del(inner(object), name); /* one that is not there may be removed */
}

void json_append(struct json *array, struct json *value)
{
    int failed = json_array_append_new(inner(array), child_of(value));
    assert(failed == 0);
}

bool json_equals(const struct json *a, const struct json *b)
{
    const json_t *null = json_null();
    return json_equal(a != NULL ? inner(a) : null, b != NULL ? inner(b) : null) == 1;
}
