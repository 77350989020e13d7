/*
 * Integers, doubles and decimals: exact both ways, and nothing half accepted.
 */
#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(text_number, parse_int64)
{
    static const struct {
        const char *text;
        bool valid;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"7", true, 7},
        {"-7", true, -7},
        {"007", true, 7},
        {"999999999999999999", true, 999999999999999999},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"00000000000000000000000000000001", true, 1},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"0x10", false, 0},
        {"\xd9\xa1", false, 0}, /* ARABIC-INDIC DIGIT ONE */
        {"12345678901234567a", false, 0},
        {"123456789012345678a", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 42;
        cr_expect_eq(text_parse_int64(span_of_text(cases[i].text), &value), cases[i].valid, "%s",
                     cases[i].text);
        cr_expect_eq(value, cases[i].valid ? cases[i].value : 42, "%s", cases[i].text);
    }
    int64_t value = 0;
    cr_expect_not(text_parse_int64((struct span){0}, &value));
    cr_expect_not(text_parse_int64(span_of("1\0", 2), &value));
}

Test(text_number, parse_double)
{
    static const struct {
        const char *text;
        bool valid;
        double value;
    } cases[] = {
        {"0", true, 0.0},
        {"-0", true, -0.0},
        {"0.0", true, 0.0},
        {"1", true, 1.0},
        {"-1.5", true, -1.5},
        {"3.14159", true, 3.14159},
        {"1e3", true, 1000.0},
        {"1E+3", true, 1000.0},
        {"1e-3", true, 0.001},
        {"0.1", true, 0.1},
        {"123456789012345678", true, 123456789012345678.0},
        {"9007199254740993", true, 9007199254740992.0},            /* ties to even */
        {"9007199254740993.0000000001", true, 9007199254740994.0}, /* just above the tie */
        {"1e22", true, 1e22},
        {"1e23", true, 1e23},
        {"8.41e21", true, 8.41e21},
        {"2.2250738585072011e-308", true, 2.2250738585072011e-308},
        {"4.9e-324", true, 4.9e-324},
        {"2e-324", true, 0.0},
        {"1e-400", true, 0.0},
        {"1e-99999999999999999999", true, 0.0},
        {"0e99999999999999999999", true, 0.0},
        {"1.7976931348623157e308", true, DBL_MAX},
        {"1.7976931348623159e308", false, 0},
        {"1e309", false, 0},
        {"-1e309", false, 0},
        {"1e99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {".5", false, 0},
        {"5.", false, 0},
        {"01", false, 0},
        {"-01", false, 0},
        {"1e", false, 0},
        {"1e+", false, 0},
        {"1.e3", false, 0},
        {"1,5", false, 0},
        {"NaN", false, 0},
        {"Infinity", false, 0},
        {"0x1p3", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.5.5", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        double value = 42;
        cr_expect_eq(text_parse_double(span_of_text(cases[i].text), &value), cases[i].valid, "%s",
                     cases[i].text);
        double expected = cases[i].valid ? cases[i].value : 42;
        cr_expect_eq(memcmp(&value, &expected, sizeof value), 0, "%s is %a", cases[i].text, value);
    }
}

Test(text_number, parse_double_takes_texts_longer_than_the_stack)
{
    char text[5000];
    memset(text, '0', sizeof text);
    text[0] = '1';
    text[1] = '.';
    text[sizeof text - 1] = '1';
    double value = 0;
    cr_assert(text_parse_double(span_of(text, sizeof text), &value));
    cr_expect_eq(value, 1.0);
}

Test(text_number, parse_double_ignores_the_locale)
{
    /* both may be missing on a small system: then the test says nothing */
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") != NULL || setlocale(LC_ALL, "fr_FR.UTF-8") != NULL);
    double value = 0;
    cr_assert(text_parse_double(span_of_text("1234567890123456789.5"), &value));
    cr_expect_eq(value, 1234567890123456789.5);
}

/* A small generator with a fixed seed: the same numbers in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

Test(text_number, parse_double_agrees_with_the_c_library)
{
    uint64_t state = 1;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        uint64_t random = next_random(&state);
        int digits = 1 + (int)(random % 17);
        int exponent = (int)(random >> 8) % 40;
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, /* fits */
                       (double)(random >> 11) * pow(10, exponent));
        double value = 0;
        cr_assert(text_parse_double(span_of_text(text), &value), "%s", text);
        cr_assert_eq(value, strtod(text, NULL), "%s", text);
    }
}

Test(text_number, format_double)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1.0, "1"},
        {-1.0, "-1"},
        {0.1, "0.1"},
        {-0.5, "-0.5"},
        {12.34, "12.34"},
        {19.99, "19.99"},
        {0.000001, "0.000001"},
        {1e-5, "0.00001"},
        {1.5e-7, "1.5e-7"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {123456789012345.0, "123456789012345"},
        {1e15, "1e15"},
        {1e21, "1e21"},
        {1e100, "1e100"},
        {9007199254740992.0, "9007199254740992"},
        {1.2345e-10, "1.2345e-10"},
        {5e-324, "4.94065645841247e-324"},
        {DBL_MAX, "1.7976931348623157e308"},
        {-DBL_MIN, "-2.2250738585072014e-308"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[TEXT_DOUBLE_BYTES];
        size_t size = text_format_double(cases[i].value, text);
        cr_expect_str_eq(text, cases[i].text);
        cr_expect_eq(size, strlen(text), "%s", text);
    }
}

Test(text_number, format_double_reads_back)
{
    uint64_t state = 2;
    for (int i = 0; i < 300000; i++) {
        uint64_t bits = next_random(&state);
        double value = 0;
        if (i % 3 == 0) {
            memcpy(&value, &bits, sizeof value);
        } else {
            /* what people write: some digits with a few behind the point */
            value = (double)(int64_t)(bits >> 20) / (i % 3 == 1 ? 100 : 1e6);
        }
        if (!isfinite(value)) {
            continue;
        }
        char text[TEXT_DOUBLE_BYTES];
        double back = 0;
        size_t size = text_format_double(value, text);
        cr_assert_lt(size, sizeof text);
        cr_assert(text_parse_double(span_of(text, size), &back), "%s", text);
        cr_assert_eq(memcmp(&back, &value, sizeof back), 0, "%a became %s", value, text);
    }
}

Test(text_number, format_int64)
{
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {9, "9"},
        {-10, "-10"},
        {INT64_MAX, "9223372036854775807"},
        {INT64_MIN, "-9223372036854775808"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[TEXT_DOUBLE_BYTES];
        cr_expect_eq(text_format_int64(cases[i].value, text), strlen(cases[i].text));
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(text_number, parse_decimal)
{
    static const struct {
        const char *text;
        int precision;
        int scale;
        const char *unscaled; /* as a decimal of scale 0; NULL: refused */
    } cases[] = {
        {"0", 1, 0, "0"},
        {"-0.00", 5, 2, "0"},
        {"0e9999999", 5, 2, "0"},
        {"12.34", 4, 2, "1234"},
        {"12.3400", 4, 2, "1234"},
        {"12.345", 9, 2, NULL},
        {"-12.3", 4, 2, "-1230"},
        {"123", 4, 2, NULL},
        {"99.99", 4, 2, "9999"},
        {"100", 4, 2, NULL},
        {"1e2", 5, 2, "10000"},
        {"1e-2", 5, 2, "1"},
        {"1e-3", 5, 2, NULL},
        {"10e-3", 5, 2, "1"},
        {"0.00000000000000000000000000000000000001e38", 1, 0, "1"},
        {"99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999"},
        {"-99999999999999999999999999999999999999", 38, 0,
         "-99999999999999999999999999999999999999"},
        {"100000000000000000000000000000000000000", 38, 0, NULL},
        {"999999999999999999999999999999999999999999", 38, 0, NULL},
        {"0.99999999999999999999999999999999999999", 38, 38,
         "99999999999999999999999999999999999999"},
        {"1e9999999999", 38, 0, NULL},
        {"1e-9999999999", 38, 38, NULL},
        {"", 5, 2, NULL},
        {"1.", 5, 2, NULL},
        {"01", 5, 2, NULL},
        {"abc", 5, 2, NULL},
        {"NaN", 5, 2, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        __int128 unscaled = 42;
        bool parsed = text_parse_decimal(span_of_text(cases[i].text), cases[i].precision,
                                         cases[i].scale, &unscaled);
        cr_expect_eq(parsed, cases[i].unscaled != NULL, "%s", cases[i].text);
        if (parsed && cases[i].unscaled != NULL) {
            char text[TEXT_DECIMAL_BYTES];
            (void)text_format_decimal(unscaled, 0, text); /* compared as text */
            cr_expect_str_eq(text, cases[i].unscaled, "%s is %s", cases[i].text, text);
        }
    }
}

Test(text_number, parse_decimal_of_many_zeros_is_cheap_and_right)
{
    static char text[100000];
    memset(text, '0', sizeof text);
    text[0] = '1';
    __int128 unscaled = 0;
    cr_expect_not(text_parse_decimal(span_of(text, sizeof text), 38, 0, &unscaled));
    text[1] = '.';
    cr_expect(text_parse_decimal(span_of(text, sizeof text), 38, 0, &unscaled));
    cr_expect(unscaled == 1);
}

Test(text_number, format_decimal)
{
    __int128 most = 1;
    for (int i = 0; i < 38; i++) {
        most *= 10;
    }
    const struct {
        __int128 unscaled;
        int scale;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {0, 2, "0.00"},
        {5, 2, "0.05"},
        {-5, 2, "-0.05"},
        {-1234, 2, "-12.34"},
        {100, 2, "1.00"},
        {1234, 0, "1234"},
        {1, 38, "0.00000000000000000000000000000000000001"},
        {-(most - 1), 38, "-0.99999999999999999999999999999999999999"},
        {most - 1, 1, "9999999999999999999999999999999999999.9"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[TEXT_DECIMAL_BYTES];
        size_t size = text_format_decimal(cases[i].unscaled, cases[i].scale, text);
        cr_expect_str_eq(text, cases[i].text);
        cr_expect_eq(size, strlen(cases[i].text), "%s", text);
    }
}
