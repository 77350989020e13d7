/*
 * Target: row_reader (row.c) under row_decode_into and encode_json_image. The
 * input is an image without its checksum, which is put in front. Both readers
 * accept the same images; what they accept prints as JSON that parses, and its
 * image made anew prints the same. A damaged image is refused.
 */
#include "columns_fuzz.h"

#include "storage/base/hash.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/row.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct schema *schema; /* set once, before the first input */

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments; /* no options of our own */
    schema = columns_fuzz_schema();
    return 0;
}

static struct buffer sealed(struct span values)
{
    struct buffer image;
    buffer_init(&image, SIZE_MAX);
    buffer_append_u32(&image, (uint32_t)hash_checksum(values));
    buffer_append_span(&image, values);
    return image;
}

static void check_print(const struct frame *frame, struct span printed)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *json = NULL;
    enum err_code code = json_parse(printed, &json, &err);
    /* an image does not promise that a map's keys differ, and this parser wants it */
    bool keys_may_repeat = frame->columns[COLUMNS_FUZZ_MAP].children[0].rows_count > 1;
    assert(code == ERR_OK || keys_may_repeat);
    assert(code != ERR_OK || json_count(json) == schema->fields_count);

    CLEANUP(buffer_deinit) struct buffer image;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&image, SIZE_MAX);
    buffer_init(&text, SIZE_MAX);
    row_encode(frame, 0, &image);
    code = encode_json_image(buffer_span(&image), schema, NULL, &text, &err);
    assert(code == ERR_OK);
    assert(span_equal(buffer_span(&text), printed));
    buffer_reset(&text);
    encode_json_row(frame, 0, NULL, &text);
    assert(span_equal(buffer_span(&text), printed));
}

/* What the checksum does not go with is refused, whatever it says. */
static void check_damaged(const struct buffer *image)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    struct err err = {0};
    image->data[0] ^= 1;
    assert(row_decode_into(buffer_span(image), frame, &err) == ERR_CORRUPT);
    image->data[0] ^= 1;
    assert(frame->rows_count == 0);
}

/* An image that is larger than it may be is not begun. */
static void check_ceiling(const struct frame *frame)
{
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, 1);
    row_encode(frame, 0, &image);
    assert(image.overflowed && image.size == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buffer_deinit) struct buffer image = sealed(span_of(data, size));
    check_damaged(&image);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SIZE_MAX);
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    struct err err = {0};
    enum err_code decoded = row_decode_into(buffer_span(&image), frame, &err);
    enum err_code printed = encode_json_image(buffer_span(&image), schema, NULL, &text, &err);
    assert(decoded == printed);
    frame_check(frame);
    assert(frame->rows_count == (decoded == ERR_OK ? 1 : 0));
    if (decoded == ERR_OK) {
        check_print(frame, buffer_span(&text));
        check_ceiling(frame);
    } else {
        assert(text.size == 0);
    }
    return 0;
}
