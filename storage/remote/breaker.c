/*
 * Circuit breakers. See breaker.h for the contract.
 *
 * A pass remembers the generation it was given in; every change of state begins a
 * new one. So the outcomes of calls that were under way when a breaker opened or
 * was reset say nothing any more, and exactly one pass is the probe of a half-open one.
 */
#include "storage/remote/breaker.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HALF_OPEN_WAIT_US = 1000000, FULL_WAIT_US = 1000000 };

/* Calls of one part of the window. */
struct slot {
    int64_t number; /* time / slot length; another number: the counts are of an older window */
    int64_t calls_count;
    int64_t failures_count;
};

struct breaker {
    char name[BREAKER_NAME_BYTES];
    char reason[BREAKER_REASON_BYTES];
    enum breaker_state state;
    uint64_t generation;
    int64_t in_flight_count; /* passes out, of any generation */
    bool probe_is_out;       /* half-open only */
    int64_t failures_in_a_row;
    int64_t opened_in_a_row; /* without having been closed */
    int64_t opened_count;
    int64_t retry_at_us; /* open only */
    int64_t changed_at_us;
    int64_t used_at_us;
    struct slot slots[BREAKER_WINDOW_SLOTS];
};

struct breakers {
    struct breakers_options options; /* defaults filled in; set once */
    struct metric *not_closed;
    struct metric *opened_total;
    struct metric *refused_total;
    struct lock lock; /* rank CACHE; guards what follows */
    size_t count;
    struct breaker *sorted[BREAKERS_MAX]; /* by name */
};

/* A change of state to be told when the lock is dropped. */
struct news {
    bool any;
    char name[BREAKER_NAME_BYTES];
    char reason[BREAKER_REASON_BYTES];
    enum breaker_state state;
};

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};
    assert(state <= BREAKER_HALF_OPEN);
    return names[state];
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

struct breakers *breakers_new(const struct breakers_options *options)
{
    struct breakers *breakers = mem_zeroed(1, sizeof *breakers);
    struct breakers_options *set = &breakers->options;
    *set = *options;
    set->failures_in_a_row = (int)or_default(set->failures_in_a_row, 5);
    set->failure_percent = (int)or_default(set->failure_percent, 50);
    set->window_calls_min = (int)or_default(set->window_calls_min, 20);
    set->window_us = or_default(set->window_us, 60 * INT64_C(1000000));
    set->open_us = or_default(set->open_us, 5 * INT64_C(1000000));
    set->open_us_max = or_default(set->open_us_max, 300 * INT64_C(1000000));
    set->now_us = set->now_us != NULL ? set->now_us : clock_monotonic_us;
    set->random_below = set->random_below != NULL ? set->random_below : secret_random_below;
    assert(set->window_us >= BREAKER_WINDOW_SLOTS && set->open_us <= set->open_us_max);
    breakers->not_closed = metric_register(METRIC_GAUGE, "sluice_breakers_open", "",
                                           "Circuit breakers that are open or half-open.");
    breakers->opened_total = metric_register(METRIC_COUNTER, "sluice_breaker_openings_total", "",
                                             "Times a circuit breaker opened.");
    breakers->refused_total =
        metric_register(METRIC_COUNTER, "sluice_breaker_refusals_total", "",
                        "Requests not sent because a circuit breaker was open.");
    lock_init(&breakers->lock, LOCK_RANK_CACHE);
    return breakers;
}

void breakers_free(struct breakers **breakers)
{
    struct breakers *freed = *breakers;
    if (freed == NULL) {
        return;
    }
    for (size_t i = 0; i < freed->count; i++) {
        assert(freed->sorted[i]->in_flight_count == 0);
        metric_add(freed->not_closed, -(freed->sorted[i]->state != BREAKER_CLOSED));
        mem_free(freed->sorted[i]);
    }
    lock_deinit(&freed->lock);
    mem_free(freed);
    *breakers = NULL;
}

/* ---- the table; the caller holds the lock ---- */

/* Place of the first name not before `name`. */
static size_t place_of(const struct breakers *breakers, const char *name, bool *found_out)
{
    size_t low = 0;
    size_t high = breakers->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(breakers->sorted[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found_out = low < breakers->count && strcmp(breakers->sorted[low]->name, name) == 0;
    return low;
}

static struct breaker *find(const struct breakers *breakers, const char *name)
{
    bool found = false;
    size_t place = place_of(breakers, name, &found);
    return found ? breakers->sorted[place] : NULL;
}

static void remove_at(struct breakers *breakers, size_t place)
{
    mem_free(breakers->sorted[place]);
    breakers->count--;
    memmove(&breakers->sorted[place], &breakers->sorted[place + 1],
            (breakers->count - place) * sizeof breakers->sorted[0]);
}

/* Nobody holds a pass, and forgetting it lets no call through that it would refuse. */
static bool is_idle(const struct breaker *breaker, int64_t now_us)
{
    return breaker->in_flight_count == 0 &&
           (breaker->state != BREAKER_OPEN || breaker->retry_at_us <= now_us);
}

/* Forget the one longest without a call; false when all are needed. */
static bool make_room(struct breakers *breakers, int64_t now_us)
{
    size_t oldest = BREAKERS_MAX;
    for (size_t i = 0; i < breakers->count; i++) {
        if (is_idle(breakers->sorted[i], now_us) &&
            (oldest == BREAKERS_MAX ||
             breakers->sorted[i]->used_at_us < breakers->sorted[oldest]->used_at_us)) {
            oldest = i;
        }
    }
    if (oldest == BREAKERS_MAX) {
        return false;
    }
    if (breakers->sorted[oldest]->state != BREAKER_CLOSED) {
        metric_add(breakers->not_closed, -1);
    }
    remove_at(breakers, oldest);
    return true;
}

static struct breaker *find_or_add(struct breakers *breakers, const char *name, int64_t now_us)
{
    struct breaker *known = find(breakers, name);
    if (known != NULL) {
        return known;
    }
    if (breakers->count == BREAKERS_MAX && !make_room(breakers, now_us)) {
        return NULL;
    }
    bool found = false;
    size_t place = place_of(breakers, name, &found);
    struct breaker *added = mem_zeroed(1, sizeof *added);
    (void)snprintf(added->name, sizeof added->name, "%s", name); /* the caller checked its size */
    added->changed_at_us = now_us;
    memmove(&breakers->sorted[place + 1], &breakers->sorted[place],
            (breakers->count - place) * sizeof breakers->sorted[0]);
    breakers->sorted[place] = added;
    breakers->count++;
    return added;
}

/* ---- the window ---- */

static int64_t slot_us(const struct breakers *breakers)
{
    return breakers->options.window_us / BREAKER_WINDOW_SLOTS;
}

static void count_call(const struct breakers *breakers, struct breaker *breaker, bool failed,
                       int64_t now_us)
{
    int64_t number = now_us / slot_us(breakers);
    struct slot *slot = &breaker->slots[number % BREAKER_WINDOW_SLOTS];
    if (slot->number != number) {
        *slot = (struct slot){.number = number};
    }
    slot->calls_count++;
    slot->failures_count += failed;
    breaker->failures_in_a_row = failed ? breaker->failures_in_a_row + 1 : 0;
}

static struct slot window_sum(const struct breakers *breakers, const struct breaker *breaker,
                              int64_t now_us)
{
    int64_t number = now_us / slot_us(breakers);
    struct slot sum = {.number = number};
    for (size_t i = 0; i < BREAKER_WINDOW_SLOTS; i++) {
        const struct slot *slot = &breaker->slots[i];
        if (slot->number > number - BREAKER_WINDOW_SLOTS && slot->number <= number) {
            sum.calls_count += slot->calls_count;
            sum.failures_count += slot->failures_count;
        }
    }
    return sum;
}

static bool is_over_limit(const struct breakers *breakers, const struct breaker *breaker,
                          int64_t now_us)
{
    if (breaker->failures_in_a_row >= breakers->options.failures_in_a_row) {
        return true;
    }
    struct slot sum = window_sum(breakers, breaker, now_us);
    return sum.calls_count >= breakers->options.window_calls_min &&
           sum.failures_count * 100 >= sum.calls_count * breakers->options.failure_percent;
}

/* ---- changes of state ---- */

static void change_state(struct breakers *breakers, struct breaker *breaker,
                         enum breaker_state state, int64_t now_us, struct news *news)
{
    metric_add(breakers->not_closed,
               (state != BREAKER_CLOSED) - (breaker->state != BREAKER_CLOSED));
    breaker->state = state;
    breaker->generation++;
    breaker->probe_is_out = false;
    breaker->changed_at_us = now_us;
    news->any = true;
    news->state = state;
    memcpy(news->name, breaker->name, sizeof news->name);
    memcpy(news->reason, breaker->reason, sizeof news->reason);
}

static void close_breaker(struct breakers *breakers, struct breaker *breaker, int64_t now_us,
                          struct news *news)
{
    memset(breaker->slots, 0, sizeof breaker->slots);
    breaker->failures_in_a_row = 0;
    breaker->opened_in_a_row = 0;
    change_state(breakers, breaker, BREAKER_CLOSED, now_us, news);
}

/* Each failed probe doubles the time; half of it is jitter, so that many do not knock at once. */
static void open_breaker(struct breakers *breakers, struct breaker *breaker, int64_t now_us,
                         int64_t retry_after_us, struct news *news)
{
    const struct breakers_options *options = &breakers->options;
    int64_t open_us = options->open_us;
    for (int64_t i = 0; i < breaker->opened_in_a_row && open_us < options->open_us_max; i++) {
        open_us = open_us > options->open_us_max / 2 ? options->open_us_max : open_us * 2;
    }
    open_us = open_us / 2 + (int64_t)options->random_below((uint64_t)(open_us - open_us / 2) + 1);
    if (retry_after_us > open_us) {
        open_us = retry_after_us < options->open_us_max ? retry_after_us : options->open_us_max;
    }
    breaker->retry_at_us = now_us + open_us;
    breaker->opened_in_a_row++;
    breaker->opened_count++;
    metric_add(breakers->opened_total, 1);
    change_state(breakers, breaker, BREAKER_OPEN, now_us, news);
}

static void tell(const struct breakers *breakers, const struct news *news)
{
    if (news->any && breakers->options.changed != NULL) {
        breakers->options.changed(breakers->options.changed_arg, news->name, news->state,
                                  news->reason);
    }
}

/* ---- calls ---- */

/* May a call pass now? Moves an open breaker whose time is over to half-open. */
static bool let_through(struct breakers *breakers, struct breaker *breaker, int64_t now_us,
                        struct breaker_pass *pass, struct news *news)
{
    if (breaker->state == BREAKER_OPEN && now_us >= breaker->retry_at_us) {
        change_state(breakers, breaker, BREAKER_HALF_OPEN, now_us, news);
    }
    if (breaker->state == BREAKER_OPEN) {
        pass->retry_after_us = breaker->retry_at_us - now_us;
        return false;
    }
    if (breaker->state == BREAKER_HALF_OPEN && breaker->probe_is_out) {
        pass->retry_after_us = HALF_OPEN_WAIT_US;
        return false;
    }
    *pass = (struct breaker_pass){
        .breaker = breaker,
        .generation = breaker->generation,
        .probe = breaker->state == BREAKER_HALF_OPEN,
    };
    breaker->probe_is_out = pass->probe;
    breaker->in_flight_count++;
    breaker->used_at_us = now_us;
    return true;
}

static enum err_code refuse(const struct breakers *breakers, const struct breaker *breaker,
                            const struct breaker_pass *pass, struct err *err)
{
    metric_add(breakers->refused_total, 1);
    int64_t wait_seconds = (pass->retry_after_us + 999999) / 1000000;
    return err_set(err, ERR_BUSY,
                   "the circuit breaker %s is %s (last failure: %s); try again in %" PRId64
                   " s, or reset it",
                   breaker->name, breaker->state == BREAKER_OPEN ? "open" : "testing one request",
                   breaker->reason, wait_seconds);
}

enum err_code breaker_enter(struct breakers *breakers, const char *name, struct breaker_pass *pass,
                            struct err *err)
{
    assert(strlen(name) < BREAKER_NAME_BYTES);
    *pass = (struct breaker_pass){0};
    struct news news = {.any = false};
    enum err_code code = ERR_OK;
    int64_t now_us = breakers->options.now_us();
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&breakers->lock);
        struct breaker *breaker = find_or_add(breakers, name, now_us);
        if (breaker == NULL) {
            pass->retry_after_us = FULL_WAIT_US;
            return err_set(err, ERR_BUSY, "requests to %d servers are under way; try again later",
                           BREAKERS_MAX);
        }
        if (!let_through(breakers, breaker, now_us, pass, &news)) {
            code = refuse(breakers, breaker, pass, err);
        }
    }
    tell(breakers, &news);
    return code;
}

static void take_outcome(struct breakers *breakers, const struct breaker_pass *pass,
                         enum breaker_outcome outcome, int64_t retry_after_us, struct news *news)
{
    struct breaker *breaker = pass->breaker;
    int64_t now_us = breakers->options.now_us();
    if (outcome == BREAKER_UNKNOWN) {
        breaker->probe_is_out = false; /* the next call is the probe */
        return;
    }
    count_call(breakers, breaker, outcome == BREAKER_FAILURE, now_us);
    if (pass->probe) {
        if (outcome == BREAKER_SUCCESS) {
            close_breaker(breakers, breaker, now_us, news);
        } else {
            open_breaker(breakers, breaker, now_us, retry_after_us, news);
        }
    } else if (is_over_limit(breakers, breaker, now_us)) {
        open_breaker(breakers, breaker, now_us, retry_after_us, news);
    }
}

void breaker_leave(struct breakers *breakers, struct breaker_pass *pass,
                   enum breaker_outcome outcome, const char *reason, int64_t retry_after_us)
{
    struct breaker *breaker = pass->breaker;
    if (breaker == NULL) {
        return;
    }
    struct news news = {.any = false};
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&breakers->lock);
        assert(breaker->in_flight_count > 0);
        breaker->in_flight_count--;
        if (outcome == BREAKER_FAILURE) {
            (void)snprintf(breaker->reason, sizeof breaker->reason, "%s",
                           reason != NULL ? reason : "unknown"); /* cut is fine */
        }
        if (pass->generation == breaker->generation) {
            take_outcome(breakers, pass, outcome, retry_after_us, &news);
        }
    }
    *pass = (struct breaker_pass){0};
    tell(breakers, &news);
}

/* ---- looking and resetting ---- */

static void view_of(const struct breakers *breakers, const struct breaker *breaker, int64_t now_us,
                    struct breaker_view *view_out)
{
    struct slot sum = window_sum(breakers, breaker, now_us);
    bool waits = breaker->state == BREAKER_OPEN && breaker->retry_at_us > now_us;
    *view_out = (struct breaker_view){
        .state = breaker->state,
        .calls_count = sum.calls_count,
        .failures_count = sum.failures_count,
        .failures_in_a_row = breaker->failures_in_a_row,
        .opened_count = breaker->opened_count,
        .retry_after_us = waits ? breaker->retry_at_us - now_us : 0,
        .changed_us = now_us - breaker->changed_at_us,
    };
    memcpy(view_out->name, breaker->name, sizeof view_out->name);
    memcpy(view_out->reason, breaker->reason, sizeof view_out->reason);
}

size_t breaker_list(struct breakers *breakers, const char *after_name, size_t limit,
                    struct breaker_view *views_out)
{
    int64_t now_us = breakers->options.now_us();
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&breakers->lock);
    size_t place = 0;
    if (after_name != NULL) {
        bool found = false;
        place = place_of(breakers, after_name, &found);
        place += found;
    }
    size_t count = 0;
    for (; count < limit && place < breakers->count; place++, count++) {
        view_of(breakers, breakers->sorted[place], now_us, &views_out[count]);
    }
    return count;
}

static enum err_code not_found(const char *name, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND,
                   "there is no circuit breaker '%.*s'; GET /v1/breakers lists them",
                   BREAKER_NAME_BYTES, name);
}

enum err_code breaker_get(struct breakers *breakers, const char *name,
                          struct breaker_view *view_out, struct err *err)
{
    int64_t now_us = breakers->options.now_us();
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&breakers->lock);
    const struct breaker *breaker = find(breakers, name);
    if (breaker == NULL) {
        return not_found(name, err);
    }
    view_of(breakers, breaker, now_us, view_out);
    return ERR_OK;
}

enum err_code breaker_reset(struct breakers *breakers, const char *name, struct err *err)
{
    struct news news = {.any = false};
    int64_t now_us = breakers->options.now_us();
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&breakers->lock);
        struct breaker *breaker = find(breakers, name);
        if (breaker == NULL) {
            return not_found(name, err);
        }
        bool was_closed = breaker->state == BREAKER_CLOSED;
        close_breaker(breakers, breaker, now_us, &news);
        news.any = !was_closed;
    }
    tell(breakers, &news);
    return ERR_OK;
}
