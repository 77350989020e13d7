/*
 * Tables and how often each changed. See progress_board.h. Tables nobody ever waited
 * for are not kept.
 */
#include "workers/progress_board.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"

#include <string.h>

struct board_table {
    struct board_table *next;
    struct id id;
    int64_t changes; /* from 1 */
};

struct progress_board {
    struct lock lock; /* rank WAITERS; guards the rest */
    struct wake wake;
    struct board_table *tables;
};

struct progress_board *progress_board_new(void)
{
    struct progress_board *board = mem_zeroed(1, sizeof *board);
    lock_init(&board->lock, LOCK_RANK_WAITERS);
    wake_init(&board->wake);
    return board;
}

void progress_board_free(struct progress_board **board)
{
    if (*board == NULL) {
        return;
    }
    while ((*board)->tables != NULL) {
        struct board_table *table = (*board)->tables;
        (*board)->tables = table->next;
        mem_free(table);
    }
    wake_deinit(&(*board)->wake);
    lock_deinit(&(*board)->lock);
    mem_free(*board);
    *board = NULL;
}

/* NULL = nobody ever waited for it. Caller holds the lock. */
static struct board_table *find(const struct progress_board *board, const struct id *id)
{
    struct board_table *table = board->tables;
    while (table != NULL && strcmp(table->id.text, id->text) != 0) {
        table = table->next;
    }
    return table;
}

void progress_board_note(struct progress_board *board, const struct id *id)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&board->lock);
    (void)scope; /* held to the end */
    struct board_table *table = find(board, id);
    if (table != NULL) {
        table->changes++;
        wake_all(&board->wake);
    }
}

void progress_board_wake(struct progress_board *board)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&board->lock);
    (void)scope; /* held to the end */
    wake_all(&board->wake);
}

enum err_code progress_board_wait(struct progress_board *board, const struct id *id, int64_t *seen,
                                  const _Atomic bool *cancelled, int64_t deadline_us,
                                  struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&board->lock);
    (void)scope; /* held to the end */
    struct board_table *table = find(board, id);
    if (table == NULL) {
        table = mem_zeroed(1, sizeof *table);
        *table = (struct board_table){.next = board->tables, .id = *id, .changes = 1};
        board->tables = table;
    }
    while (table->changes == *seen) {
        if (atomic_load(cancelled) || clock_monotonic_us() >= deadline_us) {
            return err_set(err, ERR_CANCELLED, "stopped while it waited for its batches");
        }
        if (deadline_us == INT64_MAX) {
            wake_wait(&board->wake, &board->lock);
        } else {
            (void)wake_wait_until(&board->wake, &board->lock, deadline_us); /* looked at above */
        }
    }
    *seen = table->changes;
    return ERR_OK;
}
