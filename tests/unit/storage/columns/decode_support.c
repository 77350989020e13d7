/*
 * See decode_support.h.
 */
#include "decode_support.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/columns/encode_json.h"

#include <criterion/criterion.h>

struct schema *decode_test_schema(const char *definition)
{
    CLEANUP(mem_cleanup) char *text = mem_copy_text(definition);
    for (char *p = text; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    CLEANUP(json_free) struct json *json = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(schema_parse(json, &schema, &err), ERR_OK, "%s", err.msg);
    return schema;
}

static void describe_value(struct buffer *out, const struct field *field,
                           const struct column *column, int64_t row)
{
    char text[TEXT_DECIMAL_BYTES];
    if (!column_is_valid(column, row)) {
        buffer_append_text(out, column_is_present(column, row) ? "~" : "?");
        return;
    }
    switch (field->type) {
    case COLUMN_STRING:
        buffer_append_span(out, column_bytes(column, row));
        break;
    case COLUMN_BINARY:
        text_hex_encode(column_bytes(column, row), out);
        break;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
        buffer_append(out, text, text_format_double(column->values.f64[row], text));
        break;
    case COLUMN_BOOLEAN:
        buffer_append_text(out, column->values.u8[row] != 0 ? "true" : "false");
        break;
    case COLUMN_DATE:
        buffer_append(out, text, text_format_date(column->values.i32[row], text));
        break;
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        buffer_append(out, text, text_format_timestamp(column->values.i64[row], text));
        break;
    case COLUMN_DECIMAL:
        buffer_append(out, text, text_format_decimal(column->values.i128[row], field->scale, text));
        break;
    case COLUMN_LONG:
        buffer_append_format(out, "%lld", (long long)column->values.i64[row]);
        break;
    default:
        buffer_append_format(out, "%d", column->values.i32[row]);
        break;
    }
}

static void describe_rows(struct buffer *out, const struct frame *frame)
{
    for (int64_t row = 0; row < frame->rows_count; row++) {
        buffer_append_format(out, "%s%lld %s ", out->size > 0 ? "; " : "",
                             (long long)frame->lines[row],
                             frame_operation_name(frame_operation_at(frame, row)));
        for (size_t i = 0; i < frame->schema->fields_count; i++) {
            buffer_append_text(out, i > 0 ? "|" : "");
            if (column_type_is_nested(frame->columns[i].type) &&
                column_is_valid(&frame->columns[i], row)) {
                encode_json_value(frame, i, row, out);
            } else {
                describe_value(out, &frame->schema->fields[i], &frame->columns[i], row);
            }
        }
    }
}

static void describe_errors(struct buffer *out, const struct decode_errors *errors)
{
    for (size_t i = 0; i < errors->items_count; i++) {
        const struct decode_error *item = &errors->items[i];
        buffer_append_format(out, "%s!%lld %s %s", out->size > 0 ? "; " : "", (long long)item->line,
                             item->pointer, decode_code_name(item->code));
    }
}

static void check_payloads(struct span body, const struct decode_errors *errors)
{
    const uint8_t *after = body.data;
    for (size_t i = 0; i < errors->rejected_kept; i++) {
        const struct decode_rejected *rejected = &errors->rejected[i];
        cr_assert(rejected->payload.data >= after);
        after = rejected->payload.data + rejected->payload.size;
        cr_assert(after <= body.data + body.size);
        cr_assert_gt(rejected->errors_count, 0);
        cr_assert_leq(rejected->errors_count, DECODE_RECORD_ERRORS_MAX);
        cr_assert_leq(rejected->errors_first + rejected->errors_count, errors->items_count);
        for (size_t e = 0; e < rejected->errors_count; e++) {
            cr_assert_eq(errors->items[rejected->errors_first + e].line, rejected->line);
        }
    }
}

char *decode_test_describe(struct span body, const struct schema *schema,
                           const struct decode_options *options)
{
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    CLEANUP(buffer_deinit) struct buffer out;
    struct err err = {0};
    buffer_init(&out, 1 << 26);
    enum err_code code = decode_body(body, schema, options, &frame, &errors, &err);
    if (code != ERR_OK) {
        cr_assert_null(frame);
        cr_assert_null(errors.items);
        cr_assert_eq(errors.received_count, 0);
        buffer_append_format(&out, "%s: %s", err_code_name(code), err.msg);
    } else {
        frame_check(frame);
        cr_assert_eq(errors.accepted_count, frame->rows_count);
        cr_assert_eq(errors.received_count, errors.accepted_count + errors.rejected_count);
        check_payloads(body, &errors);
        describe_rows(&out, frame);
        describe_errors(&out, &errors);
    }
    buffer_append_byte(&out, 0);
    cr_assert_not(out.overflowed);
    return mem_copy_text((const char *)out.data);
}

void decode_test_expect(const char *name, struct span body, const struct schema *schema,
                        const struct decode_options *options, const char *expected)
{
    CLEANUP(mem_cleanup) char *actual = decode_test_describe(body, schema, options);
    cr_expect_str_eq(actual, expected, "%s:\n  expected %s\n  got      %s", name, expected, actual);
}
