/*
 * Typed rows as records. See decode_rows.h for what becomes what.
 *
 * Values of the field's own type are appended as they are; others go through the text
 * that stands for them exactly, so that there is one place that judges numbers.
 */
#include "storage/columns/decode_rows.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/decoder.h"
#include "storage/columns/encode_json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum { ROW_TEXT_BYTES_MAX = 1 << 30 };

static const int64_t day_us = INT64_C(86400) * 1000000;
/* what an int64 can hold, as doubles: 2^63 itself is too large */
static const double long_end = 9223372036854775808.0;

/* Where each column of the rows goes. */
struct row_mapping {
    const struct frame *rows;
    size_t *targets; /* per column: index of the field, or decoder->fields_count for `_op` */
};

/* ---- values ------------------------------------------------------------------ */

static struct decode_number number_of(int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return (struct decode_number){
        .mantissa = magnitude, .negative = value < 0, .integral = true, .exact = true};
}

/* A number by its text, which is one. */
static void put_number_of_text(struct decoder *decoder, size_t index, struct span text)
{
    struct decode_number number;
    bool parsed = decode_number_parse(text, &number);
    assert(parsed);
    decoder_put_number(decoder, index, &number);
}

static void put_long(struct decoder *decoder, size_t index, int64_t value)
{
    enum column_type type = decoder->fields[index].type;
    if (type == COLUMN_DOUBLE || type == COLUMN_FLOAT) {
        double real = type == COLUMN_DOUBLE ? (double)value : (double)(float)value;
        if (real >= long_end || (int64_t)real != value) {
            decoder_fault(decoder, index, DECODE_RANGE, "has more digits than a %s holds exactly",
                          column_type_name(type));
            decoder_put_nothing(decoder, index);
            return;
        }
    }
    if (type == COLUMN_INTEGER || type == COLUMN_LONG || type == COLUMN_SHORT ||
        type == COLUMN_BYTE) {
        const struct decode_number number = number_of(value);
        decoder_put_number(decoder, index, &number);
        return;
    }
    char text[TEXT_DOUBLE_BYTES];
    size_t size = text_format_int64(value, text);
    put_number_of_text(decoder, index, span_of(text, size));
}

static bool is_whole(double value)
{
    return value >= -long_end && value < long_end && value == floor(value);
}

static void put_real(struct decoder *decoder, size_t index, double value)
{
    struct decode_field *described = &decoder->fields[index];
    if (!isfinite(value)) {
        decoder_fault_kind(decoder, index, isnan(value) ? "NaN" : "infinity");
        decoder_put_nothing(decoder, index);
        return;
    }
    switch (described->type) {
    case COLUMN_DOUBLE:
        column_append_f64(described->column, value);
        if (described->bounded) {
            decoder_check_double_bounds(decoder, index, value);
        }
        return;
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_SHORT:
    case COLUMN_BYTE:
        if (is_whole(value)) {
            put_long(decoder, index, (int64_t)value);
            return;
        }
        break;
    default:
        break;
    }
    char text[TEXT_DOUBLE_BYTES];
    size_t size = text_format_double(value, text);
    put_number_of_text(decoder, index, span_of(text, size));
}

/* Does the double's own text say the same number? */
static bool is_double_of(struct span text, int scale)
{
    char shortest[TEXT_DOUBLE_BYTES];
    double value = 0;
    __int128 wanted = 0;
    __int128 got = 0;
    return text_parse_double(text, &value) &&
           text_parse_decimal(text, SCHEMA_DECIMAL_PRECISION_MAX, scale, &wanted) &&
           text_parse_decimal(span_of(shortest, text_format_double(value, shortest)),
                              SCHEMA_DECIMAL_PRECISION_MAX, scale, &got) &&
           wanted == got;
}

/* Cut ".000" off; what remains has a fraction only when digits would be lost. */
static struct span without_zeros(struct span text)
{
    if (memchr(text.data, '.', text.size) == NULL) {
        return text;
    }
    while (text.data[text.size - 1] == '0') {
        text.size--;
    }
    text.size -= text.data[text.size - 1] == '.' ? 1 : 0;
    return text;
}

static void put_decimal(struct decoder *decoder, size_t index, __int128 unscaled, int scale)
{
    char buffer[TEXT_DECIMAL_BYTES];
    struct span text = span_of(buffer, text_format_decimal(unscaled, scale, buffer));
    enum column_type type = decoder->fields[index].type;
    if (type == COLUMN_DOUBLE || type == COLUMN_FLOAT) {
        if (type == COLUMN_FLOAT || !is_double_of(text, scale)) {
            decoder_fault(decoder, index, DECODE_RANGE, "has more digits than a %s holds exactly",
                          column_type_name(type));
            decoder_put_nothing(decoder, index);
            return;
        }
    } else if (type != COLUMN_DECIMAL) {
        text = without_zeros(text);
    }
    put_number_of_text(decoder, index, text);
}

static void put_out_of_range(struct decoder *decoder, size_t index)
{
    decoder_fault_range(decoder, index);
    decoder_put_nothing(decoder, index);
}

static void put_date(struct decoder *decoder, size_t index, int32_t days)
{
    struct decode_field *described = &decoder->fields[index];
    if (described->type != COLUMN_DATE && described->type != COLUMN_TIMESTAMP_NTZ) {
        decoder_fault_kind(decoder, index, "a date");
        decoder_put_nothing(decoder, index);
        return;
    }
    if (days < text_days_of(1, 1, 1) || days > text_days_of(9999, 12, 31)) {
        put_out_of_range(decoder, index);
        return;
    }
    int64_t value = described->type == COLUMN_DATE ? days : days * day_us;
    if (described->type == COLUMN_DATE) {
        column_append_i32(described->column, days);
    } else {
        column_append_i64(described->column, value);
    }
    if (described->bounded) {
        decoder_check_bounds(decoder, index, value);
    }
}

static void put_timestamp(struct decoder *decoder, size_t index, enum column_type source,
                          int64_t us)
{
    struct decode_field *described = &decoder->fields[index];
    if (described->type != source) {
        decoder_fault_kind(decoder, index,
                           source == COLUMN_TIMESTAMP ? "a timestamp" : "a timestamp without zone");
        decoder_put_nothing(decoder, index);
        return;
    }
    if (us < text_days_of(1, 1, 1) * day_us ||
        us >= (text_days_of(9999, 12, 31) + INT64_C(1)) * day_us) {
        put_out_of_range(decoder, index);
        return;
    }
    column_append_i64(described->column, us);
    if (described->bounded) {
        decoder_check_bounds(decoder, index, us);
    }
}

static void put_text(struct decoder *decoder, size_t index, struct span text)
{
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        decoder_fault(decoder, index, DECODE_INVALID_CHARACTER, "has the character U+0000");
        decoder_put_nothing(decoder, index);
        return;
    }
    decoder_put_text(decoder, index, text, false);
}

static void put_binary(struct decoder *decoder, size_t index, struct span bytes)
{
    struct decode_field *described = &decoder->fields[index];
    if (described->type == COLUMN_STRING) {
        put_text(decoder, index, bytes);
    } else if (described->type != COLUMN_BINARY) {
        decoder_fault_kind(decoder, index, "binary");
        decoder_put_nothing(decoder, index);
    } else if (bytes.size > described->bytes_safe && !decoder_check_length(decoder, index, bytes)) {
        decoder_put_nothing(decoder, index);
    } else {
        column_append_bytes(described->column, bytes);
    }
}

static void put_value(struct decoder *decoder, size_t index, const struct field *field,
                      const struct column *column, int64_t row);

/* ---- nested values: recursion is bounded by SCHEMA_DEPTH_MAX ---- */

static void put_part(struct decoder *decoder, size_t index, const struct field *field,
                     const struct column *column, int64_t row)
{
    if (column_is_valid(column, row)) {
        put_value(decoder, index, field, column, row);
    } else {
        decoder_put_null(decoder, index);
    }
}

/* decode_rows_check has found a field for each. */
static void put_struct(struct decoder *decoder, size_t index, const struct field *field,
                       const struct column *column, int64_t row)
{
    for (size_t i = 0; i < field->children_count; i++) {
        const struct field *child = &field->children[i];
        int target = decoder_child_index(decoder, index, span_of_text(child->name));
        assert(target >= 0);
        if (decoder_claim_child(decoder, (size_t)target)) {
            put_part(decoder, (size_t)target, child, &column->children[i], row);
        }
    }
    decoder_end_struct(decoder, index);
}

static void put_elements(struct decoder *decoder, size_t index, const struct field *field,
                         const struct column *column, int64_t row)
{
    struct column_stretch elements = column_elements(column, row);
    size_t first_child = decoder->fields[index].first_child;
    decoder_begin_elements(decoder, index);
    for (int64_t at = elements.start; at < elements.end; at++) {
        if (!decoder_begin_element(decoder, index)) {
            break;
        }
        for (size_t i = 0; i < field->children_count; i++) {
            put_part(decoder, first_child + i, &field->children[i], &column->children[i], at);
        }
    }
    decoder_end_elements(decoder, index);
}

static void put_nested(struct decoder *decoder, size_t index, const struct field *field,
                       const struct column *column, int64_t row)
{
    if (decoder->fields[index].type != field->type) {
        char found[32];
        (void)snprintf(found, sizeof found, "%s %s", field->type == COLUMN_ARRAY ? "an" : "a",
                       column_type_name(field->type)); /* fits */
        decoder_fault_kind(decoder, index, found);
        decoder_put_nothing(decoder, index);
    } else if (field->type == COLUMN_STRUCT) {
        put_struct(decoder, index, field, column, row);
    } else {
        put_elements(decoder, index, field, column, row);
    }
}

/* A value that is there, for a field that was claimed. */
static void put_value(struct decoder *decoder, size_t index, const struct field *field,
                      const struct column *column, int64_t row)
{
    switch (field->type) {
    case COLUMN_STRING:
        put_text(decoder, index, column_bytes(column, row));
        break;
    case COLUMN_BINARY:
        put_binary(decoder, index, column_bytes(column, row));
        break;
    case COLUMN_INTEGER:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        put_long(decoder, index, column->values.i32[row]);
        break;
    case COLUMN_LONG:
        put_long(decoder, index, column->values.i64[row]);
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        put_real(decoder, index, column->values.f64[row]);
        break;
    case COLUMN_DECIMAL:
        put_decimal(decoder, index, column->values.i128[row], field->scale);
        break;
    case COLUMN_BOOLEAN:
        decoder_put_boolean(decoder, index, column->values.u8[row] != 0);
        break;
    case COLUMN_DATE:
        put_date(decoder, index, column->values.i32[row]);
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        put_timestamp(decoder, index, field->type, column->values.i64[row]);
        break;
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        put_nested(decoder, index, field, column, row);
        break;
    case COLUMN_TYPE_COUNT:
        assert(!"a column type");
    }
}

/* ---- rows -------------------------------------------------------------------- */

static void put_operation(struct decoder *decoder, enum frame_operation operation)
{
    size_t index = decoder->fields_count;
    if (operation != decoder->operation && decoder_claim(decoder, index)) {
        decoder_put_string(decoder, index, span_of_text(frame_operation_name(operation)), true);
    }
}

static void put_row(struct decoder *decoder, const struct row_mapping *mapping, int64_t row)
{
    const struct frame *rows = mapping->rows;
    if (rows->operations != NULL) {
        put_operation(decoder, frame_operation_at(rows, row));
    }
    for (size_t i = 0; i < rows->schema->fields_count; i++) {
        const struct column *column = &rows->columns[i];
        size_t target = mapping->targets[i];
        if (!column_is_present(column, row) || !decoder_claim(decoder, target)) {
            continue;
        }
        if (!column_is_valid(column, row)) {
            decoder_put_null(decoder, target);
        } else if (decoder_is_operation(decoder, target)) {
            decoder_put_string(decoder, target, column_bytes(column, row), false);
        } else {
            put_value(decoder, target, &rows->schema->fields[i], column, row);
        }
    }
    decoder_fill_missing(
        decoder); /* decoder_end does it, but the faults decide about the payload */
}

static bool is_faulty(const struct decoder *decoder)
{
    return decoder->faults_count > 0 ||
           (decoder->operation != FRAME_DELETE && decoder->rule_faults_count > 0);
}

/* A refused row as a JSON object, kept with the errors. */
static enum err_code keep_payload(struct decoder *decoder, const struct row_mapping *mapping,
                                  int64_t row, struct buffer *text, struct span *payload_out,
                                  struct err *err)
{
    if (!is_faulty(decoder) || decoder->silent) {
        return ERR_OK;
    }
    buffer_reset(text);
    encode_json_row(mapping->rows, row, NULL, text);
    TRY(buffer_check(text, "a refused row", err));
    const char *copy = arena_text(&decoder->errors->texts, buffer_span(text));
    if (copy == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the refused rows have more than %d bytes",
                       DECODE_ERRORS_BYTES_MAX);
    }
    *payload_out = span_of(copy, text->size);
    return ERR_OK;
}

static enum err_code read_rows(struct decoder *decoder, const struct row_mapping *mapping,
                               struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, ROW_TEXT_BYTES_MAX);
    for (int64_t row = 0; row < mapping->rows->rows_count; row++) {
        struct span payload = {0};
        TRY(decoder_begin(decoder, row + 1 + decoder->options.line_offset, err));
        put_row(decoder, mapping, row);
        TRY(keep_payload(decoder, mapping, row, &text, &payload, err));
        decoder_end(decoder, payload);
    }
    return ERR_OK;
}

/* ---- columns ----------------------------------------------------------------- */

static bool has_column(const struct schema *columns, const struct field *field)
{
    return schema_field_index(columns, span_of_text(field->name)) >= 0;
}

static enum err_code check_identifying(const struct schema *columns, const struct schema *schema,
                                       struct err *err)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct field *field = &schema->fields[schema->key[i]];
        if (!has_column(columns, field)) {
            return err_set(err, ERR_INVALID, "there is no column of the key field '%s'",
                           field->name);
        }
    }
    if (schema->has_sequence && !has_column(columns, &schema->fields[schema->sequence])) {
        return err_set(err, ERR_INVALID, "there is no column of the sequence field '%s'",
                       schema->fields[schema->sequence].name);
    }
    return ERR_OK;
}

/* Has the table a field for each within the column? Those of other types are the rows' faults. */
static enum err_code check_parts(const struct field *column, const struct field *field,
                                 struct err *err)
{
    for (size_t i = 0; column->type == field->type && i < column->children_count; i++) {
        const struct field *part = &column->children[i];
        const struct field *found = NULL;
        for (size_t k = 0; found == NULL && k < field->children_count; k++) {
            found = strcmp(field->children[k].name, part->name) == 0 ? &field->children[k] : NULL;
        }
        if (found == NULL) {
            return err_set(err, ERR_INVALID, "the table has no field for '%s' of the struct '%s'",
                           part->name, column->name);
        }
        TRY(check_parts(part, found, err));
    }
    return ERR_OK;
}

enum err_code decode_rows_check(const struct schema *columns, const struct schema *schema,
                                struct err *err)
{
    for (size_t i = 0; i < columns->fields_count; i++) {
        const struct field *field = &columns->fields[i];
        bool is_operation = strcmp(field->name, "_op") == 0 && field->type == COLUMN_STRING;
        int index = schema_field_index(schema, span_of_text(field->name));
        if (!is_operation && index < 0) {
            return err_set(err, ERR_INVALID, "the table has no field for the column '%s'",
                           field->name);
        }
        if (index >= 0) {
            TRY(check_parts(field, &schema->fields[index], err));
        }
    }
    return check_identifying(columns, schema, err);
}

static struct row_mapping map_columns(const struct decoder *decoder, const struct frame *rows)
{
    const struct schema *columns = rows->schema;
    struct row_mapping mapping = {
        .rows = rows,
        .targets = mem_zeroed(columns->fields_count + 1, sizeof *mapping.targets),
    };
    for (size_t i = 0; i < columns->fields_count; i++) {
        int index = decoder_field_index(decoder, span_of_text(columns->fields[i].name));
        assert(index >= 0); /* decode_rows_check */
        mapping.targets[i] = (size_t)index;
    }
    return mapping;
}

enum err_code decode_rows(const struct frame *rows, const struct schema *schema,
                          const struct decode_options *options, struct frame **frame_out,
                          struct decode_errors *errors, struct err *err)
{
    assert(errors->items == NULL);
    TRY(decode_check_operation(schema, options, err));
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    arena_init(&errors->texts, DECODE_ERRORS_BYTES_MAX);
    CLEANUP(decoder_deinit) struct decoder decoder;
    decoder_init(&decoder, schema, options, COLUMN_BYTES_MAX, frame, errors);
    struct row_mapping mapping = map_columns(&decoder, rows);
    enum err_code code = read_rows(&decoder, &mapping, err);
    mem_free(mapping.targets);
    if (code != ERR_OK) {
        decode_errors_deinit(errors);
        return code;
    }
    *frame_out = frame;
    frame = NULL;
    return ERR_OK;
}
