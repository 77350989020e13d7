/*
 * Split-block Bloom filters of column chunks: for readers who ask whether one value may be
 * there. Written, not read: our own lookups have an index.
 * Source: parquet-format BloomFilter.md.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/parquet/leaf.h"

#include <stddef.h>
#include <stdint.h>

enum {
    BLOOM_BLOCK_BYTES = 32,
    BLOOM_BYTES_MAX = 4 << 20, /* of one filter; a power of two, as every filter's size */
    BLOOM_PAYS_SHARE = 8, /* one pays when it is no larger than this part of the chunk: values that
                             pack into little are in few pages, and bounds tell enough */
};

/*
 * Append the filter of the values to `out`, header and bitset: about a byte a value, which is
 * wrong for one absent value in fifty or fewer. Booleans have none (asserted).
 */
void bloom_write(const struct leaf_values *values, struct buffer *out);

/* Set the bits of the values in a bitset of `bytes`, a multiple of BLOOM_BLOCK_BYTES. */
void bloom_fill(const struct leaf_values *values, uint8_t *bitset, size_t bytes);

/* Bytes of the bitset for so many values. */
size_t bloom_bytes(size_t values_count);
