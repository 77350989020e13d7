/*
 * Mutexes with ranks: a thread takes locks in increasing rank only, and the
 * process stops on disorder, in every build. No lock is held across file or
 * network I/O except where its rank's comment says so.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

/* In the order in which they may be taken. */
enum lock_rank {
    LOCK_RANK_SERVICE = 1,   /* start and stop of the services of the process */
    LOCK_RANK_DEFINITIONS,   /* changes of tables and of roles, one at a time: held across I/O */
    LOCK_RANK_TABLES,        /* the registry of open tables */
    LOCK_RANK_COMMIT,        /* one table's log: held across a commit's I/O */
    LOCK_RANK_INDEX_FILES,   /* the files of one table's index: held across their writes */
    LOCK_RANK_CATALOG_READ,  /* one read-only SQLite connection: held across its queries */
    LOCK_RANK_CATALOG_QUEUE, /* the catalog writer's wake-up */
    LOCK_RANK_AUDIT,         /* the audit chain's end: held across the write of a record */
    LOCK_RANK_JOURNAL,       /* one segment log's tail: held across its write and sync */
    LOCK_RANK_QUEUE,         /* a pool's or lane's wake-up */
    LOCK_RANK_WAITERS,       /* requests that wait for a rung of the ladder */
    LOCK_RANK_SNAPSHOT,      /* the published snapshot pointers */
    LOCK_RANK_CONNECTION,    /* one connection's state in the HTTP adapter */
    LOCK_RANK_CACHE,         /* a cache's index */
    LOCK_RANK_IN_USE,        /* the list of a table's snapshots in use */
    LOCK_RANK_SYNCS,         /* the syncs that wait for a thread */
    LOCK_RANK_METRICS,
    LOCK_RANK_LOG,
    LOCK_RANK_COUNT,
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_deinit(struct lock *lock);
void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);

/* Is this thread holding `lock`'s rank? For asserts. */
int lock_is_held(const struct lock *lock);

/* Scoped: `CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&x->lock);` */
struct lock *lock_scope(struct lock *lock) __attribute__((warn_unused_result));
void lock_scope_end(struct lock **lock);

/*
 * A condition to wait for under a lock. Waits use the monotonic clock.
 * wake_wait_until returns 0 when woken (or spuriously), 1 when `deadline_us`
 * (clock_monotonic_us) has passed.
 */
struct wake {
    pthread_cond_t condition;
};

void wake_init(struct wake *wake);
void wake_deinit(struct wake *wake);
void wake_wait(struct wake *wake, struct lock *lock);
int wake_wait_until(struct wake *wake, struct lock *lock, int64_t deadline_us);
void wake_one(struct wake *wake);
void wake_all(struct wake *wake);

/*
 * A latch: one thread waits, once, without holding a lock; another opens it with
 * a value above 0. The waiter may free the latch as soon as latch_wait returned:
 * the opener touches it no more. Zeroed is closed.
 */
struct latch {
    _Atomic uint32_t value;
};

void latch_open(struct latch *latch, uint32_t value);
uint32_t latch_wait(struct latch *latch);
