/*
 * Deletion vectors in memory: one 32-bit roaring bitmap for each 2^32 rows, and
 * the encoded data of a vector. The only file that includes libroaring.
 *
 * libroaring 0.2.66 checks only bounds when it decodes, so the portable format
 * is validated here first, container by container.
 *
 * Source: delta PROTOCOL.md "Deletion Vector Format"; RoaringFormatSpec;
 * reference section 6.3.
 */
#include "storage/delta/deletion_vector.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <roaring/roaring.h>
#include <string.h>

enum {
    MAGIC = 1681511377,
    COOKIE_PLAIN = 12346,
    COOKIE_RUNS = 12347,
    CONTAINERS_MAX = 1 << 16,
    ARRAY_VALUES_MAX = 4096, /* a container of more is a bitmap */
    BITMAP_BYTES = 8192,
    OFFSETS_FROM = 4, /* with runs, offsets are written from so many containers on */
    ADD_CHUNK_ROWS = 4096,
};

struct bucket {
    uint32_t key; /* row >> 32, below 2^31 */
    roaring_bitmap_t *bitmap;
};

struct deletion_vector {
    struct bucket *buckets; /* ascending by key */
    size_t count;
    size_t capacity;
};

struct deletion_vector *deletion_vector_new(void)
{
    return mem_zeroed(1, sizeof(struct deletion_vector));
}

void deletion_vector_free(struct deletion_vector **vector)
{
    if (*vector != NULL) {
        for (size_t i = 0; i < (*vector)->count; i++) {
            roaring_bitmap_free((*vector)->buckets[i].bitmap);
        }
        mem_free((*vector)->buckets);
        mem_free(*vector);
        *vector = NULL;
    }
}

/* Position of the first bucket whose key is not smaller. */
static size_t find_bucket(const struct deletion_vector *vector, uint32_t key)
{
    size_t position = 0;
    while (position < vector->count && vector->buckets[position].key < key) {
        position++; /* there is one bucket in every file a person will meet */
    }
    return position;
}

static const struct bucket *bucket_of(const struct deletion_vector *vector, uint32_t key)
{
    size_t position = find_bucket(vector, key);
    return position < vector->count && vector->buckets[position].key == key
               ? &vector->buckets[position]
               : NULL;
}

/* Takes `bitmap`. */
static void insert_bucket(struct deletion_vector *vector, size_t position, uint32_t key,
                          roaring_bitmap_t *bitmap)
{
    if (vector->count == vector->capacity) {
        vector->capacity = vector->capacity == 0 ? 1 : vector->capacity * 2;
        vector->buckets = mem_resize(vector->buckets, vector->capacity, sizeof *vector->buckets);
    }
    memmove(&vector->buckets[position + 1], &vector->buckets[position],
            (vector->count - position) * sizeof *vector->buckets);
    vector->buckets[position] = (struct bucket){.key = key, .bitmap = bitmap};
    vector->count++;
}

/* libroaring reports exhausted memory as NULL; mem.h says what we do then. */
static roaring_bitmap_t *must(roaring_bitmap_t *bitmap)
{
    assert(bitmap != NULL);
    return bitmap;
}

static roaring_bitmap_t *bitmap_for(struct deletion_vector *vector, uint32_t key)
{
    size_t position = find_bucket(vector, key);
    if (position == vector->count || vector->buckets[position].key != key) {
        insert_bucket(vector, position, key, must(roaring_bitmap_create()));
    }
    return vector->buckets[position].bitmap;
}

static uint32_t key_of(int64_t row)
{
    assert(row >= 0);
    return (uint32_t)(row >> 32);
}

struct deletion_vector *deletion_vector_copy(const struct deletion_vector *vector)
{
    struct deletion_vector *copy = deletion_vector_new();
    for (size_t i = 0; i < vector->count; i++) {
        insert_bucket(copy, i, vector->buckets[i].key,
                      must(roaring_bitmap_copy(vector->buckets[i].bitmap)));
    }
    return copy;
}

void deletion_vector_add(struct deletion_vector *vector, int64_t row)
{
    roaring_bitmap_add(bitmap_for(vector, key_of(row)), (uint32_t)row);
}

void deletion_vector_add_rows(struct deletion_vector *vector, const int64_t *rows, int64_t count)
{
    uint32_t low[ADD_CHUNK_ROWS];
    for (int64_t i = 0; i < count;) {
        uint32_t key = key_of(rows[i]);
        size_t filled = 0;
        while (i < count && filled < ADD_CHUNK_ROWS && key_of(rows[i]) == key) {
            low[filled++] = (uint32_t)rows[i++];
        }
        roaring_bitmap_add_many(bitmap_for(vector, key), filled, low);
    }
}

void deletion_vector_add_range(struct deletion_vector *vector, int64_t first, int64_t count)
{
    assert(first >= 0 && count >= 0 && count <= INT64_MAX - first);
    for (int64_t at = first; at < first + count;) {
        int64_t bucket_end = ((at >> 32) + 1) << 32;
        int64_t end = bucket_end < first + count ? bucket_end : first + count;
        uint64_t start = (uint32_t)at;
        roaring_bitmap_add_range(bitmap_for(vector, key_of(at)), start,
                                 start + (uint64_t)(end - at));
        at = end;
    }
}

void deletion_vector_union(struct deletion_vector *vector, const struct deletion_vector *other)
{
    for (size_t i = 0; i < other->count; i++) {
        roaring_bitmap_or_inplace(bitmap_for(vector, other->buckets[i].key),
                                  other->buckets[i].bitmap);
    }
}

bool deletion_vector_contains(const struct deletion_vector *vector, int64_t row)
{
    const struct bucket *bucket = bucket_of(vector, key_of(row));
    return bucket != NULL && roaring_bitmap_contains(bucket->bitmap, (uint32_t)row);
}

int64_t deletion_vector_cardinality(const struct deletion_vector *vector)
{
    int64_t total = 0;
    for (size_t i = 0; i < vector->count; i++) {
        total += (int64_t)roaring_bitmap_get_cardinality(vector->buckets[i].bitmap);
    }
    return total;
}

int64_t deletion_vector_count_range(const struct deletion_vector *vector, int64_t first,
                                    int64_t count)
{
    int64_t total = 0;
    assert(first >= 0 && count >= 0 && count <= INT64_MAX - first);
    for (size_t i = 0; i < vector->count; i++) {
        int64_t base = (int64_t)vector->buckets[i].key << 32;
        int64_t low = first > base ? first - base : 0;
        int64_t high = first + count - base;
        high = high < (1LL << 32) ? high : 1LL << 32;
        if (low < high) {
            total += (int64_t)roaring_bitmap_range_cardinality(vector->buckets[i].bitmap,
                                                               (uint64_t)low, (uint64_t)high);
        }
    }
    return total;
}

int64_t deletion_vector_max(const struct deletion_vector *vector)
{
    for (size_t i = vector->count; i-- > 0;) {
        const struct bucket *bucket = &vector->buckets[i];
        if (!roaring_bitmap_is_empty(bucket->bitmap)) {
            return ((int64_t)bucket->key << 32) + roaring_bitmap_maximum(bucket->bitmap);
        }
    }
    return -1;
}

bool deletion_vector_is_subset(const struct deletion_vector *part,
                               const struct deletion_vector *whole)
{
    for (size_t i = 0; i < part->count; i++) {
        const roaring_bitmap_t *bitmap = part->buckets[i].bitmap;
        const struct bucket *other = bucket_of(whole, part->buckets[i].key);
        bool inside = other != NULL ? roaring_bitmap_is_subset(bitmap, other->bitmap)
                                    : roaring_bitmap_is_empty(bitmap);
        if (!inside) {
            return false;
        }
    }
    return true;
}

bool deletion_vector_equal(const struct deletion_vector *a, const struct deletion_vector *b)
{
    return deletion_vector_is_subset(a, b) && deletion_vector_is_subset(b, a);
}

void deletion_vector_rows(const struct deletion_vector *vector, int64_t *rows_out)
{
    for (size_t i = 0; i < vector->count; i++) {
        int64_t base = (int64_t)vector->buckets[i].key << 32;
        roaring_uint32_iterator_t at;
        roaring_init_iterator(vector->buckets[i].bitmap, &at);
        for (; at.has_value; (void)roaring_advance_uint32_iterator(&at)) {
            *rows_out++ = base + at.current_value;
        }
    }
}

/* Live rows of [first, end), which lies within one bucket. */
static int64_t live_in_bucket(const struct bucket *bucket, int64_t first, int64_t end,
                              int64_t *rows_out)
{
    int64_t count = 0;
    int64_t base = (int64_t)bucket->key << 32;
    int64_t row = first;
    roaring_uint32_iterator_t at;
    roaring_init_iterator(bucket->bitmap, &at);
    (void)roaring_move_uint32_iterator_equalorlarger(&at, (uint32_t)first);
    for (; at.has_value && base + at.current_value < end;
         (void)roaring_advance_uint32_iterator(&at)) {
        for (int64_t marked = base + at.current_value; row < marked; row++) {
            rows_out[count++] = row;
        }
        row++; /* past the marked one */
    }
    for (; row < end; row++) {
        rows_out[count++] = row;
    }
    return count;
}

void deletion_vector_live_rows(const struct deletion_vector *vector, int64_t first, int64_t count,
                               int64_t *rows_out, int64_t *rows_count_out)
{
    int64_t live = 0;
    int64_t end = first + count;
    for (int64_t at = first; at < end;) {
        int64_t bucket_end = ((at >> 32) + 1) << 32;
        int64_t stop = bucket_end < end ? bucket_end : end;
        const struct bucket *bucket = vector != NULL ? bucket_of(vector, key_of(at)) : NULL;
        if (bucket != NULL) {
            live += live_in_bucket(bucket, at, stop, rows_out + live);
        } else {
            for (int64_t row = at; row < stop; row++) {
                rows_out[live++] = row;
            }
        }
        at = stop;
    }
    *rows_count_out = live;
}

size_t deletion_vector_memory_bytes(const struct deletion_vector *vector)
{
    size_t bytes = sizeof *vector + vector->capacity * sizeof *vector->buckets;
    for (size_t i = 0; i < vector->count; i++) {
        bytes += roaring_bitmap_portable_size_in_bytes(vector->buckets[i].bitmap);
    }
    return bytes;
}

/* ---- encoding ---- */

static void encode_bucket(const struct bucket *bucket, struct buffer *bytes)
{
    roaring_bitmap_t *packed = must(roaring_bitmap_copy(bucket->bitmap));
    (void)roaring_bitmap_run_optimize(packed); /* says whether it helped */
    size_t size = roaring_bitmap_portable_size_in_bytes(packed);
    buffer_append_u32(bytes, bucket->key);
    uint8_t *room = buffer_reserve(bytes, size);
    if (room != NULL) {
        buffer_advance(bytes, roaring_bitmap_portable_serialize(packed, (char *)room));
    }
    roaring_bitmap_free(packed);
}

void deletion_vector_encode(const struct deletion_vector *vector, struct buffer *bytes)
{
    buffer_append_u32(bytes, MAGIC);
    buffer_append_u64(bytes, vector->count);
    for (size_t i = 0; i < vector->count; i++) {
        encode_bucket(&vector->buckets[i], bytes);
    }
}

/* ---- decoding ---- */

/* What the head of a portable bitmap says about its containers. */
struct containers {
    uint32_t count;
    struct span run_flags;   /* one bit a container; empty: no run containers */
    struct span description; /* u16 key, u16 cardinality - 1 each */
    struct span offsets;     /* u32 each from the bitmap's start; may be empty */
};

static uint16_t u16_at(struct span bytes, size_t index)
{
    return (uint16_t)(bytes.data[index * 2] | bytes.data[index * 2 + 1] << 8);
}

static bool is_run(const struct containers *containers, uint32_t index)
{
    return containers->run_flags.size > 0 &&
           (containers->run_flags.data[index / 8] >> (index % 8) & 1) != 0;
}

static void read_head(struct cursor *cursor, struct containers *containers)
{
    uint32_t cookie = cursor_u32(cursor);
    bool has_runs = (cookie & 0xffff) == COOKIE_RUNS;
    if (has_runs) {
        containers->count = (cookie >> 16) + 1;
        containers->run_flags = cursor_bytes(cursor, (containers->count + 7) / 8);
    } else if (cookie == COOKIE_PLAIN) {
        containers->count = cursor_u32(cursor);
    } else {
        cursor_fail(cursor);
    }
    if (containers->count > CONTAINERS_MAX) {
        cursor_fail(cursor);
    }
    containers->description = cursor_bytes(cursor, (size_t)containers->count * 4);
    if (!has_runs || containers->count >= OFFSETS_FROM) {
        containers->offsets = cursor_bytes(cursor, (size_t)containers->count * 4);
    }
}

static bool is_sorted_array(struct span values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (u16_at(values, i) <= u16_at(values, i - 1)) {
            return false;
        }
    }
    return true;
}

static bool has_bits(struct span bitmap, uint32_t cardinality)
{
    uint32_t total = 0;
    for (size_t i = 0; i < bitmap.size; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, bitmap.data + i, sizeof word);
        total += (uint32_t)__builtin_popcountll(word);
    }
    return total == cardinality;
}

static bool are_runs(struct span runs, uint32_t count, uint32_t cardinality)
{
    uint32_t total = 0;
    uint32_t next = 0; /* smallest value the next run may start with */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t start = u16_at(runs, (size_t)i * 2);
        uint32_t length = u16_at(runs, (size_t)i * 2 + 1) + 1U;
        if (start < next || start + length > 1U << 16) {
            return false;
        }
        next = start + length;
        total += length;
    }
    return total == cardinality;
}

static bool check_container(struct cursor *cursor, const struct containers *containers,
                            uint32_t index)
{
    uint32_t cardinality = u16_at(containers->description, (size_t)index * 2 + 1) + 1U;
    if (is_run(containers, index)) {
        uint32_t count = cursor_u16(cursor);
        struct span runs = cursor_bytes(cursor, (size_t)count * 4);
        return !cursor->failed && are_runs(runs, count, cardinality);
    }
    if (cardinality <= ARRAY_VALUES_MAX) {
        struct span values = cursor_bytes(cursor, (size_t)cardinality * 2);
        return !cursor->failed && is_sorted_array(values, cardinality);
    }
    struct span bitmap = cursor_bytes(cursor, BITMAP_BYTES);
    return !cursor->failed && has_bits(bitmap, cardinality);
}

/* One portable bitmap from the cursor on, validated; `bitmap_out` gets its bytes. */
static bool check_bitmap(struct cursor *cursor, struct span *bitmap_out)
{
    size_t start = cursor->position;
    struct containers containers = {0};
    read_head(cursor, &containers);
    if (cursor->failed) {
        return false;
    }
    for (uint32_t i = 0; i < containers.count; i++) {
        if (i > 0 && u16_at(containers.description, (size_t)i * 2) <=
                         u16_at(containers.description, (size_t)(i - 1) * 2)) {
            return false;
        }
        if (containers.offsets.size > 0) {
            struct cursor offset = cursor_of(containers.offsets);
            cursor_skip(&offset, (size_t)i * 4);
            if (cursor_u32(&offset) != cursor->position - start) {
                return false;
            }
        }
        if (!check_container(cursor, &containers, i)) {
            return false;
        }
    }
    *bitmap_out = span_of(cursor->data + start, cursor->position - start);
    return true;
}

static enum err_code decode_bucket(struct cursor *cursor, struct deletion_vector *vector,
                                   struct err *err)
{
    uint32_t key = cursor_u32(cursor);
    bool ascending = vector->count == 0 || key > vector->buckets[vector->count - 1].key;
    struct span bytes;
    if (cursor->failed || key > INT32_MAX || !ascending || !check_bitmap(cursor, &bytes)) {
        return err_set(err, ERR_CORRUPT, "the deletion vector's bitmap %zu is malformed",
                       vector->count);
    }
    roaring_bitmap_t *bitmap =
        roaring_bitmap_portable_deserialize_safe((const char *)bytes.data, bytes.size);
    if (bitmap == NULL) {
        return err_set(err, ERR_CORRUPT, "the deletion vector's bitmap %zu cannot be read",
                       vector->count);
    }
    insert_bucket(vector, vector->count, key, bitmap);
    return ERR_OK;
}

enum err_code deletion_vector_decode(struct span bytes, struct deletion_vector **vector_out,
                                     struct err *err)
{
    CLEANUP(deletion_vector_free) struct deletion_vector *vector = deletion_vector_new();
    struct cursor cursor = cursor_of(bytes);
    uint32_t magic = cursor_u32(&cursor);
    uint64_t buckets = cursor_u64(&cursor);
    if (cursor.failed || magic != MAGIC || buckets > DELETION_VECTOR_BUCKETS_MAX) {
        return err_set(err, ERR_CORRUPT,
                       "the deletion vector has no known magic number or too many bitmaps");
    }
    for (uint64_t i = 0; i < buckets; i++) {
        TRY(decode_bucket(&cursor, vector, err));
    }
    if (cursor_left(&cursor) != 0) {
        return err_set(err, ERR_CORRUPT, "%zu bytes are left over after the deletion vector",
                       cursor_left(&cursor));
    }
    *vector_out = vector;
    vector = NULL;
    return ERR_OK;
}
