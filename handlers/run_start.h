/*
 * Starting one-off runs, for every request that ends in one.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/base/json.h"

/*
 * Check a definition as the caller's own, make a run of it and answer with the run.
 *
 *   definition  as POST /v1/runs takes it, without idempotency_token
 *   token       under which the run is made once (job_request_token); NULL = none
 */
enum handler_result run_start_one_off(struct services *services, struct exchange *exchange,
                                      const struct json *definition, const char *token);
