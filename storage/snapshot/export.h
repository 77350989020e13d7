/*
 * A table's rows as one file: a snapshot, filtered and projected, in the order of
 * ordered_rows.h, in a form of row_file.h. The same snapshot, columns and filters give
 * the same bytes each time.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/snapshot/row_file.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPORT_STEP_ROWS = 8192 }; /* between two reports */

/* What to write of a table. */
struct export_spec {
    const bool *columns; /* per schema field; NULL = all */
    const struct scan_filter *filters;
    size_t filters_count;
    enum row_format format;
    enum content_encoding compression;
};

/*
 * From an object's members "columns" (array of names), "filters" (array of {"column",
 * "operator","value"}, of `in` {…,"values"}), "format" and "compression"
 * ("none", "gzip", "zstd"); other members are not looked at.
 *
 *   columns  pinned list that stands for the member of that name; NULL = the member itself
 * Errors:  ERR_INVALID with the JSON pointer ("/filters/0/value: …"); ERR_TOO_LARGE.
 * Memory:  everything in the arena.
 */
enum err_code export_spec_parse(const struct json *body, const struct json *columns,
                                const struct schema *schema, struct arena *arena,
                                struct export_spec *spec_out, struct err *err) MUST_USE;

/* The names of the columns of a spec, in the order of the schema: to be pinned. */
struct json *export_spec_columns(const struct export_spec *spec, const struct schema *schema);

struct export_progress {
    int64_t rows;       /* written */
    int64_t bytes;      /* that went to the sink */
    int64_t work_done;  /* rows looked at */
    int64_t work_total; /* about; -1 = not known */
};

struct export_request {
    const struct snapshot *snapshot;
    struct export_spec spec;
    const char *scratch_folder; /* for sorting; private to the process */
    struct row_sink sink;
    /* Asked at each chunk: may we go on? Its error ends the export. NULL = yes. */
    enum err_code (*check)(void *self, struct err *err);
    void (*report)(void *self, const struct export_progress *progress); /* NULL = not wanted */
    void *self;
};

/*
 * Errors:  those of ordered_rows_open, row_file_append and the sink.
 * Thread:  reentrant; memory as ordered_rows.h has it and a row group.
 */
enum err_code export_run(const struct export_request *request, struct export_progress *result_out,
                         struct err *err) MUST_USE;
