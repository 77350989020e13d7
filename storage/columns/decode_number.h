/*
 * Numbers as bodies write them: JSON grammar in, exact values of the column
 * types out. Private to the decoders.
 */
#pragma once

#include "storage/base/span.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum { DECODE_NUMBER_BYTES_MAX = 1024 }; /* characters of one double or decimal */

/* A JSON number, taken apart. value = ±mantissa × 10^exponent when exact. */
struct decode_number {
    struct span text;
    uint64_t mantissa;
    int32_t exponent;
    bool negative;
    bool integral; /* neither fraction nor exponent */
    bool exact;    /* every digit is in the mantissa */
};

/*
 * Take a JSON number apart; returns the byte after it, NULL when what stands at
 * `p` is not one. Reads nothing at or past `end`.
 */
const uint8_t *decode_number_scan(const uint8_t *p, const uint8_t *end,
                                  struct decode_number *number_out);

/* The same for a text that is one number of at most DECODE_NUMBER_BYTES_MAX and nothing else. */
bool decode_number_parse(struct span text, struct decode_number *number_out);
/* Values of the types; false when out of range. The first wants an integral number. */
bool decode_number_long(const struct decode_number *number, int64_t *value_out);
bool decode_number_double(const struct decode_number *number, double *value_out);
bool decode_number_decimal(const struct decode_number *number, const struct field *field,
                           __int128 *unscaled_out);
