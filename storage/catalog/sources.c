/*
 * Sources and their steps. See sources.h and source_rows.h.
 */
#include "storage/catalog/sources.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/private.h"
#include "storage/catalog/source_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char sql_insert[] =
    "INSERT INTO source_steps(source, step, checkpoint, batch, run_id, task_key, taken_at,"
    " findings) VALUES(?, ?, ?, ?, ?, ?, ?, ?)";
static const char sql_last[] = "SELECT step, checkpoint FROM source_steps WHERE source = ?"
                               " ORDER BY step DESC LIMIT 1";
static const char sql_folded[] = "SELECT step, checkpoint FROM sources WHERE source = ?";
/* with max(), SQLite gives the other columns of the row that has it */
static const char sql_all_last[] =
    "SELECT source, max(step), checkpoint FROM source_steps GROUP BY source";
static const char sql_fold[] =
    "INSERT INTO sources(source, step, checkpoint, updated_us) VALUES(?, ?, ?, ?)"
    " ON CONFLICT(source) DO UPDATE SET step = excluded.step, checkpoint = excluded.checkpoint,"
    " updated_us = excluded.updated_us WHERE excluded.step > step";
static const char sql_tally[] =
    "SELECT count(*), count(b.id), ifnull(sum(b.received), 0), ifnull(sum(b.accepted), 0),"
    " ifnull(sum(b.rejected), 0), ifnull(sum(b.applied), 0), ifnull(sum(b.superseded), 0),"
    " ifnull(sum(b.rejected_at_merge), 0),"
    " count(CASE WHEN b.state IN (1, 2) THEN 1 END), count(CASE WHEN b.state = 4 THEN 1 END),"
    " min(CASE WHEN b.version >= 0 THEN b.version END), max(b.version),"
    " max(CASE WHEN b.state = 4 THEN b.id END)"
    " FROM source_steps AS s LEFT JOIN batches AS b ON b.id = s.batch"
    " WHERE s.run_id = ? AND s.task_key = ?";
static const char sql_versions[] =
    "SELECT DISTINCT b.state, b.version FROM source_steps AS s JOIN batches AS b ON b.id = s.batch"
    " WHERE s.run_id = ? AND b.table_uuid = ?";
static const char sql_findings[] = "SELECT findings FROM source_steps WHERE run_id = ?"
                                   " AND task_key = ? AND findings IS NOT NULL";
static const char sql_orphan[] =
    "SELECT s.step FROM source_steps AS s LEFT JOIN batches AS b ON b.id = s.batch"
    " WHERE s.batch IS NOT NULL AND b.id IS NULL LIMIT 1";

/* ---- taking a step ---- */

/* The last step, whether it stands in a piece or was folded. Writer thread. */
static enum err_code last_step(struct catalog *catalog, const uint8_t source[SOURCE_ID_BYTES],
                               int64_t *step_out, struct err *err)
{
    bool row = false;
    *step_out = source_book_get(&catalog->sources, source).step;
    if (*step_out > 0) {
        return ERR_OK;
    }
    /* rows of `sources` change in sources_fold only, which runs alone */
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(catalog->jobs.store, sql_folded, &query, err));
    query_bind_bytes(&query, source, SOURCE_ID_BYTES);
    TRY(query_next(&query, &row, err));
    *step_out = row ? query_integer(&query, 0) : 0;
    return ERR_OK;
}

static enum err_code insert_row(struct store *store, const struct source_step *step,
                                const struct id *batch, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert, &query, err));
    query_bind_bytes(&query, step->source, sizeof step->source);
    query_bind_integer(&query, step->step);
    query_bind_span(&query, step->checkpoint);
    if (batch != NULL) {
        query_bind_id(&query, batch);
    } else {
        query_bind_null(&query);
    }
    query_bind_integer(&query, step->run_id);
    query_bind_text(&query, step->task_key);
    query_bind_integer(&query, clock_wall_us());
    if (step->findings.size > 0) {
        query_bind_span(&query, step->findings);
    } else {
        query_bind_null(&query);
    }
    return query_run(&query, err);
}

enum err_code source_step_insert(struct transaction *transaction, struct store *store,
                                 int64_t piece, const struct source_step *step,
                                 const struct id *batch, struct err *err)
{
    assert(step->step > 0);
    assert(step->checkpoint.size <= SOURCE_CHECKPOINT_BYTES_MAX);
    assert(step->findings.size <= SOURCE_FINDINGS_BYTES_MAX);
    assert(strlen(step->task_key) <= SOURCE_TASK_KEY_BYTES_MAX);
    int64_t last = 0;
    TRY(last_step(transaction_catalog(transaction), step->source, &last, err));
    if (step->step <= last) {
        return err_set(err, ERR_EXISTS, "step %" PRId64 " of the source was taken already",
                       step->step);
    }
    if (step->step != last + 1) {
        return err_set(err, ERR_CONFLICT,
                       "step %" PRId64 " of the source would follow step %" PRId64
                       "; read its position again",
                       step->step, last);
    }
    TRY(insert_row(store, step, batch, err));
    struct source_entry entry = {.step = step->step, .piece = piece};
    memcpy(entry.source, step->source, sizeof entry.source);
    transaction_set_source(transaction, &entry);
    return ERR_OK;
}

static enum err_code write_record(struct transaction *transaction, void *arg, struct err *err)
{
    struct store *store = NULL;
    int64_t piece = 0;
    TRY(transaction_piece(transaction, 0, &store, &piece, err));
    return source_step_insert(transaction, store, piece, arg, NULL, err);
}

enum err_code source_step_record(struct catalog *catalog, const struct source_step *step,
                                 struct err *err)
{
    struct source_step copy = *step;
    return catalog_write(catalog, write_record, &copy, err);
}

/* ---- reading ---- */

static enum err_code read_last(struct store *store, const char *sql,
                               const uint8_t source[SOURCE_ID_BYTES], int64_t *step_out,
                               struct buffer *checkpoint, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    query_bind_bytes(&query, source, SOURCE_ID_BYTES);
    TRY(query_next(&query, &row, err));
    if (row) {
        *step_out = query_integer(&query, 0);
        buffer_append_span(checkpoint, query_span(&query, 1));
    }
    return buffer_check(checkpoint, "the checkpoint of the source", err);
}

enum err_code source_position(struct catalog *catalog, const uint8_t source[SOURCE_ID_BYTES],
                              int64_t *step_out, struct buffer *checkpoint, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    int64_t step = 0;
    struct store *store = NULL;
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    /* steps rise with the pieces: the newest that knows the source has its last one */
    for (size_t i = 0; i < count && step == 0; i++) {
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: what it had is in jobs.db */
            continue;
        }
        TRY(code);
        TRY(read_last(store, sql_last, source, &step, checkpoint, err));
    }
    if (step == 0) {
        TRY(reader_jobs(reader, &store, err));
        TRY(read_last(store, sql_folded, source, &step, checkpoint, err));
    }
    *step_out = step;
    return ERR_OK;
}

static enum err_code add_tally(struct store *store, int64_t run_id, const char *task_key,
                               struct source_tally *tally, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_tally, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_text(&query, task_key);
    TRY(query_next(&query, &row, err));
    int64_t *const sums[] = {
        &tally->steps_count,  &tally->batches_count,     &tally->received,
        &tally->accepted,     &tally->rejected,          &tally->applied,
        &tally->superseded,   &tally->rejected_at_merge, &tally->unfinished_count,
        &tally->failed_count,
    };
    for (int i = 0; i < (int)(sizeof sums / sizeof sums[0]); i++) {
        *sums[i] += query_integer(&query, i);
    }
    if (!query_is_null(&query, 10)) {
        int64_t first = query_integer(&query, 10);
        int64_t last = query_integer(&query, 11);
        bool is_first = tally->version_first < 0 || first < tally->version_first;
        tally->version_first = is_first ? first : tally->version_first;
        tally->version_last = last > tally->version_last ? last : tally->version_last;
    }
    return query_is_null(&query, 12) ? ERR_OK : query_id(&query, 12, &tally->failed_batch, err);
}

enum err_code source_tally(struct catalog *catalog, int64_t run_id, const char *task_key,
                           struct source_tally *tally_out, struct err *err)
{
    struct source_tally tally = {.version_first = -1, .version_last = -1};
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: runs of its time are over */
            continue;
        }
        TRY(code);
        TRY(add_tally(store, run_id, task_key, &tally, err));
    }
    *tally_out = tally;
    return ERR_OK;
}

static enum err_code add_versions(struct store *store, int64_t run_id, const struct id *table,
                                  struct source_versions *versions, size_t *capacity,
                                  struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_versions, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_id(&query, table);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        int64_t version = query_integer(&query, 1);
        versions->unfinished_count += query_integer(&query, 0) == BATCH_DURABLE;
        if (version < 0) {
            continue;
        }
        if (versions->count == *capacity) {
            *capacity = *capacity * 2 + 16;
            versions->items = mem_resize(versions->items, *capacity, sizeof *versions->items);
        }
        versions->items[versions->count++] = version;
    }
}

static int compare_versions(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* A version may hold batches of two pieces. */
static void sort_versions(struct source_versions *versions)
{
    if (versions->count == 0) {
        return;
    }
    qsort(versions->items, versions->count, sizeof *versions->items, compare_versions);
    size_t kept = 1;
    for (size_t i = 1; i < versions->count; i++) {
        if (versions->items[i] != versions->items[kept - 1]) {
            versions->items[kept++] = versions->items[i];
        }
    }
    versions->count = kept;
}

enum err_code source_run_versions(struct catalog *catalog, int64_t run_id, const struct id *table,
                                  struct source_versions *versions_out, struct err *err)
{
    struct source_versions versions = {0};
    size_t capacity = 0;
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    enum err_code code = ERR_OK;
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        struct store *store = NULL;
        code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_OK) {
            code = add_versions(store, run_id, table, &versions, &capacity, err);
        } else if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: runs of its time are over */
            code = ERR_OK;
        }
    }
    if (code != ERR_OK) {
        mem_free(versions.items);
        return code;
    }
    sort_versions(&versions);
    *versions_out = versions;
    return ERR_OK;
}

static enum err_code take_findings(struct store *store, int64_t run_id, const char *task_key,
                                   source_findings_fn *take, void *arg, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_findings, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_text(&query, task_key);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(take(arg, query_span(&query, 0), err));
    }
}

enum err_code source_findings(struct catalog *catalog, int64_t run_id, const char *task_key,
                              source_findings_fn *take, void *arg, struct err *err)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: runs of its time are over */
            continue;
        }
        TRY(code);
        TRY(take_findings(store, run_id, task_key, take, arg, err));
    }
    return ERR_OK;
}

/* ---- start, retention, fsck ---- */

static enum err_code load_piece(struct catalog *catalog, const struct piece *piece, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(piece->database.store, sql_all_last, &query, err));
    for (;;) {
        bool row = false;
        struct source_entry entry = {.piece = piece->number};
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_bytes(&query, 0, entry.source, sizeof entry.source, err));
        entry.step = query_integer(&query, 1);
        source_book_set(&catalog->sources, &entry);
    }
}

enum err_code sources_load(struct catalog *catalog, struct err *err)
{
    for (size_t i = 0; i < catalog->pieces.count; i++) {
        TRY(load_piece(catalog, catalog->pieces.sorted[i], err));
    }
    return ERR_OK;
}

static enum err_code fold_row(struct store *jobs, const struct query *last, struct err *err)
{
    uint8_t source[SOURCE_ID_BYTES];
    TRY(query_bytes(last, 0, source, sizeof source, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(jobs, sql_fold, &query, err));
    query_bind_bytes(&query, source, sizeof source);
    query_bind_integer(&query, query_integer(last, 1));
    query_bind_span(&query, query_span(last, 2));
    query_bind_integer(&query, clock_wall_us());
    return query_run(&query, err);
}

static enum err_code fold_rows(struct store *piece, struct store *jobs, struct err *err)
{
    CLEANUP(query_end) struct query last = {0};
    TRY(query_begin(piece, sql_all_last, &last, err));
    for (;;) {
        bool row = false;
        TRY(query_next(&last, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(fold_row(jobs, &last, err));
    }
}

enum err_code sources_fold(struct catalog *catalog, int64_t number, struct err *err)
{
    struct store *jobs = catalog->jobs.store;
    const struct piece *piece = pieces_find(catalog, number);
    TRY(store_run(jobs, "BEGIN IMMEDIATE", err));
    enum err_code code = fold_rows(piece->database.store, jobs, err);
    if (code == ERR_OK && FAULT("sources.fold")) {
        code = err_set(err, ERR_NO_SPACE, "injected");
    }
    if (code == ERR_OK) {
        code = store_run(jobs, "COMMIT", err);
    }
    if (code != ERR_OK) {
        struct err failure = {0};
        if (store_in_transaction(jobs) && store_run(jobs, "ROLLBACK", &failure) != ERR_OK) {
            process_stop_after_io_error(&failure); /* a writer that cannot roll back cannot go on */
        }
        return code;
    }
    (void)FAULT("sources.folded"); /* a point to crash at; it cannot fail */
    store_checkpoint(jobs);
    source_book_forget_piece(&catalog->sources, number);
    return ERR_OK;
}

enum err_code sources_examine(struct store *store, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_orphan, &query, err));
    TRY(query_next(&query, &row, err));
    if (row) {
        return err_set(err, ERR_CORRUPT,
                       "%s: step %" PRId64 " of a source names a batch that is "
                       "not there",
                       store_path(store), query_integer(&query, 0));
    }
    return ERR_OK;
}
