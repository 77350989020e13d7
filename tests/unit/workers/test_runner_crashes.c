/*
 * Runs under kills: a child process runs a job with a loop, a branch and a sub-job; whenever
 * it dies, the next one goes on, and what comes of it is what comes of a run that nobody
 * killed: results, effects, child runs and webhooks, each once.
 */
#include "workers/runner.h"

#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/catalog/deliveries.h"
#include "tests/unit/workers/runner_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(runner_crashes, .init = kit_set_up_folder, .fini = kit_tear_down, .timeout = 300);

enum { EFFECTS = 7, LIVES_MAX = 8, LIFE_SECONDS_MAX = 100 };

static int64_t make_job(void)
{
    char text[4096];
    int64_t child = kit_job("'tasks':[{'task_key':'c','type':'http_request','http_request':"
                            "{'url':'https://x/','body':{'do':'effect'}}}]");
    (void)snprintf(text, sizeof text,
                   "'tasks':[%s,{'task_key':'loop','type':'for_each','for_each':{"
                   "'inputs':'{{tasks.a.values.list}}','concurrency':2,'task':{'task_key':'one',"
                   "'type':'http_request','http_request':{'url':'https://x/',"
                   "'body':{'do':'effect','values':{'n':'{{input}}'}}}}},"
                   "'depends_on':[{'task_key':'a'}]},"
                   "{'task_key':'if','type':'condition','condition':{'op':'EQUAL_TO',"
                   "'left':'{{tasks.loop.result}}','right':'SUCCESS'},"
                   "'depends_on':[{'task_key':'loop'}]},"
                   "{'task_key':'sub','type':'run_job','run_job':{'job_id':%" PRId64 "},"
                   "'depends_on':[{'task_key':'if','outcome':'true'}]},"
                   "%s],'webhook_notifications':{'on_start':[{'url':'https://h/'}],"
                   "'on_success':[{'url':'https://h/'}],'on_failure':[{'url':'https://h/'}]}",
                   kit_task("a", "{'do':'effect','values':{'list':[1,2,3,4]}}", ""), child,
                   kit_task("z", "{'do':'effect'}", ",'depends_on':[{'task_key':'sub'}]"));
    return kit_job(text);
}

static void note_fatal_signal(int number)
{
    catalog_mark_crash();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* A process with a runner: goes on with the run until it ends, or dies. */
static pid_t begin_life(int64_t run_id, const char *faults)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child > 0) {
        return child;
    }
#ifdef SLUICE_FAULTS
    fault_arm(faults);
#else
    (void)faults;
#endif
    /* as the server does it */
    const struct sigaction action = {.sa_handler = note_fatal_signal};
    (void)sigaction(SIGABRT, &action, NULL); /* cannot fail */
    (void)alarm(LIFE_SECONDS_MAX); /* an assertion that fails in a child of the test hangs it */
    kit_open();
    (void)kit_wait(run_id);
    kit_close();
    _exit(0);
}

/* Did it come to its end by itself? */
static bool wait_for(pid_t child)
{
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    bool killed =
        WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGABRT);
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    cr_assert(killed || well, "status %d", status);
    return well;
}

static size_t count_deliveries(int64_t run_id)
{
    struct arena arena;
    struct delivery *list = NULL;
    size_t count = 0;
    bool more = false;
    struct id next;
    struct err err = {0};
    const struct delivery_filter filter = {.run_id = run_id};
    arena_init(&arena, 1 << 20);
    cr_assert_eq(
        delivery_list(kit.catalog, &filter, NULL, 100, &arena, &list, &count, &more, &next, &err),
        ERR_OK, "%s", err.msg);
    arena_deinit(&arena);
    return count;
}

static size_t count_children(int64_t run_id)
{
    struct arena arena;
    struct job_run *list = NULL;
    size_t count = 0;
    int64_t next = 0;
    struct err err = {0};
    const struct run_filter filter = {.parent_run_id = run_id};
    arena_init(&arena, 1 << 20);
    cr_assert_eq(run_list(kit.catalog, &filter, 0, 100, &arena, &list, &count, &next, &err), ERR_OK,
                 "%s", err.msg);
    arena_deinit(&arena);
    return count;
}

/* What every run comes to, however often it was killed. */
static void check_end(int64_t run_id, size_t runs, const char *how)
{
    kit_open();
    cr_expect_eq(kit_run(run_id).result, RESULT_SUCCESS, "%s: %s", how, kit_results(run_id));
    cr_expect_str_eq(kit_results(run_id), "SUCCESS SUCCESS SUCCESS SUCCESS SUCCESS", "%s", how);
    cr_expect_eq(kit_effects(), runs * EFFECTS, "%s: %zu effects", how, kit_effects());
    cr_expect_eq(count_children(run_id), 1, "%s", how);
    cr_expect_eq(count_deliveries(run_id), 2, "%s: started and succeeded", how);
    for (int64_t i = 0; i < 4; i++) {
        cr_expect_eq(kit_node(run_id, 1, i).node.failures, 0, "%s", how);
    }
    kit_close();
}

static int64_t make_run(void)
{
    kit_open();
    int64_t run_id = kit_make_run(make_job(), NULL, NULL);
    kit_close();
    return run_id;
}

#ifdef SLUICE_FAULTS

/*
 * The process dies between storing that a job is to be run and hearing of its run, which
 * comes to its end: the next process finds it ended, and nobody tells of it again.
 */
Test(runner_crashes, a_child_that_ended_before_it_was_known_is_noticed)
{
    char text[512];
    char token[64];
    struct err err = {0};
    kit_open();
    int64_t child_job = kit_job("'tasks':[{'task_key':'c','type':'http_request','http_request':"
                                "{'url':'https://x/','body':{'do':'effect'}}}]");
    (void)snprintf(text, sizeof text,
                   "'tasks':[{'task_key':'sub','type':'run_job','run_job':{'job_id':%" PRId64 "}}]",
                   child_job);
    int64_t run_id = kit_make_run(kit_job(text), NULL, NULL);
    (void)snprintf(token, sizeof token, "run_job/%" PRId64 "/0/-1/1", run_id);
    const struct job_run parent = kit_run(run_id);
    const struct run_new new = {.job_id = child_job,
                                .principal = parent.principal,
                                .token = token,
                                .trigger = RUN_TRIGGER_RUN_JOB,
                                .trigger_time_us = parent.trigger_time_us,
                                .parameters = "{}",
                                .parent_run_id = run_id,
                                .parent_task = "sub"};
    int64_t child = 0;
    bool made = false;
    cr_assert_eq(run_create(kit.catalog, &new, &child, &made, &err), ERR_OK, "%s", err.msg);
    runner_wake(kit.runner, child);
    cr_assert_eq(kit_wait(child), RESULT_SUCCESS);
    kit_close();
    cr_assert_not(wait_for(begin_life(run_id, "run.recorded=crash@1")));
    cr_assert(wait_for(begin_life(run_id, "")));
    kit_open();
    cr_expect_eq(kit_run(run_id).result, RESULT_SUCCESS, "%s", kit_results(run_id));
    cr_expect_eq(count_children(run_id), 1);
    cr_expect_eq(kit_effects(), 1);
    kit_close();
}

Test(runner_crashes, a_death_at_any_step_changes_nothing)
{
    static const char *const points[] = {"run.attempt-begun", "run.work-done", "run.recorded",
                                         "catalog.commit", "catalog.committed"};
    size_t runs = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        bool alive = false; /* until the point is passed less often than it is told to die at */
        int nth = 1;
        for (; !alive; nth++) {
            char faults[64];
            (void)snprintf(faults, sizeof faults, "%s=crash@%d", points[i], nth);
            int64_t run_id = make_run();
            alive = wait_for(begin_life(run_id, faults));
            cr_assert(wait_for(begin_life(run_id, "")));
            check_end(run_id, ++runs, faults);
            cr_assert(nth < 60, "%s", faults);
        }
        cr_expect(nth > 5, "%s was passed %d times only", points[i], nth - 1);
    }
}

#endif

Test(runner_crashes, kills_at_random_moments_change_nothing)
{
    uint64_t random = UINT64_C(88172645463325252);
    for (size_t runs = 1; runs <= 15; runs++) {
        int64_t run_id = make_run();
        bool ended = false;
        int kills = 0;
        for (int life = 0; life < LIVES_MAX && !ended; life++) {
            pid_t child = begin_life(run_id, "");
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (void)usleep((useconds_t)(random % 60000));
            (void)kill(child, SIGKILL); /* it may have ended */
            ended = wait_for(child);
            kills += !ended;
        }
        cr_assert(ended || wait_for(begin_life(run_id, "")));
        char how[32];
        (void)snprintf(how, sizeof how, "%d kills", kills);
        check_end(run_id, runs, how);
    }
}

Test(runner_crashes, a_task_that_kills_the_process_is_given_up_and_others_go_on)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "'tasks':[%s,%s]",
                   kit_task("poison", "{'do':'abort'}", ",'max_retries':-1"),
                   kit_task("after", "{'do':'succeed'}",
                            ",'run_if':'ALL_DONE','depends_on':[{'task_key':'poison'}]"));
    kit_open();
    int64_t run_id = kit_make_run(kit_job(text), NULL, NULL);
    kit_close();
    cr_expect_not(wait_for(begin_life(run_id, "")));
    cr_expect_not(wait_for(begin_life(run_id, "")));
    cr_expect(wait_for(begin_life(run_id, "")), "the third life is left alone");
    kit_open();
    cr_expect_str_eq(kit_results(run_id), "FAILED SUCCESS");
    cr_expect_eq(kit_node(run_id, 0, -1).node.crashes, GRAPH_CRASHES_MAX);
    cr_expect_str_eq(kit_node(run_id, 0, -1).error_code, "interrupted");
    kit_close();
}
