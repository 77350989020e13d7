/*
 * Attempts of merges and of tasks. See attempts.h, batches.h and runs.h.
 */
#include "storage/catalog/attempts.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/private.h"
#include "storage/catalog/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The mark: one place for the lane of a merge, one for an attempt of a task; each is a
 * name and a byte that says whether the name is there.
 */
enum {
    LANE_BYTES = 16,
    TASK_BYTES = 28, /* run, task, iteration: 8 each; number: 4 */
    NAME_BYTES_MAX = TASK_BYTES,
    LANE_AT = 0,
    TASK_AT = LANE_BYTES + 1,
    MARK_BYTES = TASK_AT + TASK_BYTES + 1,
};

static const char sql_begin[] =
    "INSERT INTO attempts(table_uuid, position_first, position_last) VALUES(?1, ?2, ?3)"
    " ON CONFLICT(table_uuid) DO UPDATE SET position_first = ?2, position_last = ?3";
static const char sql_end[] = "DELETE FROM attempts WHERE table_uuid = ?";
static const char sql_all[] = "SELECT table_uuid, position_first, position_last FROM attempts";
static const char sql_clear[] = "DELETE FROM attempts";
static const char sql_charge[] =
    "UPDATE batches SET crashes = crashes + ?1, interruptions = interruptions + (1 - ?1)"
    " WHERE state = 1 AND table_uuid = ?2 AND position BETWEEN ?3 AND ?4";

/* What this thread works on; read by the handler of a fatal signal on the same thread. */
static _Thread_local struct {
    uint8_t *mark;  /* mapped, NULL = nothing */
    uint8_t *place; /* in the mark */
    size_t size;    /* of the name */
    uint8_t name[NAME_BYTES_MAX];
} bound;

void catalog_mark_crash(void)
{
    if (bound.mark != NULL) {
        for (size_t i = 0; i < bound.size; i++) { /* memcpy is not promised to be safe here */
            bound.place[i] = bound.name[i];
        }
        bound.place[bound.size] = 1;
    }
}

static void bind_thread(struct catalog *catalog, size_t at, const uint8_t *name, size_t size)
{
    bound.mark = NULL; /* a signal in between finds nothing half-written */
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(bound.name, name, size);
    bound.size = size;
    bound.place = catalog->crash_mark + at;
    atomic_signal_fence(memory_order_seq_cst);
    bound.mark = catalog->crash_mark;
}

static bool is_marked(const struct catalog *catalog, size_t at, const uint8_t *name, size_t size)
{
    const uint8_t *place = catalog->crash_mark + at;
    return place[size] == 1 && memcmp(place, name, size) == 0;
}

static void name_task(int64_t run_id, const struct run_attempt_id *attempt,
                      uint8_t name_out[TASK_BYTES])
{
    uint64_t task = attempt->task;
    memcpy(name_out, &run_id, 8);
    memcpy(name_out + 8, &task, 8);
    memcpy(name_out + 16, &attempt->iteration, 8);
    memcpy(name_out + 24, &attempt->number, 4);
}

void run_bind_thread(struct catalog *catalog, int64_t run_id, const struct run_attempt_id *attempt)
{
    uint8_t name[TASK_BYTES];
    name_task(run_id, attempt, name);
    bind_thread(catalog, TASK_AT, name, sizeof name);
}

void run_unbind_thread(void)
{
    attempts_unbind_thread();
}

bool attempts_crashed(const struct catalog *catalog, int64_t run_id,
                      const struct run_attempt_id *attempt)
{
    uint8_t name[TASK_BYTES];
    name_task(run_id, attempt, name);
    return is_marked(catalog, TASK_AT, name, sizeof name);
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
        if (bound.mark == catalog->crash_mark) {
            bound.mark = NULL;
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

static bool merge_crashed(const struct catalog *catalog, const struct attempt *attempt)
{
    uint8_t table[LANE_BYTES];
    id_bytes(&attempt->table, table);
    return is_marked(catalog, LANE_AT, table, sizeof table);
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
        bool crashed = merge_crashed(catalog, &attempts[i]);
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
    uint8_t name[LANE_BYTES];
    id_bytes(table, name);
    bind_thread(catalog, LANE_AT, name, sizeof name);
    return ERR_OK;
}

void attempts_unbind_thread(void)
{
    bound.mark = NULL;
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
