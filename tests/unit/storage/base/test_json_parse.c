/*
 * JSON text in: what RFC 8259 allows, what it does not, and our limits.
 */
#include "storage/base/json.h"

#include "storage/base/mem.h"
#include "storage/base/text.h"
#include "tests/support/json_texts.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* Parse and write back compactly; the text must be `expected`, or be refused when NULL. */
static void expect_written(struct span text, const char *expected)
{
    CLEANUP(json_free) struct json *root = NULL;
    CLEANUP(buffer_deinit) struct buffer written;
    buffer_init(&written, 1 << 20);
    struct err err = {0};
    enum err_code code = json_parse(text, &root, &err);
    if (expected == NULL) {
        cr_expect_eq(code, ERR_INVALID, "%.*s was accepted", SPAN_PRINT(text));
        cr_expect_null(root);
        cr_expect_neq(err.msg[0], '\0');
        return;
    }
    cr_expect_eq(code, ERR_OK, "%.*s: %s", SPAN_PRINT(text), err.msg);
    json_write(root, &written);
    cr_expect(span_equal_text(buffer_span(&written), expected), "%.*s became %.*s",
              SPAN_PRINT(text), SPAN_PRINT(buffer_span(&written)));
}

Test(json_parse, accepts)
{
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"null", "null"},
        {" true ", "true"},
        {"\n\t\r false\n", "false"},
        {"0", "0"},
        {"-0", "0"},
        {"-12", "-12"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1.50", "1.5"},
        {"1E5", "100000.0"},
        {"-1e-5", "-0.00001"},
        {"-0.0", "-0.0"},
        {"1e-400", "0.0"},
        {"\"\"", "\"\""},
        {"\"a b\"", "\"a b\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\"\\u0000\"", "\"\\u0000\""},
        {"\"\\uFFFF\\u001f\"", "\"\xef\xbf\xbf\\u001f\""},
        {"\"\x7f\"", "\"\x7f\""},
        {"\"Zo\xc3\xab\"", "\"Zo\xc3\xab\""},
        {"[]", "[]"},
        {"[ ]", "[]"},
        {"{}", "{}"},
        {"{ }", "{}"},
        {"[1,[2,[],{}],3]", "[1,[2,[],{}],3]"},
        {"{\"a\":{\"b\":[null]},\"c\":\"d\"}", "{\"a\":{\"b\":[null]},\"c\":\"d\"}"},
        {"{\"b\":1 , \"a\" : 2}", "{\"b\":1,\"a\":2}"},
        {"{\"\":1}", "{\"\":1}"},
        {"{\"\\u0061\\n\":1}", "{\"a\\n\":1}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_written(span_of_text(cases[i].text), cases[i].expected);
    }
}

Test(json_parse, refuses)
{
    for (size_t i = 0; i < json_texts_refused_count; i++) {
        expect_written(json_texts_refused[i], NULL);
    }
    expect_written((struct span){0}, NULL);
}

/* What is no int64 is the nearest double, wherever it stands and however long it is. */
Test(json_parse, integers_beyond_int64_are_reals)
{
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"9223372036854775808", "9.223372036854776e18"},
        {"-9223372036854775809", "-9.223372036854776e18"},
        {"9999999999999999999", "1e19"},
        {"98765432109876543e2", "9.876543210987655e18"},
        {"18446744073709551616", "1.8446744073709552e19"},
        {"99999999999999999999999999999999999999", "1e38"},
        {" [1,9223372036854775807,12345678901234567890,{\"a\":-12345678901234567890 }] ",
         "[1,9223372036854775807,1.2345678901234567e19,{\"a\":-1.2345678901234567e19}]"},
        {"{\"12345678901234567890\":\"12345678901234567890 \\\" 1\","
         "\"\\\"\":12345678901234567890,\"b\":2.5}",
         "{\"12345678901234567890\":\"12345678901234567890 \\\" 1\","
         "\"\\\"\":1.2345678901234567e19,\"b\":2.5}"},
        {"[09223372036854775808]", NULL},
        {"[12345678901234567890x]", NULL},
        {"[12345678901234567890-1]", NULL},
        {"[12345678901234567890 12345678901234567890]", NULL},
        {"[12345678901234567890,1e400]", NULL},
        {"[12345678901234567890,\"", NULL},
        {"[12345678901234567890,\"\\", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_written(span_of_text(cases[i].text), cases[i].expected);
    }
    /* the largest double has 309 digits */
    char text[402];
    for (size_t digits = 19; digits <= 400; digits++) {
        memset(text, '9', digits);
        struct span span = span_of(text, digits);
        double expected = 0;
        double real = 0;
        CLEANUP(json_free) struct json *root = NULL;
        struct err err = {0};
        bool is_double = text_parse_double(span, &expected);
        cr_assert_eq(json_parse(span, &root, &err) == ERR_OK, is_double, "%zu", digits);
        cr_assert(!is_double || (json_as_real(root, &real) && real == expected), "%zu", digits);
        cr_assert_eq(is_double, digits < 309);
    }
}

Test(json_parse, every_prefix_of_a_document_is_refused)
{
    static const char text[] = "{\"name\":\"Zo\xc3\xab \\u00e9\\ud83d\\ude00\",\"list\":[1,-2.5e3,"
                               "true,false,null,{\"x\":{}}],\"end\":[]}";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        /* a copy of just that size, so that reading past it is seen by the sanitizer */
        CLEANUP(mem_cleanup) uint8_t *copy = mem_copy(text, size);
        CLEANUP(json_free) struct json *root = NULL;
        struct err err = {0};
        cr_expect_eq(json_parse(span_of(copy, size), &root, &err), ERR_INVALID, "%zu", size);
    }
    expect_written(span_of_text(text), "{\"name\":\"Zo\xc3\xab \xc3\xa9\xf0\x9f\x98\x80\","
                                       "\"list\":[1,-2500.0,true,false,null,{\"x\":{}}],"
                                       "\"end\":[]}");
}

static void nest(char *text, size_t depth, char open, char close)
{
    memset(text, open, depth);
    memset(text + depth, close, depth);
    text[2 * depth] = '\0';
}

Test(json_parse, depth_at_and_over_the_limit)
{
    char text[2 * JSON_DEPTH_MAX + 3];
    nest(text, JSON_DEPTH_MAX, '[', ']');
    expect_written(span_of_text(text), text);
    nest(text, JSON_DEPTH_MAX + 1, '[', ']');
    expect_written(span_of_text(text), NULL);
}

Test(json_parse, a_megabyte_of_brackets_is_refused_at_once)
{
    static char text[1 << 20];
    memset(text, '[', sizeof text);
    expect_written(span_of(text, sizeof text), NULL);
    for (size_t i = 0; i + 5 < sizeof text; i += 5) {
        memcpy(text + i, "{\"a\":", 5);
    }
    expect_written(span_of(text, sizeof text), NULL);
}

/* {"n0":0,"n1":1,…} with an optional second n0 at the end. */
static void many_members(struct buffer *text, int count, bool duplicate)
{
    buffer_append_byte(text, '{');
    for (int i = 0; i < count; i++) {
        buffer_append_format(text, "%s\"n%d\":%d", i > 0 ? "," : "", i, i);
    }
    buffer_append_text(text, duplicate ? ",\"n0\":0}" : "}");
}

Test(json_parse, large_objects_find_every_member_and_duplicate)
{
    static const int counts[] = {1, 15, 16, 17, 18, 1000, 200000};
    for (size_t i = 0; i < COUNT(counts); i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        CLEANUP(json_free) struct json *root = NULL;
        struct err err = {0};
        buffer_init(&text, 16 << 20);
        many_members(&text, counts[i], false);
        cr_assert_eq(json_parse(buffer_span(&text), &root, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(json_count(root), (size_t)counts[i]);
        for (int n = 0; n < counts[i]; n++) {
            char name[16];
            int64_t value = -1;
            (void)snprintf(name, sizeof name, "n%d", n); /* fits */
            cr_assert(json_as_integer(json_get(root, name), &value));
            cr_assert_eq(value, n);
        }
        cr_expect_null(json_get(root, "n"));
        cr_expect_null(json_get(root, "zz"));

        CLEANUP(json_free) struct json *refused = NULL;
        buffer_reset(&text);
        many_members(&text, counts[i], true);
        cr_expect_eq(json_parse(buffer_span(&text), &refused, &err), ERR_INVALID);
    }
}

Test(json_parse, message_has_place_and_reason_but_no_content)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"{\"a\":secret}", "malformed JSON at line 1, column 11: not what JSON allows here"},
        {"[\n  1,\n  2 secret]", "malformed JSON at line 3, column 10: not what JSON allows here"},
        {"{\"a\":1,\n\"a\":2}", "malformed JSON at line 2, column 3: an object has a name twice"},
        {"\"secret", "malformed JSON at line 1, column 7: the document ends early"},
        {"{\"k\":\"\xff\"}", "malformed JSON at line 1, column 7: not UTF-8"},
        {"", "malformed JSON at line 1, column 1: the document ends early"},
        {"[1,\n", "malformed JSON at line 1, column 4: the document ends early"},
        {"1 2", "malformed JSON at line 1, column 3: text after the end of the document"},
        {"\n\n{\"secret\\u0000\":1}",
         "malformed JSON at line 3, column 15: a name may not hold a NUL character"},
        {"[1,1e400]", "malformed JSON at line 1, column 8: a number out of range"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
         "malformed JSON at line 1, column 33: nested too deep"},
        {"{\"a\":\"secret\\ud800\"}",
         "malformed JSON at line 1, column 19: not what JSON allows here"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json *root = NULL;
        struct err err = {0};
        cr_expect_eq(json_parse(span_of_text(cases[i].text), &root, &err), ERR_INVALID);
        cr_expect_str_eq(err.msg, cases[i].message);
    }
}
