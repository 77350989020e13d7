/*
 * Events become runs: what a trigger has seen is stored with the run that it makes. See
 * scheduler_private.h, and trigger.h for looking.
 */
#include "workers/scheduler_private.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"

/* Remember without a run: every watch of the job as it stands, this one with its news. */
static enum err_code store_states(struct scheduler *scheduler, const struct job_plan *plan,
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
static enum err_code has_room(struct scheduler *scheduler, const struct job_plan *plan,
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

static enum err_code act_on_look(struct scheduler *scheduler, struct job_plan *plan,
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
            job_plan_run(plan, trigger_run_kind(watch->trigger.definition), look->time_us, &moved);
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

static enum err_code look_at(struct scheduler *scheduler, struct job_plan *plan,
                             struct watch *watch, int64_t now_us, struct err *err)
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

void triggers_run(struct scheduler *scheduler, struct job_plan *plan, int64_t now_us)
{
    for (size_t i = 0; i < plan->watches_count; i++) {
        struct watch *watch = &plan->watches[i];
        if (watch->due_us > now_us) {
            continue;
        }
        struct err err = {0};
        if (look_at(scheduler, plan, watch, now_us, &err) != ERR_OK) {
            watch->due_us = now_us + SCHEDULER_RETRY_US;
            job_plan_log_failure(plan->job_id, &err);
        }
    }
}
