/*
 * Sorting byte strings. See order.h.
 */
#include "storage/snapshot/order.h"

#include "storage/base/mem.h"

#include <assert.h>

enum { INSERTION_MAX = 16, PREFIX_BYTES = 8 };

struct item {
    uint64_t prefix; /* big endian, so that integers order as bytes do */
    uint32_t index;
};

static size_t common_prefix(const struct span *spans, size_t count)
{
    size_t common = count == 0 ? 0 : spans[0].size;
    for (size_t i = 1; i < count && common > 0; i++) {
        common = spans[i].size < common ? spans[i].size : common;
        size_t same = 0;
        while (same < common && spans[i].data[same] == spans[0].data[same]) {
            same++;
        }
        common = same;
    }
    return common;
}

static uint64_t prefix_of(struct span span, size_t skip)
{
    uint8_t bytes[PREFIX_BYTES] = {0};
    size_t left = span.size - skip;
    if (left > 0) {
        memcpy(bytes, span.data + skip, left < PREFIX_BYTES ? left : PREFIX_BYTES);
    }
    uint64_t prefix = 0;
    memcpy(&prefix, bytes, sizeof prefix);
    return __builtin_bswap64(prefix);
}

static bool not_after(const struct item *a, const struct item *b, const struct span *spans)
{
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix;
    }
    return span_compare(spans[a->index], spans[b->index]) <= 0;
}

static void sort_few(struct item *items, size_t count, const struct span *spans)
{
    for (size_t i = 1; i < count; i++) {
        struct item moved = items[i];
        size_t at = i;
        for (; at > 0 && !not_after(&items[at - 1], &moved, spans); at--) {
            items[at] = items[at - 1];
        }
        items[at] = moved;
    }
}

static void merge_halves(const struct item *from, struct item *to, size_t middle, size_t end,
                         const struct span *spans)
{
    size_t a = 0;
    size_t b = middle;
    for (size_t i = 0; i < end; i++) {
        bool take_a = a < middle && (b == end || not_after(&from[a], &from[b], spans));
        to[i] = take_a ? from[a++] : from[b++];
    }
}

static struct item *sort_items(struct item *items, struct item *spare, size_t count,
                               const struct span *spans)
{
    for (size_t at = 0; at < count; at += INSERTION_MAX) {
        size_t left = count - at;
        sort_few(items + at, left < INSERTION_MAX ? left : INSERTION_MAX, spans);
    }
    struct item *from = items;
    struct item *to = spare;
    for (size_t width = INSERTION_MAX; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t left = count - start;
            size_t end = left < 2 * width ? left : 2 * width;
            merge_halves(from + start, to + start, end < width ? end : width, end, spans);
        }
        struct item *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

void order_spans(const struct span *spans, size_t count, uint32_t *order_out)
{
    assert(count <= UINT32_MAX);
    size_t skip = common_prefix(spans, count);
    struct item *items = mem_alloc((count + 1) * sizeof *items);
    struct item *spare = mem_alloc((count + 1) * sizeof *spare);
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.prefix = prefix_of(spans[i], skip), .index = (uint32_t)i};
    }
    const struct item *sorted = sort_items(items, spare, count, spans);
    for (size_t i = 0; i < count; i++) {
        order_out[i] = sorted[i].index;
    }
    mem_free(items);
    mem_free(spare);
}
