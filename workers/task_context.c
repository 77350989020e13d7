/*
 * An attempt on its thread: what task.h promises to tasks. See runner_private.h for
 * who owns what.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/catalog/catalog.h"
#include "workers/lent_secret.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 256 };

/* ---- life ---- */

struct task_run *task_run_new(struct runner *runner, const struct job_definition *definition)
{
    struct task_run *run = mem_zeroed(1, sizeof *run);
    run->runner = runner;
    run->definition = job_definition_acquire(definition);
    run->deadline_us = INT64_MAX;
    run->attempt.services = &runner->options.services;
    run->attempt.run = run;
    arena_init(&run->attempt.arena, RUNNER_ARENA_BYTES);
    lock_init(&run->lock, LOCK_RANK_CACHE);
    template_mark_make(run->mark);
    return run;
}

void task_run_free(struct task_run **run)
{
    if (*run == NULL) {
        return;
    }
    struct task_run *freed = *run;
    while (freed->pins != NULL) {
        struct task_pinned *pin = freed->pins;
        freed->pins = pin->next;
        json_free(&pin->value);
        mem_free(pin);
    }
    if (freed->identity.principal != NULL) {
        access_release(&freed->identity);
    }
    json_free(&freed->body);
    json_free(&freed->values);
    json_free(&freed->versions_read);
    json_free(&freed->versions_written);
    arena_deinit(&freed->attempt.arena);
    lock_deinit(&freed->lock);
    job_definition_release(&freed->definition);
    mem_free(freed->idempotency_key);
    mem_free(freed->ticket);
    mem_free(freed);
    *run = NULL;
}

static void work(struct task_run *run)
{
    struct runner *runner = run->runner;
    int64_t began_us = clock_monotonic_us();
    run_bind_thread(runner->options.services.catalog, run->attempt.run_id, &run->id);
    run->code = runner->options.types[run->task->type](&run->attempt, &run->err);
    run_unbind_thread();
    if (run->code == ERR_OK && run->values_overflowed) {
        run->code = err_set(&run->err, ERR_TOO_LARGE,
                            "its values for other tasks are over %d bytes; pass less between them",
                            RUNNER_VALUES_BYTES_MAX);
    }
    run->duration_us = clock_monotonic_us() - began_us;
}

void task_run_work(void *arg)
{
    struct task_run *run = arg;
    struct runner *runner = run->runner;
    bool broken = FAULT("run.attempt-begun");
    if (atomic_load(&run->cancelled)) { /* before it began */
        run->code = err_set(&run->err, ERR_CANCELLED, "stopped before it began");
    } else if (broken) {
        run->code = err_set(&run->err, ERR_IO, "a fault was injected");
    } else {
        work(run);
    }
    run->ended_us = clock_wall_us();
    if (FAULT("run.work-done")) {
        run->code = err_set(&run->err, ERR_IO, "a fault was injected");
    }
    task_pools_done(runner->threads, run->ticket);
    runner_take_end(runner, run);
}

/* ---- time ---- */

enum err_code task_check_time(struct task_attempt *attempt, struct err *err)
{
    const struct task_run *run = attempt->run;
    if (atomic_load(&run->cancelled)) {
        return err_set(err, ERR_CANCELLED, "stopped");
    }
    if (clock_monotonic_us() >= run->deadline_us) {
        return err_set(err, ERR_CANCELLED, "out of time");
    }
    return ERR_OK;
}

const _Atomic bool *task_cancel_flag(struct task_attempt *attempt)
{
    return &attempt->run->cancelled;
}

int64_t task_milliseconds_left(struct task_attempt *attempt)
{
    int64_t deadline_us = attempt->run->deadline_us;
    if (deadline_us == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t left_us = deadline_us - clock_monotonic_us();
    return left_us > 0 ? (left_us + 999) / 1000 : 0; /* a call must not give up before the task */
}

enum err_code task_wait_progress(struct task_attempt *attempt, const struct id *table,
                                 int64_t *seen, struct err *err)
{
    struct task_run *run = attempt->run;
    return progress_board_wait(attempt->services->progress, table, seen, &run->cancelled,
                               run->deadline_us, err);
}

/* ---- what it tells ---- */

void task_set_progress(struct task_attempt *attempt, const struct task_progress *progress)
{
    struct task_run *run = attempt->run;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&run->lock);
    (void)scope; /* held to the end */
    run->progress = *progress;
}

void task_set_value(struct task_attempt *attempt, const char *name, struct json *value)
{
    struct task_run *run = attempt->run;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, RUNNER_VALUES_BYTES_MAX);
    if (run->values == NULL) {
        run->values = json_new_object();
    }
    json_set(run->values, name, value);
    json_write(run->values, &text);
    if (text.overflowed) { /* said when the attempt ends */
        run->values_overflowed = true;
        json_remove(run->values, name);
    }
}

void task_note_version(struct task_attempt *attempt, const char *table, bool written,
                       int64_t version)
{
    struct task_run *run = attempt->run;
    struct json **versions = written ? &run->versions_written : &run->versions_read;
    if (*versions == NULL) {
        *versions = json_new_object();
    }
    json_set_integer(*versions, table, version);
}

/* ---- what it may and knows ---- */

enum err_code task_check_access(struct task_attempt *attempt, const char *action, const char *table,
                                struct err *err)
{
    if (access_allows(attempt->principal, action, table)) {
        return ERR_OK;
    }
    return err_set(err, ERR_FORBIDDEN, "'%s', whom the job runs as, may not %s%s%s%s",
                   attempt->principal->name, action, table != NULL ? " on '" : "",
                   table != NULL ? table : "", table != NULL ? "'" : "");
}

enum err_code task_pin(struct task_attempt *attempt, const char *name, struct json *value,
                       const struct json **pinned_out, struct err *err)
{
    struct task_run *run = attempt->run;
    CLEANUP(json_free) struct json *given = value;
    CLEANUP(json_free) struct json *pinned = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    const char *stored = NULL;
    buffer_init(&text, RUN_PIN_BYTES_MAX);
    if (given != NULL) {
        json_write(given, &text);
        buffer_append_byte(&text, '\0');
        TRY(buffer_check(&text, "a pinned value", err));
    }
    TRY(run_pin(attempt->services->catalog, attempt->run_id, run->id.task, run->id.iteration, name,
                given != NULL ? (const char *)text.data : NULL, &attempt->arena, &stored, err));
    if (stored == NULL) {
        *pinned_out = NULL;
        return ERR_OK;
    }
    TRY(json_parse(span_of_text(stored), &pinned, err));
    struct task_pinned *kept = mem_zeroed(1, sizeof *kept);
    *kept = (struct task_pinned){.next = run->pins, .value = pinned};
    run->pins = kept;
    *pinned_out = pinned;
    pinned = NULL;
    return ERR_OK;
}

static enum err_code open_secret(void *arg, struct span name, struct buffer *text, struct err *err)
{
    struct task_attempt *attempt = arg;
    return lent_secret_open(attempt->services->catalog, &attempt->run->author, name, text, err);
}

enum err_code task_open_secrets(struct task_attempt *attempt, const char *text,
                                struct buffer *text_out, struct err *err)
{
    return template_open_secrets(span_of_text(text), attempt->run->mark, open_secret, attempt,
                                 text_out, err);
}

const char *task_idempotency_key(struct task_attempt *attempt)
{
    struct task_run *run = attempt->run;
    if (run->idempotency_key == NULL) {
        struct id instance = catalog_instance(attempt->services->catalog);
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof key, "%s/%" PRId64 "/%s", instance.text, attempt->run_id,
                       attempt->task_key); /* fits */
        if (attempt->iteration >= 0) {
            size_t size = strlen(key);
            (void)snprintf(key + size, sizeof key - size, "/%" PRId64, attempt->iteration);
        }
        run->idempotency_key = mem_copy_text(key);
    }
    return run->idempotency_key;
}
