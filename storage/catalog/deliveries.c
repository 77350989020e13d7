/*
 * Webhook deliveries as rows of jobs.db. See deliveries.h.
 */
#include "storage/catalog/deliveries.h"

#include "storage/base/clock.h"
#include "storage/catalog/batch_rows.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { LIST_SCAN_MAX = 10000, RETAIN_STEP = 500 };

#define COLUMNS                                                                                    \
    "SELECT id, job_id, run_id, event, url, secret, body, state, tries, replays, created_at, due," \
    " tried_at, status, error FROM deliveries"
static const char sql_get[] = COLUMNS " WHERE id = ?";
static const char sql_due[] = COLUMNS " WHERE state = 1 AND due <= ? ORDER BY due LIMIT ?";
static const char sql_list[] = COLUMNS " WHERE id < ? ORDER BY id DESC LIMIT ?";
static const char sql_list_of_run[] =
    COLUMNS " WHERE id < ? AND run_id = ? ORDER BY id DESC LIMIT ?";
static const char sql_next_due[] = "SELECT min(due) FROM deliveries WHERE state = 1";
static const char sql_counts[] = "SELECT (SELECT count(*) FROM deliveries WHERE state = 1),"
                                 " (SELECT count(*) FROM deliveries WHERE state IN (3, 4))";
static const char sql_finish[] =
    "UPDATE deliveries SET state = ?, due = ?, tries = tries + 1, tried_at = ?, status = ?,"
    " error = ? WHERE id = ? AND state = 1";
static const char sql_end_of_url[] =
    "UPDATE deliveries SET state = 4, tried_at = ?1, status = 410,"
    " error = 'the endpoint said for another delivery that it wants no more'"
    " WHERE state = 1 AND url = (SELECT url FROM deliveries WHERE id = ?2)";
static const char sql_replay[] =
    "UPDATE deliveries SET state = 1, due = ?, tries = 0, replays = replays + 1"
    " WHERE id = ? AND state <> 1";
static const char sql_exists[] = "SELECT 1 FROM deliveries WHERE id = ?";
/* Ids are made in order of time, so what is younger is never looked at. */
static const char sql_old[] = "SELECT id FROM deliveries WHERE state <> 1 AND tried_at < ?1"
                              " AND id < ?2 ORDER BY id LIMIT ?3";
static const char sql_remove[] = "DELETE FROM deliveries WHERE id = ? AND state <> 1";

static const char id_prefix[] = "msg_";

/* ---- names ---- */

void delivery_id_format(const struct id *id, char text_out[DELIVERY_ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[16];
    id_bytes(id, bytes);
    size_t at = sizeof id_prefix - 1;
    memcpy(text_out, id_prefix, at);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text_out[at++] = digits[bytes[i] >> 4];
        text_out[at++] = digits[bytes[i] & 15];
    }
    text_out[at] = '\0';
}

bool delivery_id_parse(struct span text, struct id *id_out)
{
    static const size_t groups[] = {8, 4, 4, 4, 12};
    size_t at = sizeof id_prefix - 1;
    if (text.size != DELIVERY_ID_TEXT_BYTES - 1 || memcmp(text.data, id_prefix, at) != 0) {
        return false;
    }
    char hyphened[ID_TEXT_BYTES];
    size_t to = 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (i > 0) {
            hyphened[to++] = '-';
        }
        memcpy(hyphened + to, text.data + at, groups[i]);
        to += groups[i];
        at += groups[i];
    }
    return id_parse(span_of(hyphened, to), id_out);
}

static const char *const state_names[] = {
    [DELIVERY_PENDING] = "pending",
    [DELIVERY_DELIVERED] = "delivered",
    [DELIVERY_DEAD] = "dead",
    [DELIVERY_GONE] = "gone",
};

const char *delivery_state_name(enum delivery_state state)
{
    assert(state >= DELIVERY_PENDING);
    assert(state <= DELIVERY_GONE);
    return state_names[state];
}

bool delivery_state_parse(struct span name, enum delivery_state *state_out)
{
    for (int state = DELIVERY_PENDING; state <= DELIVERY_GONE; state++) {
        if (span_equal_text(name, state_names[state])) {
            *state_out = (enum delivery_state)state;
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

static enum err_code read_delivery(const struct query *query, bool with_body, struct arena *arena,
                                   struct delivery *delivery, struct err *err)
{
    *delivery = (struct delivery){
        .job_id = query_integer(query, 1),
        .run_id = query_integer(query, 2),
        .state = (enum delivery_state)query_integer(query, 7),
        .tries = (int32_t)query_integer(query, 8),
        .replays = (int32_t)query_integer(query, 9),
        .created_at_us = query_integer(query, 10),
        .due_us = query_integer(query, 11),
        .tried_at_us = query_integer(query, 12),
        .status = (int32_t)query_integer(query, 13),
    };
    if (delivery->state < DELIVERY_PENDING || delivery->state > DELIVERY_GONE) {
        return err_set(err, ERR_CORRUPT, "%s: a delivery has no known state",
                       store_path(query->store));
    }
    TRY(query_id(query, 0, &delivery->id, err));
    TRY(query_text(query, 3, arena, &delivery->event, err));
    TRY(query_text(query, 4, arena, &delivery->url, err));
    TRY(query_optional_text(query, 5, arena, &delivery->secret, err));
    TRY(query_text(query, 14, arena, &delivery->error, err));
    if (with_body) {
        const char *body = NULL;
        TRY(query_text(query, 6, arena, &body, err));
        delivery->body = span_of(body, query_span(query, 6).size);
    }
    return ERR_OK;
}

enum err_code delivery_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                           struct delivery *delivery_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool row = false;
    struct delivery delivery;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_id(&query, id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return err_set(err, ERR_NOT_FOUND, "there is no such delivery");
    }
    TRY(read_delivery(&query, true, arena, &delivery, err));
    *delivery_out = delivery;
    return ERR_OK;
}

static struct delivery *new_page(struct arena *arena, size_t limit, struct err *err)
{
    struct delivery *page = arena_alloc(arena, (limit + 1) * sizeof *page);
    if (page == NULL) {
        (void)err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    return page;
}

enum err_code deliveries_due(struct catalog *catalog, int64_t now_us, size_t limit,
                             struct arena *arena, struct delivery **deliveries_out,
                             size_t *count_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    struct delivery *page = new_page(arena, limit, err);
    if (page == NULL) {
        return err->code;
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_due, &query, err));
    query_bind_integer(&query, now_us);
    query_bind_integer(&query, (int64_t)limit);
    size_t count = 0;
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        TRY(read_delivery(&query, true, arena, &page[count], err));
        count++;
    }
    *deliveries_out = page;
    *count_out = count;
    return ERR_OK;
}

enum err_code deliveries_next_due(struct catalog *catalog, int64_t *due_us_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool row = false;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_next_due, &query, err));
    TRY(query_next(&query, &row, err));
    *due_us_out = query_is_null(&query, 0) ? INT64_MAX : query_integer(&query, 0);
    return ERR_OK;
}

enum err_code delivery_counts(struct catalog *catalog, struct delivery_counts *counts_out,
                              struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool row = false;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_counts, &query, err));
    TRY(query_next(&query, &row, err));
    *counts_out = (struct delivery_counts){.pending = query_integer(&query, 0),
                                           .dead = query_integer(&query, 1)};
    return ERR_OK;
}

/* ---- lists ---- */

static bool fits(const struct delivery_filter *filter, const struct query *query)
{
    return (filter->job_id == 0 || filter->job_id == query_integer(query, 1)) &&
           (filter->state == 0 || filter->state == query_integer(query, 7));
}

/* Begin at `after`, or at the newest. */
static enum err_code begin_list(struct store *store, const struct delivery_filter *filter,
                                const uint8_t after[16], struct query *query, struct err *err)
{
    TRY(query_begin(store, filter->run_id != 0 ? sql_list_of_run : sql_list, query, err));
    query_bind_bytes(query, after, 16);
    if (filter->run_id != 0) {
        query_bind_integer(query, filter->run_id);
    }
    query_bind_integer(query, LIST_SCAN_MAX);
    return ERR_OK;
}

enum err_code delivery_list(struct catalog *catalog, const struct delivery_filter *filter,
                            const struct id *after, size_t limit, struct arena *arena,
                            struct delivery **deliveries_out, size_t *count_out, bool *more_out,
                            struct id *next_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    uint8_t begin[16];
    TRY(reader_jobs(reader, &store, err));
    struct delivery *page = new_page(arena, limit, err);
    if (page == NULL) {
        return err->code;
    }
    memset(begin, 0xff, sizeof begin);
    if (after != NULL) {
        id_bytes(after, begin);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(begin_list(store, filter, begin, &query, err));
    size_t count = 0;
    int looked_at = 0;
    struct id last = {.text = ""};
    while (count < limit) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        looked_at++;
        TRY(query_id(&query, 0, &last, err));
        if (fits(filter, &query)) {
            TRY(read_delivery(&query, false, arena, &page[count], err));
            count++;
        }
    }
    *deliveries_out = page;
    *count_out = count;
    *more_out = count == limit || looked_at == LIST_SCAN_MAX;
    *next_out = last;
    return ERR_OK;
}

/* ---- writing ---- */

struct delivery_write {
    const struct id *id;
    const struct delivery_outcome *outcome;
};

/* Who wants no more is not asked again for what is on its way to it. */
static enum err_code end_url(struct store *store, const struct id *id, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_end_of_url, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, id);
    return query_run(&query, err);
}

static enum err_code write_finish(struct transaction *transaction, void *arg, struct err *err)
{
    const struct delivery_write *write = arg;
    const struct delivery_outcome *outcome = write->outcome;
    struct span error = span_of_text(outcome->error == NULL ? "" : outcome->error);
    struct store *store = NULL;
    TRY(transaction_jobs(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_finish, &query, err));
    query_bind_integer(&query, outcome->state);
    query_bind_integer(&query, outcome->due_us);
    query_bind_integer(&query, clock_wall_us());
    query_bind_integer(&query, outcome->status);
    query_bind_span(&query, text_cut(error, DELIVERY_ERROR_BYTES_MAX));
    query_bind_id(&query, write->id);
    TRY(query_run(&query, err));
    bool gone = outcome->state == DELIVERY_GONE && store_changes(store) > 0;
    return gone ? end_url(store, write->id, err) : ERR_OK;
}

enum err_code delivery_finish(struct catalog *catalog, const struct id *id,
                              const struct delivery_outcome *outcome, struct err *err)
{
    struct delivery_write write = {.id = id, .outcome = outcome};
    return catalog_write(catalog, write_finish, &write, err);
}

static enum err_code exists(struct store *store, const struct id *id, bool *exists_out,
                            struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_exists, &query, err));
    query_bind_id(&query, id);
    return query_next(&query, exists_out, err);
}

static enum err_code write_replay(struct transaction *transaction, void *arg, struct err *err)
{
    const struct delivery_write *write = arg;
    struct store *store = NULL;
    TRY(transaction_jobs(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_replay, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, write->id);
    TRY(query_run(&query, err));
    if (store_changes(store) > 0) {
        return ERR_OK;
    }
    bool found = false;
    TRY(exists(store, write->id, &found, err));
    return found ? err_set(err, ERR_CONFLICT, "the delivery is pending: it will be sent anyhow")
                 : err_set(err, ERR_NOT_FOUND, "there is no such delivery");
}

enum err_code delivery_replay(struct catalog *catalog, const struct id *id, struct err *err)
{
    struct delivery_write write = {.id = id};
    return catalog_write(catalog, write_replay, &write, err);
}

/* ---- retention ---- */

struct delivery_removal {
    uint8_t ids[RETAIN_STEP][16];
    size_t count;
    int64_t removed;
};

/* The first 48 bits of an ordered id are its milliseconds. */
static void id_bound(int64_t before_us, uint8_t bound_out[16])
{
    uint64_t ms = before_us <= 0 ? 0 : (uint64_t)before_us / 1000;
    memset(bound_out, 0, 16);
    for (size_t i = 0; i < 6; i++) {
        bound_out[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
}

static enum err_code find_old(struct catalog *catalog, int64_t before_us,
                              struct delivery_removal *removal, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    uint8_t bound[16];
    id_bound(before_us, bound);
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_old, &query, err));
    query_bind_integer(&query, before_us);
    query_bind_bytes(&query, bound, sizeof bound);
    query_bind_integer(&query, RETAIN_STEP);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_bytes(&query, 0, removal->ids[removal->count], 16, err));
        removal->count++;
    }
}

static enum err_code write_removal(struct transaction *transaction, void *arg, struct err *err)
{
    struct delivery_removal *removal = arg;
    struct store *store = NULL;
    TRY(transaction_jobs(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_remove, &query, err));
    removal->removed = 0;
    for (size_t i = 0; i < removal->count; i++) {
        query_bind_bytes(&query, removal->ids[i], 16);
        TRY(query_run(&query, err));
        removal->removed += store_changes(store);
    }
    return ERR_OK;
}

enum err_code deliveries_retain(struct catalog *catalog, int64_t before_us, int64_t *removed_out,
                                bool *more_out, struct err *err)
{
    struct delivery_removal removal = {.count = 0};
    TRY(find_old(catalog, before_us, &removal, err));
    if (removal.count > 0) {
        TRY(catalog_write(catalog, write_removal, &removal, err));
    }
    *removed_out = removal.removed;
    *more_out = removal.count == RETAIN_STEP;
    return ERR_OK;
}
