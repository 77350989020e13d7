/*
 * Planning a merge: batches against one snapshot, in memory. What rows are to be
 * written, which stored rows go, which keys leave tombstones, and what became of
 * every record. Nothing is written here; on a lost race the plan is made anew.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/snapshot.h"
#include "storage/snapshot/table.h"
#include "storage/snapshot/tombstones.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row to be written. */
struct plan_put {
    uint32_t source; /* index of the input, or PLAN_PATCHED */
    int64_t row;     /* of that frame */
    uint64_t hash;   /* of the key; 0 without a key */
    size_t key_at;   /* in plan->keys */
    uint32_t key_size;
    int64_t sequence;
    int64_t position; /* order position of the record that won */
};
#define PLAN_PATCHED UINT32_MAX

/* A stored row that goes. */
struct plan_mark {
    uint32_t file;
    uint32_t row;
};

struct plan {
    struct buffer keys; /* bytes of all keys */
    struct plan_put *puts;
    size_t puts_count;
    struct plan_mark *marks; /* ascending by (file, row), no duplicates */
    size_t marks_count;
    struct tombstone *tombstones; /* keys borrowed from `keys` */
    uint64_t *tombstone_hashes;
    size_t tombstones_count;
    struct frame *patched;                /* rows made by patches, NULL = none */
    struct merge_batch_outcome *outcomes; /* one per input; version -1 */
    size_t outcomes_count;
    int64_t duplicates_count; /* keys met with several live rows */
};
void plan_deinit(struct plan *plan);

static inline struct span plan_key(const struct plan *plan, const struct plan_put *put)
{
    return span_of(plan->keys.data + put->key_at, put->key_size);
}

struct plan_request {
    const struct snapshot *snapshot;
    const struct tombstones *tombstones;
    int64_t tombstone_horizon_us; /* older ones are void */
    int64_t now_us;
    const uint8_t *hash_key;
    const struct merge_input *inputs;
    size_t inputs_count;
    int64_t applied_position; /* inputs up to it are skipped as `already` */
};

/*
 * Make the plan; see table_merge for the rules.
 * Errors:  ERR_TOO_LARGE keys over 2 GiB; what reading a stored row returns
 *          (patches, and rows without an image).
 */
enum err_code plan_make(const struct plan_request *request, struct plan *plan_out,
                        struct err *err) MUST_USE;
