/*
 * The background of the process: mergers, maintenance, and the clock that wakes
 * them. Started after recovery, stopped before anything it uses is closed.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdint.h>

struct catalog;
struct journal;
struct remote;
struct tables;
struct workers;

/* Batches of `table` changed state, or a new version is visible. Any thread. */
typedef void workers_progress_fn(void *arg, const struct id *table);

struct workers_options {
    struct catalog *catalog;
    struct journal *journal;
    struct journal *dead_letters;
    struct tables *tables;
    struct remote *remote; /* for webhooks */
    workers_progress_fn *progress;
    void *progress_arg;
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

/* Lets running merges end and a compaction break off. Accepts NULL inside; nulls. */
void workers_stop(struct workers **workers);

/* A batch was accepted into the lane of `table`. Any thread, never blocks long. */
void workers_wake(struct workers *workers, const struct id *table);
