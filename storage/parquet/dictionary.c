/*
 * Dictionary building. See dictionary.h for the contract.
 *
 * The hash is not keyed: a column made to collide costs at most PROBES_FACTOR
 * probes a value, then the dictionary is given up.
 */
#include "storage/parquet/dictionary.h"

#include "storage/base/mem.h"
#include "storage/parquet/writer.h"

#include <assert.h>
#include <string.h>

enum {
    SLOTS_FIRST = 1024,
    BLOCK_VALUES = 4096,         /* between two looks at the limits */
    DISTINCT_CHECK_FROM = 16384, /* values after which mostly distinct ones end it */
    PROBES_FACTOR = 8,
};

#define HASH_A UINT64_C(0x9e3779b97f4a7c15)
#define HASH_B UINT64_C(0xe7037ed1a0b428db)

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint64_t load_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The first and last bytes of up to 16, overlapping, tell all of them. */
static inline void load_short(const uint8_t *bytes, size_t size, uint64_t *a, uint64_t *b)
{
    if (size >= 8) {
        *a = load_u64(bytes);
        *b = load_u64(bytes + size - 8);
    } else if (size >= 4) {
        *a = load_u32(bytes);
        *b = load_u32(bytes + size - 4);
    } else if (size > 0) {
        *a = (uint64_t)bytes[0] << 16 | (uint64_t)bytes[size >> 1] << 8 | bytes[size - 1];
        *b = 0;
    } else {
        *a = 0;
        *b = 0;
    }
}

static inline uint32_t hash_bytes(const uint8_t *bytes, size_t size)
{
    uint64_t a = 0;
    uint64_t b = 0;
    uint64_t hash = HASH_B ^ size;
    if (size > 16) {
        for (size_t i = 0; i + 16 < size; i += 16) {
            hash = mix(load_u64(bytes + i) ^ HASH_A ^ hash, load_u64(bytes + i + 8) ^ HASH_B);
        }
        a = load_u64(bytes + size - 16);
        b = load_u64(bytes + size - 8);
    } else {
        load_short(bytes, size, &a, &b);
    }
    return (uint32_t)mix(a ^ HASH_A ^ hash, b ^ HASH_B);
}

static inline bool equal_bytes(const uint8_t *left, const uint8_t *right, size_t size)
{
    if (size > 16) {
        return memcmp(left, right, size) == 0;
    }
    uint64_t left_a;
    uint64_t left_b;
    uint64_t right_a;
    uint64_t right_b;
    load_short(left, size, &left_a, &left_b);
    load_short(right, size, &right_a, &right_b);
    return left_a == right_a && left_b == right_b;
}

void dictionary_deinit(struct dictionary *dictionary)
{
    mem_free(dictionary->slots);
    mem_free(dictionary->hashes);
    mem_free(dictionary->entries);
    mem_free(dictionary->marks);
    mem_free(dictionary->codes);
    *dictionary = (struct dictionary){0};
}

/* Entries are at most 16 bytes in memory, whatever their kind. */
enum { ENTRY_BYTES_MAX = 16 };

static void reserve_entries(struct dictionary *dictionary, size_t count)
{
    if (count <= dictionary->entries_capacity) {
        return;
    }
    size_t capacity = dictionary->entries_capacity > 0 ? dictionary->entries_capacity : SLOTS_FIRST;
    while (capacity < count) {
        capacity *= 2;
    }
    size_t before = dictionary->entries_capacity;
    dictionary->entries = mem_resize(dictionary->entries, capacity, ENTRY_BYTES_MAX);
    dictionary->hashes = mem_resize(dictionary->hashes, capacity, sizeof(uint32_t));
    dictionary->marks = mem_resize(dictionary->marks, capacity, sizeof(uint32_t));
    memset(dictionary->marks + before, 0, (capacity - before) * sizeof(uint32_t));
    dictionary->entries_capacity = capacity;
}

static void reserve_slots(struct dictionary *dictionary, size_t count)
{
    if (count > dictionary->slots_capacity) {
        mem_free(dictionary->slots);
        dictionary->slots = mem_alloc(count * sizeof *dictionary->slots);
        dictionary->slots_capacity = count;
    }
    memset(dictionary->slots, 0, count * sizeof *dictionary->slots);
    dictionary->slots_count = count;
}

static void start(struct dictionary *dictionary, size_t values_count)
{
    if (values_count > dictionary->codes_capacity) {
        mem_free(dictionary->codes);
        dictionary->codes = mem_alloc(values_count * sizeof *dictionary->codes);
        dictionary->codes_capacity = values_count;
    }
    dictionary->count = 0;
    dictionary->plain_bytes = 0;
    reserve_slots(dictionary, SLOTS_FIRST);
}

/* Double the table until `extra` more entries leave it at most half full. */
static void make_room(struct dictionary *dictionary, size_t extra)
{
    size_t wanted = ((size_t)dictionary->count + extra) * 2;
    reserve_entries(dictionary, dictionary->count + extra);
    if (wanted <= dictionary->slots_count) {
        return;
    }
    size_t count = dictionary->slots_count;
    while (count < wanted) {
        count *= 2;
    }
    reserve_slots(dictionary, count);
    size_t mask = count - 1;
    for (uint32_t entry = 0; entry < dictionary->count; entry++) {
        size_t slot = dictionary->hashes[entry] & mask;
        while (dictionary->slots[slot] != 0) {
            slot = (slot + 1) & mask;
        }
        dictionary->slots[slot] = entry + 1;
    }
}

/*
 * Codes of values first … first + count - 1 of a fixed width; returns the
 * probes beyond the first. `width` is a constant at every call, so that the
 * compiler makes one loop a width.
 */
static inline __attribute__((always_inline)) size_t code_fixed(struct dictionary *dictionary,
                                                               const uint8_t *values, size_t first,
                                                               size_t count, const size_t width)
{
    /* locals, because stores through any of them might otherwise change the others */
    uint32_t *const slots = dictionary->slots;
    uint32_t *const hashes = dictionary->hashes;
    uint32_t *const codes = dictionary->codes;
    uint8_t *const entries = dictionary->entries;
    size_t mask = dictionary->slots_count - 1;
    size_t probes = 0;
    uint32_t known = dictionary->count;
    for (size_t i = first; i < first + count; i++) {
        const uint8_t *value = values + i * width;
        uint64_t a = width == 4 ? load_u32(value) : load_u64(value);
        uint64_t b = width == 16 ? load_u64(value + 8) : 0;
        uint32_t hash = (uint32_t)mix(a ^ HASH_A, b ^ HASH_B);
        size_t slot = hash & mask;
        for (;;) {
            uint32_t entry = slots[slot];
            if (entry == 0) {
                memcpy(entries + known * width, value, width);
                hashes[known] = hash;
                codes[i] = known;
                slots[slot] = ++known;
                break;
            }
            if (memcmp(entries + (entry - 1) * width, value, width) == 0) {
                codes[i] = entry - 1;
                break;
            }
            slot = (slot + 1) & mask;
            probes++;
        }
    }
    dictionary->count = known;
    return probes;
}

static size_t code_pieces(struct dictionary *dictionary, const struct leaf_values *values,
                          size_t first, size_t count)
{
    struct leaf_piece *const entries = (struct leaf_piece *)(void *)dictionary->entries;
    const struct leaf_piece *const pieces = values->pieces;
    const uint8_t *const bytes = values->bytes;
    uint32_t *const slots = dictionary->slots;
    uint32_t *const hashes = dictionary->hashes;
    uint32_t *const codes = dictionary->codes;
    size_t mask = dictionary->slots_count - 1;
    size_t probes = 0;
    size_t plain_bytes = dictionary->plain_bytes;
    uint32_t known = dictionary->count;
    for (size_t i = first; i < first + count; i++) {
        struct leaf_piece piece = pieces[i];
        uint32_t hash = hash_bytes(bytes + piece.start, piece.size);
        size_t slot = hash & mask;
        for (;;) {
            uint32_t entry = slots[slot];
            if (entry == 0) {
                entries[known] = piece;
                hashes[known] = hash;
                plain_bytes += sizeof(uint32_t) + piece.size;
                codes[i] = known;
                slots[slot] = ++known;
                break;
            }
            entry--;
            if (hashes[entry] == hash && entries[entry].size == piece.size &&
                equal_bytes(bytes + entries[entry].start, bytes + piece.start, piece.size)) {
                codes[i] = entry;
                break;
            }
            slot = (slot + 1) & mask;
            probes++;
        }
    }
    dictionary->count = known;
    dictionary->plain_bytes = plain_bytes;
    return probes;
}

/* Bytes of a value in PLAIN encoding, 0 for strings. */
static size_t plain_width(const struct leaf_type *type)
{
    return type->kind == LEAF_FIXED   ? (size_t)type->fixed_bytes
           : type->kind == LEAF_BYTES ? 0
                                      : leaf_slot_bytes(type->kind);
}

static size_t code_block(struct dictionary *dictionary, const struct leaf_values *values,
                         size_t first, size_t count)
{
    size_t probes = 0;
    switch (leaf_slot_bytes(values->type.kind)) {
    case 4:
        probes = code_fixed(dictionary, values->slots, first, count, 4);
        break;
    case 16:
        probes = code_fixed(dictionary, values->slots, first, count, 16);
        break;
    default:
        if (values->type.kind == LEAF_BYTES) {
            return code_pieces(dictionary, values, first, count);
        }
        probes = code_fixed(dictionary, values->slots, first, count, 8);
        break;
    }
    dictionary->plain_bytes = dictionary->count * plain_width(&values->type);
    return probes;
}

static bool is_hopeless(const struct dictionary *dictionary, size_t seen, size_t probes)
{
    return dictionary->count > DICTIONARY_ENTRIES_MAX ||
           dictionary->plain_bytes > PARQUET_WRITE_DICTIONARY_BYTES_MAX ||
           (seen >= DISTINCT_CHECK_FROM && dictionary->count > seen / 8 * 7) ||
           probes > seen * PROBES_FACTOR;
}

size_t leaf_plain_bytes(const struct leaf_values *values)
{
    if (values->type.kind == LEAF_BOOLEAN) {
        return (values->count + 7) / 8;
    }
    if (values->type.kind != LEAF_BYTES) {
        return values->count * plain_width(&values->type);
    }
    size_t size = values->count * sizeof(uint32_t);
    for (size_t i = 0; i < values->count; i++) {
        size += values->pieces[i].size;
    }
    return size;
}

bool dictionary_build(struct dictionary *dictionary, const struct leaf_values *values)
{
    if (values->type.kind == LEAF_BOOLEAN || values->count == 0) {
        return false;
    }
    start(dictionary, values->count);
    size_t probes = 0;
    for (size_t first = 0; first < values->count; first += BLOCK_VALUES) {
        size_t left = values->count - first;
        size_t count = left < BLOCK_VALUES ? left : BLOCK_VALUES;
        make_room(dictionary, count);
        probes += code_block(dictionary, values, first, count);
        if (is_hopeless(dictionary, first + count, probes)) {
            return false;
        }
    }
    size_t width = 32 - (size_t)__builtin_clz(dictionary->count);
    size_t coded = dictionary->plain_bytes + values->count * width / 8;
    return coded < leaf_plain_bytes(values) / 4 * 3;
}

struct leaf_values dictionary_values(const struct dictionary *dictionary,
                                     const struct leaf_values *values)
{
    struct leaf_values entries = *values;
    entries.count = dictionary->count;
    if (values->type.kind == LEAF_BYTES) {
        entries.pieces = (const struct leaf_piece *)(const void *)dictionary->entries;
    } else {
        entries.slots = dictionary->entries;
    }
    return entries;
}
