/* Door threads: all work runs once, a full queue refuses, closing runs what is left. */
#include "server/doors.h"

#include "storage/base/lock.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

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

/* ---- work that blocks ---- */

enum { CHAIN = 4, ROUNDS = 2000 };

static struct latch begun[CHAIN + 1];
static struct latch all_ended;
static _Atomic int ended;

/* Work i ends when work i + 1 has begun: each needs a thread of its own. */
static void wait_for_next(void *work)
{
    struct latch *own = work;
    latch_open(own, 1);
    (void)latch_wait(own + 1); /* opened with one value only */
    if (atomic_fetch_add(&ended, 1) == CHAIN - 1) {
        latch_open(&all_ended, 1);
    }
}

/* A burst wakes few threads, and still nobody stays behind work that waits. */
Test(doors, give_what_waits_behind_blocked_work_to_others, .timeout = 20)
{
    struct doors *doors = NULL;
    struct err err = {0};
    cr_assert_eq(doors_open(CHAIN, CHAIN, wait_for_next, &doors, &err), ERR_OK, "%s", err.msg);
    for (int round = 0; round < ROUNDS; round++) {
        memset(begun, 0, sizeof begun);
        memset(&all_ended, 0, sizeof all_ended);
        atomic_store(&ended, 0);
        latch_open(&begun[CHAIN], 1);
        for (int i = 0; i < CHAIN; i++) {
            cr_assert(doors_submit(doors, &begun[i]));
        }
        (void)latch_wait(&all_ended); /* closing would wake everybody */
    }
    doors_close(&doors);
}
