/*
 * `sluice table rows` of a single Parquet file, whoever wrote it.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct table_file_options {
    const char *columns; /* "a,b": only these; NULL = all */
    int64_t limit;       /* rows at most; negative = all */
    bool count;          /* only the number of rows */
    bool json;           /* the number as a document */
};

/*
 * Is it the path of a file, rather than the name of a table? Names have neither
 * slashes nor dots.
 */
bool table_file_is(const char *path);

/*
 * Print the rows as NDJSON on standard output, in the order of the file. Memory stays
 * bounded whatever the file's size, and whatever it claims.
 *
 * Errors:  ERR_NOT_FOUND; ERR_INVALID no such column; ERR_UNSUPPORTED, ERR_CORRUPT,
 *          ERR_TOO_LARGE (one row over what is held at once) of the file; ERR_IO.
 */
enum err_code table_file_rows(const char *path, const struct table_file_options *options,
                              struct err *err) MUST_USE;
