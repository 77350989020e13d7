/*
 * Rewriting: the live rows of some data files, and perhaps new rows, into one
 * new file, ordered by key or by chosen columns. The engine of compaction and of copy-on-write.
 * Streams: memory is a chunk per input, one row group, and the row maps; where columns are chosen,
 * rows are sorted in runs (rewrite_sort.h).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/output.h"
#include "storage/snapshot/rewrite_sort.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table_internal.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REWRITE_INPUTS_MAX = 4096 };
#define REWRITE_DROPPED UINT32_MAX

/* One file to read. */
struct rewrite_input {
    const struct snapshot_file *file;
    const struct deletion_vector *dead; /* rows left out; NULL = none */
    uint32_t *new_rows;                 /* rows_count slots, filled with the row of the output or
                                           REWRITE_DROPPED; NULL = not wanted */
};

/* New rows, ascending by key; arrays of `count`. */
struct rewrite_rows {
    const struct frame *frame;
    const int64_t *rows;
    const struct span *keys;
    const uint64_t *hashes;
    const int64_t *sequences;
    size_t count;
};

/* Something else to be done on the table, between the rows of a long run. */
typedef enum err_code rewrite_between_fn(void *arg, struct err *err);

struct rewrite_request {
    struct table *table;
    struct object_group *group; /* the file becomes durable with it */
    const struct snapshot *snapshot;
    struct rewrite_input *inputs;
    size_t inputs_count;
    const struct rewrite_rows *extra; /* NULL = none */
    const struct rewrite_sort *sort;  /* NULL = by key; not with `extra` */
    bool tight;                       /* the table uses deletion vectors */
    const _Atomic bool *stop;         /* NULL, or read between chunks: ERR_CANCELLED */
    rewrite_between_fn *between;      /* NULL, or called between chunks; its error ends the run */
    void *between_arg;
};

/*
 * Write the file; durable with its group. output->number and names are set before; rows_count 0
 * afterwards means that nothing was alive and no file was left.
 *
 *   lists   gets the entries of the rows; NULL = the table has no index
 */
enum err_code rewrite_run(const struct rewrite_request *request, struct output *output,
                          struct entry_lists *lists, struct err *err) MUST_USE;
