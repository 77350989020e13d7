/*
 * Lanes and their threads. See lanes.h for the contract.
 *
 * All state is under one lock; a step runs outside it. There are at most as many
 * lanes as tables, so a list walked from the front is all the queue it needs.
 */
#include "workers/lanes.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/sched.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

/* One lane; kept once known, because tables are few. */
struct lane {
    struct lane *next;
    struct id id;
    bool wanted;           /* somebody woke it, or work was left */
    bool running;          /* a thread is in its step */
    int64_t not_before_us; /* monotonic; pacing and back-off */
    int attempt;           /* failed steps in a row */
    int loaded_steps;      /* steps in a row that left work behind */
};

struct lanes {
    struct lanes_options options;
    struct lock lock; /* guards everything below */
    struct wake wake;
    struct lane *first;
    bool closing;
    pthread_t threads[LANES_THREADS_MAX];
};

static struct lane *find_or_add(struct lanes *lanes, const struct id *id)
{
    struct lane **link = &lanes->first;
    while (*link != NULL) {
        if (strcmp((*link)->id.text, id->text) == 0) {
            return *link;
        }
        link = &(*link)->next;
    }
    struct lane *lane = mem_zeroed(1, sizeof *lane);
    lane->id = *id;
    *link = lane;
    return lane;
}

/* The lane that has been due longest, or NULL with the time the next one is due. */
static struct lane *pick(struct lanes *lanes, int64_t now_us, int64_t *next_us_out)
{
    struct lane *best = NULL;
    int64_t next_us = INT64_MAX;
    for (struct lane *lane = lanes->first; lane != NULL; lane = lane->next) {
        if (!lane->wanted || lane->running) {
            continue;
        }
        if (lane->not_before_us > now_us) {
            next_us = lane->not_before_us < next_us ? lane->not_before_us : next_us;
        } else if (best == NULL || lane->not_before_us < best->not_before_us) {
            best = lane;
        }
    }
    *next_us_out = next_us;
    return best;
}

static int64_t backoff_us(int attempt)
{
    int64_t ceiling = LANES_BACKOFF_MIN_US;
    for (int i = 1; i < attempt && ceiling < LANES_BACKOFF_MAX_US; i++) {
        ceiling *= 2;
    }
    if (ceiling > LANES_BACKOFF_MAX_US) {
        ceiling = LANES_BACKOFF_MAX_US;
    }
    return (int64_t)secret_random_below((uint64_t)ceiling) + 1;
}

static void log_failure(const struct lanes *lanes, const struct lane *lane, const struct err *err)
{
    struct log_line line;
    log_begin(&line, LOG_WARN, "the step failed and will be tried again");
    log_text(&line, LOG_TASK, lanes->options.name);
    log_text(&line, LOG_TABLE, lane->id.text);
    log_integer(&line, LOG_ATTEMPT, lane->attempt);
    log_err(&line, err);
    log_end(&line);
}

/* After a step: what the lane does next. Caller holds the lock. */
static void settle(const struct lanes *lanes, struct lane *lane, enum err_code code,
                   const struct lane_left *left, int64_t started_us)
{
    lane->running = false;
    if (code == ERR_OK) {
        lane->attempt = 0;
        /* who was woken meanwhile goes on, but only what the step itself saw waiting is load */
        lane->wanted = left->rest != LANE_NOTHING || lane->wanted;
        lane->loaded_steps = left->rest != LANE_NOTHING ? lane->loaded_steps + 1 : 0;
        bool loaded = lanes->options.background || lane->loaded_steps >= LANES_LOADED_STEPS;
        bool paced = loaded && left->rest != LANE_FULL;
        lane->not_before_us = paced ? started_us + lanes->options.interval_us : 0;
        int64_t paused_us = left->pause_us > 0 ? clock_monotonic_us() + left->pause_us : 0;
        lane->not_before_us = paused_us > lane->not_before_us ? paused_us : lane->not_before_us;
    } else if (code == ERR_CANCELLED) {
        lane->wanted = false;
        lane->attempt = 0;
    } else {
        lane->wanted = true;
        lane->not_before_us = clock_monotonic_us() + backoff_us(lane->attempt);
    }
}

static void run_step(struct lanes *lanes, struct lane *lane)
{
    lane->running = true;
    lane->wanted = false;
    int attempt = ++lane->attempt;
    int64_t started_us = clock_monotonic_us();
    lock_drop(&lanes->lock);

    struct err err = {0};
    struct lane_left left = {.rest = LANE_NOTHING};
    enum err_code code = lanes->options.step(lanes->options.arg, &lane->id, attempt, &left, &err);
    if (code != ERR_OK && code != ERR_CANCELLED) {
        log_failure(lanes, lane, &err);
    }

    lock_take(&lanes->lock);
    settle(lanes, lane, code, &left, started_us);
}

static void *lanes_main(void *arg)
{
    struct lanes *lanes = arg;
    (void)pthread_setname_np(pthread_self(), lanes->options.name); /* for whoever looks */
    if (lanes->options.background) {
        sched_be_nice(SCHED_NICE_BACKGROUND);
    }
    lock_take(&lanes->lock);
    while (!lanes->closing) {
        int64_t next_us = INT64_MAX;
        struct lane *lane = pick(lanes, clock_monotonic_us(), &next_us);
        if (lane != NULL) {
            run_step(lanes, lane);
        } else if (next_us == INT64_MAX) {
            wake_wait(&lanes->wake, &lanes->lock);
        } else {
            (void)wake_wait_until(&lanes->wake, &lanes->lock, next_us); /* looked at above */
        }
    }
    lock_drop(&lanes->lock);
    return NULL;
}

struct lanes *lanes_open(const struct lanes_options *options)
{
    assert(options->threads_count > 0);
    assert(options->threads_count <= LANES_THREADS_MAX);
    struct lanes *lanes = mem_zeroed(1, sizeof *lanes);
    lanes->options = *options;
    lock_init(&lanes->lock, LOCK_RANK_QUEUE);
    wake_init(&lanes->wake);
    for (int i = 0; i < options->threads_count; i++) {
        int result = pthread_create(&lanes->threads[i], NULL, lanes_main, lanes);
        assert(result == 0);
    }
    return lanes;
}

void lanes_close(struct lanes **lanes)
{
    if (*lanes == NULL) {
        return;
    }
    struct lanes *closed = *lanes;
    lock_take(&closed->lock);
    closed->closing = true;
    wake_all(&closed->wake);
    lock_drop(&closed->lock);
    for (int i = 0; i < closed->options.threads_count; i++) {
        int result = pthread_join(closed->threads[i], NULL);
        assert(result == 0);
    }
    while (closed->first != NULL) {
        struct lane *lane = closed->first;
        closed->first = lane->next;
        mem_free(lane);
    }
    wake_deinit(&closed->wake);
    lock_deinit(&closed->lock);
    mem_free(closed);
    *lanes = NULL;
}

void lanes_wake(struct lanes *lanes, const struct id *id)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    (void)scope; /* held to the end */
    struct lane *lane = find_or_add(lanes, id);
    if (!lane->wanted) {
        lane->wanted = true;
        wake_one(&lanes->wake);
    }
}

bool lanes_are_idle(struct lanes *lanes)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    (void)scope; /* held to the end */
    for (const struct lane *lane = lanes->first; lane != NULL; lane = lane->next) {
        if (lane->wanted || lane->running) {
            return false;
        }
    }
    return true;
}
