/*
 * Definitions in the log. See definition.h.
 */
#include "storage/snapshot/definition.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/delta/constraints.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_PROPERTY "sluice.definition"
#define VERSION_PROPERTY "sluice.definitionVersion"

/* Of a column in schemaString: the types that it had. */
#define TYPE_CHANGES "delta.typeChanges"
#define WIDENING_PROPERTY "delta.enableTypeWidening"

enum { OWN_PROPERTIES = 2 };

/* "delta.constraints.NAME"; mem_free. */
static char *constraint_property(const char *name)
{
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    buffer_append_text(&text, DELTA_CONSTRAINT_PREFIX);
    buffer_append_text(&text, name);
    buffer_append_byte(&text, '\0');
    return (char *)text.data; /* its only owner now */
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static bool has_local_timestamp(const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].type == COLUMN_TIMESTAMP_NTZ ||
            has_local_timestamp(fields[i].children, fields[i].children_count)) {
            return true;
        }
    }
    return false;
}

unsigned definition_needs(const struct schema *schema)
{
    bool local = has_local_timestamp(schema->fields, schema->fields_count);
    return (local ? DELTA_NEEDS_TIMESTAMP_NTZ : 0) |
           (schema->merge == TABLE_DELETION_VECTORS ? DELTA_NEEDS_DELETION_VECTORS : 0) |
           (schema->change_feed ? DELTA_NEEDS_CHANGE_FEED : 0) |
           (schema->constraints_count > 0 ? DELTA_NEEDS_CONSTRAINTS : 0) |
           (schema_is_mapped(schema) ? DELTA_NEEDS_COLUMN_MAPPING : 0);
}

enum err_code definition_properties_init(struct definition_properties *properties,
                                         const struct schema *schema, struct err *err)
{
    buffer_init(&properties->text, DEFINITION_BYTES_MAX);
    CLEANUP(json_free) struct json *definition = schema_to_stored_json(schema);
    json_write(definition, &properties->text);
    buffer_append_byte(&properties->text, '\0');
    (void)snprintf(properties->version, sizeof properties->version, "%" PRId32,
                   schema->version); /* fits */
    enum err_code code = buffer_check(&properties->text, "the definition", err);
    if (code != ERR_OK) {
        definition_properties_deinit(properties);
        return code;
    }
    properties->constraints_count = schema->constraints_count;
    properties->constraint_names = mem_zeroed(schema->constraints_count + 1, sizeof(char *));
    properties->pairs =
        mem_zeroed(OWN_PROPERTIES + schema->constraints_count, sizeof *properties->pairs);
    properties->pairs[0] = (struct delta_pair){TEXT_PROPERTY, (const char *)properties->text.data};
    properties->pairs[1] = (struct delta_pair){VERSION_PROPERTY, properties->version};
    properties->pairs_count = OWN_PROPERTIES;
    for (size_t i = 0; i < schema->constraints_count; i++) {
        properties->constraint_names[i] = constraint_property(schema->constraints[i].name);
        properties->pairs[properties->pairs_count++] =
            (struct delta_pair){properties->constraint_names[i], schema->constraints[i].check};
    }
    return ERR_OK;
}

void definition_properties_deinit(struct definition_properties *properties)
{
    for (size_t i = 0; i < properties->constraints_count; i++) {
        mem_free(properties->constraint_names[i]);
    }
    mem_free(properties->constraint_names);
    mem_free(properties->pairs);
    buffer_deinit(&properties->text);
    *properties = (struct definition_properties){0};
}

int64_t definition_logged_version(const struct delta_metadata *metadata)
{
    return delta_metadata_integer(metadata, VERSION_PROPERTY, 0);
}

static enum err_code load_logged(const struct delta_metadata *metadata, int64_t version,
                                 struct schema **schema_out, struct err *err)
{
    const char *text = delta_metadata_property(metadata, TEXT_PROPERTY);
    if (text == NULL || version > INT32_MAX) {
        return err_set(err, ERR_CORRUPT, "the log's table properties hold no whole definition");
    }
    CLEANUP(json_free) struct json *definition = NULL;
    enum err_code code = json_parse(span_of_text(text), &definition, err);
    if (code == ERR_OK) {
        code = schema_load(definition, (int32_t)version, schema_out, err);
    }
    if (code == ERR_INVALID) {
        err->code = ERR_CORRUPT;
    }
    return code == ERR_OK ? ERR_OK : err_wrap(err, "definition in the log");
}

enum err_code definition_adopt(const struct schema *schema, const struct delta_metadata *metadata,
                               struct schema **schema_out, struct err *err)
{
    CLEANUP(schema_release) struct schema *columns = NULL;
    TRY(delta_metadata_schema(metadata, &columns, err));
    *schema_out = schema_adopt_mapping(schema, columns);
    return ERR_OK;
}

enum err_code definition_logged(const struct delta_metadata *metadata, struct schema **schema_out,
                                struct err *err)
{
    CLEANUP(schema_release) struct schema *logged = NULL;
    int64_t version = definition_logged_version(metadata);
    *schema_out = NULL;
    if (version < 1) {
        return ERR_OK;
    }
    TRY(load_logged(metadata, version, &logged, err));
    return definition_adopt(logged, metadata, schema_out, err);
}

enum err_code definition_in_force(const struct schema *known, const struct delta_metadata *metadata,
                                  struct schema **schema_out, struct err *err)
{
    int64_t version = definition_logged_version(metadata);
    if (version <= known->version) {
        return definition_adopt(known, metadata, schema_out, err);
    }
    CLEANUP(schema_release) struct schema *logged = NULL;
    TRY(load_logged(metadata, version, &logged, err));
    if (schema_check_follows(known, logged, err) != ERR_OK) {
        return err_wrap(err, "definition %" PRId64 " in the log cannot follow %" PRId32, version,
                        known->version);
    }
    return definition_adopt(logged, metadata, schema_out, err);
}

/* Does `then` call a column otherwise, has it one that is gone, or one of a narrower type? */
static bool columns_differ(const struct schema *current, const struct schema *then)
{
    for (size_t i = 0; i < then->fields_count; i++) {
        const struct field *was = &then->fields[i];
        int now = schema_field_index_by_id(current, was->id);
        if (now < 0 || strcmp(current->fields[now].name, was->name) != 0 ||
            current->fields[now].type != was->type ||
            current->fields[now].precision != was->precision) {
            return true;
        }
    }
    return false;
}

/* Lookups of today on the columns of then. */
static enum err_code take_lookups(const struct schema *current, struct schema **then,
                                  struct err *err)
{
    struct json *lookups = json_new_array();
    for (size_t i = 0; i < current->lookup_count; i++) {
        const struct lookup_column *lookup = &current->lookup[i];
        int column = schema_field_index_by_id(*then, current->fields[lookup->column].id);
        if (column >= 0) {
            struct json *item = json_new_object();
            json_set_text(item, "entity", lookup->entity);
            json_set_text(item, "column", (*then)->fields[column].name);
            json_set_text(item, "as", lookup->as);
            json_append(lookups, item);
        }
    }
    CLEANUP(json_free) struct json *definition = schema_to_stored_json(*then);
    json_set(definition, "lookup", lookups);
    int32_t version = (*then)->version;
    schema_release(then);
    return schema_load(definition, version, then, err);
}

enum err_code definition_at(const struct schema *current, const struct delta_metadata *metadata,
                            struct schema **schema_out, struct err *err)
{
    int64_t version = definition_logged_version(metadata);
    CLEANUP(schema_release) struct schema *then = NULL;
    if (version < 1 || version >= current->version) {
        return definition_adopt(current, metadata, schema_out, err);
    }
    TRY(load_logged(metadata, version, &then, err));
    if (!columns_differ(current, then)) {
        return definition_adopt(current, metadata, schema_out, err);
    }
    TRY(take_lookups(current, &then, err));
    return definition_adopt(then, metadata, schema_out, err);
}

/* The definition that is in the log, as a document; NULL = none that can be read. json_free. */
static struct json *logged_definition(const struct delta_metadata *metadata)
{
    const char *text = delta_metadata_property(metadata, TEXT_PROPERTY);
    struct json *definition = NULL;
    struct err ignored = {0};
    if (text == NULL || json_parse(span_of_text(text), &definition, &ignored) != ERR_OK) {
        return NULL;
    }
    return definition;
}

static bool is_constraint_of(const struct json *definition, const char *property)
{
    const struct json *list = json_get(definition, "constraints");
    static const size_t prefix = sizeof DELTA_CONSTRAINT_PREFIX - 1;
    if (strncmp(property, DELTA_CONSTRAINT_PREFIX, prefix) != 0) {
        return false;
    }
    for (size_t i = 0; i < json_count(list); i++) {
        const char *name = json_text(json_get(json_at(list, i), "name"));
        if (name != NULL && strcmp(name, property + prefix) == 0) {
            return true;
        }
    }
    return false;
}

/* Is the property one that definitions write: the logged one has it, or the next one will? */
static bool is_of_definition(const struct json *logged, const char *property,
                             const struct definition_properties *properties, bool change_feed)
{
    bool had_feed = false;
    if (strcmp(property, DELTA_CHANGE_FEED_PROPERTY) == 0) {
        (void)json_as_boolean(json_get(logged, "change_feed"), &had_feed); /* absent: it had none */
        return change_feed || had_feed;
    }
    for (size_t i = 0; i < properties->pairs_count; i++) {
        if (strcmp(property, properties->pairs[i].name) == 0) {
            return true;
        }
    }
    return is_constraint_of(logged, property);
}

/* spec: delta PROTOCOL.md#column-mapping — what stands beside the columns' names and ids */
struct mapping_properties {
    enum column_mapping mode; /* what the table has; a table that has none maps by name from now */
    char id_max[16];
};

static enum err_code mapping_properties_init(struct mapping_properties *properties,
                                             const struct delta_metadata *current,
                                             const struct schema *next, struct err *err)
{
    TRY(delta_metadata_column_mapping(current, &properties->mode, err));
    int64_t logged = delta_metadata_integer(current, DELTA_MAPPING_ID_PROPERTY, 0);
    int64_t highest = schema_mapping_id_max(next);
    (void)snprintf(
        properties->id_max, sizeof properties->id_max, "%" PRId32,
        (int32_t)(logged > highest && logged <= INT32_MAX ? logged : highest)); /* fits */
    return ERR_OK;
}

static size_t add_mapping(const struct mapping_properties *properties, struct delta_pair *pairs,
                          size_t count)
{
    if (properties->mode == COLUMN_MAPPING_NONE) {
        pairs[count++] = (struct delta_pair){DELTA_MAPPING_MODE_PROPERTY, "name"};
    }
    pairs[count++] = (struct delta_pair){DELTA_MAPPING_ID_PROPERTY, properties->id_max};
    return count;
}

static bool is_mapping(const struct mapping_properties *properties, const char *property)
{
    return strcmp(property, DELTA_MAPPING_ID_PROPERTY) == 0 ||
           (properties->mode == COLUMN_MAPPING_NONE &&
            strcmp(property, DELTA_MAPPING_MODE_PROPERTY) == 0);
}

static bool is_widened(const struct delta_metadata *metadata)
{
    return strstr(metadata->schema_string, "\"" TYPE_CHANGES "\"") != NULL;
}

unsigned definition_needs_of(const struct schema *schema, const struct delta_metadata *metadata)
{
    return definition_needs(schema) | (is_widened(metadata) ? DELTA_NEEDS_TYPE_WIDENING : 0);
}

/*
 * Everything of `current` but our own, then `properties`. What another engine switched on or
 * added stays until a definition had it and has it no more. Memory: mem_free.
 */
static struct delta_pair *replace_properties(const struct delta_metadata *current,
                                             const struct schema *next,
                                             const struct definition_properties *properties,
                                             const struct mapping_properties *mapping, bool widened,
                                             size_t *count_out)
{
    enum { MORE = 4 }; /* change feed, mode and id of the mapping, widening */
    size_t count = 0;
    bool mapped = schema_is_mapped(next);
    CLEANUP(json_free) struct json *logged = logged_definition(current);
    struct delta_pair *pairs =
        mem_zeroed(current->configuration_count + properties->pairs_count + MORE, sizeof *pairs);
    for (size_t i = 0; i < current->configuration_count; i++) {
        const char *name = current->configuration[i].name;
        if (!is_of_definition(logged, name, properties, next->change_feed) &&
            !(mapped && is_mapping(mapping, name)) &&
            !(widened && strcmp(name, WIDENING_PROPERTY) == 0)) {
            pairs[count++] = current->configuration[i];
        }
    }
    if (next->change_feed) {
        pairs[count++] = (struct delta_pair){DELTA_CHANGE_FEED_PROPERTY, "true"};
    }
    if (mapped) {
        count = add_mapping(mapping, pairs, count);
    }
    if (widened) {
        pairs[count++] = (struct delta_pair){WIDENING_PROPERTY, "true"};
    }
    for (size_t i = 0; i < properties->pairs_count; i++) {
        pairs[count++] = properties->pairs[i];
    }
    *count_out = count;
    return pairs;
}

/* What a column is called in files, by its place in a schemaString. */
static const char *physical_name_of(const struct json *column)
{
    const char *name = json_text(json_get(json_get(column, "metadata"), SCHEMA_PHYSICAL_NAME));
    return name != NULL ? name : json_text(json_get(column, "name"));
}

/* Notes of other engines on a column stay; its description is ours. */
static void keep_notes(struct json *column, const struct json *logged)
{
    struct json *notes = (struct json *)(uintptr_t)json_get(column, "metadata"); /* ours */
    size_t position = 0;
    const char *name = NULL;
    const struct json *value = NULL;
    while (json_member(json_get(logged, "metadata"), &position, &name, &value)) {
        if (json_get(notes, name) == NULL && strcmp(name, "comment") != 0) {
            json_set(notes, name, json_duplicate(value));
        }
    }
}

/* spec: delta PROTOCOL.md#type-change-metadata — every change of a column's type stays noted */
static void note_widened(struct json *column, const struct json *logged)
{
    const char *from = json_text(json_get(logged, "type"));
    const char *to = json_text(json_get(column, "type"));
    if (from == NULL || to == NULL || strcmp(from, to) == 0) {
        return;
    }
    struct json *notes = (struct json *)(uintptr_t)json_get(column, "metadata"); /* ours */
    const struct json *before = json_get(notes, TYPE_CHANGES);
    struct json *changes = before == NULL ? json_new_array() : json_duplicate(before);
    struct json *change = json_new_object();
    json_set_text(change, "fromType", from);
    json_set_text(change, "toType", to);
    json_append(changes, change);
    json_set(notes, TYPE_CHANGES, changes);
}

/*
 * The same for the fields of a struct, and for what is in the types of those that are there.
 * Recursion is bounded by SCHEMA_DEPTH_MAX.
 */
static void keep_notes_within(const struct json *type, const struct json *logged)
{
    static const char *const parts[] = {"elementType", "keyType", "valueType"};
    const struct json *before = json_get(logged, "fields");
    const struct json *after = json_get(type, "fields");
    for (size_t i = 0; i < json_count(after); i++) {
        struct json *column = (struct json *)(uintptr_t)json_at(after, i); /* ours to change */
        const char *name = physical_name_of(column);
        for (size_t j = 0; j < json_count(before); j++) {
            const char *old_name = physical_name_of(json_at(before, j));
            if (old_name != NULL && strcmp(old_name, name) == 0) {
                keep_notes(column, json_at(before, j));
                note_widened(column, json_at(before, j));
                keep_notes_within(json_get(column, "type"), json_get(json_at(before, j), "type"));
            }
        }
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct json *part = json_get(type, parts[i]);
        if (json_kind(part) == JSON_KIND_OBJECT) {
            keep_notes_within(part, json_get(logged, parts[i]));
        }
    }
}

/* schemaString of `next`, with what other engines noted on the columns that are there. */
static enum err_code write_columns(const struct delta_metadata *current, const struct schema *next,
                                   struct buffer *text, struct err *err)
{
    CLEANUP(json_free) struct json *logged = NULL;
    CLEANUP(json_free) struct json *written = NULL;
    schema_write_delta(next, text);
    TRY(buffer_check(text, "schema", err));
    TRY(json_parse_deep(buffer_span(text), JSON_DEPTH_DEEPEST, &written, err));
    TRY(json_parse_deep(span_of_text(current->schema_string), JSON_DEPTH_DEEPEST, &logged, err));
    keep_notes_within(written, logged);
    buffer_reset(text);
    json_write(written, text);
    buffer_append_byte(text, '\0');
    return buffer_check(text, "schema", err);
}

enum err_code definition_metadata(const struct delta_metadata *current, const struct schema *next,
                                  bool columns, const struct delta_metadata **metadata_out,
                                  struct err *err)
{
    CLEANUP(definition_properties_deinit) struct definition_properties properties = {0};
    CLEANUP(buffer_deinit) struct buffer text;
    struct mapping_properties mapping = {0};
    const char *partitions[SCHEMA_KEY_FIELDS_MAX];
    buffer_init(&text, DEFINITION_BYTES_MAX);
    struct delta_metadata changed = delta_metadata_fields(current);
    changed.description = next->description;
    if (columns) {
        TRY(write_columns(current, next, &text, err));
        for (size_t i = 0; i < next->partition_count; i++) {
            partitions[i] = next->fields[next->partition[i]].name;
        }
        changed.schema_string = (const char *)text.data;
        changed.partition_columns = partitions;
        changed.partition_columns_count = next->partition_count;
    }
    TRY(definition_properties_init(&properties, next, err));
    TRY(mapping_properties_init(&mapping, current, next, err));
    CLEANUP(mem_cleanup)
    struct delta_pair *pairs = replace_properties(
        current, next, &properties, &mapping, is_widened(&changed), &changed.configuration_count);
    changed.configuration = pairs;
    *metadata_out = delta_metadata_new(&changed);
    return ERR_OK;
}
