/*
 * What commits of a Delta table changed, as rows: all of one version, or those that one
 * commit took away and brought. Told from data files and deletion vectors, so that any
 * Delta table can be followed, with or without a change data feed.
 *
 *   a file that came       its live rows were added
 *   a file that went       its live rows were removed
 *   another vector         rows it marks now were removed, rows it marks no more added
 *
 * Files of actions that change no data (dataChange false, as a compaction's) are passed
 * over. Whoever replaces whole files removes and adds the rows that stayed the same, too.
 *
 * The order is that of the paths and of the rows in the files, the same at every reading.
 *
 * Source: delta PROTOCOL.md "Add File and Remove File".
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/delta/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;
struct changes; /* heap handle; one thread at a time */

enum change_side { CHANGE_REMOVED, CHANGE_ADDED };
enum { CHANGE_SIDE_COUNT = CHANGE_ADDED + 1 };

/* Names of the columns to read. */
struct change_columns {
    const char *const *names; /* NULL = all; borrowed while changes are made */
    size_t count;
};

struct changes_options {
    struct object_store *store; /* outlives the changes */
    struct change_columns columns[CHANGE_SIDE_COUNT];
    int64_t column_bytes_max; /* contents of one string or binary column of a frame; 0 = no limit
                                 but COLUMN_BYTES_MAX */
};

/*
 * All rows of a version, as added ones.
 *
 * Errors:  ERR_INVALID a column that the table does not have; ERR_UNSUPPORTED a nested
 *          one that is to be read, by name; ERR_CORRUPT the log's schema.
 */
enum err_code changes_of_version(const struct changes_options *options, struct delta_state *state,
                                 struct changes **changes_out, struct err *err) MUST_USE;

/*
 * Those of one commit, which made `after` of `before`. Errors: as above, of removed rows'
 * columns by the schema before it.
 */
enum err_code changes_of_commit(const struct changes_options *options, struct delta_state *before,
                                const struct delta_commit *commit, struct delta_state *after,
                                struct changes **changes_out, struct err *err) MUST_USE;

/* Accepts NULL inside; nulls. */
void changes_free(struct changes **changes);

/*
 * The columns that are read of a side, as the log has them: no key, partition columns included.
 * NULL for the removed side when no file has removed rows.
 */
const struct schema *changes_schema(const struct changes *changes, enum change_side side);

/* Is there a removed row? Reads vectors, not rows; a file that does not say how many it has has
 * one.
 */
enum err_code changes_remove_rows(struct changes *changes, bool *removed_out,
                                  struct err *err) MUST_USE;

/* Where reading goes on; zero = the beginning of a side. */
struct change_place {
    int64_t file; /* of the side's files */
    int64_t row;  /* of the file, or of those that its vectors tell apart */
};

/*
 * Append rows from a place on.
 *
 *   frame     of changes_schema(side)
 *   rows_max  at most so many
 *   place     moved behind them
 *   done_out  nothing is left behind the place
 *
 * Errors:  ERR_TOO_LARGE they hold more than column_bytes_max: take a new frame, the same
 *          place, and fewer rows; ERR_NOT_FOUND a file is gone (vacuumed); ERR_CORRUPT, also a
 *          place that there is not; ERR_UNSUPPORTED; ERR_IO. The frame is worthless then.
 */
enum err_code changes_read(struct changes *changes, enum change_side side, int64_t rows_max,
                           struct change_place *place, struct frame *frame, bool *done_out,
                           struct err *err) MUST_USE;

/* Bytes of the files that were opened so far, for progress. */
int64_t changes_bytes_opened(const struct changes *changes);
