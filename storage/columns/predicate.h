/*
 * A condition on one row, written in a small part of SQL: what Delta tables state as CHECK
 * constraints and column invariants.
 *
 *   condition  comparisons (= == <=> <> != < <= > >=), IS [NOT] NULL, [NOT] IN (…), [NOT] BETWEEN …
 *              AND …, NOT, AND, OR, parentheses, a boolean column alone
 *   operand    a column (plain or in backquotes, ignoring case), or a literal: a number (exact;
 *              with an exponent a double), 'text', TRUE, FALSE, NULL, DATE '…', TIMESTAMP '…' with
 *              zone
 *
 * The value is true, false or unknown (SQL's null), as Spark has it: numbers compare exactly,
 * with doubles as doubles, NaN above all and equal to itself; texts by bytes. A text that stands
 * beside a date or timestamp is read as one. What Spark would convert in another way, and
 * everything else of SQL, is refused by name, never guessed: so are quotes in quotes, which
 * Spark reads in one way since version 4 and in another before.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"

#include <stdint.h>

enum {
    PREDICATE_TEXT_BYTES_MAX = 65536,
    PREDICATE_DEPTH_MAX = 64,   /* of parentheses in each other */
    PREDICATE_NODES_MAX = 1024, /* operands and operators */
};

enum predicate_value { PREDICATE_FALSE, PREDICATE_TRUE, PREDICATE_UNKNOWN };

struct predicate; /* immutable; any thread */

/*
 *   schema  whose columns it names; not needed afterwards
 * Errors:  ERR_UNSUPPORTED with the byte where and what cannot be evaluated; ERR_TOO_LARGE.
 */
enum err_code predicate_parse(struct span text, const struct schema *schema,
                              struct predicate **predicate_out, struct err *err) MUST_USE;
void predicate_free(struct predicate **predicate); /* accepts NULL inside; nulls */

/* Of a row of any frame of this table: columns are found by field id; one it lacks is null. */
enum predicate_value predicate_evaluate(const struct predicate *predicate,
                                        const struct frame *frame, int64_t row);
