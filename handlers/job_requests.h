/*
 * What requests about jobs and runs have in common: who may see which, what a
 * definition is checked against, how its problems are answered.
 *
 * A principal whose role holds on all tables deals with all jobs. One whose role is
 * limited to some tables deals with its own: jobs it wrote, runs of those or asked for
 * by it. Others do not exist for it.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- who may see what; the action is the route's ---- */

bool job_request_may_see(const struct exchange *exchange, const struct job *job);
bool run_request_may_see(const struct exchange *exchange, const struct job_run *run);

/* The job or run that the first path parameter names. Errors: ERR_NOT_FOUND, in exchange->err. */
enum err_code job_request_find(struct services *services, struct exchange *exchange,
                               struct job *job_out) MUST_USE;
enum err_code run_request_find(struct services *services, struct exchange *exchange,
                               struct job_run *run_out) MUST_USE;

/* Name of a principal by identity, in the arena; its identity when it is unknown, NULL for none. */
const char *job_request_principal(struct services *services, struct exchange *exchange,
                                  const struct id *principal);

/* ---- definitions ---- */

/*
 * Check a definition as the caller's own. Answers 422 `invalid_definition` with every problem and
 * its pointer when there are any.
 *
 *   job_id          the job it is for; 0 = a new one or a one-off run
 *   definition_out  job_definition_release; untouched unless ERR_OK
 *
 * Errors:  those of the catalog, in exchange->err; ERR_INVALID: the answer is in place.
 */
enum err_code job_request_check(struct services *services, struct exchange *exchange,
                                const struct json *json, int64_t job_id, bool one_off,
                                const struct job_definition **definition_out) MUST_USE;

/*
 * Answer `status` with the problems; each pointer behind `base` ("/parameters").
 *
 *   detail  for people; the problems say the rest
 */
enum handler_result job_request_problems(struct exchange *exchange, int status, const char *code,
                                         const char *detail, const char *base,
                                         const struct definition_problems *problems);

/* The problem's answer of a failed check or catalog call: in place already, or made here. */
enum handler_result job_request_failed(struct exchange *exchange);

/* JSON text in the arena. Errors: ERR_TOO_LARGE over `bytes_max`, in exchange->err. */
enum err_code job_request_text(struct exchange *exchange, const struct json *json, size_t bytes_max,
                               const char *what, const char **text_out) MUST_USE;

/*
 * exchange_body_json, and no number of it loses a digit on the way: filters and bounds are
 * compared with decimals.
 * Errors:  ERR_INVALID also a number that has to be written as a text, in exchange->err.
 */
enum err_code job_request_body(struct exchange *exchange, struct json **body_out) MUST_USE;

/* ---- idempotency ---- */

/*
 * The Idempotency-Key of this request, bound to principal, method and path.
 *
 *   given_out  false: there is none
 *
 * Errors:  ERR_INVALID its size, in exchange->err.
 */
enum err_code job_request_key(struct exchange *exchange, struct idempotency_key *key_out,
                              bool *given_out) MUST_USE;

/*
 * The token under which a run is made once: the body's `idempotency_token`, or one made of the
 * Idempotency-Key; NULL when there is neither. Borrows from the body or lies in the arena.
 *
 * Errors:  ERR_INVALID, in exchange->err.
 */
enum err_code job_request_token(struct exchange *exchange, const struct json *body,
                                const char **token_out) MUST_USE;

/* The answer when run_create failed: a token or key of another request is 422. */
enum handler_result job_request_refused(struct exchange *exchange);

/* ---- parameters ---- */

/* Do the parameters given (NULL = none) fit the definition? False: the answer is in place. */
bool job_request_parameters_fit(struct exchange *exchange, const struct json *given,
                                const struct job_definition *definition);
