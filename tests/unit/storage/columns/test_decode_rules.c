/*
 * Types, rules and operations: the same through JSON and, where a value has a
 * CSV form of its own, through CSV.
 */
#include "decode_support.h"

#include "storage/base/buffer.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

TestSuite(decode_rules);

static const struct decode_options ndjson = {.format = DECODE_NDJSON};
static const struct decode_options csv = {.format = DECODE_CSV};

/* A table with the field v of the given definition beside its key. */
static struct schema *schema_with(const char *field)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 16);
    buffer_append_format(&text,
                         "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                         "{'name':'v',%s}]},'key':['k'],'merge':'deletion-vectors'}",
                         field);
    buffer_append_byte(&text, 0);
    return decode_test_schema((const char *)text.data);
}

struct value_case {
    const char *value;    /* as it stands in the body */
    const char *expected; /* the value read, or "!" and the code */
};

static void expect_value(const char *field, const struct schema *schema, const char *form,
                         const struct decode_options *options, const struct value_case *one)
{
    CLEANUP(buffer_deinit) struct buffer body;
    CLEANUP(buffer_deinit) struct buffer expected;
    CLEANUP(buffer_deinit) struct buffer name;
    buffer_init(&body, 1 << 20);
    buffer_init(&expected, 1 << 20);
    buffer_init(&name, 1 << 20);
    bool is_csv = options->format == DECODE_CSV;
    buffer_append_format(&name, "%s %s %s", form, field, one->value);
    buffer_append_byte(&name, 0);
    buffer_append_format(&body, is_csv ? "k,v\na,%s\n" : "{\"k\":\"a\",\"v\":%s}\n", one->value);
    int line = is_csv ? 2 : 1;
    if (one->expected[0] == '!') {
        buffer_append_format(&expected, "!%d /v %s", line, one->expected + 1);
    } else {
        buffer_append_format(&expected, "%d upsert a|%s", line, one->expected);
    }
    buffer_append_byte(&expected, 0);
    decode_test_expect((const char *)name.data, span_of(body.data, body.size), schema, options,
                       (const char *)expected.data);
}

static void expect_json(const char *field, const struct value_case *cases, size_t count)
{
    CLEANUP(schema_release) struct schema *schema = schema_with(field);
    for (size_t i = 0; i < count; i++) {
        expect_value(field, schema, "JSON", &ndjson, &cases[i]);
    }
}

static void expect_csv(const char *field, const struct value_case *cases, size_t count)
{
    CLEANUP(schema_release) struct schema *schema = schema_with(field);
    for (size_t i = 0; i < count; i++) {
        expect_value(field, schema, "CSV", &csv, &cases[i]);
    }
}

Test(decode_rules, integers)
{
    static const struct value_case json[] = {
        {"0", "0"},
        {"-0", "0"},
        {"2147483647", "2147483647"},
        {"-2147483648", "-2147483648"},
        {"2147483648", "!range"},
        {"-2147483649", "!range"},
        {"99999999999999999999999999", "!range"},
        {"1.0", "!type"},
        {"1e2", "!type"},
        {"\"1\"", "!type"},
        {"true", "!type"},
        {"[1]", "!type"},
        {"{}", "!type"},
        {"null", "~"},
    };
    static const struct value_case text[] = {
        {"7", "7"},       {"007", "7"},
        {"-12", "-12"},   {"\"8\"", "8"},
        {"+7", "!type"},  {" 7", "!type"},
        {"1.0", "!type"}, {"2147483648", "!range"},
        {"-", "!type"},   {"", "~"},
        {"x", "!type"},   {"99999999999999999999999999", "!range"},
    };
    expect_json("'type':'integer'", json, COUNT(json));
    expect_csv("'type':'integer'", text, COUNT(text));
}

Test(decode_rules, longs)
{
    static const struct value_case json[] = {
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "!range"},
        {"-9223372036854775809", "!range"},
        {"18446744073709551617", "!range"},
        {"1234567890123456789012", "!range"},
        {"0.5", "!type"},
    };
    static const struct value_case text[] = {
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "!range"},
    };
    expect_json("'type':'long'", json, COUNT(json));
    expect_csv("'type':'long'", text, COUNT(text));
}

Test(decode_rules, doubles)
{
    static const struct value_case json[] = {
        {"0", "0"},
        {"0.1", "0.1"},
        {"-1.5e3", "-1500"},
        {"1e22", "1e22"},
        {"1e23", "1e23"},
        {"9007199254740993", "9007199254740992"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"123456789012345678901234567890", "1.2345678901234568e29"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"},
        {"1.7976931348623157e308", "1.7976931348623157e308"},
        {"208.1918845191089989", "208.191884519109"}, /* rounded twice it would end in 898 */
        {"1e309", "!range"},
        {"-1e999999999999", "!range"},
        {"1e-999999999999", "0"},
        {"\"1.5\"", "!type"},
    };
    static const struct value_case text[] = {
        {"39181.279999999984", "39181.279999999984"},
        {"-70.87606663457474", "-70.87606663457474"},
        {"1e5", "100000"},
        {"NaN", "!type"},
        {"inf", "!type"},
        {".5", "!type"},
        {"0x10", "!type"},
    };
    expect_json("'type':'double'", json, COUNT(json));
    expect_csv("'type':'double'", text, COUNT(text));
}

Test(decode_rules, decimals)
{
    static const struct value_case json[] = {
        {"0", "0.00"},
        {"1.5", "1.50"},
        {"-99999999.99", "-99999999.99"},
        {"99999999.99", "99999999.99"},
        {"100000000", "!range"},
        {"1.005", "!range"},
        {"1.500", "1.50"},
        {"15e-1", "1.50"},
        {"1e7", "10000000.00"},
        {"1e8", "!range"},
        {"\"12.34\"", "12.34"},
        {"\"abc\"", "!type"},
        {"\"\"", "!type"},
        {"\" 1\"", "!type"},
        {"false", "!type"},
        {"0.00000000000000000000000000000000000000000000000", "0.00"},
        {"1e99999999999", "!range"},
    };
    static const struct value_case wide[] = {
        {"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"},
        {"-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"},
        {"100000000000000000000000000000000000000", "!range"},
        {"18446744073709551617", "18446744073709551617"},
        {"1.5", "!range"},
    };
    static const struct value_case text[] = {
        {"12.34", "12.34"},
        {"\"12.3\"", "12.30"},
        {"12.345", "!range"},
        {"x", "!type"},
    };
    expect_json("'type':'decimal(10,2)'", json, COUNT(json));
    expect_json("'type':'decimal(38,0)'", wide, COUNT(wide));
    expect_csv("'type':'decimal(10,2)'", text, COUNT(text));
}

Test(decode_rules, booleans)
{
    static const struct value_case json[] = {
        {"true", "true"}, {"false", "false"}, {"1", "!type"}, {"\"true\"", "!type"}, {"null", "~"},
    };
    static const struct value_case text[] = {
        {"true", "true"},  {"false", "false"}, {"1", "true"}, {"0", "false"},
        {"TRUE", "!type"}, {"yes", "!type"},   {"", "~"},     {"\"\"", "!type"},
    };
    expect_json("'type':'boolean'", json, COUNT(json));
    expect_csv("'type':'boolean'", text, COUNT(text));
}

Test(decode_rules, dates)
{
    static const struct value_case json[] = {
        {"\"1970-01-01\"", "1970-01-01"},
        {"\"1969-12-31\"", "1969-12-31"},
        {"\"1901-01-01\"", "1901-01-01"},
        {"\"1900-12-31\"", "1900-12-31"},
        {"\"2000-02-29\"", "2000-02-29"},
        {"\"2000-03-01\"", "2000-03-01"},
        {"\"1904-02-28\"", "1904-02-28"},
        {"\"1904-03-01\"", "1904-03-01"},
        {"\"2099-12-28\"", "2099-12-28"},
        {"\"2099-12-31\"", "2099-12-31"},
        {"\"2100-02-28\"", "2100-02-28"},
        {"\"2100-02-29\"", "!type"},
        {"\"2023-02-29\"", "!type"},
        {"\"2023-04-31\"", "!type"},
        {"\"2023-00-10\"", "!type"},
        {"\"2023-13-10\"", "!type"},
        {"\"2023-01-00\"", "!type"},
        {"\"2023-1-1\"", "!type"},
        {"\"20230101\"", "!type"},
        {"\"2023-01-01T00:00:00Z\"", "!type"},
        {"\"2023-01-0x\"", "!type"},
        {"\"0001-01-01\"", "0001-01-01"},
        {"\"9999-12-31\"", "9999-12-31"},
        {"\"0000-01-01\"", "!type"},
        {"19500101", "!type"},
    };
    static const struct value_case text[] = {
        {"2008-12-20", "2008-12-20"},
        {"20-Dec-2008", "!type"},
        {"\"\"", "!type"},
        {"", "~"},
    };
    expect_json("'type':'date'", json, COUNT(json));
    expect_csv("'type':'date'", text, COUNT(text));
}

Test(decode_rules, timestamps)
{
    static const struct value_case json[] = {
        {"\"2026-01-31T23:59:59Z\"", "2026-01-31T23:59:59.000000Z"},
        {"\"2026-01-31T23:59:59.5+02:00\"", "2026-01-31T21:59:59.500000Z"},
        {"\"2026-01-31 23:59:59-05:00\"", "2026-02-01T04:59:59.000000Z"},
        {"\"2026-01-31T23:59:59\"", "!type"},
        {"\"2026-01-31\"", "!type"},
        {"\"\"", "!type"},
        {"1700000000", "!type"},
    };
    expect_json("'type':'timestamp'", json, COUNT(json));
}

Test(decode_rules, binaries)
{
    static const struct value_case json[] = {
        {"\"AAEC/w==\"", "000102ff"}, {"\"\"", ""},          {"\"AAEC\"", "000102"},
        {"\"AAE\"", "!type"},         {"\"A*==\"", "!type"}, {"1", "!type"},
    };
    static const struct value_case limited[] = {{"\"AAE=\"", "0001"}, {"\"AAEC\"", "!too_long"}};
    expect_json("'type':'binary'", json, COUNT(json));
    expect_json("'type':'binary','max_length':2", limited, COUNT(limited));
}

Test(decode_rules, strings_of_other_kinds)
{
    static const struct value_case json[] = {
        {"1", "!type"}, {"true", "!type"}, {"{\"a\":1}", "!type"}, {"[]", "!type"}, {"null", "~"},
    };
    expect_json("'type':'string'", json, COUNT(json));
}

Test(decode_rules, bounds)
{
    static const struct value_case integers[] = {
        {"1", "1"}, {"365", "365"}, {"0", "!range"}, {"366", "!range"}};
    static const struct value_case longs[] = {{"5", "5"}, {"4", "!range"}};
    static const struct value_case doubles[] = {
        {"-0.5", "-0.5"}, {"1.5", "1.5"}, {"-0.50001", "!range"}, {"1.50001", "!range"}};
    static const struct value_case decimals[] = {
        {"0.01", "0.01"}, {"0", "!range"}, {"9.99", "9.99"}, {"10", "!range"}};
    static const struct value_case dates[] = {{"\"2020-01-01\"", "2020-01-01"},
                                              {"\"2019-12-31\"", "!range"}};
    expect_json("'type':'integer','minimum':1,'maximum':365", integers, COUNT(integers));
    expect_json("'type':'long','minimum':5", longs, COUNT(longs));
    expect_json("'type':'double','minimum':-0.5,'maximum':1.5", doubles, COUNT(doubles));
    expect_json("'type':'decimal(5,2)','minimum':0.01,'maximum':9.99", decimals, COUNT(decimals));
    expect_json("'type':'date','minimum':'2020-01-01'", dates, COUNT(dates));
}

Test(decode_rules, lengths_count_code_points)
{
    static const struct value_case json[] = {
        {"\"abc\"", "abc"},        {"\"abcd\"", "!too_long"}, {"\"äöü\"", "äöü"},
        {"\"äöüß\"", "!too_long"}, {"\"😀😀😀\"", "😀😀😀"},        {"\"\\u00e4bc\"", "äbc"},
    };
    static const struct value_case text[] = {{"abc", "abc"}, {"äöüß", "!too_long"}};
    expect_json("'type':'string','max_length':3", json, COUNT(json));
    expect_csv("'type':'string','max_length':3", text, COUNT(text));
}

Test(decode_rules, enumerations)
{
    static const struct value_case few[] = {
        {"\"a\"", "a"}, {"\"\"", "!enum"}, {"\"A\"", "!enum"}, {"\"c\"", "!enum"}, {"null", "~"}};
    static const struct value_case many[] = {
        {"\"j\"", "j"}, {"\"aa\"", "aa"}, {"\"k\"", "!enum"}, {"\"\"", "!enum"}, {"\"b\"", "b"}};
    expect_json("'type':'string','enum':['a','b']", few, COUNT(few));
    expect_json("'type':'string','enum':['j','i','h','g','f','e','d','c','b','aa']", many,
                COUNT(many));
}

Test(decode_rules, patterns_and_formats)
{
    static const struct value_case pattern[] = {{"\"610014\"", "610014"},
                                                {"\"61001412\"", "61001412"},
                                                {"\"6100141\"", "!pattern"},
                                                {"\"x610014\"", "!pattern"},
                                                {"\"\"", "!pattern"}};
    static const struct value_case npi[] = {
        {"\"1234567893\"", "1234567893"}, {"\"1234567890\"", "!format"}, {"null", "~"}};
    static const struct value_case ndc[] = {{"\"00002143380\"", "00002143380"},
                                            {"\"0002143380\"", "!format"}};
    static const struct value_case all[] = {
        {"\"1234567893\"", "1234567893"},
        {"\"22345678901\"", "!too_long; !1 /v format; !1 /v pattern"}};
    expect_json("'type':'string','pattern':'[0-9]{6}([0-9]{2})?'", pattern, COUNT(pattern));
    expect_json("'type':'string','format':'npi'", npi, COUNT(npi));
    expect_json("'type':'string','format':'ndc11'", ndc, COUNT(ndc));
    expect_json("'type':'string','format':'npi','max_length':10,'pattern':'1.*'", all, COUNT(all));
}

/* ---- operations --------------------------------------------------------------- */

static const char keyed[] = "{'schema':{'fields':["
                            "{'name':'k','type':'string','nullable':false,'max_length':3},"
                            "{'name':'at','type':'long','nullable':false,'minimum':1},"
                            "{'name':'q','type':'integer','nullable':false,'minimum':1},"
                            "{'name':'s','type':'string','max_length':3}]},"
                            "'key':['k'],'sequence_by':'at','merge':'deletion-vectors'}";

static const char append[] = "{'schema':{'fields':[{'name':'s','type':'string'},"
                             "{'name':'q','type':'integer','nullable':false}]},'merge':'append'}";

struct operation_case {
    const char *name;
    enum frame_operation operation;
    const char *body;
    const char *expected;
};

static void expect_operations(const char *definition, const struct operation_case *cases,
                              size_t count)
{
    CLEANUP(schema_release) struct schema *schema = decode_test_schema(definition);
    for (size_t i = 0; i < count; i++) {
        const struct decode_options options = {.format = DECODE_NDJSON,
                                               .operation = cases[i].operation};
        decode_test_expect(cases[i].name, span_of_text(cases[i].body), schema, &options,
                           cases[i].expected);
    }
}

Test(decode_rules, operations_on_keyed_tables)
{
    static const struct operation_case cases[] = {
        {"upsert: absent is null", FRAME_UPSERT, "{\"k\":\"a\",\"at\":1,\"q\":2}",
         "1 upsert a|1|2|~"},
        {"upsert needs what is not nullable", FRAME_UPSERT, "{\"k\":\"a\",\"at\":1}",
         "!1 /q required"},
        {"upsert refuses null there", FRAME_UPSERT, "{\"k\":\"a\",\"at\":1,\"q\":null}",
         "!1 /q required"},
        {"upsert needs its key", FRAME_UPSERT, "{\"at\":1,\"q\":2}", "!1 /k key_null"},
        {"insert needs what is not nullable", FRAME_INSERT, "{\"k\":\"a\",\"at\":1}",
         "!1 /q required"},
        {"patch keeps absent fields", FRAME_PATCH, "{\"k\":\"a\",\"at\":1}", "1 patch a|1|?|?"},
        {"patch sets null", FRAME_PATCH, "{\"k\":\"a\",\"at\":1,\"s\":null}", "1 patch a|1|?|~"},
        {"patch refuses null where it is forbidden", FRAME_PATCH,
         "{\"k\":\"a\",\"at\":1,\"q\":null}", "!1 /q required"},
        {"patch needs key and sequence", FRAME_PATCH, "{\"q\":1}",
         "!1 /k key_null; !1 /at required"},
        {"patch obeys rules", FRAME_PATCH, "{\"k\":\"a\",\"at\":1,\"q\":0}", "!1 /q range"},
        {"delete needs key and sequence only", FRAME_DELETE, "{\"k\":\"a\",\"at\":1}",
         "1 delete a|1|~|~"},
        {"delete without key", FRAME_DELETE, "{\"at\":1}", "!1 /k key_null"},
        {"delete with null key", FRAME_DELETE, "{\"k\":null,\"at\":1}", "!1 /k key_null"},
        {"delete without sequence", FRAME_DELETE, "{\"k\":\"a\"}", "!1 /at required"},
        {"delete ignores rules of other fields", FRAME_DELETE,
         "{\"k\":\"a\",\"at\":1,\"q\":0,\"s\":\"long\"}", "1 delete a|1|0|long"},
        {"delete ignores null of other fields", FRAME_DELETE, "{\"k\":\"a\",\"at\":1,\"q\":null}",
         "1 delete a|1|~|~"},
        {"delete checks the rules of its key", FRAME_DELETE, "{\"k\":\"long\",\"at\":1}",
         "!1 /k too_long"},
        {"delete checks the rules of its sequence", FRAME_DELETE, "{\"k\":\"a\",\"at\":0}",
         "!1 /at range"},
        {"delete checks types", FRAME_DELETE, "{\"k\":\"a\",\"at\":1,\"q\":\"x\"}", "!1 /q type"},
        {"delete checks names", FRAME_DELETE, "{\"k\":\"a\",\"at\":1,\"z\":\"x\"}",
         "!1 /z unknown_field"},
    };
    expect_operations(keyed, cases, COUNT(cases));
}

Test(decode_rules, operations_of_single_records)
{
    static const struct operation_case cases[] = {
        {"each its own", FRAME_UPSERT,
         "{\"k\":\"a\",\"at\":1,\"q\":1}\n{\"_op\":\"delete\",\"k\":\"a\",\"at\":2}\n"
         "{\"k\":\"b\",\"at\":3,\"_op\":\"patch\"}\n{\"k\":\"c\",\"at\":4,\"q\":1,\"_op\":"
         "\"insert\"}",
         "1 upsert a|1|1|~; 2 delete a|2|~|~; 3 patch b|3|?|?; 4 insert c|4|1|~"},
        {"rules broken before a delete is seen", FRAME_UPSERT,
         "{\"q\":0,\"s\":\"long\",\"k\":\"a\",\"at\":2,\"_op\":\"delete\"}", "1 delete a|2|0|long"},
        {"upsert among deletes obeys rules", FRAME_DELETE,
         "{\"q\":0,\"k\":\"a\",\"at\":2,\"_op\":\"upsert\"}", "!1 /q range"},
        {"null stands for the default", FRAME_PATCH, "{\"_op\":null,\"k\":\"a\",\"at\":2}",
         "1 patch a|2|?|?"},
        {"unknown", FRAME_UPSERT, "{\"_op\":\"remove\",\"k\":\"a\",\"at\":2,\"q\":1}",
         "!1 /_op operation"},
        {"case counts", FRAME_UPSERT, "{\"_op\":\"DELETE\",\"k\":\"a\",\"at\":2,\"q\":1}",
         "!1 /_op operation"},
        {"not a string", FRAME_UPSERT, "{\"_op\":1,\"k\":\"a\",\"at\":2,\"q\":1}",
         "!1 /_op operation"},
        {"an object", FRAME_UPSERT, "{\"_op\":{},\"k\":\"a\",\"at\":2,\"q\":1}",
         "!1 /_op operation"},
    };
    expect_operations(keyed, cases, COUNT(cases));
}

/* Eight rule faults are kept, and a type fault after them still rejects the delete. */
Test(decode_rules, a_delete_forgets_rule_faults_only)
{
    CLEANUP(buffer_deinit) struct buffer definition;
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&definition, 1 << 14);
    buffer_init(&body, 1 << 14);
    buffer_append_text(&definition, "{'schema':{'fields':[{'name':'k','type':'string','nullable':"
                                    "false}");
    for (int i = 0; i < 12; i++) {
        buffer_append_format(&definition, ",{'name':'f%d','type':'integer','minimum':1}", i);
    }
    buffer_append_text(&definition, "]},'key':['k'],'merge':'deletion-vectors'}");
    buffer_append_byte(&definition, 0);
    for (int last = 0; last < 2; last++) {
        buffer_append_text(&body, "{\"k\":\"a\"");
        for (int i = 0; i < 11; i++) {
            buffer_append_format(&body, ",\"f%d\":0", i);
        }
        buffer_append_format(&body, ",\"f11\":%s,\"_op\":\"delete\"}\n", last == 0 ? "0" : "\"x\"");
    }
    CLEANUP(schema_release)
    struct schema *schema = decode_test_schema((const char *)definition.data);
    decode_test_expect("delete", buffer_span(&body), schema, &ndjson,
                       "1 delete a|0|0|0|0|0|0|0|0|0|0|0|0; !2 /f11 type");
}

Test(decode_rules, append_tables_take_inserts)
{
    static const struct operation_case cases[] = {
        {"insert", FRAME_INSERT, "{\"q\":1}\n{\"q\":2,\"_op\":\"insert\"}",
         "1 insert ~|1; 2 insert ~|2"},
        {"required", FRAME_INSERT, "{\"s\":\"x\"}\n{}", "!1 /q required; !2 /q required"},
        {"another of one record", FRAME_INSERT, "{\"q\":1,\"_op\":\"upsert\"}",
         "!1 /_op operation"},
        {"another of the body", FRAME_UPSERT, "{\"q\":1}",
         "invalid: an append table takes the operation insert only, not upsert"},
        {"a delete", FRAME_DELETE, "{\"q\":1}",
         "invalid: an append table takes the operation insert only, not delete"},
    };
    expect_operations(append, cases, COUNT(cases));
}

/* ---- rejected records leave nothing behind ------------------------------------- */

Test(decode_rules, rejected_records_leave_no_trace)
{
    CLEANUP(schema_release) struct schema *schema = decode_test_schema(keyed);
    CLEANUP(buffer_deinit) struct buffer body;
    CLEANUP(buffer_deinit) struct buffer expected;
    CLEANUP(buffer_deinit) struct buffer errors;
    buffer_init(&body, 1 << 22);
    buffer_init(&expected, 1 << 22);
    buffer_init(&errors, 1 << 22);
    /* good ones between bad ones of every shape, past the first growth of the columns */
    for (int i = 0; i < 900; i++) {
        int line = i + 1;
        switch (i % 5) {
        case 0:
            buffer_append_format(&body, "{\"k\":\"%d\",\"at\":1,\"q\":%d,\"s\":\"x\"}\n", i, line);
            buffer_append_format(&expected, "%s%d upsert %d|1|%d|x", i > 0 ? "; " : "", line, i,
                                 line);
            continue;
        case 1:
            buffer_append_text(&body, "{\"s\":\"yyy\",\"k\":\"a\",\"at\":1,\"q\":null}\n");
            buffer_append_format(&errors, "; !%d /q required", line);
            continue;
        case 2:
            buffer_append_text(&body, "{\"s\":\"zzz\",\"k\":\"a\",\n");
            buffer_append_format(&errors, "; !%d  syntax", line);
            continue;
        case 3:
            buffer_append_text(&body, "{\"at\":1,\"q\":1,\"_op\":\"patch\"}\n");
            buffer_append_format(&errors, "; !%d /k key_null", line);
            continue;
        default:
            buffer_append_text(&body, "{\"k\":\"a\",\"at\":1,\"q\":7,\"s\":\"vvv\",\"u\":1}\n");
            buffer_append_format(&errors, "; !%d /u unknown_field", line);
            continue;
        }
    }
    buffer_append_span(&expected, buffer_span(&errors));
    buffer_append_byte(&expected, 0);
    decode_test_expect("mixed", buffer_span(&body), schema, &ndjson, (const char *)expected.data);
}

/* ---- messages ------------------------------------------------------------------ */

static void expect_messages(const char *field, const char *json_value, const char *message)
{
    CLEANUP(schema_release) struct schema *schema = schema_with(field);
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, 1 << 14);
    buffer_append_format(&body, "{\"k\":\"a\",\"v\":%s}", json_value);
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    struct err err = {0};
    cr_assert_eq(decode_body(buffer_span(&body), schema, &ndjson, &frame, &errors, &err), ERR_OK);
    cr_assert_eq(errors.items_count, 1, "%s", json_value);
    cr_expect_str_eq(errors.items[0].message, message);
}

Test(decode_rules, messages_name_the_rule_and_never_the_value)
{
    expect_messages("'type':'integer'", "\"4711secret\"",
                    "must be a whole number without fraction or exponent; found a string");
    expect_messages("'type':'integer'", "47110815471108154711",
                    "must be between -2147483648 and 2147483647 (integer)");
    expect_messages("'type':'date'", "\"4711secret\"", "must be a date as YYYY-MM-DD");
    expect_messages("'type':'integer','minimum':5", "4", "must be at least 5");
    expect_messages("'type':'date','maximum':'2020-01-31'", "\"2021-01-01\"",
                    "must be at most 2020-01-31");
    expect_messages("'type':'decimal(5,2)'", "4711.08",
                    "must fit decimal(5,2): at most 5 digits, 2 of them after the point");
    expect_messages("'type':'string','max_length':3", "\"secret\"",
                    "must have at most 3 characters");
    expect_messages("'type':'string','pattern':'[a-c]+'", "\"secret\"",
                    "must match the pattern [a-c]+");
    expect_messages("'type':'string','enum':['a']", "\"secret\"",
                    "must be one of the values that the field's enum lists");
    expect_messages("'type':'string','format':'npi'", "\"secret\"", "must be a valid npi");
    expect_messages("'type':'string','nullable':false", "null",
                    "must not be null: the field is not nullable");
    expect_messages("'type':'string'", "\"secret\\u0000\"", "has the character U+0000");
}

Test(decode_rules, codes_have_names)
{
    for (unsigned i = 0; i < DECODE_CODE_COUNT; i++) {
        cr_assert_not_null(decode_code_name((enum decode_code)i));
        for (unsigned other = 0; other < i; other++) {
            cr_expect_str_neq(decode_code_name((enum decode_code)i),
                              decode_code_name((enum decode_code)other));
        }
    }
}

Test(decode_rules, texts_that_partition)
{
    CLEANUP(schema_release)
    struct schema *schema =
        decode_test_schema("{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                           "{'name':'v','type':'string'}]},'key':['k'],'partition_by':['v']}");
    char long_text[SCHEMA_PARTITION_BYTES_MAX + 4] = {0};
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[0] = long_text[sizeof long_text - 2] = '"'; /* one byte more than may be */
    const struct value_case cases[] = {
        {"\"MA\"", "MA"},
        {"null", "~"},
        {"\"\"", "!range"},
        {long_text, "!too_long"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_value("partition", schema, "JSON", &ndjson, &cases[i]);
    }
}
