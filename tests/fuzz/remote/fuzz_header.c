/*
 * A head of header fields, and the two grammars in it: Link and Retry-After.
 */
#include "storage/remote/header.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_value(struct span head, struct span value)
{
    int64_t seconds = 0;
    struct span target;
    if (header_retry_after(value, INT64_C(1784111777) * 1000000, &seconds)) {
        assert(seconds >= 0 && seconds <= HEADER_RETRY_SECONDS_MAX);
    }
    if (header_link_find(value, "next", &target) == HEADER_LINK_FOUND) {
        assert(target.data >= head.data && target.data + target.size <= head.data + head.size);
        assert(target.size == 0 || memchr(target.data, '>', target.size) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span head = span_of(data, size);
    size_t position = 0;
    struct span value;
    try_value(head, head);
    while (header_next(head, "link", &position, &value)) {
        assert(position <= size);
        try_value(head, value);
    }
    return 0;
}
