/*
 * Zone files, instants to wall times and back, and names.
 */
#include "storage/jobs/zone.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"
#include "zone_kit.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* ---- the file ---- */

Test(zone, reads_every_version)
{
    static const char versions[] = {0, '2', '3', '4'};
    for (size_t i = 0; i < COUNT(versions); i++) {
        const struct zone *zone = zone_kit_zone(&(struct zone_kit_file){
            .version = versions[i],
            .types_count = 2,
            .offsets = {3600, 7200},
            .transitions_count = 2,
            .transitions = {{-1000, 1}, {1000, 0}},
        });
        cr_expect_eq(zone_offset_s(zone, -1000000001), 3600, "%d", versions[i]);
        cr_expect_eq(zone_offset_s(zone, -1000000000), 7200, "%d", versions[i]);
        cr_expect_eq(zone_offset_s(zone, 999999999), 7200, "%d", versions[i]);
        cr_expect_eq(zone_offset_s(zone, 1000000000), 3600, "%d", versions[i]);
        cr_expect_eq(zone_offset_s(zone, INT64_MIN), 3600, "%d", versions[i]);
        cr_expect_eq(zone_offset_s(zone, INT64_MAX), 3600, "%d", versions[i]);
        cr_expect_str_eq(zone_name(zone), "Test/Kit");
        zone_release(&zone);
        cr_expect_null(zone);
    }
}

/* The footer's rule holds after the last transition and not a second before. */
Test(zone, rule_begins_at_the_last_transition)
{
    const struct zone *zone = zone_kit_zone(&(struct zone_kit_file){
        .version = '2',
        .types_count = 2,
        .offsets = {0, 600},
        .transitions_count = 2,
        .transitions = {{0, 1}, {5000, 0}},
        .footer = "<+01>-1",
    });
    static const struct {
        int64_t at_s, begin_s, end_s;
        int32_t offset_s;
    } cases[] = {
        {-1, INT64_MIN, 0, 0},
        {0, 0, 5000, 600},
        {4999, 0, 5000, 600},
        {5000, 5000, INT64_MAX, 3600},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct zone_piece piece = zone_piece_at(zone, cases[i].at_s);
        cr_expect_eq(piece.begin_s, cases[i].begin_s, "%zu", i);
        cr_expect_eq(piece.end_s, cases[i].end_s, "%zu", i);
        cr_expect_eq(piece.offset_s, cases[i].offset_s, "%zu", i);
    }
    zone_release(&zone);
}

Test(zone, posix_rules)
{
    static const struct {
        const char *rule;
        const char *at;
        int32_t offset_s;
    } cases[] = {
        {"UTC0", "2026-07-01T00:00:00Z", 0},
        {"<-0330>3:30", "2026-07-01T00:00:00Z", -12600},
        {"XYZ-24:59:59", "2026-07-01T00:00:00Z", 89999},
        {"XYZ+5:0:30", "2026-07-01T00:00:00Z", -18030},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T06:59:59Z", -18000},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T07:00:00Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-11-01T05:59:59Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-11-01T06:00:00Z", -18000},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T00:59:59Z", 7200},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25T01:00:00Z", 3600},
        /* the southern summer goes over the new year */
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-01-01T00:00:00Z", 39600},
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-07-01T00:00:00Z", 37800},
        /* winter is the "daylight" time with a negative saving */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-01-01T00:00:00Z", 0},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-07-01T00:00:00Z", 3600},
        /* times below zero and beyond a day */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -7200},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600},
        {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-27T23:59:59Z", 7200},
        {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-28T00:00:00Z", 10800},
        /* daylight all the year, RFC 9636 3.3.1 */
        {"XXX3EDT4,0/0,J365/23", "2026-01-01T02:59:59Z", -14400},
        {"XXX3EDT4,0/0,J365/23", "2026-01-01T03:00:00Z", -14400},
        {"XXX3EDT4,0/0,J365/23", "2028-12-31T12:00:00Z", -14400},
        /* day 60 is March 1 to J, and to a plain number February 29 of a leap year */
        {"AAA0BBB,J60/0,J300/0", "2028-02-29T23:59:59Z", 0},
        {"AAA0BBB,J60/0,J300/0", "2028-03-01T00:00:00Z", 3600},
        {"AAA0BBB,59/0,300/0", "2028-02-28T23:59:59Z", 0},
        {"AAA0BBB,59/0,300/0", "2028-02-29T00:00:00Z", 3600},
        {"AAA0BBB,59/0,300/0", "2026-03-01T00:00:00Z", 3600},
        /* the fifth week is the last */
        {"AAA0BBB,M2.5.4/0,M11.1.0", "2024-02-28T23:59:59Z", 0},
        {"AAA0BBB,M2.5.4/0,M11.1.0", "2024-02-29T00:00:00Z", 3600},
        {"AAA0BBB,M2.5.4/0,M11.1.0", "2023-02-23T00:00:00Z", 3600},
        /* far from 1970 on both sides: the rule comes again every 400 years */
        {"EST5EDT,M3.2.0,M11.1.0", "9999-07-01T00:00:00Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "0001-07-01T00:00:00Z", -14400},
        {"EST5EDT,M3.2.0,M11.1.0", "0001-01-01T00:00:00Z", -18000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct zone *zone = zone_kit_rule(cases[i].rule);
        cr_expect_eq(zone_offset_s(zone, zone_kit_us(cases[i].at)), cases[i].offset_s, "%s at %s",
                     cases[i].rule, cases[i].at);
        zone_release(&zone);
    }
}

Test(zone, refuses_broken_rules)
{
    static const char *const rules[] = {
        "EST",
        "E5",
        "5",
        "EST5EDT", /* daylight without its rule */
        "EST5EDT,M3.2.0",
        "EST5EDT,M3.2.0,M11.1.0,",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M0.2.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.0.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,M3.2,M11.1.0",
        "EST5EDT,J0,J300",
        "EST5EDT,J366,J300",
        "EST5EDT,366,300",
        "EST5EDT,0/168,300",
        "EST5EDT,0/-168,300",
        "EST5EDT,0/1:60,300",
        "EST25",
        "EST99999999999",
        "<EST5",
        "<E.T>5",
        "EST5\n",
        "EST5 ",
        "EST+-5",
    };
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct buffer bytes;
        buffer_init(&bytes, 4096);
        zone_kit_encode(&(struct zone_kit_file){.version = '2', .footer = rules[i]}, &bytes);
        struct err err = {0};
        const struct zone *zone = NULL;
        cr_expect_eq(zone_decode(buffer_span(&bytes), "Test/Kit", &zone, &err), ERR_CORRUPT, "%s",
                     rules[i]);
        cr_expect_null(zone, "%s", rules[i]);
        cr_expect(strstr(err.msg, "Test/Kit") != NULL, "%s", err.msg);
        buffer_deinit(&bytes);
    }
}

static const struct zone_kit_file sample = {
    .version = '2',
    .types_count = 2,
    .offsets = {3600, 7200},
    .transitions_count = 2,
    .transitions = {{-1000, 1}, {1000, 0}},
    .footer = "CET-1CEST,M3.5.0,M10.5.0/3",
};

Test(zone, refuses_every_truncation)
{
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    zone_kit_encode(&sample, &bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        struct err err = {0};
        const struct zone *zone = NULL;
        uint8_t *exact = mem_copy(bytes.data, size); /* so that ASan sees a read past it */
        cr_expect_eq(zone_decode(span_of(exact, size), "T", &zone, &err), ERR_CORRUPT, "%zu", size);
        cr_expect_null(zone);
        mem_free(exact);
    }
    buffer_deinit(&bytes);
}

/* Each field changed by itself; places count from the begin of the file. */
Test(zone, refuses_lying_fields)
{
    enum {
        FIRST = 44 + 10,     /* the second header */
        COUNTS = FIRST + 20, /* ut, standard, leap, times, types, chars */
        TIMES = FIRST + 44,
        INDEXES = TIMES + 16,
        TYPES = INDEXES + 2,
    };
    static const struct {
        const char *name;
        size_t at;
        uint8_t value;
        enum err_code code;
    } cases[] = {
        {"magic", 0, 'X', ERR_CORRUPT},
        {"second magic", FIRST, 'X', ERR_CORRUPT},
        {"version 1 written as a digit", 4, '1', ERR_UNSUPPORTED},
        {"version 5", 4, '5', ERR_UNSUPPORTED},
        {"first block longer", 44 - 1, 5, ERR_CORRUPT},
        {"first block much longer", 44 - 4, 0xff, ERR_CORRUPT},
        {"UT indicators for another count", COUNTS + 3, 1, ERR_CORRUPT},
        {"standard indicators for another count", COUNTS + 7, 1, ERR_CORRUPT},
        {"leap seconds", COUNTS + 11, 1, ERR_UNSUPPORTED},
        {"more transitions than there are", COUNTS + 15, 9, ERR_CORRUPT},
        {"transitions over the limit", COUNTS + 13, 1, ERR_CORRUPT},
        {"no type", COUNTS + 19, 0, ERR_CORRUPT},
        {"257 types", COUNTS + 18, 1, ERR_CORRUPT},
        {"no names", COUNTS + 23, 0, ERR_CORRUPT},
        {"many names", COUNTS + 20, 0xff, ERR_CORRUPT},
        {"order of transitions", TIMES, 0x01, ERR_CORRUPT},
        {"transition out of range", TIMES, 0x80, ERR_CORRUPT},
        {"type that is not there", INDEXES, 2, ERR_CORRUPT},
        {"offset east of +26 h", TYPES, 0x01, ERR_CORRUPT},
        {"offset west of -25 h", TYPES, 0x80, ERR_CORRUPT},
        {"daylight neither 0 nor 1", TYPES + 4, 2, ERR_CORRUPT},
        {"name outside the names", TYPES + 5, 4, ERR_CORRUPT},
        {"footer without its first line feed", TYPES + 16, ' ', ERR_CORRUPT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer bytes;
        buffer_init(&bytes, 4096);
        zone_kit_encode(&sample, &bytes);
        bytes.data[cases[i].at] = cases[i].value;
        struct err err = {0};
        const struct zone *zone = NULL;
        cr_expect_eq(zone_decode(buffer_span(&bytes), "T", &zone, &err), cases[i].code, "%s: %s",
                     cases[i].name, err.msg);
        cr_expect_null(zone, "%s", cases[i].name);
        buffer_deinit(&bytes);
    }
}

Test(zone, refuses_two_transitions_at_one_instant)
{
    struct zone_kit_file file = sample;
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    file.transitions[1].at_s = file.transitions[0].at_s;
    zone_kit_encode(&file, &bytes);
    struct err err = {0};
    const struct zone *zone = NULL;
    cr_expect_eq(zone_decode(buffer_span(&bytes), "T", &zone, &err), ERR_CORRUPT);
    buffer_deinit(&bytes);
}

Test(zone, takes_limits_and_refuses_one_more)
{
    struct buffer bytes;
    buffer_init(&bytes, 1 << 20);
    for (int extra = 0; extra <= 1; extra++) {
        int transitions = ZONE_TRANSITIONS_MAX + extra;
        buffer_reset(&bytes);
        zone_kit_encode(&(struct zone_kit_file){.version = 0}, &bytes);
        bytes.data[34] = (uint8_t)(transitions >> 8);
        bytes.data[35] = (uint8_t)transitions;
        bytes.size = 44;
        for (int i = 0; i < transitions; i++) {
            buffer_append(&bytes, (uint8_t[4]){0, (uint8_t)(i >> 8), (uint8_t)i, 0}, 4);
        }
        for (int i = 0; i < transitions; i++) {
            buffer_append_byte(&bytes, 0);
        }
        buffer_append(&bytes, "\0\0\0\0\0\0XXX", 10);
        struct err err = {0};
        const struct zone *zone = NULL;
        cr_expect_eq(zone_decode(buffer_span(&bytes), "T", &zone, &err),
                     extra == 0 ? ERR_OK : ERR_CORRUPT, "%s", err.msg);
        zone_release(&zone);
    }
    buffer_deinit(&bytes);
    char footer[ZONE_FOOTER_BYTES_MAX + 2];
    memset(footer, 'A', sizeof footer);
    for (int extra = 0; extra <= 1; extra++) {
        footer[ZONE_FOOTER_BYTES_MAX + extra - 1] = '0';
        footer[ZONE_FOOTER_BYTES_MAX + extra] = '\0';
        buffer_init(&bytes, 4096);
        zone_kit_encode(&(struct zone_kit_file){.version = '2', .footer = footer}, &bytes);
        struct err err = {0};
        const struct zone *zone = NULL;
        cr_expect_eq(zone_decode(buffer_span(&bytes), "T", &zone, &err),
                     extra == 0 ? ERR_OK : ERR_CORRUPT, "%s", err.msg);
        zone_release(&zone);
        buffer_deinit(&bytes);
        footer[ZONE_FOOTER_BYTES_MAX + extra - 1] = 'A';
    }
}

/* ---- wall times ---- */

Test(zone, finds_wall_times)
{
    static const struct {
        const char *zone;
        const char *wall;
        enum zone_wall_kind kind;
        const char *first;
        const char *last;
    } cases[] = {
        {"America/New_York", "2026-07-01T12:00:00.123456", ZONE_WALL_ONCE,
         "2026-07-01T16:00:00.123456Z", NULL},
        {"America/New_York", "2026-03-08T01:59:59.999999", ZONE_WALL_ONCE,
         "2026-03-08T06:59:59.999999Z", NULL},
        {"America/New_York", "2026-03-08T02:00:00", ZONE_WALL_NEVER, "2026-03-08T07:00:00Z", NULL},
        {"America/New_York", "2026-03-08T02:59:59.999999", ZONE_WALL_NEVER, "2026-03-08T07:00:00Z",
         NULL},
        {"America/New_York", "2026-03-08T03:00:00", ZONE_WALL_ONCE, "2026-03-08T07:00:00Z", NULL},
        {"America/New_York", "2026-11-01T00:59:59", ZONE_WALL_ONCE, "2026-11-01T04:59:59Z", NULL},
        {"America/New_York", "2026-11-01T01:00:00", ZONE_WALL_TWICE, "2026-11-01T05:00:00Z",
         "2026-11-01T06:00:00Z"},
        {"America/New_York", "2026-11-01T01:59:59.999999", ZONE_WALL_TWICE,
         "2026-11-01T05:59:59.999999Z", "2026-11-01T06:59:59.999999Z"},
        {"America/New_York", "2026-11-01T02:00:00", ZONE_WALL_ONCE, "2026-11-01T07:00:00Z", NULL},
        /* half an hour */
        {"Australia/Lord_Howe", "2026-10-04T02:15:00", ZONE_WALL_NEVER, "2026-10-03T15:30:00Z",
         NULL},
        {"Australia/Lord_Howe", "2026-04-05T01:45:00", ZONE_WALL_TWICE, "2026-04-04T14:45:00Z",
         "2026-04-04T15:15:00Z"},
        /* a day that was left out, and midnight that was */
        {"Pacific/Apia", "2011-12-30T12:00:00", ZONE_WALL_NEVER, "2011-12-30T10:00:00Z", NULL},
        {"America/Sao_Paulo", "2018-11-04T00:30:00", ZONE_WALL_NEVER, "2018-11-04T03:00:00Z", NULL},
        {"America/Sao_Paulo", "2018-02-17T23:30:00", ZONE_WALL_TWICE, "2018-02-18T01:30:00Z",
         "2018-02-18T02:30:00Z"},
        /* by the rule alone, beyond the table */
        {"America/New_York", "2099-03-08T02:30:00", ZONE_WALL_NEVER, "2099-03-08T07:00:00Z", NULL},
        {"Europe/Berlin", "2098-10-26T02:30:00", ZONE_WALL_TWICE, "2098-10-26T00:30:00Z",
         "2098-10-26T01:30:00Z"},
        {"UTC", "1969-12-31T23:59:59.5", ZONE_WALL_ONCE, "1969-12-31T23:59:59.5Z", NULL},
        {"Asia/Kathmandu", "2026-01-01T00:00:00", ZONE_WALL_ONCE, "2025-12-31T18:15:00Z", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct zone *zone = zone_kit_system(cases[i].zone);
        struct zone_wall found = zone_wall_find(zone, zone_kit_wall_us(cases[i].wall));
        const char *last = cases[i].last != NULL ? cases[i].last : cases[i].first;
        cr_expect_eq(found.kind, cases[i].kind, "%s %s", cases[i].zone, cases[i].wall);
        cr_expect_eq(found.first_us, zone_kit_us(cases[i].first), "%s %s", cases[i].zone,
                     cases[i].wall);
        cr_expect_eq(found.last_us, zone_kit_us(last), "%s %s", cases[i].zone, cases[i].wall);
        zone_release(&zone);
    }
}

/* Forward over a time and, before the clock comes to it, back again: it was passed at the first. */
Test(zone, two_changes_within_hours)
{
    const struct zone *zone = zone_kit_zone(&(struct zone_kit_file){
        .version = '2',
        .types_count = 2,
        .offsets = {0, 7200},
        .transitions_count = 4,
        .transitions = {{10000, 1}, {11000, 0}, {12000, 1}, {13000, 0}},
    });
    struct zone_wall found = zone_wall_find(zone, 11500 * (int64_t)1000000);
    cr_expect_eq(found.kind, ZONE_WALL_NEVER);
    cr_expect_eq(found.first_us, 10000 * (int64_t)1000000);
    cr_expect_eq(found.last_us, found.first_us);
    found = zone_wall_find(zone, 17500 * (int64_t)1000000);
    cr_expect_eq(found.kind, ZONE_WALL_TWICE);
    cr_expect_eq(found.first_us, 10300 * (int64_t)1000000);
    cr_expect_eq(found.last_us, 17500 * (int64_t)1000000);
    zone_release(&zone);
}

/* ---- names and files ---- */

Test(zone, checks_names)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"UTC", true},
        {"Europe/Berlin", true},
        {"America/Argentina/ComodRivadavia", true},
        {"Etc/GMT+0", true},
        {"Etc/GMT-14", true},
        {"America/Port-au-Prince", true},
        {"EST5EDT", true},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true}, /* 64 */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"", false},
        {"/", false},
        {"/etc/passwd", false},
        {"Europe/", false},
        {"Europe//Berlin", false},
        {"../etc/passwd", false},
        {"Europe/../../etc/passwd", false},
        {"./UTC", false},
        {".hidden", false},
        {"Europe/.hidden", false},
        {"zone.tab", false},
        {"-x", false},
        {"Europe/-x", false},
        {"Europe/Berlin ", false},
        {"Europe\\Berlin", false},
        {"Europe/Berl\xc3\xafn", false},
        {"Europe/Berlin\n", false},
        {"%2e%2e", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        enum err_code expected = cases[i].valid ? ERR_OK : ERR_INVALID;
        cr_expect_eq(zone_name_check(span_of_text(cases[i].name), &err), expected, "%s",
                     cases[i].name);
    }
    struct err err = {0};
    cr_expect_eq(zone_name_check(span_of("UTC\0x", 5), &err), ERR_INVALID);
}

Test(zone, refuses_what_is_no_zone)
{
    static const struct {
        const char *name;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"Europe/Atlantis", ERR_INVALID, "there is no time zone Europe/Atlantis"},
        {"Europe/Berlin/Mitte", ERR_INVALID, "there is no time zone"},
        {"America", ERR_INVALID, "there is no time zone"},     /* a folder */
        {"leapseconds", ERR_INVALID, "there is no time zone"}, /* another file of tzdata */
        {"../localtime", ERR_INVALID, "not a name"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        const struct zone *zone = NULL;
        cr_expect_eq(zone_acquire(cases[i].name, &zone, &err), cases[i].code, "%s", cases[i].name);
        cr_expect(strstr(err.msg, cases[i].says) != NULL, "%s", err.msg);
        cr_expect_null(zone);
    }
}

static void write_zone(const char *folder, const char *name, int32_t offset_s)
{
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    zone_kit_encode(&(struct zone_kit_file){.version = '2', .offsets = {offset_s}}, &bytes);
    CLEANUP(mem_cleanup) char *path = file_join(folder, name);
    struct err err = {0};
    cr_assert_eq(file_replace_derived(path, buffer_span(&bytes), &err), ERR_OK, "%s", err.msg);
    buffer_deinit(&bytes);
}

/* An upgrade of tzdata reaches a running process; zones handed out before stay as they were. */
Test(zone, reads_a_changed_file_anew)
{
    CLEANUP(temp_dir_remove) struct temp_dir folder = temp_dir_make();
    cr_assert_eq(setenv("TZDIR", folder.path, 1), 0);
    write_zone(folder.path, "Moved", 3600);
    const struct zone *before = zone_kit_system("Moved");
    const struct zone *same = zone_kit_system("Moved");
    cr_expect_eq(before, same);
    write_zone(folder.path, "Moved", 7200);
    const struct zone *after = zone_kit_system("Moved");
    cr_expect_eq(zone_offset_s(before, 0), 3600);
    cr_expect_eq(zone_offset_s(after, 0), 7200);
    zone_release(&before);
    zone_release(&same);
    zone_release(&after);
}

Test(zone, without_tzdata_there_is_utc_and_advice)
{
    cr_assert_eq(setenv("TZDIR", "/nonexistent/zoneinfo", 1), 0);
    const struct zone *utc = zone_kit_system("UTC");
    cr_expect_eq(zone_offset_s(utc, 0), 0);
    zone_release(&utc);
    struct err err = {0};
    const struct zone *zone = NULL;
    cr_expect_eq(zone_acquire("Europe/Berlin", &zone, &err), ERR_UNSUPPORTED);
    cr_expect(strstr(err.msg, "install the package tzdata") != NULL, "%s", err.msg);
}

/* ---- the C library's opinion ---- */

static size_t zones_compared;

static void compare_at(const struct zone *zone, int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm shown;
    cr_assert_not_null(localtime_r(&at, &shown));
    cr_expect_eq(zone_offset_s(zone, at_s * 1000000), (int32_t)shown.tm_gmtoff, "%s at %lld",
                 zone_name(zone), (long long)at_s);
}

/* Every piece from 1900 to 2150 at both ends, and a moment a week. */
static int compare_zone(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    const char *name = path + strlen("/usr/share/zoneinfo/");
    if (type == FTW_D && place->level == 1 &&
        (strcmp(name, "right") == 0 || strcmp(name, "posix") == 0)) {
        return FTW_SKIP_SUBTREE;
    }
    struct err err = {0};
    const struct zone *zone = NULL;
    if (type != FTW_F || strchr(name, '.') != NULL || strcmp(name, "leapseconds") == 0) {
        return FTW_CONTINUE;
    }
    cr_assert_eq(zone_acquire(name, &zone, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(setenv("TZ", name, 1), 0);
    tzset();
    int64_t last_s = zone_kit_us("2150-01-01T00:00:00Z") / 1000000;
    int64_t at_s = zone_kit_us("1900-01-01T00:00:00Z") / 1000000;
    while (at_s < last_s) {
        struct zone_piece piece = zone_piece_at(zone, at_s);
        compare_at(zone, at_s);
        int64_t end_s = piece.end_s < last_s ? piece.end_s : last_s;
        for (; at_s < end_s; at_s += 53 * 86400) {
            compare_at(zone, at_s);
        }
        compare_at(zone, end_s - 1);
        at_s = end_s;
    }
    zone_release(&zone);
    zones_compared++;
    return FTW_CONTINUE;
}

Test(zone, agrees_with_the_c_library_on_every_zone)
{
    cr_assert_eq(nftw("/usr/share/zoneinfo", compare_zone, 16, FTW_ACTIONRETVAL), 0);
    cr_expect_gt(zones_compared, 400U);
}
