/*
 * Rows of batches and dead letters, shared by the files that write them. Private
 * to the catalog.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/catalog/batches.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/lanes.h"
#include "storage/catalog/store.h"
#include "storage/catalog/writer.h"

#include <stddef.h>
#include <stdint.h>

enum { FLAG_REPLAY = 1, FLAG_FORCED = 2 };

/* In the order batch_read_row expects. */
#define BATCH_COLUMNS                                                                              \
    "id, table_uuid, principal, position, order_position, operation, flags, state,"                \
    " schema_version, crashes, interruptions, received, accepted, rejected, applied,"              \
    " superseded, rejected_at_merge, version, body_bytes, body_sha256, received_at,"               \
    " finished_at, frame_segment, frame_offset, frame_size, failure"

/*   arena  NULL: `failure` is left out */
enum err_code batch_read_row(const struct query *query, int64_t piece, struct arena *arena,
                             struct batch *batch_out, struct err *err) MUST_USE;

/* A batch to insert: what was posted, and what a replay adds to it. */
struct batch_row {
    const struct batch_accept *accept;
    int64_t position;
    int64_t order_position;
    int flags;
    const struct id *letter; /* that it replays, NULL = none */
};
enum err_code batch_insert(struct store *store, const struct batch_row *row,
                           struct err *err) MUST_USE;

/* What a batch leaves refused: record errors, and dead letters when there are payloads. */
struct refusals {
    const struct id *batch;
    const struct id *table;
    const struct id *principal;
    int64_t order_position;
    int32_t schema_version;
    const struct record_error *errors;
    size_t count;
    struct location payloads; /* not set: no dead letters */
    int64_t first_ordinal;    /* of the record errors */
};
/* How many dead letters `refusals` makes, and their bytes. */
void refusals_measure(const struct refusals *refusals, int64_t *count_out, int64_t *bytes_out);

/* Insert them into the piece of `store` and charge the lane. */
enum err_code refusals_insert(struct transaction *transaction, struct store *store,
                              struct lane *lane, const struct refusals *refusals,
                              struct err *err) MUST_USE;

/* Open dead letters of the lane in this piece changed by these amounts. */
enum err_code letters_charge(struct transaction *transaction, struct store *store,
                             struct lane *lane, int64_t count, int64_t bytes,
                             struct err *err) MUST_USE;

/* Accept inside a transaction: the rules of batch_accept without errors and payloads. */
struct accept_place {
    int64_t piece;          /* 0 = the current one */
    int64_t order_position; /* 0 = its own position */
    int flags;
    const struct id *letter;
    bool leave_out_key; /* planted bugs */
    bool leave_out_step;
};
enum err_code batch_accept_in(struct transaction *transaction, const struct batch_accept *accept,
                              const struct accept_place *place, int64_t *position_out,
                              struct err *err) MUST_USE;

/*
 * After a replay was merged: settle the dead letter it came from, in the same piece.
 *   outcome  of the replay's batch
 */
enum err_code letter_settle(struct transaction *transaction, struct store *store, struct lane *lane,
                            const struct id *letter, const struct batch_outcome *outcome,
                            struct err *err) MUST_USE;

/* Cut between code points to at most `size` bytes. */
struct span text_cut(struct span text, size_t size);
