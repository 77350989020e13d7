/*
 * Schedules: what a definition may say, the grid of intervals, and downtime.
 */
#include "storage/jobs/schedule.h"

#include "storage/base/text.h"
#include "zone_kit.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const int64_t second_us = 1000000;

static struct schedule made(const struct schedule_options *options)
{
    struct schedule schedule = {0};
    struct err err = {0};
    cr_assert_eq(schedule_init(&schedule, options, &err), ERR_OK, "%s", err.msg);
    return schedule;
}

Test(schedule, refuses_what_makes_no_schedule)
{
    static const struct {
        struct schedule_options options;
        enum err_code code;
        const char *says;
    } cases[] = {
        {{0}, ERR_INVALID, "none is given"},
        {{.quartz_cron_expression = "0 0 0 * * ?", .every_seconds = 1},
         ERR_INVALID,
         "both are given"},
        {{.every_seconds = -1}, ERR_INVALID, "-1 is not from 1 to"},
        {{.every_seconds = SCHEDULE_EVERY_SECONDS_MAX + 1}, ERR_INVALID, "is not from 1 to"},
        {{.every_seconds = 60, .timezone_id = "UTC"}, ERR_INVALID, "no time zone"},
        {{.quartz_cron_expression = ""}, ERR_INVALID, "fields"},
        {{.quartz_cron_expression = "0 0 0 * * ?", .timezone_id = "Mars/Olympus"},
         ERR_INVALID,
         "there is no time zone Mars/Olympus"},
        {{.quartz_cron_expression = "0 0 0 * * ?", .timezone_id = "../zoneinfo/UTC"},
         ERR_INVALID,
         "not a name"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule schedule = {.every_us = 42};
        struct err err = {0};
        cr_expect_eq(schedule_init(&schedule, &cases[i].options, &err), cases[i].code, "%zu", i);
        cr_expect(strstr(err.msg, cases[i].says) != NULL, "%zu: %s", i, err.msg);
        cr_expect_eq(schedule.every_us, 42, "%zu", i);
    }
}

Test(schedule, cron_without_a_zone_is_in_utc)
{
    struct schedule schedule = made(&(struct schedule_options){
        .quartz_cron_expression = "0 0 12 * * ?",
    });
    int64_t fire_us = 0;
    cr_expect(schedule_next(&schedule, zone_kit_us("2026-01-01T00:00:00Z"), &fire_us));
    cr_expect_eq(fire_us, zone_kit_us("2026-01-01T12:00:00Z"));
    schedule_deinit(&schedule);
    cr_expect_null(schedule.zone);
    schedule_deinit(&schedule); /* accepts zeroed */
}

Test(schedule, intervals_count_from_the_anchor)
{
    static const struct {
        int64_t every_seconds, anchor_us, after_us, fire_us; /* fire_us 0: never */
    } cases[] = {
        {60, 1000, 1000, 60001000},
        {60, 1000, 60000999, 60001000},
        {60, 1000, 60001000, 120001000},
        {60, 1000, 999, 60001000}, /* asked before the anchor: the first */
        {60, 1000, INT64_MIN, 60001000},
        {1, -500000, 0, 500000},
        {1, 5, 7 * (int64_t)86400 * 1000000, 7 * (int64_t)86400 * 1000000 + 5},
        {SCHEDULE_EVERY_SECONDS_MAX, 7, 7, 366 * (int64_t)86400 * 1000000 + 7},
        {60, 0, INT64_MAX - 1, 0},
        {60, 0, INT64_MAX, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct schedule schedule = made(&(struct schedule_options){
            .every_seconds = cases[i].every_seconds,
            .anchor_us = cases[i].anchor_us,
        });
        int64_t fire_us = -42;
        bool found = schedule_next(&schedule, cases[i].after_us, &fire_us);
        cr_expect_eq(found, cases[i].fire_us != 0, "%zu", i);
        cr_expect_eq(fire_us, found ? cases[i].fire_us : -42, "%zu", i);
        schedule_deinit(&schedule);
    }
}

/* The change of the clock is nothing to an interval: 25 hours, 25 runs. */
Test(schedule, intervals_know_no_daylight_saving)
{
    struct schedule schedule = made(&(struct schedule_options){
        .every_seconds = 3600,
        .anchor_us = zone_kit_us("2026-11-01T04:00:00Z"),
    });
    int64_t at_us = schedule.anchor_us;
    for (int i = 1; i <= 25; i++) {
        cr_assert(schedule_next(&schedule, at_us, &at_us));
        cr_expect_eq(at_us, schedule.anchor_us + i * 3600 * second_us);
    }
    schedule_deinit(&schedule);
}

Test(schedule, a_pause_stops_it_and_leaves_the_grid)
{
    struct schedule schedule = made(&(struct schedule_options){
        .every_seconds = 10,
        .anchor_us = 3 * second_us,
        .paused = true,
    });
    int64_t fire_us = -42;
    cr_expect_not(schedule_next(&schedule, 0, &fire_us));
    cr_expect_eq(fire_us, -42);
    schedule.paused = false;
    cr_expect(schedule_next(&schedule, 14 * second_us, &fire_us));
    cr_expect_eq(fire_us, 23 * second_us);
    schedule_deinit(&schedule);
}

/* ---- downtime ---- */

enum { TIMES_MAX = 4 };

#define NONE SCHEDULE_CATCH_UP_NONE
#define LAST SCHEDULE_CATCH_UP_LAST
#define ALL SCHEDULE_CATCH_UP_ALL

/* Every 10 seconds: fire times 10, 20, 30, … Units: seconds. */
struct downtime_case {
    const char *name;
    int64_t last, now, grace;
    enum schedule_catch_up catch_up;
    size_t count;
    int64_t times[TIMES_MAX];
    int64_t decided;
    bool more;
    int64_t left_out_first, left_out_last;
};

static void check_downtime(const struct schedule *schedule, const struct downtime_case *c)
{
    const struct schedule_downtime downtime = {
        .last_us = c->last * second_us,
        .now_us = c->now * second_us,
        .grace_us = c->grace * second_us,
        .catch_up = c->catch_up,
        .times_max = TIMES_MAX,
    };
    int64_t times[TIMES_MAX] = {0};
    struct schedule_due due;
    memset(&due, 0xff, sizeof due);
    schedule_missed(schedule, &downtime, times, &due);
    cr_expect_eq(due.count, c->count, "%s: %zu", c->name, due.count);
    for (size_t i = 0; i < c->count && i < due.count; i++) {
        cr_expect_eq(times[i], c->times[i] * second_us, "%s, %zu: %lld", c->name, i,
                     (long long)times[i]);
    }
    cr_expect_eq(due.decided_us, c->decided * second_us, "%s: decided %lld", c->name,
                 (long long)due.decided_us);
    cr_expect_eq(due.more, c->more, "%s", c->name);
    cr_expect_eq(due.left_out_first_us, c->left_out_first * second_us, "%s", c->name);
    cr_expect_eq(due.left_out_last_us, c->left_out_last * second_us, "%s", c->name);
}

Test(schedule, what_is_due_after_downtime)
{
    static const struct downtime_case cases[] = {
        {"nothing yet", 10, 19, 0, ALL, 0, {0}, 19, false, 0, 0},
        {"nothing yet, none", 10, 19, 5, NONE, 0, {0}, 19, false, 0, 0},
        {"nothing yet, last", 10, 19, 5, LAST, 0, {0}, 19, false, 0, 0},
        {"the instant itself is on time", 10, 20, 0, NONE, 1, {20}, 20, false, 0, 0},
        {"late within the grace", 10, 23, 3, NONE, 1, {20}, 23, false, 0, 0},
        {"late beyond the grace", 10, 23, 2, NONE, 0, {0}, 23, false, 20, 20},
        {"missed, none", 10, 55, 5, NONE, 1, {50}, 55, false, 20, 40},
        {"missed, none on time", 10, 57, 5, NONE, 0, {0}, 57, false, 20, 50},
        {"missed, last", 10, 57, 5, LAST, 1, {50}, 57, false, 20, 40},
        {"only one missed, last", 10, 27, 5, LAST, 1, {20}, 27, false, 0, 0},
        {"last: one on time is the one", 10, 55, 5, LAST, 1, {50}, 55, false, 20, 40},
        {"last within a long grace", 10, 35, 60, LAST, 2, {20, 30}, 35, false, 0, 0},
        {"missed, all", 10, 45, 5, ALL, 3, {20, 30, 40}, 45, false, 0, 0},
        {"all, just fits", 10, 59, 0, ALL, 4, {20, 30, 40, 50}, 59, false, 0, 0},
        {"all, one too many", 10, 60, 0, ALL, 4, {20, 30, 40, 50}, 50, true, 0, 0},
        {"all, the rest", 50, 60, 0, ALL, 1, {60}, 60, false, 0, 0},
        {"on time, too many", 10, 60, 60, NONE, 4, {20, 30, 40, 50}, 50, true, 0, 0},
        {"clock stands", 30, 30, 60, ALL, 0, {0}, 30, false, 0, 0},
        {"clock went back", 30, 5, 60, ALL, 0, {0}, 30, false, 0, 0},
        {"long, last", 10, 1000000007, 0, LAST, 1, {1000000000}, 1000000007, false, 20, 999999990},
        {"long, none", 10, 1000000007, 0, NONE, 0, {0}, 1000000007, false, 20, 1000000000},
        {"long, all", 10, 1000000007, 0, ALL, 4, {20, 30, 40, 50}, 50, true, 0, 0},
    };
    struct schedule schedule = made(&(struct schedule_options){.every_seconds = 10});
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_downtime(&schedule, &cases[i]);
    }
    schedule.paused = true;
    static const struct downtime_case paused = {
        "paused", 10, 60, 60, ALL, 0, {0}, 10, false, 0, 0,
    };
    check_downtime(&schedule, &paused);
    schedule_deinit(&schedule);
}

/* Working off a week of minutes in rooms of four: each once, in order, none left. */
Test(schedule, all_in_pieces_is_all)
{
    struct schedule schedule = made(&(struct schedule_options){
        .quartz_cron_expression = "0 * * * * ?",
        .timezone_id = "America/New_York",
    });
    struct schedule_downtime downtime = {
        .last_us = zone_kit_us("2026-10-30T00:00:00Z"),
        .now_us = zone_kit_us("2026-11-06T00:00:30Z"),
        .catch_up = SCHEDULE_CATCH_UP_ALL,
        .times_max = TIMES_MAX,
    };
    int64_t expected_us = downtime.last_us;
    struct schedule_due due = {.more = true};
    while (due.more) {
        int64_t times[TIMES_MAX];
        schedule_missed(&schedule, &downtime, times, &due);
        for (size_t i = 0; i < due.count; i++) {
            expected_us += 60 * second_us;
            cr_assert_eq(times[i], expected_us);
        }
        downtime.last_us = due.decided_us;
    }
    cr_expect_eq(expected_us, zone_kit_us("2026-11-06T00:00:00Z"));
    cr_expect_eq(due.decided_us, downtime.now_us);
    schedule_deinit(&schedule);
}

/* The latest missed time is found by halving; walking there says the same. */
Test(schedule, last_agrees_with_walking)
{
    static const char *const texts[] = {
        "0 30 2 * * ?", "0 0/20 1-3 * * ?", "0 30 * * * ?", "0 0 0 L * ?", "7 7 7 ? 3,11 SUN",
    };
    int64_t begin_us = zone_kit_us("2026-02-01T00:00:00Z");
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct schedule schedule = made(&(struct schedule_options){
            .quartz_cron_expression = texts[i],
            .timezone_id = "America/New_York",
        });
        for (int64_t hours = 1; hours < 300 * 24; hours += 37) {
            int64_t now_us = begin_us + hours * 3600 * second_us;
            int64_t last_us = 0;
            int64_t fire_us = 0;
            int64_t count = 0;
            for (int64_t at_us = begin_us;
                 schedule_next(&schedule, at_us, &fire_us) && fire_us <= now_us; at_us = fire_us) {
                last_us = fire_us;
                count++;
            }
            const struct schedule_downtime downtime = {
                .last_us = begin_us,
                .now_us = now_us,
                .catch_up = SCHEDULE_CATCH_UP_LAST,
                .times_max = 1,
            };
            int64_t time_us = 0;
            struct schedule_due due;
            schedule_missed(&schedule, &downtime, &time_us, &due);
            cr_expect_eq(due.count, count > 0 ? 1U : 0U, "%s, %lld h", texts[i], (long long)hours);
            cr_expect_eq(time_us, last_us, "%s, %lld h", texts[i], (long long)hours);
            cr_expect_eq(due.left_out_last_us != 0, count > 1, "%s, %lld h", texts[i],
                         (long long)hours);
        }
        schedule_deinit(&schedule);
    }
}
