/*
 * Values into columns: what a decoder knows of each field, conversion per type,
 * and the fields that a record leaves out. What a body looks like (JSON, CSV) is
 * the parsers' business; how errors are kept is decode.c's.
 */
#include "storage/columns/decoder.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decode_rows.h"
#include "storage/columns/decode_scan.h"

#include <assert.h>
#include <math.h>

/* ---- what a field is --------------------------------------------------------- */

static bool is_among(const size_t *indices, size_t count, size_t index)
{
    for (size_t i = 0; i < count; i++) {
        if (indices[i] == index) {
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
    described->quoted_mask = 1U << DECODER_QUOTED_BYTES; /* no byte is there to be the same */
    if (!needs_no_escape(span)) {
        return;
    }
    size_t copied = span.size < DECODER_QUOTED_BYTES - 1 ? span.size : DECODER_QUOTED_BYTES - 1;
    described->quoted[0] = '"';
    memcpy(described->quoted + 1, span.data, copied);
    if (copied + 1 < DECODER_QUOTED_BYTES) {
        described->quoted[copied + 1] = '"';
    }
    described->quoted_size = span.size + 2;
    size_t told = described->quoted_size < DECODER_QUOTED_BYTES ? described->quoted_size
                                                                : DECODER_QUOTED_BYTES;
    described->quoted_mask = (1U << told) - 1;
}

static size_t text_bytes_safe(const struct field *field)
{
    if (field->max_length >= 0 && field->max_length < SCHEMA_STRING_BYTES_MAX) {
        return (size_t)field->max_length; /* a code point has at least one byte */
    }
    return SCHEMA_STRING_BYTES_MAX;
}

/* What holds of columns and of fields within them alike. */
static void describe_rules(struct decode_field *described, const struct field *field,
                           struct column *column, size_t index)
{
    described->field = field;
    described->column = column;
    described->type = field->type;
    described->bounded = field->has_minimum || field->has_maximum;
    described->bytes_safe = text_bytes_safe(field);
    described->next = index + 1;
    described->parent = index;
    described->takes_text = field->type == COLUMN_STRING;
    described->text_rules = described->partitions || field->pattern != NULL ||
                            field->enum_count > 0 || field->format != FORMAT_NONE;
    describe_name(described, field->name);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void describe_children(struct decoder *decoder, size_t index, size_t *used)
{
    struct decode_field *parent = &decoder->fields[index];
    size_t count = parent->field->children_count;
    parent->first_child = *used;
    parent->first_given = *used;
    parent->element_bytes = 1;
    *used += count;
    for (size_t i = 0; i < count; i++) {
        size_t child = parent->first_child + i;
        const struct field *field = &parent->field->children[i];
        describe_rules(&decoder->fields[child], field, &parent->column->children[i], child);
        decoder->fields[child].parent = index;
        decoder->fields[child].next = parent->first_child + (i + 1) % count;
        parent->element_bytes += decoder_slot_bytes(field);
        describe_children(decoder, child, used);
    }
}

static void describe_field(struct decoder *decoder, size_t index)
{
    const struct schema *schema = decoder->schema;
    const struct field *field = &schema->fields[index];
    struct decode_field *described = &decoder->fields[index];
    *described = (struct decode_field){
        .in_key = is_among(schema->key, schema->key_count, index),
        .partitions = field->type == COLUMN_STRING &&
                      is_among(schema->partition, schema->partition_count, index),
    };
    described->identifies =
        described->in_key || (schema->has_sequence && schema->sequence == index);
    describe_rules(described, field, &decoder->frame->columns[index], index);
}

int64_t decode_row_bytes(const struct schema *schema)
{
    int64_t total = sizeof(int64_t) + 1; /* line and operation */
    for (size_t i = 0; i < schema->fields_count; i++) {
        total += decoder_slot_bytes(&schema->fields[i]);
    }
    return total + (int64_t)(schema->fields_count + 3) / 4; /* validity and present bits */
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
        .fields = mem_zeroed(schema->fields_count + 2 +
                                 decoder_nested_count(schema->fields, schema->fields_count),
                             sizeof *decoder->fields),
        .fields_count = schema->fields_count,
        .body_bytes = body_bytes,
    };
    struct decode_options *resolved = &decoder->options;
    resolved->records_max = or_default(options->records_max, DECODE_RECORDS_MAX);
    resolved->record_bytes_max = or_default(options->record_bytes_max, DECODE_RECORD_BYTES_MAX);
    resolved->frame_bytes_max = or_default(options->frame_bytes_max, DECODE_FRAME_BYTES_MAX);
    assert(resolved->records_max <= FRAME_ROWS_MAX);
    decoder->rows_max = resolved->frame_bytes_max / decode_row_bytes(schema);

    size_t used = schema->fields_count + 2;
    for (size_t i = 0; i < schema->fields_count; i++) {
        describe_field(decoder, i);
        describe_children(decoder, i, &used);
    }
    decoder->described_count = used;
    struct decode_field *operation = &decoder->fields[decoder->fields_count];
    *operation = (struct decode_field){.type = COLUMN_STRING, .next = 0};
    describe_name(operation, "_op");
    buffer_init(&decoder->scratch, body_bytes + 1);
}

void decoder_deinit(struct decoder *decoder)
{
    for (size_t i = 0; decoder->fields != NULL && i < decoder->described_count; i++) {
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

/* ---- values ------------------------------------------------------------------ */

bool decoder_claim_otherwise(struct decoder *decoder, size_t index)
{
    if (decoder_is_operation(decoder, index) && !decoder->operation_seen) {
        decoder->operation_seen = true;
        return true;
    }
    decoder_fault(decoder, index, DECODE_DUPLICATE_FIELD, "is given twice in one record");
    return false;
}

void decoder_put_nothing(struct decoder *decoder, size_t index)
{
    if (!decoder_is_operation(decoder, index)) {
        column_append_null(decoder->fields[index].column);
    }
}

void decoder_put_null(struct decoder *decoder, size_t index)
{
    if (decoder_is_operation(decoder, index)) {
        return; /* stands for the default */
    }
    const struct decode_field *described = &decoder->fields[index];
    if (described->identifies || !described->field->nullable) {
        decoder_fault_missing(decoder, index, "null");
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
        decoder_fault_range(decoder, index);
        return false;
    }
    if (described->type == COLUMN_LONG) {
        column_append_i64(described->column, value);
    } else {
        column_append_i32(described->column, (int32_t)value);
    }
    if (described->bounded) {
        decoder_check_bounds(decoder, index, value);
    }
    return true;
}

static bool put_double(struct decoder *decoder, size_t index, const struct decode_number *number)
{
    struct decode_field *described = &decoder->fields[index];
    double value = 0;
    if (!decode_number_double(number, &value)) {
        decoder_fault_range(decoder, index);
        return false;
    }
    if (described->type == COLUMN_FLOAT) {
        value = (double)(float)value;
        if (!isfinite(value)) {
            decoder_fault_range(decoder, index);
            return false;
        }
    }
    column_append_f64(described->column, value);
    if (described->bounded) {
        decoder_check_double_bounds(decoder, index, value);
    }
    return true;
}

static bool put_decimal(struct decoder *decoder, size_t index, const struct decode_number *number)
{
    struct decode_field *described = &decoder->fields[index];
    __int128 unscaled = 0;
    if (!decode_number_decimal(number, described->field, &unscaled)) {
        decoder_fault_range(decoder, index);
        return false;
    }
    column_append_i128(described->column, unscaled);
    if (described->bounded) {
        decoder_check_bounds(decoder, index, unscaled);
    }
    return true;
}

static bool put_number_text(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_number number = {0};
    if (!decode_number_parse(text, &number)) {
        decoder_fault_form(decoder, index);
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
            bool in_range = decode_number_long(number, &value);
            put = put_integral(decoder, index, in_range, value);
        } else {
            decoder_fault_kind(decoder, index, "a number with fraction or exponent");
        }
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
    case COLUMN_DECIMAL:
        if (number->text.size > DECODE_NUMBER_BYTES_MAX) {
            decoder_fault(decoder, index, DECODE_RANGE, "must have at most %d characters",
                          DECODE_NUMBER_BYTES_MAX);
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

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool put_date(struct decoder *decoder, size_t index, struct span text)
{
    int32_t days = 0;
    if (!text_parse_date(text, &days)) {
        decoder_fault_form(decoder, index);
        return false;
    }
    column_append_i32(decoder->fields[index].column, days);
    if (decoder->fields[index].bounded) {
        decoder_check_bounds(decoder, index, days);
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
        decoder_fault_form(decoder, index);
        return false;
    }
    column_append_i64(decoder->fields[index].column, us);
    if (decoder->fields[index].bounded) {
        decoder_check_bounds(decoder, index, us);
    }
    return true;
}

static bool put_binary(struct decoder *decoder, size_t index, struct span text)
{
    buffer_reset(&decoder->scratch);
    if (!text_base64_decode(text, &decoder->scratch)) {
        decoder_fault_form(decoder, index);
        return false;
    }
    struct span bytes = buffer_span(&decoder->scratch);
    if (bytes.size > decoder->fields[index].bytes_safe &&
        !decoder_check_length(decoder, index, bytes)) {
        return false;
    }
    column_append_bytes(decoder->fields[index].column, bytes);
    return true;
}

static bool put_characters(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_field *described = &decoder->fields[index];
    if (text.size > described->bytes_safe && !decoder_check_length(decoder, index, text)) {
        return false;
    }
    column_append_bytes(described->column, text);
    if (described->text_rules) {
        decoder_check_text(decoder, index, text);
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
    enum frame_operation operation = decoder->operation;
    if (!frame_operation_parse(text, &operation)) {
        decoder_fault(decoder, index, DECODE_OPERATION,
                      "must be one of upsert, patch, insert, delete");
    } else if (decoder->schema->merge == TABLE_APPEND && operation != FRAME_INSERT) {
        decoder_fault(decoder, index, DECODE_OPERATION, "must be insert: this is an append table");
    } else {
        decoder->operation = operation;
    }
}

void decoder_put_other_string(struct decoder *decoder, size_t index, struct span text, bool ascii)
{
    if (decoder_is_operation(decoder, index)) {
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
        decoder_fault_form(decoder, index);
        return false;
    }
    for (size_t i = digits; i < text.size; i++) {
        if (!is_digit(text.data[i])) {
            decoder_fault_form(decoder, index);
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
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        decoder_put_nested_text(decoder, index, text);
        return;
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
            decoder_fault_missing(decoder, i, "absent");
        }
        if (patch) {
            column_append_absent(described->column);
        } else {
            column_append_null(described->column);
        }
    }
}
