/*
 * Runs as answers show them: the run with its tasks and their attempts, live progress
 * of those that run, and waiting for a run to end.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/catalog/runs.h"

#include <stdbool.h>
#include <stdint.h>

enum { RUN_TASKS_DEFAULT = 100, RUN_TASKS_MAX = 1000 }; /* of one page */

/* The run without its tasks. Errors: ERR_CORRUPT, in exchange->err. */
enum err_code run_to_json(struct services *services, struct exchange *exchange,
                          const struct job_run *run, struct json **json_out) MUST_USE;

/*
 * A page of the run's tasks, in the order of the definition, each task before its iterations;
 * tasks that nothing is stored of yet are BLOCKED. Sets `tasks` and `next_page_token` of `json`.
 *
 * Errors:  ERR_INVALID limit or page_token; ERR_TOO_LARGE ask for fewer; in exchange->err.
 */
enum err_code run_tasks_to_json(struct services *services, struct exchange *exchange,
                                const struct job_run *run, struct json *json) MUST_USE;

/* What `Prefer: wait=N` asks for. */
struct run_wait {
    int64_t seconds; /* 0 = answer at once */
    bool asked;      /* it was there, so Preference-Applied says so */
};

/* Errors: ERR_INVALID, in exchange->err. */
enum err_code run_parse_wait(struct services *services, struct exchange *exchange,
                             struct run_wait *wait_out) MUST_USE;

/*
 * Answer with the run, without its tasks: 202 at once, or 200 when it was waited for and has
 * ended.
 */
enum handler_result run_answer(struct services *services, struct exchange *exchange, int64_t run_id,
                               const struct run_wait *wait);
