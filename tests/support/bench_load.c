#include "tests/support/bench_load.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/sched.h"
#include "storage/base/text.h"
#include "tests/support/bench_records.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

struct worker {
    pthread_t thread;
    const struct bench_load *load;
    struct bench_client client;
    int64_t started_us;
    int64_t done;
    int64_t failed;
    int32_t *samples_us;
    int64_t samples_capacity;
};

static void sample(struct worker *worker, int64_t since_us)
{
    if (worker->done == worker->samples_capacity) {
        worker->samples_capacity = worker->samples_capacity * 2 + 1024;
        worker->samples_us = mem_resize(worker->samples_us, (size_t)worker->samples_capacity,
                                        sizeof *worker->samples_us);
    }
    worker->samples_us[worker->done++] = (int32_t)(clock_monotonic_us() - since_us);
}

static void sleep_until(int64_t moment_us)
{
    const struct timespec moment = {.tv_sec = moment_us / 1000000,
                                    .tv_nsec = moment_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL) == EINTR) {
    }
}

/* When the next request is due; a closed loop is always due. */
static int64_t planned_us(const struct worker *worker)
{
    const struct bench_load *load = worker->load;
    if (load->rate <= 0) {
        return clock_monotonic_us();
    }
    double turn = (double)worker->done * load->clients + worker->client.number;
    return worker->started_us + (int64_t)(turn / load->rate * 1e6);
}

static bool goes_on(const struct worker *worker, int64_t planned)
{
    const struct bench_load *load = worker->load;
    bool in_time =
        load->seconds <= 0 || planned < worker->started_us + (int64_t)(load->seconds * 1e6);
    return in_time && (load->turns_max == 0 || worker->done < load->turns_max);
}

/*
 * What counts from a planned moment must not count how late the client itself wakes up: on a
 * machine that the server fills, that is milliseconds at the 99th percentile.
 */
static void be_on_time(void)
{
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* a hint: nanoseconds, where the kernel takes 50 us */
    sched_be_prompt();
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    const struct bench_load *load = worker->load;
    if (load->rate > 0) {
        be_on_time();
    }
    if (load->open != NULL) {
        load->open(&worker->client, load->self);
    }
    for (int64_t planned = planned_us(worker); goes_on(worker, planned);
         planned = planned_us(worker)) {
        if (load->rate > 0 && planned > clock_monotonic_us()) {
            sleep_until(planned);
        }
        worker->failed += !load->ask(&worker->client, worker->done, load->self);
        sample(worker, planned);
    }
    if (load->close != NULL) {
        load->close(&worker->client, load->self);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a;
    int32_t right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

static int report(const struct bench_load *load, const struct worker *workers, double seconds)
{
    int64_t done = 0;
    int64_t failed = 0;
    for (int i = 0; i < load->clients; i++) {
        done += workers[i].done;
        failed += workers[i].failed;
    }
    int32_t *all = mem_zeroed((size_t)done + 1, sizeof *all);
    int64_t at = 0;
    for (int i = 0; i < load->clients; i++) {
        if (workers[i].done > 0) {
            memcpy(all + at, workers[i].samples_us, (size_t)workers[i].done * sizeof *all);
        }
        at += workers[i].done;
    }
    qsort(all, (size_t)done, sizeof *all, compare);
    (void)printf("{\"what\":\"%s\",\"clients\":%d,\"open_loop\":%s,\"requests\":%" PRId64
                 ",\"failed\":%" PRId64 ",\"per_second\":%.0f,\"p50_us\":%d,\"p99_us\":%d,"
                 "\"max_us\":%d}\n",
                 load->what, load->clients, load->rate > 0 ? "true" : "false", done, failed,
                 (double)done * load->records_per_request / seconds, all[done / 2],
                 all[done * 99 / 100], all[done > 0 ? done - 1 : 0]); /* result */
    mem_free(all);
    return failed > 0;
}

int bench_load_run(const struct bench_load *load)
{
    struct worker *workers = mem_zeroed((size_t)load->clients, sizeof *workers);
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < load->clients; i++) {
        workers[i] = (struct worker){
            .load = load,
            .client = {.number = i, .random = load->seed * 1000003 + (uint64_t)i * 7919 + 1},
            .started_us = started_us};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < load->clients; i++) {
        (void)pthread_join(workers[i].thread, NULL); /* of this process, joinable */
    }
    double seconds = (double)(clock_monotonic_us() - started_us) / 1e6;
    int code = report(load, workers, seconds);
    for (int i = 0; i < load->clients; i++) {
        mem_free(workers[i].samples_us);
    }
    mem_free(workers);
    return code;
}

int64_t bench_number(const char *text)
{
    int64_t value = 0;
    if (!text_parse_int64(span_of_text(text), &value)) {
        (void)fprintf(stderr, "not a number: %s\n", text); /* told */
        exit(64);
    }
    return value;
}
