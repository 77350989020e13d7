/*
 * A rate limit as answers tell it. Limits are so many a window of RATE_WINDOW_US,
 * which begins with the first that is counted.
 * Source: draft-ietf-httpapi-ratelimit-headers-11, RFC 9651 (structured fields).
 */
#pragma once

#include "handlers/exchange.h"

#include <stdbool.h>
#include <stdint.h>

enum { RATE_WINDOW_US = 60000000 };

/* Where a caller stands after one more was counted. */
struct rate_state {
    int64_t count_max;     /* a window */
    int64_t remaining;     /* of it; 0 also when over */
    int64_t reset_seconds; /* until the window is over, rounded up, at least 1 */
    bool over;             /* this one was too many */
    bool first_over;       /* and the first one of its window */
};

/* Count into a window that began at `started_us` and holds `count` with this one. */
struct rate_state rate_state_of(int64_t count, int64_t count_max, int64_t started_us,
                                int64_t now_us);

/* Set RateLimit-Policy and RateLimit; `policy` names the limit: letters and '-'. */
void rate_tell(struct exchange *exchange, const char *policy, const struct rate_state *state);
