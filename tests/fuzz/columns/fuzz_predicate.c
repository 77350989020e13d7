/*
 * Conditions as texts: reading ends, and NOT of what was read says the opposite.
 */
#include "storage/base/buffer.h"
#include "storage/columns/predicate.h"
#include "tests/fuzz/columns/columns_fuzz.h"

#include <assert.h>

/* A row of nulls and one of values. */
static struct frame *rows_of(const struct schema *schema)
{
    struct frame *frame = frame_new(schema);
    for (int row = 0; row < 2; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            struct column *column = &frame->columns[i];
            enum column_type type = schema->fields[i].type;
            size_t slot = column_type_slot_bytes(type);
            if (row == 0 || column_type_is_nested(type)) {
                column_append_null(column);
            } else if (slot == 0) {
                column_append_bytes(column, span_of_text("c7"));
            } else if (type == COLUMN_DOUBLE || type == COLUMN_FLOAT) {
                column_append_f64(column, 7.5);
            } else if (type == COLUMN_DECIMAL) {
                column_append_i128(column, 7500);
            } else if (slot == sizeof(int64_t)) {
                column_append_i64(column, 7);
            } else if (slot == sizeof(int32_t)) {
                column_append_i32(column, 7);
            } else {
                column_append_u8(column, 1);
            }
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    return frame;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    static struct frame *frame;
    struct err err = {0};
    CLEANUP(predicate_free) struct predicate *predicate = NULL;
    CLEANUP(predicate_free) struct predicate *opposite = NULL;
    if (schema == NULL) {
        schema = columns_fuzz_schema();
        frame = rows_of(schema);
    }
    if (predicate_parse(span_of(data, size), schema, &predicate, &err) != ERR_OK) {
        assert(err.code == ERR_UNSUPPORTED || err.code == ERR_TOO_LARGE);
        return 0;
    }
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "NOT (");
    buffer_append(&text, data, size);
    buffer_append_text(&text, ")");
    bool parsed = predicate_parse(buffer_span(&text), schema, &opposite, &err) == ERR_OK;
    for (int64_t row = 0; parsed && row < frame->rows_count; row++) {
        enum predicate_value value = predicate_evaluate(predicate, frame, row);
        enum predicate_value other = predicate_evaluate(opposite, frame, row);
        assert(value == PREDICATE_UNKNOWN
                   ? other == PREDICATE_UNKNOWN
                   : (value == PREDICATE_TRUE) == (other == PREDICATE_FALSE));
    }
    return 0;
}
