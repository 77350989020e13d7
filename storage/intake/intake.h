/*
 * Intake: the one way in for records, whoever brings them. A posted batch, the
 * replay of a dead letter and a piece of an ingest task's source go through the
 * same steps here:
 *
 *   init → decode (a body) or take (a frame) → judge → accept → deinit
 *
 * What is not here: who may bring them, headers and answers (handlers), where
 * pieces come from (workers).
 *
 * Thread:  limits are everybody's; a batch is its thread's.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/base/span.h"
#include "storage/catalog/batches.h"
#include "storage/columns/decode.h"
#include "storage/columns/frame.h"
#include "storage/columns/inflate.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct journal;
struct recent_frames;
struct source_step;

/* What all who bring records share. Numbers are set once, between init and first use. */
struct intake_limits {
    int64_t body_bytes_max;       /* one body, after inflation */
    int64_t records_max;          /* of one body */
    int64_t lane_queue_bytes_max; /* frames that wait in one lane */
    int64_t lane_queue_batches_max;
    int64_t memory_bytes_max;    /* bodies being inflated and decoded at once */
    _Atomic int64_t memory_used; /* bytes of that in use */

    /* those who wait for memory (intake_patience) */
    _Atomic int waiting_count;
    struct lock lock; /* rank QUEUE; guards nothing but the waiting itself */
    struct wake wake;
};

void intake_limits_init(struct intake_limits *limits);
void intake_limits_deinit(struct intake_limits *limits); /* nobody waits any more */

/* Where batches go; outlives every batch. */
struct intake_stores {
    struct catalog *catalog;
    struct journal *journal;      /* frames */
    struct journal *dead_letters; /* refused records */
    struct intake_limits *limits;
    struct recent_frames *recent; /* NULL = merges read every frame back */
};

/*
 * May another batch enter the lane?
 *
 *   retry_seconds_out  set on ERR_BUSY: by Little's law the age of the oldest batch
 *                      is about the time the lane takes to drain
 *
 * Errors:  ERR_BUSY the lane is full; ERR_NOT_FOUND no such table.
 */
enum err_code intake_check_lane(const struct intake_stores *stores, const struct id *table,
                                int64_t *retry_seconds_out, struct err *err) MUST_USE;

/* What a batch leaves refused, and where the journals hold what its acceptance refers to. */
struct intake_written {
    struct record_error *errors;
    size_t errors_count;
    struct location frame;
    struct location payloads;
};

/* One batch on its way in; embedded by its owner. Fields are read freely, `decode` and
 * `received_at_us` may be set before decoding. */
struct intake_batch {
    const struct intake_stores *stores;
    struct schema *schema; /* a reference: the definition that records are judged by */
    struct id id;          /* of the batch that is being made */
    int64_t received_at_us;
    struct decode_options decode;
    int64_t memory_reserved; /* of limits->memory_bytes_max */
    struct buffer plain;     /* inflated body; unused for identity */
    struct frame *frame;     /* the records that are taken; NULL before decoding */
    struct decode_errors errors;
    struct intake_written written; /* by the acceptance that goes on */
    batch_accepted_fn *accepted;
    void *accepted_arg;
};

/* Mints the id. */
void intake_batch_init(struct intake_batch *batch, const struct intake_stores *stores);

/* Gives the memory back. Accepts a zeroed one. */
void intake_batch_deinit(struct intake_batch *batch);

/*
 * Take `bytes` of the budget that all share, until deinit. More than the whole of it
 * counts as the whole: one large batch at a time always gets through.
 * Errors:  ERR_BUSY others use it: try again soon.
 */
enum err_code intake_batch_reserve(struct intake_batch *batch, int64_t bytes,
                                   struct err *err) MUST_USE;

/*
 * Inflate and decode a body within the memory budget. batch->schema is set.
 *
 *   body  borrowed until the batch is gone: refused records point into it
 *
 * Errors:  ERR_BUSY the budget is used up; else the faults of the body as a whole, as
 *          inflate_body and decode_body tell them.
 */
enum err_code intake_batch_decode(struct intake_batch *batch, struct span body,
                                  enum content_encoding encoding, struct err *err) MUST_USE;

/*
 * Tasks wait for memory instead of being refused, as long as they may.
 * check  asked once a second while waiting; its error ends it
 */
struct intake_patience {
    enum err_code (*check)(void *arg, struct err *err);
    void *arg;
};

/*
 * A piece of a longer body (storage/columns/split.h), of `records_count` records. The memory
 * that wide rows take is reserved, so that a piece is never refused for it.
 *
 *   body, batch->decode  with is_part and line_offset; borrowed until the batch is gone
 *
 * Errors:  those of `patience`; of the body as decode_body tells them.
 */
enum err_code intake_batch_decode_part(struct intake_batch *batch, struct span body,
                                       int64_t records_count,
                                       const struct intake_patience *patience,
                                       struct err *err) MUST_USE;

/* Typed rows, as decode_rows takes them. Errors: those of `patience` and of decode_rows. */
enum err_code intake_batch_decode_rows(struct intake_batch *batch, const struct frame *rows,
                                       const struct intake_patience *patience,
                                       struct err *err) MUST_USE;

/* What the records come to. */
enum intake_verdict {
    INTAKE_GOOD,
    INTAKE_TOO_MANY_REJECTED, /* over decode_errors_over_limit: refused whole */
    INTAKE_REJECTED_STRICTLY, /* handling is strict, and a record was rejected */
};
enum intake_verdict intake_batch_judge(const struct intake_batch *batch, bool strict);

/* Who brings the batch, and what makes it exactly once. */
struct intake_origin {
    struct id table;
    struct id principal;
    int64_t body_bytes; /* as received */
    uint8_t body_sha256[BATCH_SHA256_BYTES];
    const struct idempotency_key *key; /* claimed; NULL = none. Stored with status 202 */
    const struct source_step *step;    /* of a source (catalog/sources.h); NULL = none */
    int64_t order_position;            /* as batch_accept has it; 0 = at its own position */
};

/*
 * Make it durable: frame and refused records in their journals, then one transaction
 * of the catalog. Waking the lane is the caller's.
 *
 *   arena         for the list of errors
 *   position_out  in the lane
 *
 * batch->frame may be gone then: the merge that is to come has it (recent_frames.h).
 *
 * Errors:  those of batch_accept; ERR_TOO_LARGE more errors than fit the arena.
 * Durable: the batch, when ERR_OK.
 */
enum err_code intake_batch_accept(struct intake_batch *batch, const struct intake_origin *origin,
                                  struct arena *arena, int64_t *position_out,
                                  struct err *err) MUST_USE;

/*
 * As above, and returns as soon as the acceptance is queued: `done` is called when it is durable
 * or failed, perhaps before this returns. The frame is gone and the memory given back at once.
 *
 *   batch, arena, err, what origin points to  untouched by the caller until `done` is called
 *
 * Errors:  as above, and `done` is not called; what the catalog says comes with `done`, in err.
 */
enum err_code intake_batch_accept_later(struct intake_batch *batch,
                                        const struct intake_origin *origin, struct arena *arena,
                                        batch_accepted_fn *done, void *arg,
                                        struct err *err) MUST_USE;

/*
 * As intake_batch_accept for the replay of a dead letter: the batch takes a position but orders at
 * the letter's own, and the letter is marked in the same transaction. The records were
 * judged strictly. Errors: those of dead_letter_replay.
 */
enum err_code intake_batch_replay(struct intake_batch *batch, const struct intake_origin *origin,
                                  const struct id *letter, bool forced, int64_t *position_out,
                                  struct err *err) MUST_USE;
