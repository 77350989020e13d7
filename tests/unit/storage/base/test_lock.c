/*
 * Locks stop the process on disorder; waits end.
 */
#include "storage/base/lock.h"

#include "storage/base/clock.h"
#include "storage/base/err.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

static struct lock low;
static struct lock high;

static void init_both(void)
{
    lock_init(&low, LOCK_RANK_COMMIT);
    lock_init(&high, LOCK_RANK_METRICS);
}

Test(lock, increasing_ranks_are_fine, .init = init_both)
{
    cr_expect_not(lock_is_held(&low));
    lock_take(&low);
    lock_take(&high);
    cr_expect(lock_is_held(&low));
    cr_expect(lock_is_held(&high));
    lock_drop(&low);
    lock_drop(&high);
    lock_take(&low);
    lock_drop(&low);
    lock_deinit(&low);
    lock_deinit(&high);
}

Test(lock, decreasing_ranks_stop_the_process, .init = init_both, .signal = SIGABRT)
{
    lock_take(&high);
    lock_take(&low);
}

Test(lock, equal_ranks_stop_the_process, .init = init_both, .signal = SIGABRT)
{
    struct lock twin;
    lock_init(&twin, LOCK_RANK_COMMIT);
    lock_take(&low);
    lock_take(&twin);
}

Test(lock, dropping_what_is_not_held_stops_the_process, .init = init_both, .signal = SIGABRT)
{
    lock_drop(&low);
}

Test(lock, scope_drops_at_its_end, .init = init_both)
{
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&low);
        cr_expect(lock_is_held(&low));
    }
    cr_expect_not(lock_is_held(&low));
}

Test(wake, deadline_passes, .init = init_both)
{
    struct wake wake;
    wake_init(&wake);
    lock_take(&low);
    int64_t deadline_us = clock_monotonic_us() + 2000;
    while (wake_wait_until(&wake, &low, deadline_us) == 0) {
        /* spurious */
    }
    cr_expect_geq(clock_monotonic_us(), deadline_us);
    cr_expect(lock_is_held(&low));
    lock_drop(&low);
    wake_deinit(&wake);
}

static struct wake ready_wake;
static bool ready; /* guarded by low */

static void *make_ready(void *argument)
{
    lock_take(&low);
    ready = true;
    wake_all(&ready_wake);
    lock_drop(&low);
    return argument;
}

Test(wake, wakes_a_waiter, .init = init_both, .timeout = 20)
{
    pthread_t thread;
    wake_init(&ready_wake);
    lock_take(&low);
    cr_assert_eq(pthread_create(&thread, NULL, make_ready, NULL), 0);
    while (!ready) {
        wake_wait(&ready_wake, &low);
    }
    lock_drop(&low);
    cr_expect_eq(pthread_join(thread, NULL), 0);
}
