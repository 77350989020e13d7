/*
 * Dead letters: records and batches that could not be applied, kept with payload
 * and reason. They are made by batch_accept and batches_finish, listed, shown, and
 * replayed exactly once.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/location.h"
#include "storage/catalog/batches.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum dead_letter_state {
    DEAD_LETTER_PENDING = 1,    /* waits for somebody */
    DEAD_LETTER_REPLAYING = 2,  /* its replay is accepted, not yet merged */
    DEAD_LETTER_APPLIED = 3,    /* done */
    DEAD_LETTER_SUPERSEDED = 4, /* the row has moved on; may be replayed by force */
    DEAD_LETTER_DISCARDED = 5,  /* done: somebody gave it up */
};
const char *dead_letter_state_name(enum dead_letter_state state);
bool dead_letter_state_parse(struct span name, enum dead_letter_state *state_out);

struct dead_letter {
    struct id id;
    struct id table;
    struct id batch;
    struct id principal; /* who posted the batch */
    int64_t piece;
    int64_t batch_position; /* order position for its replay */
    int64_t line;           /* 0 = the whole batch */
    const char *pointer;    /* "" = none */
    const char *code;
    const char *message;
    enum dead_letter_state state;
    enum frame_operation operation; /* of the record; of the batch when line is 0 */
    int32_t schema_version;         /* of its batch */
    int64_t created_at_us;
    int64_t resolved_at_us;  /* 0 = unresolved */
    struct id replay_batch;  /* text "" = none */
    struct location payload; /* in the dead-letter log: the batch's record … */
    int64_t payload_start;   /* … and the bytes of this one in it */
    int64_t payload_size;
};

/* What to list; zero or empty text means "any". */
struct dead_letter_filter {
    struct id table;
    struct id batch;
    struct id principal;
    const char *code;
    int state; /* enum dead_letter_state, 0 = any */
};

/*
 * Newest first, after `after` (NULL = from the newest); strings in the arena.
 * Fewer than `limit` means the end.
 */
enum err_code dead_letter_list(struct catalog *catalog, const struct dead_letter_filter *filter,
                               const struct id *after, size_t limit, struct arena *arena,
                               struct dead_letter **letters_out, size_t *count_out,
                               struct err *err) MUST_USE;

/* How many there are per table and code, for overviews: at most `limit` groups, largest first. */
struct dead_letter_group {
    struct id table;
    const char *code;
    enum dead_letter_state state;
    int64_t count;
    int64_t newest_us;
};
enum err_code dead_letter_groups(struct catalog *catalog, const struct dead_letter_filter *filter,
                                 size_t limit, struct arena *arena,
                                 struct dead_letter_group **groups_out, size_t *count_out,
                                 struct err *err) MUST_USE;

/* Errors: ERR_NOT_FOUND. */
enum err_code dead_letter_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                              struct dead_letter *letter_out, struct err *err) MUST_USE;

/*
 * Accept the replay of a dead letter as a batch: one transaction makes the batch,
 * takes a position, and marks the letter, so that it is replayed exactly once. The
 * batch's rows order at the letter's original position.
 *
 *   accept  as for batch_accept, without errors and payloads; its idempotency
 *           key, if any, is stored in the same transaction
 *   forced  replays a superseded one too, and wins over what is stored
 *
 * Errors:  ERR_CONFLICT it is replaying, applied or discarded already, or superseded and
 *          not forced (the message says which); ERR_NOT_FOUND letter or table.
 */
enum err_code dead_letter_replay(struct catalog *catalog, const struct id *letter, bool forced,
                                 const struct batch_accept *accept, int64_t *position_out,
                                 struct err *err) MUST_USE;

/* Give one up: its payload may go. Errors: ERR_NOT_FOUND; ERR_CONFLICT it is replaying or done. */
enum err_code dead_letter_discard(struct catalog *catalog, const struct id *letter,
                                  struct err *err) MUST_USE;

/* Lowest segment of the dead-letter log that an open letter (pending, replaying, superseded)
 * refers to; INT64_MAX = none. Payloads of the others may be gone. */
enum err_code dead_letters_journal_floor(struct catalog *catalog, int64_t *segment_out,
                                         struct err *err) MUST_USE;
