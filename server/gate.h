/*
 * The gate: token → principal → rate → permission, from headers only, before any
 * body byte. Default deny. Refusals are recorded in the audit trail; what was let
 * through is recorded by the handlers that answer it.
 */
#pragma once

#include "handlers/exchange.h"
#include "storage/base/span.h"
#include "storage/catalog/access.h"

#include <stdbool.h>
#include <stdint.h>

struct audit;
struct catalog;
struct gate;

struct gate_options {
    struct catalog *catalog;
    struct audit *audit;
    int64_t failures_per_minute_max; /* wrong tokens per source address */
    int64_t requests_per_minute_max; /* per principal; 0 = no limit */
};

struct gate *gate_new(const struct gate_options *options);
void gate_free(struct gate **gate);

/*
 * May this request go on? Sets exchange->principal and token_id.
 *
 *   exchange       route, parameters, request id and remote address are set
 *   authorization  the header's value, empty when absent
 *   identity_out   holds what the principal lies in: access_release it when the
 *                  exchange ends; zeroed for public routes
 *
 * Returns false when it was refused: the answer (401, 403, 429 or 503) is in place.
 */
bool gate_admit(struct gate *gate, struct exchange *exchange, struct span authorization,
                struct access_identity *identity_out);
