/*
 * The ingest task under test. See ingest_kit.h.
 */
#include "tests/unit/workers/ingest_kit.h"

#include "storage/audit/audit.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/secret.h"
#include "storage/catalog/access.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"
#include "storage/columns/encode_json.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/pools.h"
#include "storage/intake/recent_frames.h"
#include "storage/journal/journal.h"
#include "storage/remote/client.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "tests/support/temp_dir.h"
#include "workers/merge.h"
#include "workers/workers.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATIENCE_US = 60000000, RECENT_BYTES = 16 << 20 };

struct ingest_kit ingest_kit;

static struct {
    struct temp_dir dir;
    struct secret_keys *keys;
    struct catalog *catalog;
    struct journal *journal;
    struct journal *dead_letters;
    struct audit *audit;
    struct tables *tables;
    struct workers *workers;
    char *spool;
    struct roots *roots;
    struct remote *remote;
    struct id principal;
    struct arena arena;
    struct lock lock; /* for `changed` alone */
    struct wake changed;
    char error[1024];
    char *values;
} own;

static char *inside(const char *name)
{
    return temp_dir_join(&own.dir, name);
}

void ingest_kit_set_up_folder(void)
{
    struct err err = {0};
    own.dir = temp_dir_make();
    ingest_kit.folder = own.dir.path;
    CLEANUP(mem_cleanup) char *key = inside("root.key");
    CLEANUP(mem_cleanup) char *drop = inside("drop");
    CLEANUP(mem_cleanup) char *spool = inside("spool");
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(key, &own.keys, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(file_make_directory(drop, &err), ERR_OK);
    cr_assert_eq(file_make_directory(spool, &err), ERR_OK);
    arena_init(&own.arena, 1 << 30);
    lock_init(&own.lock, LOCK_RANK_METRICS);
    wake_init(&own.changed);
}

void ingest_kit_tear_down_folder(void)
{
    secret_keys_close(&own.keys);
    arena_deinit(&own.arena);
    mem_free(own.values);
    own.values = NULL;
    temp_dir_remove(&own.dir);
}

/* ---- services ---- */

static enum err_code forget_token(void *arg, struct span token, struct err *err)
{
    (void)arg;
    (void)token;
    (void)err;
    return ERR_OK;
}

static void sync_journals(void *arg)
{
    (void)arg;
    journal_sync_all(own.journal);
    journal_sync_all(own.dead_letters);
}

static struct journal *open_journal(const char *name, enum journal_kind kind)
{
    struct err err = {0};
    struct journal *journal = NULL;
    struct segment_recovery recovery;
    CLEANUP(mem_cleanup) char *path = inside(name);
    cr_assert_eq(journal_open(path, kind, &journal, &recovery, &err), ERR_OK, "%s", err.msg);
    return journal;
}

static void open_stores(void)
{
    struct err err = {0};
    struct principal_record admin;
    CLEANUP(mem_cleanup) char *catalog = inside("catalog");
    CLEANUP(mem_cleanup) char *audit = inside("audit");
    const struct catalog_options options = {.before_promise = sync_journals};
    const struct audit_options audit_options = {0};
    own.journal = open_journal("journal", JOURNAL_FRAMES);
    own.dead_letters = open_journal("dead-letters", JOURNAL_DEAD_LETTERS);
    cr_assert_eq(catalog_open(catalog, own.keys, &options, &own.catalog, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(access_bootstrap(own.catalog, forget_token, NULL, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(principal_get(own.catalog, "admin", &own.arena, &admin, &err), ERR_OK, "%s",
                 err.msg);
    own.principal = admin.id;
    cr_assert_eq(audit_open(audit, own.keys, &audit_options, &own.audit, &err), ERR_OK, "%s",
                 err.msg);
}

static struct schema *parse_schema(const char *definition, int32_t version)
{
    CLEANUP(json_free) struct json *json = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(definition), &json, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(schema_load(json, version, &schema, &err), ERR_OK, "%s", err.msg);
    return schema;
}

/* A folder that a crash cut short is made anew: nothing was accepted for it. */
static void attach(const struct catalog_table *record)
{
    struct err err = {0};
    CLEANUP(schema_release)
    struct schema *schema = parse_schema(record->definition, record->definition_version);
    enum err_code code = tables_attach(own.tables, record->name, &record->uuid, schema, &err);
    if (code == ERR_NOT_FOUND) {
        err_clear(&err);
        code = tables_create(own.tables, record->name, &record->uuid, schema, &err);
    }
    cr_assert_eq(code, ERR_OK, "%s", err.msg);
}

static void open_tables(void)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *root = inside("tables");
    CLEANUP(mem_cleanup) char *index = inside("index");
    struct tables_options options = {
        .root = root, .index_root = index, .instance = catalog_instance(own.catalog)};
    memcpy(options.index_key, secret_key(own.keys, SECRET_INDEX), sizeof options.index_key);
    cr_assert_eq(tables_open(&options, &own.tables, &err), ERR_OK, "%s", err.msg);
    struct catalog_table *records = NULL;
    size_t count = 0;
    cr_assert_eq(
        catalog_table_list(own.catalog, false, NULL, 100, &own.arena, &records, &count, &err),
        ERR_OK);
    for (size_t i = 0; i < count; i++) {
        attach(&records[i]);
    }
}

static void note_progress(void *arg, const struct id *table)
{
    (void)arg;
    (void)table; /* the workers' own runner is told by them */
}

static void run_ended(void *arg, int64_t job_id, int64_t run_id)
{
    (void)arg;
    (void)job_id;
    (void)run_id;
    lock_take(&own.lock);
    wake_all(&own.changed);
    lock_drop(&own.lock);
}

static void open_workers(void)
{
    struct err err = {0};
    CLEANUP(job_pools_deinit) struct job_pools pools = {0};
    CLEANUP(mem_cleanup) char *drop = inside("drop");
    const struct remote_options remote = {.allow = ingest_kit.allow};
    cr_assert_eq(remote_open(&remote, &own.remote, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(job_pools_parse(span_of_text(""), 4, &pools, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(roots_open(drop, "source-roots", &own.roots, &err), ERR_OK, "%s", err.msg);
    own.spool = inside("spool");
    const struct workers_options options = {
        .catalog = own.catalog,
        .tables = own.tables,
        .audit = own.audit,
        .remote = own.remote,
        .source_roots = own.roots,
        .export_roots = own.roots,
        .spool = own.spool,
        .intake = &ingest_kit.stores,
        .pools = &pools,
        .progress = note_progress,
        .run_ended = run_ended,
        .merge_threads = 1,
        .commit_interval_us = 0,
        .commit_batches_max = 1000,
        .commit_bytes_max = 1 << 28,
        .refresh_interval_us = 1000000,
        .dropped_retention_us = INT64_C(86400) * 1000000,
        .run_retention_us = INT64_C(86400) * 1000000,
        .runs_per_job_max = 1000,
    };
    cr_assert_eq(workers_start(&options, &own.workers, &err), ERR_OK, "%s", err.msg);
}

static void open_limits(void)
{
    intake_limits_init(&ingest_kit.limits);
    ingest_kit.limits.body_bytes_max = 1 << 28;
    ingest_kit.limits.records_max = 1000000;
    ingest_kit.limits.lane_queue_bytes_max = 1 << 30;
    ingest_kit.limits.lane_queue_batches_max =
        ingest_kit.lane_queue_batches_max > 0 ? ingest_kit.lane_queue_batches_max : 10000;
    ingest_kit.limits.memory_bytes_max = 1 << 30;
    ingest_kit.stores = (struct intake_stores){.catalog = own.catalog,
                                               .journal = own.journal,
                                               .dead_letters = own.dead_letters,
                                               .limits = &ingest_kit.limits,
                                               .recent = recent_frames_new(RECENT_BYTES)};
}

void ingest_kit_open(void)
{
    open_stores();
    open_tables();
    open_limits();
    if (!ingest_kit.merges_when_told) {
        open_workers();
    }
}

void ingest_kit_close(void)
{
    workers_stop(&own.workers);
    remote_close(&own.remote);
    roots_close(&own.roots);
    tables_close(&own.tables);
    audit_close(&own.audit);
    catalog_close(&own.catalog);
    journal_close(&own.dead_letters);
    journal_close(&own.journal);
    mem_free(own.spool);
    own.spool = NULL;
    recent_frames_free(&ingest_kit.stores.recent);
    intake_limits_deinit(&ingest_kit.limits);
}

void ingest_kit_set_up(void)
{
    ingest_kit_set_up_folder();
    ingest_kit_open();
}

void ingest_kit_tear_down(void)
{
    ingest_kit_close();
    ingest_kit_tear_down_folder();
}

/* ---- tables and files ---- */

static char *with_quotes(const char *text)
{
    char *copy = mem_copy_text(text);
    for (char *byte = copy; *byte != '\0'; byte++) {
        *byte = *byte == '\'' ? '"' : *byte;
    }
    return copy;
}

void ingest_kit_table(const char *name, const char *definition)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *quoted = with_quotes(definition);
    CLEANUP(table_release) struct table *there = NULL;
    if (tables_find(own.tables, name, &there, &err) == ERR_OK) {
        return;
    }
    err_clear(&err);
    CLEANUP(schema_release) struct schema *schema = parse_schema(quoted, 1);
    const struct id uuid = id_new_random();
    cr_assert_eq(catalog_table_create(own.catalog, name, &uuid, quoted, 1, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(tables_create(own.tables, name, &uuid, schema, &err), ERR_OK, "%s", err.msg);
}

/* ---- batches ---- */

static struct table *find_table(const char *name)
{
    struct err err = {0};
    struct table *table = NULL;
    cr_assert_eq(tables_find(own.tables, name, &table, &err), ERR_OK, "%s", err.msg);
    return table;
}

struct id ingest_kit_post(const char *table_name, enum frame_operation operation, const char *body)
{
    struct err err = {0};
    int64_t position = 0;
    CLEANUP(mem_cleanup) char *quoted = with_quotes(body);
    CLEANUP(table_release) struct table *table = find_table(table_name);
    CLEANUP(intake_batch_deinit) struct intake_batch batch;
    intake_batch_init(&batch, &ingest_kit.stores);
    batch.schema = table_schema(table);
    batch.decode.format = DECODE_NDJSON;
    batch.decode.operation = operation;
    struct span text = span_of_text(quoted);
    cr_assert_eq(intake_batch_decode(&batch, text, CONTENT_IDENTITY, &err), ERR_OK, "%s", err.msg);
    const struct intake_origin origin = {
        .table = *table_uuid(table), .principal = own.principal, .body_bytes = (int64_t)text.size};
    cr_assert_eq(intake_batch_accept(&batch, &origin, &own.arena, &position, &err), ERR_OK, "%s",
                 err.msg);
    return batch.id;
}

struct batch ingest_kit_batch(const struct id *id)
{
    struct err err = {0};
    struct batch batch;
    cr_assert_eq(batch_get(own.catalog, id, &own.arena, &batch, &err), ERR_OK, "%s", err.msg);
    return batch;
}

bool ingest_kit_forget_frame(const char *table_name, const struct id *id)
{
    CLEANUP(table_release) struct table *table = find_table(table_name);
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    struct batch batch = ingest_kit_batch(id);
    CLEANUP(frame_free)
    struct frame *frame = recent_frames_take(ingest_kit.stores.recent, &batch.frame, schema);
    return frame != NULL;
}

size_t ingest_kit_errors(const struct id *id, struct batch_error **errors_out)
{
    struct err err = {0};
    size_t count = 0;
    cr_assert_eq(batch_errors(own.catalog, id, -1, 1000, &own.arena, errors_out, &count, &err),
                 ERR_OK, "%s", err.msg);
    return count;
}

void ingest_kit_merge(const char *name)
{
    struct err err = {0};
    struct lane_left left = {0};
    CLEANUP(table_release) struct table *table = find_table(name);
    const struct merge_services services = {
        .catalog = own.catalog,
        .journal = own.journal,
        .dead_letters = own.dead_letters,
        .recent = ingest_kit.stores.recent,
        .tables = own.tables,
        .progress = note_progress,
        .commit_batches_max = 10000,
        .commit_bytes_max = ingest_kit.commit_bytes_max > 0 ? ingest_kit.commit_bytes_max : 1 << 28,
    };
    cr_assert_eq(merge_step(&services, table_uuid(table), 1, &left, &err), ERR_OK, "%s", err.msg);
}

void ingest_kit_put(const char *name, struct span bytes)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *drop = inside("drop");
    CLEANUP(mem_cleanup) char *path = file_join(drop, name);
    cr_assert_eq(file_replace_derived(path, bytes, &err), ERR_OK, "%s", err.msg);
}

/* ---- runs ---- */

static char *definition_of(const char *body)
{
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    CLEANUP(buffer_deinit) struct buffer written;
    const struct job_parse_options options = {0};
    struct err err = {0};
    buffer_init(&text, 1 << 20);
    buffer_init(&written, DEFINITION_BYTES_MAX + 1);
    buffer_append_format(&text,
                         "{'name':'j','tasks':[{'task_key':'load','type':'ingest',"
                         "'max_retries':3,'min_retry_interval_millis':1,'ingest':%s}]}",
                         body);
    buffer_append_byte(&text, '\0');
    CLEANUP(mem_cleanup) char *quoted = with_quotes((const char *)text.data);
    cr_assert_eq(json_parse(span_of_text(quoted), &json, &err), ERR_OK, "%s: %s", err.msg, quoted);
    cr_assert_eq(job_definition_parse(json, &options, &problems, &definition, &err), ERR_OK,
                 "%s: %s", err.msg, quoted);
    json_write(definition->json, &written);
    buffer_append_byte(&written, '\0');
    return mem_copy(written.data, written.size);
}

int64_t ingest_kit_start(const char *body)
{
    CLEANUP(mem_cleanup) char *definition = definition_of(body);
    const struct run_new new = {.name = "j",
                                .definition = definition,
                                .run_as = own.principal,
                                .principal = own.principal,
                                .trigger = RUN_TRIGGER_ONE_OFF,
                                .trigger_time_us = clock_wall_us()};
    struct err err = {0};
    int64_t run_id = 0;
    bool made = false;
    cr_assert_eq(run_create(own.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    workers_run_changed(own.workers, run_id);
    return run_id;
}

bool ingest_kit_has_run(int64_t run_id)
{
    struct job_run run;
    struct err err = {0};
    enum err_code code = run_get(own.catalog, run_id, &own.arena, &run, &err);
    cr_assert(code == ERR_OK || code == ERR_NOT_FOUND, "%s", err.msg);
    return code == ERR_OK;
}

static struct job_run run_of(int64_t run_id)
{
    struct job_run run;
    struct err err = {0};
    cr_assert_eq(run_get(own.catalog, run_id, &own.arena, &run, &err), ERR_OK, "%s", err.msg);
    return run;
}

static void keep_outcome(int64_t run_id)
{
    struct run_task *tasks = NULL;
    size_t count = 0;
    struct err err = {0};
    const struct run_task_cursor none = {0};
    cr_assert_eq(run_tasks(own.catalog, run_id, &none, 10, &own.arena, &tasks, &count, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(count, 1);
    (void)snprintf(own.error, sizeof own.error, "%s", tasks[0].error != NULL ? tasks[0].error : "");
    mem_free(own.values);
    own.values = mem_copy_text(tasks[0].values != NULL ? tasks[0].values : "{}");
}

enum run_result ingest_kit_wait(int64_t run_id)
{
    int64_t deadline_us = clock_monotonic_us() + PATIENCE_US;
    struct job_run run = run_of(run_id);
    while (run.state != RUN_TERMINATED) {
        cr_assert(clock_monotonic_us() < deadline_us, "the run does not end");
        lock_take(&own.lock);
        (void)wake_wait_until(&own.changed, &own.lock, clock_monotonic_us() + 20000);
        lock_drop(&own.lock);
        run = run_of(run_id);
    }
    keep_outcome(run_id);
    return run.result;
}

enum run_result ingest_kit_run(const char *body)
{
    return ingest_kit_wait(ingest_kit_start(body));
}

const char *ingest_kit_error(void)
{
    return own.error;
}

const char *ingest_kit_values(void)
{
    return own.values;
}

int64_t ingest_kit_value(const char *name)
{
    CLEANUP(json_free) struct json *values = NULL;
    struct err err = {0};
    int64_t value = -1;
    cr_assert_eq(json_parse(span_of_text(own.values), &values, &err), ERR_OK, "%s", err.msg);
    (void)json_as_integer(json_get(values, name), &value);
    return value;
}

/* ---- what came of it ---- */

static int compare_lines(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

static void sort_lines(struct buffer *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->size; i++) {
        count += text->data[i] == '\n';
    }
    struct span *lines = mem_zeroed(count + 1, sizeof *lines);
    uint8_t *copy = mem_copy(text->data, text->size + 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *end = memchr(copy + at, '\n', text->size - at);
        lines[i] = span_of(copy + at, (size_t)(end - copy) + 1 - at);
        at += lines[i].size;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    buffer_reset(text);
    for (size_t i = 0; i < count; i++) {
        buffer_append_span(text, lines[i]);
    }
    mem_free(copy);
    mem_free(lines);
}

void ingest_kit_rows(const char *name, struct buffer *text)
{
    struct err err = {0};
    CLEANUP(table_release) struct table *table = NULL;
    cr_assert_eq(tables_find(own.tables, name, &table, &err), ERR_OK, "%s", err.msg);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    struct scan_request request = {.limit = SCAN_ROWS_MAX};
    for (bool more = true; more;) {
        struct scan_result result = {0};
        cr_assert_eq(scan_run(snapshot, &request, &result, &err), ERR_OK, "%s", err.msg);
        encode_ndjson_rows(result.frame, 0, result.frame->rows_count, NULL, text);
        more = !result.done;
        request.start = result.next;
        scan_result_deinit(&result);
    }
    buffer_append_byte(text, '\0');
    text->size--;
    sort_lines(text);
}

int64_t ingest_kit_rows_count(const char *name)
{
    struct err err = {0};
    CLEANUP(table_release) struct table *table = NULL;
    cr_assert_eq(tables_find(own.tables, name, &table, &err), ERR_OK, "%s", err.msg);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    return snapshot_rows_count(snapshot);
}

int64_t ingest_kit_version(const char *name)
{
    struct err err = {0};
    CLEANUP(table_release) struct table *table = NULL;
    cr_assert_eq(tables_find(own.tables, name, &table, &err), ERR_OK, "%s", err.msg);
    return table_version(table);
}

struct source_tally ingest_kit_tally(int64_t run_id)
{
    struct err err = {0};
    struct source_tally tally;
    cr_assert_eq(source_tally(own.catalog, run_id, "load/-1", &tally, &err), ERR_OK, "%s", err.msg);
    return tally;
}
