/*
 * POSIX TZ strings. See zone_rule.h for the contract.
 *
 * Dates are computed within one Gregorian cycle of 400 years, which is a whole
 * number of weeks: the rule repeats exactly, so any instant is moved into the first
 * cycle after 1970 and the answer moved back.
 */
#include "storage/jobs/zone_rule.h"

#include "storage/base/text.h"

#include <assert.h>

enum {
    DAY_SECONDS = 86400,
    HOUR_SECONDS = 3600,
    CHANGE_TIME_DEFAULT_S = 2 * HOUR_SECONDS,
    CHANGE_HOURS_MAX = 167, /* spec: RFC 9636 3.3.1 */
    OFFSET_HOURS_MAX = 24,
    NAME_BYTES_MIN = 3,
    YEARS_AROUND = 2, /* a change of a neighbouring year may lie in this one, by its ±167 hours */
    CHANGES_MAX = 2 * (2 * YEARS_AROUND + 1),
};

static const int64_t cycle_seconds = (int64_t)146097 * DAY_SECONDS;

/* ---- parsing ---- */

/* Reads from the front; after a failure nothing matches any more. */
struct reader {
    struct span text;
    size_t at;
    bool failed;
};

static bool take(struct reader *reader, char c)
{
    if (reader->failed || reader->at >= reader->text.size ||
        reader->text.data[reader->at] != (uint8_t)c) {
        return false;
    }
    reader->at++;
    return true;
}

static void expect(struct reader *reader, char c)
{
    reader->failed = !take(reader, c) || reader->failed;
}

/* Digits as a number of at most `max`; at least one. */
static int take_number(struct reader *reader, int max)
{
    size_t begin = reader->at;
    int value = 0;
    while (!reader->failed && reader->at < reader->text.size) {
        unsigned digit = (unsigned)reader->text.data[reader->at] - '0';
        if (digit > 9) {
            break;
        }
        value = value * 10 + (int)digit;
        reader->failed = value > max;
        reader->at++;
    }
    reader->failed = reader->failed || reader->at == begin;
    return value;
}

static bool is_letter(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

/* An abbreviation: letters, or anything alphanumeric, + and - between angle brackets. */
static void skip_name(struct reader *reader)
{
    bool quoted = take(reader, '<');
    size_t begin = reader->at;
    while (reader->at < reader->text.size) {
        uint8_t c = reader->text.data[reader->at];
        bool other = (uint8_t)(c - '0') < 10 || c == '+' || c == '-';
        if (!is_letter(c) && !(quoted && other)) {
            break;
        }
        reader->at++;
    }
    reader->failed = reader->failed || reader->at - begin < NAME_BYTES_MIN;
    if (quoted) {
        expect(reader, '>');
    }
}

/* [+-]hh[:mm[:ss]] in seconds. */
static int32_t take_time(struct reader *reader, int hours_max)
{
    int32_t sign = take(reader, '-') ? -1 : 1;
    if (sign > 0) {
        (void)take(reader, '+'); /* says nothing */
    }
    int32_t seconds = take_number(reader, hours_max) * HOUR_SECONDS;
    if (take(reader, ':')) {
        seconds += take_number(reader, 59) * 60;
        if (take(reader, ':')) {
            seconds += take_number(reader, 59);
        }
    }
    return sign * seconds;
}

static struct zone_change take_change(struct reader *reader)
{
    struct zone_change change = {.time_s = CHANGE_TIME_DEFAULT_S};
    expect(reader, ',');
    if (take(reader, 'J')) {
        change.kind = ZONE_DAY_NO_LEAP;
        change.day = take_number(reader, 365);
        reader->failed = reader->failed || change.day == 0;
    } else if (take(reader, 'M')) {
        change.kind = ZONE_DAY_WEEKDAY;
        change.month = take_number(reader, 12);
        expect(reader, '.');
        change.week = take_number(reader, 5);
        expect(reader, '.');
        change.day = take_number(reader, 6);
        reader->failed = reader->failed || change.month == 0 || change.week == 0;
    } else {
        change.kind = ZONE_DAY_OF_YEAR;
        change.day = take_number(reader, 365);
    }
    if (take(reader, '/')) {
        change.time_s = take_time(reader, CHANGE_HOURS_MAX);
    }
    return change;
}

enum err_code zone_rule_parse(struct span text, struct zone_rule *rule_out, struct err *err)
{
    struct reader reader = {.text = text};
    struct zone_rule rule = {0};
    skip_name(&reader);
    /* POSIX counts offsets westward */
    rule.standard_s = -take_time(&reader, OFFSET_HOURS_MAX);
    rule.has_daylight = !reader.failed && reader.at < text.size;
    if (rule.has_daylight) {
        skip_name(&reader);
        rule.daylight_s = rule.standard_s + HOUR_SECONDS;
        if (!reader.failed && reader.at < text.size && text.data[reader.at] != ',') {
            rule.daylight_s = -take_time(&reader, OFFSET_HOURS_MAX);
        }
        rule.to_daylight = take_change(&reader);
        rule.to_standard = take_change(&reader);
    }
    if (reader.failed || reader.at != text.size) {
        return err_set(err, ERR_CORRUPT, "the footer is no POSIX TZ string, see its byte %zu",
                       reader.at);
    }
    *rule_out = rule;
    return ERR_OK;
}

/* ---- computing ---- */

/* The day of a change, since 1970-01-01. */
static int64_t change_day(const struct zone_change *change, int year)
{
    int64_t new_year = text_days_of(year, 1, 1);
    bool leap = text_days_of(year, 3, 1) - text_days_of(year, 2, 28) == 2;
    switch (change->kind) {
    case ZONE_DAY_NO_LEAP:
        return new_year + change->day - 1 + (leap && change->day >= 60);
    case ZONE_DAY_OF_YEAR:
        return new_year + change->day;
    case ZONE_DAY_WEEKDAY:
        break;
    }
    int64_t first = text_days_of(year, change->month, 1);
    int64_t next_month = change->month == 12 ? text_days_of(year + 1, 1, 1)
                                             : text_days_of(year, change->month + 1, 1);
    /* 1970-01-01 was a Thursday; years here are 1968 and later, days at least -731 */
    int weekday = (int)((first + 4 + 7 * 1000) % 7);
    int64_t day = first + (change->day - weekday + 7) % 7 + 7 * (int64_t)(change->week - 1);
    return day < next_month ? day : day - 7;
}

/* One change of the clock. */
struct event {
    int64_t at_s;
    int32_t offset_s; /* from then on */
};

/* Put an event behind all that are not later: of two at one instant the one put last holds. */
static void insert(struct event *events, int count, struct event event)
{
    int place = count;
    while (place > 0 && events[place - 1].at_s > event.at_s) {
        events[place] = events[place - 1];
        place--;
    }
    events[place] = event;
}

static void events_around(const struct zone_rule *rule, int year, struct event events[CHANGES_MAX])
{
    int count = 0;
    for (int y = year - YEARS_AROUND; y <= year + YEARS_AROUND; y++) {
        int64_t start = change_day(&rule->to_daylight, y) * DAY_SECONDS + rule->to_daylight.time_s;
        int64_t end = change_day(&rule->to_standard, y) * DAY_SECONDS + rule->to_standard.time_s;
        insert(events, count++, (struct event){start - rule->standard_s, rule->daylight_s});
        insert(events, count++, (struct event){end - rule->daylight_s, rule->standard_s});
    }
    assert(count == CHANGES_MAX);
}

struct zone_piece zone_rule_piece(const struct zone_rule *rule, int64_t at_s)
{
    if (!rule->has_daylight) {
        return (struct zone_piece){INT64_MIN, INT64_MAX, rule->standard_s};
    }
    int64_t cycle = at_s / cycle_seconds - (at_s % cycle_seconds < 0);
    int64_t shift = cycle * cycle_seconds;
    int64_t within = at_s - shift;
    struct event events[CHANGES_MAX];
    events_around(rule, (int)text_civil_of((int32_t)(within / DAY_SECONDS)).year, events);
    int next = 1;
    while (next < CHANGES_MAX && events[next].at_s <= within) {
        next++;
    }
    /* two years on either side: both ends of the piece are among the events */
    assert(events[next - 1].at_s <= within);
    assert(next < CHANGES_MAX);
    return (struct zone_piece){
        .begin_s = events[next - 1].at_s + shift,
        .end_s = events[next].at_s + shift,
        .offset_s = events[next - 1].offset_s,
    };
}
