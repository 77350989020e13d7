/*
 * Reading runs, their nodes and attempts. See runs.h.
 */
#include "storage/catalog/job_rows.h"
#include "storage/catalog/private.h"
#include "storage/catalog/run_rows.h"

#include <inttypes.h>
#include <string.h>

#define RUN_COLUMNS                                                                                \
    "SELECT r.run_id, r.job_id, r.version, r.number, v.name, v.run_as, r.principal, r.token,"      \
    " r.trigger, r.trigger_time, r.parameters, r.only_tasks, r.parent_run, r.parent_task,"         \
    " r.state, r.result, r.created_at, r.started_at, r.ended_at, r.error_code, r.error, r.finish," \
    " r.cancel_at, r.cancel_by, r.repairs, r.repair, r.repair_tasks, r.warned, v.author"
#define RUN_SOURCE " AS r JOIN job_versions AS v ON v.job_id = r.job_id AND v.version = r.version"

static const char sql_get[] = RUN_COLUMNS " FROM runs" RUN_SOURCE " WHERE r.run_id = ?";
/* Few runs are active; left alone, SQLite walks all there are by run_id instead of sorting few. */
static const char sql_unfinished[] =
    RUN_COLUMNS " FROM (SELECT * FROM runs INDEXED BY runs_active WHERE state <> 5"
                " AND run_id > ? ORDER BY run_id LIMIT ?)" RUN_SOURCE " ORDER BY r.run_id";
static const char sql_finished[] =
    RUN_COLUMNS " FROM (SELECT * FROM runs WHERE job_id = ? AND finish > 0 AND finish > ?"
                " ORDER BY finish LIMIT ?)" RUN_SOURCE " ORDER BY r.finish";

/* Scans for lists: the columns that filters need; what fits is read as a whole. */
#define SCAN "SELECT run_id, job_id, state, result, created_at, parent_run FROM runs"
static const char sql_scan[] = SCAN " WHERE run_id < ? ORDER BY run_id DESC LIMIT ?";
static const char sql_scan_active[] =
    SCAN " INDEXED BY runs_active WHERE run_id < ? AND state <> 5 ORDER BY run_id DESC LIMIT ?";
static const char sql_scan_job[] =
    SCAN " WHERE run_id < ? AND job_id = ? ORDER BY run_id DESC LIMIT ?";
static const char sql_scan_job_active[] =
    SCAN " WHERE run_id < ? AND job_id = ? AND state <> 5 ORDER BY run_id DESC LIMIT ?";

static const char sql_tasks[] =
    "SELECT t.task, t.iteration, t.state, t.result, t.attempts, t.failures, t.interruptions,"
    " t.crashes, t.due, t.started_at, t.ended_at, t.inputs_count, t.outcome, t.vals, t.error_code,"
    " t.error, a.state FROM run_tasks AS t LEFT JOIN run_attempts AS a ON a.run_id = t.run_id"
    " AND a.task = t.task AND a.iteration = t.iteration AND a.number = t.attempts"
    " WHERE t.run_id = ? AND (t.task, t.iteration) > (?, ?) ORDER BY t.task, t.iteration LIMIT ?";
#define ATTEMPT_COLUMNS                                                                            \
    "SELECT task, iteration, number, incarnation, state, result, started_at, ended_at, rows_in,"   \
    " rows_out, rows_rejected, bytes_in, bytes_out, error_code, error, versions_read,"             \
    " versions_written FROM run_attempts WHERE run_id = ? AND (task, iteration, number) > (?, ?, " \
    "?)"
static const char sql_attempts[] = ATTEMPT_COLUMNS " ORDER BY task, iteration, number LIMIT ?";
static const char sql_attempts_of[] =
    ATTEMPT_COLUMNS " AND task = ? AND iteration = ? ORDER BY number LIMIT ?";

static enum err_code too_large(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
}

static enum err_code unknown_number(const struct query *query, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s: a run has an unknown %s", store_path(query->store), what);
}

/* ---- runs ---- */

static enum err_code read_texts(const struct query *query, struct arena *arena, struct job_run *run,
                                struct err *err)
{
    TRY(query_text(query, 4, arena, &run->name, err));
    TRY(query_id(query, 5, &run->run_as, err));
    TRY(query_id(query, 6, &run->principal, err));
    TRY(query_optional_text(query, 7, arena, &run->token, err));
    TRY(query_optional_text(query, 10, arena, &run->parameters, err));
    run->parameters = run->parameters == NULL ? "{}" : run->parameters;
    TRY(query_optional_text(query, 11, arena, &run->only, err));
    TRY(query_optional_text(query, 13, arena, &run->parent_task, err));
    TRY(query_optional_text(query, 19, arena, &run->error_code, err));
    TRY(query_optional_text(query, 20, arena, &run->error, err));
    TRY(query_id(query, 23, &run->cancel_asked_by, err));
    TRY(query_id(query, 28, &run->author, err));
    return query_optional_text(query, 26, arena, &run->repair_tasks, err);
}

static enum err_code read_run(const struct query *query, struct arena *arena, struct job_run *run,
                              struct err *err)
{
    *run = (struct job_run){
        .run_id = query_integer(query, 0),
        .job_id = query_integer(query, 1),
        .version = query_integer(query, 2),
        .number = query_integer(query, 3),
        .trigger = (enum run_trigger)query_integer(query, 8),
        .trigger_time_us = query_integer(query, 9),
        .parent_run_id = query_integer(query, 12),
        .state = (enum run_state)query_integer(query, 14),
        .result = (enum run_result)query_integer(query, 15),
        .created_at_us = query_integer(query, 16),
        .started_us = query_integer(query, 17),
        .ended_us = query_integer(query, 18),
        .finish = query_integer(query, 21),
        .cancel_asked_at_us = query_integer(query, 22),
        .repairs = (int32_t)query_integer(query, 24),
        .repair_asked = query_integer(query, 25) != 0,
        .warned = query_integer(query, 27) != 0,
    };
    if (run->state < RUN_QUEUED || run->state > RUN_TERMINATED) {
        return unknown_number(query, "state", err);
    }
    if (run->result < RESULT_NONE || run->result > RESULT_SKIPPED) {
        return unknown_number(query, "result", err);
    }
    if (run->trigger < RUN_TRIGGER_MANUAL || run->trigger > RUN_TRIGGER_ONE_OFF) {
        return unknown_number(query, "trigger", err);
    }
    return read_texts(query, arena, run, err);
}

static enum err_code get_run(struct store *store, int64_t run_id, struct arena *arena,
                             struct job_run *run_out, struct err *err)
{
    bool row = false;
    struct job_run run;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_integer(&query, run_id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return no_such_run(run_id, err);
    }
    TRY(read_run(&query, arena, &run, err));
    *run_out = run;
    return ERR_OK;
}

enum err_code run_get(struct catalog *catalog, int64_t run_id, struct arena *arena,
                      struct job_run *run_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    return get_run(store, run_id, arena, run_out, err);
}

/* The rows of a begun and bound statement that yields at most `limit`, as far as there is room. */
static enum err_code read_runs(struct query *query, size_t limit, struct arena *arena,
                               struct job_run **runs_out, size_t *count_out, struct err *err)
{
    size_t count = 0;
    struct job_run *runs = arena_alloc(arena, (limit + 1) * sizeof *runs);
    if (runs == NULL) {
        return too_large(err);
    }
    while (count == 0 || !arena_is_half_used(arena)) {
        bool row = false;
        TRY(query_next(query, &row, err));
        if (!row) {
            break;
        }
        TRY(read_run(query, arena, &runs[count], err));
        count++;
    }
    *runs_out = runs;
    *count_out = count;
    return ERR_OK;
}

enum err_code runs_unfinished(struct catalog *catalog, int64_t after, size_t limit,
                              struct arena *arena, struct job_run **runs_out, size_t *count_out,
                              struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_unfinished, &query, err));
    query_bind_integer(&query, after);
    query_bind_integer(&query, (int64_t)limit);
    return read_runs(&query, limit, arena, runs_out, count_out, err);
}

enum err_code runs_finished(struct catalog *catalog, int64_t job_id, int64_t after, size_t limit,
                            struct arena *arena, struct job_run **runs_out, size_t *count_out,
                            struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_finished, &query, err));
    query_bind_integer(&query, job_id);
    query_bind_integer(&query, after);
    query_bind_integer(&query, (int64_t)limit);
    return read_runs(&query, limit, arena, runs_out, count_out, err);
}

enum err_code runs_active_count(struct catalog *catalog, int64_t job_id, int64_t *count_out,
                                struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    return runs_count_active(store, job_id, count_out, err);
}

/* ---- lists ---- */

/* A page being made. */
struct run_page {
    struct job_run *runs;
    size_t count;
    size_t limit;
    int64_t last_id; /* looked at */
    int64_t looked_at;
    bool full; /* of bytes, before it has `limit` runs */
};

/* Columns as SCAN gives them. */
static bool fits(const struct run_filter *filter, const struct query *query)
{
    int64_t created_us = query_integer(query, 4);
    return (filter->state == 0 || filter->state == query_integer(query, 2)) &&
           (filter->result == 0 || filter->result == query_integer(query, 3)) &&
           (filter->parent_run_id == 0 || filter->parent_run_id == query_integer(query, 5)) &&
           created_us >= filter->from_us && (filter->to_us == 0 || created_us < filter->to_us);
}

static enum err_code begin_scan(struct store *store, const struct run_filter *filter,
                                int64_t before, struct query *query, struct err *err)
{
    bool active = filter->active || (filter->state != 0 && filter->state != (int)RUN_TERMINATED);
    const char *sql = filter->job_id != 0 ? active ? sql_scan_job_active : sql_scan_job
                      : active            ? sql_scan_active
                                          : sql_scan;
    TRY(query_begin(store, sql, query, err));
    query_bind_integer(query, before == 0 ? INT64_MAX : before);
    if (filter->job_id != 0) {
        query_bind_integer(query, filter->job_id == RUN_FILTER_ONE_OFF ? 0 : filter->job_id);
    }
    query_bind_integer(query, RUN_LIST_SCAN_MAX);
    return ERR_OK;
}

static enum err_code scan_runs(struct store *store, const struct run_filter *filter, int64_t before,
                               struct arena *arena, struct run_page *page, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(begin_scan(store, filter, before, &query, err));
    while (page->count < page->limit && !page->full) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        page->looked_at++;
        page->last_id = query_integer(&query, 0);
        if (fits(filter, &query)) {
            TRY(get_run(store, page->last_id, arena, &page->runs[page->count], err));
            page->count++;
            page->full = arena_is_half_used(arena);
        }
    }
    return ERR_OK;
}

enum err_code run_list(struct catalog *catalog, const struct run_filter *filter, int64_t before,
                       size_t limit, struct arena *arena, struct job_run **runs_out,
                       size_t *count_out, int64_t *next_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    struct run_page page = {.limit = limit,
                            .runs = arena_alloc(arena, (limit + 1) * sizeof *page.runs)};
    if (page.runs == NULL) {
        return too_large(err);
    }
    TRY(scan_runs(store, filter, before, arena, &page, err));
    bool whole = page.count < limit && !page.full && page.looked_at < RUN_LIST_SCAN_MAX;
    *runs_out = page.runs;
    *count_out = page.count;
    *next_out = whole ? 0 : page.last_id;
    return ERR_OK;
}

/* ---- nodes ---- */

static enum err_code read_node(const struct query *query, struct graph_node *node, struct err *err)
{
    struct span outcome = query_span(query, 12);
    *node = (struct graph_node){
        .task = (size_t)query_integer(query, 0),
        .iteration = query_integer(query, 1),
        .state = (enum task_state)query_integer(query, 2),
        .result = (enum run_result)query_integer(query, 3),
        .attempts = (int32_t)query_integer(query, 4),
        .failures = (int32_t)query_integer(query, 5),
        .interruptions = (int32_t)query_integer(query, 6),
        .crashes = (int32_t)query_integer(query, 7),
        .due_us = query_integer(query, 8),
        .started_us = query_integer(query, 9),
        .ended_us = query_integer(query, 10),
        .inputs_count = query_integer(query, 11),
    };
    if (node->state < TASK_BLOCKED || node->state > TASK_TERMINATED) {
        return unknown_number(query, "state of a task", err);
    }
    if (node->result < RESULT_NONE || node->result > RESULT_SKIPPED) {
        return unknown_number(query, "result of a task", err);
    }
    if (outcome.size >= sizeof node->outcome) {
        return unknown_number(query, "outcome of a task", err);
    }
    if (outcome.size > 0) {
        memcpy(node->outcome, outcome.data, outcome.size);
    }
    return ERR_OK;
}

static enum err_code read_task(const struct query *query, struct arena *arena,
                               struct run_task *task, struct err *err)
{
    *task = (struct run_task){.attempt_state = (enum attempt_state)query_integer(query, 16)};
    if (task->attempt_state < ATTEMPT_NONE || task->attempt_state > ATTEMPT_CRASHED) {
        return unknown_number(query, "state of an attempt", err);
    }
    TRY(read_node(query, &task->node, err));
    TRY(query_optional_text(query, 13, arena, &task->values, err));
    task->values = task->values == NULL ? "{}" : task->values;
    TRY(query_optional_text(query, 14, arena, &task->error_code, err));
    return query_optional_text(query, 15, arena, &task->error, err);
}

enum err_code run_tasks(struct catalog *catalog, int64_t run_id,
                        const struct run_task_cursor *after, size_t limit, struct arena *arena,
                        struct run_task **tasks_out, size_t *count_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    size_t count = 0;
    struct run_task *tasks = arena_alloc(arena, (limit + 1) * sizeof *tasks);
    if (tasks == NULL) {
        return too_large(err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_tasks, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_integer(&query, after->set ? (int64_t)after->task : -1);
    query_bind_integer(&query, after->iteration);
    query_bind_integer(&query, (int64_t)limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        TRY(read_task(&query, arena, &tasks[count], err));
        count++;
    }
    *tasks_out = tasks;
    *count_out = count;
    return ERR_OK;
}

/* ---- attempts ---- */

static enum err_code read_attempt(const struct query *query, struct arena *arena,
                                  struct run_attempt *attempt, struct err *err)
{
    *attempt = (struct run_attempt){
        .id = {.task = (size_t)query_integer(query, 0),
               .iteration = query_integer(query, 1),
               .number = (int32_t)query_integer(query, 2)},
        .incarnation = query_integer(query, 3),
        .state = (enum attempt_state)query_integer(query, 4),
        .result = (enum run_result)query_integer(query, 5),
        .started_us = query_integer(query, 6),
        .ended_us = query_integer(query, 7),
        .rows_in = query_integer(query, 8),
        .rows_out = query_integer(query, 9),
        .rows_rejected = query_integer(query, 10),
        .bytes_in = query_integer(query, 11),
        .bytes_out = query_integer(query, 12),
    };
    if (attempt->state <= ATTEMPT_NONE || attempt->state > ATTEMPT_CRASHED) {
        return unknown_number(query, "state of an attempt", err);
    }
    if (attempt->result < RESULT_NONE || attempt->result > RESULT_SKIPPED) {
        return unknown_number(query, "result of an attempt", err);
    }
    TRY(query_optional_text(query, 13, arena, &attempt->error_code, err));
    TRY(query_optional_text(query, 14, arena, &attempt->error, err));
    TRY(query_optional_text(query, 15, arena, &attempt->versions_read, err));
    return query_optional_text(query, 16, arena, &attempt->versions_written, err);
}

enum err_code run_attempts(struct catalog *catalog, int64_t run_id,
                           const struct run_attempt_id *only, const struct run_task_cursor *after,
                           size_t limit, struct arena *arena, struct run_attempt **attempts_out,
                           size_t *count_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_jobs(reader, &store, err));
    size_t count = 0;
    struct run_attempt *attempts = arena_alloc(arena, (limit + 1) * sizeof *attempts);
    if (attempts == NULL) {
        return too_large(err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, only != NULL ? sql_attempts_of : sql_attempts, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_integer(&query, after->set ? (int64_t)after->task : -1);
    query_bind_integer(&query, after->iteration);
    query_bind_integer(&query, after->number);
    if (only != NULL) {
        query_bind_integer(&query, (int64_t)only->task);
        query_bind_integer(&query, only->iteration);
    }
    query_bind_integer(&query, (int64_t)limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        TRY(read_attempt(&query, arena, &attempts[count], err));
        count++;
    }
    *attempts_out = attempts;
    *count_out = count;
    return ERR_OK;
}
