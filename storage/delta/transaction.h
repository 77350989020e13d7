/*
 * One transaction on a table's log: collect actions, then commit them as the
 * next version by put-if-absent, re-checking what concurrent winners did.
 *
 * The commit point is the log file. Data and deletion vector files must be
 * durable (object_put + object_sync of their folders) before commit is called.
 *
 * Source: delta PROTOCOL.md "Writer Requirements"; reference section 10.
 */
#pragma once

#include "storage/delta/log.h"
#include "storage/delta/state.h"

struct delta_transaction;
struct object_group; /* storage/object/object.h */

/* What the transaction's outcome depends on besides the files it removes. */
enum delta_reads {
    DELTA_READS_NOTHING, /* append: rows in, whatever the table holds */
    DELTA_READS_FILES,   /* compaction: only the files it removes or re-adds */
    DELTA_READS_TABLE,   /* keyed merge: any row that somebody added may matter */
};

enum {
    DELTA_COMMIT_ATTEMPTS_MAX = 100, /* lost races before ERR_BUSY */
    DELTA_COMMIT_BACKOFF_MIN_US = 1000,
    DELTA_COMMIT_BACKOFF_MAX_US = 200000,
};

/*
 * Begin on a state. Takes references of its own; `store` is borrowed until the
 * transaction is freed.
 */
struct delta_transaction *delta_transaction_begin(const struct delta_state *state,
                                                  struct object_store *store,
                                                  enum delta_reads reads);
/* Free, committed or not; accepts NULL inside. Nothing in the store is touched. */
void delta_transaction_free(struct delta_transaction **transaction);

/* commitInfo.txnId of this transaction: a fresh uuid. Borrowed. */
const char *delta_transaction_id(const struct delta_transaction *transaction);

/*
 * Add a file. `file` is a caller's struct (references, removed ignored), copied.
 * path must be log-encoded (delta_path_encode) and not live already.
 */
void delta_transaction_add(struct delta_transaction *transaction, const struct delta_file *file);

/*
 * Add a file of changed rows (cdc). When a commit has any, readers of its changes look at
 * nothing else of it: they tell all that it changed.
 *   file  its path, partition values and size; the rest is ignored; copied
 */
void delta_transaction_add_change_file(struct delta_transaction *transaction,
                                       const struct delta_file *file);

/*
 * Bring a file back as it was in an earlier version, deletion vector and statistics included;
 * when it is live with another vector that one goes.
 */
void delta_transaction_bring_back(struct delta_transaction *transaction,
                                  const struct delta_file *file);

/* Remove a live file of the transaction's state; deletionTimestamp is now. */
void delta_transaction_remove(struct delta_transaction *transaction, const struct delta_file *file,
                              bool data_change);

/*
 * Give a live file a new deletion vector: remove(path, old) + add(path, new) with
 * the same statistics but tightBounds false. dv->cardinality > 0; a file whose
 * rows are all deleted is removed instead.
 * Errors: ERR_INVALID the file has no numRecords (required with vectors).
 */
enum err_code delta_transaction_set_dv(struct delta_transaction *transaction,
                                       const struct delta_file *file, const struct delta_dv *dv,
                                       struct err *err) MUST_USE;

void delta_transaction_set_txn(struct delta_transaction *transaction, const char *app_id,
                               int64_t version);
void delta_transaction_set_metadata(struct delta_transaction *transaction,
                                    const struct delta_metadata *metadata);
void delta_transaction_set_protocol(struct delta_transaction *transaction,
                                    const struct delta_protocol *protocol);

/*
 * commitInfo. `operation` as in "WRITE", "MERGE", "OPTIMIZE"; parameters, metrics
 * and extension are taken (NULL = none). `extension` becomes the member "sluice".
 */
void delta_transaction_set_operation(struct delta_transaction *transaction, const char *operation,
                                     struct json *parameters, struct json *metrics);
/* An operation's metric or parameter: a number as text, as operationMetrics has them. */
void delta_metric_set(struct json *metrics, const char *name, int64_t value);

void delta_transaction_set_extension(struct delta_transaction *transaction, struct json *extension);

/* Objects that the actions refer to: the commit makes them durable before its entry. Borrowed. */
void delta_transaction_set_group(struct delta_transaction *transaction, struct object_group *group);

enum delta_conflict {
    DELTA_CONFLICT_NONE,
    DELTA_CONFLICT_APPLIED,  /* our txn (or a later one) is in the log: nothing is left to do */
    DELTA_CONFLICT_TXN,      /* an older txn of our appId was committed by somebody */
    DELTA_CONFLICT_PROTOCOL, /* the protocol changed in a way that matters */
    DELTA_CONFLICT_METADATA, /* schema, partitions or configuration changed */
    DELTA_CONFLICT_FILES, /* a file that we remove or re-add is not live any more as we knew it */
    DELTA_CONFLICT_ADDED, /* rows were added that we would have had to look at */
};
const char *delta_conflict_name(enum delta_conflict conflict);

/*
 * How the commit went. `state` is the newest state known: with our commit, or
 * with the winners that made it impossible; NULL only when nothing was learnt.
 */
struct delta_commit_result {
    struct delta_state *state; /* one reference */
    int64_t version;           /* of our commit; -1 = not committed */
    uint64_t hash;             /* of our commit's bytes: delta_commit_is_ours */
    enum delta_conflict conflict;
    struct delta_commits
        winners;       /* all commits between our read version and `state`'s, ours excluded */
    int attempts;      /* puts tried */
    int64_t commit_us; /* time of the put that succeeded */
};
void delta_commit_result_deinit(struct delta_commit_result *result);

/*
 * Commit.
 *
 * Winners that touch nothing of ours (by `reads`) are passed over and the same
 * bytes are tried at the next version, with full jitter between attempts.
 * Otherwise the winners are handed to the caller, who re-plans on result->state
 * and begins a new transaction.
 *
 *   result_out  always filled, also on failure; delta_commit_result_deinit
 *
 * Errors:  ERR_CONFLICT result_out->conflict says which; ERR_UNSUPPORTED the
 *          writer gate; ERR_INVALID the table is append-only and data would go;
 *          ERR_BUSY lost DELTA_COMMIT_ATTEMPTS_MAX races; ERR_NO_SPACE nothing
 *          was committed; ERR_IO the outcome is unknown: stop, restart, and
 *          look for the txn.
 * Durable: the version, when ERR_OK.
 */
enum err_code delta_transaction_commit(struct delta_transaction *transaction,
                                       struct delta_commit_result *result_out,
                                       struct err *err) MUST_USE;

/* ---- creating a table ---- */

struct delta_table_options {
    const char *id;          /* uuid text; NULL = a fresh one */
    const char *name;        /* NULL = none */
    const char *description; /* NULL = none */
    const char *schema_string;
    const char *const *partition_columns;
    size_t partition_columns_count;
    const struct delta_pair *configuration; /* further properties */
    size_t configuration_count;
    unsigned needs; /* enum delta_needs; vectors and feed with the property that switches them on */
    bool append_only; /* delta.appendOnly */
};

/*
 * Write version 0 of a new table.
 *
 *   extension  commitInfo's "sluice" member, taken; NULL = none
 *
 * Errors:  ERR_EXISTS there is a table already; ERR_NO_SPACE; ERR_IO.
 * Durable: the table.
 */
enum err_code delta_table_create(struct object_store *store,
                                 const struct delta_table_options *options, struct json *extension,
                                 struct delta_state **state_out, struct err *err) MUST_USE;
