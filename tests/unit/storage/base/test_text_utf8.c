/*
 * UTF-8: what is well formed and where it stops being so.
 */
#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <string.h>

Test(text_utf8, well_formed_or_where_not)
{
    static const struct {
        const char *name;
        const char *text;
        int bad_offset; /* -1: well formed */
    } cases[] = {
        {"empty", "", -1},
        {"ascii", "plain text, long enough for words of eight bytes", -1},
        {"two bytes", "Zo\xc3\xab", -1},
        {"first and last of two bytes", "\xc2\x80\xdf\xbf", -1},
        {"first and last of three bytes", "\xe0\xa0\x80\xef\xbf\xbf", -1},
        {"below and above the surrogates", "\xed\x9f\xbf\xee\x80\x80", -1},
        {"first and last of four bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", -1},
        {"lone continuation", "ab\x80", 2},
        {"overlong slash in two", "\xc0\xaf", 0},
        {"overlong in two", "\xc1\xbf", 0},
        {"overlong in three", "x\xe0\x9f\xbf", 1},
        {"overlong in four", "\xf0\x8f\xbf\xbf", 0},
        {"high surrogate", "\xed\xa0\x80", 0},
        {"low surrogate", "\xed\xbf\xbf", 0},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 0},
        {"five bytes", "\xf8\x88\x80\x80\x80", 0},
        {"FE", "\xfe", 0},
        {"FF", "\xff", 0},
        {"two cut", "abc\xc3", 3},
        {"three cut", "\xe2\x82", 0},
        {"four cut", "\xf0\x9f\x98", 0},
        {"two followed by ascii", "\xc3(", 0},
        {"three with bad third", "\xe2\x82(", 0},
        {"four with bad fourth", "\xf0\x9f\x98(", 0},
        {"latin-1 deep in ascii", "0123456789abcdef0123456789abcdef0123\xe9", 36},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad = 999;
        bool good = text_is_utf8(span_of_text(cases[i].text), &bad);
        cr_expect_eq(good, cases[i].bad_offset < 0, "%s", cases[i].name);
        if (cases[i].bad_offset >= 0) {
            cr_expect_eq(bad, (size_t)cases[i].bad_offset, "%s at %zu", cases[i].name, bad);
        }
    }
}

Test(text_utf8, a_bad_byte_is_found_at_every_offset_and_alignment)
{
    char text[80];
    for (size_t start = 0; start < 8; start++) {
        for (size_t at = start; at < sizeof text; at++) {
            memset(text, 'x', sizeof text);
            text[at] = (char)0xff;
            size_t bad = 0;
            cr_assert_not(text_is_utf8(span_of(text + start, sizeof text - start), &bad));
            cr_assert_eq(bad, at - start);
        }
    }
}

Test(text_utf8, sequence_length)
{
    cr_expect_eq(text_utf8_sequence((struct span){0}), 0);
    cr_expect_eq(text_utf8_sequence(span_of_text("a")), 1);
    cr_expect_eq(text_utf8_sequence(span_of("", 1)), 1);
    cr_expect_eq(text_utf8_sequence(span_of_text("\xc3\xa9x")), 2);
    cr_expect_eq(text_utf8_sequence(span_of_text("\xe2\x82\xacx")), 3);
    cr_expect_eq(text_utf8_sequence(span_of_text("\xf0\x9f\x98\x80x")), 4);
    cr_expect_eq(text_utf8_sequence(span_of_text("\xf0\x9f\x98")), 0);
}

Test(text_utf8, code_points)
{
    cr_expect_eq(text_code_points((struct span){0}), 0);
    cr_expect_eq(text_code_points(span_of_text("abc")), 3);
    cr_expect_eq(text_code_points(span_of_text("Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x98\x80")), 7);
}
