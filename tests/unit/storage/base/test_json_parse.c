/*
 * JSON text in: what RFC 8259 allows, what it does not, and our limits.
 */
#include "storage/base/json.h"

#include "storage/base/mem.h"

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
        {"9223372036854775808", "9223372036854775808"},
        {"99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
        {"1.50", "1.50"},
        {"1E5", "1E5"},
        {"-1e-5", "-1e-5"},
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
    static const char *const cases[] = {
        "",
        " ",
        "nul",
        "nullx",
        "True",
        "tru",
        "undefined",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "1e999",
        "0x1",
        "1 2",
        "--1",
        "1-",
        "\"",
        "\"abc",
        "\"\\\"",
        "\"\\",
        "\"\\x41\"",
        "\"\\u\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u123",
        "\"\\ud83d\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\n\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ude00\"",
        "\"\\ud83d\\ud83d\"",
        "\"\n\"",
        "\"\t\"",
        "\"\x01\"",
        "'a'",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "[1]]",
        "[1],",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "{\"a\":1}}",
        "{\"a\":1 \"b\":2}",
        "{null:1}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"a\\u0000b\":1}",
        "{\"\\u0000\":1}",
        "// c\n1",
        "/* c */ 1",
        "1 // c",
        "[1,/**/2]",
        "\xef\xbb\xbf{}",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
        "\"\xc0\x80\"",
        "\342\200\2501",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_written(span_of_text(cases[i]), NULL);
    }
    expect_written((struct span){0}, NULL);
    expect_written(span_of("1\0", 2), NULL);
    expect_written(span_of("\0", 1), NULL);
    expect_written(span_of("\"a\0b\"", 5), NULL);
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
                                       "\"list\":[1,-2.5e3,true,false,null,{\"x\":{}}],"
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
        {"{\"a\":secret}", "malformed JSON at line 1, column 6: expected a value"},
        {"[\n  1,\n  2 secret]", "malformed JSON at line 3, column 5: expected ',' or ']'"},
        {"{\"a\":1,\n\"a\":2}", "malformed JSON at line 2, column 6: an object has a name twice"},
        {"\"secret", "malformed JSON at line 1, column 8: a string does not end"},
        {"{\"k\":\"\xff\"}", "malformed JSON at line 1, column 7: not UTF-8"},
        {"", "malformed JSON at line 1, column 1: the document ends early"},
        {"1 2", "malformed JSON at line 1, column 3: text after the end of the document"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json *root = NULL;
        struct err err = {0};
        cr_expect_eq(json_parse(span_of_text(cases[i].text), &root, &err), ERR_INVALID);
        cr_expect_str_eq(err.msg, cases[i].message);
    }
}
