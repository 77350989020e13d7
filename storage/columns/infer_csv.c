/*
 * Samples in CSV, read with patience: a record that breaks the rules is counted and
 * passed over, one that is cut off at the end of the sample is left out.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <stdio.h>

/* Where the reading is. */
struct reading {
    const uint8_t *p;
    const uint8_t *end;
    struct buffer unescaped; /* of the value in hand */
};

/* One value. Borrowed until the next one. */
struct value {
    struct span text;
    bool quoted;
    bool refused;  /* has a character that no value may have; its record goes on */
    bool broken;   /* its record ends where the line does */
    bool unclosed; /* the sample ended inside quotes */
    bool last;     /* of its record */
    bool at_end;   /* of the sample, without a line end */
};

static bool is_line_end(const struct reading *reading)
{
    return *reading->p == '\n' ||
           (*reading->p == '\r' && reading->p + 1 < reading->end && reading->p[1] == '\n');
}

/* Behind a value: a comma, a line end, the sample's end; anything else breaks the record. */
static void pass_end(struct reading *reading, struct value *value)
{
    if (reading->p == reading->end) {
        value->last = true;
        value->at_end = true;
        return;
    }
    if (*reading->p == ',') {
        reading->p++;
        return;
    }
    value->last = true;
    if (is_line_end(reading)) {
        reading->p += *reading->p == '\r' ? 2 : 1;
        return;
    }
    value->broken = true;
    const uint8_t *feed = memchr(reading->p, '\n', (size_t)(reading->end - reading->p));
    value->at_end = feed == NULL;
    reading->p = feed != NULL ? feed + 1 : reading->end;
}

static void read_quoted(struct reading *reading, struct value *value)
{
    buffer_reset(&reading->unescaped);
    value->quoted = true;
    for (reading->p++;;) {
        const uint8_t *quote = memchr(reading->p, '"', (size_t)(reading->end - reading->p));
        if (quote == NULL) {
            value->unclosed = true;
            value->last = true;
            value->at_end = true;
            reading->p = reading->end;
            return;
        }
        buffer_append(&reading->unescaped, reading->p, (size_t)(quote - reading->p));
        reading->p = quote + 1;
        if (reading->p == reading->end || *reading->p != '"') {
            break;
        }
        buffer_append_byte(&reading->unescaped, '"');
        reading->p++;
    }
    value->text = buffer_span(&reading->unescaped);
    pass_end(reading, value);
}

/* Ends where the decoder ends it: a value that is refused still takes its place. */
static void read_value(struct reading *reading, struct value *value)
{
    *value = (struct value){0};
    if (reading->p < reading->end && *reading->p == '"') {
        read_quoted(reading, value);
        value->refused = value->text.size > 0 && memchr(value->text.data, 0, value->text.size);
        return;
    }
    const uint8_t *start = reading->p;
    while (reading->p < reading->end && *reading->p != ',' && *reading->p != '"' &&
           !is_line_end(reading)) {
        value->refused |= *reading->p == 0 || *reading->p == '\r';
        reading->p++;
    }
    value->text = span_of(start, (size_t)(reading->p - start));
    pass_end(reading, value);
}

static void skip_blank_lines(struct reading *reading)
{
    while (reading->p < reading->end && is_line_end(reading)) {
        reading->p += *reading->p == '\r' ? 2 : 1;
    }
}

/* ---- the header ---- */

/* Columns without a name, or with that of another, get one by their number. */
static enum err_code add_column(struct infer *infer, struct span name, struct err *err)
{
    size_t before = infer->columns_count;
    size_t index = 0;
    TRY(infer_column_of(infer, name, SIZE_MAX, &index, err));
    if (infer->columns_count > before) {
        return ERR_OK;
    }
    char made[48];
    int size = snprintf(made, sizeof made, "column %zu", before + 1);
    TRY(infer_column_of(infer, span_of(made, (size_t)size), SIZE_MAX, &index, err));
    if (infer->columns_count == before) {
        return err_set(err, ERR_INVALID, "column %zu of the header has the name of another",
                       before + 1);
    }
    return ERR_OK;
}

static enum err_code read_header(struct infer *infer, struct reading *reading, struct err *err)
{
    struct value value;
    do {
        read_value(reading, &value);
        size_t bad = 0;
        if (value.refused || value.broken || value.unclosed || !text_is_utf8(value.text, &bad)) {
            return err_set(err, ERR_INVALID,
                           "the first line must be a header of field names in UTF-8, separated by "
                           "commas");
        }
        TRY(add_column(infer, value.text, err));
    } while (!value.last);
    return ERR_OK;
}

/* ---- records ---- */

/* A record as it stands; observed only when it is whole. */
struct record {
    bool *nulls;
    size_t *ends;
    size_t count;
    struct buffer bytes;
    bool broken;
    bool at_end;
};

static void read_record(struct infer *infer, struct reading *reading, struct record *record)
{
    struct value value;
    record->count = 0;
    record->broken = false;
    buffer_reset(&record->bytes);
    do {
        size_t bad = 0;
        read_value(reading, &value);
        record->broken |=
            value.refused || value.broken || value.unclosed || !text_is_utf8(value.text, &bad);
        if (record->count < infer->columns_count) {
            record->nulls[record->count] = value.text.size == 0 && !value.quoted;
            buffer_append_span(&record->bytes, value.text);
            record->ends[record->count] = record->bytes.size;
        }
        record->count++;
    } while (!value.last);
    record->at_end = value.at_end;
    record->broken |= record->count != infer->columns_count;
}

static void observe_record(struct infer *infer, const struct record *record)
{
    for (size_t i = 0; i < infer->columns_count; i++) {
        size_t start = i == 0 ? 0 : record->ends[i - 1];
        if (record->nulls[i]) {
            infer_observe_null(infer, i);
        } else {
            (void)infer_observe(infer, i, INFER_TEXT,
                                span_of(record->bytes.data + start, record->ends[i] - start));
        }
    }
    infer_end_record(infer);
}

static void record_deinit(struct record *record)
{
    mem_free(record->nulls);
    mem_free(record->ends);
    buffer_deinit(&record->bytes);
}

static void read_records(struct infer *infer, struct reading *reading)
{
    CLEANUP(record_deinit)
    struct record record = {.nulls = mem_zeroed(infer->columns_count, sizeof *record.nulls),
                            .ends = mem_zeroed(infer->columns_count, sizeof *record.ends)};
    buffer_init(&record.bytes, INFER_BODY_BYTES_MAX);
    /* one byte of text always, so that a span of nothing points somewhere */
    (void)buffer_reserve(&record.bytes, 1);
    for (skip_blank_lines(reading); reading->p < reading->end; skip_blank_lines(reading)) {
        if (infer->records == INFER_RECORDS_MAX) {
            infer->more = true;
            return;
        }
        read_record(infer, reading, &record);
        if (!record.broken) {
            observe_record(infer, &record);
        } else if (record.at_end) {
            infer->cut_off = true;
        } else {
            infer->malformed++;
        }
    }
}

enum err_code infer_read_csv(struct infer *infer, struct span body, struct err *err)
{
    struct reading reading = {.p = body.data, .end = body.data + body.size};
    infer->texts_only = true;
    skip_blank_lines(&reading);
    if (reading.p == reading.end) {
        return err_set(err, ERR_INVALID, "the sample is empty");
    }
    buffer_init(&reading.unescaped, body.size + 1);
    (void)buffer_reserve(&reading.unescaped, 1); /* likewise */
    enum err_code code = read_header(infer, &reading, err);
    if (code == ERR_OK) {
        read_records(infer, &reading);
    }
    buffer_deinit(&reading.unescaped);
    return code;
}
