/*
 * Tombstone files (tombstones.c). The input is the file without its checksum;
 * what decodes must encode to records that decode to as many again.
 */
#include "storage/snapshot/tombstones.h"

#include "storage/base/hash.h"

#include <assert.h>

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
    }
    buffer_deinit(&copy.bytes);
    return 0;
}
