/*
 * Lanes in memory. See lanes.h.
 */
#include "storage/catalog/lanes.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <string.h>

void lanes_init(struct lanes *lanes)
{
    *lanes = (struct lanes){0};
    lock_init(&lanes->lock, LOCK_RANK_CACHE);
}

void lanes_deinit(struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->count; i++) {
        mem_free(lanes->sorted[i]);
    }
    mem_free(lanes->sorted);
    lock_deinit(&lanes->lock);
    *lanes = (struct lanes){0};
}

/* Where `table` is or belongs. The lock is held. */
static size_t place_of(const struct lanes *lanes, const struct id *table)
{
    size_t low = 0;
    size_t high = lanes->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(lanes->sorted[middle]->statistics.table.text, table->text) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_at(const struct lanes *lanes, size_t place, const struct id *table)
{
    return place < lanes->count &&
           strcmp(lanes->sorted[place]->statistics.table.text, table->text) == 0;
}

struct lane *lanes_find(struct lanes *lanes, const struct id *table)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t place = place_of(lanes, table);
    return is_at(lanes, place, table) ? lanes->sorted[place] : NULL;
}

struct lane *lanes_add(struct lanes *lanes, const struct id *table, bool live)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t place = place_of(lanes, table);
    if (is_at(lanes, place, table)) {
        return lanes->sorted[place];
    }
    if (lanes->count == lanes->capacity) {
        lanes->capacity = lanes->capacity == 0 ? 16 : lanes->capacity * 2;
        lanes->sorted = mem_resize(lanes->sorted, lanes->capacity, sizeof(struct lane *));
    }
    memmove(lanes->sorted + place + 1, lanes->sorted + place,
            (lanes->count - place) * sizeof(struct lane *));
    struct lane *lane = mem_zeroed(1, sizeof *lane);
    lane->statistics.table = *table;
    lane->live = live ? 1 : 0;
    lanes->sorted[place] = lane;
    lanes->count++;
    return lane;
}

void lanes_remove(struct lanes *lanes, const struct id *table)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t place = place_of(lanes, table);
    if (!is_at(lanes, place, table)) {
        return;
    }
    mem_free(lanes->sorted[place]);
    lanes->count--;
    memmove(lanes->sorted + place, lanes->sorted + place + 1,
            (lanes->count - place) * sizeof(struct lane *));
}

void lanes_change(struct lanes *lanes, struct lane *lane, const struct lane_change *change)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    struct lane_statistics *statistics = &lane->statistics;
    if (change->received_us > 0 && statistics->queued_count == 0) {
        statistics->oldest_received_us = change->received_us;
    }
    statistics->queued_count += change->queued_count;
    statistics->queued_bytes += change->queued_bytes;
    statistics->queued_records += change->queued_records;
    statistics->dead_letter_count += change->dead_letter_count;
    statistics->dead_letter_bytes += change->dead_letter_bytes;
    lane->live += change->live;
    assert(lane->live == 0 || lane->live == 1);
    assert(statistics->queued_count >= 0);
    assert(statistics->dead_letter_count >= 0);
    if (statistics->queued_count == 0) {
        statistics->oldest_received_us = 0;
    }
}

int64_t lanes_take_position(struct lanes *lanes, struct lane *lane)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    lane->position_dirty = true;
    return ++lane->statistics.position_last;
}

void lanes_raise_position(struct lanes *lanes, struct lane *lane, int64_t at_least)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    if (lane->statistics.position_last < at_least) {
        lane->statistics.position_last = at_least;
    }
}

void lanes_note_oldest(struct lanes *lanes, const struct id *table, int64_t received_us)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t place = place_of(lanes, table);
    if (is_at(lanes, place, table) && lanes->sorted[place]->statistics.queued_count > 0) {
        lanes->sorted[place]->statistics.oldest_received_us = received_us;
    }
}

bool lanes_read(struct lanes *lanes, const struct id *table, struct lane_statistics *statistics_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    size_t place = place_of(lanes, table);
    if (!is_at(lanes, place, table)) {
        return false;
    }
    *statistics_out = lanes->sorted[place]->statistics;
    return true;
}

size_t lanes_count(struct lanes *lanes)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lanes->lock);
    return lanes->count;
}
