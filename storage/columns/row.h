/*
 * Row images: one stored row as compact bytes that describe themselves by field
 * id and type, so that a lookup needs no Parquet page and no frame. Images of an
 * older schema version read against a newer one; fields added since are null.
 *
 * Layout (all lengths in bytes):
 *   checksum  4         low 32 bits of XXH3-64 over everything behind it
 *   values    …         non-null fields only, ascending field id
 * where a value is
 *   tag       1         high four bits: step from the previous id (1…14), or 15
 *                       and the step follows as varint; low four: enum column_type
 *   content   varint length + bytes   string, binary
 *             zigzag varint           integer, long, date, timestamp, byte, short, …
 *             1 (0 or 1)              boolean
 *             8, little endian        double, float
 *             1 + n                   decimal: n in 1…16, then n bytes two's
 *                                     complement, little endian, no longer than needed
 *             varint length + parts   struct: values as above, the ids the places of its
 *                                     fields from 1; array: varint count, then as many
 *                                     elements; map: likewise, each a key and a value
 * where an element, key or value is a byte 0 for null, or a value whose step is 1.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/cursor.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Append the image of one row to `image`; its ceiling applies (buffer_check).
 * Absent fields are written as null: an image is of a whole row.
 */
void row_encode(const struct frame *frame, int64_t row, struct buffer *image);

/*
 * Append the row of `image` to `target` as one upsert without a line; fields are
 * matched by id, those the target does not know are dropped.
 *
 * Errors:  ERR_CORRUPT checksum, length, type, order, range or UTF-8; the target
 *          is unchanged then.
 */
enum err_code row_decode_into(struct span image, struct frame *target, struct err *err) MUST_USE;

/* One value met while walking an image. */
struct row_value {
    int32_t field_id;
    enum column_type type;
    struct span bytes; /* string (not yet checked as UTF-8), binary, the parts of nested values;
                          borrowed from the image */
    int64_t integer;   /* integers, boolean, date, timestamps; within the type's range */
    double real;       /* double, float */
    __int128 decimal;
};

/* Walks the values of one image in ascending field id. Lives on the caller's stack. */
struct row_reader {
    struct cursor cursor;
    int32_t field_id; /* of the value last read */
};

/* Errors:  ERR_CORRUPT short image or wrong checksum. Memory: borrows the image. */
enum err_code row_reader_init(struct row_reader *reader, struct span image,
                              struct err *err) MUST_USE;

/* False at the end or at a malformed value; row_reader_check tells them apart. */
bool row_reader_next(struct row_reader *reader, struct row_value *value_out);
enum err_code row_reader_check(const struct row_reader *reader, struct err *err) MUST_USE;

/* The fields of a struct, to be walked like those of an image. */
struct row_reader row_fields_of(const struct row_value *value);

/* Walks the elements of an array, or keys and values of a map in turn. On the caller's stack. */
struct row_elements {
    struct cursor cursor;
    uint64_t left; /* elements to come; of a map keys and values, both counted */
};
struct row_elements row_elements_of(const struct row_value *value);

/*
 * False at the end or at malformed parts; row_elements_check tells them apart.
 * A value whose type is COLUMN_TYPE_COUNT is null.
 */
bool row_elements_next(struct row_elements *elements, struct row_value *value_out);
bool row_elements_check(const struct row_elements *elements);

/*
 * Is the value one that `field` can hold: type, decimal precision, UTF-8, and all that is in it,
 * null where it may not be included? Of a type that was widened to the field's: row_value_widened.
 */
bool row_value_fits(const struct row_value *value, const struct field *field);

/* Append a value of the column's type, to a column of a field that it fits. */
void row_value_append(struct column *column, const struct row_value *value);
