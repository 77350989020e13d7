/*
 * Requests of one principal in a minute. Every request with a valid token counts,
 * whatever becomes of it; those over the budget are refused at the gate.
 */
#pragma once

#include "server/rate.h"
#include "storage/base/id.h"

#include <stdint.h>

struct budget;

/* requests_max: per principal and window, >= 1. */
struct budget *budget_new(int64_t requests_max);
void budget_free(struct budget **budget);

/* Count one request. Any thread. */
struct rate_state budget_take(struct budget *budget, const struct id *principal, int64_t now_us);
