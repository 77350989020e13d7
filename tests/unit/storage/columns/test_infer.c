/*
 * Inference: what a sample is made of, how boldly, and that the definition takes the
 * sample it was made from.
 */
#include "storage/columns/infer.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/columns/decode.h"
#include "storage/columns/inflate.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

TestSuite(infer, .timeout = 120);

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

enum { BODY_MAX = 64 << 20 };

static struct json *infer_text(const char *text, enum infer_format format)
{
    struct json *answer = NULL;
    struct err err = {0};
    enum err_code code = infer_body(span_of_text(text), format, &answer, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", text, err.msg);
    return answer;
}

/* Field `name` of the definition as compact JSON with ' for ". */
static char *field_text(const struct json *answer, const char *name)
{
    const struct json *fields =
        json_find(json_get(answer, "definition"), span_of_text("/schema/fields"));
    for (size_t i = 0; i < json_count(fields); i++) {
        const struct json *field = json_at(fields, i);
        if (strcmp(json_text(json_get(field, "name")), name) == 0) {
            CLEANUP(buffer_deinit) struct buffer text;
            buffer_init(&text, 10000);
            json_write(field, &text);
            buffer_append_byte(&text, '\0');
            char *copy = mem_copy_text((const char *)text.data);
            for (char *c = copy; *c != '\0'; c++) {
                *c = *c == '"' ? '\'' : *c;
            }
            return copy;
        }
    }
    return mem_copy_text("none");
}

static void expect_field(const struct json *answer, const char *name, const char *expected,
                         const char *when)
{
    CLEANUP(mem_cleanup) char *text = field_text(answer, name);
    cr_expect_str_eq(text, expected, "%s: %s", when, text);
}

/* A CSV column "v" of the values, repeated until there are enough records to be sure. */
static struct json *infer_column(const char *name, const char *const *values, size_t count,
                                 size_t records)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, BODY_MAX);
    buffer_append_format(&text, "%s,filler\n", name);
    for (size_t i = 0; i < records; i++) {
        buffer_append_format(&text, "%s,x\n", values[i % count]);
    }
    struct json *answer = NULL;
    struct err err = {0};
    cr_assert_eq(infer_body(buffer_span(&text), INFER_CSV, &answer, &err), ERR_OK, "%s", err.msg);
    return answer;
}

Test(infer, types_are_the_narrowest_that_hold_every_value_with_room_to_grow)
{
    static const struct {
        const char *values[4];
        size_t count;
        const char *field;
    } cases[] = {
        {{"true", "false"}, 2, "{'name':'v','type':'boolean'}"},
        {{"True", "False"}, 2, "{'name':'v','type':'string','max_length':16}"},
        {{"1", "0"}, 2, "{'name':'v','type':'integer'}"},
        {{"-5", "500000000"}, 2, "{'name':'v','type':'integer'}"},
        {{"1", "2000000000"}, 2, "{'name':'v','type':'long'}"},
        {{"9223372036854775807"}, 1, "{'name':'v','type':'long'}"},
        {{"9223372036854775808"}, 1, "{'name':'v','type':'decimal(22,0)'}"},
        {{"007", "8"}, 2, "{'name':'v','type':'string','max_length':16}"},
        {{"1.5", "20.25"}, 2, "{'name':'v','type':'decimal(10,2)'}"},
        {{"1.5", "3"}, 2, "{'name':'v','type':'decimal(10,2)'}"},
        {{"1234567890.123"}, 1, "{'name':'v','type':'decimal(16,3)'}"},
        {{"41.65403123022977"}, 1, "{'name':'v','type':'double'}"},
        {{"1e5", "2"}, 2, "{'name':'v','type':'double'}"},
        {{"0.12345678901234567890"}, 1, "{'name':'v','type':'decimal(28,20)'}"},
        {{".5"}, 1, "{'name':'v','type':'string','max_length':16}"},
        {{"+5"}, 1, "{'name':'v','type':'string','max_length':16}"},
        {{"2024-02-29", "1999-12-31"}, 2, "{'name':'v','type':'date'}"},
        {{"2023-02-29", "1999-12-31"}, 2, "{'name':'v','type':'string','max_length':32}"},
        {{"2024-02-29T08:00:00Z", "2024-02-29T08:00:00.5+01:00"},
         2,
         "{'name':'v','type':'timestamp'}"},
        {{"2024-02-29 08:00:00"}, 1, "{'name':'v','type':'string','max_length':64}"},
        {{"aGVsbG8="}, 1, "{'name':'v','type':'string','max_length':16}"},
        {{"", "5"}, 2, "{'name':'v','type':'integer'}"},
        {{"\"\"", "5"}, 2, "{'name':'v','type':'string','max_length':16}"},
        {{""}, 1, "{'name':'v','type':'string'}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free)
        struct json *answer = infer_column("v", cases[i].values, cases[i].count, 10);
        expect_field(answer, "v", cases[i].field, cases[i].values[0]);
    }
}

Test(infer, names_and_check_digits_make_formats_and_health_information)
{
    static const struct {
        const char *name;
        const char *values[6];
        size_t count;
        const char *field;
    } cases[] = {
        {"prescriber",
         {"1234567893", "1245319599", "1679576722", "1003000126", "1992999825", "1881625838"},
         6,
         "{'name':'prescriber','type':'string','format':'npi'}"},
        {"prescriber", {"1234567893"}, 1, "{'name':'prescriber','type':'long'}"},
        {"zip", {"02139", "10001"}, 2, "{'name':'zip','type':'string','format':'zip','phi':true}"},
        {"zip", {"12345", "10001"}, 2, "{'name':'zip','type':'string','format':'zip','phi':true}"},
        {"qty", {"12345", "10001"}, 2, "{'name':'qty','type':'integer'}"},
        {"ndc",
         {"49288010404", "00093005801"},
         2,
         "{'name':'ndc','type':'string','format':'ndc11'}"},
        {"state", {"MA", "TX"}, 2, "{'name':'state','type':'string','format':'state'}"},
        {"state",
         {"Massachusetts", "Texas"},
         2,
         "{'name':'state','type':'string','max_length':32}"},
        {"medicare",
         {"1EG4TE5MK73", "1EG4TE5MK72", "1EG4TE5MK74", "2EG4TE5MK73", "3EG4TE5MK73"},
         5,
         "{'name':'medicare','type':'string','format':'mbi','phi':true}"},
        {"BENE_BRTH_DT", {"1961-04-30"}, 1, "{'name':'BENE_BRTH_DT','type':'date','phi':true}"},
        {"firstName",
         {"Ann"},
         1,
         "{'name':'firstName','type':'string','max_length':16,'phi':true}"},
        {"PTNT_PAY_AMT", {"10", "0"}, 2, "{'name':'PTNT_PAY_AMT','type':'decimal(10,2)'}"},
        {"drug_name", {"Aspirin"}, 1, "{'name':'drug_name','type':'string','max_length':16}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free)
        struct json *answer = infer_column(cases[i].name, cases[i].values, cases[i].count, 12);
        expect_field(answer, cases[i].name, cases[i].field, cases[i].values[0]);
    }
}

Test(infer, what_was_never_seen_is_forbidden_only_after_many_records)
{
    static const char *const colors[] = {"red", "green", "blue"};
    CLEANUP(json_free) struct json *few = infer_column("c", colors, 3, 999);
    expect_field(few, "c", "{'name':'c','type':'string','max_length':16}", "few");
    CLEANUP(json_free) struct json *many = infer_column("c", colors, 3, 1000);
    expect_field(many, "c",
                 "{'name':'c','type':'string','nullable':false,'enum':['red','green','blue']}",
                 "many");
}

static void expect_text(const struct json *value, const char *expected, const char *when)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 10000);
    json_write(value, &text);
    buffer_append_byte(&text, '\0');
    for (uint8_t *c = text.data; *c != '\0'; c++) {
        *c = *c == '"' ? '\'' : *c;
    }
    cr_expect_str_eq((const char *)text.data, expected, "%s: %s", when, (const char *)text.data);
}

/* Members of the definition but for the schema. */
static void expect_rest(const struct json *answer, const char *key, const char *sequence,
                        const char *merge, const char *when)
{
    const struct json *definition = json_get(answer, "definition");
    expect_text(json_get(definition, "key"), key, when);
    expect_text(json_get(definition, "sequence_by"), sequence, when);
    expect_text(json_get(definition, "merge"), merge, when);
}

Test(infer, keys_are_columns_that_identify_and_never_repeat)
{
    static const struct {
        const char *when;
        const char *body;
        const char *key;
        const char *sequence;
        const char *merge;
    } cases[] = {
        {"one column",
         "claim_id,amount,updated_at\n7,1,2024-01-01T00:00:00Z\n8,1,2024-01-01T00:00:00Z\n",
         "['claim_id']", "'updated_at'", "'deletion-vectors'"},
        {"repeats", "claim_id,amount\n7,1\n7,2\n", "null", "null", "'append'"},
        {"null", "claim_id,amount\n7,1\n,2\n", "null", "null", "'append'"},
        {"no name that identifies", "amount,lat\n7,1.5\n8,2.5\n", "null", "null", "'append'"},
        {"a version orders", "id,version\n1,5\n2,5\n", "['id']", "'version'", "'deletion-vectors'"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *answer = infer_text(cases[i].body, INFER_CSV);
        expect_rest(answer, cases[i].key, cases[i].sequence, cases[i].merge, cases[i].when);
    }
}

/* Claims with lines; a pair of few records may be unique by chance. */
Test(infer, pairs_are_keys_when_there_are_enough_records)
{
    static const struct {
        int claims;
        const char *key;
    } cases[] = {{2, "null"}, {40, "['claim_id','line_no']"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, BODY_MAX);
        buffer_append_text(&text, "claim_id,line_no,seq,amount\n");
        for (int claim = 0; claim < cases[i].claims; claim++) {
            for (int line = 0; line < 3; line++) {
                buffer_append_format(&text, "%d,%d,%d,5\n", claim, line, line);
            }
        }
        CLEANUP(json_free) struct json *answer = NULL;
        struct err err = {0};
        cr_assert_eq(infer_body(buffer_span(&text), INFER_CSV, &answer, &err), ERR_OK);
        expect_text(json_find(answer, span_of_text("/definition/key")), cases[i].key, "pair");
        expect_text(json_find(answer, span_of_text("/key_candidates/0/columns")),
                    "['claim_id','line_no']", "told in any case");
    }
}

Test(infer, json_has_kinds_and_what_no_column_holds_is_told)
{
    CLEANUP(json_free)
    struct json *answer = infer_text(
        "{\"id\":\"a\",\"n\":1,\"f\":1.25,\"b\":true,\"s\":\"5\",\"o\":{\"x\":1},\"m\":1,\"d\":"
        "\"2024-01-01\"}\n"
        "\n{\"id\":\"b\\u00e9\",\"n\":-3,\"f\":2,\"b\":false,\"s\":\"6\",\"o\":[],\"m\":\"x\"}\n"
        "{broken}\n{\"id\":\"c\"",
        INFER_NDJSON);
    expect_field(answer, "n", "{'name':'n','type':'integer'}", "n");
    expect_field(answer, "f", "{'name':'f','type':'decimal(10,2)'}", "f");
    expect_field(answer, "b", "{'name':'b','type':'boolean'}", "b");
    expect_field(answer, "s", "{'name':'s','type':'string','max_length':16}", "s");
    expect_field(answer, "d", "{'name':'d','type':'date'}", "d");
    expect_field(answer, "o", "none", "o");
    expect_field(answer, "m", "none", "m");
    expect_text(json_get(answer, "left_out"),
                "[{'source_name':'o','reason':'has objects and arrays, which no type holds both'},"
                "{'source_name':'m','reason':'has values of several kinds, which no type "
                "holds'}]",
                "left out");
    expect_text(json_get(answer, "sample"),
                "{'records':2,'malformed':1,'cut_off':true,'more':false}", "sample");
}

/* The decoder goes on behind the quotes of a record it refuses; so must whoever predicts it. */
Test(infer, a_record_with_a_forbidden_character_ends_where_the_decoder_ends_it)
{
    static const char sample[] =
        "id,note\n1,ok\n2\0,\"of two\nlines\"\n3\r3,\"of two\nlines\"\n\r\n4,ok\r\n";
    CLEANUP(json_free)
    struct json *answer = NULL;
    struct err err = {0};
    cr_assert(infer_body(span_of(sample, sizeof sample - 1), INFER_CSV, &answer, &err) == ERR_OK);
    expect_text(json_get(answer, "sample"),
                "{'records':2,'malformed':2,'cut_off':false,'more':false}", "sample");
}

Test(infer, names_that_a_table_cannot_have_are_renamed_and_told)
{
    CLEANUP(json_free)
    struct json *answer =
        infer_text("First Name,1st,_op,id,ID,,Größe,id\n1,2,3,4,5,6,7,8\n", INFER_CSV);
    expect_text(json_get(answer, "renamed"),
                "[{'source_name':'First Name','name':'First_Name'},{'source_name':'1st','name':"
                "'_1st'},{'source_name':'_op','name':'_op_2'},{'source_name':'ID','name':'ID_2'},{"
                "'source_name':'','name':'column_6'},{'source_name':'Größe','name':'Gr_e'},{"
                "'source_name':'column 8','name':'column_8'}]",
                "renamed");
}

Test(infer, samples_that_are_none_are_refused)
{
    static const struct {
        enum infer_format format;
        const char *body;
        const char *message;
    } cases[] = {
        {INFER_CSV, "", "the sample is empty"},
        {INFER_CSV, "\n\r\n", "the sample is empty"},
        {INFER_CSV, "a,b\n", "the sample has no whole record"},
        {INFER_CSV, "a,\"b\n", "the first line must be a header"},
        {INFER_CSV, "a\xff,b\n1,2\n", "the first line must be a header"},
        {INFER_NDJSON, "7\n8\n", "the sample has no whole record"},
        {INFER_NDJSON, "{}\n", "the sample has no whole record"},
        {INFER_JSON, "[{\"a\":1}", "the sample: "},
        {INFER_JSON, "7", "the sample must be an array"},
        {INFER_JSON, "[1,2]", "the sample has no whole record"},
        {INFER_NDJSON, "{\"a\":{}}\n", "no definition can be made"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json *answer = NULL;
        struct err err = {0};
        cr_expect_eq(infer_body(span_of_text(cases[i].body), cases[i].format, &answer, &err),
                     ERR_INVALID, "%s", cases[i].body);
        cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s: %s",
                     cases[i].body, err.msg);
        cr_expect_null(answer);
    }
}

Test(infer, formats_are_told_apart_by_how_they_begin)
{
    static const struct {
        const char *body;
        enum infer_format format;
    } cases[] = {
        {"a,b\n1,2\n", INFER_CSV},     {"", INFER_CSV},
        {"[{\"a\":1}]", INFER_JSON},   {" \n[{}]", INFER_JSON},
        {"{\"a\":1}\n", INFER_NDJSON}, {"{\"a\":1}", INFER_NDJSON},
        {"{\n\"a\":1}\n", INFER_JSON}, {"\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}", INFER_NDJSON},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(infer_guess_format(span_of_text(cases[i].body)), cases[i].format, "%s",
                     cases[i].body);
    }
}

Test(infer, types_that_are_given_stay)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema_of_all_types();
    CLEANUP(frame_free) struct frame *frame = kit_random_rows(schema, 50, 3);
    static const struct infer_refused refused[] = {{"nested", "has objects or arrays"}};
    CLEANUP(json_free) struct json *answer = NULL;
    struct err err = {0};
    cr_assert_eq(infer_frame(frame, refused, 1, &answer, &err), ERR_OK, "%s", err.msg);
    expect_field(answer, "c2", "{'name':'c2','type':'long'}", "long");
    expect_field(answer, "c7", "{'name':'c7','type':'binary'}", "binary");
    expect_field(answer, "c8", "{'name':'c8','type':'decimal(10,3)'}", "decimal");
    expect_field(answer, "c10", "{'name':'c10','type':'byte'}", "byte");
    expect_field(answer, "c12", "{'name':'c12','type':'float'}", "float");
    expect_field(answer, "c13", "{'name':'c13','type':'timestamp_ntz'}", "timestamp without zone");
    expect_text(json_get(answer, "left_out"),
                "[{'source_name':'nested','reason':'has objects or arrays'}]", "left out");
}

/* ---- objects and arrays ---- */

Test(infer, objects_and_arrays_become_nested_types)
{
    static const struct {
        const char *values[3], *field;
    } cases[] = {
        {{"{\"a\":1,\"b\":\"x\"}", "{\"a\":-2}", "null"},
         "{'name':'v','type':{'type':'struct','fields':[{'name':'a','type':'integer'},"
         "{'name':'b','type':'string','max_length':16}]}}"},
        {{"[1,2.5]", "[]", "[null]"},
         "{'name':'v','type':{'type':'array','elementType':'decimal(10,2)','containsNull':true}}"},
        {{"[]", "[]", "[]"},
         "{'name':'v','type':{'type':'array','elementType':'string','containsNull':true}}"},
        {{"[{\"d\":\"2024-01-01\"},{\"d\":null}]", "[[]]", "[]"}, "none"},
        {{"[[true],[]]", "[[false,null]]", "null"},
         "{'name':'v','type':{'type':'array','elementType':{'type':'array','elementType':'boolean',"
         "'containsNull':true},'containsNull':true}}"},
        {{"{\"2024-01-01\":1}", "{\"2024-01-02\":2}", "{}"},
         "{'name':'v','type':{'type':'map','keyType':'string','valueType':'integer',"
         "'valueContainsNull':true}}"},
        {{"{\"a b\":{\"n\":1}}", "{\"\":{\"n\":2,\"m\":true}}", "{}"},
         "{'name':'v','type':{'type':'map','keyType':'string','valueType':{'type':'struct','fields'"
         ":"
         "[{'name':'n','type':'integer'},{'name':'m','type':'boolean'}]},'valueContainsNull':true}"
         "}"},
        {{"{\"a b\":1}", "{\"a b\":\"x\"}", "{}"}, "none"},
        {{"{}", "{}", "{}"}, "none"},
        {{"{\"a\":1}", "{\"a\":\"x\"}", "{}"}, "none"},
        {{"{\"last_name\":\"Doe\"}", "{}", "null"},
         "{'name':'v','type':{'type':'struct','fields':[{'name':'last_name','type':'string',"
         "'max_length':16}]},'phi':true}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char body[512];
        (void)snprintf(body, sizeof body,
                       "{\"id\":\"a\",\"v\":%s}\n{\"id\":\"b\",\"v\":%s}\n"
                       "{\"id\":\"c\",\"v\":%s}\n",
                       cases[i].values[0], cases[i].values[1], cases[i].values[2]);
        CLEANUP(json_free) struct json *answer = infer_text(body, INFER_NDJSON);
        expect_field(answer, "v", cases[i].field, body);
    }
}

/* Many names, each in few objects, are keys. The definition takes the sample. */
Test(infer, what_is_inferred_of_nested_samples_takes_them)
{
    CLEANUP(buffer_deinit) struct buffer body;
    buffer_init(&body, BODY_MAX);
    for (int i = 0; i < 2000; i++) {
        buffer_append_format(&body,
                             "{\"id\":%d,\"codes\":{\"c%d\":%d,\"d%d\":null},\"at\":{\"city\":"
                             "\"%s\",\"geo\":[%d.5,%d]},\"visits\":[",
                             i, i % 700, i, i % 701, i % 2 == 0 ? "Ulm" : "Bonn", i, -i);
        for (int k = 0; k < i % 4; k++) {
            buffer_append_format(&body, "%s{\"day\":\"2024-01-%02d\",\"notes\":[%s]}",
                                 k > 0 ? "," : "", 1 + (i + k) % 28, k == 0 ? "\"x\"" : "");
        }
        buffer_append_text(&body, "]}\n");
    }
    CLEANUP(json_free) struct json *answer = NULL;
    struct err err = {0};
    cr_assert_eq(infer_body(buffer_span(&body), INFER_NDJSON, &answer, &err), ERR_OK, "%s",
                 err.msg);
    expect_field(answer, "codes",
                 "{'name':'codes','type':{'type':'map','keyType':'string','valueType':'integer',"
                 "'valueContainsNull':true},'nullable':false}",
                 "codes");
    CLEANUP(schema_release) struct schema *schema = NULL;
    cr_assert_eq(schema_parse(json_get(answer, "definition"), &schema, &err), ERR_OK, "%s",
                 err.msg);
    struct decode_options options = {.format = DECODE_NDJSON, .operation = FRAME_INSERT};
    struct decode_errors errors = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    cr_assert_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_eq(errors.rejected_count, 0, "%s %s", errors.items[0].pointer,
                 errors.items[0].message);
    cr_expect_eq(frame->rows_count, 2000);
    decode_errors_deinit(&errors);
}

/* ---- real files: what a sample says holds for the rest ---- */

static void read_data(const char *name, struct buffer *plain)
{
    char path[512];
    struct err err = {0};
    (void)snprintf(path, sizeof path, "%s/%s", getenv("SLUICE_TEST_DATA"), name);
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, BODY_MAX);
    cr_assert_eq(file_read(path, &bytes, &err), ERR_OK, "%s", err.msg);
    bool gzip = strstr(name, ".gz") != NULL;
    cr_assert_eq(inflate_body(buffer_span(&bytes), gzip ? CONTENT_GZIP : CONTENT_IDENTITY, BODY_MAX,
                              1000, plain, &err),
                 ERR_OK, "%s", err.msg);
}

static size_t bytes_of_lines(struct span text, int64_t lines)
{
    const uint8_t *p = text.data;
    while (lines-- > 0) {
        const uint8_t *feed = memchr(p, '\n', (size_t)(text.data + text.size - p));
        cr_assert_not_null(feed);
        p = feed + 1;
    }
    return (size_t)(p - text.data);
}

Test(infer, what_a_sample_of_real_data_says_holds_for_the_rest)
{
    static const struct {
        const char *name;
        int64_t lines;
        const char *key;
    } cases[] = {
        {"health/synthea/patients_22948.csv.gz", 2001, "['Id']"},
        {"health/cms_desynpuf/pde.csv", 1501, "['PDE_ID']"},
        {"health/cms_desynpuf/pde.csv", 101, "['PDE_ID']"},
        {"health/cms_desynpuf/bene.csv", 301, "['DESYNPUF_ID']"},
    };
    if (getenv("SLUICE_TEST_DATA") == NULL) {
        printf("SKIPPED: SLUICE_TEST_DATA is not set, so no real file was inferred\n");
        return;
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buffer_deinit) struct buffer plain;
        read_data(cases[i].name, &plain);
        struct span sample =
            span_of(plain.data, bytes_of_lines(buffer_span(&plain), cases[i].lines));
        CLEANUP(json_free) struct json *answer = NULL;
        struct err err = {0};
        cr_assert_eq(infer_body(sample, INFER_CSV, &answer, &err), ERR_OK, "%s", err.msg);
        expect_text(json_find(answer, span_of_text("/definition/key")), cases[i].key,
                    cases[i].name);
        CLEANUP(schema_release) struct schema *schema = NULL;
        cr_assert_eq(schema_parse(json_get(answer, "definition"), &schema, &err), ERR_OK);
        CLEANUP(frame_free) struct frame *frame = NULL;
        CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
        const struct decode_options csv = {.format = DECODE_CSV};
        cr_assert_eq(decode_body(buffer_span(&plain), schema, &csv, &frame, &errors, &err), ERR_OK,
                     "%s: %s", cases[i].name, err.msg);
        cr_expect_eq(errors.rejected_count, 0, "%s: %lld rejected, first %s %s", cases[i].name,
                     (long long)errors.rejected_count,
                     errors.items_count > 0 ? errors.items[0].pointer : "",
                     errors.items_count > 0 ? errors.items[0].message : "");
    }
}
