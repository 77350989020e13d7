/*
 * Retention of runs. Who goes is found by a reader, so that looking costs the
 * writer nothing; it checks each once more and removes it. See runs.h.
 */
#include "storage/catalog/job_rows.h"
#include "storage/catalog/private.h"
#include "storage/catalog/run_rows.h"

enum { STEP = 200 }; /* runs of one transaction */

static const char sql_old[] =
    "SELECT run_id, state, ended_at, created_at FROM runs ORDER BY run_id";
static const char sql_next_job[] =
    "SELECT job_id FROM runs WHERE job_id > ? ORDER BY job_id LIMIT 1";
static const char sql_bound[] =
    "SELECT run_id FROM runs WHERE job_id = ? ORDER BY run_id DESC LIMIT 1 OFFSET ?";
static const char sql_too_many[] = "SELECT run_id FROM runs WHERE job_id = ? AND run_id <= ?"
                                   " AND state = 5 ORDER BY run_id LIMIT ?";
static const char sql_deleted[] =
    "SELECT job_id FROM jobs WHERE deleted_at <> 0"
    " AND NOT EXISTS (SELECT 1 FROM job_versions AS v WHERE v.job_id = jobs.job_id) LIMIT ?";
static const char sql_remove_attempts[] = "DELETE FROM run_attempts WHERE run_id = ?";
static const char sql_remove_tasks[] = "DELETE FROM run_tasks WHERE run_id = ?";
static const char sql_remove_pins[] = "DELETE FROM run_pins WHERE run_id = ?";
static const char sql_remove_run[] = "DELETE FROM runs WHERE run_id = ?";

/* What one step takes. */
struct removal {
    int64_t runs[STEP];
    size_t runs_count;
    int64_t jobs[STEP]; /* deleted ones without runs */
    size_t jobs_count;
    int64_t removed;
};

static bool is_full(const struct removal *removal)
{
    return removal->runs_count == STEP;
}

/* The same run may be too old and one too many: the second time it is gone. */
static void take(struct removal *removal, int64_t run_id)
{
    removal->runs[removal->runs_count++] = run_id;
}

/* Runs are made in order of time: those after the first that was made too late ended too late. */
static enum err_code find_old(struct store *store, int64_t before_us, struct removal *removal,
                              struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_old, &query, err));
    while (!is_full(removal)) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row || query_integer(&query, 3) >= before_us) {
            return ERR_OK;
        }
        if (query_integer(&query, 1) == RUN_TERMINATED && query_integer(&query, 2) < before_us) {
            take(removal, query_integer(&query, 0));
        }
    }
    return ERR_OK;
}

/* The newest run that is one too many; 0 = there is none. */
static enum err_code find_bound(struct store *store, int64_t job_id, int64_t kept,
                                int64_t *run_id_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_bound, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, kept);
    TRY(query_next(&query, &row, err));
    *run_id_out = row ? query_integer(&query, 0) : 0;
    return ERR_OK;
}

static enum err_code find_too_many_of(struct store *store, int64_t job_id, int64_t kept,
                                      struct removal *removal, struct err *err)
{
    int64_t bound = 0;
    TRY(find_bound(store, job_id, kept, &bound, err));
    if (bound == 0) {
        return ERR_OK;
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_too_many, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, bound);
    query_bind_integer(&query, STEP);
    while (!is_full(removal)) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        take(removal, query_integer(&query, 0));
    }
    return ERR_OK;
}

static enum err_code find_too_many(struct store *store, int64_t kept, struct removal *removal,
                                   struct err *err)
{
    int64_t job_id = -1;
    while (!is_full(removal)) {
        bool row = false;
        {
            CLEANUP(query_end) struct query query = {0};
            TRY(query_begin(store, sql_next_job, &query, err));
            query_bind_integer(&query, job_id);
            TRY(query_next(&query, &row, err));
            job_id = row ? query_integer(&query, 0) : job_id;
        }
        if (!row) {
            return ERR_OK;
        }
        TRY(find_too_many_of(store, job_id, kept, removal, err));
    }
    return ERR_OK;
}

static enum err_code find_deleted(struct store *store, struct removal *removal, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_deleted, &query, err));
    query_bind_integer(&query, STEP);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        removal->jobs[removal->jobs_count++] = query_integer(&query, 0);
    }
}

static enum err_code find(struct catalog *catalog, const struct run_retention *retention,
                          struct removal *removal, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    if (retention->before_us > 0) {
        TRY(find_old(store, retention->before_us, removal, err));
    }
    if (retention->per_job_max > 0) {
        TRY(find_too_many(store, retention->per_job_max, removal, err));
    }
    return find_deleted(store, removal, err);
}

/* ---- removing ---- */

static enum err_code remove_rows(struct store *store, const char *sql, int64_t run_id,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    query_bind_integer(&query, run_id);
    return query_run(&query, err);
}

static enum err_code remove_run(struct transaction *transaction, struct store *store,
                                int64_t run_id, int64_t *removed, struct err *err)
{
    struct run_row row;
    enum err_code code = run_row_get(store, run_id, &row, err);
    if (code == ERR_NOT_FOUND || (code == ERR_OK && row.state != RUN_TERMINATED)) {
        err_clear(err); /* gone, or asked to be repaired meanwhile */
        return ERR_OK;
    }
    TRY(code);
    TRY(remove_rows(store, sql_remove_attempts, run_id, err));
    TRY(remove_rows(store, sql_remove_tasks, run_id, err));
    TRY(remove_rows(store, sql_remove_pins, run_id, err));
    TRY(remove_rows(store, sql_remove_run, run_id, err));
    TRY(version_count_run(store, row.job_id, row.version, -1, err));
    (*removed)++;
    return versions_forget(transaction, store, row.job_id, err);
}

static enum err_code write_removal(struct transaction *transaction, void *arg, struct err *err)
{
    struct removal *removal = arg;
    struct store *store = NULL;
    TRY(transaction_jobs(transaction, &store, err));
    removal->removed = 0;
    for (size_t i = 0; i < removal->runs_count; i++) {
        TRY(remove_run(transaction, store, removal->runs[i], &removal->removed, err));
    }
    for (size_t i = 0; i < removal->jobs_count; i++) {
        TRY(versions_forget(transaction, store, removal->jobs[i], err));
    }
    return ERR_OK;
}

enum err_code runs_retain(struct catalog *catalog, const struct run_retention *retention,
                          int64_t *removed_out, bool *more_out, struct err *err)
{
    struct removal removal = {.runs_count = 0};
    TRY(find(catalog, retention, &removal, err));
    if (removal.runs_count > 0 || removal.jobs_count > 0) {
        TRY(catalog_write(catalog, write_removal, &removal, err));
    }
    *removed_out = removal.removed;
    *more_out = is_full(&removal);
    return ERR_OK;
}
