/*
 * Dates and timestamps: every day there and back, and the odd forms refused.
 */
#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(text_calendar, parse_date)
{
    static const struct {
        const char *text;
        bool valid;
        int32_t days;
    } cases[] = {
        {"1970-01-01", true, 0},
        {"1969-12-31", true, -1},
        {"2000-02-29", true, 11016},
        {"2024-02-29", true, 19782},
        {"0001-01-01", true, -719162},
        {"9999-12-31", true, 2932896},
        {"1582-10-10", true, -141432}, /* proleptic: this day exists */
        {"1900-02-29", false, 0},
        {"2023-02-29", false, 0},
        {"2023-04-31", false, 0},
        {"2023-00-10", false, 0},
        {"2023-13-10", false, 0},
        {"2023-01-00", false, 0},
        {"2023-01-32", false, 0},
        {"0000-01-01", false, 0},
        {"2023-1-1", false, 0},
        {"2023/01/01", false, 0},
        {"20230101", false, 0},
        {"+2023-1-01", false, 0},
        {"2023-01-01 ", false, 0},
        {"2023-01-0a", false, 0},
        {"2023-01-01T00:00:00Z", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int32_t days = 42;
        cr_expect_eq(text_parse_date(span_of_text(cases[i].text), &days), cases[i].valid, "%s",
                     cases[i].text);
        cr_expect_eq(days, cases[i].valid ? cases[i].days : 42, "%s", cases[i].text);
    }
}

Test(text_calendar, every_day_of_ten_millennia_round_trips_in_order)
{
    char last[TEXT_TIMESTAMP_BYTES] = "";
    for (int32_t days = -719162; days <= 2932896; days++) {
        char text[TEXT_TIMESTAMP_BYTES];
        int32_t back = 0;
        cr_assert_eq(text_format_date(days, text), 10U);
        cr_assert_lt(strcmp(last, text), 0, "%s then %s", last, text);
        cr_assert(text_parse_date(span_of_text(text), &back), "%s", text);
        cr_assert_eq(back, days, "%s", text);
        memcpy(last, text, sizeof last);
    }
}

Test(text_calendar, days_of)
{
    cr_expect_eq(text_days_of(1970, 1, 1), 0);
    cr_expect_eq(text_days_of(2024, 12, 31), 20088);
    cr_expect_eq(text_days_of(1, 1, 1), -719162);
}

Test(text_calendar, civil_of)
{
    static const struct {
        int32_t days;
        struct text_civil date;
    } cases[] = {
        {0, {1970, 1, 1}},      {-1, {1969, 12, 31}},          {11016, {2000, 2, 29}},
        {-719163, {0, 12, 31}}, {INT32_MAX, {5881580, 7, 11}}, {INT32_MIN, {-5877641, 6, 23}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct text_civil date = text_civil_of(cases[i].days);
        cr_expect_eq(date.year, cases[i].date.year, "%d", cases[i].days);
        cr_expect_eq(date.month, cases[i].date.month, "%d", cases[i].days);
        cr_expect_eq(date.day, cases[i].date.day, "%d", cases[i].days);
    }
}

Test(text_calendar, format_takes_any_value)
{
    static const struct {
        int32_t days;
        const char *text;
    } dates[] = {
        {INT32_MAX, "+5881580-07-11"},
        {INT32_MIN, "-5877641-06-23"},
        {-719163, "+0000-12-31"},
        {2932897, "+10000-01-01"},
    };
    char text[TEXT_TIMESTAMP_BYTES];
    for (size_t i = 0; i < COUNT(dates); i++) {
        cr_expect_eq(text_format_date(dates[i].days, text), strlen(dates[i].text));
        cr_expect_str_eq(text, dates[i].text);
    }
    cr_expect_eq(text_format_timestamp(INT64_MAX, text), strlen(text));
    cr_expect_str_eq(text, "+294247-01-10T04:00:54.775807Z");
    cr_expect_eq(text_format_timestamp(INT64_MIN, text), strlen(text));
    cr_expect_str_eq(text, "-290308-12-21T19:59:05.224192Z");
}

Test(text_calendar, parse_timestamp)
{
    static const struct {
        const char *text;
        const char *utc; /* NULL: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {"2024-02-29 23:59:59.999999Z", "2024-02-29T23:59:59.999999Z"},
        {"2024-02-29T23:59:59.5Z", "2024-02-29T23:59:59.500000Z"},
        {"2024-02-29t23:59:59z", "2024-02-29T23:59:59.000000Z"},
        {"2024-03-01T00:30:00+01:00", "2024-02-29T23:30:00.000000Z"},
        {"2023-12-31T23:30:00-05:30", "2024-01-01T05:00:00.000000Z"},
        {"2024-01-01T00:00:00-00:00", "2024-01-01T00:00:00.000000Z"},
        {"2024-01-01T00:00:00.123456000Z", "2024-01-01T00:00:00.123456Z"},
        {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
        {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"},
        {"0001-01-01T00:00:00+00:01", NULL},
        {"9999-12-31T23:59:59-00:01", NULL},
        {"2024-01-01T00:00:00.1234567Z", NULL},
        {"2024-01-01T00:00:00.Z", NULL},
        {"2024-01-01T00:00:00,5Z", NULL},
        {"2024-01-01T00:00:00", NULL},
        {"2024-01-01T24:00:00Z", NULL},
        {"2024-01-01T23:60:00Z", NULL},
        {"2016-12-31T23:59:60Z", NULL},
        {"2024-01-01T1:00:00Z", NULL},
        {"2024-01-01_00:00:00Z", NULL},
        {"2024-01-01T00:00:00+1:00", NULL},
        {"2024-01-01T00:00:00+0100", NULL},
        {"2024-01-01T00:00:00+24:00", NULL},
        {"2024-01-01T00:00:00+01:60", NULL},
        {"2024-01-01T00:00:00ZZ", NULL},
        {"2024-01-01T00:00:00 Z", NULL},
        {"2024-02-30T00:00:00Z", NULL},
        {"2024-01-01", NULL},
        {"1704067200", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t us = 0;
        char text[TEXT_TIMESTAMP_BYTES];
        bool parsed = text_parse_timestamp(span_of_text(cases[i].text), &us);
        cr_expect_eq(parsed, cases[i].utc != NULL, "%s", cases[i].text);
        if (parsed && cases[i].utc != NULL) {
            cr_expect_eq(text_format_timestamp(us, text), 27U);
            cr_expect_str_eq(text, cases[i].utc, "%s is %s", cases[i].text, text);
        }
    }
}

Test(text_calendar, timestamp_is_microseconds_since_the_epoch)
{
    int64_t us = 0;
    cr_assert(text_parse_timestamp(span_of_text("2024-02-29T12:34:56.789012Z"), &us));
    cr_expect_eq(us, 1709210096789012);
}

Test(text_calendar, timestamp_without_zone)
{
    int64_t us = 0;
    char text[TEXT_TIMESTAMP_BYTES];
    cr_assert(text_parse_timestamp_ntz(span_of_text("2024-02-29 12:34:56.7"), &us));
    cr_expect_eq(text_format_timestamp_ntz(us, text), 26U);
    cr_expect_str_eq(text, "2024-02-29T12:34:56.700000");
    cr_expect_not(text_parse_timestamp_ntz(span_of_text("2024-02-29T12:34:56Z"), &us));
    cr_expect_not(text_parse_timestamp_ntz(span_of_text("2024-02-29T12:34:56+00:00"), &us));
    cr_expect_not(text_parse_timestamp_ntz(span_of_text("2024-02-29T12:34"), &us));
}

Test(text_calendar, timestamp_cut_anywhere_is_refused)
{
    static const char text[] = "2024-02-29T12:34:56.789012+01:00";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        int64_t us = 0;
        cr_expect_not(text_parse_timestamp(span_of(text, size), &us), "%.*s", (int)size, text);
    }
}

/* A time of 19 characters that is 2024-02-29T12:34:56 with one byte replaced: is it still one? */
static bool is_time_with(size_t place, int byte)
{
    static const char form[] = "0000-00-00T00:00:00";
    if (form[place] == 'T') {
        return byte == 'T' || byte == 't' || byte == ' ';
    }
    if (form[place] != '0') {
        return byte == form[place];
    }
    int digit = byte - '0';
    if (digit < 0 || digit > 9) {
        return false;
    }
    switch (place) {
    case 2: /* of the years 20x4 every other is a leap year, */
        return digit % 2 == 0;
    case 3: /* of 202x every fourth */
        return digit % 4 == 0;
    case 5:
        return digit < 2;
    case 6:
        return digit > 0;
    case 8:
    case 11:
        return digit < 3;
    case 14:
    case 17:
        return digit < 6;
    default:
        return true;
    }
}

Test(text_calendar, any_byte_anywhere_is_seen)
{
    static const char good[] = "2024-02-29T12:34:56";
    for (size_t place = 0; place < sizeof good - 1; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[sizeof good];
            memcpy(text, good, sizeof good);
            text[place] = (char)byte;
            int64_t us = 0;
            int32_t days = 0;
            bool expected = is_time_with(place, byte);
            cr_expect_eq(text_parse_timestamp_ntz(span_of(text, sizeof good - 1), &us), expected,
                         "byte %d at %zu", byte, place);
            cr_expect_eq(text_parse_date(span_of(text, 10), &days), place >= 10 || expected,
                         "byte %d at %zu", byte, place);
        }
    }
}
