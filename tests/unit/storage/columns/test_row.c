#include "storage/columns/row.h"

#include "storage/base/hash.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(row, .timeout = 60);

enum { IMAGE_MAX = 1 << 20 };

/* Put the right checksum on a changed image, so that what lies behind it is looked at. */
static void seal(struct span image)
{
    uint32_t checksum = (uint32_t)hash_checksum(span_of(image.data + 4, image.size - 4));
    memcpy((void *)(uintptr_t)image.data, &checksum, sizeof checksum);
}

static enum err_code decode_code(struct span image, const struct schema *schema)
{
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    struct err err = {0};
    enum err_code code = row_decode_into(image, frame, &err);
    cr_assert_eq(frame->rows_count, code == ERR_OK ? 1 : 0);
    frame_check(frame);
    return code;
}

Test(row, images_come_back_equal)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    for (uint64_t seed = 1; seed <= 60; seed++) {
        CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 40, seed);
        CLEANUP(frame_free) struct frame *back = frame_new(schema);
        for (int64_t row = 0; row < 40; row++) {
            CLEANUP(buffer_deinit) struct buffer image;
            buffer_init(&image, IMAGE_MAX);
            row_encode(frame, row, &image);
            struct err err = {0};
            cr_assert_eq(row_decode_into(buffer_span(&image), back, &err), ERR_OK, "%s", err.msg);
            for (size_t i = 0; i < schema->fields_count; i++) {
                cr_assert_eq(column_is_valid(&back->columns[i], row),
                             column_is_valid(&frame->columns[i], row));
                cr_assert(!column_is_present(&frame->columns[i], row) ||
                              kit_values_equal(&frame->columns[i], row, &back->columns[i], row),
                          "seed %lu row %ld column %zu", seed, row, i);
            }
        }
        frame_check(back);
    }
}

Test(row, bytes_are_as_documented)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'s','type':'string'},{'name':'n','type':'long'},"
                   "{'name':'b','type':'boolean'},{'name':'d','type':'decimal(5,2)'}]}}");
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    column_append_bytes(&frame->columns[0], span_of_text("é"));
    column_append_null(&frame->columns[1]);
    column_append_u8(&frame->columns[2], 1);
    column_append_i128(&frame->columns[3], -129);
    frame_end_row(frame, FRAME_UPSERT, 0);
    static const uint8_t expected[] = {
        0x10 | COLUMN_STRING,  2, 0xc3, 0xa9, 0x20 | COLUMN_BOOLEAN, 1,
        0x10 | COLUMN_DECIMAL, 2, 0x7f, 0xff};
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, IMAGE_MAX);
    row_encode(frame, 0, &image);
    cr_expect(
        span_equal(span_of(image.data + 4, image.size - 4), span_of(expected, sizeof expected)));
}

Test(row, distant_fields_take_the_long_step)
{
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{\"schema\":{\"fields\":[");
    for (int i = 0; i < 300; i++) {
        buffer_append_format(&text, "%s{\"name\":\"f%d\",\"type\":\"long\"}", i > 0 ? "," : "", i);
    }
    buffer_append_text(&text, "]}}");
    buffer_append_byte(&text, 0);
    CLEANUP(schema_release) struct schema *schema = kit_schema((const char *)text.data);
    buffer_deinit(&text);
    CLEANUP(frame_free) struct frame *frame = frame_new(schema);
    for (int i = 0; i < 300; i++) {
        if (i == 13 || i == 28 || i == 299) {
            column_append_i64(&frame->columns[i], i);
        } else {
            column_append_null(&frame->columns[i]);
        }
    }
    frame_end_row(frame, FRAME_UPSERT, 0);
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, IMAGE_MAX);
    row_encode(frame, 0, &image);
    CLEANUP(frame_free) struct frame *back = frame_new(schema);
    struct err err = {0};
    cr_assert_eq(row_decode_into(buffer_span(&image), back, &err), ERR_OK, "%s", err.msg);
    cr_expect(kit_frames_equal(frame, back));
}

Test(row, older_and_newer_schemas_meet_by_field_id)
{
    CLEANUP(schema_release)
    struct schema *old = kit_schema("{'schema':{'fields':[{'name':'a','type':'long'}]}}");
    CLEANUP(schema_release)
    struct schema *new = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'string'}]}}");
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, IMAGE_MAX);
    CLEANUP(frame_free) struct frame *frame = frame_new(new);
    column_append_i64(&frame->columns[0], 5);
    column_append_bytes(&frame->columns[1], span_of_text("later"));
    frame_end_row(frame, FRAME_UPSERT, 0);
    row_encode(frame, 0, &image);
    CLEANUP(frame_free) struct frame *back = frame_new(old);
    struct err err = {0};
    cr_assert_eq(row_decode_into(buffer_span(&image), back, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(back->columns[0].values.i64[0], 5);

    buffer_reset(&image);
    row_encode(back, 0, &image);
    frame_reset(frame);
    cr_assert_eq(row_decode_into(buffer_span(&image), frame, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(frame->columns[0].values.i64[0], 5);
    cr_expect_not(column_is_valid(&frame->columns[1], 0));
}

Test(row, every_truncation_and_flip_is_caught_by_the_checksum)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 1, 5);
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, IMAGE_MAX);
    row_encode(frame, 0, &image);
    for (size_t size = 0; size < image.size; size++) {
        cr_assert_eq(decode_code(span_of(image.data, size), schema), ERR_CORRUPT, "size %zu", size);
    }
    for (size_t bit = 0; bit < image.size * 8; bit++) {
        image.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(decode_code(buffer_span(&image), schema), ERR_CORRUPT, "bit %zu", bit);
        image.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

Test(row, lies_under_a_right_checksum_are_refused)
{
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'s','type':'string'},{'name':'i','type':'integer'},"
        "{'name':'b','type':'boolean'},{'name':'d','type':'decimal(2,0)'},"
        "{'name':'f','type':'double'}]}}");
    static const struct {
        const char *name;
        uint8_t values[24];
        size_t size;
        enum err_code code;
    } cases[] = {
        {"nothing", {0}, 0, ERR_OK},
        {"text", {0x10 | COLUMN_STRING, 1, 'a'}, 3, ERR_OK},
        {"text too short", {0x10 | COLUMN_STRING, 2, 'a'}, 3, ERR_CORRUPT},
        {"text not UTF-8", {0x10 | COLUMN_STRING, 1, 0xff}, 3, ERR_CORRUPT},
        {"length without end", {0x10 | COLUMN_STRING, 0x80}, 2, ERR_CORRUPT},
        {"length of 2^63",
         {0x10 | COLUMN_STRING, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1},
         11,
         ERR_CORRUPT},
        {"other type", {0x10 | COLUMN_BINARY, 1, 'a'}, 3, ERR_CORRUPT},
        {"no such type", {0x10 | 15, 1, 'a'}, 3, ERR_CORRUPT},
        {"step 0", {COLUMN_STRING, 1, 'a'}, 3, ERR_CORRUPT},
        {"long step of 0", {0xf0 | COLUMN_STRING, 0, 1, 'a'}, 4, ERR_CORRUPT},
        {"long step beyond ids",
         {0xf0 | COLUMN_STRING, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 'a'},
         8,
         ERR_CORRUPT},
        {"long step of 1", {0xf0 | COLUMN_STRING, 1, 1, 'a'}, 4, ERR_OK},
        {"largest integer", {0x20 | COLUMN_INTEGER, 0xfe, 0xff, 0xff, 0xff, 0x0f}, 6, ERR_OK},
        {"integer of 33 bits",
         {0x20 | COLUMN_INTEGER, 0x80, 0x80, 0x80, 0x80, 0x10},
         6,
         ERR_CORRUPT},
        {"boolean 2", {0x30 | COLUMN_BOOLEAN, 2}, 2, ERR_CORRUPT},
        {"decimal 99", {0x40 | COLUMN_DECIMAL, 1, 99}, 3, ERR_OK},
        {"decimal 100", {0x40 | COLUMN_DECIMAL, 1, 100}, 3, ERR_CORRUPT},
        {"decimal -100", {0x40 | COLUMN_DECIMAL, 1, 0x9c}, 3, ERR_CORRUPT},
        {"decimal of 16 bytes", {0x40 | COLUMN_DECIMAL, 16, 7}, 18, ERR_OK},
        {"decimal of 17 bytes", {0x40 | COLUMN_DECIMAL, 17, 7}, 19, ERR_CORRUPT},
        {"double cut", {0x50 | COLUMN_DOUBLE, 0, 0, 0}, 4, ERR_CORRUPT},
        {"unknown later field", {0x60 | COLUMN_STRING, 1, 'a'}, 3, ERR_OK},
        {"unknown later field, cut", {0x60 | COLUMN_STRING, 9, 'a'}, 3, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t image[4 + 24];
        memcpy(image + 4, cases[i].values, sizeof cases[i].values);
        seal(span_of(image, 4 + cases[i].size));
        cr_expect_eq(decode_code(span_of(image, 4 + cases[i].size), schema), cases[i].code, "%s",
                     cases[i].name);
    }
}

Test(row, a_full_buffer_is_said_not_cut)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_frame(schema, 1, 5);
    CLEANUP(buffer_deinit) struct buffer image;
    buffer_init(&image, 10);
    row_encode(frame, 0, &image);
    cr_expect(image.overflowed);
    cr_expect_eq(image.size, 0);
}
