/*
 * Row images of one data file. See images.h for the layout.
 */
#include "storage/snapshot/images.h"

#include "storage/base/cursor.h"
#include "storage/base/mem.h"
#include "storage/columns/row.h"

#include <assert.h>

#define OFFSETS_BYTES_MAX ((size_t)UINT32_MAX * sizeof(uint64_t))

struct images *images_acquire(const struct images *images)
{
    struct images *shared = (struct images *)(uintptr_t)images; /* only the count changes */
    int before = __atomic_fetch_add(&shared->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return shared;
}

void images_release(struct images **images)
{
    struct images *released = *images;
    *images = NULL;
    if (released == NULL || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    derived_deinit(&released->derived);
    mem_free(released);
}

void images_name(uint32_t number, char name_out[DERIVED_NAME_BYTES])
{
    (void)snprintf(name_out, DERIVED_NAME_BYTES, "images-%u.img", number);
}

struct span images_record(const struct images *images, int64_t row)
{
    assert(row >= 0);
    assert(row < images->rows_count);
    uint64_t start = images->offsets[row];
    return span_of(images->derived.body.data + start, images->offsets[row + 1] - start);
}

/* The parts of a record. */
struct parts {
    struct span key;
    uint64_t sequence;
    struct span image;
};

static bool split(const struct images *images, int64_t row, struct parts *parts)
{
    struct cursor cursor = cursor_of(images_record(images, row));
    uint64_t key_size = cursor_varint(&cursor);
    parts->key = cursor_bytes(&cursor, (size_t)key_size);
    parts->sequence = cursor_varint(&cursor);
    parts->image = cursor_bytes(&cursor, cursor_left(&cursor));
    return !cursor.failed && parts->image.size > 0 && parts->sequence <= INT64_MAX;
}

bool images_row(const struct images *images, int64_t row, struct span *key_out,
                struct span *image_out)
{
    struct parts parts;
    if (!split(images, row, &parts)) {
        return false;
    }
    *key_out = parts.key;
    *image_out = parts.image;
    return true;
}

int64_t images_sequence(const struct images *images, int64_t row)
{
    struct parts parts;
    return split(images, row, &parts) ? (int64_t)parts.sequence : -1;
}

void images_prefetch(const struct images *images, int64_t row)
{
    __builtin_prefetch(images->offsets + row);
}

/* ---- writing ---- */

void images_writer_init(struct images_writer *writer, const char *folder, uint32_t number)
{
    *writer = (struct images_writer){.number = number};
    char name[DERIVED_NAME_BYTES];
    images_name(number, name);
    derived_writer_init(&writer->file, folder, name);
    buffer_init(&writer->offsets, OFFSETS_BYTES_MAX);
    buffer_append_u64(&writer->offsets, 0);
}

void images_writer_deinit(struct images_writer *writer)
{
    derived_writer_deinit(&writer->file);
    buffer_deinit(&writer->offsets);
}

enum err_code images_append_record(struct images_writer *writer, struct span record,
                                   struct err *err)
{
    TRY(derived_append(&writer->file, record.data, record.size, err));
    buffer_append_u64(&writer->offsets, writer->file.body_bytes);
    return ERR_OK;
}

enum err_code images_append(struct images_writer *writer, struct span key, int64_t sequence,
                            const struct frame *frame, int64_t row, struct err *err)
{
    struct buffer *chunk = derived_chunk(&writer->file);
    bool in_a_column = frame->schema->has_sequence;
    assert(in_a_column || sequence >= 0); /* a position */
    buffer_append_varint(chunk, key.size);
    buffer_append_span(chunk, key);
    buffer_append_varint(chunk, in_a_column ? 0 : (uint64_t)sequence);
    row_encode(frame, row, chunk);
    TRY(derived_appended(&writer->file, err));
    buffer_append_u64(&writer->offsets, writer->file.body_bytes);
    return ERR_OK;
}

static struct images *images_new(const struct derived *derived, uint32_t number)
{
    struct images *images = mem_zeroed(1, sizeof *images);
    images->number = number;
    images->rows_count = (int64_t)derived->numbers[1];
    images->derived = *derived;
    size_t offsets_bytes = ((size_t)images->rows_count + 1) * sizeof(uint64_t);
    const uint8_t *offsets = derived->body.data + derived->body.size - offsets_bytes;
    images->offsets = (const uint64_t *)(const void *)offsets;
    images->references = 1;
    return images;
}

enum err_code images_finish(struct images_writer *writer, struct images **images_out,
                            struct err *err)
{
    TRY(buffer_check(&writer->offsets, "offsets of row images", err));
    uint64_t rows = writer->offsets.size / sizeof(uint64_t) - 1;
    TRY(derived_align(&writer->file, sizeof(uint64_t), err));
    TRY(derived_append(&writer->file, writer->offsets.data, writer->offsets.size, err));
    uint64_t numbers[DERIVED_NUMBERS] = {writer->number, rows, 0, 0};
    struct derived derived = {0};
    TRY(derived_finish(&writer->file, IMAGES_MAGIC, numbers, &derived, err));
    *images_out = images_new(&derived, writer->number);
    return ERR_OK;
}

enum err_code images_store(struct images *images, const char *folder, struct err *err)
{
    char name[DERIVED_NAME_BYTES];
    images_name(images->number, name);
    return derived_store(&images->derived, folder, name, err);
}

/* ---- opening ---- */

static bool offsets_hold(const struct images *images)
{
    uint64_t offsets_at =
        images->derived.body.size - ((uint64_t)images->rows_count + 1) * sizeof(uint64_t);
    if (images->offsets[0] != 0 || images->offsets[images->rows_count] > offsets_at) {
        return false;
    }
    for (int64_t row = 0; row < images->rows_count; row++) {
        if (images->offsets[row] > images->offsets[row + 1]) {
            return false;
        }
    }
    return true;
}

/* Takes `derived`. */
static enum err_code check_images(struct derived *derived, uint32_t number,
                                  struct images **images_out, struct err *err)
{
    uint64_t rows = derived->numbers[1];
    if (derived->numbers[0] != number || derived->numbers[2] != 0 || rows >= UINT32_MAX ||
        derived->body.size % sizeof(uint64_t) != 0 ||
        derived->body.size / sizeof(uint64_t) < rows + 1) {
        derived_deinit(derived);
        return err_set(err, ERR_CORRUPT, "row images: sizes do not agree");
    }
    struct images *images = images_new(derived, number);
    if (!offsets_hold(images)) {
        images_release(&images);
        return err_set(err, ERR_CORRUPT, "row images: offsets out of order");
    }
    *images_out = images;
    return ERR_OK;
}

enum err_code images_open(const char *folder, uint32_t number, int64_t rows_count, bool whole,
                          struct images **images_out, struct err *err)
{
    char name[DERIVED_NAME_BYTES];
    images_name(number, name);
    struct derived derived = {0};
    TRY(derived_open(folder, name, IMAGES_MAGIC, whole, &derived, err));
    struct images *images = NULL;
    TRY(check_images(&derived, number, &images, err));
    if (rows_count >= 0 && images->rows_count != rows_count) {
        images_release(&images);
        return err_set(err, ERR_CORRUPT, "%s: other number of rows than its data file", name);
    }
    *images_out = images;
    return ERR_OK;
}

enum err_code images_decode(struct span file, uint32_t number, struct images **images_out,
                            struct err *err)
{
    struct derived derived = {0};
    TRY(derived_decode(file, IMAGES_MAGIC, true, &derived, err));
    return check_images(&derived, number, images_out, err);
}
