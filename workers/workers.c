/*
 * Mergers, maintenance and the clock that wakes them, jobs. See workers.h.
 */
#include "workers/workers.h"

#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/catalog/batches.h"
#include "storage/intake/intake.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/lanes.h"
#include "workers/maintenance.h"
#include "workers/merge.h"
#include "workers/progress_board.h"
#include "workers/runner.h"
#include "workers/scheduler.h"
#include "workers/task_types.h"
#include "workers/webhooks.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    ROUND_INTERVAL_US = 60000000, /* journals, pieces, dropped tables */
    JOURNAL_KEEP_US = 600000000,  /* for re-applying after a foreign overwrite */
    RECOVERY_ARENA_BYTES = 16 << 20,
    MAINTENANCE_THREADS = 1,
    MAINTENANCE_INTERVAL_US = 250000, /* of one table, which merges may want many times a second */
};

struct workers {
    struct workers_options options;
    struct merge_services merge;
    struct maintenance_services maintenance;
    struct lanes *merge_lanes;
    struct lanes *maintenance_lanes;
    struct webhooks *webhooks;
    struct progress_board *board; /* tasks wait for their batches here */
    struct runner *runner;
    struct scheduler *scheduler;
    _Atomic bool stopping; /* read by compactions while they work */
    struct lock lock;      /* guards `closing` */
    struct wake wake;
    bool closing;
    pthread_t ticker;
};

static enum err_code run_merge(void *arg, const struct id *lane, int attempt,
                               struct lane_left *left_out, struct err *err)
{
    struct workers *workers = arg;
    TRY(merge_step(&workers->merge, lane, attempt, left_out, err));
    lanes_wake(workers->maintenance_lanes, lane);
    return ERR_OK;
}

static enum err_code run_maintenance(void *arg, const struct id *lane, int attempt,
                                     struct lane_left *left_out, struct err *err)
{
    (void)attempt; /* nothing here is given up */
    struct workers *workers = arg;
    bool more = false;
    TRY(maintenance_step(&workers->maintenance, lane, &more, err));
    left_out->rest = more ? LANE_FULL : LANE_NOTHING;
    return ERR_OK;
}

static void wake_merge(void *arg, const struct id *table)
{
    struct workers *workers = arg;
    lanes_wake(workers->merge_lanes, table);
}

static void pass_progress(void *arg, const struct id *table)
{
    struct workers *workers = arg;
    workers->options.progress(workers->options.arg, table);
    progress_board_note(workers->board, table);
    scheduler_table_changed(workers->scheduler, table);
}

static void pass_run_ended(void *arg, int64_t job_id, int64_t run_id)
{
    struct workers *workers = arg;
    workers->options.run_ended(workers->options.arg, job_id, run_id);
    scheduler_run_ended(workers->scheduler, job_id);
}

static void take_run(void *arg, int64_t run_id)
{
    struct workers *workers = arg;
    runner_wake(workers->runner, run_id);
}

static void wake_webhooks(void *arg)
{
    struct workers *workers = arg;
    webhooks_wake(workers->webhooks);
}

static void wake_all_maintenance(struct workers *workers)
{
    struct tables_list list;
    tables_list_get(workers->options.tables, &list);
    for (size_t i = 0; i < list.count; i++) {
        lanes_wake(workers->maintenance_lanes, table_uuid(list.items[i]));
    }
    tables_list_free(&list);
}

static void run_round(struct workers *workers)
{
    struct err err = {0};
    if (maintenance_round(&workers->maintenance, &err) != ERR_OK) {
        struct log_line line;
        log_begin(&line, LOG_WARN, "housekeeping failed and will be tried again");
        log_text(&line, LOG_TASK, "housekeeping");
        log_err(&line, &err);
        log_end(&line);
    }
}

/* Wakes maintenance every refresh interval, runs a housekeeping round every minute. */
static void *ticker_main(void *arg)
{
    struct workers *workers = arg;
    int64_t next_round_us = clock_monotonic_us() + ROUND_INTERVAL_US;
    lock_take(&workers->lock);
    while (!workers->closing) {
        int64_t next_us = clock_monotonic_us() + workers->options.refresh_interval_us;
        (void)wake_wait_until(&workers->wake, &workers->lock, next_us); /* woken only to close */
        if (workers->closing) {
            break;
        }
        lock_drop(&workers->lock);
        wake_all_maintenance(workers);
        maintenance_observe(&workers->maintenance);
        if (clock_monotonic_us() >= next_round_us) {
            run_round(workers);
            next_round_us = clock_monotonic_us() + ROUND_INTERVAL_US;
        }
        lock_take(&workers->lock);
    }
    lock_drop(&workers->lock);
    return NULL;
}

/* Lanes that have work from before the start. */
static enum err_code wake_old_work(struct workers *workers, struct err *err)
{
    struct arena arena;
    arena_init(&arena, RECOVERY_ARENA_BYTES);
    struct id *lanes = NULL;
    size_t count = 0;
    enum err_code code = lanes_with_work(workers->options.catalog, &arena, &lanes, &count, err);
    for (size_t i = 0; code == ERR_OK && i < count; i++) {
        lanes_wake(workers->merge_lanes, &lanes[i]);
    }
    arena_deinit(&arena);
    return code;
}

/* Last of all: its tasks use everything else. */
static enum err_code start_jobs(struct workers *workers, struct err *err)
{
    const struct workers_options *options = &workers->options;
    const struct webhooks_options webhooks = {.catalog = options->catalog,
                                              .remote = options->remote};
    webhooks_start(&webhooks, &workers->webhooks);
    const struct runner_options runner = {
        .services =
            {
                .catalog = options->catalog,
                .tables = options->tables,
                .audit = options->audit,
                .remote = options->remote,
                .breakers = options->breakers,
                .source_roots = options->source_roots,
                .export_roots = options->export_roots,
                .spool = options->spool,
                .intake = options->intake,
                .progress = workers->board,
                .wake_lane = wake_merge,
                .wake_arg = workers,
            },
        .types = task_types,
        .pools = options->pools,
        .run_ended = pass_run_ended,
        .deliveries_made = wake_webhooks,
        .arg = workers,
    };
    TRY(runner_start(&runner, &workers->runner, err));
    scheduler_start(workers->scheduler);
    return ERR_OK;
}

/* First of all: whatever is started afterwards may tell it things. */
static enum err_code open_scheduler(struct workers *workers, struct err *err)
{
    const struct scheduler_options options = {
        .catalog = workers->options.catalog,
        .tables = workers->options.tables,
        .source_roots = workers->options.source_roots,
        .run_made = take_run,
        .arg = workers,
    };
    return scheduler_open(&options, &workers->scheduler, err);
}

enum err_code workers_start(const struct workers_options *options, struct workers **workers_out,
                            struct err *err)
{
    struct workers *workers = mem_zeroed(1, sizeof *workers);
    workers->options = *options;
    workers->merge = (struct merge_services){
        .catalog = options->catalog,
        .journal = options->intake->journal,
        .dead_letters = options->intake->dead_letters,
        .recent = options->intake->recent,
        .tables = options->tables,
        .progress = pass_progress,
        .progress_arg = workers,
        .commit_batches_max = options->commit_batches_max,
        .commit_bytes_max = options->commit_bytes_max,
    };
    workers->maintenance = (struct maintenance_services){
        .catalog = options->catalog,
        .journal = options->intake->journal,
        .dead_letters = options->intake->dead_letters,
        .recent = options->intake->recent,
        .tables = options->tables,
        .stop = &workers->stopping,
        .wake_merge = wake_merge,
        .progress = pass_progress,
        .arg = workers,
        .dropped_retention_us = options->dropped_retention_us,
        .run_retention_us = options->run_retention_us,
        .runs_per_job_max = options->runs_per_job_max,
        .journal_keep_us = JOURNAL_KEEP_US,
    };
    if (open_scheduler(workers, err) != ERR_OK) {
        mem_free(workers);
        return err->code;
    }
    lock_init(&workers->lock, LOCK_RANK_SERVICE);
    wake_init(&workers->wake);
    workers->board = progress_board_new();
    workers->maintenance_lanes = lanes_open(&(struct lanes_options){
        .name = "maintenance",
        .threads_count = MAINTENANCE_THREADS,
        .background = true,
        .interval_us = MAINTENANCE_INTERVAL_US,
        .step = run_maintenance,
        .arg = workers,
    });
    workers->merge_lanes = lanes_open(&(struct lanes_options){
        .name = "merge",
        .threads_count = options->merge_threads,
        .interval_us = options->commit_interval_us,
        .step = run_merge,
        .arg = workers,
    });
    int result = pthread_create(&workers->ticker, NULL, ticker_main, workers);
    assert(result == 0);
    if (wake_old_work(workers, err) != ERR_OK || start_jobs(workers, err) != ERR_OK) {
        workers_stop(&workers);
        return err->code;
    }
    workers->options.pools = NULL; /* was borrowed for the start */
    *workers_out = workers;
    return ERR_OK;
}

void workers_stop(struct workers **workers)
{
    if (*workers == NULL) {
        return;
    }
    struct workers *stopped = *workers;
    scheduler_stop(stopped->scheduler);
    runner_stop(&stopped->runner); /* its tasks use everything else, so it goes first */
    webhooks_stop(&stopped->webhooks);
    atomic_store_explicit(&stopped->stopping, true, memory_order_relaxed);
    lock_take(&stopped->lock);
    stopped->closing = true;
    wake_all(&stopped->wake);
    lock_drop(&stopped->lock);
    int result = pthread_join(stopped->ticker, NULL);
    assert(result == 0);
    lanes_close(&stopped->merge_lanes); /* wakes maintenance, so it goes first */
    lanes_close(&stopped->maintenance_lanes);
    scheduler_close(&stopped->scheduler); /* was told things until now */
    progress_board_free(&stopped->board);
    wake_deinit(&stopped->wake);
    lock_deinit(&stopped->lock);
    mem_free(stopped);
    *workers = NULL;
}

void workers_wake(struct workers *workers, const struct id *table)
{
    lanes_wake(workers->merge_lanes, table);
}

/* ---- jobs ---- */

void workers_run_changed(struct workers *workers, int64_t run_id)
{
    runner_wake(workers->runner, run_id);
}

void workers_job_changed(struct workers *workers, int64_t job_id)
{
    scheduler_job_changed(workers->scheduler, job_id);
}

void workers_webhooks_due(struct workers *workers)
{
    webhooks_wake(workers->webhooks);
}

bool workers_run_progress(struct workers *workers, int64_t run_id, size_t task, int64_t iteration,
                          struct task_progress *progress_out)
{
    return runner_progress(workers->runner, run_id, task, iteration, progress_out);
}
