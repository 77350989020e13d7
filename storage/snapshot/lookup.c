/*
 * Lookups. See lookup.h.
 */
#include "storage/snapshot/lookup.h"

#include "storage/base/mem.h"
#include "storage/snapshot/files.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/index.h"
#include "storage/snapshot/keys.h"
#include "storage/snapshot/order.h"
#include "storage/snapshot/probe.h"
#include "storage/snapshot/scan.h"

#include <assert.h>

enum { BYTES_MAX = INT32_MAX, PLACE_BYTES = 8 };

void lookup_result_deinit(struct lookup_result *result)
{
    mem_free(result->rows);
    buffer_deinit(&result->storage);
    *result = (struct lookup_result){0};
}

/* ---- rows under construction ---- */

/* A row whose bytes may lie in `storage`, which moves while it grows. */
struct found {
    struct span image; /* borrowed; size 0: in storage */
    struct span key;   /* likewise */
    size_t image_at, image_size;
    size_t key_at, key_size;
    int64_t sequence;
    bool present;
};

struct finder {
    const struct snapshot *snapshot;
    struct buffer storage;
    struct found *items;
    size_t count;
    size_t capacity;
    struct frame *frame; /* scratch for rows without an image */
};

static void finder_init(struct finder *finder, const struct snapshot *snapshot)
{
    *finder = (struct finder){.snapshot = snapshot};
    buffer_init(&finder->storage, BYTES_MAX);
}

static void finder_deinit(struct finder *finder)
{
    buffer_deinit(&finder->storage);
    mem_free(finder->items);
    frame_free(&finder->frame);
}

static struct found *add_item(struct finder *finder)
{
    if (finder->count == finder->capacity) {
        finder->capacity = finder->capacity == 0 ? 64 : finder->capacity * 2;
        finder->items = mem_resize(finder->items, finder->capacity, sizeof *finder->items);
    }
    finder->items[finder->count] = (struct found){0};
    return &finder->items[finder->count++];
}

/* Key and image of a row in a frame, kept in storage. */
static void keep_frame_row(struct finder *finder, const struct frame *frame, int64_t row,
                           struct found *found)
{
    found->key_at = finder->storage.size;
    if (frame->schema->key_count > 0 && key_is_whole(frame, row)) {
        frame_key(frame, row, &finder->storage);
    }
    found->key_size = finder->storage.size - found->key_at;
    found->image_at = finder->storage.size;
    row_encode(frame, row, &finder->storage);
    found->image_size = finder->storage.size - found->image_at;
}

static bool image_is_sound(struct span image)
{
    struct row_reader reader;
    struct err damaged = {0};
    return row_reader_init(&reader, image, &damaged) == ERR_OK;
}

/* Key and image of a stored row: borrowed when there is a sound image. */
static enum err_code read_row(struct finder *finder, const struct snapshot_file *file, int64_t row,
                              struct found *found, struct err *err)
{
    if (file->images != NULL && images_row(file->images, row, &found->key, &found->image) &&
        image_is_sound(found->image)) {
        return ERR_OK;
    }
    found->key = (struct span){0};
    found->image = (struct span){0};
    if (finder->frame == NULL) {
        finder->frame = frame_new(finder->snapshot->schema);
    }
    frame_reset(finder->frame);
    TRY(probe_read_row(finder->snapshot, file, row, finder->frame, err));
    keep_frame_row(finder, finder->frame, 0, found);
    return buffer_check(&finder->storage, "rows of a lookup", err);
}

static struct span image_of(const struct finder *finder, const struct found *found)
{
    return found->image.size > 0
               ? found->image
               : span_of(finder->storage.data + found->image_at, found->image_size);
}

static struct span key_of(const struct finder *finder, const struct found *found)
{
    return found->image.size > 0 ? found->key
                                 : span_of(finder->storage.data + found->key_at, found->key_size);
}

/* Hand everything over: storage does not grow any more, so spans into it hold. */
static void give_rows(struct finder *finder, struct lookup_result *result)
{
    *result = (struct lookup_result){.count = finder->count, .capacity = finder->count};
    result->rows = mem_zeroed(finder->count + 1, sizeof *result->rows);
    for (size_t i = 0; i < finder->count; i++) {
        const struct found *found = &finder->items[i];
        if (found->present) {
            result->rows[i] = (struct lookup_row){.found = true,
                                                  .image = image_of(finder, found),
                                                  .place = key_of(finder, found),
                                                  .sequence = found->sequence};
        }
    }
    result->storage = finder->storage;
    buffer_init(&finder->storage, 0);
}

/* ---- by key ---- */

/* An older version: one scan with an `in` on each key column finds a superset. */
static bool same_key(const struct frame *a, int64_t a_row, const struct frame *b, int64_t b_row,
                     struct buffer *scratch)
{
    buffer_reset(scratch);
    if (!key_is_whole(a, a_row)) {
        return false;
    }
    frame_key(a, a_row, scratch);
    size_t size = scratch->size;
    frame_key(b, b_row, scratch);
    return scratch->size == size * 2 && memcmp(scratch->data, scratch->data + size, size) == 0;
}

static int64_t row_sequence(const struct frame *frame, int64_t row)
{
    const struct schema *schema = frame->schema;
    bool has = schema->has_sequence && column_is_valid(&frame->columns[schema->sequence], row);
    return has ? frame_sequence(frame, row) : 0;
}

static void match_page(struct finder *finder, const struct frame *page, const struct frame *keys,
                       struct buffer *scratch)
{
    for (int64_t row = 0; row < page->rows_count; row++) {
        for (int64_t key = 0; key < keys->rows_count; key++) {
            struct found *found = &finder->items[key];
            int64_t sequence = row_sequence(page, row);
            if (same_key(page, row, keys, key, scratch) &&
                (!found->present || sequence > found->sequence)) {
                found->present = true;
                found->sequence = sequence;
                keep_frame_row(finder, page, row, found);
            }
        }
    }
}

static enum err_code scan_keys(struct finder *finder, const struct frame *keys, struct err *err)
{
    const struct schema *schema = finder->snapshot->schema;
    CLEANUP(mem_cleanup)
    struct row_value *values =
        mem_zeroed((size_t)keys->rows_count * schema->key_count + 1, sizeof *values);
    struct scan_filter filters[SCHEMA_KEY_FIELDS_MAX];
    for (size_t i = 0; i < schema->key_count; i++) {
        struct row_value *column_values = values + i * (size_t)keys->rows_count;
        for (int64_t row = 0; row < keys->rows_count; row++) {
            bool valid = row_value_of(keys, keys->schema->key[i], row, &column_values[row]);
            assert(valid);
        }
        filters[i] = (struct scan_filter){.column = schema->key[i],
                                          .operator= SCAN_IN,
                                          .values = column_values,
                                          .values_count = (size_t)keys->rows_count};
    }
    CLEANUP(buffer_deinit) struct buffer scratch;
    buffer_init(&scratch, BYTES_MAX);
    struct scan_request request = {
        .filters = filters, .filters_count = schema->key_count, .limit = SCAN_ROWS_MAX};
    for (bool done = false; !done;) {
        CLEANUP(scan_result_deinit) struct scan_result page = {0};
        TRY(scan_run(finder->snapshot, &request, &page, err));
        match_page(finder, page.frame, keys, &scratch);
        request.start = page.next;
        done = page.done;
    }
    return buffer_check(&finder->storage, "rows of a lookup", err);
}

/* The live row of highest sequence among the hits of a key. */
static const struct probe_hit *newest_hit(const struct probe_result *hits, size_t key)
{
    const struct probe_hit *newest = NULL;
    for (size_t i = hits->first[key]; i != PROBE_NONE; i = hits->hits[i].next) {
        if (newest == NULL || hits->hits[i].entry.sequence > newest->entry.sequence) {
            newest = &hits->hits[i];
        }
    }
    return newest;
}

static enum err_code probe_frame(struct finder *finder, const struct frame *keys, struct err *err)
{
    size_t count = (size_t)keys->rows_count;
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    CLEANUP(mem_cleanup) struct probe_key *probes = mem_zeroed(count + 1, sizeof *probes);
    CLEANUP(mem_cleanup) size_t *ends = mem_zeroed(count + 1, sizeof *ends);
    for (size_t i = 0; i < count; i++) {
        frame_key(keys, (int64_t)i, &bytes);
        ends[i + 1] = bytes.size;
    }
    TRY(buffer_check(&bytes, "keys of a lookup", err));
    for (size_t i = 0; i < count; i++) {
        probes[i].key = span_of(bytes.data + ends[i], ends[i + 1] - ends[i]);
        probes[i].hash = hash_keyed(finder->snapshot->index->hash_key, probes[i].key);
    }
    CLEANUP(probe_result_deinit) struct probe_result hits = {0};
    TRY(probe_keys(finder->snapshot, probes, count, &hits, err));
    for (size_t i = 0; i < count; i++) {
        const struct probe_hit *hit = newest_hit(&hits, i);
        if (hit != NULL) {
            struct found *found = &finder->items[i];
            found->present = true;
            found->sequence = hit->entry.sequence;
            TRY(read_row(finder, hit->file, hit->entry.row, found, err));
        }
    }
    return ERR_OK;
}

enum err_code lookup_keys(const struct snapshot *snapshot, const struct frame *keys,
                          struct lookup_result *result_out, struct err *err)
{
    assert(keys->rows_count <= LOOKUP_KEYS_MAX);
    if (snapshot->schema->key_count == 0) {
        return err_set(err, ERR_UNSUPPORTED, "the table has no key");
    }
    CLEANUP(finder_deinit) struct finder finder;
    finder_init(&finder, snapshot);
    for (int64_t i = 0; i < keys->rows_count; i++) {
        (void)add_item(&finder); /* one per key, found or not */
    }
    if (keys->rows_count > 0) {
        TRY(snapshot->index == NULL ? scan_keys(&finder, keys, err)
                                    : probe_frame(&finder, keys, err));
    }
    give_rows(&finder, result_out);
    return ERR_OK;
}

/* ---- by lookup value ---- */

static enum err_code is_value_of(const struct snapshot *snapshot, size_t column,
                                 const struct row_value *value, struct span image, bool *equal_out,
                                 struct err *err)
{
    struct row_value stored;
    bool found = false;
    TRY(image_value(image, snapshot->schema->fields[column].id, &found, &stored, err));
    *equal_out = found && stored.type == value->type && row_value_compare(&stored, value) == 0;
    return ERR_OK;
}

/* Tables without a key order by file and row. */
static void place_by_row(struct finder *finder, const struct index_entry *entry,
                         struct found *found)
{
    uint32_t file = __builtin_bswap32(entry->file);
    uint32_t row = __builtin_bswap32(entry->row);
    if (found->image.size > 0) { /* the place goes to storage, and so must the image's bytes */
        found->image_at = finder->storage.size;
        found->image_size = found->image.size;
        buffer_append_span(&finder->storage, found->image);
        found->image = (struct span){0};
    }
    found->key_at = finder->storage.size;
    found->key_size = PLACE_BYTES;
    buffer_append(&finder->storage, &file, sizeof file);
    buffer_append(&finder->storage, &row, sizeof row);
}

static enum err_code take_entry(struct finder *finder, size_t column, const struct row_value *value,
                                const struct index_entry *entry, struct err *err)
{
    const struct snapshot_file *file = NULL;
    if (!snapshot_entry_is_alive(finder->snapshot, entry, &file)) {
        return ERR_OK;
    }
    struct found found = {.present = true, .sequence = entry->sequence};
    size_t storage_before = finder->storage.size;
    TRY(read_row(finder, file, entry->row, &found, err));
    bool equal = false;
    TRY(is_value_of(finder->snapshot, column, value, image_of(finder, &found), &equal, err));
    if (!equal) {
        finder->storage.size = storage_before;
        return ERR_OK;
    }
    if (finder->count == LOOKUP_ROWS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "more than %d rows have this lookup value",
                       LOOKUP_ROWS_MAX);
    }
    if (finder->snapshot->schema->key_count == 0) {
        place_by_row(finder, entry, &found);
    }
    *add_item(finder) = found;
    return ERR_OK;
}

/* The hash of a lookup value; the key's own encoding when the column is the key. */
static uint64_t hash_value(const struct snapshot *snapshot, uint32_t kind, size_t column,
                           const struct row_value *value)
{
    struct buffer bytes;
    buffer_init(&bytes, BYTES_MAX);
    if (kind == 0) {
        struct column alone;
        column_init(&alone, &snapshot->schema->fields[column]);
        row_value_append(&alone, value);
        column_key(&alone, 0, &bytes);
        column_deinit(&alone);
    } else {
        lookup_bytes_of_value(value, &bytes);
    }
    uint64_t hash = hash_keyed(snapshot->index->hash_key, buffer_span(&bytes));
    buffer_deinit(&bytes);
    return hash;
}

static enum err_code probe_value(struct finder *finder, size_t lookup,
                                 const struct row_value *value, struct err *err)
{
    const struct snapshot *snapshot = finder->snapshot;
    size_t column = snapshot->schema->lookup[lookup].column;
    uint32_t kind = index_kind_of_lookup(snapshot->schema, lookup);
    uint64_t hash = hash_value(snapshot, kind, column, value);
    struct index_ranges ranges;
    index_view_find(snapshot->index, kind, hash, &ranges);
    for (size_t i = 0; i < ranges.count; i++) {
        for (size_t j = 0; j < ranges.items[i].count; j++) {
            TRY(take_entry(finder, column, value, &ranges.items[i].entries[j], err));
        }
    }
    return buffer_check(&finder->storage, "rows of a lookup", err);
}

static enum err_code scan_value(struct finder *finder, size_t lookup, const struct row_value *value,
                                struct err *err)
{
    struct scan_filter filter = {.column = finder->snapshot->schema->lookup[lookup].column,
                                 .operator= SCAN_EQUAL,
                                 .values = value,
                                 .values_count = 1};
    struct scan_request request = {.filters = &filter, .filters_count = 1, .limit = SCAN_ROWS_MAX};
    for (bool done = false; !done;) {
        CLEANUP(scan_result_deinit) struct scan_result page = {0};
        TRY(scan_run(finder->snapshot, &request, &page, err));
        for (int64_t row = 0; row < page.frame->rows_count; row++) {
            struct found *found = add_item(finder);
            found->present = true;
            found->sequence = row_sequence(page.frame, row);
            keep_frame_row(finder, page.frame, row, found);
            if (finder->snapshot->schema->key_count == 0) {
                struct index_entry order = {.row = (uint32_t)(finder->count - 1)};
                place_by_row(finder, &order, found);
            }
        }
        if (finder->count > LOOKUP_ROWS_MAX) {
            return err_set(err, ERR_TOO_LARGE, "more than %d rows have this lookup value",
                           LOOKUP_ROWS_MAX);
        }
        request.start = page.next;
        done = page.done;
    }
    return buffer_check(&finder->storage, "rows of a lookup", err);
}

/* Order by place and keep one page: `limit` rows behind `after`. */
static void cut_page(struct finder *finder, const struct lookup_options *options, bool *more_out)
{
    size_t limit = options == NULL || options->limit == 0 ? LOOKUP_ROWS_MAX : options->limit;
    if (finder->count <= 1 && (options == NULL || options->after.size == 0)) {
        *more_out = false; /* nothing to order, nothing to cut */
        return;
    }
    struct span *places = mem_zeroed(finder->count + 1, sizeof *places);
    uint32_t *order = mem_zeroed(finder->count + 1, sizeof *order);
    for (size_t i = 0; i < finder->count; i++) {
        places[i] = key_of(finder, &finder->items[i]);
    }
    order_spans(places, finder->count, order);
    struct found *page = mem_zeroed(finder->count + 1, sizeof *page);
    size_t count = 0;
    *more_out = false;
    for (size_t i = 0; i < finder->count; i++) {
        bool behind = options == NULL || options->after.size == 0 ||
                      span_compare(places[order[i]], options->after) > 0;
        if (behind && count == limit) {
            *more_out = true;
            break;
        }
        if (behind) {
            page[count++] = finder->items[order[i]];
        }
    }
    mem_free(finder->items);
    mem_free(places);
    mem_free(order);
    finder->items = page;
    finder->count = count;
}

enum err_code lookup_value(const struct snapshot *snapshot, size_t lookup,
                           const struct row_value *value, const struct lookup_options *options,
                           struct lookup_result *result_out, struct err *err)
{
    assert(lookup < snapshot->schema->lookup_count);
    assert(value->type == snapshot->schema->fields[snapshot->schema->lookup[lookup].column].type);
    CLEANUP(finder_deinit) struct finder finder;
    finder_init(&finder, snapshot);
    TRY(snapshot->index == NULL ? scan_value(&finder, lookup, value, err)
                                : probe_value(&finder, lookup, value, err));
    bool more = false;
    cut_page(&finder, options, &more);
    give_rows(&finder, result_out);
    result_out->more = more;
    return ERR_OK;
}
