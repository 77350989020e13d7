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

unsigned definition_needs(const struct schema *schema)
{
    return (schema->merge == TABLE_DELETION_VECTORS ? DELTA_NEEDS_DELETION_VECTORS : 0) |
           (schema->change_feed ? DELTA_NEEDS_CHANGE_FEED : 0) |
           (schema->constraints_count > 0 ? DELTA_NEEDS_CONSTRAINTS : 0);
}

enum err_code definition_properties_init(struct definition_properties *properties,
                                         const struct schema *schema, struct err *err)
{
    buffer_init(&properties->text, DEFINITION_BYTES_MAX);
    CLEANUP(json_free) struct json *definition = schema_to_json(schema);
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

enum err_code definition_in_force(const struct schema *known, const struct delta_metadata *metadata,
                                  struct schema **schema_out, struct err *err)
{
    int64_t version = definition_logged_version(metadata);
    if (version <= known->version) {
        *schema_out = schema_acquire(known);
        return ERR_OK;
    }
    CLEANUP(schema_release) struct schema *logged = NULL;
    CLEANUP(schema_release) struct schema *evolved = NULL;
    bool same = false;
    TRY(load_logged(metadata, version, &logged, err));
    if (schema_evolve(known, logged, &evolved, &same, err) != ERR_OK) {
        return err_wrap(err, "definition %" PRId64 " in the log cannot follow %" PRId32, version,
                        known->version);
    }
    *schema_out = logged;
    logged = NULL;
    return ERR_OK;
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

/*
 * Everything of `current` but our own, then `properties`. What another engine switched on or
 * added stays until a definition had it and has it no more. Memory: mem_free.
 */
static struct delta_pair *replace_properties(const struct delta_metadata *current,
                                             const struct definition_properties *properties,
                                             bool change_feed, size_t *count_out)
{
    size_t count = 0;
    CLEANUP(json_free) struct json *logged = logged_definition(current);
    struct delta_pair *pairs =
        mem_zeroed(current->configuration_count + properties->pairs_count + 1, sizeof *pairs);
    for (size_t i = 0; i < current->configuration_count; i++) {
        if (!is_of_definition(logged, current->configuration[i].name, properties, change_feed)) {
            pairs[count++] = current->configuration[i];
        }
    }
    if (change_feed) {
        pairs[count++] = (struct delta_pair){DELTA_CHANGE_FEED_PROPERTY, "true"};
    }
    for (size_t i = 0; i < properties->pairs_count; i++) {
        pairs[count++] = properties->pairs[i];
    }
    *count_out = count;
    return pairs;
}

enum err_code definition_metadata(const struct delta_metadata *current, const struct schema *next,
                                  bool columns, const struct delta_metadata **metadata_out,
                                  struct err *err)
{
    CLEANUP(definition_properties_deinit) struct definition_properties properties = {0};
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, DEFINITION_BYTES_MAX);
    schema_write_delta(next, &text);
    buffer_append_byte(&text, '\0');
    TRY(buffer_check(&text, "schema", err));
    TRY(definition_properties_init(&properties, next, err));
    struct delta_metadata changed = delta_metadata_fields(current);
    changed.description = next->description;
    if (columns) { /* else another engine's notes on its columns would be lost */
        changed.schema_string = (const char *)text.data;
    }
    CLEANUP(mem_cleanup)
    struct delta_pair *pairs =
        replace_properties(current, &properties, next->change_feed, &changed.configuration_count);
    changed.configuration = pairs;
    *metadata_out = delta_metadata_new(&changed);
    return ERR_OK;
}
