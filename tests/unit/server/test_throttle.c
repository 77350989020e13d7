/* Failed sign-ins per address and window. */
#include "server/throttle.h"

#include <criterion/criterion.h>

static const int64_t start_us = 1000;

Test(throttle, counts_per_address_and_window)
{
    struct throttle *throttle = throttle_new(3);
    struct rate_state state;
    for (int i = 0; i < 3; i++) {
        state = throttle_failure(throttle, "10.0.0.1", start_us);
        cr_expect_not(state.over);
        cr_expect_eq(state.remaining, 2 - i);
        cr_expect_eq(state.count_max, 3);
    }
    state = throttle_failure(throttle, "10.0.0.1", start_us);
    cr_expect(state.over);
    cr_expect(state.first_over);
    cr_expect_eq(state.remaining, 0);
    cr_expect_eq(state.reset_seconds, 60);
    cr_expect_not(throttle_failure(throttle, "10.0.0.2", start_us).over, "another address");
    state = throttle_failure(throttle, "10.0.0.1", start_us + RATE_WINDOW_US - 1);
    cr_expect(state.over);
    cr_expect_not(state.first_over);
    cr_expect_eq(state.reset_seconds, 1, "never earlier than the window's end");
    cr_expect_not(throttle_failure(throttle, "10.0.0.1", start_us + RATE_WINDOW_US).over,
                  "a new window");
    throttle_free(&throttle);
    cr_expect_null(throttle);
}
