/*
 * The `pattern` rule of string fields: a regular expression that the whole
 * value must match. The only file that includes PCRE2 is pattern.c.
 *
 * The dialect, as README and the contract document it:
 *   - PCRE2 syntax in UTF mode; a code point is one character.
 *   - Anchored at both ends: "[A-Z]{2}" accepts "MA" and refuses "MAX".
 *   - Refused: back references, callouts, recursion and subroutine calls,
 *     conditions, verbs and start options "(*…)", \C, \Q and \c, comments and
 *     the option x that allows them: their cost is not bounded by the value's
 *     length, or they can hide what is refused.
 *   - At most SCHEMA_PATTERN_BYTES_MAX bytes, PATTERN_GROUP_DEPTH_MAX open groups.
 *   - Matching is limited: PATTERN_MATCH_STEPS_MAX steps, PATTERN_HEAP_KIB_MAX
 *     KiB. A value that needs more does not match: the record is refused with
 *     code `pattern`, never the lane stopped.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>

enum {
    PATTERN_GROUP_DEPTH_MAX = 50,
    PATTERN_MATCH_STEPS_MAX = 100000,
    PATTERN_HEAP_KIB_MAX = 1024,
};

struct field_pattern; /* compiled, immutable: any thread may match with it */

/*
 * Errors:  ERR_INVALID with the offset and PCRE2's reason, or the refused construct.
 * Memory:  field_pattern_free.
 */
enum err_code field_pattern_compile(struct span text, struct field_pattern **pattern_out,
                                    struct err *err) MUST_USE;

/* Accepts NULL inside; nulls it. */
void field_pattern_free(struct field_pattern **pattern);

/* Does the whole of `text`, well-formed UTF-8, match within the limits? Thread: any. */
bool field_pattern_holds(const struct field_pattern *pattern, struct span text);
