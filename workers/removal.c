/*
 * Taking rows out of a table. See removal.h.
 */
#include "workers/removal.h"

#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/catalog/access.h"
#include "storage/catalog/sources.h"
#include "storage/columns/decode.h"
#include "storage/columns/encode_json.h"
#include "storage/intake/intake.h"
#include "storage/snapshot/table.h"
#include "workers/task_audit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CHECKPOINT_BYTES_MAX = 64,
    PAYLOADS_BYTES_MAX = 256 << 20,
    MESSAGE_BYTES = EXPECTATION_NAME_BYTES_MAX + 64,
};
_Static_assert(sizeof((struct removal *)0)->source == SOURCE_ID_BYTES, "a source's name");

/* ---- beginning ---- */

/* One source for each task of a run, and version it judged. */
static void name_source(struct removal *removal, int64_t version)
{
    const struct task_attempt *attempt = removal->attempt;
    char text[REMOVAL_KEY_BYTES + 160];
    (void)snprintf(removal->key, sizeof removal->key, "%s/%" PRId64, attempt->task_key,
                   attempt->iteration); /* fits: task keys are short */
    (void)snprintf(text, sizeof text, "check %s run %" PRId64 " task %s version %" PRId64,
                   table_uuid(removal->table)->text, attempt->run_id, removal->key,
                   version); /* fits */
    hash_sha256(span_of_text(text), removal->source);
}

enum err_code removal_begin(struct removal *removal, struct task_attempt *attempt,
                            struct table *table, const struct schema *schema,
                            const struct expectations *list, int64_t version,
                            int64_t order_position, struct err *err)
{
    *removal = (struct removal){.attempt = attempt,
                                .table = table,
                                .schema = schema_acquire(schema),
                                .list = list,
                                .order_position = order_position,
                                .step = 1};
    name_source(removal, version);
    removal->deletes = frame_new(schema);
    buffer_init(&removal->payloads, PAYLOADS_BYTES_MAX);
    removal->ends = mem_zeroed(REMOVAL_PIECE_ROWS, sizeof *removal->ends);
    removal->reasons = mem_zeroed(REMOVAL_PIECE_ROWS, sizeof *removal->reasons);
    CLEANUP(buffer_deinit) struct buffer checkpoint;
    buffer_init(&checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    return source_position(attempt->services->catalog, removal->source, &removal->taken,
                           &checkpoint, err);
}

void removal_end(struct removal *removal)
{
    frame_free(&removal->deletes);
    buffer_deinit(&removal->payloads);
    mem_free(removal->ends);
    mem_free(removal->reasons);
    schema_release(&removal->schema);
}

/* ---- a piece on its way into the lane ---- */

/* The lane is full: wait until it moved on. */
static enum err_code wait_for_lane(struct removal *removal, const struct intake_stores *stores,
                                   struct err *err)
{
    int64_t seen = 0;
    for (;;) {
        int64_t retry_seconds = 0;
        enum err_code code =
            intake_check_lane(stores, table_uuid(removal->table), &retry_seconds, err);
        if (code != ERR_BUSY) {
            return code;
        }
        err_clear(err);
        TRY(task_wait_progress(removal->attempt, table_uuid(removal->table), &seen, err));
    }
}

/* The quarantined rows of the piece as rejected records of its batch. */
static enum err_code put_aside(const struct removal *removal, struct intake_batch *batch,
                               struct err *err)
{
    for (size_t i = 0; i < removal->aside_count; i++) {
        const struct expectation *reason = &removal->list->items[removal->reasons[i]];
        size_t start = i == 0 ? 0 : removal->ends[i - 1];
        CLEANUP(buffer_deinit) struct buffer pointer;
        buffer_init(&pointer, 2 * SCHEMA_FOREIGN_NAME_BYTES_MAX + 2);
        json_write_pointer(&pointer, reason->columns[0]);
        buffer_append_byte(&pointer, '\0');
        char message[MESSAGE_BYTES];
        (void)snprintf(message, sizeof message, "does not meet the expectation '%s'",
                       reason->name); /* fits */
        const struct decode_rejected rejected = {
            .line = (int64_t)i + 1, /* of the piece: rows of a table have no lines */
            .operation = FRAME_UPSERT,
            .payload = span_of(removal->payloads.data + start, removal->ends[i] - start),
            .stands_alone = true,
        };
        const struct decode_error error = {.line = rejected.line,
                                           .code = DECODE_EXPECTATION,
                                           .pointer = (const char *)pointer.data,
                                           .message = message};
        if (!decode_errors_reject(&batch->errors, &rejected, &error)) {
            return err_set(err, ERR_TOO_LARGE, "the piece has more to tell than fits");
        }
    }
    return ERR_OK;
}

static enum err_code accept(struct removal *removal, struct intake_batch *batch, struct err *err)
{
    const struct task_attempt *attempt = removal->attempt;
    char checkpoint[CHECKPOINT_BYTES_MAX];
    (void)snprintf(checkpoint, sizeof checkpoint, "%" PRId64, removal->step); /* fits */
    struct source_step step = {.step = removal->step,
                               .checkpoint = span_of_text(checkpoint),
                               .run_id = attempt->run_id,
                               .task_key = removal->key};
    memcpy(step.source, removal->source, sizeof step.source);
    struct intake_origin origin = {.table = *table_uuid(removal->table),
                                   .principal = attempt->principal->id,
                                   .step = &step,
                                   .order_position = removal->order_position};
    memcpy(origin.body_sha256, removal->source, sizeof origin.body_sha256);
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, DECODE_ERRORS_BYTES_MAX + (64 << 20));
    int64_t position = 0;
    enum err_code code = intake_batch_accept(batch, &origin, &arena, &position, err);
    if (code == ERR_EXISTS) {
        err_clear(err); /* by an attempt whose end we did not hear of */
        return ERR_OK;
    }
    TRY(code);
    attempt->services->wake_lane(attempt->services->wake_arg, table_uuid(removal->table));
    return ERR_OK;
}

/* Hand the piece to the lane, unless an earlier attempt did. */
static enum err_code flush(struct removal *removal, struct err *err)
{
    const struct task_services *services = removal->attempt->services;
    int64_t rows = removal->deletes->rows_count;
    if (rows == 0) {
        return ERR_OK;
    }
    if (removal->step > removal->taken) {
        TRY(task_check_time(removal->attempt, err));
        TRY(wait_for_lane(removal, services->intake, err));
        TRY(task_audit(removal->attempt, "rows.remove", "batch.post", table_name(removal->table),
                       NULL, rows, err));
        CLEANUP(intake_batch_deinit) struct intake_batch batch;
        intake_batch_init(&batch, services->intake);
        batch.schema = schema_acquire(removal->schema);
        batch.decode.operation = FRAME_DELETE;
        batch.errors.received_count = rows + (int64_t)removal->aside_count;
        batch.errors.accepted_count = batch.errors.received_count;
        TRY(put_aside(removal, &batch, err));
        batch.frame = removal->deletes;
        removal->deletes = frame_new(removal->schema);
        TRY(accept(removal, &batch, err));
    }
    removal->step++;
    frame_reset(removal->deletes);
    buffer_reset(&removal->payloads);
    removal->aside_count = 0;
    return ERR_OK;
}

/* ---- rows ---- */

/* A delete names key and sequence, and nothing else. */
static void append_delete(struct removal *removal, const struct frame *frame, int64_t row)
{
    const struct schema *schema = removal->schema;
    for (size_t i = 0; i < schema->fields_count; i++) {
        bool named = schema->has_sequence && schema->sequence == i;
        for (size_t j = 0; j < schema->key_count; j++) {
            named |= schema->key[j] == i;
        }
        if (named) {
            column_append_from(&removal->deletes->columns[i], &frame->columns[i], row);
        } else {
            column_append_null(&removal->deletes->columns[i]);
        }
    }
    frame_end_row(removal->deletes, FRAME_DELETE, 0);
}

/* Rows that other engines wrote may lack a part of their key: no record can name them. */
static bool has_key(const struct schema *schema, const struct frame *frame, int64_t row)
{
    for (size_t j = 0; j < schema->key_count; j++) {
        if (!column_is_valid(&frame->columns[schema->key[j]], row)) {
            return false;
        }
    }
    return !schema->has_sequence || column_is_valid(&frame->columns[schema->sequence], row);
}

enum err_code removal_take(void *self, const struct frame *frame, const uint16_t *verdicts,
                           struct err *err)
{
    struct removal *removal = self;
    for (int64_t row = 0; row < frame->rows_count; row++) {
        if (!has_key(removal->schema, frame, row)) {
            continue;
        }
        append_delete(removal, frame, row);
        if (removal->list->items[verdicts[row]].action == EXPECTATION_QUARANTINE) {
            encode_json_row(frame, row, NULL, &removal->payloads);
            removal->reasons[removal->aside_count] = verdicts[row];
            removal->ends[removal->aside_count++] = removal->payloads.size;
        }
        if (removal->deletes->rows_count == REMOVAL_PIECE_ROWS ||
            removal->payloads.size >= REMOVAL_PIECE_BYTES) {
            TRY(buffer_check(&removal->payloads, "quarantined rows", err));
            TRY(flush(removal, err));
        }
    }
    return buffer_check(&removal->payloads, "quarantined rows", err);
}

enum err_code removal_finish(struct removal *removal, struct err *err)
{
    return flush(removal, err);
}

enum err_code removal_wait(struct removal *removal, int64_t *removed_out, int64_t *kept_out,
                           struct err *err)
{
    int64_t seen = 0;
    for (;;) {
        struct source_tally tally = {0};
        TRY(task_wait_progress(removal->attempt, table_uuid(removal->table), &seen, err));
        TRY(source_tally(removal->attempt->services->catalog, removal->attempt->run_id,
                         removal->key, &tally, err));
        if (tally.failed_count > 0) {
            return err_set(err, ERR_CORRUPT,
                           "the removal of rows could not be merged; it is in the dead letters, "
                           "batch %s",
                           tally.failed_batch.text);
        }
        if (tally.unfinished_count == 0) {
            *removed_out = tally.applied;
            *kept_out = tally.superseded;
            return ERR_OK;
        }
    }
}
