/* Door threads: all work runs once, a full queue refuses, closing runs what is left. */
#include "server/doors.h"

#include "storage/base/lock.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

static _Atomic int ran;
static struct lock gate;

static void count(void *work)
{
    (void)work;
    lock_take(&gate); /* held by the test while the queue fills */
    lock_drop(&gate);
    atomic_fetch_add(&ran, 1);
}

Test(doors, bound_the_queue_and_run_everything)
{
    struct doors *doors = NULL;
    struct err err = {0};
    int token = 0;
    lock_init(&gate, LOCK_RANK_SERVICE);
    cr_assert_eq(doors_open(2, 8, count, &doors, &err), ERR_OK, "%s", err.msg);
    lock_take(&gate);
    int accepted = 0;
    for (int i = 0; i < 100; i++) {
        accepted += doors_submit(doors, &token);
    }
    cr_expect_geq(accepted, 8, "the queue's size");
    cr_expect_leq(accepted, 10, "the queue's size, and what the threads hold");
    cr_expect_leq(doors_queued(doors), 8);
    lock_drop(&gate);
    doors_close(&doors);
    cr_expect_eq(atomic_load(&ran), accepted);
    cr_expect_null(doors);
    lock_deinit(&gate);
}
