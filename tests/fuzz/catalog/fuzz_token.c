/*
 * token_parse: the text of an Authorization header of any bytes. What it takes
 * has the one right length and the id it names.
 */
#include "storage/catalog/token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token_id id;
    if (token_parse(span_of(data, size), &id) &&
        (size != TOKEN_TEXT_BYTES || memcmp(id.text, data + 4, TOKEN_ID_BYTES) != 0)) {
        abort();
    }
    return 0;
}
