/*
 * Exports: what is asked is checked with its place, what is written is what was asked.
 */
#include "storage/snapshot/export.h"

#include "storage/base/mem.h"
#include "storage/snapshot/compact.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

TestSuite(export, .timeout = 120);

enum { ARENA_BYTES = 1 << 20, FILE_BYTES_MAX = 16 << 20 };

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

static struct json *json_of(const char *text)
{
    CLEANUP(mem_cleanup) char *quoted = mem_copy_text(text);
    for (char *c = quoted; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(quoted), &json, &err), ERR_OK, "%s: %s", text, err.msg);
    return json;
}

Test(export, what_is_asked_is_checked_with_its_place)
{
    struct fixture fixture = fixture_make(&keyed);
    static const struct {
        const char *body;
        const char *message; /* its beginning; NULL = fine */
    } cases[] = {
        {"{'format':'csv'}", NULL},
        {"{'format':'csv','compression':'gzip','table':'t'}", NULL},
        {"{'format':'parquet','compression':'none'}", NULL},
        {"{'format':'ndjson','columns':['note','id'],'filters':[{'column':'amount','operator':'in',"
         "'values':[1,2]},{'column':'note','operator':'is_null'}]}",
         NULL},
        {"{}", "/format: give"},
        {"{'format':'xml'}", "/format: give"},
        {"{'format':'csv','compression':'br'}", "/compression: give"},
        {"{'format':'parquet','compression':'gzip'}", "/compression: a Parquet"},
        {"{'format':'csv','columns':[]}", "/columns: give"},
        {"{'format':'csv','columns':['id','none']}", "/columns/1: the table"},
        {"{'format':'csv','columns':['note']}", "/columns: CSV of the nullable"},
        {"{'format':'csv','filters':{}}", "/filters: give"},
        {"{'format':'csv','filters':[{'operator':'eq','value':1}]}", "/filters/0/column: "},
        {"{'format':'csv','filters':[{'column':'id','operator':'like','value':1}]}",
         "/filters/0/operator: "},
        {"{'format':'csv','filters':[{'column':'amount','operator':'eq','value':'x'}]}",
         "/filters/0/value: "},
        {"{'format':'csv','filters':[{'column':'amount','operator':'eq'}]}", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *body = json_of(cases[i].body);
        CLEANUP(arena_deinit) struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct export_spec spec = {0};
        struct err err = {0};
        enum err_code code = export_spec_parse(body, NULL, fixture.schema, &arena, &spec, &err);
        if (cases[i].message == NULL) {
            cr_expect_eq(code, ERR_OK, "%s: %s", cases[i].body, err.msg);
        } else {
            cr_expect_eq(code, ERR_INVALID, "%s", cases[i].body);
            cr_expect_eq(strncmp(err.msg, cases[i].message, strlen(cases[i].message)), 0, "%s: %s",
                         cases[i].body, err.msg);
        }
    }
    fixture_remove(&fixture);
}

static enum err_code collect(void *self, struct span bytes, struct err *err)
{
    struct buffer *buffer = self;
    buffer_append_span(buffer, bytes);
    return buffer_check(buffer, "the file", err);
}

static void write_export(struct fixture *fixture, const char *body, const struct json *pinned,
                         struct buffer *bytes)
{
    CLEANUP(json_free) struct json *json = json_of(body);
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    struct err err = {0};
    buffer_init(bytes, FILE_BYTES_MAX);
    struct export_request request = {.snapshot = snapshot,
                                     .scratch_folder = fixture->dir.path,
                                     .sink = {.write = collect, .self = bytes}};
    cr_assert_eq(export_spec_parse(json, pinned, snapshot->schema, &arena, &request.spec, &err),
                 ERR_OK, "%s", err.msg);
    struct export_progress progress = {0};
    cr_assert_eq(export_run(&request, &progress, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(progress.bytes, (int64_t)bytes->size);
}

Test(export, rows_that_were_asked_for_come_in_order_of_the_key)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words records[] = {{FRAME_UPSERT, "c", 1, 3, "x,y", NULL, NULL},
                                     {FRAME_UPSERT, "a", 1, 1, NULL, NULL, NULL},
                                     {FRAME_UPSERT, "d", 1, 9, "", NULL, NULL},
                                     {FRAME_UPSERT, "b", 1, 2, "n", NULL, NULL}};
    fixture_put(&fixture, records, 2);
    fixture_put(&fixture, records + 2, 2);
    static const char body[] =
        "{'format':'csv','columns':['amount','note'],'filters':[{'column':'amount','operator':'lt',"
        "'value':10},{'column':'id','operator':'ne','value':'b'}]}";
    CLEANUP(buffer_deinit) struct buffer bytes;
    write_export(&fixture, body, NULL, &bytes);
    cr_expect(span_equal_text(buffer_span(&bytes), "amount,note\r\n1,\r\n3,\"x,y\"\r\n9,\"\"\r\n"),
              "%.*s", SPAN_PRINT(buffer_span(&bytes)));
    fixture_remove(&fixture);
}

/* A definition that grew between two attempts must not show in the second. */
Test(export, pinned_columns_stand_for_those_of_the_definition)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words record = {FRAME_UPSERT, "a", 1, 3, "n", NULL, NULL};
    fixture_put(&fixture, &record, 1);
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    CLEANUP(json_free) struct json *body = json_of("{'format':'ndjson'}");
    struct export_spec spec = {0};
    struct err err = {0};
    cr_assert_eq(export_spec_parse(body, NULL, fixture.schema, &arena, &spec, &err), ERR_OK);
    CLEANUP(json_free) struct json *all = export_spec_columns(&spec, fixture.schema);
    cr_expect_eq(json_count(all), fixture.schema->fields_count);
    CLEANUP(json_free) struct json *pinned = json_of("['id','amount']");
    CLEANUP(buffer_deinit) struct buffer bytes;
    write_export(&fixture, "{'format':'ndjson'}", pinned, &bytes);
    cr_expect(span_equal_text(buffer_span(&bytes), "{\"id\":\"a\",\"amount\":3}\n"), "%.*s",
              SPAN_PRINT(buffer_span(&bytes)));
    fixture_remove(&fixture);
}
