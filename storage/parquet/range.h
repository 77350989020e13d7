/*
 * Smallest and largest value of a page, chunk or file: measuring, joining,
 * and the bytes Parquet keeps of them.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/parquet/dictionary.h"
#include "storage/parquet/leaf.h"
#include "storage/parquet/statistics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds of some values; strings borrow from the column. Zeroed = of no value. */
struct range {
    bool has_range;
    bool has_nan;
    union {
        struct {
            int64_t min, max;
        } i64; /* booleans and integers */
        struct {
            double min, max;
        } f64;
        struct {
            __int128 min, max;
        } i128;
        struct {
            struct span min, max;
        } bytes;
    };
};

/* Bounds of values first … first + count - 1. NaN is left out and noted. */
struct range range_of(const struct leaf_values *values, size_t first, size_t count);

/* The same over codes of a dictionary: each entry is looked at once. */
struct range range_of_codes(struct dictionary *dictionary, const struct leaf_values *entries,
                            size_t first, size_t count);

/* Widen `range` by `other`. */
void range_join(struct range *range, const struct range *other, enum leaf_kind kind);

/*
 * Append the bytes of a bound as Parquet wants it in statistics. Strings over
 * PARQUET_WRITE_INDEX_BYTES_MAX are cut, the largest then raised so that it
 * stays a bound. False, nothing appended, when no short bound above exists.
 */
bool range_encode_min(const struct range *range, const struct leaf_type *type, struct buffer *out,
                      bool *exact_out);
bool range_encode_max(const struct range *range, const struct leaf_type *type, struct buffer *out,
                      bool *exact_out);

/* Order of two encoded bounds. */
int range_compare_encoded(struct span a, struct span b, const struct leaf_type *type);

/* Widen file statistics by a chunk's range; counts are the caller's. */
void range_widen_statistics(const struct range *range, enum leaf_kind kind,
                            struct parquet_column_statistics *statistics);
