/*
 * A table's change data feed: the rows that each commit of a range of versions inserted,
 * updated or deleted, whoever wrote them.
 *
 * A commit that has change data files is told by them alone. Any other is told by its data
 * files and deletion vectors (changes.h), as deletes and inserts; those that say that they
 * change no data, as a compaction does, are passed over. Without a feed
 * (delta.enableChangeDataFeed) a writer may replace whole files to change one row: such
 * commits are refused.
 *
 * The order is that of the versions, then of files as the log has them, and of rows in files;
 * the same at every reading.
 *
 * Source: delta PROTOCOL.md "Add CDC File", "Change Data Files"; reference section 9.2.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/changes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed; /* heap handle; one thread at a time */

/* Where reading goes on; zero but for the version = the beginning of a version. */
struct feed_place {
    int64_t version;
    int64_t side; /* enum change_side, of a commit without change data files */
    struct change_place at;
};

struct feed_options {
    struct object_store *store; /* outlives the feed */
    struct feed_place start;
    int64_t to_version;         /* the last one that is told; a version of the table */
    const char *const *columns; /* names of those that are told; NULL = all; borrowed */
    size_t columns_count;
};

/*
 * Errors:  ERR_NOT_FOUND the log no longer leads to the first version, with what is left;
 *          ERR_CORRUPT; ERR_UNSUPPORTED; ERR_IO.
 */
enum err_code feed_open(const struct feed_options *options, struct feed **feed_out,
                        struct err *err) MUST_USE;
void feed_close(struct feed **feed); /* accepts NULL inside; nulls */

/* Rows of one commit; borrowed until the next call on the feed. */
struct feed_piece {
    const struct frame *frame;
    const bool *columns;     /* per field: told? */
    const char *change_type; /* of all rows; NULL = the last column says of each */
    int64_t version;
    int64_t timestamp_ms; /* of the commit */
};

/*
 * The next rows, at most so many.
 *
 *   done_out  there are none left, and no piece
 *
 * Errors:  ERR_CONFLICT a version without a feed, with what to do; ERR_NOT_FOUND files or
 *          commits that are gone; ERR_CORRUPT; ERR_UNSUPPORTED; ERR_IO.
 */
enum err_code feed_read(struct feed *feed, int64_t rows_max, struct feed_piece *piece_out,
                        bool *done_out, struct err *err) MUST_USE;

/* Behind the last piece. */
struct feed_place feed_place(const struct feed *feed);

/*
 * Append a row as JSON with "_change_type", "_commit_version" and "_commit_timestamp" behind its
 * columns; the buffer's ceiling applies (buffer_check).
 */
void feed_write_row(const struct feed_piece *piece, int64_t row, struct buffer *text);
