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
    const struct secret_keys *keys;
    const struct roots *source_roots; /* what jobs may read and write of the file system */
    const struct roots *export_roots;
    struct breakers *breakers;         /* of the servers that jobs and webhooks talk to */
    struct waiting_room *waiting_room; /* handlers/waiting_room.h */
    services_wake_fn *wake_lane;
    void *wake_arg;

    /* settings that handlers obey; see server/config for units and ranges */
    int64_t wait_seconds_max; /* of Prefer: wait=N and after= */

    _Atomic bool stopping; /* new work is refused with 503 while in-flight work ends */
};
