/*
 * Values into columns: conversion per type, the rules of a field, and the
 * verdict on a record. What a body looks like (JSON, CSV) is the parsers'
 * business; how errors are kept is decode.c's.
 */
#include "storage/columns/decode_value.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode_scan.h"
#include "storage/columns/pattern.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    ENUM_LINEAR_MAX = 8,     /* values compared one by one before sorting pays */
    MANTISSA_DIGITS = 19,    /* decimal digits that any uint64_t holds */
    EXPONENT_MAX = 100000,   /* where exponents stop growing; far outside every type */
    DOUBLE_POWER_MAX = 22,   /* 10^22 is the largest power of ten a double holds exactly */
    PATTERN_SHOWN_MAX = 160, /* bytes of a pattern that a message shows */
    DECIMAL_SHIFT_MAX = 18,  /* 10^19 × 10^18 fits an __int128 */
};

static const double double_powers[DOUBLE_POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

static const int64_t long_powers[DECIMAL_SHIFT_MAX + 1] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

/* ---- what a field is --------------------------------------------------------- */

static bool is_key(const struct schema *schema, size_t index)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        if (schema->key[i] == index) {
            return true;
        }
    }
    return false;
}

/* A name that JSON may write without escapes, so that its bytes can be compared as they come. */
static bool needs_no_escape(struct span name)
{
    bool high = false;
    const uint8_t *end = name.data + name.size;
    return scan_json_text(name.data, end, &high) == end;
}

static void describe_name(struct decode_field *described, const char *name)
{
    struct span span = span_of_text(name);
    if (!needs_no_escape(span)) {
        return;
    }
    size_t copied = span.size < DECODER_QUOTED_BYTES ? span.size : DECODER_QUOTED_BYTES;
    memcpy(described->quoted, span.data, copied);
    if (span.size < DECODER_QUOTED_BYTES) {
        described->quoted[span.size] = '"';
    }
    described->quoted_size = span.size + 1;
}

static size_t text_bytes_safe(const struct field *field)
{
    if (field->max_length >= 0 && field->max_length < SCHEMA_STRING_BYTES_MAX) {
        return (size_t)field->max_length; /* a code point has at least one byte */
    }
    return SCHEMA_STRING_BYTES_MAX;
}

static void describe_field(struct decoder *decoder, size_t index)
{
    const struct schema *schema = decoder->schema;
    const struct field *field = &schema->fields[index];
    struct decode_field *described = &decoder->fields[index];
    *described = (struct decode_field){
        .field = field,
        .column = &decoder->frame->columns[index],
        .type = field->type,
        .in_key = is_key(schema, index),
        .bounded = field->has_minimum || field->has_maximum,
        .text_rules =
            field->pattern != NULL || field->enum_count > 0 || field->format != FORMAT_NONE,
        .bytes_safe = text_bytes_safe(field),
        .next = index + 1,
    };
    described->identifies =
        described->in_key || (schema->has_sequence && schema->sequence == index);
    describe_name(described, field->name);
}

/* Bytes of value slots that one row takes, whatever it holds. */
static int64_t row_bytes(const struct schema *schema)
{
    size_t total = sizeof(int64_t) + 1; /* line and operation */
    for (size_t i = 0; i < schema->fields_count; i++) {
        size_t slot = column_type_slot_bytes(schema->fields[i].type);
        total += slot > 0 ? slot : sizeof(uint32_t);
    }
    total += (schema->fields_count + 3) / 4; /* validity and present bits */
    return (int64_t)total;
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

void decoder_init(struct decoder *decoder, const struct schema *schema,
                  const struct decode_options *options, size_t body_bytes, struct frame *frame,
                  struct decode_errors *errors)
{
    *decoder = (struct decoder){
        .schema = schema,
        .options = *options,
        .frame = frame,
        .errors = errors,
        .fields = mem_zeroed(schema->fields_count + 2, sizeof *decoder->fields),
        .fields_count = schema->fields_count,
    };
    struct decode_options *resolved = &decoder->options;
    resolved->records_max = or_default(options->records_max, DECODE_RECORDS_MAX);
    resolved->record_bytes_max = or_default(options->record_bytes_max, DECODE_RECORD_BYTES_MAX);
    resolved->frame_bytes_max = or_default(options->frame_bytes_max, DECODE_FRAME_BYTES_MAX);
    assert(resolved->records_max <= FRAME_ROWS_MAX);
    decoder->rows_max = resolved->frame_bytes_max / row_bytes(schema);

    for (size_t i = 0; i < schema->fields_count; i++) {
        describe_field(decoder, i);
    }
    struct decode_field *operation = &decoder->fields[decoder->fields_count];
    *operation = (struct decode_field){.type = COLUMN_STRING, .next = 0};
    describe_name(operation, "_op");
    buffer_init(&decoder->scratch, body_bytes + 1);
}

void decoder_deinit(struct decoder *decoder)
{
    for (size_t i = 0; decoder->fields != NULL && i < decoder->fields_count; i++) {
        mem_free(decoder->fields[i].enum_sorted);
    }
    mem_free(decoder->fields);
    buffer_deinit(&decoder->scratch);
    decoder->fields = NULL;
}

int decoder_field_index(const struct decoder *decoder, struct span name)
{
    if (span_equal_text(name, "_op")) {
        return (int)decoder->fields_count;
    }
    return schema_field_index(decoder->schema, name);
}

static bool is_operation(const struct decoder *decoder, size_t index)
{
    return index == decoder->fields_count;
}

/* ---- faults ------------------------------------------------------------------ */

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

/* spec: RFC 6901 section 3 — '~' is written ~0 and '/' is written ~1 */
static void write_pointer(struct span name, char pointer_out[DECODER_POINTER_BYTES])
{
    size_t size = 0;
    pointer_out[size++] = '/';
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        assert(size + 3 <= DECODER_POINTER_BYTES);
        if (c == '~' || c == '/') {
            pointer_out[size++] = '~';
            pointer_out[size++] = c == '~' ? '0' : '1';
        } else {
            pointer_out[size++] = (char)c;
        }
    }
    pointer_out[size] = '\0';
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

static const char *field_name(const struct decoder *decoder, size_t index)
{
    return is_operation(decoder, index) ? "_op" : decoder->fields[index].field->name;
}

static void note_fault(struct decoder *decoder, size_t index, enum decode_code code, bool rule,
                       const char *format, va_list arguments)
    __attribute__((cold, format(printf, 5, 0)));

static void note_fault(struct decoder *decoder, size_t index, enum decode_code code, bool rule,
                       const char *format, va_list arguments)
{
    struct decode_fault *fault = next_fault(decoder, code, rule);
    if (fault != NULL) {
        write_pointer(span_of_text(field_name(decoder, index)), fault->pointer);
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

/* The value is of its type but breaks a rule: no concern of a delete, unless it identifies. */
static void rule_fault(struct decoder *decoder, size_t index, enum decode_code code,
                       const char *format, ...) __attribute__((cold, format(printf, 4, 5)));

static void rule_fault(struct decoder *decoder, size_t index, enum decode_code code,
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

void decoder_fault_unknown(struct decoder *decoder, struct span name)
{
    struct decode_fault *fault = next_fault(decoder, DECODE_UNKNOWN_FIELD, false);
    if (fault == NULL) {
        return;
    }
    if (decode_name_is_plain(name)) {
        write_pointer(name, fault->pointer);
        (void)snprintf(fault->message, sizeof fault->message,
                       "the table has no field of this name"); /* fits */
    } else {
        (void)snprintf(fault->message, sizeof fault->message,
                       "the table has no such field; its name is withheld because it does not "
                       "read like one"); /* fits */
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
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a column type");
    return "";
}

void decoder_fault_kind(struct decoder *decoder, size_t index, const char *found)
{
    if (is_operation(decoder, index)) {
        decoder_fault(decoder, index, DECODE_OPERATION,
                      "must be a string, one of upsert, patch, insert, delete; found %s", found);
    } else {
        decoder_fault(decoder, index, DECODE_TYPE, "must be a %s; found %s",
                      expected_form(decoder->fields[index].type), found);
    }
}

/* Text that does not read as the field's type. */
static void __attribute__((cold)) fault_form(struct decoder *decoder, size_t index)
{
    decoder_fault(decoder, index, DECODE_TYPE, "must be a %s",
                  expected_form(decoder->fields[index].type));
}

static void __attribute__((cold)) fault_range(struct decoder *decoder, size_t index)
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

/* ---- rules ------------------------------------------------------------------- */

static void __attribute__((cold)) fault_bound(struct decoder *decoder, size_t index, bool minimum)
{
    const struct field *field = decoder->fields[index].field;
    rule_fault(decoder, index, DECODE_RANGE, "must be at %s %s", minimum ? "least" : "most",
               minimum ? field->minimum_text : field->maximum_text);
}

static void check_bounds(struct decoder *decoder, size_t index, __int128 value)
{
    const struct field *field = decoder->fields[index].field;
    if (field->has_minimum && value < field->minimum) {
        fault_bound(decoder, index, true);
    } else if (field->has_maximum && value > field->maximum) {
        fault_bound(decoder, index, false);
    }
}

static double bound_as_double(__int128 bits)
{
    uint64_t low = (uint64_t)bits;
    double value = 0;
    memcpy(&value, &low, sizeof value);
    return value;
}

static void check_double_bounds(struct decoder *decoder, size_t index, double value)
{
    const struct field *field = decoder->fields[index].field;
    if (field->has_minimum && value < bound_as_double(field->minimum)) {
        fault_bound(decoder, index, true);
    } else if (field->has_maximum && value > bound_as_double(field->maximum)) {
        fault_bound(decoder, index, false);
    }
}

static int compare_spans(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static bool in_enumeration(struct decode_field *described, struct span text)
{
    const struct field *field = described->field;
    if (field->enum_count <= ENUM_LINEAR_MAX) {
        for (size_t i = 0; i < field->enum_count; i++) {
            if (span_equal(field->enum_values[i], text)) {
                return true;
            }
        }
        return false;
    }
    if (described->enum_sorted == NULL) {
        size_t size = field->enum_count * sizeof *field->enum_values;
        described->enum_sorted = mem_copy(field->enum_values, size);
        qsort(described->enum_sorted, field->enum_count, sizeof *field->enum_values, compare_spans);
    }
    return bsearch(&text, described->enum_sorted, field->enum_count, sizeof text, compare_spans) !=
           NULL;
}

static void __attribute__((cold)) fault_pattern(struct decoder *decoder, size_t index)
{
    struct span pattern = span_of_text(decoder->fields[index].field->pattern_text);
    if (pattern.size <= PATTERN_SHOWN_MAX && scan_is_ascii(pattern)) {
        rule_fault(decoder, index, DECODE_PATTERN, "must match the pattern %.*s",
                   SPAN_PRINT(pattern));
    } else {
        rule_fault(decoder, index, DECODE_PATTERN, "must match the field's pattern");
    }
}

static void check_text_rules(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_field *described = &decoder->fields[index];
    const struct field *field = described->field;
    if (field->enum_count > 0 && !in_enumeration(described, text)) {
        rule_fault(decoder, index, DECODE_ENUM,
                   "must be one of the values that the field's enum lists");
    }
    if (field->format != FORMAT_NONE && !field_format_holds(field->format, text)) {
        rule_fault(decoder, index, DECODE_FORMAT, "must be a valid %s",
                   field_format_name(field->format));
    }
    if (field->pattern != NULL && !field_pattern_holds(field->pattern, text)) {
        fault_pattern(decoder, index);
    }
}

/* Called for text over bytes_safe: is it over the limit, too? False when it must not be kept. */
static bool check_length(struct decoder *decoder, size_t index, struct span text)
{
    const struct field *field = decoder->fields[index].field;
    if (text.size > SCHEMA_STRING_BYTES_MAX) {
        decoder_fault(decoder, index, DECODE_TOO_LONG, "must have at most %d bytes",
                      SCHEMA_STRING_BYTES_MAX);
        return false;
    }
    if (field->max_length < 0) {
        return true;
    }
    if (field->type == COLUMN_BINARY) {
        if (text.size > (size_t)field->max_length) {
            rule_fault(decoder, index, DECODE_TOO_LONG, "must have at most %lld bytes",
                       (long long)field->max_length);
        }
    } else if (text_code_points(text) > (size_t)field->max_length) {
        rule_fault(decoder, index, DECODE_TOO_LONG, "must have at most %lld characters",
                   (long long)field->max_length);
    }
    return true;
}

/* ---- values ------------------------------------------------------------------ */

bool decoder_claim(struct decoder *decoder, size_t index)
{
    bool given = is_operation(decoder, index)
                     ? decoder->operation_seen
                     : decoder->fields[index].column->rows_count > decoder->frame->rows_count;
    if (given) {
        decoder_fault(decoder, index, DECODE_DUPLICATE_FIELD, "is given twice in one record");
        return false;
    }
    if (is_operation(decoder, index)) {
        decoder->operation_seen = true;
    } else {
        decoder->values_count++;
    }
    return true;
}

void decoder_put_nothing(struct decoder *decoder, size_t index)
{
    if (!is_operation(decoder, index)) {
        column_append_null(decoder->fields[index].column);
    }
}

static void __attribute__((cold))
fault_missing(struct decoder *decoder, size_t index, const char *how)
{
    const struct decode_field *described = &decoder->fields[index];
    if (described->in_key) {
        decoder_fault(decoder, index, DECODE_KEY_NULL, "is a key field and must not be %s", how);
    } else if (described->identifies) {
        decoder_fault(decoder, index, DECODE_REQUIRED, "is the sequence field and must not be %s",
                      how);
    } else {
        rule_fault(decoder, index, DECODE_REQUIRED, "must not be %s: the field is not nullable",
                   how);
    }
}

void decoder_put_null(struct decoder *decoder, size_t index)
{
    if (is_operation(decoder, index)) {
        return; /* stands for the default */
    }
    const struct decode_field *described = &decoder->fields[index];
    if (described->identifies || !described->field->nullable) {
        fault_missing(decoder, index, "null");
    }
    column_append_null(described->column);
}

void decoder_put_boolean(struct decoder *decoder, size_t index, bool value)
{
    if (decoder->fields[index].type != COLUMN_BOOLEAN) {
        decoder_fault_kind(decoder, index, "a boolean");
        decoder_put_nothing(decoder, index);
        return;
    }
    column_append_u8(decoder->fields[index].column, value ? 1 : 0);
}

/* The number as int64; false when it is out of that range. Its form is known to be integral. */
static bool number_as_long(const struct decode_number *number, int64_t *value_out)
{
    uint64_t limit = (uint64_t)INT64_MAX + (number->negative ? 1 : 0);
    if (!number->exact || number->mantissa > limit) {
        return false;
    }
    *value_out = (int64_t)(number->negative ? 0 - number->mantissa : number->mantissa);
    return true;
}

static bool fits_type(enum column_type type, int64_t value)
{
    switch (type) {
    case COLUMN_BYTE:
        return value >= INT8_MIN && value <= INT8_MAX;
    case COLUMN_SHORT:
        return value >= INT16_MIN && value <= INT16_MAX;
    case COLUMN_INTEGER:
        return value >= INT32_MIN && value <= INT32_MAX;
    default:
        return true;
    }
}

/* A whole number, or false with the fault noted. */
static bool put_integral(struct decoder *decoder, size_t index, bool in_range, int64_t value)
{
    struct decode_field *described = &decoder->fields[index];
    if (!in_range || !fits_type(described->type, value)) {
        fault_range(decoder, index);
        return false;
    }
    if (described->type == COLUMN_LONG) {
        column_append_i64(described->column, value);
    } else {
        column_append_i32(described->column, (int32_t)value);
    }
    if (described->bounded) {
        check_bounds(decoder, index, value);
    }
    return true;
}

static bool put_double(struct decoder *decoder, size_t index, const struct decode_number *number)
{
    struct decode_field *described = &decoder->fields[index];
    double value = 0;
    /* both operands are exact doubles, so one rounding gives the nearest (Clinger's fast path) */
    if (number->exact && number->mantissa <= (UINT64_C(1) << 53) &&
        number->exponent >= -DOUBLE_POWER_MAX && number->exponent <= DOUBLE_POWER_MAX) {
        value = (double)number->mantissa;
        value = number->exponent < 0 ? value / double_powers[-number->exponent]
                                     : value * double_powers[number->exponent];
        value = number->negative ? -value : value;
    } else if (!text_parse_double(number->text, &value)) {
        fault_range(decoder, index);
        return false;
    }
    if (described->type == COLUMN_FLOAT) {
        value = (double)(float)value;
        if (!isfinite(value)) {
            fault_range(decoder, index);
            return false;
        }
    }
    column_append_f64(described->column, value);
    if (described->bounded) {
        check_double_bounds(decoder, index, value);
    }
    return true;
}

/* The short way: few digits, none of them lost by the scale. */
static bool number_as_decimal(const struct decode_number *number, const struct field *field,
                              __int128 *unscaled_out)
{
    int shift = field->scale + number->exponent;
    if (!number->exact || shift < 0 || shift > DECIMAL_SHIFT_MAX || field->precision > 18) {
        return text_parse_decimal(number->text, field->precision, field->scale, unscaled_out);
    }
    __int128 value = (__int128)number->mantissa * long_powers[shift];
    if (value >= long_powers[field->precision]) {
        return false;
    }
    *unscaled_out = number->negative ? -value : value;
    return true;
}

static bool put_decimal(struct decoder *decoder, size_t index, const struct decode_number *number)
{
    struct decode_field *described = &decoder->fields[index];
    __int128 unscaled = 0;
    if (!number_as_decimal(number, described->field, &unscaled)) {
        fault_range(decoder, index);
        return false;
    }
    column_append_i128(described->column, unscaled);
    if (described->bounded) {
        check_bounds(decoder, index, unscaled);
    }
    return true;
}

/* Exactly one number of sane length, and nothing else. */
static bool number_of_text(struct span text, struct decode_number *number_out)
{
    const uint8_t *end = text.data + text.size;
    return text.size <= DECODER_NUMBER_BYTES_MAX &&
           decode_number_scan(text.data, end, number_out) == end;
}

static bool put_number_text(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_number number = {0};
    if (!number_of_text(text, &number)) {
        fault_form(decoder, index);
        return false;
    }
    return decoder->fields[index].type == COLUMN_DECIMAL ? put_decimal(decoder, index, &number)
                                                         : put_double(decoder, index, &number);
}

void decoder_put_number(struct decoder *decoder, size_t index, const struct decode_number *number)
{
    bool put = false;
    switch (decoder->fields[index].type) {
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        if (number->integral) {
            int64_t value = 0;
            bool in_range = number_as_long(number, &value);
            put = put_integral(decoder, index, in_range, value);
        } else {
            decoder_fault_kind(decoder, index, "a number with fraction or exponent");
        }
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
    case COLUMN_DECIMAL:
        if (number->text.size > DECODER_NUMBER_BYTES_MAX) {
            decoder_fault(decoder, index, DECODE_RANGE, "must have at most %d characters",
                          DECODER_NUMBER_BYTES_MAX);
        } else if (decoder->fields[index].type == COLUMN_DECIMAL) {
            put = put_decimal(decoder, index, number);
        } else {
            put = put_double(decoder, index, number);
        }
        break;
    default:
        decoder_fault_kind(decoder, index, "a number");
        break;
    }
    if (!put) {
        decoder_put_nothing(decoder, index);
    }
}

static unsigned two_digits(const uint8_t *p)
{
    return (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
}

/* The short way for the years people live in; anything else is text_parse_date's to judge. */
static bool parse_date(struct span text, int32_t *days_out)
{
    static const uint16_t days_before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const uint8_t *p = text.data;
    if (text.size != 10 || p[4] != '-' || p[7] != '-') {
        return false;
    }
    unsigned year = two_digits(p) * 100 + two_digits(p + 2);
    unsigned month = two_digits(p + 5);
    unsigned day = two_digits(p + 8);
    bool digits = is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]) && is_digit(p[3]) &&
                  is_digit(p[5]) && is_digit(p[6]) && is_digit(p[8]) && is_digit(p[9]);
    /* 1901…2099 have a leap year every four years; day 28 exists in every month */
    if (!digits || year < 1901 || year > 2099 || month - 1 > 11 || day - 1 > 27) {
        return text_parse_date(text, days_out);
    }
    unsigned years = year - 1901;
    unsigned days = years * 365 + years / 4 + days_before[month - 1] + (day - 1);
    days += month > 2 && year % 4 == 0;
    *days_out = (int32_t)days - 25202; /* 1901-01-01 */
    return true;
}

static bool put_date(struct decoder *decoder, size_t index, struct span text)
{
    int32_t days = 0;
    if (!parse_date(text, &days)) {
        fault_form(decoder, index);
        return false;
    }
    column_append_i32(decoder->fields[index].column, days);
    if (decoder->fields[index].bounded) {
        check_bounds(decoder, index, days);
    }
    return true;
}

static bool put_timestamp(struct decoder *decoder, size_t index, struct span text)
{
    int64_t us = 0;
    bool parsed = decoder->fields[index].type == COLUMN_TIMESTAMP
                      ? text_parse_timestamp(text, &us)
                      : text_parse_timestamp_ntz(text, &us);
    if (!parsed) {
        fault_form(decoder, index);
        return false;
    }
    column_append_i64(decoder->fields[index].column, us);
    if (decoder->fields[index].bounded) {
        check_bounds(decoder, index, us);
    }
    return true;
}

static bool put_binary(struct decoder *decoder, size_t index, struct span text)
{
    buffer_reset(&decoder->scratch);
    if (!text_base64_decode(text, &decoder->scratch)) {
        fault_form(decoder, index);
        return false;
    }
    struct span bytes = buffer_span(&decoder->scratch);
    if (bytes.size > decoder->fields[index].bytes_safe && !check_length(decoder, index, bytes)) {
        return false;
    }
    column_append_bytes(decoder->fields[index].column, bytes);
    return true;
}

static bool put_characters(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_field *described = &decoder->fields[index];
    if (text.size > described->bytes_safe && !check_length(decoder, index, text)) {
        return false;
    }
    column_append_bytes(described->column, text);
    if (described->text_rules) {
        check_text_rules(decoder, index, text);
    }
    return true;
}

static bool check_utf8(struct decoder *decoder, size_t index, struct span text, bool ascii)
{
    size_t bad_offset = 0;
    if (ascii || text_is_utf8(text, &bad_offset)) {
        return true;
    }
    decoder_fault(decoder, index, DECODE_INVALID_UTF8, "is not UTF-8 from byte %zu of the value on",
                  bad_offset);
    return false;
}

static void put_operation(struct decoder *decoder, struct span text)
{
    size_t index = decoder->fields_count;
    if (!frame_operation_parse(text, &decoder->operation)) {
        decoder_fault(decoder, index, DECODE_OPERATION,
                      "must be one of upsert, patch, insert, delete");
    } else if (decoder->schema->merge == TABLE_APPEND && decoder->operation != FRAME_INSERT) {
        decoder_fault(decoder, index, DECODE_OPERATION, "must be insert: this is an append table");
    }
}

void decoder_put_string(struct decoder *decoder, size_t index, struct span text, bool ascii)
{
    if (is_operation(decoder, index)) {
        put_operation(decoder, text);
        return;
    }
    bool put = false;
    switch (decoder->fields[index].type) {
    case COLUMN_STRING:
        put = check_utf8(decoder, index, text, ascii) && put_characters(decoder, index, text);
        break;
    case COLUMN_DATE:
        put = put_date(decoder, index, text);
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        put = put_timestamp(decoder, index, text);
        break;
    case COLUMN_DECIMAL:
        put = put_number_text(decoder, index, text);
        break;
    case COLUMN_BINARY:
        put = put_binary(decoder, index, text);
        break;
    default:
        decoder_fault_kind(decoder, index, "a string");
        break;
    }
    if (!put) {
        decoder_put_nothing(decoder, index);
    }
}

/* CSV: true, false, 1, 0. */
static bool put_boolean_text(struct decoder *decoder, size_t index, struct span text)
{
    bool yes = span_equal_text(text, "true") || span_equal_text(text, "1");
    bool no = span_equal_text(text, "false") || span_equal_text(text, "0");
    if (!yes && !no) {
        decoder_fault(decoder, index, DECODE_TYPE, "must be one of true, false, 1, 0");
        return false;
    }
    column_append_u8(decoder->fields[index].column, yes ? 1 : 0);
    return true;
}

/* CSV: digits with leading zeros are fine, "+" is not. */
static bool put_integral_text(struct decoder *decoder, size_t index, struct span text)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t digits = negative ? 1 : 0;
    if (text.size == digits) {
        fault_form(decoder, index);
        return false;
    }
    for (size_t i = digits; i < text.size; i++) {
        if (!is_digit(text.data[i])) {
            fault_form(decoder, index);
            return false;
        }
    }
    int64_t value = 0;
    bool in_range = text_parse_int64(text, &value);
    return put_integral(decoder, index, in_range, value);
}

void decoder_put_text(struct decoder *decoder, size_t index, struct span text, bool ascii)
{
    bool put = false;
    switch (decoder->fields[index].type) {
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        put = put_integral_text(decoder, index, text);
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        put = put_number_text(decoder, index, text);
        break;
    case COLUMN_BOOLEAN:
        put = put_boolean_text(decoder, index, text);
        break;
    default:
        decoder_put_string(decoder, index, text, ascii);
        return;
    }
    if (!put) {
        decoder_put_nothing(decoder, index);
    }
}

void decoder_fill_missing(struct decoder *decoder)
{
    if (decoder->values_count == decoder->fields_count || decoder->incomplete) {
        return;
    }
    bool patch = decoder->operation == FRAME_PATCH;
    for (size_t i = 0; i < decoder->fields_count; i++) {
        const struct decode_field *described = &decoder->fields[i];
        if (described->column->rows_count > decoder->frame->rows_count) {
            continue;
        }
        if (described->identifies || (!described->field->nullable && !patch)) {
            fault_missing(decoder, i, "absent");
        }
        if (patch) {
            column_append_absent(described->column);
        } else {
            column_append_null(described->column);
        }
    }
}

/* ---- numbers ----------------------------------------------------------------- */

/* Digits at `p` into the mantissa; what does not fit makes the number inexact. */
static const uint8_t *scan_digits(const uint8_t *p, const uint8_t *end, int *room,
                                  struct decode_number *number)
{
    while (p < end && is_digit(*p)) {
        if (*room > 0) {
            number->mantissa = number->mantissa * 10 + (uint64_t)(*p - '0');
            *room -= number->mantissa != 0; /* leading zeros take no room */
        } else {
            number->exact = false;
        }
        p++;
    }
    return p;
}

/* After the 'e'. The exponent stops growing far outside of every type. */
static const uint8_t *scan_exponent(const uint8_t *p, const uint8_t *end,
                                    struct decode_number *number)
{
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }
    const uint8_t *digits = p;
    int32_t exponent = 0;
    for (; p < end && is_digit(*p); p++) {
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*p - '0') : exponent;
    }
    if (p == digits) {
        return NULL;
    }
    if (exponent >= EXPONENT_MAX) {
        number->exact = false;
    }
    number->exponent += negative ? -exponent : exponent;
    return p;
}

/* spec: RFC 8259 section 6 */
const uint8_t *decode_number_scan(const uint8_t *p, const uint8_t *end,
                                  struct decode_number *number_out)
{
    struct decode_number number = {.integral = true, .exact = true};
    const uint8_t *start = p;
    int room = MANTISSA_DIGITS;
    if (p < end && *p == '-') {
        number.negative = true;
        p++;
    }
    if (p == end || !is_digit(*p)) {
        return NULL;
    }
    p = *p == '0' ? p + 1 : scan_digits(p, end, &room, &number);
    if (p < end && *p == '.') {
        number.integral = false;
        const uint8_t *fraction = p + 1;
        p = scan_digits(fraction, end, &room, &number);
        if (p == fraction) {
            return NULL;
        }
        if (number.exact) {
            number.exponent = -(int32_t)(p - fraction);
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        number.integral = false;
        p = scan_exponent(p + 1, end, &number);
        if (p == NULL) {
            return NULL;
        }
    }
    number.text = span_of(start, (size_t)(p - start));
    *number_out = number;
    return p;
}
