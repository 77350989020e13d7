/*
 * Intake. See intake.h for the contract of each step.
 */
#include "handlers/intake.h"

#include "handlers/access_audit.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/audit/audit.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/catalog/dead_letters.h"
#include "storage/columns/inflate.h"
#include "storage/journal/journal.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>

enum {
    RETRY_SECONDS_MAX = 60,
    /* frame and its encoding beside the plain body: "1," of a CSV becomes a slot of 8 or 16 bytes
     */
    DECODED_BYTES_PER_BODY_BYTE = 10,
    FRAME_BYTES_FREE = 4 << 20, /* of any body, however small: columns grow in steps */
};

void intake_init(struct intake *intake, struct services *services, struct exchange *exchange)
{
    *intake = (struct intake){
        .services = services,
        .exchange = exchange,
        .batch = id_new_ordered(),
        .received_at_us = clock_wall_us(),
        .result = HANDLER_DONE,
    };
}

static void release_memory(struct intake *intake)
{
    atomic_fetch_sub_explicit(&intake->services->decode_memory_used, intake->memory_reserved,
                              memory_order_relaxed);
    intake->memory_reserved = 0;
}

void intake_deinit(struct intake *intake)
{
    frame_free(&intake->frame);
    decode_errors_deinit(&intake->errors);
    buffer_deinit(&intake->plain);
    release_memory(intake);
    if (intake->key_claimed) {
        idempotency_end(intake->services->catalog, &intake->key);
    }
    schema_release(&intake->schema);
    table_release(&intake->table);
}

/*
 * Full lanes refuse. By Little's law the age of the oldest batch is about the time
 * the lane takes to drain what is in it: that is when a retry has a chance.
 */
static enum err_code check_lane(struct intake *intake)
{
    struct services *services = intake->services;
    struct exchange *exchange = intake->exchange;
    struct lane_statistics lane;
    TRY(lane_statistics(services->catalog, table_uuid(intake->table), &lane, &exchange->err));
    if (lane.queued_bytes < services->lane_queue_bytes_max &&
        lane.queued_count < services->lane_queue_batches_max) {
        return ERR_OK;
    }
    int64_t seconds = 1 + (clock_wall_us() - lane.oldest_received_us) / 1000000;
    if (seconds < 1 || seconds > RETRY_SECONDS_MAX) {
        seconds = RETRY_SECONDS_MAX;
    }
    exchange_set_header(exchange, "Retry-After", "%" PRId64, seconds);
    return err_set(&exchange->err, ERR_BUSY,
                   "the table's queue is full (%" PRId64 " batches, %" PRId64
                   " bytes); try again after Retry-After",
                   lane.queued_count, lane.queued_bytes);
}

enum err_code intake_open_table(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    if (!audit_healthy(intake->services->audit)) {
        return err_set(&exchange->err, ERR_BUSY,
                       "the audit trail cannot be written, so nothing is accepted; try again");
    }
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    TRY(tables_find(intake->services->tables, name, &intake->table, &exchange->err));
    intake->schema = table_schema(intake->table);
    return check_lane(intake);
}

/* The media type without parameters decides; the server has refused all but these. */
static enum err_code parse_format(struct intake *intake)
{
    struct span type = exchange_header(intake->exchange, "content-type");
    size_t size = 0;
    while (size < type.size && type.data[size] != ';' && type.data[size] != ' ') {
        size++;
    }
    struct span media = span_of(type.data, size);
    if (span_equal_text(media, "application/json")) {
        intake->decode.format = DECODE_JSON_ARRAY;
    } else if (span_equal_text(media, "text/csv")) {
        intake->decode.format = DECODE_CSV;
    } else {
        intake->decode.format = DECODE_NDJSON;
    }
    return ERR_OK;
}

static enum err_code parse_operation(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    struct span name = exchange_query(exchange, "operation");
    intake->decode.operation = intake->schema->merge == TABLE_APPEND ? FRAME_INSERT : FRAME_UPSERT;
    if (name.data != NULL && !frame_operation_parse(name, &intake->decode.operation)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "operation: give upsert, patch, insert or delete");
    }
    return ERR_OK;
}

static enum err_code parse_handling(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    struct span handling = exchange_query(exchange, "handling");
    if (handling.data == NULL && !exchange_prefers(exchange, "handling", &handling)) {
        return ERR_OK;
    }
    intake->strict = span_equal_text(handling, "strict");
    if (!intake->strict && !span_equal_text(handling, "lenient")) {
        return err_set(&exchange->err, ERR_INVALID, "handling: give strict or lenient");
    }
    return ERR_OK;
}

enum err_code intake_parse_options(struct intake *intake)
{
    intake->decode.records_max = intake->services->batch_records_max;
    TRY(parse_format(intake));
    TRY(parse_operation(intake));
    TRY(parse_handling(intake));
    TRY(exchange_query_boolean(intake->exchange, "dry_run", &intake->dry_run));
    return receipt_parse_wait(intake->services, intake->exchange, &intake->wait);
}

static struct span without_quotes(struct span text)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        return span_of(text.data + 1, text.size - 2);
    }
    return text;
}

/* Give the answer that was stored with the key, as it was or as its batch is now. */
static enum handler_result replay_answer(struct intake *intake,
                                         const struct idempotency_answer *answer)
{
    struct exchange *exchange = intake->exchange;
    exchange_set_header(exchange, "Idempotency-Replayed", "true");
    if (answer->batch.text[0] != '\0') {
        return receipt_answer(intake->services, exchange, &answer->batch, &intake->wait);
    }
    exchange->status = answer->status;
    exchange->answer_type = answer->status >= 400 ? "application/problem+json" : NULL;
    buffer_append_span(&exchange->answer, answer->body);
    return HANDLER_DONE;
}

static enum err_code read_key(struct intake *intake, bool *answered_out)
{
    struct exchange *exchange = intake->exchange;
    struct span text = without_quotes(exchange_header(exchange, "idempotency-key"));
    if (text.data == NULL) {
        if (intake->schema->merge == TABLE_APPEND && !intake->dry_run && !intake->key_is_optional) {
            intake->result = problem_answer(
                exchange, 428, "idempotency_key_required",
                "an append table cannot tell a retry from new records; send an Idempotency-Key");
            *answered_out = true;
        }
        return ERR_OK;
    }
    if (text.size == 0 || text.size > IDEMPOTENCY_KEY_BYTES_MAX) {
        return err_set(&exchange->err, ERR_INVALID, "Idempotency-Key: give 1 to %d bytes",
                       IDEMPOTENCY_KEY_BYTES_MAX);
    }
    const char *path = arena_format(&exchange->arena, "%s %.*s", exchange->route->path,
                                    SPAN_PRINT(exchange->parameters[0]));
    idempotency_key_of(&exchange->principal->id, exchange->route->method, path, text, &intake->key);
    intake->has_key = true;
    return ERR_OK;
}

enum err_code intake_claim_key(struct intake *intake, bool *answered_out)
{
    struct exchange *exchange = intake->exchange;
    hash_sha256(exchange->body, intake->body_sha256);
    TRY(read_key(intake, answered_out));
    if (!intake->has_key || *answered_out || intake->dry_run) {
        return ERR_OK;
    }
    enum idempotency_outcome outcome = IDEMPOTENCY_FRESH;
    struct idempotency_answer answer = {0};
    TRY(idempotency_begin(intake->services->catalog, &intake->key, intake->body_sha256,
                          &exchange->arena, &outcome, &answer, &exchange->err));
    switch (outcome) {
    case IDEMPOTENCY_FRESH:
        intake->key_claimed = true;
        return ERR_OK;
    case IDEMPOTENCY_REPLAY:
        intake->result = replay_answer(intake, &answer);
        break;
    case IDEMPOTENCY_MISMATCH:
        intake->result =
            problem_answer(exchange, 422, "idempotency_key_reused",
                           "this Idempotency-Key was used with another body; take a new key for "
                           "new records");
        break;
    case IDEMPOTENCY_IN_FLIGHT:
        exchange_set_header(exchange, "Retry-After", "1");
        intake->result = problem_answer(exchange, 409, "idempotency_in_flight",
                                        "a request with this Idempotency-Key is being worked on; "
                                        "try again to get its answer");
        break;
    }
    *answered_out = true;
    return ERR_OK;
}

/*
 * A deterministic refusal is remembered under the key, so that a retry gets the
 * same answer. Losing this memory is harmless: the body would be judged again.
 */
static void remember_answer(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    if (!intake->key_claimed || exchange->answer.size > IDEMPOTENCY_ANSWER_BYTES_MAX) {
        return;
    }
    struct err ignored = {0};
    err_ignore(idempotency_store(intake->services->catalog, &intake->key, intake->body_sha256,
                                 exchange->status, buffer_span(&exchange->answer),
                                 &ignored)); /* harmless, as said above */
}

/* Take `bytes` of the budget that all bodies share. */
static enum err_code reserve_memory(struct intake *intake, int64_t bytes)
{
    struct services *services = intake->services;
    int64_t wanted =
        bytes < services->decode_memory_bytes_max ? bytes : services->decode_memory_bytes_max;
    int64_t used = atomic_load_explicit(&services->decode_memory_used, memory_order_relaxed);
    do {
        if (wanted > services->decode_memory_bytes_max - used) {
            exchange_set_header(intake->exchange, "Retry-After", "1");
            return err_set(&intake->exchange->err, ERR_BUSY,
                           "too many bodies are being decoded at once; try again");
        }
    } while (!atomic_compare_exchange_weak_explicit(&services->decode_memory_used, &used,
                                                    used + wanted, memory_order_relaxed,
                                                    memory_order_relaxed));
    intake->memory_reserved += wanted;
    return ERR_OK;
}

/* The body as plain bytes: itself, or inflated into intake->plain. */
static enum err_code inflate(struct intake *intake, struct span *plain_out)
{
    struct exchange *exchange = intake->exchange;
    struct span name = exchange_header(exchange, "content-encoding");
    enum content_encoding encoding = CONTENT_IDENTITY;
    if (name.data != NULL && !content_encoding_parse(name, &encoding)) {
        return err_set(&exchange->err, ERR_UNSUPPORTED,
                       "Content-Encoding: send identity, gzip or zstd");
    }
    *plain_out = exchange->body;
    if (encoding == CONTENT_IDENTITY) {
        return reserve_memory(intake, (int64_t)exchange->body.size * DECODED_BYTES_PER_BODY_BYTE);
    }
    int64_t ceiling = (int64_t)exchange->body.size * INFLATE_RATIO_MAX + INFLATE_RATIO_FREE_BYTES;
    if (ceiling > intake->services->batch_body_bytes_max) {
        ceiling = intake->services->batch_body_bytes_max;
    }
    TRY(reserve_memory(intake, ceiling));
    TRY(inflate_body(exchange->body, encoding, intake->services->batch_body_bytes_max,
                     INFLATE_RATIO_MAX, &intake->plain, &exchange->err));
    release_memory(intake);
    *plain_out = buffer_span(&intake->plain);
    return reserve_memory(intake, (int64_t)intake->plain.size * (DECODED_BYTES_PER_BODY_BYTE + 1));
}

enum err_code intake_decode(struct intake *intake, bool *answered_out)
{
    struct exchange *exchange = intake->exchange;
    struct span plain;
    enum err_code code = inflate(intake, &plain);
    if (code == ERR_OK) {
        intake->decode.frame_bytes_max =
            FRAME_BYTES_FREE + (int64_t)plain.size * DECODED_BYTES_PER_BODY_BYTE;
        code = decode_body(plain, intake->schema, &intake->decode, &intake->frame, &intake->errors,
                           &exchange->err);
    }
    if (code == ERR_INVALID || code == ERR_TOO_LARGE || code == ERR_UNSUPPORTED) {
        intake->result = problem_err(exchange);
        remember_answer(intake);
        *answered_out = true;
        return ERR_OK;
    }
    exchange->log_records = intake->errors.received_count;
    return code;
}

/* The kept errors of rejected records as items of a problem or a report. */
static struct problem_item *items_of(struct intake *intake, size_t *count_out)
{
    const struct decode_errors *errors = &intake->errors;
    size_t count =
        errors->items_count < PROBLEM_ERRORS_MAX ? errors->items_count : PROBLEM_ERRORS_MAX;
    struct problem_item *items = arena_alloc(&intake->exchange->arena, (count + 1) * sizeof *items);
    if (items == NULL) {
        *count_out = 0;
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct problem_item){
            .line = errors->items[i].line,
            .pointer = errors->items[i].pointer,
            .code = decode_code_name(errors->items[i].code),
            .message = errors->items[i].message,
        };
    }
    *count_out = count;
    return items;
}

static enum handler_result refuse_batch(struct intake *intake, const char *code, const char *detail)
{
    size_t count = 0;
    struct problem_item *items = items_of(intake, &count);
    enum handler_result result = problem_items(intake->exchange, 422, code, detail, items, count,
                                               (int64_t)intake->errors.items_count);
    remember_answer(intake);
    return result;
}

static enum handler_result report_dry_run(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    size_t count = 0;
    const struct problem_item *items = items_of(intake, &count);
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set(json, "batch_id", json_new_null());
    json_set_text(json, "table", table_name(intake->table));
    json_set_text(json, "state", "dry_run");
    struct json *records = json_new_object();
    json_set_integer(records, "received", intake->errors.received_count);
    json_set_integer(records, "accepted", intake->errors.accepted_count);
    json_set_integer(records, "rejected", intake->errors.rejected_count);
    json_set(json, "records", records);
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *item = json_new_object();
        json_set_integer(item, "line", items[i].line);
        json_set_text(item, "pointer", items[i].pointer);
        json_set_text(item, "code", items[i].code);
        json_set_text(item, "message", items[i].message);
        json_append(list, item);
    }
    json_set(json, "errors", list);
    receipt_set_sha256(json, intake->body_sha256);
    times_set(json, "received_at", intake->received_at_us);
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

enum err_code intake_judge(struct intake *intake, bool *answered_out)
{
    const struct decode_errors *errors = &intake->errors;
    if (intake->dry_run) {
        intake->result = report_dry_run(intake);
    } else if (decode_errors_over_limit(errors)) {
        intake->result = refuse_batch(intake, "too_many_rejected",
                                      "too many records break the table's rules, so the batch is "
                                      "refused whole; correct them and post it again");
    } else if (intake->strict && errors->rejected_count > 0) {
        intake->result = refuse_batch(intake, "rejected_records",
                                      "records break the table's rules and handling is strict; "
                                      "correct them, or post with handling=lenient");
    } else {
        return ERR_OK;
    }
    *answered_out = true;
    return ERR_OK;
}

/*
 * Refused records as errors and, back to back in `payloads`, as dead letters: one
 * a record, under its first error, with the operation that the record asked for. A CSV record is
 * kept behind its header line, so that it can be replayed.
 */
static enum err_code collect_rejected(struct intake *intake, struct buffer *payloads,
                                      struct record_error **errors_out, size_t *count_out)
{
    const struct decode_errors *decoded = &intake->errors;
    struct record_error *errors =
        arena_alloc(&intake->exchange->arena, (decoded->items_count + 1) * sizeof *errors);
    if (errors == NULL) {
        return err_set(&intake->exchange->err, ERR_TOO_LARGE,
                       "the batch has more record errors than fit its memory limit; post fewer "
                       "records at a time");
    }
    for (size_t i = 0; i < decoded->items_count; i++) {
        const struct decode_error *item = &decoded->items[i];
        errors[i] = (struct record_error){
            .line = item->line,
            .pointer = span_of_text(item->pointer),
            .code = span_of_text(decode_code_name(item->code)),
            .message = span_of_text(item->message),
            .payload_size = -1,
        };
    }
    for (size_t i = 0; i < decoded->rejected_kept; i++) {
        const struct decode_rejected *rejected = &decoded->rejected[i];
        struct record_error *first = &errors[rejected->errors_first];
        first->operation = rejected->operation;
        first->payload_start = (int64_t)payloads->size;
        if (decoded->csv_header.size > 0) {
            buffer_append_span(payloads, decoded->csv_header);
            buffer_append_byte(payloads, '\n');
        }
        buffer_append_span(payloads, rejected->payload);
        first->payload_size = (int64_t)payloads->size - first->payload_start;
    }
    *errors_out = errors;
    *count_out = decoded->items_count;
    return buffer_check(payloads, "the batch's refused records", &intake->exchange->err);
}

/* Where the journals hold what an acceptance refers to. */
struct written {
    struct location frame;
    struct location payloads;
};

static enum err_code write_frame(struct intake *intake, struct written *written)
{
    if (intake->frame->rows_count == 0) {
        return ERR_OK; /* every record was refused: there is nothing to merge */
    }
    struct buffer bytes;
    buffer_init(&bytes, JOURNAL_RECORD_BYTES_MAX);
    frame_encode(intake->frame, &bytes);
    enum err_code code = buffer_check(&bytes, "the batch", &intake->exchange->err);
    if (code == ERR_OK) {
        code = journal_append(intake->services->journal, buffer_span(&bytes), &written->frame,
                              &intake->exchange->err);
    }
    buffer_deinit(&bytes);
    return code;
}

static enum err_code write_payloads(struct intake *intake, const struct buffer *payloads,
                                    struct written *written)
{
    if (payloads->size == 0) {
        return ERR_OK;
    }
    return journal_append(intake->services->dead_letters, buffer_span(payloads), &written->payloads,
                          &intake->exchange->err);
}

/* The catalog refers to the records now, or nobody ever will. */
static void settle_written(struct intake *intake, const struct written *written)
{
    if (location_is_set(&written->frame)) {
        journal_settle(intake->services->journal, &written->frame);
    }
    if (location_is_set(&written->payloads)) {
        journal_settle(intake->services->dead_letters, &written->payloads);
    }
}

static struct batch_accept acceptance_of(struct intake *intake, const struct written *written)
{
    return (struct batch_accept){
        .id = intake->batch,
        .table = *table_uuid(intake->table),
        .principal = intake->exchange->principal->id,
        .operation = intake->decode.operation,
        .schema_version = intake->schema->version,
        .received = intake->errors.received_count,
        .accepted = intake->errors.accepted_count,
        .rejected = intake->errors.rejected_count,
        .body_bytes = (int64_t)intake->exchange->body.size,
        .received_at_us = intake->received_at_us,
        .frame = written->frame,
        .payloads = written->payloads,
        .key = intake->key_claimed ? &intake->key : NULL,
        .idempotency_status = 202,
    };
}

/* The batch is durable: record who gave it, and tell its merger. */
static enum err_code announce(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    intake->services->wake_lane(intake->services->wake_arg, table_uuid(intake->table));
    (void)snprintf(exchange->log_table, sizeof exchange->log_table, "%s",
                   table_name(intake->table)); /* names fit */
    return access_audit_write(
        intake->services, exchange, "batch.accept",
        arena_format(&exchange->arena, "%s/%s", table_name(intake->table), intake->batch.text),
        intake->errors.accepted_count);
}

static enum err_code accept_with(struct intake *intake, const struct buffer *payloads,
                                 struct record_error *errors, size_t errors_count,
                                 const struct id *letter, bool forced)
{
    struct written written = {0};
    enum err_code code = write_frame(intake, &written);
    if (code == ERR_OK) {
        code = write_payloads(intake, payloads, &written);
    }
    if (code == ERR_OK) {
        /* The catalog syncs both logs before the commit that refers to them. */
        struct batch_accept accept = acceptance_of(intake, &written);
        memcpy(accept.body_sha256, intake->body_sha256, sizeof accept.body_sha256);
        accept.errors = errors;
        accept.errors_count = errors_count;
        int64_t position = 0;
        code = letter == NULL ? batch_accept(intake->services->catalog, &accept, &position,
                                             &intake->exchange->err)
                              : dead_letter_replay(intake->services->catalog, letter, forced,
                                                   &accept, &position, &intake->exchange->err);
    }
    settle_written(intake, &written);
    TRY(code);
    return announce(intake);
}

enum err_code intake_accept(struct intake *intake)
{
    struct buffer payloads;
    buffer_init(&payloads, JOURNAL_RECORD_BYTES_MAX);
    struct record_error *errors = NULL;
    size_t count = 0;
    enum err_code code = collect_rejected(intake, &payloads, &errors, &count);
    if (code == ERR_OK) {
        code = accept_with(intake, &payloads, errors, count, NULL, false);
    }
    buffer_deinit(&payloads);
    return code;
}

enum err_code intake_accept_replay(struct intake *intake, const struct id *letter, bool forced)
{
    assert(intake->errors.rejected_count == 0); /* a replay is judged strictly */
    struct buffer payloads;
    buffer_init(&payloads, 1);
    return accept_with(intake, &payloads, NULL, 0, letter, forced);
}
