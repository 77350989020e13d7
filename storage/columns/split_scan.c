/*
 * Where records end. See split_scan.h. The rules are those of decode_json.c and
 * decode_csv.c, each reduced to what decides where a record is over.
 */
#include "storage/columns/split_scan.h"

#include "storage/columns/decode_scan.h"

#include <assert.h>
#include <string.h>

void split_scan_init(struct split_scan *scan, enum decode_format format, size_t at)
{
    *scan = (struct split_scan){
        .format = format,
        .at = at,
        .record_start = at,
        .line = format == DECODE_JSON_ARRAY ? 0 : 1,
        .is_first = true,
    };
}

void split_scan_shift(struct split_scan *scan, size_t size)
{
    assert(size <= scan->record_start);
    scan->at -= size;
    scan->record_start -= size;
}

/* ---- lines ---- */

/* The record in hand ends before `end`, which is behind its line end if it has one. */
static enum split_result end_line(struct split_scan *scan, struct span held, size_t end,
                                  struct split_record *record_out)
{
    size_t content = end - scan->record_start;
    bool has_feed = end > scan->record_start && held.data[end - 1] == '\n';
    content -= has_feed ? 1 : 0;
    if (content > 0 && held.data[scan->record_start + content - 1] == '\r') {
        content--;
    }
    *record_out = (struct split_record){
        .start = scan->record_start,
        .end = end,
        .content = content,
        .line = scan->line,
    };
    scan->line += scan->feeds + (has_feed ? 1 : 0);
    scan->feeds = 0;
    scan->record_start = end;
    scan->at = end;
    scan->state = SPLIT_AT_START;
    return SPLIT_RECORD;
}

static bool is_blank(struct span line)
{
    for (size_t i = 0; i < line.size; i++) {
        uint8_t c = line.data[i];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return false;
        }
    }
    return true;
}

static enum split_result next_line(struct split_scan *scan, struct span held, bool is_finished,
                                   struct split_record *record_out)
{
    if (scan->record_start == held.size) {
        return is_finished ? SPLIT_END : SPLIT_MORE;
    }
    const uint8_t *feed = memchr(held.data + scan->at, '\n', held.size - scan->at);
    if (feed == NULL && !is_finished) {
        scan->at = held.size;
        return SPLIT_MORE;
    }
    size_t start = scan->record_start;
    size_t end = feed != NULL ? (size_t)(feed - held.data) + 1 : held.size;
    (void)end_line(scan, held, end, record_out); /* always a record */
    record_out->is_blank = is_blank(span_of(held.data + start, end - start));
    return SPLIT_RECORD;
}

/* ---- CSV ---- */

static void count_feeds(struct split_scan *scan, const uint8_t *p, const uint8_t *end)
{
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        scan->feeds++;
        p++;
    }
}

/* Go on in quotes: to the closing one, or to the end of what is there. */
static void scan_quotes(struct split_scan *scan, struct span held)
{
    const uint8_t *start = held.data + scan->at;
    const uint8_t *quote = memchr(start, '"', held.size - scan->at);
    const uint8_t *end = quote != NULL ? quote : held.data + held.size;
    count_feeds(scan, start, end);
    scan->at = (size_t)(end - held.data) + (quote != NULL ? 1 : 0);
    scan->state = quote != NULL ? SPLIT_AFTER_QUOTE : SPLIT_IN_QUOTES;
}

/* Go on in text without quotes: to the byte that decides something. */
static void scan_plain(struct split_scan *scan, struct span held)
{
    bool high = false;
    const uint8_t *end = scan_csv_text(held.data + scan->at, held.data + held.size, &high);
    scan->at = (size_t)(end - held.data);
    if (scan->at == held.size || *end == '\n') {
        return;
    }
    scan->state = *end == ',' ? SPLIT_AT_START : *end == '"' ? SPLIT_IN_BROKEN : SPLIT_IN_PLAIN;
    scan->at++;
}

static void scan_broken(struct split_scan *scan, struct span held)
{
    const uint8_t *feed = memchr(held.data + scan->at, '\n', held.size - scan->at);
    scan->at = feed != NULL ? (size_t)(feed - held.data) : held.size;
}

/* At the start of a value: which kind it is. Nothing is taken but an opening quote. */
static void begin_value(struct split_scan *scan, uint8_t c)
{
    bool quoted = c == '"';
    scan->state = quoted ? SPLIT_IN_QUOTES : SPLIT_IN_PLAIN;
    scan->at += quoted ? 1 : 0;
}

/* Behind a quote inside quotes: doubled, or the end of the value. */
static void after_quote(struct split_scan *scan, uint8_t c)
{
    scan->state = c == '"' ? SPLIT_IN_QUOTES : c == ',' ? SPLIT_AT_START : SPLIT_IN_BROKEN;
    scan->at += scan->state == SPLIT_IN_BROKEN ? 0 : 1;
}

/* One step over text that is there; the byte at scan->at is no line end outside of quotes. */
static void scan_csv(struct split_scan *scan, struct span held)
{
    switch (scan->state) {
    case SPLIT_IN_QUOTES:
        scan_quotes(scan, held);
        break;
    case SPLIT_AFTER_QUOTE:
        after_quote(scan, held.data[scan->at]);
        break;
    case SPLIT_IN_BROKEN:
        scan_broken(scan, held);
        break;
    case SPLIT_AT_START:
        begin_value(scan, held.data[scan->at]);
        break;
    default:
        scan_plain(scan, held);
        break;
    }
}

/* A line of nothing, or of a carriage return alone, is no record. */
static bool is_blank_so_far(const struct split_scan *scan, struct span held)
{
    size_t size = scan->at - scan->record_start;
    return size == 0 || (size == 1 && held.data[scan->record_start] == '\r');
}

static enum split_result next_csv(struct split_scan *scan, struct span held, bool is_finished,
                                  struct split_record *record_out)
{
    while (scan->at < held.size) {
        bool is_end = held.data[scan->at] == '\n' && scan->state != SPLIT_IN_QUOTES;
        if (!is_end) {
            scan_csv(scan, held);
            continue;
        }
        bool blank = is_blank_so_far(scan, held);
        (void)end_line(scan, held, scan->at + 1, record_out);
        if (!blank) {
            return SPLIT_RECORD;
        }
    }
    if (!is_finished) {
        return SPLIT_MORE;
    }
    return scan->record_start < held.size ? end_line(scan, held, held.size, record_out) : SPLIT_END;
}

/* ---- arrays ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool ends_scalar(uint8_t c)
{
    return is_space(c) || c == ',' || c == ']' || c == '}' || c == '[' || c == '{' || c == '"';
}

static enum split_result broken(struct split_scan *scan, const char *why)
{
    scan->fault = why;
    return SPLIT_BROKEN;
}

static void begin_element(struct split_scan *scan, uint8_t c)
{
    bool nested = c == '{' || c == '[';
    scan->record_start = scan->at;
    scan->line++;
    scan->is_first = false;
    scan->depth = nested ? 1 : 0;
    scan->state = nested ? SPLIT_IN_ELEMENT : c == '"' ? SPLIT_IN_STRING : SPLIT_IN_SCALAR;
    scan->at += scan->state == SPLIT_IN_SCALAR ? 0 : 1;
}

static void end_element(struct split_scan *scan)
{
    scan->state = scan->is_in_array ? SPLIT_AFTER_ELEMENT : SPLIT_AFTER_ARRAY;
}

/* To the next bracket or quote of an object or array; true when the element ends with it. */
static bool scan_element(struct split_scan *scan, struct span held)
{
    for (; scan->at < held.size; scan->at++) {
        uint8_t c = held.data[scan->at];
        if (c == '"') {
            scan->at++;
            scan->state = SPLIT_IN_STRING;
            return false;
        }
        if (c == '{' || c == '[') {
            scan->depth++;
        } else if (c == '}' || c == ']') {
            scan->depth--;
            if (scan->depth == 0) {
                scan->at++;
                return true;
            }
        }
    }
    return false;
}

/* To the end of a string; true when it was an element by itself. */
static bool scan_string(struct split_scan *scan, struct span held)
{
    while (scan->at < held.size) {
        bool high = false;
        const uint8_t *stop = scan_json_text(held.data + scan->at, held.data + held.size, &high);
        scan->at = (size_t)(stop - held.data);
        if (scan->at == held.size) {
            return false;
        }
        scan->at++;
        if (*stop == '"') {
            scan->state = SPLIT_IN_ELEMENT;
            return scan->depth == 0;
        }
        if (*stop == '\\') {
            scan->state = SPLIT_IN_ESCAPE;
            return false;
        }
    }
    return false;
}

static bool scan_scalar(struct split_scan *scan, struct span held, bool is_finished)
{
    while (scan->at < held.size && !ends_scalar(held.data[scan->at])) {
        scan->at++;
    }
    return scan->at < held.size || is_finished;
}

/* One step inside of an element; true when it is over. */
static bool scan_inside(struct split_scan *scan, struct span held, bool is_finished)
{
    switch (scan->state) {
    case SPLIT_IN_STRING:
        return scan_string(scan, held);
    case SPLIT_IN_ESCAPE:
        scan->at++;
        scan->state = SPLIT_IN_STRING;
        return false;
    case SPLIT_IN_SCALAR:
        return scan_scalar(scan, held, is_finished);
    default:
        return scan_element(scan, held);
    }
}

/* The byte where the array, or the object alone, must begin. */
static enum split_result begin_array(struct split_scan *scan, uint8_t c)
{
    if (c == '{') {
        begin_element(scan, c);
        return SPLIT_MORE;
    }
    if (c != '[') {
        return broken(scan, "expected an array of objects");
    }
    scan->at++;
    scan->is_in_array = true;
    scan->state = SPLIT_AFTER_COMMA;
    return SPLIT_MORE;
}

/* A byte between elements that is no blank. SPLIT_MORE: go on. */
static enum split_result scan_between(struct split_scan *scan, uint8_t c)
{
    switch (scan->state) {
    case SPLIT_AT_START:
        return begin_array(scan, c);
    case SPLIT_AFTER_COMMA:
        if (c == ']' && scan->is_first) {
            scan->at++;
            scan->state = SPLIT_AFTER_ARRAY;
            return SPLIT_MORE;
        }
        if (c == ',' || c == ']' || c == '}') {
            return broken(scan, "expected an element");
        }
        begin_element(scan, c);
        return SPLIT_MORE;
    case SPLIT_AFTER_ELEMENT:
        if (c != ',' && c != ']') {
            return broken(scan, "expected ',' or ']' after it");
        }
        scan->at++;
        scan->state = c == ',' ? SPLIT_AFTER_COMMA : SPLIT_AFTER_ARRAY;
        return SPLIT_MORE;
    default:
        return broken(scan, "there is more after the end; lines of objects are NDJSON");
    }
}

static bool is_inside(const struct split_scan *scan)
{
    return scan->state == SPLIT_IN_ELEMENT || scan->state == SPLIT_IN_STRING ||
           scan->state == SPLIT_IN_ESCAPE || scan->state == SPLIT_IN_SCALAR;
}

static enum split_result end_of_array(struct split_scan *scan, bool is_finished)
{
    if (!is_finished) {
        return SPLIT_MORE;
    }
    bool is_whole = scan->state == SPLIT_AFTER_ARRAY ||
                    (scan->state == SPLIT_AT_START && scan->is_first); /* blank: no records */
    return is_whole ? SPLIT_END : broken(scan, "the array is cut off");
}

static enum split_result next_element(struct split_scan *scan, struct span held, bool is_finished,
                                      struct split_record *record_out)
{
    for (;;) {
        if (is_inside(scan)) {
            bool is_over = (scan->at < held.size || scan->state == SPLIT_IN_SCALAR) &&
                           scan_inside(scan, held, is_finished);
            if (is_over) {
                *record_out = (struct split_record){
                    .start = scan->record_start,
                    .end = scan->at,
                    .content = scan->at - scan->record_start,
                    .line = scan->line,
                };
                end_element(scan);
                scan->record_start = scan->at;
                return SPLIT_RECORD;
            }
            if (scan->at == held.size) {
                return end_of_array(scan, is_finished);
            }
            continue;
        }
        while (scan->at < held.size && is_space(held.data[scan->at])) {
            scan->at++;
        }
        scan->record_start = scan->at;
        if (scan->at == held.size) {
            return end_of_array(scan, is_finished);
        }
        if (scan_between(scan, held.data[scan->at]) == SPLIT_BROKEN) {
            return SPLIT_BROKEN;
        }
    }
}

enum split_result split_scan_next(struct split_scan *scan, struct span held, bool is_finished,
                                  struct split_record *record_out)
{
    switch (scan->format) {
    case DECODE_NDJSON:
        return next_line(scan, held, is_finished, record_out);
    case DECODE_CSV:
        return next_csv(scan, held, is_finished, record_out);
    case DECODE_JSON_ARRAY:
        break;
    }
    return next_element(scan, held, is_finished, record_out);
}
