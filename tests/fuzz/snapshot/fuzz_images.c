/*
 * Row images (images.c, derived.c). The input is the trailer's four numbers and
 * a body; the checksums are made right, so that what they guard is reached. The
 * records of a file that was accepted are written anew and read from their file.
 */
#include "storage/snapshot/images.h"

#include "storage/columns/row.h"
#include "storage/snapshot/keys.h"
#include "tests/fuzz/scratch_folder.h"

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
            assert(images_sequence(images, row) >= 0);
        } else {
            assert(images_sequence(images, row) == -1);
        }
    }
}

static void write_again(const struct images *images)
{
    const char *folder = scratch_folder("images-9.img", NULL);
    struct err err = {0};
    struct images_writer writer;
    struct images *written = NULL;
    images_writer_init(&writer, folder, 9);
    enum err_code code = ERR_OK;
    for (int64_t row = 0; row < images->rows_count; row++) {
        images_prefetch(images, row);
        code = images_append_record(&writer, images_record(images, row), &err);
        assert(code == ERR_OK);
    }
    code = images_finish(&writer, &written, &err);
    assert(code == ERR_OK);
    images_writer_deinit(&writer);
    code = images_store(written, folder, &err);
    assert(code == ERR_OK);
    images_release(&written);
    code = images_open(folder, 9, images->rows_count + 1, false, &written, &err);
    assert(code == ERR_CORRUPT);
    code = images_open(folder, 9, images->rows_count, true, &written, &err);
    assert(code == ERR_OK);
    struct images *shared = images_acquire(written);
    for (int64_t row = 0; row < images->rows_count; row++) {
        assert(span_equal(images_record(shared, row), images_record(images, row)));
    }
    images_release(&shared);
    images_release(&written);
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
        write_again(images);
        images_release(&images);
    }
    derived_deinit(&derived);
    return 0;
}
