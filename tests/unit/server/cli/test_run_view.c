/*
 * Runs as lines of text: numbers, the tree, what is left out when there is no room, and
 * nothing of the server's that a terminal would obey.
 */
#include "server/cli/run_view.h"

#include "storage/base/text.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static int64_t us_of(const char *timestamp)
{
    int64_t us = 0;
    cr_assert(text_parse_timestamp(span_of_text(timestamp), &us), "%s", timestamp);
    return us;
}

static void expect_text(struct buffer *text, const char *expected)
{
    buffer_append_byte(text, '\0');
    cr_expect_str_eq((const char *)text->data, expected);
    buffer_reset(text);
}

Test(run_view, numbers)
{
    static const struct {
        int64_t us;
        const char *text;
    } durations[] = {
        {-5, "0.0s"},
        {0, "0.0s"},
        {1999999, "1.9s"},
        {9999999, "9.9s"},
        {10000000, "10s"},
        {59999999, "59s"},
        {60000000, "1m 00s"},
        {3599000000, "59m 59s"},
        {3600000000, "1h 00m"},
        {86399000000, "23h 59m"},
        {90000000000, "1d 01h"},
    };
    static const struct {
        int64_t count;
        const char *text;
    } counts[] = {
        {0, "0"},
        {999, "999"},
        {1000, "1,000"},
        {1234567, "1,234,567"},
        {123456, "123,456"},
        {-1000, "-1,000"},
        {-999, "-999"},
        {INT64_MAX, "9,223,372,036,854,775,807"},
    };
    static const struct {
        int64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0 B"},        {999, "999 B"},       {1000, "1.0 KiB"},
        {1536, "1.5 KiB"}, {23 << 20, "23 MiB"}, {INT64_MAX, "8.0 EiB"},
    };
    struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < COUNT(durations); i++) {
        run_view_duration(durations[i].us, &text);
        expect_text(&text, durations[i].text);
    }
    for (size_t i = 0; i < COUNT(counts); i++) {
        run_view_count(counts[i].count, &text);
        expect_text(&text, counts[i].text);
    }
    for (size_t i = 0; i < COUNT(sizes); i++) {
        run_view_bytes(sizes[i].bytes, &text);
        expect_text(&text, sizes[i].text);
    }
    buffer_deinit(&text);
}

static struct json *parsed(const char *text)
{
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(span_of_text(text), &json, &err), ERR_OK, "%s", err.msg);
    return json;
}

Test(run_view, tasks_in_one_line)
{
    static const struct {
        const char *task;
        const char *line;
    } cases[] = {
        {"{\"task_key\":\"load\",\"state\":\"BLOCKED\",\"result\":null}", "load BLOCKED"},
        {"{\"task_key\":\"each\",\"iteration\":3,\"state\":\"QUEUED\"}", "each[3] QUEUED"},
        {"{\"task_key\":\"load\",\"state\":\"RUNNING\",\"started_at\":\"2026-11-01T00:00:00Z\","
         "\"attempts\":[{\"number\":1,\"started_at\":\"2026-11-01T00:00:00Z\",\"rows_in\":5}],"
         "\"progress\":{\"rows_in\":1500,\"rows_rejected\":2,\"bytes_in\":1536,\"work_done\":25,"
         "\"work_total\":100}}",
         "load RUNNING 1,500 rows (2 rejected) 1.5 KiB for 20s, 25 %, 1m 00s left"},
        /* an estimate without work done, or beyond the whole, or of nothing */
        {"{\"task_key\":\"a\",\"state\":\"RUNNING\",\"progress\":{\"work_done\":0,"
         "\"work_total\":9}}",
         "a RUNNING, 0 %"},
        {"{\"task_key\":\"a\",\"state\":\"RUNNING\",\"progress\":{\"work_done\":12,"
         "\"work_total\":9}}",
         "a RUNNING, 100 %"},
        {"{\"task_key\":\"a\",\"state\":\"RUNNING\",\"progress\":{\"work_done\":1,"
         "\"work_total\":0}}",
         "a RUNNING"},
        {"{\"task_key\":\"load\",\"state\":\"TERMINATED\",\"result\":\"SUCCESS\",\"progress\":null,"
         "\"started_at\":\"2026-11-01T00:00:00Z\",\"ended_at\":\"2026-11-01T00:00:04.5Z\","
         "\"attempts\":[{\"number\":1,\"rows_in\":9},{\"number\":2,\"rows_out\":1}]}",
         "load SUCCESS 1 row in 4.5s, attempt 2"},
        {"{\"task_key\":\"load\",\"state\":\"WAITING_FOR_RETRY\",\"due_at\":"
         "\"2026-11-01T00:00:32Z\",\"attempts\":[{\"number\":1,\"error\":{\"code\":\"io\","
         "\"message\":\"503\"}}]}",
         "load WAITING_FOR_RETRY, again in 12s: 503"},
        {"{\"task_key\":\"c\",\"state\":\"TERMINATED\",\"result\":\"SUCCESS\",\"outcome\":"
         "\"true\"}",
         "c SUCCESS true"},
        /* a success after a failed attempt keeps quiet about that */
        {"{\"task_key\":\"c\",\"state\":\"TERMINATED\",\"result\":\"SUCCESS\",\"attempts\":["
         "{\"number\":1,\"error\":{\"message\":\"x\"}}]}",
         "c SUCCESS"},
        {"{\"task_key\":\"c\",\"state\":\"TERMINATED\",\"result\":\"FAILED\",\"error\":{"
         "\"message\":\"a\\u001b[31m\\u0007\\nb\\u007f\\u009bc\\u00e9\"}}",
         "c FAILED: a?[31m??b??c\xc3\xa9"},
        {"{\"task_key\":\"\\u001b]0;x\\u0007\",\"state\":\"\\u001bc\"}", "?]0;x? ?c"},
        {"{}", "- -"},
        {"[]", "- -"},
    };
    struct buffer text;
    buffer_init(&text, 4096);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(json_free) struct json *task = parsed(cases[i].task);
        run_view_task(task, us_of("2026-11-01T00:00:20Z"), &text);
        expect_text(&text, cases[i].line);
    }
    buffer_deinit(&text);
}

static void expect_picture(const char *run_text, const struct run_view_options *options,
                           const char *expected)
{
    CLEANUP(json_free) struct json *run = parsed(run_text);
    struct buffer text;
    size_t lines = 0;
    buffer_init(&text, RUN_VIEW_TEXT_MAX);
    run_view_draw(run, options, &text, &lines);
    size_t feeds = 0;
    for (size_t i = 0; i < text.size; i++) {
        feeds += text.data[i] == '\n';
    }
    cr_expect_eq(lines, feeds);
    expect_text(&text, expected);
    buffer_deinit(&text);
}

#define TASK(key, state, result, more)                                                             \
    "{\"task_key\":\"" key "\",\"state\":\"" state "\",\"result\":" result more "}"
#define AFTER(key) ",\"depends_on\":[{\"task_key\":\"" key "\"}]"

static const char diamond[] =
    "{\"run_id\":7,\"name\":\"nightly\",\"state\":\"RUNNING\",\"result\":null,\"tasks\":["
    /* the last task first: the order of the file is not that of the graph */
    TASK("publish", "BLOCKED", "null", ",\"depends_on\":[{\"task_key\":\"check\"},{\"task_key\":\"load\"}]") "," TASK(
        "load", "TERMINATED", "\"SUCCESS\"",
        "") "," TASK("check", "RUNNING", "null",
                     AFTER(
                         "load")) "," TASK("each", "RUNNING", "null",
                                           AFTER(
                                               "load")) "," TASK("each", "TERMINATED",
                                                                 "\"SUCCESS\"",
                                                                 ",\"iteration\":0") "," TASK("eac"
                                                                                              "h",
                                                                                              "TERM"
                                                                                              "INAT"
                                                                                              "ED",
                                                                                              "\"FA"
                                                                                              "ILED"
                                                                                              "\"",
                                                                                              ",\"i"
                                                                                              "tera"
                                                                                              "tion"
                                                                                              "\":"
                                                                                              "1") "]}";

Test(run_view, draws_the_graph_as_a_tree)
{
    const struct run_view_options wide = {.columns = 200, .lines = 100};
    expect_picture(diamond, &wide,
                   "run 7 of nightly: RUNNING\n"
                   "  load         SUCCESS           \n"
                   "    check      RUNNING           \n"
                   "      publish  BLOCKED           \n"
                   "    each       RUNNING           \n"
                   "      each[0]  SUCCESS           \n"
                   "      each[1]  FAILED            \n");
}

Test(run_view, leaves_out_what_is_done_and_then_what_waits)
{
    const struct run_view_options six = {.columns = 200, .lines = 6};
    expect_picture(diamond, &six,
                   "run 7 of nightly: RUNNING\n"
                   "    check      RUNNING           \n"
                   "      publish  BLOCKED           \n"
                   "    each       RUNNING           \n"
                   "      each[1]  FAILED            \n"
                   "  and 2 more of 6 tasks\n");
    const struct run_view_options five = {.columns = 200, .lines = 5};
    expect_picture(diamond, &five,
                   "run 7 of nightly: RUNNING\n"
                   "    check      RUNNING           \n"
                   "    each       RUNNING           \n"
                   "      each[1]  FAILED            \n"
                   "  and 3 more of 6 tasks\n");
    /* and never more lines than there are, nor fewer than make sense */
    const struct run_view_options none = {.columns = 200, .lines = 0};
    expect_picture(diamond, &none,
                   "run 7 of nightly: RUNNING\n"
                   "    check  RUNNING           \n"
                   "    each   RUNNING           \n"
                   "  and 4 more of 6 tasks\n");
}

Test(run_view, cuts_lines_by_characters_and_ends_colors)
{
    const struct run_view_options narrow = {.columns = 0, .lines = 10, .colors = true};
    expect_picture(
        "{\"run_id\":1,\"state\":\"TERMINATED\",\"result\":\"FAILED\",\"error\":"
        "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"}",
        &narrow,
        "\033[31mrun 1: FAILED: "
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\033[0m\n");
}

/* No server accepts these; a client must not hang on them or crash. */
Test(run_view, bears_nonsense)
{
    const struct run_view_options wide = {.columns = 200, .lines = 100};
    expect_picture(
        "{\"tasks\":[" TASK("a", "BLOCKED", "null", AFTER("b")) "," TASK(
            "b", "BLOCKED", "null",
            AFTER(
                "a")) "," TASK("c", "BLOCKED", "null",
                               AFTER(
                                   "c")) "," TASK("d", "BLOCKED", "null",
                                                  ",\"iteration\":0") "," TASK("d", "BLOCKED",
                                                                               "null",
                                                                               AFTER(
                                                                                   "nobody")) "]}",
        &wide,
        "run 0: -\n"
        "  a     BLOCKED           \n"
        "  b     BLOCKED           \n"
        "  c     BLOCKED           \n"
        "  d[0]  BLOCKED           \n"
        "  d     BLOCKED           \n");
    static const char *const runs[] = {"null", "[]", "{\"tasks\":{}}", "{\"tasks\":[1,null,[]]}",
                                       "{\"tasks\":\"x\",\"error\":3}"};
    for (size_t i = 0; i < COUNT(runs); i++) {
        CLEANUP(json_free) struct json *run = parsed(runs[i]);
        struct buffer text;
        size_t lines = 0;
        buffer_init(&text, RUN_VIEW_TEXT_MAX);
        run_view_draw(run, &wide, &text, &lines);
        cr_expect_geq(lines, 1U);
        buffer_deinit(&text);
    }
}
