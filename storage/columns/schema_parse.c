/*
 * Table definitions as PUT /v1/tables/{table} states them: JSON to schema. The
 * rules of single fields are in schema_field.c; here are those of the table:
 * key, sequence, partitions, lookups. Messages start with the JSON pointer.
 */
#include "storage/columns/schema.h"

#include "storage/base/json_raw.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/schema_build.h"

static const int64_t delete_retention_default_seconds = 604800;                /* 7 days */
static const int64_t delete_retention_max_seconds = 10LL * 365 * 24 * 60 * 60; /* 10 years */

/* Names of fields that are to be dropped: what a client says beside `fields`. */
static enum err_code parse_dropped(const struct json *value, struct schema *schema, struct err *err)
{
    size_t count = json_count(value);
    if (json_kind(value) == JSON_KIND_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_KIND_ARRAY || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "/schema/dropped: must be an array of at most %d names",
                       SCHEMA_FIELDS_MAX);
    }
    schema->dropped = mem_zeroed(count + 1, sizeof *schema->dropped);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_text(json_at(value, i));
        if (schema_check_name(name, err) != ERR_OK) {
            return err_wrap(err, "/schema/dropped/%zu", i);
        }
        if (schema_find_ignoring_case(schema->fields, schema->fields_count, span_of_text(name)) >=
            0) {
            return err_set(err, ERR_INVALID,
                           "/schema/dropped/%zu: '%s' is among the fields; take it out of one of "
                           "the two",
                           i, name);
        }
        schema->dropped[schema->dropped_count++] = mem_copy_text(name);
    }
    return ERR_OK;
}

static enum err_code parse_next_field_id(const struct json *value, struct schema *schema,
                                         struct err *err)
{
    int64_t id = schema->next_field_id;
    if (json_kind(value) != JSON_KIND_NULL &&
        (!json_as_integer(value, &id) || id < schema->next_field_id || id > INT32_MAX)) {
        return err_set(err, ERR_INVALID, "/schema/next_field_id: must be above the fields' ids");
    }
    schema->next_field_id = (int32_t)id;
    return ERR_OK;
}

static enum err_code parse_fields(const struct json *definition, enum schema_origin origin,
                                  struct schema **schema_out, struct err *err)
{
    static const char *const allowed[][3] = {
        [SCHEMA_OF_CLIENT] = {"fields", "dropped"},
        [SCHEMA_STORED] = {"fields", "next_field_id"},
    };
    const struct json *value = json_get(definition, "schema");
    if (json_kind(value) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "/schema: must be an object with the fields");
    }
    TRY(json_check_names(value, "/schema", allowed[origin], err));
    const struct json *fields = json_get(value, "fields");
    size_t count = json_count(fields);
    if (json_kind(fields) != JSON_KIND_ARRAY || count == 0 || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "/schema/fields: must be an array of 1 to %d fields",
                       SCHEMA_FIELDS_MAX);
    }
    CLEANUP(schema_release) struct schema *schema = schema_new(count);
    size_t nodes_left = SCHEMA_NODES_MAX;
    for (size_t i = 0; i < count; i++) {
        TRY(schema_parse_field(json_at(fields, i), i, origin, &nodes_left, schema, err));
    }
    schema_seal(schema);
    TRY(parse_dropped(json_get(value, "dropped"), schema, err));
    TRY(parse_next_field_id(json_get(value, "next_field_id"), schema, err));
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
    if (!json_as_string(value, &name)) {
        return err_set(err, ERR_INVALID, "%s: must be the name of a field", pointer);
    }
    int index = schema_field_index(schema, name);
    if (index < 0) {
        return err_set(err, ERR_INVALID, "%s: no field is named '%.*s'", pointer,
                       SPAN_PRINT(schema_shown(name)));
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
    if (json_kind(value) == JSON_KIND_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_KIND_ARRAY || count > SCHEMA_KEY_FIELDS_MAX) {
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

static enum err_code parse_key(const struct json *definition, struct schema *schema,
                               struct err *err)
{
    TRY(parse_field_list(json_get(definition, "key"), "key", schema, schema->key,
                         &schema->key_count, err));
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct field *field = &schema->fields[schema->key[i]];
        if (!column_type_is_key(field->type)) {
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
    if (json_kind(value) != JSON_KIND_NULL) {
        struct span text = {0};
        (void)json_as_string(value, &text); /* another kind leaves the text empty: no mode's name */
        unsigned found = 0;
        while (found < TABLE_MERGE_COUNT &&
               !span_equal_text(text, schema_merge_name((enum table_merge)found))) {
            found++;
        }
        if (found == TABLE_MERGE_COUNT) {
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
                       schema_merge_name(schema->merge));
    }
    return ERR_OK;
}

static enum err_code parse_sequence(const struct json *definition, struct schema *schema,
                                    struct err *err)
{
    const struct json *value = json_get(definition, "sequence_by");
    if (json_kind(value) == JSON_KIND_NULL) {
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

const char *schema_plain_name(const struct json *value)
{
    const char *name = json_text(value);
    if (name == NULL || strlen(name) > SCHEMA_PLAIN_NAME_BYTES_MAX || name[0] < 'a' ||
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
    if (!column_type_is_key(field->type)) {
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
    if (json_kind(value) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "%s: must be an object with entity, column and as",
                       pointer);
    }
    TRY(json_check_names(value, pointer, allowed, err));
    const char *entity = schema_plain_name(json_get(value, "entity"));
    const char *as = schema_plain_name(json_get(value, "as"));
    if (entity == NULL || as == NULL) {
        return err_set(err, ERR_INVALID,
                       "%s/%s: must be 1 to %d of a-z, 0-9 and underscore, starting with a letter",
                       pointer, entity == NULL ? "entity" : "as", SCHEMA_PLAIN_NAME_BYTES_MAX);
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
    if (json_kind(value) == JSON_KIND_NULL) {
        return ERR_OK;
    }
    if (json_kind(value) != JSON_KIND_ARRAY || count > SCHEMA_LOOKUP_MAX) {
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
    if (json_kind(retention) != JSON_KIND_NULL &&
        (!json_as_integer(retention, &schema->delete_retention_seconds) ||
         schema->delete_retention_seconds < 0 ||
         schema->delete_retention_seconds > delete_retention_max_seconds)) {
        return err_set(err, ERR_INVALID,
                       "/delete_retention_seconds: must be an integer from 0 to %lld (10 years)",
                       (long long)delete_retention_max_seconds);
    }
    const struct json *feed = json_get(definition, "change_feed");
    if (json_kind(feed) != JSON_KIND_NULL && !json_as_boolean(feed, &schema->change_feed)) {
        return err_set(err, ERR_INVALID, "/change_feed: must be true or false");
    }
    const struct json *description = json_get(definition, "description");
    if (json_kind(description) == JSON_KIND_NULL) {
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

static enum err_code parse_definition(const struct json *definition, enum schema_origin origin,
                                      int32_t version, struct schema **schema_out, struct err *err)
{
    static const char *const allowed[] = {
        "schema",      "key",    "sequence_by", "partition_by", "merge", "delete_retention_seconds",
        "change_feed", "lookup", "constraints", "description",  NULL};
    if (version < 1) {
        return err_set(err, ERR_CORRUPT, "a table definition has the version %d", version);
    }
    if (json_kind(definition) != JSON_KIND_OBJECT) {
        return err_set(err, ERR_INVALID, "the table definition must be a JSON object");
    }
    TRY(json_check_names(definition, "", allowed, err));
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(parse_fields(definition, origin, &schema, err));
    TRY(parse_key(definition, schema, err));
    TRY(parse_merge(definition, schema, err));
    TRY(parse_sequence(definition, schema, err));
    TRY(parse_partitions(definition, schema, err));
    TRY(parse_lookups(definition, schema, err));
    TRY(schema_parse_constraints(json_get(definition, "constraints"), schema, err));
    TRY(parse_table_rest(definition, schema, err));
    schema->version = version;
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

/* ---- digits that a document does not keep ---- */

/* Does the double a document has mean what the digits say? */
static bool is_exact(double real, struct span digits, const struct field *type)
{
    char text[TEXT_DOUBLE_BYTES];
    __int128 said = 0;
    __int128 kept = 0;
    struct span shortest = span_of(text, text_format_double(real, text));
    return text_parse_decimal(digits, type->precision, type->scale, &said) &&
           text_parse_decimal(shortest, type->precision, type->scale, &kept) && said == kept;
}

static void keep_bound(struct json *field, struct span text, const char *name,
                       const struct field *type)
{
    const struct json *bound = json_get(field, name);
    struct span digits;
    double real = 0;
    if (json_kind(bound) == JSON_KIND_REAL && json_as_real(bound, &real) &&
        json_raw_find(text, name, &digits) && !is_exact(real, digits, type)) {
        json_set(field, name, json_new_string(digits));
    }
}

void schema_keep_digits(struct json *definition, struct span text)
{
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    struct span schema = {0};
    struct span list = {0};
    if (!json_raw_find(text, "schema", &schema) || !json_raw_find(schema, "fields", &list)) {
        return; /* schema_parse says so */
    }
    struct json_raw raw = json_raw_items(list);
    struct span name;
    struct span field_text;
    for (size_t i = 0; json_raw_next(&raw, &name, &field_text); i++) {
        struct json *field = (struct json *)(uintptr_t)json_at(fields, i); /* ours to change */
        struct field type = {0};
        struct span type_name;
        if (json_as_string(json_get(field, "type"), &type_name) &&
            schema_parse_decimal_type(type_name, &type.precision, &type.scale)) {
            keep_bound(field, field_text, "minimum", &type);
            keep_bound(field, field_text, "maximum", &type);
        }
    }
}

/* ---- definitions ---- */

enum err_code schema_parse(const struct json *definition, struct schema **schema_out,
                           struct err *err)
{
    return parse_definition(definition, SCHEMA_OF_CLIENT, 1, schema_out, err);
}

enum err_code schema_load(const struct json *definition, int32_t version,
                          struct schema **schema_out, struct err *err)
{
    return parse_definition(definition, SCHEMA_STORED, version, schema_out, err);
}
