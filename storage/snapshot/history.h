/*
 * The versions of a table, newest first, as its log tells them.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;

enum { HISTORY_LIMIT_MAX = 1000, HISTORY_BATCHES_MAX = 1024 };

struct history_entry {
    int64_t version;
    int64_t timestamp_ms;
    char *operation;       /* "MERGE", "WRITE", "OPTIMIZE", …; "" = the writer did not say */
    char *engine;          /* "sluice/…", "Apache-Spark/…"; "" = unknown */
    bool ours;             /* written by a Sluice */
    int64_t position_from; /* of the lane; -1 = no batch in it */
    int64_t position_to;
    struct id *batches; /* ids of the batches it holds; none for foreign versions */
    size_t batches_count;
    int64_t rows_added;   /* -1 = unknown */
    int64_t rows_removed; /* -1 = unknown */
};

struct history {
    struct history_entry *entries;
    size_t count;
    bool more; /* older versions are in the log */
};
void history_free(struct history *history);

/*
 *   store           of the table folder (table_store, or object_store_open_local)
 *   before_version  only smaller ones; -1 = from the newest
 *   limit           1…HISTORY_LIMIT_MAX
 * Errors:  ERR_NOT_FOUND no table; ERR_CORRUPT; ERR_IO.
 */
enum err_code history_read(struct object_store *store, int64_t before_version, size_t limit,
                           struct history *history_out, struct err *err) MUST_USE;
