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
        const char *name = arena_text(&exchange->arena, span_of_text(table_name(open)));
        return name != NULL ? name : "";
    }
    err_clear(&ignored); /* one that was dropped since: the catalog remembers its name */
    if (catalog_table_get_by_uuid(services->catalog, table, &exchange->arena, &record, &ignored) !=
        ERR_OK) {
        return "";
    }
    return record.name;
}

static void write_records(const struct batch *batch, struct buffer *answer)
{
    json_write_name(answer, "records");
    buffer_append_byte(answer, '{');
    json_write_integer_member(answer, "received", batch->received);
    json_write_integer_member(answer, "accepted", batch->accepted);
    json_write_integer_member(answer, "rejected", batch->rejected);
    if (batch->state == BATCH_COMMITTED || batch->state == BATCH_INDEXED) {
        json_write_integer_member(answer, "applied", batch->applied);
        json_write_integer_member(answer, "superseded", batch->superseded);
        json_write_integer_member(answer, "rejected_at_merge", batch->rejected_at_merge);
    }
    buffer_append_byte(answer, '}');
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
static enum err_code write_errors(struct services *services, struct exchange *exchange,
                                  const struct batch *batch)
{
    if (batch->rejected + batch->rejected_at_merge == 0) {
        return ERR_OK;
    }
    struct batch_error *errors = NULL;
    size_t count = 0;
    TRY(batch_errors(services->catalog, &batch->id, -1, RECEIPT_ERRORS_MAX, &exchange->arena,
                     &errors, &count, &exchange->err));
    json_write_name(&exchange->answer, "errors");
    buffer_append_byte(&exchange->answer, '[');
    for (size_t i = 0; i < count; i++) {
        CLEANUP(json_free) struct json *error = receipt_error_to_json(&errors[i]);
        if (i > 0) {
            buffer_append_byte(&exchange->answer, ',');
        }
        json_write(error, &exchange->answer);
    }
    buffer_append_byte(&exchange->answer, ']');
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

/* A path or query with the batch's id in it, which needs no escaping. */
static void write_link(const char *name, const char *before, const struct batch *batch,
                       const char *after, struct buffer *answer)
{
    json_write_name(answer, name);
    buffer_append_byte(answer, '"');
    buffer_append_text(answer, before);
    buffer_append_text(answer, batch->id.text);
    buffer_append_text(answer, after);
    buffer_append_byte(answer, '"');
}

static void write_links(const struct batch *batch, struct buffer *answer)
{
    json_write_name(answer, "links");
    buffer_append_byte(answer, '{');
    write_link("self", "/v1/batches/", batch, "", answer);
    write_link("errors", "/v1/batches/", batch, "/errors", answer);
    if (batch->rejected + batch->rejected_at_merge > 0 || batch->state == BATCH_FAILED) {
        write_link("dead_letters", "/v1/dead-letters?batch=", batch, "", answer);
    }
    buffer_append_byte(answer, '}');
}

static void write_failure(const struct batch *batch, struct buffer *answer)
{
    json_write_name(answer, "failure");
    buffer_append_byte(answer, '{');
    json_write_text_member(answer, "code", batch->failure);
    json_write_text_member(answer, "message", "the batch is a dead letter; see links.dead_letters");
    buffer_append_byte(answer, '}');
}

enum err_code receipt_write(struct services *services, struct exchange *exchange,
                            const struct batch *batch)
{
    struct buffer *answer = &exchange->answer;
    buffer_reset(answer);
    buffer_append_byte(answer, '{');
    json_write_text_member(answer, "batch_id", batch->id.text);
    json_write_text_member(answer, "table", receipt_table_name(services, exchange, &batch->table));
    json_write_text_member(answer, "state", batch_state_name(batch->state));
    if (batch->version >= 0) {
        json_write_integer_member(answer, "version", batch->version);
    }
    write_records(batch, answer);
    TRY(write_errors(services, exchange, batch));
    if (batch->failure != NULL) {
        write_failure(batch, answer);
    }
    json_write_name(answer, "body_sha256");
    buffer_append_byte(answer, '"');
    text_hex_encode(span_of(batch->body_sha256, BATCH_SHA256_BYTES), answer);
    buffer_append_byte(answer, '"');
    times_write_member(answer, "received_at", batch->received_at_us);
    write_links(batch, answer);
    buffer_append_byte(answer, '}');
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
    if (receipt_write(services, exchange, batch) != ERR_OK) {
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
    exchange->status = waited && receipt_reached(batch, wait->rung) ? 200 : 202;
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
