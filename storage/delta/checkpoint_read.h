/*
 * Finding and reading checkpoints of every kind. Private to this folder.
 */
#pragma once

#include "storage/delta/actions.h"

struct object_store;

enum { DELTA_CHECKPOINT_ROWS_MAX = 100000000 };

enum checkpoint_kind {
    CHECKPOINT_CLASSIC,
    CHECKPOINT_PART,
    CHECKPOINT_V2_PARQUET,
    CHECKPOINT_V2_JSON,
};

struct checkpoint_name {
    enum checkpoint_kind kind;
    int64_t version;
    int32_t part;  /* from 1 */
    int32_t parts; /* 1 when not multi-part */
};

/* Parse an object name of the log folder; false when it is no checkpoint. */
bool checkpoint_name_parse(const char *name, struct checkpoint_name *name_out);

/* "_delta_log/00000000000000000010.checkpoint.parquet" */
void checkpoint_classic_name(int64_t version, char name_out[DELTA_LOG_NAME_BYTES]);

/* Gets every tombstone, each borrowed for the call. */
struct checkpoint_removed {
    enum err_code (*take)(void *self, const struct delta_file *file, struct err *err);
    void *self;
};

/* One that adds them to the actions. */
struct checkpoint_removed checkpoint_removed_to(struct delta_actions *actions);

/*
 * Read all objects of one complete checkpoint, sidecars too.
 *
 *   names    one object, or all parts in order
 *   removed  NULL: tombstones are not read. Those of a checkpoint in JSON are added to the
 *            actions whatever this says
 *   actions  appended to
 *
 * Errors:  ERR_CORRUPT, ERR_UNSUPPORTED; ERR_NOT_FOUND a part or sidecar; ERR_IO.
 */
enum err_code checkpoint_read(struct object_store *store, char *const *names, size_t names_count,
                              const struct checkpoint_removed *removed,
                              struct delta_actions *actions, struct err *err) MUST_USE;

/* One Parquet checkpoint file in memory; sidecars are named, not read. Errors: as above. */
enum err_code checkpoint_decode(struct span file, const struct checkpoint_removed *removed,
                                struct delta_actions *actions, struct err *err) MUST_USE;

/* The version that _last_checkpoint names, or -1 (absent, torn, unreadable): only a hint. */
int64_t checkpoint_hint(struct object_store *store);

/* Decode _last_checkpoint's text. Errors: ERR_CORRUPT. */
enum err_code checkpoint_hint_decode(struct span text, int64_t *version_out,
                                     struct err *err) MUST_USE;
