/*
 * The catalog: what exists and what is to be done. SQLite in one folder:
 *
 *   catalog.db                 instance, tables, principals, roles, tokens, secrets, attempts
 *   jobs.db                    jobs, their runs, webhook deliveries, places in sources
 *   batches-YYYYMMDD[-n].db    one piece a day (or a size): batches, idempotency
 *                              keys, record errors, dead letters, lane positions
 *
 * One writer thread owns, per file, the only connection that writes and
 * checkpoints (Debian's SQLite 3.40.1 corrupts with two checkpointers). Writes of
 * many threads share one transaction and one fsync; each runs in a savepoint of
 * its own. Everybody else reads through read-only connections.
 *
 * Promise: a writing function that returned ERR_OK survives a power cut
 * (WAL, synchronous=FULL). An I/O error on the writer ends the process; a full
 * disk is ERR_NO_SPACE and nothing was stored.
 * Thread:  every function any thread unless it says otherwise. Writing functions
 *          block for one group commit; reading ones take LOCK_RANK_CATALOG_READ.
 * Neighbours: sources.h · access.h (principals, roles, tokens) · tables.h · batches.h ·
 * dead_letters.h · jobs.h · runs.h · deliveries.h. The only room besides query that knows SQLite.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/location.h"
#include "storage/base/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;

enum {
    CATALOG_READERS = 4,                      /* read-only connections per file */
    CATALOG_GROUP_MAX = 256,                  /* writes that share one transaction */
    CATALOG_QUEUE_MAX = 4096,                 /* writes waiting; more is ERR_BUSY */
    CATALOG_PIECES_MAX = 256,                 /* open pieces */
    CATALOG_QUICK_CHECK_BYTES_MAX = 32 << 20, /* larger files are checked by fsck only */
};

/* Zero means the default in brackets. */
struct catalog_options {
    int64_t piece_bytes_max;          /* a larger piece is followed by another [1 GiB] */
    int64_t retention_us;             /* of finished batches and idempotency keys [7 days] */
    int64_t dead_letter_retention_us; /* open dead letters keep their piece so long [90 days] */
    int64_t pieces_bytes_max;         /* over it the oldest finished pieces go early [32 GiB] */
    int64_t dead_letter_bytes_max;    /* quota of refused payloads per table [1 GiB] */

    /*
     * Called on the writer thread before each COMMIT of a group that accepts batches,
     * replays or outcomes with payloads: syncs what they refer to (journal_sync_all on both
     * journals). Callers then need no sync of their own: one wait instead of two. NULL: every
     * location handed in is durable already.
     */
    void (*before_promise)(void *arg);
    void *before_promise_arg;
};

/*
 * Open or create the catalog: checkpoint every file, read the settings back,
 * check them, count interrupted merge attempts, raise the incarnation (runs.h), load the
 * access snapshot.
 *
 *   keys  outlives the catalog
 *
 * Errors:  ERR_CORRUPT a check failed (keep the files, restore a backup);
 *          ERR_UNSUPPORTED a newer format, or a file system without WAL;
 *          ERR_NO_SPACE; ERR_IO.
 * Thread:  the caller holds the data directory's lock file.
 */
enum err_code catalog_open(const char *folder, const struct secret_keys *keys,
                           const struct catalog_options *options, struct catalog **catalog_out,
                           struct err *err) MUST_USE;

/*
 * Look at a catalog without changing it, for fsck: catalog_instance and reading
 * of tables and batches. Every writing function is ERR_UNSUPPORTED; access.h is not served.
 */
enum err_code catalog_open_read_only(const char *folder, struct catalog **catalog_out,
                                     struct err *err) MUST_USE;

/* Waits for the writer's queue, then closes. Accepts NULL inside; nulls. */
void catalog_close(struct catalog **catalog);

/* Minted at creation; part of every transaction identifier sluice/<instance>/<table>. */
struct id catalog_instance(struct catalog *catalog);

/* A new instance uuid: after a restore, or when the catalog is behind a table's txn. */
enum err_code catalog_mint_instance(struct catalog *catalog, struct id *instance_out,
                                    struct err *err) MUST_USE;

/* False once a stored page was found corrupt: every later write is ERR_CORRUPT. */
bool catalog_healthy(struct catalog *catalog);

struct catalog_statistics {
    int64_t commits_count; /* group commits since open */
    int64_t writes_count;  /* closures committed since open */
    int64_t syncs_count;   /* waits of commits for the disk since open */
    int64_t waiting_count; /* writes in the queue now */
    int64_t pieces_count;
    int64_t pieces_bytes;
    int64_t jobs_bytes; /* jobs.db */
};
void catalog_statistics(struct catalog *catalog, struct catalog_statistics *statistics_out);

/*
 * Everything that was written is durable when this returns, what was written lazily too (the
 * outcomes of merges). To be called before anything goes that such a write says is not needed.
 * Errors:  ERR_BUSY, ERR_CORRUPT.
 */
enum err_code catalog_sync(struct catalog *catalog, struct err *err) MUST_USE;

/*
 * Retention: remove pieces whose batches are all finished and that are older
 * than their time, or over the byte budget, oldest first; flush token use times.
 * Call every few minutes.
 *
 *   dropped_out        pieces removed
 *   early_dropped_out  of them, removed for the byte budget before their time
 */
enum err_code catalog_retain(struct catalog *catalog, int64_t *dropped_out,
                             int64_t *early_dropped_out, struct err *err) MUST_USE;

/*
 * Note, from a fatal signal's handler, that this thread died: the lane whose merge
 * it had begun (batches_begin_attempt), or the attempt of a run's task that it worked
 * on (run_bind_thread), is charged with a crash at the next open; others only with an
 * interruption. Async-signal-safe; no-op on threads that are bound to nothing.
 */
void catalog_mark_crash(void);

/* ---- fsck: the server is stopped, the caller holds the lock file ---- */

/* Is the record there and whole? One call per distinct location the catalog refers to. */
typedef enum err_code catalog_check_location_fn(void *arg, const struct location *location,
                                                struct err *err);

struct catalog_report {
    int64_t files_count;
    int64_t batches_count;
    int64_t unfinished_count;
    int64_t dead_letters_count;
    int64_t references_checked;
    int64_t jobs_count; /* deleted ones with runs left are not counted */
    int64_t runs_count;
    int64_t runs_active_count;
    int64_t deliveries_count;
};

/*
 * integrity_check and foreign_key_check of every file, positions unique per lane,
 * every journal reference of unfinished batches and unresolved dead letters, and that
 * every run has the definition it began with.
 * Read-only: opens a private copy of nothing and writes nothing.
 *
 *   check_frame, check_payload  may be NULL: references are not followed
 *
 * Errors:  ERR_CORRUPT naming file and finding; ERR_IO.
 */
enum err_code catalog_verify(const char *folder, catalog_check_location_fn *check_frame,
                             catalog_check_location_fn *check_payload, void *arg,
                             struct catalog_report *report_out, struct err *err) MUST_USE;
