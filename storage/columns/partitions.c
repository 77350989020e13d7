/*
 * Counting the partitions that the rows of a frame belong to. See frame.h.
 */
#include "storage/base/buffer.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/columns/frame.h"

#include <assert.h>

enum { VALUES_BYTES_MAX = 1 << 26 };

/* Hashes that were seen; 0 stands for an empty slot. */
struct seen {
    uint64_t *slots;
    size_t mask;
    size_t count;
};

static void note(struct seen *seen, uint64_t hash)
{
    hash = hash == 0 ? 1 : hash;
    size_t slot = (size_t)hash & seen->mask;
    while (seen->slots[slot] != 0) {
        if (seen->slots[slot] == hash) {
            return;
        }
        slot = (slot + 1) & seen->mask;
    }
    seen->slots[slot] = hash;
    seen->count++;
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

size_t frame_partitions_count(const struct frame *frame, size_t count_max)
{
    if (frame->schema->partition_count == 0) {
        return frame->rows_count > 0 ? 1 : 0;
    }
    size_t slots = 16;
    while (slots < 2 * (count_max + 2)) {
        slots *= 2;
    }
    CLEANUP(mem_cleanup) uint64_t *memory = mem_zeroed(slots, sizeof *memory);
    CLEANUP(buffer_deinit) struct buffer values;
    buffer_init(&values, VALUES_BYTES_MAX);
    struct seen seen = {.slots = memory, .mask = slots - 1};
    for (int64_t row = 0; row < frame->rows_count && seen.count <= count_max; row++) {
        if (frame_operation_at(frame, row) != FRAME_DELETE) {
            note(&seen, partition_hash(frame, row, &values));
        }
    }
    assert(!values.overflowed);
    return seen.count;
}
