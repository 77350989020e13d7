/*
 * Rows of a rewrite in an order of their own, by chosen columns: sorted runs of them in a
 * scratch file, each row with the place it had. Who merges the runs is rewrite.c.
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

enum {
    REWRITE_SORT_RUN_BYTES = 96 << 20, /* rows sorted in memory at a time, about */
    REWRITE_SORT_CHUNK_ROWS = 4096,    /* of a run, read at a time */
};

/* By what; borrowed until the rewrite ends. */
struct rewrite_sort {
    const size_t *columns; /* indexes into the schema's fields, of types that keys may have */
    size_t count;
    const char *scratch_folder; /* private to the process */
    int64_t run_bytes;          /* 0 = REWRITE_SORT_RUN_BYTES; for tests */
};

/* A row of an input of the rewrite. */
struct row_place {
    uint32_t input;
    uint32_t row;
};

/* The bytes that a row is ordered by: nulls before everything. */
void rewrite_sort_key(const struct rewrite_sort *sort, const struct frame *frame, int64_t row,
                      struct buffer *key);

/* One sorted run. */
struct sort_run {
    int64_t place; /* of the next chunk to read */
    int64_t end;
};

struct sort_runs {
    const struct rewrite_sort *sort;
    const struct schema *schema; /* borrowed */
    struct scratch *scratch;     /* NULL until something is written */
    struct frame *pile;          /* rows that are in no run yet */
    struct row_place *places;    /* of the pile's rows */
    int64_t places_capacity;
    struct buffer block;
    struct sort_run *items;
    size_t count, capacity;
};
void sort_runs_init(struct sort_runs *runs, const struct rewrite_sort *sort,
                    const struct schema *schema);
void sort_runs_deinit(struct sort_runs *runs); /* accepts a zeroed struct */

/*
 * Add the rows of a frame, which stand in `input` at `rows`; equal ones keep the order in which
 * they are added.
 * Errors:  ERR_NO_SPACE, ERR_TOO_LARGE, ERR_IO.
 */
enum err_code sort_runs_add(struct sort_runs *runs, const struct frame *frame, uint32_t input,
                            const int64_t *rows, struct err *err) MUST_USE;

/* After the last of them: everything is in a run. */
enum err_code sort_runs_finish(struct sort_runs *runs, struct err *err) MUST_USE;

/*
 * The next rows of run `index`, at most REWRITE_SORT_CHUNK_ROWS, none at its end.
 *   frame_out  frame_free
 */
enum err_code sort_runs_read(struct sort_runs *runs, size_t index, struct frame **frame_out,
                             struct row_place *places_out, struct err *err) MUST_USE;
