/*
 * What the files of the graph share. Nobody outside includes this.
 */
#pragma once

#include "storage/jobs/definition.h"
#include "storage/jobs/graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The iterations of one for_each task: indexes of nodes, iteration k at k. */
struct graph_loop {
    size_t *nodes;
    size_t count;
};

struct graph {
    const struct job_definition *definition; /* a reference */
    bool *chosen;                            /* [tasks] false: SKIPPED, `only` names others */
    struct graph_node *nodes;                /* the tasks, then iterations as they came to be */
    size_t nodes_count, nodes_capacity;
    struct graph_loop *loops; /* [tasks] */
    enum run_result stopped;  /* RESULT_NONE: not */
};

/* What a node runs: the task, or the inner task of a for_each. */
const struct job_task *graph_node_task(const struct graph *graph, const struct graph_node *node);

/* The for_each of an iteration; NULL for a task. */
struct graph_node *graph_node_parent(struct graph *graph, const struct graph_node *node);

/* Failed, timed out, cancelled, or behind such a one. */
bool graph_result_is_failure(enum run_result result);

/* How the dependencies of one task ended. */
struct graph_upstream {
    size_t count;
    size_t successes;
    size_t excluded;
    size_t disabled;
    size_t failures;
    size_t cancellations; /* of the failures */
};

/* May a task whose dependencies ended so run? RESULT_NONE: yes; else what it becomes instead. */
enum run_result graph_run_if_decide(enum job_run_if run_if, const struct graph_upstream *upstream);

/* Back to BLOCKED; only its attempts are still counted. From scratch: without inputs, renewed. */
void graph_node_renew(struct graph_node *node, bool from_scratch);

/*
 * Make room for iterations up to `count`; new ones are BLOCKED.
 * Errors:  ERR_TOO_LARGE GRAPH_NODES_MAX.
 */
enum err_code graph_loop_grow(struct graph *graph, size_t task, size_t count,
                              struct err *err) MUST_USE;

/* Any state → TERMINATED. A for_each takes its iterations that never began along. */
void graph_node_terminate(struct graph *graph, struct graph_node *node, enum run_result result,
                          int64_t now_us);
