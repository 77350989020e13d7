/*
 * Checkpoints: the whole state of one version in Parquet, so that a load need
 * not replay the log from its beginning. Written classic V1 with exactly Spark's
 * types; read classic, multi-part and V2 (with sidecars).
 *
 * Source: delta PROTOCOL.md "Checkpoints"; reference section 7.
 */
#pragma once

#include "storage/delta/log.h"
#include "storage/delta/state.h"

struct object_store;

struct delta_checkpoint_result {
    int64_t version;
    int64_t actions_count;     /* rows */
    int64_t adds_count;        /* of them live files */
    int64_t removed_count;     /* tombstones */
    int64_t removed_oldest_ms; /* when the oldest of them was deleted; now_ms without one */
    int64_t file_bytes;
    int64_t write_us;    /* encoding and durable writing */
    int64_t validate_us; /* reading it back */
};

enum { DELTA_CHECKPOINT_BYTES_MAX = 1 << 30 }; /* made in memory */

/* Something else to be done between the tombstones of a checkpoint, which may take seconds. */
typedef enum err_code delta_between_fn(void *arg, struct err *err);

struct delta_checkpoint_options {
    int64_t now_ms;            /* wall time, for the tombstones' retention */
    delta_between_fn *between; /* NULL, or called now and then; its error ends the writing */
    void *between_arg;
};

/*
 * Make the checkpoint of a committed state, read it back and compare it with
 * the state, only then give it its name and announce it in _last_checkpoint.
 * Expired tombstones are left out. A side file of Hadoop (".<name>.crc") of what
 * is replaced is removed.
 *
 * Errors:  ERR_CORRUPT what was read back differs (nothing is written);
 *          ERR_NO_SPACE; ERR_IO; those of `between`.
 * Durable: the checkpoint. The announcement is a hint.
 * Thread:  any; blocks for the time of writing; touches only names of its version.
 */
enum err_code delta_checkpoint_write(struct object_store *store, const struct delta_state *state,
                                     const struct delta_checkpoint_options *options,
                                     struct delta_checkpoint_result *result_out,
                                     struct err *err) MUST_USE;

/* What there is to load from. */
struct delta_checkpoint_info {
    int64_t version;
    const char *kind;   /* "classic", "multi-part", "v2-parquet", "v2-json"; static */
    size_t files_count; /* without sidecars */
};
struct delta_checkpoints {
    struct delta_checkpoint_info *items; /* complete ones, ascending by version */
    size_t count;
    int64_t hint; /* the version that _last_checkpoint names; -1 = none that can be read */
};

/* Memory: delta_checkpoints_free. Errors: ERR_IO. */
enum err_code delta_checkpoints_list(struct object_store *store,
                                     struct delta_checkpoints *checkpoints_out,
                                     struct err *err) MUST_USE;
void delta_checkpoints_free(struct delta_checkpoints *checkpoints);
