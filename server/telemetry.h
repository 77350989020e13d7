/*
 * What a finished request leaves behind: one log line and its metrics.
 */
#pragma once

#include "handlers/exchange.h"

#include <stdint.h>

/* Register every series; once, before the first request. */
void telemetry_open(void);

/* A request began; paired with telemetry_finish. */
void telemetry_begin(void);

/* Body bytes that were received for a request that never had an answer count too. */
void telemetry_finish(const struct exchange *exchange, const char *method, int64_t bytes_in,
                      int64_t bytes_out);

/* Requests that began and are not finished. */
int64_t telemetry_in_flight(void);

/* Retry-After for a full queue of `queued` requests, from the rate at which they drain. */
int64_t telemetry_retry_seconds(int64_t queued);
