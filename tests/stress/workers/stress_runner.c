/*
 * The runner under many threads: clients start, cancel and repair runs and look at their
 * progress while loops, conditions, children and retries go on in two small pools; twice the
 * runner is stopped in the middle and started again. At the end every run has come to an
 * end, every attempt is closed, and no task worked beyond the places of its pool.
 *
 *   stress_runner [rounds of each client]
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"
#include "workers/progress_board.h"
#include "workers/runner.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CLIENTS = 4,
    ROUNDS = 20,
    LIVES = 3,
    PLACES = 4,      /* of the pool default */
    PLACES_SLOW = 2, /* of the pool slow */
    JOBS = 3,
    ARENA_BYTES = 64 << 20,
};

static struct {
    struct catalog *catalog;
    struct progress_board *board;
    struct runner *runner;
    struct id principal;
    struct id table;
    int64_t jobs[JOBS];
    int rounds;
    _Atomic uint64_t random;
    _Atomic int working[2]; /* by pool */
    _Atomic int most[2];
    _Atomic int64_t attempts;
    _Atomic int64_t ended;
    _Atomic bool noting;
} own;

static void must(enum err_code code, const struct err *err)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "stress_runner: %s\n", err->msg);
        exit(1);
    }
}

static void fail(const char *what, int64_t number)
{
    (void)fprintf(stderr, "stress_runner: %s (%" PRId64 ")\n", what, number);
    exit(1);
}

static uint64_t draw(uint64_t below)
{
    uint64_t x = atomic_fetch_add(&own.random, UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % below;
}

/* ---- the task ---- */

static void note_working(int pool, int change)
{
    int now = atomic_fetch_add(&own.working[pool], change) + change;
    int most = atomic_load(&own.most[pool]);
    while (now > most && !atomic_compare_exchange_weak(&own.most[pool], &most, now)) {
    }
}

static enum err_code work(struct task_attempt *attempt, struct err *err)
{
    int64_t seen = 0;
    const struct json *pinned = NULL;
    task_set_progress(attempt, &(struct task_progress){.rows_in = 1, .work_total = 3});
    task_set_value(attempt, "n", json_new_integer(attempt->number));
    if (draw(4) == 0) {
        TRY(task_pin(attempt, "first", json_new_integer(attempt->number), &pinned, err));
    }
    for (uint64_t i = draw(4); i > 0; i--) {
        TRY(task_wait_progress(attempt, &own.table, &seen, err));
        TRY(task_check_time(attempt, err));
    }
    return draw(5) == 0   ? err_set(err, ERR_IO, "by chance")
           : draw(9) == 0 ? err_set(err, ERR_INVALID, "for good")
                          : ERR_OK;
}

static enum err_code run_task(struct task_attempt *attempt, struct err *err)
{
    int pool = strcmp(attempt->task_key, "slow") == 0;
    (void)atomic_fetch_add(&own.attempts, 1);
    note_working(pool, 1);
    enum err_code code = work(attempt, err);
    note_working(pool, -1);
    return code;
}

static task_run_fn *const types[JOB_TASK_TYPE_COUNT] = {[JOB_TASK_HTTP_REQUEST] = run_task};

/* Tables move on all the time, so that nobody waits for long. */
static void *note_main(void *arg)
{
    (void)arg;
    while (atomic_load(&own.noting)) {
        progress_board_note(own.board, &own.table);
        (void)usleep(200);
    }
    return NULL;
}

/* ---- life ---- */

static void run_ended(void *arg, int64_t job_id, int64_t run_id)
{
    (void)arg;
    (void)job_id;
    (void)run_id;
    (void)atomic_fetch_add(&own.ended, 1);
}

static void deliveries_made(void *arg)
{
    (void)arg;
}

static void start_runner(void)
{
    struct err err = {0};
    struct job_pools pools;
    must(job_pools_parse(span_of_text("slow=2"), PLACES, &pools, &err), &err);
    const struct runner_options options = {
        .services = {.catalog = own.catalog, .progress = own.board},
        .types = types,
        .pools = &pools,
        .run_ended = run_ended,
        .deliveries_made = deliveries_made,
    };
    must(runner_start(&options, &own.runner, &err), &err);
    job_pools_deinit(&pools);
}

static int64_t make_job(const char *text)
{
    CLEANUP(json_free) struct json *json = NULL;
    CLEANUP(definition_problems_deinit) struct definition_problems problems = {0};
    CLEANUP(job_definition_release) const struct job_definition *definition = NULL;
    CLEANUP(buffer_deinit) struct buffer canonical;
    const struct job_parse_options parse = {0};
    struct err err = {0};
    int64_t job_id = 0;
    bool made = false;
    must(json_parse(span_of_text(text), &json, &err), &err);
    must(job_definition_parse(json, &parse, &problems, &definition, &err), &err);
    buffer_init(&canonical, DEFINITION_BYTES_MAX);
    json_write(definition->json, &canonical);
    buffer_append_byte(&canonical, '\0');
    const struct job_content content = {.name = "j",
                                        .definition = (const char *)canonical.data,
                                        .author = own.principal,
                                        .run_as = own.principal};
    must(job_create(own.catalog, &content, NULL, &job_id, &made, &err), &err);
    return job_id;
}

#define CALL "\"type\":\"http_request\",\"http_request\":{\"url\":\"https://x/\"}"
#define RETRIES ",\"max_retries\":2"

static void make_jobs(void)
{
    char parent[512];
    own.jobs[0] = make_job("{\"name\":\"j\",\"max_concurrent_runs\":2,\"tasks\":["
                           "{\"task_key\":\"a\"," CALL RETRIES "},{\"task_key\":\"slow\"," CALL
                           ",\"pool\":\"slow\"},{\"task_key\":\"c\",\"run_if\":\"ALL_DONE\"," CALL
                           ",\"depends_on\":[{\"task_key\":\"a\"},{\"task_key\":\"slow\"}]}]}");
    own.jobs[1] = make_job(
        "{\"name\":\"j\",\"max_concurrent_runs\":1000,\"tasks\":["
        "{\"task_key\":\"loop\",\"type\":\"for_each\",\"for_each\":{\"inputs\":[1,2,3,4,5,6,7,8],"
        "\"concurrency\":3,\"task\":{\"task_key\":\"one\"," CALL "}}},"
        "{\"task_key\":\"if\",\"type\":\"condition\",\"condition\":{\"op\":\"EQUAL_TO\","
        "\"left\":\"{{tasks.loop.result}}\",\"right\":\"SUCCESS\"},\"run_if\":\"ALL_DONE\","
        "\"depends_on\":[{\"task_key\":\"loop\"}]}],"
        "\"webhook_notifications\":{\"on_start\":[{\"url\":\"https://x/\"}]}}");
    (void)snprintf(parent, sizeof parent,
                   "{\"name\":\"j\",\"max_concurrent_runs\":1000,\"tasks\":[{\"task_key\":\"sub\","
                   "\"type\":\"run_job\",\"run_job\":{\"job_id\":%" PRId64 "}}]}",
                   own.jobs[1]);
    own.jobs[2] = make_job(parent);
}

/* ---- clients ---- */

static int64_t start_run(void)
{
    const struct run_new new = {.job_id = own.jobs[draw(JOBS)],
                                .principal = own.principal,
                                .trigger = RUN_TRIGGER_MANUAL,
                                .trigger_time_us = clock_wall_us()};
    struct err err = {0};
    int64_t run_id = 0;
    bool made = false;
    must(run_create(own.catalog, &new, &run_id, &made, &err), &err);
    runner_wake(own.runner, run_id);
    return run_id;
}

/* Refusals are fine: the run may have ended, or not. */
static void disturb(int64_t run_id)
{
    struct err ignored = {0};
    struct task_progress progress;
    switch (draw(4)) {
    case 0:
        err_ignore(run_request_cancel(own.catalog, run_id, &own.principal, &ignored));
        break;
    case 1:
        err_ignore(run_request_repair(own.catalog, run_id, NULL, &ignored));
        break;
    default:
        (void)runner_progress(own.runner, run_id, draw(3), -1, &progress);
    }
    runner_wake(own.runner, run_id);
}

static void *client_main(void *arg)
{
    int64_t last[8] = {0};
    (void)arg;
    for (int i = 0; i < own.rounds; i++) {
        last[i % 8] = start_run();
        int64_t other = last[draw(8)];
        if (other != 0) {
            disturb(other);
        }
    }
    return NULL;
}

static void live(bool to_the_end)
{
    pthread_t clients[CLIENTS];
    start_runner();
    for (int i = 0; i < CLIENTS; i++) {
        if (pthread_create(&clients[i], NULL, client_main, NULL) != 0) {
            fail("no thread", i);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        (void)pthread_join(clients[i], NULL); /* cannot fail for what was created */
    }
    struct arena arena;
    struct err err = {0};
    size_t left = 1;
    arena_init(&arena, ARENA_BYTES);
    for (int tries = 0; to_the_end && left > 0; tries++) {
        struct job_run *runs = NULL;
        arena_reset(&arena);
        must(runs_unfinished(own.catalog, 0, 100000, &arena, &runs, &left, &err), &err);
        if (tries == 60000) {
            fail("a run does not end", left > 0 ? runs[0].run_id : 0);
        }
        (void)usleep(1000);
    }
    arena_deinit(&arena);
    runner_stop(&own.runner);
}

/* Every attempt that was begun has an end. */
static void check_attempts(void)
{
    struct arena arena;
    struct err err = {0};
    int64_t before = 0;
    arena_init(&arena, ARENA_BYTES);
    do {
        struct job_run *runs = NULL;
        size_t count = 0;
        arena_reset(&arena);
        must(run_list(own.catalog, &(struct run_filter){0}, before, 100, &arena, &runs, &count,
                      &before, &err),
             &err);
        for (size_t i = 0; i < count; i++) {
            struct run_attempt *attempts = NULL;
            size_t attempts_count = 0;
            must(run_attempts(own.catalog, runs[i].run_id, NULL, &(struct run_task_cursor){0}, 1000,
                              &arena, &attempts, &attempts_count, &err),
                 &err);
            for (size_t a = 0; a < attempts_count; a++) {
                if (attempts[a].state == ATTEMPT_RUNNING) {
                    fail("an attempt is still said to run, of run", runs[i].run_id);
                }
            }
        }
    } while (before != 0);
    arena_deinit(&arena);
}

static enum err_code forget_token(void *arg, struct span token, struct err *err)
{
    (void)arg;
    (void)token;
    (void)err;
    return ERR_OK;
}

static void open_catalog(const char *folder, const struct secret_keys *keys)
{
    struct err err = {0};
    struct arena arena;
    struct principal_record admin;
    const struct catalog_options options = {0};
    arena_init(&arena, 1 << 20);
    must(catalog_open(folder, keys, &options, &own.catalog, &err), &err);
    must(access_bootstrap(own.catalog, forget_token, NULL, &err), &err);
    must(principal_get(own.catalog, "admin", &arena, &admin, &err), &err);
    own.principal = admin.id;
    arena_deinit(&arena);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/stress_runner.XXXXXX";
    struct secret_keys *keys = NULL;
    struct err err = {0};
    int64_t rounds = ROUNDS;
    if (argc > 1 && (!text_parse_int64(span_of_text(argv[1]), &rounds) || rounds < 1)) {
        return 2;
    }
    own.rounds = (int)rounds;
    atomic_store(&own.random, 1);
    log_set_level(LOG_ERROR);
    if (mkdtemp(folder) == NULL) {
        fail("no folder", 0);
    }
    must(secret_init(&err), &err);
    CLEANUP(mem_cleanup) char *key = file_join(folder, "key");
    CLEANUP(mem_cleanup) char *catalog = file_join(folder, "catalog");
    must(secret_keys_open(key, &keys, &err), &err);
    own.board = progress_board_new();
    own.table = id_new_random();
    atomic_store(&own.noting, true);
    pthread_t noter;
    if (pthread_create(&noter, NULL, note_main, NULL) != 0) {
        fail("no thread", 0);
    }
    for (int life = 1; life <= LIVES; life++) {
        open_catalog(catalog, keys);
        if (life == 1) {
            make_jobs();
        }
        live(life == LIVES);
        if (life == LIVES) {
            check_attempts();
        }
        catalog_close(&own.catalog);
    }
    atomic_store(&own.noting, false);
    (void)pthread_join(noter, NULL); /* cannot fail for what was created */
    progress_board_free(&own.board);
    secret_keys_close(&keys);
    err_ignore(file_remove_tree(folder, &err)); /* a folder of /tmp may stay */
    (void)printf("stress_runner: %" PRId64 " runs, %" PRId64
                 " attempts, at most %d and %d at once\n",
                 atomic_load(&own.ended), atomic_load(&own.attempts), atomic_load(&own.most[0]),
                 atomic_load(&own.most[1]));
    if (atomic_load(&own.most[0]) > PLACES || atomic_load(&own.most[1]) > PLACES_SLOW) {
        fail("more tasks than places", atomic_load(&own.most[0]));
    }
    return 0;
}
