/*
 * Scans: filtered, paged, projected reads of one snapshot, newest or older.
 * Files are skipped by partition value and statistics, row groups by the
 * footer's; what is decoded is bounded by pages, not by files. Where filters name
 * whole keys and the snapshot has an index, only the rows that it names are read.
 *
 * The order is that of the log's files and of the rows in them: fixed for a
 * version, so that a position (file, row) resumes a listing exactly there.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCAN_FILTERS_MAX = 64,
    SCAN_VALUES_MAX = 1000, /* of one `in` */
    SCAN_ROWS_MAX = 100000, /* of one page */
    SCAN_CHUNK_ROWS = 8192, /* decoded at a time */
};

enum scan_operator {
    SCAN_EQUAL,
    SCAN_NOT_EQUAL,
    SCAN_LESS,
    SCAN_LESS_OR_EQUAL,
    SCAN_GREATER,
    SCAN_GREATER_OR_EQUAL,
    SCAN_IN,
    SCAN_IS_NULL,
    SCAN_IS_NOT_NULL,
};
const char *
    scan_operator_name(enum scan_operator operator); /* eq ne lt le gt ge in is_null not_null */
bool scan_operator_parse(struct span name, enum scan_operator *operator_out);

/* A null never matches a comparison (not even ne); strings and binaries compare by bytes. */
struct scan_filter {
    size_t column; /* index into the snapshot's schema */
    enum scan_operator operator;
    const struct row_value *values; /* of the column's type: one, many (in), none (is null) */
    size_t values_count;
};

/*
 * A value from its text form: as JSON shows it, strings without quotes (dates and
 * timestamps as RFC 3339, binary as base64, decimals with at most the column's scale).
 *
 *   arena  keeps the bytes of strings and binaries
 * Errors:  ERR_INVALID "not a date" and the like, never the value; ERR_TOO_LARGE.
 */
enum err_code scan_value_parse(const struct field *field, struct span text, struct arena *arena,
                               struct row_value *value_out, struct err *err) MUST_USE;

/*
 * Check filters against a schema. Errors: ERR_INVALID names the filter by index
 * and says what is wrong (number of values, order on a boolean, too many).
 */
enum err_code scan_filters_check(const struct schema *schema, const struct scan_filter *filters,
                                 size_t count, struct err *err) MUST_USE;

struct scan_position {
    int64_t file; /* index into the version's files in log order */
    int64_t row;  /* the first one to look at */
};

struct scan_request {
    const bool *columns; /* per schema field: wanted? NULL = all; others are null in the frame */
    const struct scan_filter *filters; /* all must hold */
    size_t filters_count;
    int64_t limit;              /* rows, 1…SCAN_ROWS_MAX */
    struct scan_position start; /* zero = the beginning */
    int64_t visit_rows_max;     /* stop after looking at so many rows, 0 = no such limit: bounds the
                                   time of a page whose filter matches little */
};

struct scan_result {
    struct frame *frame; /* the rows; frame_free */
    bool done;           /* nothing is left behind `next` */
    struct scan_position next;
    int64_t visited_rows; /* decoded */
    int64_t skipped_files;
};
void scan_result_deinit(struct scan_result *result);

/*
 * One page.
 * Errors:  ERR_INVALID the position is not of this version, the filters (as
 *          scan_filters_check); ERR_NOT_FOUND a data file is gone (vacuumed, table
 *          dropped); ERR_CORRUPT; ERR_UNSUPPORTED a foreign file we cannot read; ERR_IO.
 * Thread:  reentrant.
 */
enum err_code scan_run(const struct snapshot *snapshot, const struct scan_request *request,
                       struct scan_result *result_out, struct err *err) MUST_USE;
