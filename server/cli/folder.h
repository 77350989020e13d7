/*
 * Rows and history of a Delta table folder, read directly: of a table of ours
 * whose server does not run, or of anybody's.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct folder_rows {
    int64_t version; /* -1 = the newest */
    int64_t limit;   /* rows to print; INT64_MAX = all */
    const char *columns; /* separated by commas; NULL = all */
    bool count;      /* {"version":…,"count":…} instead of rows */
};

/* Does `path` hold a Delta table? */
bool folder_is_table(const char *path);

/* Rows as one JSON object a line on stdout. Errors: as snapshot_open_folder and scan_run. */
enum err_code folder_print_rows(const char *path, const struct folder_rows *request,
                                struct err *err) MUST_USE;

/* Versions as one JSON object a line on stdout, newest first, at most `limit`. */
enum err_code folder_print_history(const char *path, int64_t limit, bool as_json,
                                   struct err *err) MUST_USE;
