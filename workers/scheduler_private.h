/*
 * What the parts of the scheduler share: scheduler_plans.c keeps what each job waits for,
 * scheduler_schedules.c and scheduler_triggers.c make its runs, scheduler.c drives them
 * and takes what others tell. Private to scheduler*.c.
 *
 * `plans` belong to the thread alone; under the lock there is only what others told.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/lock.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/schedule.h"
#include "workers/scheduler.h"
#include "workers/trigger.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One trigger of a plan and when it is looked at next. */
struct watch {
    struct trigger trigger; /* its definition lies in the plan's */
    char key[TRIGGER_KEY_BYTES];
    char *state;    /* what it has seen; "" = never looked at */
    int64_t due_us; /* wall */
};

/* A job that makes runs by itself. */
struct job_plan {
    int64_t job_id;
    int32_t version;
    const struct job_definition *definition;
    bool has_schedule;
    struct schedule schedule;
    struct job_schedule place;
    int64_t retry_us; /* wall; the schedule is left alone until then, 0 = not */
    struct watch *watches;
    size_t watches_count;
};

/* What was told since the last step. */
struct told {
    int64_t *changed; /* jobs */
    size_t changed_count;
    int64_t *ended; /* jobs of which a run ended */
    size_t ended_count;
    struct id *tables;
    size_t tables_count;
    bool everything; /* more than could be noted */
};

struct scheduler {
    struct scheduler_options options;
    struct trigger_services services;
    struct arena arena;     /* the thread's; reset for each job */
    struct job_plan *plans; /* ascending job_id; the thread's */
    size_t plans_count;
    int64_t reload_us; /* wall; jobs could not be read, all are read again then; 0 = not */

    struct lock lock; /* rank QUEUE; guards what follows */
    struct wake wake;
    struct wake settled;
    struct told told;
    bool resting; /* the thread waits and has nothing to do */
    bool stopping;
    bool started; /* whoever starts and stops it */
    pthread_t thread;
};

/* ---- plans: the thread's ---- */

/* Accepts zeroed; leaves it zeroed. */
void job_plan_deinit(struct job_plan *plan);

/* Every job as it is now becomes its plan. Errors: jobs cannot be read; the plans stay. */
enum err_code job_plans_load(struct scheduler *scheduler, struct err *err) MUST_USE;

/* The same of one job. What cannot be read is told, and tried again later. */
void job_plans_reload(struct scheduler *scheduler, int64_t job_id);

/* Jobs could not be read: the plans stay as they are for now, and all are read again. */
void job_plans_reload_later(struct scheduler *scheduler, int64_t job_id, const struct err *err);

/* ---- making runs: the thread's ---- */

/* Tell that a job's run could not be made; it is tried again. */
void job_plan_log_failure(int64_t job_id, const struct err *err);

/* The run that a plan makes; `fire` is borrowed. */
static inline struct run_new job_plan_run(const struct job_plan *plan, enum run_trigger kind,
                                          int64_t time_us, const struct run_fire *fire)
{
    return (struct run_new){
        .job_id = plan->job_id,
        .job_version = plan->version,
        .trigger = kind,
        .trigger_time_us = time_us,
        .fire = fire,
    };
}

/* Make every run whose fire time has come. */
void schedules_run(struct scheduler *scheduler, int64_t now_us);

/* When the plan's schedule is due, wall; INT64_MAX = never. */
int64_t job_plan_due(const struct job_plan *plan);

/* Look at the triggers of a plan that are due, and make their runs. */
void triggers_run(struct scheduler *scheduler, struct job_plan *plan, int64_t now_us);
