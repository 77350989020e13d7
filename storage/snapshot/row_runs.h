/*
 * Rows with their sort keys in memory, and sorted runs of them in a scratch file:
 * the parts of an external sort. Who is sorted and merged is ordered_rows.c's.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scratch;

enum { ROW_PILE_KEYS_BYTES_MAX = 256 << 20 };

/* ---- a pile: rows and the sort key of each ---- */

struct row_pile {
    struct frame *frame;
    struct buffer keys;
    size_t *ends; /* of each row's key */
    int64_t ends_capacity;
};
/* Accepts a zeroed pile in deinit, leaves it zeroed. */
void row_pile_init(struct row_pile *pile, const struct schema *schema);
void row_pile_deinit(struct row_pile *pile);
void row_pile_reset(struct row_pile *pile); /* keep memory, drop rows */

/*
 * The sort key of a row: frame_key, or nothing when a part of the key is null
 * (rows of other engines), which stands before all others.
 */
void row_sort_key(const struct frame *frame, int64_t row, struct buffer *key);

/* Note the keys of the rows from `first` on, which were appended to pile->frame. */
enum err_code row_pile_note(struct row_pile *pile, int64_t first, struct err *err) MUST_USE;

static inline struct span row_pile_key(const struct row_pile *pile, int64_t row)
{
    size_t start = row == 0 ? 0 : pile->ends[row - 1];
    return span_of(pile->keys.data + start, pile->ends[row] - start);
}

/* The rows in order of key, equal keys in order of contents. mem_free. */
uint32_t *row_pile_order(const struct row_pile *pile);

/* Of rows of two piles with equal keys: by contents, as row_pile_order has them. */
int row_contents_compare(const struct frame *a, int64_t row_a, const struct frame *b, int64_t row_b,
                         struct buffer scratch[2]);

/* ---- runs: frames back to back in a scratch file, rows in order ---- */

struct row_run {
    int64_t place; /* of the next block to read */
    int64_t end;   /* behind the last block; 0 = nothing written yet */
    int64_t rows_count;
};

struct row_runs {
    const struct schema *schema; /* borrowed */
    const char *folder;          /* borrowed; of the scratch file */
    struct scratch *scratch;     /* NULL until something is written */
    struct buffer block;
};
void row_runs_init(struct row_runs *runs, const struct schema *schema, const char *folder);
void row_runs_deinit(struct row_runs *runs);

/*
 * Append the rows of a frame to a run; between its first frame and its last no
 * other run is written.
 * Errors:  ERR_NO_SPACE; ERR_TOO_LARGE; ERR_IO.
 */
enum err_code row_runs_write(struct row_runs *runs, const struct frame *frame, struct row_run *run,
                             struct err *err) MUST_USE;

/* The next frame of a run (run->place < run->end), frame_free. */
enum err_code row_runs_read(struct row_runs *runs, struct row_run *run, struct frame **frame_out,
                            struct err *err) MUST_USE;
