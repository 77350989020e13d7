/*
 * The catalog as a whole: opening, closing, identity, retention. See catalog.h.
 */
#include "storage/catalog/catalog.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/attempts.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/private.h"
#include "storage/catalog/source_rows.h"

#include <assert.h>
#include <string.h>

enum { MAIN_FORMAT = 1 };

static const int64_t day_us = INT64_C(86400) * 1000000;

/* assignments.scope: table patterns, one a line, empty = all tables. */
static const char main_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS instance("
    " only_row INTEGER PRIMARY KEY CHECK(only_row = 1), uuid BLOB NOT NULL,"
    " minted_at INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS tables("
    " uuid BLOB PRIMARY KEY, name TEXT NOT NULL, definition TEXT NOT NULL,"
    " definition_version INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " changed_at INTEGER NOT NULL, dropped_at INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX IF NOT EXISTS tables_live ON tables(name) WHERE dropped_at = 0;"
    "CREATE TABLE IF NOT EXISTS principals("
    " id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " disabled INTEGER NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS assignments("
    " principal BLOB NOT NULL REFERENCES principals(id), ordinal INTEGER NOT NULL,"
    " role TEXT NOT NULL, scope TEXT NOT NULL, PRIMARY KEY(principal, ordinal)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS tokens("
    " id TEXT PRIMARY KEY, principal BLOB NOT NULL REFERENCES principals(id),"
    " hash BLOB NOT NULL, description TEXT NOT NULL, created_at INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL DEFAULT 0,"
    " last_used_at INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS tokens_of ON tokens(principal);"
    "CREATE INDEX IF NOT EXISTS tokens_newest ON tokens(created_at, id);"
    "CREATE TABLE IF NOT EXISTS secrets("
    " name TEXT PRIMARY KEY, version INTEGER NOT NULL, sealed BLOB NOT NULL,"
    " created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

static const char sql_get_instance[] = "SELECT uuid FROM instance";
static const char sql_set_instance[] =
    "INSERT INTO instance(only_row, uuid, minted_at) VALUES(1, ?1, ?2)"
    " ON CONFLICT(only_row) DO UPDATE SET uuid = ?1, minted_at = ?2";
static const char sql_tables[] = "SELECT uuid, dropped_at FROM tables";
static const char sql_lanes[] =
    "SELECT table_uuid, position_last, letters_count, letters_bytes FROM lanes";
static const char sql_queues[] =
    "SELECT table_uuid, count(*), sum(frame_size), sum(accepted), min(received_at),"
    " max(position) FROM batches WHERE state = 1 GROUP BY table_uuid";
static const char sql_keeps_piece[] =
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM batches WHERE state = 1 LIMIT 1)),"
    " (SELECT count(*) FROM (SELECT 1 FROM batches WHERE state = 2 LIMIT 1)),"
    " (SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE state IN (1, 2, 4) LIMIT 1))";

/* ---- identity ---- */

struct id catalog_instance(struct catalog *catalog)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&catalog->instance_lock);
    return catalog->instance;
}

static void set_instance(struct catalog *catalog, const struct id *instance)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&catalog->instance_lock);
    catalog->instance = *instance;
}

static enum err_code store_instance(struct store *store, const struct id *instance, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_set_instance, &query, err));
    query_bind_id(&query, instance);
    query_bind_integer(&query, clock_wall_us());
    return query_run(&query, err);
}

static enum err_code write_instance(struct transaction *transaction, void *arg, struct err *err)
{
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    return store_instance(store, arg, err);
}

enum err_code catalog_mint_instance(struct catalog *catalog, struct id *instance_out,
                                    struct err *err)
{
    struct id instance = id_new_random();
    TRY(catalog_write(catalog, write_instance, &instance, err));
    set_instance(catalog, &instance);
    *instance_out = instance;
    return ERR_OK;
}

/* The empty id when there is none yet. */
static enum err_code read_instance(struct store *store, struct id *instance_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get_instance, &query, err));
    TRY(query_next(&query, &row, err));
    *instance_out = (struct id){.text = ""};
    return row ? query_id(&query, 0, instance_out, err) : ERR_OK;
}

static enum err_code load_instance(struct catalog *catalog, struct err *err)
{
    struct id instance;
    TRY(read_instance(catalog->main.store, &instance, err));
    if (instance.text[0] == '\0') {
        instance = id_new_random();
        TRY(store_instance(catalog->main.store, &instance, err));
    }
    set_instance(catalog, &instance);
    return ERR_OK;
}

/* ---- lanes at start ---- */

static enum err_code load_tables(struct catalog *catalog, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(catalog->main.store, sql_tables, &query, err));
    for (;;) {
        bool row = false;
        struct id table;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_id(&query, 0, &table, err));
        (void)lanes_add(&catalog->lanes, &table, query_integer(&query, 1) == 0);
    }
}

static enum err_code load_floors(struct catalog *catalog, struct store *store, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_lanes, &query, err));
    for (;;) {
        bool row = false;
        struct id table;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_id(&query, 0, &table, err));
        struct lane *lane = lanes_add(&catalog->lanes, &table, false);
        lanes_raise_position(&catalog->lanes, lane, query_integer(&query, 1));
        const struct lane_change change = {.dead_letter_count = query_integer(&query, 2),
                                           .dead_letter_bytes = query_integer(&query, 3)};
        lanes_change(&catalog->lanes, lane, &change);
    }
}

static enum err_code load_queues(struct catalog *catalog, struct store *store, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_queues, &query, err));
    for (;;) {
        bool row = false;
        struct id table;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_id(&query, 0, &table, err));
        struct lane *lane = lanes_add(&catalog->lanes, &table, false);
        const struct lane_change change = {.queued_count = query_integer(&query, 1),
                                           .queued_bytes = query_integer(&query, 2),
                                           .queued_records = query_integer(&query, 3),
                                           .received_us = query_integer(&query, 4)};
        lanes_change(&catalog->lanes, lane, &change);
        lanes_raise_position(&catalog->lanes, lane, query_integer(&query, 5));
    }
}

static enum err_code load_lanes(struct catalog *catalog, struct err *err)
{
    TRY(load_tables(catalog, err));
    for (size_t i = 0; i < catalog->pieces.count;
         i++) { /* oldest first: the first date is the oldest */
        struct store *store = catalog->pieces.sorted[i]->database.store;
        TRY(load_floors(catalog, store, err));
        TRY(load_queues(catalog, store, err));
    }
    /*
     * A crash may have left the newest piece without the floors of idle lanes; they
     * must be in it before an older piece, the only one that has them, is dropped.
     */
    for (size_t i = 0; i < catalog->lanes.count; i++) {
        catalog->lanes.sorted[i]->position_dirty = true;
    }
    return ERR_OK;
}

/* ---- opening ---- */

static int64_t or_default(int64_t value, int64_t default_value)
{
    return value > 0 ? value : default_value;
}

static struct catalog_options complete(const struct catalog_options *options)
{
    return (struct catalog_options){
        .piece_bytes_max = or_default(options->piece_bytes_max, INT64_C(1) << 30),
        .retention_us = or_default(options->retention_us, 7 * day_us),
        .dead_letter_retention_us = or_default(options->dead_letter_retention_us, 90 * day_us),
        .pieces_bytes_max = or_default(options->pieces_bytes_max, INT64_C(32) << 30),
        .dead_letter_bytes_max = or_default(options->dead_letter_bytes_max, INT64_C(1) << 30),
        .before_promise = options->before_promise,
        .before_promise_arg = options->before_promise_arg,
    };
}

static enum err_code open_main(struct catalog *catalog, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(catalog->folder, "catalog.db");
    TRY(store_open(path, STORE_WRITER, &catalog->main.store, err));
    TRY(store_check_format(catalog->main.store, MAIN_FORMAT, err));
    TRY(store_run(catalog->main.store, main_schema, err));
    TRY(file_sync_directory(catalog->folder, err));
    return store_check(catalog->main.store, false, err);
}

static struct catalog *new_catalog(const char *folder, const struct secret_keys *keys,
                                   const struct catalog_options *options)
{
    struct catalog *catalog = mem_zeroed(1, sizeof *catalog);
    catalog->folder = mem_copy_text(folder);
    catalog->keys = keys;
    catalog->options = complete(options);
    lock_init(&catalog->instance_lock, LOCK_RANK_CACHE);
    lock_init(&catalog->pieces.lock, LOCK_RANK_CACHE);
    catalog->pieces.sorted = mem_zeroed(CATALOG_PIECES_MAX, sizeof(struct piece *));
    writer_init(&catalog->writer);
    readers_init(catalog);
    lanes_init(&catalog->lanes);
    claims_init(&catalog->claims);
    access_cache_init(&catalog->access);
    return catalog;
}

enum err_code catalog_open(const char *folder, const struct secret_keys *keys,
                           const struct catalog_options *options, struct catalog **catalog_out,
                           struct err *err)
{
    TRY(file_make_directory(folder, err));
    CLEANUP(catalog_close) struct catalog *catalog = new_catalog(folder, keys, options);
    TRY(open_main(catalog, err));
    TRY(pieces_open(catalog, err));
    TRY(attempts_open(catalog, err));
    TRY(job_file_open(catalog, err));
    TRY(attempts_charge(catalog, err));
    TRY(load_instance(catalog, err));
    TRY(load_lanes(catalog, err));
    TRY(sources_load(catalog, err));
    TRY(access_cache_rebuild(&catalog->access, catalog->main.store, err));
    TRY(writer_start(catalog, err));
    *catalog_out = catalog;
    catalog = NULL;
    return ERR_OK;
}

static enum err_code list_pieces(struct catalog *catalog, struct err *err)
{
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(catalog->folder, &names, err));
    for (size_t i = 0; i < names.count && catalog->pieces.count < CATALOG_PIECES_MAX; i++) {
        int64_t number = 0;
        if (piece_parse_name(names.names[i], &number)) {
            pieces_note(catalog, number);
        }
    }
    return ERR_OK;
}

enum err_code catalog_open_read_only(const char *folder, struct catalog **catalog_out,
                                     struct err *err)
{
    const struct catalog_options defaults = {0};
    CLEANUP(catalog_close) struct catalog *catalog = new_catalog(folder, NULL, &defaults);
    TRY(list_pieces(catalog, err));
    {
        CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
        struct store *store = NULL;
        TRY(reader_main(reader, &store, err));
        TRY(read_instance(store, &catalog->instance, err));
    }
    *catalog_out = catalog;
    catalog = NULL;
    return ERR_OK;
}

void catalog_close(struct catalog **catalog_pointer)
{
    struct catalog *catalog = *catalog_pointer;
    if (catalog == NULL) {
        return;
    }
    writer_stop(catalog);
    readers_deinit(catalog); /* before the writers, which then fold their logs in */
    pieces_close(catalog);
    store_close(&catalog->main.store);
    store_close(&catalog->jobs.store);
    attempts_close(catalog);
    access_cache_deinit(&catalog->access);
    source_book_deinit(&catalog->sources);
    claims_deinit(&catalog->claims);
    lanes_deinit(&catalog->lanes);
    writer_deinit(&catalog->writer);
    mem_free(catalog->pieces.sorted);
    lock_deinit(&catalog->pieces.lock);
    lock_deinit(&catalog->instance_lock);
    mem_free(catalog->folder);
    mem_free(catalog);
    *catalog_pointer = NULL;
}

bool catalog_healthy(struct catalog *catalog)
{
    return !atomic_load(&catalog->corrupt);
}

void catalog_statistics(struct catalog *catalog, struct catalog_statistics *statistics_out)
{
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    struct catalog_statistics statistics = {
        .commits_count = atomic_load(&catalog->commits_count),
        .writes_count = atomic_load(&catalog->writes_count),
        .syncs_count = atomic_load(&catalog->syncs_count),
        .pieces_count = (int64_t)count,
    };
    for (size_t i = 0; i < count; i++) {
        statistics.pieces_bytes += piece_bytes(catalog, numbers[i]);
    }
    CLEANUP(mem_cleanup) char *jobs = file_join(catalog->folder, JOB_FILE_NAME);
    statistics.jobs_bytes = database_bytes(jobs);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&catalog->writer.lock);
    statistics.waiting_count = (int64_t)catalog->writer.count;
    *statistics_out = statistics;
}

/* ---- retention ---- */

struct retention {
    int64_t dropped;
    int64_t early;
};

struct piece_use {
    bool unfinished; /* batches that are not indexed or failed */
    bool open_letters;
};

static enum err_code read_use(struct store *store, struct piece_use *use_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_keeps_piece, &query, err));
    TRY(query_next(&query, &row, err));
    use_out->unfinished = query_integer(&query, 0) + query_integer(&query, 1) > 0;
    use_out->open_letters = query_integer(&query, 2) > 0;
    return ERR_OK;
}

/* Open letters of a piece that goes: they no longer count against their tables. */
static enum err_code release_letters(struct catalog *catalog, struct store *store, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_lanes, &query, err));
    for (;;) {
        bool row = false;
        struct id table;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(query_id(&query, 0, &table, err));
        struct lane *lane = lanes_find(&catalog->lanes, &table);
        const struct lane_change change = {.dead_letter_count = -query_integer(&query, 2),
                                           .dead_letter_bytes = -query_integer(&query, 3)};
        if (lane != NULL) {
            lanes_change(&catalog->lanes, lane, &change);
        }
    }
}

/* May this piece go now, and is that before its time? */
static enum err_code judge(struct catalog *catalog, const struct piece *piece, bool over_budget,
                           bool *drop_out, bool *early_out, struct err *err)
{
    struct piece_use use = {0};
    TRY(read_use(piece->database.store, &use, err));
    int64_t age_us = clock_wall_us() - piece_end_us(piece->number);
    bool letters_hold = use.open_letters && age_us < catalog->options.dead_letter_retention_us;
    bool old = age_us >= catalog->options.retention_us;
    *drop_out = !use.unfinished && !letters_hold && (old || over_budget);
    *early_out = !old;
    return ERR_OK;
}

static enum err_code work_retain(struct transaction *transaction, void *arg, struct err *err)
{
    struct retention *retention = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    int64_t bytes = 0;
    for (size_t i = 0; i < catalog->pieces.count; i++) {
        bytes += piece_bytes(catalog, catalog->pieces.sorted[i]->number);
    }
    /* Oldest first; the current piece, the last one, always stays. */
    for (size_t i = 0; i + 1 < catalog->pieces.count;) {
        const struct piece *piece = catalog->pieces.sorted[i];
        bool drop = false;
        bool early = false;
        TRY(judge(catalog, piece, bytes > catalog->options.pieces_bytes_max, &drop, &early, err));
        if (!drop) {
            i++;
            continue;
        }
        bytes -= piece_bytes(catalog, piece->number);
        TRY(sources_fold(catalog, piece->number, err));
        TRY(release_letters(catalog, piece->database.store, err));
        TRY(pieces_remove(catalog, piece->number, err));
        retention->dropped++;
        retention->early += early ? 1 : 0;
    }
    return ERR_OK;
}

static enum err_code write_token_use(struct transaction *transaction, void *arg, struct err *err)
{
    (void)arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    return access_store_use(&transaction_catalog(transaction)->access, store, err);
}

enum err_code catalog_retain(struct catalog *catalog, int64_t *dropped_out,
                             int64_t *early_dropped_out, struct err *err)
{
    struct retention retention = {0};
    TRY(catalog_write(catalog, write_token_use, NULL, err));
    TRY(catalog_work_alone(catalog, work_retain, &retention, err));
    *dropped_out = retention.dropped;
    *early_dropped_out = retention.early;
    return ERR_OK;
}
