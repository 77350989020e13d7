/*
 * The catalog's copy of table definitions. A table's log decides which definition is
 * in force; the copy is a change behind when writing it failed or was cut short.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/columns/schema.h"

struct catalog;
struct catalog_table;
struct table;
struct tables;

/*
 * The definition as the catalog keeps it, in the arena.
 * Errors:  ERR_TOO_LARGE.
 */
enum err_code definitions_text(const struct schema *schema, struct arena *arena,
                               const char **text_out, struct err *err) MUST_USE;

/* Fill into a record what the open table knows better. Errors: as above. */
enum err_code definitions_put_in_force(struct tables *tables, struct arena *arena,
                                       struct catalog_table *record, struct err *err) MUST_USE;

/*
 * Write the copy of the definition in force, when it is behind.
 * Errors:  ERR_NO_SPACE; ERR_TOO_LARGE; ERR_NOT_FOUND the table is being dropped.
 * Thread:  one at a time: caller holds services->definitions, or is the start.
 * Durable: the copy.
 */
enum err_code definitions_copy(struct catalog *catalog, struct table *table, struct arena *arena,
                               struct err *err) MUST_USE;
