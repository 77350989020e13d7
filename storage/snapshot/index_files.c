/*
 * The files of a table's index: small ones are made in memory and stored from time to time, with
 * a manifest that says what they mean. See table_internal.h.
 *
 * A merge stores nothing: a start after a crash reads the commits that the manifest does not know
 * from the table, so storing may lag behind, and a commit need not wait for it.
 */
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- storing what is in memory ---- */

/* A run that is in memory only (disk full) cannot be named: the manifest stays as it was. */
static enum err_code store_runs(struct table *table, const struct index_view *view, struct err *err)
{
    for (size_t kind = 0; kind < view->kinds_count; kind++) {
        for (size_t i = 0; i < view->kinds[kind].count; i++) {
            TRY(index_run_store(view->kinds[kind].runs[i], table->index_folder, err));
        }
    }
    return ERR_OK;
}

static enum err_code store_images(struct table *table, const struct snapshot *snapshot,
                                  struct err *err)
{
    for (size_t i = 0; i < snapshot->files_count; i++) {
        /* only where they are kept changes */
        struct images *images = (struct images *)(uintptr_t)snapshot->files[i].images;
        if (images != NULL) {
            TRY(images_store(images, table->index_folder, err));
        }
    }
    return ERR_OK;
}

/* ---- the manifest ---- */

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

static enum err_code write_manifest(struct table *table, const struct snapshot *snapshot,
                                    struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer texts;
    buffer_init(&texts, MANIFEST_BYTES_MAX);
    struct manifest manifest = {
        .table = table->uuid,
        .definition = index_definition(snapshot->schema, table->hash_key),
        .version = snapshot->version,
        .next_file = __atomic_load_n(&table->next_file, __ATOMIC_RELAXED),
        .next_run = __atomic_load_n(&table->next_run, __ATOMIC_RELAXED),
    };
    memcpy(manifest.mount, table->mount, sizeof manifest.mount);
    list_runs(snapshot->index, &manifest);
    list_files(snapshot, &manifest, &texts);
    enum err_code code = manifest_write(table->index_folder, &manifest, err);
    mem_free(manifest.runs);
    mem_free(manifest.files);
    return code;
}

/* ---- removing what the last manifest named and this one does not ---- */

void stored_index_deinit(struct stored_index *stored)
{
    mem_free(stored->files);
    mem_free(stored->runs);
    *stored = (struct stored_index){0};
}

static int compare_numbers(const void *a, const void *b)
{
    const uint32_t *left = a;
    const uint32_t *right = b;
    return (*left > *right) - (*left < *right);
}

static int compare_runs(const void *a, const void *b)
{
    const struct manifest_run *left = a;
    const struct manifest_run *right = b;
    return (left->id > right->id) - (left->id < right->id); /* ids are unique in a table */
}

static struct stored_index stored_index_of(const struct snapshot *snapshot)
{
    struct manifest manifest = {0};
    list_runs(snapshot->index, &manifest);
    struct stored_index stored = {.runs = manifest.runs, .runs_count = manifest.runs_count};
    stored.files = mem_zeroed(snapshot->files_count + 1, sizeof *stored.files);
    for (size_t i = 0; i < snapshot->files_count; i++) {
        stored.files[stored.files_count++] = snapshot->files[i].number;
    }
    qsort(stored.files, stored.files_count, sizeof *stored.files, compare_numbers);
    qsort(stored.runs, stored.runs_count, sizeof *stored.runs, compare_runs);
    return stored;
}

static enum err_code remove_named(const struct table *table, const char *name, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = file_join(table->index_folder, name);
    return file_remove(path, err);
}

static enum err_code remove_dropped(const struct table *table, const struct stored_index *before,
                                    const struct stored_index *now, struct err *err)
{
    char name[DERIVED_NAME_BYTES];
    for (size_t i = 0; i < before->files_count; i++) {
        if (bsearch(&before->files[i], now->files, now->files_count, sizeof *now->files,
                    compare_numbers) == NULL) {
            images_name(before->files[i], name);
            TRY(remove_named(table, name, err));
        }
    }
    for (size_t i = 0; i < before->runs_count; i++) {
        if (bsearch(&before->runs[i], now->runs, now->runs_count, sizeof *now->runs,
                    compare_runs) == NULL) {
            index_run_name(before->runs[i].kind, before->runs[i].id, name);
            TRY(remove_named(table, name, err));
        }
    }
    return ERR_OK;
}

static enum err_code store(struct table *table, const struct snapshot *snapshot, struct err *err)
{
    TRY(store_runs(table, snapshot->index, err));
    TRY(store_images(table, snapshot, err));
    TRY(write_manifest(table, snapshot, err));
    struct stored_index now = stored_index_of(snapshot);
    enum err_code code = remove_dropped(table, &table->stored, &now, err);
    stored_index_deinit(&table->stored);
    table->stored = now;
    return code;
}

/* Caller holds index_files_lock. */
static void store_published(struct table *table)
{
    int64_t publishes = __atomic_load_n(&table->publishes, __ATOMIC_ACQUIRE);
    if (publishes == table->stored_publishes) {
        return;
    }
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    struct err unstored = {0};
    if (snapshot->index != NULL && store(table, snapshot, &unstored) != ERR_OK) {
        return; /* a longer start is what it costs; the next call tries again */
    }
    table->stored_publishes = publishes;
}

void table_store_index(struct table *table)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->index_files_lock);
    store_published(table);
}

void table_store_index_when_due(struct table *table, int64_t now_us)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->index_files_lock);
    if (now_us - table->stored_us >= TABLE_STORE_US) {
        table->stored_us = now_us;
        store_published(table);
    }
}

/* ---- removing what nothing refers to ---- */

/* "<prefix><number><suffix>": the number. */
static bool parse_number(const char *name, const char *prefix, const char *suffix,
                         int64_t *number_out)
{
    size_t size = strlen(name);
    size_t prefix_size = strlen(prefix);
    size_t suffix_size = strlen(suffix);
    if (size <= prefix_size + suffix_size || strncmp(name, prefix, prefix_size) != 0 ||
        strcmp(name + size - suffix_size, suffix) != 0) {
        return false;
    }
    return text_parse_int64(span_of(name + prefix_size, size - prefix_size - suffix_size),
                            number_out);
}

static bool names_run(const struct stored_index *stored, const char *name)
{
    for (size_t i = 0; i < stored->runs_count; i++) {
        char used[DERIVED_NAME_BYTES];
        index_run_name(stored->runs[i].kind, stored->runs[i].id, used);
        if (strcmp(used, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool names_images(const struct stored_index *stored, int64_t number)
{
    uint32_t wanted = (uint32_t)number;
    return number > 0 && number <= UINT32_MAX && stored->files_count > 0 &&
           bsearch(&wanted, stored->files, stored->files_count, sizeof wanted, compare_numbers) !=
               NULL;
}

static struct derived_name *note_dropped(struct table *table)
{
    assert(lock_is_held(&table->commit));
    table->dropped = mem_resize(table->dropped, table->dropped_count + 1, sizeof *table->dropped);
    return &table->dropped[table->dropped_count++];
}

void table_note_dropped_run(struct table *table, const struct index_run *run)
{
    index_run_name(run->kind, run->id, note_dropped(table)->text);
}

void table_note_dropped_images(struct table *table, const struct images *images)
{
    images_name(images->number, note_dropped(table)->text);
}

void table_note_unused(struct table *table, const struct images *images,
                       const struct index_view *runs)
{
    if (images != NULL) {
        table_note_dropped_images(table, images);
    }
    for (size_t kind = 0; runs != NULL && kind < runs->kinds_count; kind++) {
        for (size_t i = 0; i < runs->kinds[kind].count; i++) {
            table_note_dropped_run(table, runs->kinds[kind].runs[i]);
        }
    }
}

/*
 * Files in use by the manifest or by what is published now; mapped files of older snapshots
 * outlive their names.
 */
static bool is_index_file_used(const struct stored_index *manifest,
                               const struct stored_index *published, const char *name)
{
    int64_t number = 0;
    if (parse_number(name, "images-", ".img", &number)) {
        return names_images(manifest, number) || names_images(published, number);
    }
    if (strncmp(name, "run-", 4) == 0) {
        return names_run(manifest, name) || names_run(published, name);
    }
    return true; /* the manifest, our commits, and what is not ours */
}

/* What was noted, and what is published now: a run is in use still when its commit failed. */
static size_t take_dropped(struct table *table, struct derived_name **dropped_out,
                           const struct snapshot **snapshot_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    size_t count = table->dropped_count;
    *dropped_out = table->dropped;
    table->dropped = NULL;
    table->dropped_count = 0;
    *snapshot_out = table_snapshot(table);
    return count;
}

void table_drop_files(struct table *table)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = NULL;
    CLEANUP(mem_cleanup) struct derived_name *dropped = NULL;
    size_t count = take_dropped(table, &dropped, &snapshot);
    if (count == 0 || snapshot->index == NULL) {
        return;
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->index_files_lock);
    CLEANUP(stored_index_deinit) struct stored_index published = stored_index_of(snapshot);
    for (size_t i = 0; i < count; i++) {
        struct err left = {0}; /* table_clean removes it later */
        if (!is_index_file_used(&table->stored, &published, dropped[i].text)) {
            err_ignore(remove_named(table, dropped[i].text, &left));
        }
    }
}

static enum err_code remove_before(const char *path, int64_t before_ms, struct err *err)
{
    int64_t size = 0;
    int64_t modified_ms = 0;
    struct err gone = {0};
    if (file_stat(path, &size, &modified_ms, &gone) == ERR_OK && modified_ms < before_ms) {
        TRY(file_remove(path, err));
    }
    return ERR_OK;
}

enum err_code table_clean_index(struct table *table, const struct snapshot *snapshot,
                                int64_t before_ms, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->index_files_lock);
    CLEANUP(stored_index_deinit) struct stored_index published = {0};
    if (snapshot->index != NULL) {
        published = stored_index_of(snapshot);
    }
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(table->index_folder, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (!is_index_file_used(&table->stored, &published, names.names[i])) {
            CLEANUP(mem_cleanup) char *path = file_join(table->index_folder, names.names[i]);
            TRY(remove_before(path, before_ms, err));
        }
    }
    return ERR_OK;
}
