/*
 * Objects that become durable together. See object.h. Where the kind of store cannot
 * wait for all at once, each is put durably and the folders are remembered.
 */
#include "storage/object/object.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <stdlib.h>
#include <string.h>

struct object_group {
    struct object_store *store; /* borrowed */
    int fd;                     /* of the store; -1 = one by one */
    bool synced;
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

void object_group_end(struct object_group **group)
{
    struct object_group *ended = *group;
    *group = NULL;
    if (ended == NULL) {
        return;
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
    if (group->fd >= 0) {
        TRY(object_name_check(name, err));
        return group->store->ops->unsynced_put(group->store, name, bytes, err);
    }
    TRY(object_put(group->store, name, bytes, err));
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

static enum err_code sync_folders(struct object_group *group, struct err *err)
{
    if (group->count > 1) {
        qsort(group->folders, group->count, sizeof(char *), compare_folders);
    }
    for (size_t i = 0; i < group->count; i++) {
        if (i == 0 || strcmp(group->folders[i - 1], group->folders[i]) != 0) {
            TRY(object_sync(group->store, group->folders[i], err));
        }
    }
    return ERR_OK;
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
