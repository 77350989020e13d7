/*
 * What each job waits for: its definition, its schedule and its triggers as plans. See
 * scheduler_private.h.
 */
#include "workers/scheduler_private.h"

#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"

#include <string.h>

enum { LOAD_PAGE = 100 };

/* ---- the list ---- */

void job_plan_deinit(struct job_plan *plan)
{
    for (size_t i = 0; i < plan->watches_count; i++) {
        mem_free(plan->watches[i].state);
    }
    mem_free(plan->watches);
    schedule_deinit(&plan->schedule);
    job_definition_release(&plan->definition);
    *plan = (struct job_plan){0};
}

/* Where the job's plan is, or would be. */
static size_t plan_place(const struct scheduler *scheduler, int64_t job_id)
{
    size_t low = 0;
    size_t high = scheduler->plans_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (scheduler->plans[middle].job_id < job_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void plan_remove(struct scheduler *scheduler, int64_t job_id)
{
    size_t at = plan_place(scheduler, job_id);
    if (at < scheduler->plans_count && scheduler->plans[at].job_id == job_id) {
        job_plan_deinit(&scheduler->plans[at]);
        scheduler->plans_count--;
        memmove(&scheduler->plans[at], &scheduler->plans[at + 1],
                (scheduler->plans_count - at) * sizeof *scheduler->plans);
    }
}

/* Takes the plan. */
static void plan_put(struct scheduler *scheduler, struct job_plan *plan)
{
    plan_remove(scheduler, plan->job_id);
    size_t at = plan_place(scheduler, plan->job_id);
    scheduler->plans =
        mem_resize(scheduler->plans, scheduler->plans_count + 1, sizeof *scheduler->plans);
    memmove(&scheduler->plans[at + 1], &scheduler->plans[at],
            (scheduler->plans_count - at) * sizeof *scheduler->plans);
    scheduler->plans[at] = *plan;
    scheduler->plans_count++;
    *plan = (struct job_plan){0};
}

/* ---- of one job ---- */

static enum err_code plan_schedule(struct job_plan *plan, const struct job *job, struct err *err)
{
    const struct definition_schedule *definition = &plan->definition->schedule;
    const struct schedule_options options = {
        .quartz_cron_expression = definition->cron,
        .every_seconds = definition->every_seconds,
        .timezone_id = definition->cron != NULL ? definition->timezone_id : NULL,
        .anchor_us = job->schedule.anchor_us,
        .paused = definition->paused,
    };
    TRY(schedule_init(&plan->schedule, &options, err));
    plan->has_schedule = true;
    plan->place = job->schedule;
    return ERR_OK;
}

static const char *stored_state(const struct job_trigger_state *states, size_t count,
                                const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(states[i].key, key) == 0) {
            return states[i].state;
        }
    }
    return "";
}

static enum err_code plan_watches(struct scheduler *scheduler, struct job_plan *plan,
                                  const struct job *job, struct err *err)
{
    struct job_trigger_state *states = NULL;
    size_t states_count = 0;
    TRY(job_triggers(scheduler->options.catalog, job->job_id, &scheduler->arena, &states,
                     &states_count, err));
    plan->watches = mem_zeroed(plan->definition->triggers_count + 1, sizeof *plan->watches);
    for (size_t i = 0; i < plan->definition->triggers_count; i++) {
        const struct definition_trigger *definition = &plan->definition->triggers[i];
        if (definition->paused) {
            continue;
        }
        struct watch *watch = &plan->watches[plan->watches_count++];
        watch->trigger = (struct trigger){
            .definition = definition, .job_id = job->job_id, .changed_at_us = job->changed_at_us};
        trigger_key(definition, watch->key);
        watch->state = mem_copy_text(stored_state(states, states_count, watch->key));
    }
    return ERR_OK;
}

static enum err_code plan_make(struct scheduler *scheduler, const struct job *job,
                               struct job_plan *plan, struct err *err)
{
    plan->job_id = job->job_id;
    plan->version = job->version;
    TRY(job_definition_read(span_of_text(job->definition), &plan->definition, err));
    if (plan->definition->has_schedule) {
        TRY(plan_schedule(plan, job, err));
    }
    return plan_watches(scheduler, plan, job, err);
}

/* ---- reading jobs ---- */

/* A stored definition that cannot be read is told and left out; the others go on. */
static void log_trouble(int64_t job_id, const char *message, const struct err *err)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, message);
    log_text(&line, LOG_TASK, "schedule");
    log_integer(&line, LOG_JOB, job_id);
    log_err(&line, err);
    log_end(&line);
}

void job_plan_log_failure(int64_t job_id, const struct err *err)
{
    if (err->code == ERR_PRECONDITION || err->code == ERR_NOT_FOUND) {
        return; /* changed or deleted meanwhile: scheduler_job_changed tells */
    }
    log_trouble(job_id, "a run could not be made and will be tried again", err);
}

/* The job as it is now becomes its plan; one that makes no runs by itself has none. */
static void take_job(struct scheduler *scheduler, const struct job *job)
{
    struct job_plan plan = {0};
    struct err err = {0};
    if (plan_make(scheduler, job, &plan, &err) != ERR_OK) {
        log_trouble(job->job_id, "a job cannot be scheduled; change or delete it", &err);
        job_plan_deinit(&plan);
    }
    if (plan.has_schedule || plan.watches_count > 0) {
        plan_put(scheduler, &plan);
    } else {
        plan_remove(scheduler, job->job_id);
    }
    job_plan_deinit(&plan);
}

/* Jobs could not be read: the plans stay as they are for now. */
void job_plans_reload_later(struct scheduler *scheduler, int64_t job_id, const struct err *err)
{
    log_trouble(job_id, "jobs could not be read and will be tried again", err);
    scheduler->reload_us = clock_wall_us() + SCHEDULER_RETRY_US;
}

void job_plans_reload(struct scheduler *scheduler, int64_t job_id)
{
    struct err err = {0};
    struct job job = {0};
    arena_reset(&scheduler->arena);
    enum err_code code = job_get(scheduler->options.catalog, job_id, &scheduler->arena, &job, &err);
    if (code == ERR_OK) {
        take_job(scheduler, &job);
    } else if (code == ERR_NOT_FOUND) {
        plan_remove(scheduler, job_id);
    } else {
        job_plans_reload_later(scheduler, job_id, &err);
    }
}

enum err_code job_plans_load(struct scheduler *scheduler, struct err *err)
{
    const struct job_filter every = {0};
    int64_t after = 0;
    do {
        struct job *jobs = NULL;
        size_t count = 0;
        arena_reset(&scheduler->arena);
        TRY(job_list(scheduler->options.catalog, &every, after, LOAD_PAGE, &scheduler->arena, &jobs,
                     &count, &after, err));
        for (size_t i = 0; i < count; i++) {
            take_job(scheduler, &jobs[i]);
        }
    } while (after != 0);
    return ERR_OK;
}
