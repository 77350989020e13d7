/*
 * W3C Trace Context: accept a well-formed traceparent, mint one otherwise. It
 * names a request in other systems' logs and is never trusted for anything.
 */
#pragma once

#include "storage/base/id.h"
#include "storage/base/span.h"

#include <stdbool.h>

enum { TRACE_PARENT_BYTES = 56 }; /* 55 characters and NUL */

/* spec: W3C trace-context section 3.2 — version 00, lower-case hex, ids not all zero */
bool trace_is_sound(struct span header);

/* The header's trace when it is sound, else one made of the request's own id. */
void trace_accept(struct span header, const struct id *request_id,
                  char trace_parent_out[TRACE_PARENT_BYTES]);
