/*
 * A map from numbers (runs, jobs) to what belongs to them. Open addressing, at most
 * half full; the caller guards it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct id_map_slot {
    int64_t id;
    void *value; /* NULL = free */
};

/* Embedded by its owner. Zeroed is empty. */
struct id_map {
    struct id_map_slot *slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
};

void id_map_deinit(struct id_map *map); /* not what the values point to */

void *id_map_get(const struct id_map *map, int64_t id);       /* NULL = none */
void id_map_put(struct id_map *map, int64_t id, void *value); /* not NULL; replaces */
void id_map_remove(struct id_map *map, int64_t id);
