/*
 * The registry of tables. See tables.h.
 */
#include "storage/snapshot/tables.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/delta/transaction.h"
#include "storage/object/object.h"
#include "storage/snapshot/definition.h"
#include "storage/snapshot/outcome.h"
#include "storage/snapshot/table_internal.h"

#include <assert.h>

enum { SCHEMA_TEXT_BYTES_MAX = 16 << 20, NAME_BYTES = 256 };
#define DROPPED_PREFIX ".dropped-"
#define DROPPED_MARK "_dropped" /* its time is when the table was dropped */

struct tables {
    char *root;
    char *index_root;
    struct id instance;
    uint8_t index_key[HASH_KEY_BYTES];
    struct lock lock;     /* LOCK_RANK_TABLES; guards the list */
    struct lock publish;  /* LOCK_RANK_SNAPSHOT; guards every published pointer against sets */
    struct table **items; /* in order of name */
    size_t count;
    size_t capacity;
};

/* ---- life ---- */

enum err_code tables_open(const struct tables_options *options, struct tables **tables_out,
                          struct err *err)
{
    TRY(file_make_directory(options->root, err));
    TRY(file_make_directory(options->index_root, err));
    struct tables *tables = mem_zeroed(1, sizeof *tables);
    tables->root = mem_copy_text(options->root);
    tables->index_root = mem_copy_text(options->index_root);
    tables->instance = options->instance;
    memcpy(tables->index_key, options->index_key, sizeof tables->index_key);
    lock_init(&tables->lock, LOCK_RANK_TABLES);
    lock_init(&tables->publish, LOCK_RANK_SNAPSHOT);
    *tables_out = tables;
    return ERR_OK;
}

void tables_close(struct tables **tables)
{
    struct tables *closed = *tables;
    *tables = NULL;
    if (closed == NULL) {
        return;
    }
    for (size_t i = 0; i < closed->count; i++) {
        table_store_index(closed->items[i]);
        table_release(&closed->items[i]);
    }
    lock_deinit(&closed->lock);
    lock_deinit(&closed->publish);
    mem_free(closed->items);
    mem_free(closed->root);
    mem_free(closed->index_root);
    mem_free(closed);
}

/* ---- the list ---- */

/* Where the name is or would be. The lock is held. */
static size_t place_of(const struct tables *tables, const char *name, bool *found_out)
{
    size_t low = 0;
    size_t high = tables->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table_name(tables->items[middle]), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found_out = low < tables->count && strcmp(table_name(tables->items[low]), name) == 0;
    return low;
}

static bool is_registered(struct tables *tables, const char *name)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    bool found = false;
    (void)place_of(tables, name, &found); /* only whether */
    return found;
}

/* Takes the reference, unless somebody was faster. */
static enum err_code add(struct tables *tables, struct table **table, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    bool found = false;
    size_t place = place_of(tables, table_name(*table), &found);
    if (found) {
        return err_set(err, ERR_EXISTS, "table '%s' is open already", table_name(*table));
    }
    if (tables->count == tables->capacity) {
        tables->capacity = tables->capacity == 0 ? 16 : tables->capacity * 2;
        tables->items = mem_resize(tables->items, tables->capacity, sizeof(struct table *));
    }
    memmove(tables->items + place + 1, tables->items + place,
            (tables->count - place) * sizeof(struct table *));
    tables->items[place] = *table;
    tables->count++;
    *table = NULL;
    return ERR_OK;
}

enum err_code tables_find(struct tables *tables, const char *name, struct table **table_out,
                          struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    bool found = false;
    size_t place = place_of(tables, name, &found);
    if (!found) {
        return err_set(err, ERR_NOT_FOUND, "there is no table '%s'", name);
    }
    *table_out = table_acquire(tables->items[place]);
    return ERR_OK;
}

enum err_code tables_find_by_uuid(struct tables *tables, const struct id *uuid,
                                  struct table **table_out, struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    for (size_t i = 0; i < tables->count; i++) {
        if (strcmp(table_uuid(tables->items[i])->text, uuid->text) == 0) {
            *table_out = table_acquire(tables->items[i]);
            return ERR_OK;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "there is no table %s", uuid->text);
}

void tables_list_get(struct tables *tables, struct tables_list *list_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    struct tables_list list = {.count = tables->count};
    list.items = mem_zeroed(tables->count + 1, sizeof(struct table *));
    for (size_t i = 0; i < tables->count; i++) {
        list.items[i] = table_acquire(tables->items[i]);
    }
    *list_out = list;
}

void tables_list_looked_up(struct tables *tables, struct tables_list *list_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->lock);
    struct tables_list list = {0};
    list.items = mem_alloc((tables->count + 1) * sizeof(struct table *));
    for (size_t i = 0; i < tables->count; i++) {
        if (__atomic_load_n(&tables->items[i]->has_lookups, __ATOMIC_ACQUIRE)) {
            list.items[list.count++] = table_acquire(tables->items[i]);
        }
    }
    *list_out = list;
}

void tables_list_free(struct tables_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        table_release(&list->items[i]);
    }
    mem_free(list->items);
    *list = (struct tables_list){0};
}

void tables_snapshot_set(struct tables *tables, struct table *const *set, size_t count,
                         const struct snapshot **snapshots_out)
{
    assert(count <= TABLES_SET_MAX);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&tables->publish);
    for (size_t i = 0; i < count; i++) {
        snapshots_out[i] = table_snapshot(set[i]);
    }
}

/* ---- opening and creating ---- */

static bool is_name(const char *name)
{
    size_t size = strlen(name);
    bool letter = (name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z');
    return letter && size <= TABLES_NAME_BYTES_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == size;
}

enum err_code tables_attach(struct tables *tables, const char *name, const struct id *uuid,
                            const struct schema *schema, struct err *err)
{
    if (!is_name(name)) {
        return err_set(err, ERR_INVALID, "a table's name is letters, digits and underscores");
    }
    CLEANUP(mem_cleanup) char *folder = file_join(tables->root, name);
    CLEANUP(mem_cleanup) char *index_folder = file_join(tables->index_root, uuid->text);
    struct table_open_options options = {.name = name,
                                         .uuid = uuid,
                                         .schema = schema,
                                         .instance = &tables->instance,
                                         .hash_key = tables->index_key,
                                         .folder = folder,
                                         .index_folder = index_folder,
                                         .publish = &tables->publish};
    CLEANUP(table_release) struct table *table = NULL;
    TRY(table_open(&options, &table, err));
    return add(tables, &table, err);
}

/* Mark the folder with the time, then move it aside. */
static enum err_code set_aside(struct tables *tables, const char *name, const char *uuid,
                               struct err *err)
{
    CLEANUP(mem_cleanup) char *from = file_join(tables->root, name);
    char aside[NAME_BYTES];
    (void)snprintf(aside, sizeof aside, DROPPED_PREFIX "%s-%s", name, uuid); /* 128 + 36 fit */
    CLEANUP(mem_cleanup) char *to = file_join(tables->root, aside);
    CLEANUP(mem_cleanup) char *mark = file_join(from, DROPPED_MARK);
    TRY(file_replace(mark, span_of_text("dropped\n"), err));
    return file_move(from, to, err);
}

/*
 * A folder of this name is there. What a crash left of our own creation (version
 * 0 without rows) is no obstacle.
 */
static enum err_code clear_leftover(struct tables *tables, const char *name, const char *folder,
                                    const struct id *uuid, bool *adopted_out, struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    TRY(object_store_open_local(folder, &store, err));
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    enum err_code code = delta_state_load(store, &state, err);
    if (code == ERR_NOT_FOUND) { /* not even the log was begun */
        err_clear(err);
        return ERR_OK;
    }
    TRY(code);
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    CLEANUP(json_free) struct json *info = NULL;
    TRY(delta_commit_read(store, 0, &commit, err));
    TRY(delta_commit_info(commit, &info, err));
    bool ours = state->version == 0 && state->files_count == 0 && outcome_extension(info) != NULL;
    if (!ours) {
        return err_set(err, ERR_EXISTS,
                       "the folder of table '%s' holds a table that this server did not make; "
                       "move it away",
                       name);
    }
    if (strcmp(state->metadata->id, uuid->text) == 0) {
        *adopted_out = true;
        return ERR_OK;
    }
    return set_aside(tables, name, state->metadata->id, err);
}

static enum err_code write_first_version(const char *folder, const char *name,
                                         const struct id *uuid, const struct schema *schema,
                                         struct err *err)
{
    CLEANUP(object_store_close) struct object_store *store = NULL;
    TRY(object_store_open_local(folder, &store, err));
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SCHEMA_TEXT_BYTES_MAX);
    schema_write_delta(schema, &text);
    buffer_append_byte(&text, '\0');
    TRY(buffer_check(&text, "schema", err));
    CLEANUP(definition_properties_deinit) struct definition_properties properties = {0};
    TRY(definition_properties_init(&properties, schema, err));
    const char *partitions[SCHEMA_KEY_FIELDS_MAX];
    for (size_t i = 0; i < schema->partition_count; i++) {
        partitions[i] = schema->fields[schema->partition[i]].name;
    }
    struct delta_table_options options = {
        .id = uuid->text,
        .name = name,
        .description = schema->description,
        .schema_string = (const char *)text.data,
        .partition_columns = partitions,
        .partition_columns_count = schema->partition_count,
        .configuration = properties.pairs,
        .configuration_count = properties.pairs_count,
        .needs = definition_needs(schema),
        .append_only = schema->merge == TABLE_APPEND,
    };
    struct json *extension = json_new_object();
    json_set(extension, "tombstones", json_new_array());
    CLEANUP(delta_state_release) struct delta_state *state = NULL;
    return delta_table_create(store, &options, extension, &state, err);
}

enum err_code tables_create(struct tables *tables, const char *name, const struct id *uuid,
                            const struct schema *schema, struct err *err)
{
    if (!is_name(name)) {
        return err_set(err, ERR_INVALID, "a table's name is letters, digits and underscores");
    }
    if (is_registered(tables, name)) {
        return err_set(err, ERR_EXISTS, "there is a table '%s' already", name);
    }
    CLEANUP(mem_cleanup) char *folder = file_join(tables->root, name);
    bool adopted = false;
    if (file_exists(folder)) {
        TRY(clear_leftover(tables, name, folder, uuid, &adopted, err));
    }
    if (!adopted) {
        TRY(write_first_version(folder, name, uuid, schema, err));
    }
    return tables_attach(tables, name, uuid, schema, err);
}

/* ---- dropping ---- */

enum err_code tables_drop(struct tables *tables, const char *name, struct err *err)
{
    CLEANUP(table_release) struct table *table = NULL;
    lock_take(&tables->lock);
    bool found = false;
    size_t place = place_of(tables, name, &found);
    if (found) {
        table = tables->items[place];
        tables->count--;
        memmove(tables->items + place, tables->items + place + 1,
                (tables->count - place) * sizeof(struct table *));
    }
    lock_drop(&tables->lock);
    if (!found) {
        return err_set(err, ERR_NOT_FOUND, "there is no table '%s'", name);
    }
    return set_aside(tables, name, table_uuid(table)->text, err);
}

/* ".dropped-<name>-<uuid>": the uuid. */
static bool parse_dropped(const char *name, struct id *uuid_out)
{
    size_t size = strlen(name);
    if (strncmp(name, DROPPED_PREFIX, sizeof DROPPED_PREFIX - 1) != 0 ||
        size < sizeof DROPPED_PREFIX + ID_TEXT_BYTES - 1) {
        return false;
    }
    const char *text = name + size - (ID_TEXT_BYTES - 1);
    return id_parse(span_of_text(text), uuid_out);
}

static enum err_code remove_when_old(struct tables *tables, const char *name, const struct id *uuid,
                                     int64_t before_us, bool *removed_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *folder = file_join(tables->root, name);
    CLEANUP(mem_cleanup) char *mark = file_join(folder, DROPPED_MARK);
    int64_t size = 0;
    int64_t modified_ms = 0;
    enum err_code code = file_stat(mark, &size, &modified_ms, err);
    if (code == ERR_NOT_FOUND) { /* moved by hand: its time counts from now */
        err_clear(err);
        return file_replace(mark, span_of_text("dropped\n"), err);
    }
    TRY(code);
    if (modified_ms * 1000 > before_us) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) char *index_folder = file_join(tables->index_root, uuid->text);
    TRY(file_remove_tree(index_folder, err));
    TRY(file_remove_tree(folder, err));
    *removed_out = true;
    return ERR_OK;
}

static enum err_code remove_dropped(struct tables *tables, const struct file_names *names,
                                    int64_t before_us, struct id *uuids, size_t *count,
                                    struct err *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct id uuid;
        bool removed = false;
        if (parse_dropped(names->names[i], &uuid)) {
            TRY(remove_when_old(tables, names->names[i], &uuid, before_us, &removed, err));
        }
        if (removed) {
            uuids[(*count)++] = uuid;
        }
    }
    return ERR_OK;
}

enum err_code tables_vacuum_dropped(struct tables *tables, int64_t now_us, int64_t retention_us,
                                    struct id **uuids_out, size_t *count_out, struct err *err)
{
    CLEANUP(file_names_free) struct file_names names = {0};
    TRY(file_list(tables->root, &names, err));
    CLEANUP(mem_cleanup) struct id *uuids = mem_zeroed(names.count + 1, sizeof *uuids);
    size_t count = 0;
    TRY(remove_dropped(tables, &names, now_us - retention_us, uuids, &count, err));
    *uuids_out = uuids;
    *count_out = count;
    uuids = NULL;
    return ERR_OK;
}
