/*
 * A check under way, as the files check*.c share it. Nobody else includes this.
 */
#pragma once

#include "storage/snapshot/check.h"
#include "storage/snapshot/file_rows.h"

/* A row that is to leave. */
struct check_mark {
    uint32_t file; /* index into the judged files */
    uint32_t row;
    uint16_t rank; /* index of the expectation; quarantine is below CHECK_RANK_DROP, drop above */
};
enum { CHECK_RANK_DROP = 1 << 15 };

struct check_work {
    const struct check_request *request;
    const struct expectations *list;
    struct snapshot_file *files; /* judged, in order of path; what they hold is borrowed */
    size_t files_count;
    struct check_finding *findings;
    struct expectation_tally *tallies; /* of one chunk */
    uint16_t *verdicts;                /* of one chunk */
    bool *row_columns;                 /* per field: some expectation of rows looks at it */
    struct check_mark *marks;
    size_t marks_count;
    size_t marks_capacity;
    int64_t rows_judged;
    int64_t rows_done; /* looked at, for `check` */
};

/* Called with each chunk of a file's rows; `rows->rows` are their places. */
typedef enum err_code check_chunk_fn(struct check_work *work, void *arg, size_t file,
                                     const struct file_rows *rows, const struct frame *frame,
                                     struct err *err);

/* All rows of one file, a chunk at a time. `file` is the number that `take` gets. */
enum err_code check_each_chunk(struct check_work *work, const struct snapshot *snapshot,
                               const struct snapshot_file *of, const bool *columns, size_t file,
                               check_chunk_fn *take, void *arg, struct err *err) MUST_USE;

/* A violation at a row of a judged file: counted, kept as example, marked to leave. */
enum err_code check_note(struct check_work *work, size_t expectation, size_t file, int64_t row,
                         size_t column, struct err *err) MUST_USE;

/* unique and foreign_key: check_table.c. */
enum err_code check_uniqueness(struct check_work *work, size_t expectation,
                               struct err *err) MUST_USE;
enum err_code check_references(struct check_work *work, size_t expectation,
                               struct err *err) MUST_USE;

/* row_count and freshness: check_measure.c. */
enum err_code check_row_count(struct check_work *work, size_t expectation,
                              struct err *err) MUST_USE;
enum err_code check_freshness(struct check_work *work, size_t expectation,
                              struct err *err) MUST_USE;
