/*
 * A run out of the catalog: what it needs in memory while it goes on. See
 * runner_private.h.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/catalog/jobs.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    ARENA_BYTES = 64 << 20,
    NODES_PAGE = 500,
};

/* ---- extras of nodes ---- */

void node_extra_set_error(struct node_extra *extra, const char *code, const char *text)
{
    mem_free(extra->error_code);
    mem_free(extra->error);
    extra->error_code = code != NULL ? mem_copy_text(code) : NULL;
    extra->error = text != NULL ? mem_copy_text(text) : NULL;
}

static void free_extra(const struct active_run *run, struct node_extra *extra)
{
    if (extra->attempt != NULL) { /* the run is dropped under it: its end finds no run */
        atomic_store(&extra->attempt->cancelled, true);
    }
    if (extra->ticket != NULL && run->runner->threads != NULL) {
        task_pools_give_back(run->runner->threads, extra->ticket);
    }
    mem_free(extra->ticket);
    node_extra_set_error(extra, NULL, NULL);
    json_free(&extra->values);
    json_free(&extra->inputs);
    mem_free(extra);
}

struct node_extra *run_extra(const struct active_run *run, size_t node)
{
    assert(node < run->extras_count);
    return run->extras[node];
}

void run_match_extras(struct active_run *run)
{
    size_t count = graph_nodes_count(run->graph);
    if (count == run->extras_count) {
        return;
    }
    run->extras = mem_resize(run->extras, count, sizeof(struct node_extra *));
    for (; run->extras_count < count; run->extras_count++) {
        struct node_extra *extra = mem_zeroed(1, sizeof *extra);
        extra->deadline_us = INT64_MAX;
        run->extras[run->extras_count] = extra;
    }
}

void run_unload(struct active_run *run)
{
    draft_deinit(&run->draft);
    for (size_t i = 0; i < run->extras_count; i++) {
        free_extra(run, run->extras[i]);
    }
    mem_free(run->extras);
    run->extras = NULL;
    run->extras_count = 0;
    graph_free(&run->graph);
    job_definition_release(&run->definition);
    json_free(&run->parameters);
    mem_free(run->name);
    run->name = NULL;
    for (size_t i = 0; i < run->only_count; i++) {
        mem_free(run->only[i]);
    }
    mem_free(run->only);
    run->only = NULL;
    run->only_count = 0;
}

/* ---- texts of the row ---- */

/* A JSON array of texts as a list; NULL stays NULL. */
static enum err_code read_keys(const char *text, char ***keys_out, size_t *count_out,
                               struct err *err)
{
    if (text == NULL) {
        return ERR_OK;
    }
    CLEANUP(json_free) struct json *array = NULL;
    TRY(json_parse(span_of_text(text), &array, err));
    size_t count = json_count(array);
    char **keys = mem_zeroed(count + 1, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        const char *key = json_text(json_at(array, i));
        keys[i] = mem_copy_text(key != NULL ? key : "");
    }
    *keys_out = keys;
    *count_out = count;
    return ERR_OK;
}

static enum err_code read_parameters(struct active_run *run, const struct job_run *row,
                                     struct err *err)
{
    CLEANUP(json_free) struct json *given = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    TRY(json_parse(span_of_text(row->parameters), &given, err));
    if (job_definition_parameters(run->definition, given, &problems, &run->parameters, err) !=
        ERR_OK) {
        return err_wrap(err, "the parameters of the run");
    }
    return ERR_OK;
}

static void copy_row(struct active_run *run, const struct job_run *row)
{
    mem_free(run->name);
    run->name = mem_copy_text(row->name);
    run->job_id = row->job_id;
    run->number = row->number;
    run->trigger = row->trigger;
    run->run_as = row->run_as;
    run->author = row->author;
    run->principal = row->principal;
    run->trigger_time_us = row->trigger_time_us;
    run->started_us = row->started_us;
    run->parent_run_id = row->parent_run_id;
    run->state = row->state;
    run->stopped = RESULT_NONE;
    run->warned = row->warned;
}

enum err_code run_read_definition(struct active_run *run, const struct job_run *row,
                                  struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    const char *text = NULL;
    arena_init(&arena, ARENA_BYTES);
    copy_row(run, row);
    TRY(job_definition(run_catalog(run), row->job_id, row->version, &arena, &text, err));
    job_definition_release(&run->definition);
    return job_definition_read(span_of_text(text), &run->definition, err);
}

/* ---- nodes ---- */

static enum err_code restore_extra(struct active_run *run, size_t node,
                                   const struct run_task *stored, struct err *err)
{
    struct node_extra *extra = run_extra(run, node);
    node_extra_set_error(extra, stored->error_code, stored->error);
    TRY(json_parse(span_of_text(stored->values), &extra->values, err));
    int64_t child = 0;
    if (json_as_integer(json_get(extra->values, "run_id"), &child)) {
        extra->child = child; /* looked at for run_job nodes only */
    }
    return ERR_OK;
}

static enum err_code restore_node(struct active_run *run, const struct run_task *stored,
                                  struct err *err)
{
    TRY(graph_restore(run->graph, &stored->node, err));
    run_match_extras(run);
    size_t node = 0;
    bool found = graph_find(run->graph, stored->node.task, stored->node.iteration, &node);
    assert(found);
    return restore_extra(run, node, stored, err);
}

/* How the attempts of the nodes ended that were running: CRASHED or not, by node. */
struct endings {
    bool *crashed;
    size_t count;
};

static enum err_code note_ending(struct active_run *run, const struct run_task *stored,
                                 struct endings *endings)
{
    size_t node = 0;
    (void)graph_find(run->graph, stored->node.task, stored->node.iteration, &node); /* restored */
    if (node >= endings->count) {
        size_t count = graph_nodes_count(run->graph);
        endings->crashed = mem_resize(endings->crashed, count, sizeof *endings->crashed);
        memset(endings->crashed + endings->count, 0, count - endings->count);
        endings->count = count;
    }
    endings->crashed[node] = stored->attempt_state == ATTEMPT_CRASHED;
    return ERR_OK;
}

static enum err_code restore_nodes(struct active_run *run, struct arena *arena,
                                   struct endings *endings, struct err *err)
{
    struct run_task_cursor cursor = {0};
    for (;;) {
        struct run_task *tasks = NULL;
        size_t count = 0;
        arena_reset(arena);
        TRY(run_tasks(run_catalog(run), run->run_id, &cursor, NODES_PAGE, arena, &tasks, &count,
                      err));
        for (size_t i = 0; i < count; i++) {
            TRY(restore_node(run, &tasks[i], err));
            TRY(note_ending(run, &tasks[i], endings));
        }
        if (count < NODES_PAGE) {
            return ERR_OK;
        }
        cursor = (struct run_task_cursor){.set = true,
                                          .task = tasks[count - 1].node.task,
                                          .iteration = tasks[count - 1].node.iteration};
    }
}

/* ---- what the end of the last process means ---- */

static void interrupt_node(struct active_run *run, size_t node, bool crashed, int64_t now_us)
{
    graph_interrupt(run->graph, node, crashed, now_us);
    if (graph_node_at(run->graph, node)->state == TASK_TERMINATED &&
        graph_node_at(run->graph, node)->result == RESULT_FAILED) {
        node_extra_set_error(run_extra(run, node), "interrupted",
                             "the process ended under this task too often; see the server's log");
    }
}

/* Monotonic time of `limit_us` after a wall time; INT64_MAX = no limit. */
static int64_t deadline_after(int64_t began_us, int64_t limit_us, int64_t now_us)
{
    return limit_us == 0 ? INT64_MAX : clock_monotonic_us() + (began_us - now_us) + limit_us;
}

static void take_up_nodes(struct active_run *run, const struct endings *endings, int64_t now_us)
{
    for (size_t i = 0; i < graph_nodes_count(run->graph); i++) {
        const struct graph_node *node = graph_node_at(run->graph, i);
        const struct job_task *task = run_task_of(run, node);
        struct node_extra *extra = run_extra(run, i);
        if (node->state != TASK_RUNNING && node->state != TASK_TERMINATING) {
            continue;
        }
        if (task_has_thread(task)) {
            interrupt_node(run, i, i < endings->count && endings->crashed[i], now_us);
        } else {
            extra->deadline_us = deadline_after(node->started_us, task->timeout_us, now_us);
            extra->child_looked_for = extra->child != 0;
            extra->child_wanted = task->type == JOB_TASK_RUN_JOB && extra->child == 0;
            extra->child_tried = true;
        }
    }
}

static enum err_code take_repair(struct active_run *run, const struct job_run *row, struct err *err)
{
    char **keys = NULL;
    size_t count = 0;
    bool repaired = false;
    TRY(read_keys(row->repair_tasks, &keys, &count, err));
    graph_repair(run->graph, (const char *const *)keys, count, &repaired);
    for (size_t i = 0; i < count; i++) {
        mem_free(keys[i]);
    }
    mem_free(keys);
    for (size_t i = 0; repaired && i < run->extras_count; i++) {
        struct node_extra *extra = run_extra(run, i);
        if (graph_node_at(run->graph, i)->state != TASK_BLOCKED) {
            continue;
        }
        node_extra_set_error(extra, NULL, NULL);
        extra->child = 0;
        if (graph_node_at(run->graph, i)->renewed) {
            json_free(&extra->values);
        }
    }
    run->draft.change.repair_taken = true;
    return ERR_OK;
}

static enum err_code load_graph(struct active_run *run, const struct job_run *row,
                                struct arena *arena, struct endings *endings, struct err *err)
{
    int64_t now_us = clock_wall_us();
    TRY(read_keys(row->only, &run->only, &run->only_count, err));
    run->graph = graph_new(run->definition, (const char *const *)run->only, run->only_count);
    run_match_extras(run);
    TRY(restore_nodes(run, arena, endings, err));
    if (row->state == RUN_TERMINATING) {
        run->stopped = row->cancel_asked_at_us != 0 ? RESULT_CANCELED : RESULT_TIMEDOUT;
        graph_stop(run->graph, run->stopped, now_us);
    }
    take_up_nodes(run, endings, now_us);
    if (row->repair_asked) {
        TRY(take_repair(run, row, err));
    }
    run_match_extras(run);
    return ERR_OK;
}

enum err_code run_load(struct active_run *run, const struct job_run *row, struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    struct endings endings = {0};
    arena_init(&arena, ARENA_BYTES);
    enum err_code code = read_parameters(run, row, err);
    if (code == ERR_OK) {
        code = load_graph(run, row, &arena, &endings, err);
    }
    mem_free(endings.crashed);
    return code;
}
