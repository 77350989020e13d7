/*
 * Row images (images.c, derived.c). The input is the trailer's four numbers and
 * a body; the checksums are made right, so that what they guard is reached.
 */
#include "storage/snapshot/images.h"

#include "storage/columns/row.h"
#include "storage/snapshot/keys.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(const struct images *images)
{
    for (int64_t row = 0; row < images->rows_count; row++) {
        struct span key;
        struct span image;
        struct row_value value;
        struct err err = {0};
        bool found = false;
        if (images_row(images, row, &key, &image)) {
            assert(key.size + image.size < images_record(images, row).size);
            enum err_code code = image_value(image, 2, &found, &value, &err);
            assert(code == ERR_OK || code == ERR_CORRUPT);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    uint64_t numbers[DERIVED_NUMBERS];
    struct images *images = NULL;
    if (size < sizeof numbers) {
        assert(images_decode(span_of(data, size), 1, &images, &err) != ERR_OK);
        return 0;
    }
    memcpy(numbers, data, sizeof numbers);
    CLEANUP(derived_writer_deinit) struct derived_writer writer;
    derived_writer_init(&writer, NULL, "fuzz");
    struct derived derived = {0};
    if (derived_append(&writer, data + sizeof numbers, size - sizeof numbers, &err) != ERR_OK ||
        derived_finish(&writer, IMAGES_MAGIC, numbers, &derived, &err) != ERR_OK) {
        return 0;
    }
    struct span file = span_of(derived.body.data, derived.body.size + DERIVED_TRAILER_BYTES);
    if (images_decode(file, (uint32_t)numbers[0], &images, &err) == ERR_OK) {
        read_rows(images);
        images_release(&images);
    }
    derived_deinit(&derived);
    return 0;
}
