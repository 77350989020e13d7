/*
 * The state of a table at one version: what log replay yields.
 *
 * Immutable and reference-counted. Applying a commit shares all but the touched
 * chunks with the state it came from, so its cost follows the commit and not the
 * table.
 *
 * Only a whole state has tombstones: a table with many commits a second has millions of
 * them until they expire, and nobody but checkpoints and vacuum asks: see removed.h.
 *
 * Source: delta PROTOCOL.md "Action Reconciliation"; reference section 3.10, 7.4.
 */
#pragma once

#include "storage/delta/log.h"

struct object_store;
struct ordered; /* persistent ordered set, storage/delta/ordered.h */

enum {
    DELTA_CHECKPOINT_PARTS_MAX = 10000,
    DELTA_COMMITS_SINCE_CHECKPOINT_MAX = 1000000,
};

/* Fields are read-only for everybody outside state.c. */
struct delta_state {
    int64_t version;
    int64_t timestamp_ms;       /* of the commit: inCommitTimestamp, else the file's time */
    int64_t checkpoint_version; /* the checkpoint it was loaded from; -1 = none */
    int64_t log_bytes;          /* of the commits applied since that checkpoint */
    const struct delta_protocol *protocol;
    const struct delta_metadata *metadata;
    int64_t files_count; /* live */
    int64_t files_bytes; /* of live data files */
    int64_t files_with_dv_count;
    int64_t deleted_rows_count;       /* sum of the live vectors' cardinalities */
    int64_t rows_count;               /* live rows of the files that say how many they have */
    int64_t rows_unknown_files_count; /* files without numRecords */
    int64_t tombstones_count;         /* of a whole state, else 0; expired ones included */
    /* private to state.c */
    int references; /* atomic */
    struct ordered *files;
    struct ordered *tombstones; /* NULL: not whole */
    struct ordered *txns;
    struct ordered *domains;
};

struct delta_state *delta_state_acquire(const struct delta_state *state);
void delta_state_release(struct delta_state **state);

/*
 * Load the newest version, without tombstones.
 *
 * Uses the newest complete checkpoint (classic, multi-part or V2) and the
 * commits after it; `_last_checkpoint` may be missing, stale or torn. A
 * checkpoint that cannot be read is passed over for an older one.
 *
 * Errors:  ERR_NOT_FOUND no table here; ERR_UNSUPPORTED the reader gate;
 *          ERR_CORRUPT a hole in the versions, a broken commit, no protocol or
 *          metadata; ERR_IO.
 */
enum err_code delta_state_load(struct object_store *store, struct delta_state **state_out,
                               struct err *err) MUST_USE;

/* Load one version. Errors: as above; ERR_NOT_FOUND names the versions there are. */
enum err_code delta_state_load_version(struct object_store *store, int64_t version,
                                       struct delta_state **state_out, struct err *err) MUST_USE;

/* The same with tombstones; version -1 = the newest. */
enum err_code delta_state_load_whole(struct object_store *store, int64_t version,
                                     struct delta_state **state_out, struct err *err) MUST_USE;

/*
 * The newest version committed at or before `timestamp_ms`.
 * Errors: ERR_NOT_FOUND the table, or what is left of its log, is younger.
 */
enum err_code delta_state_version_at(struct object_store *store, int64_t timestamp_ms,
                                     int64_t *version_out, struct err *err) MUST_USE;

/*
 * The state after `commit`, whose version is state->version + 1; whole when `state` is.
 *
 *   timestamp_ms  of the commit file, used when the commit has no timestamp of its own; -1 = now
 *   commit_bytes  size of the commit file, for checkpoint triggers
 *
 * Errors:  ERR_UNSUPPORTED a new protocol we cannot read; ERR_CORRUPT.
 */
enum err_code delta_state_apply(const struct delta_state *state, const struct delta_commit *commit,
                                int64_t timestamp_ms, int64_t commit_bytes,
                                struct delta_state **state_out, struct err *err) MUST_USE;

/* Commits in ascending order; each holds one reference. */
struct delta_commits {
    const struct delta_commit **items;
    size_t count;
};
void delta_commits_free(struct delta_commits *commits);

/*
 * Follow the log: read and apply every commit after `state`.
 *
 *   commits_out  NULL, or gets the commits applied (empty: nothing new)
 *   state_out    a reference; to `state` itself when nothing is new
 */
enum err_code delta_state_update(const struct delta_state *state, struct object_store *store,
                                 struct delta_commits *commits_out, struct delta_state **state_out,
                                 struct err *err) MUST_USE;

/*
 * One step: read the commit behind `state` and apply it.
 *   state  NULL = version 0 is the next
 * Errors:  ERR_NOT_FOUND there is no such commit (any more).
 */
enum err_code delta_state_step(struct object_store *store, const struct delta_state *state,
                               const struct delta_commit **commit_out,
                               struct delta_state **state_out, struct err *err) MUST_USE;

/* The same state with the checkpoint mark moved: resets checkpoint_version and log_bytes. */
struct delta_state *delta_state_after_checkpoint(const struct delta_state *state,
                                                 int64_t checkpoint_version);

/* What it is, default 7 days. */
#define DELTA_RETENTION_PROPERTY "delta.deletedFileRetentionDuration"
int64_t delta_state_retention_ms(const struct delta_state *state);

/* ---- reading; all O(log n), borrowed from the state ---- */

/* Live files in the order of (path, vector): 0 <= index < files_count. */
const struct delta_file *delta_state_file_at(const struct delta_state *state, int64_t index);
/* The live file with this path (verbatim), or NULL. */
const struct delta_file *delta_state_file_by_path(const struct delta_state *state,
                                                  const char *path);
/* Is this very (path, vector) live? */
bool delta_state_file_is_live(const struct delta_state *state, const struct delta_file *file);
/* Of a whole state. */
bool delta_state_file_is_removed(const struct delta_state *state, const struct delta_file *file);
const struct delta_file *delta_state_tombstone_at(const struct delta_state *state, int64_t index);

/* False when the appId was never seen. */
bool delta_state_txn(const struct delta_state *state, const char *app_id, int64_t *version_out);
int64_t delta_state_txns_count(const struct delta_state *state);
const struct delta_txn *delta_state_txn_at(const struct delta_state *state, int64_t index);
int64_t delta_state_domains_count(const struct delta_state *state);
const struct delta_domain *delta_state_domain_at(const struct delta_state *state, int64_t index);

/*
 * Iterate in order, faster than file_at:
 * `for (struct delta_cursor c = {0}; (file = delta_state_next_file(state, &c)) != NULL;)`
 */
struct delta_cursor {
    size_t chunk;
    size_t item;
};
const struct delta_file *delta_state_next_file(const struct delta_state *state,
                                               struct delta_cursor *cursor);
/* Of a whole state. */
const struct delta_file *delta_state_next_tombstone(const struct delta_state *state,
                                                    struct delta_cursor *cursor);

/* ---- history ---- */

struct delta_history_entry {
    int64_t version;
    int64_t timestamp_ms; /* monotonic over versions */
    struct json *info;    /* commitInfo or NULL */
};
struct delta_history {
    struct delta_history_entry *entries; /* newest first */
    size_t count;
};

/*
 * Commits still in the log, newest first.
 *
 *   before_version  only versions smaller than this; -1 = from the newest
 *   limit           at most so many
 */
enum err_code delta_history_read(struct object_store *store, int64_t before_version, size_t limit,
                                 struct delta_history *history_out, struct err *err) MUST_USE;
void delta_history_free(struct delta_history *history);
