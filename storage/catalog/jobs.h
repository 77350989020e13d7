/*
 * Jobs as the catalog knows them: names, versions of definitions, and where their
 * schedules and triggers stand. Rows of jobs.db; what a definition means is
 * storage/jobs' business.
 *
 * A change makes a new version; a version is kept while it is the current one or a
 * run refers to it, so that a run ends, is repaired and is shown by the definition
 * it began with. Versions count from 1 and are the ETag.
 *
 * A deleted job starts no more runs. Its row stays, invisible to job_get and
 * job_list, until retention has taken its last run.
 *
 * Schedule: where it stands is stored with the definition, in the same transaction, and
 * moved on in the transaction that makes the run (run_create, `fire`) or leaves fire
 * times out (job_set_schedule). So a fire time makes one run or none, never two, and
 * one that passed while the process was down is found again: it lies in the past.
 *
 * Thread:  every function any thread. Writing ones block for one group commit.
 * Durable: what a writing function did, when it returned ERR_OK.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"
#include "storage/catalog/batches.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    JOBS_MAX = 10000,         /* that are not deleted */
    JOB_NAME_BYTES_MAX = 256, /* UTF-8; need not be unique */
    JOB_DEFINITION_BYTES_MAX = 1 << 20,
    JOB_TAGS_MAX = 64,
    JOB_TAG_BYTES_MAX = 256, /* of a name, and of a value */
    JOB_TRIGGERS_MAX = 32,
    JOB_TRIGGER_KEY_BYTES_MAX = 64,
    JOB_TRIGGER_STATE_BYTES_MAX = 128 << 10, /* of one trigger */
    JOB_LIST_SCAN_MAX = 10000,               /* jobs looked at for one page */
    JOB_ETAG_BYTES = 48,                     /* with quotes and NUL */
};

/* ---- writing ---- */

struct job_tag {
    const char *name;
    const char *value; /* "" = none */
};

/* Where a schedule stands (storage/jobs/schedule.h): wall times. All zero = no schedule. */
struct job_schedule {
    int64_t anchor_us;    /* of every_seconds */
    int64_t decided_us;   /* fire times up to here made their run or were left out */
    int64_t next_fire_us; /* 0 = none: paused, or it never fires again */
};

/* What a new version of a job says. Texts are borrowed for the call. */
struct job_content {
    const char *name;       /* 1 to JOB_NAME_BYTES_MAX bytes */
    const char *definition; /* canonical JSON */
    const struct job_tag *tags;
    size_t tags_count;
    struct id author; /* who says so */
    struct id run_as; /* whose grants its runs use */
    /* job_change: NULL = goes on as it stands; that is the way unless timing or pause changed */
    const struct job_schedule *schedule;
};

/* The Idempotency-Key of a creation, stored in the transaction that makes the job. */
struct job_creation_key {
    struct idempotency_key key;
    uint8_t body_sha256[BATCH_SHA256_BYTES];
};

/*
 * Make a job, version 1.
 *
 *   key         NULL = none; kept as long as the catalog keeps idempotency keys
 *   job_id_out  never given out before, also to jobs that are gone
 *   made_out    false: the key made this job earlier, with the same body; nothing was
 *               written and `content` is not looked at
 *
 * Errors:  ERR_CONFLICT the key was used with another body; ERR_TOO_LARGE a limit above, by name
 *          and number; ERR_NO_SPACE; ERR_BUSY.
 */
enum err_code job_create(struct catalog *catalog, const struct job_content *content,
                         const struct job_creation_key *key, int64_t *job_id_out, bool *made_out,
                         struct err *err) MUST_USE;

/*
 * The job that a key made, before a repeated body is judged again (what it names may be gone).
 *
 *   found_out  false: none
 *
 * Errors:  ERR_CONFLICT it was used with another body.
 */
enum err_code job_find_made(struct catalog *catalog, const struct job_creation_key *key,
                            bool *found_out, int64_t *job_id_out, struct err *err) MUST_USE;

/*
 * A new version. Replaces name and tags; the states of triggers stay (job_set_triggers drops
 * those that no longer are).
 *
 *   version      the one the caller changed; must still be the current one
 *   version_out  the new one
 *
 * Errors:  ERR_NOT_FOUND; ERR_PRECONDITION somebody changed it meanwhile; ERR_TOO_LARGE.
 */
enum err_code job_change(struct catalog *catalog, int64_t job_id, int32_t version,
                         const struct job_content *content, int32_t *version_out,
                         struct err *err) MUST_USE;

/*
 * Delete a job. Its runs stay until retention takes them.
 *
 *   version  must be the current one; 0 = whichever
 *   force    with active runs: ask for the cancellation of each in the same transaction, as
 *            run_request_cancel by `by` does. Without it they are the reason to refuse
 *
 * Errors:  ERR_NOT_FOUND; ERR_PRECONDITION version; ERR_CONFLICT active runs (how many is in the
 *          message).
 */
enum err_code job_delete(struct catalog *catalog, int64_t job_id, int32_t version, bool force,
                         const struct id *by, struct err *err) MUST_USE;

/* ---- reading ---- */

struct job {
    int64_t job_id;
    int32_t version;
    const char *name;
    const char *definition;
    struct id author; /* of this version */
    struct id run_as;
    int64_t created_at_us; /* version 1 */
    int64_t changed_at_us; /* this version */
    struct job_schedule schedule;
    int64_t runs_count;        /* made so far; numbers the runs from 1 */
    char etag[JOB_ETAG_BYTES]; /* quoted: changes with every version */
};

/* Strings in the arena. Errors: ERR_NOT_FOUND also for a deleted one; ERR_TOO_LARGE the arena. */
enum err_code job_get(struct catalog *catalog, int64_t job_id, struct arena *arena,
                      struct job *job_out, struct err *err) MUST_USE;

/* Is there a job of this id that is not deleted? For validating definitions. */
enum err_code job_exists(struct catalog *catalog, int64_t job_id, bool *exists_out,
                         struct err *err) MUST_USE;

/*
 * The definition of one version, current or not, of a job deleted or not.
 *
 *   job_id, version  those of a run (struct job_run); job 0: the one-off definition of run
 * `version`
 *
 * Errors:  ERR_NOT_FOUND no run refers to it any more; ERR_TOO_LARGE the arena.
 */
enum err_code job_definition(struct catalog *catalog, int64_t job_id, int64_t version,
                             struct arena *arena, const char **definition_out,
                             struct err *err) MUST_USE;

/* What to list; NULL = any. */
struct job_filter {
    const char *name;        /* equal, byte for byte */
    const char *name_prefix; /* begins so */
    const char *tag;
    const char *tag_value; /* with `tag`: equal */
};

/*
 * In order of job_id, after `after` (0 = from the first).
 *
 *   next_out  where the next page begins, as its `after`; 0 = this was the last. A page may be
 *             short, even empty, before the end: at most JOB_LIST_SCAN_MAX jobs are looked at,
 *             and it ends when half of the arena is used
 *
 * Errors:  ERR_TOO_LARGE one job is larger than half of the arena.
 */
enum err_code job_list(struct catalog *catalog, const struct job_filter *filter, int64_t after,
                       size_t limit, struct arena *arena, struct job **jobs_out, size_t *count_out,
                       int64_t *next_out, struct err *err) MUST_USE;

/* ---- schedules ---- */

struct job_due {
    int64_t job_id;
    int32_t version;
    struct job_schedule schedule;
};

/* Jobs with 0 < next_fire_us <= now_us, the longest due first. INT64_MAX: all that have a schedule.
 */
enum err_code jobs_due(struct catalog *catalog, int64_t now_us, size_t limit, struct arena *arena,
                       struct job_due **due_out, size_t *count_out, struct err *err) MUST_USE;

/*
 * Move a schedule on without making a run: fire times are left out, or there is none to come.
 *
 * Errors:  ERR_NOT_FOUND; ERR_PRECONDITION the version is no longer the current one.
 */
enum err_code job_set_schedule(struct catalog *catalog, int64_t job_id, int32_t version,
                               const struct job_schedule *schedule, struct err *err) MUST_USE;

/* ---- triggers ---- */

/* Where a trigger stands. Both texts are the scheduler's own. */
struct job_trigger_state {
    const char *key;   /* which: the same as long as the trigger means the same */
    const char *state; /* what it has seen */
};

/* In order of key; none is fine. Strings in the arena. */
enum err_code job_triggers(struct catalog *catalog, int64_t job_id, struct arena *arena,
                           struct job_trigger_state **states_out, size_t *count_out,
                           struct err *err) MUST_USE;

/*
 * Replace all states of a job's triggers: what is not in the list is forgotten.
 *
 * Errors:  ERR_NOT_FOUND; ERR_PRECONDITION the version is no longer the current one;
 *          ERR_TOO_LARGE.
 */
enum err_code job_set_triggers(struct catalog *catalog, int64_t job_id, int32_t version,
                               const struct job_trigger_state *states, size_t count,
                               struct err *err) MUST_USE;
