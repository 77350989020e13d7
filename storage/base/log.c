/*
 * Structured log lines. See log.h for the contract.
 *
 * A line is valid JSON whatever its values hold: each value is written whole by
 * the JSON encoder, or left out when it does not fit.
 */
#include "storage/base/log.h"

#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/lock.h"
#include "storage/base/text.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static const char *const key_names[LOG_KEY_COUNT] = {
    [LOG_REQUEST_ID] = "request_id",
    [LOG_TRACE_ID] = "trace_id",
    [LOG_PRINCIPAL] = "principal",
    [LOG_OPERATION] = "operation",
    [LOG_METHOD] = "method",
    [LOG_ROUTE] = "route",
    [LOG_TABLE] = "table",
    [LOG_BATCH] = "batch",
    [LOG_VERSION] = "version",
    [LOG_STATUS] = "status",
    [LOG_CODE] = "code",
    [LOG_ERROR_TEXT] = "error",
    [LOG_DURATION_US] = "duration_us",
    [LOG_BYTES_IN] = "bytes_in",
    [LOG_BYTES_OUT] = "bytes_out",
    [LOG_RECORDS] = "records",
    [LOG_TASK] = "task",
    [LOG_ATTEMPT] = "attempt",
    [LOG_REMOTE] = "remote",
    [LOG_SUBJECT] = "subject",
    [LOG_COUNT_OF] = "count",
    [LOG_PATH] = "path",
    [LOG_JOB] = "job_id",
    [LOG_RUN] = "run_id",
    [LOG_WEBHOOK] = "webhook_id",
    [LOG_ORIGIN] = "origin",
};

/* Closes a line; the room for the longer one is kept free while values are added. */
static const char ending[] = "}\n";
static const char ending_cut[] = ",\"cut\":true}\n";

static _Atomic int level_min = LOG_INFO;

/*
 * Lines that go out together. Some are written while others are gathered: whoever logs does not
 * wait for a slow disk or reader before both halves are full.
 */
static _Atomic bool gathering;
static struct {
    struct lock lock; /* guards what follows */
    struct wake wake; /* of the thread */
    struct wake back; /* nobody writes any more */
    char text[2][LOG_GATHER_BYTES];
    int half;           /* where lines are gathered; the other one is written */
    size_t size;        /* in that half */
    bool writing;       /* somebody does, outside the lock */
    int64_t written_us; /* when something went out last */
    int64_t due_us;     /* when these go out */
    bool stopping;
    pthread_t thread;
} lines;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

/*
 * The rest of the line as a buffer that cannot grow. Its ceiling is what is
 * allocated, so that appending never reaches for the heap.
 */
static struct buffer rest_of(struct log_line *line)
{
    size_t room = sizeof line->text - sizeof ending_cut - line->size;
    return (struct buffer){
        .data = (uint8_t *)line->text + line->size, .capacity = room, .size_max = room};
}

/* Keep what was written if all of it fitted. */
static void keep(struct log_line *line, const struct buffer *rest)
{
    if (rest->overflowed) {
        line->full = true;
    } else {
        line->size += rest->size;
    }
}

void log_begin(struct log_line *line, enum log_level level, const char *message)
{
    char timestamp[TEXT_TIMESTAMP_BYTES];
    (void)text_format_timestamp(clock_wall_us(), timestamp); /* the length is not needed */
    line->size = 0;
    line->level = level;
    line->full = false;

    struct buffer rest = rest_of(line);
    buffer_append_text(&rest, "{\"ts\":\"");
    buffer_append_text(&rest, timestamp);
    buffer_append_text(&rest, "\",\"level\":\"");
    buffer_append_text(&rest, level_names[level]);
    buffer_append_text(&rest, "\",\"msg\":");
    json_write_string(&rest, span_of_text(message));
    assert(!rest.overflowed); /* messages are literals of a sentence */
    keep(line, &rest);
}

static void append_key(struct buffer *rest, enum log_key key)
{
    assert(key < LOG_KEY_COUNT);
    buffer_append_text(rest, ",\"");
    buffer_append_text(rest, key_names[key]);
    buffer_append_text(rest, "\":");
}

void log_text(struct log_line *line, enum log_key key, const char *value)
{
    if (value != NULL) {
        log_span(line, key, span_of_text(value));
    }
}

void log_span(struct log_line *line, enum log_key key, struct span value)
{
    struct buffer rest = rest_of(line);
    append_key(&rest, key);
    json_write_string(&rest, value);
    keep(line, &rest);
}

void log_integer(struct log_line *line, enum log_key key, int64_t value)
{
    struct buffer rest = rest_of(line);
    append_key(&rest, key);
    text_append_int64(value, &rest);
    keep(line, &rest);
}

void log_err(struct log_line *line, const struct err *err)
{
    if (err->code != ERR_OK) {
        log_text(line, LOG_CODE, err_code_name(err->code));
        log_text(line, LOG_ERROR_TEXT, err->msg);
    }
}

/* ---- writing ---- */

/* One write keeps lines whole between threads; a short one on a pipe is finished. */
static void write_out(const char *text, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t written = write(STDERR_FILENO, text + done, size - done);
        if (written < 0 && errno != EINTR) {
            return; /* nobody reads the log: no reason to stop serving */
        }
        done += written > 0 ? (size_t)written : 0;
    }
}

/* All that was gathered before the call goes out. With the lock, which is given up meanwhile. */
static void write_gathered(void)
{
    while (lines.writing) {
        wake_wait(&lines.back, &lines.lock);
    }
    if (lines.size == 0) {
        lines.written_us = clock_monotonic_us(); /* the caller's line goes out now */
        return;
    }
    const char *text = lines.text[lines.half];
    size_t size = lines.size;
    lines.half = 1 - lines.half;
    lines.size = 0;
    lines.writing = true;
    lock_drop(&lines.lock);
    write_out(text, size);
    lock_take(&lines.lock);
    lines.writing = false;
    lines.written_us = clock_monotonic_us();
    wake_all(&lines.back);
}

static void flush(void)
{
    if (atomic_load(&gathering)) {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lines.lock);
        write_gathered();
    }
}

/* False: nothing was written for a while, or there is no room: the line goes out by itself. */
static bool gather(const struct log_line *line)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&lines.lock);
    int64_t now_us = clock_monotonic_us();
    if (lines.size + line->size > LOG_GATHER_BYTES) {
        return false;
    }
    if (lines.size == 0) {
        if (now_us - lines.written_us >= LOG_GATHER_US && !lines.writing) {
            return false;
        }
        lines.due_us = lines.written_us + LOG_GATHER_US;
        wake_one(&lines.wake);
    }
    memcpy(lines.text[lines.half] + lines.size, line->text, line->size);
    lines.size += line->size;
    return true;
}

static void *gather_main(void *arg)
{
    (void)arg;
    lock_take(&lines.lock);
    while (!lines.stopping) {
        if (lines.size == 0) {
            wake_wait(&lines.wake, &lines.lock);
        } else if (wake_wait_until(&lines.wake, &lines.lock, lines.due_us) != 0) {
            write_gathered();
        }
    }
    lock_drop(&lines.lock);
    return NULL;
}

enum err_code log_gather_start(struct err *err)
{
    assert(!atomic_load(&gathering));
    lock_init(&lines.lock, LOCK_RANK_LOG);
    wake_init(&lines.wake);
    wake_init(&lines.back);
    lines.stopping = false;
    int failed = pthread_create(&lines.thread, NULL, gather_main, NULL);
    if (failed != 0) {
        return err_set_sys(err, ERR_NOMEM, failed, "start the log's thread");
    }
    atomic_store(&gathering, true);
    return ERR_OK;
}

void log_gather_stop(void)
{
    if (!atomic_load(&gathering)) {
        return;
    }
    lock_take(&lines.lock);
    lines.stopping = true;
    wake_all(&lines.wake);
    lock_drop(&lines.lock);
    int result = pthread_join(lines.thread, NULL);
    assert(result == 0);
    flush();
    atomic_store(&gathering, false);
}

void log_end(struct log_line *line)
{
    if ((int)line->level < atomic_load_explicit(&level_min, memory_order_relaxed)) {
        return;
    }
    const char *end = line->full ? ending_cut : ending;
    size_t end_size = strlen(end);
    memcpy(line->text + line->size, end, end_size);
    line->size += end_size;

    bool together = line->level < LOG_WARN && atomic_load(&gathering);
    if (!together || !gather(line)) {
        flush(); /* what came before stays before */
        write_out(line->text, line->size);
    }
}
