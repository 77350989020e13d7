/*
 * Log replay: actions in, state out.
 *
 * Source: delta PROTOCOL.md "Action Reconciliation"; reference section 3.10.
 */
#include "storage/delta/replay.h"

#include "storage/base/mem.h"
#include "storage/delta/ordered.h"

#include <assert.h>
#include <string.h>

/* ---- kinds of items ---- */

static int compare_files(const void *a, const void *b)
{
    return delta_file_compare(a, b);
}

static void acquire_file(const void *item)
{
    (void)delta_file_acquire(item); /* the set keeps the pointer it has */
}

static void release_file(const void *item)
{
    const struct delta_file *file = item;
    delta_file_release(&file);
}

static int compare_txns(const void *a, const void *b)
{
    return strcmp(((const struct delta_txn *)a)->app_id, ((const struct delta_txn *)b)->app_id);
}

static void acquire_txn(const void *item)
{
    (void)delta_txn_acquire(item); /* the set keeps the pointer it has */
}

static void release_txn(const void *item)
{
    const struct delta_txn *txn = item;
    delta_txn_release(&txn);
}

static int compare_domains(const void *a, const void *b)
{
    return strcmp(((const struct delta_domain *)a)->domain,
                  ((const struct delta_domain *)b)->domain);
}

static void acquire_domain(const void *item)
{
    (void)delta_domain_acquire(item); /* the set keeps the pointer it has */
}

static void release_domain(const void *item)
{
    const struct delta_domain *domain = item;
    delta_domain_release(&domain);
}

static const struct ordered_kind file_kind = {compare_files, acquire_file, release_file};
static const struct ordered_kind txn_kind = {compare_txns, acquire_txn, release_txn};
static const struct ordered_kind domain_kind = {compare_domains, acquire_domain, release_domain};

/* ---- gathering ---- */

static void mention(struct mentions *mentions, const void *item)
{
    if (mentions->count == mentions->capacity) {
        mentions->capacity = mentions->capacity == 0 ? 16 : mentions->capacity * 2;
        mentions->items = mem_resize(mentions->items, mentions->capacity, sizeof *mentions->items);
    }
    mentions->items[mentions->count] = (struct mention){.item = item, .order = mentions->count};
    mentions->count++;
}

void replay_add_actions(struct replay *replay, const struct delta_actions *actions)
{
    for (size_t i = 0; i < actions->files_count; i++) {
        mention(&replay->files, actions->files[i]);
    }
    for (size_t i = 0; i < actions->txns_count; i++) {
        mention(&replay->txns, actions->txns[i]);
    }
    for (size_t i = 0; i < actions->domains_count; i++) {
        mention(&replay->domains, actions->domains[i]);
    }
    replay->protocol = actions->protocol != NULL ? actions->protocol : replay->protocol;
    replay->metadata = actions->metadata != NULL ? actions->metadata : replay->metadata;
}

void replay_add_commit(struct replay *replay, const struct delta_commit *commit)
{
    const struct delta_actions actions = {
        .protocol = commit->protocol,
        .metadata = commit->metadata,
        .files = commit->files,
        .files_count = commit->files_count,
        .txns = commit->txns,
        .txns_count = commit->txns_count,
        .domains = commit->domains,
        .domains_count = commit->domains_count,
    };
    replay_add_actions(replay, &actions);
}

void replay_deinit(struct replay *replay)
{
    mem_free(replay->files.items);
    mem_free(replay->txns.items);
    mem_free(replay->domains.items);
    *replay = (struct replay){0};
}

/* ---- folding ---- */

static int compare_mentions(const void *a, const void *b, void *kind_pointer)
{
    const struct ordered_kind *kind = kind_pointer;
    const struct mention *left = a;
    const struct mention *right = b;
    int order = kind->compare(left->item, right->item);
    if (order != 0) {
        return order;
    }
    return left->order < right->order ? -1 : left->order > right->order;
}

/* Sort by key and keep the last mention of each. */
static void keep_last(struct mentions *mentions, const struct ordered_kind *kind)
{
    if (mentions->count < 2) {
        return;
    }
    qsort_r(mentions->items, mentions->count, sizeof *mentions->items, compare_mentions,
            (void *)(uintptr_t)kind);
    size_t kept = 0;
    for (size_t i = 0; i < mentions->count; i++) {
        const struct mention *next = i + 1 < mentions->count ? &mentions->items[i + 1] : NULL;
        if (next == NULL || kind->compare(mentions->items[i].item, next->item) != 0) {
            mentions->items[kept++] = mentions->items[i];
        }
    }
    mentions->count = kept;
}

static void count_file(struct delta_state *state, const struct delta_file *file, int64_t sign)
{
    int64_t rows = delta_file_live_rows(file);
    state->files_bytes += sign * file->size;
    state->rows_unknown_files_count += rows < 0 ? sign : 0;
    state->rows_count += rows < 0 ? 0 : sign * rows;
    if (delta_dv_is_present(&file->dv)) {
        state->files_with_dv_count += sign;
        state->deleted_rows_count += sign * file->dv.cardinality;
    }
}

/*
 * Change both sets at once: an add leaves the tombstones (NULL: nobody wants them), a remove
 * leaves the live files.
 * spec: delta PROTOCOL.md#action-reconciliation — key is (path, dvId)
 */
static void fold_files(struct replay *replay, const struct ordered *live,
                       const struct ordered *tombstones, struct delta_state *state)
{
    keep_last(&replay->files, &file_kind);
    size_t count = replay->files.count;
    CLEANUP(mem_cleanup) struct ordered_edit *live_edits = mem_zeroed(count, sizeof *live_edits);
    CLEANUP(mem_cleanup) struct ordered_edit *dead_edits = mem_zeroed(count, sizeof *dead_edits);
    for (size_t i = 0; i < count; i++) {
        const struct delta_file *file = replay->files.items[i].item;
        const struct delta_file *old = ordered_find(live, file);
        if (old != NULL) {
            count_file(state, old, -1);
        }
        if (!file->removed) {
            count_file(state, file, 1);
        }
        live_edits[i] = (struct ordered_edit){.item = file, .put = !file->removed};
        dead_edits[i] = (struct ordered_edit){.item = file, .put = file->removed};
    }
    state->files = ordered_apply(live, live_edits, count);
    state->files_count = ordered_count(state->files);
    if (tombstones != NULL) {
        state->tombstones = ordered_apply(tombstones, dead_edits, count);
        state->tombstones_count = ordered_count(state->tombstones);
    }
}

static struct ordered *fold_txns(struct replay *replay, const struct ordered *base)
{
    keep_last(&replay->txns, &txn_kind);
    size_t count = replay->txns.count;
    CLEANUP(mem_cleanup) struct ordered_edit *edits = mem_zeroed(count, sizeof *edits);
    for (size_t i = 0; i < count; i++) {
        edits[i] = (struct ordered_edit){.item = replay->txns.items[i].item, .put = true};
    }
    return ordered_apply(base, edits, count);
}

static struct ordered *fold_domains(struct replay *replay, const struct ordered *base)
{
    keep_last(&replay->domains, &domain_kind);
    size_t count = replay->domains.count;
    CLEANUP(mem_cleanup) struct ordered_edit *edits = mem_zeroed(count, sizeof *edits);
    for (size_t i = 0; i < count; i++) {
        const struct delta_domain *domain = replay->domains.items[i].item;
        edits[i] = (struct ordered_edit){.item = domain, .put = !domain->removed};
    }
    return ordered_apply(base, edits, count);
}

static enum err_code choose_protocol(const struct replay *replay,
                                     const struct delta_protocol **protocol_out,
                                     const struct delta_metadata **metadata_out, struct err *err)
{
    const struct delta_state *base = replay->base;
    const struct delta_protocol *protocol = replay->protocol != NULL ? replay->protocol
                                            : base != NULL           ? base->protocol
                                                                     : NULL;
    const struct delta_metadata *metadata = replay->metadata != NULL ? replay->metadata
                                            : base != NULL           ? base->metadata
                                                                     : NULL;
    if (protocol == NULL || metadata == NULL) {
        return err_set(err, ERR_CORRUPT, "the log has no %s action",
                       protocol == NULL ? "protocol" : "metaData");
    }
    TRY(delta_protocol_check_read(protocol, metadata, err));
    *protocol_out = protocol;
    *metadata_out = metadata;
    return ERR_OK;
}

/* An empty set where there is no base. */
static struct ordered *base_set(struct ordered *of_base, const struct ordered_kind *kind)
{
    return of_base != NULL ? ordered_acquire(of_base) : ordered_new(kind);
}

enum err_code replay_finish(struct replay *replay, int64_t version, int64_t timestamp_ms,
                            struct delta_state **state_out, struct err *err)
{
    const struct delta_protocol *protocol = NULL;
    const struct delta_metadata *metadata = NULL;
    TRY(choose_protocol(replay, &protocol, &metadata, err));
    const struct delta_state nothing = {.checkpoint_version = -1};
    const struct delta_state *base = replay->base != NULL ? replay->base : &nothing;
    struct delta_state *state = mem_zeroed(1, sizeof *state);
    *state = (struct delta_state){
        .version = version,
        .timestamp_ms = timestamp_ms,
        .checkpoint_version = base->checkpoint_version,
        .log_bytes = base->log_bytes,
        .protocol = delta_protocol_acquire(protocol),
        .metadata = delta_metadata_acquire(metadata),
        .files_bytes = base->files_bytes,
        .files_with_dv_count = base->files_with_dv_count,
        .deleted_rows_count = base->deleted_rows_count,
        .rows_count = base->rows_count,
        .rows_unknown_files_count = base->rows_unknown_files_count,
        .references = 1,
    };
    CLEANUP(ordered_release) struct ordered *live = base_set(base->files, &file_kind);
    bool whole = replay->base != NULL ? base->tombstones != NULL : replay->whole;
    CLEANUP(ordered_release)
    struct ordered *dead = whole ? base_set(base->tombstones, &file_kind) : NULL;
    CLEANUP(ordered_release) struct ordered *txns = base_set(base->txns, &txn_kind);
    CLEANUP(ordered_release) struct ordered *domains = base_set(base->domains, &domain_kind);
    fold_files(replay, live, dead, state);
    state->txns = fold_txns(replay, txns);
    state->domains = fold_domains(replay, domains);
    *state_out = state;
    return ERR_OK;
}
