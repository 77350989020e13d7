/*
 * What is known about the values of one column in one file or row group, typed
 * by the Delta column. The writer measures it, the reader takes it from footers,
 * Delta's log prints it. Always truthful: a range is either a bound or absent.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes kept of a smallest or largest string: enough for Delta's 2 × 32 UTF-16
 * units (at most 3 bytes each) and one more character.
 */
enum { PARQUET_STATISTICS_BYTES = 256 };

/* One bound; which member holds it follows from the column's type. */
struct parquet_bound {
    union {
        int64_t i64;   /* integer, byte, short, date, long, timestamps; boolean 0 or 1 */
        double f64;    /* double, float */
        __int128 i128; /* decimal, unscaled */
    };
    uint16_t bytes_size; /* string, binary: bytes in use below */
    bool exact;          /* false, from the writer: `bytes` is the beginning of a longer value and
                            may end inside a character; from a footer: a bound that whoever wrote
                            the file shortened (a maximum is then above every value) */
    uint8_t bytes[PARQUET_STATISTICS_BYTES];
};

struct parquet_column_statistics {
    int64_t values_count; /* not null */
    int64_t nulls_count;  /* -1 = unknown (reader only) */
    bool has_nan;   /* some value is NaN (from a footer: may be); min and max are over the others */
    bool has_range; /* min and max below are set */
    struct parquet_bound min;
    struct parquet_bound max;
};

/* The bytes of a string or binary bound; borrowed from `bound`. */
static inline struct span parquet_bound_span(const struct parquet_bound *bound)
{
    return span_of(bound->bytes, bound->bytes_size);
}
