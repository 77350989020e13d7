/*
 * JSON text out: always valid, whatever the strings hold.
 */
#include "storage/base/json.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(json_write, string_escapes)
{
    static const struct {
        struct span bytes;
        const char *text;
    } cases[] = {
        {{(const uint8_t *)"", 0}, "\"\""},
        {{(const uint8_t *)"plain text of some length", 25}, "\"plain text of some length\""},
        {{(const uint8_t *)"\"\\/", 3}, "\"\\\"\\\\/\""},
        {{(const uint8_t *)"\b\t\n\f\r", 5}, "\"\\b\\t\\n\\f\\r\""},
        {{(const uint8_t *)"\0\x01\x0b\x1b\x1f\x7f", 6},
         "\"\\u0000\\u0001\\u000b\\u001b\\u001f\x7f\""},
        {{(const uint8_t *)"Zo\xc3\xab\xf0\x9f\x98\x80", 8}, "\"Zo\xc3\xab\xf0\x9f\x98\x80\""},
        {{(const uint8_t *)"\xff\xc3(\xed\xa0\x80", 6},
         "\"\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{(const uint8_t *)"cut \xe2\x82", 6}, "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 4096);
        json_write_string(&text, cases[i].bytes);
        cr_expect(span_equal_text(buffer_span(&text), cases[i].text), "%.*s",
                  SPAN_PRINT(buffer_span(&text)));
    }
}

Test(json_write, every_byte_at_every_offset_reads_back)
{
    for (int byte = 0; byte < 0x80; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char bytes[20];
            memset(bytes, 'x', sizeof bytes);
            bytes[at] = (char)byte;
            CLEANUP(buffer_deinit) struct buffer text;
            CLEANUP(json_free) struct json *back = NULL;
            struct err err = {0};
            struct span read;
            buffer_init(&text, 4096);
            json_write_string(&text, span_of(bytes, sizeof bytes));
            cr_assert_eq(json_parse(buffer_span(&text), &back, &err), ERR_OK, "%s", err.msg);
            cr_assert(json_as_string(back, &read));
            cr_assert(span_equal(read, span_of(bytes, sizeof bytes)), "%d at %zu", byte, at);
        }
    }
}

Test(json_write, pretty)
{
    CLEANUP(json_free) struct json *root = NULL;
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    buffer_init(&text, 4096);
    cr_assert_eq(json_parse(span_of_text("{\"a\":[1,{}],\"b\":{\"c\":[]}}"), &root, &err), ERR_OK);
    json_write_pretty(root, &text);
    cr_expect(span_equal_text(buffer_span(&text), "{\n"
                                                  "  \"a\": [\n"
                                                  "    1,\n"
                                                  "    {}\n"
                                                  "  ],\n"
                                                  "  \"b\": {\n"
                                                  "    \"c\": []\n"
                                                  "  }\n"
                                                  "}"));
}

Test(json_write, members_without_a_tree)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    buffer_append_byte(&text, '{');
    json_write_text_member(&text, "first", "a \"quoted\" {");
    json_write_integer_member(&text, "second", -7);
    json_write_name(&text, "inner");
    buffer_append_byte(&text, '{');
    json_write_integer_member(&text, "only", INT64_MAX);
    buffer_append_byte(&text, '}');
    json_write_text_member(&text, "last", "");
    buffer_append_byte(&text, '}');
    cr_expect(span_equal_text(buffer_span(&text),
                              "{\"first\":\"a \\\"quoted\\\" {\",\"second\":-7,"
                              "\"inner\":{\"only\":9223372036854775807},\"last\":\"\"}"),
              "%.*s", SPAN_PRINT(buffer_span(&text)));
}

Test(json_write, null_pointer_is_null)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 16);
    json_write(NULL, &text);
    cr_expect(span_equal_text(buffer_span(&text), "null"));
}

Test(json_write, stops_at_the_ceiling)
{
    CLEANUP(json_free) struct json *root = json_new_text("longer than eight bytes");
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    buffer_init(&text, 8);
    json_write(root, &text);
    cr_expect_eq(buffer_check(&text, "answer", &err), ERR_TOO_LARGE);
}
