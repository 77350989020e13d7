/*
 * JSON merge patch: the examples of RFC 7396 appendix A, and depth.
 */
#include "handlers/merge_patch.h"

#include <criterion/criterion.h>
#include <string.h>

static struct json *parse(const char *text)
{
    struct err err = {0};
    struct json *json = NULL;
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s: %s", text, err.msg);
    return json;
}

Test(merge_patch, does_what_the_rfc_shows)
{
    static const struct {
        const char *target;
        const char *patch;
        const char *result;
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"a\":{\"x\":1},\"b\":{\"y\":2}}", "{\"b\":{\"y\":null,\"z\":{\"w\":3}},\"a\":{}}",
         "{\"a\":{\"x\":1},\"b\":{\"z\":{\"w\":3}}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(json_free) struct json *target = parse(cases[i].target);
        CLEANUP(json_free) struct json *patch = parse(cases[i].patch);
        CLEANUP(json_free) struct json *expected = parse(cases[i].result);
        CLEANUP(json_free) struct json *merged = merge_patch(target, patch);
        cr_expect(json_equals(merged, expected), "case %zu", i);
    }
}

Test(merge_patch, goes_as_deep_as_a_document)
{
    char text[8 * JSON_DEPTH_MAX + 8] = "";
    size_t size = 0;
    for (size_t i = 0; i < JSON_DEPTH_MAX; i++) {
        memcpy(text + size, "{\"a\":", 5);
        size += 5;
    }
    text[size++] = '1';
    memset(text + size, '}', JSON_DEPTH_MAX);
    text[size + JSON_DEPTH_MAX] = '\0';
    CLEANUP(json_free) struct json *patch = parse(text);
    CLEANUP(json_free) struct json *merged = merge_patch(NULL, patch);
    cr_expect(json_equals(merged, patch));
}
