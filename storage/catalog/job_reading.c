/*
 * Reading jobs. See jobs.h.
 */
#include "storage/catalog/job_rows.h"
#include "storage/catalog/jobs.h"
#include "storage/catalog/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define JOB_COLUMNS                                                                                \
    "SELECT j.job_id, j.version, j.name, v.definition, v.author, v.run_as, j.created_at,"          \
    " v.created_at, j.anchor, j.decided, j.next_fire, j.runs_count FROM jobs AS j"                 \
    " JOIN job_versions AS v ON v.job_id = j.job_id AND v.version = j.version"                     \
    " WHERE j.deleted_at = 0 AND j.job_id = ?"
static const char sql_get[] = JOB_COLUMNS;
static const char sql_definition[] =
    "SELECT definition FROM job_versions WHERE job_id = ? AND version = ?";
/* Small rows only: definitions are read of those that fit the filter. */
static const char sql_scan[] =
    "SELECT job_id, name FROM jobs WHERE job_id > ? AND deleted_at = 0 ORDER BY job_id LIMIT ?";
static const char sql_tag[] = "SELECT value FROM job_tags WHERE job_id = ? AND name = ?";
static const char sql_due[] =
    "SELECT job_id, version, anchor, decided, next_fire FROM jobs WHERE next_fire > 0"
    " AND next_fire <= ? ORDER BY next_fire LIMIT ?";
static const char sql_triggers[] =
    "SELECT key, state FROM job_triggers WHERE job_id = ? ORDER BY key LIMIT ?";

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
}

/* ---- one job ---- */

static enum err_code read_job(const struct query *query, struct arena *arena, struct job *job,
                              struct err *err)
{
    *job = (struct job){
        .job_id = query_integer(query, 0),
        .version = (int32_t)query_integer(query, 1),
        .created_at_us = query_integer(query, 6),
        .changed_at_us = query_integer(query, 7),
        .schedule = {.anchor_us = query_integer(query, 8),
                     .decided_us = query_integer(query, 9),
                     .next_fire_us = query_integer(query, 10)},
        .runs_count = query_integer(query, 11),
    };
    TRY(query_text(query, 2, arena, &job->name, err));
    TRY(query_text(query, 3, arena, &job->definition, err));
    TRY(query_id(query, 4, &job->author, err));
    TRY(query_id(query, 5, &job->run_as, err));
    (void)snprintf(job->etag, sizeof job->etag, "\"%" PRId64 "-%" PRId32 "\"", job->job_id,
                   job->version); /* fits */
    return ERR_OK;
}

static enum err_code get_job(struct store *store, int64_t job_id, struct arena *arena,
                             struct job *job_out, struct err *err)
{
    bool row = false;
    struct job job;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_integer(&query, job_id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return no_such_job(job_id, err);
    }
    TRY(read_job(&query, arena, &job, err));
    *job_out = job;
    return ERR_OK;
}

enum err_code job_get(struct catalog *catalog, int64_t job_id, struct arena *arena,
                      struct job *job_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    return get_job(store, job_id, arena, job_out, err);
}

enum err_code job_exists(struct catalog *catalog, int64_t job_id, bool *exists_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    struct job_row row;
    TRY(reader_jobs(reader, &store, err));
    enum err_code code = job_row_get(store, job_id, &row, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err); /* an answer, too */
    } else {
        TRY(code);
    }
    *exists_out = code == ERR_OK;
    return ERR_OK;
}

enum err_code job_definition(struct catalog *catalog, int64_t job_id, int64_t version,
                             struct arena *arena, const char **definition_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool row = false;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_definition, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, version);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return err_set(err, ERR_NOT_FOUND,
                       "version %" PRId64 " of job %" PRId64 " is not kept any more", version,
                       job_id);
    }
    return query_text(&query, 0, arena, definition_out, err);
}

/* ---- lists ---- */

static bool name_fits(const struct job_filter *filter, struct span name)
{
    if (filter->name != NULL && !span_equal_text(name, filter->name)) {
        return false;
    }
    size_t size = filter->name_prefix == NULL ? 0 : strlen(filter->name_prefix);
    return size == 0 || (size <= name.size && memcmp(name.data, filter->name_prefix, size) == 0);
}

static enum err_code tag_fits(struct store *store, const struct job_filter *filter, int64_t job_id,
                              bool *fits_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_tag, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_text(&query, filter->tag);
    TRY(query_next(&query, &row, err));
    *fits_out = row && (filter->tag_value == NULL ||
                        span_equal_text(query_span(&query, 0), filter->tag_value));
    return ERR_OK;
}

/* A page being made. */
struct job_page {
    struct job *jobs;
    size_t count;
    size_t limit;
    int64_t last_id; /* looked at */
    int64_t looked_at;
    bool full; /* of bytes, before it has `limit` jobs */
};

static enum err_code scan_jobs(struct store *store, const struct job_filter *filter, int64_t after,
                               struct arena *arena, struct job_page *page, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_scan, &query, err));
    query_bind_integer(&query, after);
    query_bind_integer(&query, JOB_LIST_SCAN_MAX);
    while (page->count < page->limit && !page->full) {
        bool row = false;
        bool fits = true;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        page->looked_at++;
        page->last_id = query_integer(&query, 0);
        if (!name_fits(filter, query_span(&query, 1))) {
            continue;
        }
        if (filter->tag != NULL) {
            TRY(tag_fits(store, filter, page->last_id, &fits, err));
        }
        if (fits) {
            TRY(get_job(store, page->last_id, arena, &page->jobs[page->count], err));
            page->count++;
            page->full = arena_is_half_used(arena);
        }
    }
    return ERR_OK;
}

enum err_code job_list(struct catalog *catalog, const struct job_filter *filter, int64_t after,
                       size_t limit, struct arena *arena, struct job **jobs_out, size_t *count_out,
                       int64_t *next_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    struct job_page page = {.limit = limit,
                            .jobs = arena_alloc(arena, (limit + 1) * sizeof *page.jobs)};
    if (page.jobs == NULL) {
        return too_large(err);
    }
    TRY(scan_jobs(store, filter, after, arena, &page, err));
    bool whole = page.count < limit && !page.full && page.looked_at < JOB_LIST_SCAN_MAX;
    *jobs_out = page.jobs;
    *count_out = page.count;
    *next_out = whole ? 0 : page.last_id;
    return ERR_OK;
}

enum err_code jobs_due(struct catalog *catalog, int64_t now_us, size_t limit, struct arena *arena,
                       struct job_due **due_out, size_t *count_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    struct job_due *due = arena_alloc(arena, (limit + 1) * sizeof *due);
    if (due == NULL) {
        return too_large(err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_due, &query, err));
    query_bind_integer(&query, now_us);
    query_bind_integer(&query, (int64_t)limit);
    size_t count = 0;
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        due[count++] = (struct job_due){
            .job_id = query_integer(&query, 0),
            .version = (int32_t)query_integer(&query, 1),
            .schedule = {.anchor_us = query_integer(&query, 2),
                         .decided_us = query_integer(&query, 3),
                         .next_fire_us = query_integer(&query, 4)},
        };
    }
    *due_out = due;
    *count_out = count;
    return ERR_OK;
}

enum err_code job_triggers(struct catalog *catalog, int64_t job_id, struct arena *arena,
                           struct job_trigger_state **states_out, size_t *count_out,
                           struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    struct job_trigger_state *states = arena_alloc(arena, JOB_TRIGGERS_MAX * sizeof *states);
    if (states == NULL) {
        return too_large(err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_triggers, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, JOB_TRIGGERS_MAX);
    size_t count = 0;
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        TRY(query_text(&query, 0, arena, &states[count].key, err));
        TRY(query_text(&query, 1, arena, &states[count].state, err));
        count++;
    }
    *states_out = states;
    *count_out = count;
    return ERR_OK;
}
