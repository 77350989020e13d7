/*
 * What the index hashes: the key of a row and the values of lookup columns, as
 * bytes that are equal exactly when the values are.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/hash.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INDEX_KINDS_MAX = 1 + SCHEMA_LOOKUP_MAX };

/* Kinds of index runs a table has: kind 0 is the key, kind 1 + i is lookup column i. */
struct index_kinds {
    bool used[INDEX_KINDS_MAX]; /* a lookup that is the key alone has no runs of its own */
    size_t count;               /* 1 + lookup_count; slots of `used` that mean something */
};
struct index_kinds index_kinds_of(const struct schema *schema);

/* The kind that answers lookup column `lookup`: 0 when it is the whole key. */
uint32_t index_kind_of_lookup(const struct schema *schema, size_t lookup);

/* Does the table need row images and an index at all? */
bool index_is_needed(const struct schema *schema);

/*
 * A number that changes whenever an index built for `schema` under this hash key
 * is of no use to another definition: key, sequence and lookup fields.
 */
uint64_t index_definition(const struct schema *schema, const uint8_t hash_key[HASH_KEY_BYTES]);

/* Are all key columns of the row set? False only for rows that other engines wrote. */
bool key_is_whole(const struct frame *frame, int64_t row);

/* Append the bytes of one value of a lookup column; false and nothing for null. */
bool lookup_bytes_of_row(const struct frame *frame, size_t column, int64_t row,
                         struct buffer *bytes);

/*
 * Append the partition of a row as bytes that order together: null mark, size and value of each
 * partition column; nothing when there are none.
 *   scratch  overwritten
 */
void partition_bytes_of_row(const struct frame *frame, int64_t row, struct buffer *scratch,
                            struct buffer *bytes);
void lookup_bytes_of_value(const struct row_value *value, struct buffer *bytes);

/* One value of a frame in the form images and filters have; false for null. Borrows. */
bool row_value_of(const struct frame *frame, size_t column, int64_t row,
                  struct row_value *value_out);

/*
 * Order of two values of one type: by number, strings and binaries by bytes,
 * NaN above everything and equal to itself.
 */
int row_value_compare(const struct row_value *a, const struct row_value *b);

/* Find a field's value in an image. false: null there, or (reported by `err`) damaged. */
enum err_code image_value(struct span image, int32_t field_id, bool *found_out,
                          struct row_value *value_out, struct err *err) MUST_USE;
