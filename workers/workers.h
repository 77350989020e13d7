/*
 * The background of the process: mergers, maintenance, and the clock that wakes
 * them. Started after recovery, stopped before anything it uses is closed.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit;
struct breakers;
struct catalog;
struct intake_stores;
struct job_pools;
struct remote;
struct roots;
struct tables;
struct task_progress;
struct workers;

/* Batches of `table` changed state, or a new version is visible. Any thread. */
typedef void workers_progress_fn(void *arg, const struct id *table);

/* A run of the job (0 = a one-off) has ended. Any thread. */
typedef void workers_run_ended_fn(void *arg, int64_t job_id, int64_t run_id);

struct workers_options {
    struct catalog *catalog;
    struct tables *tables;
    struct audit *audit;
    struct remote *remote;
    struct breakers *breakers;
    const struct roots *source_roots;
    const struct roots *export_roots;
    const char *spool;                  /* private folder for temporary files of tasks */
    const struct intake_stores *intake; /* shared with the door; borrowed */
    const struct job_pools *pools;      /* of task threads; borrowed for the start */
    workers_progress_fn *progress;
    workers_run_ended_fn *run_ended;
    void *arg; /* of both */
    int merge_threads;
    int64_t commit_interval_us; /* between commits of a table under load */
    int64_t commit_batches_max;
    int64_t commit_bytes_max;
    int64_t refresh_interval_us; /* how often foreign commits are looked for */
    int64_t dropped_retention_us;
    int64_t run_retention_us;
    int64_t runs_per_job_max;
};

/*
 * Start the threads and wake every lane that has work from before.
 * Errors:  ERR_IO, ERR_CORRUPT from the catalog.
 */
enum err_code workers_start(const struct workers_options *options, struct workers **workers_out,
                            struct err *err) MUST_USE;

/*
 * Tells running tasks to stop and waits for them, lets running merges end and a compaction
 * break off. Accepts NULL inside; nulls.
 */
void workers_stop(struct workers **workers);

/* A batch was accepted into the lane of `table`. Any thread, never blocks long. */
void workers_wake(struct workers *workers, const struct id *table);

/* ---- jobs: any thread, never blocks long ---- */

/* A job was made, changed or deleted. */
void workers_job_changed(struct workers *workers, int64_t job_id);

/* A run was made, or its cancellation or repair was asked for. */
void workers_run_changed(struct workers *workers, int64_t run_id);

/* Webhook deliveries are due. */
void workers_webhooks_due(struct workers *workers);

/* How far the running attempt of a node has come; false: none runs. */
bool workers_run_progress(struct workers *workers, int64_t run_id, size_t task, int64_t iteration,
                          struct task_progress *progress_out);
