/*
 * Keys that one commit of a source removed and did not add again: what has to be deleted.
 * The added ones are kept as hashes, over parts of them when they are too many.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/columns/frame.h"
#include "storage/columns/schema.h"
#include "storage/snapshot/changes.h"
#include "storage/snapshot/value_set.h"
#include "workers/source.h"
#include "workers/source_table_place.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;

enum {
    TABLE_KEYS_BYTES = 64 << 20,       /* of hashes in memory at a time */
    TABLE_COLUMN_BYTES_MAX = 32 << 20, /* contents of one string or binary column of a frame */
};

/* Zeroed before table_keys_open. */
struct table_keys {
    bool is_open;
    bool is_empty; /* nothing was removed */
    const struct source_reader *reader;
    struct changes *removed; /* borrowed: of this side key and sequence columns are read */
    struct changes *added;   /* key columns */
    size_t columns[CHANGE_SIDE_COUNT][SCHEMA_KEY_FIELDS_MAX];
    struct value_set set; /* of added keys */
};

/* Names of the columns by which removed rows are told: key fields, then the sequence's if any. */
struct table_key_names {
    const char *names[SCHEMA_KEY_FIELDS_MAX + 1];
    size_t count;
};
struct table_key_names table_key_names_of(const struct schema *schema);

/* A commit of the source; borrowed. */
struct table_commit {
    struct object_store *store;
    struct delta_state *before, *after;
    const struct delta_commit *commit;
};

/*
 * Begin a commit, or go on within it.
 *
 *   removed    the commit's changes; outlive the keys
 *   place      moved back when the parts are not those of the earlier reading: a key that is
 *              deleted twice is deleted
 *   set_bytes  0 = TABLE_KEYS_BYTES; for tests
 *
 * Errors:  ERR_INVALID no column of a key field; ERR_UNSUPPORTED a key column of real numbers,
 *          or an append table, and rows were removed; as changes_read.
 */
enum err_code table_keys_open(struct table_keys *keys, struct changes *removed,
                              const struct table_commit *commit, const struct source_reader *reader,
                              size_t set_bytes, struct table_place *place,
                              struct err *err) MUST_USE;

/*
 * The next of them from `place` on, at most `rows_max`.
 *
 *   rows_out  new frame of key and sequence columns, may be without rows; frame_free
 *   done_out  there are no more
 */
enum err_code table_keys_read(struct table_keys *keys, int64_t rows_max, struct table_place *place,
                              struct frame **rows_out, bool *done_out, struct err *err) MUST_USE;

/* Accepts a zeroed struct, leaves it zeroed. */
void table_keys_close(struct table_keys *keys);

/*
 * changes_read into a new frame, of fewer rows when their columns would be too large.
 *   frame_out  frame_free
 */
enum err_code table_rows_read(struct changes *changes, enum change_side side,
                              const struct source_reader *reader, int64_t rows_max,
                              struct change_place *place, struct frame **frame_out, bool *done_out,
                              struct err *err) MUST_USE;
