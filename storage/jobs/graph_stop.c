/*
 * What goes against the grain of a graph: a stop from outside, the end of the
 * process under an attempt, and the repair of a finished run. See graph.h.
 */
#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "storage/jobs/graph_private.h"

#include <assert.h>
#include <string.h>

/* ---- stop ---- */

/* What a task that has not begun becomes when the run is stopped. */
static enum run_result never_begun(const struct graph *graph, const struct graph_node *node)
{
    if (node->iteration < 0 && !graph->chosen[node->task]) {
        return RESULT_SKIPPED;
    }
    if (node->iteration < 0 && graph->definition->tasks[node->task].disabled) {
        return RESULT_DISABLED;
    }
    return RESULT_CANCELED;
}

static void stop_one(struct graph *graph, struct graph_node *node, enum run_result result,
                     int64_t now_us)
{
    switch (node->state) {
    case TASK_BLOCKED:
    case TASK_QUEUED:
    case TASK_WAITING_FOR_RETRY:
        graph_node_terminate(graph, node, never_begun(graph, node), now_us);
        break;
    case TASK_RUNNING:
        node->state = TASK_TERMINATING;
        node->result = result;
        node->changed = true;
        break;
    case TASK_TERMINATING:
    case TASK_TERMINATED:
        break;
    }
}

static void stop_iterations(struct graph *graph, const struct graph_node *node,
                            enum run_result result, int64_t now_us)
{
    const struct graph_loop *loop = &graph->loops[node->task];
    for (int64_t i = 0; i < node->inputs_count; i++) {
        stop_one(graph, &graph->nodes[loop->nodes[i]], result, now_us);
    }
}

void graph_stop(struct graph *graph, enum run_result result, int64_t now_us)
{
    assert(result == RESULT_CANCELED || result == RESULT_TIMEDOUT);
    if (graph->stopped != RESULT_NONE) {
        return;
    }
    graph->stopped = result;
    for (size_t i = 0; i < graph->definition->tasks_count; i++) {
        if (graph->definition->tasks[i].type == JOB_TASK_FOR_EACH) {
            stop_iterations(graph, &graph->nodes[i], result, now_us);
        }
        stop_one(graph, &graph->nodes[i], result, now_us);
    }
}

void graph_stop_node(struct graph *graph, size_t index, enum run_result result, int64_t now_us)
{
    assert(index < graph->nodes_count);
    assert(result == RESULT_CANCELED || result == RESULT_TIMEDOUT);
    struct graph_node *node = &graph->nodes[index];
    assert(node->state == TASK_RUNNING);
    if (graph_node_task(graph, node)->type == JOB_TASK_FOR_EACH) {
        stop_iterations(graph, node, result, now_us);
    }
    stop_one(graph, node, result, now_us);
}

/* ---- the end of the process ---- */

void graph_interrupt(struct graph *graph, size_t index, bool crashed, int64_t now_us)
{
    assert(index < graph->nodes_count);
    struct graph_node *node = &graph->nodes[index];
    assert(node->state == TASK_RUNNING || node->state == TASK_TERMINATING);
    node->interruptions += node->interruptions < INT32_MAX;
    node->crashes += crashed && node->crashes < INT32_MAX;
    if (node->crashes >= GRAPH_CRASHES_MAX || node->interruptions >= GRAPH_INTERRUPTIONS_MAX) {
        graph_node_terminate(graph, node, RESULT_FAILED, now_us);
    } else if (node->state == TASK_TERMINATING) {
        const struct graph_end end = {
            .result = RESULT_CANCELED, /* what the stop said counts */
            .retry_delay_us = graph_node_task(graph, node)->min_retry_interval_us,
            .retry_allowed = true,
        };
        graph_end(graph, index, &end, now_us);
    } else {
        node->state = TASK_QUEUED;
        node->changed = true;
    }
}

/* ---- repair ---- */

enum repair { REPAIR_NOT, REPAIR_AGAIN, REPAIR_FROM_SCRATCH };

static bool is_named(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return keys == NULL;
}

static void repair_task(struct graph *graph, size_t task, enum repair repair)
{
    bool from_scratch = repair == REPAIR_FROM_SCRATCH;
    graph_node_renew(&graph->nodes[task], from_scratch);
    const struct graph_loop *loop = &graph->loops[task];
    for (size_t i = 0; i < loop->count; i++) {
        struct graph_node *iteration = &graph->nodes[loop->nodes[i]];
        if (from_scratch || graph_result_is_failure(iteration->result)) {
            graph_node_renew(iteration, from_scratch);
        }
    }
}

/* A task left out on purpose is decided as before, whatever is repaired around it. */
static bool takes_part(const struct graph *graph, size_t task)
{
    return graph->chosen[task] && !graph->definition->tasks[task].disabled;
}

void graph_repair(struct graph *graph, const char *const *keys, size_t count, bool *repaired_out)
{
    assert(graph_is_finished(graph));
    const struct job_definition *definition = graph->definition;
    CLEANUP(mem_cleanup)
    enum repair *repairs = mem_zeroed(definition->tasks_count, sizeof *repairs);
    bool repaired = false;
    for (size_t i = 0; i < definition->tasks_count; i++) {
        size_t task = definition->order[i];
        const struct job_task *what = &definition->tasks[task];
        if (!takes_part(graph, task)) {
            continue;
        }
        for (size_t d = 0; d < what->dependencies_count; d++) {
            if (repairs[what->dependencies[d].task] != REPAIR_NOT) {
                repairs[task] = REPAIR_FROM_SCRATCH;
            }
        }
        if (repairs[task] == REPAIR_NOT && is_named(what->key, keys, count) &&
            graph_result_is_failure(graph->nodes[task].result)) {
            repairs[task] = REPAIR_AGAIN;
        }
        if (repairs[task] != REPAIR_NOT) {
            repair_task(graph, task, repairs[task]);
            repaired = true;
        }
    }
    if (repaired) {
        graph->stopped = RESULT_NONE;
    }
    *repaired_out = repaired;
}
