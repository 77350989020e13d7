/*
 * The local folder as an object store. Durable verbs are base/file.h's; this
 * file maps names to paths, makes folders when they are missed.
 */
#include "storage/object/object.h"

#include "storage/base/file.h"
#include "storage/base/file_sync.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0600, FSYNCS_OF_PUBLISH = 2 };

struct local_store {
    struct object_store base;
    char *root;             /* without trailing '/'; set once */
    _Atomic bool abandoned; /* folders of a group that was not synced may be about */
};

struct local_stream {
    struct object_stream base;
    struct local_store *store; /* outlives the stream */
    char *path;
    int fd;
    int64_t size;  /* bytes written */
    bool unsynced; /* of a group: its sync makes it durable */
};

struct local_object {
    struct object base;
    int fd;
};

static struct local_store *local_of(struct object_store *store)
{
    return (struct local_store *)store;
}

static char *path_of(struct object_store *store, const char *name)
{
    return file_join(local_of(store)->root, name);
}

static void count_syncs(struct object_store *store, int64_t count)
{
    atomic_fetch_add(&store->syncs_count, count);
}

typedef enum err_code (*make_fn)(const char *path, struct err *err);

/* The folder of `path`; asked for only after a write missed it. */
static enum err_code make_parent(const char *path, make_fn make, struct err *err)
{
    CLEANUP(mem_cleanup) char *folder = mem_copy_text(path);
    char *slash = strrchr(folder, '/');
    assert(slash != NULL);
    *slash = '\0';
    return make(folder, err);
}

typedef enum err_code (*write_fn)(const char *path, struct span bytes, struct err *err);

static enum err_code write_making_parent(const char *path, struct span bytes, write_fn write,
                                         make_fn make, struct err *err)
{
    enum err_code code = write(path, bytes, err);
    if (code != ERR_NOT_FOUND) {
        return code;
    }
    err_clear(err);
    TRY(make_parent(path, make, err));
    return write(path, bytes, err);
}

static void local_close(struct object_store *store)
{
    mem_free(local_of(store)->root);
    mem_free(store);
}

static const char *local_root(const struct object_store *store)
{
    return ((const struct local_store *)store)->root;
}

static enum err_code local_put(struct object_store *store, const char *name, struct span bytes,
                               struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    TRY(write_making_parent(path, bytes, file_write_new, file_make_directory, err));
    count_syncs(store, 1);
    return ERR_OK;
}

static enum err_code local_put_if_absent(struct object_store *store, const char *name,
                                         struct span bytes, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    TRY(write_making_parent(path, bytes, file_publish, file_make_directory, err));
    count_syncs(store, FSYNCS_OF_PUBLISH);
    return ERR_OK;
}

static enum err_code local_replace(struct object_store *store, const char *name, struct span bytes,
                                   struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    TRY(write_making_parent(path, bytes, file_replace, file_make_directory, err));
    count_syncs(store, FSYNCS_OF_PUBLISH);
    return ERR_OK;
}

/* ---- streams ---- */

static enum err_code stream_append(struct object_stream *stream, struct span bytes, struct err *err)
{
    struct local_stream *self = (struct local_stream *)stream;
    TRY(file_write_at(self->fd, self->size, bytes, err));
    self->size += (int64_t)bytes.size;
    return ERR_OK;
}

static void stream_release(struct local_stream *self)
{
    file_close(&self->fd);
    mem_free(self->path);
    self->path = NULL;
}

static enum err_code stream_finish(struct object_stream *stream, struct err *err)
{
    struct local_stream *self = (struct local_stream *)stream;
    if (!self->unsynced) {
        TRY(file_sync_data(self->fd, err));
        count_syncs(&self->store->base, 1);
    }
    stream_release(self);
    return ERR_OK;
}

static void stream_abort(struct object_stream *stream)
{
    struct local_stream *self = (struct local_stream *)stream;
    struct err err = {0};
    if (file_remove(self->path, &err) != ERR_OK) {
        err_clear(&err); /* garbage under a unique name; vacuum finds it too */
    }
    stream_release(self);
}

static const struct object_stream_ops stream_ops = {
    .append = stream_append,
    .finish = stream_finish,
    .abort = stream_abort,
};

static enum err_code create_file(const char *path, make_fn make, int *fd_out, struct err *err)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    int fd = open(path, flags, FILE_MODE);
    if (fd < 0 && errno == ENOENT) {
        TRY(make_parent(path, make, err));
        fd = open(path, flags, FILE_MODE);
    }
    if (fd < 0) {
        return err_set_errno(err, errno, "create '%s'", path);
    }
    *fd_out = fd;
    return ERR_OK;
}

static enum err_code begin_stream(struct object_store *store, const char *name, bool unsynced,
                                  struct object_stream **stream_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    int fd = -1;
    make_fn make = unsynced ? file_make_directory_derived : file_make_directory;
    TRY(create_file(path, make, &fd, err));
    struct local_stream *stream = mem_zeroed(1, sizeof *stream);
    *stream = (struct local_stream){.base.ops = &stream_ops,
                                    .store = local_of(store),
                                    .path = path,
                                    .fd = fd,
                                    .unsynced = unsynced};
    path = NULL;
    *stream_out = &stream->base;
    return ERR_OK;
}

static enum err_code local_stream_begin(struct object_store *store, const char *name,
                                        struct object_stream **stream_out, struct err *err)
{
    return begin_stream(store, name, false, stream_out, err);
}

/* ---- groups ---- */

static enum err_code local_unsynced_begin(struct object_store *store, int *fd_out, struct err *err)
{
    return file_system_open(local_of(store)->root, fd_out, err);
}

static enum err_code local_unsynced_put(struct object_store *store, const char *name,
                                        struct span bytes, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    return write_making_parent(path, bytes, file_write_derived, file_make_directory_derived, err);
}

static enum err_code local_unsynced_stream_begin(struct object_store *store, const char *name,
                                                 struct object_stream **stream_out, struct err *err)
{
    return begin_stream(store, name, true, stream_out, err);
}

static enum err_code local_unsynced_sync(struct object_store *store, int fd, struct err *err)
{
    TRY(file_system_sync(fd, err));
    count_syncs(store, 1);
    return ERR_OK;
}

static void local_unsynced_abandon(struct object_store *store)
{
    atomic_store(&local_of(store)->abandoned, true);
}

/* ---- syncs beside the caller's work ---- */

/* With a temporary file, or at the name at once (`temporary_out` NULL). */
static enum err_code begin(const char *path, struct span bytes, struct file_sync *sync,
                           char **temporary_out, struct err *err)
{
    return temporary_out == NULL ? file_write_begin(path, bytes, sync, err)
                                 : file_publish_begin(path, bytes, sync, temporary_out, err);
}

static enum err_code begin_making_parent(const char *path, struct span bytes,
                                         struct file_sync *sync, char **temporary_out,
                                         struct err *err)
{
    enum err_code code = begin(path, bytes, sync, temporary_out, err);
    if (code != ERR_NOT_FOUND) {
        return code;
    }
    err_clear(err);
    TRY(make_parent(path, file_make_directory, err));
    return begin(path, bytes, sync, temporary_out, err);
}

static enum err_code local_put_begin(struct object_store *store, const char *name,
                                     struct span bytes, struct file_sync *sync, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    TRY(begin_making_parent(path, bytes, sync, NULL, err));
    count_syncs(store, 1);
    return ERR_OK;
}

static enum err_code local_publish_begin(struct object_store *store, const char *name,
                                         struct span bytes, struct file_sync *sync,
                                         char **temporary_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    return begin_making_parent(path, bytes, sync, temporary_out, err);
}

static enum err_code local_publish_end(struct object_store *store, const char *name,
                                       const char *temporary, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    TRY(file_publish_end(path, temporary, err));
    count_syncs(store, FSYNCS_OF_PUBLISH);
    return ERR_OK;
}

static void local_publish_abandon(struct object_store *store, const char *temporary)
{
    (void)store;
    file_publish_abandon(temporary);
}

/* ---- names ---- */

/* A name in a folder is durable only when the folder's own is. */
static enum err_code sync_abandoned(struct local_store *store, struct err *err)
{
    if (!atomic_load(&store->abandoned)) {
        return ERR_OK;
    }
    TRY(file_sync_file_system(store->root, err));
    count_syncs(&store->base, 1);
    atomic_store(&store->abandoned, false);
    return ERR_OK;
}

static enum err_code local_sync(struct object_store *store, const char *folder, struct err *err)
{
    TRY(sync_abandoned(local_of(store), err));
    CLEANUP(mem_cleanup)
    char *path = folder[0] != '\0' ? path_of(store, folder) : mem_copy_text(local_of(store)->root);
    TRY(file_sync_directory(path, err));
    count_syncs(store, 1);
    return ERR_OK;
}

static enum err_code local_folder_sync_begin(struct object_store *store, const char *folder,
                                             struct file_sync *sync, struct err *err)
{
    TRY(sync_abandoned(local_of(store), err));
    CLEANUP(mem_cleanup)
    char *path = folder[0] != '\0' ? path_of(store, folder) : mem_copy_text(local_of(store)->root);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "sync folder %s", path);
    }
    file_sync_begin(sync, fd, true);
    count_syncs(store, 1);
    return ERR_OK;
}

static enum err_code local_remove(struct object_store *store, const char *name, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    return file_remove(path, err);
}

/* ---- reading ---- */

static enum err_code local_get(struct object_store *store, const char *name,
                               struct buffer *contents, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    return file_read(path, contents, err);
}

static enum err_code local_stat(struct object_store *store, const char *name, int64_t *size_out,
                                int64_t *modified_ms_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    return file_stat(path, size_out, modified_ms_out, err);
}

static enum err_code object_read(struct object *object, int64_t offset, void *bytes_out,
                                 size_t size, struct err *err)
{
    return file_read_at(((struct local_object *)object)->fd, offset, bytes_out, size, err);
}

static void object_release(struct object *object)
{
    file_close(&((struct local_object *)object)->fd);
}

static const struct object_ops object_functions = {.read_at = object_read, .close = object_release};

static enum err_code local_open(struct object_store *store, const char *name,
                                struct object **object_out, struct err *err)
{
    CLEANUP(mem_cleanup) char *path = path_of(store, name);
    int fd = -1;
    int64_t size = 0;
    TRY(file_open_read(path, &fd, &size, err));
    struct local_object *object = mem_zeroed(1, sizeof *object);
    *object = (struct local_object){.base = {.ops = &object_functions, .size = size}, .fd = fd};
    *object_out = &object->base;
    return ERR_OK;
}

/* ---- listing ---- */

static enum err_code open_folder(void *arg, const char *name, int *fd_out, struct err *err)
{
    const char *root = local_root(arg);
    CLEANUP(mem_cleanup)
    char *path = name[0] != '\0' ? file_join(root, name) : mem_copy_text(root);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "list '%s'", path);
    }
    *fd_out = fd;
    return ERR_OK;
}

static enum err_code local_list(struct object_store *store,
                                const struct object_list_options *options,
                                struct object_list *list_out, struct err *err)
{
    const struct object_folders folders = {.open = open_folder, .arg = store, .follow_links = true};
    return object_list_folders(&folders, options, list_out, err);
}

static const struct object_store_ops local_ops = {
    .close = local_close,
    .root = local_root,
    .put = local_put,
    .put_if_absent = local_put_if_absent,
    .replace = local_replace,
    .stream_begin = local_stream_begin,
    .sync = local_sync,
    .remove = local_remove,
    .get = local_get,
    .stat = local_stat,
    .open = local_open,
    .unsynced_begin = local_unsynced_begin,
    .unsynced_put = local_unsynced_put,
    .unsynced_stream_begin = local_unsynced_stream_begin,
    .unsynced_sync = local_unsynced_sync,
    .unsynced_abandon = local_unsynced_abandon,
    .put_begin = local_put_begin,
    .folder_sync_begin = local_folder_sync_begin,
    .publish_begin = local_publish_begin,
    .publish_end = local_publish_end,
    .publish_abandon = local_publish_abandon,
    .list = local_list,
};

enum err_code object_store_open_local(const char *root, struct object_store **store_out,
                                      struct err *err)
{
    assert(root != NULL && root[0] != '\0');
    TRY(file_make_directory(root, err));
    struct local_store *store = mem_zeroed(1, sizeof *store);
    store->base.ops = &local_ops;
    store->base.read_back_is_durable = false;
    store->root = mem_copy_text(root);
    for (size_t length = strlen(root); length > 1 && store->root[length - 1] == '/'; length--) {
        store->root[length - 1] = '\0';
    }
    *store_out = &store->base;
    return ERR_OK;
}
