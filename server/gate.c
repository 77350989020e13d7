/* Token → principal → permission; see gate.h. */
#include "server/gate.h"

#include "handlers/problem.h"
#include "server/budget.h"
#include "server/rate.h"
#include "server/throttle.h"
#include "storage/audit/audit.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct gate {
    struct gate_options options;
    struct throttle *throttle;
    struct budget *budget; /* NULL = no limit */
    struct metric *unauthenticated;
    struct metric *forbidden;
    struct metric *throttled;
    struct metric *over_budget;
};

static struct metric *refusals(const char *labels)
{
    return metric_register(METRIC_COUNTER, "sluice_gate_refusals_total", labels,
                           "Requests refused at the gate.");
}

struct gate *gate_new(const struct gate_options *options)
{
    struct gate *gate = mem_zeroed(1, sizeof *gate);
    gate->options = *options;
    gate->throttle = throttle_new(options->failures_per_minute_max);
    if (options->requests_per_minute_max > 0) {
        gate->budget = budget_new(options->requests_per_minute_max);
    }
    gate->unauthenticated = refusals("reason=\"unauthenticated\"");
    gate->forbidden = refusals("reason=\"forbidden\"");
    gate->throttled = refusals("reason=\"throttled\"");
    gate->over_budget = refusals("reason=\"over_budget\"");
    return gate;
}

void gate_free(struct gate **gate)
{
    if (*gate != NULL) {
        throttle_free(&(*gate)->throttle);
        budget_free(&(*gate)->budget);
        mem_free(*gate);
        *gate = NULL;
    }
}

/* The table a request concerns, as the audit and the grants name it; NULL = none. */
static const char *resource_of(const struct exchange *exchange)
{
    if (exchange->route->resource == NULL) {
        return NULL;
    }
    /* NUL-terminated in the arena and without NUL inside, as target.c decodes it */
    return (const char *)exchange->parameters[exchange->route->resource_index].data;
}

enum { REMOTE_BYTES = 64 };

/* The address as a NUL-terminated text. */
static void copy_remote(const struct exchange *exchange, char remote_out[REMOTE_BYTES])
{
    size_t size = exchange->remote.size;
    size = size < REMOTE_BYTES - 1 ? size : REMOTE_BYTES - 1;
    if (size > 0) {
        memcpy(remote_out, exchange->remote.data, size);
    }
    remote_out[size] = '\0';
}

/*
 * A refusal lets nothing out, so it goes on when the trail cannot be written; the
 * trail's own health then stops what does let something out.
 */
static void record_refusal(struct gate *gate, const struct exchange *exchange, int status,
                           const char *detail)
{
    char remote[REMOTE_BYTES];
    copy_remote(exchange, remote);
    const char *subject = exchange->log_subject;
    struct audit_event event = {
        .event = "access.denied",
        .principal_id = exchange->principal != NULL ? exchange->principal->id.text : NULL,
        .token_id = exchange->token_id,
        .request_id = exchange->request_id.text,
        .action = exchange->route->action,
        .resource = resource_of(exchange),
        .outcome = AUDIT_DENIED,
        .status = status,
        .subjects = &subject,
        .subjects_count = subject[0] != '\0' ? 1 : 0,
        .count = -1,
        .remote = remote,
        .detail = detail,
    };
    struct err err = {0};
    if (audit_write(gate->options.audit, &event, NULL, &err) != ERR_OK) {
        err_clear(&err); /* see above */
    }
}

/* spec: RFC 6750 section 2.1 — "Bearer" SP token, the scheme ignoring case */
static bool read_bearer(struct span authorization, struct span *token_out)
{
    static const char scheme[] = "bearer ";
    size_t size = sizeof scheme - 1;
    if (authorization.size <= size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((authorization.data[i] | 0x20) != (uint8_t)(scheme[i] | 0x20)) {
            return false;
        }
    }
    *token_out = span_of(authorization.data + size, authorization.size - size);
    return true;
}

static void answer_rate_limited(struct exchange *exchange, const char *what,
                                const struct rate_state *state)
{
    exchange_set_header(exchange, "Retry-After", "%" PRId64, state->reset_seconds);
    (void)problem_answer(exchange, 429, "rate_limited", "%s; wait %" PRId64 " seconds", what,
                         state->reset_seconds); /* always HANDLER_DONE */
}

/* A wrong token: counted per address, so that guessing gets slow. */
static void refuse_token(struct gate *gate, struct exchange *exchange, const char *detail)
{
    char remote[REMOTE_BYTES];
    copy_remote(exchange, remote);
    struct rate_state state = throttle_failure(gate->throttle, remote, clock_monotonic_us());
    rate_tell(exchange, "auth-failures", &state);
    if (state.over) {
        static const char what[] = "too many wrong tokens from this address";
        metric_add(gate->throttled, 1);
        record_refusal(gate, exchange, 429, what);
        answer_rate_limited(exchange, what, &state);
        return;
    }
    metric_add(gate->unauthenticated, 1);
    record_refusal(gate, exchange, 401, detail);
    exchange_set_header(exchange, "WWW-Authenticate",
                        "Bearer realm=\"sluice\", error=\"invalid_token\"");
    (void)problem_answer(exchange, 401, "unauthenticated",
                         "the token is unknown, expired or revoked"); /* always HANDLER_DONE */
}

static bool authenticate(struct gate *gate, struct exchange *exchange, struct span authorization,
                         struct access_identity *identity_out)
{
    struct span token = {0};
    if (!read_bearer(authorization, &token)) {
        metric_add(gate->unauthenticated, 1);
        (void)problem_answer(exchange, 401, "unauthenticated",
                             "send 'Authorization: Bearer slc_…'"); /* always HANDLER_DONE */
        return false;
    }
    struct err err = {0};
    if (access_authenticate(gate->options.catalog, token, clock_wall_us(), identity_out, &err) !=
        ERR_OK) {
        refuse_token(gate, exchange, err.msg);
        return false;
    }
    exchange->principal = identity_out->principal;
    exchange->token_id = identity_out->token.text;
    return true;
}

/*
 * Is there a request left in the principal's budget? The trail has the first that was
 * refused in a window: a record for each would give a loop a lever on the disk.
 */
static bool admit_rate(struct gate *gate, struct exchange *exchange)
{
    if (gate->budget == NULL) {
        return true;
    }
    struct rate_state state =
        budget_take(gate->budget, &exchange->principal->id, clock_monotonic_us());
    rate_tell(exchange, "requests", &state);
    if (!state.over) {
        return true;
    }
    metric_add(gate->over_budget, 1);
    if (state.first_over) {
        record_refusal(gate, exchange, 429, "over the budget of requests");
    }
    answer_rate_limited(exchange, "this principal made more requests than it may in a minute",
                        &state);
    return false;
}

bool gate_admit(struct gate *gate, struct exchange *exchange, struct span authorization,
                struct access_identity *identity_out)
{
    const struct route *route = exchange->route;
    *identity_out = (struct access_identity){0};
    if (route->action == NULL) {
        return true;
    }
    if (!authenticate(gate, exchange, authorization, identity_out)) {
        return false;
    }
    if (!admit_rate(gate, exchange)) {
        return false;
    }
    if (!access_allows(exchange->principal, route->action, resource_of(exchange))) {
        metric_add(gate->forbidden, 1);
        record_refusal(gate, exchange, 403, NULL);
        (void)problem_answer(exchange, 403, "forbidden",
                             "this principal lacks the permission '%s'%s", route->action,
                             route->resource != NULL ? " on this table" : "");
        return false;
    }
    if (route->reads_phi && !audit_healthy(gate->options.audit)) {
        (void)problem_answer(exchange, 503, "busy",
                             "the audit trail cannot be written, so no health information may "
                             "leave; the operator must act"); /* always HANDLER_DONE */
        return false;
    }
    return true;
}
