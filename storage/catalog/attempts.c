/*
 * Merge attempts. See attempts.h and batches.h.
 */
#include "storage/catalog/attempts.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ID_BYTES = 16, MARK_BYTES = ID_BYTES + 1 };

static const char sql_begin[] =
    "INSERT INTO attempts(table_uuid, position_first, position_last) VALUES(?1, ?2, ?3)"
    " ON CONFLICT(table_uuid) DO UPDATE SET position_first = ?2, position_last = ?3";
static const char sql_end[] = "DELETE FROM attempts WHERE table_uuid = ?";
static const char sql_all[] = "SELECT table_uuid, position_first, position_last FROM attempts";
static const char sql_clear[] = "DELETE FROM attempts";
static const char sql_charge[] =
    "UPDATE batches SET crashes = crashes + ?1, interruptions = interruptions + (1 - ?1)"
    " WHERE state = 1 AND table_uuid = ?2 AND position BETWEEN ?3 AND ?4";

/* The lane this thread merges; read by the handler of a fatal signal on the same thread. */
static _Thread_local struct {
    uint8_t *mark; /* mapped, NULL = this thread merges nothing */
    uint8_t table[ID_BYTES];
} merging;

void catalog_mark_crash(void)
{
    if (merging.mark != NULL) {
        for (size_t i = 0; i < ID_BYTES; i++) { /* memcpy is not promised to be safe here */
            merging.mark[i] = merging.table[i];
        }
        merging.mark[ID_BYTES] = 1;
    }
}

enum err_code attempts_open(struct catalog *catalog, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(catalog->folder, "crash-mark");
    CLEANUP(file_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, MARK_BYTES) != 0) {
        return err_set_errno(err, errno, "open %s", path);
    }
    void *mark = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mark == MAP_FAILED) {
        return err_set_errno(err, errno, "map %s", path);
    }
    catalog->crash_mark = mark;
    return ERR_OK;
}

void attempts_close(struct catalog *catalog)
{
    if (catalog->crash_mark != NULL) {
        if (merging.mark == catalog->crash_mark) {
            merging.mark = NULL;
        }
        (void)munmap(catalog->crash_mark, MARK_BYTES); /* cannot fail for what was mapped */
        catalog->crash_mark = NULL;
    }
}

/* ---- charging at start ---- */

struct attempt {
    struct id table;
    int64_t first;
    int64_t last;
};

static enum err_code read_attempts(struct store *store, struct attempt **attempts_out,
                                   size_t *count_out, struct err *err)
{
    struct attempt *attempts = NULL;
    size_t count = 0;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_all, &query, err));
    for (;;) {
        bool row = false;
        enum err_code code = query_next(&query, &row, err);
        if (code != ERR_OK || !row) {
            *attempts_out = attempts; /* freed by the caller either way */
            *count_out = count;
            return code;
        }
        struct attempt attempt = {.first = query_integer(&query, 1),
                                  .last = query_integer(&query, 2)};
        if (query_id(&query, 0, &attempt.table, err) == ERR_OK) {
            attempts = mem_resize(attempts, count + 1, sizeof *attempts);
            attempts[count++] = attempt;
        }
    }
}

static enum err_code charge_in(struct store *store, const struct attempt *attempt, bool crashed,
                               struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_charge, &query, err));
    query_bind_integer(&query, crashed ? 1 : 0);
    query_bind_id(&query, &attempt->table);
    query_bind_integer(&query, attempt->first);
    query_bind_integer(&query, attempt->last);
    return query_run(&query, err);
}

static bool is_marked(const struct catalog *catalog, const struct attempt *attempt)
{
    uint8_t table[ID_BYTES];
    id_bytes(&attempt->table, table);
    return catalog->crash_mark[ID_BYTES] == 1 &&
           memcmp(table, catalog->crash_mark, sizeof table) == 0;
}

enum err_code attempts_charge(struct catalog *catalog, struct err *err)
{
    CLEANUP(mem_cleanup) struct attempt *attempts = NULL;
    size_t count = 0;
    TRY(read_attempts(catalog->main.store, &attempts, &count, err));
    /* Forgotten first: a crash between here and the charge may undercount, never overcount. */
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(catalog->main.store, sql_clear, &query, err));
        TRY(query_run(&query, err));
    }
    for (size_t i = 0; i < count; i++) {
        bool crashed = is_marked(catalog, &attempts[i]);
        for (size_t j = 0; j < catalog->pieces.count; j++) {
            TRY(charge_in(catalog->pieces.sorted[j]->database.store, &attempts[i], crashed, err));
        }
    }
    memset(catalog->crash_mark, 0, MARK_BYTES);
    return ERR_OK;
}

/* ---- beginning and ending ---- */

static enum err_code write_begin(struct transaction *transaction, void *arg, struct err *err)
{
    const struct attempt *attempt = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_begin, &query, err));
    query_bind_id(&query, &attempt->table);
    query_bind_integer(&query, attempt->first);
    query_bind_integer(&query, attempt->last);
    return query_run(&query, err);
}

enum err_code batches_begin_attempt(struct catalog *catalog, const struct id *table,
                                    int64_t position_first, int64_t position_last, struct err *err)
{
    struct attempt attempt = {.table = *table, .first = position_first, .last = position_last};
    TRY(catalog_write(catalog, write_begin, &attempt, err));
    id_bytes(table, merging.table);
    merging.mark = catalog->crash_mark;
    return ERR_OK;
}

void attempts_unbind_thread(void)
{
    merging.mark = NULL;
}

static enum err_code write_end(struct transaction *transaction, void *arg, struct err *err)
{
    const struct attempt *attempt = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_end, &query, err));
    query_bind_id(&query, &attempt->table);
    return query_run(&query, err);
}

enum err_code batches_end_attempt(struct catalog *catalog, const struct id *table, struct err *err)
{
    attempts_unbind_thread();
    struct attempt attempt = {.table = *table};
    return catalog_write(catalog, write_end, &attempt, err);
}
