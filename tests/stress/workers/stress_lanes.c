/*
 * Lanes under races: many wakers, few threads, closing in the middle. Plain main,
 * to be run under TSan.
 */
#include "workers/lanes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES = 8, WAKERS = 4, WAKES = 5000, ROUNDS = 5 };

static _Atomic int running[LANES];
static _Atomic int64_t steps;
static struct lanes *lanes;

static enum err_code step(void *arg, const struct id *lane, int attempt, struct lane_left *left_out,
                          struct err *err)
{
    (void)arg;
    (void)attempt;
    int number = lane->text[0] - '0';
    if (atomic_fetch_add(&running[number], 1) != 0) {
        (void)fprintf(stderr, "lane %d runs twice\n", number); /* told */
        abort();
    }
    left_out->rest = atomic_fetch_add(&steps, 1) % 7 == 0 ? LANE_MORE : LANE_NOTHING;
    atomic_fetch_sub(&running[number], 1);
    return left_out->rest == LANE_MORE ? ERR_OK : err_set(err, ERR_CANCELLED, "enough");
}

static void *wake(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAKES; i++) {
        struct id lane = {.text = {(char)('0' + i % LANES)}};
        lanes_wake(lanes, &lane);
    }
    return NULL;
}

int main(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        lanes =
            lanes_open(&(struct lanes_options){.name = "stress", .threads_count = 4, .step = step});
        pthread_t wakers[WAKERS];
        for (int i = 0; i < WAKERS; i++) {
            if (pthread_create(&wakers[i], NULL, wake, NULL) != 0) {
                return 1;
            }
        }
        for (int i = 0; i < WAKERS; i++) {
            (void)pthread_join(wakers[i], NULL);
        }
        lanes_close(&lanes);
    }
    return atomic_load(&steps) > 0 ? 0 : 1;
}
