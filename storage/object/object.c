/*
 * Object stores: the checks that hold for every kind, and the way to the kind.
 * See object.h for the contract; the kinds are local.c, memory.c and faulty.c.
 */
#include "storage/object/object.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <assert.h>
#include <string.h>

/* A name is joined to a folder's path later: no part of it may lead out of there. */
static bool name_is_good(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > OBJECT_NAME_BYTES_MAX) {
        return false;
    }
    for (const char *part = name; part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t size = slash != NULL ? (size_t)(slash - part) : strlen(part);
        bool dots = (size == 1 && part[0] == '.') || (size == 2 && memcmp(part, "..", 2) == 0);
        if (size == 0 || dots) {
            return false;
        }
        part = slash != NULL ? slash + 1 : NULL;
    }
    return true;
}

enum err_code object_name_check(const char *name, struct err *err)
{
    assert(name != NULL);
    assert(err != NULL);
    if (!name_is_good(name)) {
        return err_set(err, ERR_INVALID,
                       "an object name must be relative, at most %d bytes, and without empty, '.' "
                       "or '..' parts",
                       OBJECT_NAME_BYTES_MAX);
    }
    return ERR_OK;
}

void object_store_close(struct object_store **store)
{
    if (*store != NULL) {
        (*store)->ops->close(*store);
        *store = NULL;
    }
}

const char *object_store_root(const struct object_store *store)
{
    return store->ops->root(store);
}

bool object_store_read_back_is_durable(const struct object_store *store)
{
    return store->read_back_is_durable;
}

int64_t object_store_syncs_count(const struct object_store *store)
{
    return atomic_load(&store->syncs_count);
}

enum err_code object_put(struct object_store *store, const char *name, struct span bytes,
                         struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->put(store, name, bytes, err);
}

enum err_code object_put_if_absent(struct object_store *store, const char *name, struct span bytes,
                                   struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->put_if_absent(store, name, bytes, err);
}

enum err_code object_replace(struct object_store *store, const char *name, struct span bytes,
                             struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->replace(store, name, bytes, err);
}

enum err_code object_stream_begin(struct object_store *store, const char *name,
                                  struct object_stream **stream_out, struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->stream_begin(store, name, stream_out, err);
}

enum err_code object_stream_append(struct object_stream *stream, struct span bytes, struct err *err)
{
    return stream->ops->append(stream, bytes, err);
}

enum err_code object_stream_finish(struct object_stream **stream, struct err *err)
{
    TRY((*stream)->ops->finish(*stream, err));
    mem_free(*stream);
    *stream = NULL;
    return ERR_OK;
}

void object_stream_abort(struct object_stream **stream)
{
    if (*stream != NULL) {
        (*stream)->ops->abort(*stream);
        mem_free(*stream);
        *stream = NULL;
    }
}

enum err_code object_sync(struct object_store *store, const char *folder, struct err *err)
{
    if (folder[0] != '\0') {
        TRY(object_name_check(folder, err));
    }
    return store->ops->sync(store, folder, err);
}

enum err_code object_remove(struct object_store *store, const char *name, struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->remove(store, name, err);
}

enum err_code object_get(struct object_store *store, const char *name, struct buffer *contents,
                         struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->get(store, name, contents, err);
}

enum err_code object_stat(struct object_store *store, const char *name, int64_t *size_out,
                          int64_t *modified_ms_out, struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->stat(store, name, size_out, modified_ms_out, err);
}

enum err_code object_open(struct object_store *store, const char *name, struct object **object_out,
                          struct err *err)
{
    TRY(object_name_check(name, err));
    return store->ops->open(store, name, object_out, err);
}

enum err_code object_read_at(void *object, int64_t offset, void *bytes_out, size_t size,
                             struct err *err)
{
    struct object *self = object;
    if (offset < 0 || offset > self->size || (uint64_t)size > (uint64_t)(self->size - offset)) {
        return err_set(err, ERR_CORRUPT, "%zu bytes at %lld lie past the object's %lld bytes", size,
                       (long long)offset, (long long)self->size);
    }
    return self->ops->read_at(self, offset, bytes_out, size, err);
}

int64_t object_size(const struct object *object)
{
    return object->size;
}

void object_close(struct object **object)
{
    if (*object != NULL) {
        (*object)->ops->close(*object);
        mem_free(*object);
        *object = NULL;
    }
}

char *object_local_path(const struct object_store *store, const char *name)
{
    const char *root = object_store_root(store);
    assert(name_is_good(name));
    return root != NULL ? file_join(root, name) : NULL;
}

enum err_code object_list(struct object_store *store, const struct object_list_options *options,
                          struct object_list *list_out, struct err *err)
{
    if (options->folder != NULL && options->folder[0] != '\0') {
        TRY(object_name_check(options->folder, err));
    }
    return store->ops->list(store, options, list_out, err);
}

void object_list_free(struct object_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->items[i].name);
    }
    mem_free(list->items);
    *list = (struct object_list){0};
}

enum err_code object_list_add(struct object_list *list, size_t *capacity, char *name, int64_t size,
                              int64_t modified_ms, struct err *err)
{
    if (list->count >= OBJECT_LIST_MAX) {
        mem_free(name);
        return err_set(err, ERR_TOO_LARGE, "more than %d objects in one listing", OBJECT_LIST_MAX);
    }
    if (list->count == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        list->items = mem_resize(list->items, *capacity, sizeof *list->items);
    }
    list->items[list->count++] =
        (struct object_info){.name = name, .size = size, .modified_ms = modified_ms};
    return ERR_OK;
}

static int compare_info(const void *a, const void *b)
{
    const struct object_info *left = a;
    const struct object_info *right = b;
    return strcmp(left->name, right->name);
}

void object_list_sort(struct object_list *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof *list->items, compare_info);
    }
}
