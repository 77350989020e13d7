/*
 * JSON values: reading what is there and what is not, building, comparing.
 */
#include "storage/base/json.h"

#include "storage/base/mem.h"

#include <criterion/criterion.h>
#include <jansson.h>

#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct json *parse(const char *text)
{
    struct json *root = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(text), &root, &err), ERR_OK, "%s", err.msg);
    return root;
}

static bool writes_as(const struct json *value, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    json_write(value, &text);
    return span_equal_text(buffer_span(&text), expected);
}

Test(json, absent_values_read_as_nothing)
{
    struct span text;
    int64_t integer = 0;
    double real = 0;
    bool boolean = false;
    size_t position = 0;
    const char *name = NULL;
    const struct json *value = NULL;
    cr_expect_eq(json_kind(NULL), JSON_KIND_NULL);
    cr_expect_null(json_get(NULL, "a"));
    cr_expect_null(json_at(NULL, 0));
    cr_expect_eq(json_count(NULL), 0);
    cr_expect_not(json_as_string(NULL, &text));
    cr_expect_not(json_as_integer(NULL, &integer));
    cr_expect_not(json_as_real(NULL, &real));
    cr_expect_not(json_as_boolean(NULL, &boolean));
    cr_expect_null(json_text(NULL));
    cr_expect_not(json_member(NULL, &position, &name, &value));
    struct json *nothing = NULL;
    json_free(&nothing);
}

Test(json, reads_by_kind_and_only_by_kind)
{
    CLEANUP(json_free)
    struct json *root =
        parse("{\"s\":\"x\",\"i\":7,\"r\":2.50,\"b\":true,\"n\":null,\"a\":[1],\"o\":{},"
              "\"z\":\"a\\u0000b\",\"big\":18446744073709551616}");
    struct span text;
    int64_t integer = 0;
    double real = 0;
    bool boolean = false;
    cr_expect(json_as_string(json_get(root, "s"), &text) && span_equal_text(text, "x"));
    cr_expect(json_as_integer(json_get(root, "i"), &integer) && integer == 7);
    cr_expect(json_as_real(json_get(root, "r"), &real) && real == 2.5);
    cr_expect(json_as_real(json_get(root, "i"), &real) && real == 7.0);
    cr_expect(json_as_boolean(json_get(root, "b"), &boolean) && boolean);
    cr_expect_eq(json_kind(json_get(root, "n")), JSON_KIND_NULL);
    cr_expect_eq(json_kind(json_get(root, "o")), JSON_KIND_OBJECT);
    cr_expect_eq(json_count(json_get(root, "a")), 1);
    cr_expect_null(json_at(json_get(root, "a"), 1));

    cr_expect_not(json_as_integer(json_get(root, "r"), &integer));
    cr_expect_not(json_as_integer(json_get(root, "s"), &integer));
    cr_expect_not(json_as_string(json_get(root, "i"), &text));
    cr_expect_not(json_as_boolean(json_get(root, "i"), &boolean));
    cr_expect_null(json_get(json_get(root, "a"), "x"));
    cr_expect_null(json_at(root, 0));

    cr_expect_str_eq(json_text(json_get(root, "s")), "x");
    cr_expect_null(json_text(json_get(root, "z")), "a NUL would cut it");
    cr_expect(json_as_string(json_get(root, "z"), &text) && text.size == 3);

    cr_expect_not(json_as_integer(json_get(root, "big"), &integer));
    cr_expect(json_as_real(json_get(root, "big"), &real) && real == 18446744073709551616.0);
}

Test(json, members_come_in_document_order)
{
    CLEANUP(json_free) struct json *root = parse("{\"b\":1,\"a\":2,\"c\":3}");
    size_t position = 0;
    const char *name = NULL;
    const struct json *value = NULL;
    char names[8] = "";
    for (size_t i = 0; json_member(root, &position, &name, &value); i++) {
        names[i] = name[0];
    }
    cr_expect_str_eq(names, "bac");
    cr_expect_not(json_member(root, &position, &name, &value));
    cr_expect_not(json_member(root, &position, &name, &value), "the end is the end");
    size_t start = 0;
    CLEANUP(json_free) struct json *empty = json_new_object();
    cr_expect_not(json_member(empty, &start, &name, &value));
}

Test(json, changes_keep_the_order_of_the_others)
{
    CLEANUP(json_free) struct json *root = parse("{\"b\":1,\"a\":2,\"c\":3,\"d\":4}");
    json_set_integer(root, "a", 5);
    json_remove(root, "c");
    json_set_integer(root, "c", 6);
    cr_expect(writes_as(root, "{\"b\":1,\"a\":5,\"d\":4,\"c\":6}"));
}

Test(json, memory_is_that_of_the_house)
{
    json_malloc_t allocate = NULL;
    json_free_t release = NULL;
    json_get_alloc_funcs(&allocate, &release);
    cr_expect(allocate == mem_alloc);
    cr_expect(release == mem_free);
}

Test(json, names_are_repaired_when_not_utf8)
{
    CLEANUP(json_free) struct json *root = json_new_object();
    json_set_integer(root, "a\xff", 1);
    cr_expect_not_null(json_get(root, "a\xff"));
    cr_expect(writes_as(root, "{\"a\xef\xbf\xbd\":1}"));
}

Test(json, reals_are_written_short_and_stay_reals)
{
    static const struct {
        double real;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {5, "5.0"},
        {-1e15, "-1e15"},
        {1234567890123456.0, "1234567890123456.0"},
        {0.30000000000000004, "0.30000000000000004"},
        {1e300, "1e300"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {2.5e-7, "2.5e-7"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *value = json_new_real(cases[i].real);
        CLEANUP(json_free) struct json *back = parse(cases[i].text);
        cr_expect(writes_as(value, cases[i].text), "%s", cases[i].text);
        cr_expect_eq(json_kind(back), JSON_KIND_REAL);
        cr_expect(json_equals(value, back), "%s", cases[i].text);
    }
}

Test(json, check_names)
{
    static const char *const allowed[] = {"a", "b", NULL};
    static const struct {
        const char *text;
        const char *message; /* NULL: fine */
    } cases[] = {
        {"{}", NULL},
        {"{\"b\":1,\"a\":1}", NULL},
        {"{\"a\":1,\"c\":1}", "/x/c is not a name that is known here"},
        {"{\"a/b~c\":1}", "/x/a~1b~0c is not a name that is known here"},
        {"[]", "/x must be an object"},
        {"1", "/x must be an object"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *root = parse(cases[i].text);
        struct err err = {0};
        enum err_code code = json_check_names(root, "/x", allowed, &err);
        cr_expect_eq(code, cases[i].message == NULL ? ERR_OK : ERR_INVALID, "%s", cases[i].text);
        cr_expect_str_eq(err.msg, cases[i].message == NULL ? "" : cases[i].message);
    }
    struct err err = {0};
    cr_expect_eq(json_check_names(NULL, "", allowed, &err), ERR_INVALID);
    cr_expect_str_eq(err.msg, "the document must be an object");
}

Test(json, builds_and_changes_objects)
{
    CLEANUP(json_free) struct json *root = json_new_object();
    json_set_text(root, "text", "a\"b");
    json_set_text(root, "nothing", NULL);
    json_set_integer(root, "integer", INT64_MIN);
    json_set_boolean(root, "no", false);
    json_set(root, "real", json_new_real(0.5));
    json_set(root, "null", NULL);
    struct json *list = json_new_array();
    json_append(list, json_new_integer(1));
    json_append(list, NULL);
    json_append(list, json_new_boolean(true));
    json_set(root, "list", list);
    cr_expect(writes_as(root, "{\"text\":\"a\\\"b\",\"nothing\":null,"
                              "\"integer\":-9223372036854775808,\"no\":false,\"real\":0.5,"
                              "\"null\":null,\"list\":[1,null,true]}"));

    json_set_integer(root, "text", 1);
    json_remove(root, "nothing");
    json_remove(root, "list");
    json_remove(root, "never there");
    json_remove(root, "null");
    cr_expect(writes_as(root, "{\"text\":1,\"integer\":-9223372036854775808,\"no\":false,"
                              "\"real\":0.5}"));
}

/* Every name of 0…count-1 that is kept must be found, and no other. */
static void expect_names(const struct json *root, int count, int step)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%d", i); /* fits */
        int64_t value = -1;
        bool found = json_as_integer(json_get(root, name), &value);
        cr_assert_eq(found, i % step == 0, "%s", name);
        cr_assert_eq(value, found ? i : -1);
    }
}

Test(json, large_objects_grow_and_shrink)
{
    CLEANUP(json_free) struct json *root = json_new_object();
    for (int i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%d", i); /* fits */
        json_set_integer(root, name, -i);
        json_set_integer(root, name, i);
        cr_assert_eq(json_count(root), (size_t)i + 1);
    }
    expect_names(root, 300, 1);
    for (int i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "k%d", i); /* fits */
        if (i % 30 != 0) {
            json_remove(root, name);
        }
    }
    cr_expect_eq(json_count(root), 10);
    expect_names(root, 300, 30);
    json_set_integer(root, "k300", 300);
    expect_names(root, 301, 30);
}

Test(json, strings_are_repaired_when_not_utf8)
{
    static const struct {
        const char *bytes;
        const char *text;
    } cases[] = {
        {"", "\"\""},
        {"ok", "\"ok\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"a\xc3", "\"a\xef\xbf\xbd\""},
        {"\xc3\xa9\x80z", "\"\xc3\xa9\xef\xbf\xbdz\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *value = json_new_text(cases[i].bytes);
        cr_expect(writes_as(value, cases[i].text), "case %zu", i);
    }
    CLEANUP(json_free) struct json *empty = json_new_string((struct span){0});
    cr_expect(writes_as(empty, "\"\""));
}

Test(json, copy_is_deep)
{
    static const char text[] = "{\"a\":[1,2.5,\"x\",null,true,{\"b\":{}}],\"c\":\"\"}";
    CLEANUP(json_free) struct json *root = parse(text);
    struct json *copy = json_duplicate(root);
    cr_expect(json_equals(root, copy));
    json_free(&root);
    cr_expect(writes_as(copy, text));
    json_free(&copy);
    cr_expect_null(copy);
    CLEANUP(json_free) struct json *null = json_duplicate(NULL);
    cr_expect_eq(json_kind(null), JSON_KIND_NULL);
}

Test(json, equal)
{
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } cases[] = {
        {"1", "1", true},
        {"1", "2", false},
        {"1", "1.0", false},
        {"1.0", "1.00", true},
        {"1.5", "2.5", false},
        {"\"a\"", "\"a\"", true},
        {"\"a\"", "\"b\"", false},
        {"\"a\"", "\"a\\u0000\"", false},
        {"null", "null", true},
        {"null", "false", false},
        {"true", "false", false},
        {"[1,2]", "[1,2]", true},
        {"[1,2]", "[2,1]", false},
        {"[1,2]", "[1,2,3]", false},
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"[]", "{}", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *a = parse(cases[i].a);
        CLEANUP(json_free) struct json *b = parse(cases[i].b);
        cr_expect_eq(json_equals(a, b), cases[i].equal, "%s %s", cases[i].a, cases[i].b);
        cr_expect_eq(json_equals(b, a), cases[i].equal, "%s %s", cases[i].b, cases[i].a);
    }
    CLEANUP(json_free) struct json *null = json_new_null();
    cr_expect(json_equals(NULL, null));
    cr_expect(json_equals(NULL, NULL));
}

/* spec: RFC 6901 section 5, and what it forbids */
Test(json, a_pointer_leads_to_one_value)
{
    CLEANUP(json_free)
    struct json *root =
        parse("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,"
              "\"k\\\"l\":6,\" \":7,\"m~n\":8,\"deep\":[{\"x\":[[9]]}],\"n\":null}");
    static const struct {
        const char *pointer;
        const char *value; /* NULL = none */
    } cases[] = {
        {"/foo", "[\"bar\",\"baz\"]"},
        {"/foo/0", "\"bar\""},
        {"/", "0"},
        {"/a~1b", "1"},
        {"/c%d", "2"},
        {"/e^f", "3"},
        {"/k\"l", "6"},
        {"/ ", "7"},
        {"/m~0n", "8"},
        {"/deep/0/x/0/0", "9"},
        {"/n", "null"},
        {"/foo/2", NULL},
        {"/foo/00", NULL},
        {"/foo/01", NULL},
        {"/foo/-", NULL},
        {"/foo/-1", NULL},
        {"/foo/", NULL},
        {"/foo/0/x", NULL},
        {"/none", NULL},
        {"/n/x", NULL},
        {"foo", NULL},
        {"/m~2n", NULL},
        {"/m~", NULL},
        {"/m~n", NULL},
        {"/foo/99999999999999999999", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct json *found = json_find(root, span_of_text(cases[i].pointer));
        if (cases[i].value == NULL) {
            cr_expect_null(found, "%s", cases[i].pointer);
        } else {
            CLEANUP(json_free) struct json *expected = parse(cases[i].value);
            cr_expect_not_null(found, "%s", cases[i].pointer);
            cr_expect(json_equals(found, expected), "%s", cases[i].pointer);
        }
    }
    cr_expect_eq(json_find(root, span_of_text("")), root);
    cr_expect_null(json_find(NULL, span_of_text("/x")));
}
