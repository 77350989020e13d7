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
#include "storage/base/text.h"

#include <assert.h>
#include <errno.h>
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
    if (value == NULL) {
        return;
    }
    struct buffer rest = rest_of(line);
    append_key(&rest, key);
    json_write_string(&rest, span_of_text(value));
    keep(line, &rest);
}

void log_integer(struct log_line *line, enum log_key key, int64_t value)
{
    char digits[TEXT_DOUBLE_BYTES];
    struct buffer rest = rest_of(line);
    append_key(&rest, key);
    buffer_append(&rest, digits, text_format_int64(value, digits));
    keep(line, &rest);
}

void log_err(struct log_line *line, const struct err *err)
{
    if (err->code != ERR_OK) {
        log_text(line, LOG_CODE, err_code_name(err->code));
        log_text(line, LOG_ERROR_TEXT, err->msg);
    }
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

    /* one write keeps lines whole between threads; a short one on a pipe is finished */
    size_t done = 0;
    while (done < line->size) {
        ssize_t written = write(STDERR_FILENO, line->text + done, line->size - done);
        if (written < 0 && errno != EINTR) {
            return; /* nobody reads the log: no reason to stop serving */
        }
        done += written > 0 ? (size_t)written : 0;
    }
}
