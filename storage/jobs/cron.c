/*
 * The next fire time of a cron expression. See cron.h for the contract and the
 * daylight-saving rule.
 *
 * Wall times are searched first, by fields: a year, a month, the days of that month as a
 * bit set, a time of day. The zone then says when the clock shows what was found.
 */
#include "storage/jobs/cron.h"

#include "storage/base/text.h"
#include "storage/jobs/zone.h"

#include <assert.h>

enum {
    DAY_SECONDS = 86400,
    SUNDAY = 1,
    SATURDAY = 7,
    ALL_HOURS = 0xffffff,
    MONTHS = 12,
};

static const int64_t us_per_second = 1000000;

/* ---- days of a month ---- */

struct month {
    int32_t first;     /* its first day since 1970-01-01 */
    int days;          /* how many */
    int first_weekday; /* 1 = Sunday */
};

static struct month month_of(int year, int month)
{
    int32_t first = text_days_of(year, month, 1);
    int32_t next =
        month == MONTHS ? text_days_of(year + 1, 1, 1) : text_days_of(year, month + 1, 1);
    /* 1970-01-01 was a Thursday, the fifth day of the week; years here are 1970 and later */
    return (struct month){
        .first = first,
        .days = next - first,
        .first_weekday = (first + 4) % 7 + 1,
    };
}

static int weekday_of(const struct month *month, int day)
{
    return (month->first_weekday - 1 + day - 1) % 7 + 1;
}

/* The working day nearest to `day` within the month: a Saturday's is Friday, a Sunday's Monday. */
static int nearest_workday(const struct month *month, int day)
{
    int weekday = weekday_of(month, day);
    if (weekday == SATURDAY) {
        return day == 1 ? day + 2 : day - 1;
    }
    if (weekday == SUNDAY) {
        return day == month->days ? day - 2 : day + 1;
    }
    return day;
}

static bool has_bit(uint32_t set, int bit)
{
    return (set >> bit & 1) != 0;
}

/* The chosen days of a month, bits 1-31. */
static uint32_t days_of(const struct cron *cron, const struct month *month)
{
    uint32_t days = 0;
    for (int day = 1; day <= month->days; day++) {
        int weekday = weekday_of(month, day);
        int before_last = month->days - day;
        bool chosen = has_bit(cron->days, day) || has_bit(cron->days_before_last, before_last) ||
                      has_bit(cron->weekdays, weekday) ||
                      has_bit(cron->weekdays_nth[(day - 1) / 7], weekday) ||
                      (before_last < 7 && has_bit(cron->weekdays_last, weekday));
        days |= (uint32_t)chosen << day;
        if (has_bit(cron->workdays, day) || has_bit(cron->workdays_before_last, before_last)) {
            days |= (uint32_t)1 << nearest_workday(month, day);
        }
    }
    return days;
}

/* ---- wall times ---- */

/* The first chosen value at or after `from` (at most 63) of a set; -1: none. */
static int next_bit(uint64_t set, int from)
{
    uint64_t left = set >> from << from;
    return left == 0 ? -1 : __builtin_ctzll(left);
}

/* The first chosen second of the day at or after `from`; -1: none. */
static int next_time(const struct cron *cron, int from)
{
    int hour = next_bit(cron->hours, from / 3600);
    if (hour == from / 3600) {
        int minute = next_bit(cron->minutes, from / 60 % 60);
        if (minute == from / 60 % 60) {
            int second = next_bit(cron->seconds, from % 60);
            if (second >= 0) {
                return hour * 3600 + minute * 60 + second;
            }
            minute = next_bit(cron->minutes, minute + 1);
        }
        if (minute >= 0) {
            return hour * 3600 + minute * 60 + next_bit(cron->seconds, 0);
        }
        hour = next_bit(cron->hours, hour + 1);
    }
    return hour < 0 ? -1
                    : hour * 3600 + next_bit(cron->minutes, 0) * 60 + next_bit(cron->seconds, 0);
}

/* The first chosen year at or after `year`; above CRON_YEAR_MAX: none. */
static int next_year(const struct cron *cron, int year)
{
    while (year <= CRON_YEAR_MAX) {
        int index = year - CRON_YEAR_MIN;
        int bit = next_bit(cron->years[index / 64], index % 64);
        if (bit >= 0) {
            return CRON_YEAR_MIN + index / 64 * 64 + bit;
        }
        year = CRON_YEAR_MIN + (index / 64 + 1) * 64;
    }
    return year;
}

/* The first chosen day (since 1970-01-01) at or after `from`, which is not negative. */
static bool next_day(const struct cron *cron, int32_t from, int32_t *day_out)
{
    struct text_civil start = text_civil_of(from);
    for (int year = next_year(cron, (int)start.year); year <= CRON_YEAR_MAX;
         year = next_year(cron, year + 1)) {
        bool is_first = year == start.year;
        int month = next_bit(cron->months, is_first ? start.month : 1);
        while (month > 0) {
            struct month details = month_of(year, month);
            int from_day = is_first && month == start.month ? start.day : 1;
            int day = next_bit(days_of(cron, &details), from_day);
            if (day > 0) {
                *day_out = details.first + day - 1;
                return true;
            }
            month = next_bit(cron->months, month + 1);
        }
    }
    return false;
}

/* The first chosen wall time at or after `from_s`; false: none up to the last year. */
static bool next_wall(const struct cron *cron, int64_t from_s, int64_t *wall_out)
{
    int64_t begin_s = from_s > 0 ? from_s : 0; /* the first year's first second */
    int32_t start = (int32_t)(begin_s / DAY_SECONDS);
    int32_t day = 0;
    if (!next_day(cron, start, &day)) {
        return false;
    }
    int time = next_time(cron, day == start ? (int)(begin_s % DAY_SECONDS) : 0);
    if (time < 0) {
        /* too late on that day */
        if (!next_day(cron, start + 1, &day)) {
            return false;
        }
        time = next_time(cron, 0);
    }
    *wall_out = (int64_t)day * DAY_SECONDS + time;
    return true;
}

/* ---- instants ---- */

/* The latest time that the clock has shown up to `at_s`: more than it shows now after a step back.
 */
static int64_t wall_reached(const struct zone *zone, int64_t at_s)
{
    struct zone_piece piece = zone_piece_at(zone, at_s);
    int64_t reached = at_s + piece.offset_s;
    /* before that no clock can have been further */
    int64_t from_s = at_s - 2 * (int64_t)ZONE_OFFSET_SECONDS_MAX;
    while (piece.begin_s > from_s) {
        int64_t last_s = piece.begin_s - 1;
        piece = zone_piece_at(zone, last_s);
        int64_t shown = last_s + piece.offset_s;
        reached = shown > reached ? shown : reached;
    }
    return reached;
}

/* Rule 1: times of the day. A time is due when the clock first shows it or a later one. */
static bool next_by_day(const struct cron *cron, const struct zone *zone, int64_t after_s,
                        int64_t *fire_us_out)
{
    int64_t wall = 0;
    if (!next_wall(cron, wall_reached(zone, after_s) + 1, &wall)) {
        return false;
    }
    *fire_us_out = zone_wall_find(zone, wall * us_per_second).first_us;
    return true;
}

/* Rule 2: times of the hour. Due whenever the clock shows one. */
static bool next_by_clock(const struct cron *cron, const struct zone *zone, int64_t after_s,
                          int64_t *fire_us_out)
{
    int64_t at_s = after_s + 1;
    for (;;) {
        struct zone_piece piece = zone_piece_at(zone, at_s);
        int64_t wall = 0;
        if (next_wall(cron, at_s + piece.offset_s, &wall) && wall - piece.offset_s < piece.end_s) {
            *fire_us_out = (wall - piece.offset_s) * us_per_second;
            return true;
        }
        /* what the clock shows from the end of the piece on is not earlier than this */
        if (piece.end_s == INT64_MAX ||
            !next_wall(cron, piece.end_s - ZONE_OFFSET_SECONDS_MAX, &wall)) {
            return false;
        }
        int64_t shown_from_s = wall - ZONE_OFFSET_SECONDS_MAX;
        at_s = shown_from_s > piece.end_s ? shown_from_s : piece.end_s;
    }
}

bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_us,
               int64_t *fire_us_out)
{
    /* an expression of cron_parse has a value in each of these */
    assert(cron->seconds != 0);
    assert(cron->minutes != 0);
    assert(cron->hours != 0);
    int64_t after_s = after_us / us_per_second - (after_us % us_per_second < 0);
    int64_t before_all_s = -2 * (int64_t)ZONE_OFFSET_SECONDS_MAX;
    after_s = after_s > before_all_s ? after_s : before_all_s;
    return cron->hours == ALL_HOURS ? next_by_clock(cron, zone, after_s, fire_us_out)
                                    : next_by_day(cron, zone, after_s, fire_us_out);
}
