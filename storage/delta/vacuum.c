/*
 * Vacuum: remove files that neither the table nor a young tombstone refers to.
 * Source: reference section 8.
 */
#include "storage/delta/vacuum.h"

#include "storage/base/mem.h"
#include "storage/delta/deletion_vector.h"
#include "storage/delta/removed.h"
#include "storage/delta/table_files.h"
#include "storage/object/object.h"

#include <assert.h>
#include <string.h>

/* Object names that must stay; sorted before it is asked. */
struct wanted {
    char **names;
    size_t count;
    size_t capacity;
};

static void wanted_deinit(struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        mem_free(wanted->names[i]);
    }
    mem_free(wanted->names);
}

/* Takes `name`. */
static void want(struct wanted *wanted, char *name)
{
    if (wanted->count == wanted->capacity) {
        wanted->capacity = wanted->capacity == 0 ? 64 : wanted->capacity * 2;
        wanted->names = mem_resize(wanted->names, wanted->capacity, sizeof(char *));
    }
    wanted->names[wanted->count++] = name;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_wanted(const struct wanted *wanted, const char *name)
{
    return wanted->count > 0 &&
           bsearch(&name, wanted->names, wanted->count, sizeof(char *), compare_names) != NULL;
}

/* A file of another store or folder cannot be in our listing; nothing to protect then. */
static enum err_code want_decoded(struct wanted *wanted, enum err_code code, char *name,
                                  struct err *err)
{
    if (code == ERR_UNSUPPORTED) {
        err_clear(err);
        return ERR_OK;
    }
    TRY(code);
    want(wanted, name);
    return ERR_OK;
}

static enum err_code want_file(struct wanted *wanted, const struct object_store *store,
                               const struct delta_file *file, struct err *err)
{
    char *name = NULL;
    enum err_code code = delta_path_decode(store, file->path, &name, err);
    TRY(want_decoded(wanted, code, name, err));
    if (file->dv.storage != 'u' && file->dv.storage != 'p') {
        return ERR_OK;
    }
    name = NULL;
    code = deletion_vector_object_name(store, &file->dv, &name, err);
    return want_decoded(wanted, code, name, err);
}

static enum err_code want_live_files(const struct object_store *store,
                                     const struct delta_state *state, struct wanted *wanted,
                                     struct err *err)
{
    const struct delta_file *file = NULL;
    for (struct delta_cursor at = {0}; (file = delta_state_next_file(state, &at)) != NULL;) {
        TRY(want_file(wanted, store, file, err));
    }
    return ERR_OK;
}

/* Who collects tombstones that are younger than the cutoff. */
struct young {
    const struct object_store *store;
    struct wanted *wanted;
    int64_t cutoff_ms;
};

static enum err_code want_young(void *self, const struct delta_file *file, struct err *err)
{
    const struct young *young = self;
    return file->deleted_ms > young->cutoff_ms ? want_file(young->wanted, young->store, file, err)
                                               : ERR_OK;
}

static enum err_code want_removed(struct object_store *store, const struct delta_state *state,
                                  int64_t cutoff_ms, struct wanted *wanted, struct err *err)
{
    struct young young = {.store = store, .wanted = wanted, .cutoff_ms = cutoff_ms};
    struct err otherwise = {0};
    if (delta_removed_each(state, store, want_young, &young, &otherwise) == ERR_OK) {
        return ERR_OK;
    }
    CLEANUP(delta_state_release) struct delta_state *whole = NULL;
    TRY(delta_state_load_whole(store, state->version, &whole, err));
    return delta_removed_each(whole, store, want_young, &young, err); /* some are there twice */
}

static enum err_code collect_wanted(struct object_store *store, const struct delta_state *state,
                                    const struct delta_vacuum_options *options, int64_t cutoff_ms,
                                    struct wanted *wanted, struct err *err)
{
    TRY(want_live_files(store, state, wanted, err));
    for (size_t i = 0; i < options->in_use_count; i++) {
        TRY(want_live_files(store, options->in_use[i], wanted, err));
    }
    TRY(want_removed(store, state, cutoff_ms, wanted, err));
    if (wanted->count > 1) {
        qsort(wanted->names, wanted->count, sizeof(char *), compare_names);
    }
    return ERR_OK;
}

/* Hidden: a part of the name starts with '_' or '.', except change data and "_column=value". */
static bool is_hidden(const char *name)
{
    static const char change_data[] = DELTA_CHANGE_FOLDER "/";
    if (strncmp(name, change_data, sizeof change_data - 1) == 0) {
        name += sizeof change_data - 1;
    }
    for (const char *part = name; part != NULL;) {
        const char *slash = strchr(part, '/');
        const char *equals = strchr(part, '=');
        bool is_partition = slash != NULL && equals != NULL && equals < slash;
        if (part[0] == '.' || (part[0] == '_' && !is_partition)) {
            return true;
        }
        part = slash != NULL ? slash + 1 : NULL;
    }
    return false;
}

static bool may_go(const struct object_info *info, const struct wanted *wanted, int64_t cutoff_ms,
                   const struct delta_vacuum_options *options)
{
    return !is_hidden(info->name) && info->modified_ms < cutoff_ms &&
           !is_wanted(wanted, info->name) &&
           (options->keep == NULL || !options->keep(options->keep_self, info->name));
}

enum err_code delta_vacuum(struct object_store *store, const struct delta_state *state,
                           const struct delta_vacuum_options *options,
                           struct delta_vacuum_result *result_out, struct err *err)
{
    int64_t retention_ms =
        options->retention_ms >= 0 ? options->retention_ms : delta_state_retention_ms(state);
    TRY(delta_protocol_check_write(state->protocol, state->metadata, err));
    if (retention_ms < DELTA_VACUUM_MINIMUM_MS) {
        return err_set(err, ERR_INVALID,
                       "a retention of %lld ms could remove files of writes under way; use at "
                       "least %d ms",
                       (long long)retention_ms, DELTA_VACUUM_MINIMUM_MS);
    }
    int64_t cutoff_ms = options->now_ms - retention_ms;
    CLEANUP(wanted_deinit) struct wanted wanted = {0};
    CLEANUP(object_list_free) struct object_list list = {0};
    const struct object_list_options everything = {.recursive = true, .details = true};
    TRY(collect_wanted(store, state, options, cutoff_ms, &wanted, err));
    TRY(object_list(store, &everything, &list, err));
    struct delta_vacuum_result result = {0};
    for (size_t i = 0; i < list.count; i++) {
        result.files_seen++;
        if (!may_go(&list.items[i], &wanted, cutoff_ms, options)) {
            continue;
        }
        if (!options->dry_run) {
            TRY(object_remove(store, list.items[i].name, err));
        }
        result.files_removed++;
        result.bytes_removed += list.items[i].size;
    }
    *result_out = result;
    return ERR_OK;
}
