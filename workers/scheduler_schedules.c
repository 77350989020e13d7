/*
 * Fire times become runs: many jobs' in one transaction, each with the place its schedule
 * moves on to. See scheduler_private.h, and storage/jobs/schedule.h for fire times.
 */
#include "workers/scheduler_private.h"

#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/base/metrics.h"

enum {
    FIRES_AT_ONCE = 16,  /* missed times of one job before other jobs have their turn */
    FIRES_TOGETHER = 64, /* of all jobs in one transaction: a full hour does not wait for a
                            thousand syncs, nor anybody else for a long transaction */
};

_Static_assert((int)FIRES_TOGETHER <= (int)RUN_CREATE_MAX, "they are one transaction");
_Static_assert(FIRES_AT_ONCE <= FIRES_TOGETHER, "those of a job go together");

/* A run that a schedule is to make, and where the schedule stands once it is made. */
struct firing {
    struct job_plan *plan;
    int64_t time_us; /* the fire time */
    struct job_schedule place;
};

/* Those that are due, of several jobs; of one job in order. */
struct firings {
    struct firing items[FIRES_TOGETHER];
    size_t count;
};

static void observe_lag(int64_t lag_us)
{
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_schedule_lag_seconds", "",
                                      "From a fire time to its run being stored."),
                      lag_us);
}

static void log_left_out(const struct job_plan *plan, const struct schedule_due *due)
{
    if (due->left_out_last_us == 0) {
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_WARN, "fire times were missed and left out, as catch_up says");
    log_text(&line, LOG_TASK, "schedule");
    log_integer(&line, LOG_JOB, plan->job_id);
    log_end(&line);
}

static void place_after(const struct job_plan *plan, int64_t decided_us, struct job_schedule *place)
{
    *place = plan->place;
    place->decided_us = decided_us;
    place->next_fire_us = 0;
    (void)schedule_next(&plan->schedule, decided_us, &place->next_fire_us); /* 0: never again */
}

static void note_fired(struct scheduler *scheduler, const struct firing *firing, int64_t run_id)
{
    firing->plan->place = firing->place;
    observe_lag(clock_wall_us() - firing->time_us);
    scheduler->options.run_made(scheduler->options.arg, run_id);
}

/* One transaction: all of them, or none. */
static enum err_code make_together(struct scheduler *scheduler, const struct firings *firings,
                                   struct err *err)
{
    struct run_fire moved[FIRES_TOGETHER];
    struct run_new news[FIRES_TOGETHER];
    int64_t run_ids[FIRES_TOGETHER];
    bool mades[FIRES_TOGETHER];
    for (size_t i = 0; i < firings->count; i++) {
        const struct firing *firing = &firings->items[i];
        moved[i] = (struct run_fire){.schedule = &firing->place};
        news[i] = job_plan_run(firing->plan, RUN_TRIGGER_SCHEDULE, firing->time_us, &moved[i]);
    }
    TRY(run_create_all(scheduler->options.catalog, news, firings->count, run_ids, mades, err));
    for (size_t i = 0; i < firings->count; i++) {
        note_fired(scheduler, &firings->items[i], run_ids[i]);
    }
    return ERR_OK;
}

static void leave_alone(struct job_plan *plan, int64_t now_us, const struct err *err)
{
    plan->retry_us = now_us + SCHEDULER_RETRY_US;
    job_plan_log_failure(plan->job_id, err);
}

/* So that a job whose run cannot be made holds nobody else up. */
static void make_one_by_one(struct scheduler *scheduler, const struct firings *firings,
                            int64_t now_us)
{
    for (size_t i = 0; i < firings->count; i++) {
        const struct firing *firing = &firings->items[i];
        const struct run_fire moved = {.schedule = &firing->place};
        const struct run_new new =
            job_plan_run(firing->plan, RUN_TRIGGER_SCHEDULE, firing->time_us, &moved);
        struct err err = {0};
        int64_t run_id = 0;
        bool made = false;
        if (firing->plan->retry_us != 0) {
            continue; /* the one before it failed, and they are made in order */
        }
        if (run_create(scheduler->options.catalog, &new, &run_id, &made, &err) == ERR_OK) {
            note_fired(scheduler, firing, run_id);
        } else {
            leave_alone(firing->plan, now_us, &err);
        }
    }
}

static void make_due(struct scheduler *scheduler, struct firings *firings, int64_t now_us)
{
    struct err err = {0}; /* found again, and told, one by one */
    if (firings->count > 0 && make_together(scheduler, firings, &err) != ERR_OK) {
        make_one_by_one(scheduler, firings, now_us);
    }
    firings->count = 0;
}

/* Every time of the job was missed and is left out: only its schedule moves on. */
static void pass_over(struct scheduler *scheduler, struct job_plan *plan, int64_t decided_us,
                      int64_t now_us)
{
    struct err err = {0};
    struct job_schedule place;
    place_after(plan, decided_us, &place);
    if (job_set_schedule(scheduler->options.catalog, plan->job_id, plan->version, &place, &err) ==
        ERR_OK) {
        plan->place = place;
    } else {
        leave_alone(plan, now_us, &err);
    }
}

int64_t job_plan_due(const struct job_plan *plan)
{
    if (!plan->has_schedule || plan->schedule.paused || plan->place.next_fire_us == 0) {
        return INT64_MAX;
    }
    return plan->place.next_fire_us > plan->retry_us ? plan->place.next_fire_us : plan->retry_us;
}

/* What is due of the job, oldest first; where its schedule stands goes along with each. */
static void gather(struct scheduler *scheduler, struct job_plan *plan, int64_t now_us,
                   struct firings *firings)
{
    static const enum schedule_catch_up policies[] = {
        [CATCH_UP_NONE] = SCHEDULE_CATCH_UP_NONE,
        [CATCH_UP_LAST] = SCHEDULE_CATCH_UP_LAST,
        [CATCH_UP_ALL] = SCHEDULE_CATCH_UP_ALL,
    };
    const struct schedule_downtime downtime = {
        .last_us = plan->place.decided_us,
        .now_us = now_us,
        .grace_us = SCHEDULER_GRACE_US,
        .catch_up = policies[plan->definition->schedule.catch_up],
        .times_max = FIRES_AT_ONCE,
    };
    int64_t times[FIRES_AT_ONCE];
    struct schedule_due due = {0};
    plan->retry_us = 0;
    schedule_missed(&plan->schedule, &downtime, times, &due);
    log_left_out(plan, &due);
    if (due.count == 0) {
        pass_over(scheduler, plan, due.decided_us, now_us);
    }
    for (size_t i = 0; i < due.count; i++) {
        struct firing *firing = &firings->items[firings->count++];
        *firing = (struct firing){.plan = plan, .time_us = times[i]};
        place_after(plan, i + 1 < due.count ? times[i] : due.decided_us, &firing->place);
    }
}

void schedules_run(struct scheduler *scheduler, int64_t now_us)
{
    struct firings firings;
    firings.count = 0;
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        if (job_plan_due(&scheduler->plans[i]) <= now_us) {
            gather(scheduler, &scheduler->plans[i], now_us, &firings);
        }
        if (firings.count > FIRES_TOGETHER - FIRES_AT_ONCE) {
            make_due(scheduler, &firings, now_us);
        }
    }
    make_due(scheduler, &firings, now_us);
}
