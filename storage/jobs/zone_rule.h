/*
 * The rule in a zone file's footer: how the offset changes each year for ever.
 * For zone*.c only.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/jobs/zone.h"

#include <stdbool.h>
#include <stdint.h>

enum zone_day_kind {
    ZONE_DAY_NO_LEAP, /* J1 to J365: February 29 is not counted and cannot be named */
    ZONE_DAY_OF_YEAR, /* 0 to 365 */
    ZONE_DAY_WEEKDAY, /* M10.5.0: the last Sunday of October */
};

/* When in a year the clock is changed. */
struct zone_change {
    enum zone_day_kind kind;
    int day;        /* of the year, or the weekday, 0 = Sunday */
    int month;      /* 1 to 12, weekdays only */
    int week;       /* 1 to 5, 5 = the last; weekdays only */
    int32_t time_s; /* from that day's midnight on the clock before the change; ±167 h */
};

struct zone_rule {
    int32_t standard_s; /* seconds east of UTC */
    bool has_daylight;  /* the rest counts only then */
    int32_t daylight_s;
    struct zone_change to_daylight;
    struct zone_change to_standard;
};

/*
 * Parse a POSIX TZ string with RFC 9636's extension of times to ±167 hours.
 * Errors:  ERR_CORRUPT with the byte offset.
 * Source:  POSIX.1-2017 Base Definitions 8.3; RFC 9636 3.3.
 */
enum err_code zone_rule_parse(struct span text, struct zone_rule *rule_out,
                              struct err *err) MUST_USE;

/* The piece of the rule alone that holds `at_s`, which lies within ±2^55. */
struct zone_piece zone_rule_piece(const struct zone_rule *rule, int64_t at_s);
