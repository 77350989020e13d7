/*
 * Samples in JSON: objects a line each, or an array of them. Each object is read as
 * a document first, so that what is broken is known; numbers are taken from its
 * text, because a document forgets how they were written.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/json_raw.h"
#include "storage/base/mem.h"

/* The text between a string's quotes, escapes read. False when that cannot be a column's text. */
static bool read_string(struct span text, struct buffer *scratch, struct span *string_out)
{
    if (memchr(text.data, '\\', text.size) == NULL) {
        *string_out = span_of(text.data + 1, text.size - 2);
        return true;
    }
    CLEANUP(json_free) struct json *document = NULL;
    struct err broken = {0};
    struct span string;
    if (json_parse(text, &document, &broken) != ERR_OK || !json_as_string(document, &string)) {
        return false;
    }
    buffer_reset(scratch);
    buffer_append_span(scratch, string);
    *string_out = buffer_span(scratch);
    return memchr(scratch->data, 0, scratch->size) == NULL;
}

/* The name of a member, escapes read; `quoted` is what stands between its quotes. */
static bool read_name(struct span quoted, struct buffer *scratch, struct span *name_out)
{
    if (quoted.size == 0 || memchr(quoted.data, '\\', quoted.size) == NULL) {
        *name_out = quoted;
        return true;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, quoted.size + 2);
    buffer_append_byte(&text, '"');
    buffer_append_span(&text, quoted);
    buffer_append_byte(&text, '"');
    return read_string(buffer_span(&text), scratch, name_out);
}

static enum err_code observe_value(struct infer *infer, size_t column, struct span text,
                                   struct buffer scratch[2], struct err *err);

static enum err_code observe_object(struct infer *infer, struct span object,
                                    struct buffer scratch[2], struct err *err);

/* What is in an array, or the values of an object, each a record of one column. */
static enum err_code observe_elements(struct infer *infer, struct json_raw raw,
                                      struct buffer scratch[2], struct err *err)
{
    static const char element[] = "element";
    struct span name;
    struct span text;
    size_t column = 0;
    TRY(infer_column_of(infer, span_of_text(element), 0, &column, err));
    while (json_raw_next(&raw, &name, &text)) {
        TRY(observe_value(infer, column, text, scratch, err));
        infer_end_record(infer);
    }
    return ERR_OK;
}

/* Recursion is bounded by JSON_DEPTH_MAX: the record was read as a document. */
static enum err_code observe_nested(struct infer_column *column, struct span text,
                                    struct buffer scratch[2], struct err *err)
{
    if (text.data[0] == '[') {
        column->arrays_count++;
        return observe_elements(infer_elements_of(column), json_raw_items(text), scratch, err);
    }
    column->objects_count++;
    TRY(observe_elements(infer_elements_of(column), json_raw_members(text), scratch, err));
    struct infer *objects = infer_objects_of(column);
    if (objects->more) {
        return ERR_OK; /* more names than a struct has: they are keys */
    }
    struct err too_many = {0};
    objects->more = observe_object(objects, text, scratch, &too_many) != ERR_OK;
    return ERR_OK;
}

static enum err_code observe_value(struct infer *infer, size_t column, struct span text,
                                   struct buffer scratch[2], struct err *err)
{
    struct span string;
    switch (text.data[0]) {
    case '"':
        if (read_string(text, &scratch[1], &string)) {
            (void)infer_observe(infer, column, INFER_TEXT, string); /* once a record */
        }
        return ERR_OK;
    case '{':
    case '[':
        return infer_observe(infer, column, INFER_NESTED, text)
                   ? observe_nested(&infer->columns[column], text, scratch, err)
                   : ERR_OK;
    case 't':
    case 'f':
        (void)infer_observe(infer, column, INFER_BOOLEAN, text); /* likewise */
        return ERR_OK;
    case 'n':
        infer_observe_null(infer, column);
        return ERR_OK;
    default:
        (void)infer_observe(infer, column, INFER_NUMBER, text); /* likewise */
        return ERR_OK;
    }
}

/* One object, which is well-formed. */
static enum err_code observe_object(struct infer *infer, struct span object,
                                    struct buffer scratch[2], struct err *err)
{
    struct json_raw raw = json_raw_members(object);
    struct span quoted;
    struct span text;
    for (size_t guess = 0; json_raw_next(&raw, &quoted, &text); guess++) {
        struct span name;
        size_t column = 0;
        if (read_name(quoted, &scratch[0], &name)) {
            TRY(infer_column_of(infer, name, guess, &column, err));
            TRY(observe_value(infer, column, text, scratch, err));
        }
    }
    infer_end_record(infer);
    return ERR_OK;
}

static bool is_object(struct span text)
{
    CLEANUP(json_free) struct json *document = NULL;
    struct err broken = {0};
    return json_parse(text, &document, &broken) == ERR_OK &&
           json_kind(document) == JSON_KIND_OBJECT;
}

static void scratch_init(struct buffer scratch[2], size_t size)
{
    for (size_t i = 0; i < 2; i++) {
        buffer_init(&scratch[i], size + 1);
        (void)buffer_reserve(&scratch[i], 1); /* so that a span of nothing points somewhere */
    }
}

static void scratch_deinit(struct buffer scratch[2])
{
    buffer_deinit(&scratch[0]);
    buffer_deinit(&scratch[1]);
}

/* ---- lines ---- */

static struct span without_blanks(struct span line)
{
    while (line.size > 0 && strchr(" \t\r", line.data[line.size - 1]) != NULL &&
           line.data[line.size - 1] != '\0') {
        line.size--;
    }
    while (line.size > 0 && (line.data[0] == ' ' || line.data[0] == '\t')) {
        line = span_of(line.data + 1, line.size - 1);
    }
    return line;
}

static enum err_code read_lines(struct infer *infer, struct span body, struct buffer scratch[2],
                                struct err *err)
{
    while (body.size > 0) {
        const uint8_t *feed = memchr(body.data, '\n', body.size);
        size_t size = feed != NULL ? (size_t)(feed - body.data) : body.size;
        struct span line = without_blanks(span_of(body.data, size));
        body = feed != NULL ? span_of(feed + 1, body.size - size - 1) : (struct span){0};
        if (line.size == 0) {
            continue;
        }
        if (infer->records == INFER_RECORDS_MAX) {
            infer->more = true;
            return ERR_OK;
        }
        if (is_object(line)) {
            TRY(observe_object(infer, line, scratch, err));
        } else if (feed == NULL) {
            infer->cut_off = true;
        } else {
            infer->malformed++;
        }
    }
    return ERR_OK;
}

enum err_code infer_read_ndjson(struct infer *infer, struct span body, struct err *err)
{
    struct buffer scratch[2];
    scratch_init(scratch, body.size);
    enum err_code code = read_lines(infer, body, scratch, err);
    scratch_deinit(scratch);
    return code;
}

/* ---- an array, or one object ---- */

static enum err_code read_items(struct infer *infer, struct span array, struct buffer scratch[2],
                                struct err *err)
{
    struct json_raw raw = json_raw_items(array);
    struct span name;
    struct span text;
    while (json_raw_next(&raw, &name, &text)) {
        if (infer->records == INFER_RECORDS_MAX) {
            infer->more = true;
            return ERR_OK;
        }
        if (text.data[0] == '{') {
            TRY(observe_object(infer, text, scratch, err));
        } else {
            infer->malformed++;
        }
    }
    return ERR_OK;
}

static enum err_code read_document(struct infer *infer, struct span body, struct buffer scratch[2],
                                   struct err *err)
{
    CLEANUP(json_free) struct json *document = NULL;
    if (json_parse(body, &document, err) != ERR_OK) {
        return err_wrap(err, "the sample");
    }
    switch (json_kind(document)) {
    case JSON_KIND_ARRAY:
        return read_items(infer, body, scratch, err);
    case JSON_KIND_OBJECT:
        return observe_object(infer, body, scratch, err);
    default:
        return err_set(err, ERR_INVALID, "the sample must be an array of objects, or one object");
    }
}

enum err_code infer_read_json(struct infer *infer, struct span body, struct err *err)
{
    struct buffer scratch[2];
    scratch_init(scratch, body.size);
    enum err_code code = read_document(infer, body, scratch, err);
    scratch_deinit(scratch);
    return code;
}
