/*
 * Hybrid runs: other writers' bytes, round trips of every width, cut and lying input.
 */
#include "storage/parquet/hybrid.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <string.h>

enum { COUNT = 1000 };

Test(hybrid, reads_golden_runs)
{
    static const struct {
        const char *name;
        uint8_t bytes[8];
        size_t size;
        unsigned width;
        uint32_t values[12];
        size_t count;
    } cases[] = {
        /* Encodings.md: the numbers 0 to 7 in 3 bits */
        {"bit-packed group", {0x03, 0x88, 0xc6, 0xfa}, 4, 3, {0, 1, 2, 3, 4, 5, 6, 7}, 8},
        {"repeated value", {0x0a, 0x07}, 2, 3, {7, 7, 7, 7, 7}, 5},
        {"run of two bytes", {0x04, 0x34, 0x12}, 3, 13, {0x1234, 0x1234}, 2},
        {"run, then group", {0x04, 0x01, 0x03, 0x0f}, 4, 1, {1, 1, 1, 1, 1, 1, 0, 0}, 8},
        {"cut last group", {0x05, 0xff, 0x01}, 3, 1, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0}, 10},
        {"group cut by the end of the bytes", {0x05, 0xff}, 2, 1, {1, 1, 1, 1, 1, 1, 1, 1}, 8},
        {"no bits", {0}, 0, 0, {0, 0, 0}, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t values[12];
        struct hybrid hybrid = hybrid_of(span_of(cases[i].bytes, cases[i].size), cases[i].width);
        cr_expect(hybrid_read_u32(&hybrid, values, cases[i].count), "%s", cases[i].name);
        cr_expect_arr_eq(values, cases[i].values, cases[i].count * sizeof values[0], "%s",
                         cases[i].name);
    }
}

Test(hybrid, refuses_damaged_runs)
{
    static const struct {
        const char *name;
        uint8_t bytes[8];
        size_t size;
        unsigned width;
        size_t count;
    } cases[] = {
        {"nothing", {0}, 0, 1, 1},
        {"run of no values", {0x00, 0x01}, 2, 1, 1},
        {"run without its value", {0x04}, 1, 3, 2},
        {"value wider than stated", {0x04, 0x08}, 2, 3, 2},
        {"fewer values than asked for", {0x04, 0x01}, 2, 1, 3},
        {"group without bytes", {0x03}, 1, 3, 1},
        {"header that does not end", {0xff, 0xff}, 2, 1, 1},
        {"run of 2^40 values", {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01}, 8, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t values[8];
        struct hybrid hybrid = hybrid_of(span_of(cases[i].bytes, cases[i].size), cases[i].width);
        cr_expect_not(hybrid_read_u32(&hybrid, values, cases[i].count), "%s", cases[i].name);
    }
}

/* Legacy levels: most significant bit first. */
Test(hybrid, reads_legacy_bit_packed_levels)
{
    static const uint8_t bytes[] = {0x05, 0x39, 0x77};
    static const uint8_t expected[] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint8_t values[8];
    struct hybrid hybrid = hybrid_of_bit_packed(span_of(bytes, 3), 3, 8);
    cr_expect(hybrid_read_u8(&hybrid, values, 8));
    cr_expect_arr_eq(values, expected, 8);
    hybrid = hybrid_of_bit_packed(span_of(bytes, 2), 3, 8);
    cr_expect_not(hybrid_read_u8(&hybrid, values, 8));
}

/* Values that change rarely, often, and not at all. */
static void fill(uint32_t *values, unsigned width, uint64_t seed)
{
    uint32_t mask = width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
    uint64_t stretch = 1 + seed % 3 * 17;
    for (uint64_t i = 0; i < COUNT; i++) {
        values[i] = (uint32_t)sample_random(seed, i / stretch) & mask;
        if (seed % 5 == 4) {
            values[i] = mask;
        }
    }
}

Test(hybrid, round_trips_every_width_in_pieces)
{
    uint32_t values[COUNT];
    uint32_t again[COUNT];
    for (unsigned width = 0; width <= HYBRID_WIDTH_MAX; width++) {
        for (uint64_t seed = 0; seed < 10; seed++) {
            CLEANUP(buffer_deinit) struct buffer out;
            buffer_init(&out, 1 << 16);
            fill(values, width, seed);
            hybrid_write_u32(&out, values, COUNT - seed, width);
            struct hybrid hybrid = hybrid_of(buffer_span(&out), width);
            size_t at = 0;
            while (at < COUNT - seed) {
                size_t step = 1 + sample_random(seed, at) % 100;
                step = step < COUNT - seed - at ? step : COUNT - seed - at;
                cr_assert(hybrid_read_u32(&hybrid, again + at, step));
                at += step;
            }
            cr_expect_arr_eq(values, again, (COUNT - seed) * sizeof values[0], "width %u seed %llu",
                             width, (unsigned long long)seed);
        }
    }
}

Test(hybrid, round_trips_levels_and_bits)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        CLEANUP(buffer_deinit) struct buffer levels;
        CLEANUP(buffer_deinit) struct buffer bits;
        buffer_init(&levels, 1 << 16);
        buffer_init(&bits, 1 << 16);
        uint8_t values[COUNT];
        uint8_t bitmap[COUNT / 8] = {0};
        for (size_t i = 0; i < COUNT; i++) {
            values[i] = sample_random(seed, i / (1 + seed % 30)) % 2;
            bitmap[i / 8] = (uint8_t)(bitmap[i / 8] | values[i] << i % 8);
        }
        size_t count = COUNT - seed % 9;
        hybrid_write_u8(&levels, values, count, 1);
        hybrid_write_bits(&bits, bitmap, count);
        uint8_t again[COUNT];
        struct hybrid hybrid = hybrid_of(buffer_span(&levels), 1);
        cr_assert(hybrid_read_u8(&hybrid, again, count));
        cr_expect_arr_eq(values, again, count);
        hybrid = hybrid_of(buffer_span(&bits), 1);
        memset(again, 9, sizeof again);
        cr_assert(hybrid_read_u8(&hybrid, again, count));
        cr_expect_arr_eq(values, again, count);
    }
}

Test(hybrid, long_runs_cost_a_few_bytes)
{
    CLEANUP(buffer_deinit) struct buffer out;
    buffer_init(&out, 1 << 16);
    uint32_t values[COUNT] = {0};
    hybrid_write_u32(&out, values, COUNT, 17);
    cr_expect_leq(out.size, 8);
}
