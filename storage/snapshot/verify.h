/*
 * fsck of one table: read-only checks of everything that must hold.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

enum { VERIFY_PROBLEMS_MAX = 100 /* kept as text; all are counted */ };

struct verify_report {
    int64_t version;
    int64_t files_checked;
    int64_t rows_checked;
    int64_t index_entries_checked;
    int64_t tombstones_checked;
    int64_t problems_count;
    char *problems[VERIFY_PROBLEMS_MAX]; /* sentences without keys or values */
    size_t problems_kept;
};
void verify_report_deinit(struct verify_report *report);

/*
 * Check the newest version of an open table:
 *   log         versions contiguous from its oldest entry to the newest; the checksum of the
 *               newest, if there is one, says what the log comes to
 *   files       every live data file and vector file present with its size
 *   index       every live row reachable by its key and lookup values, no alive
 *               entry without its row, hashes and sequences as stored
 *   images      equal to the rows of the data file
 *   keys        no key with two live rows
 *   tombstones  every file that the newest commit names is there and whole
 *
 * What is wrong is reported in `report_out`; an error is only what kept us from
 * looking.
 * Errors:  ERR_IO.
 */
enum err_code verify_table(struct table *table, struct verify_report *report_out,
                           struct err *err) MUST_USE;
