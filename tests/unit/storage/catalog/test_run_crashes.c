/*
 * Runs under kills: a child takes runs through made → begun → ended with a webhook
 * event; whatever moment it dies at, what it was promised is there, once.
 */
#include "storage/catalog/runs.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/catalog/catalog.h"
#include "tests/unit/storage/catalog/fixture.h"
#include "tests/unit/storage/catalog/job_fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(run_crashes, .init = fixture_set_up, .fini = fixture_tear_down);

enum { STEPS = 3 }; /* of one run: made, begun, ended */

/* What a child has been promised; outside the blast radius. */
struct ledger {
    _Atomic int64_t steps;
};

static struct ledger *new_ledger(void)
{
    struct ledger *ledger =
        mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(ledger, MAP_FAILED);
    return ledger;
}

static enum err_code make(int64_t n, int64_t *run_id_out, struct err *err)
{
    char token[32];
    bool made = false;
    (void)snprintf(token, sizeof token, "run-%" PRId64, n);
    const struct job_schedule schedule = {.decided_us = n + 1, .next_fire_us = n + 2};
    const struct run_fire fire = {.schedule = &schedule};
    const struct run_new new = {.job_id = 1,
                                .job_version = 1,
                                .token = token,
                                .trigger = RUN_TRIGGER_SCHEDULE,
                                .trigger_time_us = n + 1,
                                .fire = &fire};
    return run_create(fixture.catalog, &new, run_id_out, &made, err);
}

/* How many attempts are stored, and whether the newest of them runs. */
static int32_t attempts_of(int64_t run_id, bool *running_out)
{
    struct err err = {0};
    struct run_task *tasks = NULL;
    size_t count = 0;
    if (run_tasks(fixture.catalog, run_id, &(struct run_task_cursor){0}, 10, &fixture.arena, &tasks,
                  &count, &err) != ERR_OK) {
        _exit(2);
    }
    *running_out = count > 0 && tasks[0].attempt_state == ATTEMPT_RUNNING;
    return count > 0 ? tasks[0].node.attempts : 0;
}

static enum err_code begin(int64_t run_id, struct err *err)
{
    bool running = false;
    int32_t number = attempts_of(run_id, &running) + 1;
    const struct graph_node node = {
        .iteration = -1, .state = TASK_RUNNING, .attempts = number, .inputs_count = -1};
    const struct run_task_change task = {.node = &node};
    const struct run_attempt_begin attempt = {.id = {.iteration = -1, .number = number}};
    const struct run_change change = {.run_id = run_id,
                                      .state = RUN_RUNNING,
                                      .tasks = &task,
                                      .tasks_count = 1,
                                      .begun = &attempt,
                                      .begun_count = 1};
    return run_apply(fixture.catalog, &change, err);
}

/* Under the incarnation of this life; an attempt of an earlier one begins anew first. */
static enum err_code end(int64_t run_id, struct err *err)
{
    bool running = false;
    int32_t number = attempts_of(run_id, &running);
    if (!running) {
        TRY(begin(run_id, err));
        number++;
    }
    const struct graph_node node = {.iteration = -1,
                                    .state = TASK_TERMINATED,
                                    .result = RESULT_SUCCESS,
                                    .attempts = number,
                                    .inputs_count = -1};
    const struct run_task_change task = {.node = &node};
    const struct run_attempt_end attempt = {.id = {.iteration = -1, .number = number},
                                            .incarnation = catalog_incarnation(fixture.catalog),
                                            .result = RESULT_SUCCESS};
    const struct delivery_new delivery = {.id = id_new_ordered(),
                                          .event = "run.succeeded",
                                          .url = "http://127.0.0.1:9/",
                                          .body = span_of_text("{}")};
    const struct run_change change = {.run_id = run_id,
                                      .state = RUN_TERMINATED,
                                      .result = RESULT_SUCCESS,
                                      .ended_us = 1,
                                      .tasks = &task,
                                      .tasks_count = 1,
                                      .ended = &attempt,
                                      .ended_count = 1,
                                      .deliveries = &delivery,
                                      .deliveries_count = 1};
    return run_apply(fixture.catalog, &change, err);
}

static void work_until_killed(struct ledger *ledger)
{
    struct err err = {0};
    (void)alarm(60); /* a fault that never comes must not hang the run */
    fixture_open();
    for (int64_t step = atomic_load(&ledger->steps);; step++) {
        int64_t n = step / STEPS;
        int64_t run_id = 0;
        if (make(n, &run_id, &err) != ERR_OK) {
            _exit(3);
        }
        struct job_run run;
        if (run_get(fixture.catalog, run_id, &fixture.arena, &run, &err) != ERR_OK) {
            _exit(4);
        }
        enum err_code code = ERR_OK;
        if (step % STEPS == 1) {
            code = begin(run_id, &err);
        } else if (step % STEPS == 2 && run.state != RUN_TERMINATED) {
            code = end(run_id, &err);
        }
        if (code != ERR_OK) {
            _exit(5);
        }
        atomic_store(&ledger->steps, step + 1);
        arena_reset(&fixture.arena);
    }
}

/* Steps that are stored of a run; the states must fit each other. */
static int64_t steps_of(const struct job_run *run, int64_t *deliveries)
{
    bool running = false;
    int32_t attempts = attempts_of(run->run_id, &running);
    cr_expect_not(running, "run %" PRId64 ": an attempt survived its process", run->run_id);
    if (run->state == RUN_TERMINATED) {
        cr_expect_eq((int)run->result, RESULT_SUCCESS);
        (*deliveries)--;
        return 3;
    }
    cr_expect_eq((int)run->state, attempts > 0 ? RUN_RUNNING : RUN_QUEUED);
    return attempts > 0 ? 2 : 1;
}

static void expect_ledger_kept(const struct ledger *ledger, const char *when)
{
    struct err err = {0};
    struct job_run *runs = NULL;
    size_t count = 0;
    int64_t next = 0;
    int64_t stored = 0;
    struct catalog_report report = {0};
    cr_assert_eq(catalog_verify(fixture.folder, NULL, NULL, NULL, &report, &err), ERR_OK, "%s: %s",
                 when, err.msg);
    int64_t deliveries = report.deliveries_count;
    fixture_open();
    cr_assert_eq(run_list(fixture.catalog, &(struct run_filter){0}, 0, 5000, &fixture.arena, &runs,
                          &count, &next, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(next, 0);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(runs[i].number, (int64_t)(count - i), "%s: numbers have a hole", when);
        stored += steps_of(&runs[i], &deliveries);
    }
    int64_t acked = atomic_load(&ledger->steps);
    cr_expect(stored == acked || stored == acked + 1,
              "%s: %" PRId64 " steps stored, %" PRId64 " promised", when, stored, acked);
    cr_expect_eq(deliveries, 0, "%s: events and ends differ", when);
    struct job job = read_job(1);
    cr_expect_eq(job.runs_count, (int64_t)count, "%s", when);
    if (count > 0) {
        cr_expect_eq(job.schedule.decided_us, (int64_t)count, "%s: the schedule lags", when);
    }
    fixture_close();
    arena_reset(&fixture.arena);
}

Test(run_crashes, kills_at_random_lose_and_double_nothing)
{
    struct ledger *ledger = new_ledger();
    (void)make_job("a");
    fixture_close();
    for (int cycle = 0; cycle < 12; cycle++) {
        pid_t child = fork();
        if (child == 0) {
            work_until_killed(ledger);
        }
        int64_t wanted = atomic_load(&ledger->steps) + (cycle * 5) % 11;
        int64_t deadline_us = clock_monotonic_us() + INT64_C(30000000);
        while (atomic_load(&ledger->steps) < wanted && clock_monotonic_us() < deadline_us) {
            (void)usleep(500);
        }
        (void)usleep((useconds_t)(cycle * 137)); /* somewhere in the next one */
        cr_assert_eq(kill(child, SIGKILL), 0);
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "cycle %d: the child ended by itself: %d", cycle, status);
        expect_ledger_kept(ledger, "after a kill");
    }
    cr_expect_gt(atomic_load(&ledger->steps), 0);
    fixture_open();
}

#ifdef SLUICE_FAULTS

Test(run_crashes, every_crash_point_keeps_the_promise)
{
    static const char *const points[] = {"catalog.commit=crash", "catalog.committed=crash"};
    struct ledger *ledger = new_ledger();
    (void)make_job("a");
    fixture_close();
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (int passing = 1; passing <= 8; passing++) {
            pid_t child = fork();
            char faults[64];
            (void)snprintf(faults, sizeof faults, "%s@%d", points[i], passing);
            if (child == 0) {
                fault_arm(faults);
                work_until_killed(ledger);
            }
            int status = 0;
            cr_assert_eq(waitpid(child, &status, 0), child);
            cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %d", faults,
                      status);
            expect_ledger_kept(ledger, faults);
        }
    }
    cr_expect_gt(atomic_load(&ledger->steps), 10);
    fixture_open();
}

Test(run_crashes, a_full_disk_stores_nothing_and_passes)
{
    struct err err = {0};
    int64_t run_id = 0;
    (void)make_job("a");
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(make(0, &run_id, &err), ERR_NO_SPACE);
    cr_expect_eq(read_job(1).runs_count, 0);
    fault_arm("");
    cr_expect_eq(make(0, &run_id, &err), ERR_OK, "%s", err.msg);
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(begin(run_id, &err), ERR_NO_SPACE);
    fault_arm("");
    cr_expect_eq((int)read_run(run_id).state, RUN_QUEUED);
    cr_expect_eq(begin(run_id, &err), ERR_OK, "the same change is taken once there is room: %s",
                 err.msg);
}

#endif
