/*
 * Members and items as text: what is found, what is passed over, what is broken.
 */
#include "storage/base/json_raw.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

/* "name=value;…" of the whole walk, with '!' at the end when it failed. */
static void describe(struct json_raw raw, struct buffer *text)
{
    struct span name;
    struct span value;
    buffer_reset(text);
    while (json_raw_next(&raw, &name, &value)) {
        buffer_append_span(text, name);
        buffer_append_byte(text, '=');
        buffer_append_span(text, value);
        buffer_append_byte(text, ';');
    }
    buffer_append_text(text, raw.failed ? "!" : "");
    cr_expect_not(json_raw_next(&raw, &name, &value), "the end is the end");
}

Test(json_raw, walks_members_and_items)
{
    static const struct {
        const char *text;
        bool object;
        const char *found;
    } cases[] = {
        {"{}", true, ""},
        {" { } ", true, ""},
        {"[]", false, ""},
        {"[ ]", false, ""},
        {"{\"a\":1}", true, "a=1;"},
        {"{\"a\":12345678901234567.89,\"b\":1E-400}", true, "a=12345678901234567.89;b=1E-400;"},
        {"\n{ \"a\" :\t1 , \"b\" : [ 1, 2 ] }", true, "a=1;b=[ 1, 2 ];"},
        {"{\"a\":\"}\",\"b\":\"\\\"]\",\"c\":{\"a\":[\"}\"]}}", true,
         "a=\"}\";b=\"\\\"]\";c={\"a\":[\"}\"]};"},
        {"{\"\":null,\"\\u0061\":true}", true, "=null;\\u0061=true;"},
        {"[1,\"a\",{\"b\":[2]},[3],false]", false, "=1;=\"a\";={\"b\":[2]};=[3];=false;"},
        {"[ 1 , 2 ]", false, "=1;=2;"},
        {"", true, "!"},
        {"[1]", true, "!"},
        {"{\"a\":1}", false, "!"},
        {"1", true, "!"},
        {"{", true, "!"},
        {"{\"a\"", true, "!"},
        {"{\"a\":", true, "!"},
        {"{\"a\":1", true, "a=1;!"},
        {"{\"a\":1,", true, "a=1;!"},
        {"{\"a\":1,}", true, "a=1;!"},
        {"{\"a\" 1}", true, "!"},
        {"{a:1}", true, "!"},
        {"{\"a\":}", true, "!"},
        {"{\"a\":[1}", true, "a=[1};!"}, /* brackets inside a value are counted, not compared */
        {"{\"a\":\"b", true, "!"},
        {"{\"a\":\"b\\", true, "!"},
        {"[1 2]", false, "=1;!"},
        {"[1,]", false, "=1;!"},
        {"[,1]", false, "!"},
    };
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size = strlen(cases[i].text);
        /* a copy of just that size, so that reading past it is seen by the sanitizer */
        CLEANUP(mem_cleanup) uint8_t *copy = mem_copy(cases[i].text, size);
        struct span span = span_of(copy, size);
        describe(cases[i].object ? json_raw_members(span) : json_raw_items(span), &text);
        cr_expect(span_equal_text(buffer_span(&text), cases[i].found), "%s gave %.*s",
                  cases[i].text, SPAN_PRINT(buffer_span(&text)));
    }
}

Test(json_raw, finds_a_member_by_what_its_name_means)
{
    static const struct {
        const char *text;
        const char *name;
        const char *value; /* NULL: not found */
    } cases[] = {
        {"{\"a\":1,\"record\":{\"x\": 1.10}}", "record", "{\"x\": 1.10}"},
        {"{\"\\u0072ecord\":7}", "record", "7"},
        {"{\"a\\/b\":7}", "a/b", "7"},
        {"{\"a\\u\":1,\"\\u0000\":2,\"\\ud800\":3,\"b\":4}", "b", "4"},
        {"{\"nested\":{\"record\":1}}", "record", NULL},
        {"{\"text\":\"\\\"record\\\":1\"}", "record", NULL},
        {"{\"recor\":1,\"records\":2}", "record", NULL},
        {"{\"\":5}", "", "5"},
        {"{}", "record", NULL},
        {"[{\"record\":1}]", "record", NULL},
        {"{\"a\":1 \"record\":1}", "record", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct span value;
        bool found = json_raw_find(span_of_text(cases[i].text), cases[i].name, &value);
        cr_expect_eq(found, cases[i].value != NULL, "%s", cases[i].text);
        cr_expect(!found || span_equal_text(value, cases[i].value), "%s", cases[i].text);
    }
}

Test(json_raw, knows_whether_there_is_more_behind_the_end)
{
    static const struct {
        const char *text;
        bool whole;
    } cases[] = {
        {"{}", true},        {" {\"a\":{}} \n", true}, {"{} {}", false}, {"{\"a\":1}}", false},
        {"{\"a\":1", false}, {"{\"a\":1,}", false},    {"[]", false},    {"", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_raw raw = json_raw_members(span_of_text(cases[i].text));
        struct span name;
        struct span value;
        while (json_raw_next(&raw, &name, &value)) {
        }
        cr_expect_eq(json_raw_is_whole(&raw), cases[i].whole, "%s", cases[i].text);
    }
}

Test(json_raw, a_megabyte_of_brackets_is_walked_without_a_stack)
{
    static char text[1 << 20];
    struct span value;
    memset(text, '[', sizeof text / 2);
    memset(text + sizeof text / 2, ']', sizeof text / 2);
    struct json_raw raw = json_raw_items(span_of(text, sizeof text));
    struct span name;
    cr_expect(json_raw_next(&raw, &name, &value));
    cr_expect_eq(value.size, sizeof text - 2);
    cr_expect_not(json_raw_next(&raw, &name, &value));
    cr_expect_not(raw.failed);
}

Test(json_raw, finds_numbers_that_a_double_does_not_hold)
{
    static const struct {
        const char *text;
        const char *number; /* NULL: all are held */
    } cases[] = {
        {"{\"a\":0.1,\"b\":[1e300,-2.5,0.30000000000000004,12345678901234.56]}", NULL},
        {"[9007199254740993,123456789012345678]", NULL}, /* integers have a type of their own */
        {"[0.0,-0.0,0e5,0.000000000000000000000000001,100000000000000000000.0]", NULL},
        {"[1.10000000000000000000000]", NULL},
        {"{\"a\":\"12345678901234567.89\",\"b\":\"\\\"0.12345678901234567890\"}", NULL},
        {"[12345678901234567.89]", "12345678901234567.89"},
        {"{\"a\":[1, -1234567890123456.78 ]}", "-1234567890123456.78"},
        {"[0.12345678901234567890]", "0.12345678901234567890"},
        {"[9007199254740993.0]", "9007199254740993.0"},
        {"[1.00000000000000000001e5]", "1.00000000000000000001e5"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct span number = {0};
        bool found = json_raw_has_inexact(span_of_text(cases[i].text), &number);
        cr_expect_eq(found, cases[i].number != NULL, "%s", cases[i].text);
        cr_expect(!found || span_equal_text(number, cases[i].number), "%s", cases[i].text);
    }
}
