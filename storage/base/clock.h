/*
 * The clock, injected: tests replace it, production reads the kernel's.
 * Times are int64_t microseconds; wall time since 1970-01-01 UTC.
 */
#pragma once

#include <stdint.h>

int64_t clock_wall_us(void);
int64_t clock_monotonic_us(void);

/* Freeze the wall clock at `wall_us` for tests; a negative value thaws it. */
void clock_freeze_wall(int64_t wall_us);
