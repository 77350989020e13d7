/*
 * Expectations (storage/columns/expectation.h) judged on the rows of a table, those
 * that need the whole table included: uniqueness, references into other tables,
 * counts and age.
 *
 * What is judged is all rows of a version, or the rows that some commits brought:
 * those of the files they added with changed data, as they were in that commit. (Of
 * a copy-on-write table such a file holds rows that were only copied, too.)
 *
 * unique: of rows with the same values the first one stands and each other one falls
 * short. Rows that are not judged come before those that are; among them the order is
 * that of the version's files and their rows.
 * foreign_key: an index of the other table is asked when the columns are its key;
 * else its values are read.
 *
 * Findings hold counts and places, never values.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/expectation.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

enum {
    CHECK_SET_BYTES = 256 << 20,      /* hashed values in memory at a time */
    CHECK_CHUNK_ROWS = 8192,          /* rows in memory at a time */
    CHECK_REMOVED_ROWS_MAX = 4 << 20, /* rows that one check takes away */
    CHECK_VERSIONS_MAX = 10000,       /* commits of one run */
};

/* ---- the rows that commits brought ---- */

struct check_files {
    struct snapshot_file *items; /* number 0; file and vector referenced */
    size_t count;
    int64_t first_version; /* of the commits; -1 = none */
};
void check_files_free(struct check_files *files);

/*
 * Of the versions, which ascend: the files that each added with changed data and that
 * were not there before, with the vector they had in that commit.
 *
 * Errors:  ERR_NOT_FOUND the log does not reach back so far; ERR_TOO_LARGE more than
 *          CHECK_VERSIONS_MAX; ERR_CORRUPT; ERR_IO.
 */
enum err_code check_files_read(struct table *table, const int64_t *versions, size_t count,
                               struct check_files *files_out, struct err *err) MUST_USE;

/* ---- judging ---- */

struct check_request {
    struct table *table;
    const struct snapshot *snapshot;        /* of the table; what unique looks at */
    const struct check_files *files;        /* NULL = judge all rows of the snapshot */
    const struct bound_expectations *bound; /* to the snapshot's schema */
    int64_t now_us;
    size_t set_bytes; /* 0 = CHECK_SET_BYTES; for tests */
    /* The snapshot of a table that a foreign_key refers to: a reference. Its error ends the check.
     */
    enum err_code (*refer)(void *self, const char *table, const struct snapshot **snapshot_out,
                           struct err *err);
    /*
     * Rows that are to leave, many at a time, after everything was judged; each row once.
     * Not called when an expectation with action fail fell short. NULL = they are only counted.
     * The order is the same whenever the same version is checked.
     *   frame     whole rows; borrowed
     *   verdicts  one a row: index of the expectation that takes it away
     */
    enum err_code (*remove)(void *self, const struct frame *frame, const uint16_t *verdicts,
                            struct err *err);
    /* Asked at each chunk with the rows looked at so far: may we go on? NULL = yes. */
    enum err_code (*check)(void *self, int64_t rows_done, struct err *err);
    void *self;
};

/* Where a row fell short: physical row of a data file (as the log spells it). */
struct check_example {
    char *file;
    int64_t row;
    size_t column;
};

/* What one expectation came to. */
struct check_finding {
    int64_t judged; /* rows; of row_count and freshness 1, or 0 when nothing was to be compared */
    int64_t violations; /* of them */
    struct check_example examples[EXPECTATION_EXAMPLES_MAX];
    size_t examples_count;
    /* row_count */
    int64_t rows;            /* counted */
    int64_t earlier_version; /* compared with; -1 = there is none */
    int64_t earlier_rows;    /* of it; -1 = not known */
    /* freshness */
    int64_t age_seconds; /* -1 = there is no row or commit to tell */
};

struct check_result {
    struct check_finding *findings; /* one an expectation, in order */
    size_t count;
    int64_t rows_judged;  /* in scope */
    int64_t rows_removed; /* handed to `remove`, or that would have been */
};
void check_result_deinit(struct check_result *result);

/*
 * Judge.
 *
 * Errors:  ERR_INVALID an expectation that does not fit its tables, with its pointer ("/3/…");
 *          ERR_TOO_LARGE more than CHECK_REMOVED_ROWS_MAX rows would leave; ERR_NOT_FOUND a
 *          data file is gone; ERR_CORRUPT; ERR_UNSUPPORTED; ERR_IO; those of the callbacks.
 * Thread:  reentrant. Memory is set_bytes and some chunks of rows.
 */
enum err_code check_run(const struct check_request *request, struct check_result *result_out,
                        struct err *err) MUST_USE;
