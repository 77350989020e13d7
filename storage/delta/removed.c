/*
 * Tombstones out of the log. See removed.h for the contract.
 *
 * Names of objects are known or tried before the log is listed, which may have a million of them.
 */
#include "storage/delta/removed.h"

#include "storage/base/mem.h"
#include "storage/delta/checkpoint_read.h"
#include "storage/delta/listing.h"
#include "storage/delta/replay.h"

/* What stands in the checkpoint, less what the commits behind it say otherwise. */
struct older {
    const struct delta_state *newer;
    delta_removed_fn *each;
    void *self;
};

static enum err_code hand_on(void *self, const struct delta_file *file, struct err *err)
{
    const struct older *older = self;
    if (delta_state_file_is_live(older->newer, file) ||
        delta_state_file_is_removed(older->newer, file)) {
        return ERR_OK;
    }
    return older->each(older->self, file, err);
}

/* The files that the commits behind the state's checkpoint mention, as a whole state. */
static enum err_code read_newer(const struct delta_state *state, struct object_store *store,
                                struct delta_state **newer_out, struct err *err)
{
    CLEANUP(replay_deinit)
    struct replay replay = {
        .whole = true, .protocol = state->protocol, .metadata = state->metadata};
    CLEANUP(delta_commits_free) struct delta_commits commits = {0};
    int64_t first = state->checkpoint_version + 1;
    commits.items = mem_zeroed((size_t)(state->version - first) + 2, sizeof *commits.items);
    for (int64_t version = first; version <= state->version; version++) {
        TRY(delta_commit_read(store, version, &commits.items[commits.count], err));
        replay_add_commit(&replay, commits.items[commits.count]);
        commits.count++;
    }
    return replay_finish(&replay, state->version, state->timestamp_ms, newer_out, err);
}

static enum err_code read_checkpoint(struct object_store *store, char *const *names,
                                     size_t names_count, struct older *older, struct err *err)
{
    CLEANUP(delta_actions_deinit) struct delta_actions others = {0};
    const struct checkpoint_removed removed = {.take = hand_on, .self = older};
    TRY(checkpoint_read(store, names, names_count, &removed, &others, err));
    for (size_t i = 0; i < others.files_count; i++) {
        if (others.files[i]->removed) { /* of a checkpoint in JSON */
            TRY(hand_on(older, others.files[i], err));
        }
    }
    return ERR_OK;
}

/* The checkpoint of this version under whatever name. */
static enum err_code read_listed(struct object_store *store, int64_t version, struct older *older,
                                 struct err *err)
{
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    TRY(log_listing_read(store, version, true, &listing, err));
    for (size_t i = 0; i < listing.checkpoints_count; i++) {
        const struct listed_checkpoint *checkpoint = &listing.checkpoints[i];
        if (checkpoint->version == version) {
            return read_checkpoint(store, checkpoint->names, checkpoint->names_count, older, err);
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the checkpoint of version %lld is gone",
                   (long long)version);
}

static enum err_code read_older(const struct delta_state *state, struct object_store *store,
                                struct older *older, struct err *err)
{
    if (state->checkpoint_version < 0) {
        return ERR_OK;
    }
    char name[DELTA_LOG_NAME_BYTES];
    char *const names[] = {name};
    checkpoint_classic_name(state->checkpoint_version, name);
    enum err_code code = read_checkpoint(store, names, 1, older, err);
    if (code == ERR_NOT_FOUND) {
        err_clear(err);
        return read_listed(store, state->checkpoint_version, older, err);
    }
    return code;
}

static enum err_code each_of(const struct delta_state *whole, delta_removed_fn *each, void *self,
                             struct err *err)
{
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_tombstone(whole, &at)) != NULL;) {
        TRY(each(self, file, err));
    }
    return ERR_OK;
}

enum err_code delta_removed_each(const struct delta_state *state, struct object_store *store,
                                 delta_removed_fn *each, void *self, struct err *err)
{
    if (state->tombstones != NULL) {
        return each_of(state, each, self, err);
    }
    CLEANUP(delta_state_release) struct delta_state *newer = NULL;
    TRY(read_newer(state, store, &newer, err));
    struct older older = {.newer = newer, .each = each, .self = self};
    TRY(read_older(state, store, &older, err));
    return each_of(newer, each, self, err);
}
