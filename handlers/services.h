/*
 * What handlers may use, wired once by server/main.c before the first request
 * and never changed while requests run. Nothing here is owned by handlers except
 * the waiting room.
 */
#pragma once

#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/intake/intake.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit;
struct breakers;
struct catalog;
struct journal;
struct roots;
struct secret_keys;
struct tables;
struct waiting_room;

/* A batch was accepted into the lane of `table`: wake its merger. Any thread, never blocks. */
typedef void services_wake_fn(void *arg, const struct id *table);

/* How far the running attempt of a task is, as the task says it. */
struct run_progress {
    int64_t rows_in, rows_out, rows_rejected;
    int64_t bytes_in, bytes_out;
    int64_t work_done, work_total; /* of one unit; total 0 = not known */
};

/*
 * What handlers tell the runner, the scheduler and the sender of webhooks, and ask of
 * them: everything they must know is stored before, so a call that is lost costs time,
 * not truth. Any thread, never blocks. NULL: nobody listens.
 */
struct services_jobs {
    void (*job_changed)(void *arg, int64_t job_id); /* made, changed or deleted */
    /* made, or its cancellation or repair was asked for */
    void (*run_changed)(void *arg, int64_t run_id);
    void (*webhooks_due)(void *arg);
    /* How far the running attempt of a node is; false when none runs. */
    bool (*run_progress)(void *arg, int64_t run_id, size_t task, int64_t iteration,
                         struct run_progress *progress_out);
    bool (*pool_exists)(void *arg, const char *pool); /* NULL: "default" alone */
    void *arg;
};

struct services {
    struct catalog *catalog;
    struct journal *journal;      /* frames of accepted batches */
    struct journal *dead_letters; /* payloads of refused records */
    struct intake_stores intake;  /* the same as the way in for records wants them */
    struct audit *audit;
    struct tables *tables; /* open tables and their published snapshots */
    /*
     * Held while a table is made, changed or dropped: each is a change of the catalog
     * and one of the registry, which must not interleave with another's.
     */
    struct lock definitions;
    struct lock roles; /* held while roles change: one change must not miss the other's effect */
    struct lock job_definitions; /* likewise: two jobs changed at once must not close a cycle */
    const struct secret_keys *keys;
    const struct roots *source_roots; /* what jobs may read and write of the file system */
    const struct roots *export_roots;
    struct breakers *breakers;         /* of the servers that jobs and webhooks talk to */
    struct waiting_room *waiting_room; /* handlers/waiting_room.h */
    services_wake_fn *wake_lane;
    void *wake_arg;
    struct services_jobs jobs;

    /* settings that handlers obey; see server/config for units and ranges */
    int64_t wait_seconds_max; /* of Prefer: wait=N and after= */

    _Atomic bool stopping; /* new work is refused with 503 while in-flight work ends */
};
