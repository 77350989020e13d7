/*
 * Bloom filters. See bloom.h.
 */
#include "storage/parquet/bloom.h"

#include "storage/base/hash.h"
#include "storage/parquet/thrift.h"

#include <assert.h>
#include <string.h>

enum { WORDS = BLOOM_BLOCK_BYTES / 4, FIXED_BYTES_MAX = 16 };

/* spec: parquet-format BloomFilter.md — one odd constant a word of the block */
static const uint32_t salts[WORDS] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                      0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

size_t bloom_bytes(size_t values_count)
{
    size_t bytes = BLOOM_BLOCK_BYTES;
    while (bytes < values_count && bytes < BLOOM_BYTES_MAX) {
        bytes *= 2;
    }
    return bytes;
}

static void insert(uint8_t *bitset, size_t blocks, uint64_t hash)
{
    uint64_t block = (hash >> 32) * blocks >> 32;
    uint8_t *words = bitset + block * BLOOM_BLOCK_BYTES;
    for (size_t i = 0; i < WORDS; i++) {
        uint32_t word = 0;
        memcpy(&word, words + i * sizeof word, sizeof word);
        word |= UINT32_C(1) << ((uint32_t)hash * salts[i] >> 27);
        memcpy(words + i * sizeof word, &word, sizeof word);
    }
}

/* The value as PLAIN has it, without the length of texts. */
static struct span plain_value(const struct leaf_values *values, size_t index,
                               uint8_t fixed[FIXED_BYTES_MAX])
{
    if (values->type.kind == LEAF_BYTES) {
        struct leaf_piece piece = values->pieces[index];
        return span_of(values->bytes + piece.start, piece.size);
    }
    size_t size = leaf_slot_bytes(values->type.kind);
    const uint8_t *slot = (const uint8_t *)values->slots + index * size;
    if (values->type.kind == LEAF_FIXED) {
        __int128 value = 0;
        memcpy(&value, slot, sizeof value);
        leaf_store_fixed(fixed, value, (size_t)values->type.fixed_bytes);
        return span_of(fixed, (size_t)values->type.fixed_bytes);
    }
    return span_of(slot, size);
}

/* BloomFilterHeader: split block, xxHash, not compressed. */
static void write_header(size_t bytes, struct buffer *out)
{
    int last = 0;
    thrift_write_i32(out, &last, 1, (int32_t)bytes);
    for (int member = 2; member <= 4; member++) {
        thrift_write_struct(out, &last, member);
        int inner = 0;
        thrift_write_struct(out, &inner, 1); /* the only one of each union, without fields */
        thrift_write_stop(out);
        thrift_write_stop(out);
    }
    thrift_write_stop(out);
}

void bloom_fill(const struct leaf_values *values, uint8_t *bitset, size_t bytes)
{
    uint8_t fixed[FIXED_BYTES_MAX];
    for (size_t i = 0; i < values->count; i++) {
        insert(bitset, bytes / BLOOM_BLOCK_BYTES, hash_xxh64(plain_value(values, i, fixed)));
    }
}

void bloom_write(const struct leaf_values *values, struct buffer *out)
{
    assert(values->type.kind != LEAF_BOOLEAN);
    size_t bytes = bloom_bytes(values->count);
    write_header(bytes, out);
    uint8_t *bitset = buffer_reserve(out, bytes);
    if (bitset == NULL) {
        return; /* sticky in the buffer */
    }
    memset(bitset, 0, bytes);
    bloom_fill(values, bitset, bytes);
    buffer_advance(out, bytes);
}
