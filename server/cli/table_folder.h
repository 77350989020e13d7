/*
 * `sluice table` on the folder of any Delta table, whoever wrote it: no server is needed.
 *
 *   rows             as one JSON object a line
 *   changes          the change data feed of some versions, as one JSON object a row
 *   history          the commits, newest first
 *   files            the live data files
 *   schema           schema, partition columns, configuration and protocol, as JSON
 *   checkpoint-info  the checkpoints there are, and how far the log has gone on since, as JSON
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_WHERE_MAX = 32 };

struct table_folder_options {
    int64_t version;          /* as of; -1 = the newest */
    int64_t timestamp_us;     /* as of; -1 = none. At most one of both */
    int64_t from_version;     /* changes: the first one that is told; -1 = not given */
    int64_t to_version;       /* changes: the last one; -1 = the newest */
    const char *columns;      /* "a,b"; NULL = all */
    const char *const *where; /* rows: "column:operator:value" (scan_text.h), all must hold */
    size_t where_count;
    int64_t limit; /* -1 = all */
    bool count;    /* rows: only their number */
    bool json;     /* for programs; rows are JSON anyway */
};

/* Has it a Delta log? */
bool table_folder_is(const char *name);

/* Is this a verb of folders? */
bool table_folder_has(const char *verb);

/* Print to stdout. Requires: table_folder_has(verb). */
enum err_code table_folder_run(const char *verb, const char *folder,
                               const struct table_folder_options *options,
                               struct err *err) MUST_USE;

/* One line each, as tables of a server print them too. */
void table_print_count(bool json, int64_t count, int64_t version);
void table_print_version(bool json, int64_t version, int64_t timestamp_us, const char *operation,
                         const char *engine, int64_t rows_added);
