/*
 * Fire times one by one: days of the month, daylight-saving changes, and never again.
 * test_cron_year.c compares whole years with a walk over the C library's clock.
 */
#include "storage/jobs/cron.h"

#include "storage/base/clock.h"
#include "storage/base/text.h"
#include "zone_kit.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { FIRES_MAX = 6 };

static struct cron parsed(const char *text)
{
    struct cron cron;
    struct err err = {0};
    cr_assert_eq(cron_parse(span_of_text(text), &cron, &err), ERR_OK, "%s", err.msg);
    return cron;
}

/* The first fire times in UTC; a NULL among them: never again. */
struct sequence {
    const char *text;
    const char *zone;
    const char *after;
    const char *fires[FIRES_MAX + 1];
};

static void check(const struct sequence *sequence)
{
    struct cron cron = parsed(sequence->text);
    const struct zone *zone = zone_kit_system(sequence->zone);
    int64_t at_us = zone_kit_us(sequence->after);
    for (size_t i = 0; i < FIRES_MAX; i++) {
        int64_t fire_us = -42;
        bool found = cron_next(&cron, zone, at_us, &fire_us);
        char shown[TEXT_TIMESTAMP_BYTES];
        text_format_timestamp(fire_us, shown);
        const char *expected = sequence->fires[i];
        cr_expect_eq(found, expected != NULL, "%s in %s, %zu: %s", sequence->text, sequence->zone,
                     i, shown);
        if (expected == NULL) {
            cr_expect_eq(fire_us, -42, "%s", sequence->text);
            break;
        }
        cr_expect_eq(fire_us, zone_kit_us(expected), "%s in %s, %zu: %s", sequence->text,
                     sequence->zone, i, shown);
        at_us = fire_us;
    }
    zone_release(&zone);
}

Test(cron, days)
{
    static const struct sequence cases[] = {
        {"0 0 0 31 * ? 2026",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z",
          "2026-07-31T00:00:00Z", "2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z"}},
        {"0 0 0 29 2 ?",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z",
          "2040-02-29T00:00:00Z", "2044-02-29T00:00:00Z", "2048-02-29T00:00:00Z"}},
        {"0 0 0 L 2,4,5 ?",
         "UTC",
         "2027-12-31T00:00:00Z",
         {"2028-02-29T00:00:00Z", "2028-04-30T00:00:00Z", "2028-05-31T00:00:00Z",
          "2029-02-28T00:00:00Z", "2029-04-30T00:00:00Z", "2029-05-31T00:00:00Z"}},
        {"0 0 0 L-3 2,4 ?",
         "UTC",
         "2027-12-31T00:00:00Z",
         {"2028-02-26T00:00:00Z", "2028-04-27T00:00:00Z", "2029-02-25T00:00:00Z",
          "2029-04-27T00:00:00Z", "2030-02-25T00:00:00Z", "2030-04-27T00:00:00Z"}},
        /* L-30 is the first of a long month and no day of a short one */
        {"0 0 0 L-30 1-4 ? 2026", "UTC", "2026-01-01T00:00:00Z", {"2026-03-01T00:00:00Z", NULL}},
        /* 2026: Jan 31 is a Saturday, Feb 28 too, May 31 a Sunday */
        {"0 0 0 LW * ?",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z", "2026-03-31T00:00:00Z",
          "2026-04-30T00:00:00Z", "2026-05-29T00:00:00Z", "2026-06-30T00:00:00Z"}},
        /* two days before the last and near it: Jan 29, Feb 26, Mar 29 (Sunday) → 30, … */
        {"0 0 0 L-2W * ?",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-29T00:00:00Z", "2026-02-26T00:00:00Z", "2026-03-30T00:00:00Z",
          "2026-04-28T00:00:00Z", "2026-05-29T00:00:00Z", "2026-06-29T00:00:00Z"}},
        /* the 1st: Aug a Saturday → Monday the 3rd; Nov a Sunday → the 2nd */
        {"0 0 0 1W 8-12 ? 2026",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-08-03T00:00:00Z", "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z",
          "2026-11-02T00:00:00Z", "2026-12-01T00:00:00Z", NULL}},
        /* the 15th: Aug a Saturday → the 14th, Nov a Sunday → the 16th */
        {"0 0 0 15W 8-11 ? 2026",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-08-14T00:00:00Z", "2026-09-15T00:00:00Z", "2026-10-15T00:00:00Z",
          "2026-11-16T00:00:00Z", NULL}},
        /* a Sunday that ends the month goes back; the 31st of a short month is none */
        {"0 0 0 31W 4-6 ? 2026", "UTC", "2026-01-01T00:00:00Z", {"2026-05-29T00:00:00Z", NULL}},
        {"0 0 0 ? * 6L",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z", "2026-03-27T00:00:00Z",
          "2026-04-24T00:00:00Z", "2026-05-29T00:00:00Z", "2026-06-26T00:00:00Z"}},
        {"0 0 0 ? * 6#3",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-16T00:00:00Z", "2026-02-20T00:00:00Z", "2026-03-20T00:00:00Z",
          "2026-04-17T00:00:00Z", "2026-05-15T00:00:00Z", "2026-06-19T00:00:00Z"}},
        /* months with five Mondays only */
        {"0 0 0 ? * MON#5",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-03-30T00:00:00Z", "2026-06-29T00:00:00Z", "2026-08-31T00:00:00Z",
          "2026-11-30T00:00:00Z", "2027-03-29T00:00:00Z", "2027-05-31T00:00:00Z"}},
        {"0 0 0 1,15W,L * ? 2026",
         "UTC",
         "2026-08-01T00:00:00Z",
         {"2026-08-14T00:00:00Z", "2026-08-31T00:00:00Z", "2026-09-01T00:00:00Z",
          "2026-09-15T00:00:00Z", "2026-09-30T00:00:00Z", "2026-10-01T00:00:00Z"}},
        {"0 0 12 ? * MON-FRI",
         "Asia/Kathmandu",
         "2026-01-02T00:00:00Z",
         {"2026-01-02T06:15:00Z", "2026-01-05T06:15:00Z", "2026-01-06T06:15:00Z",
          "2026-01-07T06:15:00Z", "2026-01-08T06:15:00Z", "2026-01-09T06:15:00Z"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i]);
    }
}

Test(cron, times_of_day)
{
    static const struct sequence cases[] = {
        {"10,50 59 23 * * ?",
         "UTC",
         "2026-12-31T23:59:10Z",
         {"2026-12-31T23:59:50Z", "2027-01-01T23:59:10Z", "2027-01-01T23:59:50Z",
          "2027-01-02T23:59:10Z", "2027-01-02T23:59:50Z", "2027-01-03T23:59:10Z"}},
        /* exclusive, and whole seconds whatever the fraction */
        {"* * 5 * * ?",
         "UTC",
         "2026-01-01T05:00:00.999999Z",
         {"2026-01-01T05:00:01Z", "2026-01-01T05:00:02Z", "2026-01-01T05:00:03Z",
          "2026-01-01T05:00:04Z", "2026-01-01T05:00:05Z", "2026-01-01T05:00:06Z"}},
        {"0 0 5 * * ?",
         "UTC",
         "2026-01-01T04:59:59.999999Z",
         {"2026-01-01T05:00:00Z", "2026-01-02T05:00:00Z", "2026-01-03T05:00:00Z",
          "2026-01-04T05:00:00Z", "2026-01-05T05:00:00Z", "2026-01-06T05:00:00Z"}},
        /* the last second chosen has passed, then the last minute, then the last hour */
        {"5 10 3,20 1 * ?",
         "UTC",
         "2026-01-01T03:10:05Z",
         {"2026-01-01T20:10:05Z", "2026-02-01T03:10:05Z", "2026-02-01T20:10:05Z",
          "2026-03-01T03:10:05Z", "2026-03-01T20:10:05Z", "2026-04-01T03:10:05Z"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i]);
    }
}

/* The rule of cron.h, its examples and its edges. */
Test(cron, times_of_day_at_a_change_of_the_clock)
{
    static const struct sequence cases[] = {
        /* 02:00 is put forward to 03:00 on March 8, and 02:00 back to 01:00 on November 1 */
        {"0 30 2 * * ?",
         "America/New_York",
         "2026-03-07T00:00:00Z",
         {"2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z",
          "2026-03-10T06:30:00Z", "2026-03-11T06:30:00Z", "2026-03-12T06:30:00Z"}},
        {"0 30 1 * * ?",
         "America/New_York",
         "2026-10-31T12:00:00Z",
         {"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z", "2026-11-03T06:30:00Z",
          "2026-11-04T06:30:00Z", "2026-11-05T06:30:00Z", "2026-11-06T06:30:00Z"}},
        /* several times in the gap, and the first one after it: one run */
        {"0 0/20 2,3 8 3 ? 2026",
         "America/New_York",
         "2026-03-01T00:00:00Z",
         {"2026-03-08T07:00:00Z", "2026-03-08T07:20:00Z", "2026-03-08T07:40:00Z", NULL}},
        {"0 59 2 8 3 ? 2026", "America/New_York", "2026-03-08T07:00:00Z", {NULL}},
        /* asked between the first pass and the second, and in the midst of the second */
        {"0 10,50 1 1 11 ? 2026",
         "America/New_York",
         "2026-11-01T05:20:00Z",
         {"2026-11-01T05:50:00Z", NULL}},
        {"0 10,50 1 1 11 ? 2026", "America/New_York", "2026-11-01T06:05:00Z", {NULL}},
        {"0 0 0/2 * * ?",
         "America/New_York",
         "2026-03-08T04:30:00Z",
         {"2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z",
          "2026-03-08T10:00:00Z", "2026-03-08T12:00:00Z", "2026-03-08T14:00:00Z"}},
        {"0 0 1/2 * * ?",
         "America/New_York",
         "2026-11-01T04:30:00Z",
         {"2026-11-01T05:00:00Z", "2026-11-01T08:00:00Z", "2026-11-01T10:00:00Z",
          "2026-11-01T12:00:00Z", "2026-11-01T14:00:00Z", "2026-11-01T16:00:00Z"}},
        /* 23 hours of 24 are times of the day */
        {"0 0 0-22 * * ?",
         "America/New_York",
         "2026-11-01T04:30:00Z",
         {"2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z", "2026-11-01T08:00:00Z",
          "2026-11-01T09:00:00Z", "2026-11-01T10:00:00Z", "2026-11-01T11:00:00Z"}},
        /* the clock changes at midnight: the day has none, or two */
        {"0 0 0 * * ?",
         "America/Sao_Paulo",
         "2018-11-03T00:00:00Z",
         {"2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z",
          "2018-11-06T02:00:00Z", "2018-11-07T02:00:00Z", "2018-11-08T02:00:00Z"}},
        {"0 0 0/12 * * ?",
         "Africa/Cairo",
         "2026-04-23T00:00:00Z",
         {"2026-04-23T10:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T09:00:00Z",
          "2026-04-24T21:00:00Z", "2026-04-25T09:00:00Z", "2026-04-25T21:00:00Z"}},
        {"0 0 0 * * ?",
         "America/Havana",
         "2026-10-31T12:00:00Z",
         {"2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z",
          "2026-11-04T05:00:00Z", "2026-11-05T05:00:00Z", "2026-11-06T05:00:00Z"}},
        /* half an hour */
        {"0 15 2 * * ?",
         "Australia/Lord_Howe",
         "2026-10-03T00:00:00Z",
         {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z", "2026-10-05T15:15:00Z",
          "2026-10-06T15:15:00Z", "2026-10-07T15:15:00Z", "2026-10-08T15:15:00Z"}},
        {"0 0/15 1 5 4 ? 2026",
         "Australia/Lord_Howe",
         "2026-04-04T00:00:00Z",
         {"2026-04-04T14:00:00Z", "2026-04-04T14:15:00Z", "2026-04-04T14:30:00Z",
          "2026-04-04T14:45:00Z", NULL}},
        /* a day that was left out of the calendar: its runs are one, at its end */
        {"0 0 6,18 * * ?",
         "Pacific/Apia",
         "2011-12-29T12:00:00Z",
         {"2011-12-29T16:00:00Z", "2011-12-30T04:00:00Z", "2011-12-30T10:00:00Z",
          "2011-12-30T16:00:00Z", "2011-12-31T04:00:00Z", "2011-12-31T16:00:00Z"}},
        /* by the rule alone, beyond the file's table */
        {"0 30 2 8 3 ? 2099",
         "America/New_York",
         "2098-01-01T00:00:00Z",
         {"2099-03-08T07:00:00Z", NULL}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i]);
    }
}

Test(cron, times_of_the_hour_at_a_change_of_the_clock)
{
    static const struct sequence cases[] = {
        {"0 30 * * * ?",
         "America/New_York",
         "2026-03-08T05:45:00Z",
         {"2026-03-08T06:30:00Z", "2026-03-08T07:30:00Z", "2026-03-08T08:30:00Z",
          "2026-03-08T09:30:00Z", "2026-03-08T10:30:00Z", "2026-03-08T11:30:00Z"}},
        {"0 30 0/1 * * ?",
         "America/New_York",
         "2026-11-01T04:45:00Z",
         {"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z",
          "2026-11-01T08:30:00Z", "2026-11-01T09:30:00Z", "2026-11-01T10:30:00Z"}},
        {"0 0/30 0-23 1 11 ?",
         "America/New_York",
         "2026-11-01T04:45:00Z",
         {"2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z",
          "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z", "2026-11-01T07:30:00Z"}},
        /* the clock follows, so half an hour forward shortens the distance */
        {"0 0 * * * ?",
         "Australia/Lord_Howe",
         "2026-10-03T14:15:00Z",
         {"2026-10-03T14:30:00Z", "2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z",
          "2026-10-03T18:00:00Z", "2026-10-03T19:00:00Z", "2026-10-03T20:00:00Z"}},
        {"0 45 * * * ?",
         "Australia/Lord_Howe",
         "2026-04-04T14:00:00Z",
         {"2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z", "2026-04-04T16:15:00Z",
          "2026-04-04T17:15:00Z", "2026-04-04T18:15:00Z", "2026-04-04T19:15:00Z"}},
        /* the last hour of the chosen day comes twice, and the next such day is years away */
        {"0 40 * 17 2 ? 2018,2024",
         "America/Sao_Paulo",
         "2018-02-18T00:45:00Z",
         {"2018-02-18T01:40:00Z", "2018-02-18T02:40:00Z", "2024-02-17T03:40:00Z",
          "2024-02-17T04:40:00Z", "2024-02-17T05:40:00Z", "2024-02-17T06:40:00Z"}},
        /* no hour of a day that was left out */
        {"0 0 * 29-31 12 ? 2011",
         "Pacific/Apia",
         "2011-12-30T08:30:00Z",
         {"2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z",
          "2011-12-30T12:00:00Z", "2011-12-30T13:00:00Z", "2011-12-30T14:00:00Z"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i]);
    }
}

Test(cron, ends_of_the_years)
{
    static const struct sequence cases[] = {
        {"0 0 0 1 1 ?",
         "UTC",
         "0001-01-01T00:00:00Z",
         {"1970-01-01T00:00:00Z", "1971-01-01T00:00:00Z", "1972-01-01T00:00:00Z",
          "1973-01-01T00:00:00Z", "1974-01-01T00:00:00Z", "1975-01-01T00:00:00Z"}},
        {"59 59 23 31 12 ?",
         "UTC",
         "2098-12-31T23:59:58Z",
         {"2098-12-31T23:59:59Z", "2099-12-31T23:59:59Z", NULL}},
        {"59 59 23 31 12 ?",
         "America/New_York",
         "2099-12-31T23:59:59Z",
         {"2100-01-01T04:59:59Z", NULL}},
        {"0 0 0 1 1 ?",
         "Asia/Kathmandu",
         "1969-12-01T00:00:00Z",
         {"1969-12-31T18:30:00Z", "1970-12-31T18:30:00Z", "1971-12-31T18:30:00Z",
          "1972-12-31T18:30:00Z", "1973-12-31T18:30:00Z", "1974-12-31T18:30:00Z"}},
        {"* * * * * ?", "UTC", "2099-12-31T23:59:59Z", {NULL}},
        {"* * * * * ?", "UTC", "9999-12-31T23:59:59Z", {NULL}},
        {"0 0 0 1 1 ? 2020", "UTC", "2020-01-01T00:00:00Z", {NULL}},
        {"0 0 0 1 1 ? 1970,2033,2034,2097",
         "UTC",
         "1970-01-01T00:00:00Z",
         {"2033-01-01T00:00:00Z", "2034-01-01T00:00:00Z", "2097-01-01T00:00:00Z", NULL}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        check(&cases[i]);
    }
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < COUNT(extremes); i++) {
        const struct zone *zone = zone_kit_system("America/New_York");
        struct cron by_clock = parsed("* * * * * ?");
        struct cron by_day = parsed("0 0 0 * * ?");
        int64_t fire_us = 0;
        bool before_the_end = extremes[i] < zone_kit_us("2099-12-31T00:00:00Z");
        cr_expect_eq(cron_next(&by_clock, zone, extremes[i], &fire_us), before_the_end, "%zu", i);
        cr_expect_eq(cron_next(&by_day, zone, extremes[i], &fire_us), before_the_end, "%zu", i);
        zone_release(&zone);
    }
}

/* Days that do not exist, asked from the first year on, in a zone whose clock changes for ever. */
Test(cron, proves_never_in_bounded_time)
{
    static const char *const texts[] = {
        "0 0 0 30 2 ?",           "0 0 * 30 2 ?",
        "0 0 0 31 2,4,6,9,11 ?",  "0 0 0 31W 2 ?",
        "0 0 0 L-30 2,4,6,9 ?",   "0 0 0 ? 2 MON#5 1970-1971",
        "0 0 0 29 2 ? 2097-2099", "* * * 29 2 ? 2001/4,2003",
    };
    static const bool never[] = {true, true, true, true, true, true, true, true};
    const struct zone *zone = zone_kit_system("America/New_York");
    int64_t started_us = clock_monotonic_us();
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < COUNT(texts); i++) {
            struct cron cron = parsed(texts[i]);
            int64_t fire_us = 0;
            cr_expect_eq(cron_next(&cron, zone, 0, &fire_us), !never[i], "%s", texts[i]);
        }
    }
    /* a walk by seconds would take hours; this takes a fifth of a second */
    cr_expect_lt(clock_monotonic_us() - started_us, 20 * (int64_t)1000000);
    zone_release(&zone);
}
