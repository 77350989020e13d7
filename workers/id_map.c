/*
 * Numbers to pointers. See id_map.h. Removal moves later entries of the run of
 * full slots up, so that there are no tombstones.
 */
#include "workers/id_map.h"

#include "storage/base/mem.h"

#include <assert.h>

enum { CAPACITY_FIRST = 64 };

static size_t place_of(const struct id_map *map, int64_t id)
{
    uint64_t hash = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (map->capacity - 1);
}

/* The slot of `id`, or the free one where it would stand. */
static struct id_map_slot *find(const struct id_map *map, int64_t id)
{
    size_t at = place_of(map, id);
    while (map->slots[at].value != NULL && map->slots[at].id != id) {
        at = (at + 1) & (map->capacity - 1);
    }
    return &map->slots[at];
}

void id_map_deinit(struct id_map *map)
{
    mem_free(map->slots);
    *map = (struct id_map){0};
}

void *id_map_get(const struct id_map *map, int64_t id)
{
    return map->capacity > 0 ? find(map, id)->value : NULL;
}

static void grow(struct id_map *map)
{
    struct id_map larger = {.capacity = map->capacity > 0 ? map->capacity * 2 : CAPACITY_FIRST,
                            .count = map->count};
    larger.slots = mem_zeroed(larger.capacity, sizeof *larger.slots);
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL) {
            *find(&larger, map->slots[i].id) = map->slots[i];
        }
    }
    mem_free(map->slots);
    *map = larger;
}

void id_map_put(struct id_map *map, int64_t id, void *value)
{
    assert(value != NULL);
    if ((map->count + 1) * 2 > map->capacity) {
        grow(map);
    }
    struct id_map_slot *slot = find(map, id);
    map->count += slot->value == NULL;
    *slot = (struct id_map_slot){.id = id, .value = value};
}

void id_map_remove(struct id_map *map, int64_t id)
{
    if (id_map_get(map, id) == NULL) {
        return;
    }
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(find(map, id) - map->slots);
    map->count--;
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = place_of(map, map->slots[at].id);
        if (((at - home) & mask) >= ((at - hole) & mask)) { /* it may stand in the hole */
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct id_map_slot){0};
}
