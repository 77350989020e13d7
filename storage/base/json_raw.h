/*
 * JSON text taken apart without being read: the members of an object and the
 * items of an array, each as the text that it is.
 *
 * For values whose digits count. A document keeps a number as int64 or double
 * (json.h); the decimals of a record, of a key or of a file's statistics go from
 * here to their column as they were written. Looking at one member costs no tree.
 *
 * The text may be anybody's. What json_parse accepts is walked as it was read. Of
 * other text a value may come out that is none (brackets inside it are counted, not
 * compared; a word may be any word), and where no value can be cut the walk ends
 * with `failed`.
 *
 * Spans are borrowed from the text. Nothing recurses.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* A walk over one container; on the stack of whoever walks. */
struct json_raw {
    const uint8_t *at;
    const uint8_t *end;
    bool object; /* else an array */
    bool begun;
    bool failed; /* the text is no such container, or broken before `at` */
};

static inline struct json_raw json_raw_members(struct span object)
{
    return (struct json_raw){.at = object.data, .end = object.data + object.size, .object = true};
}

static inline struct json_raw json_raw_items(struct span array)
{
    return (struct json_raw){.at = array.data, .end = array.data + array.size};
}

/*
 * The next member or item.
 *
 *   name_out   what stands between the quotes, escapes and all; empty for items
 *   value_out  without the blanks around it; never empty
 *
 * False at the end or when the text is broken (`failed`).
 */
bool json_raw_next(struct json_raw *raw, struct span *name_out, struct span *value_out);

/* After the walk: has it come to the closing bracket, and is there nothing behind it? */
bool json_raw_is_whole(const struct json_raw *raw);

/* Is this what a member is called, the escapes of `raw_name` resolved? */
bool json_raw_is_name(struct span raw_name, const char *name);

/* The value of the member `name`, however its name is escaped; false when absent or broken. */
bool json_raw_find(struct span object, const char *name, struct span *value_out);

/*
 * Is there a number that a double does not hold to its last digit? Trailing zeros do not
 * count. To be asked of text that json_parse has accepted, before its numbers are taken from
 * a document.
 *
 *   number_out  the first such; borrowed
 */
bool json_raw_has_inexact(struct span text, struct span *number_out);
