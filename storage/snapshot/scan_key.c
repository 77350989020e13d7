/*
 * Rows of a scan out of the key index. See scan_key.h.
 */
#include "storage/snapshot/scan_key.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"
#include "storage/columns/frame.h"
#include "storage/delta/state.h"
#include "storage/snapshot/index.h"
#include "storage/snapshot/probe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_BYTES_MAX = 1 << 30 };

void scan_places_deinit(struct scan_places *places)
{
    mem_free(places->items);
    *places = (struct scan_places){0};
}

/* ---- which keys ---- */

/* The filter on `column` that leaves the fewest values; NULL = none names any. */
static const struct scan_filter *narrowest(const struct scan_filter *filters, size_t count,
                                           size_t column)
{
    const struct scan_filter *best = NULL;
    for (size_t i = 0; i < count; i++) {
        bool names = filters[i].operator== SCAN_EQUAL || filters[i].operator== SCAN_IN;
        if (names && filters[i].column == column &&
            (best == NULL || filters[i].values_count < best->values_count)) {
            best = &filters[i];
        }
    }
    return best;
}

/* One filter per key column and how many keys they make; 0 = not the whole key, or too many. */
static size_t choose_filters(const struct schema *schema, const struct scan_filter *filters,
                             size_t count, const struct scan_filter *chosen[SCHEMA_KEY_FIELDS_MAX])
{
    size_t keys = schema->key_count > 0 ? 1 : 0;
    for (size_t i = 0; keys > 0 && i < schema->key_count; i++) {
        chosen[i] = narrowest(filters, count, schema->key[i]);
        keys = chosen[i] != NULL && chosen[i]->values_count <= SCAN_KEYS_MAX / keys
                   ? keys * chosen[i]->values_count
                   : 0;
    }
    return keys;
}

/* The bytes of every combination, back to back; `ends` says where each ends. */
static enum err_code encode_keys(const struct schema *schema,
                                 const struct scan_filter *const chosen[SCHEMA_KEY_FIELDS_MAX],
                                 size_t keys, struct buffer *bytes, size_t *ends, struct err *err)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    for (size_t key = 0; key < keys; key++) {
        size_t rest = key;
        frame_reset(frame);
        for (size_t i = 0; i < schema->key_count; i++) {
            const struct row_value *value = &chosen[i]->values[rest % chosen[i]->values_count];
            rest /= chosen[i]->values_count;
            row_value_append(&frame->columns[schema->key[i]], value);
        }
        frame_key(frame, 0, bytes);
        ends[key] = bytes->size;
    }
    return buffer_check(bytes, "the keys of the filters", err);
}

/* ---- where their rows are ---- */

/* The place of a live file among the version's files. */
static int64_t file_index(const struct delta_state *state, const struct delta_file *file)
{
    int64_t low = 0;
    int64_t high = state->files_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(delta_state_file_at(state, middle)->path, file->path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < state->files_count);
    assert(strcmp(delta_state_file_at(state, low)->path, file->path) == 0);
    return low;
}

static int compare_places(const void *a, const void *b)
{
    const struct scan_position *left = a;
    const struct scan_position *right = b;
    if (left->file != right->file) {
        return left->file < right->file ? -1 : 1;
    }
    return (left->row > right->row) - (left->row < right->row);
}

/* In order and without repetition: a list may name one key twice. */
static void settle(struct scan_places *places)
{
    if (places->count == 0) {
        return;
    }
    qsort(places->items, places->count, sizeof *places->items, compare_places);
    size_t kept = 1;
    for (size_t i = 1; i < places->count; i++) {
        if (compare_places(&places->items[kept - 1], &places->items[i]) != 0) {
            places->items[kept++] = places->items[i];
        }
    }
    places->count = kept;
}

static enum err_code probe(const struct snapshot *snapshot, const struct buffer *bytes,
                           const size_t *ends, size_t keys, struct scan_places *places,
                           struct err *err)
{
    CLEANUP(mem_cleanup) struct probe_key *probes = mem_zeroed(keys, sizeof *probes);
    for (size_t i = 0; i < keys; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        probes[i].key = span_of(bytes->data + start, ends[i] - start);
        probes[i].hash = hash_keyed(snapshot->index->hash_key, probes[i].key);
    }
    CLEANUP(probe_result_deinit) struct probe_result hits = {0};
    TRY(probe_keys(snapshot, probes, keys, &hits, err));
    places->items = mem_zeroed(hits.count + 1, sizeof *places->items);
    for (size_t i = 0; i < hits.count; i++) {
        places->items[places->count++] =
            (struct scan_position){.file = file_index(snapshot->state, hits.hits[i].file->file),
                                   .row = hits.hits[i].entry.row};
    }
    settle(places);
    return ERR_OK;
}

enum err_code scan_places_of_key(const struct snapshot *snapshot, const struct scan_filter *filters,
                                 size_t count, struct scan_places *places_out, bool *found_out,
                                 struct err *err)
{
    const struct scan_filter *chosen[SCHEMA_KEY_FIELDS_MAX];
    size_t keys =
        snapshot->index == NULL ? 0 : choose_filters(snapshot->schema, filters, count, chosen);
    if (keys == 0) {
        *found_out = false;
        return ERR_OK;
    }
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, KEYS_BYTES_MAX);
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(keys, sizeof *ends);
    CLEANUP(scan_places_deinit) struct scan_places places = {0};
    TRY(encode_keys(snapshot->schema, chosen, keys, &bytes, ends, err));
    TRY(probe(snapshot, &bytes, ends, keys, &places, err));
    *places_out = places;
    places = (struct scan_places){0};
    *found_out = true;
    return ERR_OK;
}
