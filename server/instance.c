/*
 * An instance. See instance.h for the contract and the layout of its directory.
 */
#include "server/instance.h"

#include "handlers/definitions.h"
#include "handlers/services.h"
#include "handlers/waiting_room.h"
#include "storage/audit/audit.h"
#include "storage/base/arena.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/base/secret.h"
#include "storage/catalog/access.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/tables.h"
#include "storage/columns/schema.h"
#include "storage/intake/recent_frames.h"
#include "storage/jobs/pools.h"
#include "storage/journal/journal.h"
#include "storage/remote/breaker.h"
#include "storage/remote/client.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/task.h"
#include "workers/workers.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char user_agent[] = "sluice/0.1.0"; /* how we name ourselves to other servers */

enum {
    START_ARENA_BYTES = 256 << 20,
    TABLES_PAGE = 100,
    RECENT_FRAMES_BYTES = 64 << 20,
};

struct instance {
    struct instance_options options;
    char *data;
    int lock_fd;
    struct roots *source_roots;
    struct roots *export_roots;
    struct breakers *breakers;
    struct remote *remote;
    struct secret_keys *keys;
    struct catalog *catalog;
    struct journal *journal;
    struct journal *dead_letters;
    struct audit *audit;
    struct tables *tables;
    struct job_pools pools;
    char *spool;
    struct workers *workers;
    struct intake_limits intake_limits;
    struct recent_frames *recent;
    struct services services;
};

/* ---- the directory ---- */

/* Others must not look into what holds health information and keys. */
static enum err_code check_private(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return err_set_errno(err, errno, "look at %s", path);
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return err_set(err, ERR_FORBIDDEN,
                       "%s is open to other users (mode %03o); close it with: chmod go-rwx %s",
                       path, (unsigned)(status.st_mode & 0777), path);
    }
    return ERR_OK;
}

static enum err_code check_private_if_there(const char *data, const char *name, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(data, name);
    return file_exists(path) ? check_private(path, err) : ERR_OK;
}

enum err_code instance_lock(const char *data, int *fd_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(data, "lock");
    if (!file_exists(data)) {
        return err_set(err, ERR_NOT_FOUND, "there is no data directory %s", data);
    }
    return file_lock(path, fd_out, err);
}

static enum err_code open_directory(struct instance *instance, struct err *err)
{
    TRY(file_make_directory(instance->data, err));
    TRY(check_private(instance->data, err));
    TRY(instance_lock(instance->data, &instance->lock_fd, err));
    /* a killed process leaves names that are visible but not durable: nothing is built on those */
    TRY(file_sync_file_system(instance->data, err));
    TRY(check_private_if_there(instance->data, "secrets", err));
    TRY(check_private_if_there(instance->data, "admin.token", err));
    CLEANUP(mem_cleanup) char *secrets = file_join(instance->data, "secrets");
    CLEANUP(mem_cleanup) char *key = file_join(secrets, "root.key");
    TRY(file_make_directory(secrets, err));
    return secret_keys_open(key, &instance->keys, err);
}

/* Folders of others, opened to jobs: never the one that holds keys and health information. */
static enum err_code open_roots(struct instance *instance, struct err *err)
{
    const struct instance_options *options = &instance->options;
    TRY(roots_open(options->source_roots, "source-roots", &instance->source_roots, err));
    TRY(roots_check_apart(instance->source_roots, instance->data, err));
    TRY(roots_open(options->export_roots, "export-roots", &instance->export_roots, err));
    return roots_check_apart(instance->export_roots, instance->data, err);
}

/* What tasks of jobs need beside: threads, and a folder for files that nobody else sees. */
static enum err_code open_task_places(struct instance *instance, struct err *err)
{
    const struct instance_options *options = &instance->options;
    if (job_pools_parse(span_of_text(options->task_pools), (size_t)options->task_threads,
                        &instance->pools, err) != ERR_OK) {
        return err_wrap(err, "task-pools");
    }
    instance->spool = file_join(instance->data, "spool");
    return file_make_directory(instance->spool, err);
}

/* ---- other servers ---- */

static void log_breaker(void *arg, const char *name, enum breaker_state state, const char *reason)
{
    (void)arg;
    struct log_line line;
    bool closed = state == BREAKER_CLOSED;
    log_begin(&line, closed ? LOG_INFO : LOG_WARN,
              closed                  ? "a circuit breaker closed"
              : state == BREAKER_OPEN ? "a circuit breaker opened"
                                      : "a circuit breaker tries one request");
    log_text(&line, LOG_ORIGIN, name);
    log_text(&line, LOG_ERROR_TEXT, closed ? NULL : reason);
    log_end(&line);
}

static enum err_code open_remote(struct instance *instance, struct err *err)
{
    const struct breakers_options breakers_options = {.changed = log_breaker};
    instance->breakers = breakers_new(&breakers_options);
    const struct remote_options remote_options = {
        .allow = instance->options.outgoing_allow,
        .user_agent = user_agent,
        .breakers = instance->breakers,
    };
    return remote_open(&remote_options, &instance->remote, err);
}

/* ---- stores ---- */

static void log_recovery(const char *what, const struct segment_recovery *recovery)
{
    if (recovery->cut_bytes == 0) {
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_WARN, "cut a record that a crash left half written");
    log_text(&line, LOG_PATH, what);
    log_integer(&line, LOG_COUNT_OF, recovery->cut_bytes);
    log_end(&line);
}

static enum err_code open_journal(struct instance *instance, const char *name,
                                  enum journal_kind kind, struct journal **journal_out,
                                  struct err *err)
{
    struct segment_recovery recovery = {0};
    CLEANUP(mem_cleanup) char *path = file_join(instance->data, name);
    TRY(journal_open(path, kind, journal_out, &recovery, err));
    log_recovery(name, &recovery);
    return ERR_OK;
}

/* What a group of accepted batches refers to, and who gave it, on disk before the group is. */
static void sync_before_promise(void *arg)
{
    const struct instance *instance = arg;
    audit_sync_all(instance->audit);
    journal_sync_all(instance->journal);
    journal_sync_all(instance->dead_letters);
}

static enum err_code open_stores(struct instance *instance, struct err *err)
{
    CLEANUP(mem_cleanup) char *catalog = file_join(instance->data, "catalog");
    CLEANUP(mem_cleanup) char *audit = file_join(instance->data, "audit");
    const struct catalog_options catalog_options = {
        .retention_us = instance->options.retention_seconds * 1000000,
        .dead_letter_bytes_max = instance->options.dead_letter_bytes_max,
        .before_promise = sync_before_promise,
        .before_promise_arg = instance,
    };
    const struct audit_options audit_options = {
        .reads_durable = instance->options.audit_reads_durable,
    };
    TRY(open_journal(instance, "journal", JOURNAL_FRAMES, &instance->journal, err));
    TRY(open_journal(instance, "dead-letters", JOURNAL_DEAD_LETTERS, &instance->dead_letters, err));
    TRY(catalog_open(catalog, instance->keys, &catalog_options, &instance->catalog, err));
    return audit_open(audit, instance->keys, &audit_options, &instance->audit, err);
}

/*
 * The first administrator's token: shown in a file of its own, once. What a first
 * start that was cut short left there is replaced, never taken up: it may be as old
 * as a catalog that was thrown away.
 */
static enum err_code keep_admin_token(void *arg, struct span token_text, struct err *err)
{
    const struct instance *instance = arg;
    CLEANUP(mem_cleanup) char *path = file_join(instance->data, "admin.token");
    char line[TOKEN_TEXT_BYTES + 1];
    assert(token_text.size == TOKEN_TEXT_BYTES);
    memcpy(line, token_text.data, TOKEN_TEXT_BYTES);
    line[TOKEN_TEXT_BYTES] = '\n';
    enum err_code code = file_replace(path, span_of(line, sizeof line), err);
    secret_wipe(line, sizeof line);
    return code;
}

/* ---- tables ---- */

static enum err_code open_tables(struct instance *instance, struct err *err)
{
    CLEANUP(mem_cleanup) char *root = file_join(instance->data, "tables");
    CLEANUP(mem_cleanup) char *index = file_join(instance->data, "index");
    struct tables_options options = {
        .root = root,
        .index_root = index,
        .instance = catalog_instance(instance->catalog),
    };
    memcpy(options.index_key, secret_key(instance->keys, SECRET_INDEX), sizeof options.index_key);
    return tables_open(&options, &instance->tables, err);
}

static enum err_code parse_definition(const struct catalog_table *record,
                                      struct schema **schema_out, struct err *err)
{
    CLEANUP(json_free) struct json *definition = NULL;
    TRY(json_parse(span_of_text(record->definition), &definition, err));
    return schema_load(definition, record->definition_version, schema_out, err);
}

/*
 * Open one table. A row without a folder is a creation that a crash cut short,
 * and is finished, but only when nothing was ever accepted for it: otherwise
 * the folder is lost, and starting without it would hide that.
 */
static enum err_code attach_table(struct instance *instance, const struct catalog_table *record,
                                  struct err *err)
{
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(parse_definition(record, &schema, err));
    enum err_code code = tables_attach(instance->tables, record->name, &record->uuid, schema, err);
    if (code != ERR_NOT_FOUND) {
        return code;
    }
    struct lane_statistics lane;
    struct err unfound = *err;
    TRY(lane_statistics(instance->catalog, &record->uuid, &lane, err));
    if (lane.position_last > 0) {
        *err = unfound;
        return err_wrap(err,
                        "its folder is missing though batches were accepted for it; restore it");
    }
    err_clear(err);
    return tables_create(instance->tables, record->name, &record->uuid, schema, err);
}

static void log_unfinished(const struct catalog_table *record, const struct err *why)
{
    struct log_line line;
    log_begin(&line, LOG_WARN,
              why->code == ERR_CONFLICT
                  ? "another engine changed the table's columns: its rows are read, not written"
                  : "the disk is full: a change of a definition is finished later");
    log_text(&line, LOG_TABLE, record->name);
    log_err(&line, why);
    log_end(&line);
}

/*
 * A change of the definition that was cut short, either way round: the newer
 * version counts, and log and catalog get it.
 */
static enum err_code finish_change(struct instance *instance, const struct catalog_table *record,
                                   struct arena *arena, struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    TRY(tables_find_by_uuid(instance->tables, &record->uuid, &table, err));
    CLEANUP(schema_release) struct schema *schema = table_schema(table);
    enum err_code code = table_change_schema(table, schema, err);
    if (code == ERR_OK) {
        code = definitions_copy(instance->catalog, table, arena, err);
    }
    if (code == ERR_NO_SPACE || code == ERR_CONFLICT) { /* lookups need neither */
        log_unfinished(record, err);
        err_clear(err);
        return ERR_OK;
    }
    return code;
}

/* Has the table seen positions that the catalog never gave? Then the catalog was restored. */
static enum err_code catalog_is_behind(struct instance *instance,
                                       const struct catalog_table *record, bool *behind_out,
                                       struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    struct lane_statistics lane;
    TRY(tables_find_by_uuid(instance->tables, &record->uuid, &table, err));
    TRY(lane_statistics(instance->catalog, &record->uuid, &lane, err));
    *behind_out = *behind_out || table_applied_position(table) > lane.position_last;
    return ERR_OK;
}

static enum err_code attach_all(struct instance *instance, struct arena *arena, bool *behind_out,
                                struct err *err)
{
    const char *after = NULL;
    for (;;) {
        struct catalog_table *records = NULL;
        size_t count = 0;
        TRY(catalog_table_list(instance->catalog, false, after, TABLES_PAGE, arena, &records,
                               &count, err));
        for (size_t i = 0; i < count; i++) {
            if (attach_table(instance, &records[i], err) != ERR_OK ||
                finish_change(instance, &records[i], arena, err) != ERR_OK ||
                catalog_is_behind(instance, &records[i], behind_out, err) != ERR_OK) {
                return err_wrap(err, "open table '%s'", records[i].name);
            }
        }
        if (count < TABLES_PAGE) {
            return ERR_OK;
        }
        after = records[count - 1].name;
    }
}

/*
 * Tables and, when the catalog turns out older than a table, a new instance uuid:
 * positions start over under a new appId, so none is mistaken for one given before.
 */
static enum err_code attach_tables(struct instance *instance, struct err *err)
{
    struct arena arena;
    arena_init(&arena, START_ARENA_BYTES);
    bool behind = false;
    enum err_code code = open_tables(instance, err);
    if (code == ERR_OK) {
        code = attach_all(instance, &arena, &behind, err);
    }
    if (code == ERR_OK && behind) {
        struct id minted;
        tables_close(&instance->tables);
        code = catalog_mint_instance(instance->catalog, &minted, err);
        if (code == ERR_OK) {
            code = open_tables(instance, err);
        }
        arena_reset(&arena);
        if (code == ERR_OK) {
            code = attach_all(instance, &arena, &behind, err);
        }
    }
    arena_deinit(&arena);
    return code;
}

/* ---- services ---- */

static void wake_lane(void *arg, const struct id *table)
{
    struct instance *instance = arg;
    workers_wake(instance->workers, table);
}

static void note_progress(void *arg, const struct id *table)
{
    struct instance *instance = arg;
    waiting_room_notify(instance->services.waiting_room, table);
}

static void run_ended(void *arg, int64_t job_id, int64_t run_id)
{
    struct instance *instance = arg;
    struct id subject = waiting_room_run(run_id);
    (void)job_id;
    waiting_room_notify(instance->services.waiting_room, &subject);
}

static void job_changed(void *arg, int64_t job_id)
{
    struct instance *instance = arg;
    workers_job_changed(instance->workers, job_id);
}

static void run_changed(void *arg, int64_t run_id)
{
    struct instance *instance = arg;
    workers_run_changed(instance->workers, run_id);
}

static void webhooks_due(void *arg)
{
    struct instance *instance = arg;
    workers_webhooks_due(instance->workers);
}

static bool run_progress(void *arg, int64_t run_id, size_t task, int64_t iteration,
                         struct run_progress *progress_out)
{
    struct instance *instance = arg;
    struct task_progress progress;
    if (!workers_run_progress(instance->workers, run_id, task, iteration, &progress)) {
        return false;
    }
    *progress_out = (struct run_progress){
        .rows_in = progress.rows_in,
        .rows_out = progress.rows_out,
        .rows_rejected = progress.rows_rejected,
        .bytes_in = progress.bytes_in,
        .bytes_out = progress.bytes_out,
        .work_done = progress.work_done,
        .work_total = progress.work_total,
    };
    return true;
}

static bool pool_exists(void *arg, const char *pool)
{
    const struct instance *instance = arg;
    size_t index = 0;
    return job_pools_find(&instance->pools, pool, &index);
}

static void set_intake_limits(struct instance *instance)
{
    const struct instance_options *options = &instance->options;
    struct intake_limits *limits = &instance->intake_limits;
    limits->body_bytes_max = options->batch_body_bytes_max;
    limits->records_max = options->batch_records_max;
    limits->lane_queue_bytes_max = options->lane_queue_bytes_max;
    limits->lane_queue_batches_max = options->lane_queue_batches_max;
    limits->memory_bytes_max = options->decode_memory_bytes_max;
}

static enum err_code start_services(struct instance *instance, struct err *err)
{
    const struct instance_options *options = &instance->options;
    struct services *services = &instance->services;
    set_intake_limits(instance);
    services->catalog = instance->catalog;
    services->journal = instance->journal;
    services->dead_letters = instance->dead_letters;
    services->intake = (struct intake_stores){
        .catalog = instance->catalog,
        .journal = instance->journal,
        .dead_letters = instance->dead_letters,
        .limits = &instance->intake_limits,
        .recent = instance->recent,
    };
    services->audit = instance->audit;
    services->tables = instance->tables;
    services->keys = instance->keys;
    services->source_roots = instance->source_roots;
    services->export_roots = instance->export_roots;
    services->breakers = instance->breakers;
    services->wake_lane = wake_lane;
    services->wake_arg = instance;
    services->jobs = (struct services_jobs){
        .job_changed = job_changed,
        .run_changed = run_changed,
        .webhooks_due = webhooks_due,
        .run_progress = run_progress,
        .pool_exists = pool_exists,
        .arg = instance,
    };
    services->wait_seconds_max = options->wait_seconds_max;
    services->waiting_room = waiting_room_open(services);
    const struct workers_options workers = {
        .catalog = instance->catalog,
        .tables = instance->tables,
        .audit = instance->audit,
        .remote = instance->remote,
        .breakers = instance->breakers,
        .source_roots = instance->source_roots,
        .export_roots = instance->export_roots,
        .spool = instance->spool,
        .intake = &services->intake,
        .pools = &instance->pools,
        .progress = note_progress,
        .run_ended = run_ended,
        .arg = instance,
        .merge_threads = (int)options->merge_threads,
        .commit_interval_us = options->commit_interval_us,
        .commit_batches_max = options->commit_batches_max,
        .commit_bytes_max = options->commit_bytes_max,
        .refresh_interval_us = options->refresh_interval_us,
        .dropped_retention_us = options->dropped_retention_seconds * 1000000,
        .run_retention_us = options->run_retention_seconds * 1000000,
        .runs_per_job_max = options->runs_per_job_max,
    };
    return workers_start(&workers, &instance->workers, err);
}

/* ---- fatal signals ---- */

/* Charge the merge this thread was in, then die of the same signal. */
static void note_fatal_signal(int number)
{
    catalog_mark_crash();
    (void)signal(number, SIG_DFL); /* async-signal-safe; the signal is raised again on return */
    (void)raise(number);
}

static void watch_fatal_signals(void)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_handler = note_fatal_signal, .sa_flags = SA_NODEFER};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int result = sigaction(numbers[i], &action, NULL);
        assert(result == 0);
    }
}

enum err_code instance_open(const struct instance_options *options, struct instance **instance_out,
                            struct err *err)
{
    struct instance *instance = mem_zeroed(1, sizeof *instance);
    instance->options = *options;
    instance->data = mem_copy_text(options->data);
    instance->lock_fd = -1;
    intake_limits_init(&instance->intake_limits);
    instance->recent = recent_frames_new(RECENT_FRAMES_BYTES);
    lock_init(&instance->services.definitions, LOCK_RANK_DEFINITIONS);
    lock_init(&instance->services.roles, LOCK_RANK_DEFINITIONS);
    lock_init(&instance->services.job_definitions, LOCK_RANK_DEFINITIONS);
    watch_fatal_signals();
    enum err_code code = secret_init(err);
    if (code == ERR_OK) {
        code = open_directory(instance, err);
    }
    if (code == ERR_OK) {
        code = open_roots(instance, err);
    }
    if (code == ERR_OK) {
        code = open_task_places(instance, err);
    }
    if (code == ERR_OK) {
        code = open_remote(instance, err);
    }
    if (code == ERR_OK) {
        code = open_stores(instance, err);
    }
    if (code == ERR_OK) {
        code = access_bootstrap(instance->catalog, keep_admin_token, instance, err);
    }
    if (code == ERR_OK) {
        code = attach_tables(instance, err);
    }
    if (code == ERR_OK) {
        code = start_services(instance, err);
    }
    if (code != ERR_OK) {
        instance_close(&instance);
        return code;
    }
    *instance_out = instance;
    return ERR_OK;
}

void instance_end_waits(struct instance *instance)
{
    atomic_store_explicit(&instance->services.stopping, true, memory_order_relaxed);
    waiting_room_dismiss(instance->services.waiting_room);
}

void instance_close(struct instance **instance)
{
    if (*instance == NULL) {
        return;
    }
    struct instance *closed = *instance;
    workers_stop(&closed->workers); /* notes progress in the waiting room, so it goes first */
    waiting_room_close(&closed->services.waiting_room);
    tables_close(&closed->tables);
    audit_close(&closed->audit);
    catalog_close(&closed->catalog); /* its last commit syncs the journals */
    journal_close(&closed->dead_letters);
    journal_close(&closed->journal);
    secret_keys_close(&closed->keys);
    remote_close(&closed->remote);
    breakers_free(&closed->breakers);
    roots_close(&closed->export_roots);
    roots_close(&closed->source_roots);
    job_pools_deinit(&closed->pools);
    mem_free(closed->spool);
    file_close(&closed->lock_fd);
    recent_frames_free(&closed->recent);
    intake_limits_deinit(&closed->intake_limits);
    lock_deinit(&closed->services.job_definitions);
    lock_deinit(&closed->services.roles);
    lock_deinit(&closed->services.definitions);
    mem_free(closed->data);
    mem_free(closed);
    *instance = NULL;
}

struct services *instance_services(struct instance *instance)
{
    return &instance->services;
}
