/*
 * Moments in answers: RFC 3339, UTC, six fraction digits.
 */
#pragma once

#include "storage/base/json.h"

#include <stdint.h>

/* Set member `name` to the moment, or to null when `us` is 0 (never). */
void times_set(struct json *object, const char *name, int64_t us);
