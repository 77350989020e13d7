/*
 * Opening a table: the log, the tombstones, and the index, taken from its files
 * when they are whole and of this definition, else rebuilt from the table.
 */
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/columns/widen.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "storage/parquet/writer.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>
#include <stdio.h>

/* ---- columns ---- */

static bool same_type(const struct field *a, const struct field *b)
{
    return a->type == b->type && a->precision == b->precision && a->scale == b->scale;
}

/* What differs is ours to bring about, or was done by another engine. */
struct columns_check {
    const struct schema *schema;
    const struct schema *before; /* what the log may still have; NULL = nothing is known of it */
    bool due;                    /* nothing is known, but the log is behind */
    bool differs;
};

static enum err_code foreign_change(const struct columns_check *check, const char *what,
                                    const char *name, const char *advice, struct err *err)
{
    return err_set(err, ERR_CONFLICT,
                   "another engine %s column '%s'; %s definition %d of the table says otherwise, "
                   "and nothing is written until they agree",
                   what, name, advice, check->schema->version);
}

/* The field of the definition before that is called so in files, NULL when there is none. */
static const struct field *field_before(const struct columns_check *check,
                                        const struct field *column)
{
    int index =
        check->before == NULL
            ? -1
            : schema_physical_index(check->before, span_of_text(field_physical_name(column)));
    return index < 0 ? NULL : &check->before->fields[index];
}

/* A column of the log or a field in one, and what the definition has of that name in files. */
struct match {
    const struct field *column;
    const struct field *field;
    const struct field *was; /* in the definition before; NULL = it had none */
    const char *path;        /* "person.name" */
    bool within;             /* a nested field, which a definition cannot rename or drop */
};

static enum err_code check_parts(struct columns_check *check, const struct match *match,
                                 struct err *err);

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static enum err_code check_column(struct columns_check *check, const struct match *match,
                                  struct err *err)
{
    const struct field *column = match->column;
    const struct field *field = match->field;
    const struct field *was = match->was;
    bool renamed = strcmp(column->name, field->name) != 0;
    bool stricter = field->nullable && !column->nullable;
    if (!same_type(column, field)) {
        bool ours = check->due || (was != NULL && same_type(column, was));
        if (match->within || !ours || !field_widens(column, field)) {
            bool follows = !match->within && field_widens(field, column);
            return foreign_change(check, "changed the type of", match->path,
                                  follows ? "give it that type in the definition:"
                                          : "change it back, or write the table anew:",
                                  err);
        }
        check->differs = true;
    }
    if (renamed && !check->due && (was == NULL || strcmp(was->name, column->name) != 0)) {
        return foreign_change(check, "gave a new name to", field->name,
                              match->within ? "give it its old one again:"
                                            : "rename it in the definition (renamed_from):",
                              err);
    }
    if (stricter && !check->due && (was == NULL || was->nullable)) {
        return foreign_change(check, "forbade nulls in", match->path,
                              "allow them again (DROP NOT NULL):", err);
    }
    check->differs = check->differs || renamed || column->nullable != field->nullable ||
                     (column->physical_name == NULL) != (field->physical_name == NULL);
    return column->children_count > 0 ? check_parts(check, match, err) : ERR_OK;
}

/* Of the children of `parent`: the one that files call so, NULL when there is none. */
static const struct field *find_child(const struct field *parent, const char *physical_name)
{
    for (size_t i = 0; parent != NULL && i < parent->children_count; i++) {
        if (strcmp(field_physical_name(&parent->children[i]), physical_name) == 0) {
            return &parent->children[i];
        }
    }
    return NULL;
}

enum { PATH_BYTES = 256 }; /* of a message; what is longer is cut off */

static enum err_code check_part(struct columns_check *check, const struct match *parent,
                                const struct field *column, struct err *err)
{
    char path[PATH_BYTES];
    const char *name = field_physical_name(column);
    (void)snprintf(path, sizeof path, "%s.%s", parent->path, column->name); /* cut when longer */
    const struct match match = {
        .column = column,
        .field = find_child(parent->field, name),
        .was = find_child(parent->was, name),
        .path = path,
        .within = true,
    };
    if (match.field == NULL) {
        return foreign_change(check, "added", path, "add it to the definition:", err);
    }
    return check_column(check, &match, err);
}

static enum err_code check_parts(struct columns_check *check, const struct match *match,
                                 struct err *err)
{
    for (size_t i = 0; i < match->column->children_count; i++) {
        TRY(check_part(check, match, &match->column->children[i], err));
    }
    for (size_t i = 0; i < match->field->children_count; i++) {
        const struct field *field = &match->field->children[i];
        const char *name = field_physical_name(field);
        if (find_child(match->column, name) != NULL) {
            continue;
        }
        if (!check->due && (check->before == NULL || find_child(match->was, name) != NULL)) {
            char path[PATH_BYTES];
            (void)snprintf(path, sizeof path, "%s.%s", match->path, field->name); /* likewise */
            return foreign_change(check, "dropped", path, "add it again:", err);
        }
        check->differs = true;
    }
    return ERR_OK;
}

static enum err_code check_logged(struct columns_check *check, const struct schema *stored,
                                  struct err *err)
{
    for (size_t i = 0; i < stored->fields_count; i++) {
        const struct field *column = &stored->fields[i];
        struct span name = span_of_text(field_physical_name(column));
        int index = schema_physical_index(check->schema, name);
        if (index >= 0) {
            const struct match match = {.column = column,
                                        .field = &check->schema->fields[index],
                                        .was = field_before(check, column),
                                        .path = column->name};
            TRY(check_column(check, &match, err));
        } else if (field_before(check, column) != NULL) {
            check->differs = true; /* it is being dropped */
        } else {
            return foreign_change(check, "added", column->name, "add it to the definition:", err);
        }
    }
    return ERR_OK;
}

static enum err_code check_defined(struct columns_check *check, const struct schema *stored,
                                   struct err *err)
{
    for (size_t i = 0; i < check->schema->fields_count; i++) {
        const struct field *field = &check->schema->fields[i];
        if (schema_physical_index(stored, span_of_text(field_physical_name(field))) >= 0) {
            continue;
        }
        if (!check->due && (check->before == NULL || field_before(check, field) != NULL)) {
            return foreign_change(check, "dropped", field->name,
                                  "drop it from the definition (dropped):", err);
        }
        check->differs = true;
    }
    return ERR_OK;
}

static enum err_code check_partitions(const struct schema *schema, const struct schema *stored,
                                      struct err *err)
{
    bool same = schema->partition_count == stored->partition_count;
    for (size_t i = 0; same && i < schema->partition_count; i++) {
        same = strcmp(field_physical_name(&schema->fields[schema->partition[i]]),
                      field_physical_name(&stored->fields[stored->partition[i]])) == 0;
    }
    return same ? ERR_OK
                : err_set(err, ERR_CONFLICT,
                          "the log has other partition columns than the definition");
}

enum err_code table_check_columns(const struct schema *schema, const struct schema *before,
                                  const struct delta_metadata *metadata, bool *differs_out,
                                  struct err *err)
{
    CLEANUP(schema_release) struct schema *stored = NULL;
    CLEANUP(schema_release) struct schema *logged = NULL;
    TRY(delta_metadata_schema(metadata, &stored, err));
    struct columns_check check = {.schema = schema, .before = before};
    if (before == NULL && definition_logged_version(metadata) < schema->version) {
        TRY(definition_logged(metadata, &logged, err));
        check.before = logged;
        check.due = logged == NULL;
    }
    TRY(check_logged(&check, stored, err));
    TRY(check_defined(&check, stored, err));
    TRY(check_partitions(schema, stored, err));
    *differs_out = check.differs;
    return ERR_OK;
}

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
    bool whole = manifest.boot[0] == '\0' || strcmp(manifest.boot, table->boot) != 0;
    CLEANUP(file_list_deinit) struct file_list list = {0};
    TRY(restore_list(table, schema, restored, (size_t)state->files_count, whole, &list, err));
    table->next_file = manifest.next_file;
    table->next_run = manifest.next_run;
    memcpy(table->commits, manifest.commits, sizeof table->commits);
    table->commits_count = manifest.commits_count;
    table_publish(table, schema, state, &list, view);
    return ERR_OK;
}

/* Throw the index away and read the whole table. */
static enum err_code rebuild(struct table *table, const struct schema *schema,
                             struct delta_state *state, struct err *err)
{
    TRY(file_remove_tree(table->index_folder, err));
    TRY(file_make_directory(table->index_folder, err));
    table->next_file = 1;
    table->next_run = 1;
    table->commits_count = 0;
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
    manifest_boot(table->boot);
    table->publish = options->publish;
    lock_init(&table->commit, LOCK_RANK_COMMIT);
    lock_init(&table->historic_lock, LOCK_RANK_CACHE);
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
