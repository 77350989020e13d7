/*
 * JSON documents: definitions, settings, API bodies other than records, answers,
 * what the catalog and a commit's commitInfo hold.
 * Record bodies do not come here: they have a schema-driven decoder in columns/.
 * Nor does the log of a Delta table: storage/delta/log_json.h.
 *
 * Decision: jansson, behind this header. Documents are small and rare enough for its
 * 40–80 MB/s. It keeps a number as int64 or double and forgets how it was written:
 * values whose digits count are taken from the text itself, see json_raw.h.
 *
 * Values are borrowed from their document unless said otherwise and live until
 * json_free of the root they hang on. A document that nobody changes may be read by
 * many threads.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json; /* any value; opaque */

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOLEAN,
    JSON_KIND_INTEGER,
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

enum {
    JSON_DEPTH_MAX = 32,
    JSON_DEPTH_DEEPEST = 256, /* that a caller of json_parse_deep may ask for */
};

/*
 * Parse one document. Duplicate names, depth over JSON_DEPTH_MAX, invalid UTF-8, a
 * byte order mark, half a surrogate pair, a NUL in a name, numbers beyond double
 * (1e400) and trailing text are refused; the message has the line and column (in
 * bytes) of the last byte that was read, never content.
 *
 * A number without fraction and exponent that fits int64 is an integer; all others,
 * longer integers too, are reals: the nearest double. A text may hold U+0000.
 *
 * Memory:  root goes to the caller: json_free.
 * Errors:  ERR_INVALID.
 */
enum err_code json_parse(struct span text, struct json **root_out, struct err *err) MUST_USE;

/* The same with another limit of depth, for documents that are nested by design. */
enum err_code json_parse_deep(struct span text, size_t depth_max, struct json **root_out,
                              struct err *err) MUST_USE;

/* Frees a root and all below it; accepts NULL inside; nulls the pointer. For CLEANUP too. */
void json_free(struct json **value);

/* ---- reading; every function accepts NULL as "absent" ---- */
enum json_kind json_kind(const struct json *value); /* NULL is JSON_KIND_NULL */
const struct json *json_get(const struct json *object, const char *name); /* NULL when absent */
size_t json_count(const struct json *array_or_object);
const struct json *json_at(const struct json *array, size_t index);
bool json_as_string(const struct json *value, struct span *text_out); /* false: not a string */
bool json_as_integer(const struct json *value, int64_t *integer_out); /* false: not an integer */
bool json_as_real(const struct json *value, double *real_out);        /* integer or real */
bool json_as_boolean(const struct json *value, bool *boolean_out);
/* NUL-terminated text of a string value without embedded NUL, or NULL. */
const char *json_text(const struct json *value);

/* Members in document order. Start with position 0, opaque afterwards; false at the end. */
bool json_member(const struct json *object, size_t *position, const char **name_out,
                 const struct json **value_out);

/*
 * Check that an object holds only names of `allowed` (NULL-terminated list).
 * Errors:  ERR_INVALID with the JSON pointer of the first stranger.
 */
enum err_code json_check_names(const struct json *object, const char *pointer,
                               const char *const allowed[], struct err *err) MUST_USE;

/* ---- building; the parent takes the child, NULL child is JSON null ---- */
struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(struct span text); /* invalid UTF-8 becomes U+FFFD */
struct json *json_new_text(const char *text);   /* NULL becomes JSON null */
struct json *json_new_integer(int64_t integer);
struct json *json_new_real(double real); /* must be finite */
struct json *json_new_boolean(bool boolean);
struct json *json_new_null(void);
struct json *json_duplicate(const struct json *value); /* deep */
void json_set(struct json *object, const char *name, struct json *value);
void json_set_text(struct json *object, const char *name, const char *text);
void json_set_integer(struct json *object, const char *name, int64_t integer);
void json_set_boolean(struct json *object, const char *name, bool boolean);
void json_remove(struct json *object, const char *name);
void json_append(struct json *array, struct json *value);
/* Objects without regard to member order; numbers by kind and value. */
bool json_equals(const struct json *a, const struct json *b);

/*
 * Compact text in member order; the buffer's ceiling applies. Reals as their shortest
 * text, always with a fraction or an exponent; names that are not UTF-8 are repaired.
 */
void json_write(const struct json *value, struct buffer *buffer);
/* The same with two-space indentation, for people. */
void json_write_pretty(const struct json *value, struct buffer *buffer);

/*
 * The value a JSON pointer (RFC 6901) leads to: "" the root itself, "/data/0/id". NULL
 * when there is none, or when the pointer is not one.
 */
const struct json *json_find(const struct json *root, struct span pointer);

/* Append one step of a JSON pointer (RFC 6901): "/" and the name, escaped. */
void json_write_pointer(struct buffer *pointer, const char *name);

/* Append `text` as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void json_write_string(struct buffer *buffer, struct span text);

/*
 * Objects that are written without a tree, where one is answered with thousands of times a
 * second: the caller appends '{', members with these, and '}'. The comma goes before every member
 * but the first.
 *   name  a literal that needs no escaping
 */
void json_write_name(struct buffer *buffer, const char *name); /* its value is to follow */
void json_write_text_member(struct buffer *buffer, const char *name, const char *text);
void json_write_integer_member(struct buffer *buffer, const char *name, int64_t integer);
