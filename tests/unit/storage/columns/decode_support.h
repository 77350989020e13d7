/*
 * For the tests of the decoders: a schema from a short text, and what a body
 * decodes to as one line of text that a table of cases can hold.
 */
#pragma once

#include "storage/columns/decode.h"

/* Schema from a table definition in JSON with ' for "; aborts the test when it is refused. */
struct schema *decode_test_schema(const char *definition);

/*
 * Decode and describe:
 *   "1 upsert a|1|~; 2 patch b|?|2; !3 /n type; !3 /s required"
 * Rows by line with operation and values in schema order ("~" null, "?" absent),
 * then errors by line with pointer and code. A refused body is
 * "<error code name>: <message>". Also asserts what must always hold: counts,
 * invariants of the frame, payloads inside the body, messages without values.
 *
 * Memory:  mem_free it.
 */
char *decode_test_describe(struct span body, const struct schema *schema,
                           const struct decode_options *options);

/* As above for a text body, compared with `expected`; `name` tells which case. */
void decode_test_expect(const char *name, struct span body, const struct schema *schema,
                        const struct decode_options *options, const char *expected);
