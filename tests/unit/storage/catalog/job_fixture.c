#include "tests/unit/storage/catalog/job_fixture.h"

#include "storage/base/clock.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>

int64_t make_job(const char *name)
{
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    const struct job_content content = {
        .name = name,
        .definition = "{\"v\":1}",
        .author = fixture.principal,
        .run_as = fixture.principal,
    };
    cr_assert_eq(job_create(fixture.catalog, &content, NULL, &job_id, &made, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert(made);
    return job_id;
}

struct job read_job(int64_t job_id)
{
    struct err err = {0};
    struct job job;
    cr_assert_eq(job_get(fixture.catalog, job_id, &fixture.arena, &job, &err), ERR_OK, "%s",
                 err.msg);
    return job;
}

int64_t make_run(int64_t job_id, const char *token)
{
    struct err err = {0};
    int64_t run_id = 0;
    bool made = false;
    struct run_new new = {
        .job_id = job_id,
        .principal = fixture.principal,
        .token = token,
        .trigger = job_id == 0 ? RUN_TRIGGER_ONE_OFF : RUN_TRIGGER_MANUAL,
        .trigger_time_us = clock_wall_us(),
    };
    if (job_id == 0) {
        new.name = "one-off";
        new.definition = "{\"once\":true}";
        new.run_as = fixture.principal;
    }
    cr_assert_eq(run_create(fixture.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    return run_id;
}

struct job_run read_run(int64_t run_id)
{
    struct err err = {0};
    struct job_run run;
    cr_assert_eq(run_get(fixture.catalog, run_id, &fixture.arena, &run, &err), ERR_OK, "%s",
                 err.msg);
    return run;
}

void begin_task(int64_t run_id, int32_t number)
{
    struct err err = {0};
    const struct graph_node node = {.iteration = -1,
                                    .state = TASK_RUNNING,
                                    .attempts = number,
                                    .inputs_count = -1,
                                    .started_us = clock_wall_us()};
    const struct run_task_change task = {.node = &node};
    const struct run_attempt_begin begin = {.id = {.iteration = -1, .number = number},
                                            .started_us = clock_wall_us()};
    const struct run_change change = {.run_id = run_id,
                                      .state = RUN_RUNNING,
                                      .started_us = clock_wall_us(),
                                      .tasks = &task,
                                      .tasks_count = 1,
                                      .begun = &begin,
                                      .begun_count = 1};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
}

enum err_code end_task(int64_t run_id, int32_t number, int64_t incarnation, enum run_result result,
                       struct err *err)
{
    const struct graph_node node = {.iteration = -1,
                                    .state = TASK_TERMINATED,
                                    .result = result,
                                    .attempts = number,
                                    .inputs_count = -1,
                                    .started_us = 1,
                                    .ended_us = clock_wall_us()};
    const struct run_task_change task = {.node = &node, .values = "{\"rows\":7}"};
    const struct run_attempt_end end = {.id = {.iteration = -1, .number = number},
                                        .incarnation = incarnation,
                                        .result = result,
                                        .ended_us = clock_wall_us(),
                                        .rows_in = 9,
                                        .rows_out = 7,
                                        .rows_rejected = 2,
                                        .bytes_in = 100,
                                        .bytes_out = 50,
                                        .versions_written = "{\"claims\":3}"};
    const struct run_change change = {
        .run_id = run_id, .tasks = &task, .tasks_count = 1, .ended = &end, .ended_count = 1};
    return run_apply(fixture.catalog, &change, err);
}

void end_run(int64_t run_id, enum run_result result)
{
    struct err err = {0};
    const struct run_change change = {
        .run_id = run_id, .state = RUN_TERMINATED, .result = result, .ended_us = clock_wall_us()};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
}

struct run_task read_task(int64_t run_id)
{
    struct err err = {0};
    struct run_task *tasks = NULL;
    size_t count = 0;
    cr_assert_eq(run_tasks(fixture.catalog, run_id, &(struct run_task_cursor){0}, 10,
                           &fixture.arena, &tasks, &count, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(count, 1);
    return tasks[0];
}

struct run_attempt read_attempt(int64_t run_id, size_t *count_out)
{
    struct err err = {0};
    struct run_attempt *attempts = NULL;
    cr_assert_eq(run_attempts(fixture.catalog, run_id, NULL, &(struct run_task_cursor){0}, 1000,
                              &fixture.arena, &attempts, count_out, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_gt(*count_out, 0);
    return attempts[*count_out - 1];
}
