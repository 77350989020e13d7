/*
 * Runs: /v1/runs, and starting them. Everything a person asks for is a row before the
 * runner is told, and the answer is the run as it is then.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/job_requests.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/run_start.h"
#include "handlers/run_views.h"
#include "storage/base/clock.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"

#include <inttypes.h>
#include <string.h>

enum { LIST_DEFAULT = 100, LIST_MAX = 1000 };

static enum err_code audit_run(struct services *services, struct exchange *exchange,
                               const char *event, int64_t run_id)
{
    const char *resource = arena_format(&exchange->arena, "run %" PRId64, run_id);
    return access_audit_change(services, exchange, event, resource);
}

static void tell_runner(const struct services *services, int64_t run_id)
{
    if (services->jobs.run_changed != NULL) {
        services->jobs.run_changed(services->jobs.arg, run_id);
    }
}

/* Stored and told, then recorded; the answer waits when it was asked to. */
static enum handler_result asked(struct services *services, struct exchange *exchange,
                                 const char *event, int64_t run_id, const struct run_wait *wait)
{
    tell_runner(services, run_id);
    if (audit_run(services, exchange, event, run_id) != ERR_OK) {
        return problem_err(exchange);
    }
    return run_answer(services, exchange, run_id, wait);
}

/* ---- starting ---- */

/* The body of a start; an absent one asks for nothing special. json_free. */
static enum err_code start_body(struct exchange *exchange, struct json **body_out)
{
    static const char *const names[] = {"parameters", "idempotency_token", "only", NULL};
    CLEANUP(json_free) struct json *body = NULL;
    if (exchange->body.size == 0) {
        body = json_new_object();
    } else {
        TRY(job_request_body(exchange, &body));
    }
    TRY(json_check_names(body, "", names, &exchange->err));
    *body_out = body;
    body = NULL;
    return ERR_OK;
}

/*
 * Task keys of a body's member as JSON text; NULL when it is absent.
 * Errors:  ERR_INVALID names the first that is no task.
 */
static enum err_code task_keys(struct exchange *exchange, const struct json *body, const char *name,
                               const struct job_definition *definition, const char **text_out)
{
    const struct json *keys = json_get(body, name);
    *text_out = NULL;
    if (keys == NULL) {
        return ERR_OK;
    }
    size_t count = json_count(keys);
    if (json_kind(keys) != JSON_KIND_ARRAY || count == 0) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/%s: give an array of task keys, or leave it out for all", name);
    }
    for (size_t i = 0; i < count; i++) {
        struct span key;
        size_t task = 0;
        if (!json_as_string(json_at(keys, i), &key) ||
            !job_definition_find(definition, key, &task)) {
            return err_set(&exchange->err, ERR_INVALID, "/%s/%zu: there is no task of this key",
                           name, i);
        }
    }
    return job_request_text(exchange, keys, RUN_ONLY_BYTES_MAX, name, text_out);
}

static enum err_code parameters_of(struct exchange *exchange, const struct json *body,
                                   const char **text_out)
{
    const struct json *given = json_get(body, "parameters");
    *text_out = NULL;
    return given == NULL ? ERR_OK
                         : job_request_text(exchange, given, RUN_PARAMETERS_BYTES_MAX,
                                            "/parameters", text_out);
}

static enum handler_result make_run(struct services *services, struct exchange *exchange,
                                    const struct run_new *new, const struct run_wait *wait)
{
    int64_t run_id = 0;
    bool made = false;
    if (run_create(services->catalog, new, &run_id, &made, &exchange->err) != ERR_OK) {
        return job_request_refused(exchange);
    }
    if (!made) {
        exchange_set_header(exchange, "Idempotency-Replayed", "true");
        return run_answer(services, exchange, run_id, wait);
    }
    return asked(services, exchange, "run.start", run_id, wait);
}

enum handler_result handle_job_run(struct services *services, struct exchange *exchange)
{
    struct job job;
    struct run_wait wait;
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    if (start_body(exchange, &body) != ERR_OK ||
        run_parse_wait(services, exchange, &wait) != ERR_OK ||
        job_request_find(services, exchange, &job) != ERR_OK ||
        job_definition_read(span_of_text(job.definition), &definition, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    if (!job_request_parameters_fit(exchange, json_get(body, "parameters"), definition)) {
        return HANDLER_DONE;
    }
    struct run_new new = {.job_id = job.job_id,
                          .job_version = job.version,
                          .principal = exchange->principal->id,
                          .trigger = RUN_TRIGGER_MANUAL,
                          .trigger_time_us = clock_wall_us()};
    if (job_request_token(exchange, body, &new.token) != ERR_OK ||
        task_keys(exchange, body, "only", definition, &new.only) != ERR_OK ||
        parameters_of(exchange, body, &new.parameters) != ERR_OK) {
        return problem_err(exchange);
    }
    return make_run(services, exchange, &new, &wait);
}

/* ---- one-off runs ---- */

static enum err_code one_off_of(struct services *services, struct exchange *exchange,
                                const struct job_definition *definition, struct run_new *new)
{
    new->name = definition->name[0] != '\0' ? definition->name : "one-off";
    new->run_as = exchange->principal->id;
    if (definition->run_as != NULL) {
        CLEANUP(access_release) struct access_identity identity = {0};
        TRY(access_find(services->catalog, definition->run_as, &identity, &exchange->err));
        new->run_as = identity.principal->id;
    }
    return job_request_text(exchange, definition->json, JOB_DEFINITION_BYTES_MAX, "the definition",
                            &new->definition);
}

enum handler_result run_start_one_off(struct services *services, struct exchange *exchange,
                                      const struct json *json, const char *token)
{
    struct run_wait wait;
    struct run_new new = {.trigger = RUN_TRIGGER_ONE_OFF,
                          .trigger_time_us = clock_wall_us(),
                          .principal = exchange->principal->id,
                          .token = token};
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    if (run_parse_wait(services, exchange, &wait) != ERR_OK) {
        return problem_err(exchange);
    }
    if (job_request_check(services, exchange, json, 0, true, &definition) != ERR_OK) {
        return job_request_failed(exchange);
    }
    if (!job_request_parameters_fit(exchange, NULL, definition)) {
        return HANDLER_DONE;
    }
    if (one_off_of(services, exchange, definition, &new) != ERR_OK) {
        return problem_err(exchange);
    }
    return make_run(services, exchange, &new, &wait);
}

enum handler_result handle_run_submit(struct services *services, struct exchange *exchange)
{
    const char *token = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(json_free) struct json *plain = NULL;
    if (job_request_body(exchange, &body) != ERR_OK ||
        job_request_token(exchange, body, &token) != ERR_OK) {
        return problem_err(exchange);
    }
    plain = json_duplicate(body); /* the token is text of `body` */
    json_remove(plain, "idempotency_token");
    return run_start_one_off(services, exchange, plain, token);
}

/* ---- reading ---- */

static enum err_code parse_moment(struct exchange *exchange, const char *name, int64_t *us_out)
{
    struct span text = exchange_query(exchange, name);
    if (text.data != NULL && !text_parse_timestamp(text, us_out)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "%s: give a moment as RFC 3339 with zone, like 2026-11-23T08:00:00Z", name);
    }
    return ERR_OK;
}

static enum err_code parse_filter(struct exchange *exchange, struct run_filter *filter_out)
{
    struct run_filter filter = {0};
    int64_t job_id = -1;
    enum run_state state;
    enum run_result result;
    TRY(exchange_query_integer(exchange, "job_id", 0, INT64_MAX, &job_id));
    TRY(exchange_query_boolean(exchange, "active", &filter.active));
    TRY(parse_moment(exchange, "from", &filter.from_us));
    TRY(parse_moment(exchange, "to", &filter.to_us));
    struct span text = exchange_query(exchange, "state");
    if (text.data != NULL) {
        if (!run_state_parse(text, &state)) {
            return err_set(&exchange->err, ERR_INVALID,
                           "state: give QUEUED, BLOCKED, RUNNING, TERMINATING or TERMINATED");
        }
        filter.state = (int)state;
    }
    text = exchange_query(exchange, "result");
    if (text.data != NULL) {
        if (!run_result_parse(text, &result)) {
            return err_set(&exchange->err, ERR_INVALID,
                           "result: give SUCCESS, FAILED, TIMEDOUT, CANCELED, "
                           "SUCCESS_WITH_FAILURES or MAXIMUM_CONCURRENT_RUNS_REACHED");
        }
        filter.result = (int)result;
    }
    if (job_id >= 0) {
        filter.job_id = job_id == 0 ? RUN_FILTER_ONE_OFF : job_id;
    }
    *filter_out = filter;
    return ERR_OK;
}

/* As with jobs: a page may be short before the end. */
static enum err_code list_runs(struct services *services, struct exchange *exchange,
                               struct json **answer_out)
{
    int64_t limit = LIST_DEFAULT;
    int64_t before = 0;
    int64_t next = 0;
    struct run_filter filter;
    TRY(parse_filter(exchange, &filter));
    TRY(exchange_query_integer(exchange, "limit", 1, LIST_MAX, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    (void)json_as_integer(json_get(state, "before"), &before); /* absent on the first page */
    struct job_run *runs = NULL;
    size_t count = 0;
    TRY(run_list(services->catalog, &filter, before, (size_t)limit, &exchange->arena, &runs, &count,
                 &next, &exchange->err));

    CLEANUP(json_free) struct json *answer = json_new_object();
    struct json *list = json_new_array();
    json_set(answer, "runs", list);
    for (size_t i = 0; i < count; i++) {
        struct json *run = NULL;
        if (run_request_may_see(exchange, &runs[i])) {
            TRY(run_to_json(services, exchange, &runs[i], &run));
            json_append(list, run);
        }
    }
    const char *token = NULL;
    if (next != 0) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_integer(next_state, "before", next);
        token = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", token);
    *answer_out = answer;
    answer = NULL;
    return ERR_OK;
}

enum handler_result handle_run_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_runs(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

enum handler_result handle_run_get(struct services *services, struct exchange *exchange)
{
    struct job_run run;
    CLEANUP(json_free) struct json *json = NULL;
    if (run_request_find(services, exchange, &run) != ERR_OK ||
        run_to_json(services, exchange, &run, &json) != ERR_OK ||
        run_tasks_to_json(services, exchange, &run, json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

/* ---- cancel and repair ---- */

enum handler_result handle_run_cancel(struct services *services, struct exchange *exchange)
{
    struct job_run run;
    struct run_wait wait;
    if (run_parse_wait(services, exchange, &wait) != ERR_OK ||
        run_request_find(services, exchange, &run) != ERR_OK ||
        run_request_cancel(services->catalog, run.run_id, &exchange->principal->id,
                           &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    return asked(services, exchange, "run.cancel", run.run_id, &wait);
}

/* Which tasks to repair; NULL = everything that failed. */
static enum err_code repair_tasks(struct services *services, struct exchange *exchange,
                                  const struct job_run *run, const char **tasks_out)
{
    static const char *const names[] = {"tasks", NULL};
    const char *text = NULL;
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    *tasks_out = NULL;
    if (exchange->body.size == 0) {
        return ERR_OK;
    }
    TRY(job_request_body(exchange, &body));
    TRY(json_check_names(body, "", names, &exchange->err));
    TRY(job_definition(services->catalog, run->job_id, run->version, &exchange->arena, &text,
                       &exchange->err));
    TRY(job_definition_read(span_of_text(text), &definition, &exchange->err));
    return task_keys(exchange, body, "tasks", definition, tasks_out);
}

enum handler_result handle_run_repair(struct services *services, struct exchange *exchange)
{
    struct job_run run;
    struct run_wait wait;
    const char *tasks = NULL;
    if (run_parse_wait(services, exchange, &wait) != ERR_OK ||
        run_request_find(services, exchange, &run) != ERR_OK ||
        repair_tasks(services, exchange, &run, &tasks) != ERR_OK ||
        run_request_repair(services->catalog, run.run_id, tasks, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    return asked(services, exchange, "run.repair", run.run_id, &wait);
}
