/*
 * A schema as the JSON of its definition, in canonical member order.
 */
#include "storage/columns/schema.h"

#include "storage/base/text.h"
#include "storage/columns/schema_build.h"

#include <assert.h>

static const char *const merge_names[TABLE_MERGE_COUNT] = {
    [TABLE_DELETION_VECTORS] = "deletion-vectors",
    [TABLE_COPY_ON_WRITE] = "copy-on-write",
    [TABLE_APPEND] = "append",
};

const char *schema_merge_name(enum table_merge merge)
{
    assert((unsigned)merge < TABLE_MERGE_COUNT);
    return merge_names[merge];
}

/* A number where JSON has the exact one, else the text; both are read back to the same bound. */
static struct json *bound_to_json(const struct field *field, const char *text)
{
    int64_t integer = 0;
    double real = 0;
    char again[TEXT_DOUBLE_BYTES];
    if (field->type == COLUMN_DATE || field->type == COLUMN_TIMESTAMP ||
        field->type == COLUMN_TIMESTAMP_NTZ) {
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

/* Are ids what schema_seal would give? Not after fields were dropped. */
static bool ids_are_plain(const struct schema *schema)
{
    size_t count = schema->fields_count;
    return schema->fields[count - 1].id == (int32_t)count &&
           schema->next_field_id == (int32_t)count + 1; /* they ascend */
}

static struct json *field_to_json(const struct field *field, bool is_column);

static struct json *struct_to_json(const struct field *field)
{
    struct json *fields = json_new_array();
    for (size_t i = 0; i < field->children_count; i++) {
        json_append(fields, field_to_json(&field->children[i], false));
    }
    return fields;
}

/* In the words of Delta's schemaString. Recursion is bounded by SCHEMA_DEPTH_MAX. */
struct json *schema_type_to_json(const struct field *field)
{
    char name[SCHEMA_TYPE_TEXT_BYTES];
    schema_type_text(field, name);
    if (!column_type_is_nested(field->type)) {
        return json_new_text(name);
    }
    const struct field *children = field->children;
    struct json *object = json_new_object();
    json_set_text(object, "type", name);
    if (field->type == COLUMN_STRUCT) {
        json_set(object, "fields", struct_to_json(field));
    } else if (field->type == COLUMN_ARRAY) {
        json_set(object, "elementType", schema_type_to_json(&children[0]));
        json_set_boolean(object, "containsNull", children[0].nullable);
    } else {
        json_set(object, "keyType", schema_type_to_json(&children[0]));
        json_set(object, "valueType", schema_type_to_json(&children[1]));
        json_set_boolean(object, "valueContainsNull", children[1].nullable);
    }
    return object;
}

static struct json *field_to_json(const struct field *field, bool is_column)
{
    struct json *object = json_new_object();
    json_set_text(object, "name", field->name);
    json_set(object, "type", schema_type_to_json(field));
    json_set_boolean(object, "nullable", field->nullable);
    set_rules(object, field);
    if (is_column) {
        json_set_boolean(object, "phi", field->phi);
        json_set_text(object, "protect", "none");
    }
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

static struct json *constraints_to_json(const struct schema *schema)
{
    struct json *constraints = json_new_array();
    for (size_t i = 0; i < schema->constraints_count; i++) {
        struct json *constraint = json_new_object();
        json_set_text(constraint, "name", schema->constraints[i].name);
        json_set_text(constraint, "check", schema->constraints[i].check);
        json_append(constraints, constraint);
    }
    return constraints;
}

static struct json *fields_to_json(const struct schema *schema, bool ids)
{
    struct json *fields = json_new_array();
    for (size_t i = 0; i < schema->fields_count; i++) {
        struct json *field = field_to_json(&schema->fields[i], true);
        if (ids) {
            json_set_integer(field, "id", schema->fields[i].id);
        }
        json_append(fields, field);
    }
    return fields;
}

static struct json *to_json(const struct schema *schema, bool ids)
{
    struct json *inner = json_new_object();
    json_set(inner, "fields", fields_to_json(schema, ids));
    if (ids) {
        json_set_integer(inner, "next_field_id", schema->next_field_id);
    }
    struct json *definition = json_new_object();
    json_set(definition, "schema", inner);
    json_set(definition, "key", names_to_json(schema, schema->key, schema->key_count));
    json_set_text(definition, "sequence_by",
                  schema->has_sequence ? schema->fields[schema->sequence].name : NULL);
    json_set(definition, "partition_by",
             names_to_json(schema, schema->partition, schema->partition_count));
    json_set_text(definition, "merge", schema_merge_name(schema->merge));
    json_set_integer(definition, "delete_retention_seconds", schema->delete_retention_seconds);
    json_set_boolean(definition, "change_feed", schema->change_feed);
    json_set(definition, "lookup", lookups_to_json(schema));
    if (schema->constraints_count > 0) {
        json_set(definition, "constraints", constraints_to_json(schema));
    }
    if (schema->description != NULL) {
        json_set_text(definition, "description", schema->description);
    }
    return definition;
}

struct json *schema_to_json(const struct schema *schema)
{
    return to_json(schema, false);
}

struct json *schema_to_stored_json(const struct schema *schema)
{
    return to_json(schema, !ids_are_plain(schema));
}
