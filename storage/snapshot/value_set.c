/*
 * Sets of hashed values. See value_set.h.
 */
#include "storage/snapshot/value_set.h"

#include "storage/base/mem.h"
#include "storage/base/secret.h"

#include <assert.h>

enum {
    SLOTS_FIRST = 1024,
    LOAD_NUMERATOR = 3, /* of four slots this many are used at most */
    LOAD_DENOMINATOR = 4,
    VALUE_BYTES_MAX = 64 << 20,
};

static size_t capacity_of(size_t slots)
{
    return slots / LOAD_DENOMINATOR * LOAD_NUMERATOR;
}

void value_set_init(struct value_set *set, size_t bytes_max, int64_t values_count)
{
    *set = (struct value_set){.passes_count = 1, .slots_max = SLOTS_FIRST};
    while (set->slots_max * 2 * sizeof *set->slots <= bytes_max) {
        set->slots_max *= 2;
    }
    while (values_count > 0 &&
           values_count / set->passes_count > (int64_t)capacity_of(set->slots_max) / 8 * 7) {
        set->passes_count *= 2;
    }
    secret_random(set->key, sizeof set->key);
    buffer_init(&set->bytes, VALUE_BYTES_MAX);
    value_set_begin_pass(set, 0);
}

void value_set_deinit(struct value_set *set)
{
    mem_free(set->slots);
    buffer_deinit(&set->bytes);
    *set = (struct value_set){0};
}

void value_set_begin_pass(struct value_set *set, uint32_t pass)
{
    assert(pass < set->passes_count);
    if (set->slots_count == 0) {
        set->slots_count = SLOTS_FIRST;
        set->slots = mem_zeroed(set->slots_count, sizeof *set->slots);
    } else {
        memset(set->slots, 0, set->slots_count * sizeof *set->slots);
    }
    set->count = 0;
    set->pass = pass;
    set->overflowed = false;
}

void value_set_split(struct value_set *set)
{
    set->passes_count *= 2;
    value_set_begin_pass(set, 0);
}

/* ---- values as bytes ---- */

static void append_integer(int64_t integer, struct buffer *bytes)
{
    buffer_append(bytes, &integer, sizeof integer);
}

static void append_value(const struct column *column, int64_t row, struct buffer *bytes)
{
    switch (column->type) {
    case COLUMN_STRING:
    case COLUMN_BINARY: {
        struct span text = column_bytes(column, row);
        append_integer((int64_t)text.size, bytes); /* so that ("a","bc") is not ("ab","c") */
        buffer_append_span(bytes, text);
        return;
    }
    case COLUMN_BOOLEAN:
        append_integer(column->values.u8[row], bytes);
        return;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
    case COLUMN_BYTE:
    case COLUMN_SHORT:
        append_integer(column->values.i32[row], bytes);
        return;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
    case COLUMN_TIMESTAMP_NTZ:
        append_integer(column->values.i64[row], bytes);
        return;
    case COLUMN_DECIMAL:
        buffer_append(bytes, &column->values.i128[row], sizeof column->values.i128[row]);
        return;
    case COLUMN_DOUBLE:
    case COLUMN_FLOAT:
    case COLUMN_STRUCT:
    case COLUMN_ARRAY:
    case COLUMN_MAP:
    case COLUMN_TYPE_COUNT:
        break;
    }
    assert(false && "a type that is compared for equality");
}

bool value_set_hash(struct value_set *set, const struct frame *frame, int64_t row,
                    const size_t *columns, size_t columns_count, struct hash_wide *hash_out)
{
    buffer_reset(&set->bytes);
    for (size_t i = 0; i < columns_count; i++) {
        const struct column *column = &frame->columns[columns[i]];
        if (!column_is_valid(column, row)) {
            return false;
        }
        append_value(column, row, &set->bytes);
    }
    assert(!set->bytes.overflowed); /* sixteen values of a mebibyte each fit */
    struct hash_wide hash = hash_keyed_wide(set->key, buffer_span(&set->bytes));
    hash.low |= 1; /* zero is an empty slot */
    *hash_out = hash;
    return hash.high % set->passes_count == set->pass;
}

/* ---- slots ---- */

/* Where the hash is or would go. */
static size_t slot_of(const struct value_set *set, struct hash_wide hash)
{
    size_t mask = set->slots_count - 1;
    size_t slot = (size_t)(hash.low >> 1) & mask;
    while (set->slots[slot].low != 0 &&
           (set->slots[slot].low != hash.low || set->slots[slot].high != hash.high)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void grow(struct value_set *set)
{
    struct hash_wide *former = set->slots;
    size_t former_count = set->slots_count;
    set->slots_count *= 2;
    set->slots = mem_zeroed(set->slots_count, sizeof *set->slots);
    for (size_t i = 0; i < former_count; i++) {
        if (former[i].low != 0) {
            set->slots[slot_of(set, former[i])] = former[i];
        }
    }
    mem_free(former);
}

bool value_set_add(struct value_set *set, struct hash_wide hash)
{
    size_t slot = slot_of(set, hash);
    if (set->slots[slot].low != 0) {
        return false;
    }
    if (set->count == capacity_of(set->slots_count)) {
        if (set->slots_count == set->slots_max) {
            set->overflowed = true;
            return true;
        }
        grow(set);
        slot = slot_of(set, hash);
    }
    set->slots[slot] = hash;
    set->count++;
    return true;
}

bool value_set_has(const struct value_set *set, struct hash_wide hash)
{
    return set->slots[slot_of(set, hash)].low != 0;
}
