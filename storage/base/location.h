/*
 * Where one record lies in a segment log: what the catalog keeps and the
 * journal reads back. A value type; the two rooms share nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct location {
    int64_t segment; /* number of the segment file, from 1; 0 = nowhere */
    int64_t offset;  /* bytes from the start of the file to the record's header */
    int64_t size;    /* payload bytes */
};

static inline bool location_is_set(const struct location *location)
{
    return location->segment > 0;
}

/* Order of appending within one log. */
static inline int location_compare(const struct location *a, const struct location *b)
{
    if (a->segment != b->segment) {
        return a->segment < b->segment ? -1 : 1;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}
