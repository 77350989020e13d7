/*
 * Opening a table: the log, the tombstones, and the index, taken from its files
 * when they are whole and of this definition, else rebuilt from the table.
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "storage/parquet/writer.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

/* ---- tombstones ---- */

int64_t table_tombstone_horizon_us(const struct schema *schema, int64_t now_us)
{
    int64_t retention = schema->delete_retention_seconds;
    return retention > now_us / 1000000 ? 0 : now_us - retention * 1000000;
}

static bool is_tombstone_name(const char *name)
{
    static const char prefix[] = TABLE_PRIVATE_FOLDER "/tombstones-";
    return name != NULL && strncmp(name, prefix, sizeof prefix - 1) == 0 &&
           strchr(name + sizeof prefix - 1, '/') == NULL && strlen(name) < TOMBSTONE_NAME_BYTES;
}

/* The list in a commit's extension; names are borrowed from it. */
static size_t list_names(const struct json *extension, const char **names, size_t names_max)
{
    const struct json *list = json_get(extension, "tombstones");
    size_t count = 0;
    for (size_t i = 0; i < json_count(list) && count < names_max; i++) {
        const char *name = json_text(json_at(list, i));
        if (is_tombstone_name(name)) {
            names[count++] = name;
        }
    }
    return count;
}

static enum err_code load_listed(struct table *table, const struct json *extension,
                                 int64_t horizon_us, struct err *err)
{
    const char *names[TOMBSTONE_FILES_MAX + 1];
    size_t count = list_names(extension, names, TOMBSTONE_FILES_MAX + 1);
    return tombstones_load(&table->tombstones, table->store, names, count, horizon_us, err);
}

/*
 * No commit of ours is left in the log: take every file there is. One of an
 * unfinished commit may be among them; it only ever holds back records that are
 * older than a delete that was asked for.
 */
static enum err_code load_all(struct table *table, int64_t horizon_us, struct err *err)
{
    struct object_list list = {0};
    struct object_list_options options = {.folder = TABLE_PRIVATE_FOLDER};
    TRY(object_list(table->store, &options, &list, err));
    const char *names[TOMBSTONE_FILES_MAX + 1];
    size_t count = 0;
    for (size_t i = 0; i < list.count && count < TOMBSTONE_FILES_MAX; i++) {
        if (is_tombstone_name(list.items[i].name)) {
            names[count++] = list.items[i].name;
        }
    }
    enum err_code code =
        tombstones_load(&table->tombstones, table->store, names, count, horizon_us, err);
    object_list_free(&list);
    return code;
}

enum err_code table_load_tombstones(struct table *table, const struct delta_state *state,
                                    struct err *err)
{
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    int64_t horizon_us = table_tombstone_horizon_us(current->schema, clock_wall_us());
    for (int64_t version = state->version; version >= 0; version--) {
        CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
        CLEANUP(json_free) struct json *info = NULL;
        enum err_code code = delta_commit_read(table->store, version, &commit, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err);
            break;
        }
        TRY(code);
        TRY(delta_commit_info(commit, &info, err));
        const struct json *extension = outcome_extension(info);
        bool found = json_get(extension, "tombstones") != NULL;
        if (found) {
            code = load_listed(table, extension, horizon_us, err);
        }
        if (found || version == 0) {
            return code;
        }
    }
    return load_all(table, horizon_us, err);
}

/* ---- the index's files ---- */

static const struct manifest_file *find_listed(const struct manifest *manifest, struct span path)
{
    for (size_t i = 0; i < manifest->files_count; i++) {
        if (span_equal(manifest->files[i].path, path)) {
            return &manifest->files[i];
        }
    }
    return NULL;
}

/* Images that are torn are made again, from the data file, under the same number. */
static enum err_code restore_images(struct table *table, const struct schema *schema,
                                    const struct delta_file *file,
                                    const struct shared_vector *vector, uint32_t number, bool whole,
                                    struct images **images_out, struct err *err)
{
    struct err torn = {0};
    if (images_open(table->index_folder, number, file->rows_count, whole, images_out, &torn) ==
        ERR_OK) {
        return ERR_OK;
    }
    char name[DERIVED_NAME_BYTES];
    images_name(number, name);
    CLEANUP(mem_cleanup) char *path = file_join(table->index_folder, name);
    TRY(file_remove(path, err));
    /* The entries exist already; those made on the way are thrown away. */
    CLEANUP(entry_lists_deinit) struct entry_lists lists;
    entry_lists_init(&lists, schema);
    CLEANUP(index_view_release)
    struct index_view *view = index_view_new(1 + schema->lookup_count, table->hash_key);
    return table_ingest(table, schema, file, vector == NULL ? NULL : vector->vector, number, &lists,
                        view, images_out, err);
}

/* One file of a state as the manifest knows it. */
struct restored {
    const struct delta_file *file;
    uint32_t number;
};

static int compare_restored(const void *a, const void *b)
{
    const struct restored *left = a;
    const struct restored *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

/* The manifest must know exactly the state's files, vectors included. */
static enum err_code match_files(const struct manifest *manifest, const struct delta_state *state,
                                 struct restored *restored, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer identity;
    buffer_init(&identity, MANIFEST_BYTES_MAX);
    const struct delta_file *file = NULL;
    struct delta_cursor cursor = {0};
    size_t count = 0;
    while ((file = delta_state_next_file(state, &cursor)) != NULL) {
        const struct manifest_file *listed = find_listed(manifest, span_of_text(file->path));
        buffer_reset(&identity);
        vector_identity(file, &identity);
        if (listed == NULL || listed->number == 0 || listed->number >= manifest->next_file ||
            !span_equal(listed->dv, buffer_span(&identity))) {
            return err_set(err, ERR_CORRUPT, "index manifest does not match the log");
        }
        restored[count++] = (struct restored){.file = file, .number = listed->number};
    }
    qsort(restored, count, sizeof *restored, compare_restored);
    for (size_t i = 1; i < count; i++) {
        if (restored[i].number == restored[i - 1].number) {
            return err_set(err, ERR_CORRUPT, "index manifest names a file number twice");
        }
    }
    return ERR_OK;
}

static enum err_code restore_list(struct table *table, const struct schema *schema,
                                  const struct restored *restored, size_t count, bool whole,
                                  struct file_list *list, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct delta_file *file = restored[i].file;
        struct shared_vector *vector = NULL;
        struct images *images = NULL;
        TRY(table_load_vector(table->store, file, &vector, err));
        enum err_code code =
            restore_images(table, schema, file, vector, restored[i].number, whole, &images, err);
        if (code != ERR_OK) {
            shared_vector_release(&vector);
            return code;
        }
        file_list_add(list, restored[i].number, file, &images, &vector);
    }
    return ERR_OK;
}

static enum err_code restore_runs(struct table *table, const struct manifest *manifest,
                                  const struct schema *schema, struct index_view *view,
                                  struct err *err)
{
    struct index_kinds kinds = index_kinds_of(schema);
    for (size_t i = 0; i < manifest->runs_count; i++) {
        uint32_t kind = manifest->runs[i].kind;
        if (kind >= kinds.count || !kinds.used[kind] || view->kinds[kind].count == INDEX_SET_MAX ||
            manifest->runs[i].id >= manifest->next_run) {
            return err_set(err, ERR_CORRUPT, "index manifest names a run that cannot be");
        }
        struct index_run *run = NULL;
        TRY(index_run_open(table->index_folder, kind, manifest->runs[i].id, &run, err));
        index_view_add(view, &run);
    }
    return ERR_OK;
}

/* Publish what the manifest describes: an older version, or the newest. */
static enum err_code restore(struct table *table, const struct schema *schema,
                             const struct delta_state *newest, struct err *err)
{
    CLEANUP(manifest_deinit) struct manifest manifest = {0};
    TRY(manifest_read(table->index_folder, &manifest, err));
    if (strcmp(manifest.table.text, table->uuid.text) != 0 ||
        manifest.definition != index_definition(schema, table->hash_key) ||
        manifest.version > newest->version) {
        return err_set(err, ERR_CORRUPT, "index manifest is of another table or definition");
    }
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    if (manifest.version == newest->version) {
        state = delta_state_acquire(newest);
    } else {
        TRY(delta_state_load_version(table->store, manifest.version, &state, err));
    }
    CLEANUP(mem_cleanup)
    struct restored *restored = mem_zeroed((size_t)state->files_count + 1, sizeof *restored);
    TRY(match_files(&manifest, state, restored, err));
    CLEANUP(index_view_release)
    struct index_view *view = index_view_new(1 + schema->lookup_count, table->hash_key);
    TRY(restore_runs(table, &manifest, schema, view, err));
    bool whole = manifest.mount[0] == '\0' || strcmp(manifest.mount, table->mount) != 0;
    CLEANUP(file_list_deinit) struct file_list list = {0};
    TRY(restore_list(table, schema, restored, (size_t)state->files_count, whole, &list, err));
    table->next_file = manifest.next_file;
    table->next_run = manifest.next_run;
    table_publish(table, schema, state, &list, view);
    return ERR_OK;
}

/* Throw the index away and read the whole table. */
static enum err_code rebuild(struct table *table, const struct schema *schema,
                             struct delta_state *state, struct err *err)
{
    own_commits_close(&table->own);
    TRY(file_remove_tree(table->index_folder, err));
    TRY(file_make_directory(table->index_folder, err));
    own_commits_open(&table->own, table->index_folder);
    table->next_file = 1;
    table->next_run = 1;
    return table_follow(table, schema, state, true, err);
}

static enum err_code open_index(struct table *table, const struct schema *schema,
                                struct delta_state *state, struct err *err)
{
    if (!index_is_needed(schema)) {
        return table_follow(table, schema, state, true, err);
    }
    struct err torn = {0};
    if (restore(table, schema, state, &torn) != ERR_OK) {
        return rebuild(table, schema, state, err);
    }
    CLEANUP(snapshot_release) const struct snapshot *current = table_snapshot(table);
    /* What a lost manifest described would stand in the way of new files of the same number. */
    TRY(table_clean_index(table, current, INT64_MAX, err));
    if (current->version == state->version) {
        return ERR_OK;
    }
    struct err behind = {0};
    if (table_follow(table, schema, state, false, &behind) != ERR_OK) {
        return rebuild(table, schema, state, err);
    }
    return ERR_OK;
}

/* ---- opening ---- */

static struct table *table_new(const struct table_open_options *options)
{
    struct table *table = mem_zeroed(1, sizeof *table);
    table->references = 1;
    table->name = mem_copy_text(options->name);
    table->uuid = *options->uuid;
    table->folder = mem_copy_text(options->folder);
    table->index_folder = mem_copy_text(options->index_folder);
    (void)snprintf(table->app_id, sizeof table->app_id, "sluice/%s/%s", options->instance->text,
                   options->uuid->text); /* two uuids fit */
    memcpy(table->hash_key, options->hash_key, sizeof table->hash_key);
    table->publish = options->publish;
    lock_init(&table->commit, LOCK_RANK_COMMIT);
    lock_init(&table->historic_lock, LOCK_RANK_CACHE);
    lock_init(&table->index_files_lock, LOCK_RANK_INDEX_FILES);
    lock_init(&table->maintenance_lock, LOCK_RANK_CACHE);
    wake_init(&table->maintenance_wake);
    tombstones_init(&table->tombstones, table->hash_key);
    table->overwritten_from = -1;
    table->overwritten_position = -1;
    table->checksum_version = -1;
    table->checkpoint_at_ms = clock_wall_us() / 1000;
    table->next_file = 1;
    table->next_run = 1;
    table->writer = parquet_writer_context_new();
    return table;
}

static enum err_code check_identity(const struct table *table, const struct delta_state *state,
                                    struct err *err)
{
    if (strcmp(state->metadata->id, table->uuid.text) != 0) {
        return err_set(err, ERR_CONFLICT, "the folder holds the table %s, the catalog says %s",
                       state->metadata->id, table->uuid.text);
    }
    return ERR_OK;
}

/* What another engine made of the columns keeps nobody from reading: see table_catch_up. */
static enum err_code check_opened(struct table *table, const struct schema *schema,
                                  const struct delta_metadata *metadata, struct err *err)
{
    bool differs = false; /* then table_change_schema is due; see tables_attach */
    enum err_code code = table_check_columns(schema, NULL, metadata, &differs, err);
    if (code == ERR_CONFLICT) {
        err_clear(err);
        table->columns_differ = true;
        return ERR_OK;
    }
    return code;
}

static enum err_code load(struct table *table, const struct schema *known, struct err *err)
{
    struct object_store *store = NULL;
    TRY(object_store_open_local(table->folder, &store, err));
    table->store = store;
    table->owner = store_owner_new(&store);
    TRY(file_make_directory(table->index_folder, err));
    file_mount_identity(table->index_folder, table->mount);
    own_commits_open(&table->own, table->index_folder);
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    TRY(delta_state_load(table->store, &state, err));
    TRY(check_identity(table, state, err));
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(definition_in_force(known, state->metadata, &schema, err));
    TRY(check_opened(table, schema, state->metadata, err));
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    TRY(open_index(table, schema, state, err));
    TRY(table_load_tombstones(table, state, err));
    __atomic_store_n(&table->tombstones_seen, (int64_t)tombstones_count(&table->tombstones),
                     __ATOMIC_RELAXED);
    return ERR_OK;
}

enum err_code table_open(const struct table_open_options *options, struct table **table_out,
                         struct err *err)
{
    if (!file_exists(options->folder)) {
        return err_set(err, ERR_NOT_FOUND, "table '%s': no folder %s", options->name,
                       options->folder);
    }
    CLEANUP(table_release) struct table *table = table_new(options);
    if (load(table, options->schema, err) != ERR_OK) {
        return err_wrap(err, "table '%s'", options->name);
    }
    table_store_index(table); /* what opening had to read is not read again */
    *table_out = table;
    table = NULL;
    return ERR_OK;
}

enum err_code snapshot_open_folder(const char *folder, int64_t version,
                                   const struct snapshot **snapshot_out, struct err *err)
{
    if (!file_exists(folder)) {
        return err_set(err, ERR_NOT_FOUND, "no folder %s", folder);
    }
    struct object_store *store = NULL;
    TRY(object_store_open_local(folder, &store, err));
    CLEANUP(store_owner_release) struct store_owner *owner = store_owner_new(&store);
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    if (version < 0) {
        TRY(delta_state_load(owner->store, &state, err));
    } else {
        TRY(delta_state_load_version(owner->store, version, &state, err));
    }
    CLEANUP(schema_release) struct schema *schema = NULL;
    TRY(delta_metadata_schema(state->metadata, &schema, err));
    struct id uuid = {0};
    if (!id_parse(span_of_text(state->metadata->id), &uuid)) {
        uuid = (struct id){0}; /* other engines may use other names */
    }
    return snapshot_build_historic(&uuid, schema, state, owner, snapshot_out, err);
}
