/*
 * Copies of definitions. See definitions.h.
 */
#include "handlers/definitions.h"

#include "storage/base/buffer.h"
#include "storage/base/fault.h"
#include "storage/base/json.h"
#include "storage/catalog/tables.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

enum err_code definitions_text(const struct schema *schema, struct arena *arena,
                               const char **text_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, CATALOG_DEFINITION_BYTES_MAX);
    CLEANUP(json_free) struct json *json = schema_to_stored_json(schema);
    json_write(json, &text);
    TRY(buffer_check(&text, "the definition", err));
    const char *copy = arena_text(arena, buffer_span(&text));
    if (copy == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the definition needs more memory than its request has");
    }
    *text_out = copy;
    return ERR_OK;
}

enum err_code definitions_put_in_force(struct tables *tables, struct arena *arena,
                                       struct catalog_table *record, struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    struct err unopened = {0};
    if (tables_find_by_uuid(tables, &record->uuid, &table, &unopened) != ERR_OK) {
        return ERR_OK; /* it is being made or dropped */
    }
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    if (schema->version <= record->definition_version) {
        return ERR_OK;
    }
    const char *definition = NULL;
    TRY(definitions_text(schema, arena, &definition, err));
    catalog_table_set_definition(record, definition, schema->version);
    return ERR_OK;
}

enum err_code definitions_copy(struct catalog *catalog, struct table *table, struct arena *arena,
                               struct err *err)
{
    struct catalog_table record;
    const char *definition = NULL;
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    TRY(catalog_table_get_by_uuid(catalog, table_uuid(table), arena, &record, err));
    if (record.definition_version >= schema->version) {
        return ERR_OK;
    }
    TRY(definitions_text(schema, arena, &definition, err));
    if (FAULT("definition.copy")) {
        return err_set(err, ERR_NO_SPACE, "planted fault before the catalog's copy");
    }
    return catalog_table_change(catalog, &record.uuid, record.definition_version, definition,
                                schema->version, err);
}
