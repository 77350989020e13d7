/*
 * Bounds: measured right, shortened truthfully.
 */
#include "storage/parquet/range.h"
#include "storage/parquet/writer.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

static const struct leaf_type text = {
    .kind = LEAF_BYTES, .physical = PARQUET_TYPE_BYTE_ARRAY, .is_text = true};
static const struct leaf_type binary = {.kind = LEAF_BYTES, .physical = PARQUET_TYPE_BYTE_ARRAY};

#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

Test(range, long_strings_are_cut_and_stay_bounds)
{
    static const struct {
        const char *name;
        const struct leaf_type *type;
        const char *value;
        const char *min;
        const char *max; /* NULL: none */
        bool exact;
    } cases[] = {
        {"short", &text, "abc", "abc", "abc", true},
        {"empty", &text, "", "", "", true},
        {"64 bytes", &text, SIXTY "abcd", SIXTY "abcd", SIXTY "abcd", true},
        {"65 bytes", &text, SIXTY "abcde", SIXTY "abcd", SIXTY "abce", false},
        {"a character across the cut", &text, SIXTY "abcé…", SIXTY "abc", SIXTY "abd", false},
        {"last character grows in length", &text, SIXTY "abc\x7fz", SIXTY "abc\x7f",
         SIXTY "abc\xc2\x80", false},
        {"before the surrogates", &text, SIXTY "a\xed\x9f\xbfz", SIXTY "a\xed\x9f\xbf",
         SIXTY "a\xee\x80\x80", false},
        {"the largest character", &text, SIXTY "\xf4\x8f\xbf\xbfz", SIXTY "\xf4\x8f\xbf\xbf",
         TEN TEN TEN TEN TEN "012345678:", false},
        {"bytes", &binary, SIXTY "abc\xff\xff", SIXTY "abc\xff", SIXTY "abd", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span value = span_of_text(cases[i].value);
        struct range range = {.has_range = true, .bytes = {.min = value, .max = value}};
        CLEANUP(buffer_deinit) struct buffer min;
        CLEANUP(buffer_deinit) struct buffer max;
        buffer_init(&min, 1000);
        buffer_init(&max, 1000);
        bool exact = false;
        cr_expect(range_encode_min(&range, cases[i].type, &min, &exact));
        cr_expect_eq(exact, cases[i].exact, "%s", cases[i].name);
        cr_expect(span_equal_text(buffer_span(&min), cases[i].min), "%s", cases[i].name);
        cr_expect(range_encode_max(&range, cases[i].type, &max, &exact));
        cr_expect_eq(exact, cases[i].exact, "%s", cases[i].name);
        cr_expect(span_equal_text(buffer_span(&max), cases[i].max), "%s: %.*s", cases[i].name,
                  SPAN_PRINT(buffer_span(&max)));
        cr_expect_leq(span_compare(buffer_span(&min), value), 0);
        cr_expect_geq(span_compare(buffer_span(&max), value), 0);
    }
}

Test(range, there_is_no_bound_above_only_largest_bytes)
{
    uint8_t largest[70];
    memset(largest, 0xff, sizeof largest);
    struct span value = span_of(largest, sizeof largest);
    struct range range = {.has_range = true, .bytes = {.min = value, .max = value}};
    CLEANUP(buffer_deinit) struct buffer max;
    buffer_init(&max, 1000);
    bool exact;
    cr_expect_not(range_encode_max(&range, &binary, &max, &exact));
    cr_expect_eq(max.size, 0);
}

Test(range, nan_is_noted_and_left_out)
{
    static const double reals[] = {NAN, 2, -1, NAN};
    struct leaf_values values = {.type = {.kind = LEAF_F64}, .count = 4, .slots = reals};
    struct range range = range_of(&values, 0, 4);
    cr_expect(range.has_nan);
    cr_expect(range.has_range);
    cr_expect_eq(range.f64.min, -1);
    cr_expect_eq(range.f64.max, 2);
    range = range_of(&values, 0, 1);
    cr_expect(range.has_nan);
    cr_expect_not(range.has_range);
}

Test(range, zeros_have_the_signs_the_format_wants)
{
    static const double zero[] = {0.0};
    struct leaf_values values = {.type = {.kind = LEAF_F64}, .count = 1, .slots = zero};
    struct range range = range_of(&values, 0, 1);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 1000);
    bool exact;
    cr_expect(range_encode_min(&range, &values.type, &bytes, &exact));
    cr_expect(range_encode_max(&range, &values.type, &bytes, &exact));
    double bounds[2];
    memcpy(bounds, bytes.data, sizeof bounds);
    cr_expect(signbit(bounds[0]));
    cr_expect_not(signbit(bounds[1]));
}

/* The quick comparison by first bytes must agree with the plain one. */
Test(range, strings_are_ordered_by_unsigned_bytes)
{
    enum { COUNT = 3000 };
    static uint8_t bytes[COUNT * 12];
    static struct leaf_piece pieces[COUNT];
    uint32_t at = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t size = (uint32_t)(sample_random(5, i) % 12);
        pieces[i] = (struct leaf_piece){.start = at, .size = size};
        for (uint32_t k = 0; k < size; k++) {
            bytes[at++] = sample_random(6, i * 100 + k) % 3 == 0 ? 0xff : 0;
        }
    }
    struct leaf_values values = {
        .type = text, .count = COUNT, .pieces = pieces, .bytes = bytes, .bytes_readable = at};
    for (size_t first = 0; first < COUNT - 20; first += 13) {
        struct range range = range_of(&values, first, 20);
        for (size_t i = first; i < first + 20; i++) {
            struct span value = span_of(bytes + pieces[i].start, pieces[i].size);
            cr_expect_leq(span_compare(range.bytes.min, value), 0);
            cr_expect_geq(span_compare(range.bytes.max, value), 0);
        }
    }
}

/* Bounds longer than what is kept of them: which is larger is not known from the kept part alone.
 */
Test(range, file_bounds_of_long_strings_join_truthfully)
{
    char longer[400];
    char shorter[PARQUET_STATISTICS_BYTES];
    memset(longer, 'a', sizeof longer);
    memset(shorter, 'a', sizeof shorter);
    struct span values[] = {span_of(shorter, sizeof shorter), span_of(longer, sizeof longer)};
    for (size_t first = 0; first < 2; first++) {
        struct parquet_column_statistics statistics = {0};
        for (size_t i = 0; i < 2; i++) {
            struct span value = values[(first + i) % 2];
            struct range range = {.has_range = true, .bytes = {.min = value, .max = value}};
            range_widen_statistics(&range, LEAF_BYTES, &statistics);
        }
        cr_expect(statistics.min.exact);
        cr_expect_not(statistics.max.exact);
        cr_expect_eq(statistics.min.bytes_size, sizeof shorter);
    }
}
