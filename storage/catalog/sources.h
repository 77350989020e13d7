/*
 * Sources: how far each was read. A source is whatever gives its records in one
 * order that can be continued: the content of a file, the pages of a service, the
 * versions of a table. Its reader takes it in steps; what a step brought and that
 * it was taken enter the catalog together:
 *
 *   a step with records     batch_accept with batch_accept.step: batch, position, dead
 *                           letters and step are one transaction of one piece
 *   a step without records  source_step_record
 *
 * So a step is taken once, however often its reader dies and begins again. Steps are
 * folded into jobs.db before retention removes the piece they stand in; a source's
 * position is the highest step of all pieces and jobs.db.
 *
 * Thread:  every function any thread. Writing ones block for one group commit.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;

enum {
    SOURCE_ID_BYTES = 32,
    SOURCE_CHECKPOINT_BYTES_MAX = 16 << 10,
    SOURCE_TASK_KEY_BYTES_MAX = 255,
    SOURCE_FINDINGS_BYTES_MAX = 64 << 10,
};

/* One step of a source. Borrowed for the call. */
struct source_step {
    uint8_t source[SOURCE_ID_BYTES]; /* a hash of what the source is */
    int64_t step;                    /* the position + 1; from 1 */
    struct span checkpoint;          /* UTF-8: where the next step begins, the reader's own words */
    int64_t run_id;                  /* who took it … */
    const char *task_key;            /* … with the iteration of a for_each, if any */
    struct span findings; /* what the task found out about the step's records, its own words */
};

/*
 * Where does the next step begin?
 *
 *   step_out    the last one taken; 0 = none yet
 *   checkpoint  grows by the last step's
 */
enum err_code source_position(struct catalog *catalog, const uint8_t source[SOURCE_ID_BYTES],
                              int64_t *step_out, struct buffer *checkpoint,
                              struct err *err) MUST_USE;

/*
 * Record a step that brought no records.
 *
 * Errors:  ERR_EXISTS it was taken already, nothing is written; ERR_CONFLICT steps
 *          before it are missing; ERR_NO_SPACE; ERR_BUSY.
 * Durable: the step, when ERR_OK.
 */
enum err_code source_step_record(struct catalog *catalog, const struct source_step *step,
                                 struct err *err) MUST_USE;

/* What the batches of one task came to so far. */
struct source_tally {
    int64_t steps_count;                            /* with records or without */
    int64_t batches_count;                          /* with records */
    int64_t received, accepted, rejected;           /* records */
    int64_t applied, superseded, rejected_at_merge; /* records, of what is merged */
    int64_t unfinished_count; /* batches that are neither indexed nor failed */
    int64_t failed_count;     /* batches that went whole to the dead letters */
    struct id failed_batch;   /* one of them; text "" = none */
    int64_t version_first;    /* of the table, of what is merged; -1 = none */
    int64_t version_last;
};

/* Steps that `run_id` and `task_key` took, in every attempt. */
enum err_code source_tally(struct catalog *catalog, int64_t run_id, const char *task_key,
                           struct source_tally *tally_out, struct err *err) MUST_USE;

/* The findings of every step of a task that has some, in no order; `findings` is for the call. */
typedef enum err_code source_findings_fn(void *arg, struct span findings, struct err *err);
enum err_code source_findings(struct catalog *catalog, int64_t run_id, const char *task_key,
                              source_findings_fn *take, void *arg, struct err *err) MUST_USE;

/* Which versions of one table hold the batches that a run brought, by any of its tasks. */
struct source_versions {
    int64_t *items; /* ascending, each once; mem_free */
    size_t count;
    int64_t unfinished_count; /* 0 = all that are to be in the table are */
};
enum err_code source_run_versions(struct catalog *catalog, int64_t run_id, const struct id *table,
                                  struct source_versions *versions_out, struct err *err) MUST_USE;
