/*
 * Lookups: keys or values of a declared lookup column in, row images out.
 * On a snapshot with an index: a probe per run and a comparison with the stored
 * key; no lock, no Parquet page. Rows without an image (foreign files whose
 * image could not be made) are read from their data file. On a snapshot of an
 * older version the table is scanned.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/frame.h"
#include "storage/columns/row.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOOKUP_KEYS_MAX = 1000,   /* in one call */
    LOOKUP_ROWS_MAX = 100000, /* live rows of one lookup value; more is ERR_TOO_LARGE */
};

struct lookup_row {
    bool found;        /* lookup_keys only; everything below is zero when false */
    struct span image; /* row image (row.h, encode_json_image); borrowed from the snapshot or
                          from the result, whichever goes first */
    struct span place; /* where the row stands in the result's order; opaque, for `after` */
    int64_t sequence;  /* newest wins; sequence_by value or position */
};

struct lookup_result {
    struct lookup_row *rows;
    size_t count;
    bool more;             /* lookup_value: rows remain behind the last one */
    struct buffer storage; /* private: images and places that the snapshot does not hold */
    size_t capacity;       /* private */
};
void lookup_result_deinit(struct lookup_result *result);

/*
 * Look keys up.
 *
 *   keys        rows whose key columns are set (other columns are not looked at);
 *               at most LOOKUP_KEYS_MAX rows, of a schema with the same key fields
 *   result_out  one row per key in the order of `keys`; of several live rows of a
 *               key (foreign duplicates) the one of highest sequence
 *
 * Errors:  ERR_UNSUPPORTED the table has no key; ERR_CORRUPT; ERR_IO, ERR_NOT_FOUND
 *          only where a data file had to be read.
 */
enum err_code lookup_keys(const struct snapshot *snapshot, const struct frame *keys,
                          struct lookup_result *result_out, struct err *err) MUST_USE;

struct lookup_options {
    size_t limit;      /* rows returned at most, <= LOOKUP_ROWS_MAX; 0 = LOOKUP_ROWS_MAX */
    struct span after; /* `place` of the last row of the page before; empty = the first page */
};

/*
 * All live rows with a value in a lookup column, ordered by key (tables without
 * a key: by age of their file and row).
 *
 *   lookup      index into schema->lookup
 *   value       of the column's type (scan_value_parse makes one); never null
 *   options     NULL = no limit but LOOKUP_ROWS_MAX
 */
enum err_code lookup_value(const struct snapshot *snapshot, size_t lookup,
                           const struct row_value *value, const struct lookup_options *options,
                           struct lookup_result *result_out, struct err *err) MUST_USE;
