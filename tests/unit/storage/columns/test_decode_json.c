/*
 * NDJSON and JSON arrays: what is a record, what refuses the body, and how JSON
 * itself is read. Types and rules are test_decode_rules.c's.
 */
#include "decode_support.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

static struct schema *schema;

static void set_up(void)
{
    schema = decode_test_schema("{'schema':{'fields':["
                                "{'name':'k','type':'string','nullable':false},"
                                "{'name':'n','type':'integer'},"
                                "{'name':'a_name_of_more_than_sixteen_bytes','type':'string'},"
                                "{'name':'sixteen_bytes_ok','type':'long'},"
                                "{'name':'fifteen_bytes_o','type':'long'}]},"
                                "'key':['k'],'merge':'deletion-vectors'}");
}

static void tear_down(void)
{
    schema_release(&schema);
}

TestSuite(decode_json, .init = set_up, .fini = tear_down);

static const struct decode_options ndjson = {.format = DECODE_NDJSON};
static const struct decode_options array = {.format = DECODE_JSON_ARRAY};

struct text_case {
    const char *name;
    const char *body;
    const char *expected;
};

static void expect_cases(const struct text_case *cases, size_t count,
                         const struct decode_options *options)
{
    for (size_t i = 0; i < count; i++) {
        decode_test_expect(cases[i].name, span_of_text(cases[i].body), schema, options,
                           cases[i].expected);
    }
}

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(decode_json, reads_one_object_a_line)
{
    static const struct text_case cases[] = {
        {"one line", "{\"k\":\"a\",\"n\":1}\n", "1 upsert a|1|~|~|~"},
        {"no line feed at the end", "{\"k\":\"a\"}\n{\"k\":\"b\"}",
         "1 upsert a|~|~|~|~; 2 upsert b|~|~|~|~"},
        {"CRLF", "{\"k\":\"a\"}\r\n{\"k\":\"b\"}\r\n", "1 upsert a|~|~|~|~; 2 upsert b|~|~|~|~"},
        {"blank lines are counted, not read", "\n \t\r\n{\"k\":\"a\"}\n\n{\"k\":\"b\"}\n\n",
         "3 upsert a|~|~|~|~; 5 upsert b|~|~|~|~"},
        {"space everywhere", " { \"k\" : \"a\" , \"n\"\t:\t7 } \n", "1 upsert a|7|~|~|~"},
        {"any order of fields", "{\"n\":1,\"k\":\"a\"}\n{\"k\":\"b\",\"n\":2}\n",
         "1 upsert a|1|~|~|~; 2 upsert b|2|~|~|~"},
        {"names around the step of the scan",
         "{\"fifteen_bytes_o\":15,\"sixteen_bytes_ok\":16,\"k\":\"a\","
         "\"a_name_of_more_than_sixteen_bytes\":\"x\"}\n"
         "{\"fifteen_bytes_o\":15,\"sixteen_bytes_ok\":16,\"k\":\"a\","
         "\"a_name_of_more_than_sixteen_bytes\":\"x\"}\n",
         "1 upsert a|~|x|16|15; 2 upsert a|~|x|16|15"},
        {"byte order mark", "\xef\xbb\xbf{\"k\":\"a\"}\n", "1 upsert a|~|~|~|~"},
        {"escaped name", "{\"\\u006b\":\"a\"}\n", "1 upsert a|~|~|~|~"},
    };
    expect_cases(cases, COUNT(cases), &ndjson);
}

Test(decode_json, rejects_a_line_that_is_not_one_object)
{
    static const struct text_case cases[] = {
        {"number", "5\n", "!1  not_an_object"},
        {"array", "[{\"k\":\"a\"}]\n", "!1  not_an_object"},
        {"two objects", "{\"k\":\"a\"}{\"k\":\"b\"}\n", "!1  not_an_object"},
        {"two objects and space", "{\"k\":\"a\"} {\"k\":\"b\"}\n", "!1  not_an_object"},
        {"comma after", "{\"k\":\"a\"},\n{\"k\":\"b\"}\n", "2 upsert b|~|~|~|~; !1  not_an_object"},
        {"a word", "hello\n{\"k\":\"b\"}\n", "2 upsert b|~|~|~|~; !1  syntax"},
        {"cut off", "{\"k\":\"a\"\n{\"k\":\"b\"}\n", "2 upsert b|~|~|~|~; !1  syntax"},
        {"object over two lines", "{\"k\":\n\"a\"}\n", "!1  syntax; !2  not_an_object"},
        {"cut off in a name", "{\"k\n{\"k\":\"b\"}\n", "2 upsert b|~|~|~|~; !1  syntax"},
        {"cut off in a value", "{\"k\":\"a\n{\"k\":\"b\"}\n", "2 upsert b|~|~|~|~; !1  syntax"},
        {"cut off after a backslash", "{\"k\":\"a\\\n{\"k\":\"b\"}\n",
         "2 upsert b|~|~|~|~; !1  syntax"},
        {"cut off in an escape", "{\"k\":\"a\\u00\n{\"k\":\"b\"}\n",
         "2 upsert b|~|~|~|~; !1  syntax"},
        {"the body ends in a value", "{\"k\":\"a", "!1  syntax"},
        {"the body ends in an escape", "{\"k\":\"a\\u00", "!1  syntax"},
        {"the body ends after a colon", "{\"k\":", "!1  syntax"},
        {"the body ends after a comma", "{\"k\":\"a\",", "!1  syntax"},
        {"the body ends after a brace", "{", "!1  syntax"},
        {"no colon", "{\"k\" \"a\"}\n", "!1  syntax"},
        {"no quotes", "{k:\"a\"}\n", "!1  syntax"},
        {"single quotes", "{'k':'a'}\n", "!1  syntax"},
        {"comma before the brace", "{\"k\":\"a\",}\n", "!1  syntax"},
        {"empty member", "{,\"k\":\"a\"}\n", "!1  syntax"},
        {"control character in a string", "{\"k\":\"a\tb\"}\n", "!1  syntax"},
        {"control character in a long string",
         "{\"k\":\"0123456789abcdef0123456789\x1f"
         "abcdef0123456789abcdef\"}\n",
         "!1  syntax"},
        {"unknown escape", "{\"k\":\"\\x\"}\n", "!1  syntax"},
        {"NaN", "{\"k\":\"a\",\"n\":NaN}\n", "!1  syntax"},
        {"a longer word", "{\"k\":\"a\",\"n\":nulls}\n", "!1  syntax"},
        {"leading zero", "{\"k\":\"a\",\"n\":01}\n", "!1  syntax"},
        {"plus sign", "{\"k\":\"a\",\"n\":+1}\n", "!1  syntax"},
        {"bare minus", "{\"k\":\"a\",\"n\":-}\n", "!1  syntax"},
        {"bare point", "{\"k\":\"a\",\"n\":1.}\n", "!1  syntax"},
        {"bare exponent", "{\"k\":\"a\",\"n\":1e}\n", "!1  syntax"},
        {"quote in a name that is raw", "{\"k\"k\":\"a\"}\n", "!1  syntax"},
        {"a fault before the break is kept, too", "{\"n\":\"x\",\"k\":}\n",
         "!1 /n type; !1  syntax"},
    };
    expect_cases(cases, COUNT(cases), &ndjson);
}

Test(decode_json, reads_strings_to_the_letter)
{
    static const struct text_case cases[] = {
        {"short escapes", "{\"k\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
         "1 upsert \"\\/\b\f\n\r\t|~|~|~|~"},
        {"escapes of all UTF-8 lengths", "{\"k\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00!\"}",
         "1 upsert Aé€😀!|~|~|~|~"},
        {"raw UTF-8", "{\"k\":\"Nevárez €😀\"}", "1 upsert Nevárez €😀|~|~|~|~"},
        {"escape after a long run",
         "{\"k\":\"0123456789abcdef0123456789abcdef\\n0123456789abcdef\"}",
         "1 upsert 0123456789abcdef0123456789abcdef\n0123456789abcdef|~|~|~|~"},
        {"empty string is a value", "{\"k\":\"\"}", "1 upsert |~|~|~|~"},
        {"lone high surrogate", "{\"k\":\"\\ud83d\"}", "!1 /k invalid_character"},
        {"high surrogate and text", "{\"k\":\"\\ud83dxyzxyz\"}", "!1 /k invalid_character"},
        {"two high surrogates", "{\"k\":\"\\ud83d\\ud83d\"}", "!1 /k invalid_character"},
        {"high surrogate and a private character", "{\"k\":\"\\ud83d\\ue000\"}",
         "!1 /k invalid_character"},
        {"high surrogate and a letter", "{\"k\":\"\\ud83d\\u0041\"}", "!1 /k invalid_character"},
        {"lone low surrogate", "{\"k\":\"\\ude00\"}", "!1 /k invalid_character"},
        {"escaped NUL", "{\"k\":\"a\\u0000b\"}", "!1 /k invalid_character"},
        {"invalid UTF-8", "{\"k\":\"a\xff\"}", "!1 /k invalid_utf8"},
        {"overlong UTF-8", "{\"k\":\"\xc0\x80\"}", "!1 /k invalid_utf8"},
        {"raw surrogate", "{\"k\":\"\xed\xa0\x80\"}", "!1 /k invalid_utf8"},
        {"UTF-8 cut off by the quote", "{\"k\":\"\xe2\x82\"}", "!1 /k invalid_utf8"},
        {"invalid UTF-8 beside an escape", "{\"k\":\"\\n\xff\"}", "!1 /k invalid_utf8"},
        {"bytes after the quote do not count",
         "{\"k\":\"a\",\"a_name_of_more_than_sixteen_bytes\":"
         "\"é\"}",
         "1 upsert a|~|é|~|~"},
    };
    expect_cases(cases, COUNT(cases), &ndjson);
}

/* The sixteen-byte scan stops where it must for every length and place. */
Test(decode_json, scans_strings_of_every_length)
{
    for (size_t length = 0; length < 70; length++) {
        for (size_t place = 0; place <= length; place++) {
            CLEANUP(buffer_deinit) struct buffer body;
            CLEANUP(buffer_deinit) struct buffer expected;
            buffer_init(&body, 1 << 12);
            buffer_init(&expected, 1 << 12);
            buffer_append_text(&body, "{\"k\":\"");
            buffer_append_text(&expected, "1 upsert ");
            for (size_t i = 0; i < length; i++) {
                buffer_append_text(&body, i == place ? "\\\"" : "x");
                buffer_append_text(&expected, i == place ? "\"" : "x");
            }
            buffer_append_text(&body, "\"}");
            buffer_append(&expected, "|~|~|~|~", sizeof "|~|~|~|~");
            decode_test_expect("length", buffer_span(&body), schema, &ndjson,
                               (const char *)expected.data);
        }
    }
}

Test(decode_json, rejects_strange_and_repeated_fields)
{
    static const struct text_case cases[] = {
        {"unknown", "{\"k\":\"a\",\"x\":1}", "!1 /x unknown_field"},
        {"unknown with a tree", "{\"x\":{\"y\":[1,{\"z\":null}],\"w\":{}},\"k\":\"a\",\"v\":[]}",
         "!1 /x unknown_field; !1 /v unknown_field"},
        {"unknown with a broken tree", "{\"x\":{\"y\":[1,]},\"k\":\"a\"}",
         "!1 /x unknown_field; !1  syntax"},
        {"unknown with a member without value", "{\"x\":{\"y\":},\"k\":\"a\"}",
         "!1 /x unknown_field; !1  syntax"},
        {"unknown with crossed brackets", "{\"x\":[{]},\"k\":\"a\"}",
         "!1 /x unknown_field; !1  syntax"},
        {"names are case sensitive", "{\"k\":\"a\",\"N\":1}", "!1 /N unknown_field"},
        {"a name that may be a value is withheld",
         "{\"k\":\"a\",\"999-39-7557\":1,\"M123456789\":1,"
         "\"Jane Doe\":1}",
         "!1  unknown_field; !1  unknown_field; !1  unknown_field"},
        {"repeated", "{\"k\":\"a\",\"n\":1,\"n\":2}", "!1 /n duplicate_field"},
        {"repeated null", "{\"k\":\"a\",\"n\":null,\"n\":null}", "!1 /n duplicate_field"},
        {"repeated through an escape", "{\"k\":\"a\",\"n\":1,\"\\u006e\":2}",
         "!1 /n duplicate_field"},
        {"repeated after a fault", "{\"k\":\"a\",\"n\":\"x\",\"n\":2}",
         "!1 /n type; !1 /n duplicate_field"},
        {"repeated operation", "{\"_op\":\"patch\",\"k\":\"a\",\"_op\":\"delete\"}",
         "!1 /_op duplicate_field"},
        {"object where a scalar belongs", "{\"k\":\"a\",\"n\":{\"n\":1}}", "!1 /n type"},
        {"array where a scalar belongs", "{\"k\":[\"a\"],\"n\":1}", "!1 /k type"},
    };
    expect_cases(cases, COUNT(cases), &ndjson);
}

/* Names are compared sixteen bytes at once, quotes included: none passes for another. */
Test(decode_json, tells_names_of_every_length)
{
    enum { LENGTH_MAX = 40 };
    for (size_t length = 2; length <= LENGTH_MAX; length++) {
        char name[LENGTH_MAX + 1];
        for (size_t i = 0; i < length; i++) {
            name[i] = (char)('a' + i % 26);
        }
        name[length] = '\0';
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 1 << 12);
        buffer_append_format(&text,
                             "{'schema':{'fields':[{'name':'%s','type':'string','nullable':false},"
                             "{'name':'n','type':'integer'}]},'key':['%s'],"
                             "'merge':'deletion-vectors'}%c",
                             name, name, 0);
        CLEANUP(schema_release)
        struct schema *own = decode_test_schema((const char *)text.data);
        /* a byte is another, none is, one is behind it */
        for (size_t place = 0; place <= length + 1; place++) {
            bool is_name = place == length;
            size_t other_length = place > length ? length + 1 : length;
            char other[LENGTH_MAX + 2];
            memcpy(other, name, sizeof name);
            other[other_length] = '\0';
            if (!is_name) {
                other[place < length ? place : length] = '_';
            }
            CLEANUP(buffer_deinit) struct buffer body;
            buffer_init(&body, 1 << 12);
            buffer_append_format(&body, "{\"%s\":\"a\"}", other);
            CLEANUP(buffer_deinit) struct buffer expected;
            buffer_init(&expected, 1 << 12);
            CLEANUP(buffer_deinit) struct buffer expected_cut;
            buffer_init(&expected_cut, 1 << 12);
            if (!is_name) {
                buffer_append_format(&expected, "!1 /%s unknown_field; !1 /%s key_null%c", other,
                                     name, 0);
                buffer_append_format(&expected_cut, "!1 /%s unknown_field; !1  syntax%c", other, 0);
            } else {
                buffer_append_format(&expected, "1 upsert a|~%c", 0);
                buffer_append_format(&expected_cut, "!1  syntax%c", 0);
            }
            decode_test_expect(other, buffer_span(&body), own, &ndjson,
                               (const char *)expected.data);
            /* the same body, cut behind the closing quote */
            decode_test_expect("cut", span_of(body.data, other_length + 3), own, &ndjson,
                               (const char *)expected_cut.data);
        }
    }
}

/* Room for the rest is made behind the first records: those may be unlike it. */
Test(decode_json, records_may_grow_and_shrink_within_a_body)
{
    for (int grows = 0; grows < 2; grows++) {
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 24);
        for (int i = 0; i < 1000; i++) {
            bool is_long = (i < 64) != (grows == 1);
            buffer_append_format(&body, "{\"k\":\"%0*d\",\"n\":%d}\n", is_long ? 2000 : 4, i, i);
        }
        CLEANUP(frame_free) struct frame *frame = NULL;
        CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
        struct err err = {0};
        cr_assert_eq(decode_body(buffer_span(&body), schema, &ndjson, &frame, &errors, &err),
                     ERR_OK, "%s", err.msg);
        cr_assert_eq(frame->rows_count, 1000);
        frame_check(frame);
        for (int64_t i = 0; i < 1000; i++) {
            struct span key = column_bytes(&frame->columns[0], i);
            cr_assert_eq(frame->columns[1].values.i32[i], i);
            cr_assert_eq(key.size, (i < 64) != (grows == 1) ? 2000U : 4U);
            cr_assert_eq(key.data[key.size - 1], '0' + i % 10);
        }
    }
}

Test(decode_json, reads_arrays_of_objects)
{
    static const struct text_case cases[] = {
        {"one element", "[{\"k\":\"a\"}]", "1 upsert a|~|~|~|~"},
        {"lines inside", "[\n {\n\"k\":\n\"a\" },\n\n{\"k\":\"b\"}\n]\n",
         "1 upsert a|~|~|~|~; 2 upsert b|~|~|~|~"},
        {"one object alone", " {\"k\":\n\"a\"}\n", "1 upsert a|~|~|~|~"},
        {"lines are elements", "[{\"k\":\"a\"},{\"k\":1},{\"k\":\"c\"}]",
         "1 upsert a|~|~|~|~; 3 upsert c|~|~|~|~; !2 /k type"},
        {"elements of other kinds", "[1,{\"k\":\"b\"},null,[[]],\"x\"]",
         "2 upsert b|~|~|~|~; !1  not_an_object; !3  not_an_object; !4  not_an_object; "
         "!5  not_an_object"},
        {"invalid UTF-8 rejects its element only", "[{\"k\":\"\xff\"},{\"k\":\"b\"}]",
         "2 upsert b|~|~|~|~; !1 /k invalid_utf8"},
        {"byte order mark", "\xef\xbb\xbf[{\"k\":\"a\"}]", "1 upsert a|~|~|~|~"},
    };
    expect_cases(cases, COUNT(cases), &array);
}

Test(decode_json, refuses_broken_arrays_whole)
{
    static const struct text_case cases[] = {
        {"no end", "[{\"k\":\"a\"}",
         "invalid: element 1, at line 1, byte 11: expected ',' or ']' "
         "after an element"},
        {"no comma", "[{\"k\":\"a\"}\n{\"k\":\"b\"}]",
         "invalid: element 1, at line 2, byte 1: expected ',' or ']' after an element"},
        {"comma at the end", "[{\"k\":\"a\"},]",
         "invalid: element 2, at line 1, byte 12: not a JSON number"},
        {"broken element", "[{\"k\":\"a\"},\n {\"k\" \"b\"}]",
         "invalid: element 2, at line 2, byte 7: expected ':' after a field name"},
        {"broken value of an unknown field", "[{\"k\":\"a\",\"x\":tru}]",
         "invalid: element 1, at line 1, byte 15: not a JSON value"},
        {"control character", "[{\"k\":\"a\nb\"}]",
         "invalid: element 1, at line 1, byte 9: a string is not closed, or has a control "
         "character"},
        {"text after the end", "[{\"k\":\"a\"}] x",
         "invalid: line 1, byte 13: there is more after the end; lines of objects are NDJSON"},
        {"lines of objects", "{\"k\":\"a\"}\n{\"k\":\"b\"}\n",
         "invalid: line 2, byte 1: there is more after the end; lines of objects are NDJSON"},
        {"not an array", "\"x\"", "invalid: line 1, byte 1: expected an array of objects"},
        {"CSV", "k,n\na,1\n", "invalid: line 1, byte 1: expected an array of objects"},
        {"just a bracket", "[", "invalid: element 1, at line 1, byte 2: not a JSON number"},
    };
    expect_cases(cases, COUNT(cases), &array);
}

Test(decode_json, refuses_bodies_without_records_or_in_wide_encodings)
{
    static const struct {
        const char *name;
        struct span body;
        const struct decode_options *options;
        const char *expected;
    } cases[] = {
        {"empty NDJSON", {0}, &ndjson, "invalid: the body has no records"},
        {"empty array form", {0}, &array, "invalid: the body has no records"},
        {"blank lines",
         {(const uint8_t *)"\n \r\n", 4},
         &ndjson,
         "invalid: the body has no records"},
        {"empty array", {(const uint8_t *)"[ ]\n", 4}, &array, "invalid: the body has no records"},
        {"blank array form",
         {(const uint8_t *)" \n ", 3},
         &array,
         "invalid: the body has no records"},
        {"only a byte order mark",
         {(const uint8_t *)"\xef\xbb\xbf", 3},
         &ndjson,
         "invalid: the body has no records"},
        {"UTF-16 LE mark",
         {(const uint8_t *)"\xff\xfe{\0", 4},
         &ndjson,
         "invalid: the body is not UTF-8; it looks like UTF-16 or UTF-32, convert it first"},
        {"UTF-16 BE mark",
         {(const uint8_t *)"\xfe\xff\0{", 4},
         &array,
         "invalid: the body is not UTF-8; it looks like UTF-16 or UTF-32, convert it first"},
        {"UTF-16 LE without mark",
         {(const uint8_t *)"{\0\"\0", 4},
         &ndjson,
         "invalid: the body is not UTF-8; it looks like UTF-16 or UTF-32, convert it first"},
        {"UTF-32 BE without mark",
         {(const uint8_t *)"\0\0\0{", 4},
         &ndjson,
         "invalid: the body is not UTF-8; it looks like UTF-16 or UTF-32, convert it first"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        decode_test_expect(cases[i].name, cases[i].body, schema, cases[i].options,
                           cases[i].expected);
    }
}

/* {"x": and then `depth - 1` arrays. */
static void append_deep(struct buffer *body, int depth)
{
    buffer_append_text(body, "{\"k\":\"a\",\"x\":");
    for (int i = 1; i < depth; i++) {
        buffer_append_text(body, "[");
    }
    for (int i = 1; i < depth; i++) {
        buffer_append_text(body, "]");
    }
    buffer_append_text(body, "}");
}

Test(decode_json, limits_depth)
{
    static const struct {
        int depth;
        bool in_array;
        const char *expected;
    } cases[] = {
        {32, false, "!1 /x unknown_field"},
        {33, false, "invalid: line 1: nested more than 32 levels deep"},
        {100000, false, "invalid: line 1: nested more than 32 levels deep"},
        {32, true, "!1 /x unknown_field"},
        {33, true, "invalid: element 1: nested more than 32 levels deep"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 20);
        buffer_append_text(&body, cases[i].in_array ? "[" : "");
        append_deep(&body, cases[i].depth);
        buffer_append_text(&body, cases[i].in_array ? "]" : "");
        decode_test_expect("depth", buffer_span(&body), schema,
                           cases[i].in_array ? &array : &ndjson, cases[i].expected);
    }
}

Test(decode_json, limits_records_and_their_size)
{
    const char *three = "{\"k\":\"a\"}\n{\"k\":\"b\"}\n{\"k\":1}\n";
    const char *three_array = "[{\"k\":\"a\"},{\"k\":\"b\"},{\"k\":1}]";
    struct decode_options options = {.format = DECODE_NDJSON, .records_max = 3};
    decode_test_expect("at the limit", span_of_text(three), schema, &options,
                       "1 upsert a|~|~|~|~; 2 upsert b|~|~|~|~; !3 /k type");
    options.records_max = 2;
    decode_test_expect("one over", span_of_text(three), schema, &options,
                       "too_large: the body has more than 2 records; post it in smaller batches");
    options.format = DECODE_JSON_ARRAY;
    decode_test_expect("one element over", span_of_text(three_array), schema, &options,
                       "too_large: the body has more than 2 records; post it in smaller batches");

    options = (struct decode_options){.format = DECODE_NDJSON, .record_bytes_max = 9};
    decode_test_expect("record at the limit", span_of_text("{\"k\":\"a\"}\r\n"), schema, &options,
                       "1 upsert a|~|~|~|~");
    decode_test_expect("record one over", span_of_text("{\"k\":\"ab\"}"), schema, &options,
                       "too_large: line 1: the record has more than 9 bytes");
    options.format = DECODE_JSON_ARRAY;
    decode_test_expect("element one over", span_of_text("[{\"k\":\"ab\"}]"), schema, &options,
                       "too_large: element 1: the record has more than 9 bytes");

    /* 9 bytes of line and operation, 4 + 4 + 4 + 8 + 8 of slots, 2 of bits */
    options = (struct decode_options){.format = DECODE_NDJSON, .frame_bytes_max = 2 * 39};
    decode_test_expect("frame at the limit", span_of_text("{\"k\":\"a\"}\n{\"k\":\"b\"}\n"), schema,
                       &options, "1 upsert a|~|~|~|~; 2 upsert b|~|~|~|~");
    decode_test_expect("frame over", span_of_text(three), schema, &options,
                       "too_large: the records would take more than 78 bytes of memory once "
                       "decoded; post them in smaller batches");
}

Test(decode_json, survives_ten_thousand_fields_and_long_strings)
{
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, 1 << 24);
    buffer_append_text(&body, "{\"k\":\"a\"");
    for (int i = 0; i < 10000; i++) {
        buffer_append_format(&body, ",\"column_%d\":[%d]", i % 10, i);
    }
    buffer_append_text(&body, "}\n{\"k\":\"");
    for (int i = 0; i < SCHEMA_STRING_BYTES_MAX + 1; i++) {
        buffer_append_byte(&body, 'x');
    }
    buffer_append_text(&body, "\"}\n{\"k\":\"b\",\"n\":");
    for (int i = 0; i < 100000; i++) {
        buffer_append_byte(&body, '9');
    }
    buffer_append_text(&body, "}\n");

    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(buffer_span(&body), schema, &ndjson, &frame, &errors, &err), ERR_OK);
    cr_expect_eq(errors.rejected_count, 3);
    cr_expect_eq(errors.rejected[0].errors_count, DECODE_RECORD_ERRORS_MAX);
    cr_expect_eq(errors.rejected[0].errors_unkept, 10000 - DECODE_RECORD_ERRORS_MAX);
    cr_expect_eq(errors.items[errors.rejected[1].errors_first].code, DECODE_TOO_LONG);
    cr_expect_eq(errors.items[errors.rejected[2].errors_first].code, DECODE_RANGE);
}

Test(decode_json, keeps_the_raw_bytes_of_rejected_records)
{
    const char *body = "{\"k\":\"a\"}\n\n  {\"k\":7} \r\n{broken\r\n{\"k\":\"b\"}";
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(span_of_text(body), schema, &ndjson, &frame, &errors, &err), ERR_OK);
    cr_assert_eq(errors.rejected_kept, 2);
    cr_expect(span_equal_text(errors.rejected[0].payload, "  {\"k\":7} "));
    cr_expect(span_equal_text(errors.rejected[1].payload, "{broken"));
    cr_expect_eq(errors.rejected[1].line, 4);
    cr_expect_eq(frame->lines[1], 5);
}

/* `good` records and `bad` ones, the bad ones first. */
static void append_records(struct buffer *body, int bad, int good)
{
    for (int i = 0; i < bad; i++) {
        buffer_append_text(body, "{\"k\":null,\"n\":\"x\",\"y\":1}\n");
    }
    for (int i = 0; i < good; i++) {
        buffer_append_text(body, "{\"k\":\"a\"}\n");
    }
}

Test(decode_json, keeps_the_operation_that_a_rejected_record_asked_for)
{
    static const struct {
        const char *record;
        enum frame_operation expected;
    } cases[] = {
        {"{\"k\":7}", FRAME_PATCH},
        {"{\"_op\":\"delete\",\"k\":7}", FRAME_DELETE},
        {"{\"k\":7,\"_op\":\"insert\"}", FRAME_INSERT},
        {"{\"k\":7,\"_op\":\"remove\"}", FRAME_PATCH},
        {"{\"_op\":7,\"k\":7}", FRAME_PATCH},
        {"{broken", FRAME_PATCH},
    };
    const struct decode_options options = {.format = DECODE_NDJSON, .operation = FRAME_PATCH};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct frame *frame = NULL;
        struct decode_errors errors = {0};
        struct err err = {0};
        cr_assert_eq(
            decode_body(span_of_text(cases[i].record), schema, &options, &frame, &errors, &err),
            ERR_OK, "%s", err.msg);
        cr_assert_eq(errors.rejected_kept, 1, "%s", cases[i].record);
        cr_expect_eq(errors.rejected[0].operation, cases[i].expected, "%s", cases[i].record);
        frame_free(&frame);
        decode_errors_deinit(&errors);
    }
}

Test(decode_json, counts_rejected_records_against_their_limit)
{
    static const struct {
        const char *name;
        int bad, good;
        int64_t records_max;
        bool over;
        size_t kept;
    } cases[] = {
        {"all of few", 1000, 0, 0, false, 1000},
        {"one over a thousand of few", 1001, 0, 0, true, 1001},
        {"ten percent of many", 2000, 18000, 0, false, 2000},
        {"one over ten percent", 2001, 17999, 0, true, 2001},
        {"nothing is kept that must be refused", 3000, 0, 3000, true, 1000},
        {"the kept ones grow with what is allowed", 3000, 0, 15000, true, 1500},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, 1 << 22);
        append_records(&body, cases[i].bad, cases[i].good);
        CLEANUP(frame_free) struct frame *frame = NULL;
        CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
        struct err err = {0};
        const struct decode_options options = {.format = DECODE_NDJSON,
                                               .records_max = cases[i].records_max};
        cr_assert_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err),
                     ERR_OK, "%s: %s", cases[i].name, err.msg);
        cr_expect_eq(errors.rejected_count, cases[i].bad, "%s", cases[i].name);
        cr_expect_eq(errors.accepted_count, cases[i].good, "%s", cases[i].name);
        cr_expect_eq(decode_errors_over_limit(&errors), cases[i].over, "%s", cases[i].name);
        cr_expect_eq(errors.rejected_kept, cases[i].kept, "%s: %zu", cases[i].name,
                     errors.rejected_kept);
        cr_expect_eq(errors.items_count, 3 * errors.rejected_kept, "%s", cases[i].name);
    }
}

Test(decode_json, keeps_the_first_error_only_when_there_are_very_many)
{
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, 1 << 22);
    append_records(&body, 7000, 63000);
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(buffer_span(&body), schema, &ndjson, &frame, &errors, &err), ERR_OK);
    cr_expect_not(decode_errors_over_limit(&errors));
    const struct decode_rejected *last = &errors.rejected[6999];
    cr_expect_eq(last->errors_count, 1);
    cr_expect_eq(last->errors_unkept, 2);
    cr_expect_lt(errors.items_count, DECODE_ERRORS_FULL_MAX + 7000);
}
