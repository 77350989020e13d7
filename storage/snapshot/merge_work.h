/*
 * One attempt of a merge: from a plan to durable files, and from a commit to the
 * index. merge.c drives it.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/delta/deletion_vector.h"
#include "storage/snapshot/output.h"
#include "storage/snapshot/plan.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table_internal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delta_transaction;

/* A stored file that loses rows. */
struct touched {
    const struct snapshot_file *file;
    struct deletion_vector *vector; /* old marks and new ones; taken by the snapshot later */
    size_t marks_count;             /* new ones */
    bool emptied;                   /* no row is left: the file goes */
    bool rewritten;                 /* its rows move to an output: the file goes */
    size_t dv_index;                /* in `vectors` when neither */
};

struct merge_work {
    struct table *table;
    const struct snapshot *snapshot; /* borrowed for the attempt */
    const struct merge_input *inputs;
    size_t inputs_count;
    struct plan plan;

    const struct frame *frame; /* rows to be written: an input's or `gathered` */
    struct frame *gathered;
    int64_t *rows;            /* of each put, in `frame` */
    uint32_t *order;          /* puts by (partition, key) */
    struct span *sort_keys;   /* of each put */
    struct buffer sort_bytes; /* storage of sort keys of partitioned tables */
    size_t *partition_sizes; /* of each put: leading bytes of its sort key that are the partition */

    size_t partitions_count;    /* that get new rows */
    struct object_group *group; /* of all data files and the vectors; the commit syncs it */
    struct output *outputs;     /* in order of number */
    size_t *output_ends;        /* puts of `order` up to which an output reaches */
    size_t outputs_count;
    struct touched *touched;
    size_t touched_count;
    struct deletion_vector_batch vectors;
    struct entry_lists lists;
    struct index_view *runs;       /* of the rows that were written; NULL = not made yet */
    bool rewrites;                 /* copy-on-write */
    struct schema *change_schema;  /* of the change data files */
    struct output *change_outputs; /* change data files; borrow names of the schema */
    size_t change_outputs_count;

    pthread_t side; /* makes images and runs while the caller encodes and syncs */
    bool side_started;
    struct err side_err;
};

void merge_work_init(struct merge_work *work, struct table *table, const struct snapshot *snapshot,
                     const struct merge_input *inputs, size_t inputs_count);
void merge_work_deinit(struct merge_work *work);

/* Data files and vectors, durable with their names. work->plan is set. */
enum err_code merge_work_write(struct merge_work *work, struct err *err) MUST_USE;

/* Put the actions of the files into a transaction. */
enum err_code merge_work_stage(const struct merge_work *work, struct delta_transaction *transaction,
                               struct err *err) MUST_USE;

/*
 * Images and index runs of the rows that were written, in work->outputs and
 * work->runs. Usually they are ready: merge_work_write began to make them on a
 * thread of their own, because a merge waits for the disk more than it computes.
 * A full disk does not make it fail.
 */
enum err_code merge_work_index(struct merge_work *work, struct err *err) MUST_USE;

/* Remove what was written for a commit that will never be. */
void merge_work_discard(struct merge_work *work);
