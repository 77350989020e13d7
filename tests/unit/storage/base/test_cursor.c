/*
 * Cursors: never past the end, and the first failure is the last word.
 */
#include "storage/base/cursor.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

Test(cursor, reads_in_order)
{
    static const uint8_t bytes[] = {1, 2, 0, 3, 0, 0, 0, 0, 0,   0,  4,
                                    5, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    struct cursor cursor = cursor_of(span_of(bytes, sizeof bytes));
    struct err err = {0};
    cr_expect_eq(cursor_u8(&cursor), 1);
    cr_expect_eq(cursor_u16(&cursor), 2);
    cr_expect_eq(cursor_u32(&cursor), 3U);
    cr_expect_eq(cursor_u32_big_endian(&cursor), 4U);
    cr_expect_eq(cursor_u64(&cursor), 5U);
    cr_expect_eq(cursor_left(&cursor), 2U);
    cr_expect(span_equal_text(cursor_bytes(&cursor, 2), "ab"));
    cr_expect_eq(cursor_check(&cursor, "page", &err), ERR_OK);
}

Test(cursor, failure_is_sticky)
{
    struct cursor cursor = cursor_of(span_of_text("abc"));
    struct err err = {0};
    cr_expect_eq(cursor_u32(&cursor), 0U);
    cr_expect_eq(cursor_u8(&cursor), 0U);
    cr_expect_eq(cursor_left(&cursor), 0U);
    cr_expect_null(cursor_bytes(&cursor, 0).data);
    cr_expect_eq(cursor_check(&cursor, "page", &err), ERR_CORRUPT);
    cr_expect_str_eq(err.msg, "page ends early or is malformed");
}

Test(cursor, absurd_sizes_do_not_wrap)
{
    struct cursor cursor = cursor_of(span_of_text("abc"));
    (void)cursor_u8(&cursor); /* so that position + SIZE_MAX would wrap */
    cr_expect_eq(cursor_bytes(&cursor, SIZE_MAX).size, 0U);
    cr_expect(cursor.failed);
}

Test(cursor, varint_round_trips)
{
    static const uint64_t values[] = {0,     1,          127,       128,       16383,
                                      16384, UINT32_MAX, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer buffer;
        buffer_init(&buffer, 16);
        buffer_append_varint(&buffer, values[i]);
        struct cursor cursor = cursor_of(buffer_span(&buffer));
        cr_expect_eq(cursor_varint(&cursor), values[i]);
        cr_expect_eq(cursor_left(&cursor), 0U);
        cr_expect_not(cursor.failed);
        for (size_t cut = 0; cut < buffer.size; cut++) {
            CLEANUP(mem_cleanup) uint8_t *copy = mem_copy(buffer.data, cut);
            struct cursor short_cursor = cursor_of(span_of(copy, cut));
            cr_expect_eq(cursor_varint(&short_cursor), 0U);
            cr_expect(short_cursor.failed);
        }
    }
}

Test(cursor, varint_refuses_more_than_64_bits)
{
    static const char *const cases[] = {
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cursor cursor = cursor_of(span_of_text(cases[i]));
        cr_expect_eq(cursor_varint(&cursor), 0U);
        cr_expect(cursor.failed);
    }
}
