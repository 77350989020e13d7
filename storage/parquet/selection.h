/*
 * Which rows of a file are read: a stretch, or one by one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Rows to read, ascending; file rows. */
struct selection {
    const int64_t *rows; /* NULL: start … start + count - 1 */
    int64_t start;
    int64_t count;
};

static inline int64_t selection_row(const struct selection *selection, int64_t index)
{
    return selection->rows != NULL ? selection->rows[index] : selection->start + index;
}
