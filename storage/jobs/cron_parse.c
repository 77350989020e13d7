/*
 * Quartz cron expressions from text. See cron.h for the grammar.
 *
 * The six or seven fields are cut at spaces. Each is a list of items; an item adds
 * plain values to the field's set, and the day fields' own forms to sets of struct cron.
 */
#include "storage/jobs/cron.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum field_kind {
    FIELD_SECONDS,
    FIELD_MINUTES,
    FIELD_HOURS,
    FIELD_DAYS,
    FIELD_MONTHS,
    FIELD_WEEKDAYS,
    FIELD_YEARS,
    FIELD_COUNT,
};

enum {
    FIELDS_MIN = FIELD_YEARS, /* the year may be absent */
    NAME_BYTES = 3,
    DIGITS_MAX = 4,
    SHOWN_BYTES_MAX = 16, /* of a wrong text in a message */
    LAST_OFFSET_MAX = 30, /* L-30 */
    SATURDAY = 7,
};

/* What a field may hold. */
struct field {
    const char *name;
    const char *accepts;
    int min;
    int max;
    int step_max;
    int origin;               /* bit 0 of its set */
    bool wraps;               /* 22-2 goes over the end and begins again */
    const char *const *names; /* of min, min + 1, …, NULL at the end; NULL: none */
};

static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
                                          "AUG", "SEP", "OCT", "NOV", "DEC", NULL};
static const char *const weekday_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL};

static const struct field fields[FIELD_COUNT] = {
    [FIELD_SECONDS] =
        {
            .name = "seconds",
            .accepts = "0-59, *, lists (0,30), ranges (10-20), steps (0/15)",
            .max = 59,
            .step_max = 59,
            .wraps = true,
        },
    [FIELD_MINUTES] =
        {
            .name = "minutes",
            .accepts = "0-59, *, lists (0,30), ranges (10-20), steps (0/15)",
            .max = 59,
            .step_max = 59,
            .wraps = true,
        },
    [FIELD_HOURS] =
        {
            .name = "hours",
            .accepts = "0-23, *, lists (6,18), ranges (9-17), steps (0/2)",
            .max = 23,
            .step_max = 23,
            .wraps = true,
        },
    [FIELD_DAYS] =
        {
            .name = "day-of-month",
            .accepts = "1-31, *, ?, L, L-3, LW, 15W, lists (1,15), ranges (1-7), steps (1/5)",
            .min = 1,
            .max = 31,
            .step_max = 31,
            .wraps = true,
        },
    [FIELD_MONTHS] =
        {
            .name = "month",
            .accepts = "1-12, JAN-DEC, *, lists (1,7), ranges (MAR-MAY), steps (1/3)",
            .min = 1,
            .max = 12,
            .step_max = 12,
            .wraps = true,
            .names = month_names,
        },
    [FIELD_WEEKDAYS] =
        {
            .name = "day-of-week",
            .accepts = "1-7 (1 is Sunday), SUN-SAT, *, ?, L, 6L, 6#3, lists (MON,WED), ranges "
                       "(MON-FRI), steps (2/2)",
            .min = 1,
            .max = SATURDAY,
            .step_max = SATURDAY,
            .wraps = true,
            .names = weekday_names,
        },
    [FIELD_YEARS] =
        {
            .name = "year",
            .accepts = "1970-2099, *, lists, ranges (2026-2030), steps (2026/2)",
            .min = CRON_YEAR_MIN,
            .max = CRON_YEAR_MAX,
            .step_max = CRON_YEAR_MAX - CRON_YEAR_MIN,
            .origin = CRON_YEAR_MIN,
        },
};

/* Where in which field we are. */
struct parser {
    const uint8_t *text; /* the expression */
    size_t at;
    size_t end; /* of the field */
    const struct field *field;
    uint64_t set[CRON_YEAR_WORDS]; /* the field's plain values, bit value - origin */
    struct cron cron;
    struct err *err;
};

/* What is wrong with the item at `at`, shown up to the next comma. */
static enum err_code refuse(const struct parser *parser, size_t at, const char *reason)
{
    char shown[SHOWN_BYTES_MAX + 1];
    size_t size = 0;
    for (; at + size < parser->end && parser->text[at + size] != ',' && size < SHOWN_BYTES_MAX;
         size++) {
        uint8_t c = parser->text[at + size];
        shown[size] = c > ' ' && c < 0x7f ? (char)c : '?';
    }
    shown[size] = '\0';
    return err_set(parser->err, ERR_INVALID,
                   "cron expression, %s, character %zu: %s%s%s%s; accepted are %s",
                   parser->field->name, at + 1, size > 0 ? "'" : "", shown, size > 0 ? "' " : "",
                   reason, parser->field->accepts);
}

static uint8_t peek(const struct parser *parser)
{
    return parser->at < parser->end ? parser->text[parser->at] : 0;
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return upper(c) >= 'A' && upper(c) <= 'Z';
}

static bool take(struct parser *parser, char c)
{
    if (upper(peek(parser)) != (uint8_t)c) {
        return false;
    }
    parser->at++;
    return true;
}

/* A number within [min, max]. */
static enum err_code take_number(struct parser *parser, int min, int max, int *number_out)
{
    size_t begin = parser->at;
    int number = 0;
    while (is_digit(peek(parser)) && parser->at - begin <= DIGITS_MAX) {
        number = number * 10 + (peek(parser) - '0');
        parser->at++;
    }
    if (parser->at == begin) {
        return refuse(parser, begin,
                      begin == parser->end ? "a number is missing" : "is not a number");
    }
    if (number < min || number > max) {
        char reason[48];
        (void)snprintf(reason, sizeof reason, "is not from %d to %d", min, max); /* fits */
        return refuse(parser, begin, reason);
    }
    *number_out = number;
    return ERR_OK;
}

/* The name at the place we are, as its value; -1 when there is none. */
static int find_name(const struct parser *parser)
{
    const char *const *names = parser->field->names;
    if (names == NULL || parser->end - parser->at < NAME_BYTES) {
        return -1;
    }
    char name[NAME_BYTES];
    for (size_t i = 0; i < NAME_BYTES; i++) {
        name[i] = (char)upper(parser->text[parser->at + i]);
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (memcmp(name, names[i], NAME_BYTES) == 0) {
            return parser->field->min + i;
        }
    }
    return -1;
}

/* A number or a name of the field. */
static enum err_code take_value(struct parser *parser, int *value_out)
{
    const struct field *field = parser->field;
    if (!is_letter(peek(parser))) {
        return take_number(parser, field->min, field->max, value_out);
    }
    int value = find_name(parser);
    if (value < 0) {
        return refuse(parser, parser->at,
                      field->names != NULL ? "is not a name of this field" : "is not a number");
    }
    parser->at += NAME_BYTES;
    *value_out = value;
    return ERR_OK;
}

/* Every `step`th value from `from` on; a `to` below `from` lies beyond the field's end. */
static void add_range(struct parser *parser, int from, int to, int step)
{
    const struct field *field = parser->field;
    int width = field->max - field->min + 1;
    int last = to < from ? to + width : to;
    for (int value = from; value <= last; value += step) {
        int bit = (value > field->max ? value - width : value) - field->origin;
        parser->set[bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

/* What may follow `*` or a value: an optional /N. */
static enum err_code take_step(struct parser *parser, int *step_out)
{
    return take(parser, '/') ? take_number(parser, 1, parser->field->step_max, step_out) : ERR_OK;
}

/* The rest of an item that begins with a value: [-value][/N]. */
static enum err_code take_range(struct parser *parser, size_t begin, int from)
{
    const struct field *field = parser->field;
    int to = from;
    int step = 0;
    bool has_end = take(parser, '-');
    if (has_end) {
        TRY(take_value(parser, &to));
        if (to < from && !field->wraps) {
            return refuse(parser, begin, "ends before it begins");
        }
    }
    TRY(take_step(parser, &step));
    if (step > 0 && !has_end) {
        to = field->max;
    }
    add_range(parser, from, to, step > 0 ? step : 1);
    return ERR_OK;
}

/* L, L-3, LW, L-3W behind the L. */
static enum err_code take_last_day(struct parser *parser)
{
    int before = 0;
    if (take(parser, '-')) {
        TRY(take_number(parser, 1, LAST_OFFSET_MAX, &before));
    }
    if (take(parser, 'W')) {
        parser->cron.workdays_before_last |= (uint32_t)1 << before;
    } else {
        parser->cron.days_before_last |= (uint32_t)1 << before;
    }
    return ERR_OK;
}

/* What only a weekday may be followed by: L or #N. */
static enum err_code take_weekday_form(struct parser *parser, int weekday, bool *taken_out)
{
    uint8_t bit = (uint8_t)(1U << weekday);
    *taken_out = true;
    if (take(parser, 'L')) {
        parser->cron.weekdays_last |= bit;
    } else if (take(parser, '#')) {
        int nth = 0;
        TRY(take_number(parser, 1, CRON_WEEKS, &nth));
        parser->cron.weekdays_nth[nth - 1] |= bit;
    } else {
        *taken_out = false;
    }
    return ERR_OK;
}

static enum err_code take_item(struct parser *parser)
{
    const struct field *field = parser->field;
    bool is_days = field == &fields[FIELD_DAYS];
    bool is_weekdays = field == &fields[FIELD_WEEKDAYS];
    size_t begin = parser->at;
    if (take(parser, '*') || peek(parser) == '/') {
        int step = 1;
        TRY(take_step(parser, &step));
        add_range(parser, field->min, field->max, step);
        return ERR_OK;
    }
    if (is_days && take(parser, 'L')) {
        return take_last_day(parser);
    }
    if (is_weekdays && take(parser, 'L')) {
        add_range(parser, SATURDAY, SATURDAY, 1);
        return ERR_OK;
    }
    int value = 0;
    TRY(take_value(parser, &value));
    if (is_days && take(parser, 'W')) {
        parser->cron.workdays |= (uint32_t)1 << value;
        return ERR_OK;
    }
    bool taken = false;
    if (is_weekdays) {
        TRY(take_weekday_form(parser, value, &taken));
    }
    return taken ? ERR_OK : take_range(parser, begin, value);
}

/* The whole field: items and commas. `?` alone leaves every set empty. */
static enum err_code take_items(struct parser *parser)
{
    const struct field *field = parser->field;
    bool is_day_field = field == &fields[FIELD_DAYS] || field == &fields[FIELD_WEEKDAYS];
    if (is_day_field && peek(parser) == '?' && parser->end - parser->at == 1) {
        return ERR_OK;
    }
    for (;;) {
        size_t begin = parser->at;
        if (begin == parser->end || peek(parser) == ',') {
            return refuse(parser, begin, "a value is missing");
        }
        TRY(take_item(parser));
        if (parser->at == parser->end) {
            return ERR_OK;
        }
        if (!take(parser, ',')) {
            return refuse(parser, begin, "is not understood");
        }
    }
}

static void store(struct parser *parser, enum field_kind kind)
{
    struct cron *cron = &parser->cron;
    switch (kind) {
    case FIELD_SECONDS:
        cron->seconds = parser->set[0];
        break;
    case FIELD_MINUTES:
        cron->minutes = parser->set[0];
        break;
    case FIELD_HOURS:
        cron->hours = (uint32_t)parser->set[0];
        break;
    case FIELD_DAYS:
        cron->days = (uint32_t)parser->set[0];
        break;
    case FIELD_MONTHS:
        cron->months = (uint16_t)parser->set[0];
        break;
    case FIELD_WEEKDAYS:
        cron->weekdays = (uint8_t)parser->set[0];
        break;
    case FIELD_YEARS:
    case FIELD_COUNT:
        memcpy(cron->years, parser->set, sizeof cron->years);
        break;
    }
}

/* The span of one field within the expression. */
struct extent {
    size_t begin;
    size_t end;
};

/* Cut at spaces and tabs; counts further fields without storing them. */
static size_t cut(struct span text, struct extent extents_out[FIELD_COUNT])
{
    size_t count = 0;
    bool inside = false;
    for (size_t i = 0; i < text.size; i++) {
        bool blank = text.data[i] == ' ' || text.data[i] == '\t';
        if (!blank && !inside) {
            count++;
            if (count <= FIELD_COUNT) {
                extents_out[count - 1].begin = i;
            }
        }
        if (!blank && count <= FIELD_COUNT) {
            extents_out[count - 1].end = i + 1;
        }
        inside = !blank;
    }
    return count;
}

static enum err_code check_count(size_t count, struct err *err)
{
    if (count >= FIELDS_MIN && count <= FIELD_COUNT) {
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID,
                   "cron expression: it has %zu field%s, not 6 or 7 (seconds minutes hours "
                   "day-of-month month day-of-week [year])%s",
                   count, count == 1 ? "" : "s",
                   count == 5 ? "; a Unix crontab line gets the seconds 0 in front and ? for the "
                                "day field that was *"
                              : "");
}

/* Quartz knows no "and" or "or" of the two day fields: one says which, the other that it does not
 * matter. */
static enum err_code check_days(struct span text, const struct extent *extents, struct err *err)
{
    bool any_day = text.data[extents[FIELD_DAYS].begin] == '?';
    bool any_weekday = text.data[extents[FIELD_WEEKDAYS].begin] == '?';
    if (any_day != any_weekday) {
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID,
                   "cron expression, day-of-month and day-of-week, characters %zu and %zu: %s; "
                   "write ? in the one that does not matter and * or days in the other",
                   extents[FIELD_DAYS].begin + 1, extents[FIELD_WEEKDAYS].begin + 1,
                   any_day ? "both are ?" : "neither is ?");
}

enum err_code cron_parse(struct span text, struct cron *cron_out, struct err *err)
{
    if (text.size > CRON_TEXT_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "cron expression: %zu bytes, at most %d are read",
                       text.size, CRON_TEXT_BYTES_MAX);
    }
    struct extent extents[FIELD_COUNT] = {0};
    size_t count = cut(text, extents);
    TRY(check_count(count, err));
    struct parser parser = {.text = text.data, .err = err};
    for (size_t i = 0; i < count; i++) {
        parser.field = &fields[i];
        parser.at = extents[i].begin;
        parser.end = extents[i].end;
        memset(parser.set, 0, sizeof parser.set);
        TRY(take_items(&parser));
        store(&parser, (enum field_kind)i);
    }
    if (count == FIELDS_MIN) {
        parser.field = &fields[FIELD_YEARS];
        memset(parser.set, 0, sizeof parser.set);
        add_range(&parser, CRON_YEAR_MIN, CRON_YEAR_MAX, 1);
        store(&parser, FIELD_YEARS);
    }
    TRY(check_days(text, extents, err));
    *cron_out = parser.cron;
    return ERR_OK;
}
