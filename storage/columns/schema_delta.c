/*
 * Delta's schemaString: written for our tables, read from anybody's.
 * Source: delta PROTOCOL.md "Schema Serialization Format"; Spark's type names.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

#include <assert.h>

static const char comment_name[] = "comment"; /* where Spark keeps a column's description */

static void write_field(const struct field *field, struct buffer *text)
{
    char type[SCHEMA_TYPE_TEXT_BYTES];
    schema_type_text(field, type);
    buffer_append_text(text, "{\"name\":");
    json_write_string(text, span_of_text(field->name));
    buffer_append_text(text, ",\"type\":\"");
    buffer_append_text(text, type);
    buffer_append_text(text, field->nullable ? "\",\"nullable\":true" : "\",\"nullable\":false");
    /* spec: delta PROTOCOL.md#struct-field — metadata is always there, empty or not */
    buffer_append_text(text, ",\"metadata\":{");
    if (field->description != NULL) {
        json_write_string(text, span_of_text(comment_name));
        buffer_append_byte(text, ':');
        json_write_string(text, span_of_text(field->description));
    }
    buffer_append_text(text, "}}");
}

void schema_write_delta(const struct schema *schema, struct buffer *text)
{
    buffer_append_text(text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < schema->fields_count; i++) {
        if (i > 0) {
            buffer_append_byte(text, ',');
        }
        write_field(&schema->fields[i], text);
    }
    buffer_append_text(text, "]}");
}

/* ---- reading ------------------------------------------------------------------------- */

static enum err_code read_name(const struct json *value, const struct schema *schema, size_t index,
                               struct field *field, struct err *err)
{
    const char *name = json_text(value);
    if (name == NULL || name[0] == '\0' || strlen(name) > SCHEMA_FOREIGN_NAME_BYTES_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "schemaString: the name of field %zu is not a text "
                       "of 1 to %d bytes",
                       index, SCHEMA_FOREIGN_NAME_BYTES_MAX);
    }
    if (schema_find_ignoring_case(schema, index, span_of_text(name)) >= 0) {
        return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' occurs twice", name);
    }
    field->name = mem_copy_text(name);
    return ERR_OK;
}

static enum err_code read_type(const struct json *value, struct field *field, struct err *err)
{
    struct span text = {0};
    if (json_kind(value) == JSON_KIND_OBJECT) {
        const char *kind = json_text(json_get(value, "type"));
        return err_set(err, ERR_UNSUPPORTED, "schemaString: field '%.128s' is a nested %.16s",
                       field->name, kind == NULL ? "type" : kind);
    }
    if (!json_as_string(value, &text)) {
        return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' has no type", field->name);
    }
    if (schema_parse_decimal_type(text, &field->precision, &field->scale)) {
        field->type = COLUMN_DECIMAL;
        return ERR_OK;
    }
    for (enum column_type type = COLUMN_STRING; type < COLUMN_TYPE_COUNT; type++) {
        if (type != COLUMN_DECIMAL && span_equal_text(text, column_type_name(type))) {
            field->type = type;
            return ERR_OK;
        }
    }
    size_t shown = text.size < 32 ? text.size : 32;
    return err_set(err, ERR_UNSUPPORTED, "schemaString: field '%.128s' has the type '%.*s'",
                   field->name, (int)shown, (const char *)text.data);
}

static enum err_code read_field(const struct json *value, size_t index, struct schema *schema,
                                struct err *err)
{
    struct field *field = &schema->fields[index];
    TRY(read_name(json_get(value, "name"), schema, index, field, err));
    TRY(read_type(json_get(value, "type"), field, err));
    if (!json_as_boolean(json_get(value, "nullable"), &field->nullable)) {
        return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' does not say nullable",
                       field->name);
    }
    const char *comment = json_text(json_get(json_get(value, "metadata"), comment_name));
    if (comment != NULL) {
        field->description = mem_copy_text(comment);
    }
    return ERR_OK;
}

static enum err_code read_fields(const struct json *root, struct schema **schema_out,
                                 struct err *err)
{
    const struct json *fields = json_get(root, "fields");
    size_t count = json_count(fields);
    const char *type = json_text(json_get(root, "type"));
    if (type == NULL || strcmp(type, "struct") != 0 || json_kind(fields) != JSON_KIND_ARRAY) {
        return err_set(err, ERR_CORRUPT, "schemaString is not a struct with fields");
    }
    if (count == 0 || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "schemaString has %zu fields; 1 to %d are supported",
                       count, SCHEMA_FIELDS_MAX);
    }
    CLEANUP(schema_release) struct schema *schema = schema_new(count);
    for (size_t i = 0; i < count; i++) {
        TRY(read_field(json_at(fields, i), i, schema, err));
    }
    schema_seal(schema);
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

static enum err_code read_partitions(const struct json *columns, struct schema *schema,
                                     struct err *err)
{
    size_t count = json_count(columns);
    if (count > SCHEMA_KEY_FIELDS_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the table has %zu partition columns; up to %d are supported", count,
                       SCHEMA_KEY_FIELDS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        struct span name = {0};
        int index = -1;
        if (json_as_string(json_at(columns, i), &name)) {
            index = schema_field_index(schema, name);
        }
        if (index < 0) {
            return err_set(err, ERR_CORRUPT, "partition column %zu is not in schemaString", i);
        }
        schema->partition[i] = (size_t)index;
    }
    schema->partition_count = count;
    return ERR_OK;
}

enum err_code schema_parse_delta(struct span schema_string, const struct json *partition_columns,
                                 struct schema **schema_out, struct err *err)
{
    CLEANUP(json_free) struct json *root = NULL;
    if (json_parse(schema_string, &root, err) != ERR_OK) {
        err->code = ERR_CORRUPT; /* it was read from a log, no client wrote it to us */
        return err_wrap(err, "schemaString");
    }
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(read_fields(root, &schema, err));
    TRY(read_partitions(partition_columns, schema, err));
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}
