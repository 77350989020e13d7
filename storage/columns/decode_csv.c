/*
 * CSV as RFC 4180 has it: comma separated, a header line with field names, LF or
 * CRLF, quotes doubled inside quotes, line ends inside quotes. Values are
 * the decoder's. A record that breaks the rules of quoting is rejected up to
 * the end of its physical line; a quote that never closes refuses the body.
 */
#include "storage/columns/decode_scan.h"
#include "storage/columns/decoder.h"

#include "storage/base/mem.h"

#include <assert.h>

struct csv_parser {
    struct decoder *decoder;
    const uint8_t *end;
    size_t *columns; /* field index of each column of the header */
    size_t columns_count;
    int64_t line;            /* physical line at the read position, 1-based */
    struct buffer unescaped; /* the last quoted text that had doubled quotes */
};

/* One value as read: borrowed from the body or from `unescaped` until the next one. */
struct csv_value {
    struct span text;
    bool ascii;
    bool quoted;
    bool broken;         /* the rest of the physical line makes no sense */
    bool unclosed;       /* the body ended inside the quotes */
    const char *refused; /* NULL, or which character cannot be in a value */
    const char *why;     /* of broken */
};

static bool ends_value(const struct csv_parser *parser, const uint8_t *p)
{
    if (p == parser->end || *p == ',' || *p == '\n') {
        return true;
    }
    return *p == '\r' && p + 1 < parser->end && p[1] == '\n';
}

/* ---- one value ---------------------------------------------------------------- */

static const char *const REFUSED_NUL = "has the character U+0000";
static const char *const REFUSED_CR = "has a carriage return outside of quotes";

/* `p` is at the start; returns where the value ends: a comma, a line end, the body's end. */
static const uint8_t *read_plain(struct csv_parser *parser, const uint8_t *p,
                                 struct csv_value *value)
{
    const uint8_t *start = p;
    bool high = false;
    p = scan_csv_text(p, parser->end, &high);
    while (!ends_value(parser, p)) {
        if (*p == '"') {
            value->broken = true;
            value->why = "a quote inside a value that does not start with one";
            return p;
        }
        value->refused = *p == 0 ? REFUSED_NUL : REFUSED_CR;
        p = scan_csv_text(p + 1, parser->end, &high);
    }
    value->text = span_of(start, (size_t)(p - start));
    value->ascii = !high;
    return p;
}

static void finish_quoted(struct csv_value *value, struct span text)
{
    value->text = text;
    value->ascii = scan_is_ascii(text);
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        value->refused = REFUSED_NUL;
    }
}

static int64_t count_feeds(const uint8_t *p, const uint8_t *end)
{
    int64_t count = 0;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        count++;
        p++;
    }
    return count;
}

/* `p` is after the opening quote. */
static const uint8_t *read_quoted(struct csv_parser *parser, const uint8_t *p,
                                  struct csv_value *value)
{
    const uint8_t *start = p;
    const uint8_t *run = p;
    buffer_reset(&parser->unescaped);
    value->quoted = true;
    for (;;) {
        p = memchr(p, '"', (size_t)(parser->end - p));
        if (p == NULL) {
            value->unclosed = true;
            return parser->end;
        }
        if (p + 1 == parser->end || p[1] != '"') {
            break;
        }
        buffer_append(&parser->unescaped, run, (size_t)(p + 1 - run)); /* one quote of the two */
        p += 2;
        run = p;
    }
    parser->line += count_feeds(start, p);
    if (run == start) {
        finish_quoted(value, span_of(start, (size_t)(p - start)));
    } else {
        buffer_append(&parser->unescaped, run, (size_t)(p - run));
        assert(!parser->unescaped.overflowed);
        finish_quoted(value, buffer_span(&parser->unescaped));
    }
    p++;
    if (!ends_value(parser, p)) {
        value->broken = true;
        value->why = "text after a closing quote; a quote inside quotes is written twice";
    }
    return p;
}

static const uint8_t *read_csv_value(struct csv_parser *parser, const uint8_t *p,
                                     struct csv_value *value)
{
    *value = (struct csv_value){0};
    if (p < parser->end && *p == '"') {
        return read_quoted(parser, p + 1, value);
    }
    return read_plain(parser, p, value);
}

static enum err_code unclosed(int64_t line, struct err *err)
{
    return err_set(err, ERR_INVALID, "line %lld: a quoted value is never closed", (long long)line);
}

/* ---- line ends ---------------------------------------------------------------- */

static const uint8_t *to_line_end(const struct csv_parser *parser, const uint8_t *p)
{
    const uint8_t *feed = memchr(p, '\n', (size_t)(parser->end - p));
    return feed != NULL ? feed : parser->end;
}

/* `p` is where a record ended; returns where the next line starts. */
static const uint8_t *next_line(struct csv_parser *parser, const uint8_t *p)
{
    if (p < parser->end && *p == '\r') {
        p++;
    }
    if (p == parser->end) {
        return p;
    }
    assert(*p == '\n');
    parser->line++;
    return p + 1;
}

static bool is_blank_line(const struct csv_parser *parser, const uint8_t *p)
{
    return *p == '\n' || (*p == '\r' && p + 1 < parser->end && p[1] == '\n');
}

static const uint8_t *skip_blank_lines(struct csv_parser *parser, const uint8_t *p)
{
    while (p < parser->end && is_blank_line(parser, p)) {
        p = next_line(parser, p);
    }
    return p;
}

/* ---- the header --------------------------------------------------------------- */

static bool has_column(const struct csv_parser *parser, size_t index)
{
    for (size_t i = 0; i < parser->columns_count; i++) {
        if (parser->columns[i] == index) {
            return true;
        }
    }
    return false;
}

/* No name is quoted that could be a value: the first line of a file without header is data. */
static enum err_code unknown_column(const struct csv_parser *parser, struct span name,
                                    struct err *err)
{
    size_t number = parser->columns_count + 1;
    if (parser->columns_count == 0) {
        return err_set(err, ERR_INVALID,
                       "line %lld: CSV needs a header line with field names, and column 1 of the "
                       "first line is not a field of the table",
                       (long long)parser->line);
    }
    if (!decode_name_is_plain(name)) {
        return err_set(err, ERR_INVALID,
                       "line %lld: column %zu of the header is not a field of "
                       "the table",
                       (long long)parser->line, number);
    }
    return err_set(err, ERR_INVALID,
                   "line %lld: column %zu of the header, '%.*s', is not a field of the table",
                   (long long)parser->line, number, SPAN_PRINT(name));
}

static enum err_code add_column(struct csv_parser *parser, const struct csv_value *value,
                                struct err *err)
{
    struct decoder *decoder = parser->decoder;
    int index = value->refused == NULL ? decoder_field_index(decoder, value->text) : -1;
    if (index < 0) {
        return unknown_column(parser, value->text, err);
    }
    if (has_column(parser, (size_t)index)) {
        return err_set(err, ERR_INVALID,
                       "line %lld: column %zu of the header, '%.*s', is there "
                       "twice",
                       (long long)parser->line, parser->columns_count + 1, SPAN_PRINT(value->text));
    }
    assert(parser->columns_count <= decoder->fields_count);
    parser->columns[parser->columns_count++] = (size_t)index;
    return ERR_OK;
}

/* Without these no record could be accepted, whatever its operation. */
static enum err_code check_identifying_columns(const struct csv_parser *parser, struct err *err)
{
    const struct decoder *decoder = parser->decoder;
    for (size_t i = 0; i < decoder->fields_count; i++) {
        if (decoder->fields[i].identifies && !has_column(parser, i)) {
            return err_set(err, ERR_INVALID, "line %lld: the header lacks the %s field '%s'",
                           (long long)parser->line, decoder->fields[i].in_key ? "key" : "sequence",
                           decoder->fields[i].field->name);
        }
    }
    return ERR_OK;
}

static enum err_code read_header(struct csv_parser *parser, const uint8_t **position,
                                 struct err *err)
{
    const uint8_t *start = *position;
    const uint8_t *p = start;
    for (;;) {
        struct csv_value value;
        p = read_csv_value(parser, p, &value);
        if (value.unclosed) {
            return unclosed(parser->line, err);
        }
        if (value.broken) {
            return err_set(err, ERR_INVALID, "line %lld: the header has %s",
                           (long long)parser->line, value.why);
        }
        TRY(add_column(parser, &value, err));
        if (p == parser->end || *p != ',') {
            break;
        }
        p++;
    }
    TRY(check_identifying_columns(parser, err));
    parser->decoder->errors->csv_header = span_of(start, (size_t)(p - start));
    *position = next_line(parser, p);
    return ERR_OK;
}

/* ---- records ------------------------------------------------------------------ */

static void put_value(struct csv_parser *parser, size_t column, const struct csv_value *value)
{
    struct decoder *decoder = parser->decoder;
    size_t index = parser->columns[column];
    bool claimed = decoder_claim(decoder, index);
    assert(claimed); /* the header has no column twice */
    if (value->refused != NULL) {
        decoder_fault(decoder, index, DECODE_INVALID_CHARACTER, "%s", value->refused);
        decoder_put_nothing(decoder, index);
    } else if (value->text.size == 0 && !value->quoted) {
        decoder_put_null(decoder, index);
    } else {
        decoder_put_text(decoder, index, value->text, value->ascii);
    }
}

static void fault_count(struct csv_parser *parser, size_t columns)
{
    struct decoder *decoder = parser->decoder;
    decoder->incomplete = true;
    decoder_faults_clear(decoder); /* values under the wrong names explain nothing */
    decoder_fault_record(decoder, DECODE_FIELD_COUNT, "has %zu fields where the header has %zu",
                         columns, parser->columns_count);
}

/* `*p` is at the first value; afterwards at the end of the record. */
static enum err_code read_values(struct csv_parser *parser, const uint8_t **p, struct err *err)
{
    int64_t line = parser->line;
    size_t columns = 0;
    for (;;) {
        struct csv_value value;
        *p = read_csv_value(parser, *p, &value);
        if (value.unclosed) {
            return unclosed(line, err);
        }
        if (value.broken) {
            parser->decoder->incomplete = true;
            decoder_fault_record(parser->decoder, DECODE_SYNTAX, "column %zu: %s", columns + 1,
                                 value.why);
            *p = to_line_end(parser, *p);
            return ERR_OK;
        }
        if (columns < parser->columns_count) {
            put_value(parser, columns, &value);
        }
        columns++;
        if (*p == parser->end || **p != ',') {
            break;
        }
        (*p)++;
    }
    if (columns != parser->columns_count) {
        fault_count(parser, columns);
    }
    return ERR_OK;
}

static enum err_code read_csv_records(struct csv_parser *parser, const uint8_t *p, struct err *err)
{
    struct decoder *decoder = parser->decoder;
    p = skip_blank_lines(parser, p);
    while (p < parser->end) {
        const uint8_t *start = p;
        TRY(decoder_begin(decoder, parser->line, err));
        TRY(read_values(parser, &p, err));
        struct span payload = span_of(start, (size_t)(p - start));
        if (payload.size > 0 && payload.data[payload.size - 1] == '\r') {
            payload.size--; /* of a broken line, which was cut at its line feed */
        }
        TRY(decoder_check_size(decoder, decoder->line, payload, err));
        decoder_end(decoder, payload);
        p = skip_blank_lines(parser, next_line(parser, p));
    }
    return ERR_OK;
}

static enum err_code read_csv(struct csv_parser *parser, struct span body, struct err *err)
{
    const uint8_t *p = skip_blank_lines(parser, body.data);
    if (p == parser->end) {
        return ERR_OK; /* no records, which the caller refuses */
    }
    TRY(read_header(parser, &p, err));
    return read_csv_records(parser, p, err);
}

static void csv_parser_deinit(struct csv_parser *parser)
{
    mem_free(parser->columns);
    buffer_deinit(&parser->unescaped);
}

enum err_code decode_csv(struct decoder *decoder, struct span body, struct err *err)
{
    CLEANUP(csv_parser_deinit)
    struct csv_parser parser = {
        .decoder = decoder,
        .end = body.data + body.size,
        .columns = mem_zeroed(decoder->fields_count + 1, sizeof *parser.columns),
        .line = 1 + decoder->options.line_offset,
    };
    buffer_init(&parser.unescaped, body.size + 1);
    return read_csv(&parser, body, err);
}
