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
    int64_t actions_count; /* rows */
    int64_t file_bytes;
    int64_t write_us;    /* encoding and durable writing */
    int64_t validate_us; /* reading it back */
};

/*
 * Write the checkpoint of a committed state, read it back and compare it with
 * the state, and only then announce it in _last_checkpoint. Expired tombstones
 * are left out. A side file of Hadoop (".<name>.crc") of what is replaced is removed.
 *
 *   now_ms  wall time, for the tombstones' retention
 *
 * Errors:  ERR_CORRUPT what was read back differs (the file is removed);
 *          ERR_NO_SPACE; ERR_IO.
 * Durable: the checkpoint. The announcement is a hint.
 * Thread:  any; blocks for the time of writing; touches only names of its version.
 */
enum err_code delta_checkpoint_write(struct object_store *store, const struct delta_state *state,
                                     int64_t now_ms, struct delta_checkpoint_result *result_out,
                                     struct err *err) MUST_USE;

/* ---- used by state.c ---- */

/* One complete checkpoint found in the log. */
struct delta_checkpoint_ref {
    int64_t version;
    char **names; /* objects: one, or all parts in order */
    size_t names_count;
};
void delta_checkpoint_ref_free(struct delta_checkpoint_ref *ref);

/* What a checkpoint says; every array element holds one reference. */
struct delta_checkpoint_content {
    const struct delta_protocol *protocol;
    const struct delta_metadata *metadata;
    const struct delta_file **files; /* adds and removes */
    size_t files_count;
    size_t files_capacity;
    const struct delta_txn **txns;
    size_t txns_count;
    size_t txns_capacity;
    const struct delta_domain **domains;
    size_t domains_count;
    size_t domains_capacity;
};
void delta_checkpoint_content_free(struct delta_checkpoint_content *content);

/* Errors: ERR_CORRUPT, ERR_NOT_FOUND a part or sidecar; ERR_IO. */
enum err_code delta_checkpoint_read(struct object_store *store,
                                    const struct delta_checkpoint_ref *ref,
                                    struct delta_checkpoint_content *content_out,
                                    struct err *err) MUST_USE;

/* The version that _last_checkpoint names, or -1 (absent, torn, unreadable). */
int64_t delta_checkpoint_hint(struct object_store *store);

/* Decode _last_checkpoint's text: its version. Errors: ERR_CORRUPT. */
enum err_code delta_checkpoint_hint_decode(struct span text, int64_t *version_out,
                                           struct err *err) MUST_USE;

enum delta_checkpoint_kind {
    DELTA_CHECKPOINT_CLASSIC,
    DELTA_CHECKPOINT_PART,
    DELTA_CHECKPOINT_V2_PARQUET,
    DELTA_CHECKPOINT_V2_JSON,
};

/* Parse an object name of the log folder; false when it is no checkpoint. */
struct delta_checkpoint_name {
    enum delta_checkpoint_kind kind;
    int64_t version;
    int32_t part;  /* from 1 */
    int32_t parts; /* 1 when not multi-part */
};
bool delta_checkpoint_name_parse(const char *name, struct delta_checkpoint_name *name_out);
