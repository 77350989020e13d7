/*
 * The registry of open tables: names to handles, and snapshots of several tables
 * at one moment.
 *
 * Folders below the root: `<name>/` is the live table of that name;
 * `.dropped-<name>-<uuid>/` is what DELETE leaves until vacuum. A table's
 * identity is its uuid (the log's metaData.id), so a new table of an old name
 * is another table: it gets a fresh `<name>/`.
 * Indexes live apart, in `<index_root>/<uuid>/`, and are derived.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/id.h"
#include "storage/columns/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snapshot;
struct table;
struct tables; /* heap handle; one per process */

enum {
    TABLES_SET_MAX = 64,         /* tables in one consistent set of snapshots */
    TABLES_NAME_BYTES_MAX = 128, /* [A-Za-z][A-Za-z0-9_]* */
};

struct tables_options {
    const char *root;                  /* folder of the tables, made when absent */
    const char *index_root;            /* folder of the derived indexes */
    struct id instance;                /* part of the txn appId */
    uint8_t index_key[HASH_KEY_BYTES]; /* of the keyed hash; a change rebuilds every index */
};

/* Opens no table: the catalog's rows are handed in by tables_attach. */
enum err_code tables_open(const struct tables_options *options, struct tables **tables_out,
                          struct err *err) MUST_USE;
/* Every reference to a table must have been released. Accepts NULL inside. */
void tables_close(struct tables **tables);

/*
 * Open a table that the catalog knows. Loads the log, opens the index and brings
 * it up to date, or rebuilds it (seconds per million rows when it is torn). Writes
 * nothing to the log.
 *
 *   schema  the definition as the catalog has it; one in the log with a higher version
 *           counts instead (table_schema). When the log's is behind, table_change_schema
 *           is the caller's next step.
 *
 * Errors:  ERR_NOT_FOUND no folder or no log; ERR_CONFLICT the folder holds a
 *          table of another identity, or one whose columns the definition does
 *          not have; what table_open returns.
 */
enum err_code tables_attach(struct tables *tables, const char *name, const struct id *uuid,
                            const struct schema *schema, struct err *err) MUST_USE;

/*
 * Make a new table: folder, version 0, empty index; then it can be found.
 *
 * An unfinished creation of ours (version 0, no rows, found after a crash) is
 * adopted when its uuid is the same, else moved aside as dropped.
 *
 * Errors:  ERR_EXISTS a table of the name is registered, or the folder holds a
 *          table that this server did not make; ERR_INVALID the name.
 * Durable: the table.
 */
enum err_code tables_create(struct tables *tables, const char *name, const struct id *uuid,
                            const struct schema *schema, struct err *err) MUST_USE;

/*
 * Take a table out of the registry and move its folder aside. References held
 * elsewhere stay valid; their reads of data files fail with ERR_NOT_FOUND.
 * Errors:  ERR_NOT_FOUND.
 * Durable: the move.
 */
enum err_code tables_drop(struct tables *tables, const char *name, struct err *err) MUST_USE;

/*
 * Remove the folders and indexes of tables that were dropped longer than
 * `retention_us` ago.
 *
 *   uuids_out  of removed tables, to forget in the catalog: mem_free
 */
enum err_code tables_vacuum_dropped(struct tables *tables, int64_t now_us, int64_t retention_us,
                                    struct id **uuids_out, size_t *count_out,
                                    struct err *err) MUST_USE;

/*
 * Find by name or uuid. Takes LOCK_RANK_TABLES for the moment of the look-up.
 * Memory:  table_out: a reference, table_release.
 * Errors:  ERR_NOT_FOUND.
 */
enum err_code tables_find(struct tables *tables, const char *name, struct table **table_out,
                          struct err *err) MUST_USE;
enum err_code tables_find_by_uuid(struct tables *tables, const struct id *uuid,
                                  struct table **table_out, struct err *err) MUST_USE;

/* All tables in order of name, a reference each; free with tables_list_free. */
struct tables_list {
    struct table **items;
    size_t count;
};
void tables_list_get(struct tables *tables, struct tables_list *list_out);
/* Those alone whose definition has lookups: a few of a thousand, for every member that is asked
 * for. A definition that changes at this moment may be seen either way. */
void tables_list_looked_up(struct tables *tables, struct tables_list *list_out);
void tables_list_free(struct tables_list *list);

/*
 * The newest snapshots of several tables, taken at one moment: no table of the
 * set is seen older than another set or acquire that returned before has seen it.
 *
 *   set            `count` <= TABLES_SET_MAX tables, any order
 *   snapshots_out  `count` references
 * Thread:  any; holds LOCK_RANK_SNAPSHOT for `count` pointer copies, never across I/O.
 */
void tables_snapshot_set(struct tables *tables, struct table *const *set, size_t count,
                         const struct snapshot **snapshots_out);
