/*
 * The clock. See clock.h for the contract.
 */
#include "storage/base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t frozen_wall_us = -1;

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail for these clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    int64_t frozen = atomic_load_explicit(&frozen_wall_us, memory_order_relaxed);
    return frozen >= 0 ? frozen : read_us(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

void clock_freeze_wall(int64_t wall_us)
{
    atomic_store_explicit(&frozen_wall_us, wall_us, memory_order_relaxed);
}
