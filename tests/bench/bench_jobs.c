/*
 * What jobs cost everybody else: lookups and posted batches at a fixed rate, first on
 * an idle server, then while JOBS jobs fire each minute beside LONG runs of calls that
 * are answered late.
 *
 *   bench_jobs PORT TOKEN JOBS LONG IDLE_SECONDS MARKS
 *
 * Latencies count from the planned moment, so that one slow answer does not hide those
 * that had to wait behind it. JSON lines: a phase each ("idle", "loaded", and
 * "marks": the part of "loaded" within MARK_SECONDS of a minute mark), their ratios,
 * and what came of the runs. Exit code 1: a request failed, a minute mark did not make
 * exactly JOBS runs, one did not end with SUCCESS, or the long runs did not go on.
 *
 * The server needs --outgoing-allow 127.0.0.1 and --task-pools slow=LONG, and the table
 * `bench` of bench.py, which is filled here with ROWS rows.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "tests/support/http_client.h"
#include "tests/support/lying_server.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SECOND_US = 1000000,
    MINUTE_US = 60 * SECOND_US,
    ROWS = 100000,
    LOAD_ROWS = 20000,
    LOOKUP_THREADS = 4,
    LOOKUP_INTERVAL_US = 20000, /* of one thread: 200 a second together */
    BATCH_THREADS = 2,
    SLOWEST = 8,
    BATCH_INTERVAL_US = SECOND_US, /* of one thread: two a second together */
    BATCH_ROWS = 100,
    THREADS = LOOKUP_THREADS + BATCH_THREADS,
    MARK_SECONDS = 10,
    CREATORS = 4,
    STEP_MS = 15000, /* of a long run: how late a call is answered */
    JOBS_MAX = 10000,
    LONG_MAX = 256,
    MARKS_MAX = 10,
    RUNS_PAGE = 1000,
};

static struct {
    uint16_t port;
    const char *token;
    int64_t jobs;
    int64_t long_runs;
    int64_t marks;
    char from[TEXT_TIMESTAMP_BYTES]; /* runs made since are ours */
    int64_t first_mark_us;           /* wall */
} bench;

static void fail(const char *what)
{
    (void)fprintf(stderr, "bench_jobs: %s\n", what); /* on the way out */
    exit(1);
}

static uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* ---- requests ---- */

/* One that must be answered with `wanted`; the caller frees the body. */
static char *call(struct http_client *client, const char *method, const char *path,
                  const char *extra, const struct buffer *body, int wanted)
{
    struct http_answer answer;
    (void)http_client_call(client, method, path, extra, /* the status tells */
                           body != NULL ? (const char *)body->data : "",
                           body != NULL ? body->size : 0, &answer);
    if (answer.status != wanted) {
        (void)fprintf(stderr, "bench_jobs: %s %s: status %d: %.300s\n", method, path, answer.status,
                      answer.body != NULL ? answer.body : ""); /* on the way out */
        exit(1);
    }
    return answer.body;
}

static void append_row(struct buffer *body, int64_t key, uint64_t random)
{
    buffer_append_format(
        body,
        "{\"id\":\"k%" PRId64 "\",\"n\":%d,\"name\":\"name %d\",\"amount\":%d.%02d,"
        "\"day\":\"2025-%02d-%02d\",\"note\":\"%016" PRIx64 "\"}\n",
        key, (int)(random % 100000), (int)(random % 977), (int)(random % 1000), (int)(random % 100),
        (int)(1 + random % 12), (int)(1 + random % 28), random);
}

static const char post_path[] = "/v1/tables/bench/batches";
static const char post_extra[] = "Content-Type: application/x-ndjson\r\nPrefer: wait=60\r\n";
static const char json_extra[] = "Content-Type: application/json\r\n";

/* The table to look up in, and a small one for the jobs to check. */
static void load_tables(struct http_client *client)
{
    struct buffer body;
    uint64_t random = 1;
    buffer_init(&body, 64 << 20);
    for (int64_t row = 0; row < ROWS; row += LOAD_ROWS) {
        buffer_reset(&body);
        for (int64_t i = row; i < row + LOAD_ROWS; i++) {
            append_row(&body, i, random_next(&random));
        }
        mem_free(call(client, "POST", post_path, post_extra, &body, 200));
    }
    buffer_reset(&body);
    buffer_append_text(&body, "{\"schema\":{\"fields\":[{\"name\":\"id\",\"type\":\"string\","
                              "\"nullable\":false}]},\"key\":[\"id\"]}");
    mem_free(call(client, "PUT", "/v1/tables/few", json_extra, &body, 201));
    buffer_reset(&body);
    for (int i = 0; i < BATCH_ROWS; i++) {
        buffer_append_format(&body, "{\"id\":\"k%d\"}\n", i);
    }
    mem_free(call(client, "POST", "/v1/tables/few/batches", post_extra, &body, 200));
    buffer_deinit(&body);
}

/* ---- the load that is measured ---- */

struct sample {
    int64_t planned_us; /* wall */
    int64_t took_us;
};

struct worker {
    pthread_t thread;
    uint64_t random;
    bool posts;
    int64_t first_us; /* monotonic: of the first planned moment */
    int64_t until_us;
    struct sample *samples;
    size_t count;
    size_t capacity;
};

static void wait_until(int64_t monotonic_us)
{
    int64_t left_us = monotonic_us - clock_monotonic_us();
    if (left_us > 0) {
        const struct timespec left = {.tv_sec = left_us / SECOND_US,
                                      .tv_nsec = left_us % SECOND_US * 1000};
        (void)nanosleep(&left, NULL); /* a signal ends us anyway */
    }
}

static void look_up(struct worker *worker, struct http_client *client)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/v1/members/k%d",
                   (int)(random_next(&worker->random) % ROWS)); /* fits */
    mem_free(call(client, "GET", path, "", NULL, 200));
}

static void post_batch(struct worker *worker, struct http_client *client, struct buffer *body)
{
    buffer_reset(body);
    for (int i = 0; i < BATCH_ROWS; i++) {
        uint64_t random = random_next(&worker->random);
        append_row(body, (int64_t)(random / 16 % ROWS), random);
    }
    mem_free(call(client, "POST", post_path, post_extra, body, 200)); /* 200: indexed */
}

static void note(struct worker *worker, int64_t planned_us)
{
    if (worker->count == worker->capacity) {
        worker->capacity = worker->capacity == 0 ? 1024 : worker->capacity * 2;
        worker->samples = mem_resize(worker->samples, worker->capacity, sizeof *worker->samples);
    }
    int64_t now_us = clock_monotonic_us();
    worker->samples[worker->count++] = (struct sample){
        .planned_us = clock_wall_us() - (now_us - planned_us), .took_us = now_us - planned_us};
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct http_client client;
    struct buffer body;
    http_client_init(&client, bench.port, bench.token);
    buffer_init(&body, 1 << 20);
    int64_t interval_us = worker->posts ? BATCH_INTERVAL_US : LOOKUP_INTERVAL_US;
    for (int64_t at_us = worker->first_us; at_us < worker->until_us; at_us += interval_us) {
        wait_until(at_us);
        if (worker->posts) {
            post_batch(worker, &client, &body);
        } else {
            look_up(worker, &client);
        }
        note(worker, at_us);
    }
    buffer_deinit(&body);
    http_client_close(&client);
    return NULL;
}

/* Both loads from now to `until_us` (monotonic). */
static void measure(int64_t until_us, struct worker workers[THREADS])
{
    int64_t now_us = clock_monotonic_us();
    for (int i = 0; i < THREADS; i++) {
        bool posts = i >= LOOKUP_THREADS;
        int64_t shift_us = posts ? (i - LOOKUP_THREADS) * (BATCH_INTERVAL_US / BATCH_THREADS)
                                 : i * (LOOKUP_INTERVAL_US / LOOKUP_THREADS);
        workers[i] = (struct worker){.random = (uint64_t)(now_us + i),
                                     .posts = posts,
                                     .first_us = now_us + shift_us,
                                     .until_us = until_us};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
            fail("no thread");
        }
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(workers[i].thread, NULL); /* joinable, ours */
    }
}

/* ---- figures ---- */

struct figures {
    int64_t count;
    int64_t p50_us;
    int64_t p99_us;
    int64_t max_us;
};

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* Sorts `values`. */
static struct figures figures_of(int64_t *values, size_t count)
{
    if (count == 0) {
        return (struct figures){0};
    }
    qsort(values, count, sizeof *values, compare);
    return (struct figures){.count = (int64_t)count,
                            .p50_us = values[count / 2],
                            .p99_us = values[count * 99 / 100],
                            .max_us = values[count - 1]};
}

static bool is_at_mark(int64_t planned_us)
{
    return planned_us % MINUTE_US < (int64_t)MARK_SECONDS * SECOND_US;
}

static struct figures sum_up(const struct worker workers[THREADS], bool posts, bool at_marks)
{
    size_t count = 0;
    for (int i = 0; i < THREADS; i++) {
        count += workers[i].count;
    }
    int64_t *values = mem_zeroed(count + 1, sizeof *values);
    count = 0;
    for (int i = 0; i < THREADS; i++) {
        for (size_t k = 0; workers[i].posts == posts && k < workers[i].count; k++) {
            if (!at_marks || is_at_mark(workers[i].samples[k].planned_us)) {
                values[count++] = workers[i].samples[k].took_us;
            }
        }
    }
    struct figures figures = figures_of(values, count);
    mem_free(values);
    return figures;
}

/* The slowest batches and when they were due: to be looked for in the server's log. */
static void report_slowest(const struct worker workers[THREADS])
{
    struct sample slowest[SLOWEST] = {0};
    for (int i = LOOKUP_THREADS; i < THREADS; i++) {
        for (size_t k = 0; k < workers[i].count; k++) {
            struct sample sample = workers[i].samples[k];
            for (int at = 0; at < SLOWEST; at++) {
                if (sample.took_us > slowest[at].took_us) {
                    struct sample next = slowest[at];
                    slowest[at] = sample;
                    sample = next;
                }
            }
        }
    }
    for (int at = 0; at < SLOWEST && slowest[at].took_us > 0; at++) {
        char when[TEXT_TIMESTAMP_BYTES] = "";
        (void)text_format_timestamp(slowest[at].planned_us, when); /* length is not wanted */
        (void)printf("{\"what\":\"slow batch\",\"planned\":\"%s\",\"took_us\":%" PRId64 "}\n", when,
                     slowest[at].took_us); /* result */
    }
}

struct phase {
    struct figures lookups;
    struct figures batches;
};

static struct phase report_phase(const char *what, const struct worker workers[THREADS],
                                 bool at_marks)
{
    const struct phase phase = {.lookups = sum_up(workers, false, at_marks),
                                .batches = sum_up(workers, true, at_marks)};
    (void)printf("{\"what\":\"%s\",\"lookups\":%" PRId64 ",\"lookup_p50_us\":%" PRId64
                 ",\"lookup_p99_us\":%" PRId64 ",\"lookup_max_us\":%" PRId64 ",\"batches\":%" PRId64
                 ",\"batch_p50_us\":%" PRId64 ",\"batch_p99_us\":%" PRId64
                 ",\"batch_max_us\":%" PRId64 "}\n",
                 what, phase.lookups.count, phase.lookups.p50_us, phase.lookups.p99_us,
                 phase.lookups.max_us, phase.batches.count, phase.batches.p50_us,
                 phase.batches.p99_us, phase.batches.max_us); /* result */
    return phase;
}

static double ratio(int64_t loaded, int64_t idle)
{
    return idle > 0 ? (double)loaded / (double)idle : 0;
}

static void report_ratios(const char *what, const struct phase *idle, const struct phase *loaded)
{
    (void)printf("{\"what\":\"%s\",\"lookup_p50\":%.2f,\"lookup_p99\":%.2f,\"batch_p50\":%.2f,"
                 "\"batch_p99\":%.2f}\n",
                 what, ratio(loaded->lookups.p50_us, idle->lookups.p50_us),
                 ratio(loaded->lookups.p99_us, idle->lookups.p99_us),
                 ratio(loaded->batches.p50_us, idle->batches.p50_us),
                 ratio(loaded->batches.p99_us, idle->batches.p99_us)); /* result */
}

/* ---- jobs ---- */

struct creator {
    pthread_t thread;
    int64_t first; /* job number; then every CREATORS-th */
};

/* Half of the jobs decide and then check a table; the others only decide. */
static void append_job(struct buffer *body, int64_t number)
{
    buffer_append_format(body,
                         "{\"name\":\"bench %" PRId64 "\",\"schedule\":"
                         "{\"quartz_cron_expression\":\"0 * * * * ?\",\"timezone_id\":\"UTC\"},"
                         "\"tasks\":[{\"task_key\":\"decide\",\"type\":\"condition\",\"condition\":"
                         "{\"op\":\"EQUAL_TO\",\"left\":\"1\",\"right\":\"1\"}}",
                         number);
    if (number % 2 == 1) {
        buffer_append_text(body, ",{\"task_key\":\"check\",\"type\":\"check\",\"depends_on\":"
                                 "[{\"task_key\":\"decide\",\"outcome\":\"true\"}],\"check\":"
                                 "{\"table\":\"few\",\"expectations\":[{\"name\":\"has_id\","
                                 "\"type\":\"not_null\",\"column\":\"id\",\"action\":\"fail\"}]}}");
    }
    buffer_append_text(body, "]}");
}

static void *creator_main(void *arg)
{
    const struct creator *creator = arg;
    struct http_client client;
    struct buffer body;
    http_client_init(&client, bench.port, bench.token);
    buffer_init(&body, 1 << 16);
    for (int64_t i = creator->first; i < bench.jobs; i += CREATORS) {
        buffer_reset(&body);
        append_job(&body, i);
        mem_free(call(&client, "POST", "/v1/jobs", json_extra, &body, 201));
    }
    buffer_deinit(&body);
    http_client_close(&client);
    return NULL;
}

static void create_jobs(void)
{
    struct creator creators[CREATORS];
    for (int i = 0; i < CREATORS; i++) {
        creators[i].first = i;
        if (pthread_create(&creators[i].thread, NULL, creator_main, &creators[i]) != 0) {
            fail("no thread");
        }
    }
    for (int i = 0; i < CREATORS; i++) {
        (void)pthread_join(creators[i].thread, NULL); /* joinable, ours */
    }
}

/* ---- long runs ---- */

/*
 * Every call is answered late; the first one of each fifth run fails and is repeated.
 * In between others succeed: the breaker of the destination stays closed.
 */
static struct lying_server *start_destination(void)
{
    struct buffer script;
    buffer_init(&script, 1 << 20);
    for (int64_t i = 0; i < bench.long_runs; i++) {
        int64_t late_ms = STEP_MS + i * 37;
        if (i % 5 == 0) {
            buffer_append_format(&script, "/long/%" PRId64 " 503 delay=%" PRId64 "\n", i, late_ms);
        }
        buffer_append_format(&script, "/long/%" PRId64 " 200 delay=%" PRId64 "\n", i, late_ms);
    }
    buffer_append_byte(&script, '\0');
    const struct lying_options options = {.script = (const char *)script.data};
    struct lying_server *server = lying_server_start(&options);
    buffer_deinit(&script);
    return server;
}

/* Each run is a chain of calls that is longer than the bench. */
static void start_long_runs(struct http_client *client, uint16_t destination)
{
    struct buffer body;
    buffer_init(&body, 1 << 20);
    int64_t steps = ((bench.marks + 2) * 60 * 1000) / STEP_MS + 1;
    for (int64_t i = 0; i < bench.long_runs; i++) {
        buffer_reset(&body);
        buffer_append_format(&body, "{\"name\":\"long %" PRId64 "\",\"tasks\":[", i);
        for (int64_t step = 0; step < steps; step++) {
            buffer_append_format(&body,
                                 "%s{\"task_key\":\"s%" PRId64
                                 "\",\"type\":\"http_request\",\"pool\":\"slow\","
                                 "\"max_retries\":3,\"http_request\":{\"method\":\"GET\",\"url\":"
                                 "\"http://127.0.0.1:%u/long/%" PRId64 "\"}",
                                 step > 0 ? "," : "", step, destination, i);
            if (step > 0) {
                buffer_append_format(&body, ",\"depends_on\":[{\"task_key\":\"s%" PRId64 "\"}]",
                                     step - 1);
            }
            buffer_append_text(&body, "}");
        }
        buffer_append_text(&body, "]}");
        mem_free(call(client, "POST", "/v1/runs", json_extra, &body, 202));
    }
    buffer_deinit(&body);
}

static struct json *get_json(struct http_client *client, const char *path)
{
    struct json *json = NULL;
    struct err err = {0};
    char *text = call(client, "GET", path, "", NULL, 200);
    if (json_parse(span_of_text(text), &json, &err) != ERR_OK) {
        fail(err.msg);
    }
    mem_free(text);
    return json;
}

static bool text_is(const struct json *object, const char *name, const char *wanted)
{
    const char *text = json_text(json_get(object, name));
    return text != NULL && strcmp(text, wanted) == 0;
}

static int64_t count_long_runs(struct http_client *client)
{
    struct json *page = get_json(client, "/v1/runs?job_id=0&state=RUNNING&limit=1000");
    int64_t count = (int64_t)json_count(json_get(page, "runs"));
    json_free(&page);
    return count;
}

/* ---- what came of the runs ---- */

struct tally {
    int64_t made[MARKS_MAX]; /* of each mark */
    int64_t others;          /* of marks that were not waited for */
    int64_t successes;       /* … of all that count */
    int64_t *start_lags_us;
    int64_t *end_lags_us;
    size_t count;
};

static int64_t time_of(const struct json *run, const char *name)
{
    struct span text;
    int64_t us = 0;
    if (!json_as_string(json_get(run, name), &text) || !text_parse_timestamp(text, &us)) {
        fail("a run without one of its times");
    }
    return us;
}

static void count_run(struct tally *tally, const struct json *run)
{
    if (!text_is(run, "trigger", "SCHEDULE")) {
        return;
    }
    int64_t planned_us = time_of(run, "trigger_time");
    int64_t mark = (planned_us - bench.first_mark_us) / MINUTE_US;
    if (planned_us < bench.first_mark_us || mark >= bench.marks) {
        tally->others++; /* creating took longer than to the mark before, or reading did */
        return;
    }
    tally->made[mark]++;
    if (!text_is(run, "state", "TERMINATED") || !text_is(run, "result", "SUCCESS")) {
        return;
    }
    tally->successes++;
    if (tally->count < (size_t)(bench.jobs * bench.marks)) {
        tally->start_lags_us[tally->count] = time_of(run, "started_at") - planned_us;
        tally->end_lags_us[tally->count] = time_of(run, "ended_at") - planned_us;
        tally->count++;
    }
}

static void count_runs(struct http_client *client, struct tally *tally)
{
    char path[512];
    char token[256] = "";
    do {
        (void)snprintf(path, sizeof path, "/v1/runs?limit=%d&from=%s%s%s", RUNS_PAGE, bench.from,
                       token[0] != '\0' ? "&page_token=" : "", token); /* fits */
        struct json *page = get_json(client, path);
        const struct json *runs = json_get(page, "runs");
        for (size_t i = 0; i < json_count(runs); i++) {
            count_run(tally, json_at(runs, i));
        }
        const char *next = json_text(json_get(page, "next_page_token"));
        (void)snprintf(token, sizeof token, "%s", next != NULL ? next : ""); /* fits */
        json_free(&page);
    } while (token[0] != '\0');
}

/* Are all runs there that were to be made, and only those? */
static bool report_runs(struct http_client *client, int64_t long_runs)
{
    size_t wanted = (size_t)(bench.jobs * bench.marks);
    struct tally tally = {.start_lags_us = mem_zeroed(wanted + 1, sizeof(int64_t)),
                          .end_lags_us = mem_zeroed(wanted + 1, sizeof(int64_t))};
    count_runs(client, &tally);
    bool good = tally.successes == (int64_t)wanted && long_runs == bench.long_runs;
    int64_t made = 0;
    for (int64_t i = 0; i < bench.marks; i++) {
        made += tally.made[i];
        good = good && tally.made[i] == bench.jobs;
    }
    struct figures start = figures_of(tally.start_lags_us, tally.count);
    struct figures end = figures_of(tally.end_lags_us, tally.count);
    (void)printf(
        "{\"what\":\"runs\",\"jobs\":%" PRId64 ",\"marks\":%" PRId64 ",\"made\":%" PRId64
        ",\"succeeded\":%" PRId64 ",\"other_marks\":%" PRId64 ",\"long_runs\":%" PRId64
        ",\"start_p50_us\":%" PRId64 ",\"start_p99_us\":%" PRId64 ",\"start_max_us\":%" PRId64
        ",\"end_p50_us\":%" PRId64 ",\"end_p99_us\":%" PRId64 ",\"end_max_us\":%" PRId64 "}\n",
        bench.jobs, bench.marks, made, tally.successes, tally.others, long_runs, start.p50_us,
        start.p99_us, start.max_us, end.p50_us, end.p99_us, end.max_us); /* result */
    mem_free(tally.start_lags_us);
    mem_free(tally.end_lags_us);
    return good;
}

/* ---- the server's own figures ---- */

static int64_t metric(struct http_client *client, const char *name)
{
    char *text = call(client, "GET", "/metrics", "", NULL, 200);
    char line[128];
    int64_t value = 0;
    (void)snprintf(line, sizeof line, "\n%s ", name); /* names are short */
    const char *at = strstr(text, line);
    if (at != NULL) {
        at += strlen(line);
        (void)text_parse_int64(span_of(at, strspn(at, "0123456789")), &value); /* 0 = unknown */
    }
    mem_free(text);
    return value;
}

/* ---- the whole ---- */

static int64_t argument(const char *text, int64_t max)
{
    int64_t value = 0;
    if (!text_parse_int64(span_of_text(text), &value) || value < 1 || value > max) {
        (void)fprintf(stderr, "not a number from 1 to %" PRId64 ": %s\n", max, text); /* told */
        exit(64);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        (void)fprintf(stderr, "Usage: see the top of bench_jobs.c\n"); /* told */
        return 64;
    }
    bench.port = (uint16_t)argument(argv[1], UINT16_MAX);
    bench.token = argv[2];
    bench.jobs = argument(argv[3], JOBS_MAX);
    bench.long_runs = argument(argv[4], LONG_MAX);
    int64_t idle_seconds = argument(argv[5], 600);
    bench.marks = argument(argv[6], MARKS_MAX);
    struct http_client client;
    http_client_init(&client, bench.port, bench.token);
    load_tables(&client);

    struct worker workers[THREADS];
    measure(clock_monotonic_us() + 2 * SECOND_US, workers); /* warms up; forgotten */
    int64_t commits = metric(&client, "sluice_catalog_commits");
    measure(clock_monotonic_us() + idle_seconds * SECOND_US, workers);
    http_client_close(&client); /* the server may have closed it as idle */
    struct phase idle = report_phase("idle", workers, false);
    report_slowest(workers);
    int64_t idle_commits = metric(&client, "sluice_catalog_commits") - commits;

    struct lying_server *destination = start_destination();
    (void)text_format_timestamp(clock_wall_us(), bench.from); /* length is not wanted */
    int64_t created_us = clock_monotonic_us();
    start_long_runs(&client, lying_server_port(destination));
    create_jobs();
    created_us = clock_monotonic_us() - created_us;
    int64_t now_us = clock_wall_us();
    bench.first_mark_us = now_us - now_us % MINUTE_US + MINUTE_US;
    int64_t end_us = bench.first_mark_us + (bench.marks - 1) * (int64_t)MINUTE_US +
                     2 * (int64_t)MARK_SECONDS * SECOND_US;
    commits = metric(&client, "sluice_catalog_commits");
    measure(clock_monotonic_us() + (end_us - now_us), workers);
    http_client_close(&client); /* likewise */
    struct phase loaded = report_phase("loaded", workers, false);
    struct phase marks = report_phase("marks", workers, true);
    report_slowest(workers);
    report_ratios("loaded/idle", &idle, &loaded);
    report_ratios("marks/idle", &idle, &marks);
    int64_t loaded_commits = metric(&client, "sluice_catalog_commits") - commits;
    bool good = report_runs(&client, count_long_runs(&client));
    (void)printf("{\"what\":\"server\",\"create_us\":%" PRId64 ",\"idle_commits\":%" PRId64
                 ",\"loaded_commits\":%" PRId64 ",\"loaded_seconds\":%" PRId64 "}\n",
                 created_us, idle_commits, loaded_commits,
                 (end_us - now_us) / SECOND_US); /* result */
    http_client_close(&client);
    lying_server_stop(&destination);
    return good ? 0 : 1;
}
