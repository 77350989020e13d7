/*
 * The ingest task on everything but HTTP: what comes into the table, what is told, and
 * that an attempt which dies anywhere changes nothing of it.
 */
#include "workers/task_ingest.h"

#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/dead_letters.h"
#include "tests/unit/workers/ingest_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

TestSuite(task_ingest, .init = ingest_kit_set_up, .fini = ingest_kit_tear_down, .timeout = 300);

static const char members[] =
    "{'schema':{'fields':[{'name':'k','type':'string','nullable':false},"
    "{'name':'n','type':'integer'},{'name':'s','type':'string'}]},'key':['k']}";
static const char log_table[] =
    "{'schema':{'fields':[{'name':'k','type':'string'},{'name':'n','type':'integer'}]},"
    "'merge':'append'}";

static void put_text(const char *name, const char *text)
{
    ingest_kit_put(name, span_of_text(text));
}

static void expect_rows(const char *table, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer rows;
    buffer_init(&rows, 1 << 26);
    ingest_kit_rows(table, &rows);
    cr_expect(span_equal_text(buffer_span(&rows), expected), "%.*s",
              SPAN_PRINT(buffer_span(&rows)));
}

static void expect_values(const char *what, int64_t received, int64_t accepted, int64_t rejected,
                          int64_t pieces)
{
    cr_expect_eq(ingest_kit_value("received"), received, "%s: %s", what, ingest_kit_values());
    cr_expect_eq(ingest_kit_value("accepted"), accepted, "%s: %s", what, ingest_kit_values());
    cr_expect_eq(ingest_kit_value("rejected"), rejected, "%s: %s", what, ingest_kit_values());
    cr_expect_eq(ingest_kit_value("pieces"), pieces, "%s: %s", what, ingest_kit_values());
}

/* ---- what comes in ---- */

Test(task_ingest, brings_a_file_into_the_table_and_tells_the_counts)
{
    ingest_kit_table("members", members);
    put_text("a.csv", "k,n,s\na,1,x\nb,bad,y\nc,3,\na,2,z\n");
    cr_assert_eq(ingest_kit_run("{'table':'members','piece_records':2,"
                                "'source':{'type':'file','path':'a.csv'}}"),
                 RESULT_SUCCESS, "%s", ingest_kit_error());
    expect_rows("members", "{\"k\":\"a\",\"n\":2,\"s\":\"z\"}\n{\"k\":\"c\",\"n\":3,\"s\":null}\n");
    expect_values("a.csv", 4, 3, 1, 2);
    cr_expect_eq(ingest_kit_value("files"), 1);
    cr_expect_eq(ingest_kit_value("files_skipped"), 0);
    cr_expect_gt(ingest_kit_value("version"), 0);
    cr_expect_leq(ingest_kit_value("first_version"), ingest_kit_value("version"));
}

Test(task_ingest, takes_each_content_once)
{
    ingest_kit_table("log", log_table);
    put_text("a.ndjson", "{\"k\":\"a\"}\n");
    put_text("b.ndjson", "{\"k\":\"b\"}\n");
    put_text("copy of a.ndjson", "{\"k\":\"a\"}\n");
    static const char body[] = "{'table':'log','source':{'type':'file','path':'*.ndjson'}}";
    cr_assert_eq(ingest_kit_run(body), RESULT_SUCCESS, "%s", ingest_kit_error());
    cr_expect_eq(ingest_kit_rows_count("log"), 2);
    cr_expect_eq(ingest_kit_value("files"), 3);
    cr_expect_eq(ingest_kit_value("files_skipped"), 1);
    put_text("c.ndjson", "{\"k\":\"c\"}\n");
    cr_assert_eq(ingest_kit_run(body), RESULT_SUCCESS, "%s", ingest_kit_error());
    cr_expect_eq(ingest_kit_rows_count("log"), 3);
    cr_expect_eq(ingest_kit_value("files_skipped"), 3);
    expect_values("again", 1, 1, 0, 1);
}

Test(task_ingest, an_empty_list_is_no_failure_but_a_missing_file_is_one)
{
    ingest_kit_table("members", members);
    cr_expect_eq(ingest_kit_run("{'table':'members','source':{'type':'file','path':'*.csv'}}"),
                 RESULT_SUCCESS, "%s", ingest_kit_error());
    expect_values("nothing", 0, 0, 0, 0);
    cr_expect_eq(ingest_kit_value("version"), -1);
    cr_expect_eq(ingest_kit_run("{'table':'members','source':{'type':'file','path':'a.csv'}}"),
                 RESULT_FAILED);
    cr_expect_not_null(strstr(ingest_kit_error(), "there is no file a.csv"), "%s",
                       ingest_kit_error());
}

Test(task_ingest, follows_another_table_version_by_version)
{
    static const char body[] = "{'table':'copy','source':{'type':'table','table':'members'}}";
    ingest_kit_table("members", members);
    ingest_kit_table("copy", members);
    put_text("a.csv", "k,n,s\na,1,x\nb,2,y\nc,3,z\n");
    put_text("patch.csv", "k,n\na,9\n");
    put_text("delete.csv", "k\nb\n");
    cr_assert_eq(ingest_kit_run("{'table':'members','source':{'type':'file','path':'a.csv'}}"),
                 RESULT_SUCCESS);
    cr_assert_eq(ingest_kit_run(body), RESULT_SUCCESS, "%s", ingest_kit_error());
    expect_values("all", 3, 3, 0, 1);
    cr_expect_eq(ingest_kit_value("source_version"), 1);
    cr_assert_eq(ingest_kit_run("{'table':'members','operation':'patch',"
                                "'source':{'type':'file','path':'patch.csv'}}"),
                 RESULT_SUCCESS);
    cr_assert_eq(ingest_kit_run("{'table':'members','operation':'delete',"
                                "'source':{'type':'file','path':'delete.csv'}}"),
                 RESULT_SUCCESS);
    cr_assert_eq(ingest_kit_run(body), RESULT_SUCCESS, "%s", ingest_kit_error());
    expect_values("changes", 2, 2, 0, 2);
    cr_expect_eq(ingest_kit_value("source_version"), 3);
    expect_rows("copy", "{\"k\":\"a\",\"n\":9,\"s\":\"x\"}\n"
                        "{\"k\":\"c\",\"n\":3,\"s\":\"z\"}\n");
    cr_assert_eq(ingest_kit_run(body), RESULT_SUCCESS, "%s", ingest_kit_error());
    expect_values("nothing", 0, 0, 0, 0);
    cr_expect_eq(ingest_kit_run("{'table':'copy','source':{'type':'table','table':'copy'}}"),
                 RESULT_FAILED);
    cr_expect_not_null(strstr(ingest_kit_error(), "no source of itself"), "%s", ingest_kit_error());
}

Test(task_ingest, operations)
{
    ingest_kit_table("members", members);
    put_text("a.csv", "k,n,s\na,1,x\nb,2,y\nc,3,z\n");
    put_text("patch.csv", "k,n\na,9\n");
    put_text("delete.csv", "k\nb\n");
    static const char *const bodies[] = {
        "{'table':'members','source':{'type':'file','path':'a.csv'}}",
        "{'table':'members','operation':'patch','source':{'type':'file','path':'patch.csv'}}",
        "{'table':'members','operation':'delete','source':{'type':'file','path':'delete.csv'}}",
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        cr_assert_eq(ingest_kit_run(bodies[i]), RESULT_SUCCESS, "%s", ingest_kit_error());
    }
    expect_rows("members",
                "{\"k\":\"a\",\"n\":9,\"s\":\"x\"}\n{\"k\":\"c\",\"n\":3,\"s\":\"z\"}\n");
}

/* ---- refusals ---- */

Test(task_ingest, strict_handling_fails_at_the_first_bad_piece)
{
    ingest_kit_table("members", members);
    put_text("a.csv", "k,n\na,1\nb,2\nc,x\nd,4\n");
    cr_expect_eq(ingest_kit_run("{'table':'members','handling':'strict','piece_records':2,"
                                "'source':{'type':'file','path':'a.csv'}}"),
                 RESULT_FAILED);
    cr_expect_not_null(strstr(ingest_kit_error(), "a.csv: line 4 /n: must be a whole number"), "%s",
                       ingest_kit_error());
    cr_expect_null(strstr(ingest_kit_error(), "x;"), "no value is told");
}

Test(task_ingest, too_many_bad_records_fail_with_the_place)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "k,n\n");
    for (int i = 0; i < 3000; i++) {
        buffer_append_format(&text, "key%d,%s\n", i, i >= 1500 ? "bad" : "1");
    }
    ingest_kit_table("members", members);
    ingest_kit_put("a.csv", buffer_span(&text));
    cr_expect_eq(ingest_kit_run("{'table':'members',"
                                "'source':{'type':'file','path':'a.csv'}}"),
                 RESULT_FAILED);
    cr_expect_not_null(strstr(ingest_kit_error(), "a.csv: line 1502 /n: "), "%s",
                       ingest_kit_error());
    cr_expect_not_null(strstr(ingest_kit_error(), "1500 of 3000 records"), "%s",
                       ingest_kit_error());
    cr_expect_eq(ingest_kit_rows_count("members"), 0);
}

Test(task_ingest, what_cannot_be_read_is_told_by_name)
{
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"{'table':'nobody','source':{'type':'file','path':'a.csv'}}", "nobody"},
        {"{'table':'members','source':{'type':'file','path':'../root.key'}}", "'..'"},
        {"{'table':'members','source':{'type':'file','path':'/etc/passwd'}}", "below none"},
        {"{'table':'members','source':{'type':'file','path':'a.csv','format':'parquet'}}",
         "not a Parquet file"},
        {"{'table':'members','source':{'type':'file','path':'b.csv'}}", "b.csv: line 1: column 2"},
    };
    ingest_kit_table("members", members);
    put_text("a.csv", "k,n,s\na,1,x\n");
    put_text("b.csv", "k,zzz\na,1\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_expect_eq(ingest_kit_run(cases[i].body), RESULT_FAILED, "%s", cases[i].body);
        cr_expect_not_null(strstr(ingest_kit_error(), cases[i].says), "%s: %s", cases[i].body,
                           ingest_kit_error());
    }
}

/* ---- expectations ---- */

Test(task_ingest, expectations_warn_drop_and_quarantine_with_exact_counts)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_text(&text, "k,n,s\n");
    for (int i = 0; i < 1000; i++) {
        buffer_append_format(&text, "key%d,%d,%s\n", i, i, i % 10 == 0 ? "" : "x");
    }
    ingest_kit_table("members", members);
    ingest_kit_put("a.csv", buffer_span(&text));
    cr_assert_eq(
        ingest_kit_run(
            "{'table':'members','piece_records':70,'source':{'type':'file','path':'a.csv'},"
            "'expectations':["
            "{'name':'s is there','type':'not_null','column':'s','action':'warn'},"
            "{'name':'small','type':'range','column':'n','maximum':899,'action':'drop'},"
            "{'name':'not tiny','type':'range','column':'n','minimum':5,'action':'quarantine'}]}"),
        RESULT_SUCCESS, "%s", ingest_kit_error());
    cr_expect_eq(ingest_kit_rows_count("members"), 895);
    expect_values("expectations", 1000, 895, 5, 15);
    cr_expect_eq(ingest_kit_value("dropped"), 100);
    cr_expect_eq(ingest_kit_value("quarantined"), 5);
    static const char *const parts[] = {
        "\"s is "
        "there\",\"type\":\"not_null\",\"action\":\"warn\",\"judged\":1000,\"violations\":100",
        "\"small\",\"type\":\"range\",\"action\":\"drop\",\"judged\":1000,\"violations\":100",
        "\"not "
        "tiny\",\"type\":\"range\",\"action\":\"quarantine\",\"judged\":1000,\"violations\":5,"
        "\"lines\":[2,3,4,5,6]",
    };
    for (size_t i = 0; i < COUNT(parts); i++) {
        cr_expect_not_null(strstr(ingest_kit_values(), parts[i]), "%s: %s", parts[i],
                           ingest_kit_values());
    }
    struct arena arena;
    struct dead_letter *letters = NULL;
    size_t count = 0;
    struct err err = {0};
    const struct dead_letter_filter all = {.code = "expectation"};
    arena_init(&arena, 1 << 20);
    cr_assert_eq(dead_letter_list(ingest_kit.stores.catalog, &all, NULL, 100, &arena, &letters,
                                  &count, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_eq(count, 5);
    arena_deinit(&arena);
}

Test(task_ingest, an_expectation_that_fails_takes_nothing_of_the_piece)
{
    ingest_kit_table("members", members);
    put_text("a.csv", "k,n\na,1\nb,2\nc,-3\nd,4\n");
    cr_expect_eq(ingest_kit_run("{'table':'members','piece_records':2,"
                                "'source':{'type':'file','path':'a.csv'},'expectations':["
                                "{'name':'positive','type':'range','column':'n','minimum':0,"
                                "'action':'fail'}]}"),
                 RESULT_FAILED);
    cr_expect_not_null(
        strstr(ingest_kit_error(), "a.csv: line 4: expectation 'positive' is not met by 1 of 2"),
        "%s", ingest_kit_error());
}

/* ---- a full lane ---- */

Test(task_ingest, waits_while_the_lane_is_full)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    for (int i = 0; i < 400; i++) {
        buffer_append_format(&text, "{\"k\":\"key%d\"}\n", i);
    }
    ingest_kit_close();
    ingest_kit.lane_queue_batches_max = 1;
    ingest_kit_open();
    ingest_kit_table("members", members);
    ingest_kit_put("a", buffer_span(&text));
    cr_expect_eq(ingest_kit_run("{'table':'members','piece_records':10,"
                                "'source':{'type':'file','path':'a'}}"),
                 RESULT_SUCCESS, "%s", ingest_kit_error());
    cr_expect_eq(ingest_kit_rows_count("members"), 400);
    cr_expect_eq(ingest_kit_value("pieces"), 40);
    ingest_kit.lane_queue_batches_max = 0;
}

/* ---- deaths ---- */

enum { ROWS = 600, PIECE = 50, BAD_EVERY = 37 };

static const char kill_body[] =
    "{'table':'log','piece_records':50,'source':{'type':'file','path':'*.ndjson'},"
    "'expectations':[{'name':'small','type':'range','column':'n','maximum':560,'action':'warn'}]}";

static void plant_files(void)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    for (int i = 0; i < ROWS; i++) {
        buffer_append_format(&text, "{\"k\":\"key%d\",\"n\":%s%d}\n", i,
                             i % BAD_EVERY == 5 ? "0" : "", i);
        if (i == ROWS / 2) {
            ingest_kit_put("1.ndjson", buffer_span(&text));
            buffer_reset(&text);
        }
    }
    ingest_kit_put("2.ndjson", buffer_span(&text));
}

/* In a child: begin, or go on with, the run until something kills it. */
static void ingest_until_killed(const char *faults)
{
    (void)alarm(120); /* a fault that never comes must not hang the run */
    ingest_kit_open();
    ingest_kit_table("log", log_table);
#ifdef SLUICE_FAULTS
    fault_arm(faults);
#else
    (void)faults;
#endif
    const int64_t run_id = ingest_kit_has_run(1) ? 1 : ingest_kit_start(kill_body);
    _exit(ingest_kit_wait(run_id) == RESULT_SUCCESS ? 0 : 1);
}

/* Everything as one uninterrupted run makes it. */
static void expect_one_run(const char *what)
{
    ingest_kit_open();
    cr_expect_eq(ingest_kit_wait(1), RESULT_SUCCESS, "%s: %s", what, ingest_kit_error());
    int64_t bad = 0;
    for (int i = 0; i < ROWS; i++) {
        bad += i % BAD_EVERY == 5;
    }
    cr_expect_eq(ingest_kit_rows_count("log"), ROWS - bad, "%s", what);
    expect_values(what, ROWS, ROWS - bad, bad, 13);
    cr_expect_eq(ingest_kit_value("files"), 2, "%s", what);
    cr_expect_eq(ingest_kit_value("files_skipped"), 0, "%s", what);
    cr_expect_not_null(strstr(ingest_kit_values(), "\"violations\":38,"), "%s: %s", what,
                       ingest_kit_values());
    ingest_kit_close();
}

/* True when the child was killed; false when it came to the end. */
static bool run_in_child(const char *faults)
{
    pid_t child = fork();
    if (child == 0) {
        ingest_until_killed(faults);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 74,
              "%s: status %x", faults, status);
    return WIFSIGNALED(status) || WEXITSTATUS(status) == 74;
}

static void fresh(void)
{
    ingest_kit_close();
    ingest_kit_tear_down_folder();
    ingest_kit_set_up_folder();
    plant_files();
}

Test(task_ingest, kill_9_at_any_moment_changes_nothing)
{
    for (int cycle = 0; cycle < 4; cycle++) {
        fresh();
        for (int kills = 0; kills < 6; kills++) {
            pid_t child = fork();
            if (child == 0) {
                ingest_until_killed("");
            }
            (void)usleep((useconds_t)(3000 + cycle * 5003 + kills * 11003)); /* somewhere */
            (void)kill(child, SIGKILL);
            int status = 0;
            cr_assert_eq(waitpid(child, &status, 0), child);
            if (!WIFSIGNALED(status)) {
                break;
            }
        }
        cr_assert_not(run_in_child(""));
        expect_one_run("after kills");
        ingest_kit_open();
    }
}

#ifdef SLUICE_FAULTS

Test(task_ingest, every_crash_point_changes_nothing)
{
    static const char *const points[] = {"catalog.commit=crash", "catalog.committed=crash",
                                         "journal.sync=crash"};
    for (size_t i = 0; i < COUNT(points); i++) {
        bool killed = true;
        for (int passing = 1; killed; passing *= 2) {
            char faults[64];
            (void)snprintf(faults, sizeof faults, "%s@%d", points[i], passing);
            fresh();
            killed = run_in_child(faults);
            if (killed) {
                cr_assert_not(run_in_child(""), "%s", faults);
            }
            expect_one_run(faults);
            ingest_kit_open();
            cr_assert_lt(passing, 200);
        }
    }
}

Test(task_ingest, planted_checkpoint_in_another_transaction_is_found)
{
    bool found = false;
    for (int passing = 6; passing < 40 && !found; passing += 3) {
        char faults[100];
        (void)snprintf(faults, sizeof faults,
                       "accept.step-elsewhere=skip@1,catalog.commit=crash@%d", passing);
        fresh();
        if (run_in_child(faults)) {
            cr_assert_not(run_in_child(""));
        }
        ingest_kit_open();
        (void)ingest_kit_wait(1);
        int64_t rows = ingest_kit_rows_count("log");
        found = rows > ROWS - 16; /* a piece is there twice */
    }
    cr_expect(found, "the planted bug was not noticed");
}

#endif
