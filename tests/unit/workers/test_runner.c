#include "workers/runner.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/catalog/access.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/secrets.h"
#include "tests/unit/workers/runner_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

TestSuite(runner, .init = kit_set_up, .fini = kit_tear_down, .timeout = 60);

static const char *job_of(const char *a, const char *b, const char *c, const char *more)
{
    static char text[8192];
    (void)snprintf(text, sizeof text, "'tasks':[%s%s%s%s%s]%s", a, b != NULL ? "," : "",
                   b != NULL ? b : "", c != NULL ? "," : "", c != NULL ? c : "", more);
    return text;
}

#define AFTER(key) ",'depends_on':[{'task_key':'" key "'}]"
#define SECOND 1000000
#define HOUR (3600 * INT64_C(1000000))

/* ---- from the start to the end ---- */

Test(runner, tasks_run_in_order_and_pass_values_on)
{
    int64_t job = kit_job(
        job_of(kit_task("a", "{'do':'succeed','rows':5,'values':{'n':41,'t':'x'}}", ""),
               kit_task("b",
                        "{'do':'succeed','values':{'n':'{{tasks.a.values.n}}',"
                        "'s':'{{tasks.a.values.t}}-{{job.parameters.p}}-{{tasks.a.result}}'}}",
                        AFTER("a")),
               NULL, ",'parameters':[{'name':'p','default':'q'}]"));
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_str_eq(kit_results(run), "SUCCESS SUCCESS");
    cr_expect_eq(kit_value(run, 1, "n"), 41);
    cr_expect_str_eq(kit_value_text(run, 1, "s"), "x-q-SUCCESS");
    struct run_attempt *attempts = NULL;
    cr_assert_eq(kit_attempts(run, 0, -1, &attempts), 1);
    cr_expect_eq(attempts[0].state, ATTEMPT_ENDED);
    cr_expect_eq(attempts[0].result, RESULT_SUCCESS);
    cr_expect_eq(attempts[0].rows_in, 5);
    cr_expect_str_eq(attempts[0].versions_written, "{\"claims\":4}");
    cr_expect_null(attempts[0].versions_read);
    struct job_run row = kit_run(run);
    cr_expect(row.started_us > 0);
    cr_expect(row.ended_us >= row.started_us);
    cr_expect_null(row.error);
}

Test(runner, a_failed_task_fails_the_run_and_says_why)
{
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'fail','code':'invalid'}", ""),
                                 kit_task("b", "{'do':'succeed'}", AFTER("a")), NULL, ""));
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_str_eq(kit_results(run), "FAILED UPSTREAM_FAILED");
    cr_expect_str_eq(kit_run(run).error_code, "invalid");
    cr_expect_str_eq(kit_run(run).error, "task 'a': told to fail");
    cr_expect_eq(kit_attempts_begun(), 1, "for good");
}

Test(runner, retries_wait_for_their_time)
{
    kit_pass_time(1, 0);
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'fail_until','attempt':3}",
                                          ",'max_retries':2,'min_retry_interval_millis':60000"),
                                 NULL, NULL, ""));
    int64_t run = kit_start(job);
    kit_wait_task(run, 0, TASK_WAITING_FOR_RETRY);
    int64_t due_us = kit_node(run, 0, -1).node.due_us;
    cr_expect(due_us >= clock_wall_us() + 60 * SECOND);
    cr_expect_str_eq(kit_node(run, 0, -1).error, "attempt 1 fails");
    kit_pass_time(run, 10 * SECOND);
    runner_settle(kit.runner);
    cr_expect_eq(kit_attempts_begun(), 1);
    kit_pass_time(run, HOUR);
    kit_wait_failures(run, 0, 2);
    kit_pass_time(run, HOUR);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_eq(kit_attempts_begun(), 3);
    cr_expect_null(kit_node(run, 0, -1).error, "it succeeded in the end");
}

Test(runner, what_cannot_begin_fails_by_name)
{
    int64_t job =
        kit_job(job_of(kit_task("a", "{'do':'succeed'}", ""),
                       kit_task("b", "{'do':'succeed','v':'{{tasks.a.values.nope}}'}", AFTER("a")),
                       "{'task_key':'c','type':'optimize','optimize':{'table':'t'}}", ""));
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_str_eq(kit_results(run), "SUCCESS FAILED FAILED");
    cr_expect(strstr(kit_node(run, 1, -1).error, "tasks.a.values.nope") != NULL);
    cr_expect_str_eq(kit_node(run, 2, -1).error_code, "unsupported");
    cr_expect_eq(kit_attempts_begun(), 1);
}

Test(runner, parameters_are_checked_when_the_run_begins)
{
    int64_t job = kit_job(
        job_of(kit_task("a", "{'do':'succeed'}", ""), NULL, NULL, ",'parameters':[{'name':'p'}]"));
    int64_t wrong = kit_start(job);
    cr_expect_eq(kit_wait(wrong), RESULT_FAILED);
    cr_expect(strstr(kit_run(wrong).error, "'p'") != NULL);
    int64_t right = kit_start_with(job, "{'p':1}", NULL);
    cr_expect_eq(kit_wait(right), RESULT_SUCCESS);
}

Test(runner, only_some_tasks_run_when_asked)
{
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'fail','code':'invalid'}", ""),
                                 kit_task("b", "{'do':'succeed'}", AFTER("a")),
                                 kit_task("c", "{'do':'succeed'}", AFTER("b")), ""));
    int64_t run = kit_start_with(job, NULL, "['b']");
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_str_eq(kit_results(run), "SKIPPED SUCCESS SKIPPED");
}

/* ---- what a task is given ---- */

Test(runner, secrets_are_opened_for_the_task_and_stored_nowhere)
{
    struct err err = {0};
    struct catalog_secret record;
    bool created = false;
    cr_assert_eq(
        catalog_secret_put(kit.catalog, "key", span_of_text("s3cr3t"), &record, &created, &err),
        ERR_OK, "%s", err.msg);
    int64_t run = kit_start(kit_job(job_of(kit_task("a", "{'do':'secret'}", ""), NULL, NULL, "")));
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_str_eq(kit_value_text(run, 0, "opened"), "s3cr3t");
}

Test(runner, a_missing_secret_fails_the_task_by_name)
{
    int64_t run = kit_start(kit_job(job_of(kit_task("a", "{'do':'secret'}", ""), NULL, NULL, "")));
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect(strstr(kit_run(run).error, "key") != NULL, "%s", kit_run(run).error);
}

Test(runner, pins_and_keys_are_the_same_in_every_attempt)
{
    int64_t run = kit_start(kit_job(
        job_of(kit_task("a", "{'do':'pin'}", ",'max_retries':1,'min_retry_interval_millis':60000"),
               NULL, NULL, "")));
    kit_wait_task(run, 0, TASK_WAITING_FOR_RETRY);
    const char *key = kit_value_text(run, 0, "key");
    kit_pass_time(run, HOUR);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_eq(kit_value(run, 0, "pinned"), 1, "the first attempt's");
    cr_expect_str_eq(kit_value_text(run, 0, "key"), key);
}

Test(runner, who_may_nothing_any_more_runs_nothing)
{
    struct err err = {0};
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'succeed'}", ""), NULL, NULL, ""));
    cr_assert_eq(principal_update(kit.catalog, &kit.principal, true, NULL, 0, &err), ERR_OK, "%s",
                 err.msg);
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_str_eq(kit_run(run).error_code, "forbidden");
    cr_expect_eq(kit_attempts_begun(), 0);
}

/* ---- control tasks ---- */

Test(runner, conditions_branch)
{
    int64_t job = kit_job(
        "'parameters':[{'name':'p','default':3}],'tasks':["
        "{'task_key':'c','type':'condition','condition':{'op':'GREATER_THAN',"
        "'left':'{{job.parameters.p}}','right':'2.5'}},"
        "{'task_key':'s','type':'condition','condition':{'op':'EQUAL_TO','left':'12.0',"
        "'right':12}},"
        "{'task_key':'yes','type':'condition','condition':{'op':'EQUAL_TO','left':true,"
        "'right':'true'},'depends_on':[{'task_key':'c','outcome':'true'}]},"
        "{'task_key':'no','type':'condition','condition':{'op':'EQUAL_TO','left':1,'right':1},"
        "'depends_on':[{'task_key':'c','outcome':'false'}]}]");
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_str_eq(kit_results(run), "SUCCESS SUCCESS SUCCESS EXCLUDED");
    cr_expect_str_eq(kit_node(run, 0, -1).node.outcome, "true");
    cr_expect_str_eq(kit_node(run, 1, -1).node.outcome, "false", "texts: 12.0 is not 12");
    int64_t other = kit_start_with(job, "{'p':'many'}", NULL);
    cr_expect_eq(kit_wait(other), RESULT_FAILED);
    cr_expect_str_eq(kit_results(other), "FAILED SUCCESS UPSTREAM_FAILED UPSTREAM_FAILED");
}

#define LOOP(inputs, concurrency, body)                                                            \
    "{'task_key':'loop','type':'for_each','for_each':{'inputs':" inputs                            \
    ",'concurrency':" concurrency ",'task':{'task_key':'one','type':'http_request',"               \
    "'http_request':{'url':'https://x/','body':" body "}}},'depends_on':[{'task_key':'a'}]}"

Test(runner, a_for_each_runs_its_task_for_each_input)
{
    int64_t job = kit_job(job_of(
        kit_task("a", "{'do':'succeed','values':{'list':[{'n':1},{'n':2},{'n':3}]}}", ""),
        LOOP("'{{tasks.a.values.list}}'", "2", "{'do':'succeed','values':{'n':'{{input.n}}'}}"),
        kit_task("z", "{'do':'succeed'}", AFTER("loop")), ""));
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_eq(kit_node(run, 1, -1).node.inputs_count, 3);
    for (int64_t i = 0; i < 3; i++) {
        char expected[32];
        (void)snprintf(expected, sizeof expected, "\"n\":%" PRId64, i + 1);
        cr_expect(strstr(kit_node(run, 1, i).values, expected) != NULL, "%s",
                  kit_node(run, 1, i).values);
    }
    cr_expect_eq(kit_attempts_begun(), 5);
}

Test(runner, a_for_each_over_no_array_fails)
{
    int64_t job =
        kit_job(job_of(kit_task("a", "{'do':'succeed','values':{'list':5}}", ""),
                       LOOP("'{{tasks.a.values.list}}'", "2", "{'do':'succeed'}"), NULL, ""));
    int64_t run = kit_start(job);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect(strstr(kit_node(run, 1, -1).error, "array") != NULL);
}

static int64_t job_running(int64_t child, const char *more)
{
    char text[512];
    (void)snprintf(text, sizeof text,
                   "'tasks':[{'task_key':'sub','type':'run_job','run_job':{'job_id':%" PRId64
                   ",'job_parameters':{'p':'{{run.id}}'}}%s}]",
                   child, more);
    return kit_job(text);
}

Test(runner, a_job_runs_another_and_comes_to_its_end)
{
    int64_t child =
        kit_job(job_of(kit_task("a", "{'do':'succeed','values':{'p':'{{job.parameters.p}}'}}", ""),
                       NULL, NULL, ",'parameters':[{'name':'p'}]"));
    int64_t run = kit_start(job_running(child, ""));
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    int64_t child_run = kit_wait_child(run, 0);
    cr_expect_eq(kit_run(child_run).parent_run_id, run);
    cr_expect_eq(kit_run(child_run).trigger, RUN_TRIGGER_RUN_JOB);
    cr_expect_eq(kit_value(child_run, 0, "p"), run);
}

Test(runner, a_failed_child_is_run_again_as_a_new_run)
{
    int64_t child = kit_job(job_of(kit_task("a", "{'do':'fail','code':'invalid'}", ""), NULL, NULL,
                                   ",'parameters':[{'name':'p'}]"));
    int64_t run =
        kit_start(job_running(child, ",'max_retries':1,'min_retry_interval_millis':60000"));
    kit_wait_failures(run, 0, 1);
    int64_t first = kit_wait_child(run, 0);
    kit_pass_time(run, HOUR);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_neq(kit_wait_child(run, 0), first);
    cr_expect(strstr(kit_run(run).error, "ended FAILED") != NULL, "%s", kit_run(run).error);
}

Test(runner, the_end_of_a_parent_ends_its_child)
{
    int64_t child = kit_job(
        job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ",'parameters':[{'name':'p'}]"));
    int64_t run = kit_start(job_running(child, ""));
    struct err err = {0};
    kit_wait_gate(1);
    cr_assert_eq(run_request_cancel(kit.catalog, run, &kit.principal, &err), ERR_OK);
    runner_wake(kit.runner, run);
    cr_expect_eq(kit_wait(run), RESULT_CANCELED);
    cr_expect_eq(kit_wait(kit_wait_child(run, 0)), RESULT_CANCELED);
}

Test(runner, a_cancelled_child_cancels_its_task)
{
    int64_t child = kit_job(
        job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ",'parameters':[{'name':'p'}]"));
    int64_t run = kit_start(job_running(child, ",'max_retries':5"));
    struct err err = {0};
    kit_wait_gate(1);
    int64_t child_run = kit_wait_child(run, 0);
    cr_assert_eq(run_request_cancel(kit.catalog, child_run, &kit.principal, &err), ERR_OK);
    runner_wake(kit.runner, child_run);
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_str_eq(kit_results(run), "CANCELED");
}

/* ---- stops ---- */

static void cancel(int64_t run)
{
    struct err err = {0};
    cr_assert_eq(run_request_cancel(kit.catalog, run, &kit.principal, &err), ERR_OK, "%s", err.msg);
    runner_wake(kit.runner, run);
}

Test(runner, a_cancelled_run_stops_what_runs_and_begins_nothing)
{
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'gate'}", ""),
                                 kit_task("b", "{'do':'succeed'}", AFTER("a")), NULL, ""));
    int64_t run = kit_start(job);
    kit_wait_gate(1);
    cancel(run);
    cr_expect_eq(kit_wait(run), RESULT_CANCELED);
    cr_expect_str_eq(kit_results(run), "CANCELED CANCELED");
    cr_expect_eq(kit_attempts_begun(), 1);
}

Test(runner, time_outs_stop_tasks_and_runs)
{
    int64_t task =
        kit_job(job_of(kit_task("a", "{'do':'gate'}", ",'timeout_seconds':1"), NULL, NULL, ""));
    int64_t whole =
        kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ",'timeout_seconds':1"));
    int64_t first = kit_start(task);
    int64_t second = kit_start(whole);
    cr_expect_eq(kit_wait(first), RESULT_FAILED);
    cr_expect_str_eq(kit_results(first), "TIMEDOUT");
    cr_expect_str_eq(kit_run(first).error, "task 'a': took longer than 1 seconds");
    cr_expect_eq(kit_wait(second), RESULT_TIMEDOUT);
    cr_expect_str_eq(kit_results(second), "TIMEDOUT");
}

/* ---- places ---- */

Test(runner, runs_beyond_the_limit_wait_in_order)
{
    int64_t job =
        kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ",'max_concurrent_runs':1"));
    int64_t first = kit_start(job);
    kit_wait_gate(1);
    int64_t second = kit_start(job);
    kit_wait_state(second, RUN_BLOCKED);
    int64_t third = kit_start(job);
    kit_wait_state(third, RUN_BLOCKED);
    cancel(first);
    cr_expect_eq(kit_wait(first), RESULT_CANCELED);
    kit_wait_state(second, RUN_RUNNING);
    cr_expect_eq(kit_run(third).state, RUN_BLOCKED);
    kit_open_gate();
    cr_expect_eq(kit_wait(second), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(third), RESULT_SUCCESS);
    cr_expect(kit_run(third).started_us >= kit_run(second).ended_us);
}

Test(runner, a_run_that_waits_can_be_cancelled)
{
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ""));
    int64_t first = kit_start(job);
    kit_wait_gate(1);
    int64_t second = kit_start(job);
    kit_wait_state(second, RUN_BLOCKED);
    int64_t third = kit_start(job);
    kit_wait_state(third, RUN_BLOCKED);
    cancel(second);
    cr_expect_eq(kit_wait(second), RESULT_CANCELED);
    cr_expect_eq(kit_run(second).started_us, 0);
    kit_open_gate();
    cr_expect_eq(kit_wait(first), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(third), RESULT_SUCCESS, "the line goes on behind it");
}

Test(runner, runs_that_may_not_wait_are_refused)
{
    int64_t job = kit_job(
        job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, ",'queue':{'enabled':false}"));
    int64_t none = kit_job(
        job_of(kit_task("a", "{'do':'succeed'}", ""), NULL, NULL, ",'max_concurrent_runs':0"));
    int64_t first = kit_start(job);
    kit_wait_gate(1);
    int64_t second = kit_start(job);
    cr_expect_eq(kit_wait(second), RESULT_MAXIMUM_CONCURRENT_RUNS_REACHED);
    cr_expect_eq(kit_wait(kit_start(none)), RESULT_MAXIMUM_CONCURRENT_RUNS_REACHED);
    kit_open_gate();
    cr_expect_eq(kit_wait(first), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(kit_start(job)), RESULT_SUCCESS, "there is a place again");
}

/* ---- repair ---- */

Test(runner, a_repair_runs_what_failed_and_what_is_behind_it)
{
    int64_t job = kit_job(job_of(kit_task("a", "{'do':'succeed'}", ""),
                                 kit_task("b", "{'do':'fail_until','attempt':2}", AFTER("a")),
                                 kit_task("c", "{'do':'succeed'}", AFTER("b")), ""));
    int64_t run = kit_start(job);
    struct err err = {0};
    cr_expect_eq(kit_wait(run), RESULT_FAILED);
    cr_expect_str_eq(kit_results(run), "SUCCESS FAILED UPSTREAM_FAILED");
    cr_assert_eq(run_request_repair(kit.catalog, run, NULL, &err), ERR_OK, "%s", err.msg);
    runner_wake(kit.runner, run);
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_str_eq(kit_results(run), "SUCCESS SUCCESS SUCCESS");
    cr_expect_eq(kit_attempts_begun(), 4);
    struct run_attempt *attempts = NULL;
    cr_expect_eq(kit_attempts(run, 1, -1, &attempts), 2);
    cr_expect_eq(kit_run(run).repairs, 1);
}

/* ---- webhooks ---- */

static size_t deliveries_of(int64_t run, const char *event)
{
    static char memory[sizeof(struct arena)];
    struct arena *arena = (struct arena *)(void *)memory;
    struct delivery *list = NULL;
    size_t count = 0;
    size_t found = 0;
    bool more = false;
    struct id next;
    struct err err = {0};
    const struct delivery_filter filter = {.run_id = run};
    arena_init(arena, 1 << 20);
    cr_assert_eq(
        delivery_list(kit.catalog, &filter, NULL, 100, arena, &list, &count, &more, &next, &err),
        ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count; i++) {
        found += strcmp(list[i].event, event) == 0;
    }
    arena_deinit(arena);
    return found;
}

Test(runner, webhooks_are_made_with_the_state_they_tell_of)
{
    static const char hooks[] =
        ",'webhook_notifications':{'on_start':[{'url':'https://h/1'},{'url':'https://h/2'}],"
        "'on_success':[{'url':'https://h/3'}],'on_failure':[{'url':'https://h/4'}],"
        "'on_duration_warning_threshold_exceeded':[{'url':'https://h/5'}]},"
        "'health':{'rules':[{'metric':'RUN_DURATION_SECONDS','value':1}]}";
    int64_t good =
        kit_start(kit_job(job_of(kit_task("a", "{'do':'succeed'}", ""), NULL, NULL, hooks)));
    int64_t bad = kit_start(
        kit_job(job_of(kit_task("a", "{'do':'fail','code':'invalid'}", ""), NULL, NULL, hooks)));
    int64_t slow =
        kit_start(kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, hooks)));
    cr_expect_eq(kit_wait(good), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(bad), RESULT_FAILED);
    cr_expect_eq(deliveries_of(good, "run.started"), 2);
    cr_expect_eq(deliveries_of(good, "run.succeeded"), 1);
    cr_expect_eq(deliveries_of(good, "run.failed"), 0);
    cr_expect_eq(deliveries_of(bad, "run.failed"), 1);
    while (!kit_run(slow).warned) {
        runner_settle(kit.runner);
    }
    kit_open_gate();
    cr_expect_eq(kit_wait(slow), RESULT_SUCCESS);
    cr_expect_eq(deliveries_of(slow, "run.duration_exceeded"), 1, "once");
}

/* ---- running attempts, restarts ---- */

Test(runner, running_attempts_show_how_far_they_are)
{
    int64_t run = kit_start(kit_job(
        job_of(kit_task("a", "{'do':'gate'}", ""), kit_task("b", "{'do':'gate'}", ""), NULL, "")));
    struct task_progress progress = {0};
    kit_wait_gate(2);
    cr_expect(runner_progress(kit.runner, run, 0, -1, &progress));
    cr_expect(runner_progress(kit.runner, run, 1, -1, &progress));
    cr_expect_eq(progress.work_done, 1);
    cr_expect_eq(progress.work_total, 2);
    cr_expect_not(runner_progress(kit.runner, run, 1, 0, &progress));
    cr_expect_not(runner_progress(kit.runner, run + 1, 0, -1, &progress));
    kit_open_gate();
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    cr_expect_not(runner_progress(kit.runner, run, 0, -1, &progress));
}

Test(runner, an_interrupted_attempt_runs_again_without_costing_a_retry)
{
    int64_t run =
        kit_start(kit_job(job_of(kit_task("a", "{'do':'gate'}", ""),
                                 kit_task("b", "{'do':'succeed'}", AFTER("a")), NULL, "")));
    kit_wait_gate(1);
    kit_restart();
    kit_wait_gate(1);
    kit_restart();
    kit_wait_gate(1);
    kit_open_gate();
    cr_expect_eq(kit_wait(run), RESULT_SUCCESS);
    struct run_task node = kit_node(run, 0, -1);
    cr_expect_eq(node.node.attempts, 3);
    cr_expect_eq(node.node.interruptions, 2);
    cr_expect_eq(node.node.failures, 0);
    struct run_attempt *attempts = NULL;
    cr_assert_eq(kit_attempts(run, 0, -1, &attempts), 3);
    cr_expect_eq(attempts[0].state, ATTEMPT_INTERRUPTED);
    cr_expect_eq(attempts[2].state, ATTEMPT_ENDED);
}

Test(runner, loops_children_and_lines_go_on_after_a_restart)
{
    int64_t child = kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL,
                                   ",'parameters':[{'name':'p'}],'max_concurrent_runs':9"));
    int64_t parent = kit_start(job_running(child, ""));
    int64_t loop = kit_start(kit_job(
        job_of(kit_task("a", "{'do':'succeed','values':{'list':[1,2,3]}}", ""),
               LOOP("'{{tasks.a.values.list}}'", "2", "{'do':'gate','values':{'n':'{{input}}'}}"),
               NULL, "")));
    kit_wait_gate(3);
    int64_t child_run = kit_wait_child(parent, 0);
    int64_t waiting = kit_start(kit_run(loop).job_id);
    kit_wait_state(waiting, RUN_BLOCKED);
    kit_restart();
    kit_wait_gate(3);
    cr_expect_eq(kit_run(waiting).state, RUN_BLOCKED);
    cr_expect_eq(kit_wait_child(parent, 0), child_run, "the same child");
    kit_open_gate();
    cr_expect_eq(kit_wait(parent), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(loop), RESULT_SUCCESS);
    cr_expect_eq(kit_wait(waiting), RESULT_SUCCESS);
    cr_expect(strstr(kit_node(loop, 1, 2).values, "\"n\":3") != NULL);
}

Test(runner, a_cancellation_asked_for_while_nobody_listened_is_obeyed)
{
    int64_t run = kit_start(kit_job(job_of(kit_task("a", "{'do':'gate'}", ""), NULL, NULL, "")));
    struct err err = {0};
    kit_wait_gate(1);
    cr_assert_eq(run_request_cancel(kit.catalog, run, &kit.principal, &err), ERR_OK);
    kit_restart();
    cr_expect_eq(kit_wait(run), RESULT_CANCELED);
    cr_expect_eq(kit_attempts_begun(), 1);
}
