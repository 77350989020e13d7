/*
 * Random graphs through random lives, against graph_model.c: after each event every
 * node has the state, result and counts that the model says. A restart is a new graph
 * from what was stored, as the runner does it.
 */
#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/jobs/graph_model.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

TestSuite(graph_model, .timeout = 120);

enum { LIVES = 12000, EVENTS_MAX = 120, STORED_MAX = MODEL_TASKS * (MODEL_INPUTS + 1) };

/* xorshift64* */
static uint64_t draw(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(2685821657736338717);
}

static int below(uint64_t *random, int limit)
{
    return (int)((draw(random) >> 33) % (uint64_t)limit);
}

static bool chance(uint64_t *random, int percent)
{
    return below(random, 100) < percent;
}

/* One life: the graph, the model, and what the runner would have stored. */
struct life {
    uint64_t random;
    int64_t now_us;
    struct model model;
    const struct job_definition *definition;
    struct graph *graph;
    const char *only[MODEL_TASKS];
    size_t only_count; /* 0 = all */
    struct graph_node stored[STORED_MAX];
    size_t stored_count;
    char trace[8192]; /* what happened, for the message */
};

static const char *const keys[MODEL_TASKS] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"};

static void note(struct life *life, const char *event, int task, int turn)
{
    size_t size = strlen(life->trace);
    (void)snprintf(life->trace + size, sizeof life->trace - size, " %s(%d,%d)", event, task, turn);
}

/* ---- a random definition ---- */

static void draw_tasks(struct life *life)
{
    struct model *model = &life->model;
    uint64_t *random = &life->random;
    int rank[MODEL_TASKS]; /* dependencies lead to lower ranks, whatever the order of writing */
    model->tasks_count = 1 + below(random, MODEL_TASKS);
    for (int t = 0; t < model->tasks_count; t++) {
        int place = below(random, t + 1);
        rank[t] = t == place ? t : rank[place];
        rank[place] = t;
    }
    for (int t = 0; t < model->tasks_count; t++) {
        model->tasks[t] = (struct model_task){
            .kind = "pppcl"[below(random, 5)],
            .rule = chance(random, 50) ? 0 : below(random, 6),
            .retries = below(random, 4) - 1,
            .retry_on_timeout = chance(random, 50),
            .disabled = chance(random, 8),
            .chosen = true,
            .width = 1 + below(random, 3),
            .interval_us = below(random, 3) * 1000,
        };
    }
    for (int t = 0; t < model->tasks_count; t++) {
        struct model_task *task = &model->tasks[t];
        for (int d = 0; d < model->tasks_count; d++) {
            if (rank[d] < rank[t] && chance(random, 40)) {
                task->dependencies[task->dependencies_count] = d;
                task->outcomes[task->dependencies_count++] =
                    model->tasks[d].kind == 'c' ? "tf "[below(random, 3)] : ' ';
            }
        }
    }
}

static void append(char *text, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t room, const char *format, ...)
{
    size_t size = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + size, room - size, format, arguments);
    va_end(arguments);
}

static void write_task(const struct model_task *task, int t, char *text, size_t room)
{
    static const char plain[] = "'type':'optimize','optimize':{'table':'t'}";
    char retries[160];
    (void)snprintf(retries, sizeof retries,
                   "'max_retries':%d,'retry_on_timeout':%s,'min_retry_interval_millis':%" PRId64,
                   task->retries, task->retry_on_timeout ? "true" : "false",
                   task->interval_us / 1000);
    append(text, room, "{'task_key':'%s','run_if':'%s','disabled':%s,", keys[t],
           job_run_if_name((enum job_run_if)task->rule), task->disabled ? "true" : "false");
    if (task->kind == 'l') {
        append(text, room,
               "'type':'for_each','for_each':{'inputs':[],'concurrency':%d,'task':"
               "{'task_key':'x',%s,%s}}",
               task->width, retries, plain);
    } else if (task->kind == 'c') {
        append(text, room, "%s,'type':'condition','condition':{'op':'EQUAL_TO','left':1,'right':1}",
               retries);
    } else {
        append(text, room, "%s,%s", retries, plain);
    }
    append(text, room, ",'depends_on':[");
    for (int i = 0; i < task->dependencies_count; i++) {
        append(text, room, "%s{'task_key':'%s'", i > 0 ? "," : "", keys[task->dependencies[i]]);
        if (task->outcomes[i] != ' ') {
            append(text, room, ",'outcome':'%s'", task->outcomes[i] == 't' ? "true" : "false");
        }
        append(text, room, "}");
    }
    append(text, room, "]}");
}

static void begin_life(struct life *life, uint64_t seed)
{
    char text[8192] = "{'name':'j','tasks':[";
    *life = (struct life){.random = seed, .now_us = 1000000};
    (void)draw(&life->random);
    draw_tasks(life);
    for (int t = 0; t < life->model.tasks_count; t++) {
        append(text, sizeof text, "%s", t > 0 ? "," : "");
        write_task(&life->model.tasks[t], t, text, sizeof text);
    }
    append(text, sizeof text, "]}");
    life->definition = kit_definition(text);
    if (chance(&life->random, 15)) {
        for (int t = 0; t < life->model.tasks_count; t++) {
            life->model.tasks[t].chosen = chance(&life->random, 60) || t == 0;
            if (life->model.tasks[t].chosen) {
                life->only[life->only_count++] = keys[t];
            }
        }
    }
    model_reset(&life->model);
    life->graph =
        graph_new(life->definition, life->only_count > 0 ? life->only : NULL, life->only_count);
}

static void end_life(struct life *life)
{
    graph_free(&life->graph);
    job_definition_release(&life->definition);
}

/* ---- after each event ---- */

static void store_changes(struct life *life)
{
    size_t count = 0;
    CLEANUP(mem_cleanup) size_t *changed = graph_take_changed(life->graph, &count);
    for (size_t i = 0; i < count; i++) {
        const struct graph_node *node = graph_node_at(life->graph, changed[i]);
        size_t at = 0;
        while (at < life->stored_count && (life->stored[at].task != node->task ||
                                           life->stored[at].iteration != node->iteration)) {
            at++;
        }
        cr_assert(at < STORED_MAX);
        life->stored[at] = *node;
        life->stored_count += at == life->stored_count;
    }
}

static void compare_item(const struct life *life, const struct graph_node *node,
                         const struct model_item *item)
{
    char outcome = node->outcome[0] == '\0' ? ' ' : node->outcome[0];
    cr_assert(strcmp(task_state_name(node->state), item->state) == 0 &&
                  strcmp(run_result_name(node->result), item->result) == 0 &&
                  node->attempts == item->attempts && node->failures == item->failures &&
                  node->interruptions == item->interruptions && node->crashes == item->crashes &&
                  node->due_us == item->due_us && outcome == item->outcome,
              "task %zu turn %" PRId64 ": graph %s %s %d/%d/%d/%d due %" PRId64 " %c, "
              "model %s %s %d/%d/%d/%d due %" PRId64 " %c, after%s",
              node->task, node->iteration, task_state_name(node->state),
              run_result_name(node->result), node->attempts, node->failures, node->interruptions,
              node->crashes, node->due_us, outcome, item->state, item->result, item->attempts,
              item->failures, item->interruptions, item->crashes, item->due_us, item->outcome,
              life->trace);
}

static void compare(struct life *life)
{
    size_t nodes = 0;
    graph_check(life->graph);
    for (int t = 0; t < life->model.tasks_count; t++) {
        for (int i = -1; i < life->model.turns_known[t]; i++) {
            size_t node = 0;
            cr_assert(graph_find(life->graph, (size_t)t, i, &node), "(%d,%d)%s", t, i, life->trace);
            compare_item(life, graph_node_at(life->graph, node), model_item(&life->model, t, i));
            nodes++;
        }
    }
    cr_assert_eq(graph_nodes_count(life->graph), nodes);
    cr_assert_eq(graph_is_finished(life->graph), model_finished(&life->model));
}

static void settle(struct life *life)
{
    graph_advance(life->graph, life->now_us);
    model_settle(&life->model, life->now_us);
    compare(life);
    store_changes(life);
}

/* ---- events ---- */

/* A random node in one of these states; false when there is none. */
static bool pick(struct life *life, const char *state, const char *or_state, int *task_out,
                 int *turn_out)
{
    int found = 0;
    for (int t = 0; t < life->model.tasks_count; t++) {
        for (int i = -1; i < life->model.turns_known[t]; i++) {
            const char *is = model_item(&life->model, t, i)->state;
            if ((strcmp(is, state) == 0 || strcmp(is, or_state) == 0) &&
                below(&life->random, ++found) == 0) {
                *task_out = t;
                *turn_out = i;
            }
        }
    }
    return found > 0;
}

static bool is_loop(const struct life *life, int task, int turn)
{
    return turn < 0 && life->model.tasks[task].kind == 'l';
}

static size_t node_of(const struct life *life, int task, int turn)
{
    size_t node = 0;
    cr_assert(graph_find(life->graph, (size_t)task, turn, &node));
    return node;
}

static void learn_inputs(struct life *life, int task)
{
    struct err err = {0};
    int count = below(&life->random, MODEL_INPUTS + 1);
    cr_assert_eq(graph_expand(life->graph, (size_t)task, count, &err), ERR_OK);
    model_inputs(&life->model, task, count);
    note(life, "inputs", task, count);
}

static void begin(struct life *life)
{
    int task = 0;
    int turn = 0;
    if (!pick(life, "QUEUED", "QUEUED", &task, &turn)) {
        return;
    }
    note(life, "begin", task, turn);
    graph_begin(life->graph, node_of(life, task, turn), life->now_us);
    model_begin(&life->model, task, turn);
    bool knows = life->model.inputs[task] >= 0;
    if (is_loop(life, task, turn) && !knows && chance(&life->random, 80)) {
        learn_inputs(life, task);
    }
}

static void end(struct life *life)
{
    static const char *const words[] = {"SUCCESS", "SUCCESS",  "FAILED",
                                        "FAILED",  "TIMEDOUT", "CANCELED"};
    static const enum run_result results[] = {RESULT_SUCCESS, RESULT_SUCCESS,  RESULT_FAILED,
                                              RESULT_FAILED,  RESULT_TIMEDOUT, RESULT_CANCELED};
    int task = 0;
    int turn = 0;
    if (!pick(life, "RUNNING", "TERMINATING", &task, &turn)) {
        return;
    }
    bool loop = is_loop(life, task, turn);
    bool running = strcmp(model_item(&life->model, task, turn)->state, "RUNNING") == 0;
    if (loop && (!running || life->model.inputs[task] >= 0)) {
        return; /* ends with its iterations */
    }
    if (loop && chance(&life->random, 70)) {
        learn_inputs(life, task);
        return;
    }
    int which = loop ? 2 : below(&life->random, 6);
    bool condition = turn < 0 && life->model.tasks[task].kind == 'c' && which < 2;
    bool outcome = chance(&life->random, 50);
    bool permanent = loop || chance(&life->random, 20);
    int64_t delay_us = 1 + below(&life->random, 5000);
    int64_t after_us = chance(&life->random, 30) ? below(&life->random, 9000) : 0;
    bool allowed = chance(&life->random, 90);
    const struct graph_end how = {
        .result = results[which],
        .permanent = permanent,
        .outcome = !condition ? NULL
                   : outcome  ? "true"
                              : "false",
        .retry_after_us = after_us,
        .retry_delay_us = delay_us,
        .retry_allowed = allowed,
    };
    note(life, words[which], task, turn);
    graph_end(life->graph, node_of(life, task, turn), &how, life->now_us);
    model_end(&life->model, task, turn, words[which], permanent,
              !condition ? ' '
              : outcome  ? 't'
                         : 'f',
              delay_us > after_us ? delay_us : after_us, allowed, life->now_us);
}

static void time_out(struct life *life)
{
    int task = 0;
    int turn = 0;
    if (pick(life, "RUNNING", "RUNNING", &task, &turn)) {
        note(life, "late", task, turn);
        graph_stop_node(life->graph, node_of(life, task, turn), RESULT_TIMEDOUT, life->now_us);
        model_stop_one(&life->model, task, turn, "TIMEDOUT");
    }
}

static void stop(struct life *life)
{
    bool cancel = chance(&life->random, 60);
    note(life, cancel ? "cancel" : "deadline", 0, 0);
    graph_stop(life->graph, cancel ? RESULT_CANCELED : RESULT_TIMEDOUT, life->now_us);
    model_stop(&life->model, cancel ? "CANCELED" : "TIMEDOUT");
}

/* The process ends and starts again: nodes come back in any order. */
static void restart(struct life *life)
{
    note(life, "restart", 0, 0);
    struct err err = {0};
    graph_free(&life->graph);
    life->graph =
        graph_new(life->definition, life->only_count > 0 ? life->only : NULL, life->only_count);
    size_t first = (size_t)below(&life->random, (int)life->stored_count + 1);
    for (size_t i = 0; i < life->stored_count; i++) {
        const struct graph_node *node = &life->stored[(first + i) % life->stored_count];
        cr_assert_eq(graph_restore(life->graph, node, &err), ERR_OK, "%s", err.msg);
    }
    if (life->model.stopped != NULL) {
        graph_stop(life->graph,
                   strcmp(life->model.stopped, "CANCELED") == 0 ? RESULT_CANCELED : RESULT_TIMEDOUT,
                   life->now_us);
    }
    for (int t = 0; t < life->model.tasks_count; t++) {
        for (int i = -1; i < life->model.turns_known[t]; i++) {
            const char *state = model_item(&life->model, t, i)->state;
            if (!is_loop(life, t, i) &&
                (strcmp(state, "RUNNING") == 0 || strcmp(state, "TERMINATING") == 0)) {
                bool crashed = chance(&life->random, 30);
                graph_interrupt(life->graph, node_of(life, t, i), crashed, life->now_us);
                model_interrupt(&life->model, t, i, crashed, life->now_us);
            }
        }
    }
}

static void repair(struct life *life)
{
    bool named[MODEL_TASKS] = {false};
    const char *list[MODEL_TASKS];
    size_t count = 0;
    bool all = chance(&life->random, 50);
    for (int t = 0; t < life->model.tasks_count; t++) {
        named[t] = chance(&life->random, 50);
        list[count] = keys[t];
        count += named[t];
    }
    note(life, all ? "repair all" : "repair", 0, 0);
    bool repaired = false;
    graph_repair(life->graph, all ? NULL : list, all ? 0 : count, &repaired);
    cr_assert_eq(repaired, model_repair(&life->model, all ? NULL : named), "%s", life->trace);
}

static void live_event(struct life *life)
{
    int what = below(&life->random, 100);
    life->now_us += below(&life->random, 2000);
    if (what < 42) {
        begin(life);
    } else if (what < 84) {
        end(life);
    } else if (what < 89) {
        time_out(life);
    } else if (what < 91) {
        stop(life);
    } else {
        restart(life);
    }
}

static void live(uint64_t seed)
{
    struct life life;
    begin_life(&life, seed);
    settle(&life);
    for (int i = 0; i < EVENTS_MAX; i++) {
        if (!model_finished(&life.model)) {
            live_event(&life);
        } else {
            cr_assert_str_eq(run_result_name(graph_result(life.graph)), model_result(&life.model),
                             "%s", life.trace);
            if (!chance(&life.random, 40)) {
                break;
            }
            repair(&life);
        }
        settle(&life);
    }
    end_life(&life);
}

Test(graph_model, agrees_with_the_naive_model_in_every_interleaving)
{
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        live(seed * UINT64_C(0x9e3779b97f4a7c15));
    }
}
