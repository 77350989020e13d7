/*
 * Lanes: one for each table, worked on by one thread at a time, in the order
 * in which they became due. Knows nothing of merging.
 *
 * Pacing: a lane that was idle runs at once. One that still had work after
 * LANES_LOADED_STEPS steps in a row is under load and starts its next step no
 * sooner than `interval_us` after the last one began, so that many small batches
 * share a commit; one client that waits for each of its batches is never paced. Work in the
 * background is always paced. A failed step is tried again after a back-off with full jitter.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LANES_THREADS_MAX = 16,
    LANES_LOADED_STEPS = 3,
    LANES_BACKOFF_MIN_US = 100000,
    LANES_BACKOFF_MAX_US = 30000000,
};

struct lanes;

/* What a step leaves behind. */
enum lane_rest {
    LANE_NOTHING, /* all that was there is done */
    LANE_MORE,    /* more has come meanwhile */
    LANE_FULL,    /* the step could not take all that was there: the next one follows unpaced */
};

struct lane_left {
    enum lane_rest rest;
    int64_t pause_us; /* the next step begins no sooner than this after the end of this one */
};

/*
 * One step of a lane's work. Returns ERR_OK when it made progress or there was
 * nothing to do; `left_out` (zeroed before the call) says what is left.
 * ERR_CANCELLED drops the lane.
 */
typedef enum err_code lane_step_fn(void *arg, const struct id *lane, int attempt,
                                   struct lane_left *left_out, struct err *err);

struct lanes_options {
    const char *name; /* of the threads, and in log lines: "merge"; at most 15 bytes */
    int threads_count;
    /* Others go first where processors are scarce (SCHED_NICE_BACKGROUND); always paced. */
    bool background;
    int64_t interval_us;
    lane_step_fn *step;
    void *arg;
};

struct lanes *lanes_open(const struct lanes_options *options);

/* Lets running steps end, starts no others. */
void lanes_close(struct lanes **lanes);

/* There is work in this lane. Any thread, never blocks long. */
void lanes_wake(struct lanes *lanes, const struct id *lane);

/* No lane has work, is running, or waits for its time. For tests and quiet stops. */
bool lanes_are_idle(struct lanes *lanes);
