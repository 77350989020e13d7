/*
 * A snapshot: one table at one version, ready to be read. Immutable after it was
 * published, shared by reference count; readers never block and never meet I/O
 * of a writer. A snapshot of the newest version carries the key index and row
 * images; one of an older version (table_snapshot_at_version) has neither and is
 * read by scanning.
 *
 * Everything borrowed from a snapshot (files, images, rows of a lookup) lives
 * until the reference is released.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/columns/schema.h"
#include "storage/delta/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deletion_vector;
struct images;     /* storage/snapshot/images.h */
struct index_view; /* storage/snapshot/index.h */
struct object_store;
struct shared_vector; /* storage/snapshot/files.h */
struct store_owner;   /* storage/snapshot/files.h */

/* One live data file. Owned by its snapshot. */
struct snapshot_file {
    uint32_t number; /* the index's name for it, unique per table, from 1; 0 in a
                        snapshot of an older version */
    const struct delta_file *file;
    const struct deletion_vector *dv; /* NULL = no row is deleted */
    const struct images *images;      /* NULL = none: rows are read from the data file */
    int64_t rows_count;               /* physical */
    int64_t position;                 /* highest order position of its rows, 0 = foreign */
    struct shared_vector *vector;     /* private: owns `dv` */
};

/* Fields are read-only for everybody outside snapshot.c. */
struct snapshot {
    struct id table;
    int64_t version;
    int64_t timestamp_ms; /* of the version's commit */
    const struct schema *schema;
    const struct delta_state *state;
    struct object_store *store; /* the table's; outlives the snapshot */
    size_t files_count;
    const struct snapshot_file *files; /* ascending number (newest version), else log order */
    const struct index_view *index; /* NULL: an older version, or a table without key and lookup */
    int64_t references;             /* atomic; private, like what follows */
    struct store_owner *owner;
    struct snapshot *next, **place; /* in the owner's list; guarded by its lock */
};

/* One more reference to a snapshot that the caller already holds. Any thread. */
const struct snapshot *snapshot_acquire(const struct snapshot *snapshot);

/* Accepts NULL inside; nulls the caller's pointer. For CLEANUP too. Any thread. */
void snapshot_release(const struct snapshot **snapshot);

/* The live file of this number, or NULL (compacted away, removed). */
const struct snapshot_file *snapshot_file_by_number(const struct snapshot *snapshot,
                                                    uint32_t number);

/* Rows a reader sees; -1 = a foreign file does not say. */
int64_t snapshot_rows_count(const struct snapshot *snapshot);

/*
 * Open any Delta table folder for reading, without a definition or an index:
 * the schema is the one of its log, nested columns and all (no filter takes those).
 *
 *   folder   of the local file system
 *   version  -1 = the newest
 *
 * Memory:  snapshot_out: one reference; the store is closed with the last one.
 * Errors:  ERR_NOT_FOUND no table, no such version; ERR_UNSUPPORTED a reader
 *          feature or a column's type, by name; ERR_CORRUPT; ERR_IO.
 */
enum err_code snapshot_open_folder(const char *folder, int64_t version,
                                   const struct snapshot **snapshot_out, struct err *err) MUST_USE;
