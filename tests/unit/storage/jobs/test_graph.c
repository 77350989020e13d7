#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(graph, .timeout = 60);

static const char loop_job[] =
    "{'name':'j','tasks':[{'task_key':'loop','type':'for_each','for_each':{'inputs':[],"
    "'concurrency':2,'task':{'task_key':'one','max_retries':1,'type':'optimize',"
    "'optimize':{'table':'t'}}}},"
    "{'task_key':'c','type':'condition','condition':{'op':'EQUAL_TO','left':1,'right':1}},"
    "{'task_key':'p','type':'optimize','optimize':{'table':'t'},"
    "'depends_on':[{'task_key':'loop'}]}]}";

static enum task_state state_of(const struct graph *graph, size_t task, int64_t iteration)
{
    size_t node = 0;
    cr_assert(graph_find(graph, task, iteration, &node));
    return graph_node_at(graph, node)->state;
}

Test(graph, a_loop_keeps_its_concurrency_and_a_retry_keeps_its_place)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(loop_job);
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct err err = {0};
    graph_advance(graph, 1000);
    graph_begin(graph, 0, 1000);
    cr_assert_eq(graph_expand(graph, 0, 4, &err), ERR_OK);
    graph_advance(graph, 1000);
    cr_expect_eq(state_of(graph, 0, 0), TASK_QUEUED);
    cr_expect_eq(state_of(graph, 0, 1), TASK_QUEUED);
    cr_expect_eq(state_of(graph, 0, 2), TASK_BLOCKED);

    size_t first = 0;
    cr_assert(graph_find(graph, 0, 0, &first));
    graph_begin(graph, first, 1000);
    const struct graph_end failed = {
        .result = RESULT_FAILED, .retry_delay_us = 500, .retry_allowed = true};
    graph_end(graph, first, &failed, 1100);
    graph_advance(graph, 1100);
    cr_expect_eq(state_of(graph, 0, 0), TASK_WAITING_FOR_RETRY);
    cr_expect_eq(state_of(graph, 0, 2), TASK_BLOCKED, "the place is kept");
    cr_expect_eq(graph_next_due(graph), 1600);
    graph_advance(graph, 1599);
    cr_expect_eq(state_of(graph, 0, 0), TASK_WAITING_FOR_RETRY);
    graph_advance(graph, 1600);
    cr_expect_eq(state_of(graph, 0, 0), TASK_QUEUED);
    cr_expect_eq(graph_next_due(graph), INT64_MAX);

    graph_begin(graph, first, 1600);
    cr_expect_eq(graph_node_at(graph, first)->attempts, 2);
    graph_end(graph, first, &failed, 1700);
    graph_advance(graph, 1700);
    cr_expect_eq(state_of(graph, 0, 0), TASK_TERMINATED, "one retry, and no more");
    cr_expect_eq(state_of(graph, 0, 2), TASK_QUEUED);
    cr_expect_eq(graph_node_at(graph, first)->started_us, 1000);
    cr_expect_eq(graph_node_at(graph, first)->ended_us, 1700);
}

Test(graph, a_loop_over_nothing_succeeds_and_what_is_behind_it_runs)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(loop_job);
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct err err = {0};
    graph_advance(graph, 1);
    graph_begin(graph, 0, 1);
    cr_assert_eq(graph_expand(graph, 0, 0, &err), ERR_OK);
    graph_advance(graph, 2);
    cr_expect_eq(graph_node_at(graph, 0)->result, RESULT_SUCCESS);
    cr_expect_eq(state_of(graph, 2, -1), TASK_QUEUED);
}

Test(graph, a_loop_takes_so_many_inputs_and_no_more)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition =
        kit_definition("{'name':'j','tasks':["
                       "{'task_key':'a','type':'for_each','for_each':{'inputs':[],"
                       "'task':{'task_key':'o','type':'optimize','optimize':{'table':'t'}}}},"
                       "{'task_key':'b','type':'for_each','for_each':{'inputs':[],"
                       "'task':{'task_key':'o','type':'optimize','optimize':{'table':'t'}}}}]}");
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct err err = {0};
    graph_advance(graph, 1);
    graph_begin(graph, 0, 1);
    graph_begin(graph, 1, 1);
    cr_expect_eq(graph_expand(graph, 0, DEFINITION_FOR_EACH_INPUTS_MAX + 1, &err), ERR_TOO_LARGE);
    cr_expect_eq(graph_nodes_count(graph), 2);
    cr_expect_eq(graph_expand(graph, 0, DEFINITION_FOR_EACH_INPUTS_MAX, &err), ERR_OK);
    cr_expect_eq(graph_expand(graph, 1, DEFINITION_FOR_EACH_INPUTS_MAX, &err), ERR_TOO_LARGE,
                 "two tasks and 2 * 5,000 iterations are over GRAPH_NODES_MAX");
    cr_expect_eq(graph_expand(graph, 1, DEFINITION_FOR_EACH_INPUTS_MAX - 2, &err), ERR_OK);
    cr_expect_eq(graph_nodes_count(graph), GRAPH_NODES_MAX);
}

Test(graph, changes_are_taken_once_and_iterations_that_wait_are_none)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(loop_job);
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct err err = {0};
    size_t count = 0;
    graph_advance(graph, 1);
    size_t *changed = graph_take_changed(graph, &count);
    cr_expect_eq(count, 3);
    mem_free(changed);
    changed = graph_take_changed(graph, &count);
    cr_expect_eq(count, 0);
    mem_free(changed);
    graph_begin(graph, 0, 1);
    cr_assert_eq(graph_expand(graph, 0, 100, &err), ERR_OK);
    graph_advance(graph, 1);
    changed = graph_take_changed(graph, &count);
    cr_expect_eq(count, 3, "the loop and the two iterations that may begin, not %zu", count);
    mem_free(changed);
}

Test(graph, interruptions_and_crashes_end_somewhere)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(
        "{'name':'j','tasks':[{'task_key':'a','type':'optimize','optimize':{'table':'t'}}]}");
    static const struct {
        bool crashed;
        int times;
    } cases[] = {{false, GRAPH_INTERRUPTIONS_MAX}, {true, GRAPH_CRASHES_MAX}};
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
        for (int n = 1; n <= cases[i].times; n++) {
            graph_advance(graph, n);
            graph_begin(graph, 0, n);
            graph_interrupt(graph, 0, cases[i].crashed, n);
            graph_advance(graph, n);
            cr_expect_eq(graph_node_at(graph, 0)->state,
                         n < cases[i].times ? TASK_QUEUED : TASK_TERMINATED);
        }
        cr_expect_eq(graph_node_at(graph, 0)->result, RESULT_FAILED);
        cr_expect_eq(graph_node_at(graph, 0)->failures, 0, "no retry was used up");
    }
}

Test(graph, what_was_stored_is_refused_when_it_contradicts_itself)
{
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(loop_job);
    const struct graph_node right = {.task = 2,
                                     .iteration = -1,
                                     .state = TASK_TERMINATED,
                                     .result = RESULT_FAILED,
                                     .attempts = 1,
                                     .failures = 1,
                                     .started_us = 5,
                                     .ended_us = 9,
                                     .inputs_count = -1};
    struct graph_node nodes[20];
    size_t count = 0;
    for (; count < 20; count++) {
        nodes[count] = right;
    }
    count = 0;
    nodes[count++].task = 3;
    nodes[count++].iteration = 0;
    nodes[count++].iteration = -2;
    nodes[count++].state = (enum task_state)0;
    nodes[count++].state = (enum task_state)7;
    nodes[count++].result = RESULT_NONE;
    nodes[count++].result = RESULT_SUCCESS_WITH_FAILURES;
    nodes[count++].result = (enum run_result)12;
    nodes[count++].attempts = -1;
    nodes[count++].ended_us = 4;
    nodes[count++].ended_us = 0;
    nodes[count++].inputs_count = 0;
    nodes[count++].due_us = 1;
    nodes[count++].outcome[0] = 't';
    nodes[count].state = TASK_RUNNING;
    nodes[count++].ended_us = 0;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
        struct err err = {0};
        cr_expect_eq(graph_restore(graph, &nodes[i], &err), ERR_CORRUPT, "case %zu", i);
        cr_expect_eq(graph_restore(graph, &right, &err), ERR_OK, "%s", err.msg);
    }
}
