/*
 * Walking JSON text. See json_raw.h for the contract.
 */
#include "storage/base/json_raw.h"

#include "storage/base/json.h"

#include <stdio.h>
#include <stdlib.h>
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

/* ---- numbers that a double does not hold ---- */

enum {
    EXACT_DIGITS_MAX = 17, /* that a double can tell apart */
    PRINTED_BYTES = 40,
    NUMBER_BYTES_MAX = 1024, /* longer ones are taken for inexact */
};

/* The digits that count, from the first that is not zero to the last. Number of them; 0 = many. */
static size_t take_digits(struct span number, char digits[EXACT_DIGITS_MAX + 1])
{
    size_t count = 0;
    size_t zeros = 0;
    for (size_t i = 0; i < number.size && (number.data[i] | 0x20) != 'e'; i++) {
        uint8_t byte = number.data[i];
        if (byte == '0' && count > 0) {
            zeros++;
        } else if (byte >= '1' && byte <= '9') {
            if (count + zeros >= EXACT_DIGITS_MAX) {
                return 0;
            }
            memset(digits + count, '0', zeros);
            count += zeros;
            digits[count++] = (char)byte;
            zeros = 0;
        }
    }
    digits[count] = '\0';
    return count;
}

static bool is_exact(struct span number)
{
    char digits[EXACT_DIGITS_MAX + 1] = "";
    char printed[PRINTED_BYTES];
    char copy[NUMBER_BYTES_MAX + 1];
    bool is_zero = true;
    for (size_t i = 0; i < number.size && (number.data[i] | 0x20) != 'e'; i++) {
        is_zero = is_zero && (number.data[i] < '1' || number.data[i] > '9');
    }
    size_t count = take_digits(number, digits);
    if (is_zero || number.size >= sizeof copy) {
        return is_zero;
    }
    memcpy(copy, number.data, number.size);
    copy[number.size] = '\0';
    if (count == 0) {
        return false;
    }
    (void)snprintf(printed, sizeof printed, "%.*e", (int)count - 1, strtod(copy, NULL)); /* fits */
    size_t at = 0;
    for (const char *byte = printed; *byte != 'e' && *byte != '\0'; byte++) {
        if (*byte >= '0' && *byte <= '9' && (at >= count || *byte != digits[at++])) {
            return false;
        }
    }
    return true;
}

/* `at` is at a digit or a sign; behind the number. */
static size_t skip_number(struct span text, size_t at, bool *real_out)
{
    *real_out = false;
    for (; at < text.size; at++) {
        uint8_t byte = text.data[at];
        if (byte == '.' || byte == 'e' || byte == 'E') {
            *real_out = true;
        } else if ((byte < '0' || byte > '9') && byte != '-' && byte != '+') {
            break;
        }
    }
    return at;
}

bool json_raw_has_inexact(struct span text, struct span *number_out)
{
    bool quoted = false;
    for (size_t at = 0; at < text.size; at++) {
        uint8_t byte = text.data[at];
        if (byte == '"') {
            quoted = !quoted;
        } else if (quoted) {
            at += byte == '\\';
        } else if (byte == '-' || (byte >= '0' && byte <= '9')) {
            bool real = false;
            size_t end = skip_number(text, at, &real);
            struct span number = span_part(text, at, end);
            if (real && !is_exact(number)) {
                *number_out = number;
                return true;
            }
            at = end - 1;
        }
    }
    return false;
}
