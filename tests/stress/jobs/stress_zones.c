/*
 * Threads that acquire, use and release zones while another replaces their files, as
 * an upgrade of tzdata does. Run under TSan; also checks that every zone handed out is
 * one of the two that were ever written, whole.
 */
#include "storage/jobs/zone.h"

#include "storage/base/buffer.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 5, ROUNDS = 2000, WRITES = 400, NAMES = 3 };

static char folder[] = "/tmp/sluice-stress-XXXXXX";
static const char *const names[NAMES] = {"One", "Two", "Three"};
static _Atomic bool stopping;

static void must(enum err_code code, const struct err *err)
{
    if (code != ERR_OK) {
        (void)fprintf(stderr, "%s\n", err->msg); /* about to stop */
        abort();
    }
}

/* A zone of one offset, in hours. */
static void write_zone(const char *name, int hours)
{
    static const uint8_t block[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\0\0\0\1\0\0\0\4\0\0\0\0\0\0XXX";
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    buffer_append(&bytes, block, sizeof block);
    buffer_append(&bytes, block, sizeof block);
    buffer_append_format(&bytes, "\nXXX-%d\n", hours);
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    struct err err = {0};
    must(file_replace_derived(path, buffer_span(&bytes), &err), &err);
    buffer_deinit(&bytes);
}

static void *read_zones(void *argument)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct err err = {0};
        const struct zone *zone = NULL;
        must(zone_acquire(names[round % NAMES], &zone, &err), &err);
        const struct zone *shared = zone_retain(zone);
        int32_t offset_s = zone_offset_s(zone, 0);
        zone_release(&zone);
        if ((offset_s != 3600 && offset_s != 7200) || zone_offset_s(shared, 0) != offset_s) {
            abort();
        }
        zone_release(&shared);
    }
    return argument;
}

static void *write_zones(void *argument)
{
    for (int i = 0; i < WRITES && !stopping; i++) {
        write_zone(names[i % NAMES], 1 + i % 2);
    }
    return argument;
}

int main(void)
{
    if (mkdtemp(folder) == NULL || setenv("TZDIR", folder, 1) != 0) {
        return 1;
    }
    for (int i = 0; i < NAMES; i++) {
        write_zone(names[i], 1);
    }
    pthread_t writer;
    pthread_t readers[THREADS];
    if (pthread_create(&writer, NULL, write_zones, NULL) != 0) {
        return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&readers[i], NULL, read_zones, NULL) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(readers[i], NULL); /* it ended by itself */
    }
    stopping = true;
    (void)pthread_join(writer, NULL); /* it ended by itself */
    struct err err = {0};
    must(file_remove_tree(folder, &err), &err);
    return 0;
}
