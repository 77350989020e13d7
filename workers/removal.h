/*
 * Taking rows out of a table, for a check: deletes through the lane, and dead letters
 * for those that are put aside. Rows come in one order that is the same in every
 * attempt; they are cut into pieces, and each piece is a step of a source
 * (storage/catalog/sources.h): taken once, however often the attempt dies.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/expectation.h"
#include "storage/columns/frame.h"
#include "workers/task.h"

#include <stdbool.h>
#include <stdint.h>

struct table;

enum {
    REMOVAL_PIECE_ROWS = 50000,
    REMOVAL_PIECE_BYTES = 32 << 20, /* of quarantined rows as JSON, about */
    REMOVAL_KEY_BYTES = 160,        /* task_key of the steps */
};

/* Embedded by its owner; removal_begin once, removal_end always. */
struct removal {
    struct task_attempt *attempt;
    struct table *table;
    struct schema *schema;           /* a reference: the definition the rows were judged by */
    const struct expectations *list; /* borrowed */
    int64_t order_position;          /* deletes win over rows up to here */
    uint8_t source[32];
    char key[REMOVAL_KEY_BYTES];
    int64_t taken; /* steps that earlier attempts took */
    int64_t step;  /* of the piece being filled */
    struct frame *deletes;
    struct buffer payloads; /* quarantined rows of the piece, as JSON */
    size_t *ends;           /* of each payload */
    uint16_t *reasons;      /* its expectation */
    size_t aside_count;
};

/*
 *   version         that was judged
 *   order_position  just above table_snapshot_position of it
 * Errors:  ERR_IO, ERR_CORRUPT of the catalog.
 */
enum err_code removal_begin(struct removal *removal, struct task_attempt *attempt,
                            struct table *table, const struct schema *schema,
                            const struct expectations *list, int64_t version,
                            int64_t order_position, struct err *err) MUST_USE;
void removal_end(struct removal *removal);

/*
 * Take rows: has the shape of check_request.remove, `self` a struct removal.
 * Errors:  ERR_NO_SPACE the table's dead letters, the disk; ERR_BUSY; ERR_CANCELLED;
 *          ERR_NOT_FOUND the table was dropped.
 * Durable: full pieces, when ERR_OK.
 */
enum err_code removal_take(void *self, const struct frame *frame, const uint16_t *verdicts,
                           struct err *err) MUST_USE;

/* The last piece. Durable: everything, when ERR_OK. */
enum err_code removal_finish(struct removal *removal, struct err *err) MUST_USE;

/*
 * Wait until every piece is merged.
 *   removed_out  rows that are gone
 *   kept_out     rows that changed meanwhile and stay
 * Errors:  ERR_CANCELLED; ERR_CORRUPT a piece could not be merged: it is in the dead letters.
 */
enum err_code removal_wait(struct removal *removal, int64_t *removed_out, int64_t *kept_out,
                           struct err *err) MUST_USE;
