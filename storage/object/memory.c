/*
 * The object store in memory, for tests. Contents are shared by reference, so
 * an open object stays readable after its name is gone.
 */
#include "storage/object/object.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <assert.h>
#include <string.h>

/* The bytes of one object; shared by the store and open objects. */
struct contents {
    uint8_t *data;
    size_t size;
    _Atomic int references;
};

struct entry {
    char *name;
    struct contents *contents;
    int64_t modified_ms;
};

struct memory_store {
    struct object_store base;
    struct lock lock;      /* guards what follows */
    struct entry *entries; /* sorted by name */
    size_t count;
    size_t capacity;
};

struct memory_stream {
    struct object_stream base;
    struct memory_store *store; /* outlives the stream */
    char *name;
    uint8_t *data;
    size_t size;
};

struct memory_object {
    struct object base;
    struct contents *contents;
};

static struct memory_store *memory_of(struct object_store *store)
{
    return (struct memory_store *)store;
}

static struct contents *contents_new(struct span bytes)
{
    struct contents *contents = mem_zeroed(1, sizeof *contents);
    contents->data = mem_copy(bytes.data, bytes.size);
    contents->size = bytes.size;
    contents->references = 1;
    return contents;
}

static void contents_release(struct contents *contents)
{
    if (atomic_fetch_sub(&contents->references, 1) == 1) {
        mem_free(contents->data);
        mem_free(contents);
    }
}

/* Where `name` is or would be inserted; caller holds the lock. */
static size_t find_position(const struct memory_store *store, const char *name, bool *found_out)
{
    size_t low = 0;
    size_t high = store->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(store->entries[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found_out = low < store->count && strcmp(store->entries[low].name, name) == 0;
    return low;
}

static void insert_entry(struct memory_store *store, size_t position, const char *name,
                         struct span bytes)
{
    if (store->count == store->capacity) {
        store->capacity = store->capacity == 0 ? 16 : store->capacity * 2;
        store->entries = mem_resize(store->entries, store->capacity, sizeof *store->entries);
    }
    memmove(&store->entries[position + 1], &store->entries[position],
            (store->count - position) * sizeof *store->entries);
    store->entries[position] = (struct entry){.name = mem_copy_text(name),
                                              .contents = contents_new(bytes),
                                              .modified_ms = clock_wall_us() / 1000};
    store->count++;
}

static void drop_entry(struct entry *entry)
{
    contents_release(entry->contents);
    mem_free(entry->name);
}

static void memory_close(struct object_store *store)
{
    struct memory_store *self = memory_of(store);
    for (size_t i = 0; i < self->count; i++) {
        drop_entry(&self->entries[i]);
    }
    mem_free(self->entries);
    lock_deinit(&self->lock);
    mem_free(self);
}

static const char *memory_root(const struct object_store *store)
{
    (void)store; /* nothing local about memory */
    return NULL;
}

static enum err_code memory_put(struct object_store *store, const char *name, struct span bytes,
                                struct err *err)
{
    struct memory_store *self = memory_of(store);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    bool found = false;
    size_t position = find_position(self, name, &found);
    if (found) {
        return err_set(err, ERR_EXISTS, "object '%s' exists", name);
    }
    insert_entry(self, position, name, bytes);
    atomic_fetch_add(&store->syncs_count, 1);
    return ERR_OK;
}

static enum err_code memory_replace(struct object_store *store, const char *name, struct span bytes,
                                    struct err *err)
{
    (void)err; /* cannot fail */
    struct memory_store *self = memory_of(store);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    bool found = false;
    size_t position = find_position(self, name, &found);
    if (!found) {
        insert_entry(self, position, name, bytes);
        return ERR_OK;
    }
    struct entry *entry = &self->entries[position];
    contents_release(entry->contents);
    entry->contents = contents_new(bytes);
    entry->modified_ms = clock_wall_us() / 1000;
    return ERR_OK;
}

static enum err_code stream_append(struct object_stream *stream, struct span bytes, struct err *err)
{
    (void)err; /* cannot fail */
    struct memory_stream *self = (struct memory_stream *)stream;
    if (bytes.size > 0) {
        self->data = mem_resize(self->data, self->size + bytes.size, 1);
        memcpy(self->data + self->size, bytes.data, bytes.size);
        self->size += bytes.size;
    }
    return ERR_OK;
}

static void stream_abort(struct object_stream *stream)
{
    struct memory_stream *self = (struct memory_stream *)stream;
    mem_free(self->name);
    mem_free(self->data);
}

static enum err_code stream_finish(struct object_stream *stream, struct err *err)
{
    struct memory_stream *self = (struct memory_stream *)stream;
    TRY(memory_put(&self->store->base, self->name, span_of(self->data, self->size), err));
    stream_abort(stream);
    return ERR_OK;
}

static const struct object_stream_ops stream_ops = {
    .append = stream_append,
    .finish = stream_finish,
    .abort = stream_abort,
};

static enum err_code memory_stream_begin(struct object_store *store, const char *name,
                                         struct object_stream **stream_out, struct err *err)
{
    struct memory_store *self = memory_of(store);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    bool found = false;
    (void)find_position(self, name, &found); /* only whether it is there */
    if (found) {
        return err_set(err, ERR_EXISTS, "object '%s' exists", name);
    }
    struct memory_stream *stream = mem_zeroed(1, sizeof *stream);
    stream->base.ops = &stream_ops;
    stream->store = self;
    stream->name = mem_copy_text(name);
    *stream_out = &stream->base;
    return ERR_OK;
}

static enum err_code memory_sync(struct object_store *store, const char *folder, struct err *err)
{
    (void)folder;
    (void)err; /* cannot fail */
    atomic_fetch_add(&store->syncs_count, 1);
    return ERR_OK;
}

static enum err_code memory_remove(struct object_store *store, const char *name, struct err *err)
{
    (void)err; /* cannot fail */
    struct memory_store *self = memory_of(store);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    bool found = false;
    size_t position = find_position(self, name, &found);
    if (found) {
        drop_entry(&self->entries[position]);
        memmove(&self->entries[position], &self->entries[position + 1],
                (self->count - position - 1) * sizeof *self->entries);
        self->count--;
    }
    return ERR_OK;
}

/* The contents of a name with a reference of the caller's own. */
static enum err_code acquire_contents(struct memory_store *self, const char *name,
                                      struct contents **contents_out, int64_t *modified_ms_out,
                                      struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    bool found = false;
    size_t position = find_position(self, name, &found);
    if (!found) {
        return err_set(err, ERR_NOT_FOUND, "there is no object '%s'", name);
    }
    struct entry *entry = &self->entries[position];
    atomic_fetch_add(&entry->contents->references, 1);
    *contents_out = entry->contents;
    *modified_ms_out = entry->modified_ms;
    return ERR_OK;
}

static enum err_code memory_get(struct object_store *store, const char *name,
                                struct buffer *contents_out, struct err *err)
{
    struct contents *contents = NULL;
    int64_t modified_ms = 0;
    TRY(acquire_contents(memory_of(store), name, &contents, &modified_ms, err));
    buffer_append(contents_out, contents->data, contents->size);
    contents_release(contents);
    return buffer_check(contents_out, name, err);
}

static enum err_code memory_stat(struct object_store *store, const char *name, int64_t *size_out,
                                 int64_t *modified_ms_out, struct err *err)
{
    struct contents *contents = NULL;
    TRY(acquire_contents(memory_of(store), name, &contents, modified_ms_out, err));
    *size_out = (int64_t)contents->size;
    contents_release(contents);
    return ERR_OK;
}

static enum err_code object_read(struct object *object, int64_t offset, void *bytes_out,
                                 size_t size, struct err *err)
{
    (void)err; /* the range was checked */
    const struct contents *contents = ((struct memory_object *)object)->contents;
    if (size > 0) {
        memcpy(bytes_out, contents->data + offset, size);
    }
    return ERR_OK;
}

static void object_release(struct object *object)
{
    contents_release(((struct memory_object *)object)->contents);
}

static const struct object_ops object_functions = {.read_at = object_read, .close = object_release};

static enum err_code memory_open(struct object_store *store, const char *name,
                                 struct object **object_out, struct err *err)
{
    struct contents *contents = NULL;
    int64_t modified_ms = 0;
    TRY(acquire_contents(memory_of(store), name, &contents, &modified_ms, err));
    struct memory_object *object = mem_zeroed(1, sizeof *object);
    *object = (struct memory_object){
        .base = {.ops = &object_functions, .size = (int64_t)contents->size}, .contents = contents};
    *object_out = &object->base;
    return ERR_OK;
}

/* Is `name` an object of the listing that `options` asks for? */
static bool is_listed(const char *name, const struct object_list_options *options)
{
    const char *folder = options->folder != NULL ? options->folder : "";
    size_t folder_size = strlen(folder);
    const char *rest = name;
    if (folder_size > 0) {
        if (strncmp(name, folder, folder_size) != 0 || name[folder_size] != '/') {
            return false;
        }
        rest = name + folder_size + 1;
    }
    if (!options->recursive && strchr(rest, '/') != NULL) {
        return false;
    }
    if (rest[0] == '.' || strstr(rest, "/.") != NULL) {
        return false;
    }
    return options->start_after == NULL || strcmp(name, options->start_after) > 0;
}

static enum err_code memory_list(struct object_store *store,
                                 const struct object_list_options *options,
                                 struct object_list *list_out, struct err *err)
{
    struct memory_store *self = memory_of(store);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&self->lock);
    CLEANUP(object_list_free) struct object_list list = {0};
    size_t capacity = 0;
    for (size_t i = 0; i < self->count; i++) {
        const struct entry *entry = &self->entries[i];
        if (is_listed(entry->name, options)) {
            int64_t size = options->details ? (int64_t)entry->contents->size : -1;
            int64_t modified_ms = options->details ? entry->modified_ms : -1;
            TRY(object_list_add(&list, &capacity, mem_copy_text(entry->name), size, modified_ms,
                                err));
        }
    }
    *list_out = list; /* sorted, because the entries are */
    list = (struct object_list){0};
    return ERR_OK;
}

static const struct object_store_ops memory_ops = {
    .close = memory_close,
    .root = memory_root,
    .put = memory_put,
    .put_if_absent = memory_put,
    .replace = memory_replace,
    .stream_begin = memory_stream_begin,
    .sync = memory_sync,
    .remove = memory_remove,
    .get = memory_get,
    .stat = memory_stat,
    .open = memory_open,
    .list = memory_list,
};

struct object_store *object_store_new_memory(void)
{
    struct memory_store *store = mem_zeroed(1, sizeof *store);
    store->base.ops = &memory_ops;
    store->base.read_back_is_durable = true;
    lock_init(&store->lock, LOCK_RANK_CACHE);
    return &store->base;
}
