/*
 * Clean-up: log entries that a checkpoint covers, and files that no readable
 * version refers to.
 *
 * Source: delta PROTOCOL.md "Metadata Cleanup"; reference section 8.
 */
#pragma once

#include "storage/delta/log.h"
#include "storage/delta/state.h"

struct object_store;

enum {
    DELTA_VACUUM_MINIMUM_MS = 60 * 60 * 1000, /* an hour: longer than any write of ours takes */
    DELTA_LOG_RETENTION_DAYS = 30,
    DELTA_FILE_RETENTION_DAYS = 7,
};

struct delta_vacuum_options {
    int64_t now_ms;       /* wall time */
    int64_t retention_ms; /* -1 = the table's; never less than DELTA_VACUUM_MINIMUM_MS */
    bool dry_run;         /* count, remove nothing */
    /* Is this object still wanted for a reason the log does not know (an older snapshot being
       read, a file about to be committed)? NULL = no. */
    bool (*keep)(void *self, const char *object_name);
    void *keep_self;
    /* Older versions that are being read: their live files stay. */
    const struct delta_state *const *in_use;
    size_t in_use_count;
};

struct delta_vacuum_result {
    int64_t files_seen;
    int64_t files_removed; /* or would be */
    int64_t bytes_removed;
};

/*
 * Remove files below the table folder that are not live, not in a tombstone
 * younger than the retention, and older than the retention. Folders and files
 * that start with '_' or '.' are left alone, except `_change_data`.
 *
 *   state  must be the newest version: files of later commits are protected by
 *          their age only
 *
 * Errors:  ERR_UNSUPPORTED the writer gate; ERR_INVALID a retention under the
 *          minimum; ERR_IO.
 */
enum err_code delta_vacuum(struct object_store *store, const struct delta_state *state,
                           const struct delta_vacuum_options *options,
                           struct delta_vacuum_result *result_out, struct err *err) MUST_USE;

struct delta_log_cleanup_result {
    int64_t removed_count;  /* log objects */
    int64_t oldest_version; /* oldest commit file kept; -1 = nothing was done */
};

/*
 * Remove log entries older than delta.logRetentionDuration that a checkpoint
 * covers, in ascending order of version. Does nothing without a checkpoint old
 * enough, with delta.enableExpiredLogCleanup false, or with checkpointProtection.
 */
enum err_code delta_log_cleanup(struct object_store *store, const struct delta_state *state,
                                int64_t now_ms, struct delta_log_cleanup_result *result_out,
                                struct err *err) MUST_USE;
