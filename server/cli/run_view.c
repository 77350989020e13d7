/*
 * Runs as text. See run_view.h for the contract.
 */
#include "server/cli/run_view.h"

#include "server/cli/command.h"
#include "server/cli/run_tree.h"
#include "storage/base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
    KEY_COLUMNS_MAX = 36,
    STATE_COLUMNS = 19, /* "WAITING_FOR_RETRY" and two */
    INDENT = 2,
    INDENT_LEVELS_MAX = 8,
    LINE_BYTES_MAX = 4096,
};

static const int64_t us_per_second = 1000000;

/* ---- numbers ---- */

void run_view_duration(int64_t us, struct buffer *text)
{
    int64_t seconds = us > 0 ? us / us_per_second : 0;
    if (seconds < 10) {
        buffer_append_format(text, "%" PRId64 ".%" PRId64 "s", seconds,
                             us > 0 ? us / (us_per_second / 10) % 10 : 0);
    } else if (seconds < 60) {
        buffer_append_format(text, "%" PRId64 "s", seconds);
    } else if (seconds < 3600) {
        buffer_append_format(text, "%" PRId64 "m %02" PRId64 "s", seconds / 60, seconds % 60);
    } else if (seconds < 86400) {
        buffer_append_format(text, "%" PRId64 "h %02" PRId64 "m", seconds / 3600,
                             seconds / 60 % 60);
    } else {
        buffer_append_format(text, "%" PRId64 "d %02" PRId64 "h", seconds / 86400,
                             seconds / 3600 % 24);
    }
}

void run_view_count(int64_t count, struct buffer *text)
{
    char digits[TEXT_DOUBLE_BYTES];
    size_t size = text_format_int64(count, digits);
    for (size_t i = 0; i < size; i++) {
        size_t left = size - i;
        if (left % 3 == 0 && i > 0 && digits[i - 1] != '-') {
            buffer_append_byte(text, ',');
        }
        buffer_append_byte(text, (uint8_t)digits[i]);
    }
}

void run_view_bytes(int64_t bytes, struct buffer *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    buffer_append_format(text, unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* ---- what the server says ---- */

/* Wall time of a member; 0 = absent or null. */
static int64_t time_of(const struct json *object, const char *name)
{
    int64_t us = 0;
    const char *text = json_text(json_get(object, name));
    if (text != NULL) {
        (void)text_parse_timestamp(span_of_text(text), &us); /* 0 then */
    }
    return us;
}

const char *run_view_state(const struct json *object)
{
    const char *state = command_text(object, "state");
    const char *result = json_text(json_get(object, "result"));
    bool ended = strcmp(state, "TERMINATED") == 0 && result != NULL && result[0] != '\0';
    return ended ? result : state;
}

/* May a terminal see this sequence? C0, DEL and C1 are orders to it. */
static bool is_printable(struct span sequence)
{
    const uint8_t *c = sequence.data;
    return sequence.size == 1 ? c[0] >= ' ' && c[0] < 0x7f
                              : sequence.size != 2 || c[0] != 0xc2 || c[1] >= 0xa0;
}

/* Append text of the server, fit for a terminal. */
static void put_text(struct buffer *line, const char *text)
{
    struct span left = span_of_text(text);
    while (left.size > 0) {
        size_t size = text_utf8_sequence(left);
        if (size > 0 && is_printable(span_of(left.data, size))) {
            buffer_append(line, left.data, size);
        } else {
            buffer_append_byte(line, '?');
        }
        size = size > 0 ? size : 1;
        left = span_of(left.data + size, left.size - size);
    }
}

static const struct json *last_attempt(const struct json *task)
{
    const struct json *attempts = json_get(task, "attempts");
    size_t count = json_count(attempts);
    return count > 0 ? json_at(attempts, count - 1) : NULL;
}

/* Where a task's numbers are: its progress while it runs, then its last attempt. */
static const struct json *numbers_of(const struct json *task)
{
    const struct json *progress = json_get(task, "progress");
    return json_kind(progress) == JSON_KIND_OBJECT ? progress : last_attempt(task);
}

static const char *error_of(const struct json *object)
{
    const struct json *error = json_get(object, "error");
    const char *message = json_text(json_get(error, "message"));
    return message != NULL ? message : json_text(error);
}

/* The larger of what came in and what went out: a task that only reads, or only writes, has one. */
static int64_t larger(const struct json *numbers, const char *in, const char *out)
{
    int64_t a = command_integer(numbers, in);
    int64_t b = command_integer(numbers, out);
    return a > b ? a : b;
}

static bool is_running(const char *state)
{
    return strcmp(state, "RUNNING") == 0 || strcmp(state, "TERMINATING") == 0;
}

static bool is_bad(const char *state)
{
    static const char *const states[] = {
        "FAILED",          "TIMEDOUT",          "CANCELED",
        "UPSTREAM_FAILED", "UPSTREAM_CANCELED", "MAXIMUM_CONCURRENT_RUNS_REACHED",
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (strcmp(state, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Ended, or decided never to begin, and nothing wrong with it. */
static bool is_fine(const char *state)
{
    static const char *const states[] = {
        "SUCCESS", "SUCCESS_WITH_FAILURES", "EXCLUDED", "DISABLED", "SKIPPED",
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (strcmp(state, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- one task ---- */

static void put_name(const struct json *task, struct buffer *line)
{
    int64_t iteration = 0;
    put_text(line, command_text(task, "task_key"));
    if (json_as_integer(json_get(task, "iteration"), &iteration) && iteration >= 0) {
        buffer_append_format(line, "[%" PRId64 "]", iteration);
    }
}

static void put_rows(const struct json *numbers, struct buffer *line)
{
    int64_t rows = larger(numbers, "rows_in", "rows_out");
    int64_t rejected = command_integer(numbers, "rows_rejected");
    if (rows > 0 || rejected > 0) {
        buffer_append_byte(line, ' ');
        run_view_count(rows, line);
        buffer_append_text(line, rows == 1 ? " row" : " rows");
    }
    if (rejected > 0) {
        buffer_append_text(line, " (");
        run_view_count(rejected, line);
        buffer_append_text(line, " rejected)");
    }
    int64_t bytes = larger(numbers, "bytes_in", "bytes_out");
    if (bytes > 0) {
        buffer_append_byte(line, ' ');
        run_view_bytes(bytes, line);
    }
}

/* How far, and how long it may still take at the pace of this attempt. */
static void put_estimate(const struct json *task, int64_t now_us, struct buffer *line)
{
    const struct json *progress = json_get(task, "progress");
    int64_t done = command_integer(progress, "work_done");
    int64_t total = command_integer(progress, "work_total");
    if (total <= 0 || done < 0) {
        return;
    }
    done = done < total ? done : total;
    buffer_append_format(line, ", %d %%", (int)((double)done * 100 / (double)total));
    int64_t started_us = time_of(last_attempt(task), "started_at");
    if (done > 0 && started_us > 0 && now_us > started_us) {
        double left = (double)(now_us - started_us) * (double)(total - done) / (double)done;
        buffer_append_text(line, ", ");
        run_view_duration(left < 1e15 ? (int64_t)left : (int64_t)1e15, line);
        buffer_append_text(line, " left");
    }
}

static void put_elapsed(const struct json *object, int64_t now_us, struct buffer *line)
{
    int64_t started_us = time_of(object, "started_at");
    int64_t ended_us = time_of(object, "ended_at");
    if (started_us > 0) {
        buffer_append_text(line, ended_us > 0 ? " in " : " for ");
        run_view_duration((ended_us > 0 ? ended_us : now_us) - started_us, line);
    }
}

/* Everything behind name and state. */
static void put_details(const struct json *task, int64_t now_us, struct buffer *line)
{
    const char *state = run_view_state(task);
    const char *outcome = json_text(json_get(task, "outcome"));
    const char *error = error_of(task);
    int64_t number = command_integer(last_attempt(task), "number");
    if (outcome != NULL && outcome[0] != '\0') {
        buffer_append_byte(line, ' ');
        put_text(line, outcome);
    }
    put_rows(numbers_of(task), line);
    put_elapsed(task, now_us, line);
    if (is_running(state)) {
        put_estimate(task, now_us, line);
    }
    if (number > 1) {
        buffer_append_format(line, ", attempt %" PRId64, number);
    }
    int64_t due_us = time_of(task, "due_at");
    if (strcmp(state, "WAITING_FOR_RETRY") == 0 && due_us > 0) {
        buffer_append_text(line, ", again in ");
        run_view_duration(due_us - now_us, line);
    }
    error = error != NULL ? error : error_of(last_attempt(task));
    if (error != NULL && !is_fine(state)) {
        buffer_append_text(line, ": ");
        put_text(line, error);
    }
}

void run_view_task(const struct json *task, int64_t now_us, struct buffer *text)
{
    put_name(task, text);
    buffer_append_byte(text, ' ');
    put_text(text, run_view_state(task));
    put_details(task, now_us, text);
}

void run_view_run(const struct json *run, int64_t now_us, struct buffer *text)
{
    const char *name = json_text(json_get(run, "name"));
    const char *error = error_of(run);
    buffer_append_format(text, "run %" PRId64, command_integer(run, "run_id"));
    if (name != NULL && name[0] != '\0') {
        buffer_append_text(text, " of ");
        put_text(text, name);
    }
    buffer_append_text(text, ": ");
    put_text(text, run_view_state(run));
    put_elapsed(run, now_us, text);
    if (error != NULL) {
        buffer_append_text(text, ": ");
        put_text(text, error);
    }
}

/* ---- the picture ---- */

/* How soon a row is left out when there is no room: the higher, the sooner. 0 = last. */
enum { RANK_NOW, RANK_WAITING, RANK_BLOCKED, RANK_FINE, RANK_FINE_ITERATION, RANK_COUNT };

static int rank_of(const struct run_tree_row *row)
{
    const char *state = run_view_state(row->task);
    if (is_fine(state)) {
        return run_tree_is_iteration(row->task) ? RANK_FINE_ITERATION : RANK_FINE;
    }
    if (is_running(state) || is_bad(state)) {
        return RANK_NOW;
    }
    return strcmp(state, "BLOCKED") == 0 ? RANK_BLOCKED : RANK_WAITING;
}

/* Hide rows until `room` of them are left; returns how many are hidden. */
static size_t hide_rows(struct run_tree *tree, size_t room)
{
    size_t shown = tree->rows_count;
    for (int rank = RANK_COUNT - 1; rank >= 0 && shown > room; rank--) {
        for (size_t i = 0; i < tree->rows_count && shown > room; i++) {
            /* what is done goes from the top, what waits from the bottom */
            struct run_tree_row *row =
                &tree->rows[rank >= RANK_FINE ? i : tree->rows_count - 1 - i];
            if (!row->hidden && rank_of(row) == rank) {
                row->hidden = true;
                shown--;
            }
        }
    }
    return tree->rows_count - shown;
}

/* Append a line cut to the columns; a code point takes one. */
static void put_line(struct buffer *text, const struct buffer *line, size_t columns,
                     const char *color)
{
    struct span left = buffer_span(line);
    size_t used = 0;
    if (color != NULL) {
        buffer_append_text(text, color);
    }
    while (left.size > 0 && used < columns) {
        size_t size = text_utf8_sequence(left);
        size = size > 0 ? size : 1;
        buffer_append(text, left.data, size);
        left = span_of(left.data + size, left.size - size);
        used++;
    }
    if (color != NULL) {
        buffer_append_text(text, "\033[0m");
    }
    buffer_append_byte(text, '\n');
}

static const char *color_of(const char *state, bool colors)
{
    if (!colors) {
        return NULL;
    }
    if (is_bad(state)) {
        return "\033[31m";
    }
    if (is_running(state)) {
        return "\033[33m";
    }
    return is_fine(state) ? "\033[32m" : "\033[2m";
}

static void pad(struct buffer *line, size_t column)
{
    while (line->size < column) {
        buffer_append_byte(line, ' ');
    }
}

static size_t indent_of(const struct run_tree_row *row)
{
    size_t level = row->level < INDENT_LEVELS_MAX ? row->level : INDENT_LEVELS_MAX;
    return INDENT * (level + 1);
}

/* The column where states begin: behind the widest name that is shown. */
static size_t name_columns(const struct run_tree *tree)
{
    size_t widest = 0;
    struct buffer name;
    buffer_init(&name, LINE_BYTES_MAX);
    for (size_t i = 0; i < tree->rows_count; i++) {
        const struct run_tree_row *row = &tree->rows[i];
        buffer_reset(&name);
        put_name(row->task, &name);
        size_t columns = row->hidden ? 0 : indent_of(row) + name.size;
        widest = columns > widest ? columns : widest;
    }
    buffer_deinit(&name);
    return (widest < KEY_COLUMNS_MAX ? widest : KEY_COLUMNS_MAX) + 2;
}

static void draw_rows(const struct run_tree *tree, const struct run_view_options *options,
                      size_t columns, struct buffer *text)
{
    size_t states_at = name_columns(tree);
    struct buffer line;
    buffer_init(&line, LINE_BYTES_MAX);
    for (size_t i = 0; i < tree->rows_count; i++) {
        const struct run_tree_row *row = &tree->rows[i];
        if (row->hidden) {
            continue;
        }
        const char *state = run_view_state(row->task);
        buffer_reset(&line);
        pad(&line, indent_of(row));
        put_name(row->task, &line);
        pad(&line, states_at);
        put_text(&line, state);
        pad(&line, states_at + STATE_COLUMNS - 1);
        put_details(row->task, options->now_us, &line);
        put_line(text, &line, columns, color_of(state, options->colors));
    }
    buffer_deinit(&line);
}

void run_view_draw(const struct json *run, const struct run_view_options *options,
                   struct buffer *text, size_t *lines_out)
{
    size_t columns =
        options->columns > RUN_VIEW_COLUMNS_MIN ? options->columns : RUN_VIEW_COLUMNS_MIN;
    size_t lines = options->lines > RUN_VIEW_LINES_MIN ? options->lines : RUN_VIEW_LINES_MIN;
    struct run_tree tree;
    run_tree_init(&tree, run);
    struct buffer line;
    buffer_init(&line, LINE_BYTES_MAX);
    run_view_run(run, options->now_us, &line);
    put_line(text, &line, columns, color_of(run_view_state(run), options->colors));
    size_t hidden = 0;
    if (tree.rows_count + 1 > lines) {
        hidden = hide_rows(&tree, lines - 2);
    }
    draw_rows(&tree, options, columns, text);
    if (hidden > 0) {
        buffer_reset(&line);
        buffer_append_format(&line, "  and %zu more of %zu tasks", hidden, tree.rows_count);
        put_line(text, &line, columns, NULL);
    }
    *lines_out = 1 + tree.rows_count - hidden + (hidden > 0 ? 1 : 0);
    buffer_deinit(&line);
    run_tree_deinit(&tree);
}
