/*
 * Finding the stored rows of many keys at once: filters, directories, entries
 * and images are fetched ahead for a block of keys, so that their cache misses
 * overlap.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/snapshot/index_run.h"
#include "storage/snapshot/snapshot.h"

#include <stddef.h>
#include <stdint.h>

struct probe_key {
    uint64_t hash;
    struct span key; /* bytes of frame_key */
};

/* A live row with that key. */
struct probe_hit {
    size_t key; /* index into the keys */
    struct index_entry entry;
    const struct snapshot_file *file;
    size_t next; /* next hit of the same key, PROBE_NONE = last */
};
#define PROBE_NONE SIZE_MAX

struct probe_result {
    struct probe_hit *hits;
    size_t count;
    size_t capacity;
    size_t *first; /* per key: its first hit or PROBE_NONE */
};
void probe_result_deinit(struct probe_result *result);

/*
 * All live rows of each key, keys compared.
 * Errors: what reading the key of a row without an image returns.
 */
enum err_code probe_keys(const struct snapshot *snapshot, const struct probe_key *keys,
                         size_t count, struct probe_result *result_out, struct err *err) MUST_USE;

/*
 * Append one stored row to `frame` (of the snapshot's schema), from its image or
 * its data file.
 */
enum err_code probe_read_row(const struct snapshot *snapshot, const struct snapshot_file *file,
                             int64_t row, struct frame *frame, struct err *err) MUST_USE;
