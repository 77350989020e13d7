/*
 * What is done to a table as a whole: a one-off run of one task.
 */
#include "generated/operations.h"

#include "handlers/job_requests.h"
#include "handlers/problem.h"
#include "handlers/run_start.h"
#include "storage/base/text.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

/* The body of a request that may come without one. json_free. */
static enum err_code optional_body(struct exchange *exchange, struct json **body_out)
{
    if (exchange->body.size == 0) {
        *body_out = json_new_object();
        return ERR_OK;
    }
    return job_request_body(exchange, body_out);
}

/* {"name":"TYPE TABLE","tasks":[{"task_key":TYPE,"type":TYPE,TYPE:{"table":TABLE,…body}}]} */
static struct json *definition_of(const char *type, const char *table, const struct json *body)
{
    struct json *task = json_new_object();
    json_set_text(task, "task_key", type);
    json_set_text(task, "type", type);
    struct json *work = json_duplicate(body);
    json_set_text(work, "table", table);
    json_set(task, type, work);
    struct json *tasks = json_new_array();
    json_append(tasks, task);
    struct json *definition = json_new_object();
    json_set(definition, "tasks", tasks);
    return definition;
}

/* Is there such a table? What it is called in the arena. */
static enum err_code find_table(struct services *services, struct exchange *exchange,
                                const char **name_out)
{
    CLEANUP(table_release) struct table *table = NULL;
    *name_out = arena_text(&exchange->arena, exchange->parameters[0]);
    return tables_find(services->tables, *name_out, &table, &exchange->err);
}

static enum err_code read_body(struct exchange *exchange, const char *const *names,
                               struct json **body_out)
{
    TRY(optional_body(exchange, body_out));
    return json_check_names(*body_out, "", names, &exchange->err);
}

static enum handler_result start(struct services *services, struct exchange *exchange,
                                 const char *type, const char *table, const struct json *body)
{
    const char *token = NULL;
    if (job_request_token(exchange, NULL, &token) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(json_free) struct json *definition = definition_of(type, table, body);
    json_set_text(definition, "name", arena_format(&exchange->arena, "%s %s", type, table));
    return run_start_one_off(services, exchange, definition, token);
}

/* ---- optimize ---- */

enum handler_result handle_table_optimize(struct services *services, struct exchange *exchange)
{
    static const char *const names[] = {"sort_by", NULL};
    const char *table = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    if (find_table(services, exchange, &table) != ERR_OK ||
        read_body(exchange, names, &body) != ERR_OK) {
        return problem_err(exchange);
    }
    return start(services, exchange, "optimize", table, body);
}

/* ---- vacuum ---- */

static enum err_code check_vacuum(struct exchange *exchange, struct json *body)
{
    const struct json *retention = json_get(body, "retention_seconds");
    const struct json *dry_run = json_get(body, "dry_run");
    int64_t seconds = 0;
    bool dry = false;
    if (retention != NULL &&
        (!json_as_integer(retention, &seconds) || seconds < TABLE_VACUUM_SECONDS_MIN)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/retention_seconds: give a whole number of %d or more, because files of "
                       "writes and reads under way are younger than that",
                       TABLE_VACUUM_SECONDS_MIN);
    }
    if (dry_run != NULL && !json_as_boolean(dry_run, &dry)) {
        return err_set(&exchange->err, ERR_INVALID, "/dry_run: give true or false");
    }
    if (dry_run == NULL) { /* nothing goes unless it is said */
        json_set_boolean(body, "dry_run", true);
    }
    return ERR_OK;
}

enum handler_result handle_table_vacuum(struct services *services, struct exchange *exchange)
{
    static const char *const names[] = {"retention_seconds", "dry_run", NULL};
    const char *table = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    if (find_table(services, exchange, &table) != ERR_OK ||
        read_body(exchange, names, &body) != ERR_OK || check_vacuum(exchange, body) != ERR_OK) {
        return problem_err(exchange);
    }
    return start(services, exchange, "vacuum", table, body);
}

/* ---- restore ---- */

static enum err_code check_restore(struct exchange *exchange, const struct json *body)
{
    const struct json *version = json_get(body, "version");
    const struct json *timestamp = json_get(body, "timestamp");
    struct span text;
    int64_t number = 0;
    if ((version == NULL) == (timestamp == NULL)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/version: give either version or timestamp, of what is to come back; GET "
                       "…/history lists them");
    }
    if (version != NULL && (!json_as_integer(version, &number) || number < 0)) {
        return err_set(&exchange->err, ERR_INVALID, "/version: give a version of the table");
    }
    if (timestamp != NULL &&
        (!json_as_string(timestamp, &text) || !text_parse_timestamp(text, &number) || number < 0)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/timestamp: give a moment since 1970 as RFC 3339 with zone, such as "
                       "2026-11-23T08:00:00Z");
    }
    return ERR_OK;
}

enum handler_result handle_table_restore(struct services *services, struct exchange *exchange)
{
    static const char *const names[] = {"version", "timestamp", NULL};
    const char *table = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    if (find_table(services, exchange, &table) != ERR_OK ||
        read_body(exchange, names, &body) != ERR_OK || check_restore(exchange, body) != ERR_OK) {
        return problem_err(exchange);
    }
    return start(services, exchange, "restore", table, body);
}
