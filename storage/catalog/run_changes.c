/*
 * run_apply: what the runner decided, stored as one. See runs.h.
 */
#include "storage/catalog/batch_rows.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/job_rows.h"
#include "storage/catalog/private.h"
#include "storage/catalog/run_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char sql_move[] =
    "UPDATE runs SET state = ?1, started_at = CASE WHEN ?2 <> 0 THEN ?2 ELSE started_at END"
    " WHERE run_id = ?3";
static const char sql_end[] =
    "UPDATE runs SET state = 5, result = ?1, ended_at = ?2, finish = ?3, error_code = ?4,"
    " error = ?5, started_at = CASE WHEN ?6 <> 0 THEN ?6 ELSE started_at END, repair = 0"
    " WHERE run_id = ?7";
static const char sql_take_repair[] =
    "UPDATE runs SET repair = 0, repair_tasks = NULL WHERE run_id = ?";
static const char sql_warned[] = "UPDATE runs SET warned = 1 WHERE run_id = ?";
static const char sql_task[] =
    "INSERT INTO run_tasks(run_id, task, iteration, state, result, attempts, failures,"
    " interruptions, crashes, due, started_at, ended_at, inputs_count, outcome, vals, error_code,"
    " error) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    " ON CONFLICT(run_id, task, iteration) DO UPDATE SET state = ?4, result = ?5, attempts = ?6,"
    " failures = ?7, interruptions = ?8, crashes = ?9, due = ?10, started_at = ?11,"
    " ended_at = ?12, inputs_count = ?13, outcome = ?14,"
    " vals = CASE WHEN ?15 IS NULL AND NOT ?18 THEN vals ELSE ?15 END,"
    " error_code = ?16, error = ?17";
static const char sql_forget_pins[] =
    "DELETE FROM run_pins WHERE run_id = ? AND task = ? AND iteration = ?";
static const char sql_end_attempt[] =
    "UPDATE run_attempts SET state = 2, result = ?, ended_at = ?, error_code = ?, error = ?,"
    " rows_in = ?, rows_out = ?, rows_rejected = ?, bytes_in = ?, bytes_out = ?,"
    " versions_read = ?, versions_written = ? WHERE run_id = ? AND task = ? AND iteration = ?"
    " AND number = ? AND state = 1 AND incarnation = ?";
static const char sql_begin_attempt[] =
    "INSERT INTO run_attempts(run_id, task, iteration, number, incarnation, state, started_at)"
    " VALUES(?, ?, ?, ?, ?, 1, ?)";
static const char sql_forget_attempts[] =
    "DELETE FROM run_attempts WHERE run_id = ? AND task = ? AND iteration = ? AND number <= ?";

static void bind_cut(struct query *query, const char *text)
{
    if (text == NULL) {
        query_bind_null(query);
    } else {
        query_bind_span(query, text_cut(span_of_text(text), RUN_ERROR_BYTES_MAX));
    }
}

/* ---- the run ---- */

static enum err_code end_run(struct store *store, const struct run_change *change, struct err *err)
{
    int64_t finish = 0;
    TRY(job_file_next_finish(store, &finish, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_end, &query, err));
    query_bind_integer(&query, change->result);
    query_bind_integer(&query, change->ended_us);
    query_bind_integer(&query, finish);
    bind_cut(&query, change->error_code);
    bind_cut(&query, change->error);
    query_bind_integer(&query, change->started_us);
    query_bind_integer(&query, change->run_id);
    return query_run(&query, err);
}

static enum err_code move_run(struct store *store, const struct run_change *change,
                              enum run_state state, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_move, &query, err));
    query_bind_integer(&query, state);
    query_bind_integer(&query, change->started_us);
    query_bind_integer(&query, change->run_id);
    return query_run(&query, err);
}

static enum err_code set_flag(struct store *store, const char *sql, int64_t run_id, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql, &query, err));
    query_bind_integer(&query, run_id);
    return query_run(&query, err);
}

static enum err_code store_run_row(struct store *store, const struct run_change *change,
                                   const struct run_row *row, struct err *err)
{
    if (change->repair_taken) {
        TRY(set_flag(store, sql_take_repair, change->run_id, err));
    }
    if (change->warned) {
        TRY(set_flag(store, sql_warned, change->run_id, err));
    }
    if (change->state == RUN_TERMINATED) {
        return end_run(store, change, err);
    }
    if (change->state != 0 || change->started_us != 0) {
        return move_run(store, change, change->state != 0 ? change->state : row->state, err);
    }
    return ERR_OK;
}

/* ---- nodes ---- */

static enum err_code forget_pins(struct store *store, int64_t run_id, const struct graph_node *node,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_forget_pins, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_integer(&query, (int64_t)node->task);
    query_bind_integer(&query, node->iteration);
    return query_run(&query, err);
}

static enum err_code store_task(struct store *store, int64_t run_id,
                                const struct run_task_change *task, struct err *err)
{
    const struct graph_node *node = task->node;
    if (node->renewed) {
        TRY(forget_pins(store, run_id, node, err));
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_task, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_integer(&query, (int64_t)node->task);
    query_bind_integer(&query, node->iteration);
    query_bind_integer(&query, node->state);
    query_bind_integer(&query, node->result);
    query_bind_integer(&query, node->attempts);
    query_bind_integer(&query, node->failures);
    query_bind_integer(&query, node->interruptions);
    query_bind_integer(&query, node->crashes);
    query_bind_integer(&query, node->due_us);
    query_bind_integer(&query, node->started_us);
    query_bind_integer(&query, node->ended_us);
    query_bind_integer(&query, node->inputs_count);
    query_bind_text(&query, node->outcome[0] == '\0' ? NULL : node->outcome);
    query_bind_text(&query, task->values);
    bind_cut(&query, task->error_code);
    bind_cut(&query, task->error);
    query_bind_integer(&query, node->renewed ? 1 : 0);
    return query_run(&query, err);
}

/* ---- attempts ---- */

static void bind_attempt(struct query *query, int64_t run_id, const struct run_attempt_id *id)
{
    query_bind_integer(query, run_id);
    query_bind_integer(query, (int64_t)id->task);
    query_bind_integer(query, id->iteration);
    query_bind_integer(query, id->number);
}

static enum err_code stale_attempt(int64_t run_id, const struct run_attempt_end *end,
                                   struct err *err)
{
    return err_set(err, ERR_PRECONDITION,
                   "attempt %" PRId32 " of task %zu of run %" PRId64
                   " does not run under incarnation %" PRId64 ": its result counts for nothing",
                   end->id.number, end->id.task, run_id, end->incarnation);
}

static enum err_code end_attempt(struct transaction *transaction, struct store *store,
                                 int64_t run_id, const struct run_attempt_end *end, struct err *err)
{
    if (end->incarnation != transaction_catalog(transaction)->incarnation) {
        return stale_attempt(run_id, end, err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_end_attempt, &query, err));
    query_bind_integer(&query, end->result);
    query_bind_integer(&query, end->ended_us);
    bind_cut(&query, end->error_code);
    bind_cut(&query, end->error);
    query_bind_integer(&query, end->rows_in);
    query_bind_integer(&query, end->rows_out);
    query_bind_integer(&query, end->rows_rejected);
    query_bind_integer(&query, end->bytes_in);
    query_bind_integer(&query, end->bytes_out);
    query_bind_text(&query, end->versions_read);
    query_bind_text(&query, end->versions_written);
    bind_attempt(&query, run_id, &end->id);
    query_bind_integer(&query, end->incarnation);
    TRY(query_run(&query, err));
    return store_changes(store) == 1 ? ERR_OK : stale_attempt(run_id, end, err);
}

/* Endless retries must not grow a run without end. */
static enum err_code forget_attempts(struct store *store, int64_t run_id,
                                     const struct run_attempt_id *newest, struct err *err)
{
    if (newest->number <= RUN_ATTEMPTS_KEPT) {
        return ERR_OK;
    }
    struct run_attempt_id last = *newest;
    last.number -= RUN_ATTEMPTS_KEPT;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_forget_attempts, &query, err));
    bind_attempt(&query, run_id, &last);
    return query_run(&query, err);
}

static enum err_code begin_attempt(struct transaction *transaction, struct store *store,
                                   int64_t run_id, const struct run_attempt_begin *begin,
                                   struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_begin_attempt, &query, err));
    bind_attempt(&query, run_id, &begin->id);
    query_bind_integer(&query, transaction_catalog(transaction)->incarnation);
    query_bind_integer(&query, begin->started_us);
    enum err_code code = query_run(&query, err);
    if (code == ERR_EXISTS) {
        return err_set(err, ERR_PRECONDITION,
                       "attempt %" PRId32 " of task %zu of run %" PRId64 " was begun before",
                       begin->id.number, begin->id.task, run_id);
    }
    TRY(code);
    return forget_attempts(store, run_id, &begin->id, err);
}

/* ---- all of it ---- */

static enum err_code write_change(struct transaction *transaction, void *arg, struct err *err)
{
    const struct run_change *change = arg;
    struct store *store = NULL;
    struct run_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(run_row_get(store, change->run_id, &row, err));
    if (row.state == RUN_TERMINATED) {
        return err_set(err, ERR_PRECONDITION, "run %" PRId64 " has ended", change->run_id);
    }
    for (size_t i = 0; i < change->ended_count; i++) {
        TRY(end_attempt(transaction, store, change->run_id, &change->ended[i], err));
    }
    for (size_t i = 0; i < change->begun_count; i++) {
        TRY(begin_attempt(transaction, store, change->run_id, &change->begun[i], err));
    }
    for (size_t i = 0; i < change->tasks_count; i++) {
        TRY(store_task(store, change->run_id, &change->tasks[i], err));
    }
    for (size_t i = 0; i < change->deliveries_count; i++) {
        TRY(delivery_insert(store, row.job_id, change->run_id, &change->deliveries[i], err));
    }
    return store_run_row(store, change, &row, err);
}

static enum err_code check_change(const struct run_change *change, struct err *err)
{
    assert((change->state == RUN_TERMINATED) == (change->result != RESULT_NONE));
    for (size_t i = 0; i < change->tasks_count; i++) {
        TRY(text_check(change->tasks[i].values, RUN_VALUES_BYTES_MAX, "the values of a task", err));
    }
    for (size_t i = 0; i < change->ended_count; i++) {
        const struct run_attempt_end *end = &change->ended[i];
        assert(end->result != RESULT_NONE);
        TRY(text_check(end->versions_read, RUN_VERSIONS_BYTES_MAX, "the versions read", err));
        TRY(text_check(end->versions_written, RUN_VERSIONS_BYTES_MAX, "the versions written", err));
    }
    for (size_t i = 0; i < change->deliveries_count; i++) {
        TRY(delivery_check(&change->deliveries[i], err));
    }
    return ERR_OK;
}

enum err_code run_apply(struct catalog *catalog, const struct run_change *change, struct err *err)
{
    TRY(check_change(change, err));
    struct run_change copy = *change;
    return catalog_write(catalog, write_change, &copy, err);
}
