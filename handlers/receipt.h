/*
 * Receipts: a batch as answers show it, and waiting for a rung of its ladder.
 * Shared by posting, reading and replaying batches.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "storage/catalog/batches.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RECEIPT_ERRORS_MAX = 10 /* record errors shown in a receipt; all are behind links.errors */
};

/* What `Prefer` and `ack` ask for. */
struct receipt_wait {
    int64_t seconds;       /* 0 = answer at once */
    enum batch_state rung; /* that is waited for */
    bool asked;            /* Prefer: wait was there, so Preference-Applied says so */
    bool replay;           /* of a dead letter: 409 when nothing was applied */
};

/*
 * Read Prefer: wait=N and ack=.
 * Errors:  ERR_INVALID, in exchange->err.
 */
enum err_code receipt_parse_wait(struct services *services, struct exchange *exchange,
                                 struct receipt_wait *wait_out) MUST_USE;

/*
 * Answer with the batch `id`: at once, or parked until the rung or the time is
 * reached. 200 when the wanted rung was waited for and reached, else 202.
 */
enum handler_result receipt_answer(struct services *services, struct exchange *exchange,
                                   const struct id *id, const struct receipt_wait *wait);

/* The same with a batch that the caller has at hand, as it is stored. */
enum handler_result receipt_answer_fresh(struct services *services, struct exchange *exchange,
                                         const struct batch *batch,
                                         const struct receipt_wait *wait);

/* The receipt as the answer's body, in place of what was there. Errors: in exchange->err. */
enum err_code receipt_write(struct services *services, struct exchange *exchange,
                            const struct batch *batch) MUST_USE;

/* One record error as answers show it. */
struct json *receipt_error_to_json(const struct batch_error *error);

/* The hash of a body as 64 hexadecimal digits, under `body_sha256`. */
void receipt_set_sha256(struct json *json, const uint8_t sha256[BATCH_SHA256_BYTES]);

/* Is the batch at `rung` or past it? A failed batch is past everything. */
bool receipt_reached(const struct batch *batch, enum batch_state rung);

/* Name of the table with this identity, dropped ones included; "" when unknown. In the arena. */
const char *receipt_table_name(struct services *services, struct exchange *exchange,
                               const struct id *table);
