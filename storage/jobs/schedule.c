/*
 * Fire times of schedules, and what is due after downtime. See schedule.h for the contract.
 */
#include "storage/jobs/schedule.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

static const int64_t us_per_second = 1000000;

static enum err_code init_cron(struct schedule *schedule, const struct schedule_options *options,
                               struct err *err)
{
    TRY(cron_parse(span_of_text(options->quartz_cron_expression), &schedule->cron, err));
    return zone_acquire(options->timezone_id != NULL ? options->timezone_id : "UTC",
                        &schedule->zone, err);
}

static enum err_code init_every(struct schedule *schedule, const struct schedule_options *options,
                                struct err *err)
{
    if (options->every_seconds < 1 || options->every_seconds > SCHEDULE_EVERY_SECONDS_MAX) {
        return err_set(err, ERR_INVALID, "every_seconds: %" PRId64 " is not from 1 to %d",
                       options->every_seconds, SCHEDULE_EVERY_SECONDS_MAX);
    }
    if (options->timezone_id != NULL) {
        return err_set(err, ERR_INVALID,
                       "timezone_id: every_seconds counts real seconds and has no time zone; leave "
                       "it out, or use quartz_cron_expression");
    }
    schedule->every_us = options->every_seconds * us_per_second;
    schedule->anchor_us = options->anchor_us;
    return ERR_OK;
}

enum err_code schedule_init(struct schedule *schedule_out, const struct schedule_options *options,
                            struct err *err)
{
    struct schedule schedule = {.paused = options->paused};
    bool is_cron = options->quartz_cron_expression != NULL;
    if (is_cron == (options->every_seconds != 0)) {
        return err_set(err, ERR_INVALID,
                       "a schedule has either quartz_cron_expression or every_seconds; %s given",
                       is_cron ? "both are" : "none is");
    }
    TRY(is_cron ? init_cron(&schedule, options, err) : init_every(&schedule, options, err));
    *schedule_out = schedule;
    return ERR_OK;
}

void schedule_deinit(struct schedule *schedule)
{
    zone_release(&schedule->zone);
    *schedule = (struct schedule){0};
}

static bool next_interval(const struct schedule *schedule, int64_t after_us, int64_t *fire_us_out)
{
    __int128 passed = (__int128)after_us - schedule->anchor_us;
    __int128 intervals = passed < 0 ? 1 : passed / schedule->every_us + 1;
    __int128 fire_us = schedule->anchor_us + intervals * schedule->every_us;
    if (fire_us > INT64_MAX) {
        return false;
    }
    *fire_us_out = (int64_t)fire_us;
    return true;
}

bool schedule_next(const struct schedule *schedule, int64_t after_us, int64_t *fire_us_out)
{
    if (schedule->paused) {
        return false;
    }
    return schedule->zone != NULL
               ? cron_next(&schedule->cron, schedule->zone, after_us, fire_us_out)
               : next_interval(schedule, after_us, fire_us_out);
}

/* Is there a fire time in (after_us, until_us], and the first such? */
static bool first_within(const struct schedule *schedule, int64_t after_us, int64_t until_us,
                         int64_t *fire_us_out)
{
    int64_t fire_us = 0;
    if (!schedule_next(schedule, after_us, &fire_us) || fire_us > until_us) {
        return false;
    }
    *fire_us_out = fire_us;
    return true;
}

/* The last such, by halving: whether one is left behind a moment only changes once. */
static bool last_within(const struct schedule *schedule, int64_t after_us, int64_t until_us,
                        int64_t *fire_us_out)
{
    int64_t found_us = 0;
    if (!first_within(schedule, after_us, until_us, &found_us)) {
        return false;
    }
    int64_t none_after_us = until_us;
    while (found_us < none_after_us) {
        /* rounded down: a fire time found beyond it is later than found_us */
        int64_t middle_us = found_us + (none_after_us - found_us) / 2;
        if (!first_within(schedule, middle_us, until_us, &found_us)) {
            none_after_us = middle_us;
        }
    }
    *fire_us_out = found_us;
    return true;
}

/* Append the fire times of (after_us, until_us] until the array is full. */
static void collect(const struct schedule *schedule, int64_t after_us, int64_t until_us,
                    size_t times_max, int64_t *times_out, struct schedule_due *due)
{
    int64_t fire_us = 0;
    int64_t from_us = after_us;
    while (first_within(schedule, from_us, until_us, &fire_us)) {
        if (due->count == times_max) {
            due->more = true;
            due->decided_us = times_out[due->count - 1];
            return;
        }
        times_out[due->count++] = fire_us;
        from_us = fire_us;
    }
    due->decided_us = until_us;
}

void schedule_missed(const struct schedule *schedule, const struct schedule_downtime *downtime,
                     int64_t *times_out, struct schedule_due *due_out)
{
    assert(downtime->times_max >= 1);
    assert(downtime->grace_us >= 0);
    int64_t last_us = downtime->last_us;
    int64_t now_us = downtime->now_us;
    struct schedule_due due = {.decided_us = last_us};
    if (schedule->paused || now_us <= last_us) {
        *due_out = due;
        return;
    }
    /* missed are the fire times up to here, on time those behind it */
    int64_t missed_until_us = now_us - 1 - downtime->grace_us;
    if (downtime->catch_up == SCHEDULE_CATCH_UP_ALL || missed_until_us < last_us) {
        missed_until_us = last_us;
    }
    collect(schedule, missed_until_us, now_us, downtime->times_max, times_out, &due);
    bool any_missed = last_within(schedule, last_us, missed_until_us, &due.left_out_last_us);
    if (any_missed && due.count == 0 && downtime->catch_up == SCHEDULE_CATCH_UP_LAST) {
        times_out[due.count++] = due.left_out_last_us;
        any_missed = last_within(schedule, last_us, times_out[0] - 1, &due.left_out_last_us);
    }
    if (any_missed) {
        (void)first_within(schedule, last_us, now_us, &due.left_out_first_us); /* there is one */
    } else {
        due.left_out_last_us = 0;
    }
    *due_out = due;
}
