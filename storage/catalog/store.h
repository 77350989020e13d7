/*
 * One SQLite connection and its prepared statements: private to the catalog.
 * store.c is the only file of the room that includes sqlite3.h.
 *
 * A statement is named by the address of its SQL text (a static constant) and
 * prepared once per connection. Values are bound by `?` order and read by column.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/location.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum store_role {
    STORE_WRITER,   /* the file's only connection that writes and checkpoints */
    STORE_READER,   /* read-only beside a writer of this process */
    STORE_EXAMINER, /* read-only, no writer alive: fsck */
};

/*
 * Open a file, set every rule of the house and read the settings back. A writer
 * creates the file when absent and first of all checkpoints what a crash left.
 *
 * Errors:  ERR_NOT_FOUND (readers); ERR_CORRUPT; ERR_UNSUPPORTED no WAL here;
 *          ERR_NO_SPACE; ERR_IO.
 */
enum err_code store_open(const char *path, enum store_role role, struct store **store_out,
                         struct err *err) MUST_USE;
void store_close(struct store **store);

const char *store_path(const struct store *store);

/* Errors: ERR_UNSUPPORTED the file's format (user_version) is newer than `format`. */
enum err_code store_check_format(struct store *store, int format, struct err *err) MUST_USE;

/* Several statements without values: schema, BEGIN, COMMIT. */
enum err_code store_run(struct store *store, const char *sql, struct err *err) MUST_USE;

/* quick_check or integrity_check and foreign_key_check. Errors: ERR_CORRUPT with the first finding.
 */
enum err_code store_check(struct store *store, bool thorough, struct err *err) MUST_USE;

/* Is a transaction open? SQLite ends one by itself after some failures. */
bool store_in_transaction(const struct store *store);

/*
 * Does the next transaction wait for the disk (the default), or only for the kernel? The latter
 * survives the process, not a power cut, until a later one that waits or store_sync. A failure
 * ends the process. Outside transactions only.
 */
void store_set_durable(struct store *store, bool durable);
/* What did not wait is on the disk when this returns; false: nothing was. A failure ends the
 * process. */
bool store_sync(struct store *store);

/* Move the log into the file when it has grown past its mark; a failure ends the process. */
void store_checkpoint(struct store *store);

/* Bytes of the file as of the last transaction; 0 when it cannot be said. */
int64_t store_bytes(struct store *store);
/* Has a writer's file as many? Costs next to nothing while it is known to be far from them. */
bool store_has_reached(struct store *store, int64_t bytes);

/* Rows the last statement changed. */
int64_t store_changes(const struct store *store);

/* ---- one statement ---- */

/* Embedded by the caller; `CLEANUP(query_end) struct query query = {0};` */
struct query {
    struct store *store;
    void *statement;
    int bound; /* values bound so far */
};

/* The statement for `sql`, reset, with nothing bound. */
enum err_code query_begin(struct store *store, const char *sql, struct query *query_out,
                          struct err *err) MUST_USE;
void query_end(struct query *query);

/* Bind the next `?`. Bytes are borrowed until query_end or the next reset. */
void query_bind_integer(struct query *query, int64_t value);
void query_bind_null(struct query *query);
void query_bind_span(struct query *query, struct span text);                /* TEXT */
void query_bind_text(struct query *query, const char *text);                /* TEXT, NULL = null */
void query_bind_bytes(struct query *query, const void *bytes, size_t size); /* BLOB */
void query_bind_id(struct query *query, const struct id *id); /* BLOB of 16, empty = null */
void query_bind_location(struct query *query, const struct location *location); /* three values */

/* The next row; false at the end. */
enum err_code query_next(struct query *query, bool *row_out, struct err *err) MUST_USE;

/* Run to the end a statement without rows, then reset it for the next values. */
enum err_code query_run(struct query *query, struct err *err) MUST_USE;

/* Columns of the current row. */
int64_t query_integer(const struct query *query, int column);
bool query_is_null(const struct query *query, int column);
struct span query_span(const struct query *query, int column);         /* until the next step */
struct location query_location(const struct query *query, int column); /* three columns */
/* Errors: ERR_CORRUPT not 16 bytes; null is the empty id. */
enum err_code query_id(const struct query *query, int column, struct id *id_out,
                       struct err *err) MUST_USE;
/* Exactly `size` bytes. Errors: ERR_CORRUPT. */
enum err_code query_bytes(const struct query *query, int column, void *bytes_out, size_t size,
                          struct err *err) MUST_USE;
/* A copy in the arena, "" for null. Errors: ERR_TOO_LARGE the arena. */
enum err_code query_text(const struct query *query, int column, struct arena *arena,
                         const char **text_out, struct err *err) MUST_USE;
/* The same, but NULL for null. */
enum err_code query_optional_text(const struct query *query, int column, struct arena *arena,
                                  const char **text_out, struct err *err) MUST_USE;
