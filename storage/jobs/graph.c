/*
 * The graph: nodes, how they come to be and come back from storage, and the events
 * of normal work. Stopping, interruptions and repair are in graph_stop.c, the rules
 * over results in graph_rules.c. See graph.h for the contract.
 */
#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "storage/jobs/graph_private.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* ---- nodes ---- */

static void touch(struct graph_node *node)
{
    node->changed = true;
}

static bool is_for_each(const struct graph *graph, const struct graph_node *node)
{
    return node->iteration < 0 && graph->definition->tasks[node->task].type == JOB_TASK_FOR_EACH;
}

const struct job_task *graph_node_task(const struct graph *graph, const struct graph_node *node)
{
    const struct job_task *task = &graph->definition->tasks[node->task];
    return node->iteration < 0 ? task : task->each;
}

struct graph_node *graph_node_parent(struct graph *graph, const struct graph_node *node)
{
    return node->iteration < 0 ? NULL : &graph->nodes[node->task];
}

void graph_node_renew(struct graph_node *node, bool from_scratch)
{
    *node = (struct graph_node){
        .task = node->task,
        .iteration = node->iteration,
        .state = TASK_BLOCKED,
        .attempts = node->attempts, /* numbers attempts, and those of before are kept */
        .inputs_count = from_scratch ? -1 : node->inputs_count,
        .changed = true,
        .renewed = from_scratch,
    };
}

static size_t add_node(struct graph *graph, size_t task, int64_t iteration)
{
    if (graph->nodes_count == graph->nodes_capacity) {
        graph->nodes_capacity = graph->nodes_capacity * 2 + 16;
        graph->nodes = mem_resize(graph->nodes, graph->nodes_capacity, sizeof *graph->nodes);
    }
    graph->nodes[graph->nodes_count] = (struct graph_node){
        .task = task, .iteration = iteration, .state = TASK_BLOCKED, .inputs_count = -1};
    return graph->nodes_count++;
}

enum err_code graph_loop_grow(struct graph *graph, size_t task, size_t count, struct err *err)
{
    struct graph_loop *loop = &graph->loops[task];
    if (count <= loop->count) {
        return ERR_OK;
    }
    if (count - loop->count > GRAPH_NODES_MAX - graph->nodes_count) {
        return err_set(err, ERR_TOO_LARGE,
                       "task '%s': %zu inputs are too many, a run has at most %d tasks and "
                       "iterations; split the inputs over several runs",
                       graph->definition->tasks[task].key, count, GRAPH_NODES_MAX);
    }
    loop->nodes = mem_resize(loop->nodes, count, sizeof *loop->nodes);
    for (; loop->count < count; loop->count++) {
        loop->nodes[loop->count] = add_node(graph, task, (int64_t)loop->count);
    }
    return ERR_OK;
}

static bool is_chosen(const char *key, const char *const *only, size_t only_count)
{
    for (size_t i = 0; i < only_count; i++) {
        if (strcmp(only[i], key) == 0) {
            return true;
        }
    }
    return only == NULL;
}

struct graph *graph_new(const struct job_definition *definition, const char *const *only,
                        size_t only_count)
{
    struct graph *graph = mem_zeroed(1, sizeof *graph);
    graph->definition = job_definition_acquire(definition);
    graph->chosen = mem_zeroed(definition->tasks_count, sizeof *graph->chosen);
    graph->loops = mem_zeroed(definition->tasks_count, sizeof *graph->loops);
    for (size_t i = 0; i < definition->tasks_count; i++) {
        graph->chosen[i] = is_chosen(definition->tasks[i].key, only, only_count);
        (void)add_node(graph, i, -1); /* its index is the task's */
        touch(&graph->nodes[i]);
    }
    return graph;
}

void graph_free(struct graph **graph)
{
    if (*graph == NULL) {
        return;
    }
    struct graph *freed = *graph;
    for (size_t i = 0; i < freed->definition->tasks_count; i++) {
        mem_free(freed->loops[i].nodes);
    }
    mem_free(freed->loops);
    mem_free(freed->nodes);
    mem_free(freed->chosen);
    job_definition_release(&freed->definition);
    mem_free(freed);
    *graph = NULL;
}

size_t graph_nodes_count(const struct graph *graph)
{
    return graph->nodes_count;
}

const struct graph_node *graph_node_at(const struct graph *graph, size_t node)
{
    assert(node < graph->nodes_count);
    return &graph->nodes[node];
}

bool graph_find(const struct graph *graph, size_t task, int64_t iteration, size_t *node_out)
{
    if (task >= graph->definition->tasks_count) {
        return false;
    }
    const struct graph_loop *loop = &graph->loops[task];
    if (iteration >= 0 && (uint64_t)iteration >= loop->count) {
        return false;
    }
    *node_out = iteration < 0 ? task : loop->nodes[iteration];
    return true;
}

/* ---- back from storage ---- */

static bool result_fits_state(const struct graph_node *node)
{
    switch (node->state) {
    case TASK_TERMINATED:
        return node->result == RESULT_SKIPPED ||
               (node->result >= RESULT_SUCCESS && node->result <= RESULT_DISABLED);
    case TASK_TERMINATING:
        return node->result == RESULT_CANCELED || node->result == RESULT_TIMEDOUT;
    case TASK_BLOCKED:
    case TASK_QUEUED:
    case TASK_RUNNING:
    case TASK_WAITING_FOR_RETRY:
        return node->result == RESULT_NONE;
    }
    return false;
}

static bool outcome_fits(const struct graph_node *node, enum job_task_type type)
{
    bool named = strcmp(node->outcome, "true") == 0 || strcmp(node->outcome, "false") == 0;
    bool wanted = type == JOB_TASK_CONDITION && node->result == RESULT_SUCCESS;
    return wanted ? named : node->outcome[0] == '\0';
}

static bool times_fit(const struct graph_node *node)
{
    bool ended = node->state == TASK_TERMINATED;
    return node->started_us >= 0 && (node->ended_us > 0) == ended &&
           (!ended || node->ended_us >= node->started_us) &&
           (node->state == TASK_WAITING_FOR_RETRY || node->due_us == 0);
}

static bool counts_fit(const struct graph *graph, const struct graph_node *node)
{
    bool loops = is_for_each(graph, node);
    return node->attempts >= 0 && node->failures >= 0 && node->interruptions >= 0 &&
           node->crashes >= 0 && node->inputs_count >= -1 &&
           node->inputs_count <= (loops ? (int64_t)DEFINITION_FOR_EACH_INPUTS_MAX : -1);
}

enum err_code graph_restore(struct graph *graph, const struct graph_node *stored, struct err *err)
{
    const struct job_definition *definition = graph->definition;
    if (stored->task >= definition->tasks_count) {
        return err_set(err, ERR_CORRUPT, "task %zu: the definition has %zu tasks", stored->task,
                       definition->tasks_count);
    }
    const struct job_task *task = &definition->tasks[stored->task];
    bool is_iteration = stored->iteration >= 0;
    if (stored->iteration < -1 || stored->iteration >= DEFINITION_FOR_EACH_INPUTS_MAX ||
        (is_iteration && task->type != JOB_TASK_FOR_EACH)) {
        return err_set(err, ERR_CORRUPT, "task '%s': has no iteration %" PRId64, task->key,
                       stored->iteration);
    }
    if (memchr(stored->outcome, '\0', sizeof stored->outcome) == NULL ||
        !result_fits_state(stored) ||
        !outcome_fits(stored, is_iteration ? task->each->type : task->type) || !times_fit(stored) ||
        !counts_fit(graph, stored)) {
        return err_set(err, ERR_CORRUPT, "task '%s' iteration %" PRId64 ": contradicts itself",
                       task->key, stored->iteration);
    }
    int64_t last = is_iteration ? stored->iteration + 1 : stored->inputs_count;
    if (last > 0 && graph_loop_grow(graph, stored->task, (size_t)last, err) != ERR_OK) {
        err->code = ERR_CORRUPT; /* it was within the limits when it was stored */
        return ERR_CORRUPT;
    }
    struct graph_node *node =
        &graph->nodes[is_iteration ? graph->loops[stored->task].nodes[stored->iteration]
                                   : stored->task];
    *node = *stored;
    node->changed = false;
    node->renewed = false;
    return ERR_OK;
}

/* ---- closing the graph ---- */

void graph_node_terminate(struct graph *graph, struct graph_node *node, enum run_result result,
                          int64_t now_us)
{
    assert(node->state != TASK_TERMINATED);
    node->state = TASK_TERMINATED;
    node->result = result;
    node->due_us = 0;
    node->ended_us = now_us > node->started_us ? now_us : node->started_us; /* clocks go back */
    if (node->ended_us <= 0) {
        node->ended_us = 1;
    }
    touch(node);
    if (!is_for_each(graph, node)) {
        return;
    }
    const struct graph_loop *loop = &graph->loops[node->task];
    for (size_t i = 0; i < loop->count; i++) {
        struct graph_node *iteration = &graph->nodes[loop->nodes[i]];
        if (iteration->state != TASK_TERMINATED) {
            assert(iteration->state == TASK_BLOCKED);
            graph_node_terminate(graph, iteration,
                                 (int64_t)i < node->inputs_count ? RESULT_CANCELED : RESULT_SKIPPED,
                                 now_us);
        }
    }
}

/* How the dependencies of `task` ended; false while one has not. */
static bool look_upstream(const struct graph *graph, const struct job_task *task,
                          struct graph_upstream *upstream_out)
{
    struct graph_upstream upstream = {.count = task->dependencies_count};
    for (size_t i = 0; i < task->dependencies_count; i++) {
        const struct job_dependency *dependency = &task->dependencies[i];
        const struct graph_node *node = &graph->nodes[dependency->task];
        if (node->state != TASK_TERMINATED) {
            return false;
        }
        bool other_outcome = dependency->has_outcome && node->result == RESULT_SUCCESS &&
                             (strcmp(node->outcome, "true") == 0) != dependency->outcome;
        if (node->result == RESULT_EXCLUDED || other_outcome) {
            upstream.excluded++;
        } else if (node->result == RESULT_DISABLED) {
            upstream.disabled++;
        } else if (graph_result_is_failure(node->result)) {
            upstream.failures++;
            upstream.cancellations +=
                node->result == RESULT_CANCELED || node->result == RESULT_UPSTREAM_CANCELED;
        } else {
            upstream.successes++;
        }
    }
    *upstream_out = upstream;
    return true;
}

static void decide(struct graph *graph, struct graph_node *node, int64_t now_us)
{
    const struct job_task *task = &graph->definition->tasks[node->task];
    struct graph_upstream upstream;
    if (!graph->chosen[node->task]) {
        graph_node_terminate(graph, node, RESULT_SKIPPED, now_us);
    } else if (task->disabled) {
        graph_node_terminate(graph, node, RESULT_DISABLED, now_us);
    } else if (look_upstream(graph, task, &upstream)) {
        enum run_result result = graph_run_if_decide(task->run_if, &upstream);
        if (result != RESULT_NONE) {
            graph_node_terminate(graph, node, result, now_us);
        } else {
            node->state = TASK_QUEUED;
            touch(node);
        }
    }
}

static void wake_if_due(struct graph_node *node, int64_t now_us)
{
    if (node->state == TASK_WAITING_FOR_RETRY && node->due_us <= now_us) {
        node->state = TASK_QUEUED;
        node->due_us = 0;
        touch(node);
    }
}

static enum run_result loop_result(const struct graph *graph, const struct graph_node *node)
{
    enum run_result result = RESULT_SUCCESS;
    const struct graph_loop *loop = &graph->loops[node->task];
    for (int64_t i = 0; i < node->inputs_count; i++) {
        enum run_result one = graph->nodes[loop->nodes[i]].result;
        if (one == RESULT_CANCELED && result == RESULT_SUCCESS) {
            result = RESULT_CANCELED;
        } else if (one != RESULT_CANCELED && one != RESULT_SUCCESS) {
            result = RESULT_FAILED;
        }
    }
    return result;
}

/* A for_each that iterates: begin iterations up to the concurrency, end with the last. */
static void advance_loop(struct graph *graph, struct graph_node *node, int64_t now_us)
{
    const struct graph_loop *loop = &graph->loops[node->task];
    int64_t concurrency = graph->definition->tasks[node->task].concurrency;
    int64_t active = 0;
    int64_t ended = 0;
    for (int64_t i = 0; i < node->inputs_count; i++) {
        struct graph_node *iteration = &graph->nodes[loop->nodes[i]];
        wake_if_due(iteration, now_us);
        ended += iteration->state == TASK_TERMINATED;
        active += iteration->state != TASK_TERMINATED && iteration->state != TASK_BLOCKED;
    }
    for (int64_t i = 0;
         node->state == TASK_RUNNING && active < concurrency && i < node->inputs_count; i++) {
        struct graph_node *iteration = &graph->nodes[loop->nodes[i]];
        if (iteration->state == TASK_BLOCKED) {
            iteration->state = TASK_QUEUED;
            touch(iteration);
            active++;
        }
    }
    if (node->state == TASK_TERMINATING && active == 0) {
        graph_node_terminate(graph, node, node->result, now_us);
    } else if (node->inputs_count >= 0 && ended == node->inputs_count) {
        graph_node_terminate(graph, node, loop_result(graph, node), now_us);
    }
}

void graph_advance(struct graph *graph, int64_t now_us)
{
    const struct job_definition *definition = graph->definition;
    for (size_t i = 0; i < definition->tasks_count; i++) {
        struct graph_node *node = &graph->nodes[definition->order[i]];
        if (node->state == TASK_BLOCKED) {
            decide(graph, node, now_us);
        }
        wake_if_due(node, now_us);
        if (is_for_each(graph, node) &&
            (node->state == TASK_RUNNING || node->state == TASK_TERMINATING)) {
            advance_loop(graph, node, now_us);
        }
    }
}

/* ---- attempts ---- */

void graph_begin(struct graph *graph, size_t index, int64_t now_us)
{
    assert(index < graph->nodes_count);
    struct graph_node *node = &graph->nodes[index];
    assert(node->state == TASK_QUEUED);
    assert(node->attempts < INT32_MAX);
    node->state = TASK_RUNNING;
    node->attempts++;
    node->renewed = false;
    if (node->started_us == 0) {
        node->started_us = now_us > 0 ? now_us : 1;
    }
    touch(node);
}

/* Is the node's way to another attempt shut by somebody above it? */
static bool is_shut(struct graph *graph, const struct graph_node *node)
{
    const struct graph_node *parent = graph_node_parent(graph, node);
    return graph->stopped != RESULT_NONE || (parent != NULL && parent->state != TASK_RUNNING);
}

static bool may_retry(struct graph *graph, const struct graph_node *node, enum run_result result,
                      const struct graph_end *end)
{
    const struct job_task *task = graph_node_task(graph, node);
    bool kind = result == RESULT_FAILED ? !end->permanent
                                        : result == RESULT_TIMEDOUT && task->retry_on_timeout;
    return kind && end->retry_allowed && !is_shut(graph, node) &&
           (task->max_retries < 0 || node->failures <= task->max_retries);
}

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void graph_end(struct graph *graph, size_t index, const struct graph_end *end, int64_t now_us)
{
    assert(index < graph->nodes_count);
    struct graph_node *node = &graph->nodes[index];
    assert(node->state == TASK_RUNNING || node->state == TASK_TERMINATING);
    assert(end->result >= RESULT_SUCCESS);
    assert(end->result <= RESULT_CANCELED);
    enum run_result result = end->result;
    if (node->state == TASK_TERMINATING && result != RESULT_SUCCESS) {
        result = node->result;
    }
    if (result == RESULT_FAILED || result == RESULT_TIMEDOUT) {
        node->failures += node->failures < INT32_MAX;
    }
    if (may_retry(graph, node, result, end)) {
        node->state = TASK_WAITING_FOR_RETRY;
        node->result = RESULT_NONE;
        node->due_us = later_of(now_us + later_of(end->retry_after_us, end->retry_delay_us), 1);
        touch(node);
        return;
    }
    if (result == RESULT_SUCCESS && end->outcome != NULL) {
        assert(graph_node_task(graph, node)->type == JOB_TASK_CONDITION);
        (void)memcpy(node->outcome, end->outcome, strlen(end->outcome) + 1); /* true or false */
    }
    graph_node_terminate(graph, node, result, now_us);
}

enum err_code graph_expand(struct graph *graph, size_t index, int64_t inputs_count, struct err *err)
{
    assert(index < graph->nodes_count);
    assert(is_for_each(graph, &graph->nodes[index]));
    assert(graph->nodes[index].state == TASK_RUNNING);
    assert(graph->nodes[index].inputs_count == -1);
    assert(inputs_count >= 0);
    if (inputs_count > DEFINITION_FOR_EACH_INPUTS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "task '%s': %" PRId64 " inputs are too many, a for_each takes at most %d; "
                       "split them over several tasks",
                       graph->definition->tasks[index].key, inputs_count,
                       DEFINITION_FOR_EACH_INPUTS_MAX);
    }
    TRY(graph_loop_grow(graph, index, (size_t)inputs_count, err));
    for (int64_t i = 0; i < inputs_count; i++) {
        struct graph_node *iteration = &graph->nodes[graph->loops[index].nodes[i]];
        if (iteration->state == TASK_TERMINATED) { /* left over from a run of it that never began */
            graph_node_renew(iteration, true);
        }
    }
    graph->nodes[index].inputs_count = inputs_count;
    touch(&graph->nodes[index]);
    return ERR_OK;
}

/* ---- looking at it ---- */

int64_t graph_next_due(const struct graph *graph)
{
    int64_t due_us = INT64_MAX;
    for (size_t i = 0; i < graph->nodes_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        if (node->state == TASK_WAITING_FOR_RETRY && node->due_us < due_us) {
            due_us = node->due_us;
        }
    }
    return due_us;
}

bool graph_is_finished(const struct graph *graph)
{
    for (size_t i = 0; i < graph->nodes_count; i++) {
        if (graph->nodes[i].state != TASK_TERMINATED) {
            return false;
        }
    }
    return true;
}

size_t *graph_take_changed(struct graph *graph, size_t *count_out)
{
    size_t *changed = mem_alloc((graph->nodes_count + 1) * sizeof *changed);
    size_t count = 0;
    for (size_t i = 0; i < graph->nodes_count; i++) {
        if (graph->nodes[i].changed) {
            graph->nodes[i].changed = false;
            changed[count++] = i;
        }
    }
    *count_out = count;
    return changed;
}

void graph_check(const struct graph *graph)
{
    for (size_t i = 0; i < graph->nodes_count; i++) {
        const struct graph_node *node = &graph->nodes[i];
        const struct job_task *task = graph_node_task(graph, node);
        assert(result_fits_state(node));
        assert(outcome_fits(node, task->type));
        assert(times_fit(node));
        assert(counts_fit(graph, node));
        assert(node->failures <= node->attempts);
        assert(node->crashes <= node->interruptions);
        assert(task->max_retries < 0 || node->failures <= task->max_retries + 1);
        assert((i < graph->definition->tasks_count) == (node->iteration < 0));
    }
}
