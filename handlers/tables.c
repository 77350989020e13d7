/*
 * Tables: /v1/tables. The catalog's row is the table's existence; its folder
 * follows, and a creation that a crash cut short is finished at the next start.
 * The table's log holds its definition; the catalog's copy follows.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/definitions.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/base/file.h"
#include "storage/catalog/access.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/tables.h"
#include "storage/columns/schema.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <inttypes.h>
#include <string.h>

static enum err_code read_table(struct services *services, struct exchange *exchange,
                                const char *name, struct catalog_table *record_out)
{
    TRY(catalog_table_get(services->catalog, name, &exchange->arena, record_out, &exchange->err));
    return definitions_put_in_force(services->tables, &exchange->arena, record_out, &exchange->err);
}

static void set_statistics(struct services *services, struct json *json, const struct id *uuid)
{
    CLEANUP(table_release) struct table *table = NULL;
    struct err ignored = {0};
    if (tables_find_by_uuid(services->tables, uuid, &table, &ignored) != ERR_OK) {
        json_set(json, "version", json_new_null());
        return;
    }
    struct table_statistics statistics;
    table_statistics_get(table, &statistics);
    json_set_integer(json, "version", statistics.version);
    json_set(json, "rows",
             statistics.rows_count >= 0 ? json_new_integer(statistics.rows_count)
                                        : json_new_null());
    json_set_integer(json, "files", statistics.files_count);
    json_set_integer(json, "bytes", statistics.files_bytes);
    struct lane_statistics lane;
    if (lane_statistics(services->catalog, uuid, &lane, &ignored) == ERR_OK) {
        json_set_integer(json, "queued_batches", lane.queued_count);
    }
}

/* As clients see it: without the ids that a stored one may have. */
static enum err_code shown_definition(const struct catalog_table *record, struct json **json_out,
                                      struct err *err)
{
    CLEANUP(json_free) struct json *stored = NULL;
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(json_parse(span_of_text(record->definition), &stored, err));
    TRY(schema_load(stored, record->definition_version, &schema, err));
    *json_out = schema_to_json(schema);
    return ERR_OK;
}

static enum err_code table_to_json(struct services *services, struct exchange *exchange,
                                   const struct catalog_table *record, struct json **json_out)
{
    struct json *definition = NULL;
    TRY(shown_definition(record, &definition, &exchange->err));
    struct json *json = json_new_object();
    json_set_text(json, "name", record->name);
    json_set_text(json, "table_id", record->uuid.text);
    json_set_text(json, "state", "active");
    json_set_integer(json, "definition_version", record->definition_version);
    json_set(json, "definition", definition);
    set_statistics(services, json, &record->uuid);
    times_set(json, "created_at", record->created_at_us);
    struct json *links = json_new_object();
    json_set_text(links, "self", arena_format(&exchange->arena, "/v1/tables/%s", record->name));
    json_set_text(links, "batches",
                  arena_format(&exchange->arena, "/v1/tables/%s/batches", record->name));
    json_set_text(links, "rows",
                  arena_format(&exchange->arena, "/v1/tables/%s/rows", record->name));
    json_set_text(links, "history",
                  arena_format(&exchange->arena, "/v1/tables/%s/history", record->name));
    json_set(json, "links", links);
    *json_out = json;
    return ERR_OK;
}

static enum handler_result answer_table(struct services *services, struct exchange *exchange,
                                        int status, const char *name)
{
    struct catalog_table record;
    CLEANUP(json_free) struct json *json = NULL;
    if (read_table(services, exchange, name, &record) != ERR_OK ||
        table_to_json(services, exchange, &record, &json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "ETag", "%s", record.etag);
    if (status == 201) {
        exchange_set_header(exchange, "Location", "/v1/tables/%s", name);
    }
    exchange_answer_json(exchange, status, &json);
    return HANDLER_DONE;
}

/* Row first, folder second: what the row promises, a start after a crash can finish. */
static enum err_code create_table(struct services *services, struct exchange *exchange,
                                  const char *name, const struct schema *schema)
{
    struct id uuid = id_new_random();
    const char *definition = NULL;
    TRY(definitions_text(schema, &exchange->arena, &definition, &exchange->err));
    TRY(catalog_table_create(services->catalog, name, &uuid, definition, schema->version,
                             &exchange->err));
    if (tables_create(services->tables, name, &uuid, schema, &exchange->err) != ERR_OK) {
        struct err ignored = {0};
        err_ignore(catalog_table_drop(services->catalog, &uuid, &ignored));   /* take it back: */
        err_ignore(catalog_table_forget(services->catalog, &uuid, &ignored)); /* the cause counts */
        return exchange->err.code;
    }
    return access_audit_change(services, exchange, "table.create", name);
}

/* May the stored definition be replaced under the caller's If-Match? */
static enum err_code check_match(struct exchange *exchange, const struct catalog_table *record)
{
    struct span match = exchange_header(exchange, "if-match");
    if (match.data == NULL || span_equal_text(match, "*") || span_equal_text(match, record->etag)) {
        return ERR_OK;
    }
    return err_set(&exchange->err, ERR_PRECONDITION,
                   "If-Match names another definition than the current one, %s; read the table and "
                   "decide again",
                   record->etag);
}

/* Log first: it decides. A change cut short behind it is finished by whoever reads the log next. */
static enum err_code apply_change(struct services *services, struct exchange *exchange,
                                  struct table *table, const struct schema *next)
{
    enum err_code code = table_change_schema(table, next, &exchange->err);
    if (code == ERR_IO) { /* nobody knows whether it is durable, until the log is read anew */
        process_stop_after_io_error(&exchange->err);
    }
    TRY(code);
    TRY(definitions_copy(services->catalog, table, &exchange->arena, &exchange->err));
    return access_audit_change(services, exchange, "table.change", table_name(table));
}

static enum handler_result change_table(struct services *services, struct exchange *exchange,
                                        struct table *table, const struct schema *wanted)
{
    const char *name = table_name(table);
    CLEANUP(schema_release) struct schema *current = table_schema(table);
    CLEANUP(schema_release) struct schema *next = NULL;
    bool same = false;
    if (schema_evolve(current, wanted, &next, &same, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    /* of a change before that was cut short */
    if (definitions_copy(services->catalog, table, &exchange->arena, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    if (same) {
        return answer_table(services, exchange, 200, name);
    }
    if (exchange_header(exchange, "if-match").data == NULL) {
        return problem_answer(exchange, 428, "precondition_required",
                              "the table exists with another definition; to change it, send "
                              "If-Match with the ETag of GET /v1/tables/%s",
                              name);
    }
    struct catalog_table record;
    const char *text = NULL; /* what the copy could not hold must not get into the log */
    if (definitions_text(next, &exchange->arena, &text, &exchange->err) != ERR_OK ||
        read_table(services, exchange, name, &record) != ERR_OK ||
        check_match(exchange, &record) != ERR_OK ||
        apply_change(services, exchange, table, next) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_table(services, exchange, 200, name);
}

enum handler_result handle_table_put(struct services *services, struct exchange *exchange)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(schema_release) struct schema *wanted = NULL;
    if (exchange_body_json(exchange, &body) != ERR_OK) {
        return problem_err(exchange);
    }
    schema_keep_digits(body, exchange->body);
    if (schema_parse(body, &wanted, &exchange->err) != ERR_OK) {
        return problem_err_as(exchange, 422, "invalid_definition");
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&services->definitions);
    CLEANUP(table_release) struct table *table = NULL;
    if (tables_find(services->tables, name, &table, &exchange->err) == ERR_OK) {
        return change_table(services, exchange, table, wanted);
    }
    err_clear(&exchange->err);
    if (exchange_header(exchange, "if-match").data != NULL) {
        return problem_answer(exchange, 412, "precondition_failed",
                              "there is no table of this name to match; leave If-Match out to "
                              "create it");
    }
    if (create_table(services, exchange, name, wanted) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_table(services, exchange, 201, name);
}

enum handler_result handle_table_get(struct services *services, struct exchange *exchange)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    struct catalog_table record;
    if (read_table(services, exchange, name, &record) != ERR_OK) {
        return problem_err(exchange);
    }
    if (exchange_is_current(exchange, record.etag)) {
        exchange_set_header(exchange, "ETag", "%s", record.etag);
        exchange_answer_empty(exchange, 304);
        return HANDLER_DONE;
    }
    return answer_table(services, exchange, 200, name);
}

static enum err_code drop_table(struct services *services, struct exchange *exchange,
                                const char *name)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&services->definitions);
    struct catalog_table record;
    TRY(read_table(services, exchange, name, &record));
    TRY(check_match(exchange, &record));
    TRY(catalog_table_drop(services->catalog, &record.uuid, &exchange->err));
    TRY(tables_drop(services->tables, name, &exchange->err));
    return access_audit_change(services, exchange, "table.delete", name);
}

enum handler_result handle_table_delete(struct services *services, struct exchange *exchange)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    if (drop_table(services, exchange, name) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_empty(exchange, 204);
    return HANDLER_DONE;
}

static struct json *summary_to_json(struct services *services, const struct catalog_table *record)
{
    struct json *json = json_new_object();
    json_set_text(json, "name", record->name);
    json_set_text(json, "table_id", record->uuid.text);
    json_set_text(json, "state", "active");
    json_set_integer(json, "definition_version", record->definition_version);
    set_statistics(services, json, &record->uuid);
    struct json *definition = NULL;
    struct err ignored = {0};
    if (json_parse(span_of_text(record->definition), &definition, &ignored) == ERR_OK) {
        json_set_text(json, "merge", json_text(json_get(definition, "merge")));
        json_set_text(json, "description", json_text(json_get(definition, "description")));
    }
    json_free(&definition);
    return json;
}

/*
 * Pages are cut from all tables and then thinned to those the caller may read, so
 * a page can be short before the end; next_page_token alone tells the end.
 */
static enum err_code list_tables(struct services *services, struct exchange *exchange,
                                 struct json **answer_out)
{
    int64_t limit = 100;
    TRY(exchange_query_integer(exchange, "limit", 1, 10000, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    struct catalog_table *records = NULL;
    size_t count = 0;
    TRY(catalog_table_list(services->catalog, false, json_text(json_get(state, "after")),
                           (size_t)limit, &exchange->arena, &records, &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *tables = json_new_array();
    for (size_t i = 0; i < count; i++) {
        if (access_allows(exchange->principal, "table.read", records[i].name)) {
            TRY(definitions_put_in_force(services->tables, &exchange->arena, &records[i],
                                         &exchange->err));
            json_append(tables, summary_to_json(services, &records[i]));
        }
    }
    json_set(answer, "tables", tables);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *after = json_new_object();
        json_set_text(after, "after", records[count - 1].name);
        next = page_token_seal(services, exchange, &after);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_table_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_tables(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
