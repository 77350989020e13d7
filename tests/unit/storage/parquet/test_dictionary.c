/*
 * Dictionaries: codes lead back to the values, and columns with too many
 * distinct values are given up early.
 */
#include "storage/parquet/dictionary.h"
#include "storage/base/mem.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

enum { COUNT = 30000 };

/* Values of one width drawn from `distinct`. */
static void *make_slots(size_t width, uint64_t distinct)
{
    uint8_t *slots = mem_zeroed(COUNT, width);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t value = sample_random(9, sample_random(8, i) % distinct);
        memcpy(slots + i * width, &value, width < sizeof value ? width : sizeof value);
    }
    return slots;
}

Test(dictionary, codes_lead_back_to_fixed_values)
{
    static const struct {
        enum leaf_kind kind;
        size_t width;
    } cases[] = {{LEAF_I32, 4}, {LEAF_F32, 4}, {LEAF_I64, 8}, {LEAF_F64, 8}, {LEAF_FIXED, 16}};
    CLEANUP(dictionary_deinit) struct dictionary dictionary = {0};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (uint64_t distinct = 1; distinct <= 4096; distinct *= 8) {
            uint8_t *slots = make_slots(cases[c].width, distinct);
            const struct leaf_values values = {
                .type = {.kind = cases[c].kind, .fixed_bytes = 16}, .count = COUNT, .slots = slots};
            cr_expect(dictionary_build(&dictionary, &values));
            cr_expect_leq(dictionary.count, distinct);
            struct leaf_values entries = dictionary_values(&dictionary, &values);
            cr_assert_eq(entries.count, dictionary.count);
            const uint8_t *found = entries.slots;
            for (size_t i = 0; i < COUNT; i++) {
                cr_assert_lt(dictionary.codes[i], dictionary.count);
                cr_assert_arr_eq(found + dictionary.codes[i] * cases[c].width,
                                 slots + i * cases[c].width, cases[c].width);
            }
            mem_free(slots);
        }
    }
}

/* Lengths from 0 to 40, so that every way of comparing is taken; many share beginnings and ends. */
Test(dictionary, codes_lead_back_to_strings)
{
    static char bytes[COUNT * 48];
    static struct leaf_piece pieces[COUNT];
    uint32_t at = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint64_t value = sample_random(4, i) % 900;
        int size =
            snprintf(bytes + at, 48, "%.*s%03d%.*s", (int)(value % 20), "xxxxxxxxxxxxxxxxxxxx",
                     (int)(value / 20), (int)(value % 17), "yyyyyyyyyyyyyyyyy");
        size = value == 7 ? 0 : size;
        pieces[i] = (struct leaf_piece){.start = at, .size = (uint32_t)size};
        at += (uint32_t)size;
    }
    const struct leaf_values values = {.type = {.kind = LEAF_BYTES},
                                       .count = COUNT,
                                       .pieces = pieces,
                                       .bytes = (const uint8_t *)bytes,
                                       .bytes_readable = sizeof bytes};
    CLEANUP(dictionary_deinit) struct dictionary dictionary = {0};
    cr_assert(dictionary_build(&dictionary, &values));
    cr_expect_leq(dictionary.count, 900);
    cr_expect_gt(dictionary.count, 300);
    struct leaf_values entries = dictionary_values(&dictionary, &values);
    for (size_t i = 0; i < COUNT; i++) {
        struct leaf_piece entry = entries.pieces[dictionary.codes[i]];
        cr_assert(span_equal(span_of(bytes + entry.start, entry.size),
                             span_of(bytes + pieces[i].start, pieces[i].size)));
    }
    /* and no value twice */
    for (size_t i = 0; i < entries.count; i++) {
        for (size_t k = 0; k < i; k++) {
            cr_assert_not(
                span_equal(span_of(bytes + entries.pieces[i].start, entries.pieces[i].size),
                           span_of(bytes + entries.pieces[k].start, entries.pieces[k].size)));
        }
    }
    cr_expect_eq(leaf_plain_bytes(&entries), dictionary.plain_bytes);
}

Test(dictionary, gives_up_where_it_does_not_pay)
{
    CLEANUP(dictionary_deinit) struct dictionary dictionary = {0};
    uint8_t *unique = make_slots(8, UINT64_MAX);
    const struct leaf_values values = {.type = {.kind = LEAF_I64}, .count = COUNT, .slots = unique};
    cr_expect_not(dictionary_build(&dictionary, &values));
    cr_expect_lt(dictionary.count, COUNT); /* before all of it was looked at */
    const struct leaf_values flags = {
        .type = {.kind = LEAF_BOOLEAN}, .count = COUNT, .slots = unique};
    cr_expect_not(dictionary_build(&dictionary, &flags));
    const struct leaf_values nothing = {.type = {.kind = LEAF_I64}, .count = 0, .slots = unique};
    cr_expect_not(dictionary_build(&dictionary, &nothing));
    mem_free(unique);
}

/* Lengths other readers expect of FIXED decimals: the shortest that holds the precision. */
Test(dictionary, decimals_are_stored_as_short_as_possible)
{
    static const struct {
        int precision;
        enum parquet_type type;
        int32_t bytes;
    } cases[] = {{1, PARQUET_TYPE_INT32, 0},   {9, PARQUET_TYPE_INT32, 0},
                 {10, PARQUET_TYPE_INT64, 0},  {18, PARQUET_TYPE_INT64, 0},
                 {19, PARQUET_TYPE_FIXED, 9},  {21, PARQUET_TYPE_FIXED, 9},
                 {22, PARQUET_TYPE_FIXED, 10}, {38, PARQUET_TYPE_FIXED, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct leaf_type leaf = leaf_type_of(COLUMN_DECIMAL, cases[i].precision);
        cr_expect_eq(leaf.physical, cases[i].type, "precision %d", cases[i].precision);
        cr_expect_eq(leaf.fixed_bytes, cases[i].bytes, "precision %d", cases[i].precision);
    }
}
