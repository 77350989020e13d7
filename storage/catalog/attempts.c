/*
 * Attempts of merges and of tasks. See attempts.h, batches.h and runs.h.
 */
#include "storage/catalog/attempts.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/private.h"
#include "storage/catalog/runs.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

/*
 * The page: one place for the lane of a merge that crashed, one for such an attempt of a
 * task, each a name and a byte that says whether the name is there; then places for merges
 * that go on, each a state and what is merged.
 */
enum {
    LANE_BYTES = 16,
    TASK_BYTES = 28, /* run, task, iteration: 8 each; number: 4 */
    NAME_BYTES_MAX = TASK_BYTES,
    LANE_AT = 0,
    TASK_AT = LANE_BYTES + 1,
    MERGES_AT = TASK_AT + TASK_BYTES + 1,
    MERGES_MAX = 64, /* at a time; threads that merge are fewer */
    MERGE_BYTES = 1 + LANE_BYTES + 8 + 8,
    MARK_BYTES = MERGES_AT + MERGES_MAX * MERGE_BYTES,
};

/* Of a merge's place. */
enum { MERGE_FREE = 0, MERGE_GOES_ON = 1, MERGE_BEING_WRITTEN = 2 };

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
    void *mark = NULL;
    TRY(file_map_shared(path, MARK_BYTES, &mark, err));
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

static uint8_t *merge_place(const struct catalog *catalog, size_t index)
{
    return catalog->crash_mark + MERGES_AT + index * MERGE_BYTES;
}

static void write_merge(uint8_t *place, const struct attempt *attempt)
{
    id_bytes(&attempt->table, place + 1);
    memcpy(place + 1 + LANE_BYTES, &attempt->first, 8);
    memcpy(place + 1 + LANE_BYTES + 8, &attempt->last, 8);
    __atomic_store_n(place, MERGE_GOES_ON, __ATOMIC_RELEASE);
}

static size_t read_merges(const struct catalog *catalog, struct attempt attempts[MERGES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < MERGES_MAX; i++) {
        const uint8_t *place = merge_place(catalog, i);
        if (place[0] != MERGE_GOES_ON) {
            continue;
        }
        struct attempt *attempt = &attempts[count++];
        attempt->table = id_of_bytes(place + 1);
        memcpy(&attempt->first, place + 1 + LANE_BYTES, 8);
        memcpy(&attempt->last, place + 1 + LANE_BYTES + 8, 8);
    }
    return count;
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
    struct attempt attempts[MERGES_MAX];
    bool crashed[MERGES_MAX];
    size_t count = read_merges(catalog, attempts);
    for (size_t i = 0; i < count; i++) {
        crashed[i] = merge_crashed(catalog, &attempts[i]);
    }
    /* Forgotten first: a crash between here and the charge may undercount, never overcount. */
    memset(catalog->crash_mark, 0, MARK_BYTES);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < catalog->pieces.count; j++) {
            TRY(charge_in(catalog->pieces.sorted[j]->database.store, &attempts[i], crashed[i],
                          err));
        }
    }
    return ERR_OK;
}

/* ---- beginning and ending ---- */

/* The place of the lane's merge, or NULL. */
static uint8_t *find_merge(const struct catalog *catalog, const uint8_t table[LANE_BYTES])
{
    for (size_t i = 0; i < MERGES_MAX; i++) {
        uint8_t *place = merge_place(catalog, i);
        if (__atomic_load_n(place, __ATOMIC_ACQUIRE) == MERGE_GOES_ON &&
            memcmp(place + 1, table, LANE_BYTES) == 0) {
            return place;
        }
    }
    return NULL;
}

static uint8_t *claim_merge(const struct catalog *catalog)
{
    for (size_t i = 0; i < MERGES_MAX; i++) {
        uint8_t *place = merge_place(catalog, i);
        uint8_t expected = MERGE_FREE;
        if (__atomic_compare_exchange_n(place, &expected, MERGE_BEING_WRITTEN, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            return place;
        }
    }
    return NULL;
}

void batches_begin_attempt(struct catalog *catalog, const struct id *table, int64_t position_first,
                           int64_t position_last)
{
    const struct attempt attempt = {
        .table = *table, .first = position_first, .last = position_last};
    uint8_t name[LANE_BYTES];
    id_bytes(table, name);
    uint8_t *place = find_merge(catalog, name);
    place = place != NULL ? place : claim_merge(catalog);
    assert(place != NULL); /* more merges at a time than threads */
    __atomic_store_n(place, MERGE_BEING_WRITTEN, __ATOMIC_RELEASE);
    write_merge(place, &attempt);
    bind_thread(catalog, LANE_AT, name, sizeof name);
}

void attempts_unbind_thread(void)
{
    bound.mark = NULL;
}

void batches_end_attempt(struct catalog *catalog, const struct id *table)
{
    uint8_t name[LANE_BYTES];
    id_bytes(table, name);
    attempts_unbind_thread();
    uint8_t *place = find_merge(catalog, name);
    if (place != NULL) {
        __atomic_store_n(place, MERGE_FREE, __ATOMIC_RELEASE);
    }
}
