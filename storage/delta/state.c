/*
 * Table states: loading them from checkpoints and commits, following the log,
 * and looking into them. Replay itself is replay.c.
 *
 * Source: delta PROTOCOL.md "Table State"; reference section 7.4.
 */
#include "storage/delta/state.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/delta/checkpoint_read.h"
#include "storage/delta/listing.h"
#include "storage/delta/ordered.h"
#include "storage/delta/replay.h"
#include "storage/delta/vacuum.h"
#include "storage/object/object.h"

#include <assert.h>
#include <string.h>

/* ---- lifetime ---- */

struct delta_state *delta_state_acquire(const struct delta_state *state)
{
    struct delta_state *counted = (struct delta_state *)(uintptr_t)state;
    __atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    return counted;
}

void delta_state_release(struct delta_state **state)
{
    struct delta_state *self = *state;
    *state = NULL;
    if (self == NULL || __atomic_fetch_sub(&self->references, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    delta_protocol_release(&self->protocol);
    delta_metadata_release(&self->metadata);
    ordered_release(&self->files);
    ordered_release(&self->tombstones);
    ordered_release(&self->txns);
    ordered_release(&self->domains);
    mem_free(self);
}

/* A second state with the same contents, for the few fields that a caller then changes. */
static struct delta_state *copy_state(const struct delta_state *state)
{
    struct delta_state *copy = mem_zeroed(1, sizeof *copy);
    /* not what follows: others count references meanwhile */
    memcpy(copy, state, offsetof(struct delta_state, references));
    copy->references = 1;
    copy->protocol = delta_protocol_acquire(state->protocol);
    copy->metadata = delta_metadata_acquire(state->metadata);
    copy->files = ordered_acquire(state->files);
    copy->tombstones = state->tombstones != NULL ? ordered_acquire(state->tombstones) : NULL;
    copy->txns = ordered_acquire(state->txns);
    copy->domains = ordered_acquire(state->domains);
    return copy;
}

/* ---- loading ---- */

static int64_t timestamp_of(const struct delta_commit *commit, int64_t modified_ms)
{
    return commit->in_commit_timestamp_ms >= 0 ? commit->in_commit_timestamp_ms : modified_ms;
}

/* Commits first … last, in order. Errors: ERR_CORRUPT names a hole. */
static enum err_code read_commits(struct object_store *store, const struct log_listing *listing,
                                  int64_t first, int64_t last, struct delta_commits *commits,
                                  struct err *err)
{
    if (last < first) {
        return ERR_OK;
    }
    if (last - first >= DELTA_COMMITS_SINCE_CHECKPOINT_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "%lld commits lie after the last checkpoint, more than %d; have their "
                       "writer make a checkpoint",
                       (long long)(last - first + 1), DELTA_COMMITS_SINCE_CHECKPOINT_MAX);
    }
    commits->items = mem_zeroed((size_t)(last - first + 1), sizeof *commits->items);
    for (int64_t version = first; version <= last; version++) {
        if (log_listing_find(listing, version) < 0) {
            return err_set(err, ERR_CORRUPT, "the log has a hole: version %lld is missing",
                           (long long)version);
        }
        enum err_code code =
            delta_commit_read(store, version, &commits->items[commits->count], err);
        if (code == ERR_NOT_FOUND) {
            err->code = ERR_CORRUPT; /* listed, then gone: somebody cleans up under us */
            return err_wrap(err, "read a listed commit");
        }
        TRY(code);
        commits->count++;
    }
    return ERR_OK;
}

/* The version to reach, and the checkpoint to start from. */
struct load_plan {
    int64_t target; /* -1 = the newest, until the log was listed */
    bool whole;
    const struct listed_checkpoint *checkpoint; /* NULL = from version 0 */
};

static enum err_code load_by_plan(struct object_store *store, const struct log_listing *listing,
                                  const struct load_plan *plan, struct delta_state **state_out,
                                  struct err *err)
{
    CLEANUP(delta_actions_deinit) struct delta_actions actions = {0};
    CLEANUP(delta_commits_free) struct delta_commits commits = {0};
    CLEANUP(replay_deinit) struct replay replay = {.whole = plan->whole};
    int64_t checkpoint_version = plan->checkpoint != NULL ? plan->checkpoint->version : -1;
    if (plan->checkpoint != NULL) {
        const struct checkpoint_removed kept = checkpoint_removed_to(&actions);
        TRY(checkpoint_read(store, plan->checkpoint->names, plan->checkpoint->names_count,
                            plan->whole ? &kept : NULL, &actions, err));
        replay_add_actions(&replay, &actions);
    }
    TRY(read_commits(store, listing, checkpoint_version + 1, plan->target, &commits, err));
    int64_t log_bytes = 0;
    for (size_t i = 0; i < commits.count; i++) {
        replay_add_commit(&replay, commits.items[i]);
        log_bytes += commits.items[i]->bytes_count;
    }
    int64_t position = log_listing_find(listing, plan->target);
    int64_t timestamp_ms = position >= 0 ? listing->commits[position].modified_ms : -1;
    if (commits.count > 0) {
        timestamp_ms = timestamp_of(commits.items[commits.count - 1], timestamp_ms);
    }
    struct delta_state *state = NULL;
    TRY(replay_finish(&replay, plan->target, timestamp_ms, &state, err));
    state->checkpoint_version = checkpoint_version;
    state->log_bytes = log_bytes;
    *state_out = state;
    return ERR_OK;
}

static int64_t newest_version(const struct log_listing *listing)
{
    int64_t newest = -1;
    if (listing->commits_count > 0) {
        newest = listing->commits[listing->commits_count - 1].version;
    }
    if (listing->checkpoints_count > 0) {
        int64_t version = listing->checkpoints[listing->checkpoints_count - 1].version;
        newest = version > newest ? version : newest;
    }
    return newest;
}

static enum err_code refuse_version(const struct log_listing *listing, int64_t target,
                                    struct err *err)
{
    int64_t newest = newest_version(listing);
    if (newest < 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no Delta table here: the log is empty");
    }
    int64_t oldest = listing->commits_count > 0 ? listing->commits[0].version : newest;
    return err_set(err, ERR_NOT_FOUND,
                   "there is no version %lld; the log holds versions %lld to %lld",
                   (long long)target, (long long)oldest, (long long)newest);
}

static bool starts_at_zero(const struct log_listing *listing)
{
    return listing->commits_count > 0 && listing->commits[0].version == 0;
}

/* Is another, older way into the state worth trying after this failure? */
static bool may_pass_over(enum err_code code)
{
    return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_UNSUPPORTED ||
           code == ERR_TOO_LARGE;
}

/*
 * Try the checkpoints at or below the target, newest first, then the log from
 * its beginning. The first failure is reported when nothing else works: it is
 * about the newest checkpoint, which is what needs attention.
 */
static enum err_code load_from_listing(struct object_store *store,
                                       const struct log_listing *listing, struct load_plan plan,
                                       struct delta_state **state_out, struct err *err)
{
    struct err first = {0};
    for (size_t i = listing->checkpoints_count; i-- > 0;) {
        const struct listed_checkpoint *checkpoint = &listing->checkpoints[i];
        if (checkpoint->version > plan.target) {
            continue;
        }
        plan.checkpoint = checkpoint;
        struct err attempt = {0};
        enum err_code code = load_by_plan(store, listing, &plan, state_out, &attempt);
        if (code == ERR_OK) {
            return ERR_OK;
        }
        (void)err_wrap(&attempt, "checkpoint of version %lld", (long long)checkpoint->version);
        if (first.code == ERR_OK) {
            first = attempt;
        }
        if (!may_pass_over(code)) {
            break;
        }
    }
    bool may_replay = first.code == ERR_OK || may_pass_over(first.code);
    if (may_replay && (first.code == ERR_OK || starts_at_zero(listing))) {
        plan.checkpoint = NULL;
        struct err attempt = {0};
        if (load_by_plan(store, listing, &plan, state_out, &attempt) == ERR_OK) {
            return ERR_OK;
        }
        first = first.code == ERR_OK ? attempt : first;
    }
    *err = first;
    return first.code;
}

static enum err_code load_listed(struct object_store *store, int64_t from_version,
                                 struct load_plan plan, struct delta_state **state_out,
                                 struct err *err)
{
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    TRY(log_listing_read(store, from_version, true, &listing, err));
    int64_t newest = newest_version(&listing);
    plan.target = plan.target < 0 ? newest : plan.target;
    if (newest < 0 || plan.target > newest) {
        return refuse_version(&listing, plan.target, err);
    }
    bool covered = log_listing_find(&listing, plan.target) >= 0;
    for (size_t i = 0; i < listing.checkpoints_count; i++) {
        covered = covered || listing.checkpoints[i].version == plan.target;
    }
    if (!covered && (listing.commits_count == 0 || plan.target < listing.commits[0].version)) {
        return refuse_version(&listing, plan.target, err);
    }
    return load_from_listing(store, &listing, plan, state_out, err);
}

/*
 * The hint only saves listing what lies before it: when anything is wrong with
 * what it leads to, the whole log decides.
 */
static enum err_code load_state(struct object_store *store, struct load_plan plan,
                                struct delta_state **state_out, struct err *err)
{
    int64_t hint = checkpoint_hint(store);
    if (hint > 0 && (plan.target < 0 || hint <= plan.target)) {
        struct err ignored = {0};
        enum err_code code = load_listed(store, hint, plan, state_out, &ignored);
        if (code == ERR_OK) {
            return ERR_OK;
        }
        if (!may_pass_over(code)) {
            *err = ignored;
            return code;
        }
    }
    return load_listed(store, 0, plan, state_out, err);
}

enum err_code delta_state_load(struct object_store *store, struct delta_state **state_out,
                               struct err *err)
{
    return load_state(store, (struct load_plan){.target = -1}, state_out, err);
}

static enum err_code load_version(struct object_store *store, struct load_plan plan,
                                  struct delta_state **state_out, struct err *err)
{
    if (load_state(store, plan, state_out, err) != ERR_OK) {
        return err_wrap(err, "version %lld", (long long)plan.target);
    }
    return ERR_OK;
}

enum err_code delta_state_load_version(struct object_store *store, int64_t version,
                                       struct delta_state **state_out, struct err *err)
{
    assert(version >= 0);
    return load_version(store, (struct load_plan){.target = version}, state_out, err);
}

enum err_code delta_state_load_whole(struct object_store *store, int64_t version,
                                     struct delta_state **state_out, struct err *err)
{
    const struct load_plan plan = {.target = version, .whole = true};
    return version < 0 ? load_state(store, plan, state_out, err)
                       : load_version(store, plan, state_out, err);
}

/* ---- times ---- */

/* The commit's own timestamp where it has one; else -1. */
static enum err_code own_timestamp(struct object_store *store, int64_t version,
                                   int64_t *timestamp_ms_out, struct err *err)
{
    const struct delta_commit *commit = NULL;
    TRY(delta_commit_read(store, version, &commit, err));
    *timestamp_ms_out = commit->in_commit_timestamp_ms;
    delta_commit_release(&commit);
    return ERR_OK;
}

/* Commits with timestamps of their own keep them in their files; read only what a search asks. */
static enum err_code time_of(struct object_store *store, const struct listed_commit *commit,
                             bool own, int64_t *timestamp_ms_out, struct err *err)
{
    *timestamp_ms_out = -1;
    if (own) {
        TRY(own_timestamp(store, commit->version, timestamp_ms_out, err));
    }
    if (*timestamp_ms_out < 0) {
        *timestamp_ms_out = commit->modified_ms;
    }
    return ERR_OK;
}

enum err_code delta_state_version_at(struct object_store *store, int64_t timestamp_ms,
                                     int64_t *version_out, struct err *err)
{
    CLEANUP(log_listing_free) struct log_listing listing = {0};
    TRY(log_listing_read(store, 0, true, &listing, err));
    if (listing.commits_count == 0) {
        return refuse_version(&listing, 0, err);
    }
    log_listing_make_monotonic(&listing);
    int64_t newest_own = -1;
    TRY(own_timestamp(store, listing.commits[listing.commits_count - 1].version, &newest_own, err));
    size_t low = 0; /* how many commits are not later than the timestamp */
    size_t high = listing.commits_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int64_t at_ms = 0;
        TRY(time_of(store, &listing.commits[middle], newest_own >= 0, &at_ms, err));
        if (at_ms <= timestamp_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "the oldest version in the log, %lld, is younger than the timestamp",
                       (long long)listing.commits[0].version);
    }
    *version_out = listing.commits[low - 1].version;
    return ERR_OK;
}

/* ---- following ---- */

enum err_code delta_state_apply(const struct delta_state *state, const struct delta_commit *commit,
                                int64_t timestamp_ms, int64_t commit_bytes,
                                struct delta_state **state_out, struct err *err)
{
    assert(commit->version == state->version + 1);
    CLEANUP(replay_deinit) struct replay replay = {.base = state};
    replay_add_commit(&replay, commit);
    int64_t modified_ms = timestamp_ms >= 0 ? timestamp_ms : clock_wall_us() / 1000;
    struct delta_state *next = NULL;
    if (replay_finish(&replay, commit->version, timestamp_of(commit, modified_ms), &next, err) !=
        ERR_OK) {
        return err_wrap(err, "version %lld", (long long)commit->version);
    }
    next->log_bytes += commit_bytes;
    *state_out = next;
    return ERR_OK;
}

void delta_commits_free(struct delta_commits *commits)
{
    for (size_t i = 0; i < commits->count; i++) {
        delta_commit_release(&commits->items[i]);
    }
    mem_free(commits->items);
    *commits = (struct delta_commits){0};
}

static enum err_code commit_time(struct object_store *store, int64_t version, int64_t *ms_out,
                                 struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    int64_t size = 0;
    delta_log_commit_name(version, name);
    return object_stat(store, name, &size, ms_out, err);
}

/* A commit that was read, with the time of its file. */
static enum err_code apply_read(struct object_store *store, const struct delta_state *state,
                                const struct delta_commit *commit, struct delta_state **state_out,
                                struct err *err)
{
    int64_t modified_ms = -1;
    TRY(commit_time(store, commit->version, &modified_ms, err));
    return delta_state_apply(state, commit, modified_ms, commit->bytes_count, state_out, err);
}

enum err_code delta_state_step(struct object_store *store, const struct delta_state *state,
                               const struct delta_commit **commit_out,
                               struct delta_state **state_out, struct err *err)
{
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    TRY(delta_commit_read(store, state != NULL ? state->version + 1 : 0, &commit, err));
    TRY(state != NULL ? apply_read(store, state, commit, state_out, err)
                      : delta_state_load_version(store, 0, state_out, err));
    *commit_out = commit;
    commit = NULL;
    return ERR_OK;
}

enum err_code delta_state_update(const struct delta_state *state, struct object_store *store,
                                 struct delta_commits *commits_out, struct delta_state **state_out,
                                 struct err *err)
{
    CLEANUP(delta_state_release) struct delta_state *newest = delta_state_acquire(state);
    CLEANUP(delta_commits_free) struct delta_commits commits = {0};
    for (;;) {
        const struct delta_commit *commit = NULL;
        struct delta_state *next = NULL;
        enum err_code code = delta_commit_read(store, newest->version + 1, &commit, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err);
            break;
        }
        TRY(code);
        commits.items = mem_resize(commits.items, commits.count + 1, sizeof *commits.items);
        commits.items[commits.count++] = commit;
        TRY(apply_read(store, newest, commit, &next, err));
        delta_state_release(&newest);
        newest = next;
    }
    if (commits_out != NULL) {
        *commits_out = commits;
        commits = (struct delta_commits){0};
    }
    *state_out = newest;
    newest = NULL;
    return ERR_OK;
}

/* ---- small changes ---- */

int64_t delta_state_retention_ms(const struct delta_state *state)
{
    const int64_t otherwise_ms = (int64_t)DELTA_FILE_RETENTION_DAYS * 86400 * 1000;
    return delta_metadata_interval_ms(state->metadata, DELTA_RETENTION_PROPERTY, otherwise_ms);
}

struct delta_state *delta_state_after_checkpoint(const struct delta_state *state,
                                                 int64_t checkpoint_version)
{
    assert(checkpoint_version <= state->version);
    struct delta_state *copy = copy_state(state);
    copy->checkpoint_version = checkpoint_version;
    copy->log_bytes = 0;
    return copy;
}

/* ---- looking ---- */

const struct delta_file *delta_state_file_at(const struct delta_state *state, int64_t index)
{
    return ordered_at(state->files, index);
}

const struct delta_file *delta_state_file_by_path(const struct delta_state *state, const char *path)
{
    const struct delta_file key = {.path = path};
    const struct delta_file *file = ordered_lower_bound(state->files, &key);
    return file != NULL && strcmp(file->path, path) == 0 ? file : NULL;
}

bool delta_state_file_is_live(const struct delta_state *state, const struct delta_file *file)
{
    return ordered_find(state->files, file) != NULL;
}

bool delta_state_file_is_removed(const struct delta_state *state, const struct delta_file *file)
{
    assert(state->tombstones != NULL);
    return ordered_find(state->tombstones, file) != NULL;
}

const struct delta_file *delta_state_tombstone_at(const struct delta_state *state, int64_t index)
{
    assert(state->tombstones != NULL);
    return ordered_at(state->tombstones, index);
}

bool delta_state_txn(const struct delta_state *state, const char *app_id, int64_t *version_out)
{
    const struct delta_txn key = {.app_id = app_id};
    const struct delta_txn *txn = ordered_find(state->txns, &key);
    if (txn == NULL) {
        return false;
    }
    *version_out = txn->version;
    return true;
}

int64_t delta_state_txns_count(const struct delta_state *state)
{
    return ordered_count(state->txns);
}

const struct delta_txn *delta_state_txn_at(const struct delta_state *state, int64_t index)
{
    return ordered_at(state->txns, index);
}

int64_t delta_state_domains_count(const struct delta_state *state)
{
    return ordered_count(state->domains);
}

const struct delta_domain *delta_state_domain_at(const struct delta_state *state, int64_t index)
{
    return ordered_at(state->domains, index);
}

const struct delta_file *delta_state_next_file(const struct delta_state *state,
                                               struct delta_cursor *cursor)
{
    return ordered_next(state->files, &cursor->chunk, &cursor->item);
}

const struct delta_file *delta_state_next_tombstone(const struct delta_state *state,
                                                    struct delta_cursor *cursor)
{
    assert(state->tombstones != NULL);
    return ordered_next(state->tombstones, &cursor->chunk, &cursor->item);
}
