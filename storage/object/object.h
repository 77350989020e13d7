/*
 * Object stores: named, immutable byte strings. What the Delta log and the data
 * files of a table live in: a local folder, one below a root, memory (tests), or another store
 * made to fail at the n-th call (tests).
 *
 * Names are relative, parts joined by '/', without empty, "." or ".." parts;
 * they come decoded (a blank is a blank). Objects are written whole and never
 * changed; only object_replace may give a name new contents.
 *
 * Durability is split in two so that fsyncs can be counted and shared: the
 * contents of an object are durable when the call that wrote it returned OK,
 * its *name* after object_sync of its folder. object_put_if_absent, the commit
 * primitive, makes both durable by itself. Many objects that are of use together
 * only are put in a group, which waits for the disk once.
 *
 * Thread:  a store may be used by any number of threads; a stream or an open
 *          object by one at a time (object_read_at by many).
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OBJECT_NAME_BYTES_MAX = 4096,
    OBJECT_LIST_MAX = 4 << 20, /* names in one listing; more is ERR_TOO_LARGE */
    OBJECT_DEPTH_MAX = 32,     /* folders below the root that a listing walks */
};

struct roots; /* storage/base/roots.h */

struct object_store;  /* heap handle; object_store_close */
struct object_stream; /* an object being written piece by piece */
struct object;        /* an object open for reading */

/*
 * A folder of the local file system, created when absent.
 *
 * put_if_absent is storage/base/file.h's file_publish (temporary file → fsync →
 * link → unlink → fsync of the folder).
 */
enum err_code object_store_open_local(const char *root, struct object_store **store_out,
                                      struct err *err) MUST_USE;

/*
 * A folder below one of the roots, for reading what strangers put there: names, links
 * and whatever else stands in it lead nowhere outside (storage/base/roots.h). Writing
 * is ERR_FORBIDDEN, links are not found in listings.
 *
 *   path  as roots_open_folder
 *
 * Errors:  as roots_open_folder.
 */
enum err_code object_store_open_rooted(const struct roots *roots, const char *path,
                                       struct object_store **store_out, struct err *err) MUST_USE;

/* An empty store in memory. Everything in it is "durable" as long as it is open. */
struct object_store *object_store_new_memory(void);

void object_store_close(struct object_store **store);

/* The local folder of the store without trailing '/', or NULL. Borrowed from the store. */
const char *object_store_root(const struct object_store *store);

/*
 * Does an object that can be read back survive a power cut? False for local
 * folders: after a failed fsync the cache may show what the disk never got.
 */
bool object_store_read_back_is_durable(const struct object_store *store);

/* fsyncs (local) or object_sync and durable puts (memory) done so far; for tests and metrics. */
int64_t object_store_syncs_count(const struct object_store *store);

/* ---- writing ---- */

/*
 * Write a new object. Missing folders are made.
 *
 * Errors:  ERR_EXISTS; ERR_INVALID a name outside the rules above; ERR_NO_SPACE; ERR_IO.
 * Durable: the contents; the name after object_sync of its folder.
 */
enum err_code object_put(struct object_store *store, const char *name, struct span bytes,
                         struct err *err) MUST_USE;

/*
 * Write a new object unless the name is taken: at most one of many racing
 * callers gets ERR_OK, and readers see all of it or nothing.
 *
 * Errors:  ERR_EXISTS the race is lost; ERR_NO_SPACE nothing was written;
 *          ERR_IO the outcome is unknown: read back.
 * Durable: contents and name.
 */
enum err_code object_put_if_absent(struct object_store *store, const char *name, struct span bytes,
                                   struct err *err) MUST_USE;

/* Give a name new contents atomically. Durable: contents and name. */
enum err_code object_replace(struct object_store *store, const char *name, struct span bytes,
                             struct err *err) MUST_USE;

/*
 * Write a new object in pieces. The name is taken at begin (ERR_EXISTS), the
 * contents are durable when finish returned OK. Abort removes what was written;
 * it accepts NULL inside and a finished stream, for CLEANUP.
 */
enum err_code object_stream_begin(struct object_store *store, const char *name,
                                  struct object_stream **stream_out, struct err *err) MUST_USE;
enum err_code object_stream_append(struct object_stream *stream, struct span bytes,
                                   struct err *err) MUST_USE;
enum err_code object_stream_finish(struct object_stream **stream, struct err *err) MUST_USE;
void object_stream_abort(struct object_stream **stream);

/* Make the names directly in `folder` durable; "" is the store's root. One fsync. */
enum err_code object_sync(struct object_store *store, const char *folder, struct err *err) MUST_USE;

/*
 * New objects that become durable together. For a local folder on a file system that
 * can do so, many cost one wait instead of three an object and folder. It then waits
 * for whatever else of that file system is dirty, so few are synced one by one.
 *
 * The syncs of few go on while the caller makes the next.
 *
 *   objects_count  expected; up to OBJECT_GROUP_FEW are few
 *
 * One thread at a time. object_group_end accepts NULL inside; objects of a group that
 * was not synced are garbage, which whoever put them removes.
 */
enum { OBJECT_GROUP_FEW = 64 };
struct object_group;
enum err_code object_group_begin(struct object_store *store, size_t objects_count,
                                 struct object_group **group_out, struct err *err) MUST_USE;
/* As object_put and object_stream_begin, durable after object_group_sync. */
enum err_code object_group_put(struct object_group *group, const char *name, struct span bytes,
                               struct err *err) MUST_USE;
enum err_code object_group_stream_begin(struct object_group *group, const char *name,
                                        struct object_stream **stream_out,
                                        struct err *err) MUST_USE;
/*
 * Errors:  ERR_IO; as after any failed sync, nothing of the group may be referred to.
 * Durable: contents and names of all objects, when ERR_OK.
 */
enum err_code object_group_sync(struct object_group *group, struct err *err) MUST_USE;
/*
 * As object_put_if_absent, once the group is synced: the object that refers to those of the
 * group, which need no object_group_sync of its own then. All are waited for together.
 */
enum err_code object_group_publish(struct object_group *group, const char *name, struct span bytes,
                                   struct err *err) MUST_USE;
void object_group_end(struct object_group **group);

/* Absent is ERR_OK. Not synced. */
enum err_code object_remove(struct object_store *store, const char *name, struct err *err) MUST_USE;

/* ---- reading ---- */

/* The whole object, appended to `contents` (its ceiling applies). Errors: ERR_NOT_FOUND, ERR_IO. */
enum err_code object_get(struct object_store *store, const char *name, struct buffer *contents,
                         struct err *err) MUST_USE;

/* Errors: ERR_NOT_FOUND, ERR_IO. `modified_ms_out` is ms since the epoch. */
enum err_code object_stat(struct object_store *store, const char *name, int64_t *size_out,
                          int64_t *modified_ms_out, struct err *err) MUST_USE;

/*
 * Open for ranged reads. The object stays readable after its name was removed.
 * object_read_at has the shape of struct parquet_source's read_at: `object` is
 * a struct object. Errors of reading: ERR_CORRUPT past the end; ERR_IO.
 */
enum err_code object_open(struct object_store *store, const char *name, struct object **object_out,
                          struct err *err) MUST_USE;
enum err_code object_read_at(void *object, int64_t offset, void *bytes_out, size_t size,
                             struct err *err) MUST_USE;
int64_t object_size(const struct object *object);
void object_close(struct object **object);

/* Path of the object in the local file system (it need not exist), or NULL. mem_free. */
char *object_local_path(const struct object_store *store, const char *name);

/* ---- listing ---- */

struct object_info {
    char *name;          /* from the store's root */
    int64_t size;        /* bytes; -1 without `details` */
    int64_t modified_ms; /* ms since the epoch; -1 without `details` */
};

struct object_list {
    struct object_info *items; /* sorted by the bytes of `name` */
    size_t count;
};

struct object_list_options {
    const char *folder;      /* "" or NULL = the root; listed from there */
    const char *start_after; /* only names greater than this (from the root); NULL = all */
    bool recursive;          /* walk into folders; otherwise only objects directly in `folder` */
    bool details;            /* fill size and modified_ms */
};

/*
 * An absent folder is an empty list. Temporary files of the store itself (names
 * that start with '.') are not listed.
 * Memory: object_list_free.
 */
enum err_code object_list(struct object_store *store, const struct object_list_options *options,
                          struct object_list *list_out, struct err *err) MUST_USE;
void object_list_free(struct object_list *list);

/* ---- the faulty store ---- */

enum object_fault_kind {
    OBJECT_FAULT_BEFORE,   /* the call fails and does nothing */
    OBJECT_FAULT_AFTER,    /* the call does its work and then reports ERR_IO */
    OBJECT_FAULT_TRUNCATE, /* a write keeps half of its bytes and fails; a read returns half of the
                              object as if it were all */
};

/*
 * A store that passes every call to `inner`, and fails one of them.
 *
 *   inner   borrowed; must outlive the faulty store
 *   kind    how the call fails
 *   at      the calls are counted from 1; 0 = never
 *
 * The count covers every function above that can fail. `read_back_durable` is
 * inherited from `inner`.
 */
struct object_store *object_store_new_faulty(struct object_store *inner,
                                             enum object_fault_kind kind, int64_t at);
/* Calls seen so far; larger than `at` = the fault has happened. */
int64_t object_store_calls_count(const struct object_store *faulty);
