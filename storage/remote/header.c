/*
 * Header fields. See header.h for the contract.
 */
#include "storage/remote/header.h"

#include "storage/base/text.h"

#include <string.h>
#include <strings.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct span trim(struct span text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text = span_part(text, 1, text.size);
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* Letters' case aside. */
static bool equal_text(struct span text, const char *other)
{
    size_t size = strlen(other);
    return text.size == size && strncasecmp((const char *)text.data, other, size) == 0;
}

/* Offset of `byte` from `from` on, or the text's size. */
static size_t offset_of(struct span text, size_t from, char byte)
{
    const uint8_t *at = from < text.size ? memchr(text.data + from, byte, text.size - from) : NULL;
    return at != NULL ? (size_t)(at - text.data) : text.size;
}

bool header_next(struct span head, const char *name, size_t *position, struct span *value_out)
{
    while (*position < head.size) {
        size_t end = offset_of(head, *position, '\n');
        struct span line = span_part(head, *position, end);
        *position = end < head.size ? end + 1 : end;
        size_t colon = offset_of(line, 0, ':');
        if (colon < line.size && equal_text(span_part(line, 0, colon), name)) {
            *value_out = trim(span_part(line, colon + 1, line.size));
            return true;
        }
    }
    return false;
}

/* ---- Retry-After ---- */

/* Reads a date's parts from left to right; the first that does not fit ends it. */
struct date_reader {
    struct span text;
    size_t at;
    bool failed;
};

static void read_literal(struct date_reader *reader, const char *literal)
{
    size_t size = strlen(literal);
    if (reader->failed || size > reader->text.size - reader->at ||
        memcmp(reader->text.data + reader->at, literal, size) != 0) {
        reader->failed = true;
        return;
    }
    reader->at += size;
}

/* `digits` digits; a leading blank is a zero where `padded` (asctime's days). */
static int read_number(struct date_reader *reader, size_t digits, bool padded)
{
    int number = 0;
    if (reader->failed || digits > reader->text.size - reader->at) {
        reader->failed = true;
        return 0;
    }
    for (size_t i = 0; i < digits; i++) {
        uint8_t byte = reader->text.data[reader->at + i];
        if (padded && i == 0 && byte == ' ') {
            continue;
        }
        if (byte < '0' || byte > '9') {
            reader->failed = true;
            return 0;
        }
        number = number * 10 + (byte - '0');
    }
    reader->at += digits;
    return number;
}

/* One of `count` names; its place, from 0. */
static int read_name(struct date_reader *reader, const char *const *names, int count)
{
    for (int i = 0; i < count && !reader->failed; i++) {
        size_t size = strlen(names[i]);
        if (size <= reader->text.size - reader->at &&
            memcmp(reader->text.data + reader->at, names[i], size) == 0) {
            reader->at += size;
            return i;
        }
    }
    reader->failed = true;
    return 0;
}

static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const long_days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct date {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
};

static void read_time(struct date_reader *reader, struct date *date)
{
    date->hour = read_number(reader, 2, false);
    read_literal(reader, ":");
    date->minute = read_number(reader, 2, false);
    read_literal(reader, ":");
    date->second = read_number(reader, 2, false);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static void read_fixdate(struct date_reader *reader, struct date *date)
{
    (void)read_name(reader, days, 7); /* a wrong weekday is no reason to lose the date */
    read_literal(reader, ", ");
    date->day = read_number(reader, 2, false);
    read_literal(reader, " ");
    date->month = read_name(reader, months, 12) + 1;
    read_literal(reader, " ");
    date->year = read_number(reader, 4, false);
    read_literal(reader, " ");
    read_time(reader, date);
    read_literal(reader, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static void read_rfc850(struct date_reader *reader, struct date *date)
{
    (void)read_name(reader, long_days, 7); /* as above */
    read_literal(reader, ", ");
    date->day = read_number(reader, 2, false);
    read_literal(reader, "-");
    date->month = read_name(reader, months, 12) + 1;
    read_literal(reader, "-");
    /* spec: RFC 9110 5.6.7 — what looks 50 years ahead is over; the exact year does not matter */
    int year = read_number(reader, 2, false);
    date->year = year + (year < 70 ? 2000 : 1900);
    read_literal(reader, " ");
    read_time(reader, date);
    read_literal(reader, " GMT");
}

/* "Sun Nov  6 08:49:37 1994" */
static void read_asctime(struct date_reader *reader, struct date *date)
{
    (void)read_name(reader, days, 7); /* as above */
    read_literal(reader, " ");
    date->month = read_name(reader, months, 12) + 1;
    read_literal(reader, " ");
    date->day = read_number(reader, 2, true);
    read_literal(reader, " ");
    read_time(reader, date);
    read_literal(reader, " ");
    date->year = read_number(reader, 4, false);
}

/* Seconds since 1970 of a date that exists; a leap second counts as the one before. */
static bool date_seconds(const struct date *date, int64_t *seconds_out)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (date->year < 1 || date->day < 1 || date->day > month_days[date->month - 1] ||
        date->hour > 23 || date->minute > 59 || date->second > 60) {
        return false;
    }
    int32_t day = text_days_of(date->year, date->month, date->day);
    int second = date->second < 60 ? date->second : 59;
    *seconds_out = day * INT64_C(86400) + date->hour * 3600 + date->minute * 60 + second;
    return true;
}

static bool parse_date(struct span value, int64_t *seconds_out)
{
    static void (*const forms[])(struct date_reader *, struct date *) = {read_fixdate, read_rfc850,
                                                                         read_asctime};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct date_reader reader = {.text = value};
        struct date date = {0};
        forms[i](&reader, &date);
        if (!reader.failed && reader.at == value.size) {
            return date_seconds(&date, seconds_out);
        }
    }
    return false;
}

static bool is_digits(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.size > 0;
}

bool header_retry_after(struct span value, int64_t now_us, int64_t *seconds_out)
{
    value = trim(value);
    int64_t seconds = 0;
    if (is_digits(value)) {
        if (!text_parse_int64(value, &seconds)) {
            seconds = HEADER_RETRY_SECONDS_MAX; /* more than 64 bits of seconds */
        }
    } else {
        if (!parse_date(value, &seconds)) {
            return false;
        }
        /* a second begun is a second to wait */
        seconds -= now_us / 1000000;
        seconds = seconds > 0 ? seconds : 0;
    }
    *seconds_out = seconds < HEADER_RETRY_SECONDS_MAX ? seconds : HEADER_RETRY_SECONDS_MAX;
    return true;
}

/* ---- Link ---- */

struct link_reader {
    struct span text;
    size_t at;
};

static void skip_blanks(struct link_reader *reader)
{
    while (reader->at < reader->text.size && is_blank(reader->text.data[reader->at])) {
        reader->at++;
    }
}

static bool at_byte(const struct link_reader *reader, char byte)
{
    return reader->at < reader->text.size && reader->text.data[reader->at] == (uint8_t)byte;
}

static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static struct span read_token(struct link_reader *reader)
{
    size_t start = reader->at;
    while (reader->at < reader->text.size && is_token_byte(reader->text.data[reader->at])) {
        reader->at++;
    }
    return span_part(reader->text, start, reader->at);
}

/* A value in quotes, without them; escapes are left as they are: no relation has one. */
static bool read_quoted(struct link_reader *reader, struct span *value_out)
{
    size_t start = ++reader->at;
    while (reader->at < reader->text.size && reader->text.data[reader->at] != '"') {
        bool escape = reader->text.data[reader->at] == '\\';
        reader->at += escape && reader->at + 1 < reader->text.size ? 2 : 1;
    }
    if (reader->at >= reader->text.size) {
        return false;
    }
    *value_out = span_part(reader->text, start, reader->at);
    reader->at++;
    return true;
}

/* "; name = value"; a value may be missing, or be a URL that somebody forgot to quote. */
static bool read_parameter(struct link_reader *reader, struct span *name_out,
                           struct span *value_out)
{
    skip_blanks(reader);
    struct span name = read_token(reader);
    struct span value = {0};
    skip_blanks(reader);
    if (at_byte(reader, '=')) {
        reader->at++;
        skip_blanks(reader);
        if (at_byte(reader, '"')) {
            if (!read_quoted(reader, &value)) {
                return false;
            }
        } else {
            size_t start = reader->at;
            while (reader->at < reader->text.size && !is_blank(reader->text.data[reader->at]) &&
                   strchr(";,\"", reader->text.data[reader->at]) == NULL) {
                reader->at++;
            }
            value = span_part(reader->text, start, reader->at);
        }
    }
    *name_out = name;
    *value_out = value;
    return true;
}

/* Is `rel` one of the relations in "next prev"? */
static bool has_relation(struct span relations, const char *rel)
{
    size_t at = 0;
    while (at < relations.size) {
        size_t end = offset_of(relations, at, ' ');
        if (equal_text(span_part(relations, at, end), rel)) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

/* "<target>; parameters" up to the comma after it. */
static bool read_link(struct link_reader *reader, const char *rel, struct span *target_out,
                      bool *matches_out)
{
    if (!at_byte(reader, '<')) {
        return false;
    }
    size_t start = reader->at + 1;
    size_t end = offset_of(reader->text, start, '>');
    if (end == reader->text.size) {
        return false;
    }
    *target_out = span_part(reader->text, start, end);
    *matches_out = false;
    reader->at = end + 1;
    bool rel_seen = false;
    skip_blanks(reader);
    while (at_byte(reader, ';')) {
        struct span name;
        struct span value;
        reader->at++;
        if (!read_parameter(reader, &name, &value)) {
            return false;
        }
        /* spec: RFC 8288 3.3 — only the first rel of a link counts */
        if (!rel_seen && equal_text(name, "rel")) {
            rel_seen = true;
            *matches_out = has_relation(value, rel);
        }
        skip_blanks(reader);
    }
    return reader->at == reader->text.size || at_byte(reader, ',');
}

enum header_link header_link_find(struct span value, const char *rel, struct span *target_out)
{
    struct link_reader reader = {.text = value};
    for (;;) {
        /* empty elements of a list are skipped */
        skip_blanks(&reader);
        while (at_byte(&reader, ',')) {
            reader.at++;
            skip_blanks(&reader);
        }
        if (reader.at == value.size) {
            return HEADER_LINK_NONE;
        }
        struct span target = {0};
        bool matches = false;
        if (!read_link(&reader, rel, &target, &matches)) {
            return HEADER_LINK_MALFORMED;
        }
        if (matches) {
            *target_out = target;
            return HEADER_LINK_FOUND;
        }
    }
}
