/*
 * JSON merge patch: a change of a document that looks like the document.
 * Source: RFC 7396.
 */
#pragma once

#include "storage/base/json.h"

/*
 * `target` with `patch` applied: members of objects are merged, null removes one, anything
 * else replaces.
 *
 * Memory:  json_free; nothing is borrowed.
 * Thread:  reentrant.
 */
struct json *merge_patch(const struct json *target, const struct json *patch);
