#include "storage/columns/schema.h"

#include "storage/columns/pattern.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(schema, .timeout = 60);

static const char full_definition[] =
    "{'schema':{'fields':["
    "{'name':'member_id','type':'string','nullable':false,'max_length':64,"
    " 'pattern':'[A-Z0-9-]+','phi':true,'protect':'none','description':'who'},"
    "{'name':'sex','type':'string','enum':['M','F','X']},"
    "{'name':'npi','type':'string','format':'npi'},"
    "{'name':'fills','type':'integer','minimum':0,'maximum':99},"
    "{'name':'total','type':'long','minimum':-9223372036854775808},"
    "{'name':'ratio','type':'double','minimum':-1.5,'maximum':2},"
    "{'name':'born','type':'date','minimum':'1900-01-01','maximum':'2100-12-31'},"
    "{'name':'updated_at','type':'timestamp','nullable':false,'minimum':'2000-01-01T00:00:00Z'},"
    "{'name':'quantity','type':'decimal(10, 3)','minimum':0.001,'maximum':'9999999.999'},"
    "{'name':'active','type':'boolean'},"
    "{'name':'photo','type':'binary','max_length':1000},"
    "{'name':'state','type':'string','format':'state'}]},"
    "'key':['member_id'],'sequence_by':'updated_at','partition_by':['state'],"
    "'merge':'copy-on-write','delete_retention_seconds':3600,"
    "'lookup':[{'entity':'member','column':'member_id','as':'member'},"
    "{'entity':'prescriber','column':'npi','as':'members'}],'description':'all of it'}";

Test(schema, a_full_definition_is_taken_with_all_its_rules)
{
    CLEANUP(schema_release) struct schema *schema = kit_schema(full_definition);
    cr_assert_eq(schema->fields_count, 12);
    cr_expect_eq(schema->version, 1);
    cr_expect_eq(schema->next_field_id, 13);
    cr_expect_eq(schema->key_count, 1);
    cr_expect_eq(schema->key[0], 0);
    cr_expect(schema->has_sequence);
    cr_expect_eq(schema->sequence, 7);
    cr_expect_eq(schema->partition_count, 1);
    cr_expect_eq(schema->partition[0], 11);
    cr_expect_eq(schema->merge, TABLE_COPY_ON_WRITE);
    cr_expect_eq(schema->delete_retention_seconds, 3600);
    cr_expect_eq(schema->lookup_count, 2);
    cr_expect_str_eq(schema->lookup[1].as, "members");
    cr_expect_eq(schema->lookup[1].column, 2);
    cr_expect_str_eq(schema->description, "all of it");
    for (size_t i = 0; i < schema->fields_count; i++) {
        const struct field *field = &schema->fields[i];
        cr_expect_eq(field->id, (int32_t)i + 1);
        cr_expect_eq(schema_field_index(schema, span_of_text(field->name)), (int)i);
        cr_expect_eq(schema_field_index_by_id(schema, field->id), (int)i);
    }
    const struct field *id = &schema->fields[0];
    cr_expect_not(id->nullable);
    cr_expect(id->phi);
    cr_expect_eq(id->max_length, 64);
    cr_expect(field_pattern_holds(id->pattern, span_of_text("A-1")));
    cr_expect(span_equal_text(id->json_name, "\"member_id\":"));
    cr_expect(field_enum_holds(&schema->fields[1], span_of_text("X")));
    cr_expect_not(field_enum_holds(&schema->fields[1], span_of_text("x")));
    cr_expect_eq(schema->fields[2].format, FORMAT_NPI);
    cr_expect(schema->fields[3].minimum == 0 && schema->fields[3].maximum == 99);
    cr_expect(schema->fields[4].minimum == INT64_MIN);
    cr_expect_eq(field_bound_double(schema->fields[5].minimum), -1.5);
    cr_expect(schema->fields[6].minimum == -25567);
    cr_expect(schema->fields[7].minimum == 946684800000000);
    cr_expect_eq(schema->fields[8].precision, 10);
    cr_expect_eq(schema->fields[8].scale, 3);
    cr_expect(schema->fields[8].minimum == 1);
    cr_expect(schema->fields[8].maximum == 9999999999);
    cr_expect_eq(schema->fields[9].max_length, -1);
}

Test(schema, defaults_are_those_of_the_contract)
{
    CLEANUP(schema_release)
    struct schema *append = kit_schema("{'schema':{'fields':[{'name':'a','type':'string'}]}}");
    cr_expect_eq(append->merge, TABLE_APPEND);
    cr_expect(append->fields[0].nullable);
    cr_expect_eq(append->delete_retention_seconds, 604800);
    cr_expect_not(append->change_feed);
    CLEANUP(schema_release)
    struct schema *keyed = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'string','nullable':false,'pattern':null}]},"
        "'key':['a'],'sequence_by':null}");
    cr_expect_eq(keyed->merge, TABLE_DELETION_VECTORS);
    cr_expect_null(keyed->fields[0].pattern);
}

Test(schema, can_be_extended_by_a_text_column)
{
    struct err err = {0};
    CLEANUP(schema_release)
    struct schema *schema = kit_schema(
        "{'schema':{'fields':[{'name':'a','type':'decimal(9,2)','phi':true},"
        "{'name':'b','type':'string','nullable':false}]},'key':['b'],'change_feed':true}");
    CLEANUP(schema_release) struct schema *extended = NULL;
    cr_assert_eq(schema_extend(schema, "_change_type", &extended, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(extended->fields_count, 3);
    cr_expect_eq(extended->fields[0].precision, 9);
    cr_expect_eq(extended->fields[0].scale, 2);
    cr_expect(extended->fields[0].phi);
    cr_expect_not(extended->fields[1].nullable);
    cr_expect_str_eq(extended->fields[2].name, "_change_type");
    cr_expect_eq(extended->fields[2].type, COLUMN_STRING);
    cr_expect_eq(schema_field_index(extended, span_of_text("_change_type")), 2);
    CLEANUP(schema_release) struct schema *again = NULL;
    cr_expect_eq(schema_extend(extended, "_CHANGE_type", &again, &err), ERR_UNSUPPORTED);
}

Test(schema, json_form_reads_back_to_the_same)
{
    static const char *const definitions[] = {
        full_definition,
        "{'schema':{'fields':[{'name':'a','type':'string','nullable':false}]},'key':['a']}",
        "{'schema':{'fields':[{'name':'a','type':'decimal(38,20)',"
        "'minimum':'0.12345678901234567890','maximum':'123456789012345678.9'}]}}",
    };
    for (size_t i = 0; i < sizeof definitions / sizeof definitions[0]; i++) {
        CLEANUP(schema_release) struct schema *schema = kit_schema(definitions[i]);
        CLEANUP(json_free) struct json *json = schema_to_json(schema);
        CLEANUP(schema_release) struct schema *again = NULL;
        struct err err = {0};
        cr_assert_eq(schema_load(json, 7, &again, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(again->version, 7);
        struct schema *none = NULL;
        cr_expect_eq(schema_load(json, 0, &none, &err), ERR_CORRUPT);
        cr_expect_null(none);
        CLEANUP(json_free) struct json *json_again = schema_to_json(again);
        cr_expect(json_equals(json, json_again), "definition %zu", i);
        CLEANUP(schema_release) struct schema *evolved = NULL;
        bool same = false;
        cr_assert_eq(schema_evolve(schema, again, &evolved, &same, &err), ERR_OK, "%s", err.msg);
        cr_expect(same);
        cr_expect_eq(evolved, schema);
    }
}

/* A table definition around fields of which one may be at fault. */
#define FIELDS(fields) "{'schema':{'fields':[" fields "]}}"
#define KEYED(fields, rest)                                                                        \
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false}" fields                    \
    "]},'key':['k']" rest "}"

Test(schema, each_fault_is_refused_with_its_pointer)
{
    static const struct {
        const char *definition;
        const char *says;
    } cases[] = {
        {"[]", "JSON object"},
        {"{}", "/schema: "},
        {"{'schema':{}}", "/schema/fields: "},
        {"{'schema':{'fields':[]}}", "/schema/fields: "},
        {"{'schema':{'fields':[1]}}", "/schema/fields/0: "},
        {"{'schema':{'fields':[{'name':'a','type':'long'}],'x':1}}", "/schema/x"},
        {"{'schema':{'fields':[{'name':'a','type':'long'}]},'keys':['a']}", "/keys"},
        {FIELDS("{'type':'long'}"), "/schema/fields/0/name: is required"},
        {FIELDS("{'name':'a'}"), "/schema/fields/0/type: is required"},
        {FIELDS("{'name':'a','type':'long','typ':1}"), "/schema/fields/0/typ"},
        {FIELDS("{'name':'','type':'long'}"), "/schema/fields/0/name: "},
        {FIELDS("{'name':1,'type':'long'}"), "/schema/fields/0/name: "},
        {FIELDS("{'name':'a b','type':'long'}"), "/schema/fields/0/name: "},
        {FIELDS("{'name':'a=b','type':'long'}"), "/schema/fields/0/name: "},
        {FIELDS("{'name':'1a','type':'long'}"), "/schema/fields/0/name: "},
        {FIELDS("{'name':'_op','type':'long'}"), "'_op' is reserved"},
        {FIELDS("{'name':'_COMMIT_VERSION','type':'long'}"), "reserved"},
        {FIELDS("{'name':'a','type':'long'},{'name':'A','type':'long'}"),
         "/schema/fields/1/name: 'A' occurs twice"},
        {FIELDS("{'name':'a','type':'int'}"), "/schema/fields/0/type: unknown type 'int'"},
        {FIELDS("{'name':'a','type':'tinyint'}"), "unknown type 'tinyint'"},
        {FIELDS("{'name':'a','type':'decimal'}"), "unknown type 'decimal'"},
        {FIELDS("{'name':'a','type':'decimal(39,0)'}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'decimal(5,6)'}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'decimal(0,0)'}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'decimal(5)'}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'decimal(5,2) '}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'decimal(5,2'}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':['long']}"), "/schema/fields/0/type: "},
        {FIELDS("{'name':'a','type':'long','nullable':1}"), "/schema/fields/0/nullable: "},
        {FIELDS("{'name':'a','type':'long','phi':'yes'}"), "/schema/fields/0/phi: "},
        {FIELDS("{'name':'a','type':'long','protect':'encrypt'}"),
         "/schema/fields/0/protect: 'encrypt' is not available yet"},
        {FIELDS("{'name':'a','type':'long','protect':'x'}"), "/schema/fields/0/protect: "},
        {FIELDS("{'name':'a','type':'long','max_length':5}"), "/schema/fields/0/max_length: "},
        {FIELDS("{'name':'a','type':'string','max_length':0}"), "/schema/fields/0/max_length: "},
        {FIELDS("{'name':'a','type':'string','max_length':1048577}"), "from 1 to 1048576"},
        {FIELDS("{'name':'a','type':'long','pattern':'a'}"), "/schema/fields/0/pattern: "},
        {FIELDS("{'name':'a','type':'string','pattern':'('}"),
         "/schema/fields/0/pattern: pattern is malformed"},
        {FIELDS("{'name':'a','type':'string','pattern':5}"), "/schema/fields/0/pattern: "},
        {FIELDS("{'name':'a','type':'long','enum':['1']}"), "/schema/fields/0/enum: "},
        {FIELDS("{'name':'a','type':'string','enum':[]}"), "/schema/fields/0/enum: "},
        {FIELDS("{'name':'a','type':'string','enum':[1]}"), "value 0 must be a text"},
        {FIELDS("{'name':'a','type':'string','enum':['x','y','x']}"), "value 2 occurs twice"},
        {FIELDS("{'name':'a','type':'long','format':'npi'}"), "/schema/fields/0/format: "},
        {FIELDS("{'name':'a','type':'string','format':'none'}"), "/schema/fields/0/format: "},
        {FIELDS("{'name':'a','type':'string','format':'ssn'}"), "/schema/fields/0/format: "},
        {FIELDS("{'name':'a','type':'string','minimum':1}"), "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'boolean','maximum':1}"), "/schema/fields/0/maximum: "},
        {FIELDS("{'name':'a','type':'integer','minimum':2147483648}"),
         "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'long','minimum':1.5}"), "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'long','minimum':'1'}"), "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'double','minimum':'1'}"), "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'decimal(4,2)','minimum':0.001}"),
         "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'decimal(4,2)','maximum':100}"), "/schema/fields/0/maximum: "},
        {FIELDS("{'name':'a','type':'date','minimum':'2024-02-30'}"), "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'timestamp','minimum':'2024-01-01'}"),
         "/schema/fields/0/minimum: "},
        {FIELDS("{'name':'a','type':'long','minimum':5,'maximum':4}"),
         "/schema/fields/0/maximum: is below the minimum"},
        {FIELDS("{'name':'a','type':'double','minimum':0.5,'maximum':-0.5}"),
         "/schema/fields/0/maximum: is below the minimum"},
        {FIELDS("{'name':'a','type':'long','description':5}"), "/schema/fields/0/description: "},
        {"{'schema':{'fields':[{'name':'a','type':'string'}]},'key':['a']}",
         "/key/0: 'a' must be nullable:false"},
        {"{'schema':{'fields':[{'name':'a','type':'double','nullable':false}]},'key':['a']}",
         "/key/0: 'a' is of type double"},
        {"{'schema':{'fields':[{'name':'a','type':'binary','nullable':false}]},'key':['a']}",
         "/key/0: 'a' is of type binary"},
        {KEYED("", ",'merge':'append'"), "/key: an append table"},
        {FIELDS("{'name':'a','type':'long'}") "", NULL},
        {"{'schema':{'fields':[{'name':'a','type':'long'}]},'merge':'copy-on-write'}",
         "/key: merge copy-on-write needs a key"},
        {"{'schema':{'fields':[{'name':'a','type':'long'}]},'merge':'x'}", "/merge: "},
        {"{'schema':{'fields':[{'name':'a','type':'long'}]},'key':['b']}",
         "/key/0: no field is named 'b'"},
        {"{'schema':{'fields':[{'name':'a','type':'long'}]},'key':'a'}", "/key: "},
        {"{'schema':{'fields':[{'name':'a','type':'long','nullable':false}]},'key':['a','a']}",
         "/key/1: the field occurs twice"},
        {KEYED("", ",'sequence_by':'k'"), "/sequence_by: 'k' must be"},
        {KEYED(",{'name':'t','type':'timestamp'}", ",'sequence_by':'t'"), "/sequence_by: 't' must"},
        {KEYED("", ",'sequence_by':'z'"), "/sequence_by: no field"},
        {"{'schema':{'fields':[{'name':'a','type':'long','nullable':false}]},'sequence_by':'a'}",
         "/sequence_by: an append table"},
        {KEYED("", ",'partition_by':['k']"), "/partition_by: at least one field"},
        {KEYED(",{'name':'p','type':'string','phi':true}", ",'partition_by':['p']"),
         "/partition_by/0: 'p' is protected health information"},
        {KEYED(",{'name':'p','type':'timestamp'}", ",'partition_by':['p']"),
         "/partition_by/0: 'p' must be of type"},
        {KEYED("", ",'constraints':{}"), "/constraints: must be an array"},
        {KEYED("", ",'constraints':[1]"), "/constraints/0: must be an object"},
        {KEYED("", ",'constraints':[{'name':'a b','check':'true'}]"), "/constraints/0/name: "},
        {KEYED("", ",'constraints':[{'name':'a'}]"), "/constraints/0/check: must be a condition"},
        {KEYED("", ",'constraints':[{'name':'a','check':'true'},{'name':'a','check':'true'}]"),
         "/constraints/1/name: there are two"},
        {KEYED("", ",'constraints':[{'name':'a','check':'nope = 1'}]"),
         "/constraints/0/check: byte 1: a name that is no column"},
        {KEYED("", ",'change_feed':'yes'"), "/change_feed: must be true or false"},
        {KEYED("", ",'delete_retention_seconds':-1"), "/delete_retention_seconds: "},
        {KEYED("", ",'delete_retention_seconds':315360001"), "/delete_retention_seconds: "},
        {KEYED("", ",'delete_retention_seconds':'7d'"), "/delete_retention_seconds: "},
        {KEYED("", ",'lookup':{}"), "/lookup: "},
        {KEYED("", ",'lookup':[1]"), "/lookup/0: "},
        {KEYED("", ",'lookup':[{'entity':'Member','column':'k','as':'a'}]"), "/lookup/0/entity: "},
        {KEYED("", ",'lookup':[{'entity':'member','column':'k','as':'a-b'}]"), "/lookup/0/as: "},
        {KEYED("", ",'lookup':[{'entity':'member','column':'k'}]"), "/lookup/0/as: "},
        {KEYED("", ",'lookup':[{'entity':'member','column':'z','as':'a'}]"), "/lookup/0/column: "},
        {KEYED("", ",'lookup':[{'entity':'m','column':'k','as':'a','by':1}]"), "/lookup/0/by"},
        {KEYED(",{'name':'d','type':'double'}", ",'lookup':[{'entity':'m','column':'d','as':'a'}]"),
         "/lookup/0/column: 'd' is of type double"},
        {KEYED("", ",'lookup':[{'entity':'m','column':'k','as':'a'},"
                   "{'entity':'m','column':'k','as':'a'}]"),
         "/lookup/1/as: 'a' occurs twice"},
        {KEYED(",{'name':'z','type':'string'}", ",'lookup':[{'entity':'m','column':'z','as':'m'}]"),
         "/lookup/0/as: 'm' makes this table the root"},
        {KEYED("", ",'description':5"), "/description: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        enum err_code code = kit_schema_try(cases[i].definition, &err);
        if (cases[i].says == NULL) {
            cr_expect_eq(code, ERR_OK, "%s: %s", cases[i].definition, err.msg);
            continue;
        }
        cr_expect_eq(code, ERR_INVALID, "%s was taken", cases[i].definition);
        cr_expect_not_null(strstr(err.msg, cases[i].says), "%s: %s", cases[i].definition, err.msg);
    }
}

/* A definition of `count` fields named f0, f1, … */
static struct buffer many_fields(size_t count)
{
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{\"schema\":{\"fields\":[");
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(&text, "%s{\"name\":\"f%zu\",\"type\":\"long\"}", i > 0 ? "," : "", i);
    }
    buffer_append(&text, "]}}", 4); /* with NUL */
    return text;
}

Test(schema, limits_hold_at_their_ends)
{
    struct buffer most = many_fields(SCHEMA_FIELDS_MAX);
    struct buffer more = many_fields(SCHEMA_FIELDS_MAX + 1);
    CLEANUP(schema_release) struct schema *schema = kit_schema((const char *)most.data);
    for (size_t i = 0; i < SCHEMA_FIELDS_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%zu", i);
        cr_expect_eq(schema_field_index(schema, span_of_text(name)), (int)i);
    }
    cr_expect_eq(schema_field_index(schema, span_of_text("f1000")), -1);
    cr_expect_eq(schema_field_index(schema, span_of_text("F0")), -1);
    cr_expect_eq(schema_field_index_by_id(schema, 0), -1);
    cr_expect_eq(schema_field_index_by_id(schema, SCHEMA_FIELDS_MAX + 1), -1);
    cr_expect_eq(schema_field_index_by_id(schema, INT32_MIN), -1);
    struct err err = {0};
    cr_expect_eq(kit_schema_try((const char *)more.data, &err), ERR_INVALID);
    buffer_deinit(&most);
    buffer_deinit(&more);

    static const struct {
        int bytes;
        enum err_code code;
    } names[] = {{SCHEMA_NAME_BYTES_MAX, ERR_OK}, {SCHEMA_NAME_BYTES_MAX + 1, ERR_INVALID}};
    for (size_t i = 0; i < 2; i++) {
        char definition[256];
        (void)snprintf(definition, sizeof definition,
                       "{'schema':{'fields':[{'name':'%0*d','type':'long'}]}}", names[i].bytes, 0);
        definition[strcspn(definition, "0")] = 'n';
        cr_expect_eq(kit_schema_try(definition, &err), names[i].code, "%d", names[i].bytes);
    }
}

Test(schema, enum_is_searched_not_scanned_and_finds_every_value)
{
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "{\"schema\":{\"fields\":[{\"name\":\"e\",\"type\":\"string\","
                              "\"enum\":[");
    for (unsigned i = 0; i < SCHEMA_ENUM_VALUES_MAX; i++) {
        buffer_append_format(&text, "%s\"%u\"", i > 0 ? "," : "", i * 7919 % 10007);
    }
    buffer_append(&text, "]}]}}", 6); /* with NUL */
    CLEANUP(schema_release) struct schema *schema = kit_schema((const char *)text.data);
    buffer_deinit(&text);
    unsigned found = 0;
    for (unsigned i = 0; i < 10007; i++) {
        char value[8];
        (void)snprintf(value, sizeof value, "%u", i);
        found += field_enum_holds(&schema->fields[0], span_of_text(value));
    }
    cr_expect_eq(found, SCHEMA_ENUM_VALUES_MAX);
    cr_expect_not(field_enum_holds(&schema->fields[0], span_of_text("")));
}

/* ---- evolution --------------------------------------------------------------------- */

#define TABLE(fields)                                                                              \
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"                          \
    "{'name':'t','type':'long','nullable':false}" fields "]},'key':['k'],'sequence_by':'t'}"
#define TABLE_WITH(rest)                                                                           \
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"                          \
    "{'name':'t','type':'long','nullable':false},{'name':'v','type':'string'}]},'key':['k']" rest  \
    "}"

static const struct {
    const char *name;
    const char *current;
    const char *next;
    const char *refused; /* NULL = allowed */
} changes[] = {
    {"added field", TABLE(""), TABLE(",{'name':'v','type':'string'}"), NULL},
    {"added field with rules", TABLE(""),
     TABLE(",{'name':'v','type':'string','max_length':3,'enum':['a'],'pattern':'a'}"), NULL},
    {"added field nullable:false", TABLE(""),
     TABLE(",{'name':'v','type':'string','nullable':false}"),
     "field 'v': an added field must be nullable"},
    {"dropped field", TABLE(",{'name':'v','type':'string'}"), TABLE(""),
     "field 'v': is left out; to rename it"},
    {"other case", TABLE(",{'name':'v','type':'string'}"), TABLE(",{'name':'V','type':'string'}"),
     "field 'v': is left out; to rename it"},
    {"renamed", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'w','type':'string','renamed_from':'v'}"), NULL},
    {"other case, said", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'V','type':'string','renamed_from':'v'}"), NULL},
    {"key renamed", TABLE_WITH(""),
     "{'schema':{'fields':[{'name':'kk','type':'string','nullable':false,'renamed_from':'k'},"
     "{'name':'t','type':'long','nullable':false},{'name':'v','type':'string'}]},'key':['kk']}",
     NULL},
    {"renamed, the old name given anew", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'w','type':'string','renamed_from':'v'},{'name':'v','type':'string'}"),
     "field 'w': its old name 'v' is among the fields, too"},
    {"renamed twice", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'w','type':'string','renamed_from':'v'},"
           "{'name':'x','type':'string','renamed_from':'v'}"),
     "field 'x': its old name 'v' is among the fields, too"},
    {"renamed and another type", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'w','type':'long','renamed_from':'v'}"), "field 'v': its type cannot change"},
    {"renamed from nothing", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'w','type':'string','renamed_from':'u'}"), "field 'v': is left out"},
    {"dropped", TABLE(",{'name':'v','type':'string'}"),
     "{'schema':{'dropped':['v'],'fields':[{'name':'k','type':'string','nullable':false},"
     "{'name':'t','type':'long','nullable':false}]},'key':['k'],'sequence_by':'t'}",
     NULL},
    {"dropped and renamed", TABLE(",{'name':'v','type':'string'}"),
     "{'schema':{'dropped':['v'],'fields':[{'name':'k','type':'string','nullable':false},"
     "{'name':'w','type':'string','renamed_from':'v'},"
     "{'name':'t','type':'long','nullable':false}]},'key':['k'],'sequence_by':'t'}",
     "field 'w': its old name 'v' is among the dropped ones"},
    {"key dropped",
     "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
     "{'name':'l','type':'string','nullable':false}]},'key':['k','l']}",
     "{'schema':{'dropped':['l'],'fields':[{'name':'k','type':'string','nullable':false}]},"
     "'key':['k']}",
     "key cannot change"},
    {"other type", TABLE(",{'name':'v','type':'integer'}"), TABLE(",{'name':'v','type':'string'}"),
     "field 'v': its type cannot change"},
    {"wider type", TABLE(",{'name':'v','type':'integer'}"), TABLE(",{'name':'v','type':'long'}"),
     NULL},
    {"narrower type", TABLE(",{'name':'v','type':'long'}"), TABLE(",{'name':'v','type':'integer'}"),
     "field 'v': its type cannot change"},
    {"wider type, bounds as they were", TABLE(",{'name':'v','type':'integer','minimum':-5}"),
     TABLE(",{'name':'v','type':'decimal(12,2)','minimum':'-5.00'}"), NULL},
    {"wider type, looser bound", TABLE(",{'name':'v','type':'integer','minimum':-5,'maximum':3}"),
     TABLE(",{'name':'v','type':'double','minimum':-5.5,'maximum':3}"), NULL},
    {"wider type, tighter bound", TABLE(",{'name':'v','type':'integer','minimum':-5}"),
     TABLE(",{'name':'v','type':'double','minimum':-4.5}"), "field 'v': minimum can be lowered"},
    {"date to moment", TABLE(",{'name':'v','type':'date','maximum':'2024-01-31'}"),
     TABLE(",{'name':'v','type':'timestamp_ntz','maximum':'2024-01-31T00:00:00'}"), NULL},
    {"more digits", TABLE(",{'name':'v','type':'decimal(5,2)'}"),
     TABLE(",{'name':'v','type':'decimal(7,2)'}"), NULL},
    {"too few digits for an integer", TABLE(",{'name':'v','type':'integer'}"),
     TABLE(",{'name':'v','type':'decimal(11,2)'}"), "field 'v': its type cannot change"},
    {"long to double", TABLE(",{'name':'v','type':'long'}"), TABLE(",{'name':'v','type':'double'}"),
     "field 'v': its type cannot change"},
    {"wider key",
     "{'schema':{'fields':[{'name':'k','type':'integer','nullable':false}]},'key':['k']}",
     "{'schema':{'fields':[{'name':'k','type':'long','nullable':false}]},'key':['k']}",
     "the type of a key or lookup field cannot change"},
    {"other scale", TABLE(",{'name':'v','type':'decimal(5,2)'}"),
     TABLE(",{'name':'v','type':'decimal(5,3)'}"), "field 'v': its type cannot change"},
    {"to nullable", TABLE(",{'name':'v','type':'string','nullable':false}"),
     TABLE(",{'name':'v','type':'string'}"), NULL},
    {"to nullable:false", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','nullable':false}"),
     "field 'v': it cannot become nullable:false"},
    {"phi set", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','phi':true}"), "field 'v': phi cannot be set later"},
    {"phi taken back", TABLE(",{'name':'v','type':'string','phi':true}"),
     TABLE(",{'name':'v','type':'string'}"), "field 'v': phi cannot be taken back"},
    {"longer", TABLE(",{'name':'v','type':'string','max_length':3}"),
     TABLE(",{'name':'v','type':'string','max_length':4}"), NULL},
    {"unlimited", TABLE(",{'name':'v','type':'string','max_length':3}"),
     TABLE(",{'name':'v','type':'string'}"), NULL},
    {"shorter", TABLE(",{'name':'v','type':'string','max_length':3}"),
     TABLE(",{'name':'v','type':'string','max_length':2}"), "max_length cannot shrink"},
    {"length set", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','max_length':2}"), "max_length cannot shrink"},
    {"pattern dropped", TABLE(",{'name':'v','type':'string','pattern':'a'}"),
     TABLE(",{'name':'v','type':'string'}"), NULL},
    {"pattern changed", TABLE(",{'name':'v','type':'string','pattern':'a'}"),
     TABLE(",{'name':'v','type':'string','pattern':'a|b'}"), "pattern can be dropped but not"},
    {"pattern set", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','pattern':'a'}"), "pattern can be dropped but not"},
    {"enum grown", TABLE(",{'name':'v','type':'string','enum':['a','b']}"),
     TABLE(",{'name':'v','type':'string','enum':['c','b','a']}"), NULL},
    {"enum dropped", TABLE(",{'name':'v','type':'string','enum':['a','b']}"),
     TABLE(",{'name':'v','type':'string'}"), NULL},
    {"enum shrunk", TABLE(",{'name':'v','type':'string','enum':['a','b']}"),
     TABLE(",{'name':'v','type':'string','enum':['a','c']}"), "enum can gain values"},
    {"enum set", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','enum':['a']}"), "enum can gain values"},
    {"lower minimum", TABLE(",{'name':'v','type':'long','minimum':3}"),
     TABLE(",{'name':'v','type':'long','minimum':2}"), NULL},
    {"higher minimum", TABLE(",{'name':'v','type':'long','minimum':3}"),
     TABLE(",{'name':'v','type':'long','minimum':4}"), "minimum can be lowered"},
    {"minimum set", TABLE(",{'name':'v','type':'long'}"),
     TABLE(",{'name':'v','type':'long','minimum':4}"), "minimum can be lowered"},
    {"double minimum lower, negative", TABLE(",{'name':'v','type':'double','minimum':-1}"),
     TABLE(",{'name':'v','type':'double','minimum':-2}"), NULL},
    {"double minimum higher, negative", TABLE(",{'name':'v','type':'double','minimum':-2}"),
     TABLE(",{'name':'v','type':'double','minimum':-1}"), "minimum can be lowered"},
    {"higher maximum", TABLE(",{'name':'v','type':'date','maximum':'2020-01-01'}"),
     TABLE(",{'name':'v','type':'date','maximum':'2020-01-02'}"), NULL},
    {"lower maximum", TABLE(",{'name':'v','type':'date','maximum':'2020-01-02'}"),
     TABLE(",{'name':'v','type':'date','maximum':'2020-01-01'}"), "maximum can be raised"},
    {"format dropped", TABLE(",{'name':'v','type':'string','format':'zip'}"),
     TABLE(",{'name':'v','type':'string'}"), NULL},
    {"format set", TABLE(",{'name':'v','type':'string'}"),
     TABLE(",{'name':'v','type':'string','format':'zip'}"), "format can be dropped but not"},
    {"description", TABLE(""), TABLE(",{'name':'v','type':'string','description':'new'}"), NULL},
    {"key", TABLE_WITH(",'sequence_by':'t'"),
     "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
     "{'name':'t','type':'long','nullable':false},{'name':'v','type':'string'}]},"
     "'key':['k','t'],'sequence_by':'t'}",
     "key cannot change"},
    {"sequence dropped", TABLE_WITH(",'sequence_by':'t'"), TABLE_WITH(""),
     "sequence_by cannot change"},
    {"sequence set", TABLE_WITH(""), TABLE_WITH(",'sequence_by':'t'"), "sequence_by cannot change"},
    {"partitions", TABLE_WITH(""), TABLE_WITH(",'partition_by':['v']"),
     "partition_by cannot change"},
    {"merge", TABLE_WITH(""), TABLE_WITH(",'merge':'copy-on-write'"), "merge cannot change"},
    {"delete retention", TABLE_WITH(""), TABLE_WITH(",'delete_retention_seconds':5"), NULL},
    {"constraints", TABLE_WITH(""), TABLE_WITH(",'constraints':[{'name':'a','check':'v is null'}]"),
     NULL},
    {"no constraints", TABLE_WITH(",'constraints':[{'name':'a','check':'v is null'}]"),
     TABLE_WITH(""), NULL},
    {"change feed", TABLE_WITH(""), TABLE_WITH(",'change_feed':true"), NULL},
    {"no change feed", TABLE_WITH(",'change_feed':true"), TABLE_WITH(""), NULL},
    {"description of the table", TABLE_WITH(""), TABLE_WITH(",'description':'x'"), NULL},
    {"lookup added", TABLE_WITH(""), TABLE_WITH(",'lookup':[{'entity':'m','column':'v','as':'a'}]"),
     NULL},
    {"lookup dropped", TABLE_WITH(",'lookup':[{'entity':'m','column':'v','as':'a'}]"),
     TABLE_WITH(""), "lookup 'a' of 'm' cannot be dropped"},
    {"lookup moved", TABLE_WITH(",'lookup':[{'entity':'m','column':'v','as':'a'}]"),
     TABLE_WITH(",'lookup':[{'entity':'m','column':'t','as':'a'}]"),
     "lookup 'a' of 'm' cannot be dropped"},
};

Test(schema, only_changes_that_stored_rows_survive_are_allowed)
{
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        CLEANUP(schema_release) struct schema *current = kit_schema(changes[i].current);
        CLEANUP(schema_release) struct schema *next = kit_schema(changes[i].next);
        CLEANUP(schema_release) struct schema *evolved = NULL;
        struct err err = {0};
        bool same = true;
        enum err_code code = schema_evolve(current, next, &evolved, &same, &err);
        if (changes[i].refused == NULL) {
            cr_assert_eq(code, ERR_OK, "%s: %s", changes[i].name, err.msg);
            cr_expect_not(same, "%s", changes[i].name);
            cr_expect_eq(evolved->version, 2);
            CLEANUP(json_free) struct json *wanted = schema_to_json(next);
            CLEANUP(json_free) struct json *got = schema_to_json(evolved);
            cr_expect(json_equals(wanted, got), "%s", changes[i].name);
        } else {
            cr_expect_eq(code, ERR_CONFLICT, "%s was allowed", changes[i].name);
            cr_expect_not_null(strstr(err.msg, changes[i].refused), "%s: %s", changes[i].name,
                               err.msg);
            cr_expect_null(evolved);
        }
    }
}

Test(schema, order_says_nothing_and_ids_stay)
{
    CLEANUP(schema_release)
    struct schema *current =
        kit_schema("{'schema':{'fields':[{'name':'a','type':'long'},{'name':'b','type':'long'}]},"
                   "'lookup':[{'entity':'m','column':'b','as':'x'}]}");
    CLEANUP(schema_release)
    struct schema *swapped =
        kit_schema("{'schema':{'fields':[{'name':'b','type':'long'},{'name':'a','type':'long'}]},"
                   "'lookup':[{'entity':'m','column':'b','as':'x'}]}");
    CLEANUP(schema_release)
    struct schema *added =
        kit_schema("{'schema':{'fields':[{'name':'c','type':'long'},{'name':'b','type':'long'},"
                   "{'name':'a','type':'long'}]},'lookup':[{'entity':'m','column':'c','as':'y'},"
                   "{'entity':'m','column':'b','as':'x'}]}");
    CLEANUP(schema_release) struct schema *evolved = NULL;
    struct err err = {0};
    bool same = false;
    cr_assert_eq(schema_evolve(current, swapped, &evolved, &same, &err), ERR_OK, "%s", err.msg);
    cr_expect(same);
    schema_release(&evolved);
    cr_assert_eq(schema_evolve(current, added, &evolved, &same, &err), ERR_OK, "%s", err.msg);
    cr_expect_not(same);
    cr_assert_eq(evolved->fields_count, 3);
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(evolved->fields[i].name, names[i]);
        cr_expect_eq(evolved->fields[i].id, (int32_t)i + 1);
    }
    cr_expect_str_eq(evolved->lookup[0].as, "x");
    cr_expect_str_eq(evolved->lookup[1].as, "y");
    cr_expect_eq(evolved->lookup[1].column, 2);
}

/* What the same names meant once, they never mean again. */
Test(schema, dropped_fields_keep_their_ids_to_themselves)
{
    CLEANUP(schema_release) struct schema *one = kit_schema(TABLE_WITH(""));
    CLEANUP(schema_release)
    struct schema *without = kit_schema("{'schema':{'dropped':['v'],'fields':[{'name':'k','type':"
                                        "'string','nullable':false},{'name':'tt','renamed_from':"
                                        "'t','type':'long','nullable':false}]},'key':['k']}");
    CLEANUP(schema_release)
    struct schema *again = kit_schema("{'schema':{'fields':[{'name':'v','type':'string'},{'name':"
                                      "'k','type':'string','nullable':false},{'name':'tt',"
                                      "'renamed_from':'t','type':'long','nullable':false}]},"
                                      "'key':['k']}");
    CLEANUP(schema_release) struct schema *two = NULL;
    CLEANUP(schema_release) struct schema *three = NULL;
    CLEANUP(schema_release) struct schema *same = NULL;
    struct err err = {0};
    bool is_same = false;
    cr_expect_not(schema_is_mapped(one));
    cr_assert_eq(schema_evolve(one, without, &two, &is_same, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(two->fields_count, 2);
    cr_expect_eq(two->next_field_id, 4);
    cr_expect_str_eq(two->fields[1].name, "tt");
    cr_expect_str_eq(two->fields[1].physical_name, "t");
    cr_expect_eq(two->fields[1].mapping_id, 2);
    cr_assert_eq(schema_evolve(two, without, &same, &is_same, &err), ERR_OK, "%s", err.msg);
    cr_expect(is_same, "what was done is no change");
    cr_assert_eq(schema_evolve(two, again, &three, &is_same, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(three->fields_count, 3);
    cr_expect_str_eq(three->fields[2].name, "v");
    cr_expect_eq(three->fields[2].id, 4);
    cr_expect_eq(three->fields[2].mapping_id, 4);
    cr_expect_eq(strncmp(three->fields[2].physical_name, "col-", 4), 0);
    cr_expect_eq(schema_field_index_by_id(three, 3), -1);
    cr_expect_eq(schema_field_index_by_id(three, 4), 2);
    cr_expect_eq(schema_mapping_id_max(three), 4);
    cr_expect_eq(schema_check_follows(one, three, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(schema_check_follows(three, one, &err), ERR_CONFLICT);

    CLEANUP(json_free) struct json *stored = schema_to_stored_json(three);
    CLEANUP(json_free) struct json *shown = schema_to_json(three);
    CLEANUP(schema_release) struct schema *loaded = NULL;
    CLEANUP(schema_release) struct schema *logged = NULL;
    CLEANUP(schema_release) struct schema *adopted = NULL;
    cr_assert_eq(schema_load(stored, 3, &loaded, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(loaded->fields[2].id, 4);
    cr_expect_null(json_get(json_at(json_get(json_get(shown, "schema"), "fields"), 2), "id"));
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    schema_write_delta(three, &text);
    CLEANUP(json_free) struct json *none = kit_json("[]");
    cr_assert_eq(
        schema_parse_delta_mapped(buffer_span(&text), none, COLUMN_MAPPING_NAME, &logged, &err),
        ERR_OK, "%s", err.msg);
    adopted = schema_adopt_mapping(loaded, logged);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(adopted->fields[i].physical_name, three->fields[i].physical_name);
        cr_expect_eq(adopted->fields[i].mapping_id, three->fields[i].mapping_id);
        cr_expect_eq(adopted->fields[i].id, three->fields[i].id);
    }
    CLEANUP(schema_release) struct schema *unchanged = schema_adopt_mapping(adopted, logged);
    cr_expect_eq(unchanged, adopted);
}

#define DEFINITION_OF(fields) "{'schema':{'fields':[" fields "]}}"

Test(schema, what_a_definition_says_of_changes_is_checked)
{
    static const struct {
        const char *text;
        const char *refused;
    } cases[] = {
        {"{'schema':{'fields':[{'name':'a','type':'long','id':1}]}}", "/schema/fields/0/id"},
        {"{'schema':{'next_field_id':7,'fields':[{'name':'a','type':'long'}]}}",
         "/schema/next_field_id"},
        {"{'schema':{'fields':[{'name':'a','type':'long','renamed_from':'a'}]}}",
         "/schema/fields/0/renamed_from: is the name that the field has"},
        {"{'schema':{'fields':[{'name':'a','type':'long','renamed_from':3}]}}",
         "/schema/fields/0/renamed_from: must be a text"},
        {"{'schema':{'dropped':['A'],'fields':[{'name':'a','type':'long'}]}}",
         "/schema/dropped/0: 'A' is among the fields"},
        {"{'schema':{'dropped':['b c'],'fields':[{'name':'a','type':'long'}]}}",
         "/schema/dropped/0: use ASCII"},
        {"{'schema':{'dropped':'b','fields':[{'name':'a','type':'long'}]}}",
         "/schema/dropped: must be an array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(json_free) struct json *definition = kit_json(cases[i].text);
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err err = {0};
        cr_expect_eq(schema_parse(definition, &schema, &err), ERR_INVALID, "%s", cases[i].text);
        cr_expect_not_null(strstr(err.msg, cases[i].refused), "%s", err.msg);
    }
    static const char *const stored[] = {
        DEFINITION_OF("{'name':'a','type':'date','id':2},{'name':'b','type':'date','id':2}"),
        "{'schema':{'fields':[{'name':'a','type':'long','renamed_from':'b'}]}}",
        "{'schema':{'dropped':[],'fields':[{'name':'a','type':'long'}]}}",
        "{'schema':{'next_field_id':2,'fields':[{'name':'a','type':'long','id':2}]}}",
        "{'schema':{'fields':[{'name':'a','type':'long','id':0}]}}",
    };
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        CLEANUP(json_free) struct json *definition = kit_json(stored[i]);
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err err = {0};
        cr_expect_eq(schema_load(definition, 1, &schema, &err), ERR_INVALID, "%s", stored[i]);
    }
}

Test(schema, references_keep_it_alive)
{
    struct schema *first = kit_schema("{'schema':{'fields':[{'name':'a','type':'long'}]}}");
    struct schema *second = schema_acquire(first);
    cr_expect_eq(first, second);
    schema_release(&first);
    cr_expect_null(first);
    cr_expect_str_eq(second->fields[0].name, "a");
    schema_release(&second);
    schema_release(&second);
}

/* ---- Delta -------------------------------------------------------------------------- */

Test(schema, delta_text_has_all_four_members_and_reads_back)
{
    CLEANUP(schema_release)
    struct schema *schema =
        kit_schema("{'schema':{'fields':[{'name':'a','type':'long','nullable':false},"
                   "{'name':'b','type':'decimal(10,3)','description':'say \\'it\\''},"
                   "{'name':'p','type':'date'}]},'partition_by':['p']}");
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4096);
    schema_write_delta(schema, &text);
    static const char expected[] =
        "{\"type\":\"struct\",\"fields\":["
        "{\"name\":\"a\",\"type\":\"long\",\"nullable\":false,\"metadata\":{}},"
        "{\"name\":\"b\",\"type\":\"decimal(10,3)\",\"nullable\":true,"
        "\"metadata\":{\"comment\":\"say \\\"it\\\"\"}},"
        "{\"name\":\"p\",\"type\":\"date\",\"nullable\":true,\"metadata\":{}}]}";
    cr_expect(span_equal_text(buffer_span(&text), expected), "%.*s",
              SPAN_PRINT(buffer_span(&text)));

    CLEANUP(json_free) struct json *partitions = kit_json("['p']");
    CLEANUP(schema_release) struct schema *back = NULL;
    struct err err = {0};
    cr_assert_eq(schema_parse_delta(buffer_span(&text), partitions, &back, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(back->partition_count, 1);
    cr_expect_eq(back->partition[0], 2);
    cr_expect_eq(back->merge, TABLE_APPEND);
    cr_expect_str_eq(back->fields[1].description, "say \"it\"");
    CLEANUP(buffer_deinit) struct buffer again;
    buffer_init(&again, 4096);
    schema_write_delta(back, &again);
    cr_expect(span_equal(buffer_span(&text), buffer_span(&again)));
}

Test(schema, foreign_tables_are_read_or_refused_by_name)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"{'type':'struct','fields':[{'name':'a b;ü','type':'byte','nullable':true,'metadata':{}},"
         "{'name':'f','type':'float','nullable':false,'metadata':{'x':1}},"
         "{'name':'n','type':'timestamp_ntz','nullable':true,'metadata':{}},"
         "{'name':'s','type':'short','nullable':true},"
         "{'name':'d','type':'decimal( 5 , 2 )','nullable':true,'metadata':{}}]}",
         ERR_OK, NULL},
        {"{'type':'struct','fields':[{'name':'x','type':{'type':'array','elementType':'long',"
         "'containsNull':true},'nullable':true,'metadata':{}}]}",
         ERR_OK, NULL},
        {"{'type':'struct','fields':[{'name':'x','type':{'type':'struct','fields':[]},"
         "'nullable':true,'metadata':{}}]}",
         ERR_UNSUPPORTED, "struct 'x' has 0 fields"},
        {"{'type':'struct','fields':[{'name':'x','type':'variant','nullable':true}]}",
         ERR_UNSUPPORTED, "field 'x' has the type 'variant'"},
        {"{'type':'struct','fields':[{'name':'x','type':'decimal(39,0)','nullable':true}]}",
         ERR_UNSUPPORTED, "decimal(39,0)"},
        {"{'type':'struct','fields':[{'name':'','type':'long','nullable':true}]}", ERR_UNSUPPORTED,
         "name of field 0"},
        {"{'type':'struct','fields':[]}", ERR_UNSUPPORTED, "0 fields"},
        {"{'type':'struct','fields':[{'name':'x','type':'long'}]}", ERR_CORRUPT, "nullable"},
        {"{'type':'struct','fields':[{'name':'x','nullable':true}]}", ERR_CORRUPT, "no type"},
        {"{'type':'struct','fields':[{'name':'x','type':'long','nullable':true},"
         "{'name':'X','type':'long','nullable':true}]}",
         ERR_CORRUPT, "occurs twice"},
        {"{'type':'map','fields':[{'name':'x','type':'long','nullable':true}]}", ERR_CORRUPT,
         "not a struct"},
        {"{'type':'struct'}", ERR_CORRUPT, "not a struct"},
        {"[]", ERR_CORRUPT, "not a struct"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(json_free) struct json *json = kit_json(cases[i].text);
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 1 << 16);
        json_write(json, &text);
        CLEANUP(schema_release) struct schema *schema = NULL;
        struct err err = {0};
        enum err_code code = schema_parse_delta(buffer_span(&text), NULL, &schema, &err);
        cr_expect_eq(code, cases[i].code, "%s: %s", cases[i].text, err.msg);
        cr_expect(cases[i].says == NULL || strstr(err.msg, cases[i].says) != NULL, "%s: %s",
                  cases[i].text, err.msg);
    }
    struct schema *schema = NULL;
    struct err err = {0};
    cr_expect_eq(schema_parse_delta(span_of_text("{\"type\":"), NULL, &schema, &err), ERR_CORRUPT);
    static const char one[] =
        "{\"type\":\"struct\",\"fields\":[{\"name\":\"x\",\"type\":\"long\",\"nullable\":true}]}";
    CLEANUP(json_free) struct json *stranger = kit_json("['y']");
    cr_expect_eq(schema_parse_delta(span_of_text(one), stranger, &schema, &err), ERR_CORRUPT);
    cr_expect_null(schema);
}

/* A definition of one field with a minimum, as a client writes it. */
static void write_bounded(const char *type, const char *minimum, struct buffer *text)
{
    buffer_append_format(text,
                         "{\"merge\":\"append\",\"schema\":{\"fields\":[{\"name\":\"a\",\"type\":"
                         "\"string\"},{\"type\":\"%s\",\"\\u006dinimum\": %s ,\"name\":\"x\"}]}}",
                         type, minimum);
}

Test(schema, bounds_of_decimals_keep_every_digit)
{
    static const struct {
        const char *type;
        const char *minimum;
        const char *printed; /* in the canonical definition; NULL: refused */
    } cases[] = {
        {"decimal(10,2)", "0.25", "\"minimum\":0.25,"},
        {"decimal(10,2)", "1E2", "\"minimum\":100,"},
        {"decimal(10,2)", "0.250", "\"minimum\":0.25,"},
        {"decimal(10,2)", "-7", "\"minimum\":-7,"},
        {"decimal(19,2)", "12345678901234567.89", "\"minimum\":\"12345678901234567.89\","},
        {"decimal(19,2)", "99999999999999999.99", "\"minimum\":\"99999999999999999.99\","},
        {"decimal(38,2)", "99999999999999999.99", "\"minimum\":\"99999999999999999.99\","},
        {"decimal(38,0)", "9223372036854775807", "\"minimum\":9223372036854775807,"},
        {"decimal(38,0)", "9223372036854775809", "\"minimum\":\"9223372036854775809\","},
        {"decimal(38,0)", "-98765432109876543210987654321098765432",
         "\"minimum\":\"-98765432109876543210987654321098765432\","},
        {"decimal(20,19)", "0.1000000000000000001", "\"minimum\":\"0.1000000000000000001\","},
        {"decimal(19,2)", "\"12345678901234567.89\"", "\"minimum\":\"12345678901234567.89\","},
        {"decimal(19,2)", "99999999999999999.999", NULL},
        {"double", "0.10000000000000001", "\"minimum\":0.1,"},
        {"long", "9223372036854775808", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(buffer_deinit) struct buffer text;
        CLEANUP(buffer_deinit) struct buffer printed;
        CLEANUP(json_free) struct json *json = NULL;
        CLEANUP(schema_release) struct schema *schema = NULL;
        CLEANUP(schema_release) struct schema *again = NULL;
        struct err err = {0};
        buffer_init(&text, 4096);
        buffer_init(&printed, 4096);
        write_bounded(cases[i].type, cases[i].minimum, &text);
        cr_assert_eq(json_parse(buffer_span(&text), &json, &err), ERR_OK, "%s", err.msg);
        schema_keep_digits(json, buffer_span(&text));
        enum err_code code = schema_parse(json, &schema, &err);
        cr_assert_eq(code, cases[i].printed != NULL ? ERR_OK : ERR_INVALID, "%s: %s",
                     cases[i].minimum, err.msg);
        if (schema == NULL) {
            continue;
        }
        /* through the catalog's text and back */
        CLEANUP(json_free) struct json *canonical = schema_to_json(schema);
        json_write(canonical, &printed);
        buffer_append_byte(&printed, '\0');
        cr_expect_not_null(strstr((const char *)printed.data, cases[i].printed), "%s: %s",
                           cases[i].minimum, printed.data);
        CLEANUP(json_free) struct json *stored = NULL;
        cr_assert_eq(json_parse(span_of_text((const char *)printed.data), &stored, &err), ERR_OK);
        cr_assert_eq(schema_load(stored, 1, &again, &err), ERR_OK, "%s", err.msg);
        cr_expect(schema->fields[1].minimum == again->fields[1].minimum, "%s", cases[i].minimum);
    }
}

Test(schema, digits_of_a_broken_definition_are_left_alone)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"schema\":[]}",
        "{\"schema\":{\"fields\":{\"type\":\"decimal(3,1)\"}}}",
        "{\"schema\":{\"fields\":[1,[],{},{\"type\":\"decimal(99,1)\",\"minimum\":0.5}]}}",
        "{\"schema\":{\"fields\":[{\"type\":\"decimal(3,1)\",\"minimum\":[0.55]}]}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CLEANUP(json_free) struct json *json = NULL;
        CLEANUP(json_free) struct json *same = NULL;
        struct err err = {0};
        cr_assert_eq(json_parse(span_of_text(texts[i]), &json, &err), ERR_OK);
        cr_assert_eq(json_parse(span_of_text(texts[i]), &same, &err), ERR_OK);
        schema_keep_digits(json, span_of_text(texts[i]));
        cr_expect(json_equals(json, same), "%s", texts[i]);
    }
}
