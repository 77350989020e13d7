/*
 * The scheduler's thread, and what others tell it. See scheduler.h for what it promises,
 * scheduler_private.h for its parts.
 */
#include "workers/scheduler_private.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <string.h>

enum {
    STEP_ARENA_BYTES = 32 << 20,
    TOLD_MAX = 4096, /* of a kind; more is "look at everything" */
    WAIT_US_MAX = SCHEDULER_POLL_US,
};

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
static bool is_told(struct scheduler *scheduler, const struct told *told,
                    const struct job_plan *plan, const struct definition_trigger *trigger)
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
        job_plans_reload(scheduler, told->changed[i]);
    }
    if (told->everything ||
        (scheduler->reload_us != 0 && scheduler->reload_us <= clock_wall_us())) {
        struct err err = {0};
        scheduler->reload_us = 0;
        if (job_plans_load(scheduler, &err) != ERR_OK) {
            job_plans_reload_later(scheduler, 0, &err);
        }
    }
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        struct job_plan *plan = &scheduler->plans[i];
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
        const struct job_plan *plan = &scheduler->plans[i];
        int64_t due_us = job_plan_due(plan);
        next_us = due_us < next_us ? due_us : next_us;
        for (size_t k = 0; k < plan->watches_count; k++) {
            next_us = plan->watches[k].due_us < next_us ? plan->watches[k].due_us : next_us;
        }
    }
    return next_us;
}

static void step(struct scheduler *scheduler)
{
    int64_t now_us = clock_wall_us();
    schedules_run(scheduler, now_us);
    for (size_t i = 0; i < scheduler->plans_count; i++) {
        triggers_run(scheduler, &scheduler->plans[i], now_us);
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
    if (job_plans_load(scheduler, err) != ERR_OK) {
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
        job_plan_deinit(&closed->plans[i]);
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
