/*
 * Back-off: bounds, evenness; and the retry budget against a count of everything.
 */
#include "storage/jobs/retry.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* SplitMix64, so that the tests are the same each time. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

Test(retry, bounds_of_the_wait)
{
    static const struct {
        uint32_t attempt;
        struct retry_policy policy;
        int64_t low, high;
    } cases[] = {
        {1, {0, 60000}, 0, 1000},
        {2, {0, 60000}, 0, 2000},
        {6, {0, 60000}, 0, 32000},
        {7, {0, 60000}, 0, 60000},
        {UINT32_MAX, {0, 60000}, 0, 60000},
        {1, {500, 60000}, 500, 1500},
        {2, {500, 60000}, 500, 2500},
        {1, {20000, 60000}, 20000, 40000},
        {2, {20000, 60000}, 20000, 60000},
        {2, {1, 60000}, 1, 2001},
        {8, {500, 60000}, 500, 60000},
        {1, {0, 300}, 0, 300},
        {1, {0, 0}, 0, 0},
        {3, {90000, 60000}, 90000, 90000}, /* a minimum above the cap wins */
        {1, {60000, 60000}, 60000, 60000},
        {UINT32_MAX, {INT64_MAX, INT64_MAX}, INT64_MAX, INT64_MAX},
        {UINT32_MAX, {1, INT64_MAX}, 1, INT64_MAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(retry_delay_ms(cases[i].attempt, &cases[i].policy, 0), cases[i].low, "%zu", i);
        cr_expect_eq(retry_delay_ms(cases[i].attempt, &cases[i].policy, UINT64_MAX), cases[i].high,
                     "%zu", i);
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Kolmogorov and Smirnov: the largest distance to the even distribution, p > 0.01. */
Test(retry, waits_are_spread_evenly)
{
    enum { SAMPLES = 10000 };
    static int64_t waits[SAMPLES];
    static const struct retry_policy policies[] = {{0, 600000}, {20000, 600000}};
    for (size_t p = 0; p < COUNT(policies); p++) {
        uint64_t state = 20261101 + p;
        for (int i = 0; i < SAMPLES; i++) {
            waits[i] = retry_delay_ms(20, &policies[p], next_random(&state));
        }
        qsort(waits, SAMPLES, sizeof waits[0], compare);
        double low = (double)policies[p].min_interval_ms;
        double width = (double)policies[p].cap_ms - low + 1;
        double distance = 0;
        for (int i = 0; i < SAMPLES; i++) {
            double even = ((double)waits[i] - low + 0.5) / width;
            distance = fmax(distance, fabs(even - (double)i / SAMPLES));
            distance = fmax(distance, fabs(even - (double)(i + 1) / SAMPLES));
        }
        cr_expect_lt(distance, 1.628 / sqrt(SAMPLES), "%zu: %f", p, distance);
    }
}

/* ---- budget ---- */

static const struct retry_budget_options options = {
    .window_us = 10000000,
    .percent = 20,
    .floor = 3,
};

Test(retry_budget, a_quiet_system_has_the_floor)
{
    struct retry_budget budget;
    retry_budget_init(&budget, &options);
    for (int i = 0; i < 3; i++) {
        cr_expect(retry_budget_take(&budget, 5));
    }
    cr_expect_not(retry_budget_take(&budget, 5));
    cr_expect_eq(retry_budget_left(&budget, 5), 0);
    /* back when the slot has left the window as a whole, not before */
    cr_expect_not(retry_budget_take(&budget, 10999999));
    cr_expect_eq(retry_budget_left(&budget, 11000000), 3);
    cr_expect(retry_budget_take(&budget, 11000000));
}

Test(retry_budget, a_busy_system_has_its_share)
{
    struct retry_budget budget;
    retry_budget_init(&budget, &options);
    for (int i = 0; i < 100; i++) {
        retry_budget_note_first(&budget, i * 10000);
    }
    int taken = 0;
    while (retry_budget_take(&budget, 1000000)) {
        taken++;
    }
    cr_expect_eq(taken, 20);
}

Test(retry_budget, clocks_that_jump)
{
    struct retry_budget budget;
    retry_budget_init(&budget, &options);
    cr_expect(retry_budget_take(&budget, INT64_MAX));
    cr_expect_eq(retry_budget_left(&budget, 0), 2); /* backwards: as if it stood */
    cr_expect(retry_budget_take(&budget, 0));
    cr_expect_eq(retry_budget_left(&budget, INT64_MAX), 1);
    retry_budget_init(&budget, &options);
    cr_expect(retry_budget_take(&budget, 0));
    cr_expect_eq(retry_budget_left(&budget, (int64_t)1 << 60), 3); /* a long silence */
}

Test(retry_budget, zero_percent_and_no_floor_is_never)
{
    const struct retry_budget_options never = {.window_us = RETRY_BUDGET_SLOTS};
    struct retry_budget budget;
    retry_budget_init(&budget, &never);
    for (int i = 0; i < 1000; i++) {
        retry_budget_note_first(&budget, i);
        cr_expect_not(retry_budget_take(&budget, i));
    }
}

/*
 * Random traffic for an hour: whatever was granted, the retries of any window of the asked
 * length stay within the share of what was begun in that window and a slot before it.
 */
Test(retry_budget, holds_in_every_window)
{
    enum { STEPS = 200000 };
    static int64_t first_at[STEPS];
    static int64_t retry_at[STEPS];
    size_t firsts = 0;
    size_t retries = 0;
    uint64_t state = 7;
    int64_t now_us = 0;
    struct retry_budget budget;
    retry_budget_init(&budget, &options);
    for (int i = 0; i < STEPS; i++) {
        /* busy and quiet minutes by turns */
        int64_t pause_us = now_us / 60000000 % 2 == 0 ? 20000 : 400000;
        now_us += (int64_t)(next_random(&state) % (uint64_t)pause_us);
        if (next_random(&state) % 2 == 0) {
            retry_budget_note_first(&budget, now_us);
            first_at[firsts++] = now_us;
        } else if (retry_budget_take(&budget, now_us)) {
            retry_at[retries++] = now_us;
        }
    }
    int64_t slot_us = options.window_us / RETRY_BUDGET_SLOTS;
    size_t begin = 0;
    size_t from = 0;
    size_t until = 0;
    for (size_t i = 0; i < retries; i++) {
        while (retry_at[begin] <= retry_at[i] - options.window_us) {
            begin++;
        }
        while (from < firsts && first_at[from] < retry_at[i] - options.window_us - slot_us) {
            from++;
        }
        while (until < firsts && first_at[until] <= retry_at[i]) {
            until++;
        }
        int64_t share = (int64_t)(until - from) * options.percent / 100;
        int64_t allowed = share > options.floor ? share : options.floor;
        cr_expect_leq((int64_t)(i - begin + 1), allowed, "retry %zu", i);
    }
    cr_expect_gt(retries, 1000U);
    cr_expect_gt(firsts / 5 + 1000, retries);
}
