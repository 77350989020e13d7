/*
 * Quartz cron expressions: text to sets of field values, and the next fire time.
 *
 * Six or seven fields: seconds minutes hours day-of-month month day-of-week [year].
 *
 *   field         values                     forms
 *   seconds       0-59                       * , - /
 *   minutes       0-59                       * , - /
 *   hours         0-23                       * , - /
 *   day-of-month  1-31                       * , - / ? L L-3 LW L-3W 15W
 *   month         1-12 or JAN-DEC            * , - /
 *   day-of-week   1-7 or SUN-SAT (1 = SUN)   * , - / ? L 6L FRIL 6#3 FRI#3
 *   year          1970-2099, may be absent   * , - /
 *
 *   A/N    every Nth value from A to the field's last; A-B/N to B; star/N and /N from the first
 *   A-B    with A > B runs over the end and begins again (FRI-MON, 22-2); not for years
 *   ?      "no matter which day"; exactly one of the two day fields is `?`
 *   L      the last day of the month; in day-of-week alone: SAT. L-3: three days before the last
 *   15W    the working day (MON-FRI) nearest to the 15th within the month; LW the last one
 *   6L     the last Friday of the month
 *   6#3    the third Friday of the month; a month without a fifth one has none
 *
 * Names are read in any case. A list is the union of its items, whatever their forms
 * ("1,15W,L"). A day that a month does not have (31, L-30, 5th Friday) does not fire there;
 * "31W" in a month of 30 days neither.
 *
 * Daylight-saving changes. Quartz resolves wall times in the Java calendar and leaves what
 * happens at a change open: its users see days without their run and hours without their
 * minutes. Here (as in Debian's cron, cronie and Quartz.NET 4) nothing is forgotten and
 * nothing runs twice:
 *
 *   1. Hours not all chosen ("0 30 2 * * ?", "0 0 0/2 * * ?"): the expression names times of
 *      the day. A time the clock is put forward over fires at the first instant after the gap,
 *      once however many chosen times lie in the gap; a time that is shown twice fires the
 *      first time only.
 *   2. All 24 hours chosen (the field is *, 0/1, 0-23, …): the expression names times of the
 *      hour and follows the clock: it fires whenever the clock shows a chosen time, so in
 *      the hour that comes twice both times, and in an hour that does not exist not at all.
 *      "0 0 * * * ?" and "0 0/15 * * * ?" thereby keep their distance in real time over
 *      every change of a whole hour.
 *
 * "Every second hour" is of the first kind on purpose: read the other way, "0 0 0/12 * * ?"
 * in a zone that changes at midnight (Africa/Cairo) would leave its midnight run out once a
 * year, and do it twice in America/Havana.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct zone;

enum {
    CRON_TEXT_BYTES_MAX = 512,
    CRON_YEAR_MIN = 1970,
    CRON_YEAR_MAX = 2099,
    CRON_YEAR_WORDS = (CRON_YEAR_MAX - CRON_YEAR_MIN) / 64 + 1,
    CRON_WEEKS = 5, /* a weekday comes at most five times a month */
};

/*
 * A parsed expression: bit sets of chosen values, bit n = value n unless said
 * otherwise. Plain data, copied freely; fields are for cron*.c.
 */
struct cron {
    uint64_t seconds;
    uint64_t minutes;
    uint32_t hours;
    uint16_t months;                  /* bits 1-12 */
    uint32_t days;                    /* of the month, bits 1-31 */
    uint32_t days_before_last;        /* bit n: n days before the last (L is bit 0) */
    uint32_t workdays;                /* bits 1-31: 15W */
    uint32_t workdays_before_last;    /* bit n: LW is bit 0, L-3W bit 3 */
    uint8_t weekdays;                 /* bits 1-7, 1 = Sunday */
    uint8_t weekdays_last;            /* bits 1-7: 6L */
    uint8_t weekdays_nth[CRON_WEEKS]; /* bits 1-7; [0]: the first of the month, 6#1 */
    uint64_t years[CRON_YEAR_WORDS];  /* bit n: year CRON_YEAR_MIN + n */
};

/*
 * Parse an expression. Fields are separated by spaces or tabs.
 *
 * Errors:  ERR_INVALID with the field's name, the byte position (from 1) and what is accepted
 *          there; ERR_TOO_LARGE over CRON_TEXT_BYTES_MAX.
 * Thread:  reentrant.
 * Source:  Quartz 2.3 CronExpression and "Cron Trigger Tutorial".
 */
enum err_code cron_parse(struct span text, struct cron *cron_out, struct err *err) MUST_USE;

/*
 * The first fire time after an instant, by the daylight-saving rule above.
 *
 *   after_us      exclusive; any value
 *   fire_us_out   a whole second; untouched when false
 *
 * Returns false when the expression never fires again: no chosen year is left, or the
 * days do not exist ("0 0 0 30 2 ?").
 * Cost:    by fields: at most the months from `after_us` to 2099 are looked at once
 *          (about 1,500), each in constant time, and at most a few pieces of the zone.
 * Thread:  reentrant.
 */
bool cron_next(const struct cron *cron, const struct zone *zone, int64_t after_us,
               int64_t *fire_us_out);
