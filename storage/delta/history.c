/*
 * History: who committed what and when, from the commit files that are left.
 */
#include "storage/delta/state.h"

#include "storage/base/mem.h"
#include "storage/delta/listing.h"

#include <assert.h>

static enum err_code read_entry(struct object_store *store, const struct listed_commit *listed,
                                struct delta_history_entry *entry, struct err *err)
{
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    TRY(delta_commit_read(store, listed->version, &commit, err));
    entry->version = listed->version;
    entry->timestamp_ms =
        commit->in_commit_timestamp_ms >= 0 ? commit->in_commit_timestamp_ms : listed->modified_ms;
    return delta_commit_info(commit, &entry->info, err);
}

enum err_code delta_history_read(struct object_store *store, int64_t before_version, size_t limit,
                                 struct delta_history *history_out, struct err *err)
{
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    CLEANUP(delta_history_free) struct delta_history history = {0};
    TRY(log_listing_read(store, 0, true, &listing, err));
    log_listing_make_monotonic(&listing);
    size_t left = listing.commits_count;
    while (left > 0 && before_version >= 0 && listing.commits[left - 1].version >= before_version) {
        left--;
    }
    size_t count = left < limit ? left : limit;
    history.entries = mem_zeroed(count, sizeof *history.entries);
    for (size_t i = 0; i < count; i++) {
        TRY(read_entry(store, &listing.commits[left - 1 - i], &history.entries[i], err));
        history.count = i + 1;
    }
    *history_out = history;
    history = (struct delta_history){0};
    return ERR_OK;
}

void delta_history_free(struct delta_history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        json_free(&history->entries[i].info);
    }
    mem_free(history->entries);
    *history = (struct delta_history){0};
}
