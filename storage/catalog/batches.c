/*
 * Accepting batches and reading them. See batches.h; merging.c has the rest.
 */
#include "storage/catalog/batches.h"

#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/catalog/batch_rows.h"
#include "storage/catalog/private.h"
#include "storage/catalog/source_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLANTED_DELAY_US = 5000 };

static const char sql_get[] = "SELECT " BATCH_COLUMNS " FROM batches WHERE id = ?";
static const char sql_errors[] = "SELECT ordinal, line, pointer, code, message FROM record_errors"
                                 " WHERE batch = ? AND ordinal > ? ORDER BY ordinal LIMIT ?";
static const char sql_queued[] = "SELECT " BATCH_COLUMNS " FROM batches WHERE state = 1"
                                 " AND table_uuid = ? AND position > ? ORDER BY position LIMIT ?";
static const char sql_committed[] =
    "SELECT " BATCH_COLUMNS " FROM batches WHERE state = 2"
    " AND table_uuid = ? AND version > ? ORDER BY version, position LIMIT ?";
static const char sql_committed_tables[] =
    "SELECT DISTINCT table_uuid FROM batches WHERE state = 2";
static const char sql_floor[] = "SELECT min(frame_segment) FROM"
                                " (SELECT frame_segment FROM batches WHERE state = 1"
                                "  UNION ALL SELECT frame_segment FROM batches WHERE state = 2)";

static const char *const state_names[] = {
    [BATCH_DURABLE] = "durable",
    [BATCH_COMMITTED] = "committed",
    [BATCH_INDEXED] = "indexed",
    [BATCH_FAILED] = "failed",
};

const char *batch_state_name(enum batch_state state)
{
    assert(state >= BATCH_DURABLE && state <= BATCH_FAILED);
    return state_names[state];
}

/* ---- acceptance ---- */

static struct refusals refusals_of(const struct batch_accept *accept, int64_t position)
{
    return (struct refusals){
        .batch = &accept->id,
        .table = &accept->table,
        .principal = &accept->principal,
        .order_position = position,
        .schema_version = accept->schema_version,
        .errors = accept->errors,
        .count = accept->errors_count,
        .payloads = accept->payloads,
    };
}

static enum err_code check_quota(struct catalog *catalog, const struct lane *lane,
                                 const struct refusals *refusals, struct err *err)
{
    int64_t count = 0;
    int64_t bytes = 0;
    refusals_measure(refusals, &count, &bytes);
    int64_t used = lane->statistics.dead_letter_bytes;
    int64_t max = catalog->options.dead_letter_bytes_max;
    if (bytes > 0 && bytes > max - used) {
        return err_set(err, ERR_NO_SPACE,
                       "the dead letters of this table use %" PRId64 " of %" PRId64
                       " bytes: replay or discard some, or post with handling=strict",
                       used, max);
    }
    return ERR_OK;
}

static int64_t order_position_of(const struct batch_accept *accept,
                                 const struct accept_place *place, int64_t position)
{
    if (place->order_position != 0) {
        return place->order_position;
    }
    return accept->order_position != 0 ? accept->order_position : position;
}

enum err_code batch_accept_in(struct transaction *transaction, const struct batch_accept *accept,
                              const struct accept_place *place, int64_t *position_out,
                              struct err *err)
{
    struct catalog *catalog = transaction_catalog(transaction);
    struct lane *lane = lanes_find(&catalog->lanes, &accept->table);
    if (lane == NULL || lane->live == 0) {
        return err_set(err, ERR_NOT_FOUND, "the table was dropped");
    }
    struct store *store = NULL;
    int64_t piece = 0;
    TRY(transaction_piece(transaction, place->piece, &store, &piece, err));
    if (accept->step != NULL && !place->leave_out_step) {
        assert(place->piece == 0); /* steps rise with the pieces */
        TRY(source_step_insert(transaction, store, piece, accept->step, &accept->id, err));
    }
    int64_t position = lanes_take_position(&catalog->lanes, lane);
    if (position == accept->order_position) {
        position = lanes_take_position(&catalog->lanes, lane);
    }
    assert(accept->order_position < position);
    const struct refusals refusals = refusals_of(accept, position);
    TRY(check_quota(catalog, lane, &refusals, err));
    const struct batch_row row = {
        .accept = accept,
        .position = position,
        .order_position = order_position_of(accept, place, position),
        .flags = place->flags,
        .letter = place->letter,
    };
    TRY(batch_insert(store, &row, err));
    TRY(refusals_insert(transaction, store, lane, &refusals, err));
    if (accept->key != NULL && !place->leave_out_key) {
        TRY(idempotency_insert(store, accept->key, accept->body_sha256, accept->idempotency_status,
                               &accept->id, (struct span){0}, err));
    }
    if (accept->accepted > 0) {
        const struct lane_change change = {.queued_count = 1,
                                           .queued_bytes = accept->frame.size,
                                           .queued_records = accept->accepted,
                                           .received_us = accept->received_at_us};
        transaction_change_lane(transaction, lane, &change);
    }
    *position_out = position;
    return ERR_OK;
}

struct accept_write {
    const struct batch_accept *accept;
    struct accept_place place;
    int64_t position;
};

static enum err_code write_accept(struct transaction *transaction, void *arg, struct err *err)
{
    struct accept_write *write = arg;
    return batch_accept_in(transaction, write->accept, &write->place, &write->position, err);
}

/* Planted bugs: the key, or the step, of a batch that is stored already. */
static enum err_code write_rest_elsewhere(struct transaction *transaction, void *arg,
                                          struct err *err)
{
    const struct accept_write *write = arg;
    const struct batch_accept *accept = write->accept;
    struct store *store = NULL;
    int64_t piece = 0;
    TRY(transaction_piece(transaction, 0, &store, &piece, err));
    if (write->place.leave_out_step) {
        return source_step_insert(transaction, store, piece, accept->step, &accept->id, err);
    }
    return idempotency_insert(store, accept->key, accept->body_sha256, accept->idempotency_status,
                              &accept->id, (struct span){0}, err);
}

static enum err_code write_what_was_left_out(struct catalog *catalog, struct accept_write *write,
                                             struct err *err)
{
    if (!write->place.leave_out_key && !write->place.leave_out_step) {
        return ERR_OK;
    }
    (void)usleep(PLANTED_DELAY_US);
    return catalog_write(catalog, write_rest_elsewhere, write, err);
}

enum err_code batch_accept(struct catalog *catalog, const struct batch_accept *accept,
                           int64_t *position_out, struct err *err)
{
    assert(accept->accepted == 0 || location_is_set(&accept->frame));
    assert(accept->errors_count <= BATCH_RECORD_ERRORS_MAX);
    struct accept_write write = {.accept = accept};
    write.place.leave_out_key = accept->key != NULL && FAULT_SKIP("accept.idempotency-elsewhere");
    write.place.leave_out_step = accept->step != NULL && FAULT_SKIP("accept.step-elsewhere");
    TRY(catalog_promise(catalog, write_accept, &write, err));
    TRY(write_what_was_left_out(catalog, &write, err));
    *position_out = write.position;
    return ERR_OK;
}

/* An acceptance that nobody waits for; allocated until it is done. */
struct accept_later {
    struct catalog *catalog;
    struct batch_accept accept;
    struct accept_write write;
    struct err *err;
    batch_accepted_fn *done;
    void *arg;
};

static enum err_code write_later(struct transaction *transaction, void *arg, struct err *err)
{
    struct accept_later *later = arg;
    return write_accept(transaction, &later->write, err);
}

static void finish_later(void *arg, enum err_code code)
{
    struct accept_later *later = arg;
    if (code == ERR_OK) {
        code = write_what_was_left_out(later->catalog, &later->write, later->err);
    }
    const struct accept_later told = *later;
    mem_free(later);
    told.done(told.arg, code);
}

enum err_code batch_accept_later(struct catalog *catalog, const struct batch_accept *accept,
                                 batch_accepted_fn *done, void *arg, struct err *err)
{
    assert(accept->accepted == 0 || location_is_set(&accept->frame));
    assert(accept->errors_count <= BATCH_RECORD_ERRORS_MAX);
    struct accept_later *later = mem_zeroed(1, sizeof *later);
    *later = (struct accept_later){
        .catalog = catalog, .accept = *accept, .err = err, .done = done, .arg = arg};
    later->write.accept = &later->accept;
    later->write.place.leave_out_key =
        accept->key != NULL && FAULT_SKIP("accept.idempotency-elsewhere");
    enum err_code code = catalog_promise_later(catalog, write_later, later, finish_later, err);
    if (code != ERR_OK) {
        mem_free(later);
    }
    return code;
}

/* ---- reading one ---- */

static enum err_code get_from(struct store *store, int64_t piece, const struct id *id,
                              struct arena *arena, bool *found_out, struct batch *batch_out,
                              struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_id(&query, id);
    TRY(query_next(&query, found_out, err));
    return *found_out ? batch_read_row(&query, piece, arena, batch_out, err) : ERR_OK;
}

enum err_code batch_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                        struct batch *batch_out, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        bool found = false;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(get_from(store, numbers[i], id, arena, &found, batch_out, err));
        if (found) {
            return ERR_OK;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "there is no batch %s", id->text);
}

/* ---- its errors ---- */

struct error_page {
    const struct id *batch;
    int64_t after;
    size_t limit;
    struct batch_error *errors;
    size_t count;
};

static enum err_code read_errors(struct store *store, struct error_page *page, struct arena *arena,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_errors, &query, err));
    query_bind_id(&query, page->batch);
    query_bind_integer(&query, page->after);
    query_bind_integer(&query, (int64_t)(page->limit - page->count));
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        struct batch_error *error = &page->errors[page->count];
        error->ordinal = query_integer(&query, 0);
        error->line = query_integer(&query, 1);
        TRY(query_text(&query, 2, arena, &error->pointer, err));
        TRY(query_text(&query, 3, arena, &error->code, err));
        TRY(query_text(&query, 4, arena, &error->message, err));
        page->count++;
    }
}

enum err_code batch_errors(struct catalog *catalog, const struct id *batch, int64_t after,
                           size_t limit, struct arena *arena, struct batch_error **errors_out,
                           size_t *count_out, struct err *err)
{
    struct error_page page = {.batch = batch, .after = after, .limit = limit};
    page.errors = arena_alloc(arena, (limit + 1) * sizeof *page.errors);
    if (page.errors == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count && page.count == 0; i++) { /* a batch lies in one piece */
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(read_errors(store, &page, arena, err));
    }
    *errors_out = page.errors;
    *count_out = page.count;
    return ERR_OK;
}

/* ---- the queue ---- */

/* Batches gathered from pieces; memory from the arena. */
struct gathering {
    struct arena *arena;
    struct batch *batches;
    size_t count;
    size_t capacity;
};

static enum err_code gather(struct gathering *gathering, const struct batch *batch, struct err *err)
{
    if (gathering->count == gathering->capacity) {
        size_t capacity = gathering->capacity == 0 ? 64 : gathering->capacity * 2;
        struct batch *batches = arena_alloc(gathering->arena, capacity * sizeof *batches);
        if (batches == NULL) {
            return err_set(err, ERR_TOO_LARGE, "the queue's answer is larger than its budget");
        }
        if (gathering->count > 0) {
            memcpy(batches, gathering->batches, gathering->count * sizeof *batches);
        }
        gathering->batches = batches;
        gathering->capacity = capacity;
    }
    gathering->batches[gathering->count++] = *batch;
    return ERR_OK;
}

struct queue_query {
    const char *sql;
    const struct id *table;
    int64_t after;
    size_t limit;
};

static enum err_code gather_from(struct store *store, int64_t piece,
                                 const struct queue_query *wanted, struct gathering *gathering,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, wanted->sql, &query, err));
    query_bind_id(&query, wanted->table);
    query_bind_integer(&query, wanted->after);
    query_bind_integer(&query, (int64_t)wanted->limit);
    for (;;) {
        bool row = false;
        struct batch batch;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(batch_read_row(&query, piece, gathering->arena, &batch, err));
        TRY(gather(gathering, &batch, err));
    }
}

static int compare_positions(const void *a, const void *b)
{
    const struct batch *left = a;
    const struct batch *right = b;
    return left->position < right->position ? -1 : left->position > right->position;
}

/* The first `limit` of all pieces in order of position: a replay lies in its letter's piece. */
static enum err_code gather_all(struct catalog *catalog, const struct queue_query *wanted,
                                struct gathering *gathering, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: it had nothing unfinished */
            continue;
        }
        TRY(code);
        TRY(gather_from(store, numbers[i], wanted, gathering, err));
    }
    if (gathering->count > 1) {
        qsort(gathering->batches, gathering->count, sizeof *gathering->batches, compare_positions);
    }
    if (gathering->count > wanted->limit) {
        gathering->count = wanted->limit;
    }
    return ERR_OK;
}

enum err_code batches_queued(struct catalog *catalog, const struct id *table,
                             int64_t after_position, size_t count_max, int64_t bytes_max,
                             struct arena *arena, struct batch **batches_out, size_t *count_out,
                             struct err *err)
{
    const struct queue_query wanted = {
        .sql = sql_queued, .table = table, .after = after_position, .limit = count_max};
    struct gathering gathering = {.arena = arena};
    TRY(gather_all(catalog, &wanted, &gathering, err));
    if (gathering.count > 0 && after_position == 0) {
        lanes_note_oldest(&catalog->lanes, table, gathering.batches[0].received_at_us);
    }
    size_t count = gathering.count > 0 ? 1 : 0;
    int64_t bytes = count > 0 ? gathering.batches[0].frame.size : 0;
    while (count < gathering.count && gathering.batches[count].frame.size <= bytes_max - bytes) {
        bytes += gathering.batches[count++].frame.size;
    }
    *batches_out = gathering.batches;
    *count_out = count;
    return ERR_OK;
}

enum err_code batches_committed(struct catalog *catalog, const struct id *table, size_t limit,
                                struct arena *arena, struct batch **batches_out, size_t *count_out,
                                struct err *err)
{
    const struct queue_query wanted = {
        .sql = sql_committed, .table = table, .after = INT64_MIN, .limit = limit};
    struct gathering gathering = {.arena = arena};
    TRY(gather_all(catalog, &wanted, &gathering, err));
    *batches_out = gathering.batches;
    *count_out = gathering.count;
    return ERR_OK;
}

enum err_code lane_statistics(struct catalog *catalog, const struct id *table,
                              struct lane_statistics *statistics_out, struct err *err)
{
    return lanes_read(&catalog->lanes, table, statistics_out)
               ? ERR_OK
               : err_set(err, ERR_NOT_FOUND, "there is no such table (%s)", table->text);
}

static bool is_listed(const struct id *tables, size_t count, const struct id *table)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tables[i].text, table->text) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code list_committed(struct store *store, struct id *tables, size_t capacity,
                                    size_t *count, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_committed_tables, &query, err));
    for (;;) {
        bool row = false;
        struct id table;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_id(&query, 0, &table, err));
        if (*count < capacity && !is_listed(tables, *count, &table)) {
            tables[(*count)++] = table;
        }
    }
}

static size_t list_queued(struct lanes *lanes, struct id *tables, size_t capacity)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t count = 0;
    for (size_t i = 0; i < lanes->count && count < capacity; i++) {
        const struct lane *lane = lanes->sorted[i];
        if (lane->live != 0 && lane->statistics.queued_count > 0) {
            tables[count++] = lane->statistics.table;
        }
    }
    return count;
}

enum err_code lanes_with_work(struct catalog *catalog, struct arena *arena, struct id **tables_out,
                              size_t *count_out, struct err *err)
{
    size_t capacity = CATALOG_PIECES_MAX + lanes_count(&catalog->lanes);
    struct id *tables = arena_alloc(arena, capacity * sizeof *tables);
    if (tables == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    size_t count = list_queued(&catalog->lanes, tables, capacity);
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t pieces = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < pieces; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: it had nothing unfinished */
            continue;
        }
        TRY(code);
        TRY(list_committed(store, tables, capacity, &count, err));
    }
    *tables_out = tables;
    *count_out = count;
    return ERR_OK;
}

/* ---- the journal's floor ---- */

enum err_code batches_journal_floor(struct catalog *catalog, int64_t *segment_out, struct err *err)
{
    return catalog_lowest(catalog, sql_floor, segment_out, err);
}
