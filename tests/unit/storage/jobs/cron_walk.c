#include "cron_walk.h"

#include <criterion/criterion.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- the clock ---- */

/* What the clock shows, counted like an instant. */
static int64_t shown_at(int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm;
    cr_assert_not_null(localtime_r(&at, &tm));
    cr_assert_eq(tm.tm_sec, 0, "the offset is not of whole minutes");
    return (int64_t)timegm(&tm);
}

void cron_walk_init(struct cron_walk *walk, const char *zone, int64_t begin_s, int days)
{
    cr_assert_eq(setenv("TZ", zone, 1), 0);
    tzset();
    cr_assert_eq(begin_s % 60, 0);
    *walk = (struct cron_walk){.begin_s = begin_s, .minutes = (size_t)days * 1440};
    walk->wall_s = calloc(walk->minutes, sizeof *walk->wall_s);
    cr_assert_not_null(walk->wall_s);
    for (int64_t at_s = begin_s - 3 * 86400; at_s < begin_s; at_s += 60) {
        int64_t last_s = shown_at(at_s) + 59;
        walk->reached_s = last_s > walk->reached_s ? last_s : walk->reached_s;
    }
    for (size_t i = 0; i < walk->minutes; i++) {
        walk->wall_s[i] = shown_at(begin_s + (int64_t)i * 60);
    }
}

void cron_walk_deinit(struct cron_walk *walk)
{
    free(walk->wall_s);
    *walk = (struct cron_walk){0};
}

/* ---- the expression ---- */

enum { FIELDS = 7, TEXT_MAX = 64 };

/* The texts of the fields, upper case; a year of `*` when there is none. */
struct texts {
    char fields[FIELDS][TEXT_MAX];
};

static void split(const char *expression, struct texts *texts)
{
    memset(texts, 0, sizeof *texts);
    texts->fields[6][0] = '*';
    int field = -1;
    size_t size = 0;
    for (const char *c = expression; *c != '\0'; c++) {
        if (*c == ' ') {
            continue;
        }
        if (c == expression || c[-1] == ' ') {
            field++;
            size = 0;
            memset(texts->fields[field], 0, TEXT_MAX);
        }
        texts->fields[field][size++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    }
}

/* A number, or a name of a month or weekday. */
static int value_of(const char *text)
{
    static const char names[] = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC";
    static const char days[] = "SUNMONTUEWEDTHUFRISAT";
    int value = 0;
    if (sscanf(text, "%d", &value) == 1) {
        return value;
    }
    for (size_t i = 0; i < sizeof names - 1; i += 3) {
        if (strncmp(text, names + i, 3) == 0) {
            return (int)i / 3 + 1;
        }
    }
    for (size_t i = 0; i < sizeof days - 1; i += 3) {
        if (strncmp(text, days + i, 3) == 0) {
            return (int)i / 3 + 1;
        }
    }
    cr_assert_fail("not a value: %s", text);
    return -1;
}

/* Does one plain item choose `value`? Counts up to it step by step, over the end when need be. */
static bool item_has(const char *item, int value, int min, int max)
{
    const char *slash = strchr(item, '/');
    const char *dash = strchr(item, '-');
    int step = slash != NULL ? value_of(slash + 1) : 1;
    int from = item[0] == '*' || item[0] == '/' ? min : value_of(item);
    int to = item[0] == '*' || item[0] == '/' ? max : from;
    if (dash != NULL) {
        to = value_of(dash + 1);
    } else if (slash != NULL) {
        to = max;
    }
    int left = to >= from ? to - from : to - from + max - min + 1;
    int at = from;
    for (; left >= 0; left -= step) {
        if (at == value) {
            return true;
        }
        at += step;
        at = at > max ? at - max + min - 1 : at;
    }
    return false;
}

/* The items of a list, one after the other; NULL at the end. */
static char *next_item(char **list)
{
    return strsep(list, ",");
}

static bool field_has(const char *field, int value, int min, int max)
{
    char copy[TEXT_MAX];
    memcpy(copy, field, sizeof copy);
    char *list = copy;
    for (char *item = next_item(&list); item != NULL; item = next_item(&list)) {
        if (item_has(item, value, min, max)) {
            return true;
        }
    }
    return false;
}

/* ---- days ---- */

static int days_in(const struct tm *day)
{
    struct tm next = {.tm_year = day->tm_year, .tm_mon = day->tm_mon + 1, .tm_mday = 1};
    time_t last = timegm(&next) - 86400;
    struct tm tm;
    (void)gmtime_r(&last, &tm);
    return tm.tm_mday;
}

/* Is this day the working day nearest to `target` of its month? By trying the distances. */
static bool is_nearest_workday(const struct tm *day, int target)
{
    int days = days_in(day);
    if (target < 1 || target > days) {
        return false;
    }
    static const int distances[] = {0, -1, 1, 2, -2};
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        int candidate = target + distances[i];
        int weekday = (day->tm_wday + (candidate - day->tm_mday) % 7 + 7) % 7;
        if (candidate >= 1 && candidate <= days && weekday != 0 && weekday != 6) {
            return candidate == day->tm_mday;
        }
    }
    return false;
}

static bool month_day_matches(const char *field, const struct tm *day)
{
    char copy[TEXT_MAX];
    memcpy(copy, field, sizeof copy);
    char *list = copy;
    for (char *item = next_item(&list); item != NULL; item = next_item(&list)) {
        size_t size = strlen(item);
        bool workday = item[size - 1] == 'W';
        int target = item[0] == 'L' ? days_in(day) : 0;
        if (item[0] == 'L' && item[1] == '-') {
            target -= value_of(item + 2);
        } else if (workday && item[0] != 'L') {
            target = value_of(item);
        }
        bool matches = workday          ? is_nearest_workday(day, target)
                       : item[0] == 'L' ? day->tm_mday == target
                                        : item_has(item, day->tm_mday, 1, 31);
        if (matches) {
            return true;
        }
    }
    return false;
}

static bool weekday_matches(const char *field, const struct tm *day)
{
    char copy[TEXT_MAX];
    memcpy(copy, field, sizeof copy);
    char *list = copy;
    int weekday = day->tm_wday + 1;
    for (char *item = next_item(&list); item != NULL; item = next_item(&list)) {
        const char *hash = strchr(item, '#');
        size_t size = strlen(item);
        bool matches = false;
        if (strcmp(item, "L") == 0) {
            matches = weekday == 7;
        } else if (hash != NULL) {
            matches = weekday == value_of(item) && (day->tm_mday + 6) / 7 == value_of(hash + 1);
        } else if (item[size - 1] == 'L') {
            matches = weekday == value_of(item) && day->tm_mday + 7 > days_in(day);
        } else {
            matches = item_has(item, weekday, 1, 7);
        }
        if (matches) {
            return true;
        }
    }
    return false;
}

static bool day_matches(const struct texts *texts, int64_t wall_s)
{
    time_t at = (time_t)wall_s;
    struct tm day;
    (void)gmtime_r(&at, &day);
    if (!field_has(texts->fields[6], day.tm_year + 1900, 1970, 2099) ||
        !field_has(texts->fields[4], day.tm_mon + 1, 1, 12)) {
        return false;
    }
    return strcmp(texts->fields[3], "?") == 0 ? weekday_matches(texts->fields[5], &day)
                                              : month_day_matches(texts->fields[3], &day);
}

/* ---- the walk ---- */

/* What is asked again and again, asked once; the day of the last question is kept. */
struct matcher {
    struct texts texts;
    bool seconds[60];
    bool minutes[60];
    bool hours[24];
    bool every_hour;
    int64_t day; /* since 1970-01-01 */
    bool day_matches;
};

static void matcher_init(struct matcher *matcher, const char *expression)
{
    memset(matcher, 0, sizeof *matcher);
    matcher->day = -1;
    split(expression, &matcher->texts);
    matcher->every_hour = true;
    for (int i = 0; i < 60; i++) {
        matcher->seconds[i] = field_has(matcher->texts.fields[0], i, 0, 59);
        matcher->minutes[i] = field_has(matcher->texts.fields[1], i, 0, 59);
    }
    for (int i = 0; i < 24; i++) {
        matcher->hours[i] = field_has(matcher->texts.fields[2], i, 0, 23);
        matcher->every_hour = matcher->every_hour && matcher->hours[i];
    }
}

static bool minute_matches(struct matcher *matcher, int64_t wall_s)
{
    if (!matcher->minutes[wall_s / 60 % 60] || !matcher->hours[wall_s / 3600 % 24]) {
        return false;
    }
    if (matcher->day != wall_s / 86400) {
        matcher->day = wall_s / 86400;
        matcher->day_matches = day_matches(&matcher->texts, wall_s);
    }
    return matcher->day_matches;
}

struct fires {
    int64_t *at_s;
    size_t count;
    size_t capacity;
};

static void add(struct fires *fires, int64_t at_s)
{
    if (fires->count > 0 && fires->at_s[fires->count - 1] == at_s) {
        return;
    }
    if (fires->count == fires->capacity) {
        fires->capacity = fires->capacity * 2 + 1024;
        fires->at_s = realloc(fires->at_s, fires->capacity * sizeof *fires->at_s);
        cr_assert_not_null(fires->at_s);
    }
    fires->at_s[fires->count++] = at_s;
}

void cron_walk_fires(const struct cron_walk *walk, const char *expression, int64_t **fires_out,
                     size_t *count_out)
{
    struct matcher matcher;
    matcher_init(&matcher, expression);
    struct fires fires = {0};
    int64_t reached_s = walk->reached_s;
    for (size_t i = 0; i < walk->minutes; i++) {
        int64_t at_s = walk->begin_s + (int64_t)i * 60;
        int64_t wall_s = walk->wall_s[i];
        if (!matcher.every_hour) {
            /* what the clock jumped over is due now, what it shows again is not */
            for (int64_t missing = reached_s + 1; missing < wall_s; missing += 60) {
                if (minute_matches(&matcher, missing)) {
                    add(&fires, at_s);
                }
            }
            bool again = wall_s <= reached_s;
            reached_s = wall_s + 59 > reached_s ? wall_s + 59 : reached_s;
            if (again) {
                continue;
            }
        }
        if (minute_matches(&matcher, wall_s)) {
            for (int second = 0; second < 60; second++) {
                if (matcher.seconds[second]) {
                    add(&fires, at_s + second);
                }
            }
        }
    }
    *fires_out = fires.at_s;
    *count_out = fires.count;
}
