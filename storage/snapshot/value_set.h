/*
 * A set of values that are too many to keep: 128-bit keyed hashes of them, in
 * memory with a ceiling. What does not fit is dealt with in several passes over
 * the data, each of which takes the values of its own part of the hash space.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/hash.h"
#include "storage/columns/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct value_set {
    struct hash_wide *slots; /* zero = empty */
    size_t slots_count;      /* a power of two */
    size_t slots_max;
    size_t count;
    uint8_t key[HASH_KEY_BYTES];
    struct buffer bytes; /* of the value in hand */
    uint32_t pass, passes_count;
    bool overflowed; /* a pass met more values than fit: double the passes and begin anew */
};

/*
 *   bytes_max      of the slots
 *   values_count   about how many there will be; -1 = not known
 */
void value_set_init(struct value_set *set, size_t bytes_max, int64_t values_count);
void value_set_deinit(struct value_set *set);

/* Empty it for pass 0 … passes_count - 1. */
void value_set_begin_pass(struct value_set *set, uint32_t pass);

/* After an overflow: more passes, of which the first is to begin. */
void value_set_split(struct value_set *set);

/*
 * The hash of a row's values in some columns; false when one of them is null, or when
 * they belong to another pass. Integers of all widths are the same values.
 */
bool value_set_hash(struct value_set *set, const struct frame *frame, int64_t row,
                    const size_t *columns, size_t columns_count, struct hash_wide *hash_out);

/* True when it was not in the set. */
bool value_set_add(struct value_set *set, struct hash_wide hash);
bool value_set_has(const struct value_set *set, struct hash_wide hash);
