/*
 * Failed sign-ins per source address: past the limit of a minute, wrong tokens are
 * answered 429 instead of 401. A right token always passes, so the throttle is no
 * way to lock somebody else out.
 */
#pragma once

#include "server/rate.h"

#include <stdint.h>

enum { THROTTLE_SLOTS = 4096 /* addresses counted at once; a newer one takes a slot over */ };

struct throttle;

/* failures_max: per address and window. */
struct throttle *throttle_new(int64_t failures_max);
void throttle_free(struct throttle **throttle);

/* Note a failure of `address` (text). Any thread. */
struct rate_state throttle_failure(struct throttle *throttle, const char *address, int64_t now_us);
