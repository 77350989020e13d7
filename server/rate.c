/* Rate limits as header fields; see rate.h. */
#include "server/rate.h"

#include <assert.h>
#include <inttypes.h>

struct rate_state rate_state_of(int64_t count, int64_t count_max, int64_t started_us,
                                int64_t now_us)
{
    int64_t left_us = started_us + RATE_WINDOW_US - now_us;
    assert(count >= 1);
    assert(left_us > 0);
    return (struct rate_state){
        .count_max = count_max,
        .remaining = count < count_max ? count_max - count : 0,
        .reset_seconds = (left_us + 999999) / 1000000,
        .over = count > count_max,
        .first_over = count == count_max + 1,
    };
}

void rate_tell(struct exchange *exchange, const char *policy, const struct rate_state *state)
{
    exchange_set_header(exchange, "RateLimit-Policy", "\"%s\";q=%" PRId64 ";w=%d", policy,
                        state->count_max, RATE_WINDOW_US / 1000000);
    exchange_set_header(exchange, "RateLimit", "\"%s\";r=%" PRId64 ";t=%" PRId64, policy,
                        state->remaining, state->reset_seconds);
}
