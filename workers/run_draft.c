/*
 * What a step stores: the nodes that changed, attempts that ended and begin, the run's
 * own state, and the webhooks that tell of it, all in one transaction. See
 * runner_private.h. A draft is kept until it is stored, for a full disk passes.
 */
#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_BYTES = 640 };

static const char *const event_names[JOB_EVENT_COUNT] = {
    [JOB_EVENT_START] = "run.started",
    [JOB_EVENT_SUCCESS] = "run.succeeded",
    [JOB_EVENT_FAILURE] = "run.failed",
    [JOB_EVENT_DURATION] = "run.duration_exceeded",
};

/* The draft takes the text. */
static const char *keep(struct draft *draft, char *text)
{
    draft->texts = mem_resize(draft->texts, draft->texts_count + 1, sizeof(char *));
    draft->texts[draft->texts_count++] = text;
    return text;
}

/* NULL for no value. */
static const char *keep_json(struct draft *draft, const struct json *value)
{
    if (value == NULL) {
        return NULL;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SIZE_MAX);
    json_write(value, &text);
    buffer_append_byte(&text, '\0');
    return keep(draft, mem_copy(text.data, text.size));
}

void draft_deinit(struct draft *draft)
{
    for (size_t i = 0; i < draft->texts_count; i++) {
        mem_free(draft->texts[i]);
    }
    for (size_t i = 0; i < draft->starting_count; i++) {
        struct task_run *attempt = draft->starting[i]; /* it never went: the run is dropped */
        if (attempt->runner->threads != NULL) {
            task_pools_give_back(attempt->runner->threads, attempt->ticket);
        }
        task_run_free(&attempt);
    }
    for (size_t i = 0; i < draft->gone_count; i++) {
        task_run_free(&draft->gone[i]);
    }
    mem_free(draft->texts);
    mem_free(draft->tasks);
    mem_free(draft->ended);
    mem_free(draft->begun);
    mem_free(draft->deliveries);
    mem_free(draft->starting);
    mem_free(draft->gone);
    *draft = (struct draft){0};
}

/* ---- attempts ---- */

void draft_end_attempt(struct active_run *run, struct task_run *attempt, enum run_result result)
{
    struct draft *draft = &run->draft;
    size_t at = draft->change.ended_count++;
    draft->ended = mem_resize(draft->ended, at + 1, sizeof *draft->ended);
    bool success = result == RESULT_SUCCESS;
    draft->ended[at] = (struct run_attempt_end){
        .id = attempt->id,
        .incarnation = catalog_incarnation(run_catalog(run)),
        .result = result,
        .ended_us = attempt->ended_us,
        .error_code = success ? NULL : err_code_name(attempt->code),
        .error = success ? NULL : attempt->err.msg,
        .rows_in = attempt->progress.rows_in,
        .rows_out = attempt->progress.rows_out,
        .rows_rejected = attempt->progress.rows_rejected,
        .bytes_in = attempt->progress.bytes_in,
        .bytes_out = attempt->progress.bytes_out,
        .versions_read = keep_json(draft, attempt->versions_read),
        .versions_written = keep_json(draft, attempt->versions_written),
    };
    draft->gone = mem_resize(draft->gone, draft->gone_count + 1, sizeof(struct task_run *));
    draft->gone[draft->gone_count++] = attempt; /* its message is borrowed until it is stored */
}

void draft_begin_attempt(struct active_run *run, struct task_run *attempt)
{
    struct draft *draft = &run->draft;
    size_t at = draft->change.begun_count++;
    draft->begun = mem_resize(draft->begun, at + 1, sizeof *draft->begun);
    draft->begun[at] =
        (struct run_attempt_begin){.id = attempt->id, .started_us = attempt->started_us};
    draft->starting =
        mem_resize(draft->starting, draft->starting_count + 1, sizeof(struct task_run *));
    draft->starting[draft->starting_count++] = attempt;
}

/* ---- webhooks ---- */

/* Thin: who reads it asks for the rest with a token of its own. */
static char *event_body(const struct active_run *run, enum job_event event, enum run_result result,
                        int64_t now_us)
{
    char time[TEXT_TIMESTAMP_BYTES];
    CLEANUP(json_free) struct json *body = json_new_object();
    struct json *data = json_new_object();
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, DELIVERY_BODY_BYTES_MAX);
    time[text_format_timestamp(now_us, time)] = '\0';
    json_set_text(body, "type", event_names[event]);
    json_set_text(body, "timestamp", time);
    json_set_integer(data, "run_id", run->run_id);
    json_set(data, "job_id", run->job_id != 0 ? json_new_integer(run->job_id) : json_new_null());
    json_set_integer(data, "number", run->number);
    json_set_text(data, "trigger", run_trigger_name(run->trigger));
    if (result != RESULT_NONE) {
        json_set_text(data, "result", run_result_name(result));
    }
    json_set(body, "data", data);
    json_write(body, &text);
    buffer_append_byte(&text, '\0');
    assert(!text.overflowed); /* numbers and words */
    return mem_copy(text.data, text.size);
}

void draft_tell(struct active_run *run, enum job_event event, enum run_result result,
                int64_t now_us)
{
    struct draft *draft = &run->draft;
    const struct job_definition *definition = run->definition;
    size_t count = definition->webhooks_count[event];
    if (count == 0) {
        return;
    }
    const char *body = keep(draft, event_body(run, event, result, now_us));
    size_t at = draft->change.deliveries_count;
    draft->deliveries = mem_resize(draft->deliveries, at + count, sizeof *draft->deliveries);
    for (size_t i = 0; i < count; i++) {
        draft->deliveries[at + i] = (struct delivery_new){
            .id = id_new_ordered(),
            .event = event_names[event],
            .url = definition->webhooks[event][i].url,
            .secret = definition->webhooks[event][i].secret,
            .body = span_of_text(body),
        };
    }
    draft->change.deliveries_count = at + count;
}

/* ---- nodes ---- */

static void add_node(struct active_run *run, size_t node)
{
    struct draft *draft = &run->draft;
    struct node_extra *extra = run_extra(run, node);
    size_t at = draft->change.tasks_count++;
    draft->tasks = mem_resize(draft->tasks, at + 1, sizeof *draft->tasks);
    draft->tasks[at] = (struct run_task_change){
        .node = graph_node_at(run->graph, node),
        .values = extra->values_changed ? keep_json(draft, extra->values) : NULL,
        .error_code = extra->error_code,
        .error = extra->error,
    };
    extra->values_changed = false;
}

static void add_nodes(struct active_run *run)
{
    size_t count = 0;
    CLEANUP(mem_cleanup) size_t *changed = graph_take_changed(run->graph, &count);
    size_t next = 0;
    for (size_t i = 0; i < run->extras_count; i++) {
        bool graph_changed = next < count && changed[next] == i;
        next += graph_changed;
        if (graph_changed || run_extra(run, i)->values_changed) {
            add_node(run, i);
        }
    }
}

/* ---- the run ---- */

/* Why the run failed: the first of its tasks that did, by its own fault if there is one. */
static void explain(struct active_run *run)
{
    struct draft *draft = &run->draft;
    const struct node_extra *first = NULL;
    size_t task = 0;
    for (size_t i = 0; i < run->definition->tasks_count && first == NULL; i++) {
        enum run_result result = graph_node_at(run->graph, i)->result;
        if ((result == RESULT_FAILED || result == RESULT_TIMEDOUT) &&
            run_extra(run, i)->error != NULL) {
            first = run_extra(run, i);
            task = i;
        }
    }
    if (first == NULL) {
        return;
    }
    char text[ERROR_BYTES];
    (void)snprintf(text, sizeof text, "task '%s': %s", run->definition->tasks[task].key,
                   first->error); /* a long one is cut */
    draft->change.error_code = keep(draft, mem_copy_text(first->error_code));
    draft->change.error = keep(draft, mem_copy_text(text));
}

static void end_run(struct active_run *run, int64_t now_us)
{
    struct run_change *change = &run->draft.change;
    change->state = RUN_TERMINATED;
    change->result = graph_result(run->graph);
    change->ended_us = now_us;
    bool success =
        change->result == RESULT_SUCCESS || change->result == RESULT_SUCCESS_WITH_FAILURES;
    if (!success) {
        explain(run);
    }
    draft_tell(run, success ? JOB_EVENT_SUCCESS : JOB_EVENT_FAILURE, change->result, now_us);
}

bool draft_build(struct active_run *run, int64_t now_us)
{
    struct draft *draft = &run->draft;
    struct run_change *change = &draft->change;
    bool first = run->state == RUN_QUEUED || run->state == RUN_BLOCKED;
    if (first && run->stopped == RESULT_NONE) {
        change->started_us = run->started_us;
        change->state = RUN_RUNNING;
        draft_tell(run, JOB_EVENT_START, RESULT_NONE, now_us);
    }
    if (graph_is_finished(run->graph)) {
        end_run(run, now_us);
    } else if (run->stopped != RESULT_NONE && run->state != RUN_TERMINATING) {
        change->state = RUN_TERMINATING;
    }
    add_nodes(run);
    change->run_id = run->run_id;
    change->tasks = draft->tasks;
    change->ended = draft->ended;
    change->begun = draft->begun;
    change->deliveries = draft->deliveries;
    draft->pending = change->state != 0 || change->tasks_count > 0 || change->ended_count > 0 ||
                     change->begun_count > 0 || change->deliveries_count > 0 ||
                     change->repair_taken || change->warned;
    return draft->pending;
}
