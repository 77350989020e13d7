/*
 * Tombstone files (tombstones.c). The input is the file without its checksum; what
 * decodes must encode to records that decode to as many again, and a set that loads the
 * file holds each key once, folded and expired or not.
 */
#include "storage/snapshot/tombstones.h"

#include "storage/base/hash.h"
#include "storage/object/object.h"

#include <assert.h>

#define NAME TABLE_PRIVATE_FOLDER "/tombstones-fuzz.bin"
enum { DELETED_US = 50 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct copy {
    struct buffer bytes;
    size_t count;
};

static void take(void *self, const struct tombstone *tombstone)
{
    struct copy *copy = self;
    tombstones_encode_record(tombstone, &copy->bytes);
    copy->count++;
}

static const uint8_t hash_key[HASH_KEY_BYTES] = {1};

/* Every tombstone of the set is found by its key. */
static void check_set(const struct tombstones *set, size_t count_max)
{
    size_t position = 0;
    size_t count = 0;
    struct tombstone at;
    while (tombstones_next(set, &position, &at)) {
        struct tombstone found;
        assert(tombstones_find(set, hash_keyed(hash_key, at.key), at.key, &found));
        assert(found.sequence == at.sequence);
        assert(span_equal(found.key, at.key));
        count++;
    }
    assert(count == tombstones_count(set));
    assert(count <= count_max);
}

/* A commit with one more tombstone: the file is taken in when it is small. */
static void write_more(struct tombstones *set, struct object_store *store, int64_t before_us)
{
    struct err err = {0};
    bool written = false;
    struct tombstones_change change = {0};
    const struct tombstone added = {
        .sequence = 3, .deleted_us = DELETED_US, .key = span_of_text("added")};
    const uint64_t hash = hash_keyed(hash_key, added.key);
    enum err_code code =
        tombstones_write(set, store, &added, 1, before_us, &change, &written, &err);
    assert(code == ERR_OK && written);
    tombstones_apply(set, &change, &added, &hash, 1);
    const char *names[TOMBSTONE_FILES_MAX];
    for (size_t i = 0; i < set->files_count; i++) {
        names[i] = set->files[i].name;
    }
    struct tombstones loaded;
    tombstones_init(&loaded, hash_key);
    code = tombstones_load(&loaded, store, names, set->files_count, before_us, &err);
    assert(code == ERR_OK);
    tombstones_expire(set, before_us);
    check_set(set, SIZE_MAX);
    check_set(&loaded, SIZE_MAX);
    struct tombstone found;
    assert(tombstones_find(&loaded, hash, added.key, &found) == (DELETED_US >= before_us));
    assert(tombstones_count(&loaded) == tombstones_count(set));
    tombstones_deinit(&loaded);
}

static void load(struct span file, size_t count)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    const char *const names[] = {NAME};
    enum err_code code = object_put(store, NAME, file, &err);
    assert(code == ERR_OK);
    static const int64_t befores[] = {0, DELETED_US, DELETED_US + 1};
    for (size_t i = 0; i < sizeof befores / sizeof befores[0]; i++) {
        int64_t before_us = befores[i];
        struct tombstones set;
        tombstones_init(&set, hash_key);
        code = tombstones_load(&set, store, names, 1, before_us, &err);
        assert(code == ERR_OK);
        check_set(&set, count);
        write_more(&set, store, before_us);
        tombstones_deinit(&set);
    }
    object_store_close(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer file;
    buffer_init(&file, TOMBSTONE_FILE_BYTES_MAX);
    buffer_append(&file, data, size);
    buffer_append_u64(&file, hash_checksum(span_of(data, size)));
    struct copy copy = {0};
    buffer_init(&copy.bytes, TOMBSTONE_FILE_BYTES_MAX);
    tombstones_encode_begin(&copy.bytes);
    if (tombstones_decode(buffer_span(&file), take, &copy, &err) == ERR_OK) {
        size_t count = copy.count;
        struct copy again = {0};
        buffer_init(&again.bytes, TOMBSTONE_FILE_BYTES_MAX);
        tombstones_encode_begin(&again.bytes);
        tombstones_encode_end(copy.count, &copy.bytes);
        assert(tombstones_decode(buffer_span(&copy.bytes), take, &again, &err) == ERR_OK);
        assert(again.count == count);
        buffer_deinit(&again.bytes);
        load(buffer_span(&file), count);
    }
    buffer_deinit(&copy.bytes);
    return 0;
}
