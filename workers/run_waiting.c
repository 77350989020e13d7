/*
 * A run that is not live: may it go on, must it wait for a place of its job, or does it
 * end at once? See runner_private.h.
 */
#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "workers/runner_private.h"

#include <inttypes.h>

enum { ROW_ARENA_BYTES = 8 << 20 };

/* The run ends without ever going on, or cannot go on. */
static void end_at_once(struct active_run *run, enum run_result result, const struct err *why)
{
    int64_t now_us = clock_wall_us();
    struct draft *draft = &run->draft;
    draft_deinit(draft);
    draft->change = (struct run_change){.run_id = run->run_id,
                                        .state = RUN_TERMINATED,
                                        .result = result,
                                        .ended_us = now_us,
                                        .error_code = err_code_name(why->code),
                                        .error = why->msg};
    if (run->definition != NULL) {
        draft_tell(run, JOB_EVENT_FAILURE, result, now_us);
        draft->change.deliveries = draft->deliveries;
    }
    if (run_store(run)) {
        (void)run_take_effect(run); /* leaves */
    }
    draft_deinit(
        draft); /* `why` is the caller's: when it was not stored, all of it is done again */
}

static void refuse(struct active_run *run, int64_t places)
{
    struct err why = {0};
    (void)err_set(&why, ERR_BUSY,
                  "%" PRId64 " runs of the job go on, as many as max_concurrent_runs allows",
                  places);
    end_at_once(run, RESULT_MAXIMUM_CONCURRENT_RUNS_REACHED, &why);
}

static void wait_in_line(struct active_run *run, const struct job_run *row)
{
    struct err err = {0};
    const struct run_change change = {.run_id = run->run_id, .state = RUN_BLOCKED};
    run_unload(run);
    if (row->state == RUN_QUEUED && run_apply(run_catalog(run), &change, &err) != ERR_OK) {
        run_log(run, "the run cannot be stored just now", &err);
        run_try_again(run);
    }
}

/* Nothing came of it: try again, or never. */
static void give_up_loading(struct active_run *run, const struct err *err)
{
    if (run_error_passes(err->code)) {
        run_log(run, "the run cannot be read just now", err);
        run_unload(run);
        run_try_again(run);
    } else {
        end_at_once(run, RESULT_FAILED, err);
    }
}

static void go_live(struct active_run *run, const struct job_run *row, bool going)
{
    struct err err = {0};
    if (run_load(run, row, &err) != ERR_OK) {
        give_up_loading(run, &err);
        return;
    }
    int64_t now_us = clock_wall_us();
    run->phase = PHASE_LIVE;
    if (row->cancel_asked_at_us != 0) {
        run_stop(run, RESULT_CANCELED, now_us);
    } else if (!going) {
        run->started_us = now_us; /* of a repair, too: its time-out counts from here */
    }
    run_set_times(run);
    run_step_live(run);
}

void run_step_waiting(struct active_run *run)
{
    CLEANUP(arena_deinit) struct arena arena;
    struct job_run row;
    struct err err = {0};
    arena_init(&arena, ROW_ARENA_BYTES);
    enum err_code code = run_get(run_catalog(run), run->run_id, &arena, &row, &err);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && row.state == RUN_TERMINATED)) {
        runner_leave_place(run);
        run->phase = PHASE_GONE;
        return;
    }
    if (code != ERR_OK || run_read_definition(run, &row, &err) != ERR_OK) {
        give_up_loading(run, &err);
        return;
    }
    bool going = row.state == RUN_RUNNING || row.state == RUN_TERMINATING;
    if (!going && row.cancel_asked_at_us != 0) {
        runner_leave_place(run); /* to end, none is needed */
    } else if (!going && row.job_id != 0 && !run->has_place) {
        const struct job_definition *definition = run->definition;
        enum place place =
            runner_take_place(run, definition->max_concurrent_runs, definition->queue_enabled);
        if (place == PLACE_IN_LINE) {
            wait_in_line(run, &row);
            return;
        }
        if (place == PLACE_REFUSED) {
            refuse(run, definition->max_concurrent_runs);
            return;
        }
    }
    go_live(run, &row, going);
}
