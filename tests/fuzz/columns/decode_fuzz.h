/*
 * What the fuzz targets of the decoders share: a table with every type and rule,
 * and what must hold whatever a body says. Included by one target each.
 */
#pragma once

#include "storage/base/json.h"
#include "storage/base/text.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/pattern.h"

#include <assert.h>

static const char decode_fuzz_definition[] =
    "{\"schema\":{\"fields\":["
    "{\"name\":\"k\",\"type\":\"string\",\"nullable\":false,\"max_length\":8},"
    "{\"name\":\"at\",\"type\":\"long\",\"nullable\":false,\"minimum\":0},"
    "{\"name\":\"i\",\"type\":\"integer\",\"minimum\":-5,\"maximum\":100},"
    "{\"name\":\"f\",\"type\":\"double\"},"
    "{\"name\":\"b\",\"type\":\"boolean\"},"
    "{\"name\":\"day\",\"type\":\"date\",\"nullable\":false},"
    "{\"name\":\"time\",\"type\":\"timestamp\"},"
    "{\"name\":\"d\",\"type\":\"decimal(10,2)\"},"
    "{\"name\":\"wide\",\"type\":\"decimal(38,10)\"},"
    "{\"name\":\"raw\",\"type\":\"binary\",\"max_length\":4},"
    "{\"name\":\"npi\",\"type\":\"string\",\"format\":\"npi\"},"
    "{\"name\":\"one_of\",\"type\":\"string\",\"enum\":[\"x\",\"yy\"]},"
    "{\"name\":\"a_name_of_sixteen_bytes_or_more\",\"type\":\"string\",\"pattern\":\"[a-z]+\"},"
    "{\"name\":\"s\",\"type\":{\"type\":\"struct\",\"fields\":["
    "{\"name\":\"x\",\"type\":\"string\",\"max_length\":3},"
    "{\"name\":\"y\",\"type\":{\"type\":\"array\",\"elementType\":\"float\"},\"nullable\":false}]}}"
    ","
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"keyType\":\"short\",\"valueType\":{\"type\":"
    "\"map\","
    "\"keyType\":\"string\",\"valueType\":{\"type\":\"struct\",\"fields\":[{\"name\":\"z\","
    "\"type\":\"timestamp_ntz\"}]}}}}]},"
    "\"key\":[\"k\"],\"sequence_by\":\"at\",\"merge\":\"deletion-vectors\"}";

static struct schema *decode_fuzz_schema_of(const char *text)
{
    struct json *json = NULL;
    struct schema *schema = NULL;
    struct err err = {0};
    enum err_code code = json_parse(span_of_text(text), &json, &err);
    assert(code == ERR_OK);
    code = schema_parse(json, &schema, &err);
    assert(code == ERR_OK);
    json_free(&json);
    return schema;
}

static const struct schema *decode_fuzz_schema(void)
{
    return decode_fuzz_schema_of(decode_fuzz_definition);
}

static inline void decode_fuzz_check_text(struct span text)
{
    size_t bad_offset = 0;
    assert(text_is_utf8(text, &bad_offset));
    assert(text.size == 0 || memchr(text.data, 0, text.size) == NULL);
}

static inline void decode_fuzz_check_rules(const struct field *field, struct span text)
{
    assert(field->max_length < 0 || text_code_points(text) <= (size_t)field->max_length);
    assert(field->format == FORMAT_NONE || field_format_holds(field->format, text));
    assert(field->pattern == NULL || field_pattern_holds(field->pattern, text));
}

/* Every accepted row obeys the schema. */
static inline void decode_fuzz_check_frame(const struct frame *frame)
{
    frame_check(frame);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        enum frame_operation operation = frame_operation_at(frame, row);
        bool full = operation == FRAME_UPSERT || operation == FRAME_INSERT;
        assert(column_is_valid(&frame->columns[0], row));
        assert(column_is_valid(&frame->columns[1], row));
        assert(!full || column_is_valid(&frame->columns[5], row));
        for (size_t i = 0; i < frame->schema->fields_count; i++) {
            const struct column *column = &frame->columns[i];
            const struct field *field = &frame->schema->fields[i];
            assert(operation == FRAME_PATCH || column_is_present(column, row));
            if (field->type == COLUMN_STRING && column_is_valid(column, row)) {
                struct span text = column_bytes(column, row);
                decode_fuzz_check_text(text);
                if (operation != FRAME_DELETE || i == 0) {
                    decode_fuzz_check_rules(field, text);
                }
            }
        }
    }
}

static inline void decode_fuzz_check_errors(struct span body, const struct decode_errors *errors)
{
    assert(errors->received_count > 0);
    assert(errors->received_count == errors->accepted_count + errors->rejected_count);
    for (size_t i = 0; i < errors->rejected_kept; i++) {
        const struct decode_rejected *rejected = &errors->rejected[i];
        assert(rejected->errors_count > 0);
        assert(rejected->payload.data >= body.data);
        assert(rejected->payload.size <= (size_t)(body.data + body.size - rejected->payload.data));
    }
    for (size_t i = 0; i < errors->items_count; i++) {
        assert(errors->items[i].message[0] != '\0');
        decode_fuzz_check_text(span_of_text(errors->items[i].message));
        decode_fuzz_check_text(span_of_text(errors->items[i].pointer));
    }
}

/* A rejected record is rejected again when it comes alone, as a replay of a dead letter would. */
static inline void decode_fuzz_replay(const struct schema *schema,
                                      const struct decode_options *options, struct span header,
                                      struct span payload)
{
    CLEANUP(buffer_deinit) struct buffer alone;
    buffer_init(&alone, header.size + payload.size + 1);
    if (header.size > 0) {
        buffer_append_span(&alone, header);
        buffer_append_byte(&alone, '\n');
    } else if (payload.size >= 3 && memcmp(payload.data, "\xef\xbb\xbf", 3) == 0) {
        return; /* alone, this would be a byte order mark */
    }
    buffer_append_span(&alone, payload);
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    if (decode_body(buffer_span(&alone), schema, options, &frame, &errors, &err) == ERR_OK) {
        assert(errors.accepted_count == 0);
    }
}

/* What was accepted as a whole row is printed as a record that is accepted as the same row. */
static inline void decode_fuzz_print_and_read(const struct frame *frame)
{
    const struct decode_options options = {.format = DECODE_NDJSON, .record_bytes_max = 1 << 28};
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(buffer_deinit) struct buffer again;
    buffer_init(&text, 1 << 28);
    buffer_init(&again, 1 << 28);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        enum frame_operation operation = frame_operation_at(frame, row);
        if (operation == FRAME_UPSERT || operation == FRAME_INSERT) {
            encode_json_row(frame, row, NULL, &text);
            buffer_append_byte(&text, '\n');
        }
    }
    if (text.size == 0) {
        return;
    }
    CLEANUP(frame_free) struct frame *read = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    enum err_code code =
        decode_body(buffer_span(&text), frame->schema, &options, &read, &errors, &err);
    assert(code == ERR_OK);
    assert(errors.rejected_count == 0);
    for (int64_t row = 0; row < read->rows_count; row++) {
        encode_json_row(read, row, NULL, &again);
        buffer_append_byte(&again, '\n');
    }
    assert(span_equal(buffer_span(&text), buffer_span(&again)));
}

enum { DECODE_FUZZ_RECORDS_MAX = 4, DECODE_FUZZ_BYTES_MAX = 60 };

/* A body within the limits is taken as without them; one beyond is refused and names the limit. */
static inline void decode_fuzz_limits(const struct schema *schema, enum decode_format format,
                                      struct span body, const struct frame *whole)
{
    const struct decode_options options = {.format = format,
                                           .operation = FRAME_INSERT,
                                           .records_max = DECODE_FUZZ_RECORDS_MAX,
                                           .record_bytes_max = DECODE_FUZZ_BYTES_MAX,
                                           .frame_bytes_max = 1000};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    enum err_code code = decode_body(body, schema, &options, &frame, &errors, &err);
    assert(code == ERR_OK || code == ERR_TOO_LARGE || code == ERR_INVALID);
    if (code == ERR_OK) {
        assert(errors.received_count <= DECODE_FUZZ_RECORDS_MAX);
        assert(errors.received_count > whole->rows_count || frame->rows_count == whole->rows_count);
    }
}

/* Memory for one row takes a body of one record and no more; an append table takes inserts only. */
static inline void decode_fuzz_refusals(const struct schema *schema, enum decode_format format,
                                        struct span body, int64_t received)
{
    static const char text[] = "{\"schema\":{\"fields\":[{\"name\":\"k\",\"type\":\"string\"}]},"
                               "\"merge\":\"append\"}";
    struct decode_options options = {.format = format, .frame_bytes_max = 1};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    static const struct schema *append;
    append = append != NULL ? append : decode_fuzz_schema_of(text);
    struct err err = {0};
    enum err_code code = decode_body(body, schema, &options, &frame, &errors, &err);
    assert(received <= 1 || code != ERR_OK || frame->rows_count <= 1);
    decode_errors_deinit(&errors);
    frame_free(&frame);
    err_clear(&err);
    options.operation = FRAME_UPSERT;
    code = decode_body(body, append, &options, &frame, &errors, &err);
    assert(code == ERR_INVALID);
}

/* Rows that were accepted are put aside one by one, as an expectation of a job does. */
static inline void decode_fuzz_reject(struct decode_errors *errors)
{
    enum { TURNS = 3 };
    CLEANUP(decode_errors_deinit)
    struct decode_errors of_frame = {.received_count = 1, .accepted_count = 1};
    const struct decode_error fault = {
        .code = DECODE_EXPECTATION, .pointer = "/k", .message = "put aside"};
    bool noted = decode_errors_reject(&of_frame, &(struct decode_rejected){0}, &fault);
    assert(noted && of_frame.rejected_count == 1);
    for (int i = 0; i < TURNS && errors->accepted_count > 0; i++) {
        const struct decode_rejected rejected = {.line = i};
        int64_t accepted = errors->accepted_count;
        bool kept = decode_errors_reject(errors, &rejected, &fault);
        assert(kept && errors->accepted_count == accepted - 1);
        const struct decode_rejected *last = &errors->rejected[errors->rejected_kept - 1];
        assert(last->errors_count == 1 && last->errors_unkept == 0);
        const struct decode_error *item = &errors->items[last->errors_first];
        assert(strcmp(decode_code_name(item->code), "expectation") == 0);
        assert(strcmp(item->message, fault.message) == 0);
    }
    assert(errors->received_count == errors->accepted_count + errors->rejected_count);
    assert(errors->rejected_count > DECODE_REJECTED_RECORDS_MIN ||
           !decode_errors_over_limit(errors));
}

static inline void decode_fuzz_one(const struct schema *schema, enum decode_format format,
                                   struct span body)
{
    const struct decode_options options = {.format = format, .records_max = 5000};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    if (decode_body(body, schema, &options, &frame, &errors, &err) != ERR_OK) {
        assert(err.msg[0] != '\0');
        assert(frame == NULL);
        return;
    }
    decode_fuzz_check_frame(frame);
    decode_fuzz_check_errors(body, &errors);
    decode_fuzz_print_and_read(frame);
    decode_fuzz_limits(schema, format, body, frame);
    decode_fuzz_refusals(schema, format, body, errors.received_count);
    for (size_t i = 0; i < errors.rejected_kept && i < 3; i++) {
        decode_fuzz_replay(schema, &options, errors.csv_header, errors.rejected[i].payload);
    }
    decode_fuzz_reject(&errors);
}
