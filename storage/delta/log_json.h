/*
 * JSON as the log has it: lines of actions, the hint of a checkpoint, strings of
 * statistics. Reading only, private to this folder; what is written, and documents
 * for others (commitInfo), are storage/base/json.h.
 *
 * Decision: a parser of our own. A table is opened by replaying its log, which may
 * be gigabytes, and jansson reads a fifth as fast. It accepts what json_parse
 * accepts and nothing else, so that no commit is good here and broken there.
 *
 * Values live in the arena that they were parsed into, one after the other and never
 * freed alone: a line's are forgotten together before the next is read.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_json; /* any value; opaque */

enum log_json_kind {
    LOG_JSON_NULL,
    LOG_JSON_BOOLEAN,
    LOG_JSON_INTEGER, /* no fraction, no exponent, within int64 */
    LOG_JSON_REAL,    /* any other number; without a value, because no action has one */
    LOG_JSON_STRING,
    LOG_JSON_ARRAY,
    LOG_JSON_OBJECT,
};

enum { LOG_JSON_DEPTH_MAX = 32 };

/*
 * Parse one document into `arena`. Duplicate names, depth over LOG_JSON_DEPTH_MAX, invalid UTF-8,
 * a NUL in a name, numbers beyond double and trailing text are refused; the message
 * has line and column (in bytes), never content.
 *
 * Errors:  ERR_CORRUPT; ERR_TOO_LARGE the arena is full.
 */
enum err_code log_json_parse(struct span text, struct arena *arena,
                             const struct log_json **root_out, struct err *err) MUST_USE;

/* ---- reading; every function accepts NULL as "absent" ---- */
enum log_json_kind log_json_kind(const struct log_json *value); /* NULL is LOG_JSON_NULL */
const struct log_json *log_json_get(const struct log_json *object, const char *name); /* or NULL */
size_t log_json_count(const struct log_json *array_or_object);
const struct log_json *log_json_at(const struct log_json *array, size_t index);
bool log_json_as_string(const struct log_json *value, struct span *text_out);
bool log_json_as_integer(const struct log_json *value, int64_t *integer_out);
bool log_json_as_boolean(const struct log_json *value, bool *boolean_out);
/* NUL-terminated text of a string value without embedded NUL, or NULL. */
const char *log_json_text(const struct log_json *value);

/* Members in document order. Start with position 0; false at the end. */
bool log_json_member(const struct log_json *object, size_t *position, const char **name_out,
                     const struct log_json **value_out);
