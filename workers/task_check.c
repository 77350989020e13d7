/*
 * Checks. See task_check.h.
 */
#include "workers/task_check.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/sources.h"
#include "storage/snapshot/check.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/removal.h"
#include "workers/task_report.h"

#include <string.h>

/* One attempt's check. */
struct checking {
    struct task_attempt *attempt;
    const char *name;
    struct table *table;
    struct expectations *list;
    const struct json *pin;
    const struct snapshot *snapshot;
    struct bound_expectations *bound;
    struct check_files files;
    bool of_run;
    bool removes;
    struct removal removal;
    struct check_result result;
};

static void checking_deinit(struct checking *checking)
{
    check_result_deinit(&checking->result);
    if (checking->removal.attempt != NULL) {
        removal_end(&checking->removal);
    }
    check_files_free(&checking->files);
    bound_expectations_free(&checking->bound);
    snapshot_release(&checking->snapshot);
    expectations_free(&checking->list);
    table_release(&checking->table);
}

/* ---- what is asked ---- */

static enum err_code check_access(struct checking *checking, struct err *err)
{
    struct task_attempt *attempt = checking->attempt;
    TRY(task_check_access(attempt, "rows.read", checking->name, err));
    for (size_t i = 0; i < checking->list->count; i++) {
        const struct expectation *expectation = &checking->list->items[i];
        if (expectation->type == EXPECTATION_FOREIGN_KEY) {
            TRY(task_check_access(attempt, "rows.read", expectation->references_table, err));
        }
        checking->removes |= expectation_removes(expectation);
    }
    return checking->removes ? task_check_access(attempt, "batch.post", checking->name, err)
                             : ERR_OK;
}

static enum err_code read_body(struct checking *checking, struct err *err)
{
    const struct json *body = checking->attempt->body;
    struct span scope = {0};
    checking->name = json_text(json_get(body, "table"));
    if (checking->name == NULL) {
        return err_set(err, ERR_INVALID, "/table: give the name of a table");
    }
    checking->of_run =
        json_as_string(json_get(body, "scope"), &scope) && span_equal_text(scope, "run");
    if (expectations_parse(json_get(body, "expectations"), EXPECTATIONS_OF_TABLE, &checking->list,
                           err) != ERR_OK) {
        return err_wrap(err, "/expectations");
    }
    return check_access(checking, err);
}

/* Rows of an append table stay: there is no key by which to name one. */
static enum err_code check_removable(const struct checking *checking, struct err *err)
{
    CLEANUP(schema_release) struct schema *schema = table_schema(checking->table);
    if (checking->removes && schema->key_count == 0) {
        return err_set(err, ERR_INVALID,
                       "/expectations: table '%s' has no key, so no row can be taken out of it; "
                       "use warn or fail, or judge the rows at the ingest task",
                       checking->name);
    }
    return ERR_OK;
}

/* ---- the pin ---- */

/* Every batch that this run brought into the table is merged. */
static enum err_code wait_for_run(struct checking *checking, struct source_versions *versions,
                                  struct err *err)
{
    struct task_attempt *attempt = checking->attempt;
    const struct id *uuid = table_uuid(checking->table);
    int64_t seen = 0;
    for (;;) {
        TRY(task_wait_progress(attempt, uuid, &seen, err));
        TRY(source_run_versions(attempt->services->catalog, attempt->run_id, uuid, versions, err));
        if (versions->unfinished_count == 0) {
            return ERR_OK;
        }
        mem_free(versions->items);
        *versions = (struct source_versions){0};
    }
}

static void versions_deinit(struct source_versions *versions)
{
    mem_free(versions->items);
}

/* "references": the version of each table that a foreign_key refers to. */
static enum err_code pin_references(const struct checking *checking, struct json *pin,
                                    struct err *err)
{
    struct json *references = json_new_object();
    json_set(pin, "references", references);
    for (size_t i = 0; i < checking->list->count; i++) {
        const char *name = checking->list->items[i].references_table;
        if (name == NULL || json_get(references, name) != NULL) {
            continue;
        }
        CLEANUP(table_release) struct table *table = NULL;
        if (tables_find(checking->attempt->services->tables, name, &table, err) != ERR_OK) {
            return err_wrap(err, "/expectations/%zu/references/table", i);
        }
        json_set_integer(references, name, table_version(table));
    }
    return ERR_OK;
}

static void free_unused(struct json **pin)
{
    json_free(pin);
}

static enum err_code make_pin(struct checking *checking, struct err *err)
{
    CLEANUP(versions_deinit) struct source_versions versions = {0};
    CLEANUP(free_unused) struct json *pin = json_new_object();
    if (checking->of_run) {
        TRY(wait_for_run(checking, &versions, err));
    }
    /* after the wait: the newest version holds all that the run brought */
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(checking->table);
    json_set_text(pin, "table", table_uuid(checking->table)->text);
    json_set_integer(pin, "version", snapshot->version);
    if (checking->of_run) {
        struct json *list = json_new_array();
        json_set(pin, "versions", list);
        for (size_t i = 0; i < versions.count; i++) {
            json_append(list, json_new_integer(versions.items[i]));
        }
    }
    TRY(pin_references(checking, pin, err));
    struct json *given = pin;
    pin = NULL;
    return task_pin(checking->attempt, "check", given, &checking->pin, err);
}

static enum err_code read_files(struct checking *checking, struct err *err)
{
    const struct json *list = json_get(checking->pin, "versions");
    size_t count = json_count(list);
    CLEANUP(mem_cleanup) int64_t *versions = mem_zeroed(count + 1, sizeof *versions);
    for (size_t i = 0; i < count; i++) {
        if (!json_as_integer(json_at(list, i), &versions[i])) {
            return err_set(err, ERR_CORRUPT, "what was pinned for the check cannot be read");
        }
    }
    return check_files_read(checking->table, versions, count, &checking->files, err);
}

static enum err_code take_pin(struct checking *checking, struct err *err)
{
    TRY(task_pin(checking->attempt, "check", NULL, &checking->pin, err));
    if (checking->pin == NULL) {
        TRY(make_pin(checking, err));
    }
    int64_t version = 0;
    const char *uuid = json_text(json_get(checking->pin, "table"));
    if (uuid == NULL || !json_as_integer(json_get(checking->pin, "version"), &version)) {
        return err_set(err, ERR_CORRUPT, "what was pinned for the check cannot be read");
    }
    if (strcmp(uuid, table_uuid(checking->table)->text) != 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "the table that the first attempt checked was deleted; start a new run");
    }
    TRY(table_snapshot_at_version(checking->table, version, &checking->snapshot, err));
    task_note_version(checking->attempt, checking->name, false, version);
    if (expectations_bind(checking->list, checking->snapshot->schema, &checking->bound, err) !=
        ERR_OK) {
        return err_wrap(err, "/expectations");
    }
    return checking->of_run ? read_files(checking, err) : ERR_OK;
}

/* ---- judging ---- */

static enum err_code refer(void *self, const char *name, const struct snapshot **snapshot_out,
                           struct err *err)
{
    const struct checking *checking = self;
    CLEANUP(table_release) struct table *table = NULL;
    int64_t version = 0;
    TRY(tables_find(checking->attempt->services->tables, name, &table, err));
    if (!json_as_integer(json_get(json_get(checking->pin, "references"), name), &version)) {
        return err_set(err, ERR_CORRUPT, "what was pinned for the check cannot be read");
    }
    TRY(table_snapshot_at_version(table, version, snapshot_out, err));
    task_note_version(checking->attempt, name, false, version);
    return ERR_OK;
}

static enum err_code take_away(void *self, const struct frame *frame, const uint16_t *verdicts,
                               struct err *err)
{
    struct checking *checking = self;
    return removal_take(&checking->removal, frame, verdicts, err);
}

static enum err_code may_go_on(void *self, int64_t rows_done, struct err *err)
{
    struct checking *checking = self;
    int64_t rows = snapshot_rows_count(checking->snapshot);
    const struct task_progress progress = {
        .rows_in = rows_done, .work_done = rows_done, .work_total = rows > 0 ? rows : 0};
    task_set_progress(checking->attempt, &progress);
    return task_check_time(checking->attempt, err);
}

/* Just above every row that was judged, and never above what the lane gave out. */
static enum err_code order_position(struct checking *checking, int64_t *position_out,
                                    struct err *err)
{
    struct lane_statistics lane;
    int64_t position = table_snapshot_position(checking->table, checking->snapshot);
    TRY(lane_statistics(checking->attempt->services->catalog, table_uuid(checking->table), &lane,
                        err));
    *position_out = (position < lane.position_last ? position : lane.position_last) + 1;
    return ERR_OK;
}

static enum err_code judge(struct checking *checking, struct err *err)
{
    int64_t position = 0;
    if (checking->removes) {
        TRY(order_position(checking, &position, err));
        TRY(removal_begin(&checking->removal, checking->attempt, checking->table,
                          checking->snapshot->schema, checking->list, checking->snapshot->version,
                          position, err));
    }
    const struct check_request request = {
        .table = checking->table,
        .snapshot = checking->snapshot,
        .files = checking->of_run ? &checking->files : NULL,
        .bound = checking->bound,
        .now_us = clock_wall_us(),
        .refer = refer,
        .remove = checking->removes ? take_away : NULL,
        .check = may_go_on,
        .self = checking,
    };
    if (check_run(&request, &checking->result, err) != ERR_OK) {
        return err->msg[0] == '/' ? err_wrap(err, "/expectations") : err->code;
    }
    return checking->removes ? removal_finish(&checking->removal, err) : ERR_OK;
}

/* ---- what came of it ---- */

static enum err_code fail_if_asked(const struct checking *checking, struct err *err)
{
    for (size_t i = 0; i < checking->list->count; i++) {
        const struct check_finding *finding = &checking->result.findings[i];
        if (checking->list->items[i].action == EXPECTATION_FAIL && finding->violations > 0) {
            return err_set(err, ERR_PRECONDITION,
                           "expectation '%s' is not met: %lld of %lld; see the task's values",
                           checking->list->items[i].name, (long long)finding->violations,
                           (long long)finding->judged);
        }
    }
    return ERR_OK;
}

enum err_code task_check_run(struct task_attempt *attempt, struct err *err)
{
    CLEANUP(checking_deinit) struct checking checking = {.attempt = attempt};
    int64_t removed = 0;
    int64_t kept = 0;
    TRY(read_body(&checking, err));
    TRY(tables_find(attempt->services->tables, checking.name, &checking.table, err));
    TRY(check_removable(&checking, err));
    TRY(take_pin(&checking, err));
    TRY(judge(&checking, err));
    if (checking.removes) {
        TRY(removal_wait(&checking.removal, &removed, &kept, err));
    }
    task_report_check(attempt, checking.snapshot, checking.list, &checking.result, removed, kept);
    if (removed > 0) {
        task_note_version(attempt, checking.name, true, table_version(checking.table));
    }
    return fail_if_asked(&checking, err);
}
