/*
 * Clocks and fault points.
 */
#include "storage/base/clock.h"
#include "storage/base/fault.h"

#include <criterion/criterion.h>

#include <stdlib.h>

Test(clock, wall_freezes_and_thaws)
{
    cr_expect_gt(clock_wall_us(), 1600000000000000);
    clock_freeze_wall(7);
    cr_expect_eq(clock_wall_us(), 7);
    clock_freeze_wall(-1);
    cr_expect_gt(clock_wall_us(), 1600000000000000);
}

Test(clock, monotonic_does_not_go_back)
{
    int64_t last = clock_monotonic_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_monotonic_us();
        cr_assert_geq(now, last);
        last = now;
    }
}

#ifdef SLUICE_FAULTS
Test(fault, fails_at_the_nth_passing_only)
{
    cr_assert_eq(setenv("SLUICE_FAULTS", "a.b=fail@2,c.d=skip@1", 1), 0);
    cr_expect_not(FAULT("a.b"));
    cr_expect(FAULT("a.b"));
    cr_expect_not(FAULT("a.b"));
    cr_expect_not(FAULT("a"));
    cr_expect(FAULT_SKIP("c.d"));
    cr_expect(FAULT_SKIP("c.d"));
    cr_expect_not(FAULT("c.d"));
}
#else
Test(fault, points_are_compiled_away)
{
    cr_assert_eq(setenv("SLUICE_FAULTS", "a.b=fail@1", 1), 0);
    cr_expect_not(FAULT("a.b"));
    cr_expect_not(FAULT_SKIP("a.b"));
}
#endif
