/*
 * Intake over HTTP: the steps a posted body goes through until it is a durable
 * batch. The handler of batch_post reads them in order; a replay of a dead letter
 * uses the later ones. What headers ask for, idempotency and answers are here; the
 * batch itself is made by storage/intake.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/receipt.h"
#include "handlers/services.h"
#include "storage/catalog/batches.h"
#include "storage/intake/intake.h"

#include <stdbool.h>
#include <stdint.h>

struct table;

/* One body on its way in. Lives on the handler's stack, then in the exchange's arena;
 * intake_deinit. */
struct intake {
    struct services *services;
    struct exchange *exchange;
    struct table *table;       /* a reference */
    struct intake_batch batch; /* what is being made of the body */
    uint8_t body_sha256[BATCH_SHA256_BYTES];

    /* what the request asked for */
    struct receipt_wait wait;
    bool strict;
    bool dry_run;

    /* idempotency */
    bool key_is_optional; /* also on append tables: something else makes the request exactly once */
    bool has_key;
    bool key_claimed;
    struct idempotency_key key;

    const char *resource;       /* in the trail, of what is being accepted */
    enum handler_result result; /* of an answer a step gave by itself */
};

void intake_init(struct intake *intake, struct services *services, struct exchange *exchange);
/* Frees what the steps made and gives the idempotency key back. */
void intake_deinit(struct intake *intake);

/*
 * Find the table of the first path parameter and check that its lane has room.
 * Errors:  ERR_NOT_FOUND; ERR_BUSY the lane is full (Retry-After is set) or the
 *          service cannot record audits.
 */
enum err_code intake_open_table(struct intake *intake) MUST_USE;

/* Content type, encoding, operation, preferences. Errors: ERR_INVALID, ERR_UNSUPPORTED. */
enum err_code intake_parse_options(struct intake *intake) MUST_USE;

/*
 * Hash the body and claim the Idempotency-Key. Gives the stored answer, 409, 422
 * or 428 by itself (answered_out, intake->result).
 */
enum err_code intake_claim_key(struct intake *intake, bool *answered_out) MUST_USE;

/*
 * Inflate and decode within the memory budget. A body error is answered with 400
 * (or 413) and remembered under the key. Errors: ERR_BUSY the budget is used up.
 */
enum err_code intake_decode(struct intake *intake, bool *answered_out) MUST_USE;

/* Too many rejected, strict, dry run: answered here. */
enum err_code intake_judge(struct intake *intake, bool *answered_out) MUST_USE;

/*
 * Make it durable and answer: frame and refused records in their journals, audit record, batch
 * in the catalog; then the lane is woken and the receipt given, at once or when it was waited
 * for. No thread waits meanwhile: many acceptances share the syncs of one commit. `intake` is
 * empty afterwards.
 */
enum handler_result intake_accept(struct intake *intake);

/*
 * Make the replay of a dead letter durable: the batch takes a position but orders at the
 * letter's own. The letter is marked in the same transaction.
 * Errors:  ERR_NO_SPACE, ERR_BUSY, ERR_NOT_FOUND (dropped meanwhile).
 * Durable: the batch, when ERR_OK.
 */
enum err_code intake_accept_replay(struct intake *intake, const struct id *letter,
                                   bool forced) MUST_USE;

/* Answer with the receipt of the replay that was accepted, at once or when it was waited for. */
enum handler_result intake_answer(struct intake *intake);
