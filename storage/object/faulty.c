/*
 * A store that fails one chosen call of another store, for tests: a loop over
 * the number of the call visits every error path of whoever uses it.
 */
#include "storage/object/object.h"

#include "storage/base/mem.h"
#include "storage/object/store.h"

#include <assert.h>

struct faulty_store {
    struct object_store base;
    struct object_store *inner; /* borrowed */
    enum object_fault_kind kind;
    int64_t at;
    _Atomic int64_t calls_count;
};

struct faulty_stream {
    struct object_stream base;
    struct faulty_store *store;
    struct object_stream *inner;
};

struct faulty_object {
    struct object base;
    struct faulty_store *store;
    struct object *inner;
};

static struct faulty_store *faulty_of(struct object_store *store)
{
    return (struct faulty_store *)store;
}

/* Count a call; is it the one that fails? */
static bool is_hit(struct faulty_store *store)
{
    return atomic_fetch_add(&store->calls_count, 1) + 1 == store->at;
}

static enum err_code planted(struct err *err)
{
    err_clear(err);
    return err_set(err, ERR_IO, "planted fault");
}

/* Fail a hit call that cannot be cut in half. `code` is what the inner call said, if it was made.
 */
static enum err_code finish_call(bool hit, enum err_code code, struct err *err)
{
    return hit && code == ERR_OK ? planted(err) : code;
}

static bool fails_before(const struct faulty_store *store, bool hit)
{
    return hit && store->kind != OBJECT_FAULT_AFTER;
}

static struct span half_of(struct span bytes)
{
    return span_of(bytes.data, bytes.size / 2);
}

static void faulty_close(struct object_store *store)
{
    mem_free(store);
}

static const char *faulty_root(const struct object_store *store)
{
    return object_store_root(((const struct faulty_store *)store)->inner);
}

static enum err_code faulty_put(struct object_store *store, const char *name, struct span bytes,
                                struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (hit && self->kind == OBJECT_FAULT_BEFORE) {
        return planted(err);
    }
    struct span written = hit && self->kind == OBJECT_FAULT_TRUNCATE ? half_of(bytes) : bytes;
    return finish_call(hit, object_put(self->inner, name, written, err), err);
}

/* Atomic by contract: a cut in half is the same as not done. */
static enum err_code faulty_put_if_absent(struct object_store *store, const char *name,
                                          struct span bytes, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (fails_before(self, hit)) {
        return planted(err);
    }
    return finish_call(hit, object_put_if_absent(self->inner, name, bytes, err), err);
}

static enum err_code faulty_replace(struct object_store *store, const char *name, struct span bytes,
                                    struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (fails_before(self, hit)) {
        return planted(err);
    }
    return finish_call(hit, object_replace(self->inner, name, bytes, err), err);
}

static enum err_code stream_append(struct object_stream *stream, struct span bytes, struct err *err)
{
    struct faulty_stream *self = (struct faulty_stream *)stream;
    bool hit = is_hit(self->store);
    if (hit && self->store->kind == OBJECT_FAULT_BEFORE) {
        return planted(err);
    }
    struct span written =
        hit && self->store->kind == OBJECT_FAULT_TRUNCATE ? half_of(bytes) : bytes;
    return finish_call(hit, object_stream_append(self->inner, written, err), err);
}

static enum err_code stream_finish(struct object_stream *stream, struct err *err)
{
    struct faulty_stream *self = (struct faulty_stream *)stream;
    bool hit = is_hit(self->store);
    if (fails_before(self->store, hit)) {
        return planted(err);
    }
    return finish_call(hit, object_stream_finish(&self->inner, err), err);
}

static void stream_abort(struct object_stream *stream)
{
    object_stream_abort(&((struct faulty_stream *)stream)->inner);
}

static const struct object_stream_ops stream_ops = {
    .append = stream_append,
    .finish = stream_finish,
    .abort = stream_abort,
};

static enum err_code faulty_stream_begin(struct object_store *store, const char *name,
                                         struct object_stream **stream_out, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    if (is_hit(self)) {
        return planted(err);
    }
    struct object_stream *inner = NULL;
    TRY(object_stream_begin(self->inner, name, &inner, err));
    struct faulty_stream *stream = mem_zeroed(1, sizeof *stream);
    *stream = (struct faulty_stream){.base.ops = &stream_ops, .store = self, .inner = inner};
    *stream_out = &stream->base;
    return ERR_OK;
}

static enum err_code faulty_sync(struct object_store *store, const char *folder, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (fails_before(self, hit)) {
        return planted(err);
    }
    return finish_call(hit, object_sync(self->inner, folder, err), err);
}

static enum err_code faulty_remove(struct object_store *store, const char *name, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (fails_before(self, hit)) {
        return planted(err);
    }
    return finish_call(hit, object_remove(self->inner, name, err), err);
}

static enum err_code faulty_get(struct object_store *store, const char *name,
                                struct buffer *contents, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (hit && self->kind != OBJECT_FAULT_TRUNCATE) {
        return planted(err);
    }
    size_t before = contents->size;
    TRY(object_get(self->inner, name, contents, err));
    if (hit) {
        contents->size = before + (contents->size - before) / 2;
    }
    return ERR_OK;
}

static enum err_code faulty_stat(struct object_store *store, const char *name, int64_t *size_out,
                                 int64_t *modified_ms_out, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    if (is_hit(self)) {
        return planted(err);
    }
    return object_stat(self->inner, name, size_out, modified_ms_out, err);
}

static enum err_code object_read(struct object *object, int64_t offset, void *bytes_out,
                                 size_t size, struct err *err)
{
    struct faulty_object *self = (struct faulty_object *)object;
    if (is_hit(self->store)) {
        return planted(err);
    }
    return object_read_at(self->inner, offset, bytes_out, size, err);
}

static void object_release(struct object *object)
{
    object_close(&((struct faulty_object *)object)->inner);
}

static const struct object_ops object_functions = {.read_at = object_read, .close = object_release};

static enum err_code faulty_open(struct object_store *store, const char *name,
                                 struct object **object_out, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    bool hit = is_hit(self);
    if (hit && self->kind != OBJECT_FAULT_TRUNCATE) {
        return planted(err);
    }
    struct object *inner = NULL;
    TRY(object_open(self->inner, name, &inner, err));
    int64_t size = object_size(inner);
    struct faulty_object *object = mem_zeroed(1, sizeof *object);
    *object = (struct faulty_object){
        .base = {.ops = &object_functions, .size = hit ? size / 2 : size},
        .store = self,
        .inner = inner,
    };
    *object_out = &object->base;
    return ERR_OK;
}

static enum err_code faulty_list(struct object_store *store,
                                 const struct object_list_options *options,
                                 struct object_list *list_out, struct err *err)
{
    struct faulty_store *self = faulty_of(store);
    if (is_hit(self)) {
        return planted(err);
    }
    return object_list(self->inner, options, list_out, err);
}

static const struct object_store_ops faulty_ops = {
    .close = faulty_close,
    .root = faulty_root,
    .put = faulty_put,
    .put_if_absent = faulty_put_if_absent,
    .replace = faulty_replace,
    .stream_begin = faulty_stream_begin,
    .sync = faulty_sync,
    .remove = faulty_remove,
    .get = faulty_get,
    .stat = faulty_stat,
    .open = faulty_open,
    .list = faulty_list,
};

struct object_store *object_store_new_faulty(struct object_store *inner,
                                             enum object_fault_kind kind, int64_t at)
{
    struct faulty_store *store = mem_zeroed(1, sizeof *store);
    store->base.ops = &faulty_ops;
    store->base.read_back_is_durable = inner->read_back_is_durable;
    store->inner = inner;
    store->kind = kind;
    store->at = at;
    return &store->base;
}

int64_t object_store_calls_count(const struct object_store *faulty)
{
    assert(faulty->ops == &faulty_ops);
    return atomic_load(&((const struct faulty_store *)faulty)->calls_count);
}
