/*
 * Inference: the steps. See infer.h.
 */
#include "storage/columns/infer_work.h"

#include "storage/base/hash.h"
#include "storage/base/text.h"

#include <assert.h>

/* Without a byte order mark. */
static struct span after_mark(struct span body)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    bool has = body.size >= sizeof mark && memcmp(body.data, mark, sizeof mark) == 0;
    return has ? span_of(body.data + sizeof mark, body.size - sizeof mark) : body;
}

enum infer_format infer_guess_format(struct span body)
{
    body = after_mark(body);
    size_t at = 0;
    while (at < body.size && (body.data[at] == ' ' || body.data[at] == '\t' ||
                              body.data[at] == '\r' || body.data[at] == '\n')) {
        at++;
    }
    if (at == body.size || (body.data[at] != '[' && body.data[at] != '{')) {
        return INFER_CSV;
    }
    if (body.data[at] == '[') {
        return INFER_JSON;
    }
    /* an object on a line of its own, or one that goes over several */
    const uint8_t *feed = memchr(body.data + at, '\n', body.size - at);
    size_t end = feed != NULL ? (size_t)(feed - body.data) : body.size;
    while (end > at && (body.data[end - 1] == '\r' || body.data[end - 1] == ' ')) {
        end--;
    }
    return body.data[end - 1] == '}' ? INFER_NDJSON : INFER_JSON;
}

static enum err_code read_body(struct infer *infer, struct span body, enum infer_format format,
                               struct err *err)
{
    switch (format) {
    case INFER_CSV:
        return infer_read_csv(infer, body, err);
    case INFER_NDJSON:
        return infer_read_ndjson(infer, body, err);
    case INFER_JSON:
        return infer_read_json(infer, body, err);
    }
    assert(false && "an infer_format");
    return ERR_INVALID;
}

static enum err_code conclude(struct infer *infer, struct json **answer_out, struct err *err)
{
    if (infer->records == 0 || infer->columns_count == 0) {
        return err_set(err, ERR_INVALID, "the sample has no whole record with a column");
    }
    infer_decide(infer);
    return infer_answer(infer, answer_out, err);
}

enum err_code infer_body(struct span body, enum infer_format format, struct json **answer_out,
                         struct err *err)
{
    assert(body.size <= INFER_BODY_BYTES_MAX);
    CLEANUP(infer_deinit) struct infer infer;
    infer_init(&infer);
    TRY(read_body(&infer, after_mark(body), format, err));
    return conclude(&infer, answer_out, err);
}

/* ---- rows that have types ---- */

static void take_type(struct infer_column *column, const struct field *field)
{
    column->has_type = true;
    column->type = field->type;
    column->precision = field->precision;
    column->scale = field->scale;
    if (column_type_is_nested(field->type)) {
        infer_take_nested(column, field);
    }
}

static uint64_t slot_hash(const struct column *column, int64_t row)
{
    size_t size = column_type_slot_bytes(column->type);
    const uint8_t *slots = column->values.slots;
    uint64_t hash = hash_checksum(span_of(slots + (size_t)row * size, size));
    return hash != 0 ? hash : 1;
}

static void observe_cell(struct infer *infer, const struct frame *frame, size_t index, int64_t row)
{
    const struct column *column = &frame->columns[index];
    if (!column_is_valid(column, row)) {
        infer_observe_null(infer, index);
    } else if (column->type == COLUMN_STRING) {
        (void)infer_observe(infer, index, INFER_TEXT, column_bytes(column, row));
    } else if (column_type_is_nested(column->type)) {
        infer_observe_typed(infer, index, 1); /* nothing tells them apart: they are no keys */
    } else if (column->type == COLUMN_BINARY) {
        uint64_t hash = hash_checksum(column_bytes(column, row));
        infer_observe_typed(infer, index, hash != 0 ? hash : 1);
    } else {
        infer_observe_typed(infer, index, slot_hash(column, row));
    }
}

enum err_code infer_frame(const struct frame *frame, const struct infer_refused *refused,
                          size_t refused_count, struct json **answer_out, struct err *err)
{
    CLEANUP(infer_deinit) struct infer infer;
    infer_init(&infer);
    infer.refused = refused;
    infer.refused_count = refused_count;
    for (size_t i = 0; i < frame->schema->fields_count; i++) {
        const struct field *field = &frame->schema->fields[i];
        size_t index = 0;
        TRY(infer_column_of(&infer, span_of_text(field->name), SIZE_MAX, &index, err));
        take_type(&infer.columns[index], field);
    }
    for (int64_t row = 0; row < frame->rows_count && row < INFER_RECORDS_MAX; row++) {
        for (size_t i = 0; i < frame->schema->fields_count; i++) {
            observe_cell(&infer, frame, i, row);
        }
        infer_end_record(&infer);
    }
    infer.more = frame->rows_count > INFER_RECORDS_MAX;
    return conclude(&infer, answer_out, err);
}
