/*
 * Values of a column whose type was widened: stored under the type of then, in data files
 * (storage/parquet/convert.h), frames of the journal and row images, read under that of now.
 * Source: delta PROTOCOL.md "Type Widening", the changes that every reader of it takes.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/columns/row.h"
#include "storage/columns/schema.h"

#include <stdbool.h>

/*
 * Is `to` another type that holds every value of `from` exactly?
 *   byte, short, integer   a larger one of them, long, double, a decimal with 10 digits before the
 *                          point
 *   long                   a decimal with 20
 *   float                  double
 *   date                   timestamp_ntz
 *   decimal                one of the same scale and more digits: images do not say the scale
 */
bool field_widens(const struct field *from, const struct field *to);

/* A bound of a field of type `from`, in the unit of `to`, which is the same or wider. */
__int128 field_widen_bound(const struct field *from, const struct field *to, __int128 bound);

/* Does its type widen to the field's, and is it one of that then? Dates of far years are not. */
bool row_value_widens(const struct row_value *value, const struct field *field);

/* The value under the field's type, which is its own or widens from it (row_value_widens). */
struct row_value row_value_widened(const struct row_value *value, const struct field *field);

/*
 * Append value `row` of `source`, of the field's type or of one that widens to it. What the
 * widened type cannot hold, which no decoder lets in, becomes its nearest value.
 */
void column_append_widened(struct column *target, const struct field *field,
                           const struct column *source, int64_t row);
