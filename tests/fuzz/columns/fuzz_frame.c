/*
 * Target: frame_decode (frame_codec.c, packed.c). What is accepted obeys every
 * invariant, encodes again and decodes to the same bytes, and is accepted when fields
 * were dropped since.
 */
#include "columns_fuzz.h"

#include "storage/columns/frame.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A frame of few bytes may say many rows of zeros; the memory of a fuzz run is small. */
enum { PLAIN_SIZE_AT = 32, PLAIN_BYTES_MAX = 1 << 14 };

static const struct schema *schema, *thinned; /* set once, before the first input */

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments; /* no options of our own */
    schema = columns_fuzz_schema();
    thinned = columns_fuzz_schema_thinned();
    return 0;
}

static struct buffer encoded(const struct frame *frame)
{
    struct buffer bytes;
    buffer_init(&bytes, SIZE_MAX);
    frame_encode(frame, &bytes);
    assert(!bytes.overflowed);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t plain_size = 0;
    if (size >= PLAIN_SIZE_AT + sizeof plain_size) {
        memcpy(&plain_size, data + PLAIN_SIZE_AT, sizeof plain_size);
    }
    CLEANUP(frame_free) struct frame *frame = NULL;
    struct err err = {0};
    if (plain_size > PLAIN_BYTES_MAX ||
        frame_decode(span_of(data, size), schema, &frame, &err) != ERR_OK) {
        assert(frame == NULL);
        return 0;
    }
    frame_check(frame);
    CLEANUP(buffer_deinit) struct buffer first = encoded(frame);
    CLEANUP(frame_free) struct frame *again = NULL;
    enum err_code code = frame_decode(buffer_span(&first), schema, &again, &err);
    assert(code == ERR_OK);
    frame_check(again);
    CLEANUP(buffer_deinit) struct buffer second = encoded(again);
    assert(span_equal(buffer_span(&first), buffer_span(&second)));
    code = frame_decode_again(buffer_span(&first), schema, &frame, &err); /* into what was used */
    assert(code == ERR_OK);
    frame_check(frame);
    CLEANUP(buffer_deinit) struct buffer third = encoded(frame);
    assert(span_equal(buffer_span(&first), buffer_span(&third)));
    CLEANUP(frame_free) struct frame *later = NULL;
    code = frame_decode(span_of(data, size), thinned, &later, &err);
    assert(code == ERR_OK);
    frame_check(later);
    assert(later->rows_count == frame->rows_count);
    return 0;
}
