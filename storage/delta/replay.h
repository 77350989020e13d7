/*
 * Folding actions into a state. Private to this folder: loading and applying
 * one commit are the same fold over more or fewer actions.
 */
#pragma once

#include "storage/delta/actions.h"
#include "storage/delta/state.h"

/* One mention of a key in the log; `order` is its place. */
struct mention {
    const void *item;
    size_t order;
};

struct mentions {
    struct mention *items;
    size_t count;
    size_t capacity;
};

/* Actions gathered in log order on top of a base state; deinit when done. */
struct replay {
    const struct delta_state *base; /* borrowed; NULL = from nothing */
    bool whole;                     /* keep tombstones; with a base: where that does */
    struct mentions files;
    struct mentions txns;
    struct mentions domains;
    const struct delta_protocol *protocol; /* newest seen; NULL = the base's */
    const struct delta_metadata *metadata;
};

/* What is gathered is borrowed from `actions` or `commit` until replay_finish. */
void replay_add_actions(struct replay *replay, const struct delta_actions *actions);
void replay_add_commit(struct replay *replay, const struct delta_commit *commit);
void replay_deinit(struct replay *replay);

/*
 * The state: base + everything gathered, the last mention of each key wins.
 * Errors: ERR_CORRUPT no protocol or metadata; ERR_UNSUPPORTED the reader gate.
 */
enum err_code replay_finish(struct replay *replay, int64_t version, int64_t timestamp_ms,
                            struct delta_state **state_out, struct err *err) MUST_USE;
