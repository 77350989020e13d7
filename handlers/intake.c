/*
 * Intake. See intake.h for the contract of each step.
 */
#include "handlers/intake.h"

#include "handlers/access_audit.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/audit/audit.h"
#include "storage/base/hash.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>

void intake_init(struct intake *intake, struct services *services, struct exchange *exchange)
{
    *intake = (struct intake){
        .services = services,
        .exchange = exchange,
        .result = HANDLER_DONE,
    };
    intake_batch_init(&intake->batch, &services->intake);
}

void intake_deinit(struct intake *intake)
{
    intake_batch_deinit(&intake->batch);
    if (intake->key_claimed) {
        idempotency_end(intake->services->catalog, &intake->key);
    }
    table_release(&intake->table);
}

static enum err_code check_lane(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    int64_t seconds = 0;
    enum err_code code = intake_check_lane(&intake->services->intake, table_uuid(intake->table),
                                           &seconds, &exchange->err);
    if (code == ERR_BUSY) {
        exchange_set_header(exchange, "Retry-After", "%" PRId64, seconds);
    }
    return code;
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
    intake->batch.schema = table_schema(intake->table);
    return check_lane(intake);
}

/* The media type without parameters decides; the server has refused all but these. */
static enum err_code parse_format(struct intake *intake)
{
    struct span media = exchange_media_type(intake->exchange);
    if (span_equal_text(media, "application/json")) {
        intake->batch.decode.format = DECODE_JSON_ARRAY;
    } else if (span_equal_text(media, "text/csv")) {
        intake->batch.decode.format = DECODE_CSV;
    } else {
        intake->batch.decode.format = DECODE_NDJSON;
    }
    return ERR_OK;
}

static enum err_code parse_operation(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    struct span name = exchange_query(exchange, "operation");
    intake->batch.decode.operation =
        intake->batch.schema->merge == TABLE_APPEND ? FRAME_INSERT : FRAME_UPSERT;
    if (name.data != NULL && !frame_operation_parse(name, &intake->batch.decode.operation)) {
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
        if (intake->batch.schema->merge == TABLE_APPEND && !intake->dry_run &&
            !intake->key_is_optional) {
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

static enum err_code parse_encoding(struct intake *intake, enum content_encoding *encoding_out)
{
    struct exchange *exchange = intake->exchange;
    struct span name = exchange_header(exchange, "content-encoding");
    *encoding_out = CONTENT_IDENTITY;
    if (name.data != NULL && !content_encoding_parse(name, encoding_out)) {
        return err_set(&exchange->err, ERR_UNSUPPORTED,
                       "Content-Encoding: send identity, gzip or zstd");
    }
    return ERR_OK;
}

enum err_code intake_decode(struct intake *intake, bool *answered_out)
{
    struct exchange *exchange = intake->exchange;
    enum content_encoding encoding = CONTENT_IDENTITY;
    enum err_code code = parse_encoding(intake, &encoding);
    if (code == ERR_OK) {
        code = intake_batch_decode(&intake->batch, exchange->body, encoding, &exchange->err);
    }
    if (code == ERR_INVALID || code == ERR_TOO_LARGE || code == ERR_UNSUPPORTED) {
        intake->result = problem_err(exchange);
        remember_answer(intake);
        *answered_out = true;
        return ERR_OK;
    }
    if (code == ERR_BUSY) {
        exchange_set_header(exchange, "Retry-After", "1");
    }
    exchange->log_records = intake->batch.errors.received_count;
    return code;
}

/* The kept errors of rejected records as items of a problem or a report. */
static struct problem_item *items_of(struct intake *intake, size_t *count_out)
{
    const struct decode_errors *errors = &intake->batch.errors;
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
                                               (int64_t)intake->batch.errors.items_count);
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
    json_set_integer(records, "received", intake->batch.errors.received_count);
    json_set_integer(records, "accepted", intake->batch.errors.accepted_count);
    json_set_integer(records, "rejected", intake->batch.errors.rejected_count);
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
    times_set(json, "received_at", intake->batch.received_at_us);
    exchange_answer_json(exchange, 200, &json);
    return HANDLER_DONE;
}

enum err_code intake_judge(struct intake *intake, bool *answered_out)
{
    *answered_out = true;
    if (intake->dry_run) {
        intake->result = report_dry_run(intake);
        return ERR_OK;
    }
    switch (intake_batch_judge(&intake->batch, intake->strict)) {
    case INTAKE_GOOD:
        *answered_out = false;
        break;
    case INTAKE_TOO_MANY_REJECTED:
        intake->result = refuse_batch(intake, "too_many_rejected",
                                      "too many records break the table's rules, so the batch is "
                                      "refused whole; correct them and post it again");
        break;
    case INTAKE_REJECTED_STRICTLY:
        intake->result = refuse_batch(intake, "rejected_records",
                                      "records break the table's rules and handling is strict; "
                                      "correct them, or post with handling=lenient");
        break;
    }
    return ERR_OK;
}

static struct intake_origin origin_of(const struct intake *intake)
{
    struct intake_origin origin = {
        .table = *table_uuid(intake->table),
        .principal = intake->exchange->principal->id,
        .body_bytes = (int64_t)intake->exchange->body.size,
        .key = intake->key_claimed ? &intake->key : NULL,
    };
    memcpy(origin.body_sha256, intake->body_sha256, sizeof origin.body_sha256);
    return origin;
}

/* Record who gives the batch; the record becomes durable with it. */
static enum err_code announce(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    exchange_note_table(exchange, table_name(intake->table));
    intake->resource =
        arena_format(&exchange->arena, "%s/%s", table_name(intake->table), intake->batch.id.text);
    return access_audit_promise(intake->services, exchange, "batch.accept", intake->resource,
                                intake->batch.errors.accepted_count);
}

/* The batch is durable: tell its merger. Or it is not: the trail has said too much. */
static enum err_code settle(struct intake *intake, enum err_code code)
{
    if (code == ERR_OK) {
        intake->services->wake_lane(intake->services->wake_arg, table_uuid(intake->table));
    } else {
        access_audit_broken(intake->services, intake->exchange, "batch.accept", intake->resource);
    }
    return code;
}

/* The batch as the catalog has it now. */
static struct batch batch_of(const struct intake *intake)
{
    const struct intake_batch *accepted = &intake->batch;
    bool nothing_to_merge = accepted->errors.accepted_count == 0;
    struct batch batch = {
        .id = accepted->id,
        .table = *table_uuid(intake->table),
        .principal = intake->exchange->principal->id,
        .state = nothing_to_merge ? BATCH_INDEXED : BATCH_DURABLE,
        .received = accepted->errors.received_count,
        .accepted = accepted->errors.accepted_count,
        .rejected = accepted->errors.rejected_count,
        .version = -1,
        .received_at_us = accepted->received_at_us,
    };
    memcpy(batch.body_sha256, intake->body_sha256, sizeof batch.body_sha256);
    return batch;
}

/* On the catalog's answering thread. */
static void answer_accepted(void *arg, enum err_code code)
{
    struct intake *intake = arg;
    struct services *services = intake->services;
    struct exchange *exchange = intake->exchange;
    const struct receipt_wait wait = intake->wait;
    const struct batch batch = batch_of(intake);
    code = settle(intake, code);
    intake_deinit(intake); /* it lies in the exchange, which may be gone behind the answer */
    enum handler_result result = code == ERR_OK
                                     ? receipt_answer_fresh(services, exchange, &batch, &wait)
                                     : problem_err(exchange);
    if (result == HANDLER_DONE) {
        exchange_finish(exchange);
    }
}

enum handler_result intake_accept(struct intake *intake)
{
    struct exchange *exchange = intake->exchange;
    struct intake *kept = arena_alloc(&exchange->arena, sizeof *kept);
    if (kept == NULL) {
        (void)err_set(&exchange->err, ERR_TOO_LARGE, /* told below */
                      "the request needs more memory than its limit; post fewer records");
        return problem_err(exchange);
    }
    if (announce(intake) != ERR_OK) {
        return problem_err(exchange);
    }
    *kept = *intake;
    *intake = (struct intake){0};
    const struct intake_origin origin = origin_of(kept);
    enum err_code code = intake_batch_accept_later(&kept->batch, &origin, &exchange->arena,
                                                   answer_accepted, kept, &exchange->err);
    if (code == ERR_OK) {
        return HANDLER_WAIT; /* and the exchange is not ours any more */
    }
    (void)settle(kept, code); /* which the problem tells */
    intake_deinit(kept);
    return problem_err(exchange);
}

enum err_code intake_accept_replay(struct intake *intake, const struct id *letter, bool forced)
{
    const struct intake_origin origin = origin_of(intake);
    int64_t position = 0;
    TRY(announce(intake));
    return settle(intake, intake_batch_replay(&intake->batch, &origin, letter, forced, &position,
                                              &intake->exchange->err));
}

enum handler_result intake_answer(struct intake *intake)
{
    const struct batch batch = batch_of(intake);
    return receipt_answer_fresh(intake->services, intake->exchange, &batch, &intake->wait);
}
