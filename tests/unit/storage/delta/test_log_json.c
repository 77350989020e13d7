/*
 * JSON of the log: what is read from it, what is refused, and our limits.
 */
#include "storage/delta/log_json.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "tests/support/json_texts.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { MEMORY_BYTES_MAX = 256 << 20 };

static void describe(const struct log_json *value, struct buffer *text);

static void describe_members(const struct log_json *object, struct buffer *text)
{
    size_t position = 0;
    const char *name = NULL;
    const struct log_json *value = NULL;
    buffer_append_byte(text, '{');
    while (log_json_member(object, &position, &name, &value)) {
        buffer_append_text(text, position > 1 ? "," : "");
        json_write_string(text, span_of_text(name));
        buffer_append_byte(text, ':');
        describe(value, text);
    }
    buffer_append_byte(text, '}');
    cr_expect_not(log_json_member(object, &position, &name, &value), "the end is the end");
}

/* The value as compact JSON, with "real" where the number is not kept. */
static void describe(const struct log_json *value, struct buffer *text)
{
    int64_t integer = 0;
    bool boolean = false;
    struct span string;
    if (log_json_as_integer(value, &integer)) {
        buffer_append_format(text, "%" PRId64, integer);
    } else if (log_json_as_boolean(value, &boolean)) {
        buffer_append_text(text, boolean ? "true" : "false");
    } else if (log_json_as_string(value, &string)) {
        json_write_string(text, string);
    } else if (log_json_kind(value) == LOG_JSON_OBJECT) {
        describe_members(value, text);
    } else if (log_json_kind(value) == LOG_JSON_ARRAY) {
        buffer_append_byte(text, '[');
        for (size_t i = 0; i < log_json_count(value); i++) {
            buffer_append_text(text, i > 0 ? "," : "");
            describe(log_json_at(value, i), text);
        }
        buffer_append_byte(text, ']');
    } else {
        buffer_append_text(text, log_json_kind(value) == LOG_JSON_REAL ? "real" : "null");
    }
}

/* Parse and describe; the text must read as `expected`, or be refused when NULL. */
static void expect_read(struct span text, const char *expected)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, MEMORY_BYTES_MAX);
    const struct log_json *root = NULL;
    CLEANUP(buffer_deinit) struct buffer described;
    buffer_init(&described, 1 << 20);
    struct err err = {0};
    enum err_code code = log_json_parse(text, &arena, &root, &err);
    if (expected == NULL) {
        cr_expect_eq(code, ERR_CORRUPT, "%.*s was accepted", SPAN_PRINT(text));
        cr_expect_null(root);
        cr_expect_neq(err.msg[0], '\0');
        return;
    }
    cr_expect_eq(code, ERR_OK, "%.*s: %s", SPAN_PRINT(text), err.msg);
    describe(root, &described);
    cr_expect(span_equal_text(buffer_span(&described), expected), "%.*s became %.*s",
              SPAN_PRINT(text), SPAN_PRINT(buffer_span(&described)));
}

Test(log_json, accepts)
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
        {"9223372036854775808", "real"},
        {"99999999999999999999999999999999999999", "real"},
        {"[1.50,1E5,-1e-5,1e-400,-0.0]", "[real,real,real,real,real]"},
        {"\"\"", "\"\""},
        {"\"a b\"", "\"a b\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\"\\u0000\"", "\"\\u0000\""},
        {"\"\\uFFFF\\u001f\"", "\"\xef\xbf\xbf\\u001f\""},
        {"\"\x7f\"", "\"\x7f\""},
        {"\"Zo\xc3\xab\"", "\"Zo\xc3\xab\""},
        {"[ ]", "[]"},
        {"{ }", "{}"},
        {"[1,[2,[],{}],3]", "[1,[2,[],{}],3]"},
        {"{\"a\":{\"b\":[null]},\"c\":\"d\"}", "{\"a\":{\"b\":[null]},\"c\":\"d\"}"},
        {"{\"b\":1 , \"a\" : 2}", "{\"b\":1,\"a\":2}"},
        {"{\"\":1}", "{\"\":1}"},
        {"{\"\\u0061\\n\":1}", "{\"a\\n\":1}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_read(span_of_text(cases[i].text), cases[i].expected);
    }
}

Test(log_json, refuses)
{
    for (size_t i = 0; i < json_texts_refused_count; i++) {
        expect_read(json_texts_refused[i], NULL);
    }
    expect_read((struct span){0}, NULL);
}

Test(log_json, absent_values_read_as_nothing)
{
    struct span text;
    int64_t integer = 0;
    bool boolean = false;
    size_t position = 0;
    const char *name = NULL;
    const struct log_json *value = NULL;
    cr_expect_eq(log_json_kind(NULL), LOG_JSON_NULL);
    cr_expect_null(log_json_get(NULL, "a"));
    cr_expect_null(log_json_at(NULL, 0));
    cr_expect_eq(log_json_count(NULL), 0);
    cr_expect_not(log_json_as_string(NULL, &text));
    cr_expect_not(log_json_as_integer(NULL, &integer));
    cr_expect_not(log_json_as_boolean(NULL, &boolean));
    cr_expect_null(log_json_text(NULL));
    cr_expect_not(log_json_member(NULL, &position, &name, &value));
}

Test(log_json, reads_by_kind_and_only_by_kind)
{
    static const char document[] =
        "{\"s\":\"x\",\"i\":7,\"r\":2.50,\"b\":true,\"n\":null,\"a\":[1],\"z\":\"a\\u0000b\"}";
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, MEMORY_BYTES_MAX);
    const struct log_json *root = NULL;
    struct err err = {0};
    struct span text;
    int64_t integer = 0;
    bool boolean = false;
    cr_assert_eq(log_json_parse(span_of_text(document), &arena, &root, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(log_json_kind(log_json_get(root, "n")), LOG_JSON_NULL);
    cr_expect_null(log_json_at(log_json_get(root, "a"), 1));
    cr_expect_not(log_json_as_integer(log_json_get(root, "r"), &integer));
    cr_expect_not(log_json_as_integer(log_json_get(root, "s"), &integer));
    cr_expect_not(log_json_as_string(log_json_get(root, "i"), &text));
    cr_expect_not(log_json_as_boolean(log_json_get(root, "i"), &boolean));
    cr_expect_null(log_json_get(log_json_get(root, "a"), "x"));
    cr_expect_null(log_json_at(root, 0));
    cr_expect_str_eq(log_json_text(log_json_get(root, "s")), "x");
    cr_expect_null(log_json_text(log_json_get(root, "z")), "a NUL would cut it");
    cr_expect(log_json_as_string(log_json_get(root, "z"), &text) && text.size == 3);
}

Test(log_json, every_prefix_of_a_document_is_refused)
{
    static const char text[] = "{\"name\":\"Zo\xc3\xab \\u00e9\\ud83d\\ude00\",\"list\":[1,-2.5e3,"
                               "true,false,null,{\"x\":{}}],\"end\":[]}";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        /* a copy of just that size, so that reading past it is seen by the sanitizer */
        CLEANUP(mem_cleanup) uint8_t *copy = mem_copy(text, size);
        CLEANUP(arena_deinit) struct arena arena;
        arena_init(&arena, MEMORY_BYTES_MAX);
        const struct log_json *root = NULL;
        struct err err = {0};
        cr_expect_eq(log_json_parse(span_of(copy, size), &arena, &root, &err), ERR_CORRUPT, "%zu",
                     size);
    }
    expect_read(span_of_text(text), "{\"name\":\"Zo\xc3\xab \xc3\xa9\xf0\x9f\x98\x80\","
                                    "\"list\":[1,real,true,false,null,{\"x\":{}}],\"end\":[]}");
}

static void nest(char *text, size_t depth, char open, char close)
{
    memset(text, open, depth);
    memset(text + depth, close, depth);
    text[2 * depth] = '\0';
}

Test(log_json, depth_at_and_over_the_limit)
{
    char text[2 * LOG_JSON_DEPTH_MAX + 3];
    nest(text, LOG_JSON_DEPTH_MAX, '[', ']');
    expect_read(span_of_text(text), text);
    nest(text, LOG_JSON_DEPTH_MAX + 1, '[', ']');
    expect_read(span_of_text(text), NULL);
    cr_expect_eq((int)LOG_JSON_DEPTH_MAX, (int)JSON_DEPTH_MAX);
}

Test(log_json, a_megabyte_of_brackets_is_refused_at_once)
{
    static char text[1 << 20];
    memset(text, '[', sizeof text);
    expect_read(span_of(text, sizeof text), NULL);
    for (size_t i = 0; i + 5 < sizeof text; i += 5) {
        memcpy(text + i, "{\"a\":", 5);
    }
    expect_read(span_of(text, sizeof text), NULL);
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

Test(log_json, large_objects_find_every_member_and_duplicate)
{
    static const int counts[] = {1, 15, 16, 17, 18, 1000, 200000};
    for (size_t i = 0; i < COUNT(counts); i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        CLEANUP(arena_deinit) struct arena arena;
        arena_init(&arena, MEMORY_BYTES_MAX);
        const struct log_json *root = NULL;
        struct err err = {0};
        buffer_init(&text, 16 << 20);
        many_members(&text, counts[i], false);
        cr_assert_eq(log_json_parse(buffer_span(&text), &arena, &root, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_eq(log_json_count(root), (size_t)counts[i]);
        for (int n = 0; n < counts[i]; n++) {
            char name[16];
            int64_t value = -1;
            (void)snprintf(name, sizeof name, "n%d", n); /* fits */
            cr_assert(log_json_as_integer(log_json_get(root, name), &value));
            cr_assert_eq(value, n);
        }
        cr_expect_null(log_json_get(root, "n"));
        cr_expect_null(log_json_get(root, "zz"));

        const struct log_json *refused = NULL;
        buffer_reset(&text);
        many_members(&text, counts[i], true);
        cr_expect_eq(log_json_parse(buffer_span(&text), &arena, &refused, &err), ERR_CORRUPT);
    }
}

Test(log_json, message_has_place_and_reason_but_no_content)
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
        CLEANUP(arena_deinit) struct arena arena;
        arena_init(&arena, MEMORY_BYTES_MAX);
        const struct log_json *root = NULL;
        struct err err = {0};
        cr_expect_eq(log_json_parse(span_of_text(cases[i].text), &arena, &root, &err), ERR_CORRUPT);
        cr_expect_str_eq(err.msg, cases[i].message);
    }
}

/* Every allocation in turn is one too many. */
Test(log_json, a_full_arena_is_an_error_wherever_it_fills)
{
    CLEANUP(buffer_deinit) struct buffer text;
    struct err err = {0};
    bool done = false;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "[[1,2,3,4,5,6],{\"\\u0061\":\"\\u0062\",\"c\":[true,null,2.5]},");
    many_members(&text, 20, false);
    buffer_append_byte(&text, ']');
    for (size_t memory = 0; !done; memory += 16) {
        CLEANUP(arena_deinit) struct arena arena;
        const struct log_json *root = NULL;
        arena_init(&arena, memory);
        enum err_code code = log_json_parse(buffer_span(&text), &arena, &root, &err);
        done = code == ERR_OK;
        cr_assert(done || code == ERR_TOO_LARGE, "%zu: %s", memory, err.msg);
        cr_assert_eq(root != NULL, done);
        cr_assert(memory < 1 << 16);
    }
}
