/*
 * Walking JSON text. See json_raw.h for the contract.
 */
#include "storage/base/json_raw.h"

#include "storage/base/json.h"

#include <string.h>

static void skip_blanks(struct json_raw *raw)
{
    while (raw->at < raw->end &&
           (*raw->at == ' ' || *raw->at == '\t' || *raw->at == '\n' || *raw->at == '\r')) {
        raw->at++;
    }
}

static bool fail(struct json_raw *raw)
{
    raw->failed = true;
    return false;
}

/* Take `byte` after blanks, or fail. */
static bool take(struct json_raw *raw, uint8_t byte)
{
    skip_blanks(raw);
    if (raw->at >= raw->end || *raw->at != byte) {
        return fail(raw);
    }
    raw->at++;
    return true;
}

/* A string from its opening quote on; `text_out` is what stands between the quotes. */
static bool take_string(struct json_raw *raw, struct span *text_out)
{
    if (!take(raw, '"')) {
        return false;
    }
    const uint8_t *start = raw->at;
    for (; raw->at < raw->end; raw->at++) {
        if (*raw->at == '\\') {
            raw->at++;
        } else if (*raw->at == '"') {
            *text_out = span_of(start, (size_t)(raw->at - start));
            raw->at++;
            return true;
        }
    }
    raw->at = raw->end;
    return fail(raw);
}

/* An object or array: to the bracket that closes it, strings passed over. */
static bool skip_nested(struct json_raw *raw)
{
    size_t depth = 0;
    while (raw->at < raw->end) {
        uint8_t byte = *raw->at;
        struct span ignored;
        if (byte == '"') {
            if (!take_string(raw, &ignored)) {
                return false;
            }
            continue;
        }
        raw->at++;
        if (byte == '{' || byte == '[') {
            depth++;
        } else if ((byte == '}' || byte == ']') && --depth == 0) {
            return true;
        }
    }
    return fail(raw);
}

static bool skip_scalar(struct json_raw *raw)
{
    const uint8_t *start = raw->at;
    while (raw->at < raw->end && memchr(",}] \t\r\n", *raw->at, 7) == NULL) {
        raw->at++;
    }
    return raw->at > start || fail(raw);
}

static bool take_value(struct json_raw *raw, struct span *value_out)
{
    skip_blanks(raw);
    const uint8_t *start = raw->at;
    struct span ignored;
    if (raw->at >= raw->end) {
        return fail(raw);
    }
    bool good = *start == '"'                    ? take_string(raw, &ignored)
                : *start == '{' || *start == '[' ? skip_nested(raw)
                                                 : skip_scalar(raw);
    *value_out = span_of(start, (size_t)(raw->at - start));
    return good;
}

/* To where the next member or item starts; false at the closing bracket or when broken. */
static bool reach_next(struct json_raw *raw)
{
    bool first = !raw->begun;
    if (first && !take(raw, raw->object ? '{' : '[')) {
        return false;
    }
    raw->begun = true;
    skip_blanks(raw);
    if (raw->at < raw->end && *raw->at == (raw->object ? '}' : ']')) {
        return false;
    }
    return first || take(raw, ',');
}

bool json_raw_next(struct json_raw *raw, struct span *name_out, struct span *value_out)
{
    if (raw->failed || !reach_next(raw)) {
        return false;
    }
    *name_out = (struct span){0};
    if (raw->object && (!take_string(raw, name_out) || !take(raw, ':'))) {
        return false;
    }
    return take_value(raw, value_out);
}

bool json_raw_is_whole(const struct json_raw *raw)
{
    struct json_raw rest = *raw;
    if (!take(&rest, raw->object ? '}' : ']')) {
        return false;
    }
    skip_blanks(&rest);
    return !raw->failed && rest.at == rest.end;
}

bool json_raw_is_name(struct span raw_name, const char *name)
{
    if (raw_name.size == 0 || memchr(raw_name.data, '\\', raw_name.size) == NULL) {
        return span_equal_text(raw_name, name);
    }
    CLEANUP(json_free) struct json *value = NULL;
    struct span text;
    struct err err = {0};
    struct span quoted = span_of(raw_name.data - 1, raw_name.size + 2);
    return json_parse(quoted, &value, &err) == ERR_OK && json_as_string(value, &text) &&
           span_equal_text(text, name);
}

bool json_raw_find(struct span object, const char *name, struct span *value_out)
{
    struct json_raw raw = json_raw_members(object);
    struct span member;
    struct span value;
    while (json_raw_next(&raw, &member, &value)) {
        if (json_raw_is_name(member, name)) {
            *value_out = value;
            return true;
        }
    }
    return false;
}
