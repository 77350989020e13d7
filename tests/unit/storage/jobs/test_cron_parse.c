/*
 * Cron expressions: equal forms, and every wrong one refused at its place.
 */
#include "storage/jobs/cron.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct cron parsed(const char *text)
{
    struct cron cron;
    memset(&cron, 0, sizeof cron);
    struct err err = {0};
    cr_assert_eq(cron_parse(span_of_text(text), &cron, &err), ERR_OK, "%s: %s", text, err.msg);
    return cron;
}

static bool equal(const struct cron *a, const struct cron *b)
{
    return a->seconds == b->seconds && a->minutes == b->minutes && a->hours == b->hours &&
           a->months == b->months && a->days == b->days &&
           a->days_before_last == b->days_before_last && a->workdays == b->workdays &&
           a->workdays_before_last == b->workdays_before_last && a->weekdays == b->weekdays &&
           a->weekdays_last == b->weekdays_last &&
           memcmp(a->weekdays_nth, b->weekdays_nth, sizeof a->weekdays_nth) == 0 &&
           memcmp(a->years, b->years, sizeof a->years) == 0;
}

Test(cron_parse, forms_that_say_the_same)
{
    static const struct {
        const char *text;
        const char *same;
    } cases[] = {
        {"* * * * * ?", "0-59 0-59 0-23 1-31 1-12 ? 1970-2099"},
        {"* * * ? * *", "*/1 0/1 /1 ? JAN-DEC SUN-SAT *"},
        {"  0\t0  0 ? * 1  ", "0 0 0 ? * SUN"},
        {"0 0 0 ? * sun,Mon,TUE", "0 0 0 ? * 1,2,3"},
        {"0 0 0 ? jan-mar 1", "0 0 0 ? 1,2,3 1"},
        {"0 0/15 0 ? * 1", "0 0,15,30,45 0 ? * 1"},
        {"0 */15 0 ? * 1", "0 /15 0 ? * 1"},
        {"0 5/20 0 ? * 1", "0 5,25,45 0 ? * 1"},
        {"0 10-30/10 0 ? * 1", "0 10,20,30 0 ? * 1"},
        {"0 10-29/10 0 ? * 1", "0 10,20 0 ? * 1"},
        {"0 7/59 0 ? * 1", "0 7 0 ? * 1"},
        {"0 0 22-2 ? * 1", "0 0 22,23,0,1,2 ? * 1"},
        {"0 0 22-4/2 ? * 1", "0 0 22,0,2,4 ? * 1"},
        {"0 0 21-4/2 ? * 1", "0 0 21,23,1,3 ? * 1"},
        {"50-10 0 0 ? * 1", "50-59,0-10 0 0 ? * 1"},
        {"0 0 0 ? NOV-FEB 1", "0 0 0 ? 11,12,1,2 1"},
        {"0 0 0 ? * FRI-MON", "0 0 0 ? * 6,7,1,2"},
        {"0 0 0 30-2 * ?", "0 0 0 30,31,1,2 * ?"},
        {"0 0 0 */5 * ?", "0 0 0 1,6,11,16,21,26,31 * ?"},
        {"0 0 0 ? * 2/2", "0 0 0 ? * 2,4,6"},
        {"0 0 0 ? * L", "0 0 0 ? * SAT"},
        {"0 0 0 ? * l,mon", "0 0 0 ? * 2,7"},
        {"0 0 0 ? * 6L", "0 0 0 ? * FRIL"},
        {"0 0 0 ? * 6#3", "0 0 0 ? * fri#3"},
        {"0 0 0 l * ?", "0 0 0 L * ?"},
        {"0 0 0 lw * ?", "0 0 0 LW * ?"},
        {"0 0 0 l-3w * ?", "0 0 0 L-3W * ?"},
        {"0 0 0 1 * ? 2026/40", "0 0 0 1 * ? 2026,2066"},
        {"0 0 0 1 * ? 2090/3,1970", "0 0 0 1 * ? 1970,2090,2093,2096,2099"},
        {"01 02 03 04 05 ? 2026", "1 2 3 4 5 ? 2026"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cron a = parsed(cases[i].text);
        struct cron b = parsed(cases[i].same);
        cr_expect(equal(&a, &b), "%s and %s", cases[i].text, cases[i].same);
    }
}

Test(cron_parse, day_forms_go_to_their_sets)
{
    struct cron days = parsed("0 0 0 1,31,L,L-30,15W,LW,L-2W * ?");
    cr_expect_eq(days.days, 1U << 1 | 1U << 31);
    cr_expect_eq(days.days_before_last, 1U << 0 | 1U << 30);
    cr_expect_eq(days.workdays, 1U << 15);
    cr_expect_eq(days.workdays_before_last, 1U << 0 | 1U << 2);
    cr_expect_eq(days.weekdays, 0);
    struct cron weekdays = parsed("0 0 0 ? * 1,SATL,2#1,3#5");
    cr_expect_eq(weekdays.days, 0U);
    cr_expect_eq(weekdays.weekdays, 1U << 1);
    cr_expect_eq(weekdays.weekdays_last, 1U << 7);
    cr_expect_eq(weekdays.weekdays_nth[0], 1U << 2);
    cr_expect_eq(weekdays.weekdays_nth[4], 1U << 3);
}

Test(cron_parse, refuses_with_field_place_and_what_is_accepted)
{
    static const struct {
        const char *text;
        const char *field;
        int character; /* 0: none is named */
    } cases[] = {
        {"", "0 fields", 0},
        {"   ", "0 fields", 0},
        {"0", "1 field,", 0},
        {"0 0 * * *", "5 fields", 0},
        {"0 0 0 1 1 ? 2026 0", "8 fields", 0},
        {"0 0 * * * *", "day-of-month and day-of-week", 0},
        {"0 0 * 15 * 2", "day-of-month and day-of-week", 0},
        {"0 0 * ? * ?", "day-of-month and day-of-week", 0},
        {"60 0 0 1 1 ?", "seconds", 1},
        {"-1 0 0 1 1 ?", "seconds", 1},
        {"? 0 0 1 1 ?", "seconds", 1},
        {"L 0 0 1 1 ?", "seconds", 1},
        {"1- 0 0 1 1 ?", "seconds", 3},
        {"1-60 0 0 1 1 ?", "seconds", 3},
        {"1/ 0 0 1 1 ?", "seconds", 3},
        {"1/0 0 0 1 1 ?", "seconds", 3},
        {"1/60 0 0 1 1 ?", "seconds", 3},
        {"1/1/1 0 0 1 1 ?", "seconds", 1},
        {"1-2-3 0 0 1 1 ?", "seconds", 1},
        {"** 0 0 1 1 ?", "seconds", 1},
        {"*5 0 0 1 1 ?", "seconds", 1},
        {"*-5 0 0 1 1 ?", "seconds", 1},
        {"/ 0 0 1 1 ?", "seconds", 2},
        {"4294967296 0 0 1 1 ?", "seconds", 1},
        {"99999999999999999999 0 0 1 1 ?", "seconds", 1},
        {"0 60 0 1 1 ?", "minutes", 3},
        {"0 1,,2 0 1 1 ?", "minutes", 5},
        {"0 , 0 1 1 ?", "minutes", 3},
        {"0 1, 0 1 1 ?", "minutes", 5},
        {"0 ,1 0 1 1 ?", "minutes", 3},
        {"0 0 24 1 1 ?", "hours", 5},
        {"0 0 1,2,24 1 1 ?", "hours", 9},
        {"0 0 0/24 1 1 ?", "hours", 7},
        {"0 0 JAN 1 1 ?", "hours", 5},
        {"0 0 0 0 1 ?", "day-of-month", 7},
        {"0 0 0 32 1 ?", "day-of-month", 7},
        {"0 0 0 MON 1 ?", "day-of-month", 7},
        {"0 0 0 L-0 1 ?", "day-of-month", 9},
        {"0 0 0 L-31 1 ?", "day-of-month", 9},
        {"0 0 0 L3 1 ?", "day-of-month", 7},
        {"0 0 0 LL 1 ?", "day-of-month", 7},
        {"0 0 0 WL 1 ?", "day-of-month", 7},
        {"0 0 0 W 1 ?", "day-of-month", 7},
        {"0 0 0 15WW 1 ?", "day-of-month", 7},
        {"0 0 0 1-15W 1 ?", "day-of-month", 7},
        {"0 0 0 15W/2 1 ?", "day-of-month", 7},
        {"0 0 0 6#3 1 ?", "day-of-month", 7},
        {"0 0 0 15C 1 ?", "day-of-month", 7},
        {"0 0 0 ?,1 1 ?", "day-of-month", 7},
        {"0 0 0 1,? 1 ?", "day-of-month", 9},
        {"0 0 0 1 0 ?", "month", 9},
        {"0 0 0 1 13 ?", "month", 9},
        {"0 0 0 1 ? ?", "month", 9},
        {"0 0 0 1 JA ?", "month", 9},
        {"0 0 0 1 JANUARY ?", "month", 9},
        {"0 0 0 1 JAN-FOO ?", "month", 13},
        {"0 0 0 1 MON ?", "month", 9},
        {"0 0 0 ? 1 0", "day-of-week", 11},
        {"0 0 0 ? 1 8", "day-of-week", 11},
        {"0 0 0 ? 1 7,8", "day-of-week", 13},
        {"0 0 0 ? 1 6#0", "day-of-week", 13},
        {"0 0 0 ? 1 6#6", "day-of-week", 13},
        {"0 0 0 ? 1 6#", "day-of-week", 13},
        {"0 0 0 ? 1 6#3L", "day-of-week", 11},
        {"0 0 0 ? 1 2-6L", "day-of-week", 11},
        {"0 0 0 ? 1 LW", "day-of-week", 11},
        {"0 0 0 ? 1 15W", "day-of-week", 11},
        {"0 0 0 1 1 ? 1969", "year", 13},
        {"0 0 0 1 1 ? 2100", "year", 13},
        {"0 0 0 1 1 ? 20260", "year", 13},
        {"0 0 0 1 1 ? 2030-2026", "year", 13},
        {"0 0 0 1 1 ? 2026/130", "year", 18},
        {"0 0 0 1 1 ? ?", "year", 13},
        {"0 0 0 1 1 ?\n2026", "day-of-week", 11},
        {"0 0 0 1 1 ? 2026\n", "year", 13},
        {"0 0 0 \xff 1 ?", "day-of-month", 7},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cron cron;
        memset(&cron, 0xab, sizeof cron);
        struct cron before = cron;
        struct err err = {0};
        cr_expect_eq(cron_parse(span_of_text(cases[i].text), &cron, &err), ERR_INVALID, "%s",
                     cases[i].text);
        cr_expect_eq(memcmp(&cron, &before, sizeof cron), 0, "%s", cases[i].text);
        cr_expect(strstr(err.msg, cases[i].field) != NULL, "%s: %s", cases[i].text, err.msg);
        if (cases[i].character > 0) {
            char place[32];
            (void)snprintf(place, sizeof place, "character %d:", cases[i].character);
            cr_expect(strstr(err.msg, place) != NULL, "%s: %s", cases[i].text, err.msg);
            cr_expect(strstr(err.msg, "; accepted are ") != NULL, "%s", err.msg);
        }
        for (const char *c = err.msg; *c != '\0'; c++) {
            cr_expect(*c >= ' ' && *c < 0x7f, "%s: byte %d", cases[i].text, *c);
        }
    }
}

Test(cron_parse, takes_the_longest_text_and_no_longer)
{
    char text[CRON_TEXT_BYTES_MAX + 1];
    memset(text, ' ', sizeof text);
    memcpy(text, "0 0 0 1 1 ?", 11);
    struct cron cron;
    struct err err = {0};
    cr_expect_eq(cron_parse(span_of(text, CRON_TEXT_BYTES_MAX), &cron, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(cron_parse(span_of(text, CRON_TEXT_BYTES_MAX + 1), &cron, &err), ERR_TOO_LARGE);
}
