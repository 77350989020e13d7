/*
 * A run as people see it: lines of text from the server's JSON. No terminal, no
 * clock, no HTTP; run_watch.c has those.
 *
 * Everything the server says is printed with control characters replaced: an error may
 * carry the words of another service, and must not reach the terminal as commands.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RUN_VIEW_COLUMNS_MIN = 40,
    RUN_VIEW_LINES_MIN = 4,
    RUN_VIEW_TEXT_MAX = 4 << 20, /* bytes of one picture */
};

struct run_view_options {
    size_t columns; /* no line is wider; raised to RUN_VIEW_COLUMNS_MIN */
    size_t lines;   /* no more lines; raised to RUN_VIEW_LINES_MIN */
    bool colors;
    int64_t now_us; /* wall time, for what runs */
};

/*
 * The whole run: a head line, then a line a task in the order of the graph, indented
 * below what it waits for, with state, rows, bytes, estimate and elapsed time; iterations of
 * a for_each below their task. When there are more lines than room, iterations and then tasks
 * that are done go first, then those that wait; a last line says how many.
 *
 *   text       appended; lines end in '\n'
 *   lines_out  how many
 */
void run_view_draw(const struct json *run, const struct run_view_options *options,
                   struct buffer *text, size_t *lines_out);

/* One task (or iteration) in one line without line feed: "load[3] FAILED 12 rows in 4s: …". */
void run_view_task(const struct json *task, int64_t now_us, struct buffer *text);

/* The run in one line: "run 42 of nightly: SUCCESS in 1m 12s". */
void run_view_run(const struct json *run, int64_t now_us, struct buffer *text);

/* What is shown for a state: the result once it is TERMINATED. Borrowed from `object`. */
const char *run_view_state(const struct json *object);

/* "1.5s", "12s", "3m 05s", "2h 10m", "4d 03h"; below 0 counts as 0. */
void run_view_duration(int64_t us, struct buffer *text);
/* "999", "1,234,567" */
void run_view_count(int64_t count, struct buffer *text);
/* "999 B", "1.5 KiB", "23 MiB" */
void run_view_bytes(int64_t bytes, struct buffer *text);
