/*
 * Merging a lane: the queued batches of a table, in order, into its next version,
 * and what became of each into the catalog.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"
#include "workers/lanes.h"

#include <stdint.h>

struct catalog;
struct journal;
struct recent_frames;
struct tables;

/* Batches of `table` changed state: wake those who wait. Any thread, never blocks long. */
typedef void merge_progress_fn(void *arg, const struct id *table);

struct merge_services {
    struct catalog *catalog;
    struct journal *journal;
    struct journal *dead_letters;
    struct recent_frames *recent; /* NULL = every frame is read from the journal */
    struct tables *tables;
    merge_progress_fn *progress;
    void *progress_arg;
    int64_t commit_batches_max; /* batches of one commit */
    int64_t commit_bytes_max;   /* their frames, and their records in memory */
};

enum {
    MERGE_CRASHES_MAX = 2,           /* crashes of its own merge before a batch is a dead letter */
    MERGE_INTERRUPTIONS_MAX = 10,    /* ends of the process for another reason, likewise */
    MERGE_SUSPECT_INTERRUPTIONS = 3, /* from here on it is merged with few others */
    MERGE_SUSPECTS_MAX = 100,        /* so many together */
    MERGE_ALONE_INTERRUPTIONS = 6,   /* from here on alone; a crash is enough */
    MERGE_FAILURES_MAX = 3, /* tries of a batch that fails alone for the same kind of reason */
};

/*
 * One step: merge what is queued, up to the limits. A batch under suspicion (its
 * merge crashed, or ended with the process several times) is merged with few others or
 * alone, so that the next crash names it. What is in the table already is under none.
 *
 *   attempt   of this step, from 1; failures in a row
 *   left_out  what is left in the lane, and how long compaction should be given
 *
 * Errors:  ERR_CANCELLED the table is gone; ERR_NO_SPACE, ERR_BUSY, ERR_CONFLICT,
 *          ERR_IO while reading: try again later. An unknown outcome of a commit
 *          ends the process.
 * Durable: outcomes, when ERR_OK.
 */
enum err_code merge_step(const struct merge_services *services, const struct id *table, int attempt,
                         struct lane_left *left_out, struct err *err) MUST_USE;
