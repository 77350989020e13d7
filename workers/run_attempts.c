/*
 * Attempts of a run: begun when their pool has a place, judged when they end. See
 * runner_private.h; what happens in between is task_context.c's.
 */
#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/base/secret.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { LABELS_BYTES = 96, TIMEOUT_TEXT_BYTES = 64 };

/* ---- attempts that ended ---- */

static bool is_permanent(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_UNAUTHENTICATED:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND:
    case ERR_UNSUPPORTED:
    case ERR_TOO_LARGE:
    case ERR_EXISTS:
    case ERR_PRECONDITION:
    case ERR_CORRUPT:
        return true;
    case ERR_OK:
    case ERR_CONFLICT:
    case ERR_BUSY:
    case ERR_NO_SPACE:
    case ERR_IO:
    case ERR_NOMEM:
    case ERR_CANCELLED:
        break;
    }
    return false;
}

static bool is_out_of_time(const struct task_run *attempt)
{
    return clock_monotonic_us() >= attempt->deadline_us;
}

/* How the attempt ended, before the graph judges whether it was being stopped. */
static enum run_result result_of(const struct active_run *run, const struct task_run *attempt)
{
    const struct graph_node *node = graph_node_at(run->graph, attempt->node);
    if (attempt->code == ERR_OK) {
        return RESULT_SUCCESS;
    }
    if (node->state == TASK_TERMINATING) {
        return node->result; /* CANCELED or TIMEDOUT */
    }
    /* a call that had as long as the task says that it failed, not that it was stopped */
    return !is_permanent(attempt->code) && is_out_of_time(attempt) ? RESULT_TIMEDOUT
                                                                   : RESULT_FAILED;
}

static bool may_be_repeated(const struct task_run *attempt, enum run_result result)
{
    return result == RESULT_TIMEDOUT ? attempt->task->retry_on_timeout
                                     : result == RESULT_FAILED && !is_permanent(attempt->code);
}

/* The wait before the next attempt, drawn; far longer when the pool has too many of them. */
static int64_t draw_delay_us(struct active_run *run, const struct graph_node *node)
{
    const struct job_task *task = run_task_of(run, node);
    const struct retry_policy policy = {.min_interval_ms = task->min_retry_interval_us / 1000,
                                        .cap_ms = RETRY_CAP_MS};
    uint64_t random = 0;
    secret_random(&random, sizeof random);
    int64_t delay_us = 1000 * retry_delay_ms((uint32_t)node->failures + 1, &policy, random);
    size_t pool = 0;
    bool wants_retry = task->max_retries < 0 || node->failures < task->max_retries;
    if (wants_retry && job_pools_find(&run->runner->pools, task->pool, &pool) &&
        runner_puts_retry_off(run->runner, pool)) {
        int64_t off_us = INT64_C(1000) * RETRY_CAP_MS;
        delay_us += off_us / 2 + (int64_t)secret_random_below((uint64_t)off_us / 2);
    }
    return delay_us;
}

/* Whose time was over: the task's own, that of the run, or that of the for_each around it. */
static void set_timeout_error(const struct active_run *run, const struct task_run *attempt,
                              struct node_extra *extra)
{
    const char *who = "";
    int64_t timeout_us = attempt->task->timeout_us;
    if (!is_out_of_time(attempt)) {
        bool whole = run->stopped == RESULT_TIMEDOUT;
        who = whole ? "the run " : "the for_each ";
        timeout_us = whole ? run->definition->timeout_us
                           : run->definition->tasks[attempt->id.task].timeout_us;
    }
    char text[TIMEOUT_TEXT_BYTES];
    (void)snprintf(text, sizeof text, "%stook longer than %" PRId64 " seconds", who,
                   timeout_us / 1000000); /* fits */
    node_extra_set_error(extra, "timeout", text);
}

static void set_attempt_error(const struct active_run *run, struct node_extra *extra,
                              const struct task_run *attempt, enum run_result result)
{
    if (result == RESULT_SUCCESS) {
        node_extra_set_error(extra, NULL, NULL);
    } else if (result == RESULT_TIMEDOUT) {
        set_timeout_error(run, attempt, extra);
    } else if (result == RESULT_CANCELED) {
        node_extra_set_error(extra, "cancelled", "the run was cancelled");
    } else {
        node_extra_set_error(extra, err_code_name(attempt->code), attempt->err.msg);
    }
}

static void log_attempt(const struct task_run *attempt, enum run_result result)
{
    struct log_line line;
    bool failed = result == RESULT_FAILED || result == RESULT_TIMEDOUT;
    log_begin(&line, failed ? LOG_WARN : LOG_INFO, "task attempt");
    log_integer(&line, LOG_JOB, attempt->attempt.job_id);
    log_integer(&line, LOG_RUN, attempt->attempt.run_id);
    log_text(&line, LOG_TASK, attempt->attempt.task_key);
    log_text(&line, LOG_OPERATION, job_task_type_name(attempt->task->type));
    log_integer(&line, LOG_ATTEMPT, attempt->id.number);
    log_text(&line, LOG_PRINCIPAL, attempt->attempt.principal->name);
    log_text(&line, LOG_STATUS, run_result_name(result));
    log_integer(&line, LOG_DURATION_US, attempt->duration_us);
    log_integer(&line, LOG_RECORDS, attempt->progress.rows_in);
    log_integer(&line, LOG_BYTES_IN, attempt->progress.bytes_in);
    log_integer(&line, LOG_BYTES_OUT, attempt->progress.bytes_out);
    if (failed) {
        log_err(&line, &attempt->err);
    }
    log_end(&line);
}

static void count_attempt(const struct task_run *attempt, enum run_result result)
{
    char labels[LABELS_BYTES];
    (void)snprintf(labels, sizeof labels, "type=\"%s\",result=\"%s\"",
                   job_task_type_name(attempt->task->type), run_result_name(result)); /* fits */
    metric_add(metric_register(METRIC_COUNTER, "sluice_task_attempts_total", labels,
                               "Attempts of tasks that ended, by type and result."),
               1);
    (void)snprintf(labels, sizeof labels, "type=\"%s\"",
                   job_task_type_name(attempt->task->type)); /* fits */
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_task_attempt_seconds", labels,
                                      "Time an attempt of a task took."),
                      attempt->duration_us);
}

void attempt_take_end(struct active_run *run, struct task_run *attempt)
{
    struct node_extra *extra = run_extra(run, attempt->node);
    assert(extra->attempt == attempt);
    extra->attempt = NULL;
    extra->deadline_us = INT64_MAX;
    if (attempt->stopped) { /* stays as it is stored: running, found so at the next start */
        task_run_free(&attempt);
        return;
    }
    enum run_result result = result_of(run, attempt);
    struct graph_end end = {
        .result = result, .permanent = is_permanent(attempt->code), .retry_allowed = true};
    if (may_be_repeated(attempt, result)) {
        end.retry_delay_us = draw_delay_us(run, graph_node_at(run->graph, attempt->node));
    }
    if (attempt->values != NULL) {
        json_free(&extra->values);
        extra->values = attempt->values;
        attempt->values = NULL;
        extra->values_changed = true;
    }
    set_attempt_error(run, extra, attempt, result);
    log_attempt(attempt, result);
    count_attempt(attempt, result);
    graph_end(run->graph, attempt->node, &end, attempt->ended_us);
    draft_end_attempt(run, attempt, result);
}

/* ---- what may begin ---- */

static enum err_code make_attempt(struct active_run *run, size_t index, struct task_run *attempt,
                                  struct err *err)
{
    const struct graph_node *node = graph_node_at(run->graph, index);
    const struct job_task *task = run_task_of(run, node);
    attempt->node = index;
    attempt->task = task;
    attempt->id = (struct run_attempt_id){
        .task = node->task, .iteration = node->iteration, .number = node->attempts};
    attempt->author = run->author;
    attempt->attempt.job_id = run->job_id;
    attempt->attempt.run_id = run->run_id;
    attempt->attempt.task_key = run->definition->tasks[node->task].key;
    attempt->attempt.iteration = node->iteration;
    attempt->attempt.number = node->attempts;
    if (run->runner->options.types[task->type] == NULL) {
        return err_set(err, ERR_UNSUPPORTED, "this server cannot run %s tasks",
                       job_task_type_name(task->type));
    }
    size_t pool = 0;
    if (!job_pools_find(&run->runner->pools, task->pool, &pool)) {
        /* a bulkhead that is gone: whom it kept apart must not meet in "default" unseen */
        return err_set(err, ERR_NOT_FOUND,
                       "there is no pool '%s' any more; name it in the setting task-pools again, "
                       "or give the task another pool, and repair the run",
                       task->pool);
    }
    TRY(access_find(run_catalog(run), run->run_as.text, &attempt->identity, err));
    attempt->attempt.principal = attempt->identity.principal;
    if (attempt->identity.principal->disabled) {
        return err_set(err, ERR_FORBIDDEN, "'%s', whom the job runs as, is disabled",
                       attempt->identity.principal->name);
    }
    TRY(run_expand(run, node, task->body, attempt->mark, &attempt->body, err));
    attempt->attempt.body = attempt->body;
    return job_task_check_expanded(task->type, attempt->body, err);
}

static void begin(struct active_run *run, size_t index, int64_t now_us)
{
    struct node_extra *extra = run_extra(run, index);
    struct task_run *attempt = task_run_new(run->runner, run->definition);
    struct err err = {0};
    graph_begin(run->graph, index, now_us);
    if (make_attempt(run, index, attempt, &err) != ERR_OK) {
        const struct graph_end end = {.result = RESULT_FAILED,
                                      .permanent = !run_error_passes(err.code),
                                      .retry_delay_us =
                                          draw_delay_us(run, graph_node_at(run->graph, index)),
                                      .retry_allowed = true};
        node_extra_set_error(extra, err_code_name(err.code), err.msg);
        task_run_free(&attempt);
        task_pools_give_back(run->runner->threads, extra->ticket);
        mem_free(extra->ticket);
        extra->ticket = NULL;
        graph_end(run->graph, index, &end, now_us);
        return;
    }
    if (attempt->id.number == 1) {
        runner_note_first(run->runner, extra->ticket->pool);
    }
    attempt->ticket = extra->ticket;
    attempt->started_us = now_us;
    extra->ticket = NULL;
    extra->attempt = attempt;
    draft_begin_attempt(run, attempt);
}

/* Does the node hold a place in its pool? If not, it waits in line for one. */
static bool holds_place(struct active_run *run, size_t index)
{
    struct node_extra *extra = run_extra(run, index);
    if (extra->ticket != NULL) {
        return task_pools_is_held(run->runner->threads, extra->ticket);
    }
    size_t pool = 0; /* "default", to fail there, when the setting lost the one that was named */
    (void)job_pools_find(&run->runner->pools, run_task_at(run, index)->pool, &pool);
    extra->ticket = mem_zeroed(1, sizeof *extra->ticket);
    return task_pools_reserve(run->runner->threads, pool, run->run_id, extra->ticket);
}

void attempt_begin(struct active_run *run, size_t index, int64_t now_us)
{
    if (holds_place(run, index)) {
        begin(run, index, now_us);
    }
}

/* ---- stops and effects ---- */

void attempts_withdraw(struct active_run *run)
{
    for (size_t i = 0; i < run->extras_count; i++) {
        struct node_extra *extra = run_extra(run, i);
        if (extra->ticket != NULL && graph_node_at(run->graph, i)->state != TASK_QUEUED) {
            task_pools_give_back(run->runner->threads, extra->ticket);
            mem_free(extra->ticket);
            extra->ticket = NULL;
        }
    }
}

void attempts_start(struct active_run *run)
{
    struct draft *draft = &run->draft;
    for (size_t i = 0; i < draft->starting_count; i++) {
        struct task_run *attempt = draft->starting[i];
        int64_t timeout_us = attempt->task->timeout_us;
        attempt->deadline_us = timeout_us == 0 ? INT64_MAX : clock_monotonic_us() + timeout_us;
        run_extra(run, attempt->node)->deadline_us = attempt->deadline_us;
        runner_start_attempt(run->runner, attempt);
    }
    draft->starting_count = 0;
}

void attempts_stop(struct active_run *run)
{
    bool told = false;
    for (size_t i = 0; i < run->extras_count; i++) {
        struct task_run *attempt = run_extra(run, i)->attempt;
        if (attempt != NULL && graph_node_at(run->graph, i)->state == TASK_TERMINATING &&
            !atomic_load(&attempt->cancelled)) {
            atomic_store(&attempt->cancelled, true);
            told = true;
        }
    }
    if (told) {
        progress_board_wake(run->runner->options.services.progress);
    }
}
