/*
 * When a job is due: a cron expression in a time zone, or every so many seconds.
 * Pure arithmetic on instants; the caller owns the clock and remembers what fired.
 *
 * every_seconds counts real seconds from the anchor: fire times are anchor + n * every,
 * n >= 1. The anchor is the moment the schedule was stored (job created, or its interval
 * changed), so that a first run comes one interval later, jobs made at different
 * moments do not all fire in the same second, and neither a restart nor a pause moves the
 * grid. Daylight saving does not touch it.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/jobs/cron.h"
#include "storage/jobs/zone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCHEDULE_EVERY_SECONDS_MAX = 366 * 86400 };

/* What a definition says; exactly one of the first two is given. */
struct schedule_options {
    const char *quartz_cron_expression; /* NULL: every_seconds */
    int64_t every_seconds;              /* 1 to SCHEDULE_EVERY_SECONDS_MAX; 0: cron */
    const char *timezone_id;            /* of the cron expression; NULL: UTC */
    int64_t anchor_us;                  /* of every_seconds, see above */
    bool paused;
};

/* Embedded by the caller. Immutable after schedule_init but for `paused`, which is the caller's. */
struct schedule {
    const struct zone *zone; /* a reference; NULL: every_us */
    struct cron cron;
    int64_t every_us;
    int64_t anchor_us;
    bool paused; /* never due while set; the grid stays where it is */
};

/*
 * Memory:  schedule_deinit; nothing is borrowed from `options`.
 * Errors:  ERR_INVALID both or neither given, interval out of range, a time zone beside
 *          every_seconds; what cron_parse and zone_acquire return.
 * Thread:  reads a file the first time a zone is met.
 */
enum err_code schedule_init(struct schedule *schedule_out, const struct schedule_options *options,
                            struct err *err) MUST_USE;

/* Accepts zeroed; leaves it zeroed. For CLEANUP too. */
void schedule_deinit(struct schedule *schedule);

/*
 * The first fire time after `after_us` (exclusive).
 * Returns false when it never fires again or is paused; the output is untouched then.
 */
bool schedule_next(const struct schedule *schedule, int64_t after_us, int64_t *fire_us_out);

enum schedule_catch_up {
    SCHEDULE_CATCH_UP_NONE, /* what was missed is left out */
    SCHEDULE_CATCH_UP_LAST, /* one run for all that was missed, at the latest missed time; none
                             * of its own when a fire time is on time: that run is the one */
    SCHEDULE_CATCH_UP_ALL,  /* a run for each missed time, oldest first */
};

/* What the caller knows after downtime. */
struct schedule_downtime {
    /* Everything up to here is decided (exclusive): the last fire time that was stored as run
     * or left out; for a schedule just stored or unpaused, that moment. */
    int64_t last_us;
    int64_t now_us; /* inclusive */
    /* A fire time no older than this is on time, not missed: returned under every policy.
     * What a busy machine is late by; 0 = only the instant itself. */
    int64_t grace_us;
    enum schedule_catch_up catch_up;
    size_t times_max; /* room in the caller's array, at least 1 */
};

struct schedule_due {
    size_t count;       /* fire times written, oldest first */
    int64_t decided_us; /* the next call's last_us: nothing up to here is due any more */
    bool more;          /* the array was full: call again with last_us = decided_us, same now_us */
    /* Fire times that the policy left out lie between these two; 0 and 0: none. */
    int64_t left_out_first_us;
    int64_t left_out_last_us;
};

/*
 * The fire times in (last_us, now_us] that are to be run, as the policy says.
 *
 *   times_out   [downtime->times_max]; due->count are written, ascending
 *
 * Never cut in silence: with `more` the rest is got by calling again, so that a caller works
 * off a long downtime in bounded memory. A clock that went backwards (now_us <= last_us) and
 * a paused schedule give none, and decided_us = last_us.
 * Cost:    count + about 130 fire times computed, however long the downtime.
 * Thread:  reentrant.
 */
void schedule_missed(const struct schedule *schedule, const struct schedule_downtime *downtime,
                     int64_t *times_out, struct schedule_due *due_out);
