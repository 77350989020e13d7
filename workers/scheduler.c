/*
 * The scheduler's thread. See scheduler.h for what it promises, trigger.h for looking
 * at triggers, storage/jobs/schedule.h for fire times.
 *
 * `plans` belong to the thread alone; under the lock there is only what others told.
 */
#include "workers/scheduler.h"

#include "storage/base/arena.h"
#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/schedule.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"
#include "workers/trigger.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

enum {
    STEP_ARENA_BYTES = 32 << 20,
    LOAD_PAGE = 100,
    FIRES_AT_ONCE = 16,  /* missed times of one job before other jobs have their turn */
    FIRES_TOGETHER = 64, /* of all jobs in one transaction: a full hour does not wait for a
                            thousand syncs, nor anybody else for a long transaction */
    TOLD_MAX = 4096,     /* of a kind; more is "look at everything" */
    WAIT_US_MAX = SCHEDULER_POLL_US,
};

/* One trigger of a plan and when it is looked at next. */
struct watch {
    struct trigger trigger; /* its definition lies in the plan's */
    char key[TRIGGER_KEY_BYTES];
    char *state;    /* what it has seen; "" = never looked at */
    int64_t due_us; /* wall */
};

_Static_assert((int)FIRES_TOGETHER <= (int)RUN_CREATE_MAX, "they are one transaction");
_Static_assert(FIRES_AT_ONCE <= FIRES_TOGETHER, "those of a job go together");

/* A job that makes runs by itself. */
struct plan {
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

/* A run that a schedule is to make, and where the schedule stands once it is made. */
struct firing {
    struct plan *plan;
    int64_t time_us; /* the fire time */
    struct job_schedule place;
};

/* Those that are due, of several jobs; of one job in order. */
struct firings {
    struct firing items[FIRES_TOGETHER];
    size_t count;
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
    struct arena arena; /* the thread's; reset for each job */
    struct plan *plans; /* ascending job_id; the thread's */
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

/* ---- plans ---- */

static void plan_deinit(struct plan *plan)
{
    for (size_t i = 0; i < plan->watches_count; i++) {
        mem_free(plan->watches[i].state);
    }
    mem_free(plan->watches);
    schedule_deinit(&plan->schedule);
    job_definition_release(&plan->definition);
    *plan = (struct plan){0};
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
        plan_deinit(&scheduler->plans[at]);
        scheduler->plans_count--;
        memmove(&scheduler->plans[at], &scheduler->plans[at + 1],
                (scheduler->plans_count - at) * sizeof *scheduler->plans);
    }
}

/* Takes the plan. */
static void plan_put(struct scheduler *scheduler, struct plan *plan)
{
    plan_remove(scheduler, plan->job_id);
    size_t at = plan_place(scheduler, plan->job_id);
    scheduler->plans =
        mem_resize(scheduler->plans, scheduler->plans_count + 1, sizeof *scheduler->plans);
    memmove(&scheduler->plans[at + 1], &scheduler->plans[at],
            (scheduler->plans_count - at) * sizeof *scheduler->plans);
    scheduler->plans[at] = *plan;
    scheduler->plans_count++;
    *plan = (struct plan){0};
}

static enum err_code plan_schedule(struct plan *plan, const struct job *job, struct err *err)
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

static enum err_code plan_watches(struct scheduler *scheduler, struct plan *plan,
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
                               struct plan *plan, struct err *err)
{
    plan->job_id = job->job_id;
    plan->version = job->version;
    TRY(job_definition_read(span_of_text(job->definition), &plan->definition, err));
    if (plan->definition->has_schedule) {
        TRY(plan_schedule(plan, job, err));
    }
    return plan_watches(scheduler, plan, job, err);
}

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

/* The job as it is now becomes its plan; one that makes no runs by itself has none. */
static void take_job(struct scheduler *scheduler, const struct job *job)
{
    struct plan plan = {0};
    struct err err = {0};
    if (plan_make(scheduler, job, &plan, &err) != ERR_OK) {
        log_trouble(job->job_id, "a job cannot be scheduled; change or delete it", &err);
        plan_deinit(&plan);
    }
    if (plan.has_schedule || plan.watches_count > 0) {
        plan_put(scheduler, &plan);
    } else {
        plan_remove(scheduler, job->job_id);
    }
    plan_deinit(&plan);
}

/* Jobs could not be read: the plans stay as they are for now. */
static void reload_later(struct scheduler *scheduler, int64_t job_id, const struct err *err)
{
    log_trouble(job_id, "jobs could not be read and will be tried again", err);
    scheduler->reload_us = clock_wall_us() + SCHEDULER_RETRY_US;
}

static void reload(struct scheduler *scheduler, int64_t job_id)
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
        reload_later(scheduler, job_id, &err);
    }
}

static enum err_code load_all(struct scheduler *scheduler, struct err *err)
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

/* ---- making runs ---- */

static void log_failure(int64_t job_id, const struct err *err)
{
    if (err->code == ERR_PRECONDITION || err->code == ERR_NOT_FOUND) {
        return; /* changed or deleted meanwhile: scheduler_job_changed tells */
    }
    log_trouble(job_id, "a run could not be made and will be tried again", err);
}

static struct run_new run_for(const struct plan *plan, enum run_trigger kind, int64_t time_us,
                              const struct run_fire *fire)
{
    return (struct run_new){
        .job_id = plan->job_id,
        .job_version = plan->version,
        .trigger = kind,
        .trigger_time_us = time_us,
        .fire = fire,
    };
}

/* ---- schedules ---- */

static void observe_lag(int64_t lag_us)
{
    metric_observe_us(metric_register(METRIC_HISTOGRAM, "sluice_schedule_lag_seconds", "",
                                      "From a fire time to its run being stored."),
                      lag_us);
}

static void log_left_out(const struct plan *plan, const struct schedule_due *due)
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

static void place_after(const struct plan *plan, int64_t decided_us, struct job_schedule *place)
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
        news[i] = run_for(firing->plan, RUN_TRIGGER_SCHEDULE, firing->time_us, &moved[i]);
    }
    TRY(run_create_all(scheduler->options.catalog, news, firings->count, run_ids, mades, err));
    for (size_t i = 0; i < firings->count; i++) {
        note_fired(scheduler, &firings->items[i], run_ids[i]);
    }
    return ERR_OK;
}

static void leave_alone(struct plan *plan, int64_t now_us, const struct err *err)
{
    plan->retry_us = now_us + SCHEDULER_RETRY_US;
    log_failure(plan->job_id, err);
}

/* So that a job whose run cannot be made holds nobody else up. */
static void make_one_by_one(struct scheduler *scheduler, const struct firings *firings,
                            int64_t now_us)
{
    for (size_t i = 0; i < firings->count; i++) {
        const struct firing *firing = &firings->items[i];
        const struct run_fire moved = {.schedule = &firing->place};
        const struct run_new new =
            run_for(firing->plan, RUN_TRIGGER_SCHEDULE, firing->time_us, &moved);
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
static void pass_over(struct scheduler *scheduler, struct plan *plan, int64_t decided_us,
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

static bool schedule_is_due(const struct plan *plan, int64_t now_us)
{
    return plan->has_schedule && !plan->schedule.paused && plan->place.next_fire_us != 0 &&
           plan->place.next_fire_us <= now_us && plan->retry_us <= now_us;
}

/* What is due of the job, oldest first; where its schedule stands goes along with each. */
static void gather(struct scheduler *scheduler, struct plan *plan, int64_t now_us,
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

static void run_schedules(struct scheduler *scheduler, int64_t now_us)
{
    struct firings firings;
    firings.count = 0;
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        if (schedule_is_due(&scheduler->plans[i], now_us)) {
            gather(scheduler, &scheduler->plans[i], now_us, &firings);
        }
        if (firings.count > FIRES_TOGETHER - FIRES_AT_ONCE) {
            make_due(scheduler, &firings, now_us);
        }
    }
    make_due(scheduler, &firings, now_us);
}

/* ---- triggers ---- */

/* Remember without a run: every watch of the job as it stands, this one with its news. */
static enum err_code store_states(struct scheduler *scheduler, const struct plan *plan,
                                  const struct watch *news, const char *state, struct err *err)
{
    struct job_trigger_state *states =
        arena_alloc(&scheduler->arena, (plan->watches_count + 1) * sizeof *states);
    size_t count = 0;
    if (states == NULL) {
        return err_set(err, ERR_TOO_LARGE, "what the triggers have seen");
    }
    for (size_t i = 0; i < plan->watches_count; i++) {
        const struct watch *watch = &plan->watches[i];
        const char *stored = watch == news ? state : watch->state;
        if (stored[0] != '\0') {
            states[count++] = (struct job_trigger_state){.key = watch->key, .state = stored};
        }
    }
    return job_set_triggers(scheduler->options.catalog, plan->job_id, plan->version, states, count,
                            err);
}

/* May a trigger that gathers events make a run now? Else it waits for the end of one. */
static enum err_code has_room(struct scheduler *scheduler, const struct plan *plan,
                              const struct watch *watch, bool *room_out, struct err *err)
{
    enum job_trigger_type type = watch->trigger.definition->type;
    *room_out = true;
    if (type != JOB_TRIGGER_TABLE_UPDATE && type != JOB_TRIGGER_FILE_ARRIVAL) {
        return ERR_OK;
    }
    int64_t active = 0;
    TRY(runs_active_count(scheduler->options.catalog, plan->job_id, &active, err));
    *room_out = active < plan->definition->max_concurrent_runs;
    return ERR_OK;
}

static enum err_code act_on_look(struct scheduler *scheduler, struct plan *plan,
                                 struct watch *watch, const struct trigger_look *look,
                                 const char *state, int64_t now_us, struct err *err)
{
    watch->due_us = look->more ? now_us : look->due_us;
    bool room = true;
    if (look->fire) {
        TRY(has_room(scheduler, plan, watch, &room, err));
    }
    if (!room) {
        watch->due_us = INT64_MAX; /* scheduler_run_ended brings it back; nothing was taken */
        return ERR_OK;
    }
    if (look->fire) {
        const struct job_trigger_state seen = {.key = watch->key, .state = state};
        const struct run_fire moved = {.trigger = &seen};
        const struct run_new new =
            run_for(plan, trigger_run_kind(watch->trigger.definition), look->time_us, &moved);
        int64_t run_id = 0;
        bool made = false;
        TRY(run_create(scheduler->options.catalog, &new, &run_id, &made, err));
        scheduler->options.run_made(scheduler->options.arg, run_id);
    } else if (look->changed) {
        TRY(store_states(scheduler, plan, watch, state, err));
    } else {
        return ERR_OK;
    }
    mem_free(watch->state);
    watch->state = mem_copy_text(state);
    return ERR_OK;
}

static enum err_code look_at(struct scheduler *scheduler, struct plan *plan, struct watch *watch,
                             int64_t now_us, struct err *err)
{
    struct trigger_look look = {0};
    CLEANUP(buffer_deinit) struct buffer state;
    buffer_init(&state, JOB_TRIGGER_STATE_BYTES_MAX);
    arena_reset(&scheduler->arena);
    TRY(trigger_look(&scheduler->services, &watch->trigger, span_of_text(watch->state), now_us,
                     &scheduler->arena, &state, &look, err));
    buffer_append_byte(&state, '\0');
    TRY(buffer_check(&state, "what the trigger has seen", err));
    return act_on_look(scheduler, plan, watch, &look, (const char *)state.data, now_us, err);
}

static void run_triggers(struct scheduler *scheduler, struct plan *plan, int64_t now_us)
{
    for (size_t i = 0; i < plan->watches_count; i++) {
        struct watch *watch = &plan->watches[i];
        if (watch->due_us > now_us) {
            continue;
        }
        struct err err = {0};
        if (look_at(scheduler, plan, watch, now_us, &err) != ERR_OK) {
            watch->due_us = now_us + SCHEDULER_RETRY_US;
            log_failure(plan->job_id, &err);
        }
    }
}

/* ---- what was told ---- */

static void note_job(int64_t **list, size_t *count, int64_t job_id, struct told *told)
{
    for (size_t i = 0; i < *count; i++) {
        if ((*list)[i] == job_id) {
            return;
        }
    }
    if (*count == TOLD_MAX) {
        told->everything = true;
        return;
    }
    *list = mem_resize(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = job_id;
}

static void told_deinit(struct told *told)
{
    mem_free(told->changed);
    mem_free(told->ended);
    mem_free(told->tables);
    *told = (struct told){0};
}

static bool told_is_empty(const struct told *told)
{
    return told->changed_count == 0 && told->ended_count == 0 && told->tables_count == 0 &&
           !told->everything;
}

static void told_job(struct scheduler *scheduler, bool changed, int64_t job_id)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&scheduler->lock);
    struct told *told = &scheduler->told;
    if (changed) {
        note_job(&told->changed, &told->changed_count, job_id, told);
    } else {
        note_job(&told->ended, &told->ended_count, job_id, told);
    }
    wake_one(&scheduler->wake);
}

void scheduler_job_changed(struct scheduler *scheduler, int64_t job_id)
{
    told_job(scheduler, true, job_id);
}

void scheduler_run_ended(struct scheduler *scheduler, int64_t job_id)
{
    if (job_id != 0) {
        told_job(scheduler, false, job_id);
    }
}

void scheduler_table_changed(struct scheduler *scheduler, const struct id *table)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&scheduler->lock);
    struct told *told = &scheduler->told;
    for (size_t i = 0; i < told->tables_count; i++) {
        if (strcmp(told->tables[i].text, table->text) == 0) {
            return; /* woken already */
        }
    }
    if (told->tables_count == TOLD_MAX) {
        told->everything = true;
    } else {
        told->tables = mem_resize(told->tables, told->tables_count + 1, sizeof *told->tables);
        told->tables[told->tables_count++] = *table;
    }
    wake_one(&scheduler->wake);
}

static bool is_among(const int64_t *list, size_t count, int64_t job_id)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == job_id) {
            return true;
        }
    }
    return false;
}

static bool names_table(const struct definition_trigger *trigger, const char *name)
{
    for (size_t i = 0; i < trigger->tables_count; i++) {
        if (strcmp(trigger->tables[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool table_was_told(struct scheduler *scheduler, const struct told *told,
                           const struct definition_trigger *trigger)
{
    for (size_t i = 0; i < told->tables_count; i++) {
        CLEANUP(table_release) struct table *table = NULL;
        struct err gone = {0};
        if (tables_find_by_uuid(scheduler->options.tables, &told->tables[i], &table, &gone) ==
                ERR_OK &&
            names_table(trigger, table_name(table))) {
            return true;
        }
    }
    return false;
}

/* Does what was told concern this trigger? */
static bool is_told(struct scheduler *scheduler, const struct told *told, const struct plan *plan,
                    const struct definition_trigger *trigger)
{
    if (told->everything || is_among(told->ended, told->ended_count, plan->job_id)) {
        return true; /* of its own job: there may be room again, and a continuous one goes on */
    }
    if (trigger->type == JOB_TRIGGER_JOB_FINISHED) {
        return is_among(told->ended, told->ended_count, trigger->job_id);
    }
    return trigger->type == JOB_TRIGGER_TABLE_UPDATE && told->tables_count > 0 &&
           table_was_told(scheduler, told, trigger);
}

static void obey(struct scheduler *scheduler, struct told *told)
{
    for (size_t i = 0; i < told->changed_count; i++) {
        reload(scheduler, told->changed[i]);
    }
    if (told->everything ||
        (scheduler->reload_us != 0 && scheduler->reload_us <= clock_wall_us())) {
        struct err err = {0};
        scheduler->reload_us = 0;
        if (load_all(scheduler, &err) != ERR_OK) {
            reload_later(scheduler, 0, &err);
        }
    }
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        struct plan *plan = &scheduler->plans[i];
        for (size_t k = 0; k < plan->watches_count; k++) {
            if (is_told(scheduler, told, plan, plan->watches[k].trigger.definition)) {
                plan->watches[k].due_us = 0;
            }
        }
    }
}

/* ---- the thread ---- */

/* Wall time of the next thing to do; INT64_MAX = none. */
static int64_t next_due(const struct scheduler *scheduler)
{
    int64_t next_us = scheduler->reload_us != 0 ? scheduler->reload_us : INT64_MAX;
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        const struct plan *plan = &scheduler->plans[i];
        if (plan->has_schedule && !plan->schedule.paused && plan->place.next_fire_us != 0) {
            int64_t due_us = plan->place.next_fire_us > plan->retry_us ? plan->place.next_fire_us
                                                                       : plan->retry_us;
            next_us = due_us < next_us ? due_us : next_us;
        }
        for (size_t k = 0; k < plan->watches_count; k++) {
            next_us = plan->watches[k].due_us < next_us ? plan->watches[k].due_us : next_us;
        }
    }
    return next_us;
}

static void step(struct scheduler *scheduler)
{
    int64_t now_us = clock_wall_us();
    run_schedules(scheduler, now_us);
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        run_triggers(scheduler, &scheduler->plans[i], now_us);
    }
}

/* Wait, with the lock, until something is due or told. */
static void rest(struct scheduler *scheduler, int64_t due_us)
{
    int64_t wait_us = WAIT_US_MAX; /* the clock may be set, or frozen by a test */
    int64_t now_us = clock_wall_us();
    if (due_us <= now_us) {
        return;
    }
    if (due_us - now_us < wait_us) {
        wait_us = due_us - now_us;
    }
    scheduler->resting = true;
    wake_all(&scheduler->settled);
    (void)wake_wait_until(&scheduler->wake, &scheduler->lock, clock_monotonic_us() + wait_us);
    scheduler->resting = false;
}

static void *scheduler_main(void *arg)
{
    struct scheduler *scheduler = arg;
    lock_take(&scheduler->lock);
    while (!scheduler->stopping) {
        struct told told = scheduler->told;
        scheduler->told = (struct told){0};
        lock_drop(&scheduler->lock);
        obey(scheduler, &told);
        told_deinit(&told);
        step(scheduler);
        int64_t due_us = next_due(scheduler);
        lock_take(&scheduler->lock);
        if (!scheduler->stopping && told_is_empty(&scheduler->told)) {
            rest(scheduler, due_us);
        }
    }
    lock_drop(&scheduler->lock);
    return NULL;
}

void scheduler_settle(struct scheduler *scheduler)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&scheduler->lock);
    scheduler->resting = false; /* at least one step from now on */
    wake_one(&scheduler->wake);
    while (!scheduler->resting || !told_is_empty(&scheduler->told)) {
        wake_wait(&scheduler->settled, &scheduler->lock);
    }
}

enum err_code scheduler_open(const struct scheduler_options *options,
                             struct scheduler **scheduler_out, struct err *err)
{
    struct scheduler *scheduler = mem_zeroed(1, sizeof *scheduler);
    scheduler->options = *options;
    scheduler->services = (struct trigger_services){
        .catalog = options->catalog,
        .tables = options->tables,
        .source_roots = options->source_roots,
    };
    arena_init(&scheduler->arena, STEP_ARENA_BYTES);
    lock_init(&scheduler->lock, LOCK_RANK_QUEUE);
    wake_init(&scheduler->wake);
    wake_init(&scheduler->settled);
    if (load_all(scheduler, err) != ERR_OK) {
        scheduler_close(&scheduler);
        return err_wrap(err, "load the jobs");
    }
    *scheduler_out = scheduler;
    return ERR_OK;
}

void scheduler_start(struct scheduler *scheduler)
{
    assert(!scheduler->started);
    int result = pthread_create(&scheduler->thread, NULL, scheduler_main, scheduler);
    assert(result == 0);
    scheduler->started = true;
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (!scheduler->started) {
        return;
    }
    lock_take(&scheduler->lock);
    scheduler->stopping = true;
    wake_all(&scheduler->wake);
    lock_drop(&scheduler->lock);
    int result = pthread_join(scheduler->thread, NULL);
    assert(result == 0);
    scheduler->started = false;
}

void scheduler_close(struct scheduler **scheduler)
{
    struct scheduler *closed = *scheduler;
    if (closed == NULL) {
        return;
    }
    scheduler_stop(closed);
    for (size_t i = 0; i < closed->plans_count; i++) {
        plan_deinit(&closed->plans[i]);
    }
    mem_free(closed->plans);
    told_deinit(&closed->told);
    arena_deinit(&closed->arena);
    wake_deinit(&closed->settled);
    wake_deinit(&closed->wake);
    lock_deinit(&closed->lock);
    mem_free(closed);
    *scheduler = NULL;
}
