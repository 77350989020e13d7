/*
 * Objects that become durable together. See object.h. Many wait for the whole file system at
 * once; few are synced each, at the same time where the kind of store can do so.
 */
#include "storage/object/object.h"

#include "storage/base/file.h"
#include "storage/base/file_sync.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <stdlib.h>
#include <string.h>

/* A sync that goes on. */
struct pending {
    struct file_sync sync;
    struct pending *next;
};

struct object_group {
    struct object_store *store; /* borrowed */
    int fd;                     /* of the store; -1 = one by one */
    bool synced;
    struct pending *pending;
    char **folders; /* of objects put one by one; one may occur again */
    size_t count;
    size_t capacity;
};

enum err_code object_group_begin(struct object_store *store, size_t objects_count,
                                 struct object_group **group_out, struct err *err)
{
    int fd = -1;
    if (objects_count > OBJECT_GROUP_FEW && store->ops->unsynced_begin != NULL) {
        TRY(store->ops->unsynced_begin(store, &fd, err));
    }
    struct object_group *group = mem_zeroed(1, sizeof *group);
    *group = (struct object_group){.store = store, .fd = fd};
    *group_out = group;
    return ERR_OK;
}

static struct pending *add_pending(struct object_group *group)
{
    struct pending *pending = mem_zeroed(1, sizeof *pending);
    pending->next = group->pending;
    group->pending = pending;
    return pending;
}

/* All of them, whatever one says; the first error is told. */
static enum err_code wait_for_pending(struct object_group *group, struct err *err)
{
    struct err first = {0};
    while (group->pending != NULL) {
        struct pending *pending = group->pending;
        struct err failed = {0};
        group->pending = pending->next;
        if (file_sync_end(&pending->sync, &failed) != ERR_OK && first.code == ERR_OK) {
            first = failed;
        }
        mem_free(pending);
    }
    if (first.code != ERR_OK) {
        *err = first;
    }
    return first.code;
}

void object_group_end(struct object_group **group)
{
    struct object_group *ended = *group;
    *group = NULL;
    if (ended == NULL) {
        return;
    }
    struct err unused = {0}; /* of objects that nobody will refer to */
    if (wait_for_pending(ended, &unused) != ERR_OK) {
        err_clear(&unused);
    }
    if (ended->fd >= 0 && !ended->synced) {
        ended->store->ops->unsynced_abandon(ended->store);
    }
    for (size_t i = 0; i < ended->count; i++) {
        mem_free(ended->folders[i]);
    }
    mem_free(ended->folders);
    file_close(&ended->fd);
    mem_free(ended);
}

static void remember_folder(struct object_group *group, const char *name)
{
    const char *slash = strrchr(name, '/');
    size_t size = slash != NULL ? (size_t)(slash - name) : 0;
    if (group->count == group->capacity) {
        group->capacity = group->capacity == 0 ? 64 : group->capacity * 2;
        group->folders = mem_resize(group->folders, group->capacity, sizeof(char *));
    }
    char *folder = mem_zeroed(size + 1, 1);
    memcpy(folder, name, size);
    group->folders[group->count++] = folder;
}

enum err_code object_group_put(struct object_group *group, const char *name, struct span bytes,
                               struct err *err)
{
    const struct object_store_ops *ops = group->store->ops;
    TRY(object_name_check(name, err));
    if (group->fd >= 0) {
        return ops->unsynced_put(group->store, name, bytes, err);
    }
    if (ops->put_begin != NULL) {
        TRY(ops->put_begin(group->store, name, bytes, &add_pending(group)->sync, err));
    } else {
        TRY(ops->put(group->store, name, bytes, err));
    }
    remember_folder(group, name);
    return ERR_OK;
}

enum err_code object_group_stream_begin(struct object_group *group, const char *name,
                                        struct object_stream **stream_out, struct err *err)
{
    if (group->fd >= 0) {
        TRY(object_name_check(name, err));
        return group->store->ops->unsynced_stream_begin(group->store, name, stream_out, err);
    }
    TRY(object_stream_begin(group->store, name, stream_out, err));
    remember_folder(group, name);
    return ERR_OK;
}

static int compare_folders(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err_code sync_folder(struct object_group *group, const char *folder, struct err *err)
{
    const struct object_store_ops *ops = group->store->ops;
    return ops->put_begin != NULL
               ? ops->folder_sync_begin(group->store, folder, &add_pending(group)->sync, err)
               : object_sync(group->store, folder, err);
}

static enum err_code sync_folders(struct object_group *group, struct err *err)
{
    if (group->count > 1) {
        qsort(group->folders, group->count, sizeof(char *), compare_folders);
    }
    for (size_t i = 0; i < group->count; i++) {
        if (i == 0 || strcmp(group->folders[i - 1], group->folders[i]) != 0) {
            TRY(sync_folder(group, group->folders[i], err));
        }
    }
    return wait_for_pending(group, err);
}

enum err_code object_group_sync(struct object_group *group, struct err *err)
{
    if (group->fd < 0) {
        return sync_folders(group, err);
    }
    TRY(group->store->ops->unsynced_sync(group->store, group->fd, err));
    group->synced = true;
    return ERR_OK;
}

enum err_code object_group_publish(struct object_group *group, const char *name, struct span bytes,
                                   struct err *err)
{
    struct object_store *store = group->store;
    TRY(object_name_check(name, err));
    if (store->ops->put_begin == NULL) {
        TRY(object_group_sync(group, err));
        return store->ops->put_if_absent(store, name, bytes, err);
    }
    struct file_sync sync = {0};
    CLEANUP(mem_cleanup) char *temporary = NULL;
    TRY(store->ops->publish_begin(store, name, bytes, &sync, &temporary, err));
    enum err_code code = object_group_sync(group, err);
    struct err own = {0};
    if (file_sync_end(&sync, &own) != ERR_OK && code == ERR_OK) {
        *err = own;
        code = own.code;
    }
    if (code != ERR_OK) {
        store->ops->publish_abandon(store, temporary);
        return code;
    }
    return store->ops->publish_end(store, name, temporary, err);
}
