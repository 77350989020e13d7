/*
 * Another Delta table as a source, followed version by version: one of this server's, or a
 * folder below a source root.
 *
 * The first reading takes all rows of the newest version there is; the next one goes on
 * with the version after the last one read (storage/snapshot/changes.h). An attempt reads up
 * to the version that was the newest when it began.
 *
 * A version that removes rows
 *   upserts           deletes the keys it removed and did not add again, before it upserts
 *                     what it added: the table's key columns have to tell the source's rows apart
 *   other operations  are refused when such keys are left, append tables when there is any
 *                     removed row: neither can take records back
 *
 * A table is told by its place and the id in its log, so one made anew in the old place is
 * another source. When its log lost versions that were not read yet, or holds another version
 * under the number of one that was read (it was put back), going on is refused: what was
 * removed meanwhile cannot be told.
 */
#pragma once

#include "storage/base/err.h"
#include "workers/source.h"

#include <stddef.h>

struct roots;
struct table;

/* Everything in it outlives the source. */
struct source_table_options {
    struct table *table;        /* of this server; NULL = `path` counts */
    const struct roots *roots;  /* of `path` */
    const char *path;           /* folder of a Delta table */
    const char *const *columns; /* to read; NULL = all */
    size_t columns_count;
};

/*
 * Errors:  ERR_NOT_FOUND, ERR_FORBIDDEN the folder; ERR_INVALID columns that do not fit the
 *          table, by name; ERR_UNSUPPORTED a table that we cannot read, with what it needs;
 *          ERR_CORRUPT; ERR_IO.
 */
enum err_code source_table_open(const struct source_table_options *options,
                                const struct source_reader *reader, struct source **source_out,
                                struct err *err) MUST_USE;

/* The version that the reading goes up to. */
int64_t source_table_version(const struct source *source);
