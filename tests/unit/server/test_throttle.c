/* Failed sign-ins per address and window. */
#include "server/throttle.h"

#include <criterion/criterion.h>

Test(throttle, counts_per_address_and_window)
{
    struct throttle *throttle = throttle_new(3);
    int64_t retry = 0;
    for (int i = 0; i < 3; i++) {
        cr_expect_not(throttle_failure(throttle, "10.0.0.1", 1000, &retry));
    }
    cr_expect(throttle_failure(throttle, "10.0.0.1", 1000, &retry));
    cr_expect_eq(retry, 60);
    cr_expect_not(throttle_failure(throttle, "10.0.0.2", 1000, &retry), "another address");
    cr_expect(throttle_failure(throttle, "10.0.0.1", 1000 + THROTTLE_WINDOW_US - 1, &retry));
    cr_expect_eq(retry, 1, "never earlier than the window's end");
    cr_expect_not(throttle_failure(throttle, "10.0.0.1", 1000 + THROTTLE_WINDOW_US, &retry),
                  "a new window");
    throttle_free(&throttle);
    cr_expect_null(throttle);
}
