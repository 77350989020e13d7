/*
 * What is wrong with a record, in words for the sender: code, JSON pointer and a
 * message that names the rule. Nothing here ever prints a value.
 */
#include "storage/columns/decoder.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { PLAIN_NAME_BYTES_MAX = 64, PLAIN_NAME_DIGITS_MAX = 4 };

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

bool decode_name_is_plain(struct span name)
{
    if (name.size == 0 || name.size > PLAIN_NAME_BYTES_MAX) {
        return false;
    }
    if (!is_letter(name.data[0]) && name.data[0] != '_') {
        return false;
    }
    size_t digits = 0;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        digits += is_digit(c);
        if (!is_letter(c) && !is_digit(c) && c != '_' && c != '-' && c != '.') {
            return false;
        }
    }
    return digits <= PLAIN_NAME_DIGITS_MAX;
}

/*
 * One more step of a pointer, left out when there is no room for it.
 * spec: RFC 6901 section 3 — '~' is written ~0 and '/' is written ~1
 */
static bool append_step(struct span name, char pointer_out[DECODER_POINTER_BYTES])
{
    size_t start = strlen(pointer_out);
    size_t size = start;
    if (size + 2 * name.size + 2 > DECODER_POINTER_BYTES) {
        return false;
    }
    pointer_out[size++] = '/';
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c == '~' || c == '/') {
            pointer_out[size++] = '~';
            pointer_out[size++] = c == '~' ? '0' : '1';
        } else {
            pointer_out[size++] = (char)c;
        }
    }
    pointer_out[size] = '\0';
    return true;
}

/* The key of the entry at hand, where it is text that does not read like somebody's data. */
static bool append_key(const struct decode_field *map, char pointer_out[DECODER_POINTER_BYTES])
{
    const struct column *keys = &map->column->children[0];
    if (keys->type != COLUMN_STRING || keys->rows_count == 0) {
        return false;
    }
    struct span key = column_bytes(keys, keys->rows_count - 1);
    return decode_name_is_plain(key) && append_step(key, pointer_out);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. False when the pointer ends above the field. */
static bool write_pointer(const struct decoder *decoder, size_t index,
                          char pointer_out[DECODER_POINTER_BYTES])
{
    const struct decode_field *described = &decoder->fields[index];
    const struct decode_field *parent = &decoder->fields[described->parent];
    if (decoder_is_operation(decoder, index)) {
        return append_step(span_of_text("_op"), pointer_out);
    }
    if (described->parent == index) {
        return append_step(span_of_text(described->field->name), pointer_out);
    }
    if (!write_pointer(decoder, described->parent, pointer_out)) {
        return false;
    }
    if (parent->type == COLUMN_STRUCT) {
        return append_step(span_of_text(described->field->name), pointer_out);
    }
    if (parent->type == COLUMN_MAP) {
        return index != parent->first_child && append_key(parent, pointer_out);
    }
    char number[24];
    (void)snprintf(number, sizeof number, "%lld", (long long)parent->elements - 1); /* fits */
    return append_step(span_of_text(number), pointer_out);
}

/*
 * Where the next fault of this record is written, NULL when enough are kept.
 * The two kinds have room of their own: a delete forgets the rule faults, and
 * must then still know every other one.
 */
static struct decode_fault *next_fault(struct decoder *decoder, enum decode_code code, bool rule)
{
    size_t *total = rule ? &decoder->rule_faults_count : &decoder->faults_count;
    (*total)++;
    size_t kept_of_kind =
        rule ? decoder->kept_rules_count : decoder->kept_count - decoder->kept_rules_count;
    if (decoder->silent || kept_of_kind >= DECODE_RECORD_ERRORS_MAX) {
        return NULL;
    }
    struct decode_fault *fault = &decoder->kept[decoder->kept_count++];
    decoder->kept_rules_count += rule;
    fault->code = code;
    fault->rule = rule;
    fault->pointer[0] = '\0';
    fault->message[0] = '\0';
    return fault;
}

static void note_fault(struct decoder *decoder, size_t index, enum decode_code code, bool rule,
                       const char *format, va_list arguments)
    __attribute__((cold, format(printf, 5, 0)));

static void note_fault(struct decoder *decoder, size_t index, enum decode_code code, bool rule,
                       const char *format, va_list arguments)
{
    struct decode_fault *fault = next_fault(decoder, code, rule);
    if (fault != NULL) {
        (void)write_pointer(decoder, index, fault->pointer); /* as far as it goes */
        (void)vsnprintf(fault->message, sizeof fault->message, format,
                        arguments); /* a message may be cut */
    }
}

void decoder_fault(struct decoder *decoder, size_t index, enum decode_code code, const char *format,
                   ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_fault(decoder, index, code, false, format, arguments);
    va_end(arguments);
}

void decoder_fault_rule(struct decoder *decoder, size_t index, enum decode_code code,
                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_fault(decoder, index, code, !decoder->fields[index].identifies, format, arguments);
    va_end(arguments);
}

void decoder_fault_record(struct decoder *decoder, enum decode_code code, const char *format, ...)
{
    struct decode_fault *fault = next_fault(decoder, code, false);
    if (fault != NULL) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(fault->message, sizeof fault->message, format,
                        arguments); /* a message may be cut */
        va_end(arguments);
    }
}

/* `what` has no such field; `fault` has the pointer to it. */
static void note_unknown(struct decode_fault *fault, const char *what, struct span name)
{
    bool plain = decode_name_is_plain(name) && append_step(name, fault->pointer);
    (void)snprintf(fault->message, sizeof fault->message,
                   plain ? "the %s has no field of this name"
                         : "the %s has no such field; its name is withheld because it does not "
                           "read like one",
                   what); /* fits */
}

void decoder_fault_unknown(struct decoder *decoder, struct span name)
{
    struct decode_fault *fault = next_fault(decoder, DECODE_UNKNOWN_FIELD, false);
    if (fault != NULL) {
        note_unknown(fault, "table", name);
    }
}

void decoder_fault_unknown_child(struct decoder *decoder, size_t index, struct span name)
{
    struct decode_fault *fault = next_fault(decoder, DECODE_UNKNOWN_FIELD, false);
    if (fault != NULL && write_pointer(decoder, index, fault->pointer)) {
        note_unknown(fault, "struct", name);
    } else if (fault != NULL) {
        (void)snprintf(fault->message, sizeof fault->message,
                       "a struct within has no field of a name that it is given"); /* fits */
    }
}

void decoder_faults_clear(struct decoder *decoder)
{
    decoder->faults_count = 0;
    decoder->rule_faults_count = 0;
    decoder->kept_count = 0;
    decoder->kept_rules_count = 0;
}

/* "date as YYYY-MM-DD": what a message may say is expected. */
static const char *expected_form(enum column_type type)
{
    switch (type) {
    case COLUMN_STRING:
        return "string";
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        return "whole number without fraction or exponent";
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return "number";
    case COLUMN_BOOLEAN:
        return "boolean, true or false";
    case COLUMN_DATE:
        return "date as YYYY-MM-DD";
    case COLUMN_TIMESTAMP:
        return "RFC 3339 timestamp with zone, such as 2026-01-31T23:59:59Z";
    case COLUMN_TIMESTAMP_NTZ:
        return "timestamp without zone, such as 2026-01-31T23:59:59";
    case COLUMN_DECIMAL:
        return "number or a string with a number";
    case COLUMN_BINARY:
        return "base64 string with padding";
    case COLUMN_STRUCT:
    case COLUMN_MAP:
        return "JSON object";
    case COLUMN_ARRAY:
        return "JSON array";
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a column type");
    return "";
}

void decoder_fault_kind(struct decoder *decoder, size_t index, const char *found)
{
    if (decoder_is_operation(decoder, index)) {
        decoder_fault(decoder, index, DECODE_OPERATION,
                      "must be a string, one of upsert, patch, insert, delete; found %s", found);
    } else {
        decoder_fault(decoder, index, DECODE_TYPE, "must be a %s; found %s",
                      expected_form(decoder->fields[index].type), found);
    }
}

void decoder_fault_form(struct decoder *decoder, size_t index)
{
    decoder_fault(decoder, index, DECODE_TYPE, "must be a %s",
                  expected_form(decoder->fields[index].type));
}

void decoder_fault_range(struct decoder *decoder, size_t index)
{
    switch (decoder->fields[index].type) {
    case COLUMN_INTEGER:
        decoder_fault(decoder, index, DECODE_RANGE,
                      "must be between -2147483648 and 2147483647 (integer)");
        break;
    case COLUMN_LONG:
        decoder_fault(decoder, index, DECODE_RANGE,
                      "must be between -9223372036854775808 and 9223372036854775807 (long)");
        break;
    case COLUMN_DECIMAL:
        decoder_fault(decoder, index, DECODE_RANGE,
                      "must fit decimal(%d,%d): at most %d digits, %d of them after the point",
                      decoder->fields[index].field->precision, decoder->fields[index].field->scale,
                      decoder->fields[index].field->precision, decoder->fields[index].field->scale);
        break;
    default:
        decoder_fault(decoder, index, DECODE_RANGE, "is outside the range of %s",
                      column_type_name(decoder->fields[index].type));
        break;
    }
}

void decoder_fault_missing(struct decoder *decoder, size_t index, const char *how)
{
    const struct decode_field *described = &decoder->fields[index];
    if (described->in_key) {
        decoder_fault(decoder, index, DECODE_KEY_NULL, "is a key field and must not be %s", how);
    } else if (described->identifies) {
        decoder_fault(decoder, index, DECODE_REQUIRED, "is the sequence field and must not be %s",
                      how);
    } else {
        decoder_fault_rule(decoder, index, DECODE_REQUIRED,
                           "must not be %s: the field is not nullable", how);
    }
}
