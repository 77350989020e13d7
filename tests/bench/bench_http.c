/*
 * The load side of the benchmark: closed-loop clients over loopback.
 *
 *   bench_http get PORT TOKEN CLIENTS SECONDS PATH_PREFIX COUNT
 *       GET PATH_PREFIX and a random number below COUNT; requests/s, p50, p99
 *   bench_http upsert PORT TOKEN BATCHES ROWS KEYS
 *       post BATCHES batches of ROWS upserts one after the other, 90 % of them of
 *       keys below KEYS, each waited for until indexed; p50, p99
 *   bench_http trickle PORT TOKEN CLIENTS SECONDS
 *       CLIENTS clients post single records, durable acknowledgement; acked/s, p50, p99
 *   bench_http load PORT TOKEN ROWS
 *       post ROWS rows in batches of 20,000 from two clients; records/s until all
 *       are indexed
 *
 * The table is `bench` (key id): {"id":"k<number>","n":…,"name":…,"amount":…}.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "tests/support/http_client.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS_MAX = 256, SAMPLES_MAX = 4000000, LOAD_ROWS = 20000, LOAD_CLIENTS = 2 };

static uint16_t port;
static const char *token;

struct worker {
    pthread_t thread;
    uint64_t random;
    int64_t until_us;
    const char *path_prefix;
    int64_t count; /* of keys, or rows to load */
    int64_t first; /* of rows to load */
    int64_t done;
    int64_t failed;
    int32_t *samples_us;
    int64_t samples_count;
};

static uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void sample(struct worker *worker, int64_t started_us)
{
    if (worker->samples_count < SAMPLES_MAX / CLIENTS_MAX * 16) {
        worker->samples_us[worker->samples_count++] = (int32_t)(clock_monotonic_us() - started_us);
    }
}

static int compare(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a;
    int32_t right = *(const int32_t *)b;
    return left < right ? -1 : left > right;
}

static void report(const char *what, struct worker *workers, int count, double seconds,
                   double records_per_request)
{
    int64_t samples_count = 0;
    int64_t done = 0;
    int64_t failed = 0;
    for (int i = 0; i < count; i++) {
        samples_count += workers[i].samples_count;
        done += workers[i].done;
        failed += workers[i].failed;
    }
    int32_t *all = mem_zeroed((size_t)samples_count + 1, sizeof *all);
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        memcpy(all + at, workers[i].samples_us, (size_t)workers[i].samples_count * sizeof *all);
        at += workers[i].samples_count;
    }
    qsort(all, (size_t)samples_count, sizeof *all, compare);
    (void)printf("{\"what\":\"%s\",\"clients\":%d,\"requests\":%" PRId64 ",\"failed\":%" PRId64
                 ",\"per_second\":%.0f,\"p50_us\":%d,\"p99_us\":%d}\n",
                 what, count, done, failed, (double)done * records_per_request / seconds,
                 samples_count > 0 ? all[samples_count / 2] : 0,
                 samples_count > 0 ? all[samples_count * 99 / 100] : 0); /* result */
    mem_free(all);
}

static void *get_main(void *arg)
{
    struct worker *worker = arg;
    struct http_client client;
    http_client_init(&client, port, token);
    while (clock_monotonic_us() < worker->until_us) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s%d", worker->path_prefix,
                       (int)(random_next(&worker->random) % (uint64_t)worker->count)); /* fits */
        struct http_answer answer;
        int64_t started_us = clock_monotonic_us();
        bool good =
            http_client_call(&client, "GET", path, "", "", 0, &answer) && answer.status == 200;
        http_answer_deinit(&answer);
        worker->failed += !good;
        worker->done++;
        sample(worker, started_us);
    }
    http_client_close(&client);
    return NULL;
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

/* Post one batch; true when it was answered with `wanted`. */
static bool post(struct http_client *client, const struct buffer *body, const char *prefer,
                 int wanted, char batch_out[64])
{
    char extra[256];
    (void)snprintf(extra, sizeof extra, "Content-Type: application/x-ndjson\r\n%s",
                   prefer); /* fits */
    struct http_answer answer;
    bool good = http_client_call(client, "POST", "/v1/tables/bench/batches", extra,
                                 (const char *)body->data, body->size, &answer) &&
                answer.status == wanted;
    if (good && batch_out != NULL) {
        good = http_json_text(answer.body, "batch_id", batch_out, 64);
    }
    if (!good && answer.body != NULL) {
        (void)fprintf(stderr, "status %d: %.200s\n", answer.status, answer.body); /* told */
    }
    http_answer_deinit(&answer);
    return good;
}

static void *trickle_main(void *arg)
{
    struct worker *worker = arg;
    struct http_client client;
    http_client_init(&client, port, token);
    struct buffer body;
    buffer_init(&body, 4096);
    while (clock_monotonic_us() < worker->until_us) {
        buffer_reset(&body);
        uint64_t random = random_next(&worker->random);
        append_row(&body, (int64_t)(random % 1000000), random);
        int64_t started_us = clock_monotonic_us();
        worker->failed += !post(&client, &body, "", 202, NULL);
        worker->done++;
        sample(worker, started_us);
    }
    buffer_deinit(&body);
    http_client_close(&client);
    return NULL;
}

static void *load_main(void *arg)
{
    struct worker *worker = arg;
    struct http_client client;
    http_client_init(&client, port, token);
    struct buffer body;
    buffer_init(&body, 64 << 20);
    char batch[64] = "";
    for (int64_t row = 0; row < worker->count; row += LOAD_ROWS) {
        buffer_reset(&body);
        for (int64_t i = row; i < row + LOAD_ROWS && i < worker->count; i++) {
            append_row(&body, worker->first + i, random_next(&worker->random));
        }
        worker->failed += !post(&client, &body, "", 202, batch);
        worker->done++;
    }
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/batches/%s", batch); /* fits */
    for (bool indexed = false; !indexed;) {
        struct http_answer answer;
        char state[32] = "";
        if (!http_client_call(&client, "GET", path, "Prefer: wait=60\r\n", "", 0, &answer)) {
            worker->failed++;
            break;
        }
        (void)http_json_text(answer.body, "state", state, sizeof state);
        indexed = strcmp(state, "indexed") == 0;
        http_answer_deinit(&answer);
    }
    buffer_deinit(&body);
    http_client_close(&client);
    return NULL;
}

static double run(struct worker *workers, int count, void *(*main_fn)(void *))
{
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < count; i++) {
        if (pthread_create(&workers[i].thread, NULL, main_fn, &workers[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    return (double)(clock_monotonic_us() - started_us) / 1e6;
}

static void upsert(int64_t batches, int64_t rows, int64_t keys)
{
    struct worker worker = {.random = 7, .samples_us = mem_zeroed(SAMPLES_MAX, 4)};
    struct http_client client;
    http_client_init(&client, port, token);
    struct buffer body;
    buffer_init(&body, 64 << 20);
    int64_t begun_us = clock_monotonic_us();
    for (int64_t b = 0; b < batches; b++) {
        buffer_reset(&body);
        for (int64_t i = 0; i < rows; i++) {
            uint64_t random = random_next(&worker.random);
            bool hit = random % 10 != 0;
            append_row(&body, hit ? (int64_t)(random / 16 % (uint64_t)keys) : keys + b * rows + i,
                       random);
        }
        int64_t started_us = clock_monotonic_us();
        worker.failed += !post(&client, &body, "Prefer: wait=30\r\n", 200, NULL);
        worker.done++;
        sample(&worker, started_us);
    }
    report("upsert", &worker, 1, (double)(clock_monotonic_us() - begun_us) / 1e6, (double)rows);
    buffer_deinit(&body);
    http_client_close(&client);
    mem_free(worker.samples_us);
}

static int64_t number(const char *text)
{
    int64_t value = 0;
    if (!text_parse_int64(span_of_text(text), &value)) {
        (void)fprintf(stderr, "not a number: %s\n", text); /* told */
        exit(64);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        (void)fprintf(stderr, "Usage: see the top of bench_http.c\n"); /* told */
        return 64;
    }
    port = (uint16_t)number(argv[2]);
    token = argv[3];
    struct worker *workers = mem_zeroed(CLIENTS_MAX, sizeof *workers);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        workers[i].random = (uint64_t)i * 7919 + 1;
    }
    if (strcmp(argv[1], "upsert") == 0 && argc == 7) {
        upsert(number(argv[4]), number(argv[5]), number(argv[6]));
        return 0;
    }
    int count = strcmp(argv[1], "load") == 0 ? LOAD_CLIENTS : (int)number(argv[4]);
    for (int i = 0; i < count && i < CLIENTS_MAX; i++) {
        workers[i].samples_us = mem_zeroed(SAMPLES_MAX / CLIENTS_MAX * 16, 4);
        if (strcmp(argv[1], "load") == 0) {
            workers[i].count = number(argv[4]) / LOAD_CLIENTS;
            workers[i].first = i * workers[i].count;
        } else {
            workers[i].until_us = clock_monotonic_us() + number(argv[5]) * 1000000;
        }
    }
    if (strcmp(argv[1], "get") == 0 && argc == 8) {
        for (int i = 0; i < count; i++) {
            workers[i].path_prefix = argv[6];
            workers[i].count = number(argv[7]);
        }
        report("get", workers, count, run(workers, count, get_main), 1);
    } else if (strcmp(argv[1], "trickle") == 0) {
        report("trickle", workers, count, run(workers, count, trickle_main), 1);
    } else if (strcmp(argv[1], "load") == 0) {
        double seconds = run(workers, count, load_main);
        report("load", workers, count, seconds, LOAD_ROWS);
    } else {
        return 64;
    }
    return 0;
}
