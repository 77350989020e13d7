/*
 * Struct, array and map: what a definition says of them, how records give them in
 * each form of body, what is refused and where, and how a definition may change.
 */
#include "storage/columns/decode_rows.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_csv.h"
#include "storage/columns/encode_json.h"
#include "storage/columns/schema.h"
#include "tests/unit/storage/columns/columns_kit.h"
#include "tests/unit/storage/columns/decode_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(decode_nested, .timeout = 60);

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])
enum { TEXT_BYTES_MAX = 16 << 20 };

/* Every kind within another, with rules on fields of structs. */
static const char definition[] =
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
    "{'name':'s','type':{'type':'struct','fields':["
    "{'name':'city','type':'string','max_length':5},"
    "{'name':'code','type':'integer','nullable':false,'minimum':1},"
    "{'name':'more','type':{'type':'struct','fields':[{'name':'day','type':'date'}]}}]}},"
    "{'name':'a','type':{'type':'array','elementType':'decimal(6,2)','containsNull':false}},"
    "{'name':'m','type':{'type':'map','keyType':'string','valueType':"
    "{'type':'array','elementType':'long'}}},"
    "{'name':'n','type':{'type':'map','keyType':'date','valueType':'boolean',"
    "'valueContainsNull':false}},"
    "{'name':'l','type':{'type':'array','elementType':{'type':'struct','fields':["
    "{'name':'npi','type':'string','format':'npi'},{'name':'at','type':'timestamp'}]}}}]},"
    "'key':['k'],'merge':'deletion-vectors'}";

/* ---- definitions ---- */

Test(decode_nested, definitions_read_back_to_the_same)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    CLEANUP(json_free) struct json *json = schema_to_json(schema);
    CLEANUP(schema_release) struct schema *again = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse(json, &again, &err), ERR_OK, "%s", err.msg);
    CLEANUP(json_free) struct json *json_again = schema_to_json(again);
    cr_expect(json_equals(json, json_again));
    const struct field *s = &again->fields[1];
    cr_expect_eq(s->type, COLUMN_STRUCT);
    cr_expect_eq(s->children[0].max_length, 5);
    cr_expect_not(s->children[1].nullable);
    cr_expect_eq(s->children[2].children[0].type, COLUMN_DATE);
    cr_expect_not(again->fields[2].children[0].nullable);
    cr_expect(again->fields[3].children[1].nullable);
    cr_expect_not(again->fields[4].children[0].nullable);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    schema_write_delta(again, &text);
    CLEANUP(schema_release) struct schema *logged = NULL;
    cr_expect_eq(schema_parse_delta(buffer_span(&text), NULL, &logged, &err), ERR_OK, "%s",
                 err.msg);
}

#define FIELD(type) "{'schema':{'fields':[{'name':'f','type':" type "}]}}"

Test(decode_nested, faulty_definitions_are_refused_with_their_pointer)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {FIELD("{'type':'heap'}"), "/schema/fields/0/type/type: must be struct, array or map"},
        {FIELD("{}"), "/schema/fields/0/type/type: must be"},
        {FIELD("5"), "/schema/fields/0/type: must be the name of a type"},
        {FIELD("{'type':'struct'}"), "/schema/fields/0/type/fields: must be an array of 1 to"},
        {FIELD("{'type':'struct','fields':[]}"), "/schema/fields/0/type/fields: must be"},
        {FIELD("{'type':'struct','fields':[{'name':'x'}]}"),
         "/schema/fields/0/type/fields/0/type: is required"},
        {FIELD("{'type':'struct','fields':[{'name':'x','type':'int'}]}"),
         "/schema/fields/0/type/fields/0/type: unknown type 'int'"},
        {FIELD("{'type':'struct','fields':[{'name':'x y','type':'long'}]}"),
         "/schema/fields/0/type/fields/0/name: use ASCII"},
        {FIELD(
             "{'type':'struct','fields':[{'name':'x','type':'long'},{'name':'X','type':'long'}]}"),
         "/schema/fields/0/type/fields/1/name: 'X' occurs twice"},
        {FIELD("{'type':'struct','fields':[{'name':'x','type':'long','phi':true}]}"),
         "/schema/fields/0/type/fields/0/phi"},
        {FIELD("{'type':'struct','fields':[{'name':'x','type':'long','max_length':3}]}"),
         "/schema/fields/0/type/fields/0/max_length: only string"},
        {FIELD("{'type':'struct','fields':[{'name':'x','type':'long'}],'more':1}"),
         "/schema/fields/0/type/more"},
        {FIELD("{'type':'array'}"), "/schema/fields/0/type/elementType: must be the name"},
        {FIELD("{'type':'array','elementType':'long','containsNull':1}"),
         "/schema/fields/0/type/containsNull: must be true or false"},
        {FIELD("{'type':'array','elementType':{'type':'array','elementType':'x'}}"),
         "/schema/fields/0/type/elementType/elementType: unknown type 'x'"},
        {FIELD("{'type':'map','keyType':'double','valueType':'long'}"),
         "/schema/fields/0/type/keyType: keys are names in JSON; double cannot be one"},
        {FIELD("{'type':'map','keyType':{'type':'array','elementType':'long'},'valueType':'long'}"),
         "array cannot be one"},
        {FIELD("{'type':'map','keyType':'long'}"), "/schema/fields/0/type/valueType: must be"},
        {FIELD("{'type':'array','elementType':'long'},'minimum':1"), "/schema/fields/0/minimum: "},
        {FIELD("{'type':'array','elementType':'long'},'max_length':1"),
         "/schema/fields/0/max_length: only string"},
        {"{'schema':{'fields':[{'name':'f','type':{'type':'array','elementType':'long'},"
         "'nullable':false}]},'key':['f']}",
         "/key/0: 'f' is of type array, whose values cannot be a key"},
        {"{'schema':{'fields':[{'name':'k','type':'long'},"
         "{'name':'f','type':{'type':'array','elementType':'long'}}]},'partition_by':['f']}",
         "/partition_by/0: 'f' must be of type"},
        {"{'schema':{'fields':[{'name':'k','type':'long'},{'name':'f','type':'float'}]},"
         "'lookup':[{'entity':'m','column':'f','as':'x'}]}",
         "/lookup/0/column: 'f' is of type float"},
        {"{'schema':{'fields':[{'name':'f','type':'byte','minimum':-129}]}}",
         "/schema/fields/0/minimum: must be an integer within the range of type byte"},
        {"{'schema':{'fields':[{'name':'f','type':'short','maximum':32768}]}}",
         "/schema/fields/0/maximum: must be an integer within the range of type short"},
        {"{'schema':{'fields':[{'name':'f','type':'timestamp_ntz',"
         "'minimum':'2024-01-01T00:00:00Z'}]}}",
         "/schema/fields/0/minimum: must be a timestamp like \"2024-01-31T08:00:00\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        cr_expect_eq(kit_schema_try(cases[i].text, &err), ERR_INVALID, "%s", cases[i].text);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].text, err.msg);
    }
}

/* An array of an array of …, `depth` of them, which no JSON document of ours can nest deeper. */
static enum err_code try_depth(int depth, struct err *err)
{
    struct schema *schema = NULL;
    struct json *type = json_new_text("long");
    for (int i = 0; i < depth; i++) {
        struct json *outer = json_new_object();
        json_set_text(outer, "type", "array");
        json_set(outer, "elementType", type);
        type = outer;
    }
    struct json *field = json_new_object();
    json_set_text(field, "name", "f");
    json_set(field, "type", type);
    struct json *fields = json_new_array();
    json_append(fields, field);
    struct json *inner = json_new_object();
    json_set(inner, "fields", fields);
    CLEANUP(json_free) struct json *whole = json_new_object();
    json_set(whole, "schema", inner);
    enum err_code code = schema_parse(whole, &schema, err);
    schema_release(&schema);
    return code;
}

Test(decode_nested, depth_of_definitions_is_limited)
{
    struct err err = {0};
    cr_expect_eq(try_depth(SCHEMA_DEPTH_MAX, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(try_depth(SCHEMA_DEPTH_MAX + 1, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "nested deeper than 32"), "%s", err.msg);
}

/* ---- changes of a definition ---- */

#define WITH(type) "{'schema':{'fields':[{'name':'k','type':'long'},{'name':'f','type':" type "}]}}"
#define TWO_FIELDS(a, b) "{'type':'struct','fields':[" a "," b "]}"

Test(decode_nested, structs_may_only_grow)
{
    static const struct {
        const char *before, *after;
        const char *says; /* NULL = allowed */
    } cases[] = {
        {WITH("{'type':'struct','fields':[{'name':'a','type':'long'}]}"),
         WITH(TWO_FIELDS("{'name':'a','type':'long'}", "{'name':'b','type':'string'}")), NULL},
        {WITH("{'type':'array','elementType':{'type':'struct','fields':[{'name':'a','type':'long'}]"
              "}}"),
         WITH("{'type':'array','elementType':" TWO_FIELDS("{'name':'a','type':'long'}",
                                                          "{'name':'b','type':'string'}") "}"),
         NULL},
        {WITH("{'type':'struct','fields':[{'name':'a','type':'long','nullable':false}]}"),
         WITH("{'type':'struct','fields':[{'name':'a','type':'long'}]}"), NULL},
        {WITH("{'type':'array','elementType':'long','containsNull':false}"),
         WITH("{'type':'array','elementType':'long'}"), NULL},
        {WITH("{'type':'struct','fields':[{'name':'a','type':'long'}]}"),
         WITH(TWO_FIELDS("{'name':'a','type':'long'}",
                         "{'name':'b','type':'string','nullable':false}")),
         "field 'f': field 'b': an added field must be nullable"},
        {WITH(TWO_FIELDS("{'name':'a','type':'long'}", "{'name':'b','type':'string'}")),
         WITH(TWO_FIELDS("{'name':'b','type':'string'}", "{'name':'a','type':'long'}")),
         "field 'f': field 'a': fields of a struct cannot be dropped, renamed or moved"},
        {WITH(TWO_FIELDS("{'name':'a','type':'long'}", "{'name':'b','type':'string'}")),
         WITH("{'type':'struct','fields':[{'name':'a','type':'long'}]}"),
         "field 'f': field 'b': fields of a struct cannot be dropped"},
        {WITH("{'type':'struct','fields':[{'name':'a','type':'long'}]}"),
         WITH("{'type':'struct','fields':[{'name':'a','type':'date'}]}"),
         "field 'f': field 'a': its type cannot change"},
        {WITH("{'type':'array','elementType':'long'}"),
         WITH("{'type':'array','elementType':'long','containsNull':false}"),
         "field 'f': field 'element': it cannot become nullable:false"},
        {WITH("{'type':'struct','fields':[{'name':'a','type':'string'}]}"),
         WITH("{'type':'struct','fields':[{'name':'a','type':'string','max_length':3}]}"),
         "field 'f': field 'a': max_length cannot shrink"},
        {WITH("{'type':'array','elementType':'long'}"), WITH("'string'"),
         "field 'f': its type cannot change"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(schema_release) struct schema *before = kit_schema(cases[i].before);
        CLEANUP(schema_release) struct schema *after = kit_schema(cases[i].after);
        CLEANUP(schema_release) struct schema *evolved = NULL;
        bool same = false;
        struct err err = {0};
        enum err_code code = schema_evolve(before, after, &evolved, &same, &err);
        cr_expect_eq(code, cases[i].says == NULL ? ERR_OK : ERR_CONFLICT, "%s: %s", cases[i].after,
                     err.msg);
        cr_expect(cases[i].says == NULL || strstr(err.msg, cases[i].says) != NULL, "%s", err.msg);
        cr_expect_not(same);
    }
}

/* ---- JSON bodies ---- */

static struct frame *decode_json(const char *quoted, const struct schema *schema,
                                 struct decode_errors *errors)
{
    CLEANUP(mem_cleanup) char *text = mem_copy_text(quoted);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    struct decode_options options = {.format = DECODE_NDJSON};
    struct frame *frame = NULL;
    struct err err = {0};
    enum err_code code = decode_body(span_of_text(text), schema, &options, &frame, errors, &err);
    cr_assert_eq(code, ERR_OK, "%s: %s", quoted, err.msg);
    frame_check(frame);
    return frame;
}

static void expect_json(const struct frame *frame, int64_t row, const char *quoted)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, TEXT_BYTES_MAX);
    encode_json_row(frame, row, NULL, &text);
    for (size_t i = 0; i < text.size; i++) {
        text.data[i] = text.data[i] == '"' ? '\'' : text.data[i];
    }
    cr_expect(span_equal_text(buffer_span(&text), quoted), "%.*s\n%s",
              SPAN_PRINT(buffer_span(&text)), quoted);
}

Test(decode_nested, records_give_nested_values)
{
    static const struct {
        const char *record, *row;
    } cases[] = {
        {"{'k':'1'}", "{'k':'1','s':null,'a':null,'m':null,'n':null,'l':null}"},
        {"{'k':'1','s':{'code':2},'a':[],'m':{},'n':{},'l':[]}",
         "{'k':'1','s':{'city':null,'code':2,'more':null},'a':[],'m':{},'n':{},'l':[]}"},
        {"{ 'k' : '1' , 's' : { 'more' : { 'day' : '2024-02-29' } , 'code' : 7 , 'city' : 'Ulm' } ,"
         " 'a' : [ 1 , '2.50' , -3.25 ] }",
         "{'k':'1','s':{'city':'Ulm','code':7,'more':{'day':'2024-02-29'}},"
         "'a':[1.00,2.50,-3.25],'m':null,'n':null,'l':null}"},
        {"{'k':'1','m':{'x':[1,null,3],'':null,'y':[]},'n':{'2024-01-01':true,'2024-01-02':false}}",
         "{'k':'1','s':null,'a':null,'m':{'x':[1,null,3],'':null,'y':[]},"
         "'n':{'2024-01-01':true,'2024-01-02':false},'l':null}"},
        {"{'k':'1','l':[{'npi':'1234567893','at':'2024-01-01T00:00:00Z'},null,{}]}",
         "{'k':'1','s':null,'a':null,'m':null,'n':null,'l':[{'npi':'1234567893','at':"
         "'2024-01-01T00:00:00Z'},null,{'npi':null,'at':null}]}"},
        {"{'k':'1','m':{'\\u0061\\n':[1]},'s':{'\\u0063ode':1,'city':'\\u00fc'}}",
         "{'k':'1','s':{'city':'\xc3\xbc','code':1,'more':null},'a':null,'m':{'a\\n':[1]},'n':null,"
         "'l':null}"},
    };
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct decode_errors errors = {0};
        CLEANUP(frame_free) struct frame *frame = decode_json(cases[i].record, schema, &errors);
        cr_assert_eq(errors.rejected_count, 0, "%s: %s %s", cases[i].record,
                     errors.items[0].pointer, errors.items[0].message);
        expect_json(frame, 0, cases[i].row);
        decode_errors_deinit(&errors);
    }
}

Test(decode_nested, faults_are_told_with_their_place)
{
    static const struct {
        const char *record, *pointer;
        enum decode_code code;
    } cases[] = {
        {"{'k':'1','s':5}", "/s", DECODE_TYPE},
        {"{'k':'1','s':[]}", "/s", DECODE_TYPE},
        {"{'k':'1','a':{}}", "/a", DECODE_TYPE},
        {"{'k':'1','a':'x'}", "/a", DECODE_TYPE},
        {"{'k':'1','m':[1]}", "/m", DECODE_TYPE},
        {"{'k':{}}", "/k", DECODE_TYPE},
        {"{'k':'1','s':{}}", "/s/code", DECODE_REQUIRED},
        {"{'k':'1','s':{'code':null}}", "/s/code", DECODE_REQUIRED},
        {"{'k':'1','s':{'code':0}}", "/s/code", DECODE_RANGE},
        {"{'k':'1','s':{'code':1.5}}", "/s/code", DECODE_TYPE},
        {"{'k':'1','s':{'code':1,'code':2}}", "/s/code", DECODE_DUPLICATE_FIELD},
        {"{'k':'1','s':{'code':1,'city':'Berlin'}}", "/s/city", DECODE_TOO_LONG},
        {"{'k':'1','s':{'code':1,'town':'Ulm'}}", "/s/town", DECODE_UNKNOWN_FIELD},
        {"{'k':'1','s':{'code':1,'more':{'dei':1}}}", "/s/more/dei", DECODE_UNKNOWN_FIELD},
        {"{'k':'1','s':{'code':1,'more':{'day':'2023-02-29'}}}", "/s/more/day", DECODE_TYPE},
        {"{'k':'1','a':[1,2,null]}", "/a/2", DECODE_REQUIRED},
        {"{'k':'1','a':[1,'x']}", "/a/1", DECODE_TYPE},
        {"{'k':'1','a':[12345]}", "/a/0", DECODE_RANGE},
        {"{'k':'1','m':{'x':[1,true]}}", "/m/x/1", DECODE_TYPE},
        {"{'k':'1','m':{'x':1}}", "/m/x", DECODE_TYPE},
        {"{'k':'1','m':{'Jane Doe':1}}", "/m", DECODE_TYPE},
        {"{'k':'1','m':{'x':[1],'x':[2]}}", "/m", DECODE_DUPLICATE_FIELD},
        {"{'k':'1','n':{'2024-13-01':true}}", "/n", DECODE_TYPE},
        {"{'k':'1','n':{'2024-12-01':null}}", "/n", DECODE_REQUIRED},
        {"{'k':'1','m':{'\\u0000':null}}", "/m", DECODE_INVALID_CHARACTER},
        {"{'k':'1','l':[{},{'npi':'1234567890'}]}", "/l/1/npi", DECODE_FORMAT},
        {"{'k':'1','l':[{},{'at':3}]}", "/l/1/at", DECODE_TYPE},
        {"{'k':'1','l':[[]]}", "/l/0", DECODE_TYPE},
        {"{'k':'1','a':[1,", "", DECODE_SYNTAX},
        {"{'k':'1','a':[1 2]}", "", DECODE_SYNTAX},
        {"{'k':'1','s':{'code' 1}}", "", DECODE_SYNTAX},
        {"{'k':'1','s':{'code':1,}}", "", DECODE_SYNTAX},
        {"{'k':'1','m':{'x':[1]", "", DECODE_SYNTAX},
    };
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    for (size_t i = 0; i < COUNT(cases); i++) {
        /* good records around it stay as they are */
        static const char good[] = "{'k':'2','s':{'code':3},'a':[4],'m':{'y':[5]},'l':[{}]}";
        static const char row[] = "{'k':'2','s':{'city':null,'code':3,'more':null},'a':[4.00],"
                                  "'m':{'y':[5]},'n':null,'l':[{'npi':null,'at':null}]}";
        char body[512];
        (void)snprintf(body, sizeof body, "%s\n%s\n%s\n", good, cases[i].record, good);
        struct decode_errors errors = {0};
        CLEANUP(frame_free) struct frame *frame = decode_json(body, schema, &errors);
        cr_assert_eq(errors.rejected_count, 1, "%s", cases[i].record);
        cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer, "%s: %s", cases[i].record,
                         errors.items[0].message);
        cr_expect_eq(errors.items[0].code, cases[i].code, "%s: %s", cases[i].record,
                     errors.items[0].message);
        cr_expect_eq(errors.items[0].line, 2);
        cr_assert_eq(frame->rows_count, 2);
        expect_json(frame, 0, row);
        expect_json(frame, 1, row);
        decode_errors_deinit(&errors);
    }
}

/* A delete does not mind rules, wherever they are. */
Test(decode_nested, rules_within_do_not_keep_a_delete_back)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    struct decode_errors errors = {0};
    CLEANUP(frame_free)
    struct frame *frame = decode_json("{'_op':'delete','k':'1','s':{'code':0,'city':'Berlin'}}\n"
                                      "{'_op':'delete','k':'2','s':{'code':'x'}}\n",
                                      schema, &errors);
    cr_expect_eq(frame->rows_count, 1);
    cr_expect_eq(errors.rejected_count, 1);
    cr_expect_str_eq(errors.items[0].pointer, "/s/code");
    decode_errors_deinit(&errors);
}

/* One record with 10,001 elements. */
static void many_elements(struct buffer *body)
{
    buffer_init(body, TEXT_BYTES_MAX);
    buffer_append_text(body, "{\"k\":\"1\",\"l\":[null");
    for (size_t i = 0; i < 10000; i++) {
        buffer_append_text(body, ",null");
    }
    buffer_append_text(body, "]}");
}

/* Few bytes of body must not become many of memory. */
Test(decode_nested, elements_are_bounded_by_the_memory_of_a_frame)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    CLEANUP(buffer_deinit) struct buffer body;
    many_elements(&body);
    buffer_append_text(&body, "\n{\"k\":\"2\"}\n");
    struct decode_options options = {.format = DECODE_NDJSON, .frame_bytes_max = 50000};
    struct decode_errors errors = {0};
    struct frame *frame = NULL;
    struct err err = {0};
    cr_expect_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err),
                 ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.msg, "50000 bytes of memory"), "%s", err.msg);
    decode_errors_deinit(&errors);
    options.frame_bytes_max = 1000000;
    cr_expect_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_eq(frame->rows_count, 2);
    frame_free(&frame);
    decode_errors_deinit(&errors);
}

/* Nor within one record, whose fault it is then. */
Test(decode_nested, elements_of_one_record_are_bounded_too)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    CLEANUP(buffer_deinit) struct buffer body;
    many_elements(&body);
    struct decode_options options = {.format = DECODE_NDJSON, .frame_bytes_max = 50000};
    struct decode_errors errors = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    struct err err = {0};
    cr_assert_eq(decode_body(buffer_span(&body), schema, &options, &frame, &errors, &err), ERR_OK,
                 "%s", err.msg);
    cr_assert_eq(errors.rejected_count, 1);
    cr_expect_str_eq(errors.items[0].pointer, "/l");
    cr_expect_eq(errors.items[0].code, DECODE_RANGE);
    cr_expect_lt(frame_memory_bytes(frame), (size_t)1 << 20);
    decode_errors_deinit(&errors);
}

Test(decode_nested, keys_are_found_twice_among_many)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    for (int twice = 0; twice <= 1; twice++) {
        CLEANUP(buffer_deinit) struct buffer body;
        buffer_init(&body, TEXT_BYTES_MAX);
        buffer_append_text(&body, "{'k':'1','m':{'first':[1]");
        for (int i = 0; i < 20000; i++) {
            buffer_append_format(&body, ",'x%d':null", i);
        }
        buffer_append_text(&body, twice ? ",'first':null}}" : "}}");
        buffer_append_byte(&body, 0);
        struct decode_errors errors = {0};
        CLEANUP(frame_free)
        struct frame *frame = decode_json((const char *)body.data, schema, &errors);
        cr_expect_eq(errors.rejected_count, twice);
        decode_errors_deinit(&errors);
    }
}

/* ---- CSV ---- */

Test(decode_nested, csv_cells_hold_json)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const char body[] = "k,s,a,m\n"
                               "1,\"{\"\"code\"\":1,\"\"city\"\":\"\"Ulm\"\"}\",\"[1,2.5]\",{}\n"
                               "2,,[],\n"
                               "3,x,,\n"
                               "4,\"{\"\"code\"\":1\",,\n"
                               "5,,[] [],\n"
                               "6,,{},\n"
                               "7,\"\",,\n"
                               "8,\"[\"\"x\"\"\",,\n"
                               "9,,\"{\"\"x\"\"\",\n"
                               "10,,\"[1,[\",{\n";
    decode_test_expect(
        "csv", span_of_text(body), schema, &(struct decode_options){.format = DECODE_CSV},
        "2 upsert 1|{\"city\":\"Ulm\",\"code\":1,\"more\":null}|[1.00,2.50]|{}|~|~; "
        "3 upsert 2|~|[]|~|~|~; !4 /s type; !5 /s type; !6 /a type; !7 /a type; !8 /s type; "
        "!9 /s type; !9 /s type; !10 /a type; !10 /a type; !11 /a/1 type; !11 /a type; !11 /m "
        "type");
}

static void append_part(struct column *column, const struct field *field, uint64_t *state)
{
    if (field->nullable && kit_random(state) % 4 == 0) {
        column_append_null(column);
        return;
    }
    char text[32];
    uint64_t count = field->type == COLUMN_STRUCT ? 1 : kit_random(state) % 4;
    switch (field->type) {
    case COLUMN_STRING:
        (void)snprintf(text, sizeof text, "%s",
                       field->format == FORMAT_NPI ? "1234567893" : "a,\"");
        column_append_bytes(column, span_of_text(text));
        return;
    case COLUMN_INTEGER:
    case COLUMN_DATE:
        column_append_i32(column, 1 + (int32_t)(kit_random(state) % 1000));
        return;
    case COLUMN_LONG:
    case COLUMN_TIMESTAMP:
        column_append_i64(column, (int64_t)(kit_random(state) >> 24));
        return;
    case COLUMN_DECIMAL:
        column_append_i128(column, (int64_t)(kit_random(state) % 100000));
        return;
    case COLUMN_BOOLEAN:
        column_append_u8(column, kit_random(state) % 2);
        return;
    default:
        break;
    }
    for (uint64_t i = 0; i < count; i++) {
        for (size_t child = 0; child < field->children_count; child++) {
            struct column *part = &column->children[child];
            bool key = field->type == COLUMN_MAP && child == 0;
            if (key && part->type == COLUMN_STRING) {
                (void)snprintf(text, sizeof text, "key %d", (int)i);
                column_append_bytes(part, span_of_text(text));
            } else if (key) {
                column_append_i32(part, (int32_t)i);
            } else {
                append_part(part, &field->children[child], state);
            }
        }
    }
    column_append_nested(column);
}

static struct frame *random_rows(const struct schema *schema, int64_t rows, uint64_t seed)
{
    struct frame *frame = frame_new(schema);
    uint64_t state = seed;
    for (int64_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < schema->fields_count; i++) {
            append_part(&frame->columns[i], &schema->fields[i], &state);
        }
        frame_end_row(frame, FRAME_UPSERT, 0);
    }
    frame_check(frame);
    return frame;
}

static void expect_equal(const struct frame *a, const struct frame *b)
{
    CLEANUP(buffer_deinit) struct buffer x;
    CLEANUP(buffer_deinit) struct buffer y;
    buffer_init(&x, TEXT_BYTES_MAX);
    buffer_init(&y, TEXT_BYTES_MAX);
    cr_assert_eq(a->rows_count, b->rows_count);
    encode_ndjson_rows(a, 0, a->rows_count, NULL, &x);
    encode_ndjson_rows(b, 0, b->rows_count, NULL, &y);
    cr_expect(span_equal(buffer_span(&x), buffer_span(&y)));
}

/* What we print, in each form, we read: also rows of a file, whose fields come in another order. */
Test(decode_nested, every_form_comes_back)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    static const enum decode_format formats[] = {DECODE_NDJSON, DECODE_JSON_ARRAY, DECODE_CSV};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        CLEANUP(frame_free) struct frame *frame = random_rows(schema, 50, seed * 77);
        for (size_t f = 0; f < COUNT(formats); f++) {
            CLEANUP(buffer_deinit) struct buffer body;
            buffer_init(&body, TEXT_BYTES_MAX);
            if (formats[f] == DECODE_CSV) {
                encode_csv_header(schema, NULL, &body);
            }
            buffer_append_text(&body, formats[f] == DECODE_JSON_ARRAY ? "[" : "");
            for (int64_t row = 0; row < frame->rows_count; row++) {
                if (formats[f] == DECODE_CSV) {
                    encode_csv_row(frame, row, NULL, &body);
                } else {
                    encode_json_row(frame, row, NULL, &body);
                    bool last = row == frame->rows_count - 1;
                    buffer_append_byte(&body, formats[f] == DECODE_NDJSON ? '\n'
                                              : last                      ? ']'
                                                                          : ',');
                }
            }
            struct decode_options options = {.format = formats[f]};
            struct decode_errors errors = {0};
            CLEANUP(frame_free) struct frame *found = NULL;
            struct err err = {0};
            cr_assert_eq(decode_body(buffer_span(&body), schema, &options, &found, &errors, &err),
                         ERR_OK, "%s", err.msg);
            cr_assert_eq(errors.rejected_count, 0, "%s %s", errors.items[0].pointer,
                         errors.items[0].message);
            expect_equal(found, frame);
            decode_errors_deinit(&errors);
        }
        struct decode_options options = {.format = DECODE_NDJSON};
        struct decode_errors errors = {0};
        CLEANUP(frame_free) struct frame *found = NULL;
        struct err err = {0};
        cr_assert_eq(decode_rows_check(schema, schema, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(decode_rows(frame, schema, &options, &found, &errors, &err), ERR_OK, "%s",
                     err.msg);
        cr_assert_eq(errors.rejected_count, 0);
        expect_equal(found, frame);
        decode_errors_deinit(&errors);
    }
}

/* ---- rows of files ---- */

#define FOREIGN(name, type)                                                                        \
    "{\"name\":\"" name "\",\"type\":" type ",\"nullable\":true,\"metadata\":{}}"

static struct schema *foreign(const char *fields)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "{\"type\":\"struct\",\"fields\":[%s]}", fields);
    struct schema *schema = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(span_of_text(text), NULL, &schema, &err), ERR_OK, "%s",
                 err.msg);
    return schema;
}

Test(decode_nested, rows_of_files_are_matched_by_name)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    CLEANUP(schema_release)
    struct schema *columns = foreign(FOREIGN("k", "\"string\"") "," FOREIGN(
        "s", "{\"type\":\"struct\",\"fields\":[" FOREIGN("code", "\"long\"") "," FOREIGN(
                 "city", "\"string\"") "]}"));
    CLEANUP(frame_free) struct frame *rows = frame_new(columns);
    struct err err = {0};
    for (int64_t code = 0; code < 3; code++) {
        column_append_bytes(&rows->columns[0], span_of_text("k"));
        if (code == 1) {
            column_append_null(&rows->columns[1]);
        } else {
            column_append_i64(&rows->columns[1].children[0], code);
            column_append_bytes(&rows->columns[1].children[1], span_of_text("Ulm"));
            column_append_nested(&rows->columns[1]);
        }
        frame_end_row(rows, FRAME_UPSERT, 0);
    }
    cr_assert_eq(decode_rows_check(columns, schema, &err), ERR_OK, "%s", err.msg);
    struct decode_options options = {.format = DECODE_NDJSON};
    struct decode_errors errors = {0};
    CLEANUP(frame_free) struct frame *found = NULL;
    cr_assert_eq(decode_rows(rows, schema, &options, &found, &errors, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(found->rows_count, 2);
    expect_json(found, 0, "{'k':'k','s':null,'a':null,'m':null,'n':null,'l':null}");
    expect_json(found, 1,
                "{'k':'k','s':{'city':'Ulm','code':2,'more':null},'a':null,'m':null,'n':null,"
                "'l':null}");
    cr_assert_eq(errors.rejected_count, 1);
    cr_expect_str_eq(errors.items[0].pointer, "/s/code");
    decode_errors_deinit(&errors);
}

Test(decode_nested, files_with_fields_that_the_table_lacks_are_refused)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(definition);
    CLEANUP(schema_release)
    struct schema *columns = foreign(FOREIGN("k", "\"string\"") "," FOREIGN(
        "s", "{\"type\":\"struct\",\"fields\":[" FOREIGN("town", "\"string\"") "]}"));
    struct err err = {0};
    cr_expect_eq(decode_rows_check(columns, schema, &err), ERR_INVALID);
    cr_expect_str_eq(err.msg, "the table has no field for 'town' of the struct 's'");
    CLEANUP(schema_release)
    struct schema *other = foreign(FOREIGN("k", "\"string\"") "," FOREIGN(
        "a", "{\"type\":\"struct\",\"fields\":[" FOREIGN("x", "\"string\"") "]}"));
    cr_assert_eq(decode_rows_check(other, schema, &err), ERR_OK, "%s", err.msg);
    CLEANUP(frame_free) struct frame *rows = frame_new(other);
    column_append_bytes(&rows->columns[0], span_of_text("k"));
    column_append_null(&rows->columns[1].children[0]);
    column_append_nested(&rows->columns[1]);
    frame_end_row(rows, FRAME_UPSERT, 0);
    struct decode_options options = {.format = DECODE_NDJSON};
    struct decode_errors errors = {0};
    CLEANUP(frame_free) struct frame *found = NULL;
    cr_assert_eq(decode_rows(rows, schema, &options, &found, &errors, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(errors.rejected_count, 1);
    cr_expect_str_eq(errors.items[0].message, "must be a JSON array; found a struct");
    decode_errors_deinit(&errors);
}
