/*
 * Definitions in the log. See definition.h.
 */
#include "storage/snapshot/definition.h"

#include "storage/base/json.h"
#include "storage/base/json_raw.h"
#include "storage/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_PROPERTY "sluice.definition"
#define VERSION_PROPERTY "sluice.definitionVersion"

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
    properties->pairs[0] = (struct delta_pair){TEXT_PROPERTY, (const char *)properties->text.data};
    properties->pairs[1] = (struct delta_pair){VERSION_PROPERTY, properties->version};
    return ERR_OK;
}

void definition_properties_deinit(struct definition_properties *properties)
{
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

/* Did the definition that is in the log ask for a feed of changes? */
static bool logged_change_feed(const struct delta_metadata *metadata)
{
    const char *text = delta_metadata_property(metadata, TEXT_PROPERTY);
    struct span value;
    return text != NULL && json_raw_find(span_of_text(text), "change_feed", &value) &&
           span_equal_text(value, "true");
}

/*
 * Everything of `current` but our own, then `properties`. A feed of changes that another engine
 * switched on stays on until a definition had it and has it no more. Memory: mem_free.
 */
static struct delta_pair *replace_properties(const struct delta_metadata *current,
                                             const struct definition_properties *properties,
                                             bool change_feed, size_t *count_out)
{
    size_t count = 0;
    struct delta_pair *pairs =
        mem_zeroed(current->configuration_count + DEFINITION_PROPERTIES + 1, sizeof *pairs);
    bool replaces_feed = change_feed || logged_change_feed(current);
    for (size_t i = 0; i < current->configuration_count; i++) {
        const char *name = current->configuration[i].name;
        if (strcmp(name, TEXT_PROPERTY) != 0 && strcmp(name, VERSION_PROPERTY) != 0 &&
            (!replaces_feed || strcmp(name, DELTA_CHANGE_FEED_PROPERTY) != 0)) {
            pairs[count++] = current->configuration[i];
        }
    }
    if (change_feed) {
        pairs[count++] = (struct delta_pair){DELTA_CHANGE_FEED_PROPERTY, "true"};
    }
    for (size_t i = 0; i < DEFINITION_PROPERTIES; i++) {
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
