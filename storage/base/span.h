/*
 * A borrowed run of bytes. Never owns, never NUL-terminated; passed by value.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data; /* may be NULL only when size is 0 */
    size_t size;         /* bytes */
};

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){.data = data, .size = size};
}

static inline struct span span_of_text(const char *text)
{
    return (struct span){.data = (const uint8_t *)text, .size = strlen(text)};
}

/* The bytes from offset `from` up to `to`, which is not included; from <= to <= size. */
static inline struct span span_part(struct span span, size_t from, size_t to)
{
    return (struct span){.data = from > 0 ? span.data + from : span.data, .size = to - from};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool span_equal_text(struct span a, const char *text)
{
    return span_equal(a, span_of_text(text));
}

/* Order by unsigned bytes, a prefix before what it is a prefix of. */
static inline int span_compare(struct span a, struct span b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0) {
        return order;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

/* For printf's "%.*s". */
#define SPAN_PRINT(s) (int)(s).size, (const char *)(s).data
