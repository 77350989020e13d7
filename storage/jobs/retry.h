/*
 * How long to wait before an attempt is repeated, and whether it may be at all.
 * Pure: randomness and clock are handed in.
 *
 * Full jitter: the wait is drawn evenly from the whole of a range that doubles with each
 * attempt. What failed together thereby comes back spread out, not in waves.
 * Source:  M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    RETRY_BASE_MS = 1000,      /* the first range is at least this wide */
    RETRY_CAP_MS = 600 * 1000, /* the usual cap_ms */
};

struct retry_policy {
    int64_t min_interval_ms; /* the task's min_retry_interval_millis, >= 0: never waited less */
    int64_t cap_ms;          /* never waited more, unless the minimum is more */
};

/*
 * Milliseconds to wait after the failed attempt number `attempt` (the first is 1):
 * min_interval_ms and a jitter that is even over [0, max(min_interval_ms, RETRY_BASE_MS) *
 * 2^(attempt-1)], both together at most cap_ms, or min_interval_ms when that is more.
 *
 *   random   64 even bits, fresh for each call
 */
int64_t retry_delay_ms(uint32_t attempt, const struct retry_policy *policy, uint64_t random);

enum { RETRY_BUDGET_SLOTS = 10 };

/* How many retries are allowed beside how many first attempts. */
struct retry_budget_options {
    int64_t window_us; /* both are counted over this long, >= RETRY_BUDGET_SLOTS */
    int64_t percent;   /* retries at most this share of first attempts, 0 to 100 */
    int64_t floor;     /* and at least so many a window, so that a quiet system retries too */
};

/*
 * A budget that stops retries from multiplying the load of a failing service: in a window,
 * retries <= max(floor, percent of the first attempts). Counts are kept in slots of a tenth of
 * the window; a slot is forgotten as a whole, so the window is never shorter than
 * asked for and at most a slot longer.
 *
 * Embedded by its owner, who guards it with a lock of their own.
 */
struct retry_budget {
    struct retry_budget_options options; /* set once at init */
    int64_t slot;                        /* number of the newest slot: clock / slot length */
    int64_t firsts[RETRY_BUDGET_SLOTS + 1];
    int64_t retries[RETRY_BUDGET_SLOTS + 1];
};

void retry_budget_init(struct retry_budget *budget, const struct retry_budget_options *options);

/* A first attempt begins. `now_us` is a monotonic clock; a step backwards counts as no step. */
void retry_budget_note_first(struct retry_budget *budget, int64_t now_us);

/* May a retry begin now? True takes it from the budget. */
bool retry_budget_take(struct retry_budget *budget, int64_t now_us);

/* Retries that could begin now: for metrics and for the message of a refusal. */
int64_t retry_budget_left(struct retry_budget *budget, int64_t now_us);
