/*
 * Rows of source steps, shared by the files that write them. Private to the
 * catalog; writer thread (or start) only.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/catalog/sources.h"
#include "storage/catalog/store.h"
#include "storage/catalog/writer.h"

#include <stdint.h>

struct catalog;
struct catalog_report;

/*
 * Take a step inside a transaction.
 *
 *   store, piece  the piece that the step's batch goes to
 *   batch         NULL = it brought no records
 *
 * Errors:  ERR_EXISTS, ERR_CONFLICT as source_step_record.
 */
enum err_code source_step_insert(struct transaction *transaction, struct store *store,
                                 int64_t piece, const struct source_step *step,
                                 const struct id *batch, struct err *err) MUST_USE;

/* Start: the last steps of all pieces into the book. Pieces oldest first. */
enum err_code sources_load(struct catalog *catalog, struct err *err) MUST_USE;

/*
 * Before a piece is removed, outside transactions: its last steps into jobs.db.
 * Durable: they are, when ERR_OK. Removing the piece is safe then, and only then.
 */
enum err_code sources_fold(struct catalog *catalog, int64_t piece, struct err *err) MUST_USE;

/* fsck of one piece: every step's batch is there. Errors: ERR_CORRUPT. */
enum err_code sources_examine(struct store *store, struct err *err) MUST_USE;
