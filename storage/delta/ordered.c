/*
 * The persistent ordered set. See ordered.h for the contract.
 *
 * A set is immutable once built. Chunks are never empty and in order; `starts`
 * holds the index of each chunk's first item.
 */
#include "storage/delta/ordered.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

/* Sorted items; shared by sets, each of which holds one reference. */
struct chunk {
    int references; /* atomic */
    uint32_t count;
    const void *items[];
};

struct ordered {
    int references; /* atomic */
    const struct ordered_kind *kind;
    struct chunk **chunks;
    int64_t *starts; /* one a chunk */
    size_t chunks_count;
    int64_t count;
};

/* A set under construction: finished chunks, and items that wait to become one. */
struct builder {
    struct ordered *set;
    size_t capacity;      /* of chunks */
    const void **pending; /* hold no reference yet */
    size_t pending_count;
    size_t pending_capacity;
};

static void release_chunk(struct chunk *chunk, const struct ordered_kind *kind)
{
    if (__atomic_fetch_sub(&chunk->references, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        kind->release(chunk->items[i]);
    }
    mem_free(chunk);
}

struct ordered *ordered_new(const struct ordered_kind *kind)
{
    struct ordered *set = mem_zeroed(1, sizeof *set);
    set->references = 1;
    set->kind = kind;
    return set;
}

struct ordered *ordered_acquire(struct ordered *set)
{
    __atomic_fetch_add(&set->references, 1, __ATOMIC_RELAXED);
    return set;
}

void ordered_release(struct ordered **set)
{
    struct ordered *self = *set;
    *set = NULL;
    if (self == NULL || __atomic_fetch_sub(&self->references, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    for (size_t i = 0; i < self->chunks_count; i++) {
        release_chunk(self->chunks[i], self->kind);
    }
    mem_free(self->chunks);
    mem_free(self->starts);
    mem_free(self);
}

/* ---- building ---- */

/* Takes one reference of `chunk`. */
static void push_chunk(struct builder *builder, struct chunk *chunk)
{
    struct ordered *set = builder->set;
    assert(chunk->count > 0);
    if (set->chunks_count == builder->capacity) {
        builder->capacity = builder->capacity == 0 ? 16 : builder->capacity * 2;
        set->chunks = mem_resize(set->chunks, builder->capacity, sizeof *set->chunks);
        set->starts = mem_resize(set->starts, builder->capacity, sizeof *set->starts);
    }
    set->chunks[set->chunks_count] = chunk;
    set->starts[set->chunks_count] = set->count;
    set->chunks_count++;
    set->count += chunk->count;
}

static void push_items(struct builder *builder, const void *const *items, size_t count)
{
    const struct ordered_kind *kind = builder->set->kind;
    struct chunk *chunk = mem_alloc(sizeof *chunk + count * sizeof *items);
    chunk->references = 1;
    chunk->count = (uint32_t)count;
    memcpy(chunk->items, items, count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        kind->acquire(items[i]);
    }
    push_chunk(builder, chunk);
}

/* Turn what is pending into chunks of about equal size. */
static void flush_pending(struct builder *builder)
{
    size_t count = builder->pending_count;
    size_t chunks = (count + ORDERED_CHUNK_ITEMS_MAX - 1) / ORDERED_CHUNK_ITEMS_MAX;
    size_t start = 0;
    for (size_t i = 0; i < chunks; i++) {
        size_t size = (count - start) / (chunks - i);
        push_items(builder, builder->pending + start, size);
        start += size;
    }
    builder->pending_count = 0;
}

static void add_pending(struct builder *builder, const void *item)
{
    if (builder->pending_count == builder->pending_capacity) {
        builder->pending_capacity = builder->pending_capacity == 0 ? ORDERED_CHUNK_ITEMS_MAX * 2
                                                                   : builder->pending_capacity * 2;
        builder->pending =
            mem_resize(builder->pending, builder->pending_capacity, sizeof *builder->pending);
    }
    builder->pending[builder->pending_count++] = item;
}

/* Append an unchanged chunk: shared, or swallowed by a too small neighbour before it. */
static void share_chunk(struct builder *builder, struct chunk *chunk)
{
    if (builder->pending_count > 0 && builder->pending_count < ORDERED_CHUNK_ITEMS_MIN) {
        for (uint32_t i = 0; i < chunk->count; i++) {
            add_pending(builder, chunk->items[i]);
        }
        return;
    }
    flush_pending(builder);
    __atomic_fetch_add(&chunk->references, 1, __ATOMIC_RELAXED);
    push_chunk(builder, chunk);
}

static struct ordered *finish(struct builder *builder)
{
    flush_pending(builder);
    mem_free(builder->pending);
    return builder->set;
}

/* ---- looking up ---- */

/* Index of the last chunk whose first item is not greater than `key`; 0 when there is none. */
static size_t chunk_for(const struct ordered *set, size_t from, const void *key)
{
    size_t low = from;
    size_t high = set->chunks_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (set->kind->compare(set->chunks[middle]->items[0], key) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Position in the chunk of the first item that is not smaller than `key`. */
static uint32_t position_in(const struct chunk *chunk, const struct ordered_kind *kind,
                            const void *key)
{
    uint32_t low = 0;
    uint32_t high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (kind->compare(chunk->items[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const void *ordered_lower_bound(const struct ordered *set, const void *key)
{
    if (set->chunks_count == 0) {
        return NULL;
    }
    size_t index = chunk_for(set, 0, key);
    uint32_t position = position_in(set->chunks[index], set->kind, key);
    if (position < set->chunks[index]->count) {
        return set->chunks[index]->items[position];
    }
    return index + 1 < set->chunks_count ? set->chunks[index + 1]->items[0] : NULL;
}

const void *ordered_find(const struct ordered *set, const void *key)
{
    const void *item = ordered_lower_bound(set, key);
    return item != NULL && set->kind->compare(item, key) == 0 ? item : NULL;
}

int64_t ordered_count(const struct ordered *set)
{
    return set->count;
}

const void *ordered_at(const struct ordered *set, int64_t index)
{
    assert(index >= 0 && index < set->count);
    size_t low = 0;
    size_t high = set->chunks_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (set->starts[middle] <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return set->chunks[low]->items[index - set->starts[low]];
}

const void *ordered_next(const struct ordered *set, size_t *chunk, size_t *item)
{
    if (*chunk < set->chunks_count && *item >= set->chunks[*chunk]->count) {
        *chunk += 1;
        *item = 0;
    }
    return *chunk < set->chunks_count ? set->chunks[*chunk]->items[(*item)++] : NULL;
}

/* ---- changing ---- */

/* Merge the edits that belong to one chunk into what is pending; returns how many it took. */
static size_t merge_chunk(struct builder *builder, const struct chunk *chunk, const void *limit,
                          const struct ordered_edit *edits, size_t count)
{
    const struct ordered_kind *kind = builder->set->kind;
    uint32_t at = 0;
    size_t taken = 0;
    for (; taken < count; taken++) {
        const struct ordered_edit *edit = &edits[taken];
        if (limit != NULL && kind->compare(edit->item, limit) >= 0) {
            break;
        }
        assert(taken == 0 || kind->compare(edits[taken - 1].item, edit->item) < 0);
        int order = -1;
        while (at < chunk->count && (order = kind->compare(chunk->items[at], edit->item)) < 0) {
            add_pending(builder, chunk->items[at++]);
        }
        if (at < chunk->count && order == 0) {
            at++; /* replaced or removed */
        }
        if (edit->put) {
            add_pending(builder, edit->item);
        }
    }
    while (at < chunk->count) {
        add_pending(builder, chunk->items[at++]);
    }
    return taken;
}

struct ordered *ordered_apply(const struct ordered *set, const struct ordered_edit *edits,
                              size_t count)
{
    struct builder builder = {.set = ordered_new(set->kind)};
    const struct chunk nothing = {.count = 0};
    size_t next_chunk = 0;
    for (size_t done = 0; done < count;) {
        if (set->chunks_count == 0) {
            (void)merge_chunk(&builder, &nothing, NULL, edits, count); /* takes them all */
            break;
        }
        size_t target = chunk_for(set, next_chunk, edits[done].item);
        for (; next_chunk < target; next_chunk++) {
            share_chunk(&builder, set->chunks[next_chunk]);
        }
        const void *limit =
            target + 1 < set->chunks_count ? set->chunks[target + 1]->items[0] : NULL;
        done += merge_chunk(&builder, set->chunks[target], limit, edits + done, count - done);
        next_chunk = target + 1;
    }
    for (; next_chunk < set->chunks_count; next_chunk++) {
        share_chunk(&builder, set->chunks[next_chunk]);
    }
    return finish(&builder);
}
