/*
 * Following the log: from the published snapshot to a newer state of the table,
 * whoever wrote it. See table_internal.h.
 *
 * A file keeps its number, its images and its index entries as long as its
 * deletion vector only grows. When a foreign commit takes marks back (RESTORE),
 * entries that were dropped would be missing: the file is read again under a new
 * number.
 */
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

void vector_identity(const struct delta_file *file, struct buffer *text)
{
    if (!delta_dv_is_present(&file->dv)) {
        return;
    }
    buffer_append_byte(text, (uint8_t)file->dv.storage);
    buffer_append_text(text, file->dv.path_or_inline);
    if (file->dv.has_offset) {
        buffer_append_format(text, "@%d", file->dv.offset);
    }
}

enum err_code table_load_vector(struct object_store *store, const struct delta_file *file,
                                struct shared_vector **vector_out, struct err *err)
{
    if (!delta_dv_is_present(&file->dv)) {
        *vector_out = NULL;
        return ERR_OK;
    }
    struct deletion_vector *vector = NULL;
    if (deletion_vector_read(store, &file->dv, file->rows_count, &vector, err) != ERR_OK) {
        return err_wrap(err, "deletion vector of %s", file->path);
    }
    *vector_out = shared_vector_new(&vector);
    return ERR_OK;
}

/* ---- matching old files with the new state ---- */

static int compare_paths(const void *a, const void *b)
{
    const struct snapshot_file *const *left = a;
    const struct snapshot_file *const *right = b;
    return strcmp((*left)->file->path, (*right)->file->path);
}

/* The files of the published snapshot in order of path. */
struct known_files {
    const struct snapshot_file **items;
    size_t count;
};

static void known_files_init(struct known_files *known, const struct snapshot *snapshot)
{
    *known = (struct known_files){0};
    if (snapshot == NULL) {
        return;
    }
    known->count = snapshot->files_count;
    known->items = mem_zeroed(known->count + 1, sizeof(const struct snapshot_file *));
    for (size_t i = 0; i < known->count; i++) {
        known->items[i] = &snapshot->files[i];
    }
    qsort(known->items, known->count, sizeof(const struct snapshot_file *), compare_paths);
}

static const struct snapshot_file *known_find(const struct known_files *known, const char *path)
{
    size_t low = 0;
    size_t high = known->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(known->items[middle]->file->path, path);
        if (order == 0) {
            return known->items[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* A file of the new state and what was known of it. */
struct followed {
    const struct delta_file *file;
    const struct snapshot_file *known; /* NULL: read it anew */
    struct shared_vector *vector;      /* of the new state; taken by the list */
};

/* Does the new vector keep all marks of the old one? */
static bool only_grew(const struct snapshot_file *known, const struct shared_vector *vector)
{
    if (known->dv == NULL) {
        return true;
    }
    return vector != NULL && deletion_vector_is_subset(known->dv, vector->vector);
}

static enum err_code match_file(struct table *table, const struct known_files *known,
                                const struct delta_file *file, struct followed *followed,
                                struct err *err)
{
    *followed = (struct followed){.file = file, .known = known_find(known, file->path)};
    if (followed->known != NULL && delta_dv_equal(&followed->known->file->dv, &file->dv)) {
        if (followed->known->vector != NULL) {
            followed->vector = shared_vector_acquire(followed->known->vector);
        }
        return ERR_OK;
    }
    TRY(table_load_vector(table->store, file, &followed->vector, err));
    if (followed->known != NULL && !only_grew(followed->known, followed->vector)) {
        followed->known = NULL;
    }
    return ERR_OK;
}

static int compare_followed(const void *a, const void *b)
{
    const struct followed *left = a;
    const struct followed *right = b;
    uint32_t left_number = left->known == NULL ? UINT32_MAX : left->known->number;
    uint32_t right_number = right->known == NULL ? UINT32_MAX : right->known->number;
    return (left_number > right_number) - (left_number < right_number);
}

/* ---- building the new list ---- */

static void add_known(struct file_list *list, struct followed *followed)
{
    struct images *images = NULL;
    if (followed->known->images != NULL) {
        images = images_acquire(followed->known->images);
    }
    file_list_add(list, followed->known->number, followed->file, &images, &followed->vector);
}

static enum err_code add_new(struct table *table, const struct schema *schema,
                             struct followed *followed, struct file_list *list,
                             struct entry_lists *lists, struct index_view *view, struct err *err)
{
    uint32_t number = table_new_file_number(table);
    struct images *images = NULL;
    if (view != NULL) {
        const struct deletion_vector *dv =
            followed->vector == NULL ? NULL : followed->vector->vector;
        TRY(table_ingest(table, schema, followed->file, dv, number, lists, view, &images, err));
    }
    file_list_add(list, number, followed->file, &images, &followed->vector);
    return ERR_OK;
}

static enum err_code build_list(struct table *table, const struct schema *schema,
                                struct followed *followed, size_t count, struct file_list *list,
                                struct index_view *view, struct err *err)
{
    CLEANUP(entry_lists_deinit) struct entry_lists lists;
    entry_lists_init(&lists, schema);
    for (size_t i = 0; i < count; i++) {
        if (followed[i].known != NULL) {
            add_known(list, &followed[i]);
        } else {
            TRY(add_new(table, schema, &followed[i], list, &lists, view, err));
        }
    }
    if (view == NULL) {
        return ERR_OK;
    }
    TRY(entry_lists_flush(&lists, table, view, err));
    return table_fold_runs(table, view, err);
}

/* All files of a state, matched; `vector` of each is owned until a list took it. */
struct followed_files {
    struct followed *items;
    size_t count;
};

static void followed_files_deinit(struct followed_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        shared_vector_release(&files->items[i].vector);
    }
    mem_free(files->items);
    *files = (struct followed_files){0};
}

static enum err_code match_all(struct table *table, const struct snapshot *old,
                               const struct delta_state *state, struct followed_files *files,
                               struct err *err)
{
    struct known_files known;
    known_files_init(&known, old);
    files->items = mem_zeroed((size_t)state->files_count + 1, sizeof *files->items);
    enum err_code code = ERR_OK;
    const struct delta_file *file = NULL;
    struct delta_cursor cursor = {0};
    while (code == ERR_OK && (file = delta_state_next_file(state, &cursor)) != NULL) {
        code = match_file(table, &known, file, &files->items[files->count++], err);
    }
    mem_free(known.items);
    qsort(files->items, files->count, sizeof *files->items, compare_followed);
    return code;
}

enum err_code table_follow(struct table *table, const struct schema *schema,
                           struct delta_state *state, bool fresh, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *old = NULL;
    if (!fresh && !published_is_empty(&table->current)) {
        old = table_snapshot(table);
    }
    CLEANUP(followed_files_deinit) struct followed_files files = {0};
    TRY(match_all(table, old, state, &files, err));
    CLEANUP(index_view_release) struct index_view *view = NULL;
    if (index_is_needed(schema)) {
        view = old == NULL || old->index == NULL
                   ? index_view_new(1 + schema->lookup_count, table->hash_key)
                   : index_view_copy(old->index);
    }
    CLEANUP(file_list_deinit) struct file_list list = {0};
    TRY(build_list(table, schema, files.items, files.count, &list, view, err));
    table_publish(table, schema, state, &list, view);
    return ERR_OK;
}

enum err_code table_follow_definition(struct table *table, const struct schema *schema,
                                      struct delta_state *state, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    bool same = index_definition(current->schema, table->hash_key) ==
                index_definition(schema, table->hash_key);
    if (FAULT("definition.follow")) {
        return err_set(err, ERR_NO_SPACE, "planted fault before the definition is published");
    }
    return table_follow(table, schema, state, !same, err);
}

/* ---- looking for news ---- */

/* The oldest remembered commit of ours, among the newest `count`, that reads differently now. */
static enum err_code find_overwritten(const struct table *table, size_t count, size_t *found_out,
                                      struct err *err)
{
    const struct own_commits *own = &table->own;
    size_t first = own->count > count ? own->count - count : 0;
    *found_out = own->count;
    for (size_t i = first; i < own->count; i++) {
        bool ours = false;
        TRY(delta_commit_is_ours(table->store, own->items[i].version, own->items[i].hash, &ours,
                                 err));
        if (!ours) {
            *found_out = i;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/*
 * Log clean-up removes old commits too: one that is gone was overwritten only if
 * the log still has older ones.
 */
static enum err_code is_cleaned(const struct table *table, int64_t version, bool *cleaned_out,
                                struct err *err)
{
    char name[DELTA_LOG_NAME_BYTES];
    delta_log_commit_name(version, name);
    int64_t size = 0;
    int64_t modified_ms = 0;
    struct err absent = {0};
    *cleaned_out = false;
    if (object_stat(table->store, name, &size, &modified_ms, &absent) == ERR_OK) {
        return ERR_OK;
    }
    if (absent.code != ERR_NOT_FOUND) {
        *err = absent;
        return err->code;
    }
    *cleaned_out = true;
    return ERR_OK;
}

static enum err_code check_overwritten(struct table *table, size_t count, bool *overwritten_out,
                                       struct err *err)
{
    *overwritten_out = false;
    for (;;) {
        size_t found = 0;
        TRY(find_overwritten(table, count, &found, err));
        if (found == table->own.count) {
            return ERR_OK;
        }
        struct own_commit lost = table->own.items[found];
        bool cleaned = false;
        TRY(is_cleaned(table, lost.version, &cleaned, err));
        if (!cleaned) {
            *overwritten_out = true;
            if (table->overwritten_from < 0 || lost.version < table->overwritten_from) {
                table->overwritten_from = lost.version;
            }
            if (lost.position_from >= 0 && (table->overwritten_position < 0 ||
                                            lost.position_from < table->overwritten_position)) {
                table->overwritten_position = lost.position_from;
            }
        }
        own_commits_remove(&table->own, found);
    }
}

/* By the definition in force, or by the one that is about to be written. */
static enum err_code check_columns(const struct schema *schema, const struct schema *next,
                                   const struct delta_metadata *metadata, struct err *err)
{
    bool differs = false;
    CLEANUP(schema_release) struct schema *mapped = NULL;
    if (next == NULL || next->version <= schema->version) {
        return table_check_columns(schema, NULL, metadata, &differs, err);
    }
    TRY(definition_adopt(next, metadata, &mapped, err));
    return table_check_columns(mapped, schema, metadata, &differs, err);
}

static enum err_code follow_newest(struct table *table, const struct schema *next, bool reload,
                                   bool *changed_out, struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    if (reload) {
        TRY(delta_state_load(table->store, &state, err));
    } else {
        TRY(delta_state_update(current->state, table->store, NULL, &state, err));
    }
    if (!reload && state->version == current->version && !table->columns_differ) {
        return ERR_OK;
    }
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(definition_in_force(current->schema, state->metadata, &schema, err));
    enum err_code code = ERR_OK;
    if (table->columns_differ || !delta_metadata_equal(state->metadata, current->state->metadata)) {
        code = check_columns(schema, next, state->metadata, err);
        table->columns_differ = code == ERR_CONFLICT;
    }
    if (code != ERR_OK && code != ERR_CONFLICT) {
        return code;
    }
    if (reload || state->version != current->version) { /* readers follow, whatever it is */
        struct err unfollowed = {0};
        if (table_follow_definition(table, schema, state, &unfollowed) != ERR_OK) {
            *err = unfollowed;
            return err->code;
        }
        *changed_out = true;
    }
    return code;
}

/* Before a merge the newest commit is looked at; a refresh looks at all that are remembered. */
static enum err_code catch_up(struct table *table, const struct schema *next, size_t commits,
                              bool *changed_out, struct err *err)
{
    assert(lock_is_held(&table->commit));
    *changed_out = false;
    bool overwritten = false;
    TRY(check_overwritten(table, commits, &overwritten, err));
    return follow_newest(table, next, overwritten, changed_out, err);
}

enum err_code table_catch_up(struct table *table, const struct schema *next, bool *changed_out,
                             struct err *err)
{
    return catch_up(table, next, 1, changed_out, err);
}

/* Was the commit that held the definition among those overwritten? Then it is due again. */
static enum err_code restore_definition(struct table *table, struct err *err)
{
    if (table->overwritten_from < 0) {
        return ERR_OK;
    }
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    return table_write_definition(table, current->schema, err);
}

enum err_code table_refresh(struct table *table, struct table_refresh_result *result_out,
                            struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    bool changed = false;
    if (catch_up(table, NULL, OWN_COMMITS_MAX, &changed, err) != ERR_OK ||
        restore_definition(table, err) != ERR_OK) {
        return err_wrap(err, "table '%s'", table->name);
    }
    *result_out = (struct table_refresh_result){
        .changed = changed,
        .overwritten_from = table->overwritten_from,
        .overwritten_position = table->overwritten_position,
    };
    table->overwritten_from = -1;
    table->overwritten_position = -1;
    return ERR_OK;
}
