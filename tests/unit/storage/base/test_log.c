/*
 * Log lines: each is one line of valid JSON, whatever the values hold.
 */
#include "storage/base/log.h"

#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Stderr goes into a pipe. */
struct capture {
    int ends[2];
    int saved;
};

static struct capture capture_begin(void)
{
    struct capture capture;
    cr_assert_eq(pipe(capture.ends), 0);
    capture.saved = dup(STDERR_FILENO);
    cr_assert_geq(dup2(capture.ends[1], STDERR_FILENO), 0);
    return capture;
}

/* What was written since the last call; one read, so one write of at most a pipe's. */
static size_t capture_read(struct capture *capture, char *text, size_t size)
{
    ssize_t got = read(capture->ends[0], text, size - 1);
    cr_assert_geq(got, 0);
    text[got] = '\0';
    return (size_t)got;
}

static void capture_stop(struct capture *capture)
{
    cr_assert_geq(dup2(capture->saved, STDERR_FILENO), 0);
    (void)close(capture->saved);   /* a copy */
    (void)close(capture->ends[1]); /* nothing more to write */
}

static void capture_end(struct capture *capture)
{
    capture_stop(capture);
    (void)close(capture->ends[0]); /* nothing more to read */
}

/* End the line with stderr going into a pipe; returns what was written. */
static size_t written(struct log_line *line, char *text, size_t size)
{
    struct capture capture = capture_begin();
    log_end(line);
    capture_stop(&capture); /* so that a read of nothing ends */
    size_t got = capture_read(&capture, text, size);
    (void)close(capture.ends[0]); /* nothing more to read */
    return got;
}

/* One line feed, at the end, behind a JSON object. */
static struct json *parse_line(const char *text, size_t size)
{
    struct json *root = NULL;
    struct err err = {0};
    cr_assert_gt(size, 1);
    cr_assert_eq(strchr(text, '\n'), text + size - 1, "%s", text);
    cr_assert_eq(json_parse(span_of(text, size), &root, &err), ERR_OK, "%s in %s", err.msg, text);
    cr_assert_eq(json_kind(root), JSON_KIND_OBJECT);
    return root;
}

Test(log, line_is_json_in_a_fixed_order)
{
    struct log_line line;
    char text[4096];
    clock_freeze_wall(1709210096789012);
    log_begin(&line, LOG_INFO, "request");
    log_text(&line, LOG_METHOD, "POST");
    log_integer(&line, LOG_STATUS, 202);
    log_integer(&line, LOG_DURATION_US, -1);
    log_text(&line, LOG_TABLE, NULL);
    (void)written(&line, text, sizeof text);
    cr_expect_str_eq(text, "{\"ts\":\"2024-02-29T12:34:56.789012Z\",\"level\":\"info\","
                           "\"msg\":\"request\",\"method\":\"POST\",\"status\":202,"
                           "\"duration_us\":-1}\n");
}

Test(log, every_key_has_a_name_of_its_own)
{
    struct log_line line;
    char text[4096];
    log_begin(&line, LOG_WARN, "all");
    for (unsigned key = 0; key < LOG_KEY_COUNT; key++) {
        log_integer(&line, key, (int64_t)key);
    }
    size_t size = written(&line, text, sizeof text);
    /* the parser refuses a name that is there twice */
    CLEANUP(json_free) struct json *root = parse_line(text, size);
    cr_expect_eq(json_count(root), 3U + LOG_KEY_COUNT);
}

Test(log, hostile_values_stay_inside_their_string)
{
    static const char *const values[] = {
        "\r\nHTTP/1.1 200 OK",
        "\",\"level\":\"forged",
        "\\",
        "\x1b[31mred\x1b[0m\x07\b",
        "\xff\xfe\xc3(",
        "\xed\xa0\x80",
        "\xe2\x80\xa8\xe2\x80\xa9",
        "",
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct log_line line;
        char text[4096];
        const char *level = NULL;
        log_begin(&line, LOG_ERROR, "x");
        log_text(&line, LOG_PATH, values[i]);
        size_t size = written(&line, text, sizeof text);
        CLEANUP(json_free) struct json *root = parse_line(text, size);
        cr_expect_eq(json_count(root), 4U, "%s", text);
        level = json_text(json_get(root, "level"));
        cr_expect_str_eq(level, "error");
        for (size_t at = 0; at + 1 < size; at++) {
            cr_expect_geq((unsigned char)text[at], 0x20, "%s", text);
        }
    }
}

Test(log, what_does_not_fit_is_left_out_and_said)
{
    static char value[8000];
    for (size_t length = 1850; length < sizeof value; length += length < 2100 ? 1 : 1000) {
        struct log_line line;
        char text[4096];
        memset(value, 'x', length);
        value[length] = '\0';
        log_begin(&line, LOG_ERROR, "long");
        log_text(&line, LOG_PATH, value);
        log_integer(&line, LOG_STATUS, 500);
        size_t size = written(&line, text, sizeof text);
        CLEANUP(json_free) struct json *root = parse_line(text, size);
        bool cut = false;
        bool complete = json_get(root, "path") != NULL && json_get(root, "status") != NULL;
        cr_expect_eq(json_as_boolean(json_get(root, "cut"), &cut) && cut, !complete, "%zu", length);
    }
}

Test(log, err_gives_code_and_message)
{
    struct log_line line;
    char text[4096];
    struct err err = {0};
    log_begin(&line, LOG_ERROR, "task");
    log_err(&line, &err);
    (void)err_set(&err, ERR_CORRUPT, "footer \"x\" is cut"); /* the value is ERR_CORRUPT */
    log_err(&line, &err);
    size_t size = written(&line, text, sizeof text);
    CLEANUP(json_free) struct json *root = parse_line(text, size);
    cr_expect_str_eq(json_text(json_get(root, "code")), "corrupt");
    cr_expect_str_eq(json_text(json_get(root, "error")), "footer \"x\" is cut");
}

Test(log, level_decides_what_is_written)
{
    static const struct {
        enum log_level at;
        enum log_level line;
        bool written;
    } cases[] = {
        {LOG_INFO, LOG_DEBUG, false}, {LOG_INFO, LOG_INFO, true},   {LOG_INFO, LOG_ERROR, true},
        {LOG_DEBUG, LOG_DEBUG, true}, {LOG_ERROR, LOG_WARN, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_line line;
        char text[4096];
        log_set_level(cases[i].at);
        log_begin(&line, cases[i].line, "x");
        cr_expect_eq(written(&line, text, sizeof text) > 0, cases[i].written, "case %zu", i);
    }
}

Test(log, a_closed_stderr_is_no_reason_to_stop)
{
    struct log_line line;
    int saved = dup(STDERR_FILENO);
    (void)close(STDERR_FILENO); /* the point of the test */
    log_begin(&line, LOG_ERROR, "nobody reads this");
    log_end(&line);
    cr_expect_geq(dup2(saved, STDERR_FILENO), 0);
}

/* ---- lines that go out together ---- */

static void log_number(enum log_level level, int64_t number)
{
    struct log_line line;
    log_begin(&line, level, "line");
    log_integer(&line, LOG_COUNT_OF, number);
    log_end(&line);
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    return count;
}

/* The first after a silence goes out at once, those on its heels together, and nobody waits. */
Test(log, lines_in_quick_succession_go_out_together)
{
    static char text[1 << 16];
    struct err err = {0};
    struct capture capture = capture_begin();
    cr_assert_eq(log_gather_start(&err), ERR_OK);
    log_number(LOG_INFO, 1);
    cr_expect_gt(capture_read(&capture, text, sizeof text), 0);
    cr_expect_eq(count_lines(text), 1);
    for (int64_t i = 2; i <= 100; i++) {
        log_number(LOG_INFO, i);
    }
    size_t seen = 0;
    int reads = 0;
    int64_t last = 0;
    while (seen < 99) { /* a slow machine may have needed more than one turn */
        cr_expect_gt(capture_read(&capture, text, sizeof text), 0);
        seen += count_lines(text);
        reads++;
        const char *number = strstr(text, "\"count\":");
        cr_assert_not_null(number);
        cr_expect_gt(strtol(number + 8, NULL, 10), last, "in order");
        last = strtol(number + 8, NULL, 10);
    }
    cr_expect_lt(reads, 99);
    log_gather_stop();
    capture_end(&capture);
}

/* All that is in the pipe now, behind the `size` bytes of `text` that were read before. */
static size_t read_now(struct capture *capture, char *text, size_t size, size_t room)
{
    (void)fcntl(capture->ends[0], F_SETFL, O_NONBLOCK); /* a pipe can */
    ssize_t got = 0;
    while ((got = read(capture->ends[0], text + size, room - size - 1)) > 0) {
        size += (size_t)got;
    }
    text[size] = '\0';
    return size;
}

Test(log, an_error_goes_out_at_once_behind_what_was_gathered)
{
    static char text[1 << 16];
    struct err err = {0};
    struct capture capture = capture_begin();
    cr_assert_eq(log_gather_start(&err), ERR_OK);
    for (int64_t i = 1; i <= 3; i++) {
        log_number(LOG_INFO, i);
    }
    log_number(LOG_ERROR, 4);
    size_t size = read_now(&capture, text, 0, sizeof text);
    cr_expect_eq(count_lines(text), 4, "at once: %s", text);
    log_number(LOG_INFO, 5);
    log_gather_stop();
    (void)read_now(&capture, text, size, sizeof text); /* the text is looked at */
    int64_t number = 1;
    for (const char *at = text; (at = strstr(at, "\"count\":")) != NULL; at++) {
        cr_expect_eq(strtol(at + 8, NULL, 10), number, "%s", text);
        number++;
    }
    cr_expect_eq(number, 6);
    capture_end(&capture);
}

/* Nobody reads, the pipe is full and the thread that writes stands: whoever logs goes on. */
Test(log, a_slow_reader_holds_up_nobody_while_there_is_room, .timeout = 30)
{
    static char text[1 << 20];
    enum { FIRST = 2000, ALL = 3000 }; /* the first are more than a pipe holds */
    struct err err = {0};
    struct capture capture = capture_begin();
    cr_assert_eq(log_gather_start(&err), ERR_OK);
    for (int64_t i = 0; i < FIRST; i++) {
        log_number(LOG_INFO, i);
    }
    struct pollfd pipe_end = {.fd = STDERR_FILENO, .events = POLLOUT};
    while (poll(&pipe_end, 1, 0) == 1) { /* until it is full */
    }
    for (int64_t i = FIRST; i < ALL; i++) {
        log_number(LOG_INFO, i);
    }
    size_t size = 0;
    while (count_lines(text) < ALL) {
        size = read_now(&capture, text, size, sizeof text);
    }
    log_gather_stop();
    int64_t number = 0;
    for (const char *at = text; (at = strstr(at, "\"count\":")) != NULL; at++) {
        cr_expect_eq(strtol(at + 8, NULL, 10), number);
        number++;
    }
    cr_expect_eq(number, ALL);
    capture_end(&capture);
}

/* More than fits goes out all the same, and lines stay whole and in order. */
Test(log, loses_nothing_when_there_is_no_room)
{
    struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "log");
    struct err err = {0};
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int saved = dup(STDERR_FILENO);
    cr_assert_geq(dup2(file, STDERR_FILENO), 0);
    cr_assert_eq(log_gather_start(&err), ERR_OK);
    const int64_t count = LOG_GATHER_BYTES / 32;
    for (int64_t i = 0; i < count; i++) {
        log_number(LOG_INFO, i);
    }
    log_gather_stop();
    cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
    (void)close(saved); /* a copy */
    FILE *read = fopen(path, "r");
    char text[256];
    int64_t next = 0;
    while (fgets(text, sizeof text, read) != NULL) {
        const char *at = strstr(text, "\"count\":");
        cr_assert_not_null(at);
        cr_assert_eq(strtol(at + 8, NULL, 10), next, "%s", text);
        next++;
    }
    cr_expect_eq(next, count);
    (void)fclose(read);
    (void)close(file);
    temp_dir_remove(&dir);
}
