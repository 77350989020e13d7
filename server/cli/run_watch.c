/*
 * Following a run. See run_watch.h for the contract.
 */
#include "server/cli/run_watch.h"

#include "server/cli/run_view.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_BYTES_MAX = 4096,
    PAUSE_MS_MIN = 200,
    PAUSE_MS_MAX = 1000,
    COLUMNS_DEFAULT = 80,
    LINES_DEFAULT = 24,
    KEY_BYTES_MAX = 160, /* of a task's name with its iteration */
};

/* ---- the document ---- */

/* Move the tasks of a further page into the run's own array. */
static void append_tasks(struct json *tasks, const struct json *page)
{
    const struct json *more = json_get(page, "tasks");
    for (size_t i = 0; i < json_count(more); i++) {
        json_append(tasks, json_duplicate(json_at(more, i)));
    }
}

enum err_code run_fetch(struct client *client, int64_t run_id, struct json **run_out,
                        struct err *err)
{
    char path[PATH_BYTES_MAX];
    (void)snprintf(path, sizeof path, "/v1/runs/%" PRId64, run_id); /* fits */
    CLEANUP(json_free) struct json *run = NULL;
    TRY(command_get(client, path, &run, err));
    const char *next = json_text(json_get(run, "next_page_token"));
    CLEANUP(mem_cleanup) char *token = next != NULL ? mem_copy_text(next) : NULL;
    if (token == NULL) {
        *run_out = run;
        run = NULL;
        return ERR_OK;
    }
    const struct json *first = json_get(run, "tasks");
    struct json *tasks = first != NULL ? json_duplicate(first) : json_new_array();
    json_set(run, "tasks", tasks);
    json_remove(run, "next_page_token");
    while (token != NULL) {
        CLEANUP(json_free) struct json *page = NULL;
        struct buffer query;
        buffer_init(&query, PATH_BYTES_MAX);
        buffer_append_format(&query, "%s?page_token=", path);
        text_percent_encode(span_of_text(token), "", &query);
        buffer_append_byte(&query, '\0');
        enum err_code code = command_get(client, (const char *)query.data, &page, err);
        buffer_deinit(&query);
        TRY(code);
        append_tasks(tasks, page);
        next = json_text(json_get(page, "next_page_token"));
        mem_cleanup(&token);
        token = next != NULL ? mem_copy_text(next) : NULL;
    }
    *run_out = run;
    run = NULL;
    return ERR_OK;
}

/* ---- what was shown last ---- */

/* The state of a task when it was shown last. */
struct seen {
    char key[KEY_BYTES_MAX]; /* "load", "load[3]" */
    char state[32];
};

struct watch {
    const struct command *command;
    enum run_watch_mode mode;
    bool terminal; /* redraw in place */
    bool colors;
    size_t drawn_lines; /* of the picture that stands on the terminal */
    struct seen *seen;  /* sorted by key; plain lines only */
    size_t seen_count;
    char run_state[32];
    struct buffer last; /* the document shown last; --json only */
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a;
    const struct seen *y = b;
    return strcmp(x->key, y->key);
}

static void seen_of(const struct json *task, struct seen *seen_out)
{
    int64_t iteration = -1;
    const char *key = command_text(task, "task_key");
    bool has = json_as_integer(json_get(task, "iteration"), &iteration) && iteration >= 0;
    memset(seen_out, 0, sizeof *seen_out);
    if (has) {
        (void)snprintf(seen_out->key, sizeof seen_out->key, "%s[%" PRId64 "]", key,
                       iteration); /* a longer key is cut for both */
    } else {
        (void)snprintf(seen_out->key, sizeof seen_out->key, "%s", key); /* likewise */
    }
    (void)snprintf(seen_out->state, sizeof seen_out->state, "%s",
                   run_view_state(task)); /* likewise */
}

/* ---- plain lines ---- */

static void print_line(const char *text_of_time, const struct buffer *line)
{
    (void)printf("%s %.*s\n", text_of_time, SPAN_PRINT(buffer_span(line))); /* output */
}

static void format_now(int64_t now_us, char text_out[TEXT_TIMESTAMP_BYTES])
{
    enum { SECONDS_SIZE = 19 };                    /* 2026-11-01T02:30:00 */
    (void)text_format_timestamp(now_us, text_out); /* always longer */
    text_out[SECONDS_SIZE] = 'Z';
    text_out[SECONDS_SIZE + 1] = '\0';
}

/* A line for each task whose state is another one than when it was shown last. */
static void print_changes(struct watch *watch, const struct json *run, int64_t now_us)
{
    char now[TEXT_TIMESTAMP_BYTES];
    format_now(now_us, now);
    struct buffer line;
    buffer_init(&line, RUN_VIEW_TEXT_MAX);
    const char *state = run_view_state(run);
    bool ended = strcmp(command_text(run, "state"), "TERMINATED") == 0;
    bool run_changed = strcmp(watch->run_state, state) != 0;
    (void)snprintf(watch->run_state, sizeof watch->run_state, "%s", state); /* states are short */
    if (run_changed && !ended) {
        run_view_run(run, now_us, &line);
        print_line(now, &line);
    }
    const struct json *tasks = json_get(run, "tasks");
    size_t count = json_count(tasks);
    struct seen *seen = mem_zeroed(count + 1, sizeof *seen);
    for (size_t i = 0; i < count; i++) {
        seen_of(json_at(tasks, i), &seen[i]);
        const struct seen *before = watch->seen_count > 0
                                        ? bsearch(&seen[i], watch->seen, watch->seen_count,
                                                  sizeof *watch->seen, compare_seen)
                                        : NULL;
        bool news = before != NULL ? strcmp(before->state, seen[i].state) != 0
                                   : strcmp(seen[i].state, "BLOCKED") != 0;
        if (news) {
            buffer_reset(&line);
            run_view_task(json_at(tasks, i), now_us, &line);
            print_line(now, &line);
        }
    }
    if (run_changed && ended) {
        buffer_reset(&line);
        run_view_run(run, now_us, &line);
        print_line(now, &line);
    }
    (void)fflush(stdout); /* a pipe shows it now */
    qsort(seen, count, sizeof *seen, compare_seen);
    mem_free(watch->seen);
    watch->seen = seen;
    watch->seen_count = count;
    buffer_deinit(&line);
}

/* ---- the terminal ---- */

static void ask_size(struct run_view_options *options)
{
    struct winsize size = {0};
    options->columns = COLUMNS_DEFAULT;
    options->lines = LINES_DEFAULT;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        options->columns = size.ws_col;
        options->lines = size.ws_row;
    }
    options->lines--; /* the cursor stands below the picture */
}

/* Go back to the first line of the picture and draw over it, in one write. The last picture stays
 * and may be longer than the terminal. */
static void draw(struct watch *watch, const struct json *run, bool ended, int64_t now_us)
{
    struct run_view_options options = {.colors = watch->colors, .now_us = now_us};
    ask_size(&options);
    options.lines = ended ? SIZE_MAX : options.lines;
    struct buffer picture;
    struct buffer text;
    buffer_init(&picture, RUN_VIEW_TEXT_MAX);
    buffer_init(&text, 2 * RUN_VIEW_TEXT_MAX);
    size_t lines = 0;
    run_view_draw(run, &options, &picture, &lines);
    if (watch->drawn_lines > 0) {
        buffer_append_format(&text, "\033[%zuA", watch->drawn_lines);
    }
    buffer_append_text(&text, "\r\033[J");
    buffer_append_span(&text, buffer_span(&picture));
    (void)fwrite(text.data, 1, text.size, stdout); /* output */
    (void)fflush(stdout);                          /* shown now */
    watch->drawn_lines = lines;
    buffer_deinit(&text);
    buffer_deinit(&picture);
}

/* ---- following ---- */

static void print_document(struct watch *watch, const struct json *run, bool ended)
{
    struct buffer text;
    buffer_init(&text, CLIENT_ANSWER_BYTES_MAX);
    json_write(run, &text);
    bool same = span_equal(buffer_span(&text), buffer_span(&watch->last));
    if ((watch->mode == RUN_WATCH_SHOW && !same) || (watch->mode == RUN_WATCH_QUIET && ended)) {
        (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&text))); /* output */
        (void)fflush(stdout);                                   /* a pipe shows it now */
    }
    buffer_deinit(&watch->last);
    watch->last = text;
}

static void show(struct watch *watch, const struct json *run, bool ended)
{
    int64_t now_us = clock_wall_us();
    if (watch->mode == RUN_WATCH_SILENT) {
        return;
    }
    if (watch->command->json) {
        print_document(watch, run, ended);
    } else if (watch->mode == RUN_WATCH_QUIET) {
        if (ended) {
            struct buffer line;
            buffer_init(&line, RUN_VIEW_TEXT_MAX);
            run_view_run(run, now_us, &line);
            (void)printf("%.*s\n", SPAN_PRINT(buffer_span(&line))); /* output */
            buffer_deinit(&line);
        }
    } else if (watch->terminal) {
        draw(watch, run, ended, now_us);
    } else {
        print_changes(watch, run, now_us);
    }
}

static void pause_ms(int64_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL); /* waking early only asks earlier */
}

static bool wants_colors(void)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return (no == NULL || no[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
}

/* Ask until the run has ended. Only a server that was there before is waited for. */
static enum err_code follow(struct watch *watch, struct client *client, int64_t run_id,
                            bool *success_out, struct err *err)
{
    int64_t lost_since_us = 0;
    int64_t wait_ms = PAUSE_MS_MIN;
    for (bool first = true;; first = false) {
        CLEANUP(json_free) struct json *run = NULL;
        enum err_code code = run_fetch(client, run_id, &run, err);
        int64_t now_us = clock_monotonic_us();
        if (code == ERR_OK) {
            bool ended = strcmp(command_text(run, "state"), "TERMINATED") == 0;
            lost_since_us = 0;
            show(watch, run, ended);
            if (ended) {
                *success_out = strcmp(command_text(run, "result"), "SUCCESS") == 0;
                return ERR_OK;
            }
        } else if (first || (code != ERR_IO && code != ERR_BUSY)) {
            return code;
        } else {
            lost_since_us = lost_since_us == 0 ? now_us : lost_since_us;
            if (now_us - lost_since_us > RUN_WATCH_LOST_SECONDS * (int64_t)1000000) {
                return err_wrap(err,
                                "the server is away for %d s; the run goes on without this "
                                "command",
                                RUN_WATCH_LOST_SECONDS);
            }
            err_clear(err);
        }
        pause_ms(wait_ms);
        wait_ms = wait_ms * 5 / 4 < PAUSE_MS_MAX ? wait_ms * 5 / 4 : PAUSE_MS_MAX;
    }
}

enum err_code run_watch(const struct command *command, struct client *client, int64_t run_id,
                        enum run_watch_mode mode, bool *success_out, struct err *err)
{
    const char *term = getenv("TERM");
    bool dumb = term == NULL || term[0] == '\0' || strcmp(term, "dumb") == 0;
    struct watch watch = {
        .command = command,
        .mode = mode,
        .terminal = isatty(STDOUT_FILENO) == 1 && !dumb,
        .colors = wants_colors(),
    };
    buffer_init(&watch.last, CLIENT_ANSWER_BYTES_MAX);
    enum err_code code = follow(&watch, client, run_id, success_out, err);
    buffer_deinit(&watch.last);
    mem_free(watch.seen);
    return code;
}
