/*
 * Target: inflate_body. The first byte chooses the encoding, the rest is the body.
 */
#include "storage/columns/inflate.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 2 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum content_encoding encoding = (data[0] & 1) != 0 ? CONTENT_ZSTD : CONTENT_GZIP;
    struct span body = span_of(data + 1, size - 1);
    CLEANUP(buffer_deinit) struct buffer plain = {0};
    struct err err = {0};
    if (inflate_body(body, encoding, BYTES_MAX, INFLATE_RATIO_MAX, &plain, &err) == ERR_OK) {
        assert(plain.size <= BYTES_MAX);
        assert(plain.size <= INFLATE_RATIO_FREE_BYTES ||
               plain.size <= body.size * INFLATE_RATIO_MAX);
    } else {
        assert(plain.data == NULL);
        assert(err.msg[0] != '\0');
    }
    return 0;
}
