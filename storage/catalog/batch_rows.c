/*
 * Rows of batches and of what they leave refused. See batch_rows.h.
 */
#include "storage/catalog/batch_rows.h"

#include "storage/base/clock.h"

static const char sql_insert_batch[] =
    "INSERT INTO batches(id, table_uuid, principal, position, order_position, operation, flags,"
    " state, schema_version, received, accepted, rejected, body_bytes, body_sha256, received_at,"
    " finished_at, frame_segment, frame_offset, frame_size, letter)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char sql_insert_error[] =
    "INSERT OR IGNORE INTO record_errors(batch, ordinal, line, pointer, code, message)"
    " VALUES(?, ?, ?, ?, ?, ?)";
static const char sql_insert_letter[] =
    "INSERT INTO dead_letters(id, table_uuid, batch, principal, batch_position, line, pointer,"
    " code, message, state, operation, schema_version, created_at, payload_segment,"
    " payload_offset, payload_bytes, payload_start, payload_size)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char sql_charge_lane[] =
    "INSERT INTO lanes(table_uuid, position_last, letters_count, letters_bytes)"
    " VALUES(?, 0, ?, ?) ON CONFLICT(table_uuid) DO UPDATE SET"
    " letters_count = letters_count + excluded.letters_count,"
    " letters_bytes = letters_bytes + excluded.letters_bytes";

struct span text_cut(struct span text, size_t size)
{
    if (text.size <= size) {
        return text;
    }
    while (size > 0 && (text.data[size] & 0xc0) == 0x80) {
        size--;
    }
    return span_of(text.data, size);
}

enum err_code batch_read_row(const struct query *query, int64_t piece, struct arena *arena,
                             struct batch *batch_out, struct err *err)
{
    int64_t flags = query_integer(query, 6);
    struct batch batch = {
        .piece = piece,
        .position = query_integer(query, 3),
        .order_position = query_integer(query, 4),
        .operation = (enum frame_operation)query_integer(query, 5),
        .replay = (flags & FLAG_REPLAY) != 0,
        .forced = (flags & FLAG_FORCED) != 0,
        .state = (enum batch_state)query_integer(query, 7),
        .schema_version = (int32_t)query_integer(query, 8),
        .crashes = (int32_t)query_integer(query, 9),
        .interruptions = (int32_t)query_integer(query, 10),
        .received = query_integer(query, 11),
        .accepted = query_integer(query, 12),
        .rejected = query_integer(query, 13),
        .applied = query_integer(query, 14),
        .superseded = query_integer(query, 15),
        .rejected_at_merge = query_integer(query, 16),
        .version = query_integer(query, 17),
        .body_bytes = query_integer(query, 18),
        .received_at_us = query_integer(query, 20),
        .finished_at_us = query_integer(query, 21),
        .frame = query_location(query, 22),
    };
    TRY(query_id(query, 0, &batch.id, err));
    TRY(query_id(query, 1, &batch.table, err));
    TRY(query_id(query, 2, &batch.principal, err));
    TRY(query_bytes(query, 19, batch.body_sha256, sizeof batch.body_sha256, err));
    if (arena != NULL && !query_is_null(query, 25)) {
        TRY(query_text(query, 25, arena, &batch.failure, err));
    }
    *batch_out = batch;
    return ERR_OK;
}

enum err_code batch_insert(struct store *store, const struct batch_row *row, struct err *err)
{
    static const struct id no_letter = {.text = ""};
    const struct batch_accept *accept = row->accept;
    bool nothing_to_merge = accept->accepted == 0;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_batch, &query, err));
    query_bind_id(&query, &accept->id);
    query_bind_id(&query, &accept->table);
    query_bind_id(&query, &accept->principal);
    query_bind_integer(&query, row->position);
    query_bind_integer(&query, row->order_position);
    query_bind_integer(&query, accept->operation);
    query_bind_integer(&query, row->flags);
    query_bind_integer(&query, nothing_to_merge ? BATCH_INDEXED : BATCH_DURABLE);
    query_bind_integer(&query, accept->schema_version);
    query_bind_integer(&query, accept->received);
    query_bind_integer(&query, accept->accepted);
    query_bind_integer(&query, accept->rejected);
    query_bind_integer(&query, accept->body_bytes);
    query_bind_bytes(&query, accept->body_sha256, sizeof accept->body_sha256);
    query_bind_integer(&query, accept->received_at_us);
    query_bind_integer(&query, nothing_to_merge ? accept->received_at_us : 0);
    query_bind_location(&query, &accept->frame);
    query_bind_id(&query, row->letter == NULL ? &no_letter : row->letter);
    return query_run(&query, err);
}

static bool makes_letter(const struct refusals *refusals, const struct record_error *error)
{
    /* A whole batch is a dead letter even when its frame could not be read back. */
    bool has_payload = location_is_set(&refusals->payloads) || error->line == 0;
    return has_payload && error->payload_size >= 0;
}

void refusals_measure(const struct refusals *refusals, int64_t *count_out, int64_t *bytes_out)
{
    int64_t count = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < refusals->count; i++) {
        if (makes_letter(refusals, &refusals->errors[i])) {
            count++;
            bytes += refusals->errors[i].payload_size;
        }
    }
    *count_out = count;
    *bytes_out = bytes;
}

static enum err_code insert_errors(struct store *store, const struct refusals *refusals,
                                   struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_error, &query, err));
    for (size_t i = 0; i < refusals->count; i++) {
        const struct record_error *error = &refusals->errors[i];
        query_bind_id(&query, refusals->batch);
        query_bind_integer(&query, refusals->first_ordinal + (int64_t)i);
        query_bind_integer(&query, error->line);
        query_bind_span(&query, text_cut(error->pointer, BATCH_TEXT_BYTES_MAX));
        query_bind_span(&query, text_cut(error->code, BATCH_TEXT_BYTES_MAX));
        query_bind_span(&query, text_cut(error->message, BATCH_TEXT_BYTES_MAX));
        TRY(query_run(&query, err));
    }
    return ERR_OK;
}

static enum err_code insert_letters(struct store *store, const struct refusals *refusals,
                                    struct err *err)
{
    int64_t now_us = clock_wall_us();
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_letter, &query, err));
    for (size_t i = 0; i < refusals->count; i++) {
        const struct record_error *error = &refusals->errors[i];
        if (!makes_letter(refusals, error)) {
            continue;
        }
        struct id id = id_new_ordered();
        query_bind_id(&query, &id);
        query_bind_id(&query, refusals->table);
        query_bind_id(&query, refusals->batch);
        query_bind_id(&query, refusals->principal);
        query_bind_integer(&query, refusals->order_position);
        query_bind_integer(&query, error->line);
        query_bind_span(&query, text_cut(error->pointer, BATCH_TEXT_BYTES_MAX));
        query_bind_span(&query, text_cut(error->code, BATCH_TEXT_BYTES_MAX));
        query_bind_span(&query, text_cut(error->message, BATCH_TEXT_BYTES_MAX));
        query_bind_integer(&query, error->operation);
        query_bind_integer(&query, refusals->schema_version);
        query_bind_integer(&query, now_us);
        query_bind_location(&query, &refusals->payloads);
        query_bind_integer(&query, error->payload_start);
        query_bind_integer(&query, error->payload_size);
        TRY(query_run(&query, err));
    }
    return ERR_OK;
}

enum err_code letters_charge(struct transaction *transaction, struct store *store,
                             struct lane *lane, int64_t count, int64_t bytes, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_charge_lane, &query, err));
    query_bind_id(&query, &lane->statistics.table);
    query_bind_integer(&query, count);
    query_bind_integer(&query, bytes);
    TRY(query_run(&query, err));
    const struct lane_change change = {.dead_letter_count = count, .dead_letter_bytes = bytes};
    transaction_change_lane(transaction, lane, &change);
    return ERR_OK;
}

enum err_code refusals_insert(struct transaction *transaction, struct store *store,
                              struct lane *lane, const struct refusals *refusals, struct err *err)
{
    int64_t count = 0;
    int64_t bytes = 0;
    TRY(insert_errors(store, refusals, err));
    refusals_measure(refusals, &count, &bytes);
    if (count == 0) {
        return ERR_OK;
    }
    TRY(insert_letters(store, refusals, err));
    return letters_charge(transaction, store, lane, count, bytes, err);
}
