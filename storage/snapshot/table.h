/*
 * One open table: its log, its key index and the snapshot that readers see.
 *
 * Writers: one merger per lane calls table_merge; compaction, maintenance and
 * refresh may run beside it. They meet in the table's commit lock
 * (LOCK_RANK_COMMIT), which is held across the I/O of a commit and nothing else.
 * Readers: table_snapshot takes a reference without any lock.
 *
 * Commits are `commitInfo.sluice` = {"from":…,"to":…,"batches":[…],
 * "tombstones":[…]}: the positions they hold, what became of each batch (or the
 * name of the file with it), and every live tombstone file.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delta_checkpoint_options;
struct delta_checkpoint_result;
struct object_store;
struct snapshot;
struct table;

struct table *table_acquire(struct table *table);
/* Accepts NULL inside; nulls the caller's pointer. For CLEANUP too. */
void table_release(struct table **table);

/* Set once at open; borrowed until the reference is released. */
const char *table_name(const struct table *table);
const struct id *table_uuid(const struct table *table);
struct object_store *table_store(const struct table *table);

/* The definition in force: a reference, schema_release. Any thread. */
struct schema *table_schema(struct table *table);

/* The newest published snapshot: a reference, snapshot_release. Any thread, no lock. */
const struct snapshot *table_snapshot(struct table *table);

/* Version of the newest published snapshot, for gauges and waits. Any thread, no lock. */
int64_t table_version(struct table *table);

/*
 * The table as of a version or a moment; recently used ones are cached. Such a
 * snapshot is scanned, it has no index (lookup.h scans it).
 * The newest version gives the published snapshot.
 *
 * Errors:  ERR_NOT_FOUND the log does not reach back so far, or the version is
 *          in the future (the message names the versions there are); ERR_IO.
 */
enum err_code table_snapshot_at_version(struct table *table, int64_t version,
                                        const struct snapshot **snapshot_out,
                                        struct err *err) MUST_USE;
enum err_code table_snapshot_at_time(struct table *table, int64_t timestamp_ms,
                                     const struct snapshot **snapshot_out,
                                     struct err *err) MUST_USE;

/* ---- merging ---- */

enum {
    MERGE_BATCHES_MAX = 10000,    /* in one commit */
    MERGE_ROWS_MAX = 4 << 20,     /* of all batches of one commit */
    MERGE_PARTITIONS_MAX = 2000,  /* of the batches of one commit together */
    TABLE_PAUSE_FROM_MERGES = 64, /* see table_pause_us */
    TABLE_PAUSE_US_A_MERGE = 500,
    TABLE_PAUSE_FROM_DEAD_PERCENT = 24,
    TABLE_PAUSE_FROM_ROWS = 8 << 10, /* dead; of a small table it is quickly a large share */
    TABLE_PAUSE_US_A_THOUSANDTH = 1000,
    TABLE_PAUSE_INDEX_SHARE = 20, /* dead entries of the index cost less than dead rows */
    TABLE_PAUSE_US_MAX = 50000,
    TABLE_REST_US = 2000000,               /* see table_is_resting */
    TABLE_STORE_US = 1000000,              /* see table_store_index_when_due */
    MERGE_ATTEMPTS_MAX = 20,               /* re-plans after foreign commits before ERR_BUSY */
    MERGE_OUTCOME_INLINE_BYTES = 16 << 10, /* larger outcomes get a file of their own */
};

/* One batch to merge; borrowed for the call. */
struct merge_input {
    const struct frame
        *frame;        /* of this or an older version of the definition; others may share it */
    int64_t row_first; /* of the batch, in the frame */
    int64_t rows_count;
    struct id batch;
    int64_t position;       /* in the lane; inputs ascend by it */
    int64_t order_position; /* = position, or the original one of a replay or a re-application:
                               such a record wins only when strictly newer than what is stored */
    bool forced;            /* wins whatever is stored */
};

enum merge_code {
    MERGE_KEY_EXISTS, /* insert of a live key */
    MERGE_REQUIRED,   /* patch of an absent key that leaves a field without a value */
    MERGE_CONSTRAINT, /* the row does not meet a constraint of the table */
};
const char *merge_code_name(enum merge_code code); /* "key_exists", "required", "constraint" */

struct merge_rejection {
    int64_t row; /* of the batch, from 0 */
    enum merge_code code;
    int32_t field_id; /* MERGE_REQUIRED: the first field without a value; else 0 */
    char *detail; /* MERGE_CONSTRAINT: which one, "name: text"; else NULL; owned by the outcome */
};

/* What became of one batch: applied + superseded + rejections_count = rows of its frame. */
struct merge_batch_outcome {
    int64_t position;
    bool already;      /* its position was in the table before: nothing was done now */
    bool counts_known; /* false only with `already`, when the log no longer tells */
    int64_t version;   /* that holds it; -1 = not known any more */
    int64_t applied;   /* won in their turn, also when a later record of the commit won over them */
    int64_t superseded; /* lost against a newer row, tombstone or record */
    struct merge_rejection *rejections;
    size_t rejections_count;
};

/* Owned by the caller; merge_outcome_deinit. */
struct merge_outcome {
    int64_t version;      /* of the commit; the table's version when nothing was committed */
    bool committed;       /* false: every batch was there already */
    int64_t rows_added;   /* rows of new files that stand for records */
    int64_t rows_removed; /* stored rows that were marked or left out */
    int64_t files_touched;
    int64_t plan_us, write_us, commit_us, publish_us;
    size_t batches_count;                /* = inputs */
    struct merge_batch_outcome *batches; /* in the order of the inputs */
};
void merge_outcome_deinit(struct merge_outcome *outcome);

/*
 * Merge batches into the table as one version and publish it.
 *
 * Rules, applied record by record in the order of inputs and rows, against the
 * stored row and what earlier records of the call did:
 *   sequence   the value of sequence_by, else the order position. A record wins
 *              when its sequence is not smaller than the stored row's (or, when
 *              there is no row, the tombstone's); a replay (order_position !=
 *              position) only when it is larger, or equal and its order position
 *              is newer than every row of the stored row's file, or equal to an
 *              earlier record of its own batch; a forced one always. Losers are
 *              superseded.
 *   upsert     replaces the whole row, absent fields are null
 *   patch      keeps fields that are not present; of an absent key: inserts the
 *              given fields, rejected `required` when a nullable:false field lacks
 *   insert     rejected `key_exists` when the key is live, whatever the sequence
 *   delete     removes the row and leaves a tombstone until delete_retention
 * Several stored rows of one key (foreign appends) count as the newest of them;
 * a winner removes them all.
 * Append tables only add: rows of every operation but delete, which is asserted
 * against.
 *
 * Exactly once: an input whose position is not above the table's txn version was
 * merged before; it is left out and its outcome read back. The commit carries
 * txn = the highest position of the inputs.
 *
 *   outcome_out  set when ERR_OK
 *
 * Errors:  ERR_NO_SPACE nothing was committed, try again; ERR_BUSY foreign
 *          writers won MERGE_ATTEMPTS_MAX times; ERR_CONFLICT the table's columns
 *          were changed by another engine, or our version was overwritten
 *          (call table_refresh); ERR_UNSUPPORTED a foreign engine switched on a
 *          writer feature we lack; ERR_IO the outcome is unknown: the process
 *          must stop and start again (process_stop_after_io_error).
 * Thread:  one caller at a time per table; holds the commit lock.
 * Durable: the version, when ERR_OK. Index and images are derived.
 */
enum err_code table_merge(struct table *table, const struct merge_input *inputs,
                          size_t inputs_count, struct merge_outcome *outcome_out,
                          struct err *err) MUST_USE;

/* The highest position that is in the table (its txn version), 0 = none. Any thread. */
int64_t table_applied_position(struct table *table);

/*
 * The same as of a snapshot: no row in it has a higher position. What orders just above
 * it wins over every row of the snapshot and over nothing that came later.
 */
int64_t table_snapshot_position(const struct table *table, const struct snapshot *snapshot);

/*
 * What became of batches that are in the table, read back from the log (for a start between
 * commit and bookkeeping): each commit that holds some of them is read once.
 *
 *   positions     ascending, none above table_applied_position
 *   outcomes_out  one each; version -1 = the log does not tell any more. Deinit, when ERR_OK
 */
enum err_code table_outcomes_read(struct table *table, const int64_t *positions, size_t count,
                                  struct merge_batch_outcome *outcomes_out,
                                  struct err *err) MUST_USE;
void merge_batch_outcome_deinit(struct merge_batch_outcome *outcome);

/* ---- following the log ---- */

struct table_refresh_result {
    bool changed;             /* a newer version was published */
    int64_t overwritten_from; /* first version of ours that another engine replaced; -1 = none */
    int64_t overwritten_position; /* smallest position such versions held; batches from there on
                                     are to be merged again as re-applications; -1 = none */
};

/*
 * See what others committed: read new versions, extend the index by the key
 * columns of their files, publish. Cheap when there is nothing new.
 *
 * Our newest commits are remembered by hash; one that reads differently now was
 * overwritten by a writer without put-if-absent: the state and the index are
 * rebuilt and the loss is reported once.
 *
 * Errors:  as table_merge.
 * Thread:  any; takes the commit lock.
 */
enum err_code table_refresh(struct table *table, struct table_refresh_result *result_out,
                            struct err *err) MUST_USE;

/*
 * Change the definition (schema_evolve decided that it may): commits it to the log,
 * with its new columns when there are any, and publishes a snapshot with the new
 * schema. A change of lookup columns rebuilds the index. Nothing is done when `next` is
 * the definition in force and the log holds it.
 *
 * The commit is the moment of the change. What fails before it leaves nothing; should
 * publishing fail after it, the next refresh or merge takes the definition from the log.
 *
 * Errors:  ERR_PRECONDITION another change came before this one; else as table_merge.
 * Thread:  any; takes the commit lock.
 * Durable: the definition, when ERR_OK.
 */
enum err_code table_change_schema(struct table *table, const struct schema *next,
                                  struct err *err) MUST_USE;

/* ---- maintenance, called by workers ---- */

/*
 * Compaction (compact.h) and table_index_maintain are one thread's at a time: whoever
 * wants to do them begins here, and ends.
 *
 *   until_us  wait for others until then (clock_monotonic_us); 0 = do not wait
 * False: somebody else is at it.
 */
bool table_maintenance_begin(struct table *table, int64_t until_us);
void table_maintenance_end(struct table *table);

enum { TABLE_VACUUM_SECONDS_MIN = 3600 };

struct table_vacuum_options {
    int64_t now_ms;       /* wall time */
    int64_t retention_ms; /* of files that no longer are in the table; an hour at least */
    bool dry_run;         /* count, remove nothing */
};
struct table_vacuum_result {
    int64_t files_seen;
    int64_t files_removed; /* or would be */
    int64_t bytes_removed;
};

/*
 * Remove files that neither the newest version refers to, nor one that somebody is
 * reading, nor a tombstone younger than the retention (storage/delta/vacuum.h). What
 * others committed since the last table_refresh is protected by its age. Beside merges.
 *
 * Errors:  ERR_INVALID a retention under the minimum; ERR_UNSUPPORTED another engine
 *          switched on a writer feature we lack; ERR_IO.
 */
enum err_code table_vacuum(struct table *table, const struct table_vacuum_options *options,
                           struct table_vacuum_result *result_out, struct err *err) MUST_USE;

/*
 * Merge index runs and drop dead entries, so that at most INDEX_RUNS_CALM runs of
 * a kind are probed. Works beside merges; call until *more_out is false.
 */
enum err_code table_index_maintain(struct table *table, bool *more_out, struct err *err) MUST_USE;

/*
 * How long the next merge should wait for compaction and the index's upkeep, which fall behind
 * where merges want all of a processor: 0 while few merges have left files that nobody dealt
 * with, and few rows and entries of the index are dead beyond what is normal between two rounds;
 * then rising with all of them to TABLE_PAUSE_US_MAX, or to as long as the last merge took where
 * that was longer: then half of the time is theirs. Without it a table under such merges would
 * be dead rows for the most part.
 *   worked_us  that the last merge took
 */
int64_t table_pause_us(struct table *table, int64_t worked_us);

/* Has nothing been merged for TABLE_REST_US before `now_us` (monotonic time)? */
bool table_is_resting(struct table *table, int64_t now_us);

/*
 * Remove what nothing refers to any more: index runs and images of files that
 * are gone, outcome and tombstone files out of use for more than an hour. Does
 * nothing when it did so less than a minute before `now_us` (wall time).
 */
enum err_code table_clean(struct table *table, int64_t now_us, struct err *err) MUST_USE;

/*
 * Store what the published index has in memory only, and say so in the manifest: a start after a
 * crash reads from the table what was merged since. Files that the last manifest named and this
 * one does not are removed. What cannot be written costs a longer start, nothing else.
 *
 * Thread:  any, without the commit lock.
 */
void table_store_index(struct table *table);

/*
 * The same, but nothing when it did so less than TABLE_STORE_US before `now_us` (monotonic time).
 * Most of what small commits have in memory is merged away before it would ever be a file.
 */
void table_store_index_when_due(struct table *table, int64_t now_us);

/* Is a checkpoint due (bytes and commits of log since the last one, or time)? */
bool table_checkpoint_is_due(struct table *table, int64_t now_ms);
/* Write a checkpoint of the newest version and note it. Beside merges. */
enum err_code table_checkpoint(struct table *table, const struct delta_checkpoint_options *options,
                               struct delta_checkpoint_result *result_out,
                               struct err *err) MUST_USE;

/*
 * Every checkpoint has all tombstones of files that the table's retention keeps: a week's are
 * 50 million where 44 upserts come a second. So a table with many gets a shorter retention, one
 * with few gets it back, unless somebody set delta.deletedFileRetentionDuration himself.
 *   checkpoint  that was just written
 *   hours_out   what was set by a commit of its own; 0 = it stays as it is
 * Errors:  of a commit; ERR_CONFLICT another engine changed the columns.
 * Thread:  any; takes the commit lock.
 * Durable: yes.
 */
enum {
    TABLE_RETENTION_HOURS = 7 * 24, /* of a table with few */
    TABLE_RETENTION_HOURS_MIN = 1,  /* readers of a version of then still find its files */
    TABLE_REMOVED_MANY = 200000,    /* tombstones from which on it gets shorter, */
    TABLE_REMOVED_CALM = 100000,    /* until so many are left */
    TABLE_REMOVED_FEW = 50000,      /* under which it gets longer */
};
enum err_code table_adapt_retention(struct table *table,
                                    const struct delta_checkpoint_result *checkpoint,
                                    int64_t now_ms, int64_t *hours_out, struct err *err) MUST_USE;
/* The hours that follow `hours`, when so many tombstones came within `span_ms`. */
int64_t table_retention_hours(int64_t hours, int64_t tombstones, int64_t span_ms);

/* The newest version gets its checksum (storage/delta/version_checksum.h); failing does no harm. */
void table_write_checksum(struct table *table);

/* For metrics and readiness. Any thread, no lock. */
struct table_statistics {
    int64_t version;
    int64_t rows_count;      /* live; -1 = a foreign file does not say */
    int64_t dead_rows_count; /* marked in deletion vectors */
    int64_t files_count;
    int64_t files_bytes;
    int64_t tombstones_count;    /* keys deleted and still remembered */
    int64_t index_runs_count;    /* of the kind that has most */
    int64_t index_entries_count; /* dead ones included, all kinds */
    int64_t index_bytes;
    int64_t images_bytes;
    int64_t duplicates_count;     /* keys met with several live rows since open */
    int64_t compactions_count;    /* committed since open */
    int64_t compacted_rows_count; /* rows that they wrote */
    int64_t log_bytes;            /* since the last checkpoint */
};
void table_statistics_get(struct table *table, struct table_statistics *statistics_out);
