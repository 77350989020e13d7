/*
 * Breakers under many threads and a clock that runs: never two probes of one
 * breaker at a time, every pass given back, views and resets in between. TSan.
 */
#include "storage/remote/breaker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 6, ROUNDS = 20000, NAMES = 5 };

static struct breakers *breakers;
static _Atomic int probes[NAMES];
static _Atomic int64_t refusals;
static _Atomic int64_t changes;

static void check(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "stress_breakers: %s\n", what); /* on the way out */
        abort();
    }
}

static void note_change(void *arg, const char *name, enum breaker_state state, const char *reason)
{
    (void)arg;
    (void)reason;
    check(name[0] == 'h' && state <= BREAKER_HALF_OPEN, "a change of nothing");
    atomic_fetch_add(&changes, 1);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 16;
}

static void call_once(uint32_t *random)
{
    char name[32];
    struct err err = {0};
    struct breaker_pass pass;
    unsigned number = next_random(random) % NAMES;
    (void)snprintf(name, sizeof name, "https:h%u:443", number); /* fits */
    if (breaker_enter(breakers, name, &pass, &err) != ERR_OK) {
        check(pass.retry_after_us > 0, "refused without a time");
        atomic_fetch_add(&refusals, 1);
        return;
    }
    /* the last name is reset now and then, which lets a second probe out beside the first */
    bool probe = pass.probe && number < NAMES - 1;
    if (probe) {
        check(atomic_fetch_add(&probes[number], 1) == 0, "two probes at a time");
    }
    unsigned dice = next_random(random) % 10;
    if (probe) {
        atomic_fetch_sub(&probes[number], 1);
    }
    enum breaker_outcome outcome = dice < 6   ? BREAKER_FAILURE
                                   : dice < 9 ? BREAKER_SUCCESS
                                              : BREAKER_UNKNOWN;
    breaker_leave(breakers, &pass, outcome, "status 500", 0);
    if (number == NAMES - 1 && next_random(random) % 100 == 0) {
        err_ignore(breaker_reset(breakers, name, &err)); /* it may be gone */
    }
}

static void *work(void *arg)
{
    uint32_t random = (uint32_t)(uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        call_once(&random);
        if (i % 100 == 0) {
            struct breaker_view views[NAMES];
            size_t count = breaker_list(breakers, NULL, NAMES, views);
            for (size_t k = 1; k < count; k++) {
                check(strcmp(views[k - 1].name, views[k].name) < 0, "a list out of order");
            }
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    const struct breakers_options options = {
        .open_us = 50, .open_us_max = 1000, .changed = note_change};
    breakers = breakers_new(&options);
    for (uintptr_t i = 0; i < THREADS; i++) {
        check(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0, "no thread");
    }
    for (size_t i = 0; i < THREADS; i++) {
        check(pthread_join(threads[i], NULL) == 0, "no join");
    }
    check(atomic_load(&refusals) > 0 && atomic_load(&changes) > 0, "nothing ever opened");
    breakers_free(&breakers);
    (void)printf("stress_breakers: %ld changes, %ld refusals\n", (long)changes,
                 (long)refusals); /* for people */
    return 0;
}
