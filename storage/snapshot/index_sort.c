/*
 * The order of index entries. See index_run.h.
 */
#include "storage/snapshot/index_run.h"

#include "storage/base/mem.h"

enum {
    INSERTION_SORT_MAX = 32,
    RADIX_SORT_MIN = 2048,
};

bool index_entry_before(const struct index_entry *a, const struct index_entry *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash;
    }
    return a->file != b->file ? a->file < b->file : a->row < b->row;
}

static void sort_few(struct index_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct index_entry moved = entries[i];
        size_t at = i;
        for (; at > 0 && index_entry_before(&moved, &entries[at - 1]); at--) {
            entries[at] = entries[at - 1];
        }
        entries[at] = moved;
    }
}

/* Bottom-up merge sort from sorted pieces of INSERTION_SORT_MAX. */
static void sort_by_merging(struct index_entry *entries, struct index_entry *spare, size_t count)
{
    for (size_t at = 0; at < count; at += INSERTION_SORT_MAX) {
        size_t left = count - at;
        sort_few(entries + at, left < INSERTION_SORT_MAX ? left : INSERTION_SORT_MAX);
    }
    struct index_entry *from = entries;
    struct index_entry *to = spare;
    for (size_t width = INSERTION_SORT_MAX; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            size_t a = start;
            size_t b = middle;
            for (size_t i = start; i < end; i++) {
                bool take_a = a < middle && (b == end || !index_entry_before(&from[b], &from[a]));
                to[i] = take_a ? from[a++] : from[b++];
            }
        }
        struct index_entry *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != entries) {
        memcpy(entries, from, count * sizeof *entries);
    }
}

/*
 * Distribute by the top byte, in place, then sort each part: hashes are uniform. An index of
 * millions of entries is sorted in the memory that it has, and a little for one part.
 */
static void sort_by_top_byte(struct index_entry *entries, size_t count)
{
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++) {
        starts[(entries[i].hash >> 56) + 1]++;
    }
    size_t largest = 0;
    for (size_t i = 1; i <= 256; i++) {
        largest = starts[i] > largest ? starts[i] : largest;
        starts[i] += starts[i - 1];
    }
    size_t next[256];
    memcpy(next, starts, sizeof next);
    for (size_t part = 0; part < 256; part++) {
        while (next[part] < starts[part + 1]) {
            struct index_entry moved = entries[next[part]];
            for (size_t home = moved.hash >> 56; home != part; home = moved.hash >> 56) {
                struct index_entry displaced = entries[next[home]];
                entries[next[home]++] = moved;
                moved = displaced;
            }
            entries[next[part]++] = moved;
        }
    }
    struct index_entry *spare = mem_alloc((largest + 1) * sizeof *spare);
    for (size_t i = 0; i < 256; i++) {
        sort_by_merging(entries + starts[i], spare, starts[i + 1] - starts[i]);
    }
    mem_free(spare);
}

void index_entries_sort(struct index_entry *entries, size_t count)
{
    if (count <= INSERTION_SORT_MAX) {
        sort_few(entries, count);
        return;
    }
    if (count >= RADIX_SORT_MIN) {
        sort_by_top_byte(entries, count);
        return;
    }
    struct index_entry *spare = mem_alloc(count * sizeof *spare);
    sort_by_merging(entries, spare, count);
    mem_free(spare);
}
