/*
 * The sender of webhooks: takes due deliveries from the catalog, signs each, posts it,
 * records how that ended. At least once, with one id and one body; a receiver tells
 * repetitions by the id.
 *
 *   2xx      delivered, whatever comes after the status
 *   410      the endpoint wants no more: this one and all pending ones to its URL end
 *   anything else, and no answer at all: again after the next delay of the schedule, until
 *            it is used up; then it is dead and may be replayed
 *
 * A delay is drawn evenly between 0 and twice the schedule's (full jitter around it), and is
 * never shorter than the receiver's Retry-After or an open breaker asks for. A refusal by the
 * breaker is a try too: what a receiver that is down costs is bounded by the schedule.
 *
 * A few threads; at most WEBHOOKS_PER_ORIGIN of them wait for the same server, so that one
 * that hangs does not keep the others' waiting.
 */
#pragma once

#include "storage/base/err.h"

#include <stdint.h>

struct catalog;
struct remote;
struct webhooks;

enum {
    WEBHOOKS_THREADS = 4,
    WEBHOOKS_PER_ORIGIN = 2,
    WEBHOOKS_TRIES_MAX = 10,      /* the first and nine more, about three days */
    WEBHOOKS_DEADLINE_MS = 20000, /* of one try */
    WEBHOOKS_POLL_US = 1000000,   /* how often the catalog is asked without a wake-up */
};

struct webhooks_options {
    struct catalog *catalog;
    struct remote *remote;
    uint64_t (*random_below)(uint64_t limit); /* for jitter; NULL = secret_random_below */
};

/* Start the threads; they take up what is pending from before. */
void webhooks_start(const struct webhooks_options *options, struct webhooks **webhooks_out);

/*
 * Ends tries that wait for an answer; their deliveries stay pending and are sent again.
 * Accepts NULL inside; nulls. Thread: blocks up to about a second.
 */
void webhooks_stop(struct webhooks **webhooks);

/* Deliveries were made, or one is to be replayed. Any thread, never blocks. */
void webhooks_wake(struct webhooks *webhooks);

/*
 * Seconds of the schedule before try number `try` (the second try is 2); 0 when there is
 * none any more.
 */
int64_t webhooks_delay_seconds(int32_t try);
