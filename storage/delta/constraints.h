/*
 * The conditions that every row of a table has to meet: CHECK constraints ("delta.constraints.NAME"
 * in its configuration) and invariants of columns ("delta.invariants" in their metadata). A row
 * meets one when it is true; unknown is not enough.
 *
 * Source: delta PROTOCOL.md "CHECK Constraints", "Column Invariants".
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/delta/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Properties that state one: the name follows. */
#define DELTA_CONSTRAINT_PREFIX "delta.constraints."

enum { CONSTRAINTS_MAX = 1000 };

struct constraint {
    char *name; /* of an invariant its column's */
    char *text;
    struct predicate *predicate;
};

/* Owned by whoever loads them; deinit accepts a zeroed struct. */
struct constraints {
    struct constraint *items;
    size_t count;
};
void constraints_deinit(struct constraints *constraints);

/* May the table have some? No schema is needed to tell; most have none. */
bool constraints_are_there(const struct delta_metadata *metadata);

/*
 *   schema  whose columns they name
 * Errors:  ERR_UNSUPPORTED one that cannot be evaluated, with its name and the reason.
 */
enum err_code constraints_load(const struct delta_metadata *metadata, const struct schema *schema,
                               struct constraints *constraints_out, struct err *err) MUST_USE;

/* The first one that a row of any frame of the table does not meet; NULL = it meets all. */
const struct constraint *constraints_broken(const struct constraints *constraints,
                                            const struct frame *frame, int64_t row);
