/*
 * Restoring: one commit that gives a table the rows of an earlier version again.
 *
 * Files that are live and were not then are removed; files that were live then and are not
 * now come back, with their deletion vectors of then. Columns, rules and protocol stay as they
 * are now. Batches that were merged since are not merged again: a restore takes their effect
 * away, not their acknowledgement.
 *
 * Source: delta PROTOCOL.md "Add File and Remove File"; commitInfo as Spark's RESTORE writes it.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct table;

struct restore_result {
    int64_t version; /* newest one afterwards */
    bool committed;  /* false: the rows were those already, or it was done before */
    int64_t files_added;
    int64_t files_removed;
    int64_t rows_count; /* of the table afterwards; -1 = a foreign file does not say */
};

/*
 *   version  to go back to
 *   key      NULL, or what makes this restore one and the same: when a commit with it is in the
 *            log nothing is done, however often it is asked for
 *
 * Errors:  ERR_NOT_FOUND the log does not lead to that version any more, or a file of it was
 *          vacuumed, by name; ERR_BUSY foreign writers won too often; ERR_CONFLICT as
 *          table_merge; ERR_UNSUPPORTED the writer gate; ERR_INVALID the table only takes
 *          appends; ERR_NO_SPACE; ERR_IO the outcome is unknown: stop.
 * Thread:  any, between table_maintenance_begin and _end, so that no vacuum of ours takes
 *          the files meanwhile.
 * Durable: the version, when ERR_OK.
 */
enum err_code table_restore(struct table *table, int64_t version, const char *key,
                            struct restore_result *result_out, struct err *err) MUST_USE;
