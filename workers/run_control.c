/*
 * Control tasks: condition, for_each and run_job are decided in the step, without a
 * thread. See runner_private.h.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/catalog/jobs.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    ARENA_BYTES = 16 << 20,
    OPERAND_BYTES_MAX = 64 << 10,
    TOKEN_BYTES = RUN_TOKEN_BYTES_MAX + 1,
    ERROR_BYTES = 256,
};

static const char inputs_pin[] = "inputs";

/* The node cannot do what it is there for. */
static void fail(struct active_run *run, size_t node, const struct err *err, int64_t now_us)
{
    const struct graph_end end = {.result = RESULT_FAILED, .permanent = true};
    node_extra_set_error(run_extra(run, node), err_code_name(err->code), err->msg);
    graph_end(run->graph, node, &end, now_us);
}

/* ---- condition ---- */

/* An operand as text: strings as they are, others as JSON. */
static enum err_code operand_text(struct active_run *run, size_t node, const char *name,
                                  struct buffer *text, struct err *err)
{
    CLEANUP(json_free) struct json *value = NULL;
    TRY(run_expand(run, graph_node_at(run->graph, node),
                   json_get(run_task_at(run, node)->body, name), "", &value, err));
    struct span string = {0};
    if (json_as_string(value, &string)) {
        buffer_append_span(text, string);
    } else {
        json_write(value, text);
    }
    return buffer_check(text, "an operand", err);
}

/* -1, 0, 1; whole numbers exactly. */
static enum err_code compare_numbers(struct span left, struct span right, int *order_out,
                                     struct err *err)
{
    int64_t a = 0;
    int64_t b = 0;
    double x = 0;
    double y = 0;
    if (text_parse_int64(left, &a) && text_parse_int64(right, &b)) {
        *order_out = (a > b) - (a < b);
        return ERR_OK;
    }
    if (!text_parse_double(left, &x) || !text_parse_double(right, &y)) {
        return err_set(err, ERR_INVALID,
                       "only numbers can be compared by size, and %s operand is none",
                       text_parse_double(left, &x) ? "the right" : "the left");
    }
    *order_out = (x > y) - (x < y);
    return ERR_OK;
}

static enum err_code decide(struct active_run *run, size_t node, bool *outcome_out, struct err *err)
{
    enum job_condition_op op = run_task_at(run, node)->condition_op;
    CLEANUP(buffer_deinit) struct buffer left;
    CLEANUP(buffer_deinit) struct buffer right;
    buffer_init(&left, OPERAND_BYTES_MAX);
    buffer_init(&right, OPERAND_BYTES_MAX);
    TRY(operand_text(run, node, "left", &left, err));
    TRY(operand_text(run, node, "right", &right, err));
    bool equal = span_equal(buffer_span(&left), buffer_span(&right));
    if (op == CONDITION_EQUAL_TO || op == CONDITION_NOT_EQUAL) {
        *outcome_out = equal == (op == CONDITION_EQUAL_TO);
        return ERR_OK;
    }
    int order = 0;
    TRY(compare_numbers(buffer_span(&left), buffer_span(&right), &order, err));
    *outcome_out = op == CONDITION_GREATER_THAN            ? order > 0
                   : op == CONDITION_GREATER_THAN_OR_EQUAL ? order >= 0
                   : op == CONDITION_LESS_THAN             ? order < 0
                                                           : order <= 0;
    return ERR_OK;
}

static void begin_condition(struct active_run *run, size_t node, int64_t now_us)
{
    struct err err = {0};
    bool outcome = false;
    graph_begin(run->graph, node, now_us);
    if (decide(run, node, &outcome, &err) != ERR_OK) {
        fail(run, node, &err, now_us);
        return;
    }
    const struct graph_end end = {.result = RESULT_SUCCESS, .outcome = outcome ? "true" : "false"};
    graph_end(run->graph, node, &end, now_us);
}

/* ---- for_each ---- */

/* Make the inputs durable, or read those that are; they are what counts. */
static enum err_code pin_inputs(struct active_run *run, size_t task, const struct json *inputs,
                                struct json **pinned_out, struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    CLEANUP(buffer_deinit) struct buffer text;
    const char *stored = NULL;
    arena_init(&arena, ARENA_BYTES);
    buffer_init(&text, RUN_PIN_BYTES_MAX);
    if (inputs != NULL) {
        json_write(inputs, &text);
        buffer_append_byte(&text, '\0');
        TRY(buffer_check(&text, "the inputs of a for_each", err));
    }
    TRY(run_pin(run_catalog(run), run->run_id, task, -1, inputs_pin,
                inputs != NULL ? (const char *)text.data : NULL, &arena, &stored, err));
    if (stored == NULL) {
        return err_set(err, ERR_CORRUPT, "the inputs of a for_each are not there any more");
    }
    return json_parse(span_of_text(stored), pinned_out, err);
}

enum err_code control_input(struct active_run *run, const struct graph_node *node,
                            const struct json **input_out, struct err *err)
{
    struct node_extra *loop = run_extra(run, node->task);
    if (loop->inputs == NULL) {
        TRY(pin_inputs(run, node->task, NULL, &loop->inputs, err));
    }
    *input_out = json_at(loop->inputs, (size_t)node->iteration);
    if (*input_out == NULL) {
        return err_set(err, ERR_CORRUPT, "a for_each has no input %" PRId64, node->iteration);
    }
    return ERR_OK;
}

static enum err_code expand_inputs(struct active_run *run, size_t node, struct err *err)
{
    CLEANUP(json_free) struct json *inputs = NULL;
    CLEANUP(json_free) struct json *pinned = NULL;
    TRY(run_expand(run, graph_node_at(run->graph, node),
                   json_get(run_task_at(run, node)->body, "inputs"), "", &inputs, err));
    if (json_kind(inputs) != JSON_KIND_ARRAY) {
        return err_set(err, ERR_INVALID, "the inputs of a for_each must be an array");
    }
    if (json_count(inputs) > DEFINITION_FOR_EACH_INPUTS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "%zu inputs are too many, a for_each takes at most %d; split them over "
                       "several tasks",
                       json_count(inputs), DEFINITION_FOR_EACH_INPUTS_MAX);
    }
    TRY(pin_inputs(run, node, inputs, &pinned, err));
    TRY(graph_expand(run->graph, node, (int64_t)json_count(pinned), err));
    struct node_extra *extra = run_extra(run, node);
    json_free(&extra->inputs);
    extra->inputs = pinned;
    pinned = NULL;
    run_match_extras(run);
    return ERR_OK;
}

static void set_deadline(struct active_run *run, size_t node)
{
    int64_t timeout_us = run_task_at(run, node)->timeout_us;
    run_extra(run, node)->deadline_us =
        timeout_us == 0 ? INT64_MAX : clock_monotonic_us() + timeout_us;
}

bool control_iterate(struct active_run *run, size_t node, int64_t now_us)
{
    struct err err = {0};
    const struct graph_node *graph_node = graph_node_at(run->graph, node);
    if (graph_node->state != TASK_RUNNING || graph_node->inputs_count >= 0 ||
        run_task_at(run, node)->type != JOB_TASK_FOR_EACH) {
        return false;
    }
    enum err_code code = expand_inputs(run, node, &err);
    if (run_error_passes(code)) {
        run_try_again(run);
        return false;
    }
    if (code != ERR_OK) {
        fail(run, node, &err, now_us);
    }
    return true;
}

/* ---- run_job ---- */

static void begin_child(struct active_run *run, size_t node, int64_t now_us)
{
    struct node_extra *extra = run_extra(run, node);
    graph_begin(run->graph, node, now_us);
    extra->child = 0;
    extra->child_wanted = true;
    extra->child_tried = false;
    extra->child_cancelled = false;
    json_free(&extra->values); /* they may name the run of an earlier attempt */
    extra->values = json_new_object();
    extra->values_changed = true;
    node_extra_set_error(extra, NULL, NULL);
}

/* As for whoever asks by HTTP: on all tables any job, limited to some its own ones. */
static bool may_run(const struct principal *principal, const struct job *job)
{
    bool own = strcmp(principal->id.text, job->author.text) == 0;
    return access_allows(principal, "job.run", "*") ||
           (own && access_allows(principal, "job.run", NULL));
}

static enum err_code check_may_run(struct active_run *run, int64_t job_id, struct err *err)
{
    struct job job;
    CLEANUP(access_release) struct access_identity identity = {0};
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    TRY(access_find(run_catalog(run), run->run_as.text, &identity, err));
    TRY(job_get(run_catalog(run), job_id, &arena, &job, err));
    if (!may_run(identity.principal, &job)) {
        return err_set(err, ERR_FORBIDDEN,
                       "'%s', whom the job runs as, may not run it: let somebody run it who holds "
                       "job.run on all tables or wrote both jobs",
                       identity.principal->name);
    }
    return ERR_OK;
}

/* The same attempt makes the same run, however often it is tried: the token says which. */
static enum err_code make_child(struct active_run *run, size_t node, int64_t *child_out,
                                struct err *err)
{
    const struct graph_node *graph_node = graph_node_at(run->graph, node);
    const struct job_task *task = run_task_at(run, node);
    CLEANUP(json_free) struct json *parameters = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    char token[TOKEN_BYTES];
    buffer_init(&text, RUN_PARAMETERS_BYTES_MAX);
    TRY(check_may_run(run, task->job_id, err));
    TRY(run_expand(run, graph_node, json_get(task->body, "job_parameters"), "", &parameters, err));
    if (json_kind(parameters) == JSON_KIND_OBJECT) {
        json_write(parameters, &text);
    } else {
        buffer_append_text(&text, "{}");
    }
    buffer_append_byte(&text, '\0');
    TRY(buffer_check(&text, "the parameters of a job's run", err));
    (void)snprintf(token, sizeof token, "run_job/%" PRId64 "/%zu/%" PRId64 "/%" PRId32, run->run_id,
                   graph_node->task, graph_node->iteration, graph_node->attempts); /* fits */
    const struct run_new new = {
        .job_id = task->job_id,
        .principal = run->principal,
        .token = token,
        .trigger = RUN_TRIGGER_RUN_JOB,
        .trigger_time_us = run->trigger_time_us,
        .parameters = (const char *)text.data,
        .parent_run_id = run->run_id,
        .parent_task = run->definition->tasks[graph_node->task].key,
    };
    bool made = false;
    return run_create(run_catalog(run), &new, child_out, &made, err);
}

/* Is there something to store? */
static bool act_on_wanted(struct active_run *run, size_t node, int64_t now_us)
{
    struct node_extra *extra = run_extra(run, node);
    struct err err = {0};
    int64_t child = 0;
    if (graph_node_at(run->graph, node)->state == TASK_TERMINATING && !extra->child_tried) {
        const struct graph_end end = {.result = RESULT_CANCELED};
        extra->child_wanted = false;
        graph_end(run->graph, node, &end, now_us);
        return true;
    }
    extra->child_tried = true; /* from here on it may be there, whatever the answer */
    enum err_code code = make_child(run, node, &child, &err);
    if (run_error_passes(code)) {
        run_try_again(run);
        return false;
    }
    extra->child_wanted = false;
    if (code != ERR_OK) {
        (void)err_wrap(&err, "run job %" PRId64, run_task_at(run, node)->job_id);
        fail(run, node, &err, now_us);
        return true;
    }
    extra->child = child;
    extra->child_looked_for = true; /* an earlier try may have made it, and it may have ended */
    json_free(&extra->values);
    extra->values = json_new_object();
    json_set_integer(extra->values, "run_id", child);
    extra->values_changed = true;
    runner_wake(run->runner, child);
    return true;
}

static void cancel_child(struct active_run *run, struct node_extra *extra)
{
    struct err err = {0};
    enum err_code code = run_request_cancel(run_catalog(run), extra->child, &run->run_as, &err);
    if (run_error_passes(code)) {
        run_try_again(run);
        return;
    }
    extra->child_cancelled = true;
    extra->child_looked_for = true; /* ERR_CONFLICT: it has ended */
    runner_wake(run->runner, extra->child);
}

bool control_act(struct active_run *run)
{
    int64_t now_us = clock_wall_us();
    bool changed = false;
    for (size_t i = 0; i < run->extras_count; i++) {
        struct node_extra *extra = run_extra(run, i);
        enum task_state state = graph_node_at(run->graph, i)->state;
        if (run_task_at(run, i)->type != JOB_TASK_RUN_JOB ||
            (state != TASK_RUNNING && state != TASK_TERMINATING)) {
            continue;
        }
        if (extra->child_wanted) {
            changed = act_on_wanted(run, i, now_us) || changed;
        }
        if (state == TASK_TERMINATING && extra->child != 0 && !extra->child_cancelled) {
            cancel_child(run, extra);
        }
        changed = changed || extra->child_looked_for;
    }
    return changed;
}

static void end_with_child(struct active_run *run, size_t node, const struct job_run *child,
                           int64_t now_us)
{
    struct node_extra *extra = run_extra(run, node);
    struct graph_end end = {.result = RESULT_FAILED, .retry_allowed = true};
    if (child->result == RESULT_SUCCESS || child->result == RESULT_SUCCESS_WITH_FAILURES) {
        end.result = RESULT_SUCCESS;
        node_extra_set_error(extra, NULL, NULL);
    } else {
        char text[ERROR_BYTES];
        (void)snprintf(text, sizeof text, "run %" PRId64 " of job %" PRId64 " ended %s",
                       child->run_id, child->job_id, run_result_name(child->result)); /* fits */
        node_extra_set_error(extra, "child_failed", text);
        end.result = child->result == RESULT_CANCELED ? RESULT_CANCELED : RESULT_FAILED;
    }
    const struct job_task *task = run_task_at(run, node);
    const struct retry_policy policy = {.min_interval_ms = task->min_retry_interval_us / 1000,
                                        .cap_ms = RETRY_CAP_MS};
    uint64_t random = 0;
    secret_random(&random, sizeof random);
    end.retry_delay_us =
        1000 *
        retry_delay_ms((uint32_t)graph_node_at(run->graph, node)->failures + 1, &policy, random);
    graph_end(run->graph, node, &end, now_us);
}

void control_look_at_child(struct active_run *run, size_t node, int64_t now_us)
{
    struct node_extra *extra = run_extra(run, node);
    CLEANUP(arena_deinit) struct arena arena;
    struct job_run child;
    struct err err = {0};
    arena_init(&arena, ARENA_BYTES);
    extra->child_looked_for = false;
    enum err_code code = run_get(run_catalog(run), extra->child, &arena, &child, &err);
    if (code == ERR_OK && child.state == RUN_TERMINATED) {
        end_with_child(run, node, &child, now_us);
    } else if (code == ERR_NOT_FOUND) {
        fail(run, node, &err, now_us);
    } else if (code != ERR_OK) {
        extra->child_looked_for = true;
        run_try_again(run);
    }
}

/* ---- all three ---- */

void control_begin(struct active_run *run, size_t node, int64_t now_us)
{
    switch (run_task_at(run, node)->type) {
    case JOB_TASK_CONDITION:
        begin_condition(run, node, now_us);
        break;
    case JOB_TASK_FOR_EACH:
        graph_begin(run->graph, node, now_us);
        set_deadline(run, node);
        (void)control_iterate(run, node, now_us); /* it moved on in any case */
        break;
    case JOB_TASK_RUN_JOB:
        begin_child(run, node, now_us);
        set_deadline(run, node);
        break;
    case JOB_TASK_INGEST:
    case JOB_TASK_CHECK:
    case JOB_TASK_EXPORT:
    case JOB_TASK_OPTIMIZE:
    case JOB_TASK_VACUUM:
    case JOB_TASK_RESTORE:
    case JOB_TASK_HTTP_REQUEST:
    case JOB_TASK_TYPE_COUNT:
        assert(false);
    }
}
