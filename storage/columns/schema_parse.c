/*
 * Table definitions as PUT /v1/tables/{table} states them: JSON to schema and
 * back. Every rule of a definition is checked here, once; see schema_parse in
 * schema.h for what they are. Messages start with the JSON pointer of the fault.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/pattern.h"
#include "storage/columns/schema_build.h"

#include <assert.h>
#include <strings.h>

enum { SHOWN_BYTES_MAX = 64 }; /* of a name that the client made up, in messages */

static const int64_t delete_retention_default_seconds = 604800;                /* 7 days */
static const int64_t delete_retention_max_seconds = 10LL * 365 * 24 * 60 * 60; /* 10 years */

static const char *const merge_names[] = {
    [TABLE_DELETION_VECTORS] = "deletion-vectors",
    [TABLE_COPY_ON_WRITE] = "copy-on-write",
    [TABLE_APPEND] = "append",
};
enum { MERGE_COUNT = sizeof merge_names / sizeof merge_names[0] };

/* At most SHOWN_BYTES_MAX of `text`, for "%.*s" through SPAN_PRINT. */
static struct span shown(struct span text)
{
    return span_of(text.data, text.size < SHOWN_BYTES_MAX ? text.size : SHOWN_BYTES_MAX);
}

/* ---- one field: a function for each member, called with its value present --------- */

typedef enum err_code field_member_fn(const struct json *value, struct field *field,
                                      struct err *err);

static bool is_name_byte(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

static enum err_code parse_name(const struct json *value, struct field *field, struct err *err)
{
    static const char *const reserved[] = {"_op", "_change_type", "_commit_version",
                                           "_commit_timestamp"};
    const char *name = json_text(value);
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
    field->name = mem_copy_text(name);
    return ERR_OK;
}

static enum err_code parse_type(const struct json *value, struct field *field, struct err *err)
{
    struct span text = {0};
    if (!json_string(value, &text)) {
        return err_set(err, ERR_INVALID, "must be the name of a type");
    }
    if (schema_parse_decimal_type(text, &field->precision, &field->scale)) {
        field->type = COLUMN_DECIMAL;
        return ERR_OK;
    }
    for (enum column_type type = COLUMN_STRING; type <= COLUMN_BINARY; type++) {
        if (type != COLUMN_DECIMAL && span_equal_text(text, column_type_name(type))) {
            field->type = type;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_INVALID,
                   "unknown type '%.*s'; use one of string, integer, long, double, boolean, date, "
                   "timestamp, decimal(p,s) with 1 <= p <= 38 and 0 <= s <= p, binary",
                   SPAN_PRINT(shown(text)));
}

static enum err_code parse_nullable(const struct json *value, struct field *field, struct err *err)
{
    return json_boolean(value, &field->nullable)
               ? ERR_OK
               : err_set(err, ERR_INVALID, "must be true or false");
}

static enum err_code parse_phi(const struct json *value, struct field *field, struct err *err)
{
    return json_boolean(value, &field->phi) ? ERR_OK
                                            : err_set(err, ERR_INVALID, "must be true or false");
}

static enum err_code parse_protect(const struct json *value, struct field *field, struct err *err)
{
    (void)field; /* nothing to keep: only "none" exists so far */
    struct span text = {0};
    if (!json_string(value, &text)) {
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
    if (!json_integer(value, &field->max_length) || field->max_length < 1 ||
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
    if (json_kind(value) != JSON_ARRAY || count == 0 || count > SCHEMA_ENUM_VALUES_MAX) {
        return err_set(err, ERR_INVALID, "must be an array of 1 to %d texts",
                       SCHEMA_ENUM_VALUES_MAX);
    }
    field->enum_values = mem_zeroed(count, sizeof *field->enum_values);
    for (size_t i = 0; i < count; i++) {
        struct span text = {0};
        if (!json_string(json_at(value, i), &text) || text.size > SCHEMA_STRING_BYTES_MAX) {
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
    (void)json_string(value, &text); /* another kind leaves the text empty: no format's name */
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
    bool wide = field->type == COLUMN_LONG;
    if (!json_integer(value, &integer) || (!wide && (integer < INT32_MIN || integer > INT32_MAX))) {
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
    if (!json_real(value, &real)) {
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
    if (json_string(value, text_out)) {
        return memchr(text_out->data, '\0', text_out->size) == NULL;
    }
    if (json_integer(value, &integer)) {
        *text_out = span_of(number, text_format_int64(integer, number));
        return true;
    }
    if (json_real(value, &real)) {
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
        TRY(parse_integer_bound(value, field, bound_out, err));
        break;
    case COLUMN_DOUBLE:
        TRY(parse_double_bound(value, bound_out, err));
        break;
    case COLUMN_DECIMAL:
    case COLUMN_DATE:
    case COLUMN_TIMESTAMP:
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
    {"name", parse_name, true},          {"type", parse_type, true},
    {"nullable", parse_nullable, false}, {"max_length", parse_max_length, false},
    {"pattern", parse_pattern, false},   {"enum", parse_enum, false},
    {"minimum", parse_minimum, false},   {"maximum", parse_maximum, false},
    {"format", parse_format, false},     {"phi", parse_phi, false},
    {"protect", parse_protect, false},   {"description", parse_field_description, false},
};
enum { FIELD_MEMBERS_COUNT = sizeof field_members / sizeof field_members[0] };

static enum err_code check_field_shape(const struct json *value, size_t index, struct err *err)
{
    static const char *const allowed[] = {
        "name",    "type",   "nullable", "max_length", "pattern",     "enum", "minimum",
        "maximum", "format", "phi",      "protect",    "description", NULL};
    _Static_assert(sizeof allowed / sizeof allowed[0] == FIELD_MEMBERS_COUNT + 1,
                   "every member has a parser");
    char pointer[48];
    (void)snprintf(pointer, sizeof pointer, "/schema/fields/%zu", index); /* fits */
    if (json_kind(value) != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object", pointer);
    }
    return json_check_names(value, pointer, allowed, err);
}

static enum err_code parse_field(const struct json *value, size_t index, struct schema *schema,
                                 struct err *err)
{
    struct field *field = &schema->fields[index];
    TRY(check_field_shape(value, index, err));
    for (size_t i = 0; i < FIELD_MEMBERS_COUNT; i++) {
        const struct json *member = json_get(value, field_members[i].name);
        enum err_code code = ERR_OK;
        if (json_kind(member) != JSON_NULL) {
            code = field_members[i].parse(member, field, err);
        } else if (field_members[i].required) {
            code = err_set(err, ERR_INVALID, "is required");
        }
        if (code != ERR_OK) {
            return err_wrap(err, "/schema/fields/%zu/%s", index, field_members[i].name);
        }
    }
    if (schema_find_ignoring_case(schema, index, span_of_text(field->name)) >= 0) {
        return err_set(err, ERR_INVALID,
                       "/schema/fields/%zu/name: '%s' occurs twice; names differ in more than case",
                       index, field->name);
    }
    return ERR_OK;
}

static enum err_code parse_fields(const struct json *definition, struct schema **schema_out,
                                  struct err *err)
{
    static const char *const allowed[] = {"fields", NULL};
    const struct json *value = json_get(definition, "schema");
    if (json_kind(value) != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "/schema: must be an object with the fields");
    }
    TRY(json_check_names(value, "/schema", allowed, err));
    const struct json *fields = json_get(value, "fields");
    size_t count = json_count(fields);
    if (json_kind(fields) != JSON_ARRAY || count == 0 || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "/schema/fields: must be an array of 1 to %d fields",
                       SCHEMA_FIELDS_MAX);
    }
    CLEANUP(schema_release) struct schema *schema = schema_new(count);
    for (size_t i = 0; i < count; i++) {
        TRY(parse_field(json_at(fields, i), i, schema, err));
    }
    schema_seal(schema);
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

/* ---- the table: key, sequence, partitions, lookups ------------------------------------ */

/* The field that the text `value` names; `pointer` is where it stands. */
static enum err_code find_field(const struct schema *schema, const struct json *value,
                                const char *pointer, size_t *index_out, struct err *err)
{
    struct span name = {0};
    if (!json_string(value, &name)) {
        return err_set(err, ERR_INVALID, "%s: must be the name of a field", pointer);
    }
    int index = schema_field_index(schema, name);
    if (index < 0) {
        return err_set(err, ERR_INVALID, "%s: no field is named '%.*s'", pointer,
                       SPAN_PRINT(shown(name)));
    }
    *index_out = (size_t)index;
    return ERR_OK;
}

/* An array of different field names; absent and null are empty. */
static enum err_code parse_field_list(const struct json *value, const char *member,
                                      const struct schema *schema, size_t *fields_out,
                                      size_t *count_out, struct err *err)
{
    size_t count = json_count(value);
    *count_out = 0;
    if (json_kind(value) == JSON_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_ARRAY || count > SCHEMA_KEY_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "/%s: must be an array of at most %d field names", member,
                       SCHEMA_KEY_FIELDS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        char pointer[48];
        (void)snprintf(pointer, sizeof pointer, "/%s/%zu", member, i); /* fits */
        TRY(find_field(schema, json_at(value, i), pointer, &fields_out[i], err));
        for (size_t j = 0; j < i; j++) {
            if (fields_out[j] == fields_out[i]) {
                return err_set(err, ERR_INVALID, "%s: the field occurs twice", pointer);
            }
        }
    }
    *count_out = count;
    return ERR_OK;
}

static bool is_key_type(enum column_type type)
{
    return type != COLUMN_DOUBLE && type != COLUMN_BINARY;
}

static enum err_code parse_key(const struct json *definition, struct schema *schema,
                               struct err *err)
{
    TRY(parse_field_list(json_get(definition, "key"), "key", schema, schema->key,
                         &schema->key_count, err));
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct field *field = &schema->fields[schema->key[i]];
        if (!is_key_type(field->type)) {
            return err_set(err, ERR_INVALID,
                           "/key/%zu: '%s' is of type %s, whose values cannot be a key", i,
                           field->name, column_type_name(field->type));
        }
        if (field->nullable) {
            return err_set(err, ERR_INVALID, "/key/%zu: '%s' must be nullable:false to be a key", i,
                           field->name);
        }
    }
    return ERR_OK;
}

static enum err_code parse_merge(const struct json *definition, struct schema *schema,
                                 struct err *err)
{
    const struct json *value = json_get(definition, "merge");
    schema->merge = schema->key_count > 0 ? TABLE_DELETION_VECTORS : TABLE_APPEND;
    if (json_kind(value) != JSON_NULL) {
        struct span text = {0};
        (void)json_string(value, &text); /* another kind leaves the text empty: no mode's name */
        unsigned found = 0;
        while (found < MERGE_COUNT && !span_equal_text(text, merge_names[found])) {
            found++;
        }
        if (found == MERGE_COUNT) {
            return err_set(err, ERR_INVALID,
                           "/merge: must be deletion-vectors, copy-on-write or append");
        }
        schema->merge = (enum table_merge)found;
    }
    if (schema->merge == TABLE_APPEND && schema->key_count > 0) {
        return err_set(err, ERR_INVALID,
                       "/key: an append table keeps every record and has no key; leave it out or "
                       "choose another merge");
    }
    if (schema->merge != TABLE_APPEND && schema->key_count == 0) {
        return err_set(err, ERR_INVALID, "/key: merge %s needs a key; name its fields",
                       merge_names[schema->merge]);
    }
    return ERR_OK;
}

static enum err_code parse_sequence(const struct json *definition, struct schema *schema,
                                    struct err *err)
{
    const struct json *value = json_get(definition, "sequence_by");
    if (json_kind(value) == JSON_NULL) {
        return ERR_OK;
    }
    TRY(find_field(schema, value, "/sequence_by", &schema->sequence, err));
    const struct field *field = &schema->fields[schema->sequence];
    bool ordered = field->type == COLUMN_INTEGER || field->type == COLUMN_LONG ||
                   field->type == COLUMN_DATE || field->type == COLUMN_TIMESTAMP;
    if (!ordered || field->nullable) {
        return err_set(err, ERR_INVALID,
                       "/sequence_by: '%s' must be nullable:false and of type integer, long, date "
                       "or timestamp",
                       field->name);
    }
    if (schema->merge == TABLE_APPEND) {
        return err_set(err, ERR_INVALID,
                       "/sequence_by: an append table keeps every record, so none can supersede "
                       "another; leave it out");
    }
    schema->has_sequence = true;
    return ERR_OK;
}

static bool is_partition_type(enum column_type type)
{
    return type == COLUMN_STRING || type == COLUMN_INTEGER || type == COLUMN_LONG ||
           type == COLUMN_BOOLEAN || type == COLUMN_DATE;
}

static enum err_code parse_partitions(const struct json *definition, struct schema *schema,
                                      struct err *err)
{
    TRY(parse_field_list(json_get(definition, "partition_by"), "partition_by", schema,
                         schema->partition, &schema->partition_count, err));
    for (size_t i = 0; i < schema->partition_count; i++) {
        const struct field *field = &schema->fields[schema->partition[i]];
        if (!is_partition_type(field->type)) {
            return err_set(err, ERR_INVALID,
                           "/partition_by/%zu: '%s' must be of type string, integer, long, boolean "
                           "or date",
                           i, field->name);
        }
        if (field->phi) {
            return err_set(err, ERR_INVALID,
                           "/partition_by/%zu: '%s' is protected health information, and partition "
                           "values stand in file names",
                           i, field->name);
        }
    }
    if (schema->partition_count == schema->fields_count) {
        return err_set(err, ERR_INVALID,
                       "/partition_by: at least one field must stay in the data files");
    }
    return ERR_OK;
}

/* [a-z][a-z0-9_]* of at most SCHEMA_LOOKUP_NAME_BYTES_MAX bytes; NULL when it is not. */
static const char *lookup_name(const struct json *value)
{
    const char *name = json_text(value);
    if (name == NULL || strlen(name) > SCHEMA_LOOKUP_NAME_BYTES_MAX || name[0] < 'a' ||
        name[0] > 'z') {
        return NULL;
    }
    for (size_t i = 1; name[i] != '\0'; i++) {
        bool lower = (name[i] >= 'a' && name[i] <= 'z') || name[i] == '_';
        if (!lower && (name[i] < '0' || name[i] > '9')) {
            return NULL;
        }
    }
    return name;
}

static enum err_code check_lookup(const struct schema *schema, size_t index, struct err *err)
{
    const struct lookup_column *lookup = &schema->lookup[index];
    const struct field *field = &schema->fields[lookup->column];
    if (!is_key_type(field->type)) {
        return err_set(err, ERR_INVALID,
                       "/lookup/%zu/column: '%s' is of type %s, which cannot be looked up", index,
                       field->name, column_type_name(field->type));
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(schema->lookup[i].entity, lookup->entity) == 0 &&
            strcmp(schema->lookup[i].as, lookup->as) == 0) {
            return err_set(err, ERR_INVALID, "/lookup/%zu/as: '%s' occurs twice for '%s'", index,
                           lookup->as, lookup->entity);
        }
    }
    bool root = strcmp(lookup->entity, lookup->as) == 0;
    if (root && (schema->key_count != 1 || schema->key[0] != lookup->column)) {
        return err_set(err, ERR_INVALID,
                       "/lookup/%zu/as: '%s' makes this table the root of the entity, so its key "
                       "must be exactly '%s'; choose another name otherwise",
                       index, lookup->as, field->name);
    }
    return ERR_OK;
}

static enum err_code parse_lookup(const struct json *value, size_t index, struct schema *schema,
                                  struct err *err)
{
    static const char *const allowed[] = {"entity", "column", "as", NULL};
    char pointer[48];
    (void)snprintf(pointer, sizeof pointer, "/lookup/%zu", index); /* fits */
    if (json_kind(value) != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object with entity, column and as",
                       pointer);
    }
    TRY(json_check_names(value, pointer, allowed, err));
    const char *entity = lookup_name(json_get(value, "entity"));
    const char *as = lookup_name(json_get(value, "as"));
    if (entity == NULL || as == NULL) {
        return err_set(err, ERR_INVALID,
                       "%s/%s: must be 1 to %d of a-z, 0-9 and underscore, starting with a letter",
                       pointer, entity == NULL ? "entity" : "as", SCHEMA_LOOKUP_NAME_BYTES_MAX);
    }
    (void)snprintf(pointer, sizeof pointer, "/lookup/%zu/column", index); /* fits */
    struct lookup_column *lookup = &schema->lookup[index];
    TRY(find_field(schema, json_get(value, "column"), pointer, &lookup->column, err));
    lookup->entity = mem_copy_text(entity);
    lookup->as = mem_copy_text(as);
    schema->lookup_count = index + 1;
    return check_lookup(schema, index, err);
}

static enum err_code parse_lookups(const struct json *definition, struct schema *schema,
                                   struct err *err)
{
    const struct json *value = json_get(definition, "lookup");
    size_t count = json_count(value);
    if (json_kind(value) == JSON_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_ARRAY || count > SCHEMA_LOOKUP_MAX) {
        return err_set(err, ERR_INVALID, "/lookup: must be an array of at most %d objects",
                       SCHEMA_LOOKUP_MAX);
    }
    schema->lookup = mem_zeroed(count, sizeof *schema->lookup);
    for (size_t i = 0; i < count; i++) {
        TRY(parse_lookup(json_at(value, i), i, schema, err));
    }
    return ERR_OK;
}

static enum err_code parse_table_rest(const struct json *definition, struct schema *schema,
                                      struct err *err)
{
    const struct json *retention = json_get(definition, "delete_retention_seconds");
    schema->delete_retention_seconds = delete_retention_default_seconds;
    if (json_kind(retention) != JSON_NULL &&
        (!json_integer(retention, &schema->delete_retention_seconds) ||
         schema->delete_retention_seconds < 0 ||
         schema->delete_retention_seconds > delete_retention_max_seconds)) {
        return err_set(err, ERR_INVALID,
                       "/delete_retention_seconds: must be an integer from 0 to %lld (10 years)",
                       (long long)delete_retention_max_seconds);
    }
    const struct json *description = json_get(definition, "description");
    if (json_kind(description) == JSON_NULL) {
        return ERR_OK;
    }
    const char *text = json_text(description);
    if (text == NULL || strlen(text) > SCHEMA_DESCRIPTION_BYTES_MAX) {
        return err_set(err, ERR_INVALID,
                       "/description: must be a text of at most %d bytes without NUL",
                       SCHEMA_DESCRIPTION_BYTES_MAX);
    }
    schema->description = mem_copy_text(text);
    return ERR_OK;
}

enum err_code schema_load(const struct json *definition, int32_t version,
                          struct schema **schema_out, struct err *err)
{
    static const char *const allowed[] = {"schema",       "key",         "sequence_by",
                                          "partition_by", "merge",       "delete_retention_seconds",
                                          "lookup",       "description", NULL};
    assert(version >= 1);
    if (json_kind(definition) != JSON_OBJECT) {
        return err_set(err, ERR_INVALID, "the table definition must be a JSON object");
    }
    TRY(json_check_names(definition, "", allowed, err));
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(parse_fields(definition, &schema, err));
    TRY(parse_key(definition, schema, err));
    TRY(parse_merge(definition, schema, err));
    TRY(parse_sequence(definition, schema, err));
    TRY(parse_partitions(definition, schema, err));
    TRY(parse_lookups(definition, schema, err));
    TRY(parse_table_rest(definition, schema, err));
    schema->version = version;
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

enum err_code schema_parse(const struct json *definition, struct schema **schema_out,
                           struct err *err)
{
    return schema_load(definition, 1, schema_out, err);
}

/* ---- schema to JSON --------------------------------------------------------------------- */

/* A number where JSON has the exact one, else the text; both are read back to the same bound. */
static struct json *bound_to_json(const struct field *field, const char *text)
{
    int64_t integer = 0;
    double real = 0;
    char again[TEXT_DOUBLE_BYTES];
    if (field->type == COLUMN_DATE || field->type == COLUMN_TIMESTAMP) {
        return json_new_text(text);
    }
    if (text_parse_int64(span_of_text(text), &integer)) {
        return json_new_integer(integer);
    }
    if (text_parse_double(span_of_text(text), &real)) {
        size_t size = text_format_double(real, again);
        if (span_equal_text(span_of(again, size), text)) {
            return json_new_real(real);
        }
    }
    return json_new_text(text);
}

static struct json *enum_to_json(const struct field *field)
{
    struct json *values = json_new_array();
    for (size_t i = 0; i < field->enum_count; i++) {
        json_append(values, json_new_string(field->enum_values[i]));
    }
    return values;
}

static void set_rules(struct json *object, const struct field *field)
{
    if (field->max_length >= 0) {
        json_set_integer(object, "max_length", field->max_length);
    }
    if (field->pattern_text != NULL) {
        json_set_text(object, "pattern", field->pattern_text);
    }
    if (field->enum_count > 0) {
        json_set(object, "enum", enum_to_json(field));
    }
    if (field->has_minimum) {
        json_set(object, "minimum", bound_to_json(field, field->minimum_text));
    }
    if (field->has_maximum) {
        json_set(object, "maximum", bound_to_json(field, field->maximum_text));
    }
    if (field->format != FORMAT_NONE) {
        json_set_text(object, "format", field_format_name(field->format));
    }
}

static struct json *field_to_json(const struct field *field)
{
    char type[SCHEMA_TYPE_TEXT_BYTES];
    schema_type_text(field, type);
    struct json *object = json_new_object();
    json_set_text(object, "name", field->name);
    json_set_text(object, "type", type);
    json_set_boolean(object, "nullable", field->nullable);
    set_rules(object, field);
    json_set_boolean(object, "phi", field->phi);
    json_set_text(object, "protect", "none");
    if (field->description != NULL) {
        json_set_text(object, "description", field->description);
    }
    return object;
}

static struct json *names_to_json(const struct schema *schema, const size_t *fields, size_t count)
{
    struct json *names = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(names, json_new_text(schema->fields[fields[i]].name));
    }
    return names;
}

static struct json *lookups_to_json(const struct schema *schema)
{
    struct json *lookups = json_new_array();
    for (size_t i = 0; i < schema->lookup_count; i++) {
        struct json *lookup = json_new_object();
        json_set_text(lookup, "entity", schema->lookup[i].entity);
        json_set_text(lookup, "column", schema->fields[schema->lookup[i].column].name);
        json_set_text(lookup, "as", schema->lookup[i].as);
        json_append(lookups, lookup);
    }
    return lookups;
}

struct json *schema_to_json(const struct schema *schema)
{
    struct json *fields = json_new_array();
    for (size_t i = 0; i < schema->fields_count; i++) {
        json_append(fields, field_to_json(&schema->fields[i]));
    }
    struct json *inner = json_new_object();
    json_set(inner, "fields", fields);
    struct json *definition = json_new_object();
    json_set(definition, "schema", inner);
    json_set(definition, "key", names_to_json(schema, schema->key, schema->key_count));
    json_set_text(definition, "sequence_by",
                  schema->has_sequence ? schema->fields[schema->sequence].name : NULL);
    json_set(definition, "partition_by",
             names_to_json(schema, schema->partition, schema->partition_count));
    json_set_text(definition, "merge", merge_names[schema->merge]);
    json_set_integer(definition, "delete_retention_seconds", schema->delete_retention_seconds);
    json_set(definition, "lookup", lookups_to_json(schema));
    if (schema->description != NULL) {
        json_set_text(definition, "description", schema->description);
    }
    return definition;
}
