#include "storage/jobs/graph.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/jobs/jobs_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(graph_rules, .timeout = 60);

/* A terminated node as storage would give it back. */
static struct graph_node ended(size_t task, enum run_result result)
{
    return (struct graph_node){.task = task,
                               .iteration = -1,
                               .state = TASK_TERMINATED,
                               .result = result,
                               .started_us = 5,
                               .ended_us = 6,
                               .inputs_count = -1};
}

static void restore(struct graph *graph, const struct graph_node *node)
{
    struct err err = {0};
    cr_assert_eq(graph_restore(graph, node, &err), ERR_OK, "%s", err.msg);
}

/* What becomes of a task behind two that ended so: its result, NONE = it runs. */
static enum run_result behind(const char *run_if, enum run_result a, enum run_result b)
{
    char text[512];
    (void)snprintf(
        text, sizeof text,
        "{'name':'j','tasks':[{'task_key':'a','type':'optimize','optimize':{'table':'t'}},"
        "{'task_key':'b','type':'optimize','optimize':{'table':'t'}},"
        "{'task_key':'c','type':'optimize','optimize':{'table':'t'},'run_if':'%s',"
        "'depends_on':[{'task_key':'a'},{'task_key':'b'}]}]}",
        run_if);
    CLEANUP(job_definition_release) const struct job_definition *definition = kit_definition(text);
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    const struct graph_node first = ended(0, a);
    const struct graph_node second = ended(1, b);
    restore(graph, &first);
    restore(graph, &second);
    graph_advance(graph, 10);
    const struct graph_node *node = graph_node_at(graph, 2);
    cr_assert(node->state == (node->result == RESULT_NONE ? TASK_QUEUED : TASK_TERMINATED));
    return node->result;
}

#define R RESULT_NONE /* it runs */
#define S RESULT_SUCCESS
#define F RESULT_FAILED
#define T RESULT_TIMEDOUT
#define C RESULT_CANCELED
#define UF RESULT_UPSTREAM_FAILED
#define UC RESULT_UPSTREAM_CANCELED
#define X RESULT_EXCLUDED
#define D RESULT_DISABLED
#define K RESULT_SKIPPED

/* Databricks, "Configure task dependencies" and "Disabled tasks in Lakeflow Jobs". */
static const struct {
    enum run_result a, b;
    /* ALL_SUCCESS, AT_LEAST_ONE_SUCCESS, NONE_FAILED, ALL_DONE, AT_LEAST_ONE_FAILED, ALL_FAILED */
    enum run_result then[6];
} cases[] = {
    {S, S, {R, R, R, R, X, X}},      {S, F, {UF, R, UF, R, R, X}},  {F, F, {UF, UF, UF, R, R, R}},
    {T, F, {UF, UF, UF, R, R, R}},   {S, T, {UF, R, UF, R, R, X}},  {S, UF, {UF, R, UF, R, R, X}},
    {UF, UF, {UF, UF, UF, R, R, R}}, {S, C, {UC, R, UC, R, R, X}},  {C, C, {UC, UC, UC, R, R, R}},
    {UC, C, {UC, UC, UC, R, R, R}},  {F, C, {UF, UF, UF, R, R, R}}, {F, UC, {UF, UF, UF, R, R, R}},
    {S, X, {R, R, R, R, X, X}},      {F, X, {UF, R, UF, R, R, X}},  {X, X, {X, X, X, X, X, X}},
    {S, D, {D, R, R, R, X, X}},      {F, D, {UF, UF, UF, R, R, X}}, {C, D, {UC, UC, UC, R, R, X}},
    {X, D, {D, R, R, R, X, X}},      {D, D, {D, D, D, R, D, D}},    {S, K, {R, R, R, R, X, X}},
    {K, K, {R, R, R, R, X, X}},      {F, K, {UF, R, UF, R, R, X}},  {X, K, {R, R, R, R, X, X}},
    {D, K, {D, R, R, R, X, X}},
};

Test(graph_rules, run_if_decides_by_the_results_of_all_dependencies)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned rule = 0; rule < RUN_IF_COUNT; rule++) {
            const char *name = job_run_if_name((enum job_run_if)rule);
            enum run_result expected = cases[i].then[rule];
            enum run_result one = behind(name, cases[i].a, cases[i].b);
            enum run_result other = behind(name, cases[i].b, cases[i].a);
            cr_expect_eq(one, expected, "%s after %s and %s: '%s', not '%s'", name,
                         run_result_name(cases[i].a), run_result_name(cases[i].b),
                         run_result_name(one), run_result_name(expected));
            cr_expect_eq(other, expected, "%s after %s and %s", name, run_result_name(cases[i].b),
                         run_result_name(cases[i].a));
        }
    }
}

Test(graph_rules, a_task_without_dependencies_runs_whatever_run_if_says)
{
    for (unsigned rule = 0; rule < RUN_IF_COUNT; rule++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "{'name':'j','tasks':[{'task_key':'a','type':'optimize',"
                       "'optimize':{'table':'t'},'run_if':'%s'}]}",
                       job_run_if_name((enum job_run_if)rule));
        CLEANUP(job_definition_release)
        const struct job_definition *definition = kit_definition(text);
        CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
        graph_advance(graph, 1);
        cr_expect_eq(graph_node_at(graph, 0)->state, TASK_QUEUED, "%u", rule);
    }
}

/* What comes after a condition, on the edge that asks for `wanted` (NULL: for none). */
static enum run_result after_condition(const char *wanted, enum run_result result,
                                       const char *outcome)
{
    char text[512];
    char edge[64] = "";
    if (wanted != NULL) {
        (void)snprintf(edge, sizeof edge, ",'outcome':'%s'", wanted);
    }
    (void)snprintf(text, sizeof text,
                   "{'name':'j','tasks':[{'task_key':'c','type':'condition','condition':"
                   "{'op':'EQUAL_TO','left':1,'right':1}},"
                   "{'task_key':'d','type':'optimize','optimize':{'table':'t'},"
                   "'depends_on':[{'task_key':'c'%s}]}]}",
                   edge);
    CLEANUP(job_definition_release) const struct job_definition *definition = kit_definition(text);
    CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
    struct graph_node node = ended(0, result);
    (void)snprintf(node.outcome, sizeof node.outcome, "%s", outcome);
    restore(graph, &node);
    graph_advance(graph, 10);
    return graph_node_at(graph, 1)->result;
}

Test(graph_rules, the_other_outcome_of_a_condition_is_excluded)
{
    cr_expect_eq(after_condition("true", S, "true"), R);
    cr_expect_eq(after_condition("true", S, "false"), X);
    cr_expect_eq(after_condition("false", S, "false"), R);
    cr_expect_eq(after_condition("false", S, "true"), X);
    cr_expect_eq(after_condition(NULL, S, "false"), R);
    cr_expect_eq(after_condition("true", F, ""), UF);
    cr_expect_eq(after_condition("true", X, ""), X);
    cr_expect_eq(after_condition("true", K, ""), R, "left out by `only`: whatever outcome");
    cr_expect_eq(after_condition("true", D, ""), D);
}

/* ---- the run ---- */

Test(graph_rules, leaves_decide_what_a_run_comes_to)
{
    /* a -> b -> d, a -> c */
    CLEANUP(job_definition_release)
    const struct job_definition *definition = kit_definition(
        "{'name':'j','tasks':[{'task_key':'a','type':'optimize','optimize':{'table':'t'}},"
        "{'task_key':'b','type':'optimize','optimize':{'table':'t'},"
        "'depends_on':[{'task_key':'a'}]},"
        "{'task_key':'c','type':'optimize','optimize':{'table':'t'},"
        "'depends_on':[{'task_key':'a'}]},"
        "{'task_key':'d','type':'optimize','optimize':{'table':'t'},"
        "'depends_on':[{'task_key':'b'}]}]}");
    static const struct {
        enum run_result results[4];
        enum run_result run;
    } runs[] = {
        {{S, S, S, S}, S},
        {{S, F, S, S}, RESULT_SUCCESS_WITH_FAILURES},
        {{F, S, S, S}, RESULT_SUCCESS_WITH_FAILURES},
        {{S, S, F, S}, F},
        {{S, S, S, T}, F},
        {{S, S, S, C}, F},
        {{S, S, S, UF}, F},
        {{S, C, UC, S}, F},
        {{S, X, X, X}, S},
        {{F, X, X, X}, RESULT_SUCCESS_WITH_FAILURES},
        {{D, D, D, D}, S},
        {{S, F, S, D}, F}, /* what is switched off behind it hides no failure */
        {{F, K, K, K}, F}, /* nor what `only` left out */
        {{F, K, S, K}, RESULT_SUCCESS_WITH_FAILURES},
        {{K, K, K, S}, S},
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        CLEANUP(graph_free) struct graph *graph = graph_new(definition, NULL, 0);
        for (size_t task = 0; task < 4; task++) {
            const struct graph_node node = ended(task, runs[i].results[task]);
            restore(graph, &node);
        }
        cr_expect_eq(graph_result(graph), runs[i].run, "case %zu: %s", i,
                     run_result_name(graph_result(graph)));
    }
}

Test(graph_rules, names_are_read_back)
{
    for (unsigned i = RESULT_SUCCESS; i <= RESULT_SKIPPED; i++) {
        enum run_result result = RESULT_NONE;
        cr_expect(run_result_parse(span_of_text(run_result_name((enum run_result)i)), &result));
        cr_expect_eq(result, i);
    }
    for (unsigned i = RUN_QUEUED; i <= RUN_TERMINATED; i++) {
        enum run_state state = RUN_QUEUED;
        cr_expect(run_state_parse(span_of_text(run_state_name((enum run_state)i)), &state));
        cr_expect_eq(state, i);
    }
    enum run_result result = RESULT_NONE;
    cr_expect_not(run_result_parse(span_of_text(""), &result));
    cr_expect_str_eq(task_state_name(TASK_WAITING_FOR_RETRY), "WAITING_FOR_RETRY");
}
