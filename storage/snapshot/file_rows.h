/*
 * The rows of one data file that a reader sees and that pass filters, chunk by
 * chunk in the order of the file: for whoever reads a table whole. Pages of a
 * listing are scan.h's.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/stored.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to read of every file; borrowed arrays. */
struct file_rows_choice {
    const bool *columns; /* per schema field: wanted? NULL = all; others are null in frames */
    const struct scan_filter *filters; /* all must hold; checked (scan_filters_check) */
    size_t filters_count;
};

/* One file being read; embedded by its owner, zeroed before begin. */
struct file_rows {
    const struct file_rows_choice *choice;
    const struct snapshot_file *file;
    struct stored stored;
    bool *filter_columns; /* per field: some filter looks at it */
    struct frame *probe;  /* filter columns of a chunk; NULL without filters */
    int64_t *rows;        /* of the file: those that the last call appended, in order */
    int64_t rows_capacity;
    int64_t next;      /* first row not yet looked at */
    size_t row_group;  /* of `next` */
    bool group_judged; /* by its statistics */
};

/*
 *   snapshot, file, choice  outlive the reading
 * Errors:  as stored_open.
 */
enum err_code file_rows_begin(struct file_rows *rows, const struct snapshot *snapshot,
                              const struct snapshot_file *file,
                              const struct file_rows_choice *choice, struct err *err) MUST_USE;

/*
 * Append the next rows to `frame` (of the snapshot's schema): those among the next
 * `count` live or dead rows of the file.
 *
 *   visited_out  live rows looked at
 *   more_out     rows are left behind these; nothing appended does not say that
 * Errors:  ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO, with the path.
 */
enum err_code file_rows_next(struct file_rows *rows, int64_t count, struct frame *frame,
                             int64_t *visited_out, bool *more_out, struct err *err) MUST_USE;

/* Accepts a zeroed struct, leaves it zeroed. */
void file_rows_end(struct file_rows *rows);
