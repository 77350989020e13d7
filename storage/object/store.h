/*
 * What a kind of object store provides; private to this folder. Names have been
 * checked when they come here.
 */
#pragma once

#include "storage/object/object.h"

#include <stdatomic.h>

struct file_sync; /* storage/base/file_sync.h */

struct object_store_ops {
    void (*close)(struct object_store *store);
    const char *(*root)(const struct object_store *store); /* NULL = none */
    enum err_code (*put)(struct object_store *store, const char *name, struct span bytes,
                         struct err *err);
    enum err_code (*put_if_absent)(struct object_store *store, const char *name, struct span bytes,
                                   struct err *err);
    enum err_code (*replace)(struct object_store *store, const char *name, struct span bytes,
                             struct err *err);
    enum err_code (*stream_begin)(struct object_store *store, const char *name,
                                  struct object_stream **stream_out, struct err *err);
    enum err_code (*sync)(struct object_store *store, const char *folder, struct err *err);
    enum err_code (*remove)(struct object_store *store, const char *name, struct err *err);
    enum err_code (*get)(struct object_store *store, const char *name, struct buffer *contents,
                         struct err *err);
    enum err_code (*stat)(struct object_store *store, const char *name, int64_t *size_out,
                          int64_t *modified_ms_out, struct err *err);
    enum err_code (*open)(struct object_store *store, const char *name, struct object **object_out,
                          struct err *err);
    /*
     * Optional, all or none: objects that are not durable until unsynced_sync. Without
     * them a group is made of durable puts.
     *
     *   fd_out  what unsynced_sync needs; -1 = not in this store
     */
    enum err_code (*unsynced_begin)(struct object_store *store, int *fd_out, struct err *err);
    enum err_code (*unsynced_put)(struct object_store *store, const char *name, struct span bytes,
                                  struct err *err);
    enum err_code (*unsynced_stream_begin)(struct object_store *store, const char *name,
                                           struct object_stream **stream_out, struct err *err);
    enum err_code (*unsynced_sync)(struct object_store *store, int fd, struct err *err);
    /* What began ends without a sync: visible folders may not be durable from here on. */
    void (*unsynced_abandon)(struct object_store *store);
    /*
     * Optional, all or none: objects and folders whose sync goes on while the caller works;
     * they are durable once the sync has ended well. publish_* are put_if_absent in two steps:
     * begin writes a file without the name (`temporary_out` mem_free), end gives the name and
     * makes it durable, abandon removes the file.
     */
    enum err_code (*put_begin)(struct object_store *store, const char *name, struct span bytes,
                               struct file_sync *sync, struct err *err);
    enum err_code (*folder_sync_begin)(struct object_store *store, const char *folder,
                                       struct file_sync *sync, struct err *err);
    enum err_code (*publish_begin)(struct object_store *store, const char *name, struct span bytes,
                                   struct file_sync *sync, char **temporary_out, struct err *err);
    enum err_code (*publish_end)(struct object_store *store, const char *name,
                                 const char *temporary, struct err *err);
    void (*publish_abandon)(struct object_store *store, const char *temporary);
    enum err_code (*list)(struct object_store *store, const struct object_list_options *options,
                          struct object_list *list_out, struct err *err);
};

/* First member of every kind of store. */
struct object_store {
    const struct object_store_ops *ops;
    bool read_back_is_durable;
    _Atomic int64_t syncs_count;
};

struct object_stream_ops {
    enum err_code (*append)(struct object_stream *stream, struct span bytes, struct err *err);
    /* Neither frees the stream itself; abort also follows a failed finish. */
    enum err_code (*finish)(struct object_stream *stream, struct err *err);
    void (*abort)(struct object_stream *stream);
};

/* First member of every kind of stream; one allocation, freed by object.c. */
struct object_stream {
    const struct object_stream_ops *ops;
};

struct object_ops {
    enum err_code (*read_at)(struct object *object, int64_t offset, void *bytes_out, size_t size,
                             struct err *err);
    void (*close)(struct object *object); /* frees what it holds, not the object */
};

/* First member of every kind of open object; one allocation, freed by object.c. */
struct object {
    const struct object_ops *ops;
    int64_t size;
};

/* ---- shared by the kinds ---- */

/* The rules of object.h. Errors: ERR_INVALID. */
enum err_code object_name_check(const char *name, struct err *err) MUST_USE;

/* Append to a list that is being built; `name` is taken. */
enum err_code object_list_add(struct object_list *list, size_t *capacity, char *name, int64_t size,
                              int64_t modified_ms, struct err *err) MUST_USE;
void object_list_sort(struct object_list *list);

/* A store whose objects are files in folders. */
struct object_folders {
    /* For readdir; `name` is from the store's root, "" is that. Errors: ERR_NOT_FOUND; ERR_IO. */
    enum err_code (*open)(void *arg, const char *name, int *fd_out, struct err *err);
    void *arg;
    bool follow_links; /* to files; else links are passed over */
};
/* As the store's `list`. */
enum err_code object_list_folders(const struct object_folders *folders,
                                  const struct object_list_options *options,
                                  struct object_list *list_out, struct err *err) MUST_USE;
