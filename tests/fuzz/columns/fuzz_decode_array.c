/*
 * Target: decode_body with a JSON array body (decode_json.c, decode_json_text.c, decode_value.c).
 */
#include "decode_fuzz.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct schema *schema; /* set once, before the first input */

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments; /* no options of our own */
    schema = decode_fuzz_schema();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_fuzz_one(schema, DECODE_JSON_ARRAY, span_of(data, size));
    return 0;
}
