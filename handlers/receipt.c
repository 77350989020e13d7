/*
 * Receipts. See receipt.h for the contract.
 */
#include "handlers/receipt.h"

#include "handlers/problem.h"
#include "handlers/times.h"
#include "handlers/waiting_room.h"
#include "storage/base/clock.h"
#include "storage/base/text.h"
#include "storage/catalog/tables.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tables.h"

#include <assert.h>
#include <inttypes.h>

/* What a parked exchange waits for; in its arena. */
struct parked {
    struct id batch;
    struct receipt_wait wait;
};

static enum err_code parse_rung(struct exchange *exchange, struct span text,
                                enum batch_state *rung_out)
{
    static const enum batch_state rungs[] = {BATCH_DURABLE, BATCH_COMMITTED, BATCH_INDEXED};
    for (size_t i = 0; i < sizeof rungs / sizeof rungs[0]; i++) {
        if (span_equal_text(text, batch_state_name(rungs[i]))) {
            *rung_out = rungs[i];
            return ERR_OK;
        }
    }
    return err_set(&exchange->err, ERR_INVALID, "ack: give durable, committed or indexed");
}

enum err_code receipt_parse_wait(struct services *services, struct exchange *exchange,
                                 struct receipt_wait *wait_out)
{
    struct receipt_wait wait = {.rung = BATCH_INDEXED};
    struct span text = exchange_query(exchange, "ack");
    if (text.data != NULL || exchange_prefers(exchange, "ack", &text)) {
        TRY(parse_rung(exchange, text, &wait.rung));
    }
    if (exchange_prefers(exchange, "wait", &text)) {
        if (!text_parse_int64(text, &wait.seconds) || wait.seconds < 0) {
            return err_set(&exchange->err, ERR_INVALID,
                           "Prefer: give wait=N with a whole number of seconds");
        }
        wait.asked = true;
        if (wait.seconds > services->wait_seconds_max) {
            wait.seconds = services->wait_seconds_max; /* Preference-Applied tells */
        }
    }
    *wait_out = wait;
    return ERR_OK;
}

bool receipt_reached(const struct batch *batch, enum batch_state rung)
{
    _Static_assert(BATCH_DURABLE < BATCH_COMMITTED && BATCH_COMMITTED < BATCH_INDEXED &&
                       BATCH_INDEXED < BATCH_FAILED,
                   "states are in the order of the ladder");
    return batch->state >= rung;
}

const char *receipt_table_name(struct services *services, struct exchange *exchange,
                               const struct id *table)
{
    struct catalog_table record;
    struct err ignored = {0};
    CLEANUP(table_release) struct table *open = NULL;
    if (tables_find_by_uuid(services->tables, table, &open, &ignored) == ERR_OK) {
        return arena_text(&exchange->arena, span_of_text(table_name(open)));
    }
    err_clear(&ignored); /* one that was dropped since: the catalog remembers its name */
    if (catalog_table_get_by_uuid(services->catalog, table, &exchange->arena, &record, &ignored) !=
        ERR_OK) {
        return "";
    }
    return record.name;
}

static struct json *records_to_json(const struct batch *batch)
{
    struct json *records = json_new_object();
    json_set_integer(records, "received", batch->received);
    json_set_integer(records, "accepted", batch->accepted);
    json_set_integer(records, "rejected", batch->rejected);
    if (batch->state == BATCH_COMMITTED || batch->state == BATCH_INDEXED) {
        json_set_integer(records, "applied", batch->applied);
        json_set_integer(records, "superseded", batch->superseded);
        json_set_integer(records, "rejected_at_merge", batch->rejected_at_merge);
    }
    return records;
}

struct json *receipt_error_to_json(const struct batch_error *error)
{
    struct json *item = json_new_object();
    json_set_integer(item, "line", error->line);
    json_set_text(item, "pointer", error->pointer);
    json_set_text(item, "code", error->code);
    json_set_text(item, "message", error->message);
    return item;
}

/* The first record errors, so that most clients need no second request. */
static enum err_code set_errors(struct services *services, struct exchange *exchange,
                                const struct batch *batch, struct json *json)
{
    if (batch->rejected + batch->rejected_at_merge == 0) {
        return ERR_OK;
    }
    struct batch_error *errors = NULL;
    size_t count = 0;
    TRY(batch_errors(services->catalog, &batch->id, -1, RECEIPT_ERRORS_MAX, &exchange->arena,
                     &errors, &count, &exchange->err));
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(list, receipt_error_to_json(&errors[i]));
    }
    json_set(json, "errors", list);
    return ERR_OK;
}

void receipt_set_sha256(struct json *json, const uint8_t sha256[BATCH_SHA256_BYTES])
{
    struct buffer text;
    buffer_init(&text, 2 * BATCH_SHA256_BYTES);
    text_hex_encode(span_of(sha256, BATCH_SHA256_BYTES), &text);
    json_set(json, "body_sha256", json_new_string(buffer_span(&text)));
    buffer_deinit(&text);
}

enum err_code receipt_to_json(struct services *services, struct exchange *exchange,
                              const struct batch *batch, struct json **json_out)
{
    CLEANUP(json_free) struct json *json = json_new_object();
    json_set_text(json, "batch_id", batch->id.text);
    json_set_text(json, "table", receipt_table_name(services, exchange, &batch->table));
    json_set_text(json, "state", batch_state_name(batch->state));
    if (batch->version >= 0) {
        json_set_integer(json, "version", batch->version);
    }
    json_set(json, "records", records_to_json(batch));
    TRY(set_errors(services, exchange, batch, json));
    if (batch->failure != NULL) {
        struct json *failure = json_new_object();
        json_set_text(failure, "code", batch->failure);
        json_set_text(failure, "message", "the batch is a dead letter; see links.dead_letters");
        json_set(json, "failure", failure);
    }
    receipt_set_sha256(json, batch->body_sha256);
    times_set(json, "received_at", batch->received_at_us);
    struct json *links = json_new_object();
    json_set_text(links, "self", arena_format(&exchange->arena, "/v1/batches/%s", batch->id.text));
    json_set_text(links, "errors",
                  arena_format(&exchange->arena, "/v1/batches/%s/errors", batch->id.text));
    if (batch->rejected + batch->rejected_at_merge > 0 || batch->state == BATCH_FAILED) {
        json_set_text(links, "dead_letters",
                      arena_format(&exchange->arena, "/v1/dead-letters?batch=%s", batch->id.text));
    }
    json_set(json, "links", links);
    *json_out = json;
    json = NULL;
    return ERR_OK;
}

static enum handler_result answer_now(struct services *services, struct exchange *exchange,
                                      const struct batch *batch, const struct receipt_wait *wait)
{
    if (wait->replay && batch->version >= 0 && batch->applied == 0 && batch->superseded > 0) {
        return problem_answer(exchange, 409, "superseded",
                              "the row has moved on since; replay with force to apply it all the "
                              "same");
    }
    CLEANUP(json_free) struct json *json = NULL;
    if (receipt_to_json(services, exchange, batch, &json) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange->log_batch = batch->id;
    exchange->log_records = batch->received;
    exchange->log_version = batch->version;
    exchange_set_header(exchange, "Location", "/v1/batches/%s", batch->id.text);
    if (wait->asked) {
        exchange_set_header(exchange, "Preference-Applied", "wait=%" PRId64, wait->seconds);
    }
    bool waited = wait->asked && wait->seconds > 0;
    exchange_answer_json(exchange, waited && receipt_reached(batch, wait->rung) ? 200 : 202, &json);
    return HANDLER_DONE;
}

static bool look(struct services *services, struct exchange *exchange, bool timed_out)
{
    const struct parked *parked = exchange->parked;
    struct batch batch;
    if (batch_get(services->catalog, &parked->batch, &exchange->arena, &batch, &exchange->err) !=
        ERR_OK) {
        (void)problem_err(exchange); /* the answer is in place */
        return true;
    }
    if (!timed_out && !receipt_reached(&batch, parked->wait.rung)) {
        return false;
    }
    (void)answer_now(services, exchange, &batch, &parked->wait); /* the answer is in place */
    return true;
}

enum handler_result receipt_answer_fresh(struct services *services, struct exchange *exchange,
                                         const struct batch *batch, const struct receipt_wait *wait)
{
    if (wait->seconds == 0 || receipt_reached(batch, wait->rung)) {
        return answer_now(services, exchange, batch, wait);
    }
    struct parked *parked = arena_alloc(&exchange->arena, sizeof *parked);
    if (parked == NULL) {
        return answer_now(services, exchange, batch, wait);
    }
    *parked = (struct parked){.batch = batch->id, .wait = *wait};
    exchange->parked = parked;
    int64_t deadline_us = clock_monotonic_us() + wait->seconds * 1000000;
    if (!waiting_room_park(services->waiting_room, exchange, &batch->table, deadline_us, look)) {
        return answer_now(services, exchange, batch, wait);
    }
    return HANDLER_WAIT;
}

enum handler_result receipt_answer(struct services *services, struct exchange *exchange,
                                   const struct id *id, const struct receipt_wait *wait)
{
    struct batch batch;
    enum err_code code = batch_get(services->catalog, id, &exchange->arena, &batch, &exchange->err);
    if (code != ERR_OK) {
        return problem_err(exchange);
    }
    return receipt_answer_fresh(services, exchange, &batch, wait);
}
