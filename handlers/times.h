/*
 * Moments in answers: RFC 3339, UTC, six fraction digits.
 */
#pragma once

#include "storage/base/json.h"

#include <stdint.h>

/* Set member `name` to the moment, or to null when `us` is 0 (never). */
void times_set(struct json *object, const char *name, int64_t us);
/* The same for an object that is written without a tree (json_write_name). */
void times_write_member(struct buffer *answer, const char *name, int64_t us);
