/*
 * Thrift compact: what is written reads back, strangers are skipped, lies are refused.
 */
#include "storage/parquet/thrift.h"

#include <criterion/criterion.h>

Test(thrift, reads_back_what_it_wrote)
{
    CLEANUP(buffer_deinit) struct buffer out;
    buffer_init(&out, 1 << 10);
    int last = 0;
    thrift_write_bool(&out, &last, 1, true);
    thrift_write_i32(&out, &last, 2, INT32_MIN);
    thrift_write_i64(&out, &last, 3, INT64_MAX);
    thrift_write_binary(&out, &last, 4, span_of_text("name"));
    thrift_write_list(&out, &last, 9, THRIFT_I64, 20);
    for (int i = 0; i < 20; i++) {
        thrift_put_integer(&out, -i);
    }
    thrift_write_i8(&out, &last, 10, -3);
    thrift_write_stop(&out);

    struct cursor in = cursor_of(buffer_span(&out));
    struct thrift_field field = {0};
    cr_assert(thrift_field_next(&in, &field));
    cr_expect(thrift_read_bool(&in, &field));
    cr_assert(thrift_field_next(&in, &field));
    cr_expect_eq(thrift_read_i32(&in, &field), INT32_MIN);
    cr_assert(thrift_field_next(&in, &field));
    cr_expect_eq(thrift_read_i64(&in, &field), INT64_MAX);
    cr_assert(thrift_field_next(&in, &field));
    cr_expect(span_equal_text(thrift_read_binary(&in, &field), "name"));
    cr_assert(thrift_field_next(&in, &field));
    cr_expect_eq(field.id, 9);
    cr_assert_eq(thrift_read_list(&in, &field, THRIFT_I64), 20);
    for (int i = 0; i < 20; i++) {
        cr_expect_eq(thrift_element_integer(&in), -i);
    }
    cr_assert(thrift_field_next(&in, &field));
    cr_expect_eq(thrift_read_i32(&in, &field), -3);
    cr_expect_not(thrift_field_next(&in, &field));
    cr_expect_not(in.failed);
    cr_expect_eq(cursor_left(&in), 0);
}

/* Bytes of one field each; thrift_skip must end exactly at their end, or fail. */
Test(thrift, skips_values_it_does_not_know)
{
    static const struct {
        const char *name;
        uint8_t bytes[12];
        size_t size;
        bool fails;
    } cases[] = {
        {"boolean", {0x11}, 1, false},
        {"i8", {0x13, 0xff}, 2, false},
        {"i64", {0x16, 0x80, 0x01}, 3, false},
        {"double", {0x17, 1, 2, 3, 4, 5, 6, 7, 8}, 9, false},
        {"binary", {0x18, 0x02, 'a', 'b'}, 4, false},
        {"list of structs", {0x19, 0x2c, 0x15, 0x02, 0x00, 0x00}, 6, false},
        {"list of booleans", {0x19, 0x31, 1, 2, 1}, 5, false},
        {"map of i32 to binary", {0x1b, 0x01, 0x58, 0x02, 0x01, 'x'}, 6, false},
        {"empty map", {0x1b, 0x00}, 2, false},
        {"struct with long field id", {0x1c, 0x05, 0xc8, 0x01, 0x02, 0x00}, 6, false},
        {"binary longer than the rest", {0x18, 0x05, 'a', 'b'}, 4, true},
        {"list longer than the rest", {0x19, 0xf5, 0xff, 0xff, 0x7f}, 5, true},
        {"list of no type", {0x19, 0x20, 0, 0}, 4, true},
        {"map of no type", {0x1b, 0x01, 0x00, 0x00}, 4, true},
        {"struct that does not end", {0x1c, 0x15, 0x02}, 3, true},
        {"type 13", {0x1d}, 1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cursor in = cursor_of(span_of(cases[i].bytes, cases[i].size));
        struct thrift_field field = {0};
        if (thrift_field_next(&in, &field)) {
            thrift_skip(&in, &field);
        }
        cr_expect_eq(in.failed, cases[i].fails, "%s", cases[i].name);
        cr_expect_eq(cursor_left(&in), 0, "%s", cases[i].name);
    }
}

Test(thrift, refuses_depth_beyond_the_limit)
{
    for (size_t depth = THRIFT_DEPTH_MAX - 1; depth <= THRIFT_DEPTH_MAX + 1; depth++) {
        CLEANUP(buffer_deinit) struct buffer out;
        buffer_init(&out, 1 << 10);
        for (size_t i = 0; i < depth; i++) {
            buffer_append_byte(&out, 0x1c);
        }
        for (size_t i = 0; i < depth; i++) {
            buffer_append_byte(&out, 0x00);
        }
        struct cursor in = cursor_of(buffer_span(&out));
        struct thrift_field field = {0};
        cr_assert(thrift_field_next(&in, &field));
        thrift_skip(&in, &field);
        cr_expect_eq(in.failed, depth > THRIFT_DEPTH_MAX, "depth %zu", depth);
    }
}

Test(thrift, refuses_a_value_of_another_type)
{
    static const uint8_t i64_over_i32[] = {0x16, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x01};
    struct cursor in = cursor_of(span_of(i64_over_i32, sizeof i64_over_i32));
    struct thrift_field field = {0};
    cr_assert(thrift_field_next(&in, &field));
    (void)thrift_read_i32(&in, &field);
    cr_expect(in.failed);

    static const uint8_t text[] = {0x18, 0x01, 'a'};
    in = cursor_of(span_of(text, sizeof text));
    field = (struct thrift_field){0};
    cr_assert(thrift_field_next(&in, &field));
    (void)thrift_read_i64(&in, &field);
    cr_expect(in.failed);
}
