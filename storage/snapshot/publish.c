/*
 * Publishing a version: fold small index runs, swap the snapshot, write the
 * manifest. The caller holds the commit lock. See table_internal.h.
 */
#include "storage/base/mem.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum { FOLD_RATIO = 3 };

uint32_t table_new_file_number(struct table *table)
{
    return __atomic_fetch_add(&table->next_file, 1, __ATOMIC_RELAXED);
}

uint64_t table_new_run_id(struct table *table)
{
    return __atomic_fetch_add(&table->next_run, 1, __ATOMIC_RELAXED);
}

static bool is_alive(void *self, const struct index_entry *entry)
{
    const struct snapshot_file *file = NULL;
    return snapshot_entry_is_alive(self, entry, &file);
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

static enum err_code fold_once(struct table *table, const struct snapshot *snapshot,
                               struct index_view *view, const struct index_choice *choice,
                               struct err *err)
{
    struct snapshot *alive_self = (struct snapshot *)(uintptr_t)snapshot; /* is_alive only reads */
    struct index_run *run = NULL;
    struct err unstored = {0};
    if (index_runs_merge(table->index_folder, table_new_run_id(table), choice->runs, choice->count,
                         is_alive, alive_self, &run, &unstored) != ERR_OK) {
        TRY(index_runs_merge(NULL, table_new_run_id(table), choice->runs, choice->count, is_alive,
                             alive_self, &run, err));
    }
    for (size_t i = 0; i < choice->count; i++) {
        index_view_remove(view, choice->runs[i]);
    }
    index_view_add(view, &run);
    return ERR_OK;
}

enum err_code table_fold_runs(struct table *table, const struct snapshot *snapshot,
                              struct index_view *view, struct err *err)
{
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        while (view->kinds[kind].count > INDEX_RUNS_FOREGROUND_MAX) {
            struct index_choice choice;
            index_choose(&view->kinds[kind], FOLD_RATIO, is_busy, table, &choice);
            if (choice.count == 0) {
                break; /* all but one are being merged: a moment with one run more */
            }
            TRY(fold_once(table, snapshot, view, &choice, err));
        }
    }
    return ERR_OK;
}

void table_remember(struct table *table, int64_t version, uint64_t hash, int64_t position_from)
{
    if (table->commits_count == MANIFEST_COMMITS_MAX) {
        memmove(table->commits, table->commits + 1,
                (MANIFEST_COMMITS_MAX - 1) * sizeof *table->commits);
        table->commits_count--;
    }
    table->commits[table->commits_count++] =
        (struct own_commit){.version = version, .hash = hash, .position_from = position_from};
}

/* ---- the manifest ---- */

/* A run that is in memory only (disk full) cannot be named: the manifest stays as it was. */
static bool runs_are_stored(const struct index_view *view)
{
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            if (!view->kinds[kind].runs[i]->derived.stored) {
                return false;
            }
        }
    }
    return true;
}

static void list_runs(const struct index_view *view, struct manifest *manifest)
{
    manifest->runs = mem_zeroed(view->kinds_count * INDEX_SET_MAX, sizeof *manifest->runs);
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            const struct index_run *run = view->kinds[kind].runs[i];
            manifest->runs[manifest->runs_count++] =
                (struct manifest_run){.kind = run->kind, .id = run->id};
        }
    }
}

/* `texts` holds the identities of vectors; reserved first so that spans stay valid. */
static void list_files(const struct snapshot *snapshot, struct manifest *manifest,
                       struct buffer *texts)
{
    manifest->files = mem_zeroed(snapshot->files_count + 1, sizeof *manifest->files);
    manifest->files_count = snapshot->files_count;
    for (int pass = 0; pass < 2; pass++) {
        buffer_reset(texts);
        for (size_t i = 0; i < snapshot->files_count; i++) {
            const struct snapshot_file *file = &snapshot->files[i];
            size_t start = texts->size;
            vector_identity(file->file, texts);
            manifest->files[i] =
                (struct manifest_file){.number = file->number,
                                       .path = span_of_text(file->file->path),
                                       .dv = span_of(texts->data + start, texts->size - start)};
        }
    }
}

/* A manifest that cannot be written costs a longer start, nothing else. */
static void write_manifest(struct table *table, const struct snapshot *snapshot)
{
    if (snapshot->index == NULL || !runs_are_stored(snapshot->index)) {
        return;
    }
    struct buffer texts;
    buffer_init(&texts, MANIFEST_BYTES_MAX);
    struct manifest manifest = {
        .table = table->uuid,
        .definition = index_definition(snapshot->schema, table->hash_key),
        .version = snapshot->version,
        .next_file = __atomic_load_n(&table->next_file, __ATOMIC_RELAXED),
        .next_run = __atomic_load_n(&table->next_run, __ATOMIC_RELAXED),
        .commits_count = table->commits_count,
    };
    memcpy(manifest.boot, table->boot, sizeof manifest.boot);
    memcpy(manifest.commits, table->commits, sizeof manifest.commits);
    list_runs(snapshot->index, &manifest);
    list_files(snapshot, &manifest, &texts);
    struct err ignored = {0};
    if (manifest_write(table->index_folder, &manifest, &ignored) != ERR_OK) {
        err_clear(&ignored);
    }
    mem_free(manifest.runs);
    mem_free(manifest.files);
    buffer_deinit(&texts);
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
    const struct snapshot *kept = snapshot_acquire(snapshot);
    /* The old one is let go outside the lock: that may unmap files. */
    const struct snapshot *old = published_is_empty(&table->current) ? NULL : table_snapshot(table);
    lock_take(table->publish);
    published_replace(&table->current, snapshot);
    lock_drop(table->publish);
    snapshot_release(&old);
    __atomic_store_n(&table->tombstones_seen, (int64_t)tombstones_count(&table->tombstones),
                     __ATOMIC_RELAXED);
    write_manifest(table, kept);
    snapshot_release(&kept);
}
