/*
 * Inference: POST /v1/infer. A sample in, a definition out; nothing is stored.
 */
#include "generated/operations.h"

#include "handlers/problem.h"
#include "handlers/services.h"
#include "storage/columns/infer.h"
#include "storage/columns/inflate.h"
#include "storage/intake/intake.h"
#include "storage/snapshot/infer_parquet.h"

#include <string.h>

enum {
    /* values kept for judging keys, columns of frames, documents of JSON */
    WORK_BYTES_PER_BYTE = 4,
    WORK_BYTES_FREE = 16 << 20,
};

static bool is_parquet(struct span body)
{
    return body.size >= 8 && memcmp(body.data, "PAR1", 4) == 0 &&
           memcmp(body.data + body.size - 4, "PAR1", 4) == 0;
}

/* By the media type where it says something, else by how the sample begins. */
static enum err_code infer_plain(struct exchange *exchange, struct span body,
                                 struct json **answer_out)
{
    struct span media = exchange_media_type(exchange);
    if (span_equal_text(media, "application/vnd.apache.parquet") ||
        (span_equal_text(media, "application/octet-stream") && is_parquet(body))) {
        return infer_parquet(body, answer_out, &exchange->err);
    }
    enum infer_format format = infer_guess_format(body);
    if (span_equal_text(media, "text/csv")) {
        format = INFER_CSV;
    } else if (span_equal_text(media, "application/json")) {
        format = INFER_JSON;
    } else if (span_equal_text(media, "application/x-ndjson") ||
               span_equal_text(media, "application/jsonl")) {
        format = INFER_NDJSON;
    }
    return infer_body(body, format, answer_out, &exchange->err);
}

static enum err_code infer_sample(struct services *services, struct exchange *exchange,
                                  struct json **answer_out)
{
    enum content_encoding encoding = CONTENT_IDENTITY;
    struct span name = exchange_header(exchange, "content-encoding");
    if (name.data != NULL && !content_encoding_parse(name, &encoding)) {
        return err_set(&exchange->err, ERR_UNSUPPORTED,
                       "Content-Encoding: give gzip or zstd, or send the sample as it is");
    }
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    struct span body = exchange->body;
    if (encoding != CONTENT_IDENTITY) {
        TRY(inflate_body(body, encoding, INFER_BODY_BYTES_MAX, INFLATE_RATIO_MAX, &plain,
                         &exchange->err));
        body = buffer_span(&plain);
    }
    /* one budget for all who decode: samples wait their turn like bodies do */
    CLEANUP(intake_batch_deinit) struct intake_batch memory;
    intake_batch_init(&memory, &services->intake);
    TRY(intake_batch_reserve(&memory, (int64_t)body.size * WORK_BYTES_PER_BYTE + WORK_BYTES_FREE,
                             &exchange->err));
    return infer_plain(exchange, body, answer_out);
}

enum handler_result handle_table_infer(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (infer_sample(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
