#include "storage/columns/packed.h"

#include <criterion/criterion.h>

TestSuite(packed);

static const struct packed_limits all_i64 = {
    .low = INT64_MIN, .high = INT64_MAX, .width_max = sizeof(int64_t)};

Test(packed, width_is_the_smallest_that_holds_the_range)
{
    static const struct {
        const char *name;
        int64_t first, second;
        size_t bytes; /* head, smallest, two rows */
    } cases[] = {
        {"both zero", 0, 0, 1},
        {"equal", 7, 7, 2},
        {"range 255", 1, 256, 1 + 1 + 2},
        {"range 256", 1, 257, 1 + 1 + 4},
        {"range 65535", 0, 65535, 1 + 4},
        {"range 65536", 0, 65536, 1 + 8},
        {"range 2^32 - 1", -1, (int64_t)UINT32_MAX - 1, 1 + 1 + 8},
        {"range 2^32", -1, UINT32_MAX, 1 + 1 + 16},
        {"whole range", INT64_MIN, INT64_MAX, 1 + 8 + 16},
        {"equal lowest", INT64_MIN, INT64_MIN, 1 + 8},
        {"minus 128 and 127", -128, 127, 1 + 1 + 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int swap = 0; swap < 2; swap++) {
            const int64_t values[] = {swap ? cases[i].second : cases[i].first,
                                      swap ? cases[i].first : cases[i].second};
            CLEANUP(buffer_deinit) struct buffer bytes;
            buffer_init(&bytes, 100);
            packed_store_i64(values, 2, &bytes);
            cr_expect_eq(bytes.size, cases[i].bytes, "%s: %zu", cases[i].name, bytes.size);
            struct cursor cursor = cursor_of(buffer_span(&bytes));
            struct packed packed;
            int64_t back[2] = {0};
            cr_assert(packed_read(&cursor, 2, &all_i64, &packed), "%s", cases[i].name);
            packed_load_i64(&packed, 2, back);
            cr_expect_eq(cursor_left(&cursor), 0);
            cr_expect_eq(back[0], values[0], "%s", cases[i].name);
            cr_expect_eq(back[1], values[1], "%s", cases[i].name);
        }
    }
}

Test(packed, limits_hold_for_both_ends)
{
    static const struct {
        const char *name;
        int64_t low, high;
        unsigned width_max;
        bool read;
    } cases[] = {
        {"fits exactly", -5, 300, 2, true},   {"smallest below", -4, 300, 2, false},
        {"largest above", -5, 299, 2, false}, {"smallest above", 301, 400, 2, false},
        {"too wide", -5, 300, 1, false},
    };
    const int64_t values[] = {300, -5, 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer bytes;
        buffer_init(&bytes, 100);
        packed_store_i64(values, 3, &bytes);
        struct cursor cursor = cursor_of(buffer_span(&bytes));
        const struct packed_limits limits = {
            .low = cases[i].low, .high = cases[i].high, .width_max = cases[i].width_max};
        struct packed packed;
        cr_expect_eq(packed_read(&cursor, 3, &limits, &packed), cases[i].read, "%s", cases[i].name);
    }
}

Test(packed, refuses_every_truncation_and_bad_heads)
{
    const int64_t values[] = {1, 1000, -70000};
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 100);
    packed_store_i64(values, 3, &bytes);
    struct packed packed;
    for (size_t size = 0; size < bytes.size; size++) {
        struct cursor cursor = cursor_of(span_of(bytes.data, size));
        cr_expect_not(packed_read(&cursor, 3, &all_i64, &packed), "size %zu", size);
    }
    static const uint8_t heads[] = {6, 7, 17 << 3, 31 << 3 | 1};
    for (size_t i = 0; i < sizeof heads; i++) {
        uint8_t copy[64] = {heads[i]};
        struct cursor cursor = cursor_of(span_of(copy, sizeof copy));
        cr_expect_not(packed_read(&cursor, 3, &all_i64, &packed), "head %u", heads[i]);
    }
}

Test(packed, integer_bytes_are_minimal_and_read_back)
{
    static const struct {
        int64_t value;
        unsigned bytes;
    } cases[] = {{0, 0},       {1, 1},         {-1, 1},       {127, 1},   {128, 2},
                 {-128, 1},    {-129, 2},      {32767, 2},    {32768, 3}, {-32768, 2},
                 {1 << 30, 4}, {INT64_MAX, 8}, {INT64_MIN, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        __int128 value = cases[i].value;
        cr_expect_eq(packed_integer_bytes(value), cases[i].bytes, "%ld", cases[i].value);
        cr_expect(packed_integer_load(span_of(&value, cases[i].bytes)) == value, "%ld",
                  cases[i].value);
    }
    __int128 large = (__int128)INT64_MAX * INT64_MAX;
    for (int shift = 0; shift < 126; shift++) {
        const __int128 values[] = {large >> shift, -(large >> shift)};
        for (int i = 0; i < 2; i++) {
            unsigned size = packed_integer_bytes(values[i]);
            cr_expect(packed_integer_load(span_of(&values[i], size)) == values[i]);
            cr_expect(size == 0 || packed_integer_load(span_of(&values[i], size - 1)) != values[i]);
        }
    }
}
