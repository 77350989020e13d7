/*
 * Delta encodings: pages that pyarrow wrote, and pages that lie.
 */
#include "storage/parquet/delta_encodings.h"

#include "storage/base/buffer.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

/* 100 values -20, -13, … in steps of 7: one miniblock of width 0. */
static const uint8_t steps_of_seven[] = {0x80, 0x01, 0x04, 0x64, 0x27, 0x0e, 0, 0, 0, 0};

/* "name-0" three times, "name-1" three times … "name-19": prefixes, then suffixes. */
static const uint8_t names[] = {
    0x80, 0x01, 0x04, 0x3c, 0x00, 0x01, 0x03, 0x02, 0x00, 0x00, 0x0f, 0x14, 0x28, 0x50, 0xa0, 0x40,
    0x81, 0x02, 0x05, 0x0a, 0x14, 0x2c, 0x18, 0x86, 0x61, 0x18, 0x86, 0x61, 0x18, 0x00, 0x80, 0x01,
    0x04, 0x3c, 0x0c, 0x0b, 0x04, 0x03, 0x00, 0x00, 0x60, 0x57, 0x76, 0x65, 0x57, 0x76, 0x65, 0x57,
    0x76, 0x65, 0x57, 0x76, 0x65, 0x57, 0x86, 0x64, 0xaf, 0x5f, 0xbf, 0x7e, 0xfd, 0xfa, 0xf5, 0xeb,
    0xd7, 0xaf, 0x01, 0x00, 'n',  'a',  'm',  'e',  '-',  '0',  '1',  '2',  '3',  '4',  '5',  '6',
    '7',  '8',  '9',  '1',  '0',  '1',  '2',  '3',  '4',  '5',  '6',  '7',  '8',  '9'};

Test(delta_encodings, reads_integers_of_another_writer)
{
    struct err err = {0};
    struct delta_integers stream;
    int64_t values[100];
    cr_assert_eq(
        delta_integers_begin(&stream, span_of(steps_of_seven, sizeof steps_of_seven), 100, &err),
        ERR_OK);
    cr_assert_eq(delta_integers_next(&stream, values, 1, &err), ERR_OK);
    cr_assert_eq(delta_integers_next(&stream, values + 1, 60, &err), ERR_OK);
    cr_assert_eq(delta_integers_next(&stream, values + 61, 39, &err), ERR_OK);
    for (int64_t i = 0; i < 100; i++) {
        cr_expect_eq(values[i], i * 7 - 20);
    }
    cr_expect_eq(delta_integers_next(&stream, values, 1, &err), ERR_CORRUPT);
}

Test(delta_encodings, reads_prefixed_strings_of_another_writer_in_pieces)
{
    for (size_t piece = 1; piece <= 60; piece += 7) {
        struct err err = {0};
        CLEANUP(delta_strings_deinit) struct delta_strings stream = {0};
        cr_assert_eq(delta_strings_begin(&stream, span_of(names, sizeof names), true, 60, &err),
                     ERR_OK, "%s", err.msg);
        for (size_t at = 0; at < 60; at += piece) {
            struct span values[60];
            size_t count = 60 - at < piece ? 60 - at : piece;
            cr_assert_eq(delta_strings_next(&stream, values, count, &err), ERR_OK);
            for (size_t i = 0; i < count; i++) {
                char expected[32];
                (void)snprintf(expected, sizeof expected, "name-%zu", (at + i) / 3);
                cr_expect(span_equal_text(values[i], expected), "value %zu", at + i);
            }
        }
    }
}

Test(delta_encodings, every_cut_is_refused)
{
    for (size_t size = 0; size < sizeof names; size++) {
        struct err err = {0};
        CLEANUP(delta_strings_deinit) struct delta_strings stream = {0};
        struct span values[60];
        enum err_code code = delta_strings_begin(&stream, span_of(names, size), true, 60, &err);
        if (code == ERR_OK) {
            code = delta_strings_next(&stream, values, 60, &err);
        }
        cr_expect_eq(code, ERR_CORRUPT, "%zu bytes", size);
    }
}

Test(delta_encodings, refuses_headers_that_lie)
{
    static const struct {
        const char *name;
        uint8_t bytes[8];
        size_t size;
    } cases[] = {
        {"block of no values", {0x00, 0x04, 0x01, 0x00}, 4},
        {"no miniblocks", {0x80, 0x01, 0x00, 0x01, 0x00}, 5},
        {"miniblocks of 4 values", {0x80, 0x01, 0x20, 0x01, 0x00}, 5},
        {"more values than the page", {0x80, 0x01, 0x04, 0x65, 0x00}, 5},
        {"huge block", {0x80, 0x80, 0x80, 0x80, 0x01, 0x04, 0x01, 0x00}, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct delta_integers stream;
        cr_expect_eq(
            delta_integers_begin(&stream, span_of(cases[i].bytes, cases[i].size), 100, &err),
            ERR_CORRUPT, "%s", cases[i].name);
    }
}

Test(delta_encodings, refuses_miniblocks_wider_than_64_bits)
{
    struct err err = {0};
    struct delta_integers stream;
    int64_t values[3];
    uint8_t bytes[600] = {0x80, 0x01, 0x04, 0x03, 0x00, 0x00, 65, 0, 0, 0};
    cr_assert_eq(delta_integers_begin(&stream, span_of(bytes, sizeof bytes), 100, &err), ERR_OK);
    cr_expect_eq(delta_integers_next(&stream, values, 3, &err), ERR_CORRUPT);
}

/* A first string, then a prefix longer than it. */
Test(delta_encodings, refuses_prefixes_longer_than_the_value_before)
{
    static const uint8_t bytes[] = {0x80, 0x01, 0x04, 0x02, 0x00, 0x08, 0, 0, 0, 0, /* 0, 4 */
                                    0x80, 0x01, 0x04, 0x02, 0x06, 0x05, 0, 0, 0, 0, /* 3, 0 */
                                    'a',  'b',  'c'};
    struct err err = {0};
    CLEANUP(delta_strings_deinit) struct delta_strings stream = {0};
    struct span values[2];
    cr_assert_eq(delta_strings_begin(&stream, span_of(bytes, sizeof bytes), true, 2, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_eq(delta_strings_next(&stream, values, 2, &err), ERR_CORRUPT);
}

/* One stream of integers with every difference in 64 bits. */
static void encode_wide(const int64_t *values, size_t count, struct buffer *out)
{
    enum { BLOCK = 128, MINIBLOCK = 32 };
    buffer_append_varint(out, BLOCK);
    buffer_append_varint(out, BLOCK / MINIBLOCK);
    buffer_append_varint(out, count);
    buffer_append_varint(out, (uint64_t)values[0] << 1); /* not negative */
    for (size_t i = 1; i < count; i += BLOCK) {
        buffer_append_varint(out, 0); /* the least difference */
        for (size_t mini = 0; mini < BLOCK / MINIBLOCK; mini++) {
            buffer_append_byte(out, i + mini * MINIBLOCK < count ? 64 : 0);
        }
        for (size_t k = i; k < i + BLOCK && (k < count || (k - i) % MINIBLOCK != 0); k++) {
            buffer_append_u64(out, k < count ? (uint64_t)(values[k] - values[k - 1]) : 0);
        }
    }
}

/* 200 MB of values in 80 kB: given in stretches that stay small, and never cut short. */
Test(delta_encodings, long_prefixes_are_given_a_few_at_a_time)
{
    enum { COUNT = 5000, PREFIX = 40000, BATCH = 4096 };
    static int64_t prefixes[COUNT];
    static int64_t suffixes[COUNT];
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 1 << 20);
    for (size_t i = 0; i < COUNT; i++) {
        prefixes[i] = i == 0 ? 0 : PREFIX;
        suffixes[i] = i == 0 ? PREFIX + 1 : 1;
    }
    encode_wide(prefixes, COUNT, &bytes);
    encode_wide(suffixes, COUNT, &bytes);
    for (size_t i = 0; i < PREFIX; i++) {
        buffer_append_byte(&bytes, 'y');
    }
    for (size_t i = 0; i < COUNT; i++) {
        buffer_append_byte(&bytes, (uint8_t)i);
    }
    struct err err = {0};
    CLEANUP(delta_strings_deinit) struct delta_strings stream = {0};
    cr_assert_eq(delta_strings_begin(&stream, buffer_span(&bytes), true, COUNT, &err), ERR_OK, "%s",
                 err.msg);
    size_t given = 0;
    while (given < COUNT) {
        static struct span values[BATCH];
        size_t count = BATCH < COUNT - given ? BATCH : COUNT - given;
        cr_assert_eq(delta_strings_fit(&stream, count, &count, &err), ERR_OK, "%s", err.msg);
        cr_assert_gt(count, 0);
        cr_assert_leq(count * (PREFIX + 1), 17 << 20);
        cr_assert_eq(delta_strings_next(&stream, values, count, &err), ERR_OK, "%s", err.msg);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(values[i].size, PREFIX + 1);
            cr_assert_eq(values[i].data[PREFIX], (uint8_t)(given + i));
            cr_assert_eq(values[i].data[PREFIX - 1], 'y');
        }
        given += count;
    }
    struct span none;
    cr_expect_eq(delta_strings_next(&stream, &none, 1, &err), ERR_CORRUPT);
}
