/*
 * Tables as the catalog knows them: names, identities, definitions. A dropped
 * table keeps its row (and its files) until vacuum; a new table of the name is a
 * new row with a new uuid.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    CATALOG_TABLES_MAX = 1000,          /* live ones */
    CATALOG_TABLE_NAME_BYTES_MAX = 128, /* [a-z][a-z0-9_]* */
    CATALOG_DEFINITION_BYTES_MAX = 4 << 20,
    CATALOG_ETAG_BYTES = 56, /* with quotes and NUL */
};

struct catalog_table {
    struct id uuid;
    const char *name;
    const char *definition;     /* canonical JSON text of the schema; the table's log decides */
    int32_t definition_version; /* from 1 */
    int64_t created_at_us;
    int64_t changed_at_us;
    int64_t dropped_at_us;         /* 0 = live */
    char etag[CATALOG_ETAG_BYTES]; /* quoted: changes with every accepted change */
};

/* Another definition in place of the stored one, with the version and the ETag that follow. */
void catalog_table_set_definition(struct catalog_table *record, const char *definition,
                                  int32_t version);

/*
 * Errors:  ERR_INVALID name; ERR_EXISTS a live table of the name; ERR_TOO_LARGE a limit.
 */
enum err_code catalog_table_create(struct catalog *catalog, const char *name, const struct id *uuid,
                                   const char *definition, int32_t definition_version,
                                   struct err *err) MUST_USE;

/*
 * Replace the definition of a live table.
 *
 *   current_version  the version the caller changed; must still be the stored one
 *   version          of the new definition, > current_version
 *
 * Errors:  ERR_NOT_FOUND; ERR_PRECONDITION somebody changed it meanwhile.
 */
enum err_code catalog_table_change(struct catalog *catalog, const struct id *uuid,
                                   int32_t current_version, const char *definition, int32_t version,
                                   struct err *err) MUST_USE;

/*
 * Drop a live table: from here on it accepts nothing.
 * Errors:  ERR_NOT_FOUND; ERR_CONFLICT batches are queued (how many is in the message).
 */
enum err_code catalog_table_drop(struct catalog *catalog, const struct id *uuid,
                                 struct err *err) MUST_USE;

/* Forget a dropped table whose files are gone. Errors: ERR_NOT_FOUND; ERR_CONFLICT it is live. */
enum err_code catalog_table_forget(struct catalog *catalog, const struct id *uuid,
                                   struct err *err) MUST_USE;

/* A live table by name, or any by uuid; strings in the arena. Errors: ERR_NOT_FOUND; ERR_TOO_LARGE.
 */
enum err_code catalog_table_get(struct catalog *catalog, const char *name, struct arena *arena,
                                struct catalog_table *record_out, struct err *err) MUST_USE;
enum err_code catalog_table_get_by_uuid(struct catalog *catalog, const struct id *uuid,
                                        struct arena *arena, struct catalog_table *record_out,
                                        struct err *err) MUST_USE;

/*
 * In order of name.
 *   dropped     false: live tables; true: dropped ones, for vacuum, always from the
 *               first: forget what is done and list again
 *   after_name  NULL = from the start
 */
enum err_code catalog_table_list(struct catalog *catalog, bool dropped, const char *after_name,
                                 size_t limit, struct arena *arena,
                                 struct catalog_table **records_out, size_t *count_out,
                                 struct err *err) MUST_USE;
