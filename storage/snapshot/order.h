/*
 * Sorting many byte strings at once: by eight bytes behind their common prefix,
 * and by the whole only where these are equal.
 */
#pragma once

#include "storage/base/span.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Fill `order_out` with the indexes of `spans` in ascending order of bytes; equal
 * spans keep their order.
 */
void order_spans(const struct span *spans, size_t count, uint32_t *order_out);
