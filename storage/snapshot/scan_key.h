/*
 * Rows of a scan out of the key index: when filters name the whole key, the rows
 * that can pass are known without reading a file.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/snapshot/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCAN_KEYS_MAX = 1000 /* combinations of key values that are probed, not scanned for */ };

/* Places in the order of a scan, each once. */
struct scan_places {
    struct scan_position *items;
    size_t count;
};
void scan_places_deinit(struct scan_places *places);

/*
 * The rows with the keys that the filters name.
 *
 *   places_out  every live row that can pass all filters, and perhaps others: the
 *               filters are yet to be applied
 *   found_out   false: the index cannot tell (an older version, a table without a key,
 *               a key column without eq or in, too many combinations); scan the files
 *
 * Errors:  as probe_keys.
 * Thread:  reentrant.
 */
enum err_code scan_places_of_key(const struct snapshot *snapshot, const struct scan_filter *filters,
                                 size_t count, struct scan_places *places_out, bool *found_out,
                                 struct err *err) MUST_USE;
