/*
 * The executor's graph: which tasks of one job run may start, what a finished
 * attempt means for those behind it, and what the whole run comes to. A pure
 * state machine: no thread, no clock, no I/O; the runner feeds it events and
 * stores every node it marks as changed before acting on it.
 *
 * A *node* is a task of the definition (its index is the task's), or one iteration
 * of a for_each task. After each event the graph is closed under its rules by
 * graph_advance; so a restart is: new, restore every stored node, stop when the run
 * was being stopped, interrupt the attempts that ended with the process, advance.
 *
 * run_if, over the dependencies of a task once all are terminated (Databricks Jobs:
 * "Configure task dependencies", "Disabled tasks"; where they are silent the rule is ours):
 *
 *   counts as   results of a dependency
 *   success     SUCCESS; SKIPPED by `only`, whatever outcome is asked for
 *   excluded    EXCLUDED, or a condition that came out otherwise than depends_on.outcome asks:
 *               a success that did not run
 *   failure     FAILED, TIMEDOUT, CANCELED, UPSTREAM_FAILED, UPSTREAM_CANCELED
 *   disabled    DISABLED: done, neither success nor failure
 *
 *   all excluded: EXCLUDED whatever run_if says. Otherwise the task runs when
 *   ALL_SUCCESS            no failure and none disabled
 *   AT_LEAST_ONE_SUCCESS   a success or an excluded one
 *   NONE_FAILED            no failure, not all disabled
 *   ALL_DONE               always
 *   AT_LEAST_ONE_FAILED    a failure
 *   ALL_FAILED             failures only
 *   and else becomes, for the first three: UPSTREAM_FAILED when there is a failure other than
 *   a cancellation, UPSTREAM_CANCELED when there are cancellations only, DISABLED when there is
 *   no failure; for the last two: DISABLED when all are disabled, else EXCLUDED.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_definition;

/* Stored by number: values never change. */
enum run_state {
    RUN_QUEUED = 1,  /* made, not looked at yet */
    RUN_BLOCKED = 2, /* waits for a free place under max_concurrent_runs */
    RUN_RUNNING = 3,
    RUN_TERMINATING = 4, /* cancelled or out of time: running attempts are being stopped */
    RUN_TERMINATED = 5,
};

enum task_state {
    TASK_BLOCKED = 1, /* its dependencies are not all decided; an iteration: not its turn yet */
    TASK_QUEUED = 2,  /* may start as soon as its pool has a place */
    TASK_RUNNING = 3,
    TASK_WAITING_FOR_RETRY = 4,
    TASK_TERMINATING = 5, /* told to stop, still running */
    TASK_TERMINATED = 6,
};

enum run_result {
    RESULT_NONE = 0, /* not decided */
    RESULT_SUCCESS = 1,
    RESULT_FAILED = 2,
    RESULT_TIMEDOUT = 3,
    RESULT_CANCELED = 4,
    RESULT_UPSTREAM_FAILED = 5,
    RESULT_UPSTREAM_CANCELED = 6,
    RESULT_EXCLUDED = 7, /* run_if or an outcome left it out */
    RESULT_DISABLED = 8,
    RESULT_SUCCESS_WITH_FAILURES = 9, /* runs only: every leaf is fine, something before was not */
    RESULT_MAXIMUM_CONCURRENT_RUNS_REACHED = 10, /* runs only */
    RESULT_SKIPPED = 11,                         /* left out by `only` */
};

const char *run_state_name(enum run_state state);    /* "RUNNING" */
const char *task_state_name(enum task_state state);  /* "WAITING_FOR_RETRY" */
const char *run_result_name(enum run_result result); /* "SUCCESS"; "" for NONE */
bool run_state_parse(struct span name, enum run_state *state_out);
bool run_result_parse(struct span name, enum run_result *result_out); /* NONE has no name */

enum {
    GRAPH_NODES_MAX = 10000,      /* tasks and iterations of one run */
    GRAPH_INTERRUPTIONS_MAX = 10, /* ends of the process under one node's attempts: then FAILED */
    GRAPH_CRASHES_MAX = 2, /* of them by a fatal signal of the attempt's own thread: likewise */
};

struct graph_node {
    size_t task;       /* index into the definition's tasks */
    int64_t iteration; /* -1: the task itself; 0…: of a for_each task */
    enum task_state state;
    enum run_result result; /* TERMINATED: final; TERMINATING: what it comes to unless it ends with
                               success before it stops; else NONE */
    int32_t attempts;       /* begun; numbers the attempts from 1 */
    int32_t failures;       /* of them ended without success: what max_retries counts */
    int32_t interruptions;  /* of them ended with the process */
    int32_t crashes;
    int64_t due_us;       /* WAITING_FOR_RETRY: wall time of the next attempt; else 0 */
    int64_t started_us;   /* wall; of the first attempt, 0 = none yet */
    int64_t ended_us;     /* wall; 0 = not terminated */
    int64_t inputs_count; /* for_each: iterations, -1 = not known yet; -1 for all others */
    char outcome[8];      /* condition: "true" or "false", "" = none */
    bool changed; /* since graph_take_changed: to be stored before anything is done about it */
    bool renewed; /* by a repair, from scratch: values and pins are to be forgotten with the change
                   */
};

struct graph;

/*
 *   definition        a reference is taken
 *   only, only_count  task keys to run, others are SKIPPED; NULL = all. The caller has checked
 *                     that they exist.
 */
struct graph *graph_new(const struct job_definition *definition, const char *const *only,
                        size_t only_count);
void graph_free(struct graph **graph);

/*
 * Put back a stored node before the first graph_advance, in any order. Iterations that were never
 * stored are BLOCKED.
 * Errors:  ERR_CORRUPT it fits no task, or contradicts itself.
 */
enum err_code graph_restore(struct graph *graph, const struct graph_node *stored,
                            struct err *err) MUST_USE;

size_t graph_nodes_count(const struct graph *graph);
/* Borrowed until the next call that takes a non-const graph. */
const struct graph_node *graph_node_at(const struct graph *graph, size_t node);
/* The node of a task or iteration; false when there is none (yet). */
bool graph_find(const struct graph *graph, size_t task, int64_t iteration, size_t *node_out);

/*
 * Close the graph under its rules: decide every BLOCKED node whose dependencies
 * are terminated (QUEUED, or TERMINATED as EXCLUDED, UPSTREAM_FAILED, DISABLED, …),
 * wake retries that are due, let running for_each tasks start iterations up to their
 * concurrency and end with the last one.
 *
 * An iteration that waits for its retry keeps its place. A for_each whose iterations are all
 * done is SUCCESS when all are, CANCELED when only cancellations are among them, else FAILED.
 */
void graph_advance(struct graph *graph, int64_t now_us);

/* QUEUED → RUNNING: an attempt begins; a for_each begins to iterate. */
void graph_begin(struct graph *graph, size_t node, int64_t now_us);

/* How an attempt ended. */
struct graph_end {
    enum run_result result; /* SUCCESS, FAILED, TIMEDOUT or CANCELED */
    bool permanent;         /* FAILED: trying again cannot help */
    const char *outcome;    /* condition: "true" or "false"; else NULL */
    int64_t retry_after_us; /* the far side said when; 0 = it did not */
    int64_t retry_delay_us; /* drawn by the caller (retry.h) for the case of a retry */
    bool retry_allowed;     /* by the retry budget */
};
/*
 * RUNNING or TERMINATING → TERMINATED or WAITING_FOR_RETRY. A for_each is ended so only
 * when its inputs cannot be had. A node that was being stopped and ends otherwise than with
 * success comes to what the stop said; after its own time-out it may be tried again.
 */
void graph_end(struct graph *graph, size_t node, const struct graph_end *end, int64_t now_us);

/*
 * A RUNNING for_each without inputs yet knows them: as many iterations come to be (0: it ends
 * with the next graph_advance). Iterations are not marked as changed until they leave BLOCKED.
 * Errors:  ERR_TOO_LARGE over DEFINITION_FOR_EACH_INPUTS_MAX or GRAPH_NODES_MAX.
 */
enum err_code graph_expand(struct graph *graph, size_t node, int64_t inputs_count,
                           struct err *err) MUST_USE;

/*
 * The process ended under the attempt of a RUNNING or TERMINATING node: it runs again without
 * costing a retry, is what its stop said, or is FAILED for having ended the process too often.
 * Not for nodes without an attempt on a thread (for_each, run_job): those go on.
 */
void graph_interrupt(struct graph *graph, size_t node, bool crashed, int64_t now_us);

/*
 * The run is cancelled (RESULT_CANCELED), or out of time (RESULT_TIMEDOUT): nodes that do not run
 * are TERMINATED as CANCELED, running ones TERMINATING (the runner stops them). Nothing starts
 * any more. Calling it again changes nothing; after a restart it is called before graph_interrupt.
 */
void graph_stop(struct graph *graph, enum run_result result, int64_t now_us);

/* The same for one RUNNING node that is out of time; of a for_each with its iterations. */
void graph_stop_node(struct graph *graph, size_t node, enum run_result result, int64_t now_us);

/*
 * Repair of a finished run: the failed, timed out, cancelled, upstream-failed and
 * upstream-cancelled nodes of the tasks named (NULL = all such), and everything that depends on
 * them, run again; retries start anew. A for_each repeats its failed iterations with the inputs it
 * had; one that depends on a repaired task starts from scratch (renewed), as all dependents do.
 *
 *   repaired_out  false: nothing of the kind was there, the graph is as it was
 */
void graph_repair(struct graph *graph, const char *const *keys, size_t count, bool *repaired_out);

/* The earliest due_us of a node that waits for its retry; INT64_MAX = none. */
int64_t graph_next_due(const struct graph *graph);

/* Every node is terminated. */
bool graph_is_finished(const struct graph *graph);

/*
 * What a finished run comes to: the stop's result when it was stopped; FAILED when a leaf
 * failed, timed out, was cancelled or upstream-failed; SUCCESS_WITH_FAILURES when every
 * leaf is fine and another node is not; else SUCCESS. EXCLUDED, DISABLED, SKIPPED are fine.
 * A leaf is a task that no task depends on, those that are DISABLED or SKIPPED left out of
 * account: with `only`, the last of the tasks that ran.
 */
enum run_result graph_result(const struct graph *graph);

/* Indexes of nodes changed since the last call, ascending; marks them unchanged. mem_free. */
size_t *graph_take_changed(struct graph *graph, size_t *count_out);

/* Debug: every invariant (TERMINATED has a result, ended_us ≥ started_us, …). */
void graph_check(const struct graph *graph);
