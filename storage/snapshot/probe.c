/*
 * Batched probing of the key index. See probe.h.
 */
#include "storage/snapshot/probe.h"

#include "storage/base/mem.h"
#include "storage/snapshot/files.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/index.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/stored.h"

#include <assert.h>

enum { BLOCK_KEYS = 32, KEY_BYTES_MAX = 1 << 26 };

void probe_result_deinit(struct probe_result *result)
{
    mem_free(result->hits);
    mem_free(result->first);
    *result = (struct probe_result){0};
}

enum err_code probe_read_row(const struct snapshot *snapshot, const struct snapshot_file *file,
                             int64_t row, struct frame *frame, struct err *err)
{
    struct span key;
    struct span image;
    if (file->images != NULL && images_row(file->images, row, &key, &image)) {
        struct err damaged = {0};
        if (row_decode_into(image, frame, &damaged) == ERR_OK) {
            return ERR_OK;
        }
    }
    CLEANUP(stored_close) struct stored stored = {0};
    TRY(stored_open(snapshot->store, snapshot->schema, file->file, NULL, &stored, err));
    return stored_read_rows(&stored, &row, 1, frame, err);
}

/* Does the row have this key? From the image when there is one. */
static enum err_code compare_key(const struct snapshot *snapshot, const struct snapshot_file *file,
                                 int64_t row, struct span key, bool *equal_out, struct err *err)
{
    struct span stored_key;
    struct span image;
    if (file->images != NULL && images_row(file->images, row, &stored_key, &image)) {
        *equal_out = span_equal(stored_key, key);
        return ERR_OK;
    }
    CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
    TRY(probe_read_row(snapshot, file, row, frame, err));
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, KEY_BYTES_MAX);
    *equal_out = false;
    if (key_is_whole(frame, 0)) {
        frame_key(frame, 0, &bytes);
        *equal_out = span_equal(buffer_span(&bytes), key);
    }
    return ERR_OK;
}

static void add_hit(struct probe_result *result, size_t key, const struct index_entry *entry,
                    const struct snapshot_file *file)
{
    if (result->count == result->capacity) {
        result->capacity = result->capacity == 0 ? 1024 : result->capacity * 2;
        result->hits = mem_resize(result->hits, result->capacity, sizeof *result->hits);
    }
    result->hits[result->count++] =
        (struct probe_hit){.key = key, .entry = *entry, .file = file, .next = PROBE_NONE};
}

/* Candidates of a block in one run: live rows with the right hash. */
static void probe_run(const struct snapshot *snapshot, const struct index_run *run,
                      const struct probe_key *keys, size_t start, size_t end,
                      struct probe_result *result)
{
    for (size_t i = start; i < end; i++) {
        index_run_prefetch_filter(run, keys[i].hash);
    }
    size_t passed[BLOCK_KEYS];
    size_t passed_count = 0;
    for (size_t i = start; i < end; i++) {
        if (index_run_may_contain(run, keys[i].hash)) {
            passed[passed_count++] = i;
            index_run_prefetch_directory(run, keys[i].hash);
        }
    }
    for (size_t i = 0; i < passed_count; i++) {
        index_run_prefetch_entries(run, keys[passed[i]].hash);
    }
    for (size_t i = 0; i < passed_count; i++) {
        size_t count = 0;
        const struct index_entry *entries = index_run_find(run, keys[passed[i]].hash, &count);
        for (size_t j = 0; j < count; j++) {
            const struct snapshot_file *file = NULL;
            if (snapshot_entry_is_alive(snapshot, &entries[j], &file)) {
                add_hit(result, passed[i], &entries[j], file);
            }
        }
    }
}

/* Drop the candidates from `first` on whose stored key is another one. */
static enum err_code verify_hits(const struct snapshot *snapshot, const struct probe_key *keys,
                                 size_t first, struct probe_result *result, struct err *err)
{
    for (size_t i = first; i < result->count; i++) {
        const struct probe_hit *hit = &result->hits[i];
        if (hit->file->images != NULL) {
            images_prefetch(hit->file->images, hit->entry.row);
        }
    }
    for (size_t i = first; i < result->count; i++) {
        const struct probe_hit *hit = &result->hits[i];
        if (hit->file->images != NULL) {
            __builtin_prefetch(images_record(hit->file->images, hit->entry.row).data);
        }
    }
    size_t kept = first;
    for (size_t i = first; i < result->count; i++) {
        struct probe_hit hit = result->hits[i];
        bool equal = false;
        TRY(compare_key(snapshot, hit.file, hit.entry.row, keys[hit.key].key, &equal, err));
        if (equal) {
            hit.next = result->first[hit.key];
            result->first[hit.key] = kept;
            result->hits[kept++] = hit;
        }
    }
    result->count = kept;
    return ERR_OK;
}

static enum err_code probe_blocks(const struct snapshot *snapshot, const struct probe_key *keys,
                                  size_t count, struct probe_result *result, struct err *err)
{
    const struct index_set *set = &snapshot->index->kinds[0];
    for (size_t start = 0; start < count; start += BLOCK_KEYS) {
        size_t end = start + BLOCK_KEYS < count ? start + BLOCK_KEYS : count;
        size_t first = result->count;
        for (size_t i = 0; i < set->count; i++) {
            probe_run(snapshot, set->runs[i], keys, start, end, result);
        }
        TRY(verify_hits(snapshot, keys, first, result, err));
    }
    return ERR_OK;
}

enum err_code probe_keys(const struct snapshot *snapshot, const struct probe_key *keys,
                         size_t count, struct probe_result *result_out, struct err *err)
{
    assert(snapshot->index != NULL);
    CLEANUP(probe_result_deinit) struct probe_result result = {0};
    result.first = mem_alloc((count + 1) * sizeof *result.first);
    for (size_t i = 0; i < count; i++) {
        result.first[i] = PROBE_NONE;
    }
    TRY(probe_blocks(snapshot, keys, count, &result, err));
    *result_out = result;
    result = (struct probe_result){0};
    return ERR_OK;
}
