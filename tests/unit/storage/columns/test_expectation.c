#include "storage/columns/expectation.h"

#include "storage/base/json.h"
#include "storage/columns/decode.h"
#include "tests/unit/storage/columns/columns_kit.h"

#include <criterion/criterion.h>

TestSuite(expectation, .timeout = 60);

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct schema *members(void)
{
    return kit_schema("{'schema':{'fields':["
                      "{'name':'id','type':'string','nullable':false},"
                      "{'name':'zip','type':'string'},"
                      "{'name':'age','type':'integer'},"
                      "{'name':'born','type':'date'},"
                      "{'name':'paid','type':'decimal(10,2)'},"
                      "{'name':'score','type':'double'},"
                      "{'name':'seen','type':'timestamp'}]},'merge':'append'}");
}

static struct expectations *parse(const char *text)
{
    CLEANUP(json_free) struct json *json = kit_json(text);
    struct expectations *list = NULL;
    struct err err = {0};
    cr_assert_eq(expectations_parse(json, EXPECTATIONS_OF_TABLE, &list, &err), ERR_OK, "%s: %s",
                 text, err.msg);
    return list;
}

Test(expectation, faults_are_told_with_their_place)
{
    static const struct {
        const char *text;
        const char *message; /* its beginning; NULL = fine */
    } cases[] = {
        {"{'type':'not_null','column':'a','action':'warn'}", NULL},
        {"{'type':'not_null','columns':['a','b'],'action':'drop','name':'n'}", NULL},
        {"{'type':'range','column':'a','minimum':1,'action':'fail'}", NULL},
        {"{'type':'pattern','column':'a','pattern':'x','action':'quarantine'}", NULL},
        {"{'type':'enum','column':'a','values':['x'],'action':'warn'}", NULL},
        {"{'type':'format','column':'a','format':'zip','action':'warn'}", NULL},
        {"{'type':'unique','columns':['a'],'action':'warn'}", NULL},
        {"{'type':'foreign_key','column':'a','references':{'table':'t'},'action':'warn'}", NULL},
        {"{'type':'row_count','minimum':0,'action':'fail'}", NULL},
        {"{'type':'row_count','minimum_change_percent':-12.5,'versions_back':3,'action':'warn'}",
         NULL},
        {"{'type':'freshness','max_age_seconds':60,'action':'fail'}", NULL},
        {"{'type':'freshness','column':'at','max_age_seconds':60,'action':'fail'}", NULL},
        {"7", ": must be an object"},
        {"{'column':'a','action':'warn'}", "/type: must be one of not_null"},
        {"{'type':'odd','column':'a','action':'warn'}", "/type: must be one of not_null"},
        {"{'type':'not_null','column':'a'}", "/action: must be one of"},
        {"{'type':'not_null','column':'a','action':'delete'}", "/action: must be one of"},
        {"{'type':'not_null','action':'warn'}", "/column: is required"},
        {"{'type':'not_null','column':7,'action':'warn'}", "/column: must be"},
        {"{'type':'not_null','columns':[],'action':'warn'}", "/columns: must be an array"},
        {"{'type':'not_null','columns':['a','a'],'action':'warn'}", "/columns: name 1 is there"},
        {"{'type':'not_null','column':'a','columns':['b'],'action':'warn'}",
         "/columns: give column or columns"},
        {"{'type':'not_null','column':'a','action':'warn','minimum':1}",
         "/minimum: is not a member"},
        {"{'type':'not_null','column':'a','action':'warn','a b!':1}", ": has a member"},
        {"{'type':'range','columns':['a','b'],'minimum':1,'action':'warn'}",
         "/columns: is not a member"},
        {"{'type':'range','column':'a','action':'warn'}", "/minimum: give minimum"},
        {"{'type':'pattern','column':'a','action':'warn'}", "/pattern: is required"},
        {"{'type':'enum','column':'a','action':'warn'}", "/values: is required"},
        {"{'type':'foreign_key','column':'a','action':'warn'}", "/references: must be an object"},
        {"{'type':'foreign_key','column':'a','references':{},'action':'warn'}",
         "/references/table: must be"},
        {"{'type':'foreign_key','column':'a','references':{'table':'t','columns':['x','y']},"
         "'action':'warn'}",
         "/references/columns: must be as many"},
        {"{'type':'foreign_key','column':'a','references':{'table':'t','x':1},'action':'warn'}",
         "/references/x: is not a member"},
        {"{'type':'row_count','action':'fail'}", "/minimum: give minimum"},
        {"{'type':'row_count','minimum':1,'action':'drop'}", "/action: row_count concerns"},
        {"{'type':'row_count','minimum':5,'maximum':4,'action':'fail'}", "/maximum: is below"},
        {"{'type':'row_count','minimum':-1,'action':'fail'}", "/minimum: must be a whole"},
        {"{'type':'row_count','minimum':1,'versions_back':1,'action':'fail'}",
         "/versions_back: needs a change"},
        {"{'type':'row_count','minimum_change_percent':-101,'action':'fail'}",
         "/minimum_change_percent: must be a number"},
        {"{'type':'freshness','action':'fail'}", "/max_age_seconds: is required"},
        {"{'type':'freshness','max_age_seconds':1,'action':'quarantine'}",
         "/action: freshness concerns"},
        {"{'name':'','type':'not_null','column':'a','action':'warn'}", "/name: must be"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *json = kit_json(cases[i].text);
        struct err err = {0};
        enum err_code code = expectation_check(json, EXPECTATIONS_OF_TABLE, &err);
        if (cases[i].message == NULL) {
            cr_expect_eq(code, ERR_OK, "%s: %s", cases[i].text, err.msg);
        } else {
            cr_expect_eq(code, ERR_INVALID, "%s", cases[i].text);
            cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s: %s",
                         cases[i].text, err.msg);
        }
    }
}

Test(expectation, rows_alone_cannot_be_judged_by_the_table)
{
    static const char *const texts[] = {
        "{'type':'unique','column':'a','action':'warn'}",
        "{'type':'foreign_key','column':'a','references':{'table':'t'},'action':'warn'}",
        "{'type':'row_count','minimum':1,'action':'warn'}",
        "{'type':'freshness','max_age_seconds':1,'action':'warn'}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        CLEANUP(json_free) struct json *json = kit_json(texts[i]);
        struct err err = {0};
        cr_expect_eq(expectation_check(json, EXPECTATIONS_OF_ROWS, &err), ERR_INVALID);
        cr_expect_eq(strncmp(err.msg, "/type: ", 7), 0, "%s", err.msg);
    }
}

Test(expectation, lists_name_their_elements)
{
    CLEANUP(expectations_free)
    struct expectations *list =
        parse("[{'type':'not_null','columns':['a','b'],'action':'warn'},"
              "{'type':'row_count','minimum':1,'action':'warn'},"
              "{'name':'given','type':'not_null','column':'a','action':'warn'}]");
    cr_assert_eq(list->count, 3);
    cr_expect_str_eq(list->items[0].name, "not_null a,b");
    cr_expect_str_eq(list->items[1].name, "row_count");
    cr_expect_str_eq(list->items[2].name, "given");
    static const struct {
        const char *text;
        enum err_code code;
        const char *message;
    } cases[] = {
        {"{}", ERR_INVALID, ": must be an array"},
        {"[{'type':'not_null','column':'a','action':'warn'},{'type':'x'}]", ERR_INVALID,
         "/1/type: must be"},
        {"[{'type':'not_null','column':'a','action':'warn'},"
         "{'type':'not_null','column':'a','action':'drop'}]",
         ERR_INVALID, "/1/name: element 0 has the same name"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *json = kit_json(cases[i].text);
        CLEANUP(expectations_free) struct expectations *none = NULL;
        struct err err = {0};
        cr_expect_eq(expectations_parse(json, EXPECTATIONS_OF_TABLE, &none, &err), cases[i].code);
        cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s",
                     err.msg);
    }
    CLEANUP(expectations_free) struct expectations *empty = NULL;
    struct err err = {0};
    cr_expect_eq(expectations_parse(NULL, EXPECTATIONS_OF_ROWS, &empty, &err), ERR_OK);
    cr_expect_eq(empty->count, 0);
}

Test(expectation, binding_judges_rules_by_the_type_of_the_column)
{
    static const struct {
        const char *text;
        const char *message; /* NULL = fine */
    } cases[] = {
        {"[{'type':'range','column':'age','minimum':1,'maximum':9,'action':'warn'}]", NULL},
        {"[{'type':'range','column':'born','minimum':'2000-01-01','action':'warn'}]", NULL},
        {"[{'type':'range','column':'paid','minimum':'0.01','action':'warn'}]", NULL},
        {"[{'type':'range','column':'seen','maximum':'2026-01-01T00:00:00Z','action':'warn'}]",
         NULL},
        {"[{'type':'freshness','column':'seen','max_age_seconds':5,'action':'warn'}]", NULL},
        {"[{'type':'not_null','column':'none','action':'warn'}]",
         "/0/column: the table has no column 'none'"},
        {"[{'type':'range','column':'zip','minimum':1,'action':'warn'}]", "/0/minimum: fields of"},
        {"[{'type':'range','column':'age','minimum':'x','action':'warn'}]",
         "/0/minimum: must be an integer"},
        {"[{'type':'range','column':'age','minimum':9,'maximum':1,'action':'warn'}]",
         "/0/maximum: is below"},
        {"[{'type':'range','column':'born','minimum':'soon','action':'warn'}]",
         "/0/minimum: must be a date"},
        {"[{'type':'pattern','column':'age','pattern':'x','action':'warn'}]",
         "/0/pattern: only string"},
        {"[{'type':'pattern','column':'zip','pattern':'(','action':'warn'}]", "/0/pattern: "},
        {"[{'type':'enum','column':'zip','values':[1],'action':'warn'}]", "/0/values: value 0"},
        {"[{'type':'format','column':'zip','format':'phone','action':'warn'}]",
         "/0/format: must be one of"},
        {"[{'type':'unique','column':'score','action':'warn'}]",
         "/0/column: 'score' is of type double"},
        {"[{'type':'freshness','column':'age','max_age_seconds':5,'action':'warn'}]",
         "/0/column: 'age' is not a date"},
    };
    CLEANUP(schema_release) struct schema *schema = members();
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(expectations_free) struct expectations *list = parse(cases[i].text);
        CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
        struct err err = {0};
        enum err_code code = expectations_bind(list, schema, &bound, &err);
        if (cases[i].message == NULL) {
            cr_expect_eq(code, ERR_OK, "%s: %s", cases[i].text, err.msg);
        } else {
            cr_expect_eq(code, ERR_INVALID, "%s", cases[i].text);
            cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s: %s",
                         cases[i].text, err.msg);
        }
    }
}

/* ---- judging ---- */

struct member {
    enum frame_operation operation;
    const char *id;
    const char *zip; /* NULL = null, "-" = absent */
    int32_t age;     /* -1 = null */
    double score;
};

static struct frame *frame_of(const struct schema *schema, const struct member *rows, size_t count)
{
    struct frame *frame = frame_new(schema);
    for (size_t i = 0; i < count; i++) {
        column_append_bytes(&frame->columns[0], span_of_text(rows[i].id));
        if (rows[i].zip == NULL) {
            column_append_null(&frame->columns[1]);
        } else if (strcmp(rows[i].zip, "-") == 0) {
            column_append_absent(&frame->columns[1]);
        } else {
            column_append_bytes(&frame->columns[1], span_of_text(rows[i].zip));
        }
        if (rows[i].age < 0) {
            column_append_null(&frame->columns[2]);
        } else {
            column_append_i32(&frame->columns[2], rows[i].age);
        }
        column_append_null(&frame->columns[3]);
        column_append_i128(&frame->columns[4], rows[i].age * 100);
        column_append_f64(&frame->columns[5], rows[i].score);
        column_append_i64(&frame->columns[6], rows[i].age);
        frame_end_row(frame, rows[i].operation, (int64_t)i + 10);
    }
    return frame;
}

static const struct member rows[] = {
    {FRAME_UPSERT, "a", "02139", 20, 0.5}, {FRAME_UPSERT, "b", NULL, 130, 1.5},
    {FRAME_UPSERT, "c", "2139", -1, -1},   {FRAME_UPSERT, "d", "x", 0, 2},
    {FRAME_DELETE, "e", NULL, 500, 9},     {FRAME_PATCH, "f", "-", 40, 0},
};

Test(expectation, every_type_counts_what_falls_short)
{
    static const struct {
        const char *text;
        int64_t judged;
        int64_t violations;
        int64_t line; /* of the first example */
        size_t column;
    } cases[] = {
        {"[{'type':'not_null','column':'zip','action':'warn'}]", 5, 1, 11, 1},
        {"[{'type':'not_null','columns':['id','age'],'action':'warn'}]", 5, 1, 12, 2},
        {"[{'type':'not_null','column':'id','action':'warn'}]", 5, 0, 0, 0},
        {"[{'type':'range','column':'age','minimum':1,'maximum':120,'action':'warn'}]", 4, 2, 11,
         2},
        {"[{'type':'range','column':'age','minimum':0,'maximum':130,'action':'warn'}]", 4, 0, 0, 0},
        {"[{'type':'range','column':'paid','maximum':'130.00','action':'warn'}]", 5, 0, 0, 0},
        {"[{'type':'range','column':'paid','maximum':'129.99','action':'warn'}]", 5, 1, 11, 4},
        {"[{'type':'range','column':'score','minimum':0,'action':'warn'}]", 5, 1, 12, 5},
        {"[{'type':'range','column':'seen','minimum':'1970-01-01T00:00:00Z','action':'warn'}]", 5,
         1, 12, 6},
        {"[{'type':'pattern','column':'zip','pattern':'[0-9]{4,5}','action':'warn'}]", 3, 1, 13, 1},
        {"[{'type':'enum','column':'zip','values':['x','02139'],'action':'warn'}]", 3, 1, 12, 1},
        {"[{'type':'format','column':'zip','format':'zip','action':'warn'}]", 3, 2, 12, 1},
        {"[{'type':'unique','column':'zip','action':'warn'}]", 0, 0, 0, 0}, /* not here */
    };
    CLEANUP(schema_release) struct schema *schema = members();
    CLEANUP(frame_free) struct frame *frame = frame_of(schema, rows, COUNT(rows));
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(expectations_free) struct expectations *list = parse(cases[i].text);
        CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
        struct err err = {0};
        cr_assert_eq(expectations_bind(list, schema, &bound, &err), ERR_OK, "%s", err.msg);
        struct expectation_tally tally = {0};
        cr_expect_eq(expectations_apply(bound, frame, &tally, NULL), 0);
        cr_expect_eq(tally.judged, cases[i].judged, "%s: judged %lld", cases[i].text,
                     (long long)tally.judged);
        cr_expect_eq(tally.violations, cases[i].violations, "%s: %lld violations", cases[i].text,
                     (long long)tally.violations);
        cr_assert_eq(tally.examples_count, (size_t)tally.violations);
        if (tally.examples_count > 0) {
            cr_expect_eq(tally.examples[0].line, cases[i].line, "%s: line %lld", cases[i].text,
                         (long long)tally.examples[0].line);
            cr_expect_eq(tally.examples[0].column, cases[i].column, "%s", cases[i].text);
        }
        /* counts add up, examples do not grow without end */
        for (int again = 0; again < 20; again++) {
            (void)expectations_apply(bound, frame, &tally, NULL); /* as above */
        }
        cr_expect_eq(tally.violations, 21 * cases[i].violations);
        cr_expect_leq(tally.examples_count, EXPECTATION_EXAMPLES_MAX);
    }
}

Test(expectation, verdicts_take_rows_away_and_quarantine_beats_drop)
{
    CLEANUP(expectations_free)
    struct expectations *list =
        parse("[{'name':'w','type':'not_null','column':'zip','action':'warn'},"
              "{'name':'d','type':'range','column':'age','maximum':120,'action':'drop'},"
              "{'name':'q','type':'not_null','column':'zip','action':'quarantine'},"
              "{'name':'d2','type':'enum','column':'id','values':['a','b','f'],'action':'drop'},"
              "{'name':'f','type':'range','column':'age','minimum':1,'action':'fail'}]");
    CLEANUP(schema_release) struct schema *schema = members();
    CLEANUP(frame_free) struct frame *frame = frame_of(schema, rows, COUNT(rows));
    CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
    struct err err = {0};
    cr_assert_eq(expectations_bind(list, schema, &bound, &err), ERR_OK, "%s", err.msg);
    struct expectation_tally tallies[5] = {0};
    uint16_t verdicts[COUNT(rows)];
    memset(verdicts, 0xff, sizeof verdicts);
    cr_expect_eq(expectations_apply(bound, frame, tallies, verdicts), 3);
    static const uint16_t expected[COUNT(rows)] = {0, 3, 4, 4, 0, 0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_expect_eq(verdicts[i], expected[i], "row %zu: %u", i, verdicts[i]);
    }
    size_t failed = 0;
    cr_expect(expectations_failed(list, tallies, &failed));
    cr_expect_eq(failed, 4);
    tallies[4].violations = 0;
    cr_expect_not(expectations_failed(list, tallies, &failed));
}

Test(expectation, a_batch_is_parted_into_kept_quarantined_and_dropped)
{
    CLEANUP(expectations_free)
    struct expectations *list =
        parse("[{'name':'d','type':'range','column':'age','maximum':120,'action':'drop'},"
              "{'name':'no zip','type':'not_null','column':'zip','action':'quarantine'}]");
    CLEANUP(schema_release) struct schema *schema = members();
    static const char body[] = "id,zip,age\na,02139,20\nb,,130\nbad,x,y\nc,1,121\nd,,1\ne,2,2\n";
    const struct decode_options csv = {.format = DECODE_CSV, .operation = FRAME_INSERT};
    CLEANUP(decode_errors_deinit) struct decode_errors errors = {0};
    CLEANUP(frame_free) struct frame *frame = NULL;
    CLEANUP(bound_expectations_free) struct bound_expectations *bound = NULL;
    CLEANUP(buffer_deinit) struct buffer payloads;
    struct err err = {0};
    buffer_init(&payloads, 1 << 20);
    cr_assert_eq(decode_body(span_of_text(body), schema, &csv, &frame, &errors, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(errors.rejected_count, 1);
    cr_assert_eq(expectations_bind(list, schema, &bound, &err), ERR_OK, "%s", err.msg);
    struct expectation_tally tallies[2] = {0};
    int64_t dropped = 0;
    cr_assert_eq(expectations_part(bound, &frame, &errors, tallies, &payloads, &dropped, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_eq(dropped, 1); /* c; b has no zip either, and quarantine beats drop */
    cr_expect_eq(tallies[0].violations, 2);
    cr_expect_eq(tallies[1].violations, 2);
    frame_check(frame);
    cr_assert_eq(frame->rows_count, 2);
    cr_expect_eq(frame->lines[0], 2);
    cr_expect_eq(frame->lines[1], 7);
    cr_expect_eq(errors.received_count, 5);
    cr_expect_eq(errors.accepted_count, 2);
    cr_expect_eq(errors.rejected_count, 3);
    cr_assert_eq(errors.rejected_kept, 3);
    const struct decode_rejected *aside = &errors.rejected[1];
    cr_expect_eq(aside->line, 3);
    cr_expect(aside->stands_alone);
    cr_expect_not(errors.rejected[0].stands_alone);
    cr_expect_eq(aside->operation, FRAME_INSERT);
    cr_expect_eq(strncmp((const char *)aside->payload.data, "{\"id\":\"b\",\"zip\":null", 20), 0);
    cr_expect_eq(aside->payload.data[aside->payload.size - 1], '}');
    const struct decode_error *error = &errors.items[aside->errors_first];
    cr_expect_eq(error->code, DECODE_EXPECTATION);
    cr_expect_str_eq(error->pointer, "/zip");
    cr_expect_str_eq(error->message, "does not meet the expectation 'no zip'");
    cr_expect_str_eq(decode_code_name(error->code), "expectation");
}
