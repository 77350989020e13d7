/*
 * Texts that every JSON parser of the house refuses: what RFC 8259 does not allow,
 * duplicate names, NUL in names, and numbers beyond double.
 */
#pragma once

#include "storage/base/span.h"

extern const struct span json_texts_refused[];
extern const size_t json_texts_refused_count;
