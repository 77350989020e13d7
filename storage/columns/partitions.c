/*
 * Counting the partitions that the rows of a frame belong to. See frame.h.
 */
#include "storage/base/buffer.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/columns/frame.h"

#include <assert.h>

enum { VALUES_BYTES_MAX = 1 << 26 };

void partition_set_init(struct partition_set *set, size_t count_max)
{
    *set = (struct partition_set){.count_max = count_max};
    buffer_init(&set->values, VALUES_BYTES_MAX);
}

/* Tables without partitions need none. */
static void make_slots(struct partition_set *set)
{
    size_t slots = 16;
    while (slots < 2 * (set->count_max + 2)) {
        slots *= 2;
    }
    set->mask = slots - 1;
    set->slots = mem_zeroed(slots, sizeof *set->slots);
}

void partition_set_deinit(struct partition_set *set)
{
    mem_free(set->slots);
    buffer_deinit(&set->values);
    *set = (struct partition_set){0};
}

/* 0 stands for an empty slot. */
static void note(struct partition_set *set, uint64_t hash)
{
    hash = hash == 0 ? 1 : hash;
    size_t slot = (size_t)hash & set->mask;
    while (set->slots[slot] != 0) {
        if (set->slots[slot] == hash) {
            return;
        }
        slot = (slot + 1) & set->mask;
    }
    set->slots[slot] = hash;
    set->count++;
}

static uint64_t partition_hash(const struct frame *frame, int64_t row, struct buffer *values)
{
    const struct schema *schema = frame->schema;
    buffer_reset(values);
    for (size_t i = 0; i < schema->partition_count; i++) {
        size_t column = schema->partition[i];
        bool has = column_is_valid(&frame->columns[column], row);
        buffer_append_byte(values, has);
        if (has) {
            column_key(&frame->columns[column], row, values);
        }
    }
    return hash_checksum(buffer_span(values));
}

void partition_set_add(struct partition_set *set, const struct frame *frame)
{
    if (frame->schema->partition_count == 0) {
        set->count = frame->rows_count > 0 ? 1 : set->count;
        return;
    }
    if (set->slots == NULL) {
        make_slots(set);
    }
    for (int64_t row = 0; row < frame->rows_count && set->count <= set->count_max; row++) {
        if (frame_operation_at(frame, row) != FRAME_DELETE) {
            note(set, partition_hash(frame, row, &set->values));
        }
    }
    assert(!set->values.overflowed);
}

size_t frame_partitions_count(const struct frame *frame, size_t count_max)
{
    CLEANUP(partition_set_deinit) struct partition_set set;
    partition_set_init(&set, count_max);
    partition_set_add(&set, frame);
    return set.count;
}
