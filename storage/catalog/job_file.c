/*
 * The file jobs.db. See job_file.h.
 */
#include "storage/catalog/job_file.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/attempts.h"
#include "storage/catalog/private.h"
#include "storage/catalog/runs.h"

#include <inttypes.h>

enum { JOBS_FORMAT = 1 };

/*
 * counters: the last incarnation, job, run and end of a run given out.
 * job_versions.runs counts the runs that refer to the version; job 0 holds the
 * definitions of one-off runs, their version being the run. states and results are the
 * numbers of storage/jobs/graph.h, runs.h and deliveries.h.
 * sources: how far each source was read (storage/intake).
 */
static const char jobs_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS counters("
    " only_row INTEGER PRIMARY KEY CHECK(only_row = 1), incarnation INTEGER NOT NULL,"
    " job INTEGER NOT NULL, run INTEGER NOT NULL, finish INTEGER NOT NULL);"
    "INSERT OR IGNORE INTO counters VALUES(1, 0, 0, 0, 0);"
    "CREATE TABLE IF NOT EXISTS jobs("
    " job_id INTEGER PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, anchor INTEGER NOT NULL, decided INTEGER NOT NULL,"
    " next_fire INTEGER NOT NULL, runs_count INTEGER NOT NULL DEFAULT 0,"
    " deleted_at INTEGER NOT NULL DEFAULT 0, creation_key BLOB, creation_sha256 BLOB);"
    "CREATE UNIQUE INDEX IF NOT EXISTS jobs_creation ON jobs(creation_key)"
    " WHERE creation_key IS NOT NULL;"
    "CREATE INDEX IF NOT EXISTS jobs_due ON jobs(next_fire) WHERE next_fire > 0;"
    "CREATE TABLE IF NOT EXISTS job_versions("
    " job_id INTEGER NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,"
    " definition TEXT NOT NULL, author BLOB, run_as BLOB, created_at INTEGER NOT NULL,"
    " runs INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(job_id, version));"
    "CREATE TABLE IF NOT EXISTS job_tags("
    " job_id INTEGER NOT NULL REFERENCES jobs(job_id), name TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY(job_id, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS job_triggers("
    " job_id INTEGER NOT NULL REFERENCES jobs(job_id), key TEXT NOT NULL, state TEXT NOT NULL,"
    " PRIMARY KEY(job_id, key)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS runs("
    " run_id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, version INTEGER NOT NULL,"
    " number INTEGER NOT NULL, state INTEGER NOT NULL, result INTEGER NOT NULL DEFAULT 0,"
    " trigger INTEGER NOT NULL, trigger_time INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL DEFAULT 0, ended_at INTEGER NOT NULL DEFAULT 0,"
    " finish INTEGER NOT NULL DEFAULT 0, principal BLOB, token TEXT, parameters TEXT,"
    " only_tasks TEXT, parent_run INTEGER NOT NULL DEFAULT 0, parent_task TEXT, error_code TEXT,"
    " error TEXT, cancel_at INTEGER NOT NULL DEFAULT 0, cancel_by BLOB,"
    " repairs INTEGER NOT NULL DEFAULT 0, repair INTEGER NOT NULL DEFAULT 0, repair_tasks TEXT,"
    " warned INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX IF NOT EXISTS runs_of_job ON runs(job_id);"
    "CREATE INDEX IF NOT EXISTS runs_active ON runs(job_id) WHERE state <> 5;"
    "CREATE INDEX IF NOT EXISTS runs_finished ON runs(job_id, finish) WHERE finish > 0;"
    "CREATE UNIQUE INDEX IF NOT EXISTS runs_token ON runs(job_id, token) WHERE token IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS run_tasks("
    " run_id INTEGER NOT NULL REFERENCES runs(run_id), task INTEGER NOT NULL,"
    " iteration INTEGER NOT NULL, state INTEGER NOT NULL, result INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, failures INTEGER NOT NULL, interruptions INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL, due INTEGER NOT NULL, started_at INTEGER NOT NULL,"
    " ended_at INTEGER NOT NULL, inputs_count INTEGER NOT NULL, outcome TEXT, vals TEXT,"
    " error_code TEXT, error TEXT, PRIMARY KEY(run_id, task, iteration)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS run_attempts("
    " run_id INTEGER NOT NULL REFERENCES runs(run_id), task INTEGER NOT NULL,"
    " iteration INTEGER NOT NULL, number INTEGER NOT NULL, incarnation INTEGER NOT NULL,"
    " state INTEGER NOT NULL, result INTEGER NOT NULL DEFAULT 0, started_at INTEGER NOT NULL,"
    " ended_at INTEGER NOT NULL DEFAULT 0, rows_in INTEGER NOT NULL DEFAULT 0,"
    " rows_out INTEGER NOT NULL DEFAULT 0, rows_rejected INTEGER NOT NULL DEFAULT 0,"
    " bytes_in INTEGER NOT NULL DEFAULT 0, bytes_out INTEGER NOT NULL DEFAULT 0,"
    " versions_read TEXT, versions_written TEXT, error_code TEXT, error TEXT,"
    " PRIMARY KEY(run_id, task, iteration, number)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS run_pins("
    " run_id INTEGER NOT NULL REFERENCES runs(run_id), task INTEGER NOT NULL,"
    " iteration INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY(run_id, task, iteration, name));"
    "CREATE TABLE IF NOT EXISTS deliveries("
    " id BLOB PRIMARY KEY, job_id INTEGER NOT NULL, run_id INTEGER NOT NULL, event TEXT NOT NULL,"
    " url TEXT NOT NULL, secret TEXT, body TEXT NOT NULL, state INTEGER NOT NULL,"
    " tries INTEGER NOT NULL DEFAULT 0, replays INTEGER NOT NULL DEFAULT 0,"
    " created_at INTEGER NOT NULL, due INTEGER NOT NULL, tried_at INTEGER NOT NULL DEFAULT 0,"
    " status INTEGER NOT NULL DEFAULT 0, error TEXT) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries(due) WHERE state = 1;"
    "CREATE INDEX IF NOT EXISTS deliveries_dead ON deliveries(state) WHERE state IN (3, 4);"
    "CREATE INDEX IF NOT EXISTS deliveries_of_run ON deliveries(run_id);"
    "CREATE TABLE IF NOT EXISTS sources("
    " source BLOB PRIMARY KEY, step INTEGER NOT NULL, checkpoint TEXT NOT NULL,"
    " updated_us INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

static const char sql_raise[] =
    "UPDATE counters SET incarnation = incarnation + 1 RETURNING incarnation";
static const char sql_next_job[] = "UPDATE counters SET job = job + 1 RETURNING job";
static const char sql_next_run[] = "UPDATE counters SET run = run + 1 RETURNING run";
static const char sql_next_finish[] = "UPDATE counters SET finish = finish + 1 RETURNING finish";
static const char sql_running[] =
    "SELECT run_id, task, iteration, number FROM run_attempts WHERE state = 1"
    " AND run_id IN (SELECT run_id FROM runs WHERE state <> 5)";
static const char sql_close[] =
    "UPDATE run_attempts SET state = ?1, ended_at = ?2 WHERE run_id = ?3 AND task = ?4"
    " AND iteration = ?5 AND number = ?6";
static const char sql_count[] =
    "SELECT (SELECT count(*) FROM jobs WHERE deleted_at = 0), (SELECT count(*) FROM runs),"
    " (SELECT count(*) FROM runs WHERE state <> 5), (SELECT count(*) FROM deliveries)";
static const char sql_miscounted_version[] =
    "SELECT v.job_id, v.version FROM job_versions AS v LEFT JOIN"
    " (SELECT job_id, version, count(*) AS counted FROM runs GROUP BY 1, 2) AS r"
    " ON r.job_id = v.job_id AND r.version = v.version WHERE v.runs <> coalesce(r.counted, 0)"
    " LIMIT 1";
static const char sql_run_without_version[] =
    "SELECT r.job_id, r.run_id FROM runs AS r LEFT JOIN job_versions AS v"
    " ON v.job_id = r.job_id AND v.version = r.version WHERE v.job_id IS NULL LIMIT 1";
static const char sql_job_without_version[] =
    "SELECT j.job_id, j.version FROM jobs AS j LEFT JOIN job_versions AS v"
    " ON v.job_id = j.job_id AND v.version = j.version WHERE v.job_id IS NULL"
    " AND j.deleted_at = 0 LIMIT 1";

/* ---- counters ---- */

static enum err_code next_of(struct store *store, const char *sql, int64_t *number_out,
                             struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    TRY(query_next(&query, &row, err));
    if (!row) {
        return err_set(err, ERR_CORRUPT, "%s has lost its counters", store_path(store));
    }
    *number_out = query_integer(&query, 0);
    return ERR_OK;
}

enum err_code job_file_next_job(struct store *store, int64_t *job_id_out, struct err *err)
{
    return next_of(store, sql_next_job, job_id_out, err);
}

enum err_code job_file_next_run(struct store *store, int64_t *run_id_out, struct err *err)
{
    return next_of(store, sql_next_run, run_id_out, err);
}

enum err_code job_file_next_finish(struct store *store, int64_t *finish_out, struct err *err)
{
    return next_of(store, sql_next_finish, finish_out, err);
}

int64_t catalog_incarnation(struct catalog *catalog)
{
    return catalog->incarnation;
}

/* ---- attempts that the last process left running ---- */

struct running {
    int64_t run_id;
    struct run_attempt_id attempt;
};

static enum err_code read_running(struct store *store, struct running **running_out,
                                  size_t *count_out, struct err *err)
{
    struct running *running = NULL;
    size_t count = 0;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_running, &query, err));
    for (;;) {
        bool row = false;
        enum err_code code = query_next(&query, &row, err);
        if (code != ERR_OK || !row) {
            *running_out = running; /* freed by the caller either way */
            *count_out = count;
            return code;
        }
        running = mem_resize(running, count + 1, sizeof *running);
        running[count++] = (struct running){
            .run_id = query_integer(&query, 0),
            .attempt = {.task = (size_t)query_integer(&query, 1),
                        .iteration = query_integer(&query, 2),
                        .number = (int32_t)query_integer(&query, 3)},
        };
    }
}

static enum err_code close_attempt(struct catalog *catalog, const struct running *running,
                                   int64_t now_us, struct err *err)
{
    bool crashed = attempts_crashed(catalog, running->run_id, &running->attempt);
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(catalog->jobs.store, sql_close, &query, err));
    query_bind_integer(&query, crashed ? ATTEMPT_CRASHED : ATTEMPT_INTERRUPTED);
    query_bind_integer(&query, now_us);
    query_bind_integer(&query, running->run_id);
    query_bind_integer(&query, (int64_t)running->attempt.task);
    query_bind_integer(&query, running->attempt.iteration);
    query_bind_integer(&query, running->attempt.number);
    return query_run(&query, err);
}

static enum err_code begin_incarnation(struct catalog *catalog, struct err *err)
{
    CLEANUP(mem_cleanup) struct running *running = NULL;
    size_t count = 0;
    int64_t now_us = clock_wall_us();
    TRY(next_of(catalog->jobs.store, sql_raise, &catalog->incarnation, err));
    TRY(read_running(catalog->jobs.store, &running, &count, err));
    for (size_t i = 0; i < count; i++) {
        TRY(close_attempt(catalog, &running[i], now_us, err));
    }
    return ERR_OK;
}

/* ---- opening ---- */

enum err_code job_file_open(struct catalog *catalog, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(catalog->folder, JOB_FILE_NAME);
    TRY(store_open(path, STORE_WRITER, &catalog->jobs.store, err));
    struct store *store = catalog->jobs.store;
    TRY(store_check_format(store, JOBS_FORMAT, err));
    TRY(store_run(store, jobs_schema, err));
    TRY(file_sync_directory(catalog->folder, err));
    if (store_bytes(store) <= CATALOG_QUICK_CHECK_BYTES_MAX) {
        TRY(store_check(store, false, err));
    }
    TRY(store_run(store, "BEGIN IMMEDIATE", err));
    TRY(begin_incarnation(catalog, err)); /* closing the store takes the rest back */
    return store_run(store, "COMMIT", err);
}

/* ---- fsck ---- */

/* No row is as it must be. */
static enum err_code expect_none(struct store *store, const char *sql, const char *finding,
                                 struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    TRY(query_next(&query, &row, err));
    if (row) {
        return err_set(err, ERR_CORRUPT, "%s: %s (%" PRId64 ", %" PRId64 ")", store_path(store),
                       finding, query_integer(&query, 0), query_integer(&query, 1));
    }
    return ERR_OK;
}

enum err_code job_file_examine(struct store *store, struct catalog_report *report, struct err *err)
{
    TRY(expect_none(store, sql_run_without_version, "a run has lost its definition (job, run)",
                    err));
    TRY(expect_none(store, sql_job_without_version, "a job has lost its definition (job, version)",
                    err));
    TRY(expect_none(store, sql_miscounted_version,
                    "a definition counts other runs than it has (job, version)", err));
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count, &query, err));
    TRY(query_next(&query, &row, err));
    report->jobs_count = query_integer(&query, 0);
    report->runs_count = query_integer(&query, 1);
    report->runs_active_count = query_integer(&query, 2);
    report->deliveries_count = query_integer(&query, 3);
    return ERR_OK;
}
