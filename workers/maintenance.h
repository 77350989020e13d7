/*
 * What keeps tables and files in shape beside the merges: following foreign
 * commits, index runs, checkpoints, compaction, and removing what nobody needs.
 * Nothing here is needed for an answer to be right.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct journal;
struct recent_frames;
struct tables;

struct maintenance_services {
    struct catalog *catalog;
    struct journal *journal;
    struct journal *dead_letters;
    struct recent_frames *recent; /* NULL = none are kept */
    struct tables *tables;
    const _Atomic bool *stop; /* set when the process stops: ends a compaction early */
    void (*wake_merge)(void *arg, const struct id *table); /* a lane got batches back */
    void (*progress)(void *arg, const struct id *table);   /* a new version is visible */
    void *arg;
    int64_t dropped_retention_us; /* files of deleted tables stay this long */
    int64_t run_retention_us;     /* runs of jobs stay this long after their end … */
    int64_t runs_per_job_max;     /* … and so many of each job */
    int64_t journal_keep_us;      /* journal segments stay this long after their last use */
};

/*
 * One step for one table: refresh, index, checkpoint, at most one compaction.
 *
 *   more_out  there is more to compact or to merge in the index
 *
 * Errors:  ERR_CANCELLED the table is gone or the process stops; others: try later.
 */
enum err_code maintenance_step(const struct maintenance_services *services, const struct id *table,
                               bool *more_out, struct err *err) MUST_USE;

/* One round over what belongs to no table: journals, catalog pieces, dropped tables, old runs. */
enum err_code maintenance_round(const struct maintenance_services *services,
                                struct err *err) MUST_USE;

/* Gauges of every table and of the process. */
void maintenance_observe(const struct maintenance_services *services);
