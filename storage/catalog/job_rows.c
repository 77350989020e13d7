/*
 * Rows of jobs.db that more than one file writes. See job_rows.h.
 */
#include "storage/catalog/job_rows.h"

#include "storage/base/clock.h"
#include "storage/catalog/private.h"

#include <inttypes.h>
#include <string.h>

static const char sql_job[] = "SELECT version, anchor, decided, next_fire, runs_count FROM jobs"
                              " WHERE job_id = ? AND deleted_at = 0";
static const char sql_insert_version[] =
    "INSERT INTO job_versions(job_id, version, name, definition, author, run_as, created_at)"
    " VALUES(?, ?, ?, ?, ?, ?, ?)";
static const char sql_count_run[] =
    "UPDATE job_versions SET runs = runs + ? WHERE job_id = ? AND version = ?";
static const char sql_forget_versions[] =
    "DELETE FROM job_versions WHERE job_id = ?1 AND runs = 0 AND version NOT IN"
    " (SELECT version FROM jobs WHERE job_id = ?1 AND deleted_at = 0)";
static const char sql_forget_job[] =
    "DELETE FROM jobs WHERE job_id = ?1 AND deleted_at <> 0"
    " AND (creation_key IS NULL OR created_at < ?2)"
    " AND NOT EXISTS (SELECT 1 FROM job_versions WHERE job_id = ?1)";
static const char sql_schedule[] =
    "UPDATE jobs SET anchor = ?, decided = ?, next_fire = ? WHERE job_id = ?";
static const char sql_trigger[] = "INSERT INTO job_triggers(job_id, key, state) VALUES(?1, ?2, ?3)"
                                  " ON CONFLICT(job_id, key) DO UPDATE SET state = ?3";
static const char sql_count_triggers[] = "SELECT count(*) FROM job_triggers WHERE job_id = ?";
static const char sql_mark_cancel[] =
    "UPDATE runs SET cancel_at = ?, cancel_by = ? WHERE job_id = ? AND state <> 5"
    " AND cancel_at = 0";
static const char sql_count_active[] = "SELECT count(*) FROM runs WHERE job_id = ? AND state <> 5";
static const char sql_insert_delivery[] =
    "INSERT INTO deliveries(id, job_id, run_id, event, url, secret, body, state, created_at, due)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, max(?9, ?8))";

static enum err_code count_of_job(struct store *store, const char *sql, int64_t job_id,
                                  int64_t *count_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    query_bind_integer(&query, job_id);
    TRY(query_next(&query, &row, err));
    *count_out = query_integer(&query, 0);
    return ERR_OK;
}

/* ---- jobs ---- */

enum err_code no_such_job(int64_t job_id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, job_id);
}

enum err_code job_row_get(struct store *store, int64_t job_id, struct job_row *row_out,
                          struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_job, &query, err));
    query_bind_integer(&query, job_id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return no_such_job(job_id, err);
    }
    *row_out = (struct job_row){
        .version = (int32_t)query_integer(&query, 0),
        .schedule = {.anchor_us = query_integer(&query, 1),
                     .decided_us = query_integer(&query, 2),
                     .next_fire_us = query_integer(&query, 3)},
        .runs_count = query_integer(&query, 4),
    };
    return ERR_OK;
}

enum err_code job_row_check_version(const struct job_row *row, int64_t job_id, int32_t version,
                                    struct err *err)
{
    if (row->version != version) {
        return err_set(err, ERR_PRECONDITION,
                       "job %" PRId64 " is at version %" PRId32 ", no longer at %" PRId32
                       ": read it again",
                       job_id, row->version, version);
    }
    return ERR_OK;
}

enum err_code text_check(const char *text, size_t bytes_max, const char *what, struct err *err)
{
    if (text != NULL && strlen(text) > bytes_max) {
        return err_set(err, ERR_TOO_LARGE, "%s has over %zu bytes: shorten it", what, bytes_max);
    }
    return ERR_OK;
}

/* ---- versions ---- */

enum err_code version_insert(struct store *store, const struct version_row *version,
                             struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_version, &query, err));
    query_bind_integer(&query, version->job_id);
    query_bind_integer(&query, version->version);
    query_bind_text(&query, version->name);
    query_bind_text(&query, version->definition);
    query_bind_id(&query, &version->author);
    query_bind_id(&query, &version->run_as);
    query_bind_integer(&query, clock_wall_us());
    return query_run(&query, err);
}

enum err_code version_count_run(struct store *store, int64_t job_id, int64_t version, int change,
                                struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_run, &query, err));
    query_bind_integer(&query, change);
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, version);
    return query_run(&query, err);
}

enum err_code versions_forget(struct transaction *transaction, struct store *store, int64_t job_id,
                              struct err *err)
{
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_forget_versions, &query, err));
        query_bind_integer(&query, job_id);
        TRY(query_run(&query, err));
    }
    int64_t retention_us = transaction_catalog(transaction)->options.retention_us;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_forget_job, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, clock_wall_us() - retention_us);
    return query_run(&query, err);
}

/* ---- schedules and triggers ---- */

enum err_code schedule_store(struct store *store, int64_t job_id,
                             const struct job_schedule *schedule, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_schedule, &query, err));
    query_bind_integer(&query, schedule->anchor_us);
    query_bind_integer(&query, schedule->decided_us);
    query_bind_integer(&query, schedule->next_fire_us);
    query_bind_integer(&query, job_id);
    return query_run(&query, err);
}

enum err_code trigger_check(const struct job_trigger_state *trigger, struct err *err)
{
    TRY(text_check(trigger->key, JOB_TRIGGER_KEY_BYTES_MAX, "the key of a trigger", err));
    return text_check(trigger->state, JOB_TRIGGER_STATE_BYTES_MAX, "the state of a trigger", err);
}

enum err_code trigger_store(struct store *store, int64_t job_id,
                            const struct job_trigger_state *trigger, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_trigger, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_text(&query, trigger->key);
    query_bind_text(&query, trigger->state);
    TRY(query_run(&query, err));
    int64_t count = 0;
    TRY(count_of_job(store, sql_count_triggers, job_id, &count, err));
    if (count > JOB_TRIGGERS_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "job %" PRId64 " has states of over %d triggers: drop the old ones", job_id,
                       JOB_TRIGGERS_MAX);
    }
    return ERR_OK;
}

/* ---- runs ---- */

enum err_code runs_mark_cancel(struct store *store, int64_t job_id, const struct id *by,
                               struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_mark_cancel, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, by);
    query_bind_integer(&query, job_id);
    return query_run(&query, err);
}

enum err_code runs_count_active(struct store *store, int64_t job_id, int64_t *count_out,
                                struct err *err)
{
    return count_of_job(store, sql_count_active, job_id, count_out, err);
}

/* ---- deliveries ---- */

enum err_code delivery_check(const struct delivery_new *delivery, struct err *err)
{
    TRY(text_check(delivery->event, DELIVERY_EVENT_BYTES_MAX, "the name of an event", err));
    TRY(text_check(delivery->url, DELIVERY_URL_BYTES_MAX, "the URL of a webhook", err));
    TRY(text_check(delivery->secret, DELIVERY_SECRET_BYTES_MAX, "the secret of a webhook", err));
    if (delivery->body.size > DELIVERY_BODY_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the body of a webhook has at most %d bytes",
                       DELIVERY_BODY_BYTES_MAX);
    }
    return ERR_OK;
}

enum err_code delivery_insert(struct store *store, int64_t job_id, int64_t run_id,
                              const struct delivery_new *delivery, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_delivery, &query, err));
    query_bind_id(&query, &delivery->id);
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, run_id);
    query_bind_text(&query, delivery->event);
    query_bind_text(&query, delivery->url);
    query_bind_text(&query, delivery->secret);
    query_bind_span(&query, delivery->body);
    query_bind_integer(&query, clock_wall_us());
    query_bind_integer(&query, delivery->due_us);
    return query_run(&query, err);
}
