/*
 * Intake. See intake.h for the contract of each step.
 */
#include "storage/intake/intake.h"

#include "storage/base/clock.h"
#include "storage/base/location.h"
#include "storage/catalog/dead_letters.h"
#include "storage/columns/decode_rows.h"
#include "storage/intake/recent_frames.h"
#include "storage/journal/journal.h"

#include <assert.h>
#include <inttypes.h>

enum {
    RETRY_SECONDS_MAX = 60,
    /* frame and its encoding beside the plain body: "1," of a CSV becomes a slot of 8 or 16 bytes
     */
    DECODED_BYTES_PER_BODY_BYTE = 10,
    FRAME_BYTES_FREE = 4 << 20, /* of any body, however small: columns grow in steps */
    ACCEPTED_STATUS = 202,      /* stored with the idempotency key */
    PATIENCE_STEP_US = 1000000,
};

enum err_code intake_check_lane(const struct intake_stores *stores, const struct id *table,
                                int64_t *retry_seconds_out, struct err *err)
{
    struct lane_statistics lane;
    TRY(lane_statistics(stores->catalog, table, &lane, err));
    if (lane.queued_bytes < stores->limits->lane_queue_bytes_max &&
        lane.queued_count < stores->limits->lane_queue_batches_max) {
        return ERR_OK;
    }
    int64_t seconds = 1 + (clock_wall_us() - lane.oldest_received_us) / 1000000;
    if (seconds < 1 || seconds > RETRY_SECONDS_MAX) {
        seconds = RETRY_SECONDS_MAX;
    }
    *retry_seconds_out = seconds;
    return err_set(err, ERR_BUSY,
                   "the table's queue is full (%" PRId64 " batches, %" PRId64
                   " bytes); try again after Retry-After",
                   lane.queued_count, lane.queued_bytes);
}

/* ---- the budget ---- */

void intake_limits_init(struct intake_limits *limits)
{
    *limits = (struct intake_limits){0};
    lock_init(&limits->lock, LOCK_RANK_QUEUE);
    wake_init(&limits->wake);
}

void intake_limits_deinit(struct intake_limits *limits)
{
    wake_deinit(&limits->wake);
    lock_deinit(&limits->lock);
}

static bool take_memory(struct intake_limits *limits, int64_t wanted)
{
    int64_t used = atomic_load_explicit(&limits->memory_used, memory_order_relaxed);
    do {
        if (wanted > limits->memory_bytes_max - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&limits->memory_used, &used, used + wanted));
    return true;
}

/* Whoever began to wait before the subtraction is seen here; whoever begins later sees it. */
static void give_memory(struct intake_limits *limits, int64_t bytes)
{
    atomic_fetch_sub(&limits->memory_used, bytes);
    if (atomic_load(&limits->waiting_count) > 0) {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&limits->lock);
        (void)scope; /* held to the end */
        wake_all(&limits->wake);
    }
}

/* Once, or until it is there, for at most a second. */
static bool wait_for_memory(struct intake_limits *limits, int64_t wanted)
{
    int64_t deadline_us = clock_monotonic_us() + PATIENCE_STEP_US;
    atomic_fetch_add(&limits->waiting_count, 1);
    lock_take(&limits->lock);
    bool taken = take_memory(limits, wanted);
    while (!taken && wake_wait_until(&limits->wake, &limits->lock, deadline_us) == 0) {
        taken = take_memory(limits, wanted);
    }
    lock_drop(&limits->lock);
    atomic_fetch_sub(&limits->waiting_count, 1);
    return taken;
}

/* ---- the batch ---- */

void intake_batch_init(struct intake_batch *batch, const struct intake_stores *stores)
{
    *batch = (struct intake_batch){
        .stores = stores,
        .id = id_new_ordered(),
        .received_at_us = clock_wall_us(),
        .decode = {.records_max = stores->limits->records_max},
    };
}

static void release_memory(struct intake_batch *batch)
{
    if (batch->memory_reserved > 0) {
        give_memory(batch->stores->limits, batch->memory_reserved);
        batch->memory_reserved = 0;
    }
}

void intake_batch_deinit(struct intake_batch *batch)
{
    frame_free(&batch->frame);
    decode_errors_deinit(&batch->errors);
    buffer_deinit(&batch->plain);
    release_memory(batch);
    schema_release(&batch->schema);
}

/* What a batch asks for, of what there is. */
static int64_t ask_for(const struct intake_batch *batch, int64_t bytes)
{
    int64_t most = batch->stores->limits->memory_bytes_max;
    return bytes < most ? bytes : most;
}

enum err_code intake_batch_reserve(struct intake_batch *batch, int64_t bytes, struct err *err)
{
    int64_t wanted = ask_for(batch, bytes);
    if (!take_memory(batch->stores->limits, wanted)) {
        return err_set(err, ERR_BUSY, "too many bodies are being decoded at once; try again");
    }
    batch->memory_reserved += wanted;
    return ERR_OK;
}

static enum err_code reserve_patiently(struct intake_batch *batch, int64_t bytes,
                                       const struct intake_patience *patience, struct err *err)
{
    assert(batch->memory_reserved == 0); /* who holds some and waits for more may wait forever */
    int64_t wanted = ask_for(batch, bytes);
    do {
        TRY(patience->check(patience->arg, err));
    } while (!wait_for_memory(batch->stores->limits, wanted));
    batch->memory_reserved += wanted;
    return ERR_OK;
}

/* ---- decoding ---- */

/* The body as plain bytes: itself, or inflated into batch->plain. */
static enum err_code inflate(struct intake_batch *batch, struct span body,
                             enum content_encoding encoding, struct span *plain_out,
                             struct err *err)
{
    *plain_out = body;
    if (encoding == CONTENT_IDENTITY) {
        return intake_batch_reserve(batch, (int64_t)body.size * DECODED_BYTES_PER_BODY_BYTE, err);
    }
    const struct intake_limits *limits = batch->stores->limits;
    int64_t ceiling = (int64_t)body.size * INFLATE_RATIO_MAX + INFLATE_RATIO_FREE_BYTES;
    if (ceiling > limits->body_bytes_max) {
        ceiling = limits->body_bytes_max;
    }
    TRY(intake_batch_reserve(batch, ceiling, err));
    TRY(inflate_body(body, encoding, limits->body_bytes_max, INFLATE_RATIO_MAX, &batch->plain,
                     err));
    release_memory(batch);
    *plain_out = buffer_span(&batch->plain);
    return intake_batch_reserve(
        batch, (int64_t)batch->plain.size * (DECODED_BYTES_PER_BODY_BYTE + 1), err);
}

enum err_code intake_batch_decode(struct intake_batch *batch, struct span body,
                                  enum content_encoding encoding, struct err *err)
{
    assert(batch->frame == NULL);
    struct span plain;
    TRY(inflate(batch, body, encoding, &plain, err));
    batch->decode.frame_bytes_max =
        FRAME_BYTES_FREE + (int64_t)plain.size * DECODED_BYTES_PER_BODY_BYTE;
    return decode_body(plain, batch->schema, &batch->decode, &batch->frame, &batch->errors, err);
}

enum err_code intake_batch_decode_part(struct intake_batch *batch, struct span body,
                                       int64_t records_count,
                                       const struct intake_patience *patience, struct err *err)
{
    assert(batch->frame == NULL);
    int64_t slots = records_count * decode_row_bytes(batch->schema);
    int64_t texts = (int64_t)body.size * DECODED_BYTES_PER_BODY_BYTE;
    batch->decode.frame_bytes_max = FRAME_BYTES_FREE + (slots > texts ? slots : texts);
    batch->decode.records_max = records_count;
    TRY(reserve_patiently(batch, batch->decode.frame_bytes_max + (int64_t)body.size, patience,
                          err));
    return decode_body(body, batch->schema, &batch->decode, &batch->frame, &batch->errors, err);
}

enum err_code intake_batch_decode_rows(struct intake_batch *batch, const struct frame *rows,
                                       const struct intake_patience *patience, struct err *err)
{
    assert(batch->frame == NULL);
    int64_t slots = rows->rows_count * decode_row_bytes(batch->schema);
    batch->decode.frame_bytes_max = FRAME_BYTES_FREE + slots;
    batch->decode.records_max = rows->rows_count + 1; /* 0 would mean the default */
    TRY(reserve_patiently(batch, slots + 2 * (int64_t)frame_memory_bytes(rows), patience, err));
    return decode_rows(rows, batch->schema, &batch->decode, &batch->frame, &batch->errors, err);
}

enum intake_verdict intake_batch_judge(const struct intake_batch *batch, bool strict)
{
    if (decode_errors_over_limit(&batch->errors)) {
        return INTAKE_TOO_MANY_REJECTED;
    }
    return strict && batch->errors.rejected_count > 0 ? INTAKE_REJECTED_STRICTLY : INTAKE_GOOD;
}

/* ---- accepting ---- */

/*
 * Refused records as errors and, back to back in `payloads`, as dead letters: one
 * a record, under its first error, with the operation that the record asked for. A CSV record is
 * kept behind its header line, so that it can be replayed.
 */
static enum err_code collect_rejected(const struct intake_batch *batch, struct arena *arena,
                                      struct buffer *payloads, struct intake_written *written,
                                      struct err *err)
{
    const struct decode_errors *decoded = &batch->errors;
    struct record_error *errors = arena_alloc(arena, (decoded->items_count + 1) * sizeof *errors);
    if (errors == NULL) {
        return err_set(err, ERR_TOO_LARGE,
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
        if (decoded->csv_header.size > 0 && !rejected->stands_alone) {
            buffer_append_span(payloads, decoded->csv_header);
            buffer_append_byte(payloads, '\n');
        }
        buffer_append_span(payloads, rejected->payload);
        first->payload_size = (int64_t)payloads->size - first->payload_start;
    }
    written->errors = errors;
    written->errors_count = decoded->items_count;
    return buffer_check(payloads, "the batch's refused records", err);
}

static enum err_code write_rejected(const struct intake_batch *batch, struct arena *arena,
                                    struct intake_written *written, struct err *err)
{
    if (batch->errors.items_count == 0) {
        return ERR_OK;
    }
    CLEANUP(buffer_deinit) struct buffer payloads;
    buffer_init(&payloads, JOURNAL_RECORD_BYTES_MAX);
    TRY(collect_rejected(batch, arena, &payloads, written, err));
    if (payloads.size == 0) {
        return ERR_OK;
    }
    return journal_append(batch->stores->dead_letters, buffer_span(&payloads), &written->payloads,
                          err);
}

static enum err_code write_frame(const struct intake_batch *batch, struct intake_written *written,
                                 struct err *err)
{
    if (batch->frame->rows_count == 0) {
        return ERR_OK; /* every record was refused: there is nothing to merge */
    }
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, JOURNAL_RECORD_BYTES_MAX);
    frame_encode(batch->frame, &bytes);
    TRY(buffer_check(&bytes, "the batch", err));
    return journal_append(batch->stores->journal, buffer_span(&bytes), &written->frame, err);
}

/* Before the catalog knows: the lane may be at it as soon as it does. */
static void keep_for_merge(struct intake_batch *batch, const struct intake_written *written)
{
    if (location_is_set(&written->frame)) {
        recent_frames_put(batch->stores->recent, &written->frame, clock_monotonic_us(),
                          &batch->frame);
    }
}

/* The catalog refers to the records now, or nobody ever will. */
static void settle_written(const struct intake_batch *batch, const struct intake_written *written,
                           enum err_code code)
{
    if (code != ERR_OK) {
        CLEANUP(frame_free)
        struct frame *unwanted =
            recent_frames_take(batch->stores->recent, &written->frame, batch->schema);
    }
    if (location_is_set(&written->frame)) {
        journal_settle(batch->stores->journal, &written->frame);
    }
    if (location_is_set(&written->payloads)) {
        journal_settle(batch->stores->dead_letters, &written->payloads);
    }
}

static struct batch_accept acceptance_of(const struct intake_batch *batch,
                                         const struct intake_origin *origin,
                                         const struct intake_written *written)
{
    struct batch_accept accept = {
        .id = batch->id,
        .table = origin->table,
        .principal = origin->principal,
        .operation = batch->decode.operation,
        .schema_version = batch->schema->version,
        .received = batch->errors.received_count,
        .accepted = batch->errors.accepted_count,
        .rejected = batch->errors.rejected_count,
        .body_bytes = origin->body_bytes,
        .received_at_us = batch->received_at_us,
        .frame = written->frame,
        .errors = written->errors,
        .errors_count = written->errors_count,
        .payloads = written->payloads,
        .key = origin->key,
        .idempotency_status = ACCEPTED_STATUS,
        .step = origin->step,
        .order_position = origin->order_position,
    };
    memcpy(accept.body_sha256, origin->body_sha256, sizeof accept.body_sha256);
    return accept;
}

static enum err_code write_records(const struct intake_batch *batch, struct arena *arena,
                                   struct intake_written *written, struct err *err)
{
    TRY(write_rejected(batch, arena, written, err));
    return write_frame(batch, written, err);
}

enum err_code intake_batch_accept(struct intake_batch *batch, const struct intake_origin *origin,
                                  struct arena *arena, int64_t *position_out, struct err *err)
{
    struct intake_written written = {0};
    enum err_code code = write_records(batch, arena, &written, err);
    if (code == ERR_OK) {
        /* The catalog syncs both logs before the commit that refers to them. */
        struct batch_accept accept = acceptance_of(batch, origin, &written);
        keep_for_merge(batch, &written);
        code = batch_accept(batch->stores->catalog, &accept, position_out, err);
    }
    settle_written(batch, &written, code);
    return code;
}

static void accepted(void *arg, enum err_code code)
{
    struct intake_batch *batch = arg;
    settle_written(batch, &batch->written, code);
    batch->accepted(batch->accepted_arg, code);
}

/* What is in the journals is not needed any more. */
static void release_records(struct intake_batch *batch)
{
    frame_free(&batch->frame);
    buffer_deinit(&batch->plain);
    release_memory(batch);
}

enum err_code intake_batch_accept_later(struct intake_batch *batch,
                                        const struct intake_origin *origin, struct arena *arena,
                                        batch_accepted_fn *done, void *arg, struct err *err)
{
    batch->accepted = done;
    batch->accepted_arg = arg;
    enum err_code code = write_records(batch, arena, &batch->written, err);
    if (code == ERR_OK) {
        struct batch_accept accept = acceptance_of(batch, origin, &batch->written);
        keep_for_merge(batch, &batch->written);
        release_records(batch);
        code = batch_accept_later(batch->stores->catalog, &accept, accepted, batch, err);
    }
    if (code != ERR_OK) {
        settle_written(batch, &batch->written, code);
    }
    return code;
}

enum err_code intake_batch_replay(struct intake_batch *batch, const struct intake_origin *origin,
                                  const struct id *letter, bool forced, int64_t *position_out,
                                  struct err *err)
{
    assert(batch->errors.rejected_count == 0); /* a replay is judged strictly */
    struct intake_written written = {0};
    enum err_code code = write_frame(batch, &written, err);
    if (code == ERR_OK) {
        struct batch_accept accept = acceptance_of(batch, origin, &written);
        code =
            dead_letter_replay(batch->stores->catalog, letter, forced, &accept, position_out, err);
    }
    settle_written(batch, &written, code);
    return code;
}
