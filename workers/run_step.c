/*
 * One step of a run: what happened goes into the graph, the graph says what comes
 * next, all of it is stored at once, and only then it is done. See runner_private.h.
 */
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "workers/runner_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROW_ARENA_BYTES = 8 << 20, LABELS_BYTES = 96 };

void run_log(const struct active_run *run, const char *message, const struct err *err)
{
    struct log_line line;
    log_begin(&line, LOG_WARN, message);
    log_integer(&line, LOG_JOB, run->job_id);
    log_integer(&line, LOG_RUN, run->run_id);
    log_err(&line, err);
    log_end(&line);
}

void run_try_again(struct active_run *run)
{
    run->retry_us = clock_monotonic_us() + RUNNER_RETRY_US;
}

bool run_error_passes(enum err_code code)
{
    return code == ERR_BUSY || code == ERR_NO_SPACE || code == ERR_IO || code == ERR_NOMEM ||
           code == ERR_CANCELLED;
}

/* ---- what else happened ---- */

void run_stop(struct active_run *run, enum run_result result, int64_t now_us)
{
    if (run->stopped == RESULT_NONE) {
        run->stopped = result;
        graph_stop(run->graph, result, now_us);
    }
}

/* Has somebody asked for its end? */
static void look(struct active_run *run, int64_t now_us)
{
    CLEANUP(arena_deinit) struct arena arena;
    struct job_run row;
    struct err err = {0};
    arena_init(&arena, ROW_ARENA_BYTES);
    if (run_get(run_catalog(run), run->run_id, &arena, &row, &err) != ERR_OK) {
        run_log(run, "the run cannot be read just now", &err);
        run_try_again(run);
        return;
    }
    run->news.look = false;
    if (row.cancel_asked_at_us != 0) {
        run_stop(run, RESULT_CANCELED, now_us);
    }
}

static void look_at_clock(struct active_run *run, int64_t now_us)
{
    int64_t clock_us = clock_monotonic_us();
    if (clock_us >= run->deadline_us) {
        run_stop(run, RESULT_TIMEDOUT, now_us);
    }
    for (size_t i = 0; i < run->extras_count; i++) {
        struct node_extra *extra = run_extra(run, i);
        if (extra->deadline_us > clock_us || graph_node_at(run->graph, i)->state != TASK_RUNNING) {
            continue;
        }
        const struct job_task *task = run_task_at(run, i);
        char text[64];
        (void)snprintf(text, sizeof text, "took longer than %" PRId64 " seconds",
                       task->timeout_us / 1000000); /* fits */
        node_extra_set_error(extra, "timeout", text);
        graph_stop_node(run->graph, i, RESULT_TIMEDOUT, now_us);
    }
    if (clock_us >= run->warning_us && !run->warned) {
        run->warned = true;
        run->draft.change.warned = true;
        draft_tell(run, JOB_EVENT_DURATION, RESULT_NONE, now_us);
    }
}

static void look_at_children(struct active_run *run, const struct step_news *news, int64_t now_us)
{
    for (size_t i = 0; i < run->extras_count; i++) {
        struct node_extra *extra = run_extra(run, i);
        for (size_t c = 0; c < news->children_count && extra->child != 0; c++) {
            extra->child_looked_for = extra->child_looked_for || news->children[c] == extra->child;
        }
        enum task_state state = graph_node_at(run->graph, i)->state;
        if (extra->child_looked_for && (state == TASK_RUNNING || state == TASK_TERMINATING)) {
            control_look_at_child(run, i, now_us);
        }
    }
}

/* ---- what may begin ---- */

/* Did a node move on without a thread, so that others may follow at once? */
static bool begin_what_may(struct active_run *run, int64_t now_us)
{
    bool moved = false;
    for (size_t i = 0; i < graph_nodes_count(run->graph); i++) {
        moved = control_iterate(run, i, now_us) || moved;
        const struct graph_node *node = graph_node_at(run->graph, i);
        if (node->state != TASK_QUEUED) {
            continue;
        }
        if (!task_has_thread(run_task_at(run, i))) {
            control_begin(run, i, now_us);
            moved = true;
        } else {
            attempt_begin(run, i, now_us);
            enum task_state state = graph_node_at(run->graph, i)->state;
            moved = moved || (state != TASK_QUEUED && state != TASK_RUNNING);
        }
    }
    return moved;
}

static void advance(struct active_run *run, bool stopping, int64_t now_us)
{
    graph_advance(run->graph, now_us);
    /* what a repair renews is forgotten by the catalog before anything of it begins again */
    bool may_begin = !stopping && !run->draft.change.repair_taken;
    while (may_begin && begin_what_may(run, now_us)) {
        graph_advance(run->graph, now_us);
    }
    attempts_withdraw(run);
}

/* ---- effects ---- */

static void count_run(enum run_result result)
{
    char labels[LABELS_BYTES];
    (void)snprintf(labels, sizeof labels, "result=\"%s\"", run_result_name(result)); /* fits */
    metric_add(metric_register(METRIC_COUNTER, "sluice_runs_total", labels,
                               "Job runs that ended, by result."),
               1);
}

static void leave(struct active_run *run, enum run_result result)
{
    const struct runner_options *options = &run->runner->options;
    runner_leave_place(run);
    run->phase = PHASE_GONE;
    count_run(result);
    if (run->parent_run_id != 0) {
        runner_tell_parent(run->runner, run->parent_run_id, run->run_id);
    }
    options->run_ended(options->arg, run->job_id, run->run_id);
}

void run_set_times(struct active_run *run)
{
    int64_t began_us = clock_monotonic_us() - (clock_wall_us() - run->started_us);
    run->deadline_us =
        run->definition->timeout_us == 0 ? INT64_MAX : began_us + run->definition->timeout_us;
    run->warning_us = run->definition->duration_warning_us == 0
                          ? INT64_MAX
                          : began_us + run->definition->duration_warning_us;
}

bool run_take_effect(struct active_run *run)
{
    const struct runner_options *options = &run->runner->options;
    const struct run_change change = run->draft.change;
    run->state = change.state != 0 ? change.state : run->state;
    if (change.started_us != 0) {
        run_set_times(run);
    }
    attempts_start(run);
    attempts_stop(run);
    draft_deinit(&run->draft);
    if (change.deliveries_count > 0) {
        options->deliveries_made(options->arg);
    }
    if (run->state == RUN_TERMINATED) {
        leave(run, change.result);
        return false;
    }
    return control_act(run) || change.repair_taken;
}

/* ---- storing ---- */

/* Nothing that the runner knows of leads here: rather the run stands still than goes wrong. */
static void drop(struct active_run *run, const struct err *err)
{
    run_log(run, "the run cannot be stored and is left alone until the next start", err);
    runner_leave_place(run);
    run->phase = PHASE_GONE;
}

bool run_store(struct active_run *run)
{
    struct err err = {0};
    enum err_code code = run_apply(run_catalog(run), &run->draft.change, &err);
    if (code == ERR_OK) {
        run->draft.pending = false;
        (void)FAULT("run.recorded"); /* a place to die */
        return true;
    }
    if (run_error_passes(code)) {
        run_log(run, "the run cannot be stored just now", &err);
        run_try_again(run);
    } else {
        drop(run, &err);
    }
    return false;
}

/* ---- the step ---- */

/* What came up while nothing else may happen to the run, because its change waits to be stored. */
static void keep_news(struct active_run *run, struct step_news *news)
{
    struct step_news *kept = &run->news;
    struct task_run **last = &kept->ended;
    while (*last != NULL) {
        last = &(*last)->next_ended;
    }
    *last = news->ended;
    kept->look = kept->look || news->look;
    kept->stopping = news->stopping;
    if (news->children_count > 0) {
        size_t count = kept->children_count + news->children_count;
        kept->children = mem_resize(kept->children, count, sizeof *kept->children);
        memcpy(kept->children + kept->children_count, news->children,
               news->children_count * sizeof *kept->children);
        kept->children_count = count;
    }
    mem_free(news->children);
}

static void take_news(struct active_run *run, int64_t now_us)
{
    struct step_news *news = &run->news;
    while (news->ended != NULL) {
        struct task_run *attempt = news->ended;
        news->ended = attempt->next_ended;
        attempt_take_end(run, attempt);
    }
    if (news->look) {
        look(run, now_us);
    }
    look_at_clock(run, now_us);
    look_at_children(run, news, now_us);
    mem_free(news->children);
    news->children = NULL;
    news->children_count = 0;
}

void run_step_live(struct active_run *run)
{
    bool more = true;
    if (run->draft.pending) { /* from an earlier step: nothing else may happen before it */
        more = run_store(run);
        if (more) {
            (void)run_take_effect(run); /* what there is to store is seen below */
        }
    }
    while (more && run->phase == PHASE_LIVE) {
        int64_t now_us = clock_wall_us();
        take_news(run, now_us);
        advance(run, run->news.stopping, now_us);
        if (!draft_build(run, now_us)) {
            /* What could not be done before. A child of the last process that is found now may have
             * ended long ago: nobody will tell of it again. */
            if (!control_act(run) || run->retry_us != INT64_MAX) {
                break;
            }
            continue;
        }
        more = run_store(run) && run_take_effect(run);
    }
}

void run_step(struct active_run *run, struct step_news *news)
{
    run->retry_us = INT64_MAX;
    keep_news(run, news);
    if (run->phase == PHASE_LIVE) {
        run_step_live(run);
    } else if (!run->news.stopping) {
        run->news.look = false; /* the row is read in any case */
        run_step_waiting(run);
    }
}
