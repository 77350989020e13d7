/*
 * Batches: acceptance, the queue of each lane, the ladder durable → committed →
 * indexed (or failed), and idempotency keys.
 *
 * Positions: every accepted batch takes the next position of its table's lane;
 * they rise strictly over pieces and restarts (gaps happen). A replay takes a
 * position like everybody, but orders its rows by `order_position`, the position
 * of the batch it came from.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/location.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;
struct source_step;

enum {
    BATCH_RECORD_ERRORS_MAX = 1000000, /* stored per batch */
    BATCH_TEXT_BYTES_MAX = 1024,       /* pointer and message of one error; longer is cut */
    IDEMPOTENCY_KEY_BYTES_MAX = 255,
    IDEMPOTENCY_ANSWER_BYTES_MAX = 64 << 10,
    BATCH_SHA256_BYTES = 32,
};

enum batch_state {
    BATCH_DURABLE = 1,   /* accepted, in the journal */
    BATCH_COMMITTED = 2, /* in the table as of `version` */
    BATCH_INDEXED = 3,   /* visible to lookups */
    BATCH_FAILED = 4,    /* whole batch in the dead letters */
};
const char *batch_state_name(enum batch_state state);

struct batch {
    struct id id;
    struct id table;
    struct id principal;
    int64_t piece;          /* where it is stored; hand it back in updates */
    int64_t position;       /* in the lane */
    int64_t order_position; /* of its rows; = position unless a replay */
    enum frame_operation operation;
    enum batch_state state;
    bool replay;
    bool forced; /* a replay that wins whatever is stored */
    int32_t schema_version;
    int32_t crashes;       /* merges of it that died by a fatal signal of their own thread */
    int32_t interruptions; /* merges of it that ended with the process for another reason */
    int64_t received, accepted, rejected;           /* records */
    int64_t applied, superseded, rejected_at_merge; /* records, once committed */
    int64_t version;                                /* of the table, -1 = none yet */
    int64_t body_bytes;                             /* as received */
    uint8_t body_sha256[BATCH_SHA256_BYTES];
    int64_t received_at_us;
    int64_t finished_at_us; /* committed or failed, 0 = not yet */
    struct location frame;  /* in the journal */
    const char *failure;    /* reason of BATCH_FAILED, NULL = none */
};

/* One refused record of a body, or of a merge. Texts are borrowed for the call. */
struct record_error {
    int64_t line;                   /* 1-based line or element; 0 = the whole batch */
    struct span pointer;            /* "/quantity", empty = none */
    struct span code;               /* "type", "key_exists", … */
    struct span message;            /* never contains the value */
    enum frame_operation operation; /* its own; of the batch for a whole batch */
    int64_t payload_start;          /* within the batch's record of the dead-letter log */
    int64_t payload_size;           /* -1 = no dead letter is kept for it */
};

/* ---- idempotency ---- */

struct idempotency_key {
    uint8_t hash[32]; /* of principal, method, path and the client's key */
};
/* The empty key is a caller's error: check the header first. */
void idempotency_key_of(const struct id *principal, const char *method, const char *path,
                        struct span client_key, struct idempotency_key *key_out);

enum idempotency_outcome {
    IDEMPOTENCY_FRESH,     /* go on; the key is yours until idempotency_end */
    IDEMPOTENCY_REPLAY,    /* same body: give the stored answer */
    IDEMPOTENCY_MISMATCH,  /* another body: 422 */
    IDEMPOTENCY_IN_FLIGHT, /* another request works on it: 409 */
};

struct idempotency_answer {
    int status;
    struct id batch;  /* text "" = none: answer with `body` */
    struct span body; /* in the arena */
};

/*
 * Before the body is decoded: claim the key or find its answer.
 *
 *   body_sha256  of the bytes received
 *   answer_out   set for IDEMPOTENCY_REPLAY
 */
enum err_code idempotency_begin(struct catalog *catalog, const struct idempotency_key *key,
                                const uint8_t body_sha256[BATCH_SHA256_BYTES], struct arena *arena,
                                enum idempotency_outcome *outcome_out,
                                struct idempotency_answer *answer_out, struct err *err) MUST_USE;

/* After IDEMPOTENCY_FRESH, exactly once, when the request is over either way. */
void idempotency_end(struct catalog *catalog, const struct idempotency_key *key);

/* Store a deterministic answer that made no batch (4xx, dry run, table change). */
enum err_code idempotency_store(struct catalog *catalog, const struct idempotency_key *key,
                                const uint8_t body_sha256[BATCH_SHA256_BYTES], int status,
                                struct span body, struct err *err) MUST_USE;

/* ---- acceptance ---- */

struct batch_accept {
    struct id id; /* id_new_ordered */
    struct id table;
    struct id principal;
    enum frame_operation operation;
    int32_t schema_version;
    int64_t received, accepted, rejected;
    int64_t body_bytes;
    uint8_t body_sha256[BATCH_SHA256_BYTES];
    int64_t received_at_us;
    struct location frame; /* in the journal; not set when accepted is 0: born indexed */
    const struct record_error *errors; /* rejected records */
    size_t errors_count;
    struct location payloads;          /* in the dead-letter log; not set = no dead letters */
    const struct idempotency_key *key; /* claimed by idempotency_begin; NULL = none */
    int idempotency_status;            /* stored with the key, with the batch's id */
    const struct source_step *step;    /* that brought it (sources.h); NULL = none */
    /*
     * Its rows order at this position, which is not above the lane's last one: they win
     * over nothing that came later. 0 = at the position it takes. Refused records order at
     * the position it takes, which is above this one.
     */
    int64_t order_position;
};

/*
 * One transaction: batch, position, idempotency key, record errors, dead letters, step.
 *
 * Errors:  ERR_NOT_FOUND the table was dropped; ERR_EXISTS the step was taken already, nothing
 *          is written; ERR_CONFLICT steps before it are missing; ERR_NO_SPACE disk full, or the
 *          table's dead-letter quota (the message says which and what to do);
 *          ERR_BUSY the writer's queue is full.
 * Durable: everything, when ERR_OK: this is the moment of the promise.
 */
enum err_code batch_accept(struct catalog *catalog, const struct batch_accept *accept,
                           int64_t *position_out, struct err *err) MUST_USE;

/* How an acceptance went that nobody waited for. On the catalog's answering thread: must not wait.
 */
typedef void batch_accepted_fn(void *arg, enum err_code code);

/*
 * As batch_accept, and returns as soon as the acceptance is queued: `done` is called when it is
 * durable or failed, perhaps before this returns.
 *
 *   accept  copied; what it points to, and err, belong to the catalog until `done` is called
 *
 * Errors:  ERR_BUSY, ERR_CORRUPT: it was not queued, `done` is not called. Those of batch_accept
 *          come with `done`, in err.
 */
enum err_code batch_accept_later(struct catalog *catalog, const struct batch_accept *accept,
                                 batch_accepted_fn *done, void *arg, struct err *err) MUST_USE;

/* ---- reading ---- */

/* Strings in the arena. Errors: ERR_NOT_FOUND. */
enum err_code batch_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                        struct batch *batch_out, struct err *err) MUST_USE;

/* Record errors of a batch by ordinal, from `after` (-1 = start); ordinals in document order. */
struct batch_error {
    int64_t ordinal;
    int64_t line;
    const char *pointer; /* "" = none */
    const char *code;
    const char *message;
};
enum err_code batch_errors(struct catalog *catalog, const struct id *batch, int64_t after,
                           size_t limit, struct arena *arena, struct batch_error **errors_out,
                           size_t *count_out, struct err *err) MUST_USE;

/* ---- the lane's queue ---- */

/*
 * The next durable batches of a table in order of position.
 *
 *   after_position  0 = from the first
 *   count_max       batches; bytes_max: sum of their frame sizes (the first one always fits)
 */
enum err_code batches_queued(struct catalog *catalog, const struct id *table,
                             int64_t after_position, size_t count_max, int64_t bytes_max,
                             struct arena *arena, struct batch **batches_out, size_t *count_out,
                             struct err *err) MUST_USE;

/* Batches that are in the table but not yet marked indexed, in order of position: for restarts. */
enum err_code batches_committed(struct catalog *catalog, const struct id *table, size_t limit,
                                struct arena *arena, struct batch **batches_out, size_t *count_out,
                                struct err *err) MUST_USE;

/* What waits in a lane, from memory: no SQLite, cheap enough for every request. */
struct lane_statistics {
    struct id table;
    int64_t queued_count; /* durable, not yet committed */
    int64_t queued_bytes; /* their frames */
    int64_t queued_records;
    int64_t oldest_received_us; /* 0 = none; lower bound */
    int64_t position_last;      /* highest given out */
    int64_t dead_letter_count;  /* unresolved */
    int64_t dead_letter_bytes;
};
/* Errors: ERR_NOT_FOUND. */
enum err_code lane_statistics(struct catalog *catalog, const struct id *table,
                              struct lane_statistics *statistics_out, struct err *err) MUST_USE;

/* All live tables with queued or committed-but-not-indexed batches: at start. */
enum err_code lanes_with_work(struct catalog *catalog, struct arena *arena, struct id **tables_out,
                              size_t *count_out, struct err *err) MUST_USE;

/* ---- merging ---- */

/*
 * Before merging positions first…last of a lane: noted so that a merge which ends the
 * process is known afterwards; waits for no disk. One per lane at a time; a new one
 * replaces the old. Also binds the calling thread to the lane for
 * catalog_mark_crash.
 */
void batches_begin_attempt(struct catalog *catalog, const struct id *table, int64_t position_first,
                           int64_t position_last);

/*
 * The attempt ended without an outcome and without fault of the batches (disk
 * full, conflict, stop): it is not counted at the next start. Not needed before
 * batches_finish. Unbinds the thread.
 */
void batches_end_attempt(struct catalog *catalog, const struct id *table);

/* What a merge did to one batch. */
struct batch_outcome {
    struct id id;
    int64_t piece;          /* batch.piece */
    enum batch_state state; /* BATCH_COMMITTED, BATCH_INDEXED or BATCH_FAILED */
    int64_t version;        /* -1 for BATCH_FAILED */
    int64_t applied, superseded, rejected_at_merge;
    const struct record_error *errors; /* rejected at merge; line = of the body */
    size_t errors_count;
    struct location
        payloads;        /* dead-letter log: their payloads, or the whole frame of a failed batch */
    const char *failure; /* BATCH_FAILED: code of the dead letter ("poison", …) */
    const char *failure_message;
};

/*
 * Record outcomes of many batches of one lane. Idempotent: repeating it after a
 * crash changes nothing. A failed batch becomes one dead letter with line 0; a
 * replay settles its dead letter (applied, superseded or pending again).
 * The quota does not apply here: what is accepted is never dropped. Many outcomes are several
 * transactions, so that acceptances need not wait for all of them. They survive the process; a
 * power cut may undo the newest, which the next merge of the lane reads from the table's log again
 * (catalog_sync before anything goes that only those batches needed).
 * Unbinds the thread from the lane.
 */
enum err_code batches_finish(struct catalog *catalog, const struct id *table,
                             const struct batch_outcome *outcomes, size_t count,
                             struct err *err) MUST_USE;

/* Committed batches of the table with version <= `version` become indexed. */
enum err_code batches_mark_indexed(struct catalog *catalog, const struct id *table, int64_t version,
                                   struct err *err) MUST_USE;

/*
 * A foreign overwrite took our commits away: committed and indexed batches of the
 * table with version >= `version` are durable again, at their positions.
 *
 *   count_out  how many
 */
enum err_code batches_requeue(struct catalog *catalog, const struct id *table, int64_t version,
                              int64_t *count_out, struct err *err) MUST_USE;

/* Lowest journal segment that an unfinished batch refers to; INT64_MAX = none. */
enum err_code batches_journal_floor(struct catalog *catalog, int64_t *segment_out,
                                    struct err *err) MUST_USE;
