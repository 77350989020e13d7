/*
 * The tombstones of a version, one at a time: millions of them are never in memory together.
 */
#pragma once

#include "storage/delta/state.h"

struct object_store;

/* `file` is borrowed for the call. */
typedef enum err_code delta_removed_fn(void *self, const struct delta_file *file, struct err *err);

/*
 * Call `each` for every tombstone, expired ones included, in no order. A state that is not whole
 * has them read from the checkpoint it was loaded from and the commits behind it.
 *
 * Errors:  those of reading the log, which delta_state_load_whole may know another way around
 *          (some were handed on then); what `each` returns.
 */
enum err_code delta_removed_each(const struct delta_state *state, struct object_store *store,
                                 delta_removed_fn *each, void *self, struct err *err) MUST_USE;
