/*
 * Filters and their values from text. See scan.h and scan_text.h.
 */
#include "storage/snapshot/scan_text.h"

#include "storage/base/text.h"

#include <assert.h>
#include <string.h>

/* ---- values ---- */

static bool parse_integer(struct span text, int64_t min, int64_t max, int64_t *value_out)
{
    return text_parse_int64(text, value_out) && *value_out >= min && *value_out <= max;
}

static bool parse_boolean(struct span text, int64_t *value_out)
{
    *value_out = span_equal_text(text, "true");
    return *value_out != 0 || span_equal_text(text, "false");
}

static bool parse_date(struct span text, int64_t *value_out)
{
    int32_t days = 0;
    bool parsed = text_parse_date(text, &days);
    *value_out = days;
    return parsed;
}

static enum err_code keep_bytes(struct span bytes, struct arena *arena, struct row_value *value,
                                struct err *err)
{
    char *copy = arena_text(arena, bytes);
    if (copy == NULL) {
        return err_set(err, ERR_TOO_LARGE, "a filter value over the request's memory");
    }
    value->bytes = span_of(copy, bytes.size);
    return ERR_OK;
}

static enum err_code parse_binary(struct span text, struct arena *arena, struct row_value *value,
                                  struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, SCHEMA_STRING_BYTES_MAX);
    if (!text_base64_decode(text, &bytes) || bytes.overflowed) {
        return err_set(err, ERR_INVALID, "not base64");
    }
    return keep_bytes(buffer_span(&bytes), arena, value, err);
}

static enum err_code parse_string(struct span text, struct arena *arena, struct row_value *value,
                                  struct err *err)
{
    size_t bad_offset = 0;
    if (!text_is_utf8(text, &bad_offset)) {
        return err_set(err, ERR_INVALID, "not UTF-8");
    }
    return keep_bytes(text, arena, value, err);
}

/* Everything but strings and binaries. */
static bool parse_scalar(const struct field *field, struct span text, struct row_value *value)
{
    switch (field->type) {
    case COLUMN_INTEGER:
        return parse_integer(text, INT32_MIN, INT32_MAX, &value->integer);
    case COLUMN_BYTE:
        return parse_integer(text, INT8_MIN, INT8_MAX, &value->integer);
    case COLUMN_SHORT:
        return parse_integer(text, INT16_MIN, INT16_MAX, &value->integer);
    case COLUMN_LONG:
        return parse_integer(text, INT64_MIN, INT64_MAX, &value->integer);
    case COLUMN_BOOLEAN:
        return parse_boolean(text, &value->integer);
    case COLUMN_DATE:
        return parse_date(text, &value->integer);
    case COLUMN_TIMESTAMP:
        return text_parse_timestamp(text, &value->integer);
    case COLUMN_TIMESTAMP_NTZ:
        return text_parse_timestamp_ntz(text, &value->integer);
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        return text_parse_double(text, &value->real);
    case COLUMN_DECIMAL:
        return text_parse_decimal(text, field->precision, field->scale, &value->decimal);
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
        return false; /* no text stands for a nested value */
    case COLUMN_STRING:
    case COLUMN_BINARY:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(!"a scalar type");
    return false;
}

enum err_code scan_value_parse(const struct field *field, struct span text, struct arena *arena,
                               struct row_value *value_out, struct err *err)
{
    struct row_value value = {.field_id = field->id, .type = field->type};
    if (column_type_is_nested(field->type)) {
        return err_set(err, ERR_INVALID,
                       "column '%.128s' is a nested %s; filters compare columns of single values",
                       field->name, column_type_name(field->type));
    }
    if (field->type == COLUMN_STRING) {
        TRY(parse_string(text, arena, &value, err));
    } else if (field->type == COLUMN_BINARY) {
        TRY(parse_binary(text, arena, &value, err));
    } else if (!parse_scalar(field, text, &value)) {
        return err_set(err, ERR_INVALID, "not a value of type %s", column_type_name(field->type));
    }
    *value_out = value;
    return ERR_OK;
}

/* ---- lists of values ---- */

bool scan_list_next(struct span *rest, bool *more, struct buffer *value)
{
    size_t i = 0;
    while (i < rest->size && rest->data[i] != ',') {
        bool escapes = rest->data[i] == '\\';
        i += escapes ? 1 : 0;
        if (escapes && (i == rest->size || (rest->data[i] != ',' && rest->data[i] != '\\'))) {
            return false;
        }
        buffer_append_byte(value, rest->data[i]);
        i++;
    }
    *more = i < rest->size;
    i += *more ? 1 : 0;
    *rest = span_of(rest->data + i, rest->size - i);
    return true;
}

/* As many as there are commas, and one: escaped ones make it an upper bound. */
static size_t count_at_most(struct span list)
{
    size_t count = 1;
    for (size_t i = 0; i < list.size; i++) {
        count += list.data[i] == ',';
    }
    return count;
}

static enum err_code parse_list(const struct field *field, struct span list, struct arena *arena,
                                struct scan_filter *filter, struct err *err)
{
    struct row_value *values = arena_alloc(arena, count_at_most(list) * sizeof *values);
    if (values == NULL) {
        return err_set(err, ERR_TOO_LARGE, "a list over the request's memory");
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SCHEMA_STRING_BYTES_MAX);
    size_t count = 0;
    for (bool more = true; more; count++) {
        buffer_reset(&text);
        if (!scan_list_next(&list, &more, &text)) {
            return err_set(err, ERR_INVALID,
                           "in a list a backslash stands before a comma or a backslash that "
                           "belongs to the value, and nowhere else");
        }
        if (count == SCAN_VALUES_MAX) {
            return err_set(err, ERR_INVALID, "at most %d values", SCAN_VALUES_MAX);
        }
        TRY(buffer_check(&text, "a filter value", err));
        TRY(scan_value_parse(field, buffer_span(&text), arena, &values[count], err));
    }
    filter->values = values;
    filter->values_count = count;
    return ERR_OK;
}

/* ---- filters ---- */

/* The part before the first colon; `rest` moves behind it. False: there is no colon. */
static bool cut_at_colon(struct span *rest, struct span *part)
{
    const uint8_t *colon = rest->size > 0 ? memchr(rest->data, ':', rest->size) : NULL;
    size_t size = colon != NULL ? (size_t)(colon - rest->data) : rest->size;
    size_t used = colon != NULL ? size + 1 : size;
    *part = span_of(rest->data, size);
    *rest = span_of(rest->data + used, rest->size - used);
    return colon != NULL;
}

struct scan_filter_text scan_filter_split(struct span text)
{
    struct scan_filter_text parts = {0};
    (void)cut_at_colon(&text, &parts.column); /* then the operator is empty, which is none */
    parts.has_value = cut_at_colon(&text, &parts.operator);
    parts.value = text;
    return parts;
}

enum err_code scan_filter_parse(const struct scan_filter_text *text, const struct schema *schema,
                                struct arena *arena, struct scan_filter *filter_out,
                                struct err *err)
{
    int column = schema_field_index(schema, text->column);
    if (column < 0) {
        return err_set(err, ERR_INVALID, "give column:operator:value with a column of the table");
    }
    struct scan_filter filter = {.column = (size_t)column};
    if (!scan_operator_parse(text->operator, & filter.operator)) {
        return err_set(err, ERR_INVALID,
                       "the operator is one of eq, ne, lt, le, gt, ge, in, is_null, not_null");
    }
    const struct field *field = &schema->fields[column];
    if (text->has_value && filter.operator== SCAN_IN) {
        TRY(parse_list(field, text->value, arena, &filter, err));
    } else if (text->has_value) {
        struct row_value *value = arena_alloc(arena, sizeof *value);
        if (value == NULL) {
            return err_set(err, ERR_TOO_LARGE, "a filter value over the request's memory");
        }
        TRY(scan_value_parse(field, text->value, arena, value, err));
        filter.values = value;
        filter.values_count = 1;
    }
    *filter_out = filter;
    return ERR_OK;
}
