/*
 * A scanner over the members of one JSON object in text form. Statistics are
 * kept verbatim; looking at one member must not cost a document, and decimals
 * must not pass through a double. Private to this folder.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>

struct stats_scan {
    const uint8_t *at;
    const uint8_t *end;
    bool failed; /* the text is no object, or broken before `at` */
    bool begun;
};

static inline struct stats_scan stats_scan_of(struct span object)
{
    return (struct stats_scan){.at = object.data, .end = object.data + object.size};
}

/*
 * The next member: `name` is what stands between the quotes, escapes and all;
 * `value` its text. False at the end or when the text is broken (`failed`).
 */
bool stats_scan_next(struct stats_scan *scan, struct span *name_out, struct span *value_out);

/* The text of a member, escapes in names not resolved; false when absent or the text is broken. */
bool stats_scan_find(struct span object, const char *name, struct span *value_out);
