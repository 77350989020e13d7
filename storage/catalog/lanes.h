/*
 * Lanes in memory: the last position of every table's lane, what waits in it, and
 * its open dead letters. Private to the catalog.
 *
 * Changed by the writer thread only, read by anybody; a change inside a
 * transaction is taken back when its savepoint or commit fails (see writer.h).
 */
#pragma once

#include "storage/base/id.h"
#include "storage/base/lock.h"
#include "storage/catalog/batches.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lane {
    struct lane_statistics statistics;
    int live;            /* 1: the table is not dropped */
    bool position_dirty; /* position_last is not stored yet; writer thread only */
};

/* Embedded in the catalog. */
struct lanes {
    struct lock lock;     /* rank CACHE; guards everything below */
    struct lane **sorted; /* by table uuid; entries never move */
    size_t count;
    size_t capacity;
};

void lanes_init(struct lanes *lanes);
void lanes_deinit(struct lanes *lanes);

/* NULL when unknown. Writer thread only; the pointer holds until lanes_remove. */
struct lane *lanes_find(struct lanes *lanes, const struct id *table);
struct lane *lanes_add(struct lanes *lanes, const struct id *table, bool live);
void lanes_remove(struct lanes *lanes, const struct id *table);

/* A change of what waits in a lane; amounts may be negative. */
struct lane_change {
    int64_t queued_count, queued_bytes, queued_records;
    int64_t dead_letter_count, dead_letter_bytes;
    int64_t received_us; /* of a batch that came in, 0 = none */
    int live;            /* -1: the table is dropped */
};
void lanes_change(struct lanes *lanes, struct lane *lane, const struct lane_change *change);

/* The next position of the lane, and mark it for storing. */
int64_t lanes_take_position(struct lanes *lanes, struct lane *lane);
void lanes_raise_position(struct lanes *lanes, struct lane *lane, int64_t at_least);

/* The oldest batch that waits, as a reader has just seen it. */
void lanes_note_oldest(struct lanes *lanes, const struct id *table, int64_t received_us);

/* For any thread; false when unknown. */
bool lanes_read(struct lanes *lanes, const struct id *table,
                struct lane_statistics *statistics_out);

size_t lanes_count(struct lanes *lanes);
