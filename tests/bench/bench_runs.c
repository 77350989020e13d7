/*
 * What runs of jobs cost the catalog: threads take runs of two tasks through their six
 * transactions as the runner does (made, begun, ended and begun, ended, …) and one
 * webhook event each. One JSON line: transitions a second, group commits, bytes a run.
 *
 *   bench_runs FOLDER THREADS RUNS
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/runs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MAX = 256, TASKS = 2, TRANSITIONS = 6 };

static struct {
    struct catalog *catalog;
    int64_t job_id;
    int64_t runs;
    _Atomic int64_t next;
} bench;

static void must(enum err_code code, const struct err *err)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "bench_runs: %s\n", err->msg);
        exit(1);
    }
}

static struct graph_node node_in(size_t task, enum task_state state, enum run_result result)
{
    return (struct graph_node){.task = task,
                               .iteration = -1,
                               .state = state,
                               .result = result,
                               .attempts = 1,
                               .inputs_count = -1,
                               .started_us = clock_wall_us(),
                               .ended_us = state == TASK_TERMINATED ? clock_wall_us() : 0};
}

static void begin(int64_t run_id, size_t task, enum run_state state)
{
    struct err err = {0};
    const struct graph_node node = node_in(task, TASK_RUNNING, RESULT_NONE);
    const struct run_task_change change = {.node = &node};
    const struct run_attempt_begin attempt = {.id = {.task = task, .iteration = -1, .number = 1},
                                              .started_us = clock_wall_us()};
    const struct run_change all = {.run_id = run_id,
                                   .state = state,
                                   .started_us = task == 0 ? clock_wall_us() : 0,
                                   .tasks = &change,
                                   .tasks_count = 1,
                                   .begun = &attempt,
                                   .begun_count = 1};
    must(run_apply(bench.catalog, &all, &err), &err);
}

static void end(int64_t run_id, size_t task)
{
    struct err err = {0};
    const struct graph_node node = node_in(task, TASK_TERMINATED, RESULT_SUCCESS);
    const struct run_task_change change = {.node = &node, .values = "{\"rows\":1000}"};
    const struct run_attempt_end attempt = {.id = {.task = task, .iteration = -1, .number = 1},
                                            .incarnation = catalog_incarnation(bench.catalog),
                                            .result = RESULT_SUCCESS,
                                            .ended_us = clock_wall_us(),
                                            .rows_in = 1000,
                                            .rows_out = 1000,
                                            .bytes_in = 100000,
                                            .versions_written = "{\"members\":12}"};
    const struct run_change all = {
        .run_id = run_id, .tasks = &change, .tasks_count = 1, .ended = &attempt, .ended_count = 1};
    must(run_apply(bench.catalog, &all, &err), &err);
}

static void finish(int64_t run_id)
{
    struct err err = {0};
    static const char body[] = "{\"type\":\"run.succeeded\",\"timestamp\":\"2026-01-01T00:00:00Z\","
                               "\"data\":{\"job_id\":1,\"run_id\":123456,\"result\":\"SUCCESS\"}}";
    const struct delivery_new delivery = {.id = id_new_ordered(),
                                          .event = "run.succeeded",
                                          .url = "https://hooks.example.org/sluice",
                                          .secret = "{{secrets.hook}}",
                                          .body = span_of_text(body)};
    const struct run_change all = {.run_id = run_id,
                                   .state = RUN_TERMINATED,
                                   .result = RESULT_SUCCESS,
                                   .ended_us = clock_wall_us(),
                                   .deliveries = &delivery,
                                   .deliveries_count = 1};
    must(run_apply(bench.catalog, &all, &err), &err);
}

static void *work(void *arg)
{
    (void)arg;
    for (;;) {
        int64_t n = atomic_fetch_add(&bench.next, 1);
        if (n >= bench.runs) {
            return NULL;
        }
        struct err err = {0};
        int64_t run_id = 0;
        bool made = false;
        char token[32];
        (void)snprintf(token, sizeof token, "fire-%" PRId64, n);
        const struct job_schedule schedule = {.decided_us = n + 1, .next_fire_us = n + 2};
        const struct run_fire fire = {.schedule = &schedule};
        const struct run_new new = {.job_id = bench.job_id,
                                    .job_version = 1,
                                    .token = token,
                                    .trigger = RUN_TRIGGER_SCHEDULE,
                                    .trigger_time_us = clock_wall_us(),
                                    .fire = &fire};
        must(run_create(bench.catalog, &new, &run_id, &made, &err), &err);
        for (size_t task = 0; task < TASKS; task++) {
            begin(run_id, task, RUN_RUNNING);
            end(run_id, task);
        }
        finish(run_id);
    }
}

static int64_t argument(const char *text)
{
    int64_t number = 0;
    if (!text_parse_int64(span_of_text(text), &number) || number < 1) {
        (void)fprintf(stderr, "usage: bench_runs FOLDER THREADS RUNS\n");
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct secret_keys *keys = NULL;
    const struct catalog_options options = {0};
    const struct job_content content = {.name = "bench", .definition = "{}"};
    bool made = false;
    int64_t threads_count = argc == 4 ? argument(argv[2]) : argument("");
    bench.runs = argument(argv[3]);
    if (threads_count > THREADS_MAX) {
        threads_count = THREADS_MAX;
    }
    must(secret_init(&err), &err);
    must(file_make_directory(argv[1], &err), &err);
    CLEANUP(mem_cleanup) char *key = file_join(argv[1], "root.key");
    CLEANUP(mem_cleanup) char *folder = file_join(argv[1], "catalog");
    must(secret_keys_open(key, &keys, &err), &err);
    must(catalog_open(folder, keys, &options, &bench.catalog, &err), &err);
    must(job_create(bench.catalog, &content, NULL, &bench.job_id, &made, &err), &err);

    pthread_t threads[THREADS_MAX];
    struct catalog_statistics before;
    struct catalog_statistics after;
    catalog_statistics(bench.catalog, &before);
    int64_t start_us = clock_monotonic_us();
    for (int64_t i = 0; i < threads_count; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) {
            return 1;
        }
    }
    for (int64_t i = 0; i < threads_count; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    int64_t took_us = clock_monotonic_us() - start_us;
    catalog_statistics(bench.catalog, &after);
    catalog_close(&bench.catalog); /* folds the log into the file */
    secret_keys_close(&keys);
    CLEANUP(mem_cleanup) char *path = file_join(folder, "jobs.db");
    int64_t bytes = 0;
    int64_t modified_ms = 0;
    must(file_stat(path, &bytes, &modified_ms, &err), &err);
    int64_t transitions = bench.runs * TRANSITIONS;
    (void)printf("{\"threads\":%" PRId64 ",\"runs\":%" PRId64 ",\"transitions_per_second\":%" PRId64
                 ",\"commits\":%" PRId64 ",\"bytes_per_run\":%" PRId64 "}\n",
                 threads_count, bench.runs, transitions * 1000000 / took_us,
                 after.commits_count - before.commits_count, bytes / bench.runs);
    return 0;
}
