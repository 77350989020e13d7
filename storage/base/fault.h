/*
 * Named fault points for crash tests. A build without SLUICE_FAULTS compiles
 * them away; the crash harness builds with it and arms points through the
 * environment: SLUICE_FAULTS="point=action@n[,…]" with
 *
 *   crash   end the process at once (as kill -9 would) at the n-th passing
 *   abort   a failed assertion at the n-th passing and every later one
 *   fail    make the point report failure at the n-th passing (EIO)
 *   skip    make the point leave out what it guards (planted bugs)
 *   memory  ask for more memory than there is, as the n-th passing
 *
 * A point with a value (FAULT_VALUE) does not count: it acts whenever its value is n,
 * so that one batch can be told from others across restarts.
 */
#pragma once

#include <stdbool.h>

#ifdef SLUICE_FAULTS
/* Returns true when the guarded step must fail (fault_hit) or be left out (fault_skip). */
bool fault_hit(const char *point);
bool fault_skip(const char *point);
bool fault_value(const char *point, unsigned long value);
/* For tests: arm these faults instead of the environment's, counting anew. Any thread. */
void fault_arm(const char *faults);
#define FAULT(point) fault_hit(point)
#define FAULT_SKIP(point) fault_skip(point)
#define FAULT_VALUE(point, value) fault_value(point, value)
#else
#define FAULT(point) false
#define FAULT_SKIP(point) false
#define FAULT_VALUE(point, value) false
#endif
