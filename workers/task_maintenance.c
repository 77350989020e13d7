/*
 * Maintenance on demand. See task_maintenance.h.
 */
#include "workers/task_maintenance.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/text.h"
#include "storage/delta/state.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/restore.h"
#include "storage/snapshot/rewrite_sort.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/task_audit.h"

#include <stdatomic.h>

enum { WAIT_US = 500000, VACUUM_RETENTION_SECONDS = 7 * 86400 };

/* The task's table, which run_as may define. */
static enum err_code open_table(struct task_attempt *attempt, const char **name_out,
                                struct table **table_out, struct err *err)
{
    const char *name = json_text(json_get(attempt->body, "table"));
    if (name == NULL) {
        return err_set(err, ERR_INVALID, "/table: give the name of a table");
    }
    TRY(task_check_access(attempt, "table.define", name, err));
    *name_out = name;
    return tables_find(attempt->services->tables, name, table_out, err);
}

static void finish_maintenance(struct table **table)
{
    if (*table != NULL) {
        table_maintenance_end(*table);
    }
}

/* Wait until background maintenance of the table has ended its step. */
static enum err_code begin_maintenance(struct task_attempt *attempt, struct table *table,
                                       struct err *err)
{
    do {
        TRY(task_check_time(attempt, err));
    } while (!table_maintenance_begin(table, clock_monotonic_us() + WAIT_US));
    return ERR_OK;
}

/* ---- optimize ---- */

struct optimized {
    int64_t files_removed;
    int64_t files_written;
    int64_t rows_written;
    int64_t rows_purged;
    int64_t runs_max;         /* bounds the work beside merges that never end */
    struct rewrite_sort sort; /* count 0 = rows stay in the order of keys */
    size_t sort_columns[SCHEMA_KEY_FIELDS_MAX];
    uint32_t newest; /* file that is sorted, later ones are not */
};

/* What the task says that rows are to be ordered by. */
static enum err_code read_sort(const struct task_attempt *attempt, struct table *table,
                               struct optimized *optimized, struct err *err)
{
    const struct json *names = json_get(attempt->body, "sort_by");
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    size_t count = json_count(names);
    if (count > SCHEMA_KEY_FIELDS_MAX) {
        return err_set(err, ERR_INVALID, "/sort_by: at most %d columns", SCHEMA_KEY_FIELDS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_text(json_at(names, i));
        int index = name == NULL ? -1 : schema_field_index(schema, span_of_text(name));
        if (index < 0) {
            return err_set(err, ERR_INVALID, "/sort_by/%zu: the table has no such column", i);
        }
        enum column_type type = schema->fields[index].type;
        if (!column_type_is_key(type)) {
            return err_set(err, ERR_INVALID,
                           "/sort_by/%zu: '%s' is of type %s; rows are ordered by texts, whole "
                           "numbers, decimals, booleans, dates and timestamps",
                           i, name, column_type_name(type));
        }
        optimized->sort_columns[i] = (size_t)index;
    }
    optimized->sort = (struct rewrite_sort){.columns = optimized->sort_columns,
                                            .count = count,
                                            .scratch_folder = attempt->services->spool};
    optimized->newest = compact_newest(table);
    return ERR_OK;
}

static enum err_code merge_index(struct task_attempt *attempt, struct table *table, struct err *err)
{
    for (bool more = true; more;) {
        more = false;
        TRY(task_check_time(attempt, err));
        TRY(table_index_maintain(table, &more, err));
    }
    return ERR_OK;
}

/* One compaction; *more_out false when there was nothing to do. */
static enum err_code compact_once(struct task_attempt *attempt, struct table *table,
                                  struct optimized *optimized, bool *more_out, struct err *err)
{
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    if (optimized->sort.count > 0) {
        compact_plan_sorted(table, &optimized->sort, optimized->newest, &plan);
    } else {
        compact_plan_thorough(table, &plan);
    }
    *more_out = plan.count > 0;
    if (plan.count == 0) {
        return ERR_OK;
    }
    struct compact_result result = {0};
    enum err_code code = compact_run(table, &plan, task_cancel_flag(attempt), &result, err);
    if (code == ERR_IO) {
        process_stop_after_io_error(err);
    }
    TRY(code);
    if (result.committed) {
        optimized->files_removed += result.files_removed;
        optimized->files_written += result.file_bytes > 0;
        optimized->rows_written += result.rows_written;
        optimized->rows_purged += result.rows_purged;
    }
    return ERR_OK;
}

static void report(struct task_attempt *attempt, const struct optimized *optimized)
{
    const struct task_progress progress = {.rows_out = optimized->rows_written,
                                           .work_done = optimized->files_removed};
    task_set_progress(attempt, &progress);
}

static enum err_code optimize(struct task_attempt *attempt, struct table *table,
                              struct optimized *optimized, struct err *err)
{
    TRY(merge_index(attempt, table, err));
    bool more = true;
    for (int64_t runs = 0; more && runs < optimized->runs_max; runs++) {
        TRY(task_check_time(attempt, err));
        TRY(compact_once(attempt, table, optimized, &more, err));
        report(attempt, optimized);
    }
    return merge_index(attempt, table, err);
}

enum err_code task_optimize_run(struct task_attempt *attempt, struct err *err)
{
    const char *name = NULL;
    CLEANUP(table_release) struct table *table = NULL;
    TRY(open_table(attempt, &name, &table, err));
    TRY(begin_maintenance(attempt, table, err));
    CLEANUP(finish_maintenance) struct table *maintained = table;
    struct table_statistics statistics;
    table_statistics_get(table, &statistics);
    /* each run makes one file of two or more, or purges one */
    struct optimized optimized = {.runs_max = 2 * statistics.files_count + 2};
    TRY(read_sort(attempt, table, &optimized, err));
    TRY(optimize(attempt, maintained, &optimized, err));
    task_note_version(attempt, name, true, table_version(table));
    task_set_value(attempt, "version", json_new_integer(table_version(table)));
    task_set_value(attempt, "files_removed", json_new_integer(optimized.files_removed));
    task_set_value(attempt, "files_written", json_new_integer(optimized.files_written));
    task_set_value(attempt, "rows_written", json_new_integer(optimized.rows_written));
    task_set_value(attempt, "rows_purged", json_new_integer(optimized.rows_purged));
    return ERR_OK;
}

/* ---- vacuum ---- */

enum err_code task_vacuum_run(struct task_attempt *attempt, struct err *err)
{
    const char *name = NULL;
    CLEANUP(table_release) struct table *table = NULL;
    TRY(open_table(attempt, &name, &table, err));
    int64_t seconds = VACUUM_RETENTION_SECONDS;
    bool dry_run = false;
    (void)json_as_integer(json_get(attempt->body, "retention_seconds"), &seconds); /* checked */
    (void)json_as_boolean(json_get(attempt->body, "dry_run"), &dry_run); /* with the definition */
    if (seconds < TABLE_VACUUM_SECONDS_MIN) {
        return err_set(err, ERR_INVALID,
                       "/retention_seconds: must be at least %d, because files of writes and "
                       "reads under way are younger than that",
                       TABLE_VACUUM_SECONDS_MIN);
    }
    TRY(begin_maintenance(attempt, table, err)); /* no restore brings files back meanwhile */
    CLEANUP(finish_maintenance) struct table *maintained = table;
    if (!dry_run) {
        TRY(task_audit(attempt, "table.vacuum", "table.define", name, NULL, -1, err));
    }
    const struct table_vacuum_options options = {
        .now_ms = clock_wall_us() / 1000, .retention_ms = seconds * 1000, .dry_run = dry_run};
    struct table_vacuum_result result = {0};
    TRY(table_vacuum(maintained, &options, &result, err));
    task_note_version(attempt, name, false, table_version(table));
    task_set_value(attempt, "files_seen", json_new_integer(result.files_seen));
    task_set_value(attempt, "files_removed", json_new_integer(result.files_removed));
    task_set_value(attempt, "bytes_removed", json_new_integer(result.bytes_removed));
    task_set_value(attempt, "dry_run", json_new_boolean(dry_run));
    return ERR_OK;
}

/* ---- restore ---- */

static enum err_code find_version(const struct task_attempt *attempt, struct table *table,
                                  int64_t *version_out, struct err *err)
{
    struct span text;
    int64_t timestamp_us = 0;
    if (json_as_integer(json_get(attempt->body, "version"), version_out)) {
        return ERR_OK;
    }
    if (!json_as_string(json_get(attempt->body, "timestamp"), &text) ||
        !text_parse_timestamp(text, &timestamp_us) || timestamp_us < 0) {
        return err_set(err, ERR_INVALID,
                       "/timestamp: give a moment since 1970 as RFC 3339 with zone, such as "
                       "2026-11-23T08:00:00Z");
    }
    return delta_state_version_at(table_store(table), timestamp_us / 1000, version_out, err);
}

enum err_code task_restore_run(struct task_attempt *attempt, struct err *err)
{
    const char *name = NULL;
    int64_t version = -1;
    CLEANUP(table_release) struct table *table = NULL;
    TRY(open_table(attempt, &name, &table, err));
    TRY(begin_maintenance(attempt, table, err)); /* no vacuum takes the files meanwhile */
    CLEANUP(finish_maintenance) struct table *maintained = table;
    TRY(find_version(attempt, table, &version, err));
    const char *key =
        arena_format(&attempt->arena, "sluice-restore/%s", task_idempotency_key(attempt));
    if (key == NULL) {
        return err_set(err, ERR_NOMEM, "no memory is left for the attempt");
    }
    TRY(task_audit(attempt, "table.restore", "table.define", name, NULL, -1, err));
    struct restore_result result = {0};
    enum err_code code = table_restore(maintained, version, key, &result, err);
    if (code == ERR_IO) {
        process_stop_after_io_error(err);
    }
    TRY(code);
    task_note_version(attempt, name, true, result.version);
    task_set_value(attempt, "version", json_new_integer(result.version));
    task_set_value(attempt, "restored_version", json_new_integer(version));
    task_set_value(attempt, "committed", json_new_boolean(result.committed));
    task_set_value(attempt, "files_added", json_new_integer(result.files_added));
    task_set_value(attempt, "files_removed", json_new_integer(result.files_removed));
    task_set_value(attempt, "rows",
                   result.rows_count >= 0 ? json_new_integer(result.rows_count) : json_new_null());
    return ERR_OK;
}
