/*
 * gzip of strangers, whole and in two pieces: both give the same bytes or fail.
 */
#include "storage/remote/gunzip.h"

#include "storage/base/buffer.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_BYTES_MAX = 1 << 20 };

static enum err_code take(void *arg, struct span piece, struct err *err)
{
    struct buffer *output = arg;
    buffer_append_span(output, piece);
    return buffer_check(output, "output", err);
}

static enum err_code inflate_at(struct span bytes, size_t cut, struct buffer *output)
{
    struct err err = {0};
    CLEANUP(gunzip_free) struct gunzip *gunzip = gunzip_new();
    TRY(gunzip_push(gunzip, span_part(bytes, 0, cut), take, output, &err));
    TRY(gunzip_push(gunzip, span_part(bytes, cut, bytes.size), take, output, &err));
    return gunzip_end(gunzip, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole;
    struct buffer halves;
    buffer_init(&whole, OUTPUT_BYTES_MAX);
    buffer_init(&halves, OUTPUT_BYTES_MAX);
    struct span bytes = span_of(data, size);
    enum err_code code = inflate_at(bytes, size, &whole);
    assert(inflate_at(bytes, size / 2, &halves) == code);
    assert(code != ERR_OK || span_equal(buffer_span(&whole), buffer_span(&halves)));
    buffer_deinit(&whole);
    buffer_deinit(&halves);
    return 0;
}
