/* Numbers taken apart at once, against the ways of text.h, which go digit by digit. */
#include "storage/base/text.h"
#include "storage/columns/decode_number.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

TestSuite(decode_number);

enum { DIGITS_MAX = 45, TEXT_BYTES = 64 };

/* `digits` of them, `point` before the point; some start or end with zeros, some are all nines. */
static size_t write_number(char text[TEXT_BYTES], int digits, int point, int kind)
{
    char *out = text;
    if (point == 0) {
        *out++ = '0';
    }
    for (int i = 0; i < digits; i++) {
        if (i == point) {
            *out++ = '.';
        }
        char digit = (char)('1' + (i * 7 + kind) % 9);
        bool zero = (kind == 1 && i > 0 && i < digits - 1) || (kind == 2 && point == 0 && i < 21) ||
                    (kind == 3 && i > digits / 2);
        *out++ = zero ? '0' : kind == 0 ? '9' : digit;
    }
    *out = '\0';
    return (size_t)(out - text);
}

static void expect_same(struct span text)
{
    static const struct field fields[] = {
        {.type = COLUMN_DECIMAL, .precision = 38, .scale = 20},
        {.type = COLUMN_DECIMAL, .precision = 38, .scale = 0},
        {.type = COLUMN_DECIMAL, .precision = 18, .scale = 6},
    };
    struct decode_number number = {0};
    cr_assert(decode_number_parse(text, &number), "%.*s", SPAN_PRINT(text));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        __int128 found = 0;
        __int128 expected = 0;
        bool holds = text_parse_decimal(text, fields[i].precision, fields[i].scale, &expected);
        cr_assert_eq(decode_number_decimal(&number, &fields[i], &found), holds, "%.*s, field %zu",
                     SPAN_PRINT(text), i);
        cr_assert(found == expected, "%.*s, field %zu", SPAN_PRINT(text), i);
    }
    double found = 0;
    double expected = 0;
    cr_assert(text_parse_double(text, &expected));
    cr_assert(decode_number_double(&number, &found));
    cr_assert(memcmp(&found, &expected, sizeof found) == 0, "%.*s is not %.17g", SPAN_PRINT(text),
              found);
}

Test(decode_number, agrees_with_the_long_way_wherever_the_point_is)
{
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        for (int point = 0; point <= digits; point++) {
            for (int kind = 0; kind < 5; kind++) {
                char text[TEXT_BYTES];
                size_t size = write_number(text, digits, point, kind);
                expect_same(span_of(text, size));
            }
        }
    }
}

Test(decode_number, whole_numbers_up_to_the_last_long)
{
    static const struct {
        const char *text;
        bool holds;
        int64_t value;
    } cases[] = {
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"9999999999999999999", false, 0},
        {"18446744073709551617", false, 0}, /* 1, were the 65th bit lost */
        {"-0", true, 0},
        {"184467440737095516170000000000000000001", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct decode_number number = {0};
        int64_t value = 0;
        cr_assert(decode_number_parse(span_of_text(cases[i].text), &number), "%s", cases[i].text);
        cr_expect(number.integral, "%s", cases[i].text);
        cr_expect_eq(decode_number_long(&number, &value), cases[i].holds, "%s", cases[i].text);
        cr_expect_eq(value, cases[i].value, "%s", cases[i].text);
    }
}
