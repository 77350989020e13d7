/*
 * The writer thread: closures of many threads in one transaction, one COMMIT per
 * touched file, one fsync each. Private to the catalog.
 *
 * A closure runs on the writer thread in a savepoint per file it touches; its
 * failure undoes only itself. A closure that must be atomic touches one file.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/lock.h"
#include "storage/catalog/lanes.h"
#include "storage/catalog/pieces.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct source_entry;
struct transaction;

typedef enum err_code catalog_write_fn(struct transaction *transaction, void *arg, struct err *err);

/*
 * Run `write` on the writer thread and return after the durable COMMIT.
 *
 *   arg  belongs to the writer thread until this returns
 *
 * Errors:  those of `write`; ERR_NO_SPACE; ERR_BUSY the queue is full; ERR_CORRUPT.
 */
enum err_code catalog_write(struct catalog *catalog, catalog_write_fn *write, void *arg,
                            struct err *err) MUST_USE;

/* As catalog_write, for rows that refer to a journal: before_promise runs first. */
enum err_code catalog_promise(struct catalog *catalog, catalog_write_fn *write, void *arg,
                              struct err *err) MUST_USE;

/*
 * As catalog_write, for what can be found out again: it returns when the COMMIT would survive the
 * process, and is durable with the next one that waits, or with catalog_sync. `write` may be run
 * twice; the second time finds nothing of the first, in the files and in the lanes.
 */
enum err_code catalog_write_lazily(struct catalog *catalog, catalog_write_fn *write, void *arg,
                                   struct err *err) MUST_USE;

/* Told that a write is durable, or why it is not. On the answering thread, one after the other:
 * must not wait for the catalog. */
typedef void catalog_done_fn(void *arg, enum err_code code);

/*
 * As catalog_promise, and returns as soon as the write is queued; `done` is called, with `arg`,
 * when it is durable or failed, perhaps before this returns. `write` may be run twice, as above.
 *
 *   arg, err  belong to the catalog until `done` is called
 *
 * Errors:  ERR_BUSY, ERR_CORRUPT, ERR_UNSUPPORTED: it was not queued, `done` is not called.
 */
enum err_code catalog_promise_later(struct catalog *catalog, catalog_write_fn *write, void *arg,
                                    catalog_done_fn *done, struct err *err) MUST_USE;

/* As catalog_write, but `work` runs alone, outside any transaction (pieces, checkpoints). */
enum err_code catalog_work_alone(struct catalog *catalog, catalog_write_fn *work, void *arg,
                                 struct err *err) MUST_USE;

/* ---- inside a closure ---- */

struct catalog *transaction_catalog(struct transaction *transaction);

/* catalog.db, jobs.db, or a piece (0 = the current one), with transaction and savepoint open. */
enum err_code transaction_main(struct transaction *transaction, struct store **store_out,
                               struct err *err) MUST_USE;
enum err_code transaction_jobs(struct transaction *transaction, struct store **store_out,
                               struct err *err) MUST_USE;
enum err_code transaction_piece(struct transaction *transaction, int64_t number,
                                struct store **store_out, int64_t *number_out,
                                struct err *err) MUST_USE;

/* Change a lane in memory, to be taken back with the savepoint or the commit. */
void transaction_change_lane(struct transaction *transaction, struct lane *lane,
                             const struct lane_change *change);

/* The last step of a source, to be taken back likewise. */
void transaction_set_source(struct transaction *transaction, const struct source_entry *entry);

/* Principals or tokens changed: the access snapshot is rebuilt before anybody is answered. */
void transaction_access_changed(struct transaction *transaction);

/* ---- the thread ---- */

struct write_request;

/* Those whose callers did not wait, in the order of their commits, and who tells them. */
struct answers {
    struct lock lock; /* rank CATALOG_QUEUE; guards the list */
    struct wake work;
    struct write_request *first, *last;
    bool stopping;
    pthread_t thread;
};

/* Embedded in the catalog. */
struct writer {
    struct lock lock; /* rank CATALOG_QUEUE; guards the queue */
    struct wake work;
    struct write_request *first, *last;
    size_t count;
    bool stopping;
    bool started;
    pthread_t thread;
    struct answers answers;
};

void writer_init(struct writer *writer);
enum err_code writer_start(struct catalog *catalog, struct err *err) MUST_USE;
/* Finish and answer what is queued, then stop. */
void writer_stop(struct catalog *catalog);
void writer_deinit(struct writer *writer);
