/*
 * A persistent ordered set of counted items: chunks of sorted pointers, shared
 * between the sets of many versions. A change copies the chunks it touches and
 * the array of chunk pointers, nothing else. Private to this folder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ORDERED_CHUNK_ITEMS_MAX = 256,
    ORDERED_CHUNK_ITEMS_MIN =
        64, /* smaller ones are joined with a neighbour when one is rewritten */
};

/* How items are ordered and counted. */
struct ordered_kind {
    int (*compare)(const void *a, const void *b);
    void (*acquire)(const void *item);
    void (*release)(const void *item);
};

struct ordered;

struct ordered *ordered_new(const struct ordered_kind *kind);
struct ordered *ordered_acquire(struct ordered *set);
void ordered_release(struct ordered **set);

/* One change; `item` is borrowed, the set takes a reference of its own. */
struct ordered_edit {
    const void *item;
    bool put; /* insert or replace; false: remove the item that compares equal, if any */
};

/* The set after `edits`, which are sorted by the kind's order without equals (asserted). */
struct ordered *ordered_apply(const struct ordered *set, const struct ordered_edit *edits,
                              size_t count);

int64_t ordered_count(const struct ordered *set);
const void *ordered_at(const struct ordered *set, int64_t index);

/* The item that compares equal to `key`, or NULL. */
const void *ordered_find(const struct ordered *set, const void *key);
/* The first item that is not smaller than `key`, or NULL. */
const void *ordered_lower_bound(const struct ordered *set, const void *key);

/* Next item of an iteration that starts at (0, 0); NULL at the end. */
const void *ordered_next(const struct ordered *set, size_t *chunk, size_t *item);
