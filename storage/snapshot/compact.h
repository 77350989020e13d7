/*
 * Compaction: small files into larger ones, files with many dead rows rewritten
 * without them. Content never changes (dataChange false). Runs beside merges:
 * rows that a merge deletes in an input meanwhile are translated by an
 * old-to-new row map into a deletion vector of the output; only that and the
 * commit hold the commit lock.
 */
#pragma once

#include "storage/base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rewrite_sort;
struct snapshot;
struct table;

/* Inputs and rows of one run are what its memory follows: it stays below 512 MB. */
enum {
    COMPACT_SMALL_FILES_MAX = 16,      /* per partition; more are merged */
    COMPACT_BASE_FILES_MAX = 16,       /* per partition, about */
    COMPACT_SHARING_FILES = 8,         /* an output has at most such a part of a partition, … */
    COMPACT_SHARE_ROWS_MIN = 32 << 10, /* … unless that is less than these live rows */
    COMPACT_INPUTS_MAX = 32,           /* files of one run */
    COMPACT_ALIKE_MIN = 4,             /* files of one size that are joined before larger ones */
    COMPACT_TABLE_PERCENT = 20,        /* of all rows dead: the worst file is purged … */
    COMPACT_URGENT_PERCENT = 22,       /* … before small files are joined */
    COMPACT_FILE_PERCENT = 50,         /* a file with a larger share of dead rows is purged */
    COMPACT_RESTING_PERCENT = 25,      /* the same, while nobody merges */
    COMPACT_THOROUGH_PERCENT = 5,      /* the same, when it was asked for */
    COMPACT_ROWS_MAX = 4 << 20,        /* live rows of one output */
    COMPACT_FILE_BYTES_MAX = 1 << 30,  /* sum of the inputs of one run, unless one file alone */
    COMPACT_BETWEEN_MERGES = 24,       /* of a backlog that is dealt with during a long run */
    COMPACT_BETWEEN_ROWS_MAX = 256 << 10, /* live rows of such a run between the rows of another */
};

/* Which files go together; compact_plan_deinit. */
struct compact_plan {
    const struct snapshot *snapshot; /* a reference: what the plan was made on */
    uint32_t *files;                 /* numbers of the inputs */
    size_t count;                    /* 0 = nothing to do */
    int64_t live_rows;
    const struct rewrite_sort *sort; /* borrowed; NULL = the output is ordered by key */
};
void compact_plan_deinit(struct compact_plan *plan);

/*
 * The most useful run on the newest snapshot; none ends the wait of table_pause_us. Any thread.
 *   resting  nobody merges (table_is_resting): what would not pay beside merges, too
 */
void compact_plan(struct table *table, bool resting, struct compact_plan *plan_out);

/*
 * The same for somebody who asked for it: files are joined as long as two of a partition
 * fit into one, and a smaller share of dead rows is worth a rewrite.
 */
void compact_plan_thorough(struct table *table, struct compact_plan *plan_out);

/*
 * The same for somebody who wants the rows of files ordered by columns: every file up to number
 * `newest` (compact_newest at the start of the work) is rewritten once, joined with others of its
 * partition as they fit into one.
 */
void compact_plan_sorted(struct table *table, const struct rewrite_sort *sort, uint32_t newest,
                         struct compact_plan *plan_out);
uint32_t compact_newest(struct table *table);

struct compact_result {
    bool committed; /* false: an input was rewritten by somebody meanwhile; plan again */
    int64_t version;
    int64_t files_removed;
    int64_t rows_written;
    int64_t rows_purged;     /* dead rows left behind */
    int64_t rows_translated; /* deleted meanwhile */
    int64_t file_bytes;      /* of the output, 0 = nothing was alive */
    int64_t work_us;         /* without the lock */
    int64_t locked_us;       /* with the commit lock */
};

/*
 * Run a plan: write the output and its images, then commit. Small files that merges make
 * meanwhile are joined between its rows, in commits of their own.
 *
 *   stop  NULL, or a flag that ends the run early with ERR_CANCELLED
 *
 * Errors:  ERR_NO_SPACE; ERR_CANCELLED; ERR_IO the outcome is unknown.
 * Thread:  any, between table_maintenance_begin and _end; memory is one row group, the row maps and
 *          24 bytes an index entry of the output.
 */
enum err_code compact_run(struct table *table, const struct compact_plan *plan,
                          const _Atomic bool *stop, struct compact_result *result_out,
                          struct err *err) MUST_USE;
