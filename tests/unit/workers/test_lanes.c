/*
 * Lanes: order, one step at a time, back-off, and a quiet end.
 */
#include "workers/lanes.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* What the steps see and do; guarded by lock. */
struct stage {
    struct lock lock;
    struct wake wake;
    struct lanes *lanes;
    int steps;
    int running[8];
    int most_running_of_a_lane;
    int failures_left;
    int more_left;
    int64_t pause_us;
    int wakes_left; /* that come while a step goes on */
    int attempts_seen;
    bool full;
    int64_t started_us[64];
};

static int lane_number(const struct id *lane)
{
    return lane->text[0] - '0';
}

static struct id lane_id(int number)
{
    struct id id = {0};
    (void)snprintf(id.text, sizeof id.text, "%d", number); /* a short name */
    return id;
}

static enum err_code step(void *arg, const struct id *lane, int attempt, struct lane_left *left_out,
                          struct err *err)
{
    struct stage *stage = arg;
    int number = lane_number(lane);
    lock_take(&stage->lock);
    stage->running[number]++;
    if (stage->running[number] > stage->most_running_of_a_lane) {
        stage->most_running_of_a_lane = stage->running[number];
    }
    if (stage->steps < 64) {
        stage->started_us[stage->steps] = clock_monotonic_us();
    }
    bool fail = stage->failures_left > 0;
    stage->failures_left -= fail;
    left_out->rest = stage->more_left > 0 ? (stage->full ? LANE_FULL : LANE_MORE) : LANE_NOTHING;
    left_out->pause_us = stage->pause_us;
    stage->more_left -= stage->more_left > 0;
    stage->attempts_seen = attempt > stage->attempts_seen ? attempt : stage->attempts_seen;
    bool woken = stage->wakes_left > 0;
    stage->wakes_left -= woken;
    stage->running[number]--;
    stage->steps++;
    wake_all(&stage->wake);
    lock_drop(&stage->lock);
    if (woken) {
        lanes_wake(stage->lanes, lane);
    }
    return fail ? err_set(err, ERR_IO, "planted") : ERR_OK;
}

static void open_stage(struct stage *stage, int threads, int64_t interval_us)
{
    *stage = (struct stage){0};
    lock_init(&stage->lock, LOCK_RANK_LOG);
    wake_init(&stage->wake);
    stage->lanes = lanes_open(&(struct lanes_options){
        .name = "test",
        .threads_count = threads,
        .interval_us = interval_us,
        .step = step,
        .arg = stage,
    });
}

static void close_stage(struct stage *stage)
{
    lanes_close(&stage->lanes);
    wake_deinit(&stage->wake);
    lock_deinit(&stage->lock);
}

static void wait_for_steps(struct stage *stage, int steps)
{
    int64_t deadline_us = clock_monotonic_us() + 30000000;
    lock_take(&stage->lock);
    while (stage->steps < steps && clock_monotonic_us() < deadline_us) {
        (void)wake_wait_until(&stage->wake, &stage->lock, deadline_us); /* looked at above */
    }
    cr_assert_geq(stage->steps, steps);
    lock_drop(&stage->lock);
}

/* Wake one lane, wait until it made so many steps, and end. */
static void run_steps(struct stage *stage, int steps)
{
    struct id lane = lane_id(1);
    lanes_wake(stage->lanes, &lane);
    wait_for_steps(stage, steps);
    close_stage(stage);
}

Test(lanes, runs_a_woken_lane_once)
{
    struct stage stage;
    open_stage(&stage, 2, 0);
    run_steps(&stage, 1);
    cr_assert_eq(stage.steps, 1);
}

Test(lanes, never_runs_one_lane_twice_at_once)
{
    struct stage stage;
    open_stage(&stage, 4, 0);
    for (int i = 0; i < 400; i++) {
        struct id lane = lane_id(i % 2);
        lanes_wake(stage.lanes, &lane);
    }
    wait_for_steps(&stage, 2);
    close_stage(&stage);
    cr_assert_eq(stage.most_running_of_a_lane, 1);
}

Test(lanes, goes_on_while_work_is_left)
{
    struct stage stage;
    open_stage(&stage, 1, 0);
    stage.more_left = 5;
    run_steps(&stage, 6);
    cr_assert_eq(stage.steps, 6);
}

Test(lanes, paces_a_lane_under_load_but_not_its_first_steps)
{
    struct stage stage;
    const int64_t interval_us = 50000;
    open_stage(&stage, 1, interval_us);
    stage.more_left = 5;
    run_steps(&stage, 6);
    /* steps 1 to 3 end with work left; from then on the interval holds */
    for (int i = LANES_LOADED_STEPS; i < 6; i++) {
        cr_expect_geq(stage.started_us[i] - stage.started_us[i - 1], interval_us - 1000,
                      "step %d came too early", i);
    }
}

Test(lanes, does_not_pace_a_lane_that_could_not_take_all)
{
    struct stage stage;
    open_stage(&stage, 1, 60000000); /* a paced step would outlast the test */
    stage.more_left = 9;
    stage.full = true;
    run_steps(&stage, 10);
    cr_assert_eq(stage.steps, 10);
}

/* A client that waits for each of its batches may post the next before the step has ended. */
Test(lanes, does_not_pace_a_lane_that_is_woken_while_nothing_is_left)
{
    struct stage stage;
    open_stage(&stage, 1, 60000000); /* a paced step would outlast the test */
    stage.wakes_left = 9;
    run_steps(&stage, 10);
    cr_assert_eq(stage.steps, 10);
}

Test(lanes, pauses_as_long_as_a_step_asks_for)
{
    struct stage stage;
    open_stage(&stage, 1, 0);
    stage.more_left = 2;
    stage.full = true;
    stage.pause_us = 30000;
    run_steps(&stage, 3);
    for (int i = 1; i < 3; i++) {
        cr_expect_geq(stage.started_us[i] - stage.started_us[i - 1], stage.pause_us,
                      "step %d came too early", i);
    }
}

Test(lanes, tries_a_failed_step_again_and_counts_attempts)
{
    struct stage stage;
    open_stage(&stage, 1, 0);
    stage.failures_left = 2;
    run_steps(&stage, 3);
    cr_assert_eq(stage.steps, 3);
    cr_assert_eq(stage.attempts_seen, 3);
}

Test(lanes, is_idle_when_nothing_is_left)
{
    struct stage stage;
    open_stage(&stage, 1, 0);
    cr_assert(lanes_are_idle(stage.lanes));
    run_steps(&stage, 1);
    cr_assert_null(stage.lanes);
}
