/*
 * The names of states and results, and the two rules that need nothing but results:
 * run_if, and what a finished run comes to. See graph.h for the table.
 */
#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "storage/jobs/graph_private.h"

#include <assert.h>

static const char *const run_states[] = {
    [RUN_QUEUED] = "QUEUED",           [RUN_BLOCKED] = "BLOCKED",       [RUN_RUNNING] = "RUNNING",
    [RUN_TERMINATING] = "TERMINATING", [RUN_TERMINATED] = "TERMINATED",
};

static const char *const task_states[] = {
    [TASK_BLOCKED] = "BLOCKED",         [TASK_QUEUED] = "QUEUED",
    [TASK_RUNNING] = "RUNNING",         [TASK_WAITING_FOR_RETRY] = "WAITING_FOR_RETRY",
    [TASK_TERMINATING] = "TERMINATING", [TASK_TERMINATED] = "TERMINATED",
};

static const char *const results[] = {
    [RESULT_NONE] = "",
    [RESULT_SUCCESS] = "SUCCESS",
    [RESULT_FAILED] = "FAILED",
    [RESULT_TIMEDOUT] = "TIMEDOUT",
    [RESULT_CANCELED] = "CANCELED",
    [RESULT_UPSTREAM_FAILED] = "UPSTREAM_FAILED",
    [RESULT_UPSTREAM_CANCELED] = "UPSTREAM_CANCELED",
    [RESULT_EXCLUDED] = "EXCLUDED",
    [RESULT_DISABLED] = "DISABLED",
    [RESULT_SUCCESS_WITH_FAILURES] = "SUCCESS_WITH_FAILURES",
    [RESULT_MAXIMUM_CONCURRENT_RUNS_REACHED] = "MAXIMUM_CONCURRENT_RUNS_REACHED",
    [RESULT_SKIPPED] = "SKIPPED",
};

const char *run_state_name(enum run_state state)
{
    assert(state >= RUN_QUEUED);
    assert(state <= RUN_TERMINATED);
    return run_states[state];
}

const char *task_state_name(enum task_state state)
{
    assert(state >= TASK_BLOCKED);
    assert(state <= TASK_TERMINATED);
    return task_states[state];
}

const char *run_result_name(enum run_result result)
{
    assert((unsigned)result <= RESULT_SKIPPED);
    return results[result];
}

bool run_state_parse(struct span name, enum run_state *state_out)
{
    for (unsigned i = RUN_QUEUED; i <= RUN_TERMINATED; i++) {
        if (span_equal_text(name, run_states[i])) {
            *state_out = (enum run_state)i;
            return true;
        }
    }
    return false;
}

bool run_result_parse(struct span name, enum run_result *result_out)
{
    for (unsigned i = RESULT_SUCCESS; i <= RESULT_SKIPPED; i++) {
        if (span_equal_text(name, results[i])) {
            *result_out = (enum run_result)i;
            return true;
        }
    }
    return false;
}

bool graph_result_is_failure(enum run_result result)
{
    return result == RESULT_FAILED || result == RESULT_TIMEDOUT || result == RESULT_CANCELED ||
           result == RESULT_UPSTREAM_FAILED || result == RESULT_UPSTREAM_CANCELED;
}

/* ---- run_if ---- */

static bool run_if_is_met(enum job_run_if run_if, const struct graph_upstream *upstream)
{
    switch (run_if) {
    case RUN_IF_ALL_SUCCESS:
        return upstream->failures == 0 && upstream->disabled == 0;
    case RUN_IF_AT_LEAST_ONE_SUCCESS:
        return upstream->count == 0 || upstream->successes + upstream->excluded > 0;
    case RUN_IF_NONE_FAILED:
        return upstream->failures == 0 &&
               (upstream->count == 0 || upstream->disabled < upstream->count);
    case RUN_IF_ALL_DONE:
        return true;
    case RUN_IF_AT_LEAST_ONE_FAILED:
        return upstream->count == 0 || upstream->failures > 0;
    case RUN_IF_ALL_FAILED:
        return upstream->failures == upstream->count;
    case RUN_IF_COUNT:
        break;
    }
    return false; /* there is no other */
}

enum run_result graph_run_if_decide(enum job_run_if run_if, const struct graph_upstream *upstream)
{
    if (upstream->count > 0 && upstream->excluded == upstream->count) {
        return RESULT_EXCLUDED;
    }
    if (run_if_is_met(run_if, upstream)) {
        return RESULT_NONE;
    }
    if (run_if == RUN_IF_AT_LEAST_ONE_FAILED || run_if == RUN_IF_ALL_FAILED) {
        return upstream->disabled == upstream->count ? RESULT_DISABLED : RESULT_EXCLUDED;
    }
    if (upstream->failures == 0) {
        return RESULT_DISABLED;
    }
    return upstream->cancellations == upstream->failures ? RESULT_UPSTREAM_CANCELED
                                                         : RESULT_UPSTREAM_FAILED;
}

/* ---- the run ---- */

static bool takes_part(enum run_result result)
{
    return result != RESULT_DISABLED && result != RESULT_SKIPPED;
}

enum run_result graph_result(const struct graph *graph)
{
    assert(graph_is_finished(graph));
    if (graph->stopped != RESULT_NONE) {
        return graph->stopped;
    }
    const struct job_definition *definition = graph->definition;
    CLEANUP(mem_cleanup) bool *followed = mem_zeroed(definition->tasks_count, sizeof *followed);
    for (size_t i = 0; i < definition->tasks_count; i++) {
        const struct job_task *task = &definition->tasks[i];
        for (size_t d = 0; takes_part(graph->nodes[i].result) && d < task->dependencies_count;
             d++) {
            followed[task->dependencies[d].task] = true;
        }
    }
    enum run_result result = RESULT_SUCCESS;
    for (size_t i = 0; i < definition->tasks_count; i++) {
        if (!graph_result_is_failure(graph->nodes[i].result)) {
            continue;
        }
        if (!followed[i]) {
            return RESULT_FAILED;
        }
        result = RESULT_SUCCESS_WITH_FAILURES;
    }
    return result;
}
