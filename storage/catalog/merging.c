/*
 * What merges did to batches: outcomes, the last rungs of the ladder, and the way
 * back after a foreign overwrite. See batches.h.
 */
#include "storage/base/clock.h"
#include "storage/catalog/attempts.h"
#include "storage/catalog/batch_rows.h"
#include "storage/catalog/private.h"

#include <assert.h>

/* Of one write: acceptances of others come between. */
enum { FINISH_BATCHES = 128 };

/* Two statements, because RETURNING makes a table of its own for its one row. */
static const char sql_queued_batch[] =
    "SELECT frame_size, accepted, letter, principal, order_position, operation, schema_version"
    " FROM batches WHERE id = ? AND state = 1";
static const char sql_finish[] =
    "UPDATE batches SET state = ?, version = ?, applied = ?, superseded = ?,"
    " rejected_at_merge = ?, finished_at = ?, failure = ? WHERE id = ?";
static const char sql_index[] = "UPDATE batches SET state = 3 WHERE id = ? AND state = 2";
static const char sql_next_ordinal[] =
    "SELECT coalesce(max(ordinal), -1) + 1 FROM record_errors WHERE batch = ?";
static const char sql_mark_indexed[] =
    "UPDATE batches SET state = 3 WHERE state = 2 AND table_uuid = ? AND version <= ?";
static const char sql_measure_requeue[] =
    "SELECT count(*), coalesce(sum(frame_size), 0), coalesce(sum(accepted), 0) FROM batches"
    " WHERE table_uuid = ? AND state IN (2, 3) AND version >= ? AND frame_segment > 0";
static const char sql_requeue[] =
    "UPDATE batches SET state = 1, version = -1, applied = 0, superseded = 0,"
    " rejected_at_merge = 0, finished_at = 0"
    " WHERE table_uuid = ? AND state IN (2, 3) AND version >= ? AND frame_segment > 0";
static const char sql_has[] = "SELECT 1 FROM batches WHERE id = ?";

/* ---- outcomes ---- */

/* What the row of a batch that has just left the queue says. */
struct finished {
    bool was_queued;
    int64_t frame_size;
    int64_t accepted;
    struct id letter;
    struct id principal;
    int64_t order_position;
    enum frame_operation operation;
    int32_t schema_version;
};

static enum err_code read_queued(struct store *store, const struct id *batch,
                                 struct finished *finished, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_queued_batch, &query, err));
    query_bind_id(&query, batch);
    TRY(query_next(&query, &finished->was_queued, err));
    if (!finished->was_queued) {
        return ERR_OK;
    }
    finished->frame_size = query_integer(&query, 0);
    finished->accepted = query_integer(&query, 1);
    finished->order_position = query_integer(&query, 4);
    finished->operation = (enum frame_operation)query_integer(&query, 5);
    finished->schema_version = (int32_t)query_integer(&query, 6);
    TRY(query_id(&query, 2, &finished->letter, err));
    return query_id(&query, 3, &finished->principal, err);
}

static enum err_code update_queued(struct store *store, const struct batch_outcome *outcome,
                                   struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_finish, &query, err));
    query_bind_integer(&query, outcome->state);
    query_bind_integer(&query, outcome->version);
    query_bind_integer(&query, outcome->applied);
    query_bind_integer(&query, outcome->superseded);
    query_bind_integer(&query, outcome->rejected_at_merge);
    query_bind_integer(&query, clock_wall_us());
    query_bind_text(&query, outcome->failure);
    query_bind_id(&query, &outcome->id);
    return query_run(&query, err);
}

static enum err_code update_committed(struct store *store, const struct id *batch, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_index, &query, err));
    query_bind_id(&query, batch);
    return query_run(&query, err);
}

static enum err_code next_ordinal(struct store *store, const struct id *batch, int64_t *ordinal_out,
                                  struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_next_ordinal, &query, err));
    query_bind_id(&query, batch);
    TRY(query_next(&query, &row, err));
    *ordinal_out = row ? query_integer(&query, 0) : 0;
    return ERR_OK;
}

/* Record errors and dead letters of what the merge, or the whole batch, refused. */
static enum err_code insert_refused(struct transaction *transaction, struct store *store,
                                    struct lane *lane, const struct batch_outcome *outcome,
                                    const struct finished *finished, struct err *err)
{
    const char *failure = outcome->failure == NULL ? "failed" : outcome->failure;
    const char *message = outcome->failure_message == NULL ? "" : outcome->failure_message;
    const struct record_error whole = {
        .line = 0,
        .code = span_of_text(failure),
        .message = span_of_text(message),
        .operation = finished->operation,
        .payload_size = outcome->payloads.size,
    };
    bool failed = outcome->state == BATCH_FAILED;
    struct refusals refusals = {
        .batch = &outcome->id,
        .table = &lane->statistics.table,
        .principal = &finished->principal,
        .order_position = finished->order_position,
        .schema_version = finished->schema_version,
        .errors = failed ? &whole : outcome->errors,
        .count = failed ? 1 : outcome->errors_count,
        .payloads = outcome->payloads,
    };
    if (refusals.count == 0) {
        return ERR_OK;
    }
    TRY(next_ordinal(store, &outcome->id, &refusals.first_ordinal, err));
    return refusals_insert(transaction, store, lane, &refusals, err);
}

static enum err_code finish_in(struct transaction *transaction, struct store *store,
                               struct lane *lane, const struct batch_outcome *outcome,
                               struct err *err)
{
    struct finished finished = {0};
    TRY(read_queued(store, &outcome->id, &finished, err));
    if (!finished.was_queued) {
        return outcome->state == BATCH_INDEXED ? update_committed(store, &outcome->id, err)
                                               : ERR_OK;
    }
    TRY(update_queued(store, outcome, err));
    const struct lane_change change = {.queued_count = -1,
                                       .queued_bytes = -finished.frame_size,
                                       .queued_records = -finished.accepted};
    transaction_change_lane(transaction, lane, &change);
    if (finished.letter.text[0] != '\0') {
        return letter_settle(transaction, store, lane, &finished.letter, outcome, err);
    }
    return insert_refused(transaction, store, lane, outcome, &finished, err);
}

static enum err_code has_batch(struct store *store, const struct id *batch, bool *has_out,
                               struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_has, &query, err));
    query_bind_id(&query, batch);
    return query_next(&query, has_out, err);
}

/* The piece a batch lies in, when the caller does not know it. */
static enum err_code find_piece(struct catalog *catalog, const struct id *batch,
                                int64_t *number_out, struct err *err)
{
    for (size_t i = catalog->pieces.count; i > 0; i--) {
        const struct piece *piece = catalog->pieces.sorted[i - 1];
        bool has = false;
        TRY(has_batch(piece->database.store, batch, &has, err));
        if (has) {
            *number_out = piece->number;
            return ERR_OK;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "there is no batch %s", batch->text);
}

struct finish_write {
    const struct id *table;
    const struct batch_outcome *outcomes;
    size_t count;
};

static enum err_code write_finish(struct transaction *transaction, void *arg, struct err *err)
{
    const struct finish_write *finish = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    struct lane *lane = lanes_find(&catalog->lanes, finish->table);
    if (lane == NULL) {
        return err_set(err, ERR_NOT_FOUND, "there is no such table (%s)", finish->table->text);
    }
    for (size_t i = 0; i < finish->count; i++) {
        const struct batch_outcome *outcome = &finish->outcomes[i];
        assert(outcome->state != BATCH_DURABLE);
        int64_t number = outcome->piece;
        struct store *store = NULL;
        if (number == 0) {
            TRY(find_piece(catalog, &outcome->id, &number, err));
        }
        TRY(transaction_piece(transaction, number, &store, NULL, err));
        TRY(finish_in(transaction, store, lane, outcome, err));
    }
    return ERR_OK;
}

static bool has_payloads(const struct finish_write *finish)
{
    for (size_t i = 0; i < finish->count; i++) {
        if (location_is_set(&finish->outcomes[i].payloads)) {
            return true;
        }
    }
    return false;
}

enum err_code batches_finish(struct catalog *catalog, const struct id *table,
                             const struct batch_outcome *outcomes, size_t count, struct err *err)
{
    attempts_unbind_thread();
    enum err_code code = ERR_OK;
    for (size_t done = 0; done < count && code == ERR_OK; done += FINISH_BATCHES) {
        size_t left = count - done;
        struct finish_write finish = {.table = table,
                                      .outcomes = outcomes + done,
                                      .count = left < FINISH_BATCHES ? left : FINISH_BATCHES};
        /* Without payloads nothing but the table is referred to, whose log tells it all again. */
        code = has_payloads(&finish) ? catalog_promise(catalog, write_finish, &finish, err)
                                     : catalog_write_lazily(catalog, write_finish, &finish, err);
    }
    batches_end_attempt(catalog, table); /* after it: an end in between is charged to no batch */
    return code;
}

/* ---- versions ---- */

struct version_write {
    const struct id *table;
    int64_t version;
    int64_t count;
};

static enum err_code write_indexed(struct transaction *transaction, void *arg, struct err *err)
{
    const struct version_write *write = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    for (size_t i = 0; i < catalog->pieces.count; i++) {
        struct store *store = NULL;
        TRY(transaction_piece(transaction, catalog->pieces.sorted[i]->number, &store, NULL, err));
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_mark_indexed, &query, err));
        query_bind_id(&query, write->table);
        query_bind_integer(&query, write->version);
        TRY(query_run(&query, err));
    }
    return ERR_OK;
}

enum err_code batches_mark_indexed(struct catalog *catalog, const struct id *table, int64_t version,
                                   struct err *err)
{
    struct version_write write = {.table = table, .version = version};
    return catalog_write(catalog, write_indexed, &write, err);
}

static enum err_code measure_requeue(struct store *store, const struct version_write *write,
                                     struct lane_change *change, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_measure_requeue, &query, err));
    query_bind_id(&query, write->table);
    query_bind_integer(&query, write->version);
    TRY(query_next(&query, &row, err));
    change->queued_count = query_integer(&query, 0);
    change->queued_bytes = query_integer(&query, 1);
    change->queued_records = query_integer(&query, 2);
    change->received_us = clock_wall_us();
    return ERR_OK;
}

static enum err_code requeue_in(struct transaction *transaction, struct store *store,
                                struct lane *lane, struct version_write *write, struct err *err)
{
    struct lane_change change = {0};
    TRY(measure_requeue(store, write, &change, err));
    if (change.queued_count == 0) {
        return ERR_OK;
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_requeue, &query, err));
    query_bind_id(&query, write->table);
    query_bind_integer(&query, write->version);
    TRY(query_run(&query, err));
    transaction_change_lane(transaction, lane, &change);
    write->count += change.queued_count;
    return ERR_OK;
}

static enum err_code write_requeue(struct transaction *transaction, void *arg, struct err *err)
{
    struct version_write *write = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    struct lane *lane = lanes_find(&catalog->lanes, write->table);
    if (lane == NULL) {
        return err_set(err, ERR_NOT_FOUND, "there is no such table (%s)", write->table->text);
    }
    for (size_t i = 0; i < catalog->pieces.count; i++) {
        struct store *store = NULL;
        TRY(transaction_piece(transaction, catalog->pieces.sorted[i]->number, &store, NULL, err));
        TRY(requeue_in(transaction, store, lane, write, err));
    }
    return ERR_OK;
}

enum err_code batches_requeue(struct catalog *catalog, const struct id *table, int64_t version,
                              int64_t *count_out, struct err *err)
{
    struct version_write write = {.table = table, .version = version};
    TRY(catalog_write(catalog, write_requeue, &write, err));
    *count_out = write.count;
    return ERR_OK;
}
