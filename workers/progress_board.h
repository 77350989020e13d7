/*
 * The progress board: tasks wait here until the batches of a table moved on (were
 * merged, are visible). Fed by the same events as the waiting room of requests.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress_board;

struct progress_board *progress_board_new(void);
void progress_board_free(struct progress_board **board); /* nobody waits any more */

/* Something about the batches of `table` changed. Any thread, never blocks long. */
void progress_board_note(struct progress_board *board, const struct id *table);

/* Let every waiter look at its flag and its deadline again. */
void progress_board_wake(struct progress_board *board);

/*
 * Wait until a change of `table` was noted since `*seen` was returned by the last call
 * (0: returns at once), `cancelled` is set, or the deadline has passed.
 *
 *   deadline_us  clock_monotonic_us; INT64_MAX = none
 *
 * Errors:  ERR_CANCELLED cancelled or out of time; `*seen` is as it was.
 */
enum err_code progress_board_wait(struct progress_board *board, const struct id *table,
                                  int64_t *seen, const _Atomic bool *cancelled, int64_t deadline_us,
                                  struct err *err) MUST_USE;
