/*
 * Job runs: what is to be run, how far each is, and what came of it. Rows of jobs.db;
 * the runner owns the graph (storage/jobs/graph.h) and stores here what it decides,
 * before it acts on it.
 *
 * Incarnation: every catalog_open raises it, durably, and closes the attempts that the
 * last process left running (INTERRUPTED, or CRASHED when their own thread died of a
 * fatal signal). An attempt is begun under the incarnation of its process and its
 * result is taken under the same one only, so nothing of an earlier life is recorded.
 * The *node* of such an attempt is left RUNNING: the runner finds it so at its start,
 * sees how the newest attempt ended (run_task.attempt_state), and calls
 * graph_interrupt. Dying in between loses and doubles nothing.
 *
 * Requests of people (cancel, repair) are columns of the run, durable before they are
 * answered; the runner obeys them when it is told and looks for them at its start.
 *
 * Thread:  every function any thread. Writing ones block for one group commit.
 * Durable: what a writing function did, when it returned ERR_OK.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/jobs.h"
#include "storage/jobs/graph.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    RUN_TOKEN_BYTES_MAX = 64,
    RUN_PARAMETERS_BYTES_MAX = 64 << 10, /* as JSON */
    RUN_ONLY_BYTES_MAX = 64 << 10,       /* `only` and the tasks of a repair, as JSON */
    RUN_VALUES_BYTES_MAX = 64 << 10,     /* of one node, as JSON */
    RUN_PIN_NAME_BYTES_MAX = 64,
    RUN_PIN_BYTES_MAX = 4 << 20,       /* one pinned value, as JSON: lists of files are long */
    RUN_ERROR_BYTES_MAX = 1024,        /* longer messages are cut */
    RUN_VERSIONS_BYTES_MAX = 64 << 10, /* table versions of one attempt, as JSON */
    RUN_ACTIVE_MAX = 100000,           /* runs that are not terminated, all jobs */
    RUN_ACTIVE_PER_JOB_MAX = 10000,
    RUN_ATTEMPTS_KEPT = 100,   /* newest of one node; job_run's tasks count all */
    RUN_CREATE_MAX = 1000,     /* made in one transaction */
    RUN_LIST_SCAN_MAX = 10000, /* runs looked at for one page */
};

/* Raised by catalog_open; from 1. */
int64_t catalog_incarnation(struct catalog *catalog);

/* ---- making runs ---- */

/* Stored by number: values never change. */
enum run_trigger {
    RUN_TRIGGER_MANUAL = 1, /* POST …/runs */
    RUN_TRIGGER_SCHEDULE = 2,
    RUN_TRIGGER_TABLE_UPDATE = 3,
    RUN_TRIGGER_FILE_ARRIVAL = 4,
    RUN_TRIGGER_CONTINUOUS = 5,
    RUN_TRIGGER_JOB_FINISHED = 6,
    RUN_TRIGGER_RUN_JOB = 7, /* a run_job task of another run */
    RUN_TRIGGER_BACKFILL = 8,
    RUN_TRIGGER_ONE_OFF = 9, /* POST /v1/runs */
};
const char *run_trigger_name(enum run_trigger trigger); /* "MANUAL" */

/* Where the job's schedule or trigger stands once the run is made. */
struct run_fire {
    const struct job_schedule *schedule;     /* NULL = as it stands */
    const struct job_trigger_state *trigger; /* one trigger's new state; NULL = none */
};

/* Texts are borrowed for the call; NULL = none unless said otherwise. */
struct run_new {
    int64_t job_id;         /* 0 = one-off */
    int32_t job_version;    /* must be the current one; 0 = whichever is */
    const char *name;       /* one-off: of the run. Else the job's */
    const char *definition; /* one-off: canonical JSON. Else NULL */
    struct id run_as;       /* one-off. Else the version's */
    struct id principal;    /* who asked; "" = a schedule or trigger */
    const char *token; /* 1 to RUN_TOKEN_BYTES_MAX bytes: unique in the job (one-offs: among all) */
    enum run_trigger trigger;
    int64_t trigger_time_us; /* {{run.trigger_time}}: the fire time, not when it was noticed */
    const char *parameters;  /* JSON object of those given; NULL = {} */
    const char *only;        /* JSON array of task keys; NULL = all tasks */
    int64_t parent_run_id;   /* of the run_job task; 0 = none */
    const char *parent_task; /* its key */
    const struct run_fire *fire;
};

/*
 * Make a run, QUEUED, and move the job's schedule or trigger on: one transaction.
 *
 *   made_out  false: the token made this run earlier, with the same parameters, `only` and
 * (one-off) definition. Nothing was written, except that `fire` is stored all the same
 *
 * Errors:  ERR_NOT_FOUND the job; ERR_PRECONDITION it has another version than job_version;
 *          ERR_CONFLICT the token made another run than this; ERR_BUSY RUN_ACTIVE_MAX or
 *          RUN_ACTIVE_PER_JOB_MAX (nothing is written, also not `fire`); ERR_TOO_LARGE;
 * ERR_NO_SPACE.
 */
enum err_code run_create(struct catalog *catalog, const struct run_new *new, int64_t *run_id_out,
                         bool *made_out, struct err *err) MUST_USE;

/*
 * Make many runs in one transaction, each as run_create does: all of them or none.
 *
 *   news          count <= RUN_CREATE_MAX
 *   run_ids_out   of each, made now or by its token before; both lists are anything on failure
 *   mades_out     of each
 *
 * Errors:  as run_create, of the first that fails.
 */
enum err_code run_create_all(struct catalog *catalog, const struct run_new *news, size_t count,
                             int64_t *run_ids_out, bool *mades_out, struct err *err) MUST_USE;

/* ---- what the runner stores ---- */

/* A node as it is from now on. One that is `renewed` forgets its values and pins first. */
struct run_task_change {
    const struct graph_node *node;
    const char *values;     /* JSON object; NULL = those stored stay */
    const char *error_code; /* of its last attempt, or why it did not run; NULL = none */
    const char *error;
};

struct run_attempt_id {
    size_t task;
    int64_t iteration; /* -1 = the task itself */
    int32_t number;    /* graph_node.attempts after graph_begin */
};

/* An attempt begins: durable before its work starts. Begun under catalog_incarnation. */
struct run_attempt_begin {
    struct run_attempt_id id;
    int64_t started_us; /* wall */
};

struct run_attempt_end {
    struct run_attempt_id id;
    int64_t incarnation; /* that it was begun under */
    enum run_result result;
    int64_t ended_us;
    const char *error_code; /* NULL = none, as `error` */
    const char *error;
    int64_t rows_in, rows_out, rows_rejected;
    int64_t bytes_in, bytes_out;
    const char *versions_read; /* JSON object: table → version; NULL = none */
    const char *versions_written;
};

/* Everything that one event changes. Borrowed for the call. */
struct run_change {
    int64_t run_id;

    /* the run itself; state 0 = as it is */
    enum run_state state;
    enum run_result result; /* with RUN_TERMINATED, and only then, not RESULT_NONE */
    int64_t started_us;     /* wall; 0 = as stored */
    int64_t ended_us;       /* with RUN_TERMINATED */
    const char *error_code; /* with RUN_TERMINATED; NULL = none, as `error` */
    const char *error;
    bool repair_taken; /* the repair that was asked for is in `tasks` */
    bool warned;       /* the warning about its duration went out */

    const struct run_task_change *tasks;
    size_t tasks_count;
    const struct run_attempt_end *ended; /* before `begun` */
    size_t ended_count;
    const struct run_attempt_begin *begun;
    size_t begun_count;
    const struct delivery_new *deliveries;
    size_t deliveries_count;
};

/*
 * Store a change: all of it or nothing.
 *
 * Errors:  ERR_NOT_FOUND the run; ERR_PRECONDITION an ended attempt is not running, or was begun
 *          under another incarnation, or the run is terminated already: what was worked out counts
 *          for nothing, drop it; ERR_TOO_LARGE a text; ERR_NO_SPACE (try again: nothing else may
 *          happen to the run meanwhile); ERR_BUSY.
 */
enum err_code run_apply(struct catalog *catalog, const struct run_change *change,
                        struct err *err) MUST_USE;

/*
 * Pin a value of a node: the first one of a name counts, for every attempt.
 *
 *   value       JSON; NULL = only ask
 *   stored_out  in the arena: the value that counts; NULL = none
 *
 * Errors:  ERR_NOT_FOUND the run; ERR_TOO_LARGE; ERR_NO_SPACE.
 */
enum err_code run_pin(struct catalog *catalog, int64_t run_id, size_t task, int64_t iteration,
                      const char *name, const char *value, struct arena *arena,
                      const char **stored_out, struct err *err) MUST_USE;

/*
 * This thread works on that attempt from now on: should it die of a fatal signal
 * (catalog_mark_crash), the attempt is CRASHED at the next open, not INTERRUPTED. The newest
 * binding of a thread counts, whether of a merge (batches_begin_attempt) or of an attempt.
 */
void run_bind_thread(struct catalog *catalog, int64_t run_id, const struct run_attempt_id *attempt);
/* It works on none. */
void run_unbind_thread(void);

/* ---- what people ask for ---- */

/*
 * Ask for the cancellation of a run; the runner does it. Asking again changes nothing.
 *
 * Errors:  ERR_NOT_FOUND; ERR_CONFLICT it is terminated.
 */
enum err_code run_request_cancel(struct catalog *catalog, int64_t run_id, const struct id *by,
                                 struct err *err) MUST_USE;

/*
 * Ask for the repair of a terminated run: it is QUEUED again, its result and end are void, and
 * the runner begins with graph_repair.
 *
 *   tasks  JSON array of task keys; NULL = everything that failed
 *
 * Errors:  ERR_NOT_FOUND; ERR_CONFLICT it is not terminated, or succeeded; ERR_BUSY as run_create;
 *          ERR_TOO_LARGE.
 */
enum err_code run_request_repair(struct catalog *catalog, int64_t run_id, const char *tasks,
                                 struct err *err) MUST_USE;

/* ---- reading ---- */

struct job_run {
    int64_t run_id;
    int64_t job_id;   /* 0 = one-off */
    int64_t version;  /* with job_id, for job_definition */
    int64_t number;   /* in its job, from 1; one-off: 0 */
    const char *name; /* of the job when the run was made */
    struct id author; /* of the definition */
    struct id run_as;
    struct id principal; /* "" = none asked */
    const char *token;   /* NULL = none */
    enum run_trigger trigger;
    int64_t trigger_time_us;
    const char *parameters; /* JSON object */
    const char *only;       /* JSON array; NULL = all tasks */
    int64_t parent_run_id;  /* 0 = none */
    const char *parent_task;
    enum run_state state;
    enum run_result result;
    int64_t created_at_us;
    int64_t started_us;     /* 0 = not yet */
    int64_t ended_us;       /* 0 = not yet */
    const char *error_code; /* NULL = none, as `error` */
    const char *error;
    int64_t finish; /* which run to end it was: rises with every end of a run; 0 = not */
    int64_t cancel_asked_at_us; /* 0 = not */
    struct id cancel_asked_by;
    int32_t repairs;          /* asked for so far */
    bool repair_asked;        /* … and the last one is not taken yet */
    const char *repair_tasks; /* of it; NULL = everything that failed */
    bool warned;
};

/* Strings in the arena. Errors: ERR_NOT_FOUND; ERR_TOO_LARGE the arena. */
enum err_code run_get(struct catalog *catalog, int64_t run_id, struct arena *arena,
                      struct job_run *run_out, struct err *err) MUST_USE;

/* Stored by number: values never change. */
enum attempt_state {
    ATTEMPT_NONE = 0,
    ATTEMPT_RUNNING = 1,
    ATTEMPT_ENDED = 2,       /* see its result */
    ATTEMPT_INTERRUPTED = 3, /* the process ended under it */
    ATTEMPT_CRASHED = 4,     /* … by a fatal signal of its own thread */
};
const char *attempt_state_name(enum attempt_state state); /* "RUNNING" */

struct run_task {
    struct graph_node node; /* `changed` and `renewed` are false */
    const char *values;     /* JSON object; "{}" = none */
    const char *error_code; /* NULL = none, as `error` */
    const char *error;
    enum attempt_state attempt_state; /* of the newest attempt */
};

/* Where a listing of nodes or attempts goes on. Zeroed = from the first. */
struct run_task_cursor {
    bool set;
    size_t task;
    int64_t iteration;
    int32_t number; /* attempts only */
};

/*
 * The stored nodes of a run in order of task and iteration (the task itself before its
 * iterations), after `after`; a task that was never stored is not there. Fewer than `limit`
 * means the end. Strings in the arena.
 *
 * Errors:  ERR_CORRUPT; ERR_TOO_LARGE the arena: ask for fewer.
 */
enum err_code run_tasks(struct catalog *catalog, int64_t run_id,
                        const struct run_task_cursor *after, size_t limit, struct arena *arena,
                        struct run_task **tasks_out, size_t *count_out, struct err *err) MUST_USE;

struct run_attempt {
    struct run_attempt_id id;
    int64_t incarnation;
    enum attempt_state state;
    enum run_result result; /* ATTEMPT_ENDED */
    int64_t started_us;
    int64_t ended_us;       /* 0 = running; of interrupted ones: the next start */
    const char *error_code; /* NULL = none, as `error` */
    const char *error;
    int64_t rows_in, rows_out, rows_rejected;
    int64_t bytes_in, bytes_out;
    const char *versions_read; /* JSON object; NULL = none */
    const char *versions_written;
};

/*
 * The attempts of a run in order of task, iteration and number, after `after`. Of each node
 * the newest RUN_ATTEMPTS_KEPT are there; `number` tells how many went before.
 * Otherwise as run_tasks.
 *
 *   only  one node's; NULL = all
 */
enum err_code run_attempts(struct catalog *catalog, int64_t run_id,
                           const struct run_attempt_id *only, const struct run_task_cursor *after,
                           size_t limit, struct arena *arena, struct run_attempt **attempts_out,
                           size_t *count_out, struct err *err) MUST_USE;

/* What to list; zero = any. */
struct run_filter {
    int64_t job_id;  /* RUN_FILTER_ONE_OFF: those without a job */
    int state;       /* enum run_state */
    int result;      /* enum run_result */
    bool active;     /* not terminated */
    int64_t from_us; /* made at or after */
    int64_t to_us;   /* made before */
    int64_t parent_run_id;
};
enum { RUN_FILTER_ONE_OFF = -1 };

/*
 * Newest first, with run_id < `before` (0 = from the newest).
 *
 *   next_out  the `before` of the next page; 0 = this was the last. A page may be short, even
 *             empty, before the end: at most RUN_LIST_SCAN_MAX runs are looked at, and it ends
 *             when half of the arena is used
 *
 * Errors:  ERR_TOO_LARGE one run is larger than half of the arena.
 */
enum err_code run_list(struct catalog *catalog, const struct run_filter *filter, int64_t before,
                       size_t limit, struct arena *arena, struct job_run **runs_out,
                       size_t *count_out, int64_t *next_out, struct err *err) MUST_USE;

/* Runs that are not terminated, oldest first, with run_id > `after`: at start. None means the
 * end; fewer than `limit` do not, for a page ends when half of the arena is used. */
enum err_code runs_unfinished(struct catalog *catalog, int64_t after, size_t limit,
                              struct arena *arena, struct job_run **runs_out, size_t *count_out,
                              struct err *err) MUST_USE;

/*
 * Runs of a job in the order in which they ended, with job_run.finish > `after`: for job_finished
 * triggers, which keep the last `finish` they saw. A repaired run ends again, with a new number.
 * None means the end, as above.
 */
enum err_code runs_finished(struct catalog *catalog, int64_t job_id, int64_t after, size_t limit,
                            struct arena *arena, struct job_run **runs_out, size_t *count_out,
                            struct err *err) MUST_USE;

/* How many runs of a job are not terminated. */
enum err_code runs_active_count(struct catalog *catalog, int64_t job_id, int64_t *count_out,
                                struct err *err) MUST_USE;

/* ---- retention ---- */

struct run_retention {
    int64_t before_us;   /* runs that ended earlier go; 0 = age alone takes none */
    int64_t per_job_max; /* newest runs kept of one job (one-offs together are one more job);
                            0 = without limit */
};

/*
 * Remove terminated runs that are too old or too many with everything of theirs (nodes, attempts,
 * pins), then versions of definitions and deleted jobs that nothing refers to any more. Deliveries
 * have their own (deliveries_retain). A bounded step of one transaction.
 *
 *   removed_out  runs
 *   more_out     call again: there may be others
 */
enum err_code runs_retain(struct catalog *catalog, const struct run_retention *retention,
                          int64_t *removed_out, bool *more_out, struct err *err) MUST_USE;
