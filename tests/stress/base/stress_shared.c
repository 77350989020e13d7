/*
 * What all threads share in base: ids, metrics with registration and rendering,
 * log lines, a lock and its wake-up. Run under TSan; also checks the sums.
 */
#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/base/log.h"
#include "storage/base/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 6, ROUNDS = 3000 };

static struct lock turn_lock = {.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_QUEUE};
static struct wake turn_wake;
static int64_t turns; /* guarded by turn_lock */

static void take_turn(void)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&turn_lock);
    turns++;
    wake_all(&turn_wake);
}

static void write_line(int64_t round)
{
    struct log_line line;
    log_begin(&line, LOG_DEBUG, "stress");
    log_integer(&line, LOG_COUNT_OF, round);
    log_end(&line);
}

static void *work(void *argument)
{
    struct metric *shared = metric_register(METRIC_COUNTER, "stress_rounds_total", "", "Rounds.");
    struct metric *latency =
        metric_register(METRIC_HISTOGRAM, "stress_seconds", "table=\"a\"", "Time.");
    struct id last = id_new_ordered();
    for (int64_t round = 0; round < ROUNDS; round++) {
        struct id next = id_new_ordered();
        if (strcmp(last.text, next.text) >= 0) {
            abort();
        }
        last = next;
        metric_add(shared, 1);
        metric_observe_us(latency, round);
        if (round % 100 == 0) {
            char labels[32];
            (void)snprintf(labels, sizeof labels, "table=\"%d\"", (int)round % 7); /* fits */
            (void)metric_register(METRIC_GAUGE, "stress_depth", labels, "Depth.");
            metric_forget(labels);
            log_set_level(LOG_INFO);
        }
        write_line(round);
        take_turn();
    }
    return argument;
}

static void *render(void *argument)
{
    for (int i = 0; i < 200; i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 1 << 20);
        metrics_write(&text);
    }
    return argument;
}

static void wait_for_turns(void)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&turn_lock);
    while (turns < (int64_t)THREADS * ROUNDS) {
        wake_wait(&turn_wake, &turn_lock);
    }
}

int main(void)
{
    pthread_t threads[THREADS + 1];
    wake_init(&turn_wake);
    for (int i = 0; i <= THREADS; i++) {
        if (pthread_create(&threads[i], NULL, i < THREADS ? work : render, NULL) != 0) {
            return 1;
        }
    }
    wait_for_turns();
    for (int i = 0; i <= THREADS; i++) {
        if (pthread_join(threads[i], NULL) != 0) {
            return 1;
        }
    }
    struct metric *shared = metric_register(METRIC_COUNTER, "stress_rounds_total", "", "Rounds.");
    return metric_value(shared) == (int64_t)THREADS * ROUNDS ? 0 : 1;
}
