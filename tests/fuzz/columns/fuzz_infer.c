/*
 * Target: infer_body. First byte: the format. Anything may be refused; what is
 * inferred must take the sample it was inferred from, but for the records that were
 * left out of it.
 */
#include "storage/columns/decode.h"
#include "storage/columns/infer.h"
#include <assert.h>

/* Would a member that no column has, or a text that no column takes, refuse records? */
static bool is_exact(const struct json *answer, struct span body)
{
    bool more = true;
    (void)json_as_boolean(json_find(answer, span_of_text("/sample/more")), &more);
    return !more && json_count(json_get(answer, "renamed")) == 0 &&
           json_count(json_get(answer, "left_out")) == 0 &&
           memmem(body.data, body.size, "\\u0000", 6) == NULL;
}

static void check_takes_sample(const struct json *answer, struct span body,
                               enum infer_format format)
{
    struct err err = {0};
    struct schema *schema = NULL;
    struct frame *frame = NULL;
    struct decode_errors errors = {0};
    bool parsed = schema_parse(json_get(answer, "definition"), &schema, &err) == ERR_OK;
    assert(parsed);
    int64_t malformed = 0;
    bool cut_off = false;
    (void)json_as_integer(json_find(answer, span_of_text("/sample/malformed")), &malformed);
    (void)json_as_boolean(json_find(answer, span_of_text("/sample/cut_off")), &cut_off);
    const struct decode_options options = {
        .format = format == INFER_CSV      ? DECODE_CSV
                  : format == INFER_NDJSON ? DECODE_NDJSON
                                           : DECODE_JSON_ARRAY,
        .operation = schema->merge == TABLE_APPEND ? FRAME_INSERT : FRAME_UPSERT};
    if (is_exact(answer, body) &&
        decode_body(body, schema, &options, &frame, &errors, &err) == ERR_OK) {
        assert(errors.rejected_count <= malformed + cut_off);
    }
    frame_free(&frame);
    decode_errors_deinit(&errors);
    schema_release(&schema);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum infer_format format = (enum infer_format)(data[0] % 3);
    struct span body = span_of(data + 1, size - 1);
    struct json *answer = NULL;
    struct err err = {0};
    (void)infer_guess_format(body); /* any bytes */
    if (infer_body(body, format, &answer, &err) == ERR_OK) {
        check_takes_sample(answer, body, format);
    }
    json_free(&answer);
    return 0;
}
