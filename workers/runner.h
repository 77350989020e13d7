/*
 * The runner: takes runs from the catalog and sees each to its end. It owns the graph
 * (storage/jobs/graph.h) of every run that is going on, starts attempts on task
 * threads, decides control tasks (condition, for_each, run_job) itself, and stores every
 * decision before it acts on it (storage/catalog/runs.h).
 *
 * A step of a run takes what happened since the last one, changes the graph, stores all of
 * it in one transaction and only then takes effect: attempts begin, are told to stop, child
 * runs are made. Steps of one run never overlap; steps of different runs share commits.
 * So wherever the process dies, the next start finds a graph that is closed and attempts
 * that it knows of: those are run again, and their tasks see to it that nothing doubles.
 *
 * A run waits (BLOCKED) while its job has max_concurrent_runs going on, oldest first; one
 * that may not wait ends at once.
 *
 * Retries wait with full jitter (storage/jobs/retry.h). A pool whose retries outnumber its
 * first attempts waits with all further ones for RETRY_CAP_MS: nothing is given up, but a
 * service that fails is left in peace.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/pools.h"
#include "workers/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct runner;

enum {
    RUNNER_STEP_THREADS = 16,           /* they mostly wait for commits, which they share */
    RUNNER_ARENA_BYTES = 64 << 20,      /* of one attempt */
    RUNNER_VALUES_BYTES_MAX = 64 << 10, /* all values of one task, as JSON */
    RUNNER_RETRY_US = 1000000,          /* after a failure to store (busy, disk full) */
};

struct runner_options {
    struct task_services services;
    task_run_fn *const *types;     /* [JOB_TASK_TYPE_COUNT]; NULL inside = none of the type */
    const struct job_pools *pools; /* borrowed for the call of runner_start */
    /* A run of the job (0 = a one-off) has ended durably. Any thread, must not block. */
    void (*run_ended)(void *arg, int64_t job_id, int64_t run_id);
    /* Webhook deliveries were made. Likewise. */
    void (*deliveries_made)(void *arg);
    void *arg;
};

/*
 * Take up what the last process left, and start.
 * Errors:  those of reading the catalog.
 */
enum err_code runner_start(const struct runner_options *options, struct runner **runner_out,
                           struct err *err) MUST_USE;

/*
 * Tell running attempts to stop, wait for them, store what came of those that ended.
 * The others are left as interrupted. Accepts NULL inside; nulls.
 */
void runner_stop(struct runner **runner);

/* The run was made, or something about it was asked for. Any thread, never blocks long. */
void runner_wake(struct runner *runner, int64_t run_id);

/* How far the running attempt of a node has come; false: none runs. Any thread, never blocks long.
 */
bool runner_progress(struct runner *runner, int64_t run_id, size_t task, int64_t iteration,
                     struct task_progress *progress_out);

/* Wait until nothing is left to do but for attempts to end and times to come. For tests. */
void runner_settle(struct runner *runner);
