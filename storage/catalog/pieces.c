/*
 * The dated pieces and the readers. See pieces.h.
 */
#include "storage/catalog/pieces.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_FORMAT = 2, PIECES_A_DAY = 1000, NAME_BYTES = 40 };

static const int64_t day_us = INT64_C(86400) * 1000000;

/*
 * batches.state: 1 durable, 2 committed, 3 indexed, 4 failed; flags: 1 replay, 2 forced.
 * dead_letters.state: 1 pending, 2 replaying, 3 applied, 4 superseded, 5 discarded;
 * "open" ones (1, 2, 4) keep their payload and their piece.
 * lanes: the floor of positions, and the open dead letters of this piece.
 * source_steps came with format 2: a program that does not know them must not open a
 * piece, because it would remove it without folding them (sources.h).
 */
static const char piece_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS batches("
    " id BLOB PRIMARY KEY, table_uuid BLOB NOT NULL, principal BLOB NOT NULL,"
    " position INTEGER NOT NULL, order_position INTEGER NOT NULL, operation INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, state INTEGER NOT NULL, schema_version INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL DEFAULT 0, interruptions INTEGER NOT NULL DEFAULT 0,"
    " received INTEGER NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL,"
    " applied INTEGER NOT NULL DEFAULT 0, superseded INTEGER NOT NULL DEFAULT 0,"
    " rejected_at_merge INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL DEFAULT -1,"
    " body_bytes INTEGER NOT NULL, body_sha256 BLOB NOT NULL, received_at INTEGER NOT NULL,"
    " finished_at INTEGER NOT NULL DEFAULT 0, frame_segment INTEGER NOT NULL,"
    " frame_offset INTEGER NOT NULL, frame_size INTEGER NOT NULL, failure TEXT, letter BLOB"
    ") WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS batches_queue ON batches(table_uuid, position, frame_segment)"
    " WHERE state = 1;"
    "CREATE INDEX IF NOT EXISTS batches_committed ON batches(table_uuid, version, frame_segment)"
    " WHERE state = 2;"
    "CREATE TABLE IF NOT EXISTS idempotency("
    " key BLOB PRIMARY KEY, body_sha256 BLOB NOT NULL, status INTEGER NOT NULL, batch BLOB,"
    " body BLOB, created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS record_errors("
    " batch BLOB NOT NULL, ordinal INTEGER NOT NULL, line INTEGER NOT NULL,"
    " pointer TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,"
    " PRIMARY KEY(batch, ordinal)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS dead_letters("
    " id BLOB PRIMARY KEY, table_uuid BLOB NOT NULL, batch BLOB NOT NULL,"
    " principal BLOB NOT NULL, batch_position INTEGER NOT NULL, line INTEGER NOT NULL,"
    " pointer TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, state INTEGER NOT NULL,"
    " operation INTEGER NOT NULL, schema_version INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " resolved_at INTEGER NOT NULL DEFAULT 0, replay_batch BLOB,"
    " payload_segment INTEGER NOT NULL, payload_offset INTEGER NOT NULL,"
    " payload_bytes INTEGER NOT NULL, payload_start INTEGER NOT NULL,"
    " payload_size INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS dead_letters_table ON dead_letters(table_uuid, id);"
    "CREATE INDEX IF NOT EXISTS dead_letters_batch ON dead_letters(batch, id);"
    "CREATE INDEX IF NOT EXISTS dead_letters_open ON dead_letters(payload_segment)"
    " WHERE state IN (1, 2, 4);"
    "CREATE TABLE IF NOT EXISTS lanes("
    " table_uuid BLOB PRIMARY KEY, position_last INTEGER NOT NULL,"
    " letters_count INTEGER NOT NULL DEFAULT 0, letters_bytes INTEGER NOT NULL DEFAULT 0"
    ") WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS source_steps("
    " source BLOB NOT NULL, step INTEGER NOT NULL, checkpoint TEXT NOT NULL, batch BLOB,"
    " run_id INTEGER NOT NULL, task_key TEXT NOT NULL, taken_at INTEGER NOT NULL, findings TEXT,"
    " PRIMARY KEY(source, step)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS source_steps_task ON source_steps(run_id, task_key);"
    "PRAGMA user_version = 2;"
    "COMMIT;";

/* ---- names ---- */

char *piece_path(const char *folder, int64_t number)
{
    char name[NAME_BYTES];
    int64_t part = number % PIECES_A_DAY;
    if (part == 0) {
        (void)snprintf(name, sizeof name, "batches-%08" PRId64 ".db",
                       number / PIECES_A_DAY); /* fits */
    } else {
        (void)snprintf(name, sizeof name, "batches-%08" PRId64 "-%" PRId64 ".db",
                       number / PIECES_A_DAY, part); /* fits */
    }
    return file_join(folder, name);
}

bool piece_parse_name(const char *name, int64_t *number_out)
{
    static const char prefix[] = "batches-";
    static const char suffix[] = ".db";
    size_t size = strlen(name);
    size_t digits_at = sizeof prefix - 1;
    if (size < digits_at + 8 + sizeof suffix - 1 || strncmp(name, prefix, digits_at) != 0 ||
        strcmp(name + size - (sizeof suffix - 1), suffix) != 0) {
        return false;
    }
    int64_t day = 0;
    int64_t part = 0;
    size_t part_at = digits_at + 8;
    size_t end = size - (sizeof suffix - 1);
    if (!text_parse_int64(span_of(name + digits_at, 8), &day) || day <= 0) {
        return false;
    }
    if (part_at < end &&
        (name[part_at] != '-' ||
         !text_parse_int64(span_of(name + part_at + 1, end - part_at - 1), &part) || part <= 0 ||
         part >= PIECES_A_DAY)) {
        return false;
    }
    *number_out = day * PIECES_A_DAY + part;
    return true;
}

int64_t piece_number_of_day(int64_t wall_us)
{
    char text[TEXT_TIMESTAMP_BYTES]; /* YYYY-MM-DD… */
    (void)text_format_date((int32_t)(wall_us / day_us), text);
    int64_t digits = 0;
    for (size_t i = 0; i < 10; i++) {
        digits = text[i] == '-' ? digits : digits * 10 + (text[i] - '0');
    }
    return digits * PIECES_A_DAY;
}

int64_t piece_end_us(int64_t number)
{
    int64_t day = number / PIECES_A_DAY;
    int32_t days = text_days_of((int)(day / 10000), (int)(day / 100 % 100), (int)(day % 100));
    return (days + INT64_C(1)) * day_us;
}

int64_t database_bytes(const char *path)
{
    static const char *const suffixes[] = {"", "-wal"};
    int64_t total = 0;
    for (size_t i = 0; i < 2; i++) {
        char name[4096];
        int64_t size = 0;
        int64_t modified_ms = 0;
        struct err absent = {0};
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]); /* a cut name is absent */
        if (file_stat(name, &size, &modified_ms, &absent) == ERR_OK) {
            total += size;
        }
    }
    return total;
}

int64_t piece_bytes(const struct catalog *catalog, int64_t number)
{
    CLEANUP(mem_cleanup) char *path = piece_path(catalog->folder, number);
    return database_bytes(path);
}

/* ---- the list ---- */

enum err_code piece_open_store(const char *path, struct store **store_out, struct err *err)
{
    CLEANUP(store_close) struct store *store = NULL;
    TRY(store_open(path, STORE_WRITER, &store, err));
    TRY(store_check_format(store, PIECE_FORMAT, err));
    TRY(store_run(store, piece_schema, err));
    *store_out = store;
    store = NULL;
    return ERR_OK;
}

static int compare_pieces(const void *a, const void *b)
{
    int64_t left = (*(struct piece *const *)a)->number;
    int64_t right = (*(struct piece *const *)b)->number;
    return left < right ? -1 : left > right;
}

static void free_piece(struct piece *piece)
{
    store_close(&piece->database.store);
    mem_free(piece);
}

static struct piece *put_on_list(struct pieces *pieces, int64_t number, struct store *store)
{
    struct piece *piece = mem_zeroed(1, sizeof *piece);
    piece->number = number;
    piece->database.store = store;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pieces->lock);
    pieces->sorted[pieces->count++] = piece;
    qsort(pieces->sorted, pieces->count, sizeof(struct piece *), compare_pieces);
    return piece;
}

void pieces_note(struct catalog *catalog, int64_t number)
{
    (void)put_on_list(&catalog->pieces, number, NULL);
}

enum err_code pieces_add(struct catalog *catalog, int64_t number, struct piece **piece_out,
                         struct err *err)
{
    struct pieces *pieces = &catalog->pieces;
    if (pieces->count == CATALOG_PIECES_MAX) {
        return err_set(err, ERR_NO_SPACE,
                       "%d pieces of the catalog are in use: resolve old dead letters, or raise "
                       "the size of a piece",
                       CATALOG_PIECES_MAX);
    }
    CLEANUP(mem_cleanup) char *path = piece_path(catalog->folder, number);
    struct store *store = NULL;
    TRY(piece_open_store(path, &store, err));
    *piece_out = put_on_list(pieces, number, store);
    return file_sync_directory(catalog->folder, err);
}

enum err_code pieces_open(struct catalog *catalog, struct err *err)
{
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(catalog->folder, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        int64_t number = 0;
        struct piece *piece = NULL;
        if (!piece_parse_name(names.names[i], &number)) {
            continue;
        }
        TRY(pieces_add(catalog, number, &piece, err));
        if (piece_bytes(catalog, number) <= CATALOG_QUICK_CHECK_BYTES_MAX) {
            TRY(store_check(piece->database.store, false, err));
        }
    }
    return ERR_OK;
}

void pieces_close(struct catalog *catalog)
{
    struct pieces *pieces = &catalog->pieces;
    for (size_t i = 0; i < pieces->count; i++) {
        free_piece(pieces->sorted[i]);
    }
    pieces->count = 0;
}

size_t pieces_numbers(struct catalog *catalog, int64_t numbers_out[CATALOG_PIECES_MAX])
{
    struct pieces *pieces = &catalog->pieces;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pieces->lock);
    for (size_t i = 0; i < pieces->count; i++) {
        numbers_out[i] = pieces->sorted[pieces->count - 1 - i]->number;
    }
    return pieces->count;
}

struct piece *pieces_find(struct catalog *catalog, int64_t number)
{
    struct pieces *pieces = &catalog->pieces;
    for (size_t i = pieces->count; i > 0; i--) {
        if (pieces->sorted[i - 1]->number == number) {
            return pieces->sorted[i - 1];
        }
    }
    return NULL;
}

struct piece *pieces_current(struct catalog *catalog)
{
    struct pieces *pieces = &catalog->pieces;
    return pieces->count == 0 ? NULL : pieces->sorted[pieces->count - 1];
}

static struct piece *take_off_list(struct pieces *pieces, int64_t number)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pieces->lock);
    struct piece *found = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        if (pieces->sorted[i]->number == number) {
            found = pieces->sorted[i];
        } else {
            pieces->sorted[kept++] = pieces->sorted[i];
        }
    }
    pieces->count = kept;
    pieces->generation++;
    return found;
}

enum err_code pieces_remove(struct catalog *catalog, int64_t number, struct err *err)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct piece *piece = take_off_list(&catalog->pieces, number);
    assert(piece != NULL);
    free_piece(piece);
    CLEANUP(mem_cleanup) char *path = piece_path(catalog->folder, number);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer name;
        buffer_init(&name, 1 << 16);
        buffer_append_text(&name, path);
        buffer_append_text(&name, suffixes[i]);
        buffer_append_byte(&name, '\0');
        TRY(buffer_check(&name, "the path of a piece", err));
        TRY(file_remove((const char *)name.data, err));
    }
    return ERR_OK;
}

/* ---- readers ---- */

void readers_init(struct catalog *catalog)
{
    for (size_t i = 0; i < CATALOG_READERS; i++) {
        catalog->readers[i] = (struct reader){.catalog = catalog};
        lock_init(&catalog->readers[i].lock, LOCK_RANK_CATALOG_READ);
    }
}

static void close_piece_at(struct reader *reader, size_t index)
{
    store_close(&reader->pieces[index].store);
    reader->pieces[index] = reader->pieces[--reader->pieces_count];
}

void readers_deinit(struct catalog *catalog)
{
    for (size_t i = 0; i < CATALOG_READERS; i++) {
        struct reader *reader = &catalog->readers[i];
        while (reader->pieces_count > 0) {
            close_piece_at(reader, 0);
        }
        store_close(&reader->main);
        store_close(&reader->jobs);
        mem_free(reader->pieces);
        lock_deinit(&reader->lock);
    }
}

/* Let go of connections to pieces that are no more. */
static void forget_gone(struct reader *reader)
{
    struct pieces *pieces = &reader->catalog->pieces;
    uint64_t generation;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pieces->lock);
        generation = pieces->generation;
    }
    if (generation == reader->generation) {
        return;
    }
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(reader->catalog, numbers);
    for (size_t i = reader->pieces_count; i > 0; i--) {
        bool found = false;
        for (size_t j = 0; j < count; j++) {
            found = found || numbers[j] == reader->pieces[i - 1].number;
        }
        if (!found) {
            close_piece_at(reader, i - 1);
        }
    }
    reader->generation = generation;
}

struct reader *reader_take(struct catalog *catalog)
{
    unsigned turn = atomic_fetch_add_explicit(&catalog->next_reader, 1, memory_order_relaxed);
    struct reader *reader = &catalog->readers[turn % CATALOG_READERS];
    lock_take(&reader->lock);
    forget_gone(reader);
    return reader;
}

void reader_drop(struct reader **reader)
{
    if (*reader != NULL) {
        lock_drop(&(*reader)->lock);
        *reader = NULL;
    }
}

static enum err_code open_once(const struct reader *reader, const char *name, struct store **store,
                               struct err *err)
{
    if (*store == NULL) {
        CLEANUP(mem_cleanup) char *path = file_join(reader->catalog->folder, name);
        TRY(store_open(path, STORE_READER, store, err));
    }
    return ERR_OK;
}

enum err_code reader_main(struct reader *reader, struct store **store_out, struct err *err)
{
    TRY(open_once(reader, "catalog.db", &reader->main, err));
    *store_out = reader->main;
    return ERR_OK;
}

enum err_code reader_jobs(struct reader *reader, struct store **store_out, struct err *err)
{
    TRY(open_once(reader, JOB_FILE_NAME, &reader->jobs, err));
    *store_out = reader->jobs;
    return ERR_OK;
}

enum err_code reader_piece(struct reader *reader, int64_t number, struct store **store_out,
                           struct err *err)
{
    for (size_t i = 0; i < reader->pieces_count; i++) {
        if (reader->pieces[i].number == number) {
            *store_out = reader->pieces[i].store;
            return ERR_OK;
        }
    }
    CLEANUP(mem_cleanup) char *path = piece_path(reader->catalog->folder, number);
    struct store *store = NULL;
    TRY(store_open(path, STORE_READER, &store, err));
    reader->pieces = mem_resize(reader->pieces, reader->pieces_count + 1, sizeof *reader->pieces);
    reader->pieces[reader->pieces_count++] = (struct reader_piece){number, store};
    *store_out = store;
    return ERR_OK;
}

static enum err_code lower(struct store *store, const char *sql, int64_t *floor, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    TRY(query_next(&query, &row, err));
    if (row && !query_is_null(&query, 0) && query_integer(&query, 0) < *floor) {
        *floor = query_integer(&query, 0);
    }
    return ERR_OK;
}

enum err_code catalog_lowest(struct catalog *catalog, const char *sql, int64_t *lowest_out,
                             struct err *err)
{
    int64_t lowest = INT64_MAX;
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count; i++) {
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped: nothing refers to the journal from it */
            continue;
        }
        TRY(code);
        TRY(lower(store, sql, &lowest, err));
    }
    *lowest_out = lowest;
    return ERR_OK;
}
