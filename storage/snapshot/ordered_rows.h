/*
 * All rows of a snapshot in an order that the rows alone decide, however merges
 * and compactions cut them into files: by the bytes of the key. Append tables have
 * no such order; theirs is that of the files as they were accepted (by lane
 * position, then name), which is the same each time for one version.
 *
 * Several rows of one key, or rows whose key has a null (other engines write
 * such), stand in the order of their contents.
 *
 * Memory is bounded whatever the size of the table: files that are in key order
 * already (ours are) are read side by side; others are cut into sorted runs that
 * go to a scratch file (storage/base/scratch.h).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ORDERED_SOURCES_MAX = 32,       /* files and runs read side by side */
    ORDERED_CHUNK_BYTES = 2 << 20,  /* of each in memory, about */
    ORDERED_CHUNK_ROWS_MAX = 16384, /* the same, in rows */
    ORDERED_RUN_BYTES = 96 << 20,   /* rows sorted in memory at a time, about */
};

struct ordered_rows;

struct ordered_rows_options {
    const struct snapshot *snapshot; /* borrowed until close */
    const bool *columns; /* per schema field: wanted? NULL = all; others are null in the frames,
                            but for those of the key */
    const struct scan_filter *filters; /* all must hold; borrowed until close */
    size_t filters_count;
    const char *scratch_folder; /* private to the process */
    int64_t run_bytes;          /* 0 = ORDERED_RUN_BYTES; for tests */
    /* Asked at each chunk: may we go on? Its error ends the call. NULL = yes. */
    enum err_code (*check)(void *self, struct err *err);
    void *self;
};

/*
 * Look at the files and sort what is not in order: for a table of ours one pass
 * over the key columns, for others everything is read, sorted and spilled.
 *
 * Errors:  ERR_INVALID the filters (scan_filters_check); ERR_NOT_FOUND a data file is gone;
 *          ERR_NO_SPACE; ERR_CORRUPT; ERR_UNSUPPORTED; ERR_IO; those of `check`.
 */
enum err_code ordered_rows_open(const struct ordered_rows_options *options,
                                struct ordered_rows **rows_out, struct err *err) MUST_USE;
void ordered_rows_close(struct ordered_rows **rows);

/*
 * Append the next rows, at most `count`, to `frame` (of the snapshot's schema).
 *   more_out  false: these were the last
 * Errors:  as ordered_rows_open.
 */
enum err_code ordered_rows_next(struct ordered_rows *rows, int64_t count, struct frame *frame,
                                bool *more_out, struct err *err) MUST_USE;

/* Live rows looked at by ordered_rows_next and, when sorting, before; and how many there will be.
 */
struct ordered_rows_work {
    int64_t done;
    int64_t total; /* -1 = a foreign file does not say */
};
struct ordered_rows_work ordered_rows_work(const struct ordered_rows *rows);

/* Runs that went to the scratch file; for tests and logs. */
int64_t ordered_rows_runs_count(const struct ordered_rows *rows);
