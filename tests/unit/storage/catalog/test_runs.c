#include "storage/catalog/runs.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/catalog.h"
#include "tests/unit/storage/catalog/fixture.h"
#include "tests/unit/storage/catalog/job_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(runs, .init = fixture_set_up, .fini = fixture_tear_down);

static int64_t incarnation(void)
{
    return catalog_incarnation(fixture.catalog);
}

static size_t list_runs(const struct run_filter *filter, int64_t before, size_t limit,
                        int64_t ids_out[16], int64_t *next_out)
{
    struct err err = {0};
    struct job_run *runs = NULL;
    size_t count = 0;
    cr_assert_eq(run_list(fixture.catalog, filter, before, limit, &fixture.arena, &runs, &count,
                          next_out, &err),
                 ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count && i < 16; i++) {
        ids_out[i] = runs[i].run_id;
    }
    return count;
}

static struct catalog_report verify(void)
{
    struct err err = {0};
    struct catalog_report report = {0};
    fixture_close();
    cr_assert_eq(catalog_verify(fixture.folder, NULL, NULL, NULL, &report, &err), ERR_OK, "%s",
                 err.msg);
    fixture_open();
    return report;
}

/* ---- making ---- */

Test(runs, keep_what_they_were_made_with_over_a_restart)
{
    struct err err = {0};
    bool made = false;
    int64_t run_id = 0;
    int64_t job_id = make_job("nightly");
    const struct run_new new = {
        .job_id = job_id,
        .job_version = 1,
        .principal = fixture.principal,
        .token = "t-1",
        .trigger = RUN_TRIGGER_BACKFILL,
        .trigger_time_us = 42,
        .parameters = "{\"day\":\"2026-01-01\"}",
        .only = "[\"load\"]",
        .parent_run_id = 7,
        .parent_task = "call",
    };
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    cr_expect(made);
    fixture_reopen();
    struct job_run run = read_run(run_id);
    cr_expect_eq(run.job_id, job_id);
    cr_expect_eq(run.version, 1);
    cr_expect_eq(run.number, 1);
    cr_expect_str_eq(run.name, "nightly");
    cr_expect_str_eq(run.run_as.text, fixture.principal.text);
    cr_expect_str_eq(run.author.text, fixture.principal.text);
    cr_expect_str_eq(run.principal.text, fixture.principal.text);
    cr_expect_str_eq(run.token, "t-1");
    cr_expect_eq((int)run.trigger, RUN_TRIGGER_BACKFILL);
    cr_expect_eq(run.trigger_time_us, 42);
    cr_expect_str_eq(run.parameters, "{\"day\":\"2026-01-01\"}");
    cr_expect_str_eq(run.only, "[\"load\"]");
    cr_expect_eq(run.parent_run_id, 7);
    cr_expect_str_eq(run.parent_task, "call");
    cr_expect_eq((int)run.state, RUN_QUEUED);
    cr_expect_eq((int)run.result, RESULT_NONE);
    cr_expect_null(run.error);
    cr_expect_eq(read_job(job_id).runs_count, 1);
    cr_expect_eq(read_run(make_run(job_id, NULL)).number, 2);
    cr_expect_str_eq(read_run(make_run(job_id, NULL)).parameters, "{}");
}

Test(runs, one_off_brings_its_definition)
{
    struct err err = {0};
    const char *definition = NULL;
    int64_t run_id = make_run(0, NULL);
    struct job_run run = read_run(run_id);
    cr_expect_eq(run.job_id, 0);
    cr_expect_str_eq(run.name, "one-off");
    cr_assert_eq(
        job_definition(fixture.catalog, run.job_id, run.version, &fixture.arena, &definition, &err),
        ERR_OK, "%s", err.msg);
    cr_expect_str_eq(definition, "{\"once\":true}");
}

Test(runs, keep_the_version_they_began_with)
{
    struct err err = {0};
    int32_t version = 0;
    const char *definition = NULL;
    int64_t job_id = make_job("before");
    int64_t run_id = make_run(job_id, NULL);
    const struct job_content content = {.name = "after",
                                        .definition = "{\"v\":2}",
                                        .author = fixture.principal,
                                        .run_as = fixture.principal};
    cr_assert_eq(job_change(fixture.catalog, job_id, 1, &content, &version, &err), ERR_OK);
    struct job_run run = read_run(run_id);
    cr_expect_str_eq(run.name, "before");
    cr_assert_eq(
        job_definition(fixture.catalog, job_id, run.version, &fixture.arena, &definition, &err),
        ERR_OK);
    cr_expect_str_eq(definition, "{\"v\":1}");
    cr_expect_str_eq(read_run(make_run(job_id, NULL)).name, "after");
}

Test(runs, creation_reports_each_error)
{
    struct err err = {0};
    bool made = false;
    int64_t run_id = 0;
    int64_t job_id = make_job("a");
    static char token[RUN_TOKEN_BYTES_MAX + 2];
    static char parameters[RUN_PARAMETERS_BYTES_MAX + 2];
    memset(token, 't', RUN_TOKEN_BYTES_MAX + 1);
    memset(parameters, 'p', RUN_PARAMETERS_BYTES_MAX + 1);
    struct run_new new = {.job_id = 99, .trigger = RUN_TRIGGER_MANUAL};
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_NOT_FOUND);
    new.job_id = job_id;
    new.job_version = 2;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_PRECONDITION);
    new.job_version = 0;
    new.token = token;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_TOO_LARGE);
    token[RUN_TOKEN_BYTES_MAX] = '\0';
    new.parameters = parameters;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_TOO_LARGE);
    new.parameters = NULL;
    new.only = parameters;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_TOO_LARGE);
    new.only = NULL;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(read_job(job_id).runs_count, 1, "a refused run was counted");
    struct job_run run;
    cr_expect_eq(run_get(fixture.catalog, 99, &fixture.arena, &run, &err), ERR_NOT_FOUND);
}

Test(runs, a_token_makes_one_run_and_no_other)
{
    struct err err = {0};
    bool made = true;
    int64_t run_id = 0;
    int64_t job_id = make_job("a");
    int64_t other_job = make_job("b");
    int64_t first = make_run(job_id, "t");
    fixture_reopen();
    struct run_new new = {.job_id = job_id, .token = "t", .trigger = RUN_TRIGGER_MANUAL};
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK);
    cr_expect_not(made);
    cr_expect_eq(run_id, first);
    new.parameters = "{}";
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK,
                 "no parameters and none given are the same: %s", err.msg);
    cr_expect_not(made);
    new.parameters = "{\"a\":1}";
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_CONFLICT);
    new.parameters = NULL;
    new.only = "[]";
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_CONFLICT);
    cr_expect_neq(make_run(other_job, "t"), first, "a token reached another job");
    end_run(first, RESULT_FAILED);
    cr_expect_eq(make_run(job_id, "t"), first, "a run that ended was made again");

    int64_t once = make_run(0, "t");
    cr_expect_eq(make_run(0, "t"), once);
    const struct run_new another = {
        .name = "one-off", .definition = "{}", .token = "t", .trigger = RUN_TRIGGER_ONE_OFF};
    cr_expect_eq(run_create(fixture.catalog, &another, &run_id, &made, &err), ERR_CONFLICT);
}

enum { RACERS = 12 };

static void *create_with_token(void *arg)
{
    int64_t *run_id = arg;
    *run_id = make_run(1, "race");
    return NULL;
}

Test(runs, racers_with_one_token_get_one_run)
{
    pthread_t threads[RACERS];
    int64_t run_ids[RACERS] = {0};
    int64_t job_id = make_job("a");
    for (size_t i = 0; i < RACERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, create_with_token, &run_ids[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        cr_expect_eq(run_ids[i], run_ids[0]);
    }
    cr_expect_eq(read_job(job_id).runs_count, 1);
}

Test(runs, a_fire_moves_schedule_and_trigger_with_the_run_or_not_at_all)
{
    struct err err = {0};
    bool made = false;
    int64_t run_id = 0;
    int64_t job_id = make_job("a");
    const struct job_schedule schedule = {.anchor_us = 1, .decided_us = 60, .next_fire_us = 120};
    const struct job_trigger_state trigger = {.key = "k", .state = "seen 5"};
    const struct run_fire fire = {.schedule = &schedule, .trigger = &trigger};
    struct run_new new = {.job_id = job_id,
                          .job_version = 2,
                          .token = "fire-60",
                          .trigger = RUN_TRIGGER_SCHEDULE,
                          .fire = &fire};
    struct job_trigger_state *states = NULL;
    size_t count = 0;
    cr_expect_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_PRECONDITION);
    cr_expect_eq(read_job(job_id).schedule.next_fire_us, 0, "a refused fire moved the schedule");
    new.job_version = 1;
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    fixture_reopen();
    cr_expect_eq(read_job(job_id).schedule.next_fire_us, 120);
    cr_expect_eq(read_job(job_id).schedule.decided_us, 60);
    cr_expect_str_eq(read_run(run_id).principal.text, "");
    cr_assert_eq(job_triggers(fixture.catalog, job_id, &fixture.arena, &states, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(states[0].state, "seen 5");
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK);
    cr_expect_not(made, "one fire time made two runs");
}

Test(runs, many_are_made_together_or_not_at_all)
{
    struct err err = {0};
    int64_t ids[3] = {0};
    bool mades[3] = {false};
    int64_t job_id = make_job("a");
    int64_t first = make_run(job_id, "t-0");
    struct run_new news[3] = {
        {.job_id = job_id, .token = "t-0", .trigger = RUN_TRIGGER_BACKFILL},
        {.job_id = job_id, .token = "t-1", .trigger = RUN_TRIGGER_BACKFILL},
        {.job_id = 99, .token = "t-2", .trigger = RUN_TRIGGER_BACKFILL},
    };
    cr_expect_eq(run_create_all(fixture.catalog, news, 3, ids, mades, &err), ERR_NOT_FOUND);
    cr_expect_eq(read_job(job_id).runs_count, 1, "some were made");
    news[2].job_id = job_id;
    cr_assert_eq(run_create_all(fixture.catalog, news, 3, ids, mades, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(ids[0], first);
    cr_expect_not(mades[0]);
    cr_expect(mades[1] && mades[2]);
    cr_expect_eq(read_run(ids[2]).number, 3);
}

/* So many runs of other jobs that have not ended. */
static void fill_up(int count)
{
    char path[256];
    char rows[512];
    sqlite3 *database = NULL;
    fixture_close();
    (void)snprintf(path, sizeof path, "%s/jobs.db", fixture.folder);
    (void)snprintf(rows, sizeof rows,
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   " INSERT INTO runs(run_id, job_id, version, number, state, trigger,"
                   " trigger_time, created_at)"
                   " SELECT 1000000 + i, 1000 + i %% 100, 1, i, 1, 1, 0, 0 FROM n",
                   count);
    cr_assert_eq(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(database, rows, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(database));
    sqlite3_close(database);
    fixture_open();
}

Test(runs, those_made_together_count_towards_the_limit)
{
    struct err err = {0};
    int64_t ids[3] = {0};
    bool mades[3] = {false};
    int64_t job_id = make_job("a");
    const struct run_new news[3] = {
        {.job_id = job_id, .trigger = RUN_TRIGGER_SCHEDULE},
        {.job_id = job_id, .trigger = RUN_TRIGGER_SCHEDULE},
        {.job_id = job_id, .trigger = RUN_TRIGGER_SCHEDULE},
    };
    fill_up(RUN_ACTIVE_MAX - 2);
    cr_expect_eq(run_create_all(fixture.catalog, news, 3, ids, mades, &err), ERR_BUSY);
    cr_expect_eq(read_job(job_id).runs_count, 0, "some were made");
    cr_assert_eq(run_create_all(fixture.catalog, news, 2, ids, mades, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(run_create_all(fixture.catalog, news, 1, ids, mades, &err), ERR_BUSY);
    cr_expect_eq(read_job(job_id).runs_count, 2);
}

/* ---- what the runner stores ---- */

Test(runs, a_change_is_stored_as_a_whole)
{
    struct err err = {0};
    size_t count = 0;
    int64_t run_id = make_run(make_job("a"), NULL);
    begin_task(run_id, 1);
    cr_expect_eq((int)read_run(run_id).state, RUN_RUNNING);
    cr_expect_neq(read_run(run_id).started_us, 0);
    cr_expect_eq((int)read_task(run_id).attempt_state, ATTEMPT_RUNNING);
    cr_assert_eq(end_task(run_id, 1, incarnation(), RESULT_SUCCESS, &err), ERR_OK, "%s", err.msg);
    end_run(run_id, RESULT_SUCCESS);
    fixture_reopen();
    struct job_run run = read_run(run_id);
    cr_expect_eq((int)run.state, RUN_TERMINATED);
    cr_expect_eq((int)run.result, RESULT_SUCCESS);
    cr_expect_neq(run.ended_us, 0);
    cr_expect_eq(run.finish, 1);
    struct run_task task = read_task(run_id);
    cr_expect_eq((int)task.node.state, TASK_TERMINATED);
    cr_expect_eq((int)task.node.result, RESULT_SUCCESS);
    cr_expect_eq(task.node.attempts, 1);
    cr_expect_eq(task.node.iteration, -1);
    cr_expect_str_eq(task.values, "{\"rows\":7}");
    cr_expect_eq((int)task.attempt_state, ATTEMPT_ENDED);
    struct run_attempt attempt = read_attempt(run_id, &count);
    cr_expect_eq(count, 1);
    cr_expect_eq(attempt.id.number, 1);
    cr_expect_eq((int)attempt.result, RESULT_SUCCESS);
    cr_expect_eq(attempt.rows_in, 9);
    cr_expect_eq(attempt.rows_out, 7);
    cr_expect_eq(attempt.rows_rejected, 2);
    cr_expect_eq(attempt.bytes_in, 100);
    cr_expect_eq(attempt.bytes_out, 50);
    cr_expect_null(attempt.versions_read);
    cr_expect_str_eq(attempt.versions_written, "{\"claims\":3}");
    cr_expect_null(attempt.error_code);
}

Test(runs, keep_values_until_new_ones_or_a_renewal_come)
{
    struct err err = {0};
    const char *stored = NULL;
    int64_t run_id = make_run(make_job("a"), NULL);
    begin_task(run_id, 1);
    cr_assert_eq(end_task(run_id, 1, incarnation(), RESULT_FAILED, &err), ERR_OK);
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "p", "1", &fixture.arena, &stored, &err),
                 ERR_OK);
    begin_task(run_id, 2);
    cr_expect_str_eq(read_task(run_id).values, "{\"rows\":7}", "a change without values lost them");
    const struct graph_node node = {
        .iteration = -1, .state = TASK_BLOCKED, .attempts = 2, .inputs_count = -1, .renewed = true};
    const struct run_task_change task = {.node = &node};
    const struct run_change change = {.run_id = run_id, .tasks = &task, .tasks_count = 1};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK);
    cr_expect_str_eq(read_task(run_id).values, "{}");
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "p", NULL, &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_expect_null(stored, "a renewed task kept its pin");
}

Test(runs, refuse_results_of_attempts_that_do_not_run)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    cr_expect_eq(end_task(run_id, 1, incarnation(), RESULT_SUCCESS, &err), ERR_PRECONDITION,
                 "an attempt that never began");
    begin_task(run_id, 1);
    cr_expect_eq(end_task(run_id, 1, incarnation() - 1, RESULT_SUCCESS, &err), ERR_PRECONDITION,
                 "an earlier incarnation");
    cr_expect_eq(end_task(run_id, 1, incarnation() + 1, RESULT_SUCCESS, &err), ERR_PRECONDITION,
                 "a later incarnation");
    cr_expect_eq((int)read_task(run_id).node.state, TASK_RUNNING, "half a change was stored");
    const struct run_attempt_begin again = {.id = {.iteration = -1, .number = 1}};
    const struct run_change change = {.run_id = run_id, .begun = &again, .begun_count = 1};
    cr_expect_eq(run_apply(fixture.catalog, &change, &err), ERR_PRECONDITION, "begun twice");
    cr_assert_eq(end_task(run_id, 1, incarnation(), RESULT_SUCCESS, &err), ERR_OK);
    cr_expect_eq(end_task(run_id, 1, incarnation(), RESULT_FAILED, &err), ERR_PRECONDITION,
                 "ended twice");
    end_run(run_id, RESULT_SUCCESS);
    const struct run_change late = {.run_id = run_id, .state = RUN_RUNNING};
    cr_expect_eq(run_apply(fixture.catalog, &late, &err), ERR_PRECONDITION, "an ended run moved");
    const struct run_change nobody = {.run_id = 99, .state = RUN_RUNNING};
    cr_expect_eq(run_apply(fixture.catalog, &nobody, &err), ERR_NOT_FOUND);
}

Test(runs, refuse_texts_over_their_limits)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    static char text[RUN_VALUES_BYTES_MAX + 2];
    memset(text, 'v', RUN_VALUES_BYTES_MAX + 1);
    const struct graph_node node = {.iteration = -1, .state = TASK_QUEUED, .inputs_count = -1};
    const struct run_task_change task = {.node = &node, .values = text};
    const struct run_change change = {.run_id = run_id, .tasks = &task, .tasks_count = 1};
    cr_expect_eq(run_apply(fixture.catalog, &change, &err), ERR_TOO_LARGE);
    text[RUN_VALUES_BYTES_MAX] = '\0';
    cr_expect_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
    const struct run_task_change failed = {.node = &node, .error_code = "io_error", .error = text};
    const struct run_change with_error = {.run_id = run_id, .tasks = &failed, .tasks_count = 1};
    cr_assert_eq(run_apply(fixture.catalog, &with_error, &err), ERR_OK);
    cr_expect_eq(strlen(read_task(run_id).error), RUN_ERROR_BYTES_MAX, "an error was not cut");
}

Test(runs, keep_the_newest_attempts_of_endless_retries)
{
    struct err err = {0};
    size_t count = 0;
    int64_t run_id = make_run(make_job("a"), NULL);
    for (int32_t number = 1; number <= RUN_ATTEMPTS_KEPT + 5; number++) {
        begin_task(run_id, number);
        cr_assert_eq(end_task(run_id, number, incarnation(), RESULT_FAILED, &err), ERR_OK);
    }
    cr_expect_eq(read_attempt(run_id, &count).id.number, RUN_ATTEMPTS_KEPT + 5);
    cr_expect_eq(count, RUN_ATTEMPTS_KEPT);
    cr_expect_eq(read_task(run_id).node.attempts, RUN_ATTEMPTS_KEPT + 5);
}

/* ---- incarnations ---- */

Test(runs, every_start_raises_the_incarnation_and_closes_attempts)
{
    struct err err = {0};
    size_t count = 0;
    int64_t job_id = make_job("a");
    int64_t running = make_run(job_id, NULL);
    int64_t done = make_run(job_id, NULL);
    int64_t before = incarnation();
    begin_task(running, 1);
    begin_task(done, 1);
    cr_assert_eq(end_task(done, 1, before, RESULT_SUCCESS, &err), ERR_OK);
    fixture_reopen();
    cr_expect_eq(incarnation(), before + 1);
    cr_expect_eq((int)read_attempt(running, &count).state, ATTEMPT_INTERRUPTED);
    cr_expect_neq(read_attempt(running, &count).ended_us, 0);
    cr_expect_eq((int)read_task(running).node.state, TASK_RUNNING, "the node is the runner's");
    cr_expect_eq((int)read_task(running).attempt_state, ATTEMPT_INTERRUPTED);
    cr_expect_eq((int)read_attempt(done, &count).state, ATTEMPT_ENDED);
    cr_expect_eq(end_task(running, 1, before, RESULT_SUCCESS, &err), ERR_PRECONDITION,
                 "a result of an earlier life");
    cr_expect_eq(end_task(running, 1, before + 1, RESULT_SUCCESS, &err), ERR_PRECONDITION,
                 "an interrupted attempt ended");
    begin_task(running, 2);
    cr_expect_eq(read_attempt(running, &count).incarnation, before + 1);
    cr_expect_eq(end_task(running, 2, before + 1, RESULT_SUCCESS, &err), ERR_OK);
}

Test(runs, a_fatal_signal_is_charged_to_the_attempt_of_its_thread)
{
    size_t count = 0;
    int64_t job_id = make_job("a");
    int64_t guilty = make_run(job_id, NULL);
    int64_t bystander = make_run(job_id, NULL);
    const struct run_attempt_id attempt = {.iteration = -1, .number = 1};
    begin_task(guilty, 1);
    begin_task(bystander, 1);
    run_bind_thread(fixture.catalog, guilty, &attempt);
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq((int)read_attempt(guilty, &count).state, ATTEMPT_CRASHED);
    cr_expect_eq((int)read_attempt(bystander, &count).state, ATTEMPT_INTERRUPTED);
    fixture_reopen();
    cr_expect_eq((int)read_task(guilty).attempt_state, ATTEMPT_CRASHED, "forgotten at a restart");

    /* A thread that works on nothing any more, another attempt, an old mark. */
    begin_task(guilty, 2);
    run_bind_thread(fixture.catalog, guilty, &attempt);
    run_unbind_thread();
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq((int)read_attempt(guilty, &count).state, ATTEMPT_INTERRUPTED);
    begin_task(guilty, 3);
    run_bind_thread(fixture.catalog, guilty, &attempt); /* number 1 */
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq((int)read_attempt(guilty, &count).state, ATTEMPT_INTERRUPTED);
}

/* ---- requests ---- */

Test(runs, cancel_is_kept_until_the_runner_obeys)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    struct id other = id_new_random();
    cr_assert_eq(run_request_cancel(fixture.catalog, run_id, &fixture.principal, &err), ERR_OK);
    fixture_reopen();
    int64_t asked_us = read_run(run_id).cancel_asked_at_us;
    cr_expect_neq(asked_us, 0);
    cr_assert_eq(run_request_cancel(fixture.catalog, run_id, &other, &err), ERR_OK);
    cr_expect_eq(read_run(run_id).cancel_asked_at_us, asked_us, "asking again changed something");
    cr_expect_str_eq(read_run(run_id).cancel_asked_by.text, fixture.principal.text);
    end_run(run_id, RESULT_CANCELED);
    cr_expect_eq(run_request_cancel(fixture.catalog, run_id, &other, &err), ERR_CONFLICT);
    cr_expect_eq(run_request_cancel(fixture.catalog, 99, &other, &err), ERR_NOT_FOUND);
}

Test(runs, repair_opens_an_ended_run_again)
{
    struct err err = {0};
    int64_t job_id = make_job("a");
    int64_t run_id = make_run(job_id, NULL);
    cr_expect_eq(run_request_repair(fixture.catalog, run_id, NULL, &err), ERR_CONFLICT);
    cr_expect_eq(run_request_repair(fixture.catalog, 99, NULL, &err), ERR_NOT_FOUND);
    begin_task(run_id, 1);
    cr_assert_eq(run_request_cancel(fixture.catalog, run_id, &fixture.principal, &err), ERR_OK);
    cr_assert_eq(end_task(run_id, 1, incarnation(), RESULT_FAILED, &err), ERR_OK);
    end_run(run_id, RESULT_FAILED);
    cr_assert_eq(run_request_repair(fixture.catalog, run_id, "[\"load\"]", &err), ERR_OK);
    fixture_reopen();
    struct job_run run = read_run(run_id);
    cr_expect_eq((int)run.state, RUN_QUEUED);
    cr_expect_eq((int)run.result, RESULT_NONE);
    cr_expect_eq(run.ended_us, 0);
    cr_expect_eq(run.finish, 0);
    cr_expect_eq(run.cancel_asked_at_us, 0, "an old cancellation would end the repair");
    cr_expect(run.repair_asked);
    cr_expect_str_eq(run.repair_tasks, "[\"load\"]");
    cr_expect_eq(run.repairs, 1);
    cr_expect_eq(run_request_repair(fixture.catalog, run_id, NULL, &err), ERR_CONFLICT);
    const struct run_change taken = {
        .run_id = run_id, .state = RUN_RUNNING, .repair_taken = true, .warned = true};
    cr_assert_eq(run_apply(fixture.catalog, &taken, &err), ERR_OK);
    cr_expect_not(read_run(run_id).repair_asked);
    cr_expect(read_run(run_id).warned);
    begin_task(run_id, 2);
    cr_assert_eq(end_task(run_id, 2, incarnation(), RESULT_SUCCESS, &err), ERR_OK);
    end_run(run_id, RESULT_SUCCESS);
    cr_expect_eq(read_run(run_id).finish, 2, "a repaired run ends anew");
    cr_expect_eq(run_request_repair(fixture.catalog, run_id, NULL, &err), ERR_CONFLICT,
                 "nothing of it failed");
    cr_expect(strstr(err.msg, "nothing to repair") != NULL, "%s", err.msg);
    int64_t failed = make_run(job_id, NULL);
    end_run(failed, RESULT_FAILED);
    cr_assert_eq(job_delete(fixture.catalog, job_id, 0, false, &fixture.principal, &err), ERR_OK);
    cr_expect_eq(run_request_repair(fixture.catalog, failed, NULL, &err), ERR_CONFLICT,
                 "a run of a deleted job");
    cr_expect(strstr(err.msg, "was deleted") != NULL, "%s", err.msg);
}

Test(runs, the_first_pin_counts)
{
    struct err err = {0};
    const char *stored = "";
    int64_t run_id = make_run(make_job("a"), NULL);
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "v", NULL, &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_expect_null(stored);
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "v", "1", &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_expect_str_eq(stored, "1");
    fixture_reopen();
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "v", "2", &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_expect_str_eq(stored, "1");
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, 0, "v", "3", &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_expect_str_eq(stored, "3", "an iteration shares its task's pin");
    cr_expect_eq(run_pin(fixture.catalog, 99, 0, -1, "v", "1", &fixture.arena, &stored, &err),
                 ERR_NOT_FOUND);
    char name[RUN_PIN_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(run_pin(fixture.catalog, run_id, 0, -1, name, "1", &fixture.arena, &stored, &err),
                 ERR_TOO_LARGE);
}

/* ---- reading ---- */

Test(runs, list_newest_first_with_filters)
{
    int64_t start_us = INT64_C(1800000000) * 1000000;
    int64_t ids[16];
    int64_t next = 0;
    int64_t first = make_job("a");
    int64_t second = make_job("b");
    const int64_t jobs[] = {first, second, first, 0, first};
    for (size_t i = 0; i < 5; i++) {
        clock_freeze_wall(start_us + (int64_t)i);
        (void)make_run(jobs[i], NULL);
    }
    begin_task(2, 1);
    end_run(1, RESULT_SUCCESS);
    end_run(3, RESULT_FAILED);
    const struct {
        const char *name;
        struct run_filter filter;
        size_t count;
        int64_t first;
    } cases[] = {
        {"all", {0}, 5, 5},
        {"of a job", {.job_id = first}, 3, 5},
        {"one-off", {.job_id = RUN_FILTER_ONE_OFF}, 1, 4},
        {"active", {.active = true}, 3, 5},
        {"active of a job", {.job_id = first, .active = true}, 1, 5},
        {"running", {.state = RUN_RUNNING}, 1, 2},
        {"ended", {.state = RUN_TERMINATED}, 2, 3},
        {"failed", {.result = RESULT_FAILED}, 1, 3},
        {"failed of another job", {.job_id = second, .result = RESULT_FAILED}, 0, 0},
        {"from", {.from_us = start_us + 3}, 2, 5},
        {"to", {.to_us = start_us + 3}, 3, 3},
        {"from to", {.from_us = start_us + 1, .to_us = start_us + 2}, 1, 2},
        {"active and ended", {.active = true, .state = RUN_TERMINATED}, 0, 0},
        {"child", {.parent_run_id = 1}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = list_runs(&cases[i].filter, 0, 10, ids, &next);
        cr_expect_eq(count, cases[i].count, "%s: %zu", cases[i].name, count);
        cr_expect_eq(next, 0, "%s", cases[i].name);
        if (count > 0) {
            cr_expect_eq(ids[0], cases[i].first, "%s: %d", cases[i].name, (int)ids[0]);
        }
    }
    cr_expect_eq(list_runs(&(struct run_filter){.job_id = first}, 0, 2, ids, &next), 2);
    cr_expect_eq(next, 3);
    cr_expect_eq(list_runs(&(struct run_filter){.job_id = first}, next, 2, ids, &next), 1);
    cr_expect_eq(ids[0], 1);
    cr_expect_eq(next, 0);
    clock_freeze_wall(-1);
}

Test(runs, unfinished_and_finished_ones_are_found_at_start)
{
    struct err err = {0};
    struct job_run *runs = NULL;
    size_t count = 0;
    int64_t active = 0;
    int64_t job_id = make_job("a");
    for (int i = 0; i < 5; i++) {
        (void)make_run(job_id, NULL);
    }
    end_run(4, RESULT_SUCCESS);
    end_run(2, RESULT_FAILED);
    fixture_reopen();
    cr_assert_eq(runs_unfinished(fixture.catalog, 0, 2, &fixture.arena, &runs, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 2);
    cr_expect_eq(runs[0].run_id, 1);
    cr_assert_eq(
        runs_unfinished(fixture.catalog, runs[1].run_id, 2, &fixture.arena, &runs, &count, &err),
        ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(runs[0].run_id, 5);
    cr_assert_eq(runs_finished(fixture.catalog, job_id, 0, 10, &fixture.arena, &runs, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 2);
    cr_expect_eq(runs[0].run_id, 4, "not in the order of their ends");
    cr_assert_eq(runs_finished(fixture.catalog, job_id, runs[0].finish, 10, &fixture.arena, &runs,
                               &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(runs[0].run_id, 2);
    cr_assert_eq(runs_active_count(fixture.catalog, job_id, &active, &err), ERR_OK);
    cr_expect_eq(active, 3);
}

/* Large parameters must not keep lists, and with them the start of the server, from an end. */
Test(runs, a_page_ends_when_half_of_the_arena_is_used)
{
    enum { PARAMETERS_BYTES = 60000, RUNS = 40, ARENA_BYTES = 1 << 20 };
    struct err err = {0};
    CLEANUP(mem_cleanup) char *parameters = mem_alloc(PARAMETERS_BYTES + 1);
    memset(parameters, ' ', PARAMETERS_BYTES);
    memcpy(parameters, "{}", 2);
    parameters[PARAMETERS_BYTES] = '\0';
    struct run_new new = {.job_id = make_job("a"),
                          .principal = fixture.principal,
                          .trigger = RUN_TRIGGER_MANUAL,
                          .trigger_time_us = clock_wall_us(),
                          .parameters = parameters};
    for (int i = 0; i < RUNS; i++) {
        int64_t run_id = 0;
        bool made = false;
        cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK);
    }
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    int64_t seen = 0;
    for (size_t count = 1; count > 0;) {
        struct job_run *runs = NULL;
        arena_reset(&arena);
        cr_assert_eq(runs_unfinished(fixture.catalog, seen, 100, &arena, &runs, &count, &err),
                     ERR_OK, "%s", err.msg);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(runs[i].run_id, ++seen);
        }
    }
    cr_expect_eq(seen, RUNS);
    int64_t before = 0;
    do {
        struct job_run *runs = NULL;
        size_t count = 0;
        arena_reset(&arena);
        cr_assert_eq(run_list(fixture.catalog, &(struct run_filter){0}, before, 100, &arena, &runs,
                              &count, &before, &err),
                     ERR_OK, "%s", err.msg);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(runs[i].run_id, seen--);
        }
    } while (before != 0);
    cr_expect_eq(seen, 0);
}

enum { NODES = 25 };

Test(runs, nodes_and_attempts_are_paged_without_loss)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    struct graph_node nodes[NODES];
    struct run_task_change tasks[NODES];
    struct run_attempt_begin begun[NODES];
    for (size_t i = 0; i < NODES; i++) {
        nodes[i] = (struct graph_node){.task = i / 5,
                                       .iteration = (int64_t)(i % 5) - 1,
                                       .state = TASK_RUNNING,
                                       .attempts = 1,
                                       .inputs_count = i % 5 == 0 ? 4 : -1,
                                       .outcome = "true"};
        tasks[i] = (struct run_task_change){.node = &nodes[i]};
        begun[i] = (struct run_attempt_begin){
            .id = {.task = nodes[i].task, .iteration = nodes[i].iteration, .number = 1}};
    }
    const struct run_change change = {.run_id = run_id,
                                      .tasks = tasks,
                                      .tasks_count = NODES,
                                      .begun = begun,
                                      .begun_count = NODES};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
    struct run_task_cursor cursor = {0};
    size_t seen = 0;
    for (;;) {
        struct run_task *page = NULL;
        size_t count = 0;
        cr_assert_eq(
            run_tasks(fixture.catalog, run_id, &cursor, 7, &fixture.arena, &page, &count, &err),
            ERR_OK);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(page[i].node.task, nodes[seen].task, "node %zu", seen);
            cr_expect_eq(page[i].node.iteration, nodes[seen].iteration, "node %zu", seen);
            cr_expect_str_eq(page[i].node.outcome, "true");
            cr_expect_eq(page[i].node.inputs_count, nodes[seen].inputs_count);
            cursor = (struct run_task_cursor){
                .set = true, .task = page[i].node.task, .iteration = page[i].node.iteration};
            seen++;
        }
        if (count < 7) {
            break;
        }
    }
    cr_expect_eq(seen, NODES);
    cursor = (struct run_task_cursor){0};
    seen = 0;
    for (;;) {
        struct run_attempt *page = NULL;
        size_t count = 0;
        cr_assert_eq(run_attempts(fixture.catalog, run_id, NULL, &cursor, 7, &fixture.arena, &page,
                                  &count, &err),
                     ERR_OK);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(page[i].id.task, nodes[seen].task, "attempt %zu", seen);
            cr_expect_eq(page[i].id.iteration, nodes[seen].iteration, "attempt %zu", seen);
            cursor = (struct run_task_cursor){.set = true,
                                              .task = page[i].id.task,
                                              .iteration = page[i].id.iteration,
                                              .number = page[i].id.number};
            seen++;
        }
        if (count < 7) {
            break;
        }
    }
    cr_expect_eq(seen, NODES);
    struct run_attempt *one = NULL;
    size_t count = 0;
    const struct run_attempt_id only = {.task = 2, .iteration = 3};
    cr_assert_eq(run_attempts(fixture.catalog, run_id, &only, &(struct run_task_cursor){0}, 7,
                              &fixture.arena, &one, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(one[0].id.iteration, 3);
}

/* ---- retention ---- */

static void end_whole(int64_t run_id)
{
    struct err err = {0};
    const char *stored = NULL;
    begin_task(run_id, 1);
    cr_assert_eq(run_pin(fixture.catalog, run_id, 0, -1, "v", "1", &fixture.arena, &stored, &err),
                 ERR_OK);
    cr_assert_eq(end_task(run_id, 1, incarnation(), RESULT_SUCCESS, &err), ERR_OK);
    end_run(run_id, RESULT_SUCCESS);
}

static int64_t retain(int64_t before_us, int64_t per_job_max)
{
    struct err err = {0};
    int64_t total = 0;
    bool more = true;
    const struct run_retention retention = {.before_us = before_us, .per_job_max = per_job_max};
    while (more) {
        int64_t removed = 0;
        cr_assert_eq(runs_retain(fixture.catalog, &retention, &removed, &more, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_leq(removed, 200, "a step is bounded");
        total += removed;
    }
    return total;
}

Test(runs, retention_by_age_takes_ended_ones_only)
{
    struct err err = {0};
    int64_t start_us = INT64_C(1800000000) * 1000000;
    int64_t job_id = make_job("a");
    clock_freeze_wall(start_us);
    int64_t early = make_run(job_id, "t");
    int64_t active = make_run(job_id, NULL);
    int64_t late = make_run(job_id, NULL);
    end_whole(early);
    clock_freeze_wall(start_us + 10);
    end_whole(late);
    cr_expect_eq(retain(start_us, 0), 0);
    cr_expect_eq(retain(start_us + 5, 0), 1);
    struct job_run run;
    cr_expect_eq(run_get(fixture.catalog, early, &fixture.arena, &run, &err), ERR_NOT_FOUND);
    cr_expect_eq(read_run(active).run_id, active);
    cr_expect_eq(read_run(late).run_id, late);
    cr_expect_eq(retain(start_us + 11, 0), 1);
    cr_expect_neq(make_run(job_id, "t"), early, "a run id was given out twice");
    clock_freeze_wall(-1);
    struct catalog_report report = verify();
    cr_expect_eq(report.runs_count, 2);
}

Test(runs, retention_by_count_keeps_the_newest_of_each_job)
{
    struct err err = {0};
    int64_t ids[16];
    int64_t next = 0;
    int64_t first = make_job("a");
    int64_t second = make_job("b");
    for (int i = 0; i < 5; i++) {
        end_whole(make_run(first, NULL));
        end_whole(make_run(0, NULL));
    }
    int64_t active = make_run(second, NULL);
    end_whole(make_run(second, NULL));
    end_whole(make_run(second, NULL));
    cr_expect_eq(retain(0, 2), 6);
    cr_expect_eq(list_runs(&(struct run_filter){.job_id = first}, 0, 10, ids, &next), 2);
    cr_expect_eq(ids[0], 9);
    cr_expect_eq(list_runs(&(struct run_filter){.job_id = RUN_FILTER_ONE_OFF}, 0, 10, ids, &next),
                 2);
    cr_expect_eq(list_runs(&(struct run_filter){.job_id = second}, 0, 10, ids, &next), 3,
                 "an active run went");
    cr_expect_eq(read_run(active).run_id, active);
    const char *definition = NULL;
    cr_expect_eq(job_definition(fixture.catalog, 0, 2, &fixture.arena, &definition, &err),
                 ERR_NOT_FOUND, "the definition of a one-off run outlived it");
    (void)verify();
}

Test(runs, retention_is_bounded_a_step_and_ends)
{
    int64_t job_id = make_job("a");
    for (int i = 0; i < 250; i++) {
        end_run(make_run(job_id, NULL), RESULT_SUCCESS);
    }
    cr_expect_eq(retain(0, 10), 240);
    cr_expect_eq(retain(0, 10), 0);
}

Test(runs, retention_forgets_versions_and_deleted_jobs)
{
    struct err err = {0};
    int32_t version = 0;
    const char *definition = NULL;
    int64_t job_id = make_job("a");
    end_whole(make_run(job_id, NULL));
    const struct job_content content = {.name = "a",
                                        .definition = "{\"v\":2}",
                                        .author = fixture.principal,
                                        .run_as = fixture.principal};
    cr_assert_eq(job_change(fixture.catalog, job_id, 1, &content, &version, &err), ERR_OK);
    end_whole(make_run(job_id, NULL));
    cr_assert_eq(job_delete(fixture.catalog, job_id, 0, false, &fixture.principal, &err), ERR_OK);
    cr_expect_eq(retain(0, 1), 1);
    cr_expect_eq(job_definition(fixture.catalog, job_id, 1, &fixture.arena, &definition, &err),
                 ERR_NOT_FOUND);
    cr_expect_eq(job_definition(fixture.catalog, job_id, 2, &fixture.arena, &definition, &err),
                 ERR_OK, "the version of a run that is left went");
    cr_expect_eq(retain(INT64_MAX, 0), 1);
    cr_expect_eq(job_definition(fixture.catalog, job_id, 2, &fixture.arena, &definition, &err),
                 ERR_NOT_FOUND);
    struct catalog_report report = verify();
    cr_expect_eq(report.jobs_count, 0);
    cr_expect_eq(report.runs_count, 0);
}

/* ---- fsck ---- */

Test(runs, verify_and_the_next_start_find_damage)
{
    struct err err = {0};
    struct catalog_report report;
    for (int i = 0; i < 200; i++) {
        (void)make_run(0, NULL);
    }
    fixture_close();
    char *path = file_join(fixture.folder, "jobs.db");
    int fd = open(path, O_RDWR);
    uint8_t garbage[64];
    memset(garbage, 0xa5, sizeof garbage);
    for (int64_t page = 1; page < 20; page++) {
        cr_assert_eq(pwrite(fd, garbage, sizeof garbage, page * 4096), 64);
    }
    cr_assert_eq(close(fd), 0);
    mem_free(path);
    cr_expect_eq(catalog_verify(fixture.folder, NULL, NULL, NULL, &report, &err), ERR_CORRUPT);
    cr_expect(strstr(err.msg, "jobs.db") != NULL, "%s", err.msg);
    cr_expect_eq(
        catalog_open(fixture.folder, fixture.keys, &fixture.options, &fixture.catalog, &err),
        ERR_CORRUPT, "the quick check at start saw nothing");
}

Test(runs, verify_counts_them)
{
    int64_t job_id = make_job("a");
    (void)make_run(job_id, NULL);
    end_whole(make_run(job_id, NULL));
    (void)make_run(0, NULL);
    struct catalog_report report = verify();
    cr_expect_eq(report.jobs_count, 1);
    cr_expect_eq(report.runs_count, 3);
    cr_expect_eq(report.runs_active_count, 2);
    cr_expect_eq(report.deliveries_count, 0);
}
