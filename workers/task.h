/*
 * What a task type is: one function that does the work of one attempt on a task
 * thread. The runner calls it with everything resolved (principal, templates,
 * deadline) and stores what it leaves behind; it knows nothing of the graph.
 *
 * A task is idempotent: an attempt may end anywhere (kill -9, time-out, cancel) and
 * the next one must come to the effects of a single uninterrupted one. Three means:
 * source steps (batches and positions enter the catalog together, storage/intake),
 * pins (what must not differ between attempts is stored before it is used), and
 * effects under stable names (an export's file, an Idempotency-Key).
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/json.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct audit;
struct breakers;
struct buffer;
struct catalog;
struct intake_stores;
struct principal;
struct progress_board;
struct remote;
struct roots;
struct tables;

/* What tasks may use; wired once, outlives every attempt. */
struct task_services {
    struct catalog *catalog;
    struct tables *tables;
    struct audit *audit;                /* who took what out, and changed what */
    struct remote *remote;              /* outgoing HTTP, guarded */
    struct breakers *breakers;          /* of sources and destinations */
    const struct roots *source_roots;   /* folders that may be read */
    const struct roots *export_roots;   /* folders that may be written */
    const char *spool;                  /* private folder of this process for temporary files */
    const struct intake_stores *intake; /* shared with the door */
    struct progress_board *progress;    /* tables whose batches moved on */
    void (*wake_lane)(void *arg, const struct id *table); /* a batch was accepted */
    void *wake_arg;
};

/* How far an attempt has come; shown while it runs, stored when it ends. */
struct task_progress {
    int64_t rows_in, rows_out, rows_rejected;
    int64_t bytes_in, bytes_out;
    int64_t work_done, work_total; /* of the same unit, for the estimate; total 0 = not known */
};

struct task_run; /* the runner's side of an attempt */

struct task_attempt {
    const struct task_services *services;
    int64_t job_id; /* 0 = a one-off run */
    int64_t run_id;
    const char *task_key;
    int64_t iteration;                 /* of a for_each; -1 = none */
    int32_t number;                    /* of this attempt, from 1 */
    const struct principal *principal; /* run_as: what the task may do */
    const struct json *body;           /* the type's object, templates expanded but for secrets */
    struct arena arena;                /* of the attempt */
    struct task_run *run;
};

/*
 * One attempt.
 *
 * Returns ERR_OK = SUCCESS. ERR_CANCELLED after task_check_time said so. ERR_INVALID,
 * ERR_FORBIDDEN, ERR_NOT_FOUND, ERR_UNSUPPORTED, ERR_TOO_LARGE, ERR_EXISTS, ERR_PRECONDITION,
 * ERR_CORRUPT fail for good; others (ERR_IO, ERR_BUSY, ERR_CONFLICT, ERR_NO_SPACE, ERR_NOMEM) are
 * worth another try. The message goes into the run as it is: no health information, no secret.
 */
typedef enum err_code task_run_fn(struct task_attempt *attempt, struct err *err);

/*
 * To be asked often (each piece, page, chunk): may the attempt go on?
 * Errors:  ERR_CANCELLED cancelled, out of time, or the process stops.
 */
enum err_code task_check_time(struct task_attempt *attempt, struct err *err) MUST_USE;

/* The flag behind it, for code that takes one (outgoing requests). Set once, never cleared. */
const _Atomic bool *task_cancel_flag(struct task_attempt *attempt);

/* Milliseconds left until the deadline, rounded up; INT64_MAX = no deadline. Never below 0. */
int64_t task_milliseconds_left(struct task_attempt *attempt);

/* Replaces what was said before. Cheap; any time. */
void task_set_progress(struct task_attempt *attempt, const struct task_progress *progress);

/* May run_as do this? Errors: ERR_FORBIDDEN naming principal, action and table. */
enum err_code task_check_access(struct task_attempt *attempt, const char *action, const char *table,
                                struct err *err) MUST_USE;

/*
 * A value that other tasks read as {{tasks.KEY.values.NAME}} and the run shows. Takes `value`.
 * The last one of a name counts; all values of a task together stay below 64 KiB.
 */
void task_set_value(struct task_attempt *attempt, const char *name, struct json *value);

/*
 * What must not change between attempts: the stored pin of this name, or, when there is
 * none, `value` after it was made durable. Takes `value` (may be NULL to ask only).
 *
 *   pinned_out  borrowed from the attempt; NULL when there is none and `value` was NULL
 */
enum err_code task_pin(struct task_attempt *attempt, const char *name, struct json *value,
                       const struct json **pinned_out, struct err *err) MUST_USE;

/* Versions of tables that the attempt read or wrote, shown in the run. */
void task_note_version(struct task_attempt *attempt, const char *table, bool written,
                       int64_t version);

/*
 * Replace {{secrets.NAME}} in `text`. The result must be wiped (secret_wipe) and never
 * reach a log, an error, a value or a pin. Whoever wrote the definition must still be one who
 * may use secrets. Errors: ERR_NOT_FOUND the secret, by name; ERR_FORBIDDEN the author.
 */
enum err_code task_open_secrets(struct task_attempt *attempt, const char *text,
                                struct buffer *text_out, struct err *err) MUST_USE;

/* A key that is the same in every attempt of this task in this run: for Idempotency-Key. */
const char *task_idempotency_key(struct task_attempt *attempt);

/*
 * Wait until something about the batches of `table` changed since `*seen` was returned by the
 * last call (start with 0: returns at once), or until the attempt has to end.
 * Errors:  ERR_CANCELLED.
 */
enum err_code task_wait_progress(struct task_attempt *attempt, const struct id *table,
                                 int64_t *seen, struct err *err) MUST_USE;
