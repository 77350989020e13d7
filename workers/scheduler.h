/*
 * The scheduler: makes the runs that nobody asks for, from schedules and triggers.
 * One thread; it knows when and why a run is to be made, and nothing of running.
 *
 * Nothing is forgotten and nothing made twice: where a schedule or a trigger stands is
 * stored in the transaction that makes its run (run_create), so a crash leaves both or
 * neither, and what happened while the process was down is found at the next start.
 *
 *   schedule      fire times after downtime as catch_up says; SCHEDULER_GRACE_US late
 *                 is on time
 *   table_update  a version that changed rows (not an optimize) was committed, by
 *                 anybody, since the last run it made, or since the job was last changed
 *   file_arrival  a file that matches and has settled, once for its path, size and time
 *                 of change; files that were there before the job count too
 *   job_finished  one run for each end of a run of that job with one of the results
 *   continuous    whenever no run of the job is active; back-off after failures
 *
 * A table_update or file_arrival trigger waits while the job has max_concurrent_runs
 * active: what comes meanwhile makes one run together. The others make their run
 * whatever is active; the runner queues or refuses it as the job says.
 *
 * Times are wall times (storage/base/clock.h), looked at again at least once a second,
 * so that a clock that was set is followed.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdint.h>

struct catalog;
struct roots;
struct scheduler;
struct tables;

enum {
    SCHEDULER_GRACE_US = 10000000, /* what a restart may cost without a fire time being "missed" */
    SCHEDULER_POLL_US = 1000000,   /* folders of file_arrival triggers, and the clock */
    SCHEDULER_RETRY_US = 1000000,  /* after a failure to store (busy, disk full) */
    SCHEDULER_CONTINUOUS_US = 1000000,               /* between two starts of a continuous job */
    SCHEDULER_CONTINUOUS_BACKOFF_US_MAX = 300000000, /* after runs that failed in a row */
};

struct scheduler_options {
    struct catalog *catalog;
    struct tables *tables;
    const struct roots *source_roots;
    /* A run was made. Called on the scheduler's thread, must not block. */
    void (*run_made)(void *arg, int64_t run_id);
    void *arg;
};

/*
 * Load every job with a schedule or a trigger. From here on it may be told things; it
 * does nothing before scheduler_start, so that what it wakes can be made meanwhile.
 *
 * Errors:  those of reading the catalog.
 */
enum err_code scheduler_open(const struct scheduler_options *options,
                             struct scheduler **scheduler_out, struct err *err) MUST_USE;

/* Start the thread. */
void scheduler_start(struct scheduler *scheduler);

/* Let the step under way end, start no other; it may still be told things. Twice is fine. */
void scheduler_stop(struct scheduler *scheduler);

/* Stops. Accepts NULL inside; nulls. */
void scheduler_close(struct scheduler **scheduler);

/* ---- what it is told: any thread, never blocks long ---- */

/* The job was made, changed or deleted. */
void scheduler_job_changed(struct scheduler *scheduler, int64_t job_id);
/* A run of the job ended (0 = of none). */
void scheduler_run_ended(struct scheduler *scheduler, int64_t job_id);
/* A new version of the table may be visible. */
void scheduler_table_changed(struct scheduler *scheduler, const struct id *table);

/* Nothing was told that is not dealt with, and nothing is due. For tests. */
void scheduler_settle(struct scheduler *scheduler);
