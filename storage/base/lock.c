/*
 * Ranked locks. See lock.h for the contract.
 */
#include "storage/base/lock.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One bit a rank that this thread holds. Two locks of one rank never nest. */
static _Thread_local uint32_t held_ranks;

_Static_assert(LOCK_RANK_COUNT <= 32, "ranks fit a 32-bit set");

static void must(int result)
{
    assert(result == 0);
}

void lock_init(struct lock *lock, enum lock_rank rank)
{
    must(pthread_mutex_init(&lock->mutex, NULL));
    lock->rank = rank;
}

void lock_deinit(struct lock *lock)
{
    must(pthread_mutex_destroy(&lock->mutex));
}

void lock_take(struct lock *lock)
{
    if ((held_ranks >> lock->rank) != 0) {
        (void)fprintf(stderr,
                      "{\"level\":\"error\",\"msg\":\"lock of rank %d taken out of order\"}\n",
                      (int)lock->rank); /* about to stop */
        abort();
    }
    must(pthread_mutex_lock(&lock->mutex));
    held_ranks |= 1U << lock->rank;
}

void lock_drop(struct lock *lock)
{
    assert(lock_is_held(lock));
    held_ranks &= ~(1U << lock->rank);
    must(pthread_mutex_unlock(&lock->mutex));
}

int lock_is_held(const struct lock *lock)
{
    return (held_ranks >> lock->rank & 1U) != 0;
}

struct lock *lock_scope(struct lock *lock)
{
    lock_take(lock);
    return lock;
}

void lock_scope_end(struct lock **lock)
{
    if (*lock != NULL) {
        lock_drop(*lock);
        *lock = NULL;
    }
}

void wake_init(struct wake *wake)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&wake->condition, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void wake_deinit(struct wake *wake)
{
    must(pthread_cond_destroy(&wake->condition));
}

void wake_wait(struct wake *wake, struct lock *lock)
{
    assert(lock_is_held(lock));
    must(pthread_cond_wait(&wake->condition, &lock->mutex));
}

int wake_wait_until(struct wake *wake, struct lock *lock, int64_t deadline_us)
{
    assert(lock_is_held(lock));
    struct timespec deadline = {.tv_sec = deadline_us / 1000000,
                                .tv_nsec = (deadline_us % 1000000) * 1000};
    int result = pthread_cond_timedwait(&wake->condition, &lock->mutex, &deadline);
    assert(result == 0 || result == ETIMEDOUT);
    return result == ETIMEDOUT;
}

void wake_one(struct wake *wake)
{
    must(pthread_cond_signal(&wake->condition));
}

void wake_all(struct wake *wake)
{
    must(pthread_cond_broadcast(&wake->condition));
}

void latch_open(struct latch *latch, uint32_t value)
{
    assert(value > 0);
    atomic_store_explicit(&latch->value, value, memory_order_release);
    /* The waiter may be gone by now: the address is only a name to the kernel. */
    (void)syscall(SYS_futex, &latch->value, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

uint32_t latch_wait(struct latch *latch)
{
    for (;;) {
        uint32_t value = atomic_load_explicit(&latch->value, memory_order_acquire);
        if (value != 0) {
            return value;
        }
        /* Returns at once when the value has changed meanwhile; interruptions go round. */
        (void)syscall(SYS_futex, &latch->value, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
}
