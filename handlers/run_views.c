/*
 * Runs as answers show them. See run_views.h for the contract.
 */
#include "handlers/run_views.h"

#include "handlers/job_requests.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "handlers/waiting_room.h"
#include "storage/base/clock.h"
#include "storage/base/text.h"
#include "storage/jobs/definition.h"

#include <inttypes.h>

enum { LOOK_ARENA_BYTES = 1 << 20 };

/* ---- the run ---- */

static void set_error(struct json *json, const char *code, const char *message)
{
    if (code == NULL && message == NULL) {
        json_set(json, "error", json_new_null());
        return;
    }
    struct json *error = json_new_object();
    json_set_text(error, "code", code != NULL ? code : "error");
    json_set_text(error, "message", message != NULL ? message : "");
    json_set(json, "error", error);
}

static void set_result(struct json *json, bool ended, enum run_result result)
{
    bool known = ended && result != RESULT_NONE;
    json_set_text(json, "result", known ? run_result_name(result) : NULL);
}

static void set_times(struct json *json, int64_t started_us, int64_t ended_us)
{
    times_set(json, "started_at", started_us);
    times_set(json, "ended_at", ended_us);
}

/* Stored JSON text; null when there is none. */
static enum err_code set_stored(struct exchange *exchange, struct json *json, const char *name,
                                const char *text)
{
    struct json *value = NULL;
    if (text != NULL && json_parse(span_of_text(text), &value, &exchange->err) != ERR_OK) {
        exchange->err.code = ERR_CORRUPT;
        return err_wrap(&exchange->err, "stored %s", name);
    }
    json_set(json, name, value != NULL ? value : json_new_null());
    return ERR_OK;
}

static struct json *links_of(struct exchange *exchange, const struct job_run *run)
{
    struct json *links = json_new_object();
    json_set_text(links, "self", arena_format(&exchange->arena, "/v1/runs/%" PRId64, run->run_id));
    json_set_text(links, "webhooks",
                  arena_format(&exchange->arena, "/v1/webhooks?run_id=%" PRId64, run->run_id));
    if (run->job_id != 0) {
        json_set_text(links, "job",
                      arena_format(&exchange->arena, "/v1/jobs/%" PRId64, run->job_id));
    }
    if (run->parent_run_id != 0) {
        json_set_text(links, "parent",
                      arena_format(&exchange->arena, "/v1/runs/%" PRId64, run->parent_run_id));
    }
    return links;
}

static void set_trigger(struct services *services, struct exchange *exchange,
                        const struct job_run *run, struct json *json)
{
    json_set_text(json, "trigger", run_trigger_name(run->trigger));
    times_set(json, "trigger_time", run->trigger_time_us);
    json_set_text(json, "requested_by", job_request_principal(services, exchange, &run->principal));
    if (run->parent_run_id != 0) {
        struct json *parent = json_new_object();
        json_set_integer(parent, "run_id", run->parent_run_id);
        json_set_text(parent, "task_key", run->parent_task);
        json_set(json, "parent", parent);
    }
}

static void set_identity(struct json *json, const struct job_run *run)
{
    bool of_job = run->job_id != 0;
    json_set_integer(json, "run_id", run->run_id);
    json_set(json, "job_id", of_job ? json_new_integer(run->job_id) : json_new_null());
    json_set(json, "job_version", of_job ? json_new_integer(run->version) : json_new_null());
    json_set(json, "number", of_job ? json_new_integer(run->number) : json_new_null());
    json_set_text(json, "name", run->name);
}

enum err_code run_to_json(struct services *services, struct exchange *exchange,
                          const struct job_run *run, struct json **json_out)
{
    CLEANUP(json_free) struct json *json = json_new_object();
    bool ended = run->state == RUN_TERMINATED;
    set_identity(json, run);
    json_set_text(json, "state", run_state_name(run->state));
    set_result(json, ended, run->result);
    set_trigger(services, exchange, run, json);
    TRY(set_stored(exchange, json, "parameters", run->parameters));
    TRY(set_stored(exchange, json, "only", run->only));
    json_set_text(json, "idempotency_token", run->token);
    json_set_text(json, "run_as", job_request_principal(services, exchange, &run->run_as));
    times_set(json, "created_at", run->created_at_us);
    set_times(json, run->started_us, ended ? run->ended_us : 0);
    set_error(json, run->error_code, run->error);
    times_set(json, "cancel_requested_at", run->cancel_asked_at_us);
    json_set_text(json, "cancel_requested_by",
                  job_request_principal(services, exchange, &run->cancel_asked_by));
    json_set_integer(json, "repairs", run->repairs);
    json_set(json, "links", links_of(exchange, run));
    *json_out = json;
    json = NULL;
    return ERR_OK;
}

/* ---- attempts ---- */

static enum err_code attempt_to_json(struct exchange *exchange, const struct run_attempt *attempt,
                                     struct json **json_out)
{
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set_integer(json, "number", attempt->id.number);
    json_set_text(json, "state", attempt_state_name(attempt->state));
    set_result(json, attempt->state == ATTEMPT_ENDED, attempt->result);
    set_times(json, attempt->started_us, attempt->ended_us);
    json_set_integer(json, "rows_in", attempt->rows_in);
    json_set_integer(json, "rows_out", attempt->rows_out);
    json_set_integer(json, "rows_rejected", attempt->rows_rejected);
    json_set_integer(json, "bytes_in", attempt->bytes_in);
    json_set_integer(json, "bytes_out", attempt->bytes_out);
    TRY(set_stored(exchange, json, "versions_read", attempt->versions_read));
    TRY(set_stored(exchange, json, "versions_written", attempt->versions_written));
    set_error(json, attempt->error_code, attempt->error);
    *json_out = json;
    json = NULL;
    return ERR_OK;
}

/* At most RUN_ATTEMPTS_KEPT are stored: one page holds all. */
static enum err_code set_attempts(struct services *services, struct exchange *exchange,
                                  int64_t run_id, const struct graph_node *node, struct json *json)
{
    static const struct run_task_cursor from_first = {.set = false};
    const struct run_attempt_id only = {.task = node->task, .iteration = node->iteration};
    struct run_attempt *attempts = NULL;
    size_t count = 0;
    struct json *list = json_new_array();
    json_set(json, "attempts", list);
    json_set_integer(json, "attempts_count", node->attempts);
    if (node->attempts == 0) {
        return ERR_OK;
    }
    TRY(run_attempts(services->catalog, run_id, &only, &from_first, RUN_ATTEMPTS_KEPT,
                     &exchange->arena, &attempts, &count, &exchange->err));
    for (size_t i = 0; i < count; i++) {
        struct json *attempt = NULL;
        TRY(attempt_to_json(exchange, &attempts[i], &attempt));
        json_append(list, attempt);
    }
    return ERR_OK;
}

/* ---- progress ---- */

/* When the work ends if it goes on as it went; 0 = cannot be said. */
static int64_t estimated_end_us(const struct run_progress *progress, int64_t started_us,
                                int64_t now_us)
{
    if (progress->work_total <= 0 || progress->work_done <= 0 || started_us <= 0 ||
        now_us <= started_us) {
        return 0;
    }
    int64_t left =
        progress->work_total > progress->work_done ? progress->work_total - progress->work_done : 0;
    __int128 left_us = (__int128)(now_us - started_us) * left / progress->work_done;
    return left_us > INT64_MAX - now_us ? 0 : now_us + (int64_t)left_us;
}

static int64_t newest_start_us(const struct json *attempts)
{
    size_t count = json_count(attempts);
    struct span text;
    int64_t started_us = 0;
    if (count > 0 && json_as_string(json_get(json_at(attempts, count - 1), "started_at"), &text) &&
        !text_parse_timestamp(text, &started_us)) {
        started_us = 0;
    }
    return started_us;
}

static void set_progress(struct services *services, int64_t run_id, const struct graph_node *node,
                         struct json *json)
{
    struct run_progress progress;
    const struct services_jobs *jobs = &services->jobs;
    bool runs = node->state == TASK_RUNNING || node->state == TASK_TERMINATING;
    if (!runs || jobs->run_progress == NULL ||
        !jobs->run_progress(jobs->arg, run_id, node->task, node->iteration, &progress)) {
        json_set(json, "progress", json_new_null());
        return;
    }
    struct json *live = json_new_object();
    json_set_integer(live, "rows_in", progress.rows_in);
    json_set_integer(live, "rows_out", progress.rows_out);
    json_set_integer(live, "rows_rejected", progress.rows_rejected);
    json_set_integer(live, "bytes_in", progress.bytes_in);
    json_set_integer(live, "bytes_out", progress.bytes_out);
    json_set_integer(live, "work_done", progress.work_done);
    json_set(live, "work_total",
             progress.work_total > 0 ? json_new_integer(progress.work_total) : json_new_null());
    int64_t started_us = newest_start_us(json_get(json, "attempts"));
    times_set(live, "estimated_end_at", estimated_end_us(&progress, started_us, clock_wall_us()));
    json_set(json, "progress", live);
}

/* ---- tasks ---- */

static struct json *dependencies_to_json(const struct job_definition *definition,
                                         const struct job_task *task)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < task->dependencies_count; i++) {
        const struct job_dependency *dependency = &task->dependencies[i];
        struct json *item = json_new_object();
        json_set_text(item, "task_key", definition->tasks[dependency->task].key);
        if (dependency->has_outcome) {
            json_set_text(item, "outcome", dependency->outcome ? "true" : "false");
        }
        json_append(list, item);
    }
    return list;
}

static enum err_code task_to_json(struct services *services, struct exchange *exchange,
                                  const struct job_run *run,
                                  const struct job_definition *definition,
                                  const struct run_task *task, struct json **json_out)
{
    const struct graph_node *node = &task->node;
    if (node->task >= definition->tasks_count) {
        return err_set(&exchange->err, ERR_CORRUPT, "a stored task is none of its definition");
    }
    const struct job_task *defined = &definition->tasks[node->task];
    bool iteration = node->iteration >= 0;
    const struct job_task *shown = iteration && defined->each != NULL ? defined->each : defined;
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set_text(json, "task_key", defined->key);
    json_set_text(json, "type", job_task_type_name(shown->type));
    if (iteration) {
        json_set_integer(json, "iteration", node->iteration);
    } else {
        json_set(json, "depends_on", dependencies_to_json(definition, defined));
    }
    json_set_text(json, "state", task_state_name(node->state));
    set_result(json, node->state == TASK_TERMINATED, node->result);
    set_times(json, node->started_us, node->ended_us);
    times_set(json, "due_at", node->state == TASK_WAITING_FOR_RETRY ? node->due_us : 0);
    json_set_text(json, "outcome", node->outcome[0] != '\0' ? node->outcome : NULL);
    json_set(json, "inputs_count",
             !iteration && node->inputs_count >= 0 ? json_new_integer(node->inputs_count)
                                                   : json_new_null());
    TRY(set_stored(exchange, json, "values", task->values));
    set_error(json, task->error_code, task->error);
    TRY(set_attempts(services, exchange, run->run_id, node, json));
    set_progress(services, run->run_id, node, json);
    *json_out = json;
    json = NULL;
    return ERR_OK;
}

/* A page being made: stored nodes, and between them tasks that nothing is stored of. */
struct task_page {
    struct services *services;
    struct exchange *exchange;
    const struct job_run *run;
    const struct job_definition *definition;
    struct json *list;
    size_t limit;
    size_t next_task; /* the first one that has not been shown */
    struct run_task_cursor last;
};

static bool is_full(const struct task_page *page)
{
    return json_count(page->list) == page->limit;
}

static enum err_code show(struct task_page *page, const struct run_task *task)
{
    struct json *json = NULL;
    TRY(task_to_json(page->services, page->exchange, page->run, page->definition, task, &json));
    json_append(page->list, json);
    page->next_task = task->node.task + 1;
    page->last = (struct run_task_cursor){
        .set = true, .task = task->node.task, .iteration = task->node.iteration};
    return ERR_OK;
}

/* Tasks before `end` that nothing is stored of. */
static enum err_code show_unstored(struct task_page *page, size_t end)
{
    while (page->next_task < end && !is_full(page)) {
        const struct run_task task = {.node = {.task = page->next_task,
                                               .iteration = -1,
                                               .state = TASK_BLOCKED,
                                               .inputs_count = -1},
                                      .values = "{}"};
        TRY(show(page, &task));
    }
    return ERR_OK;
}

static enum err_code show_page(struct task_page *page, const struct run_task_cursor *after)
{
    struct run_task *stored = NULL;
    size_t count = 0;
    struct exchange *exchange = page->exchange;
    page->next_task = after->set ? after->task + 1 : 0;
    TRY(run_tasks(page->services->catalog, page->run->run_id, after, page->limit, &exchange->arena,
                  &stored, &count, &exchange->err));
    for (size_t i = 0; i < count && !is_full(page); i++) {
        TRY(show_unstored(page, stored[i].node.task));
        if (!is_full(page)) {
            TRY(show(page, &stored[i]));
        }
    }
    return count < page->limit ? show_unstored(page, page->definition->tasks_count) : ERR_OK;
}

static enum err_code open_cursor(struct services *services, struct exchange *exchange,
                                 struct run_task_cursor *cursor_out)
{
    CLEANUP(json_free) struct json *state = NULL;
    int64_t task = 0;
    int64_t iteration = 0;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    bool set = json_as_integer(json_get(state, "task"), &task) &&
               json_as_integer(json_get(state, "iteration"), &iteration);
    *cursor_out = (struct run_task_cursor){
        .set = set, .task = (size_t)task, .iteration = set ? iteration : 0};
    return ERR_OK;
}

static const char *seal_cursor(const struct task_page *page)
{
    if (!is_full(page)) {
        return NULL;
    }
    CLEANUP(json_free) struct json *state = json_new_object();
    json_set_integer(state, "task", (int64_t)page->last.task);
    json_set_integer(state, "iteration", page->last.iteration);
    return page_token_seal(page->services, page->exchange, &state);
}

enum err_code run_tasks_to_json(struct services *services, struct exchange *exchange,
                                const struct job_run *run, struct json *json)
{
    int64_t limit = RUN_TASKS_DEFAULT;
    const char *text = NULL;
    struct run_task_cursor cursor;
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    TRY(exchange_query_integer(exchange, "limit", 1, RUN_TASKS_MAX, &limit));
    TRY(open_cursor(services, exchange, &cursor));
    TRY(job_definition(services->catalog, run->job_id, run->version, &exchange->arena, &text,
                       &exchange->err));
    TRY(job_definition_read(span_of_text(text), &definition, &exchange->err));
    struct task_page page = {.services = services,
                             .exchange = exchange,
                             .run = run,
                             .definition = definition,
                             .list = json_new_array(),
                             .limit = (size_t)limit};
    json_set(json, "tasks", page.list);
    TRY(show_page(&page, &cursor));
    json_set_text(json, "next_page_token", seal_cursor(&page));
    return ERR_OK;
}

/* ---- waiting ---- */

/* What a parked exchange waits for; in its arena. */
struct parked {
    int64_t run_id;
    struct run_wait wait;
};

enum err_code run_parse_wait(struct services *services, struct exchange *exchange,
                             struct run_wait *wait_out)
{
    struct run_wait wait = {.seconds = 0};
    struct span text;
    if (exchange_prefers(exchange, "wait", &text)) {
        if (!text_parse_int64(text, &wait.seconds) || wait.seconds < 0) {
            return err_set(&exchange->err, ERR_INVALID,
                           "Prefer: give wait=N with a whole number of seconds");
        }
        wait.asked = true;
        if (wait.seconds > services->wait_seconds_max) {
            wait.seconds = services->wait_seconds_max; /* Preference-Applied tells */
        }
    }
    *wait_out = wait;
    return ERR_OK;
}

static enum handler_result answer_now(struct services *services, struct exchange *exchange,
                                      int64_t run_id, const struct run_wait *wait)
{
    struct job_run run;
    CLEANUP(json_free) struct json *json = NULL;
    if (run_get(services->catalog, run_id, &exchange->arena, &run, &exchange->err) != ERR_OK ||
        run_to_json(services, exchange, &run, &json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "Location", "/v1/runs/%" PRId64, run_id);
    if (wait->asked) {
        exchange_set_header(exchange, "Preference-Applied", "wait=%" PRId64, wait->seconds);
    }
    bool waited = wait->asked && wait->seconds > 0;
    exchange_answer_json(exchange, waited && run.state == RUN_TERMINATED ? 200 : 202, &json);
    return HANDLER_DONE;
}

/* Has it ended? Looked at with memory of its own: a run may be looked at many times. */
static enum err_code has_ended(struct services *services, int64_t run_id, bool *ended_out,
                               struct err *err)
{
    struct arena arena;
    struct job_run run;
    arena_init(&arena, LOOK_ARENA_BYTES);
    enum err_code code = run_get(services->catalog, run_id, &arena, &run, err);
    if (code == ERR_OK) {
        *ended_out = run.state == RUN_TERMINATED;
    }
    arena_deinit(&arena);
    return code;
}

static bool look(struct services *services, struct exchange *exchange, bool timed_out)
{
    const struct parked *parked = exchange->parked;
    bool ended = false;
    if (has_ended(services, parked->run_id, &ended, &exchange->err) != ERR_OK) {
        (void)problem_err(exchange); /* the answer is in place */
        return true;
    }
    if (!timed_out && !ended) {
        return false;
    }
    (void)answer_now(services, exchange, parked->run_id,
                     &parked->wait); /* the answer is in place */
    return true;
}

enum handler_result run_answer(struct services *services, struct exchange *exchange, int64_t run_id,
                               const struct run_wait *wait)
{
    bool ended = false;
    if (has_ended(services, run_id, &ended, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    struct parked *parked = arena_alloc(&exchange->arena, sizeof *parked);
    if (ended || wait->seconds == 0 || parked == NULL) {
        return answer_now(services, exchange, run_id, wait);
    }
    *parked = (struct parked){.run_id = run_id, .wait = *wait};
    exchange->parked = parked;
    const struct id subject = waiting_room_run(run_id);
    int64_t deadline_us = clock_monotonic_us() + wait->seconds * 1000000;
    if (!waiting_room_park(services->waiting_room, exchange, &subject, deadline_us, look)) {
        return answer_now(services, exchange, run_id, wait);
    }
    return HANDLER_WAIT;
}
