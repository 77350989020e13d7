/*
 * SQLite behind store.h: the only file of the catalog that includes sqlite3.h.
 *
 * Rules (reference: reliability and security, findings 1–3, §5.1): one connection
 * a file writes and checkpoints, here in store_checkpoint and nowhere else;
 * automatic checkpoints are off on every connection because SQLite swallows
 * their errors; an I/O error on a writer ends the process.
 */
#include "storage/catalog/store.h"

#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

enum {
    STATEMENTS_MAX = 96,
    READER_BUSY_MS = 5000,
    CHECKPOINT_PAGES = 4096,       /* 16 MiB of log: fold it into the file */
    CHECKPOINT_HARD_PAGES = 16384, /* 64 MiB: wait for readers to let the log restart */
};

static const char pragmas_all[] = "PRAGMA trusted_schema=OFF;"
                                  "PRAGMA cell_size_check=ON;"
                                  "PRAGMA foreign_keys=ON;"
                                  "PRAGMA mmap_size=0;"
                                  "PRAGMA temp_store=MEMORY;";
static const char pragmas_writer[] = "PRAGMA journal_mode=WAL;"
                                     "PRAGMA journal_size_limit=67108864;";

struct prepared {
    const char *sql;
    sqlite3_stmt *statement;
};

struct store {
    sqlite3 *handle;
    char *path;
    enum store_role role;
    int log_pages; /* in the write-ahead log after the last commit; writer thread only */
    int64_t page_bytes;
    int64_t bytes_asked;   /* what the file had when it was last asked; likewise */
    int64_t bytes_written; /* since then at most; likewise */
    bool lazy;             /* transactions do not wait for the disk; likewise */
    bool unsynced;         /* one did not, since the last that did; likewise */
    size_t statements_count;
    struct prepared statements[STATEMENTS_MAX];
};

/* ---- errors ---- */

static enum err_code code_of(int result)
{
    switch (result & 0xff) {
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_CONSTRAINT:
        return ERR_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_IO;
    }
}

/* The wal-index could not grow: a full disk, and nothing durable is in doubt. */
static bool is_only_full(int result)
{
    return result == SQLITE_IOERR_SHMSIZE;
}

static enum err_code fail(const struct store *store, int result, struct err *err)
{
    enum err_code code = is_only_full(result) ? ERR_NO_SPACE : code_of(result);
    (void)err_set_sys(err, code, result, "%s: %s", store->path, sqlite3_errstr(result));
    bool io_error = (result & 0xff) == SQLITE_IOERR && !is_only_full(result);
    if (io_error && store->role == STORE_WRITER) {
        process_stop_after_io_error(err);
    }
    return code;
}

/* ---- opening ---- */

/* Of the library as a whole, before it is first used. */
static void set_up_library(void)
{
    /* Nobody asks how much memory it has; counting takes a lock at every allocation. */
    int result = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    assert(result == SQLITE_OK);
}

static enum err_code read_pragma(struct store *store, const char *sql, int64_t *value_out,
                                 char text_out[16], struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(store->handle, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
    }
    if (result == SQLITE_ROW) {
        *value_out = sqlite3_column_int64(statement, 0);
        const unsigned char *text = sqlite3_column_text(statement, 0);
        size_t size = text == NULL ? 0 : strnlen((const char *)text, 15);
        memcpy(text_out, text == NULL ? (const unsigned char *)"" : text, size);
        text_out[size] = '\0';
    }
    (void)sqlite3_finalize(statement); /* repeats the step's error */
    return result == SQLITE_ROW ? ERR_OK : fail(store, result, err);
}

static enum err_code read_number(struct store *store, const char *sql, int64_t *value_out,
                                 struct err *err)
{
    char ignored[16];
    return read_pragma(store, sql, value_out, ignored, err);
}

/* What was set must be what is there: a build or a file system may think otherwise. */
static enum err_code read_back(struct store *store, struct err *err)
{
    int64_t synchronous = 0;
    int64_t ignored = 0;
    char text[16] = "";
    TRY(read_pragma(store, "PRAGMA journal_mode", &ignored, text, err));
    if (strcmp(text, "wal") != 0) {
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: journal mode is '%s' instead of WAL: use a local file system",
                       store->path, text);
    }
    TRY(read_number(store, "PRAGMA synchronous", &synchronous, err));
    if (synchronous != 2 && !FAULT_SKIP("catalog.synchronous-normal")) {
        return err_set(err, ERR_UNSUPPORTED, "%s: synchronous is %d instead of FULL", store->path,
                       (int)synchronous);
    }
    return ERR_OK;
}

static void configure(struct store *store)
{
    sqlite3 *handle = store->handle;
    (void)sqlite3_extended_result_codes(handle, 1);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_wal_autocheckpoint(handle, 0);
    if (store->role != STORE_WRITER) {
        (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        (void)sqlite3_busy_timeout(handle, READER_BUSY_MS);
    }
}

static int note_log_pages(void *arg, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    struct store *store = arg;
    int written = pages > store->log_pages ? pages - store->log_pages : pages;
    store->bytes_written += written * store->page_bytes;
    store->log_pages = pages;
    store->unsynced = store->lazy; /* a commit that changes nothing waits for nothing either */
    return SQLITE_OK;
}

static const char *pragma_durable(void)
{
    return FAULT_SKIP("catalog.synchronous-normal") ? "PRAGMA synchronous=NORMAL"
                                                    : "PRAGMA synchronous=FULL";
}

static enum err_code set_up_writer(struct store *store, struct err *err)
{
    TRY(store_run(store, pragmas_writer, err));
    TRY(store_run(store, pragma_durable(), err));
    TRY(read_back(store, err));
    int result =
        sqlite3_wal_checkpoint_v2(store->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (result != SQLITE_OK && result != SQLITE_FULL) {
        return fail(store, result, err);
    }
    (void)sqlite3_wal_hook(store->handle, note_log_pages, store);
    return ERR_OK;
}

enum err_code store_open(const char *path, enum store_role role, struct store **store_out,
                         struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int failed = pthread_once(&once, set_up_library);
    assert(failed == 0);
    CLEANUP(store_close) struct store *store = mem_zeroed(1, sizeof *store);
    store->path = mem_copy_text(path);
    store->role = role;
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    flags |=
        role == STORE_WRITER ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (role != STORE_WRITER && !file_exists(path)) {
        return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
    }
    int result = sqlite3_open_v2(path, &store->handle, flags, NULL);
    if (result != SQLITE_OK) {
        return fail(store, result, err);
    }
    configure(store);
    TRY(store_run(store, pragmas_all, err));
    if (role == STORE_WRITER) {
        TRY(set_up_writer(store, err));
    }
    TRY(read_number(store, "PRAGMA page_size", &store->page_bytes, err));
    store->bytes_asked = store_bytes(store);
    *store_out = store;
    store = NULL;
    return ERR_OK;
}

void store_close(struct store **store_pointer)
{
    struct store *store = *store_pointer;
    if (store == NULL) {
        return;
    }
    for (size_t i = 0; i < store->statements_count; i++) {
        (void)sqlite3_finalize(store->statements[i].statement); /* repeats an old error */
    }
    int result = sqlite3_close(store->handle);
    assert(result == SQLITE_OK);
    mem_free(store->path);
    mem_free(store);
    *store_pointer = NULL;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

/* ---- whole-connection verbs ---- */

enum err_code store_run(struct store *store, const char *sql, struct err *err)
{
    int result = sqlite3_exec(store->handle, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? ERR_OK : fail(store, result, err);
}

enum err_code store_check(struct store *store, bool thorough, struct err *err)
{
    int64_t ignored = 0;
    char text[16] = "";
    sqlite3_stmt *statement = NULL;
    const char *sql = thorough ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
    TRY(read_pragma(store, sql, &ignored, text, err));
    if (strcmp(text, "ok") != 0) {
        return err_set(err, ERR_CORRUPT,
                       "%s fails its integrity check: keep the file, restore a backup",
                       store->path);
    }
    int result =
        sqlite3_prepare_v2(store->handle, "PRAGMA foreign_key_check", -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
    }
    (void)sqlite3_finalize(statement); /* repeats the step's error */
    if (result == SQLITE_ROW) {
        return err_set(err, ERR_CORRUPT, "%s: a row refers to nothing", store->path);
    }
    return result == SQLITE_DONE ? ERR_OK : fail(store, result, err);
}

enum err_code store_check_format(struct store *store, int format, struct err *err)
{
    int64_t found = 0;
    TRY(read_number(store, "PRAGMA user_version", &found, err));
    if (found > format) {
        return err_set(err, ERR_UNSUPPORTED, "%s has format %d, newer than this program's %d",
                       store->path, (int)found, format);
    }
    return ERR_OK;
}

bool store_in_transaction(const struct store *store)
{
    return sqlite3_get_autocommit(store->handle) == 0;
}

/* A setting that cannot fail on an open file; if it does, nothing is promised any more. */
static void run_or_stop(struct store *store, const char *sql)
{
    struct err err = {0};
    if (store_run(store, sql, &err) != ERR_OK) {
        process_stop_after_io_error(&err);
    }
}

void store_set_durable(struct store *store, bool durable)
{
    assert(store->role == STORE_WRITER);
    assert(!store_in_transaction(store));
    if (store->lazy == durable) {
        run_or_stop(store, durable ? pragma_durable() : "PRAGMA synchronous=NORMAL");
        store->lazy = !durable;
    }
}

bool store_sync(struct store *store)
{
    assert(store->role == STORE_WRITER);
    if (!store->unsynced) {
        return false;
    }
    sqlite3_file *log = NULL;
    int result = sqlite3_file_control(store->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (result == SQLITE_OK && log != NULL && log->pMethods != NULL) {
        result = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    }
    if (result != SQLITE_OK) {
        struct err err = {0};
        (void)fail(store, result, &err);
        process_stop_after_io_error(&err);
    }
    store->unsynced = false;
    return true;
}

void store_checkpoint(struct store *store)
{
    assert(store->role == STORE_WRITER);
    if (store->log_pages < CHECKPOINT_PAGES) {
        return;
    }
    int mode = store->log_pages < CHECKPOINT_HARD_PAGES ? SQLITE_CHECKPOINT_PASSIVE
                                                        : SQLITE_CHECKPOINT_RESTART;
    int pages_left = 0;
    int moved = 0;
    int result = sqlite3_wal_checkpoint_v2(store->handle, NULL, mode, &pages_left, &moved);
    if (result == SQLITE_OK && moved == pages_left) {
        store->log_pages = 0; /* the next commit starts the log anew and says so */
    } else if ((result & 0xff) == SQLITE_IOERR) {
        struct err err = {0};
        enum err_code code = fail(store, result, &err); /* does not return for a writer */
        (void)code;
    }
}

int64_t store_changes(const struct store *store)
{
    return sqlite3_changes64(store->handle);
}

/* ---- statements ---- */

enum err_code query_begin(struct store *store, const char *sql, struct query *query_out,
                          struct err *err)
{
    for (size_t i = 0; i < store->statements_count; i++) {
        if (store->statements[i].sql == sql) {
            *query_out =
                (struct query){.store = store, .statement = store->statements[i].statement};
            return ERR_OK;
        }
    }
    assert(store->statements_count < STATEMENTS_MAX);
    sqlite3_stmt *statement = NULL;
    int result =
        sqlite3_prepare_v3(store->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result != SQLITE_OK) {
        return fail(store, result, err);
    }
    store->statements[store->statements_count++] =
        (struct prepared){.sql = sql, .statement = statement};
    *query_out = (struct query){.store = store, .statement = statement};
    return ERR_OK;
}

void query_end(struct query *query)
{
    if (query->statement != NULL) {
        (void)sqlite3_reset(query->statement); /* repeats the step's error */
        (void)sqlite3_clear_bindings(query->statement);
        query->statement = NULL;
    }
}

static void must_bind(int result)
{
    assert(result == SQLITE_OK); /* order and count of values are ours */
}

void query_bind_integer(struct query *query, int64_t value)
{
    must_bind(sqlite3_bind_int64(query->statement, ++query->bound, value));
}

void query_bind_null(struct query *query)
{
    must_bind(sqlite3_bind_null(query->statement, ++query->bound));
}

void query_bind_span(struct query *query, struct span text)
{
    const char *data = text.size == 0 ? "" : (const char *)text.data;
    must_bind(sqlite3_bind_text64(query->statement, ++query->bound, data, text.size, SQLITE_STATIC,
                                  SQLITE_UTF8));
}

void query_bind_text(struct query *query, const char *text)
{
    if (text == NULL) {
        query_bind_null(query);
    } else {
        query_bind_span(query, span_of_text(text));
    }
}

void query_bind_bytes(struct query *query, const void *bytes, size_t size)
{
    must_bind(sqlite3_bind_blob64(query->statement, ++query->bound, size == 0 ? "" : bytes, size,
                                  SQLITE_STATIC));
}

void query_bind_id(struct query *query, const struct id *id)
{
    if (id->text[0] == '\0') {
        query_bind_null(query);
        return;
    }
    uint8_t bytes[16];
    id_bytes(id, bytes);
    must_bind(sqlite3_bind_blob64(query->statement, ++query->bound, bytes, sizeof bytes,
                                  SQLITE_TRANSIENT));
}

void query_bind_location(struct query *query, const struct location *location)
{
    query_bind_integer(query, location->segment);
    query_bind_integer(query, location->offset);
    query_bind_integer(query, location->size);
}

enum err_code query_next(struct query *query, bool *row_out, struct err *err)
{
    assert(query->bound == sqlite3_bind_parameter_count(query->statement));
    int result = sqlite3_step(query->statement);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        return fail(query->store, result, err);
    }
    *row_out = result == SQLITE_ROW;
    return ERR_OK;
}

enum err_code query_run(struct query *query, struct err *err)
{
    bool row = false;
    enum err_code code = query_next(query, &row, err);
    (void)sqlite3_reset(query->statement); /* repeats the step's error */
    query->bound = 0;
    assert(!row);
    return code;
}

int64_t query_integer(const struct query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

bool query_is_null(const struct query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

struct span query_span(const struct query *query, int column)
{
    const void *data = sqlite3_column_blob(query->statement, column);
    int size = sqlite3_column_bytes(query->statement, column);
    return span_of(data, data == NULL ? 0 : (size_t)size);
}

struct location query_location(const struct query *query, int column)
{
    return (struct location){.segment = query_integer(query, column),
                             .offset = query_integer(query, column + 1),
                             .size = query_integer(query, column + 2)};
}

enum err_code query_bytes(const struct query *query, int column, void *bytes_out, size_t size,
                          struct err *err)
{
    struct span bytes = query_span(query, column);
    if (bytes.size != size) {
        return err_set(err, ERR_CORRUPT, "%s: a value of %zu bytes instead of %zu",
                       query->store->path, bytes.size, size);
    }
    memcpy(bytes_out, bytes.data, size);
    return ERR_OK;
}

enum err_code query_id(const struct query *query, int column, struct id *id_out, struct err *err)
{
    if (query_is_null(query, column)) {
        *id_out = (struct id){.text = ""};
        return ERR_OK;
    }
    uint8_t bytes[16];
    TRY(query_bytes(query, column, bytes, sizeof bytes, err));
    *id_out = id_of_bytes(bytes);
    return ERR_OK;
}

enum err_code query_text(const struct query *query, int column, struct arena *arena,
                         const char **text_out, struct err *err)
{
    const char *text = arena_text(arena, query_span(query, column));
    if (text == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    *text_out = text;
    return ERR_OK;
}

enum err_code query_optional_text(const struct query *query, int column, struct arena *arena,
                                  const char **text_out, struct err *err)
{
    if (query_is_null(query, column)) {
        *text_out = NULL;
        return ERR_OK;
    }
    return query_text(query, column, arena, text_out, err);
}

int64_t store_bytes(struct store *store)
{
    int64_t pages = 0;
    struct err ignored = {0};
    return read_number(store, "PRAGMA page_count", &pages, &ignored) == ERR_OK
               ? pages * store->page_bytes
               : 0;
}

bool store_has_reached(struct store *store, int64_t bytes)
{
    assert(store->role == STORE_WRITER);
    /* A page that was written made the file a page larger at most. */
    if (store->bytes_asked + store->bytes_written < bytes) {
        return false;
    }
    store->bytes_asked = store_bytes(store);
    store->bytes_written = 0;
    return store->bytes_asked >= bytes;
}
