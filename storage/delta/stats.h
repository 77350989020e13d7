/*
 * File statistics of the Delta log: `add.stats` written from what the Parquet
 * writer measured, and read back typed for file skipping.
 *
 * Written statistics are truthful: a bound is valid or absent, because a max
 * that is too small loses rows in every engine. Columns with protected health
 * information have neither bounds nor null counts in the log.
 *
 * Source: delta PROTOCOL.md "Per-file Statistics"; reference section 5.3.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/schema.h"
#include "storage/delta/log.h"
#include "storage/parquet/statistics.h"

enum {
    DELTA_STATS_COLUMNS_DEFAULT = 32, /* delta.dataSkippingNumIndexedCols */
    DELTA_STATS_STRING_POINTS = 32,   /* code points kept of a string bound */
    DELTA_STATS_BYTES_MAX = 16 << 20, /* of one stats text */
};

struct delta_stats_options {
    const bool *columns; /* per schema field: may it have statistics? NULL = all but phi fields */
    int64_t columns_max; /* only the first so many leaf columns, partition columns not counted;
                            0 = DELTA_STATS_COLUMNS_DEFAULT, -1 = all */
    bool tight_bounds;   /* write tightBounds: true (tables with deletion vectors) */
};

/*
 * Print the stats text of a fresh file.
 *
 *   schema       logical names are used; partition columns are left out
 *   statistics   one a field, in schema order (struct parquet_written)
 *   options      NULL = defaults
 *   text         appended to
 */
void delta_stats_write(const struct schema *schema, int64_t rows_count,
                       const struct parquet_column_statistics *statistics,
                       const struct delta_stats_options *options, struct buffer *text);

/*
 * The same text with tightBounds false and nothing else changed: what a file
 * carries once it has a deletion vector.
 * Errors: ERR_INVALID `stats` is NULL, no object, or lacks numRecords.
 */
enum err_code delta_stats_loosen(const char *stats, struct buffer *text, struct err *err) MUST_USE;

/* Top-level numRecords of a stats text without parsing the rest; -1 = absent or malformed. */
int64_t delta_stats_rows_count(const char *stats);

/* A typed bound; which member holds it follows from the field's type. */
struct delta_bound {
    union {
        int64_t i64;   /* integer, byte, short, long, date, timestamps (µs); boolean never */
        double f64;    /* double, float */
        __int128 i128; /* decimal, unscaled at the field's scale */
    };
    struct span bytes; /* string; borrowed from the file or owned by the struct delta_stats */
};

struct delta_column_range {
    bool has_min;
    bool has_max;
    struct delta_bound min; /* no value of the file is smaller */
    struct delta_bound max; /* no value of the file is larger; timestamps carry the slack of
                               writers that cut to milliseconds */
    bool no_nulls;          /* certain: no live row is null */
    bool all_nulls;         /* certain: every row is null */
};

/* Parsed statistics of one file, which must outlive them; delta_stats_free. */
struct delta_stats {
    int64_t rows_count; /* physical; -1 = unknown */
    bool tight_bounds;
    size_t columns_count;               /* fields of the schema */
    struct delta_column_range *columns; /* per schema field; zeroed = nothing known */
    struct arena texts;                 /* private: strings that had escapes */
};

/*
 * Parse for file skipping. Bounds that do not fit the field's type are left
 * out, so foreign statistics can only make us read more; partition columns get
 * min = max = their value from `file`.
 *
 * Errors:  ERR_CORRUPT the text is no JSON object (read the file then).
 */
enum err_code delta_stats_parse(const struct delta_file *file, const struct schema *schema,
                                struct delta_stats *stats_out, struct err *err) MUST_USE;
void delta_stats_free(struct delta_stats *stats);
