/*
 * Jobs as rows of jobs.db. See jobs.h.
 */
#include "storage/catalog/jobs.h"

#include "storage/base/clock.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/job_rows.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char sql_count_live[] = "SELECT count(*) FROM jobs WHERE deleted_at = 0";
static const char sql_insert[] =
    "INSERT INTO jobs(job_id, version, name, created_at, anchor, decided, next_fire, creation_key,"
    " creation_sha256) VALUES(?, 1, ?, ?, ?, ?, ?, ?, ?)";
static const char sql_change[] = "UPDATE jobs SET version = ?, name = ? WHERE job_id = ?";
static const char sql_delete[] = "UPDATE jobs SET deleted_at = ?, next_fire = 0 WHERE job_id = ?";
static const char sql_find_made[] =
    "SELECT job_id, creation_sha256 FROM jobs WHERE creation_key = ? AND created_at > ?";
static const char sql_drop_old_key[] =
    "UPDATE jobs SET creation_key = NULL WHERE creation_key = ? AND created_at <= ?";
static const char sql_delete_tags[] = "DELETE FROM job_tags WHERE job_id = ?";
static const char sql_insert_tag[] =
    "INSERT OR IGNORE INTO job_tags(job_id, name, value) VALUES(?, ?, ?)";
static const char sql_delete_triggers[] = "DELETE FROM job_triggers WHERE job_id = ?";

/* ---- creation keys ---- */

static enum err_code find_made(struct store *store, const struct job_creation_key *key,
                               int64_t since_us, bool *found_out, int64_t *job_id_out,
                               struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_find_made, &query, err));
    query_bind_bytes(&query, key->key.hash, sizeof key->key.hash);
    query_bind_integer(&query, since_us);
    bool row = false;
    TRY(query_next(&query, &row, err));
    if (row) {
        uint8_t sha256[BATCH_SHA256_BYTES];
        TRY(query_bytes(&query, 1, sha256, sizeof sha256, err));
        if (memcmp(sha256, key->body_sha256, sizeof sha256) != 0) {
            return err_set(err, ERR_CONFLICT,
                           "this Idempotency-Key made job %" PRId64
                           " from another body; take a new key for a new request",
                           query_integer(&query, 0));
        }
        *job_id_out = query_integer(&query, 0);
    }
    *found_out = row;
    return ERR_OK;
}

enum err_code job_find_made(struct catalog *catalog, const struct job_creation_key *key,
                            bool *found_out, int64_t *job_id_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    return find_made(store, key, clock_wall_us() - catalog->options.retention_us, found_out,
                     job_id_out, err);
}

/* Over its time a key may make another job. */
static enum err_code drop_old_key(struct store *store, const struct job_creation_key *key,
                                  int64_t since_us, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_drop_old_key, &query, err));
    query_bind_bytes(&query, key->key.hash, sizeof key->key.hash);
    query_bind_integer(&query, since_us);
    return query_run(&query, err);
}

/* ---- content ---- */

static enum err_code check_content(const struct job_content *content, struct err *err)
{
    assert(content->name[0] != '\0');
    TRY(text_check(content->name, JOB_NAME_BYTES_MAX, "the name of the job", err));
    TRY(text_check(content->definition, JOB_DEFINITION_BYTES_MAX, "the definition of the job",
                   err));
    if (content->tags_count > JOB_TAGS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a job has at most %d tags: leave some out",
                       JOB_TAGS_MAX);
    }
    for (size_t i = 0; i < content->tags_count; i++) {
        TRY(text_check(content->tags[i].name, JOB_TAG_BYTES_MAX, "the name of a tag", err));
        TRY(text_check(content->tags[i].value, JOB_TAG_BYTES_MAX, "the value of a tag", err));
    }
    return ERR_OK;
}

static enum err_code run_for_job(struct store *store, const char *sql, int64_t job_id,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    query_bind_integer(&query, job_id);
    return query_run(&query, err);
}

static enum err_code replace_tags(struct store *store, int64_t job_id,
                                  const struct job_content *content, struct err *err)
{
    TRY(run_for_job(store, sql_delete_tags, job_id, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_tag, &query, err));
    for (size_t i = 0; i < content->tags_count; i++) {
        query_bind_integer(&query, job_id);
        query_bind_text(&query, content->tags[i].name);
        query_bind_text(&query, content->tags[i].value);
        TRY(query_run(&query, err));
    }
    return ERR_OK;
}

static enum err_code insert_version(struct store *store, int64_t job_id, int32_t version,
                                    const struct job_content *content, struct err *err)
{
    const struct version_row row = {
        .job_id = job_id,
        .version = version,
        .name = content->name,
        .definition = content->definition,
        .author = content->author,
        .run_as = content->run_as,
    };
    return version_insert(store, &row, err);
}

/* ---- create ---- */

struct job_create_write {
    const struct job_content *content;
    const struct job_creation_key *key;
    int64_t job_id;
    bool made;
};

static enum err_code check_live_limit(struct store *store, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_live, &query, err));
    TRY(query_next(&query, &row, err));
    if (query_integer(&query, 0) >= JOBS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "there are %d jobs already: delete some first",
                       JOBS_MAX);
    }
    return ERR_OK;
}

static enum err_code insert_job(struct store *store, const struct job_create_write *write,
                                struct err *err)
{
    static const struct job_schedule none = {0};
    const struct job_content *content = write->content;
    const struct job_schedule *schedule = content->schedule != NULL ? content->schedule : &none;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert, &query, err));
    query_bind_integer(&query, write->job_id);
    query_bind_text(&query, content->name);
    query_bind_integer(&query, clock_wall_us());
    query_bind_integer(&query, schedule->anchor_us);
    query_bind_integer(&query, schedule->decided_us);
    query_bind_integer(&query, schedule->next_fire_us);
    if (write->key == NULL) {
        query_bind_null(&query);
        query_bind_null(&query);
    } else {
        query_bind_bytes(&query, write->key->key.hash, sizeof write->key->key.hash);
        query_bind_bytes(&query, write->key->body_sha256, sizeof write->key->body_sha256);
    }
    return query_run(&query, err);
}

static enum err_code write_create(struct transaction *transaction, void *arg, struct err *err)
{
    struct job_create_write *write = arg;
    struct store *store = NULL;
    TRY(transaction_jobs(transaction, &store, err));
    if (write->key != NULL) {
        int64_t since_us = clock_wall_us() - transaction_catalog(transaction)->options.retention_us;
        bool found = false;
        TRY(find_made(store, write->key, since_us, &found, &write->job_id, err));
        if (found) {
            write->made = false;
            return ERR_OK;
        }
        TRY(drop_old_key(store, write->key, since_us, err));
    }
    TRY(check_live_limit(store, err));
    TRY(job_file_next_job(store, &write->job_id, err));
    TRY(insert_job(store, write, err));
    TRY(insert_version(store, write->job_id, 1, write->content, err));
    return replace_tags(store, write->job_id, write->content, err);
}

enum err_code job_create(struct catalog *catalog, const struct job_content *content,
                         const struct job_creation_key *key, int64_t *job_id_out, bool *made_out,
                         struct err *err)
{
    TRY(check_content(content, err));
    struct job_create_write write = {.content = content, .key = key, .made = true};
    TRY(catalog_write(catalog, write_create, &write, err));
    *job_id_out = write.job_id;
    *made_out = write.made;
    return ERR_OK;
}

/* ---- change ---- */

struct job_change_write {
    const struct job_content *content;
    int64_t job_id;
    int32_t version;
};

static enum err_code write_change(struct transaction *transaction, void *arg, struct err *err)
{
    const struct job_change_write *write = arg;
    struct store *store = NULL;
    struct job_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(job_row_get(store, write->job_id, &row, err));
    TRY(job_row_check_version(&row, write->job_id, write->version, err));
    TRY(insert_version(store, write->job_id, write->version + 1, write->content, err));
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_change, &query, err));
        query_bind_integer(&query, write->version + 1);
        query_bind_text(&query, write->content->name);
        query_bind_integer(&query, write->job_id);
        TRY(query_run(&query, err));
    }
    TRY(replace_tags(store, write->job_id, write->content, err));
    if (write->content->schedule != NULL) {
        TRY(schedule_store(store, write->job_id, write->content->schedule, err));
    }
    return versions_forget(transaction, store, write->job_id, err);
}

enum err_code job_change(struct catalog *catalog, int64_t job_id, int32_t version,
                         const struct job_content *content, int32_t *version_out, struct err *err)
{
    TRY(check_content(content, err));
    struct job_change_write write = {.content = content, .job_id = job_id, .version = version};
    TRY(catalog_write(catalog, write_change, &write, err));
    *version_out = version + 1;
    return ERR_OK;
}

/* ---- delete ---- */

struct job_delete_write {
    int64_t job_id;
    int32_t version;
    bool force;
    const struct id *by;
};

static enum err_code settle_active(struct store *store, const struct job_delete_write *write,
                                   struct err *err)
{
    int64_t active = 0;
    if (write->force) {
        return runs_mark_cancel(store, write->job_id, write->by, err);
    }
    TRY(runs_count_active(store, write->job_id, &active, err));
    if (active > 0) {
        return err_set(err, ERR_CONFLICT,
                       "%" PRId64 " runs of job %" PRId64
                       " have not ended: wait for them, cancel them, or delete with force",
                       active, write->job_id);
    }
    return ERR_OK;
}

static enum err_code write_delete(struct transaction *transaction, void *arg, struct err *err)
{
    const struct job_delete_write *write = arg;
    struct store *store = NULL;
    struct job_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(job_row_get(store, write->job_id, &row, err));
    if (write->version != 0) {
        TRY(job_row_check_version(&row, write->job_id, write->version, err));
    }
    TRY(settle_active(store, write, err));
    TRY(run_for_job(store, sql_delete_tags, write->job_id, err));
    TRY(run_for_job(store, sql_delete_triggers, write->job_id, err));
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_delete, &query, err));
        query_bind_integer(&query, clock_wall_us());
        query_bind_integer(&query, write->job_id);
        TRY(query_run(&query, err));
    }
    return versions_forget(transaction, store, write->job_id, err);
}

enum err_code job_delete(struct catalog *catalog, int64_t job_id, int32_t version, bool force,
                         const struct id *by, struct err *err)
{
    struct job_delete_write write = {
        .job_id = job_id, .version = version, .force = force, .by = by};
    return catalog_write(catalog, write_delete, &write, err);
}

/* ---- schedules and triggers ---- */

struct job_state_write {
    int64_t job_id;
    int32_t version;
    const struct job_schedule *schedule;
    const struct job_trigger_state *triggers;
    size_t count;
};

static enum err_code write_schedule(struct transaction *transaction, void *arg, struct err *err)
{
    const struct job_state_write *write = arg;
    struct store *store = NULL;
    struct job_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(job_row_get(store, write->job_id, &row, err));
    TRY(job_row_check_version(&row, write->job_id, write->version, err));
    return schedule_store(store, write->job_id, write->schedule, err);
}

enum err_code job_set_schedule(struct catalog *catalog, int64_t job_id, int32_t version,
                               const struct job_schedule *schedule, struct err *err)
{
    struct job_state_write write = {.job_id = job_id, .version = version, .schedule = schedule};
    return catalog_write(catalog, write_schedule, &write, err);
}

static enum err_code write_triggers(struct transaction *transaction, void *arg, struct err *err)
{
    const struct job_state_write *write = arg;
    struct store *store = NULL;
    struct job_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(job_row_get(store, write->job_id, &row, err));
    TRY(job_row_check_version(&row, write->job_id, write->version, err));
    TRY(run_for_job(store, sql_delete_triggers, write->job_id, err));
    for (size_t i = 0; i < write->count; i++) {
        TRY(trigger_store(store, write->job_id, &write->triggers[i], err));
    }
    return ERR_OK;
}

enum err_code job_set_triggers(struct catalog *catalog, int64_t job_id, int32_t version,
                               const struct job_trigger_state *states, size_t count,
                               struct err *err)
{
    if (count > JOB_TRIGGERS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a job has at most %d triggers: leave some out",
                       JOB_TRIGGERS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(trigger_check(&states[i], err));
    }
    struct job_state_write write = {
        .job_id = job_id, .version = version, .triggers = states, .count = count};
    return catalog_write(catalog, write_triggers, &write, err);
}
