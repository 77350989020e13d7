/*
 * Runs as answers show them: stored and unstored tasks, attempts, live progress, and
 * waiting for the end.
 */
#include "handlers/run_views.h"

#include "generated/operations.h"

#include "handlers/waiting_room.h"
#include "storage/base/clock.h"
#include "storage/base/text.h"
#include "tests/unit/handlers/job_stage.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

TestSuite(run_views, .init = stage_set_up, .fini = stage_tear_down);

static const struct route get_route = {.operation_id = "run_get", .action = "run.read"};
static const struct route cancel_route = {.operation_id = "run_cancel", .action = "run.cancel"};

static struct json *get(int64_t run_id, const char *limit, const char *token)
{
    char parameter[32];
    (void)snprintf(parameter, sizeof parameter, "%" PRId64, run_id);
    struct exchange exchange = stage_request(&get_route, parameter, NULL);
    if (limit != NULL) {
        exchange.query[exchange.query_count++] =
            (struct exchange_pair){span_of_text("limit"), span_of_text(limit)};
    }
    if (token != NULL) {
        exchange.query[exchange.query_count++] =
            (struct exchange_pair){span_of_text("page_token"), span_of_text(token)};
    }
    cr_expect_eq(handle_run_get(&stage.services, &exchange), HANDLER_DONE);
    struct json *json = stage_answer(&exchange, 200);
    stage_done(&exchange);
    return json;
}

static const char *text_of(const struct json *json, const char *name)
{
    const char *text = json_text(json_get(json, name));
    return text == NULL ? "(none)" : text;
}

static int64_t integer_of(const struct json *json, const char *name)
{
    int64_t integer = -1;
    (void)json_as_integer(json_get(json, name), &integer); /* -1 when absent */
    return integer;
}

/* Task `a` runs its second attempt, one iteration of `b` is queued. */
static void begin_tasks(int64_t run_id)
{
    const struct graph_node nodes[] = {
        {.iteration = -1, .state = TASK_RUNNING, .attempts = 1, .inputs_count = -1},
        {.task = 1, .iteration = -1, .state = TASK_RUNNING, .inputs_count = 2},
        {.task = 1, .iteration = 1, .state = TASK_QUEUED, .inputs_count = -1},
    };
    const struct run_task_change tasks[] = {
        {.node = &nodes[0], .values = "{\"rows\":5}"}, {.node = &nodes[1]}, {.node = &nodes[2]}};
    const struct run_attempt_begin begin = {.id = {.iteration = -1, .number = 1},
                                            .started_us = clock_wall_us() - 1000000};
    const struct run_change change = {.run_id = run_id,
                                      .state = RUN_RUNNING,
                                      .started_us = clock_wall_us(),
                                      .tasks = tasks,
                                      .tasks_count = 3,
                                      .begun = &begin,
                                      .begun_count = 1};
    stage_apply(&change);
}

static bool half_done(void *arg, int64_t run_id, size_t task, int64_t iteration,
                      struct run_progress *progress_out)
{
    (void)arg;
    (void)run_id;
    *progress_out = (struct run_progress){.rows_in = 10, .work_done = 50, .work_total = 100};
    return task == 0 && iteration == -1;
}

Test(run_views, show_tasks_that_nothing_is_stored_of)
{
    CLEANUP(json_free) struct json *json = get(stage_make_run(stage_make_job()), NULL, NULL);
    const struct json *tasks = json_get(json, "tasks");
    cr_assert_eq(json_count(tasks), 2);
    cr_expect_str_eq(text_of(json_at(tasks, 0), "task_key"), "a");
    cr_expect_str_eq(text_of(json_at(tasks, 0), "state"), "BLOCKED");
    cr_expect_eq(json_count(json_get(json_at(tasks, 0), "attempts")), 0);
    cr_expect_str_eq(text_of(json_at(tasks, 1), "type"), "for_each");
    cr_expect_eq(json_count(json_get(json_at(tasks, 1), "depends_on")), 1);
    cr_expect_str_eq(text_of(json, "state"), "QUEUED");
    cr_expect_str_eq(text_of(json, "requested_by"), "admin");
}

Test(run_views, show_attempts_iterations_and_progress)
{
    int64_t run_id = stage_make_run(stage_make_job());
    begin_tasks(run_id);
    stage.services.jobs.run_progress = half_done;
    CLEANUP(json_free) struct json *json = get(run_id, NULL, NULL);
    const struct json *tasks = json_get(json, "tasks");
    cr_assert_eq(json_count(tasks), 3);
    const struct json *first = json_at(tasks, 0);
    cr_expect_str_eq(text_of(first, "state"), "RUNNING");
    cr_expect_eq(integer_of(json_get(first, "values"), "rows"), 5);
    cr_expect_eq(integer_of(first, "attempts_count"), 1);
    const struct json *attempt = json_at(json_get(first, "attempts"), 0);
    cr_expect_str_eq(text_of(attempt, "state"), "RUNNING");
    const struct json *progress = json_get(first, "progress");
    cr_expect_eq(integer_of(progress, "work_total"), 100);
    struct span text;
    int64_t end_us = 0;
    cr_assert(json_as_string(json_get(progress, "estimated_end_at"), &text));
    cr_assert(text_parse_timestamp(text, &end_us));
    int64_t left_us = end_us - clock_wall_us();
    cr_expect(left_us > 0 && left_us < 20000000, "half done in a second, %" PRId64 " us left",
              left_us);
    cr_expect_eq(integer_of(json_at(tasks, 1), "inputs_count"), 2);
    cr_expect_eq(integer_of(json_at(tasks, 2), "iteration"), 1);
    cr_expect_str_eq(text_of(json_at(tasks, 2), "task_key"), "b");
    cr_expect_str_eq(text_of(json_at(tasks, 2), "type"), "vacuum");
    cr_expect_eq((int)json_kind(json_get(json_at(tasks, 1), "progress")), JSON_KIND_NULL);
}

Test(run_views, page_over_stored_and_unstored_tasks)
{
    int64_t run_id = stage_make_run(stage_make_job());
    begin_tasks(run_id);
    static const char *const expected[] = {"a:-1", "b:-1", "b:1"};
    CLEANUP(json_free) struct json *page = get(run_id, "1", NULL);
    size_t seen = 0;
    while (json_count(json_get(page, "tasks")) > 0) {
        char label[32];
        const struct json *task = json_at(json_get(page, "tasks"), 0);
        (void)snprintf(label, sizeof label, "%s:%" PRId64, text_of(task, "task_key"),
                       integer_of(task, "iteration"));
        cr_assert_lt(seen, 3);
        cr_expect_str_eq(label, expected[seen]);
        seen++;
        const char *token = json_text(json_get(page, "next_page_token"));
        if (token == NULL) {
            break;
        }
        struct json *next = get(run_id, "1", token);
        json_free(&page);
        page = next;
    }
    cr_expect_eq(seen, 3);
}

/* ---- waiting ---- */

static struct latch answered;

static void note_finished(struct exchange *exchange)
{
    (void)exchange;
    latch_open(&answered, 1);
}

Test(run_views, a_wait_ends_with_the_run)
{
    int64_t run_id = stage_make_run(stage_make_job());
    char parameter[32];
    (void)snprintf(parameter, sizeof parameter, "%" PRId64, run_id);
    exchange_set_finish_hook(note_finished);
    struct exchange exchange = stage_request(&cancel_route, parameter, NULL);
    exchange.headers_count = 1;
    exchange.headers[0] = (struct exchange_pair){span_of_text("prefer"), span_of_text("wait=50")};
    cr_assert_eq(handle_run_cancel(&stage.services, &exchange), HANDLER_WAIT);
    const struct run_change end = {.run_id = run_id,
                                   .state = RUN_TERMINATED,
                                   .result = RESULT_CANCELED,
                                   .ended_us = clock_wall_us()};
    stage_apply(&end);
    const struct id subject = waiting_room_run(run_id);
    waiting_room_notify(stage.services.waiting_room, &subject);
    cr_assert_eq(latch_wait(&answered), 1);
    CLEANUP(json_free) struct json *json = stage_answer(&exchange, 200);
    cr_expect_str_eq(text_of(json, "result"), "CANCELED");
    stage_done(&exchange);
}

Test(run_views, a_wait_without_an_end_is_answered_as_accepted)
{
    int64_t run_id = stage_make_run(stage_make_job());
    char parameter[32];
    (void)snprintf(parameter, sizeof parameter, "%" PRId64, run_id);
    exchange_set_finish_hook(note_finished);
    struct exchange exchange = stage_request(&cancel_route, parameter, NULL);
    exchange.headers_count = 1;
    exchange.headers[0] = (struct exchange_pair){span_of_text("prefer"), span_of_text("wait=50")};
    cr_assert_eq(handle_run_cancel(&stage.services, &exchange), HANDLER_WAIT);
    waiting_room_dismiss(stage.services.waiting_room); /* as when the server stops */
    cr_assert_eq(latch_wait(&answered), 1);
    CLEANUP(json_free) struct json *json = stage_answer(&exchange, 202);
    cr_expect_str_eq(text_of(json, "state"), "QUEUED");
    stage_done(&exchange);
}
