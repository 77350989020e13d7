/*
 * Exports. See task_export.h.
 */
#include "workers/task_export.h"

#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/snapshot/export.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/destination.h"
#include "workers/task_audit.h"

#include <inttypes.h>
#include <string.h>

/* ---- what is exported: the pin ---- */

/* The snapshot that the definition asks for, before anything is pinned. */
static enum err_code asked_snapshot(struct table *table, const struct json *body,
                                    const struct snapshot **snapshot_out, struct err *err)
{
    int64_t version = 0;
    int64_t timestamp_us = 0;
    struct span text;
    if (json_as_integer(json_get(body, "version"), &version)) {
        return table_snapshot_at_version(table, version, snapshot_out, err);
    }
    if (json_as_string(json_get(body, "timestamp"), &text)) {
        if (!text_parse_timestamp(text, &timestamp_us) || timestamp_us < 0) {
            return err_set(err, ERR_INVALID,
                           "/timestamp: give a moment since 1970 as RFC 3339 with zone, such as "
                           "2026-11-23T08:00:00Z");
        }
        return table_snapshot_at_time(table, timestamp_us / 1000, snapshot_out, err);
    }
    *snapshot_out = table_snapshot(table);
    return ERR_OK;
}

static struct json *pin_of(const struct snapshot *snapshot, const struct export_spec *spec)
{
    struct json *pin = json_new_object();
    json_set_text(pin, "table", snapshot->table.text);
    json_set_integer(pin, "version", snapshot->version);
    json_set(pin, "columns", export_spec_columns(spec, snapshot->schema));
    return pin;
}

/* Nothing is pinned yet: look at the table and the definition, and pin what they say. */
static enum err_code make_pin(struct task_attempt *attempt, struct table *table,
                              const struct json **pin_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    struct export_spec spec = {0};
    TRY(asked_snapshot(table, attempt->body, &snapshot, err));
    TRY(export_spec_parse(attempt->body, NULL, snapshot->schema, &attempt->arena, &spec, err));
    return task_pin(attempt, "export", pin_of(snapshot, &spec), pin_out, err);
}

static enum err_code pinned_snapshot(struct task_attempt *attempt, struct table *table,
                                     const struct snapshot **snapshot_out,
                                     const struct json **columns_out, struct err *err)
{
    const struct json *pin = NULL;
    TRY(task_pin(attempt, "export", NULL, &pin, err));
    if (pin == NULL) {
        TRY(make_pin(attempt, table, &pin, err));
    }
    int64_t version = 0;
    const char *uuid = json_text(json_get(pin, "table"));
    if (uuid == NULL || !json_as_integer(json_get(pin, "version"), &version)) {
        return err_set(err, ERR_CORRUPT, "what was pinned for the export cannot be read");
    }
    if (strcmp(uuid, table_uuid(table)->text) != 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "the table that the first attempt exported was deleted; start a new run");
    }
    TRY(table_snapshot_at_version(table, version, snapshot_out, err));
    *columns_out = json_get(pin, "columns");
    return ERR_OK;
}

/* ---- writing it ---- */

static enum err_code may_go_on(void *self, struct err *err)
{
    return task_check_time(self, err);
}

static void report(void *self, const struct export_progress *progress)
{
    const struct task_progress shown = {
        .rows_out = progress->rows,
        .bytes_out = progress->bytes,
        .work_done = progress->work_done,
        .work_total = progress->work_total > 0 ? progress->work_total : 0,
    };
    task_set_progress(self, &shown);
}

static enum err_code open_secrets(void *arg, const char *text, struct buffer *text_out,
                                  struct err *err)
{
    return task_open_secrets(arg, text, text_out, err);
}

static const char *encoding_name(enum content_encoding encoding)
{
    switch (encoding) {
    case CONTENT_GZIP:
        return "gzip";
    case CONTENT_ZSTD:
        return "zstd";
    case CONTENT_IDENTITY:
        break;
    }
    return NULL;
}

static enum err_code open_destination(struct task_attempt *attempt, const struct export_spec *spec,
                                      struct destination **destination_out, struct err *err)
{
    const struct destination_options options = {
        .given = json_get(attempt->body, "destination"),
        .roots = attempt->services->export_roots,
        .remote = attempt->services->remote,
        .spool = attempt->services->spool,
        .open_secrets = open_secrets,
        .open_arg = attempt,
        .idempotency_key = task_idempotency_key(attempt),
        .media_type = row_format_media_type(spec->format),
        .encoding = encoding_name(spec->compression),
        .cancelled = task_cancel_flag(attempt),
    };
    return destination_open(&options, destination_out, err) == ERR_OK
               ? ERR_OK
               : err_wrap(err, "/destination");
}

static void set_values(struct task_attempt *attempt, const struct snapshot *snapshot,
                       const struct export_progress *progress)
{
    task_set_value(attempt, "rows", json_new_integer(progress->rows));
    task_set_value(attempt, "bytes", json_new_integer(progress->bytes));
    task_set_value(attempt, "version", json_new_integer(snapshot->version));
}

static enum err_code export_snapshot(struct task_attempt *attempt, const char *table,
                                     const struct snapshot *snapshot, const struct json *columns,
                                     struct err *err)
{
    struct export_request request = {.snapshot = snapshot,
                                     .scratch_folder = attempt->services->spool,
                                     .check = may_go_on,
                                     .report = report,
                                     .self = attempt};
    CLEANUP(destination_close) struct destination *destination = NULL;
    struct export_progress progress = {0};
    TRY(export_spec_parse(attempt->body, columns, snapshot->schema, &attempt->arena, &request.spec,
                          err));
    TRY(open_destination(attempt, &request.spec, &destination, err));
    request.sink = (struct row_sink){.write = destination_write, .self = destination};
    TRY(export_run(&request, &progress, err));
    TRY(task_check_time(attempt, err));
    TRY(task_audit(attempt, "table.export", "rows.read", table, destination_place(destination),
                   progress.rows, err));
    TRY(destination_publish(destination, task_milliseconds_left(attempt), err));
    set_values(attempt, snapshot, &progress);
    return ERR_OK;
}

enum err_code task_export_run(struct task_attempt *attempt, struct err *err)
{
    const char *name = json_text(json_get(attempt->body, "table"));
    if (name == NULL) {
        return err_set(err, ERR_INVALID, "/table: give the name of a table");
    }
    CLEANUP(table_release) struct table *table = NULL;
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    const struct json *columns = NULL;
    TRY(task_check_access(attempt, "rows.read", name, err));
    TRY(tables_find(attempt->services->tables, name, &table, err));
    TRY(pinned_snapshot(attempt, table, &snapshot, &columns, err));
    task_note_version(attempt, name, false, snapshot->version);
    return export_snapshot(attempt, name, snapshot, columns, err);
}
