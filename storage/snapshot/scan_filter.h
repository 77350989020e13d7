/*
 * Filters of a scan: on rows, and on ranges of values to skip files and row
 * groups.
 */
#pragma once

#include "storage/columns/frame.h"
#include "storage/delta/stats.h"
#include "storage/parquet/statistics.h"
#include "storage/snapshot/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stored;

/* What is known about the values of one column in a file or row group. */
struct value_range {
    bool has_min;
    bool has_max;
    struct row_value min; /* no value is smaller; NaN not counted */
    struct row_value max; /* no value is larger; NaN not counted */
    bool no_nulls;        /* certain */
    bool all_nulls;       /* certain */
};

struct value_range value_range_of_log(const struct field *field,
                                      const struct delta_column_range *range);
/* Borrows from `statistics`. */
struct value_range value_range_of_footer(const struct field *field,
                                         const struct parquet_column_statistics *statistics);

/* False: certainly no value in the range passes the filter. */
bool scan_filter_may_match(const struct scan_filter *filter, const struct value_range *range);

/* Does row `row` of a frame pass all filters? */
bool scan_filters_match(const struct scan_filter *filters, size_t count, const struct frame *frame,
                        int64_t row);

/* False: certainly no row of the file passes all filters, by the log's statistics. */
bool scan_filters_may_match_file(const struct scan_filter *filters, size_t count,
                                 const struct schema *schema, const struct delta_file *file);

/* The same for one row group, by the footer's. */
bool scan_filters_may_match_group(const struct scan_filter *filters, size_t count,
                                  const struct stored *stored, size_t row_group);
