/*
 * Services as sources: every way of paging, restarts at any piece, and servers that lie.
 */
#include "workers/source_http.h"

#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/remote/client.h"
#include "tests/support/lying_server.h"
#include "tests/unit/workers/source_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static const char keyed[] = "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                            "{'name':'n','type':'decimal(38,3)'}]},'key':['k']}";
static const char append[] = "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
                             "{'name':'n','type':'decimal(38,3)'}]},'merge':'append'}";

static struct source_kit kit;
static struct lying_server *server;
static struct remote *remote;

static void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(secret_init(&err), ERR_OK);
    source_kit_init(&kit, keyed);
}

static void stop_server(void)
{
    remote_close(&remote);
    lying_server_stop(&server);
}

static void tear_down(void)
{
    stop_server();
    source_kit_deinit(&kit);
}

TestSuite(source_http, .init = set_up, .fini = tear_down, .timeout = 60);

static void use_append_table(void)
{
    source_kit_deinit(&kit);
    source_kit_init(&kit, append);
    kit.reader.operation = FRAME_INSERT;
}

/* ---- scripts ---- */

/* "PATH WHAT body=…" with a body in which ' stands for ". */
static void say(struct buffer *script, const char *path, const char *what, const char *body)
{
    buffer_append_format(script, "%s %s body=\"", path, what);
    for (; *body != '\0'; body++) {
        if (*body == '\'') {
            buffer_append_text(script, "\\\"");
        } else if (*body == '\n') {
            buffer_append_text(script, "\\n");
        } else {
            buffer_append_byte(script, (uint8_t)*body);
        }
    }
    buffer_append_text(script, "\"\n");
}

static void serve(struct buffer *script)
{
    char allow[40];
    struct err err = {0};
    stop_server();
    buffer_append_byte(script, '\0');
    const struct lying_options options = {.script = (const char *)script->data};
    server = lying_server_start(&options);
    (void)snprintf(allow, sizeof allow, "127.0.0.1:%d", lying_server_port(server));
    const struct remote_options remote_options = {.allow = allow};
    cr_assert_eq(remote_open(&remote_options, &remote, &err), ERR_OK, "%s", err.msg);
    buffer_reset(script);
}

static enum err_code open_nothing(void *arg, const char *text, struct buffer *text_out,
                                  struct err *err)
{
    (void)arg;
    (void)err;
    buffer_append_text(text_out, text);
    return ERR_OK;
}

/* The definition: url is filled in; `more` are members with ' for ". */
static struct json *definition(const char *path, const char *more)
{
    char text[2000];
    struct json *json = NULL;
    struct err err = {0};
    (void)snprintf(text, sizeof text, "{'type':'http','url':'http://127.0.0.1:%d%s'%s%s}",
                   lying_server_port(server), path, more[0] != '\0' ? "," : "", more);
    for (char *at = strchr(text, '\''); at != NULL; at = strchr(at, '\'')) {
        *at = '"';
    }
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s: %s", err.msg, text);
    return json;
}

/* Open, begin at `checkpoint` and read up to `pieces_max` pieces. */
static enum err_code read_pages(const char *path, const char *more, const char *checkpoint,
                                int64_t pieces_max, struct source_reading *reading, struct err *err)
{
    CLEANUP(json_free) struct json *given = definition(path, more);
    CLEANUP(source_close) struct source *source = NULL;
    const struct source_http_options options = {
        .given = given, .remote = remote, .open_secrets = open_nothing, .retry_us = 1};
    TRY(source_http_open(&options, &kit.reader, &source, err));
    return source_kit_read(&kit, source, checkpoint, pieces_max, reading, err);
}

static void expect_rows(const char *what, const struct source_reading *reading,
                        const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer keys;
    buffer_init(&keys, 1 << 20);
    /* "1 upsert {"k":"a","n":…": only the keys */
    struct span rows = buffer_span(&reading->rows);
    for (size_t i = 0; i + 6 < rows.size; i++) {
        if (memcmp(rows.data + i, "{\"k\":\"", 6) == 0) {
            const uint8_t *end = memchr(rows.data + i + 6, '"', rows.size - i - 6);
            buffer_append(&keys, rows.data + i + 6, (size_t)(end - rows.data) - i - 6);
        }
    }
    cr_expect(span_equal_text(buffer_span(&keys), expected), "%s: %.*s", what,
              SPAN_PRINT(buffer_span(&keys)));
}

/* ---- ways of paging ---- */

static void write_cursor(struct buffer *script)
{
    say(script, "/r", "200", "{'data':[{'k':'a'},{'k':'b'}],'meta':{'next':'c 1'}}");
    say(script, "/r?cursor=c%201", "200", "{'meta':{'next':7},'data':[{'k':'c'}, {'k':'d'}]}");
    say(script, "/r?cursor=7", "200", "{'data':[{'k':'e'}],'meta':{'next':null}}");
}

static void write_cursor_url(struct buffer *script)
{
    say(script, "/r", "200", "{'data':[{'k':'a'},{'k':'b'}],'next':'/r?after=1'}");
    say(script, "/r?after=1", "200", "{'data':[{'k':'c'},{'k':'d'}],'next':'/r?after=2'}");
    say(script, "/r?after=2", "200", "{'data':[{'k':'e'}],'next':''}");
}

static void write_link(struct buffer *script)
{
    say(script, "/r", "200 link=\"</r?p=2>; rel=\\\"next\\\"\"", "[{'k':'a'},{'k':'b'}]");
    say(script, "/r?p=2", "200 link=\"</r?p=3>; rel=\\\"next\\\"\"", "[{'k':'c'},{'k':'d'}]");
    say(script, "/r?p=3", "200", "[{'k':'e'}]");
}

static void write_link_csv(struct buffer *script)
{
    say(script, "/r", "200 link=\"</r?p=2>; rel=\\\"next\\\"\"", "k,n\na,1\nb,2\n");
    say(script, "/r?p=2", "200 link=\"</r?p=3>; rel=\\\"next\\\"\"", "k,n\nc,3\nd,4\n");
    say(script, "/r?p=3", "200", "k,n\ne,5\n");
}

static void write_numbers(struct buffer *script)
{
    say(script, "/r?page=1", "200", "[{'k':'a'},{'k':'b'}]");
    say(script, "/r?page=2", "200", "[{'k':'c'},{'k':'d'}]");
    say(script, "/r?page=3", "200", "[{'k':'e'}]");
    say(script, "/r?page=4", "200", "[]");
}

static void write_numbers_last(struct buffer *script)
{
    say(script, "/r?size=2&p=0", "200", "{'items':[{'k':'a'},{'k':'b'}],'last':2}");
    say(script, "/r?size=2&p=1", "200", "{'items':[{'k':'c'},{'k':'d'}],'last':2}");
    say(script, "/r?size=2&p=2", "200", "{'items':[{'k':'e'}],'last':2}");
}

static void write_numbers_flag(struct buffer *script)
{
    say(script, "/r?page=1", "200", "{'items':[{'k':'a'},{'k':'b'}],'end':false}");
    say(script, "/r?page=2", "200", "{'items':[{'k':'c'},{'k':'d'}],'end':false}");
    say(script, "/r?page=3", "200", "{'items':[{'k':'e'}],'end':true}");
}

static void write_all(struct buffer *script)
{
    say(script, "/r", "200", "{'k':'a'}\n{'k':'b'}\n\n{'k':'c'}\n{'k':'d'}\n{'k':'e'}\n");
}

static const struct {
    const char *name, *path, *more;
    void (*write)(struct buffer *script);
} cases[] = {
    {"cursor", "/r", "'records':'/data','paging':{'type':'cursor','cursor':'/meta/next'}",
     write_cursor},
    {"cursor that is a URL", "/r", "'records':'/data','paging':{'type':'cursor','cursor':'/next'}",
     write_cursor_url},
    {"link", "/r", "'paging':{'type':'link_header'}", write_link},
    {"link, csv", "/r", "'format':'csv','paging':{'type':'link_header'}", write_link_csv},
    {"numbers", "/r", "'paging':{'type':'page_number'}", write_numbers},
    {"numbers with the last", "/r?size=2",
     "'records':'/items','paging':{'type':'page_number','parameter':'p','first_page':0,"
     "'last':'/last'}",
     write_numbers_last},
    {"numbers with a flag", "/r",
     "'records':'/items','paging':{'type':'page_number','last':'/end'}", write_numbers_flag},
    {"one page", "/r", "'format':'ndjson'", write_all},
};

Test(source_http, walks_every_way_and_restarts_behind_any_piece)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int64_t records = 1; records < 4; records++) {
            CLEANUP(buffer_deinit) struct buffer script;
            CLEANUP(source_reading_deinit) struct source_reading first;
            struct err err = {0};
            buffer_init(&script, 1 << 20);
            source_reading_init(&first);
            kit.reader.piece_records = records;
            cases[i].write(&script);
            serve(&script);
            cr_assert_eq(read_pages(cases[i].path, cases[i].more, "", 0, &first, &err), ERR_OK,
                         "%s: %s", cases[i].name, err.msg);
            expect_rows(cases[i].name, &first, "abcde");
            for (int64_t stop = 1; stop < first.pieces_count; stop++) {
                CLEANUP(source_reading_deinit) struct source_reading begun;
                CLEANUP(source_reading_deinit) struct source_reading rest;
                source_reading_init(&begun);
                source_reading_init(&rest);
                cr_assert_eq(read_pages(cases[i].path, cases[i].more, "", stop, &begun, &err),
                             ERR_OK, "%s: %s", cases[i].name, err.msg);
                cr_assert_eq(
                    read_pages(cases[i].path, cases[i].more, begun.last_checkpoint, 0, &rest, &err),
                    ERR_OK, "%s: %s", cases[i].name, err.msg);
                buffer_append_span(&begun.pieces, buffer_span(&rest.pieces));
                buffer_append_span(&begun.rows, buffer_span(&rest.rows));
                cr_expect(span_equal(buffer_span(&begun.rows), buffer_span(&first.rows)),
                          "%s stopped at %d", cases[i].name, (int)stop);
                cr_expect(span_equal(buffer_span(&begun.pieces), buffer_span(&first.pieces)),
                          "%s stopped at %d:\n%.*s\n%.*s", cases[i].name, (int)stop,
                          SPAN_PRINT(buffer_span(&begun.pieces)),
                          SPAN_PRINT(buffer_span(&first.pieces)));
            }
        }
    }
}

Test(source_http, keeps_every_digit)
{
    CLEANUP(buffer_deinit) struct buffer script;
    CLEANUP(source_reading_deinit) struct source_reading reading;
    struct err err = {0};
    buffer_init(&script, 1 << 20);
    source_reading_init(&reading);
    say(&script, "/r", "200",
        "{'x~/y':[[0,{'data':[{'k':'a','n':12345678901234567890123456789012345.125}]}]]}");
    serve(&script);
    cr_assert_eq(read_pages("/r", "'records':'/x~0~1y/0/1/data'", "", 0, &reading, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_not_null(
        strstr((const char *)reading.rows.data, "12345678901234567890123456789012345.125"));
}

/* ---- the next run ---- */

Test(source_http, an_unchanged_first_page_is_nothing_to_do)
{
    CLEANUP(buffer_deinit) struct buffer script;
    struct err err = {0};
    char checkpoint[SOURCE_CHECKPOINT_BYTES_MAX];
    buffer_init(&script, 1 << 20);
    say(&script, "/r", "200 etag=\"\\\"v1\\\"\"", "[{'k':'a'}]");
    buffer_append_text(&script, "/r 304\n");
    say(&script, "/r", "200 etag=\"\\\"v2\\\"\"", "[{'k':'a'},{'k':'b'}]");
    serve(&script);
    static const char *const rows[] = {"a", "", "ab"};
    checkpoint[0] = '\0';
    for (int64_t run = 1; run <= 3; run++) {
        CLEANUP(source_reading_deinit) struct source_reading reading;
        source_reading_init(&reading);
        kit.reader.run_id = run;
        cr_assert_eq(read_pages("/r", "", checkpoint, 0, &reading, &err), ERR_OK, "%s", err.msg);
        expect_rows("etag", &reading, rows[run - 1]);
        memcpy(checkpoint, reading.last_checkpoint, sizeof checkpoint);
        CLEANUP(mem_cleanup) char *condition = lying_server_seen(server, "/r", "if-none-match");
        cr_expect_str_eq(condition, run == 1 ? "" : "\"v1\"");
        int asked = lying_server_requests(server, NULL);
        CLEANUP(source_reading_deinit) struct source_reading again;
        source_reading_init(&again);
        cr_assert_eq(read_pages("/r", "", checkpoint, 0, &again, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(lying_server_requests(server, NULL), asked,
                     "another attempt of the same run asks nothing");
    }
}

Test(source_http, append_tables_go_on_behind_the_last_record)
{
    CLEANUP(buffer_deinit) struct buffer script;
    struct err err = {0};
    static const struct {
        const char *more, *path;
    } kinds[] = {
        {"'paging':{'type':'page_number'}", "/n?x=1"},
        {"'records':'/data','paging':{'type':'cursor','cursor':'/next'}", "/c"},
        {"'format':'ndjson'", "/all"},
    };
    use_append_table();
    buffer_init(&script, 1 << 20);
    say(&script, "/n?x=1&page=1", "200", "[{'k':'a'},{'k':'b'}]");
    say(&script, "/n?x=1&page=2", "200", "[{'k':'c'}]");
    say(&script, "/n?x=1&page=2", "200", "[{'k':'c'},{'k':'d'}]");
    say(&script, "/n?x=1&page=3", "200", "[]");
    say(&script, "/n?x=1&page=3", "200", "[{'k':'e'}]");
    say(&script, "/n?x=1&page=4", "200", "[]");
    say(&script, "/c", "200", "{'data':[{'k':'a'},{'k':'b'}],'next':'2'}");
    say(&script, "/c?cursor=2", "200", "{'data':[{'k':'c'}]}");
    say(&script, "/c?cursor=2", "200", "{'data':[{'k':'c'},{'k':'d'}],'next':'3'}");
    say(&script, "/c?cursor=3", "200", "{'data':[{'k':'e'}]}");
    say(&script, "/all", "200", "{'k':'a'}\n{'k':'b'}\n{'k':'c'}\n");
    say(&script, "/all", "200", "{'k':'a'}\n{'k':'b'}\n{'k':'c'}\n{'k':'d'}\n{'k':'e'}\n");
    serve(&script);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        CLEANUP(source_reading_deinit) struct source_reading first;
        CLEANUP(source_reading_deinit) struct source_reading second;
        source_reading_init(&first);
        source_reading_init(&second);
        kit.reader.run_id = 1;
        cr_assert_eq(read_pages(kinds[i].path, kinds[i].more, "", 0, &first, &err), ERR_OK, "%s",
                     err.msg);
        expect_rows(kinds[i].path, &first, "abc");
        kit.reader.run_id = 2;
        cr_assert_eq(
            read_pages(kinds[i].path, kinds[i].more, first.last_checkpoint, 0, &second, &err),
            ERR_OK, "%s: %s", kinds[i].path, err.msg);
        expect_rows(kinds[i].path, &second, "de");
    }
}

/* ---- pages that change ---- */

/* Page 1 is read in part; then it is another one. */
static enum err_code change_in_the_middle(struct source_reading *rest, struct err *err)
{
    CLEANUP(buffer_deinit) struct buffer script;
    CLEANUP(source_reading_deinit) struct source_reading begun;
    buffer_init(&script, 1 << 20);
    source_reading_init(&begun);
    say(&script, "/r", "200", "[{'k':'a'},{'k':'b'},{'k':'c'}]");
    say(&script, "/r", "200", "[{'k':'x'},{'k':'a'},{'k':'b'},{'k':'c'}]");
    serve(&script);
    kit.reader.piece_records = 1;
    cr_assert_eq(read_pages("/r", "", "", 2, &begun, err), ERR_OK, "%s", err->msg);
    expect_rows("begun", &begun, "ab");
    return read_pages("/r", "", begun.last_checkpoint, 0, rest, err);
}

Test(source_http, a_page_that_changed_is_taken_again_with_a_key_and_refused_without)
{
    struct err err = {0};
    CLEANUP(source_reading_deinit) struct source_reading rest;
    source_reading_init(&rest);
    cr_assert_eq(change_in_the_middle(&rest, &err), ERR_OK, "%s", err.msg);
    expect_rows("again", &rest, "xabc");
    use_append_table();
    CLEANUP(source_reading_deinit) struct source_reading none;
    source_reading_init(&none);
    cr_expect_eq(change_in_the_middle(&none, &err), ERR_PRECONDITION);
    cr_expect_not_null(strstr(err.msg, "page 1 is not the one"), "%s", err.msg);
    cr_expect_eq(none.pieces_count, 0);
}

Test(source_http, a_forgotten_cursor_begins_anew_with_a_key_and_fails_without)
{
    for (int keyless = 0; keyless < 2; keyless++) {
        CLEANUP(buffer_deinit) struct buffer script;
        CLEANUP(source_reading_deinit) struct source_reading begun;
        CLEANUP(source_reading_deinit) struct source_reading rest;
        struct err err = {0};
        static const char more[] = "'records':'/data','paging':{'type':'cursor','cursor':'/next'}";
        if (keyless) {
            use_append_table();
        }
        buffer_init(&script, 1 << 20);
        source_reading_init(&begun);
        source_reading_init(&rest);
        say(&script, "/r", "200", "{'data':[{'k':'a'}],'next':'x'}");
        say(&script, "/r", "200", "{'data':[{'k':'a'}],'next':'y'}");
        say(&script, "/r?cursor=x", "200", "{'data':[{'k':'b'},{'k':'c'}]}");
        say(&script, "/r?cursor=x", "410", "gone");
        say(&script, "/r?cursor=y", "200", "{'data':[{'k':'b'},{'k':'c'}]}");
        serve(&script);
        kit.reader.piece_records = 1;
        cr_assert_eq(read_pages("/r", more, "", 2, &begun, &err), ERR_OK, "%s", err.msg);
        enum err_code code = read_pages("/r", more, begun.last_checkpoint, 0, &rest, &err);
        if (keyless) {
            cr_expect_eq(code, ERR_NOT_FOUND, "%s", err.msg);
        } else {
            cr_expect_eq(code, ERR_OK, "%s", err.msg);
            expect_rows("anew", &rest, "abc");
        }
    }
}

/* ---- lies ---- */

Test(source_http, a_server_that_repeats_itself_is_found_out)
{
    static const struct {
        const char *name, *more;
        const char *second, *third; /* what comes behind page 1 */
        const char *rows;
    } lies[] = {
        {"the same cursor", "'records':'/data','paging':{'type':'cursor','cursor':'/next'}",
         "{'data':[{'k':'b'}],'next':'1'}", "", "a"},
        {"the same page", "'records':'/data','paging':{'type':'cursor','cursor':'/next'}",
         "{'data':[{'k':'a'}],'next':'2'}", "{'data':[{'k':'c'}]}", "a"},
    };
    for (size_t i = 0; i < COUNT(lies); i++) {
        CLEANUP(buffer_deinit) struct buffer script;
        CLEANUP(source_reading_deinit) struct source_reading reading;
        CLEANUP(source_reading_deinit) struct source_reading rest;
        struct err err = {0};
        buffer_init(&script, 1 << 20);
        source_reading_init(&reading);
        source_reading_init(&rest);
        say(&script, "/r", "200", "{'data':[{'k':'a'}],'next':'1'}");
        say(&script, "/r?cursor=1", "200", lies[i].second);
        /* then it tells the truth */
        say(&script, "/r?cursor=1", "200", "{'data':[{'k':'b'}],'next':'2'}");
        say(&script, "/r?cursor=2", "200", "{'data':[{'k':'c'}]}");
        serve(&script);
        cr_expect_eq(read_pages("/r", lies[i].more, "", 0, &reading, &err), ERR_IO, "%s",
                     lies[i].name);
        cr_expect_not_null(strstr(err.msg, "a second time"), "%s", err.msg);
        expect_rows(lies[i].name, &reading, lies[i].rows);
        cr_assert_eq(read_pages("/r", lies[i].more, reading.last_checkpoint, 0, &rest, &err),
                     ERR_OK, "%s", err.msg);
        expect_rows(lies[i].name, &rest, "bc");
    }
}

Test(source_http, passing_trouble_is_sat_out)
{
    static const char *const troubles[] = {
        "500",   "503 retry-after=2", "429 retry-after=3", "200 length=1000", "reset", "garbage",
        "close",
    };
    for (size_t i = 0; i < COUNT(troubles); i++) {
        CLEANUP(buffer_deinit) struct buffer script;
        CLEANUP(source_reading_deinit) struct source_reading reading;
        struct err err = {0};
        buffer_init(&script, 1 << 20);
        source_reading_init(&reading);
        say(&script, "/r", "200 link=\"</r?2>; rel=\\\"next\\\"\"", "[{'k':'a'}]");
        bool speaks = troubles[i][0] >= '0' && troubles[i][0] <= '9';
        for (int n = 0; n < 2; n++) {
            if (speaks) {
                say(&script, "/r?2", troubles[i], "[{'k':'x'}]");
            } else {
                buffer_append_format(&script, "/r?2 %s\n", troubles[i]);
            }
        }
        say(&script, "/r?2", "200", "[{'k':'b'}]");
        serve(&script);
        kit.waited_us = 0;
        cr_expect_eq(read_pages("/r", "'paging':{'type':'link_header'}", "", 0, &reading, &err),
                     ERR_OK, "%s: %s", troubles[i], err.msg);
        expect_rows(troubles[i], &reading, "ab");
        if (strstr(troubles[i], "retry-after") != NULL) {
            cr_expect_geq(kit.waited_us, 4000000, "%s: %d", troubles[i], (int)kit.waited_us);
        }
    }
}

Test(source_http, lasting_trouble_ends_the_attempt_and_loses_nothing)
{
    CLEANUP(buffer_deinit) struct buffer script;
    CLEANUP(source_reading_deinit) struct source_reading reading;
    CLEANUP(source_reading_deinit) struct source_reading rest;
    struct err err = {0};
    buffer_init(&script, 1 << 20);
    source_reading_init(&reading);
    source_reading_init(&rest);
    say(&script, "/r", "200 link=\"</r?2>; rel=\\\"next\\\"\"", "[{'k':'a'}]");
    for (int i = 0; i < SOURCE_HTTP_TRIES; i++) {
        buffer_append_text(&script, "/r?2 500\n");
    }
    say(&script, "/r?2", "200", "[{'k':'b'}]");
    serve(&script);
    cr_expect_eq(read_pages("/r", "'paging':{'type':'link_header'}", "", 0, &reading, &err),
                 ERR_IO);
    cr_expect_not_null(strstr(err.msg, "page 2"), "%s", err.msg);
    cr_expect_null(strstr(err.msg, "/r"), "no path is told: %s", err.msg);
    cr_assert_eq(read_pages("/r", "'paging':{'type':'link_header'}", reading.last_checkpoint, 0,
                            &rest, &err),
                 ERR_OK, "%s", err.msg);
    expect_rows("rest", &rest, "b");
}

Test(source_http, refuses)
{
    static const struct {
        const char *name, *what, *body, *more;
        enum err_code code;
        const char *says;
    } refusals[] = {
        {"half an answer", "200", "{'data':[{'k':'a'}]", "'records':'/data'", ERR_IO, "cut off"},
        {"no JSON", "200", "hello", "", ERR_IO, "not JSON"},
        {"nothing there", "200", "{'x':1}", "'records':'/data'", ERR_INVALID, "nothing at /data"},
        {"another host", "200 link=\"<http://127.0.0.2:1/>; rel=\\\"next\\\"\"", "[{'k':'a'}]",
         "'paging':{'type':'link_header'}", ERR_FORBIDDEN, "another host"},
        {"another host by cursor", "200", "{'d':[],'n':'https://example.com/'}",
         "'records':'/d','paging':{'type':'cursor','cursor':'/n'}", ERR_FORBIDDEN, "another host"},
        {"redirect into the house", "302 location=http://127.0.0.2:1/", "", "", ERR_FORBIDDEN,
         "outgoing-allow"},
        {"not allowed", "401", "", "", ERR_UNAUTHENTICATED, "401"},
        {"cursor that is none", "200", "{'d':[],'n':{}}",
         "'records':'/d','paging':{'type':'cursor','cursor':'/n'}", ERR_INVALID, "neither"},
        {"csv with pointers", "200", "k\n", "'format':'csv','records':'/d'", ERR_INVALID,
         "look into JSON"},
    };
    for (size_t i = 0; i < COUNT(refusals); i++) {
        CLEANUP(buffer_deinit) struct buffer script;
        CLEANUP(source_reading_deinit) struct source_reading reading;
        struct err err = {0};
        buffer_init(&script, 1 << 20);
        source_reading_init(&reading);
        say(&script, "/r", refusals[i].what, refusals[i].body);
        serve(&script);
        cr_expect_eq(read_pages("/r", refusals[i].more, "", 0, &reading, &err), refusals[i].code,
                     "%s: %s", refusals[i].name, err.msg);
        cr_expect_not_null(strstr(err.msg, refusals[i].says), "%s: %s", refusals[i].name, err.msg);
    }
}

/* ---- pace, headers ---- */

Test(source_http, asks_no_more_often_than_it_may)
{
    CLEANUP(buffer_deinit) struct buffer script;
    CLEANUP(source_reading_deinit) struct source_reading reading;
    struct err err = {0};
    buffer_init(&script, 1 << 20);
    source_reading_init(&reading);
    write_numbers(&script);
    serve(&script);
    cr_assert_eq(read_pages("/r",
                            "'paging':{'type':'page_number'},'requests_per_second':0.5,"
                            "'headers':{'X-Key':'k1'},'auth':{'type':'bearer','token':'t1'}",
                            "", 0, &reading, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_geq(kit.waited_us, 3 * 1900000, "%d", (int)kit.waited_us);
    cr_expect_leq(kit.waited_us, 3 * 2000000);
    CLEANUP(mem_cleanup) char *key = lying_server_seen(server, "/r?page=4", "x-key");
    CLEANUP(mem_cleanup) char *auth = lying_server_seen(server, "/r?page=4", "authorization");
    CLEANUP(mem_cleanup) char *accept = lying_server_seen(server, "/r?page=4", "accept");
    cr_expect_str_eq(key, "k1");
    cr_expect_str_eq(auth, "Bearer t1");
    cr_expect_str_eq(accept, "application/json");
}

Test(source_http, its_identity_is_what_is_asked_for)
{
    CLEANUP(buffer_deinit) struct buffer script;
    buffer_init(&script, 1000);
    write_all(&script);
    serve(&script);
    static const char *const mores[] = {"", "'format':'ndjson'", "'records':'/x'",
                                        "'paging':{'type':'link_header'}"};
    uint8_t ids[COUNT(mores)][SOURCE_ID_BYTES];
    for (size_t i = 0; i < COUNT(mores); i++) {
        CLEANUP(json_free) struct json *given = definition("/r", mores[i]);
        CLEANUP(source_close) struct source *source = NULL;
        struct err err = {0};
        const struct source_http_options options = {
            .given = given, .remote = remote, .open_secrets = open_nothing};
        cr_assert_eq(source_http_open(&options, &kit.reader, &source, &err), ERR_OK, "%s", err.msg);
        memcpy(ids[i], source->id, sizeof ids[i]);
        for (size_t j = 0; j < i; j++) {
            cr_expect_arr_neq(ids[i], ids[j], SOURCE_ID_BYTES);
        }
        cr_expect_eq(strncmp(source->name, "http:127.0.0.1:", 15), 0, "%s", source->name);
    }
}
