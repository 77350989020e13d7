/*
 * A new data file of a commit, from its bytes to its add action and its place in
 * the snapshot. Used by merges and by rewriting.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/delta/log.h"
#include "storage/parquet/writer.h"
#include "storage/snapshot/files.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delta_transaction;
struct images;
struct object_group;

enum { OUTPUT_BYTES_MAX = INT32_MAX, OUTPUT_TEXT_BYTES_MAX = 64 << 20 };

/* Owned by whoever makes the commit; deinit accepts a zeroed struct. */
struct output {
    uint32_t number; /* in the index */
    char *name;      /* object name */
    char *path;      /* as add.path spells it */
    struct delta_pair *partition_values;
    size_t partition_values_count;
    char *partition_texts; /* storage of the values */
    int64_t rows_count;
    int64_t file_bytes;
    int64_t position; /* highest order position of its rows */
    char *stats;
    struct images *images;        /* NULL = none */
    struct shared_vector *vector; /* rows that died before the commit; NULL = none */
};
void output_deinit(struct output *output);

/*
 * Name a new file in the partition of a row (any row of the file).
 *
 *   frame, row  its partition columns; ignored when the schema has none
 */
void output_init(struct output *output, uint32_t number, const struct frame *frame, int64_t row);

/* The same of changed rows: a change data file, which no index knows. */
void output_init_changes(struct output *output, const struct frame *frame, int64_t row);

/* The same in the partition of an existing file. */
void output_init_like(struct output *output, uint32_t number, const struct delta_file *file);

/* Which columns go to the file, and which may have statistics: flags per field; mem_free each. */
void output_masks(const struct schema *schema, bool **columns_out, bool **statistics_out);

/* Keep what the Parquet writer measured. tight: the table uses deletion vectors. */
enum err_code output_take_written(struct output *output, const struct schema *schema,
                                  const struct parquet_written *written, bool tight,
                                  struct err *err) MUST_USE;

/* Encode rows of a frame and put the file; durable with its group. */
enum err_code output_write(struct output *output, struct object_group *group,
                           struct parquet_writer_context *context, const struct frame *frame,
                           const int64_t *rows, int64_t count, bool tight,
                           struct err *err) MUST_USE;

/*
 * Add it to a transaction.
 *   dv  descriptor of `vector`; NULL = none
 */
void output_commit(const struct output *output, struct delta_transaction *transaction,
                   bool data_change, const struct delta_dv *dv);

/* The file gets a vector in its first commit: its statistics do not claim tight bounds then. */
enum err_code output_loosen(struct output *output, struct err *err) MUST_USE;
