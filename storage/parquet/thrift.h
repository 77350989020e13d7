/*
 * Thrift's compact protocol, as far as Parquet needs it: structs, lists,
 * integers, binaries and booleans. The reader skips what it does not know.
 * Source: thrift doc/specs/thrift-compact-protocol.md.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/cursor.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum thrift_type {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1, /* of fields; the type of list elements that are booleans, too */
    THRIFT_FALSE = 2,
    THRIFT_I8 = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_MAP = 11,
    THRIFT_STRUCT = 12,
};

enum {
    THRIFT_DEPTH_MAX = 32,      /* open containers inside a value that is skipped */
    THRIFT_LIST_SHORT_MAX = 14, /* elements of a list whose count fits into its first byte */
};

/*
 * Iterator over one struct's fields: start zeroed, call thrift_field_next until
 * false. Failures are sticky in the cursor, as with every cursor read.
 */
struct thrift_field {
    int32_t id;
    enum thrift_type type;
};

/* The next field of the struct; false after the last or on failure. */
bool thrift_field_next(struct cursor *cursor, struct thrift_field *field);

/* Values of the current field; a field of another type is malformed. */
bool thrift_read_bool(struct cursor *cursor, const struct thrift_field *field);
int32_t thrift_read_i32(struct cursor *cursor, const struct thrift_field *field);
int64_t thrift_read_i64(struct cursor *cursor, const struct thrift_field *field);
struct span thrift_read_binary(struct cursor *cursor, const struct thrift_field *field);
/* Expect a struct: its fields follow, to be read with a fresh thrift_field. */
void thrift_read_struct(struct cursor *cursor, const struct thrift_field *field);
/* Expect a list of `element`; the count never exceeds the bytes that are left. */
size_t thrift_read_list(struct cursor *cursor, const struct thrift_field *field,
                        enum thrift_type element);

/* Elements of lists; the type was checked with the list. */
int64_t thrift_element_integer(struct cursor *cursor);
struct span thrift_element_binary(struct cursor *cursor);
bool thrift_element_bool(struct cursor *cursor);

/* Skip the current field's value. */
void thrift_skip(struct cursor *cursor, const struct thrift_field *field);

/* ---- writing; `last` is the id of the struct's field before, 0 at its start ---- */
void thrift_write_bool(struct buffer *out, int *last, int id, bool value);
void thrift_write_i8(struct buffer *out, int *last, int id, int8_t value);
void thrift_write_i16(struct buffer *out, int *last, int id, int16_t value);
void thrift_write_i32(struct buffer *out, int *last, int id, int32_t value);
void thrift_write_i64(struct buffer *out, int *last, int id, int64_t value);
void thrift_write_binary(struct buffer *out, int *last, int id, struct span value);
/* A struct's fields follow (with a `last` of their own), then thrift_write_stop. */
void thrift_write_struct(struct buffer *out, int *last, int id);
void thrift_write_list(struct buffer *out, int *last, int id, enum thrift_type element,
                       size_t count);
void thrift_write_stop(struct buffer *out);

void thrift_put_integer(struct buffer *out, int64_t value); /* list element */
void thrift_put_binary(struct buffer *out, struct span value);
void thrift_put_bool(struct buffer *out, bool value);
