/*
 * Building a column's dictionary: distinct values in order of first appearance
 * and one code a value. Gives up early when the column has too many.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/parquet/leaf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DICTIONARY_ENTRIES_MAX = 1 << 16 };

/* Scratch of one writer, reused from column to column; zeroed to start. */
struct dictionary {
    uint32_t *slots;    /* open addressing; entry + 1, 0 = free */
    size_t slots_count; /* in use, a power of two */
    size_t slots_capacity;
    uint32_t *hashes; /* of each entry */
    uint8_t *entries; /* slots or pieces of the distinct values */
    uint32_t *marks;  /* dictionary_visit: last round an entry was seen in */
    uint32_t round;
    size_t entries_capacity;
    uint32_t *codes; /* entry of each value */
    size_t codes_capacity;
    uint32_t count;     /* entries */
    size_t plain_bytes; /* of the dictionary page */
};
void dictionary_deinit(struct dictionary *dictionary);

/*
 * Build over all values; true when storing codes is clearly smaller than the
 * values. Booleans never are. Afterwards codes[0 … values->count - 1] are set.
 */
bool dictionary_build(struct dictionary *dictionary, const struct leaf_values *values);

/* Entries as leaf values, for PLAIN encoding and bounds. Borrowed until the next build. */
struct leaf_values dictionary_values(const struct dictionary *dictionary,
                                     const struct leaf_values *values);

/* Bytes `values` take in PLAIN encoding. */
size_t leaf_plain_bytes(const struct leaf_values *values);
