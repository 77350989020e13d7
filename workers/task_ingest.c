/*
 * The ingest task. See task_ingest.h; pieces are taken in by ingest.c.
 */
#include "workers/task_ingest.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/text.h"
#include "storage/catalog/sources.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/ingest.h"
#include "workers/source_checkpoint.h"
#include "workers/progress_board.h"
#include "workers/source_file.h"
#include "workers/source_http.h"
#include "workers/source_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PIN_NAME_BYTES = 32,
    SOURCE_TEXT_BYTES = 2 * SOURCE_ID_BYTES,
    LINES_SHOWN_MAX = 50, /* with more expectations only counts are told: values are short */
};

/* ---- the body ---- */

static enum err_code check_time(void *arg, struct err *err)
{
    return task_check_time(arg, err);
}

/* Wakes are for the table's batches; what counts here is the time, and that the task may go on. */
static enum err_code wait_time(void *arg, int64_t us, struct err *err)
{
    struct task_attempt *attempt = arg;
    const struct id nothing = {.text = ""};
    int64_t until_us = clock_monotonic_us() + us;
    int64_t seen = 1; /* what the board says of an id that nobody notes */
    for (;;) {
        TRY(task_check_time(attempt, err));
        int64_t left_ms = task_milliseconds_left(attempt);
        int64_t now_us = clock_monotonic_us();
        if (now_us >= until_us) {
            return ERR_OK;
        }
        int64_t end_us = left_ms < INT64_MAX / 1000 && now_us + left_ms * 1000 < until_us
                             ? now_us + left_ms * 1000
                             : until_us;
        if (progress_board_wait(attempt->services->progress, &nothing, &seen,
                                task_cancel_flag(attempt), end_us, err) != ERR_OK) {
            err_clear(err); /* the time has passed, or task_check_time says why not */
        }
    }
}

static void name_steps(struct ingest *ingest)
{
    (void)snprintf(ingest->key, sizeof ingest->key, "%s/%" PRId64, ingest->attempt->task_key,
                   ingest->attempt->iteration); /* fits: task keys are short */
}

/* An append table knows no other operation than insert, whatever the default is. */
static enum frame_operation operation_of(const struct json *body, const struct schema *schema)
{
    struct span name = {0};
    enum frame_operation operation = FRAME_UPSERT;
    if (json_as_string(json_get(body, "operation"), &name)) {
        (void)frame_operation_parse(name, &operation); /* the definition was validated */
    }
    return schema->merge == TABLE_APPEND && operation == FRAME_UPSERT ? FRAME_INSERT : operation;
}

static enum err_code read_expectations(struct ingest *ingest, struct err *err)
{
    const struct json *given = json_get(ingest->attempt->body, "expectations");
    if (expectations_parse(given, EXPECTATIONS_OF_ROWS, &ingest->expectations, err) != ERR_OK) {
        return err_wrap(err, "/expectations");
    }
    if (ingest->expectations->count == 0) {
        return ERR_OK;
    }
    ingest->tallies = mem_zeroed(ingest->expectations->count, sizeof *ingest->tallies);
    return expectations_bind(ingest->expectations, ingest->schema, &ingest->bound, err) == ERR_OK
               ? ERR_OK
               : err_wrap(err, "/expectations");
}

static enum err_code open_ingest(struct ingest *ingest, struct err *err)
{
    struct task_attempt *attempt = ingest->attempt;
    const struct task_services *services = attempt->services;
    const char *name = json_text(json_get(attempt->body, "table"));
    const char *handling = json_text(json_get(attempt->body, "handling"));
    int64_t piece_records = DECODE_RECORDS_MAX / 10;
    if (name == NULL) {
        return err_set(err, ERR_INVALID, "/table: give the name of a table");
    }
    TRY(task_check_access(attempt, "batch.post", name, err));
    TRY(tables_find(services->tables, name, &ingest->table, err));
    ingest->schema = table_schema(ingest->table);
    ingest->strict = handling != NULL && strcmp(handling, "strict") == 0;
    (void)json_as_integer(json_get(attempt->body, "piece_records"), &piece_records);
    ingest->stores = *services->intake;
    ingest->reader = (struct source_reader){
        .table = *table_uuid(ingest->table),
        .schema = ingest->schema,
        .operation = operation_of(attempt->body, ingest->schema),
        .piece_records = piece_records,
        .run_id = attempt->run_id,
        .check_time = check_time,
        .wait = wait_time,
        .arg = attempt,
        .cancelled = task_cancel_flag(attempt),
    };
    name_steps(ingest);
    return read_expectations(ingest, err);
}

static void ingest_deinit(struct ingest *ingest)
{
    bound_expectations_free(&ingest->bound);
    expectations_free(&ingest->expectations);
    mem_free(ingest->tallies);
    schema_release(&ingest->schema);
    table_release(&ingest->table);
}

/* What earlier attempts brought counts from the start. */
static enum err_code begin_progress(struct ingest *ingest, struct err *err)
{
    struct source_tally tally = {0};
    TRY(source_tally(ingest->stores.catalog, ingest->attempt->run_id, ingest->key, &tally, err));
    ingest->progress.rows_in = tally.received;
    ingest->progress.rows_out = tally.accepted;
    ingest->progress.rows_rejected = tally.rejected;
    return ERR_OK;
}

/* ---- files ---- */

struct files_count {
    int64_t all, skipped;
};

static struct json *list_of(const struct root_matches *matches)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < matches->count; i++) {
        struct json *file = json_new_array();
        json_append(file, json_new_text(matches->files[i].path));
        json_append(file, json_new_integer(matches->files[i].size));
        json_append(file, json_new_integer(matches->files[i].modified_us));
        json_append(list, file);
    }
    return list;
}

/* The files that every attempt of this task reads: those that the first one found. */
static enum err_code pin_files(struct ingest *ingest, const char *path,
                               const struct json **list_out, struct err *err)
{
    struct task_attempt *attempt = ingest->attempt;
    TRY(task_pin(attempt, "files", NULL, list_out, err));
    if (*list_out != NULL) {
        return ERR_OK;
    }
    CLEANUP(root_matches_free) struct root_matches matches = {0};
    TRY(roots_expand(attempt->services->source_roots, path, ROOT_MATCHES_MAX, &matches, err));
    if (matches.count == 0 && !roots_is_pattern(path)) {
        return err_set(err, ERR_NOT_FOUND, "there is no file %s", path);
    }
    enum err_code code = task_pin(attempt, "files", list_of(&matches), list_out, err);
    return code == ERR_TOO_LARGE ? err_wrap(err, "the list of files") : code;
}

static void pin_name(int64_t index, char name_out[PIN_NAME_BYTES])
{
    (void)snprintf(name_out, PIN_NAME_BYTES, "source/%" PRId64, index); /* fits */
}

/* Was a source read to its end, in whichever run? */
static enum err_code is_done(const struct ingest *ingest, const uint8_t id[SOURCE_ID_BYTES],
                             bool *done_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    struct source_checkpoint checkpoint = {0};
    int64_t step = 0;
    buffer_init(&text, SOURCE_CHECKPOINT_BYTES_MAX);
    TRY(source_position(ingest->stores.catalog, id, &step, &text, err));
    TRY(source_checkpoint_parse(buffer_span(&text), &checkpoint, err));
    *done_out = checkpoint.is_done;
    return ERR_OK;
}

/* Which content a file has, and whether it had been read before this task came to it. */
static enum err_code pin_content(struct ingest *ingest, const struct source *source,
                                 const char *name, const struct json **pinned_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    bool done = false;
    TRY(is_done(ingest, source->id, &done, err));
    buffer_init(&text, SOURCE_TEXT_BYTES);
    text_hex_encode(span_of(source->id, sizeof source->id), &text);
    struct json *pin = json_new_object();
    json_set(pin, "source", json_new_string(buffer_span(&text)));
    json_set_boolean(pin, "skipped", done);
    return task_pin(ingest->attempt, name, pin, pinned_out, err);
}

/* Is the content that was pinned read to its end? Then the file need not be there any more. */
static enum err_code pinned_is_done(const struct ingest *ingest, const struct json *pinned,
                                    bool *done_out, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer id;
    struct span text = {0};
    buffer_init(&id, SOURCE_ID_BYTES);
    if (!json_as_string(json_get(pinned, "source"), &text) || !text_hex_decode(text, &id) ||
        id.size != SOURCE_ID_BYTES) {
        return err_set(err, ERR_CORRUPT, "what was pinned for a file cannot be read");
    }
    return is_done(ingest, id.data, done_out, err);
}

static enum err_code ingest_content(struct ingest *ingest, const struct source_file_options *file,
                                    const char *name, const struct json **pinned_out,
                                    struct err *err)
{
    CLEANUP(source_close) struct source *source = NULL;
    bool was_done = false; /* as the pin says already */
    TRY(source_file_open(file, &ingest->reader, &source, err));
    TRY(pin_content(ingest, source, name, pinned_out, err));
    return ingest_source(ingest, source, &was_done, err);
}

static enum err_code ingest_file(struct ingest *ingest, const struct json *listed, int64_t index,
                                 struct files_count *files, struct err *err)
{
    struct source_file_options options = {.roots = ingest->attempt->services->source_roots,
                                          .path = json_text(json_at(listed, 0))};
    char name[PIN_NAME_BYTES];
    const struct json *pinned = NULL;
    bool done = false;
    if (options.path == NULL || !json_as_integer(json_at(listed, 1), &options.size) ||
        !json_as_integer(json_at(listed, 2), &options.modified_us)) {
        return err_set(err, ERR_CORRUPT, "what was pinned for the files cannot be read");
    }
    source_file_parse(json_get(ingest->attempt->body, "source"), &options);
    pin_name(index, name);
    TRY(task_pin(ingest->attempt, name, NULL, &pinned, err));
    if (pinned != NULL) {
        TRY(pinned_is_done(ingest, pinned, &done, err));
    }
    if (!done) {
        TRY(ingest_content(ingest, &options, name, &pinned, err));
    }
    bool skipped = false;
    (void)json_as_boolean(json_get(pinned, "skipped"), &skipped); /* it was written here */
    files->skipped += skipped ? 1 : 0;
    ingest->bytes_before += options.size;
    return ERR_OK;
}

static enum err_code ingest_files(struct ingest *ingest, const struct json *source, struct err *err)
{
    const char *path = json_text(json_get(source, "path"));
    const struct json *list = NULL;
    struct files_count files = {0};
    if (path == NULL) {
        return err_set(err, ERR_INVALID, "/source/path: give the path of a file");
    }
    TRY(pin_files(ingest, path, &list, err));
    files.all = (int64_t)json_count(list);
    for (int64_t i = 0; i < files.all; i++) {
        int64_t size = 0;
        (void)json_as_integer(json_at(json_at(list, (size_t)i), 1), &size); /* checked below */
        ingest->total_bytes += size;
    }
    for (int64_t i = 0; i < files.all; i++) {
        TRY(ingest_file(ingest, json_at(list, (size_t)i), i, &files, err));
    }
    task_set_value(ingest->attempt, "files", json_new_integer(files.all));
    task_set_value(ingest->attempt, "files_skipped", json_new_integer(files.skipped));
    return ERR_OK;
}

/* ---- services ---- */

static enum err_code open_secrets(void *arg, const char *text, struct buffer *text_out,
                                  struct err *err)
{
    return task_open_secrets(arg, text, text_out, err);
}

static enum err_code ingest_pages(struct ingest *ingest, const struct json *given, struct err *err)
{
    CLEANUP(source_close) struct source *source = NULL;
    const struct source_http_options options = {
        .given = given,
        .remote = ingest->attempt->services->remote,
        .open_secrets = open_secrets,
        .open_arg = ingest->attempt,
    };
    bool was_done = false; /* by an earlier attempt */
    TRY(source_http_open(&options, &ingest->reader, &source, err));
    return ingest_source(ingest, source, &was_done, err);
}

/* ---- tables ---- */

/* Either a table of this server, which the run has to be allowed to read, or a folder. */
static enum err_code find_source(struct ingest *ingest, const struct json *given,
                                 struct source_table_options *options, struct err *err)
{
    const char *name = json_text(json_get(given, "table"));
    options->path = json_text(json_get(given, "path"));
    if (name == NULL) {
        return options->path != NULL
                   ? ERR_OK
                   : err_set(err, ERR_INVALID, "/source: give the name of a table or a path");
    }
    TRY(task_check_access(ingest->attempt, "rows.read", name, err));
    TRY(tables_find(ingest->attempt->services->tables, name, &options->table, err));
    return options->table != ingest->table
               ? ERR_OK
               : err_set(err, ERR_INVALID, "/source/table: a table is no source of itself");
}

static enum err_code ingest_versions(struct ingest *ingest,
                                     const struct source_table_options *options, struct err *err)
{
    CLEANUP(source_close) struct source *source = NULL;
    bool was_done = false; /* there was no newer version */
    TRY(source_table_open(options, &ingest->reader, &source, err));
    task_set_value(ingest->attempt, "source_version",
                   json_new_integer(source_table_version(source)));
    return ingest_source(ingest, source, &was_done, err);
}

static enum err_code ingest_table(struct ingest *ingest, const struct json *given, struct err *err)
{
    const struct json *columns = json_get(given, "columns");
    size_t count = json_count(columns);
    CLEANUP(mem_cleanup) const char **names = mem_zeroed(count + 1, sizeof *names);
    CLEANUP(table_release) struct table *table = NULL;
    struct source_table_options options = {
        .roots = ingest->attempt->services->source_roots,
        .columns = count > 0 ? names : NULL,
        .columns_count = count,
    };
    for (size_t i = 0; i < count; i++) {
        names[i] = json_text(json_at(columns, i));
        if (names[i] == NULL) {
            return err_set(err, ERR_INVALID, "/source/columns/%zu: give the name of a column", i);
        }
    }
    enum err_code code = find_source(ingest, given, &options, err);
    table = options.table;
    return code == ERR_OK ? ingest_versions(ingest, &options, err) : code;
}

static enum err_code ingest_all(struct ingest *ingest, struct err *err)
{
    const struct json *source = json_get(ingest->attempt->body, "source");
    const char *type = json_text(json_get(source, "type"));
    if (type != NULL && strcmp(type, "file") == 0) {
        return ingest_files(ingest, source, err);
    }
    if (type != NULL && strcmp(type, "http") == 0) {
        return ingest_pages(ingest, source, err);
    }
    if (type != NULL && strcmp(type, "table") == 0) {
        return ingest_table(ingest, source, err);
    }
    return err_set(err, ERR_UNSUPPORTED, "/source/type: sources of the type '%s' cannot be read",
                   type != NULL ? type : "");
}

/* ---- the end ---- */

/* Until every batch of the task is indexed, or failed. */
static enum err_code wait_for_batches(struct ingest *ingest, struct source_tally *tally_out,
                                      struct err *err)
{
    int64_t seen = 0;
    for (;;) {
        TRY(task_wait_progress(ingest->attempt, table_uuid(ingest->table), &seen, err));
        TRY(source_tally(ingest->stores.catalog, ingest->attempt->run_id, ingest->key, tally_out,
                         err));
        if (tally_out->failed_count > 0) {
            return err_set(err, ERR_CORRUPT,
                           "%" PRId64 " of its batches could not be merged and are in the dead "
                           "letters, such as batch %s",
                           tally_out->failed_count, tally_out->failed_batch.text);
        }
        if (tally_out->unfinished_count == 0) {
            return ERR_OK;
        }
    }
}

static struct json *report_of(const struct expectation *expectation,
                              const struct expectation_tally *tally, bool with_lines)
{
    struct json *entry = json_new_object();
    json_set_text(entry, "name", expectation->name);
    json_set_text(entry, "type", expectation_type_name(expectation->type));
    json_set_text(entry, "action", expectation_action_name(expectation->action));
    json_set_integer(entry, "judged", tally->judged);
    json_set_integer(entry, "violations", tally->violations);
    if (with_lines) {
        struct json *lines = json_new_array();
        for (size_t i = 0; i < tally->examples_count; i++) {
            json_append(lines, json_new_integer(tally->examples[i].line));
        }
        json_set(entry, "lines", lines);
    }
    return entry;
}

static void set_count(struct ingest *ingest, const char *name, int64_t count)
{
    task_set_value(ingest->attempt, name, json_new_integer(count));
}

static enum err_code report(struct ingest *ingest, const struct source_tally *tally,
                            struct err *err)
{
    struct ingest_findings findings = {0};
    TRY(ingest_findings_read(ingest, &findings, err));
    set_count(ingest, "received", tally->received + findings.dropped);
    set_count(ingest, "accepted", tally->accepted);
    set_count(ingest, "rejected", tally->rejected);
    set_count(ingest, "dropped", findings.dropped);
    set_count(ingest, "quarantined", findings.quarantined);
    set_count(ingest, "applied", tally->applied);
    set_count(ingest, "superseded", tally->superseded);
    set_count(ingest, "rejected_at_merge", tally->rejected_at_merge);
    set_count(ingest, "pieces", tally->batches_count);
    if (tally->version_last >= 0) {
        set_count(ingest, "first_version", tally->version_first);
        set_count(ingest, "version", tally->version_last);
        task_note_version(ingest->attempt, table_name(ingest->table), true, tally->version_last);
    }
    size_t count = ingest->expectations->count;
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(list, report_of(&ingest->expectations->items[i], &findings.tallies[i],
                                    count <= LINES_SHOWN_MAX));
    }
    task_set_value(ingest->attempt, "expectations", list);
    mem_free(findings.tallies);
    return ERR_OK;
}

enum err_code task_ingest_run(struct task_attempt *attempt, struct err *err)
{
    CLEANUP(ingest_deinit) struct ingest ingest = {.attempt = attempt};
    struct source_tally tally = {0};
    TRY(open_ingest(&ingest, err));
    TRY(begin_progress(&ingest, err));
    TRY(ingest_all(&ingest, err));
    TRY(wait_for_batches(&ingest, &tally, err));
    return report(&ingest, &tally, err);
}
