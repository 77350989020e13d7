/*
 * Log clean-up: remove log entries that are past their retention and covered by
 * a checkpoint. Oldest first, so that an interruption leaves no hole.
 *
 * Source: delta PROTOCOL.md "Metadata Cleanup"; reference section 8.
 */
#include "storage/delta/vacuum.h"

#include "storage/delta/listing.h"
#include "storage/object/object.h"

#include <assert.h>
#include <string.h>

enum { DAY_MS = 86400 * 1000, VERSION_DIGITS = 20 };

/* Midnight UTC of the day on which the retention began. */
static int64_t cutoff_of(const struct delta_state *state, int64_t now_ms)
{
    const int64_t otherwise_ms = (int64_t)DELTA_LOG_RETENTION_DAYS * DAY_MS;
    int64_t retention_ms =
        delta_metadata_interval_ms(state->metadata, "delta.logRetentionDuration", otherwise_ms);
    int64_t kept_from_ms = now_ms - retention_ms;
    return kept_from_ms - ((kept_from_ms % DAY_MS) + DAY_MS) % DAY_MS;
}

/*
 * The newest checkpoint at or before the newest commit that is not younger than
 * the cut-off: everything before it may go. -1 = nothing may.
 */
static int64_t oldest_kept(const struct log_listing *listing, int64_t cutoff_ms,
                           const struct listed_checkpoint **checkpoint_out)
{
    int64_t cutoff_version = -1;
    for (size_t i = 0; i < listing->commits_count; i++) {
        if (listing->commits[i].modified_ms <= cutoff_ms) {
            cutoff_version = listing->commits[i].version;
        }
    }
    int64_t kept = -1;
    for (size_t i = 0; i < listing->checkpoints_count; i++) {
        int64_t version = listing->checkpoints[i].version;
        if (version <= cutoff_version && log_listing_find(listing, version) >= 0) {
            kept = version;
            *checkpoint_out = &listing->checkpoints[i];
        }
    }
    return kept;
}

static enum err_code pass_over(void *self, const struct delta_file *file, struct err *err)
{
    (void)self;
    (void)file;
    (void)err;
    return ERR_OK; /* it could be read */
}

/* What is about to become the only way into the table must be readable: Spark's may be broken. */
static enum err_code check_readable(struct object_store *store,
                                    const struct listed_checkpoint *checkpoint, struct err *err)
{
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    const struct checkpoint_removed removed = {.take = pass_over};
    if (checkpoint_read(store, checkpoint->names, checkpoint->names_count, &removed, &actions,
                        err) != ERR_OK) {
        return err_wrap(err, "the log is not cleaned up");
    }
    return ERR_OK;
}

/* The version a log object belongs to: its first twenty digits; false for _last_checkpoint etc. */
static bool version_of(const char *name, int64_t *version_out)
{
    const char *base = name + sizeof DELTA_LOG_FOLDER; /* with the slash */
    int64_t version = 0;
    if (strlen(base) <= VERSION_DIGITS || base[VERSION_DIGITS] != '.') {
        return false;
    }
    for (int i = 0; i < VERSION_DIGITS; i++) {
        if (base[i] < '0' || base[i] > '9' || __builtin_mul_overflow(version, 10, &version) ||
            __builtin_add_overflow(version, base[i] - '0', &version)) {
            return false;
        }
    }
    *version_out = version;
    return true;
}

/* Names sort by version, so ascending order comes with the listing. */
static enum err_code remove_before(struct object_store *store, int64_t kept_version,
                                   struct delta_log_cleanup_result *result, struct err *err)
{
    CLEANUP(object_list_free) struct object_list list = {0};
    const struct object_list_options options = {.folder = DELTA_LOG_FOLDER};
    TRY(object_list(store, &options, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        int64_t version = 0;
        if (version_of(list.items[i].name, &version) && version < kept_version) {
            TRY(object_remove(store, list.items[i].name, err));
            result->removed_count++;
        }
    }
    return ERR_OK;
}

enum err_code delta_log_cleanup(struct object_store *store, const struct delta_state *state,
                                int64_t now_ms, struct delta_log_cleanup_result *result_out,
                                struct err *err)
{
    struct delta_log_cleanup_result result = {.oldest_version = -1};
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    const struct listed_checkpoint *checkpoint = NULL;
    TRY(delta_protocol_check_write(state->protocol, state->metadata, err));
    if (delta_metadata_flag(state->metadata, "delta.enableExpiredLogCleanup", true)) {
        TRY(log_listing_read(store, 0, true, &listing, err));
        log_listing_make_monotonic(&listing);
        result.oldest_version = oldest_kept(&listing, cutoff_of(state, now_ms), &checkpoint);
    }
    if (result.oldest_version > 0 && listing.commits[0].version < result.oldest_version) {
        TRY(check_readable(store, checkpoint, err));
        TRY(remove_before(store, result.oldest_version, &result, err));
    }
    *result_out = result;
    return ERR_OK;
}
