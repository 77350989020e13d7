/*
 * A virtual clock goes through a year of fire times, in zones that between them have
 * every kind of change of the clock, and each is compared with a walk over the C
 * library's clock (cron_walk.h).
 */
#include "storage/jobs/cron.h"

#include "cron_walk.h"
#include "storage/base/text.h"
#include "zone_kit.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const char *const expressions[] = {
    /* times of the hour */
    "0 * * * * ?",
    "0 0 * * * ?",
    "0 30 * * * ?",
    "0 0/15 * * * ?",
    "0 7/20 0-23 * * ?",
    "13 59 0/1 ? * MON-FRI",
    "10,40 5,6 * L * ?",
    "0 0 * ? * 1",
    "0 10 * 1-7 MAR,NOV ?",
    "3/19 0/17 * ? 3,4,9-11 SAT,SUN",
    /* times of the day, those at which clocks are changed above all */
    "0 0 0 * * ?",
    "0 30 0 * * ?",
    "0 59 23 * * ?",
    "0 0 1 * * ?",
    "0 30 1 * * ?",
    "0 15 1,2,3 * * ?",
    "0 0 2 * * ?",
    "0 30 2 * * ?",
    "30 29 2 * * ?",
    "0 0/10 2 * * ?",
    "0 0/5 0-3 * * ?",
    "0 0 3 * * ?",
    "0 0/30 22-2 * * ?",
    "0 0 0/2 * * ?",
    "0 0 1/2 * * ?",
    "0 45 0/3 * * ?",
    "0 0 */6 * * ?",
    "0 0 0/12 * * ?",
    "0 5 0-22 * * ?",
    "0 5 1-23 * * ?",
    "*/7 * 1-2 ? * SUN",
    /* days */
    "0 0 12 L * ?",
    "0 0 2 L-3 * ?",
    "0 0 2 LW * ?",
    "0 30 2 1W * ?",
    "0 30 1 15W * ?",
    "0 0 0 31W,1 * ?",
    "0 0 2 ? * 1L",
    "0 30 2 ? 3,10,11 SUN#1,SUN#2,SUNL",
    "0 30 1 ? * 6#3",
    "0 0 9 ? * MON-FRI",
    "0 0 0 ? * FRI-MON",
    "0 0 4 1/5 * ?",
    "0 0 4 28-3 * ?",
    "0 0 4 30 2 ?",
    "0 0 4 29 2 ?",
    "0 0 0 1 1/3 ?",
    "0 0 6 ? NOV-FEB 2 2000-2098/1",
};

/* The fire times that the walk found. */
struct fires {
    int64_t *at_s;
    size_t count;
};

/* One fire time after the other, as a scheduler asks. */
static void compare_all(const struct cron_walk *walk, const struct zone *zone,
                        const char *expression, const struct cron *cron, const struct fires *fires)
{
    int64_t end_us = (walk->begin_s + (int64_t)walk->minutes * 60) * 1000000;
    int64_t now_us = walk->begin_s * 1000000 - 1;
    size_t seen = 0;
    for (;; seen++) {
        int64_t fire_us = INT64_MAX;
        bool found = cron_next(cron, zone, now_us, &fire_us) && fire_us < end_us;
        int64_t expected_us = seen < fires->count ? fires->at_s[seen] * 1000000 : INT64_MAX;
        if (!found || fire_us != expected_us) {
            char mine[TEXT_TIMESTAMP_BYTES];
            char other[TEXT_TIMESTAMP_BYTES];
            text_format_timestamp(fire_us, mine);
            text_format_timestamp(expected_us, other);
            cr_expect(!found && seen == fires->count, "%s in %s, fire time %zu: %s, walked %s",
                      expression, zone_name(zone), seen, mine, other);
            break;
        }
        now_us = fire_us;
    }
}

/* Was the clock changed within three hours of this minute? */
static bool near_change(const struct cron_walk *walk, size_t minute)
{
    enum { NEAR = 180 };
    size_t from = minute > NEAR ? minute - NEAR : 0;
    size_t to = minute + NEAR < walk->minutes ? minute + NEAR : walk->minutes - 1;
    return walk->wall_s[to] - walk->wall_s[from] != (int64_t)(to - from) * 60;
}

/* From moments that are no fire times: all near a change of the clock, and a few of each day. */
static void compare_from_between(const struct cron_walk *walk, const struct zone *zone,
                                 const char *expression, const struct cron *cron,
                                 const struct fires *fires)
{
    enum { STEP = 211, HALF_MINUTE_US = 30500000 };
    size_t next = 0;
    for (size_t minute = 0; minute < walk->minutes; minute++) {
        if (minute % STEP != 0 && !near_change(walk, minute)) {
            continue;
        }
        int64_t now_us = (walk->begin_s + (int64_t)minute * 60) * 1000000 + HALF_MINUTE_US;
        while (next < fires->count && fires->at_s[next] * 1000000 <= now_us) {
            next++;
        }
        if (next == fires->count) {
            break;
        }
        int64_t fire_us = 0;
        bool right =
            cron_next(cron, zone, now_us, &fire_us) && fire_us == fires->at_s[next] * 1000000;
        cr_expect(right, "%s in %s, asked in minute %zu", expression, zone_name(zone), minute);
        if (!right) {
            break;
        }
    }
}

static void compare(const struct cron_walk *walk, const struct zone *zone, const char *expression)
{
    struct cron cron;
    struct err err = {0};
    cr_assert_eq(cron_parse(span_of_text(expression), &cron, &err), ERR_OK, "%s", err.msg);
    struct fires fires = {0};
    cron_walk_fires(walk, expression, &fires.at_s, &fires.count);
    compare_all(walk, zone, expression, &cron, &fires);
    compare_from_between(walk, zone, expression, &cron, &fires);
    free(fires.at_s);
}

static void compare_year(const char *zone_id, const char *begin)
{
    const struct zone *zone = zone_kit_system(zone_id);
    struct cron_walk walk;
    cron_walk_init(&walk, zone_id, zone_kit_us(begin) / 1000000, 366);
    for (size_t i = 0; i < COUNT(expressions); i++) {
        compare(&walk, zone, expressions[i]);
    }
    cron_walk_deinit(&walk);
    zone_release(&zone);
}

Test(cron_year, new_york)
{
    compare_year("America/New_York", "2026-01-01T00:00:00Z");
}

Test(cron_year, berlin_by_the_rule_beyond_the_table)
{
    compare_year("Europe/Berlin", "2052-01-01T00:00:00Z");
}

/* Half an hour of daylight saving, south of the equator. */
Test(cron_year, lord_howe)
{
    compare_year("Australia/Lord_Howe", "2026-06-01T00:00:00Z");
}

/* The clock was changed at midnight, both ways. */
Test(cron_year, sao_paulo)
{
    compare_year("America/Sao_Paulo", "2018-01-01T00:00:00Z");
}

/* A whole day was left out, in the middle of the summer time. */
Test(cron_year, apia)
{
    compare_year("Pacific/Apia", "2011-03-01T00:00:00Z");
}

/* Summer time all the year but in Ramadan, by a table. */
Test(cron_year, casablanca)
{
    compare_year("Africa/Casablanca", "2030-01-01T00:00:00Z");
}

/* An offset of quarter hours, and no change. */
Test(cron_year, kathmandu)
{
    compare_year("Asia/Kathmandu", "2024-01-01T00:00:00Z");
}

/* Midnight of a Friday does not exist. */
Test(cron_year, cairo)
{
    compare_year("Africa/Cairo", "2026-01-01T00:00:00Z");
}

/* Two hours at once, so that three hours of the day are touched. */
Test(cron_year, troll)
{
    compare_year("Antarctica/Troll", "2026-01-01T00:00:00Z");
}
