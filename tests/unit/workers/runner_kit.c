#include "tests/unit/workers/runner_kit.h"

#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/access.h"
#include "storage/catalog/jobs.h"
#include "tests/support/temp_dir.h"
#include "workers/progress_board.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_US = 10000000, TEXT_BYTES = 16384 };

struct kit kit;

static struct {
    struct temp_dir dir;
    char *folder;
    struct secret_keys *keys;
    struct arena arena;
    struct progress_board *board;
    struct id gate; /* a "table" that the gate's waiters watch */
    _Atomic bool gate_open;
    _Atomic int at_gate;
    _Atomic int begun;
    struct lock lock; /* for `changed` alone */
    struct wake changed;
    int64_t frozen_us;
} own;

/* ---- the fake task ---- */

static const char *text_of(const struct json *body, const char *name)
{
    const char *text = json_text(json_get(body, name));
    return text != NULL ? text : "";
}

static int64_t integer_of(const struct json *body, const char *name)
{
    int64_t integer = 0;
    (void)json_as_integer(json_get(body, name), &integer);
    return integer;
}

static void poke(void)
{
    lock_take(&own.lock);
    wake_all(&own.changed);
    lock_drop(&own.lock);
}

static enum err_code wait_at_gate(struct task_attempt *attempt, struct err *err)
{
    int64_t seen = 0;
    enum err_code code = ERR_OK;
    task_set_progress(attempt, &(struct task_progress){.work_done = 1, .work_total = 2});
    (void)atomic_fetch_add(&own.at_gate, 1);
    poke();
    while (code == ERR_OK && !atomic_load(&own.gate_open)) {
        code = task_wait_progress(attempt, &own.gate, &seen, err);
    }
    (void)atomic_fetch_sub(&own.at_gate, 1);
    return code;
}

static enum err_code open_header(struct task_attempt *attempt, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    TRY(task_open_secrets(attempt, text_of(json_get(attempt->body, "headers"), "x"), &text, err));
    task_set_value(attempt, "opened", json_new_string(buffer_span(&text)));
    return ERR_OK;
}

static enum err_code pin_number(struct task_attempt *attempt, struct err *err)
{
    const struct json *pinned = NULL;
    TRY(task_pin(attempt, "number", json_new_integer(attempt->number), &pinned, err));
    task_set_value(attempt, "pinned", json_duplicate(pinned));
    return attempt->number < 2 ? err_set(err, ERR_IO, "the first attempt fails") : ERR_OK;
}

/* What the far side of an Idempotency-Key does: the second time changes nothing. */
static enum err_code leave_effect(struct task_attempt *attempt, struct err *err)
{
    CLEANUP(mem_cleanup) char *name = mem_copy_text(task_idempotency_key(attempt));
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash, '/')) {
        *slash = '_';
    }
    CLEANUP(mem_cleanup) char *folder = temp_dir_join(&own.dir, "effects");
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    CLEANUP(file_close) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return fd >= 0 ? ERR_OK : err_set(err, ERR_IO, "no effect");
}

static enum err_code succeed(struct task_attempt *attempt, const struct json *body)
{
    const struct task_progress progress = {.rows_in = integer_of(body, "rows"), .bytes_in = 7};
    const char *name = NULL;
    const struct json *value = NULL;
    task_set_progress(attempt, &progress);
    task_note_version(attempt, "claims", true, 4);
    for (size_t at = 0; json_member(json_get(body, "values"), &at, &name, &value);) {
        task_set_value(attempt, name, json_duplicate(value));
    }
    return ERR_OK;
}

static enum err_code fake_run(struct task_attempt *attempt, struct err *err)
{
    const struct json *body = json_get(attempt->body, "body");
    const char *what = text_of(body, "do");
    (void)atomic_fetch_add(&own.begun, 1);
    task_set_value(attempt, "key", json_new_text(task_idempotency_key(attempt)));
    if (strcmp(what, "fail") == 0) {
        bool permanent = strcmp(text_of(body, "code"), "invalid") == 0;
        return err_set(err, permanent ? ERR_INVALID : ERR_IO, "told to fail");
    }
    if (strcmp(what, "fail_until") == 0 && attempt->number < integer_of(body, "attempt")) {
        return err_set(err, ERR_IO, "attempt %d fails", attempt->number);
    }
    if (strcmp(what, "gate") == 0) {
        TRY(wait_at_gate(attempt, err));
    }
    if (strcmp(what, "abort") == 0) {
        abort();
    }
    if (strcmp(what, "effect") == 0) {
        TRY(leave_effect(attempt, err));
    }
    if (strcmp(what, "secret") == 0) {
        return open_header(attempt, err);
    }
    if (strcmp(what, "pin") == 0) {
        return pin_number(attempt, err);
    }
    return succeed(attempt, body);
}

static task_run_fn *const types[JOB_TASK_TYPE_COUNT] = {[JOB_TASK_HTTP_REQUEST] = fake_run};

/* ---- life ---- */

static void run_ended(void *arg, int64_t job_id, int64_t run_id)
{
    (void)arg;
    (void)job_id;
    (void)run_id;
    poke();
}

static void deliveries_made(void *arg)
{
    (void)arg;
}

void kit_set_up_folder(void)
{
    struct err err = {0};
    own.dir = temp_dir_make();
    own.folder = temp_dir_join(&own.dir, "catalog");
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&own.dir, "root.key");
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(key, &own.keys, &err), ERR_OK, "%s", err.msg);
    arena_init(&own.arena, 1 << 30);
    lock_init(&own.lock, LOCK_RANK_METRICS);
    wake_init(&own.changed);
    own.gate = id_new_random();
    CLEANUP(mem_cleanup) char *effects = temp_dir_join(&own.dir, "effects");
    cr_assert_eq(file_make_directory(effects, &err), ERR_OK, "%s", err.msg);
}

size_t kit_effects(void)
{
    struct err err = {0};
    CLEANUP(file_names_free) struct file_names names = {0};
    CLEANUP(mem_cleanup) char *effects = temp_dir_join(&own.dir, "effects");
    cr_assert_eq(file_list(effects, &names, &err), ERR_OK, "%s", err.msg);
    return names.count;
}

static enum err_code forget_token(void *arg, struct span token, struct err *err)
{
    (void)arg;
    (void)token;
    (void)err;
    return ERR_OK;
}

void kit_open(void)
{
    struct err err = {0};
    struct principal_record admin;
    CLEANUP(job_pools_deinit) struct job_pools pools = {0};
    const struct catalog_options options = {0};
    cr_assert_eq(catalog_open(own.folder, own.keys, &options, &kit.catalog, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(access_bootstrap(kit.catalog, forget_token, NULL, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(principal_get(kit.catalog, "admin", &own.arena, &admin, &err), ERR_OK, "%s",
                 err.msg);
    kit.principal = admin.id;
    own.board = progress_board_new();
    cr_assert_eq(job_pools_parse(span_of_text(kit.pools != NULL ? kit.pools : ""), 4, &pools, &err),
                 ERR_OK, "%s", err.msg);
    const struct runner_options runner = {
        .services = {.catalog = kit.catalog, .progress = own.board},
        .types = types,
        .pools = &pools,
        .run_ended = run_ended,
        .deliveries_made = deliveries_made,
    };
    cr_assert_eq(runner_start(&runner, &kit.runner, &err), ERR_OK, "%s", err.msg);
}

void kit_close(void)
{
    runner_stop(&kit.runner);
    progress_board_free(&own.board);
    catalog_close(&kit.catalog);
}

void kit_set_up(void)
{
    kit_set_up_folder();
    kit_open();
}

void kit_tear_down(void)
{
    kit_close();
    clock_freeze_wall(-1);
    secret_keys_close(&own.keys);
    arena_deinit(&own.arena);
    mem_free(own.folder);
    temp_dir_remove(&own.dir);
}

void kit_restart(void)
{
    kit_close();
    kit_open();
}

/* ---- jobs and runs ---- */

static char *with_quotes(const char *text)
{
    char *copy = mem_copy_text(text);
    for (char *byte = copy; *byte != '\0'; byte++) {
        *byte = *byte == '\'' ? '"' : *byte;
    }
    return copy;
}

static char *canonical(const char *members)
{
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof text, "{'name':'j',%s}", members);
    CLEANUP(mem_cleanup) char *quoted = with_quotes(text);
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    CLEANUP(buffer_deinit) struct buffer written;
    const struct job_parse_options options = {0};
    struct err err = {0};
    buffer_init(&written, DEFINITION_BYTES_MAX + 1);
    cr_assert_eq(json_parse(span_of_text(quoted), &json, &err), ERR_OK, "%s: %s", err.msg, quoted);
    cr_assert_eq(job_definition_parse(json, &options, &problems, &definition, &err), ERR_OK, "%s",
                 err.msg);
    json_write(definition->json, &written);
    buffer_append_byte(&written, '\0');
    return mem_copy(written.data, written.size);
}

int64_t kit_job(const char *members)
{
    CLEANUP(mem_cleanup) char *definition = canonical(members);
    const struct job_content content = {
        .name = "j", .definition = definition, .author = kit.principal, .run_as = kit.principal};
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    cr_assert_eq(job_create(kit.catalog, &content, NULL, &job_id, &made, &err), ERR_OK, "%s",
                 err.msg);
    return job_id;
}

const char *kit_task(const char *key, const char *body, const char *more)
{
    static char texts[16][1024];
    static unsigned next;
    char *text = texts[next++ % 16];
    (void)snprintf(text, sizeof texts[0],
                   "{'task_key':'%s','type':'http_request','http_request':{'url':'https://x/',"
                   "'headers':{'x':'{{secrets.key}}'},'body':%s}%s}",
                   key, body, more);
    return text;
}

int64_t kit_make_run(int64_t job_id, const char *parameters, const char *only)
{
    CLEANUP(mem_cleanup) char *given = parameters != NULL ? with_quotes(parameters) : NULL;
    CLEANUP(mem_cleanup) char *keys = only != NULL ? with_quotes(only) : NULL;
    const struct run_new new = {.job_id = job_id,
                                .principal = kit.principal,
                                .trigger = RUN_TRIGGER_MANUAL,
                                .trigger_time_us = clock_wall_us(),
                                .parameters = given,
                                .only = keys};
    struct err err = {0};
    int64_t run_id = 0;
    bool made = false;
    cr_assert_eq(run_create(kit.catalog, &new, &run_id, &made, &err), ERR_OK, "%s", err.msg);
    return run_id;
}

int64_t kit_start_with(int64_t job_id, const char *parameters, const char *only)
{
    int64_t run_id = kit_make_run(job_id, parameters, only);
    runner_wake(kit.runner, run_id);
    return run_id;
}

int64_t kit_start(int64_t job_id)
{
    return kit_start_with(job_id, NULL, NULL);
}

/* ---- waiting ---- */

struct job_run kit_run(int64_t run_id)
{
    struct job_run run;
    struct err err = {0};
    cr_assert_eq(run_get(kit.catalog, run_id, &own.arena, &run, &err), ERR_OK, "%s", err.msg);
    return run;
}

typedef bool condition_fn(int64_t run_id, size_t task, int64_t wanted);

/* Looks again when something ends, and every 10 ms: not all that is waited for has an event. */
static void wait_for(condition_fn *holds, int64_t run_id, size_t task, int64_t wanted,
                     const char *what)
{
    int64_t deadline_us = clock_monotonic_us() + PATIENCE_US;
    while (!holds(run_id, task, wanted)) {
        cr_assert(clock_monotonic_us() < deadline_us, "run %" PRId64 ": waited for %s in vain",
                  run_id, what);
        lock_take(&own.lock);
        (void)wake_wait_until(&own.changed, &own.lock, clock_monotonic_us() + 10000);
        lock_drop(&own.lock);
    }
}

static bool has_state(int64_t run_id, size_t task, int64_t wanted)
{
    (void)task;
    return kit_run(run_id).state == (enum run_state)wanted;
}

static bool is_stored(int64_t run_id, size_t task, struct run_task *task_out)
{
    struct run_task *tasks = NULL;
    size_t count = 0;
    struct err err = {0};
    const struct run_task_cursor none = {0};
    cr_assert_eq(run_tasks(kit.catalog, run_id, &none, 1000, &own.arena, &tasks, &count, &err),
                 ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].node.task == task && tasks[i].node.iteration < 0) {
            *task_out = tasks[i];
            return true;
        }
    }
    return false;
}

static bool has_task_state(int64_t run_id, size_t task, int64_t wanted)
{
    struct run_task node;
    return is_stored(run_id, task, &node) && node.node.state == (enum task_state)wanted;
}

static bool has_failures(int64_t run_id, size_t task, int64_t wanted)
{
    struct run_task node;
    return is_stored(run_id, task, &node) && node.node.failures == wanted &&
           node.node.state == TASK_WAITING_FOR_RETRY;
}

static bool has_child(int64_t run_id, size_t task, int64_t wanted)
{
    struct run_task node;
    (void)wanted;
    return is_stored(run_id, task, &node) && kit_value(run_id, task, "run_id") > 0;
}

static bool is_at_gate(int64_t run_id, size_t task, int64_t wanted)
{
    (void)run_id;
    (void)task;
    return atomic_load(&own.at_gate) == wanted;
}

enum run_result kit_wait(int64_t run_id)
{
    kit_wait_state(run_id, RUN_TERMINATED);
    return kit_run(run_id).result;
}

void kit_wait_state(int64_t run_id, enum run_state state)
{
    wait_for(has_state, run_id, 0, state, run_state_name(state));
}

void kit_wait_task(int64_t run_id, size_t task, enum task_state state)
{
    wait_for(has_task_state, run_id, task, state, task_state_name(state));
}

void kit_wait_failures(int64_t run_id, size_t task, int failures)
{
    wait_for(has_failures, run_id, task, failures, "failures");
}

int64_t kit_wait_child(int64_t run_id, size_t task)
{
    wait_for(has_child, run_id, task, 0, "the run of its job");
    return kit_value(run_id, task, "run_id");
}

void kit_wait_gate(int count)
{
    wait_for(is_at_gate, 0, 0, count, "attempts at the gate");
}

void kit_open_gate(void)
{
    atomic_store(&own.gate_open, true);
    progress_board_note(own.board, &own.gate);
}

int kit_attempts_begun(void)
{
    return atomic_load(&own.begun);
}

void kit_pass_time(int64_t run_id, int64_t us)
{
    own.frozen_us = (own.frozen_us != 0 ? own.frozen_us : clock_wall_us()) + us;
    clock_freeze_wall(own.frozen_us);
    runner_wake(kit.runner, run_id);
}

/* ---- looking ---- */

struct run_task kit_node(int64_t run_id, size_t task, int64_t iteration)
{
    struct run_task *tasks = NULL;
    size_t count = 0;
    struct err err = {0};
    const struct run_task_cursor none = {0};
    cr_assert_eq(run_tasks(kit.catalog, run_id, &none, 1000, &own.arena, &tasks, &count, &err),
                 ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].node.task == task && tasks[i].node.iteration == iteration) {
            return tasks[i];
        }
    }
    cr_assert_fail("run %" PRId64 " has no node %zu/%" PRId64, run_id, task, iteration);
    return (struct run_task){0};
}

size_t kit_attempts(int64_t run_id, size_t task, int64_t iteration, struct run_attempt **out)
{
    const struct run_attempt_id only = {.task = task, .iteration = iteration};
    const struct run_task_cursor none = {0};
    size_t count = 0;
    struct err err = {0};
    cr_assert_eq(
        run_attempts(kit.catalog, run_id, &only, &none, 1000, &own.arena, out, &count, &err),
        ERR_OK, "%s", err.msg);
    return count;
}

const char *kit_results(int64_t run_id)
{
    static char text[1024];
    size_t size = 0;
    struct run_task node;
    text[0] = '\0';
    for (size_t task = 0; is_stored(run_id, task, &node); task++) {
        const char *name = run_result_name(node.node.result);
        (void)snprintf(text + size, sizeof text - size, "%s%s", size > 0 ? " " : "",
                       name[0] != '\0' ? name : "-");
        size = strlen(text);
    }
    return text;
}

static struct json *values_of(int64_t run_id, size_t task)
{
    struct json *values = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(kit_node(run_id, task, -1).values), &values, &err),
                 ERR_OK);
    return values;
}

int64_t kit_value(int64_t run_id, size_t task, const char *name)
{
    CLEANUP(json_free) struct json *values = values_of(run_id, task);
    int64_t value = -1;
    (void)json_as_integer(json_get(values, name), &value);
    return value;
}

const char *kit_value_text(int64_t run_id, size_t task, const char *name)
{
    CLEANUP(json_free) struct json *values = values_of(run_id, task);
    const char *text = json_text(json_get(values, name));
    return text != NULL ? arena_text(&own.arena, span_of_text(text)) : "";
}
