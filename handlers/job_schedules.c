/*
 * Schedules of job definitions. See job_schedules.h for the contract.
 */
#include "handlers/job_schedules.h"

#include <string.h>

enum err_code job_schedule_open(const struct definition_schedule *timing, int64_t anchor_us,
                                struct schedule *schedule_out, struct err *err)
{
    const struct schedule_options options = {
        .quartz_cron_expression = timing->cron,
        .every_seconds = timing->every_seconds,
        .timezone_id = timing->cron != NULL ? timing->timezone_id : NULL,
        .anchor_us = anchor_us,
        .paused = timing->paused,
    };
    return schedule_init(schedule_out, &options, err);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool job_schedule_same_interval(const struct job_definition *a, const struct job_definition *b)
{
    return a->has_schedule && b->has_schedule && a->schedule.cron == NULL &&
           b->schedule.cron == NULL && a->schedule.every_seconds == b->schedule.every_seconds;
}

bool job_schedule_same_timing(const struct job_definition *stored,
                              const struct job_definition *next)
{
    const struct definition_schedule *a = &stored->schedule;
    const struct definition_schedule *b = &next->schedule;
    if (!stored->has_schedule || !next->has_schedule) {
        return stored->has_schedule == next->has_schedule;
    }
    return same_text(a->cron, b->cron) && a->every_seconds == b->every_seconds &&
           same_text(a->timezone_id, b->timezone_id) && a->paused == b->paused;
}

enum err_code job_schedule_begin(const struct job_definition *definition, int64_t anchor_us,
                                 int64_t now_us, struct job_schedule *schedule_out, struct err *err)
{
    *schedule_out = (struct job_schedule){0};
    if (!definition->has_schedule) {
        return ERR_OK;
    }
    CLEANUP(schedule_deinit) struct schedule schedule = {0};
    TRY(job_schedule_open(&definition->schedule, anchor_us, &schedule, err));
    *schedule_out = (struct job_schedule){.anchor_us = anchor_us, .decided_us = now_us};
    if (!schedule_next(&schedule, now_us, &schedule_out->next_fire_us)) {
        schedule_out->next_fire_us = 0;
    }
    return ERR_OK;
}
