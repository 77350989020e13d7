/*
 * Breakers under a clock and dice of our own.
 */
#include "storage/remote/breaker.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { SECOND = 1000000 };

static int64_t now;
static uint64_t dice; /* what random_below answers, cut to its limit */

static int64_t test_now(void)
{
    return now;
}

static uint64_t test_random(uint64_t limit)
{
    return dice < limit ? dice : limit - 1;
}

static struct breakers *new_breakers(void)
{
    now = 1000 * (int64_t)SECOND;
    dice = UINT64_MAX; /* the longest time each */
    const struct breakers_options options = {.now_us = test_now, .random_below = test_random};
    return breakers_new(&options);
}

static const char *const name = "https:a.example:443";

/* One call with a given outcome; false when it was refused. */
static bool call(struct breakers *breakers, enum breaker_outcome outcome)
{
    struct err err = {0};
    struct breaker_pass pass;
    if (breaker_enter(breakers, name, &pass, &err) != ERR_OK) {
        cr_assert_eq(err.code, ERR_BUSY);
        cr_assert(pass.retry_after_us > 0);
        return false;
    }
    breaker_leave(breakers, &pass, outcome, "status 503", 0);
    return true;
}

static struct breaker_view view(struct breakers *breakers)
{
    struct err err = {0};
    struct breaker_view result;
    cr_assert_eq(breaker_get(breakers, name, &result, &err), ERR_OK, "%s", err.msg);
    return result;
}

static void open_it(struct breakers *breakers)
{
    for (int i = 0; i < 5; i++) {
        cr_assert(call(breakers, BREAKER_FAILURE));
    }
    cr_assert_eq(view(breakers).state, BREAKER_OPEN);
}

Test(breaker, opens_after_five_failures_in_a_row)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    for (int i = 0; i < 4; i++) {
        cr_expect(call(breakers, BREAKER_FAILURE));
    }
    cr_expect(call(breakers, BREAKER_SUCCESS));
    for (int i = 0; i < 4; i++) {
        cr_expect(call(breakers, BREAKER_FAILURE));
        cr_expect(call(breakers, BREAKER_UNKNOWN), "says nothing, and ends no row");
        cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
    }
    cr_expect(call(breakers, BREAKER_FAILURE));
    cr_expect_eq(view(breakers).state, BREAKER_OPEN);
    cr_expect_not(call(breakers, BREAKER_SUCCESS));
    cr_expect_str_eq(view(breakers).reason, "status 503");
    cr_expect_eq(view(breakers).opened_count, 1);
}

Test(breaker, opens_when_half_of_the_window_failed)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    /* success first, so that no row grows; 19 calls are too few to say */
    for (int i = 0; i < 19; i++) {
        cr_expect(call(breakers, i % 2 == 0 ? BREAKER_FAILURE : BREAKER_SUCCESS));
        cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
    }
    cr_expect(call(breakers, BREAKER_SUCCESS));
    cr_expect_eq(view(breakers).state, BREAKER_OPEN);
    cr_expect_eq(view(breakers).calls_count, 20);
    cr_expect_eq(view(breakers).failures_count, 10);
}

Test(breaker, forgets_what_left_the_window)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    for (int i = 0; i < 18; i++) {
        cr_expect(call(breakers, i % 2 == 0 ? BREAKER_FAILURE : BREAKER_SUCCESS));
    }
    now += 55 * (int64_t)SECOND;
    cr_expect_eq(view(breakers).calls_count, 18);
    now += 5 * (int64_t)SECOND;
    cr_expect_eq(view(breakers).calls_count, 0);
    for (int i = 0; i < 19; i++) {
        cr_expect(call(breakers, i % 2 == 0 ? BREAKER_FAILURE : BREAKER_SUCCESS));
    }
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
}

Test(breaker, lets_exactly_one_probe_through)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    open_it(breakers);
    cr_expect_eq(view(breakers).retry_after_us, 5 * SECOND);
    now += 5 * (int64_t)SECOND - 1;
    cr_expect_not(call(breakers, BREAKER_SUCCESS));
    now += 1;
    struct err err = {0};
    struct breaker_pass probe;
    struct breaker_pass second;
    cr_assert_eq(breaker_enter(breakers, name, &probe, &err), ERR_OK);
    cr_expect(probe.probe);
    cr_expect_eq(view(breakers).state, BREAKER_HALF_OPEN);
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(breaker_enter(breakers, name, &second, &err), ERR_BUSY);
        breaker_leave(breakers, &second, BREAKER_FAILURE, "refused", 0); /* holds nothing */
    }
    breaker_leave(breakers, &probe, BREAKER_SUCCESS, NULL, 0);
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
    cr_expect_eq(view(breakers).failures_count, 0, "what failed before it closed is over");
    for (int i = 0; i < 4; i++) {
        cr_expect(call(breakers, BREAKER_FAILURE));
    }
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
}

Test(breaker, a_probe_that_says_nothing_makes_room_for_the_next)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    open_it(breakers);
    now += 5 * (int64_t)SECOND;
    cr_expect(call(breakers, BREAKER_UNKNOWN));
    cr_expect_eq(view(breakers).state, BREAKER_HALF_OPEN);
    cr_expect(call(breakers, BREAKER_SUCCESS));
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
}

Test(breaker, stays_open_longer_each_time_up_to_a_cap)
{
    static const int64_t seconds[] = {5, 10, 20, 40, 80, 160, 300, 300, 300};
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    open_it(breakers);
    for (size_t i = 0; i < COUNT(seconds); i++) {
        cr_expect_eq(view(breakers).retry_after_us, seconds[i] * SECOND, "%zu: %ld", i,
                     (long)view(breakers).retry_after_us);
        now += seconds[i] * SECOND;
        cr_expect(call(breakers, BREAKER_FAILURE));
    }
    now += 300 * (int64_t)SECOND;
    cr_expect(call(breakers, BREAKER_SUCCESS));
    open_it(breakers);
    cr_expect_eq(view(breakers).retry_after_us, 5 * SECOND, "closing began anew");
}

Test(breaker, half_of_the_open_time_is_jitter)
{
    static const struct {
        uint64_t dice;
        int64_t open_us;
    } cases[] = {{0, 2500000}, {1, 2500001}, {2499999, 4999999}, {2500000, 5000000}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
        dice = cases[i].dice;
        open_it(breakers);
        cr_expect_eq(view(breakers).retry_after_us, cases[i].open_us, "%zu", i);
    }
}

Test(breaker, waits_as_long_as_the_server_asks_within_the_cap)
{
    static const struct {
        int64_t asked_us;
        int64_t open_us;
    } cases[] = {{-1, 5 * SECOND},
                 {0, 5 * SECOND},
                 {SECOND, 5 * SECOND},
                 {60 * SECOND, 60 * SECOND},
                 {INT64_MAX, 300 * SECOND}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
        for (int k = 0; k < 5; k++) {
            struct err err = {0};
            struct breaker_pass pass;
            cr_assert_eq(breaker_enter(breakers, name, &pass, &err), ERR_OK);
            breaker_leave(breakers, &pass, BREAKER_FAILURE, "status 429", cases[i].asked_us);
        }
        cr_expect_eq(view(breakers).retry_after_us, cases[i].open_us, "%zu", i);
    }
}

Test(breaker, outcomes_from_before_a_change_do_not_count)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    struct err err = {0};
    struct breaker_pass late[8];
    for (size_t i = 0; i < COUNT(late); i++) {
        cr_assert_eq(breaker_enter(breakers, name, &late[i], &err), ERR_OK);
    }
    open_it(breakers);
    breaker_leave(breakers, &late[0], BREAKER_SUCCESS, NULL, 0);
    cr_expect_eq(view(breakers).state, BREAKER_OPEN);
    now += 5 * (int64_t)SECOND;
    struct breaker_pass probe;
    cr_assert_eq(breaker_enter(breakers, name, &probe, &err), ERR_OK);
    breaker_leave(breakers, &late[1], BREAKER_SUCCESS, NULL, 0);
    cr_expect_eq(view(breakers).state, BREAKER_HALF_OPEN);
    cr_assert_eq(breaker_reset(breakers, name, &err), ERR_OK);
    breaker_leave(breakers, &probe, BREAKER_FAILURE, "status 500", 0);
    for (size_t i = 2; i < COUNT(late); i++) {
        breaker_leave(breakers, &late[i], BREAKER_FAILURE, "status 500", 0);
    }
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
    cr_expect_eq(view(breakers).failures_count, 0);
}

Test(breaker, is_reset_by_name)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    struct err err = {0};
    struct breaker_view unfound;
    cr_expect_eq(breaker_reset(breakers, name, &err), ERR_NOT_FOUND);
    cr_expect_eq(breaker_get(breakers, name, &unfound, &err), ERR_NOT_FOUND);
    open_it(breakers);
    cr_expect_eq(breaker_reset(breakers, name, &err), ERR_OK);
    cr_expect_eq(view(breakers).state, BREAKER_CLOSED);
    cr_expect(call(breakers, BREAKER_SUCCESS));
    open_it(breakers);
    cr_expect_eq(view(breakers).retry_after_us, 5 * SECOND);
}

Test(breaker, says_why_and_how_long)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    struct err err = {0};
    struct breaker_pass pass;
    open_it(breakers);
    now += 100;
    cr_assert_eq(breaker_enter(breakers, name, &pass, &err), ERR_BUSY);
    cr_expect_null(pass.breaker);
    cr_expect_eq(pass.retry_after_us, 5 * SECOND - 100);
    static const char *const says[] = {name, "open", "status 503", "in 5 s", "reset"};
    for (size_t i = 0; i < COUNT(says); i++) {
        cr_expect(strstr(err.msg, says[i]) != NULL, "%s: %s", says[i], err.msg);
    }
}

Test(breaker, each_name_has_its_own_and_all_are_listed)
{
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    static const char *const names[] = {"https:c:443", "http:b:80", "https:a:443", "https:a:444"};
    static const char *const sorted[] = {"http:b:80", "https:a:443", "https:a:444", "https:c:443"};
    struct err err = {0};
    struct breaker_pass pass;
    for (size_t i = 0; i < COUNT(names); i++) {
        cr_assert_eq(breaker_enter(breakers, names[i], &pass, &err), ERR_OK);
        breaker_leave(breakers, &pass, BREAKER_SUCCESS, NULL, 0);
    }
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(breaker_enter(breakers, "https:a:444", &pass, &err), ERR_OK);
        breaker_leave(breakers, &pass, BREAKER_FAILURE, NULL, 0);
    }
    struct breaker_view views[5];
    cr_assert_eq(breaker_list(breakers, NULL, 5, views), COUNT(sorted));
    for (size_t i = 0; i < COUNT(sorted); i++) {
        cr_expect_str_eq(views[i].name, sorted[i]);
        cr_expect_eq(views[i].state, i == 2 ? BREAKER_OPEN : BREAKER_CLOSED, "%s", sorted[i]);
    }
    cr_expect_eq(breaker_list(breakers, "http:b:80", 2, views), 2u);
    cr_expect_str_eq(views[0].name, "https:a:443");
    cr_expect_eq(breaker_list(breakers, "https:aa", 5, views), 1u);
    cr_expect_eq(breaker_list(breakers, "https:c:443", 5, views), 0u);
}

/* Fill the table; the breaker of number `i` was used at a later time than that of i - 1. */
static void fill(struct breakers *breakers, struct breaker_pass *passes)
{
    for (int i = 0; i < BREAKERS_MAX; i++) {
        char numbered[32];
        struct err err = {0};
        (void)snprintf(numbered, sizeof numbered, "https:h%04d:443", i); /* fits */
        now++;
        cr_assert_eq(breaker_enter(breakers, numbered, &passes[i], &err), ERR_OK);
    }
}

Test(breaker, the_oldest_idle_one_makes_room)
{
    static struct breaker_pass passes[BREAKERS_MAX];
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    struct err err = {0};
    struct breaker_pass pass;
    struct breaker_view found;
    fill(breakers, passes);
    cr_expect_eq(breaker_enter(breakers, name, &pass, &err), ERR_BUSY, "all are in use");
    cr_expect(pass.retry_after_us > 0);
    for (size_t i = 7; i < BREAKERS_MAX; i++) {
        breaker_leave(breakers, &passes[i], BREAKER_SUCCESS, NULL, 0);
    }
    cr_assert_eq(breaker_enter(breakers, name, &pass, &err), ERR_OK);
    cr_expect_eq(breaker_get(breakers, "https:h0007:443", &found, &err), ERR_NOT_FOUND);
    cr_expect_eq(breaker_get(breakers, "https:h0006:443", &found, &err), ERR_OK);
    cr_expect_eq(breaker_get(breakers, "https:h0008:443", &found, &err), ERR_OK);
    breaker_leave(breakers, &pass, BREAKER_SUCCESS, NULL, 0);
    for (size_t i = 0; i < 7; i++) {
        breaker_leave(breakers, &passes[i], BREAKER_SUCCESS, NULL, 0);
    }
}

Test(breaker, an_open_one_is_not_forgotten_before_its_time)
{
    static struct breaker_pass passes[BREAKERS_MAX];
    CLEANUP(breakers_free) struct breakers *breakers = new_breakers();
    struct err err = {0};
    struct breaker_pass pass;
    open_it(breakers);
    struct breaker_view before = view(breakers);
    for (int i = 0; i < BREAKERS_MAX + 10; i++) {
        char numbered[32];
        (void)snprintf(numbered, sizeof numbered, "https:h%04d:443", i); /* fits */
        cr_assert_eq(breaker_enter(breakers, numbered, &pass, &err), ERR_OK);
        breaker_leave(breakers, &pass, BREAKER_SUCCESS, NULL, 0);
    }
    cr_expect_eq(view(breakers).state, BREAKER_OPEN);
    now += before.retry_after_us;
    fill(breakers, passes);
    cr_expect_eq(breaker_get(breakers, name, &before, &err), ERR_NOT_FOUND);
    for (size_t i = 0; i < BREAKERS_MAX; i++) {
        breaker_leave(breakers, &passes[i], BREAKER_SUCCESS, NULL, 0);
    }
}

struct told {
    int count;
    enum breaker_state states[8];
};

static void note_change(void *arg, const char *changed, enum breaker_state state,
                        const char *reason)
{
    struct told *told = arg;
    cr_assert_str_eq(changed, name);
    cr_assert_str_eq(reason, "status 503");
    told->states[told->count++] = state;
}

Test(breaker, tells_each_change_once)
{
    struct told told = {0};
    const struct breakers_options options = {.now_us = test_now,
                                             .random_below = test_random,
                                             .changed = note_change,
                                             .changed_arg = &told};
    breakers_free(&(struct breakers *){new_breakers()});
    CLEANUP(breakers_free) struct breakers *breakers = breakers_new(&options);
    struct err err = {0};
    open_it(breakers);
    now += 5 * (int64_t)SECOND;
    cr_expect(call(breakers, BREAKER_FAILURE));
    now += 10 * (int64_t)SECOND;
    cr_expect(call(breakers, BREAKER_SUCCESS));
    cr_expect_eq(breaker_reset(breakers, name, &err), ERR_OK);
    static const enum breaker_state expected[] = {BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_OPEN,
                                                  BREAKER_HALF_OPEN, BREAKER_CLOSED};
    cr_assert_eq(told.count, (int)COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        cr_expect_eq(told.states[i], expected[i], "%zu", i);
    }
}
