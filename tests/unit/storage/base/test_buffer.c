/*
 * Buffers: the ceiling is exact, the failure sticks, the fixed forms are little endian.
 */
#include "storage/base/buffer.h"

#include <criterion/criterion.h>

#include <string.h>

Test(buffer, ceiling_is_exact_and_failure_sticks)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    struct err err = {0};
    buffer_init(&buffer, 10);
    buffer_append(&buffer, "0123456789", 10);
    cr_expect_eq(buffer_check(&buffer, "answer", &err), ERR_OK);
    buffer_append(&buffer, "x", 0);
    cr_expect_not(buffer.overflowed);
    buffer_append_byte(&buffer, 'x');
    cr_expect(buffer.overflowed);
    cr_expect_eq(buffer.size, 10);
    cr_expect_eq(buffer_check(&buffer, "answer", &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.msg, "answer"));
    buffer_reset(&buffer);
    cr_expect_eq(buffer_check(&buffer, "answer", &err), ERR_OK);
    buffer_append_text(&buffer, "again");
    cr_expect(span_equal_text(buffer_span(&buffer), "again"));
}

Test(buffer, nothing_that_follows_an_overflow_is_kept)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    buffer_init(&buffer, 4);
    buffer_append_text(&buffer, "12345");
    buffer_append_text(&buffer, "1");
    cr_expect_eq(buffer.size, 0);
    cr_expect_null(buffer_reserve(&buffer, 1));
}

Test(buffer, reserve_gives_memory_even_for_nothing)
{
    static const size_t ceilings[] = {0, 1, 100};
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(buffer_deinit) struct buffer buffer;
        buffer_init(&buffer, ceilings[i]);
        cr_expect_not_null(buffer_reserve(&buffer, 0));
        cr_expect_not(buffer.overflowed);
    }
}

Test(buffer, reserve_of_absurd_sizes_overflows_only_the_buffer)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    buffer_init(&buffer, 100);
    buffer_append_text(&buffer, "abc");
    cr_expect_null(buffer_reserve(&buffer, SIZE_MAX));
    cr_expect(buffer.overflowed);
}

Test(buffer, grows_and_keeps_what_it_holds)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    buffer_init(&buffer, 1 << 20);
    for (unsigned i = 0; i < 100000; i++) {
        buffer_append_byte(&buffer, (uint8_t)(i * 7));
    }
    cr_assert_eq(buffer.size, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        cr_assert_eq(buffer.data[i], (uint8_t)(i * 7));
    }
}

Test(buffer, integers_are_little_endian)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    buffer_init(&buffer, 64);
    buffer_append_u16(&buffer, 0x0102);
    buffer_append_u32(&buffer, 0x03040506);
    buffer_append_u64(&buffer, 0x0708090a0b0c0d0eU);
    static const uint8_t expected[] = {2, 1, 6, 5, 4, 3, 14, 13, 12, 11, 10, 9, 8, 7};
    cr_expect(span_equal(buffer_span(&buffer), span_of(expected, sizeof expected)));
}

Test(buffer, format_and_varint)
{
    CLEANUP(buffer_deinit) struct buffer buffer;
    buffer_init(&buffer, 64);
    buffer_append_format(&buffer, "%s-%d", "a", 7);
    cr_expect(span_equal_text(buffer_span(&buffer), "a-7"));
    buffer_reset(&buffer);
    buffer_append_varint(&buffer, 0);
    buffer_append_varint(&buffer, 127);
    buffer_append_varint(&buffer, 300);
    buffer_append_varint(&buffer, UINT64_MAX);
    cr_expect(span_equal(buffer_span(&buffer),
                         span_of("\x00\x7f\xac\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 14)));
}
