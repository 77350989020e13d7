/*
 * One field of a table definition: JSON to struct field. Every rule of a field
 * is checked here, once; see schema_parse in schema.h for what they are.
 * Messages start with the JSON pointer of the fault.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/pattern.h"
#include "storage/columns/schema_build.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* ---- one field: a function for each member, called with its value present --------- */

typedef enum err_code field_member_fn(const struct json *value, struct field *field,
                                      struct err *err);

static bool is_name_byte(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

enum err_code schema_check_name(const char *name, struct err *err)
{
    static const char *const reserved[] = {"_op", "_change_type", "_commit_version",
                                           "_commit_timestamp"};
    if (name == NULL || name[0] == '\0' || strlen(name) > SCHEMA_NAME_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "must be a text of 1 to %d bytes", SCHEMA_NAME_BYTES_MAX);
    }
    for (size_t i = 0; name[i] != '\0'; i++) {
        if (!is_name_byte(name[i], i == 0)) {
            return err_set(err, ERR_INVALID,
                           "use ASCII letters, digits and underscore, not starting with a digit: "
                           "other engines refuse the rest");
        }
    }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcasecmp(name, reserved[i]) == 0) {
            return err_set(err, ERR_INVALID, "'%s' is reserved", name);
        }
    }
    return ERR_OK;
}

static enum err_code parse_name(const struct json *value, struct field *field, struct err *err)
{
    const char *name = json_text(value);
    TRY(schema_check_name(name, err));
    field->name = mem_copy_text(name);
    return ERR_OK;
}

static enum err_code parse_renamed_from(const struct json *value, struct field *field,
                                        struct err *err)
{
    const char *name = json_text(value);
    TRY(schema_check_name(name, err));
    if (strcmp(name, field->name) == 0) {
        return err_set(err, ERR_INVALID, "is the name that the field has");
    }
    field->renamed_from = mem_copy_text(name);
    return ERR_OK;
}

static enum err_code parse_id(const struct json *value, struct field *field, struct err *err)
{
    int64_t id = 0;
    if (!json_as_integer(value, &id) || id < 1 || id >= INT32_MAX) {
        return err_set(err, ERR_INVALID, "must be a number from 1");
    }
    field->id = (int32_t)id;
    return ERR_OK;
}

/* A type by its name; one of an object is a nested type (parse_nested_type). */
static enum err_code parse_type(const struct json *value, struct field *field, struct err *err)
{
    struct span text = {0};
    if (!json_as_string(value, &text)) {
        return err_set(err, ERR_INVALID,
                       "must be the name of a type, or an object with type struct, array or map");
    }
    if (schema_parse_decimal_type(text, &field->precision, &field->scale)) {
        field->type = COLUMN_DECIMAL;
        return ERR_OK;
    }
    for (enum column_type type = COLUMN_STRING; !column_type_is_nested(type); type++) {
        if (type != COLUMN_DECIMAL && span_equal_text(text, column_type_name(type))) {
            field->type = type;
            return ERR_OK;
        }
    }
    return err_set(
        err, ERR_INVALID,
        "unknown type '%.*s'; use one of string, integer, long, double, boolean, date, "
        "timestamp, decimal(p,s) with 1 <= p <= 38 and 0 <= s <= p, binary, byte, short, "
        "float, timestamp_ntz, or an object with type struct, array or map",
        SPAN_PRINT(schema_shown(text)));
}

static enum err_code parse_nullable(const struct json *value, struct field *field, struct err *err)
{
    return json_as_boolean(value, &field->nullable)
               ? ERR_OK
               : err_set(err, ERR_INVALID, "must be true or false");
}

static enum err_code parse_phi(const struct json *value, struct field *field, struct err *err)
{
    return json_as_boolean(value, &field->phi) ? ERR_OK
                                               : err_set(err, ERR_INVALID, "must be true or false");
}

static enum err_code parse_protect(const struct json *value, struct field *field, struct err *err)
{
    (void)field; /* nothing to keep: only "none" exists so far */
    struct span text = {0};
    if (!json_as_string(value, &text)) {
        return err_set(err, ERR_INVALID, "must be \"none\"");
    }
    if (span_equal_text(text, "encrypt") || span_equal_text(text, "tokenize")) {
        return err_set(err, ERR_INVALID,
                       "'%.*s' is not available yet: the column would be stored in the clear; "
                       "use \"none\", or leave the column out",
                       SPAN_PRINT(text));
    }
    if (!span_equal_text(text, "none")) {
        return err_set(err, ERR_INVALID, "must be \"none\"");
    }
    return ERR_OK;
}

static enum err_code parse_max_length(const struct json *value, struct field *field,
                                      struct err *err)
{
    if (field->type != COLUMN_STRING && field->type != COLUMN_BINARY) {
        return err_set(err, ERR_INVALID, "only string and binary fields have a length");
    }
    if (!json_as_integer(value, &field->max_length) || field->max_length < 1 ||
        field->max_length > SCHEMA_STRING_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "must be an integer from 1 to %d",
                       SCHEMA_STRING_BYTES_MAX);
    }
    return ERR_OK;
}

static enum err_code parse_pattern(const struct json *value, struct field *field, struct err *err)
{
    const char *text = json_text(value);
    if (field->type != COLUMN_STRING) {
        return err_set(err, ERR_INVALID, "only string fields have a pattern");
    }
    if (text == NULL) {
        return err_set(err, ERR_INVALID, "must be a text without NUL");
    }
    TRY(field_pattern_compile(span_of_text(text), &field->pattern, err));
    field->pattern_text = mem_copy_text(text);
    return ERR_OK;
}

static bool enum_has(const struct field *field, struct span text)
{
    for (size_t i = 0; i < field->enum_count; i++) {
        if (span_equal(field->enum_values[i], text)) {
            return true;
        }
    }
    return false;
}

static enum err_code parse_enum(const struct json *value, struct field *field, struct err *err)
{
    if (field->type != COLUMN_STRING) {
        return err_set(err, ERR_INVALID, "only string fields have an enum");
    }
    size_t count = json_count(value);
    if (json_kind(value) != JSON_KIND_ARRAY || count == 0 || count > SCHEMA_ENUM_VALUES_MAX) {
        return err_set(err, ERR_INVALID, "must be an array of 1 to %d texts",
                       SCHEMA_ENUM_VALUES_MAX);
    }
    field->enum_values = mem_zeroed(count, sizeof *field->enum_values);
    for (size_t i = 0; i < count; i++) {
        struct span text = {0};
        if (!json_as_string(json_at(value, i), &text) || text.size > SCHEMA_STRING_BYTES_MAX) {
            return err_set(err, ERR_INVALID, "value %zu must be a text", i);
        }
        if (enum_has(field, text)) {
            return err_set(err, ERR_INVALID, "value %zu occurs twice", i);
        }
        field->enum_values[i] = span_of(mem_copy(text.data, text.size), text.size);
        field->enum_count = i + 1;
    }
    return ERR_OK;
}

static enum err_code parse_format(const struct json *value, struct field *field, struct err *err)
{
    struct span text = {0};
    if (field->type != COLUMN_STRING) {
        return err_set(err, ERR_INVALID, "only string fields have a format");
    }
    (void)json_as_string(value, &text); /* another kind leaves the text empty: no format's name */
    for (enum field_format format = FORMAT_NONE + 1; format < FORMAT_COUNT; format++) {
        if (span_equal_text(text, field_format_name(format))) {
            field->format = format;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_INVALID, "must be one of npi, ndc11, dea, mbi, zip, state");
}

static enum err_code parse_field_description(const struct json *value, struct field *field,
                                             struct err *err)
{
    const char *text = json_text(value);
    if (text == NULL || strlen(text) > SCHEMA_DESCRIPTION_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "must be a text of at most %d bytes without NUL",
                       SCHEMA_DESCRIPTION_BYTES_MAX);
    }
    field->description = mem_copy_text(text);
    return ERR_OK;
}

/* ---- minimum and maximum ------------------------------------------------------------ */

static enum err_code parse_integer_bound(const struct json *value, const struct field *field,
                                         __int128 *bound_out, struct err *err)
{
    int64_t integer = 0;
    int64_t high = field->type == COLUMN_LONG      ? INT64_MAX
                   : field->type == COLUMN_INTEGER ? INT32_MAX
                   : field->type == COLUMN_SHORT   ? INT16_MAX
                                                   : INT8_MAX;
    if (!json_as_integer(value, &integer) || integer < -high - 1 || integer > high) {
        return err_set(err, ERR_INVALID, "must be an integer within the range of type %s",
                       column_type_name(field->type));
    }
    *bound_out = integer;
    return ERR_OK;
}

static enum err_code parse_double_bound(const struct json *value, __int128 *bound_out,
                                        struct err *err)
{
    double real = 0;
    uint64_t bits = 0;
    if (!json_as_real(value, &real)) {
        return err_set(err, ERR_INVALID, "must be a number");
    }
    memcpy(&bits, &real, sizeof bits);
    *bound_out = bits;
    return ERR_OK;
}

/* The text of a JSON number or string; false for other kinds. Numbers are printed to `number`. */
static bool text_of_scalar(const struct json *value, char number[TEXT_DOUBLE_BYTES],
                           struct span *text_out)
{
    int64_t integer = 0;
    double real = 0;
    if (json_as_string(value, text_out)) {
        return memchr(text_out->data, '\0', text_out->size) == NULL;
    }
    if (json_as_integer(value, &integer)) {
        *text_out = span_of(number, text_format_int64(integer, number));
        return true;
    }
    if (json_as_real(value, &real)) {
        *text_out = span_of(number, text_format_double(real, number));
        return true;
    }
    return false;
}

static enum err_code parse_text_bound(struct span text, const struct field *field,
                                      __int128 *bound_out, struct err *err)
{
    int32_t days = 0;
    int64_t us = 0;
    switch (field->type) {
    case COLUMN_DECIMAL:
        return text_parse_decimal(text, field->precision, field->scale, bound_out)
                   ? ERR_OK
                   : err_set(err, ERR_INVALID, "must be a decimal(%d,%d)", field->precision,
                             field->scale);
    case COLUMN_DATE:
        if (!text_parse_date(text, &days)) {
            return err_set(err, ERR_INVALID, "must be a date like \"2024-01-31\"");
        }
        *bound_out = days;
        return ERR_OK;
    case COLUMN_TIMESTAMP_NTZ:
        if (!text_parse_timestamp_ntz(text, &us)) {
            return err_set(err, ERR_INVALID, "must be a timestamp like \"2024-01-31T08:00:00\"");
        }
        *bound_out = us;
        return ERR_OK;
    default:
        assert(field->type == COLUMN_TIMESTAMP);
        if (!text_parse_timestamp(text, &us)) {
            return err_set(err, ERR_INVALID, "must be a timestamp like \"2024-01-31T08:00:00Z\"");
        }
        *bound_out = us;
        return ERR_OK;
    }
}

static enum err_code parse_bound(const struct json *value, const struct field *field,
                                 __int128 *bound_out, char **text_out, struct err *err)
{
    char number[TEXT_DOUBLE_BYTES];
    struct span text = {0};
    if (!text_of_scalar(value, number, &text)) {
        return err_set(err, ERR_INVALID, "must be a number, date or timestamp");
    }
    switch (field->type) {
    case COLUMN_INTEGER:
    case COLUMN_LONG:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        TRY(parse_integer_bound(value, field, bound_out, err));
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        TRY(parse_double_bound(value, bound_out, err));
        break;
    case COLUMN_DECIMAL:
    case COLUMN_DATE:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        TRY(parse_text_bound(text, field, bound_out, err));
        break;
    default:
        return err_set(err, ERR_INVALID, "fields of type %s have no range",
                       column_type_name(field->type));
    }
    *text_out = schema_copy_text(text);
    return ERR_OK;
}

static enum err_code parse_minimum(const struct json *value, struct field *field, struct err *err)
{
    TRY(parse_bound(value, field, &field->minimum, &field->minimum_text, err));
    field->has_minimum = true;
    return ERR_OK;
}

static enum err_code parse_maximum(const struct json *value, struct field *field, struct err *err)
{
    TRY(parse_bound(value, field, &field->maximum, &field->maximum_text, err));
    field->has_maximum = true;
    if (field->has_minimum &&
        schema_bound_compare(field->type, field->minimum, field->maximum) > 0) {
        return err_set(err, ERR_INVALID, "is below the minimum: no value could obey both");
    }
    return ERR_OK;
}

/* ---- the fields ---------------------------------------------------------------------- */

/* In order of dependence: rules need the type, maximum needs minimum. */
static const struct {
    const char *name;
    field_member_fn *parse;
    bool required;
} field_members[] = {
    {"name", parse_name, true},
    {"type", parse_type, true},
    {"nullable", parse_nullable, false},
    {"max_length", parse_max_length, false},
    {"pattern", parse_pattern, false},
    {"enum", parse_enum, false},
    {"minimum", parse_minimum, false},
    {"maximum", parse_maximum, false},
    {"format", parse_format, false},
    {"phi", parse_phi, false},
    {"protect", parse_protect, false},
    {"description", parse_field_description, false},
    {"id", parse_id, false},
    {"renamed_from", parse_renamed_from, false},
};
enum { FIELD_MEMBERS_COUNT = sizeof field_members / sizeof field_members[0] };

/* What is left of the limits while a field is read, and where in the definition that is. */
struct reading {
    enum schema_origin origin;
    int depth; /* of nested types around the field */
    size_t *nodes_left;
    char pointer[SCHEMA_POINTER_BYTES];
    size_t pointer_size;
};

/* Go into a part of the definition; `size_out` is for going back. */
__attribute__((format(printf, 3, 4))) static void enter(struct reading *reading, size_t *size_out,
                                                        const char *format, ...)
{
    va_list arguments;
    size_t left = sizeof reading->pointer - reading->pointer_size;
    *size_out = reading->pointer_size;
    va_start(arguments, format);
    int size = vsnprintf(reading->pointer + reading->pointer_size, left, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    assert((size_t)size < left); /* SCHEMA_DEPTH_MAX bounds how far it goes */
    reading->pointer_size += (size_t)size;
}

static void leave(struct reading *reading, size_t size)
{
    reading->pointer[size] = '\0';
    reading->pointer_size = size;
}

static enum err_code check_field_shape(const struct json *value, const struct reading *reading,
                                       struct err *err)
{
    /* changes are told by clients, ids are ours; what is in a column is protected with it and
       known by its name; NULL ends each list */
    static const char *const allowed[][FIELD_MEMBERS_COUNT] = {
        [SCHEMA_OF_CLIENT] = {"name", "type", "nullable", "max_length", "pattern", "enum",
                              "minimum", "maximum", "format", "phi", "protect", "description",
                              "renamed_from"},
        [SCHEMA_STORED] = {"name", "type", "nullable", "max_length", "pattern", "enum", "minimum",
                           "maximum", "format", "phi", "protect", "description", "id"},
    };
    static const char *const allowed_within[] = {"name",    "type",        "nullable", "max_length",
                                                 "pattern", "enum",        "minimum",  "maximum",
                                                 "format",  "description", NULL};
    if (json_kind(value) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object", reading->pointer);
    }
    return json_check_names(value, reading->pointer,
                            reading->depth > 0 ? allowed_within : allowed[reading->origin], err);
}

static enum err_code parse_any_type(const struct json *value, struct field *field,
                                    struct reading *reading, struct err *err);

static enum err_code parse_field_at(const struct json *value, struct field *siblings, size_t index,
                                    struct reading *reading, struct err *err);

/* Element, key or value: its type is the member "elementType", … of the array or map. */
static enum err_code parse_part(const struct json *value, const char *name, struct field *part,
                                struct reading *reading, struct err *err)
{
    char member[16];
    size_t back = 0;
    (void)snprintf(member, sizeof member, "%sType", name); /* fits */
    part->name = mem_copy_text(name);
    enter(reading, &back, "/%s", member);
    TRY(parse_any_type(json_get(value, member), part, reading, err));
    leave(reading, back);
    return ERR_OK;
}

/* May a part be null? What is not said is true. */
static enum err_code parse_contains_null(const struct json *value, const char *member,
                                         struct field *part, const struct reading *reading,
                                         struct err *err)
{
    const struct json *said = json_get(value, member);
    if (json_kind(said) != JSON_KIND_NULL && !json_as_boolean(said, &part->nullable)) {
        return err_set(err, ERR_INVALID, "%s/%s: must be true or false", reading->pointer, member);
    }
    return ERR_OK;
}

static enum err_code parse_array(const struct json *value, struct field *field,
                                 struct reading *reading, struct err *err)
{
    static const char *const allowed[] = {"type", "elementType", "containsNull", NULL};
    TRY(json_check_names(value, reading->pointer, allowed, err));
    field->type = COLUMN_ARRAY;
    field->children = schema_fields_new(1);
    field->children_count = 1;
    TRY(parse_contains_null(value, "containsNull", &field->children[0], reading, err));
    return parse_part(value, "element", &field->children[0], reading, err);
}

static enum err_code parse_map(const struct json *value, struct field *field,
                               struct reading *reading, struct err *err)
{
    static const char *const allowed[] = {"type", "keyType", "valueType", "valueContainsNull",
                                          NULL};
    TRY(json_check_names(value, reading->pointer, allowed, err));
    field->type = COLUMN_MAP;
    field->children = schema_fields_new(2);
    field->children_count = 2;
    field->children[0].nullable = false;
    TRY(parse_contains_null(value, "valueContainsNull", &field->children[1], reading, err));
    TRY(parse_part(value, "key", &field->children[0], reading, err));
    if (!column_type_is_key(field->children[0].type)) {
        return err_set(err, ERR_INVALID,
                       "%s/keyType: keys are names in JSON; %s cannot be one, use string, integer, "
                       "long, date or another type with one text a value",
                       reading->pointer, column_type_name(field->children[0].type));
    }
    return parse_part(value, "value", &field->children[1], reading, err);
}

static enum err_code parse_struct(const struct json *value, struct field *field,
                                  struct reading *reading, struct err *err)
{
    static const char *const allowed[] = {"type", "fields", NULL};
    TRY(json_check_names(value, reading->pointer, allowed, err));
    const struct json *fields = json_get(value, "fields");
    size_t count = json_count(fields);
    if (json_kind(fields) != JSON_KIND_ARRAY || count == 0 || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "%s/fields: must be an array of 1 to %d fields",
                       reading->pointer, SCHEMA_FIELDS_MAX);
    }
    field->type = COLUMN_STRUCT;
    field->children = schema_fields_new(count);
    field->children_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t back = 0;
        enter(reading, &back, "/fields/%zu", i);
        TRY(parse_field_at(json_at(fields, i), field->children, i, reading, err));
        leave(reading, back);
    }
    return ERR_OK;
}

/* The words are those of Delta's schemaString. */
static enum err_code parse_nested_type(const struct json *value, struct field *field,
                                       struct reading *reading, struct err *err)
{
    static const struct {
        const char *name;
        enum err_code (*parse)(const struct json *, struct field *, struct reading *, struct err *);
    } kinds[] = {{"struct", parse_struct}, {"array", parse_array}, {"map", parse_map}};
    const char *kind = json_text(json_get(value, "type"));
    if (reading->depth > SCHEMA_DEPTH_MAX) {
        return err_set(err, ERR_INVALID, "%s: nested deeper than %d", reading->pointer,
                       SCHEMA_DEPTH_MAX);
    }
    for (size_t i = 0; kind != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i].name) == 0) {
            return kinds[i].parse(value, field, reading, err);
        }
    }
    return err_set(err, ERR_INVALID, "%s/type: must be struct, array or map", reading->pointer);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code parse_any_type(const struct json *value, struct field *field,
                                    struct reading *reading, struct err *err)
{
    if (*reading->nodes_left == 0) {
        return err_set(err, ERR_INVALID, "%s: the schema has more than %d fields in all",
                       reading->pointer, SCHEMA_NODES_MAX);
    }
    (*reading->nodes_left)--;
    if (json_kind(value) == JSON_KIND_OBJECT) {
        reading->depth++;
        TRY(parse_nested_type(value, field, reading, err));
        reading->depth--;
        return ERR_OK;
    }
    if (parse_type(value, field, err) != ERR_OK) {
        return err_wrap(err, "%s", reading->pointer);
    }
    return ERR_OK;
}

static enum err_code parse_member(const struct json *value, size_t member, struct field *field,
                                  struct reading *reading, struct err *err)
{
    bool is_there = json_kind(value) != JSON_KIND_NULL;
    size_t back = 0;
    enter(reading, &back, "/%s", field_members[member].name);
    if (!is_there && field_members[member].required) {
        return err_set(err, ERR_INVALID, "%s: is required", reading->pointer);
    }
    if (is_there && field_members[member].parse == parse_type) {
        TRY(parse_any_type(value, field, reading, err));
    } else if (is_there && field_members[member].parse(value, field, err) != ERR_OK) {
        return err_wrap(err, "%s", reading->pointer);
    }
    leave(reading, back);
    return ERR_OK;
}

static enum err_code parse_field_at(const struct json *value, struct field *siblings, size_t index,
                                    struct reading *reading, struct err *err)
{
    struct field *field = &siblings[index];
    TRY(check_field_shape(value, reading, err));
    for (size_t i = 0; i < FIELD_MEMBERS_COUNT; i++) {
        TRY(parse_member(json_get(value, field_members[i].name), i, field, reading, err));
    }
    if (schema_find_ignoring_case(siblings, index, span_of_text(field->name)) >= 0) {
        return err_set(err, ERR_INVALID,
                       "%s/name: '%s' occurs twice; names differ in more than case",
                       reading->pointer, field->name);
    }
    return ERR_OK;
}

enum err_code schema_parse_field(const struct json *value, size_t index, enum schema_origin origin,
                                 size_t *nodes_left, struct schema *schema, struct err *err)
{
    struct reading reading = {.origin = origin, .nodes_left = nodes_left};
    const struct field *field = &schema->fields[index];
    size_t back = 0;
    enter(&reading, &back, "/schema/fields/%zu", index);
    TRY(parse_field_at(value, schema->fields, index, &reading, err));
    if (field->id != 0 && index > 0 && field->id <= schema->fields[index - 1].id) {
        return err_set(err, ERR_INVALID, "/schema/fields/%zu/id: ids must ascend", index);
    }
    return ERR_OK;
}

enum err_code schema_parse_rule(const char *name, const struct json *value, struct field *field,
                                struct err *err)
{
    for (size_t i = 0; i < FIELD_MEMBERS_COUNT; i++) {
        if (strcmp(field_members[i].name, name) == 0) {
            return field_members[i].parse(value, field, err);
        }
    }
    assert(false && "a rule of fields");
    return ERR_INVALID;
}
