/*
 * Delta's schemaString: written for our tables, read from anybody's.
 * Source: delta PROTOCOL.md "Schema Serialization Format"; Spark's type names.
 */
#include "storage/columns/schema.h"

#include "storage/base/mem.h"
#include "storage/columns/schema_build.h"

#include <assert.h>

static const char comment_name[] = "comment"; /* where Spark keeps a column's description */
static const char mapping_id_name[] = "delta.columnMapping.id";

static void write_fields(const struct field *fields, size_t count, struct buffer *text);

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static void write_type(const struct field *field, struct buffer *text)
{
    const struct field *children = field->children;
    switch (field->type) {
    case COLUMN_STRUCT:
        write_fields(children, field->children_count, text);
        return;
    case COLUMN_ARRAY:
        buffer_append_text(text, "{\"type\":\"array\",\"elementType\":");
        write_type(&children[0], text);
        buffer_append_format(text, ",\"containsNull\":%s}",
                             children[0].nullable ? "true" : "false");
        return;
    case COLUMN_MAP:
        buffer_append_text(text, "{\"type\":\"map\",\"keyType\":");
        write_type(&children[0], text);
        buffer_append_text(text, ",\"valueType\":");
        write_type(&children[1], text);
        buffer_append_format(text, ",\"valueContainsNull\":%s}",
                             children[1].nullable ? "true" : "false");
        return;
    default: {
        char type[SCHEMA_TYPE_TEXT_BYTES];
        schema_type_text(field, type);
        buffer_append_format(text, "\"%s\"", type);
        return;
    }
    }
}

static void write_field(const struct field *field, struct buffer *text)
{
    buffer_append_text(text, "{\"name\":");
    json_write_string(text, span_of_text(field->name));
    buffer_append_text(text, ",\"type\":");
    write_type(field, text);
    buffer_append_text(text, field->nullable ? ",\"nullable\":true" : ",\"nullable\":false");
    /* spec: delta PROTOCOL.md#struct-field — metadata is always there, empty or not */
    buffer_append_text(text, ",\"metadata\":{");
    if (field->description != NULL) {
        json_write_string(text, span_of_text(comment_name));
        buffer_append_byte(text, ':');
        json_write_string(text, span_of_text(field->description));
    }
    if (field->physical_name != NULL) {
        buffer_append_format(text, "%s\"%s\":%d,\"%s\":", field->description != NULL ? "," : "",
                             mapping_id_name, field->mapping_id, SCHEMA_PHYSICAL_NAME);
        json_write_string(text, span_of_text(field->physical_name));
    }
    buffer_append_text(text, "}}");
}

static void write_fields(const struct field *fields, size_t count, struct buffer *text)
{
    buffer_append_text(text, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buffer_append_byte(text, ',');
        }
        write_field(&fields[i], text);
    }
    buffer_append_text(text, "]}");
}

void schema_write_delta(const struct schema *schema, struct buffer *text)
{
    write_fields(schema->fields, schema->fields_count, text);
}

/* ---- reading ------------------------------------------------------------------------- */

enum {
    /* a struct takes three brackets of JSON: its own, that of its fields, that of the field;
       and the innermost field has one, its metadata, which may hold more of anybody */
    SCHEMA_STRING_DEPTH_MAX = 3 * (SCHEMA_DEPTH_MAX + 1) + JSON_DEPTH_MAX,
};

/* What is left of the limits while fields are read. */
struct reading {
    bool case_matters; /* may names of one struct differ in nothing but case? */
    enum column_mapping mapping;
    size_t nodes_left;
    int depth; /* of the nested types around the field */
};

/* Has one of the first `count` siblings that name? */
static bool is_taken(const struct field *siblings, size_t count, const char *name,
                     bool case_matters)
{
    if (!case_matters) {
        return schema_find_ignoring_case(siblings, count, span_of_text(name)) >= 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(siblings[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code read_name(const struct json *value, const struct field *siblings, size_t index,
                               bool case_matters, struct field *field, struct err *err)
{
    const char *name = json_text(value);
    if (name == NULL || name[0] == '\0' || strlen(name) > SCHEMA_FOREIGN_NAME_BYTES_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "schemaString: the name of field %zu is not a text "
                       "of 1 to %d bytes",
                       index, SCHEMA_FOREIGN_NAME_BYTES_MAX);
    }
    if (is_taken(siblings, index, name, case_matters)) {
        return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' occurs twice", name);
    }
    field->name = mem_copy_text(name);
    return ERR_OK;
}

static enum err_code read_flat_type(struct span text, struct field *field, struct err *err)
{
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
    size_t shown = text.size < 32 ? text.size : 32;
    return err_set(err, ERR_UNSUPPORTED, "schemaString: field '%.128s' has the type '%.*s'",
                   field->name, (int)shown, (const char *)text.data);
}

static enum err_code read_type(const struct json *value, struct field *field,
                               struct reading *reading, struct err *err);

static enum err_code read_fields(const struct json *fields, struct field *children, size_t count,
                                 struct reading *reading, struct err *err);

/* A child that has no name of its own: element, key, value. */
static enum err_code read_part(const struct json *value, const char *name, struct field *part,
                               struct reading *reading, struct err *err)
{
    part->name = mem_copy_text(name);
    return read_type(value, part, reading, err);
}

static enum err_code read_array(const struct json *value, struct field *field,
                                struct reading *reading, struct err *err)
{
    field->type = COLUMN_ARRAY;
    field->children = schema_fields_new(1);
    field->children_count = 1;
    if (!json_as_boolean(json_get(value, "containsNull"), &field->children[0].nullable)) {
        return err_set(err, ERR_CORRUPT, "schemaString: array '%.128s' does not say containsNull",
                       field->name);
    }
    return read_part(json_get(value, "elementType"), "element", &field->children[0], reading, err);
}

static enum err_code read_map(const struct json *value, struct field *field,
                              struct reading *reading, struct err *err)
{
    field->type = COLUMN_MAP;
    field->children = schema_fields_new(2);
    field->children_count = 2;
    field->children[0].nullable = false;
    if (!json_as_boolean(json_get(value, "valueContainsNull"), &field->children[1].nullable)) {
        return err_set(err, ERR_CORRUPT,
                       "schemaString: map '%.128s' does not say valueContainsNull", field->name);
    }
    TRY(read_part(json_get(value, "keyType"), "key", &field->children[0], reading, err));
    return read_part(json_get(value, "valueType"), "value", &field->children[1], reading, err);
}

static enum err_code read_struct(const struct json *value, struct field *field,
                                 struct reading *reading, struct err *err)
{
    const struct json *fields = json_get(value, "fields");
    size_t count = json_count(fields);
    if (json_kind(fields) != JSON_KIND_ARRAY) {
        return err_set(err, ERR_CORRUPT, "schemaString: struct '%.128s' has no fields",
                       field->name);
    }
    if (count == 0 || count > SCHEMA_FIELDS_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "schemaString: struct '%.128s' has %zu fields; 1 to %d are supported",
                       field->name, count, SCHEMA_FIELDS_MAX);
    }
    field->type = COLUMN_STRUCT;
    field->children = schema_fields_new(count);
    field->children_count = count;
    return read_fields(fields, field->children, count, reading, err);
}

static enum err_code read_nested_type(const struct json *value, struct field *field,
                                      struct reading *reading, struct err *err)
{
    const char *kind = json_text(json_get(value, "type"));
    kind = kind == NULL ? "type" : kind;
    if (reading->depth > SCHEMA_DEPTH_MAX) {
        return err_set(err, ERR_UNSUPPORTED,
                       "schemaString: field '%.128s' is nested deeper than %d", field->name,
                       SCHEMA_DEPTH_MAX);
    }
    if (strcmp(kind, "struct") == 0) {
        return read_struct(value, field, reading, err);
    }
    if (strcmp(kind, "array") == 0) {
        return read_array(value, field, reading, err);
    }
    if (strcmp(kind, "map") == 0) {
        return read_map(value, field, reading, err);
    }
    return err_set(err, ERR_UNSUPPORTED, "schemaString: field '%.128s' is a nested '%.16s'",
                   field->name, kind);
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code read_type(const struct json *value, struct field *field,
                               struct reading *reading, struct err *err)
{
    if (reading->nodes_left == 0) {
        return err_set(err, ERR_UNSUPPORTED, "schemaString has more than %d fields in all",
                       SCHEMA_NODES_MAX);
    }
    reading->nodes_left--;
    struct span text = {0};
    if (json_kind(value) == JSON_KIND_OBJECT) {
        reading->depth++;
        TRY(read_nested_type(value, field, reading, err));
        reading->depth--;
        return ERR_OK;
    }
    if (!json_as_string(value, &text)) {
        return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' has no type", field->name);
    }
    return read_flat_type(text, field, err);
}

/* spec: delta PROTOCOL.md#column-mapping — both stand in the metadata of every field of a struct */
static enum err_code read_mapping(const struct json *metadata, enum column_mapping mapping,
                                  struct field *field, struct err *err)
{
    if (mapping == COLUMN_MAPPING_NONE) {
        return ERR_OK;
    }
    const char *name = json_text(json_get(metadata, SCHEMA_PHYSICAL_NAME));
    int64_t id = 0;
    if (name == NULL || name[0] == '\0') {
        return err_set(err, ERR_CORRUPT,
                       "schemaString: field '%.128s' has no physical name, but the table maps "
                       "columns",
                       field->name);
    }
    field->physical_name = mem_copy_text(name);
    bool has_id =
        json_as_integer(json_get(metadata, mapping_id_name), &id) && id >= 1 && id <= INT32_MAX;
    if (mapping == COLUMN_MAPPING_ID && !has_id) {
        return err_set(err, ERR_CORRUPT,
                       "schemaString: field '%.128s' has no id, but the table maps columns by id",
                       field->name);
    }
    field->mapping_id = has_id ? (int32_t)id : 0;
    field->physical_id = mapping == COLUMN_MAPPING_ID ? (int32_t)id : 0;
    return ERR_OK;
}

static enum err_code read_fields(const struct json *fields, struct field *children, size_t count,
                                 struct reading *reading, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct json *value = json_at(fields, i);
        struct field *field = &children[i];
        TRY(read_name(json_get(value, "name"), children, i, reading->case_matters, field, err));
        TRY(read_type(json_get(value, "type"), field, reading, err));
        if (!json_as_boolean(json_get(value, "nullable"), &field->nullable)) {
            return err_set(err, ERR_CORRUPT, "schemaString: field '%.128s' does not say nullable",
                           field->name);
        }
        const struct json *metadata = json_get(value, "metadata");
        TRY(read_mapping(metadata, reading->mapping, field, err));
        const char *comment = json_text(json_get(metadata, comment_name));
        if (comment != NULL) {
            field->description = mem_copy_text(comment);
        }
    }
    return ERR_OK;
}

static enum err_code read_root(const struct json *root, const struct reading *rules,
                               struct schema **schema_out, struct err *err)
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
    struct reading reading = *rules;
    reading.nodes_left = SCHEMA_NODES_MAX;
    TRY(read_fields(fields, schema->fields, count, &reading, err));
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
        if (column_type_is_nested(schema->fields[index].type)) {
            return err_set(err, ERR_CORRUPT, "partition column %zu is nested", i);
        }
        schema->partition[i] = (size_t)index;
    }
    schema->partition_count = count;
    return ERR_OK;
}

static enum err_code parse(struct span schema_string, const struct json *partition_columns,
                           const struct reading *rules, struct schema **schema_out, struct err *err)
{
    CLEANUP(json_free) struct json *root = NULL;
    if (json_parse_deep(schema_string, SCHEMA_STRING_DEPTH_MAX, &root, err) != ERR_OK) {
        err->code = ERR_CORRUPT; /* it was read from a log, no client wrote it to us */
        return err_wrap(err, "schemaString");
    }
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(read_root(root, rules, &schema, err));
    TRY(read_partitions(partition_columns, schema, err));
    *schema_out = schema;
    schema = NULL;
    return ERR_OK;
}

enum err_code schema_parse_delta(struct span schema_string, const struct json *partition_columns,
                                 struct schema **schema_out, struct err *err)
{
    return schema_parse_delta_mapped(schema_string, partition_columns, COLUMN_MAPPING_NONE,
                                     schema_out, err);
}

enum err_code schema_parse_delta_file(struct span schema_string, struct schema **schema_out,
                                      struct err *err)
{
    static const struct reading rules = {.case_matters = true};
    return parse(schema_string, NULL, &rules, schema_out, err);
}

enum err_code schema_parse_delta_mapped(struct span schema_string,
                                        const struct json *partition_columns,
                                        enum column_mapping mapping, struct schema **schema_out,
                                        struct err *err)
{
    const struct reading rules = {.mapping = mapping};
    return parse(schema_string, partition_columns, &rules, schema_out, err);
}
