/*
 * Dates and timestamps as text, by arithmetic on days: no C library calendar,
 * no time zone, no locale. See text.h for the contract.
 *
 * The conversions between days and civil dates count years from March, so that
 * the leap day is the last day of a year, in eras of 400 years (Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms").
 */
#include "storage/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    DAYS_PER_ERA = 146097,  /* 400 years */
    DAYS_TO_EPOCH = 719468, /* 0000-03-01 to 1970-01-01 */
    DAYS_MIN = -719162,     /* 0001-01-01 */
    DAYS_MAX = 2932896,     /* 9999-12-31 */
    DATE_SIZE = 10,         /* YYYY-MM-DD */
    TIME_SIZE = 8,          /* hh:mm:ss */
    FRACTION_DIGITS = 6,
    YEAR_MAX = 9999,
};

static const int64_t us_per_second = 1000000;
static const int64_t us_per_day = 86400 * (int64_t)1000000;

static int64_t days_from_civil(struct text_civil date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_EPOCH;
}

static struct text_civil civil_from_days(int64_t days)
{
    int64_t shifted = days + DAYS_TO_EPOCH;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t day_of_era = shifted - era * DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (DAYS_PER_ERA - 1)) /
        365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    return (struct text_civil){
        .year = year_of_era + era * 400 + (month <= 2),
        .month = month,
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
    };
}

int32_t text_days_of(int year, int month, int day)
{
    return (int32_t)days_from_civil((struct text_civil){.year = year, .month = month, .day = day});
}

struct text_civil text_civil_of(int32_t days)
{
    return civil_from_days(days);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* `count` digits as a number, or -1. */
static int digits_value(const uint8_t *digits, size_t count)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned digit = (unsigned)digits[i] - '0';
        if (digit > 9) {
            return -1;
        }
        value = value * 10 + (int)digit;
    }
    return value;
}

/*
 * Eight bytes at once: three times two digits with `between` between them, "12-31-59". False
 * when they are anything else.
 */
static inline bool read_pairs(const uint8_t *text, uint8_t between, int pairs_out[3])
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    const uint64_t betweens = UINT64_C(0x0000ff0000ff0000); /* bytes 2 and 5, little endian */
    uint64_t word = 0;
    memcpy(&word, text, sizeof word);
    word ^= (each * '0' & ~betweens) | (each * between & betweens);
    /* digits are 0 to 9 now and what is between them 0; whatever is more reaches bit 7 */
    uint64_t over = word + ((each * (0x7f - 9) & ~betweens) | (each * 0x7f & betweens));
    if (((word | over) & each << 7) != 0) {
        return false;
    }
    word = word * 10 + (word >> 8);
    pairs_out[0] = (int)(word & 0xff);
    pairs_out[1] = (int)(word >> 24 & 0xff);
    pairs_out[2] = (int)(word >> 48 & 0xff);
    return true;
}

/* The ten bytes of a date. */
static bool parse_civil_days(const uint8_t *text, int64_t *days_out)
{
    int century = digits_value(text, 2);
    int pairs[3];
    if (century < 0 || !read_pairs(text + 2, '-', pairs)) {
        return false;
    }
    struct text_civil date = {
        .year = century * 100 + pairs[0],
        .month = pairs[1],
        .day = pairs[2],
    };
    if (date.year < 1 || date.month < 1 || date.month > 12 || date.day < 1 ||
        date.day > days_in_month(date.year, date.month)) {
        return false;
    }
    *days_out = days_from_civil(date);
    return true;
}

bool text_parse_date(struct span text, int32_t *days_out)
{
    int64_t days = 0;
    if (text.size != DATE_SIZE || !parse_civil_days(text.data, &days)) {
        return false;
    }
    *days_out = (int32_t)days;
    return true;
}

/* The eight bytes of a time of day; leap seconds have no place in the epoch count. */
static bool parse_seconds(const uint8_t *text, int64_t *seconds_out)
{
    int pairs[3];
    if (!read_pairs(text, ':', pairs) || pairs[0] > 23 || pairs[1] > 59 || pairs[2] > 59) {
        return false;
    }
    *seconds_out = pairs[0] * 3600 + pairs[1] * 60 + pairs[2];
    return true;
}

/* An optional ".digits"; digits beyond microseconds must be zero, none may be lost. */
static bool take_fraction(struct span *text, int64_t *us_out)
{
    *us_out = 0;
    if (text->size == 0 || text->data[0] != '.') {
        return true;
    }
    int64_t us = 0;
    size_t count = 0;
    size_t at = 1;
    for (; at < text->size && (uint8_t)(text->data[at] - '0') < 10; at++, count++) {
        int digit = text->data[at] - '0';
        if (count < FRACTION_DIGITS) {
            us = us * 10 + digit;
        } else if (digit != 0) {
            return false;
        }
    }
    for (size_t i = count; i < FRACTION_DIGITS; i++) {
        us *= 10;
    }
    *us_out = us;
    *text = span_of(text->data + at, text->size - at);
    return count > 0;
}

/* spec: RFC 3339 5.6 — full-date and partial-time; leaves the zone in `text` */
static bool take_local_time(struct span *text, int64_t *us_out)
{
    enum { FIXED_SIZE = DATE_SIZE + 1 + TIME_SIZE };
    int64_t days = 0;
    int64_t seconds = 0;
    int64_t fraction_us = 0;
    if (text->size < FIXED_SIZE || !parse_civil_days(text->data, &days) ||
        !parse_seconds(text->data + DATE_SIZE + 1, &seconds)) {
        return false;
    }
    uint8_t separator = text->data[DATE_SIZE];
    if (separator != 'T' && separator != 't' && separator != ' ') {
        return false;
    }
    *text = span_of(text->data + FIXED_SIZE, text->size - FIXED_SIZE);
    if (!take_fraction(text, &fraction_us)) {
        return false;
    }
    *us_out = days * us_per_day + seconds * us_per_second + fraction_us;
    return true;
}

/* spec: RFC 3339 5.6 — time-offset; minutes east of UTC */
static bool parse_zone(struct span zone, int64_t *minutes_out)
{
    if (zone.size == 1 && (zone.data[0] | 0x20) == 'z') {
        *minutes_out = 0;
        return true;
    }
    if (zone.size != 6 || (zone.data[0] != '+' && zone.data[0] != '-') || zone.data[3] != ':') {
        return false;
    }
    int hour = digits_value(zone.data + 1, 2);
    int minute = digits_value(zone.data + 4, 2);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return false;
    }
    *minutes_out = (zone.data[0] == '-' ? -1 : 1) * (hour * 60 + minute);
    return true;
}

bool text_parse_timestamp(struct span text, int64_t *us_out)
{
    int64_t us = 0;
    int64_t zone_minutes = 0;
    if (!take_local_time(&text, &us) || !parse_zone(text, &zone_minutes)) {
        return false;
    }
    us -= zone_minutes * 60 * us_per_second;
    /* the zone may have carried it out of the years that can be written back */
    if (us < DAYS_MIN * us_per_day || us >= (DAYS_MAX + 1) * us_per_day) {
        return false;
    }
    *us_out = us;
    return true;
}

bool text_parse_timestamp_ntz(struct span text, int64_t *us_out)
{
    int64_t us = 0;
    if (!take_local_time(&text, &us) || text.size != 0) {
        return false;
    }
    *us_out = us;
    return true;
}

static char *put_two(char *out, int value)
{
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
    return out + 2;
}

static char *put_date(char *out, int64_t days)
{
    struct text_civil date = civil_from_days(days);
    if (date.year >= 1 && date.year <= YEAR_MAX) {
        out = put_two(out, (int)(date.year / 100));
        out = put_two(out, (int)(date.year % 100));
    } else {
        /* spec: ISO 8601 4.1.2.4 — expanded years carry a sign */
        out += snprintf(out, 12, "%+05lld", (long long)date.year);
    }
    *out++ = '-';
    out = put_two(out, date.month);
    *out++ = '-';
    return put_two(out, date.day);
}

size_t text_format_date(int32_t days, char text_out[TEXT_TIMESTAMP_BYTES])
{
    char *end = put_date(text_out, days);
    *end = '\0';
    return (size_t)(end - text_out);
}

static char *put_timestamp(char *out, int64_t us)
{
    int64_t us_of_day = us % us_per_day + (us % us_per_day < 0 ? us_per_day : 0);
    int64_t days = us / us_per_day - (us % us_per_day < 0);
    int seconds = (int)(us_of_day / us_per_second);
    int fraction = (int)(us_of_day % us_per_second);
    out = put_date(out, days);
    *out++ = 'T';
    out = put_two(out, seconds / 3600);
    *out++ = ':';
    out = put_two(out, seconds / 60 % 60);
    *out++ = ':';
    out = put_two(out, seconds % 60);
    *out++ = '.';
    out = put_two(out, fraction / 10000);
    out = put_two(out, fraction / 100 % 100);
    return put_two(out, fraction % 100);
}

size_t text_format_timestamp_ntz(int64_t us, char text_out[TEXT_TIMESTAMP_BYTES])
{
    char *end = put_timestamp(text_out, us);
    *end = '\0';
    return (size_t)(end - text_out);
}

size_t text_format_timestamp(int64_t us, char text_out[TEXT_TIMESTAMP_BYTES])
{
    char *end = put_timestamp(text_out, us);
    *end++ = 'Z';
    *end = '\0';
    return (size_t)(end - text_out);
}
