/*
 * A folder below a root as an object store, for reading. Every name is resolved by the
 * kernel below the folder that was opened once, however the folder is rearranged
 * meanwhile. See object_store_open_rooted.
 */
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "storage/object/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct rooted_store {
    struct object_store base;
    char *path; /* what log paths inside of the folder may begin with */
    int fd;     /* of the folder */
};

struct rooted_object {
    struct object base;
    int fd;
};

static const struct rooted_store *rooted_of(const struct object_store *store)
{
    return (const struct rooted_store *)store;
}

static void rooted_close(struct object_store *store)
{
    struct rooted_store *rooted = (struct rooted_store *)store;
    file_close(&rooted->fd);
    mem_free(rooted->path);
    mem_free(rooted);
}

static const char *rooted_root(const struct object_store *store)
{
    return rooted_of(store)->path;
}

/* ---- reading ---- */

static enum err_code open_file(const struct object_store *store, const char *name, int *fd_out,
                               struct stat *status_out, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    TRY(root_open_below(rooted_of(store)->fd, name, &fd, err));
    if (fstat(fd, status_out) != 0) {
        return err_set_errno(err, errno, "look at '%s'", name);
    }
    *fd_out = fd;
    fd = -1;
    return ERR_OK;
}

static enum err_code rooted_get(struct object_store *store, const char *name,
                                struct buffer *contents, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    struct stat status;
    TRY(open_file(store, name, &fd, &status, err));
    if (status.st_size == 0) {
        return ERR_OK;
    }
    size_t size = (size_t)status.st_size;
    uint8_t *room = buffer_reserve(contents, size);
    if (room == NULL) {
        return buffer_check(contents, name, err);
    }
    TRY(file_read_at(fd, 0, room, size, err));
    buffer_advance(contents, size);
    return ERR_OK;
}

static enum err_code rooted_stat(struct object_store *store, const char *name, int64_t *size_out,
                                 int64_t *modified_ms_out, struct err *err)
{
    CLEANUP(file_close) int fd = -1;
    struct stat status;
    TRY(open_file(store, name, &fd, &status, err));
    *size_out = status.st_size;
    *modified_ms_out =
        (int64_t)status.st_mtim.tv_sec * 1000 + (int64_t)status.st_mtim.tv_nsec / 1000000;
    return ERR_OK;
}

static enum err_code object_read(struct object *object, int64_t offset, void *bytes_out,
                                 size_t size, struct err *err)
{
    return file_read_at(((struct rooted_object *)object)->fd, offset, bytes_out, size, err);
}

static void object_release(struct object *object)
{
    file_close(&((struct rooted_object *)object)->fd);
}

static enum err_code rooted_open(struct object_store *store, const char *name,
                                 struct object **object_out, struct err *err)
{
    static const struct object_ops functions = {.read_at = object_read, .close = object_release};
    struct stat status;
    int fd = -1;
    TRY(open_file(store, name, &fd, &status, err));
    struct rooted_object *object = mem_zeroed(1, sizeof *object);
    *object = (struct rooted_object){.base = {.ops = &functions, .size = status.st_size}, .fd = fd};
    *object_out = &object->base;
    return ERR_OK;
}

static enum err_code open_folder(void *arg, const char *name, int *fd_out, struct err *err)
{
    int fd = root_openat(rooted_of(arg)->fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return root_refuse(errno, name[0] != '\0' ? name : rooted_of(arg)->path, err);
    }
    *fd_out = fd;
    return ERR_OK;
}

static enum err_code rooted_list(struct object_store *store,
                                 const struct object_list_options *options,
                                 struct object_list *list_out, struct err *err)
{
    const struct object_folders folders = {.open = open_folder, .arg = store};
    return object_list_folders(&folders, options, list_out, err);
}

/* ---- writing, which nobody may ---- */

static enum err_code refuse(const struct object_store *store, const char *name, struct err *err)
{
    return err_set(err, ERR_FORBIDDEN, "%s/%s: this folder is only read from",
                   rooted_of(store)->path, name);
}

static enum err_code refuse_put(struct object_store *store, const char *name, struct span bytes,
                                struct err *err)
{
    (void)bytes;
    return refuse(store, name, err);
}

static enum err_code refuse_replace(struct object_store *store, const char *name, struct span bytes,
                                    struct err *err)
{
    (void)bytes;
    return refuse(store, name, err);
}

static enum err_code refuse_stream(struct object_store *store, const char *name,
                                   struct object_stream **stream_out, struct err *err)
{
    (void)stream_out;
    return refuse(store, name, err);
}

static enum err_code refuse_name(struct object_store *store, const char *name, struct err *err)
{
    return refuse(store, name, err);
}

static const struct object_store_ops rooted_ops = {
    .close = rooted_close,
    .root = rooted_root,
    .put = refuse_put,
    .put_if_absent = refuse_put,
    .replace = refuse_replace,
    .stream_begin = refuse_stream,
    .sync = refuse_name,
    .remove = refuse_name,
    .get = rooted_get,
    .stat = rooted_stat,
    .open = rooted_open,
    .list = rooted_list,
};

enum err_code object_store_open_rooted(const struct roots *roots, const char *path,
                                       struct object_store **store_out, struct err *err)
{
    struct root_place place;
    int fd = -1;
    TRY(roots_resolve(roots, path, &place, err));
    TRY(roots_open_folder(roots, path, &fd, err));
    struct rooted_store *store = mem_zeroed(1, sizeof *store);
    store->base.ops = &rooted_ops;
    store->fd = fd;
    store->path = place.relative[0] != '\0' ? file_join(place.root, place.relative)
                                            : mem_copy_text(place.root);
    *store_out = &store->base;
    return ERR_OK;
}
