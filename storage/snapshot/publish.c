/*
 * Publishing a version: fold small index runs, swap the snapshot. The caller
 * holds the commit lock. See table_internal.h.
 */
#include "storage/snapshot/images.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

uint32_t table_new_file_number(struct table *table)
{
    return __atomic_fetch_add(&table->next_file, 1, __ATOMIC_RELAXED);
}

uint64_t table_new_run_id(struct table *table)
{
    return __atomic_fetch_add(&table->next_run, 1, __ATOMIC_RELAXED);
}

static bool is_busy(void *self, const struct index_run *run)
{
    const struct table *table = self;
    for (size_t i = 0; i < table->busy_count; i++) {
        if (table->busy[i] == run) {
            return true;
        }
    }
    return false;
}

/* Those are files from the start; others once a manifest names them, whose next one removes them.
 */
static bool was_streamed(const struct derived *derived)
{
    return derived->body.size >= DERIVED_STREAM_BYTES;
}

/* Dead entries stay: finding them takes longer than a merge should, and maintenance drops them. */
static enum err_code fold_once(struct table *table, struct index_view *view,
                               const struct index_choice *choice, struct err *err)
{
    struct index_run *run = NULL;
    struct err unstored = {0};
    if (index_runs_merge(table->index_folder, table_new_run_id(table), choice->runs, choice->count,
                         NULL, NULL, &run, &unstored) != ERR_OK) {
        TRY(index_runs_merge(NULL, table_new_run_id(table), choice->runs, choice->count, NULL, NULL,
                             &run, err));
    }
    for (size_t i = 0; i < choice->count; i++) {
        if (was_streamed(&choice->runs[i]->derived)) {
            table_note_dropped_run(table, choice->runs[i]);
        }
        index_view_remove(view, choice->runs[i]);
    }
    index_view_add(view, &run);
    return ERR_OK;
}

static bool has_many_small(const struct index_set *set)
{
    size_t small = 0;
    for (size_t i = 0; i < set->count; i++) {
        small += set->runs[i]->count <= INDEX_SMALL_ENTRIES_MAX;
    }
    return small > INDEX_SMALL_RUNS_MAX;
}

/* Small runs where they will do; else the smallest there are. */
static void choose_for_commit(struct table *table, const struct index_set *set, bool crowded,
                              struct index_choice *choice)
{
    size_t entries_max = (size_t)2 * INDEX_SMALL_ENTRIES_MAX;
    index_choose(set, is_busy, table, entries_max, choice);
    while (crowded && choice->count == 0 && entries_max < INDEX_RUN_ENTRIES_MAX) {
        entries_max *= 2;
        index_choose(set, is_busy, table, entries_max, choice);
    }
}

/*
 * A commit waits for this, so large runs are left to maintenance. Only when it does not come at
 * all are they folded here.
 */
enum err_code table_fold_runs(struct table *table, struct index_view *view, struct err *err)
{
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        struct index_set *set = &view->kinds[kind];
        bool crowded = set->count > INDEX_RUNS_FOREGROUND_MAX;
        while (crowded || has_many_small(set)) {
            struct index_choice choice;
            choose_for_commit(table, set, crowded, &choice);
            if (choice.count == 0) {
                break; /* all but one are being merged: a moment with one run more */
            }
            TRY(fold_once(table, view, &choice, err));
            crowded = set->count > INDEX_RUNS_FOREGROUND_MAX;
        }
    }
    return ERR_OK;
}

void table_remember(struct table *table, int64_t version, uint64_t hash, int64_t position_from)
{
    const struct own_commit commit = {
        .version = version, .hash = hash, .position_from = position_from};
    own_commits_add(&table->own, &commit);
}

/* Compacted again and again between two manifests, images would fill the disk. */
static void note_dropped_images(struct table *table, const struct snapshot *old,
                                const struct snapshot *now)
{
    size_t files_count = old != NULL ? old->files_count : 0;
    for (size_t i = 0; i < files_count; i++) {
        const struct snapshot_file *file = &old->files[i];
        if (file->images != NULL && was_streamed(&file->images->derived) &&
            snapshot_file_by_number(now, file->number) == NULL) {
            table_note_dropped_images(table, file->images);
        }
    }
}

void table_publish(struct table *table, const struct schema *schema,
                   const struct delta_state *state, struct file_list *files,
                   struct index_view *view)
{
    assert(lock_is_held(&table->commit));
    struct snapshot_parts parts = {.table = &table->uuid,
                                   .schema = schema,
                                   .state = state,
                                   .owner = table->owner,
                                   .view = view,
                                   .files = files};
    struct snapshot *snapshot = snapshot_new(&parts);
    /* The old one is let go outside the lock: that may unmap files. */
    const struct snapshot *old = published_is_empty(&table->current) ? NULL : table_snapshot(table);
    lock_take(table->publish);
    published_replace(&table->current, snapshot);
    lock_drop(table->publish);
    __atomic_store_n(&table->has_lookups, schema->lookup_count > 0, __ATOMIC_RELEASE);
    note_dropped_images(table, old, snapshot);
    snapshot_release(&old);
    __atomic_store_n(&table->tombstones_seen, (int64_t)tombstones_count(&table->tombstones),
                     __ATOMIC_RELAXED);
    (void)__atomic_add_fetch(&table->publishes, 1, __ATOMIC_RELEASE);
}
