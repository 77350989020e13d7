/*
 * Appending, syncing, reading back, unpinning and removing on one segment log
 * from many threads. Exits 1 when a record is not what was written.
 *
 *   stress_segments [threads [records per thread]]
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/journal/segments.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 256, RECORD_BYTES_MAX = 4096 };

struct stress {
    struct segment_log *log;
    int64_t records_per_thread;
    _Atomic int64_t next_thread;
    _Atomic bool running;
};

static void must(enum err_code code, const struct err *err)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "stress_segments: %s\n", err->msg);
        exit(1);
    }
}

static void check(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "stress_segments: %s\n", what);
        exit(1);
    }
}

static void write_and_read(struct stress *stress, int64_t thread, int64_t number)
{
    struct err err = {0};
    struct location location;
    uint8_t bytes[RECORD_BYTES_MAX];
    size_t size = (size_t)(thread * 131 + number * 17) % sizeof bytes;
    memset(bytes, (int)(thread + number) & 0xff, size);
    must(segments_append(stress->log, span_of(bytes, size), &location, &err), &err);
    segments_sync(stress->log, &location);
    struct buffer found;
    buffer_init(&found, sizeof bytes);
    must(segments_read(stress->log, &location, &found, &err), &err);
    check(span_equal(buffer_span(&found), span_of(bytes, size)), "a record came back different");
    buffer_deinit(&found);
    segments_unpin(stress->log, &location);
}

static void *run_writer(void *arg)
{
    struct stress *stress = arg;
    int64_t thread = atomic_fetch_add(&stress->next_thread, 1);
    for (int64_t i = 0; i < stress->records_per_thread; i++) {
        write_and_read(stress, thread, i);
    }
    return NULL;
}

static void *run_remover(void *arg)
{
    struct stress *stress = arg;
    while (atomic_load(&stress->running)) {
        struct err err = {0};
        int64_t removed = 0;
        struct segment_statistics statistics;
        must(segments_remove_below(stress->log, segments_tail(stress->log), 0, &removed, &err),
             &err);
        segments_statistics(stress->log, &statistics);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 16;
    struct stress stress = {.records_per_thread = argc > 2 ? strtol(argv[2], NULL, 10) : 200};
    const struct segment_options options = {.magic = "SLUSTRSS",
                                            .segment_bytes = 64 << 10,
                                            .record_bytes_max = RECORD_BYTES_MAX,
                                            .keep_reserve = true};
    char folder[] = "/tmp/sluice-stress-XXXXXX";
    if (threads < 1 || threads > THREADS_MAX || mkdtemp(folder) == NULL) {
        return 2;
    }
    struct err err = {0};
    pthread_t writers[THREADS_MAX];
    pthread_t remover;
    must(secret_init(&err), &err);
    must(segments_open(folder, &options, &stress.log, NULL, &err), &err);
    atomic_store(&stress.running, true);
    check(pthread_create(&remover, NULL, run_remover, &stress) == 0, "no thread");
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < threads; i++) {
        check(pthread_create(&writers[i], NULL, run_writer, &stress) == 0, "no thread");
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(writers[i], NULL);
    }
    int64_t took_us = clock_monotonic_us() - started_us;
    atomic_store(&stress.running, false);
    (void)pthread_join(remover, NULL);
    struct segment_statistics statistics;
    segments_statistics(stress.log, &statistics);
    (void)printf("%d threads: %" PRId64 " records in %.2f s = %.0f/s, %" PRId64 " syncs\n", threads,
                 statistics.appends_count, (double)took_us / 1e6,
                 (double)statistics.appends_count * 1e6 / (double)took_us, statistics.syncs_count);
    segments_close(&stress.log);
    must(file_remove_tree(folder, &err), &err);
    return 0;
}
