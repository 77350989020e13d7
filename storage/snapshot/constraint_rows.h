/*
 * Do the rows that a table has meet the constraints that a new definition states? Asked before
 * the definition is written.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/schema.h"

struct snapshot;

/*
 * Those of `next` that the snapshot's definition does not have, on every live row.
 *
 * Errors:  ERR_CONFLICT a row does not meet one, with its name and how many do not; ERR_CORRUPT,
 *          ERR_UNSUPPORTED, ERR_IO of reading.
 * Memory:  a chunk of rows.
 */
enum err_code constraint_rows_check(const struct snapshot *snapshot, const struct schema *next,
                                    struct err *err) MUST_USE;
