/*
 * Random histories of a fixture's table, and bags of rows to hold its versions against.
 */
#pragma once

#include "storage/delta/state.h"
#include "storage/snapshot/snapshot.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <stddef.h>
#include <stdint.h>

enum { BAG_LINES_MAX = 2000, BAG_LINE_BYTES = 160 };

/* Rows as JSON lines, in any order. */
struct bag {
    char lines[BAG_LINES_MAX][BAG_LINE_BYTES];
    size_t count;
};
void bag_add(struct bag *bag, struct span line);
void bag_remove(struct bag *bag, struct span line, const char *what);
/* Sorts the bag; asserts that it has the snapshot's rows. */
void bag_expect_rows(struct bag *bag, const struct snapshot *snapshot, const char *what);

/* The state, and the snapshot, of a version. */
struct delta_state *history_state(struct fixture *fixture, int64_t version);
const struct snapshot *history_snapshot(struct fixture *fixture, int64_t version);

/* A number below `sides`. */
uint64_t history_roll(uint64_t *state, uint64_t sides);

/* A number that the environment says, such as SLUICE_SEED; `otherwise` when it does not. */
uint64_t history_number(const char *variable, uint64_t otherwise);

/* One row, upserted as a version of its own. */
void history_put(struct fixture *fixture, const char *id, int32_t amount);

/* As few files as there can be. */
void history_compact(struct fixture *fixture);

/* A batch of upserts and deletes of few keys, or a compaction. */
void history_make_version(struct fixture *fixture, uint64_t *dice);
