/*
 * Statistics as text: scanning members without parsing, and the one edit that a
 * deletion vector asks for. Everything else of a text stays as its writer made it.
 */
#include "storage/delta/stats.h"

#include "storage/base/text.h"
#include "storage/delta/stats_scan.h"

#include <assert.h>
#include <string.h>

static void skip_blanks(struct stats_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r')) {
        scan->at++;
    }
}

static bool fail(struct stats_scan *scan)
{
    scan->failed = true;
    return false;
}

/* Take `byte` after blanks, or fail. */
static bool take(struct stats_scan *scan, uint8_t byte)
{
    skip_blanks(scan);
    if (scan->at >= scan->end || *scan->at != byte) {
        return fail(scan);
    }
    scan->at++;
    return true;
}

/* A string from its opening quote on; `text_out` is what stands between the quotes. */
static bool take_string(struct stats_scan *scan, struct span *text_out)
{
    if (!take(scan, '"')) {
        return false;
    }
    const uint8_t *start = scan->at;
    for (; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\\') {
            scan->at++;
        } else if (*scan->at == '"') {
            *text_out = span_of(start, (size_t)(scan->at - start));
            scan->at++;
            return true;
        }
    }
    scan->at = scan->end;
    return fail(scan);
}

/* An object or array: to the bracket that closes it, strings passed over. */
static bool skip_nested(struct stats_scan *scan)
{
    size_t depth = 0;
    while (scan->at < scan->end) {
        uint8_t byte = *scan->at;
        struct span ignored;
        if (byte == '"') {
            if (!take_string(scan, &ignored)) {
                return false;
            }
            continue;
        }
        scan->at++;
        if (byte == '{' || byte == '[') {
            depth++;
        } else if ((byte == '}' || byte == ']') && --depth == 0) {
            return true;
        }
    }
    return fail(scan);
}

static bool skip_scalar(struct stats_scan *scan)
{
    const uint8_t *start = scan->at;
    while (scan->at < scan->end && memchr(",}] \t\r\n", *scan->at, 7) == NULL) {
        scan->at++;
    }
    return scan->at > start || fail(scan);
}

static bool take_value(struct stats_scan *scan, struct span *value_out)
{
    skip_blanks(scan);
    const uint8_t *start = scan->at;
    struct span ignored;
    if (scan->at >= scan->end) {
        return fail(scan);
    }
    bool good = *start == '"'                    ? take_string(scan, &ignored)
                : *start == '{' || *start == '[' ? skip_nested(scan)
                                                 : skip_scalar(scan);
    *value_out = span_of(start, (size_t)(scan->at - start));
    return good;
}

bool stats_scan_next(struct stats_scan *scan, struct span *name_out, struct span *value_out)
{
    if (scan->failed) {
        return false;
    }
    if (!scan->begun) {
        if (!take(scan, '{')) {
            return false;
        }
        scan->begun = true;
        skip_blanks(scan);
        if (scan->at < scan->end && *scan->at == '}') {
            return false;
        }
    } else {
        skip_blanks(scan);
        if (scan->at < scan->end && *scan->at == '}') {
            return false;
        }
        if (!take(scan, ',')) {
            return false;
        }
    }
    return take_string(scan, name_out) && take(scan, ':') && take_value(scan, value_out);
}

bool stats_scan_find(struct span object, const char *name, struct span *value_out)
{
    struct stats_scan scan = stats_scan_of(object);
    struct span member;
    struct span value;
    while (stats_scan_next(&scan, &member, &value)) {
        if (span_equal_text(member, name)) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

int64_t delta_stats_rows_count(const char *stats)
{
    struct span value;
    int64_t rows_count = -1;
    if (!stats_scan_find(span_of_text(stats), "numRecords", &value) ||
        !text_parse_int64(value, &rows_count) || rows_count < 0) {
        return -1;
    }
    return rows_count;
}

enum err_code delta_stats_loosen(const char *stats, struct buffer *text, struct err *err)
{
    if (stats == NULL || delta_stats_rows_count(stats) < 0) {
        return err_set(err, ERR_INVALID,
                       "the file has no numRecords, which a deletion vector requires");
    }
    struct span whole = span_of_text(stats);
    struct span tight;
    if (stats_scan_find(whole, "tightBounds", &tight)) {
        buffer_append(text, whole.data, (size_t)(tight.data - whole.data));
        buffer_append_text(text, "false");
        const uint8_t *rest = tight.data + tight.size;
        buffer_append(text, rest, (size_t)(whole.data + whole.size - rest));
        return ERR_OK;
    }
    struct stats_scan scan = stats_scan_of(whole);
    struct span name;
    struct span value = {0};
    while (stats_scan_next(&scan, &name, &value)) {
        /* to the last member */
    }
    if (scan.failed) {
        return err_set(err, ERR_INVALID, "the file's statistics are no JSON object");
    }
    const uint8_t *end =
        value.data + value.size; /* numRecords is a member, so there is a last one */
    buffer_append(text, whole.data, (size_t)(end - whole.data));
    buffer_append_text(text, ",\"tightBounds\":false");
    buffer_append(text, end, (size_t)(whole.data + whole.size - end));
    return ERR_OK;
}
