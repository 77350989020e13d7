/*
 * Making runs, what people ask of them, and what tasks pin. See runs.h.
 */
#include "storage/catalog/runs.h"

#include "storage/base/clock.h"
#include "storage/catalog/job_file.h"
#include "storage/catalog/job_rows.h"
#include "storage/catalog/private.h"
#include "storage/catalog/run_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

_Static_assert(RUN_TERMINATED == 5, "the statements and indexes of jobs.db say 5");

static const char sql_insert[] =
    "INSERT INTO runs(run_id, job_id, version, number, state, trigger, trigger_time, created_at,"
    " principal, token, parameters, only_tasks, parent_run, parent_task)"
    " VALUES(?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char sql_find_token[] =
    "SELECT r.run_id, r.parameters, r.only_tasks, v.definition, r.principal FROM runs AS r"
    " JOIN job_versions AS v ON v.job_id = r.job_id AND v.version = r.version"
    " WHERE r.job_id = ? AND r.token = ?";
static const char sql_count_all[] = "SELECT count(*) FROM runs WHERE state <> 5";
static const char sql_number_run[] =
    "UPDATE jobs SET runs_count = runs_count + 1 WHERE job_id = ? RETURNING runs_count";
static const char sql_cancel[] =
    "UPDATE runs SET cancel_at = ?, cancel_by = ? WHERE run_id = ? AND cancel_at = 0";
static const char sql_repair[] =
    "UPDATE runs SET state = 1, result = 0, ended_at = 0, finish = 0, error_code = NULL,"
    " error = NULL, cancel_at = 0, cancel_by = NULL, warned = 0, repairs = repairs + 1, repair = 1,"
    " repair_tasks = ? WHERE run_id = ?";
static const char sql_pin[] =
    "INSERT OR IGNORE INTO run_pins(run_id, task, iteration, name, value) VALUES(?, ?, ?, ?, ?)";
static const char sql_pinned[] = "SELECT value FROM run_pins WHERE run_id = ? AND task = ?"
                                 " AND iteration = ? AND name = ?";

/* ---- names ---- */

const char *run_trigger_name(enum run_trigger trigger)
{
    static const char *const names[] = {
        [RUN_TRIGGER_MANUAL] = "MANUAL",
        [RUN_TRIGGER_SCHEDULE] = "SCHEDULE",
        [RUN_TRIGGER_TABLE_UPDATE] = "TABLE_UPDATE",
        [RUN_TRIGGER_FILE_ARRIVAL] = "FILE_ARRIVAL",
        [RUN_TRIGGER_CONTINUOUS] = "CONTINUOUS",
        [RUN_TRIGGER_JOB_FINISHED] = "JOB_FINISHED",
        [RUN_TRIGGER_RUN_JOB] = "RUN_JOB",
        [RUN_TRIGGER_BACKFILL] = "BACKFILL",
        [RUN_TRIGGER_ONE_OFF] = "ONE_OFF",
    };
    assert(trigger >= RUN_TRIGGER_MANUAL);
    assert(trigger <= RUN_TRIGGER_ONE_OFF);
    return names[trigger];
}

const char *attempt_state_name(enum attempt_state state)
{
    static const char *const names[] = {
        [ATTEMPT_NONE] = "",
        [ATTEMPT_RUNNING] = "RUNNING",
        [ATTEMPT_ENDED] = "TERMINATED",
        [ATTEMPT_INTERRUPTED] = "INTERRUPTED",
        [ATTEMPT_CRASHED] = "CRASHED",
    };
    assert(state >= ATTEMPT_NONE);
    assert(state <= ATTEMPT_CRASHED);
    return names[state];
}

/* ---- one run ---- */

static const char sql_row[] =
    "SELECT job_id, version, state, repair, result FROM runs WHERE run_id = ?";

enum err_code no_such_run(int64_t run_id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no run %" PRId64, run_id);
}

enum err_code run_row_get(struct store *store, int64_t run_id, struct run_row *row_out,
                          struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_row, &query, err));
    query_bind_integer(&query, run_id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return no_such_run(run_id, err);
    }
    *row_out = (struct run_row){
        .job_id = query_integer(&query, 0),
        .version = query_integer(&query, 1),
        .state = (enum run_state)query_integer(&query, 2),
        .repair_asked = query_integer(&query, 3) != 0,
        .succeeded = query_integer(&query, 4) == RESULT_SUCCESS,
    };
    return ERR_OK;
}

/* ---- making ---- */

struct run_create_write {
    const struct run_new *news;
    size_t count;
    int64_t *run_ids;
    bool *mades;
};

/* No parameters and none given are stored alike, so that a token finds them alike. */
static const char *parameters_of(const struct run_new *new)
{
    bool none = new->parameters == NULL || strcmp(new->parameters, "{}") == 0;
    return none ? NULL : new->parameters;
}

static bool same_text(struct span stored, bool stored_null, const char *given)
{
    return given == NULL ? stored_null : !stored_null && span_equal_text(stored, given);
}

/* A one-off run is its maker's alone: the same text of somebody else is another run. */
static enum err_code same_one_off(const struct query *query, const struct run_new *new,
                                  bool *same_out, struct err *err)
{
    struct id principal;
    TRY(query_id(query, 4, &principal, err));
    *same_out = same_text(query_span(query, 3), false, new->definition) &&
                strcmp(principal.text, new->principal.text) == 0;
    return ERR_OK;
}

/* The run that the token made, if it did; it must be the one that is wanted. */
static enum err_code find_token(struct store *store, const struct run_new *new, bool *found_out,
                                int64_t *run_id_out, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_find_token, &query, err));
    query_bind_integer(&query, new->job_id);
    query_bind_text(&query, new->token);
    TRY(query_next(&query, found_out, err));
    if (!*found_out) {
        return ERR_OK;
    }
    bool same = true;
    if (new->job_id == 0) {
        TRY(same_one_off(&query, new, &same, err));
    }
    if (!same || !same_text(query_span(&query, 1), query_is_null(&query, 1), parameters_of(new)) ||
        !same_text(query_span(&query, 2), query_is_null(&query, 2), new->only)) {
        return err_set(err, ERR_CONFLICT,
                       "the token made another run, with other parameters, tasks or definition or "
                       "for somebody else; take a new token");
    }
    *run_id_out = query_integer(&query, 0);
    return ERR_OK;
}

static enum err_code count_all_active(struct store *store, int64_t *count_out, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_all, &query, err));
    TRY(query_next(&query, &row, err));
    *count_out = query_integer(&query, 0);
    return ERR_OK;
}

/* ERR_BUSY: one more active run, of the job or of all, would be too many. */
static enum err_code check_room(struct store *store, int64_t job_id, int64_t all_active,
                                struct err *err)
{
    int64_t active = 0;
    TRY(runs_count_active(store, job_id, &active, err));
    if (active >= RUN_ACTIVE_PER_JOB_MAX) {
        return err_set(err, ERR_BUSY,
                       "%d runs of this job have not ended: wait for them or cancel some",
                       RUN_ACTIVE_PER_JOB_MAX);
    }
    if (all_active >= RUN_ACTIVE_MAX) {
        return err_set(err, ERR_BUSY, "%d runs have not ended: wait for them or cancel some",
                       RUN_ACTIVE_MAX);
    }
    return ERR_OK;
}

static enum err_code insert_run(struct store *store, const struct run_new *new, int64_t run_id,
                                int64_t version, int64_t number, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert, &query, err));
    query_bind_integer(&query, run_id);
    query_bind_integer(&query, new->job_id);
    query_bind_integer(&query, version);
    query_bind_integer(&query, number);
    query_bind_integer(&query, new->trigger);
    query_bind_integer(&query, new->trigger_time_us);
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, &new->principal);
    query_bind_text(&query, new->token);
    query_bind_text(&query, parameters_of(new));
    query_bind_text(&query, new->only);
    query_bind_integer(&query, new->parent_run_id);
    query_bind_text(&query, new->parent_task);
    TRY(query_run(&query, err));
    return version_count_run(store, new->job_id, version, 1, err);
}

static enum err_code insert_one_off(struct store *store, const struct run_new *new, int64_t run_id,
                                    struct err *err)
{
    const struct version_row version = {
        .job_id = 0,
        .version = run_id,
        .name = new->name,
        .definition = new->definition,
        .author = new->principal,
        .run_as = new->run_as,
    };
    TRY(version_insert(store, &version, err));
    return insert_run(store, new, run_id, run_id, 0, err);
}

static enum err_code take_number(struct store *store, int64_t job_id, int64_t *number_out,
                                 struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_number_run, &query, err));
    query_bind_integer(&query, job_id);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return no_such_job(job_id, err);
    }
    *number_out = query_integer(&query, 0);
    return ERR_OK;
}

static enum err_code store_fire(struct store *store, const struct run_new *new, struct err *err)
{
    if (new->fire != NULL &&new->fire->schedule != NULL) {
        TRY(schedule_store(store, new->job_id, new->fire->schedule, err));
    }
    if (new->fire != NULL &&new->fire->trigger != NULL) {
        TRY(trigger_store(store, new->job_id, new->fire->trigger, err));
    }
    return ERR_OK;
}

/* `all_active` goes up with each that is made. */
static enum err_code create_one(struct store *store, const struct run_new *new, int64_t *all_active,
                                int64_t *run_id, bool *made, struct err *err)
{
    struct job_row job = {0};
    bool found = false;
    if (new->job_id != 0) {
        TRY(job_row_get(store, new->job_id, &job, err));
    }
    if (new->token != NULL) {
        TRY(find_token(store, new, &found, run_id, err));
    }
    if (new->job_version != 0 && (!found || new->fire != NULL)) {
        TRY(job_row_check_version(&job, new->job_id, new->job_version, err));
    }
    TRY(store_fire(store, new, err));
    *made = !found;
    if (found) {
        return ERR_OK;
    }
    TRY(check_room(store, new->job_id, *all_active, err));
    (*all_active)++;
    TRY(job_file_next_run(store, run_id, err));
    if (new->job_id == 0) {
        return insert_one_off(store, new, *run_id, err);
    }
    int64_t number = 0;
    TRY(take_number(store, new->job_id, &number, err));
    return insert_run(store, new, *run_id, job.version, number, err);
}

static enum err_code write_create(struct transaction *transaction, void *arg, struct err *err)
{
    const struct run_create_write *write = arg;
    struct store *store = NULL;
    int64_t all_active = 0; /* once for all: counting goes through all of them */
    TRY(transaction_jobs(transaction, &store, err));
    TRY(count_all_active(store, &all_active, err));
    for (size_t i = 0; i < write->count; i++) {
        TRY(create_one(store, &write->news[i], &all_active, &write->run_ids[i], &write->mades[i],
                       err));
    }
    return ERR_OK;
}

static enum err_code check_new(const struct run_new *new, struct err *err)
{
    assert((new->job_id == 0) == (new->definition != NULL));
    assert(new->job_id != 0 || (new->fire == NULL &&new->name != NULL));
    assert(new->token == NULL || new->token[0] != '\0');
    TRY(text_check(new->token, RUN_TOKEN_BYTES_MAX, "the idempotency token", err));
    TRY(text_check(new->name, JOB_NAME_BYTES_MAX, "the name of the run", err));
    TRY(text_check(new->definition, JOB_DEFINITION_BYTES_MAX, "the definition of the run", err));
    TRY(text_check(new->parameters, RUN_PARAMETERS_BYTES_MAX, "the parameters of the run", err));
    TRY(text_check(new->only, RUN_ONLY_BYTES_MAX, "`only`", err));
    return new->fire != NULL &&new->fire->trigger != NULL ? trigger_check(new->fire->trigger, err)
                                                          : ERR_OK;
}

enum err_code run_create_all(struct catalog *catalog, const struct run_new *news, size_t count,
                             int64_t *run_ids_out, bool *mades_out, struct err *err)
{
    assert(count <= RUN_CREATE_MAX);
    for (size_t i = 0; i < count; i++) {
        TRY(check_new(&news[i], err));
    }
    struct run_create_write write = {
        .news = news, .count = count, .run_ids = run_ids_out, .mades = mades_out};
    return catalog_write(catalog, write_create, &write, err);
}

enum err_code run_create(struct catalog *catalog, const struct run_new *new, int64_t *run_id_out,
                         bool *made_out, struct err *err)
{
    int64_t run_id = 0;
    bool made = false;
    TRY(run_create_all(catalog, new, 1, &run_id, &made, err));
    *run_id_out = run_id;
    *made_out = made;
    return ERR_OK;
}

/* ---- what people ask for ---- */

struct run_request_write {
    int64_t run_id;
    const struct id *by;
    const char *tasks;
};

static enum err_code write_cancel(struct transaction *transaction, void *arg, struct err *err)
{
    const struct run_request_write *write = arg;
    struct store *store = NULL;
    struct run_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(run_row_get(store, write->run_id, &row, err));
    if (row.state == RUN_TERMINATED) {
        return err_set(err, ERR_CONFLICT, "run %" PRId64 " has ended", write->run_id);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_cancel, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, write->by);
    query_bind_integer(&query, write->run_id);
    return query_run(&query, err);
}

enum err_code run_request_cancel(struct catalog *catalog, int64_t run_id, const struct id *by,
                                 struct err *err)
{
    struct run_request_write write = {.run_id = run_id, .by = by};
    return catalog_write(catalog, write_cancel, &write, err);
}

static enum err_code write_repair(struct transaction *transaction, void *arg, struct err *err)
{
    const struct run_request_write *write = arg;
    struct store *store = NULL;
    struct run_row row;
    struct job_row job;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(run_row_get(store, write->run_id, &row, err));
    if (row.state != RUN_TERMINATED) {
        return err_set(err, ERR_CONFLICT,
                       "run %" PRId64 " has not ended: wait for it or cancel it first",
                       write->run_id);
    }
    if (row.succeeded) { /* it would only tell its webhooks once more */
        return err_set(err, ERR_CONFLICT,
                       "run %" PRId64 " succeeded: there is nothing to repair; start a new run",
                       write->run_id);
    }
    if (row.job_id != 0 && job_row_get(store, row.job_id, &job, err) != ERR_OK) {
        return err->code == ERR_NOT_FOUND
                   ? err_set(err, ERR_CONFLICT,
                             "job %" PRId64 " was deleted: its runs are not repaired any more",
                             row.job_id)
                   : err->code;
    }
    int64_t all_active = 0;
    TRY(count_all_active(store, &all_active, err));
    TRY(check_room(store, row.job_id, all_active, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_repair, &query, err));
    query_bind_text(&query, write->tasks);
    query_bind_integer(&query, write->run_id);
    return query_run(&query, err);
}

enum err_code run_request_repair(struct catalog *catalog, int64_t run_id, const char *tasks,
                                 struct err *err)
{
    TRY(text_check(tasks, RUN_ONLY_BYTES_MAX, "`tasks`", err));
    struct run_request_write write = {.run_id = run_id, .tasks = tasks};
    return catalog_write(catalog, write_repair, &write, err);
}

/* ---- pins ---- */

struct pin_write {
    int64_t run_id;
    size_t task;
    int64_t iteration;
    const char *name;
    const char *value;
};

static enum err_code write_pin(struct transaction *transaction, void *arg, struct err *err)
{
    const struct pin_write *write = arg;
    struct store *store = NULL;
    struct run_row row;
    TRY(transaction_jobs(transaction, &store, err));
    TRY(run_row_get(store, write->run_id, &row, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_pin, &query, err));
    query_bind_integer(&query, write->run_id);
    query_bind_integer(&query, (int64_t)write->task);
    query_bind_integer(&query, write->iteration);
    query_bind_text(&query, write->name);
    query_bind_text(&query, write->value);
    return query_run(&query, err);
}

static enum err_code read_pin(struct catalog *catalog, const struct pin_write *pin,
                              struct arena *arena, const char **stored_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool row = false;
    TRY(reader_jobs(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_pinned, &query, err));
    query_bind_integer(&query, pin->run_id);
    query_bind_integer(&query, (int64_t)pin->task);
    query_bind_integer(&query, pin->iteration);
    query_bind_text(&query, pin->name);
    TRY(query_next(&query, &row, err));
    if (!row) {
        *stored_out = NULL;
        return ERR_OK;
    }
    return query_text(&query, 0, arena, stored_out, err);
}

enum err_code run_pin(struct catalog *catalog, int64_t run_id, size_t task, int64_t iteration,
                      const char *name, const char *value, struct arena *arena,
                      const char **stored_out, struct err *err)
{
    struct pin_write pin = {
        .run_id = run_id, .task = task, .iteration = iteration, .name = name, .value = value};
    TRY(text_check(name, RUN_PIN_NAME_BYTES_MAX, "the name of a pin", err));
    TRY(text_check(value, RUN_PIN_BYTES_MAX, "a pinned value", err));
    const char *stored = NULL;
    TRY(read_pin(catalog, &pin, arena, &stored, err));
    if (stored == NULL && value != NULL) {
        TRY(catalog_write(catalog, write_pin, &pin, err));
        TRY(read_pin(catalog, &pin, arena, &stored, err));
    }
    *stored_out = stored;
    return ERR_OK;
}
