/*
 * Structured log: one JSON object a line on stderr. One line a request and one
 * a task attempt; storage never logs above debug. Keys are an enum, values are
 * numbers, names and keyed hashes: never record contents, keys or tokens.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_key {
    LOG_REQUEST_ID,
    LOG_TRACE_ID,
    LOG_PRINCIPAL,
    LOG_OPERATION,
    LOG_METHOD,
    LOG_ROUTE,
    LOG_TABLE,
    LOG_BATCH,
    LOG_VERSION,
    LOG_STATUS,
    LOG_CODE,
    LOG_ERROR_TEXT,
    LOG_DURATION_US,
    LOG_BYTES_IN,
    LOG_BYTES_OUT,
    LOG_RECORDS,
    LOG_TASK,
    LOG_ATTEMPT,
    LOG_REMOTE,
    LOG_SUBJECT, /* keyed hash of a member identifier */
    LOG_COUNT_OF,
    LOG_PATH,
    LOG_JOB,
    LOG_RUN,
    LOG_WEBHOOK,
    LOG_ORIGIN, /* scheme, host and port of another server */
    LOG_KEY_COUNT,
};

/* One line being built; lives on the caller's stack. */
struct log_line {
    char text[2048];
    size_t size;
    enum log_level level;
    bool full; /* a value did not fit and was left out */
};

void log_set_level(enum log_level level);

void log_begin(struct log_line *line, enum log_level level, const char *message);
void log_text(struct log_line *line, enum log_key key, const char *value); /* NULL: left out */
void log_span(struct log_line *line, enum log_key key, struct span value);
void log_integer(struct log_line *line, enum log_key key, int64_t value);
void log_err(struct log_line *line, const struct err *err);
/* Write the line with one write(2), or gather it. Thread: any; lines never mix. */
void log_end(struct log_line *line);

/*
 * From here on lines that come within LOG_GATHER_US of each other go out together, those of a
 * warning or an error at once with all before them. A killed process loses as much; who wants
 * to know for certain reads the audit trail. A slow reader is waited for when twice
 * LOG_GATHER_BYTES are to be written.
 */
enum { LOG_GATHER_US = 5000, LOG_GATHER_BYTES = 256 << 10 };
enum err_code log_gather_start(struct err *err) MUST_USE;
/* Write what was gathered; lines go out one by one again. Accepts what was not started. */
void log_gather_stop(void);
