/*
 * The dated pieces: which files there are, and the read-only connections to them,
 * to catalog.db and to jobs.db. Private to the catalog.
 *
 * A piece is named by a number: YYYYMMDD × 1000 + n. Numbers rise with time; the
 * highest is the current one.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/lock.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A connection of the writer thread and how far the group's transaction has taken it. */
struct database {
    struct store *store;
    bool in_transaction;
    bool in_savepoint;
    unsigned group_bit; /* its place in write requests' `touched`, while in a transaction */
};

struct piece {
    int64_t number;
    struct database database; /* writer thread only */
};

/* Embedded in the catalog. */
struct pieces {
    struct lock lock;      /* rank CACHE; guards everything below */
    struct piece **sorted; /* by number; the writer thread alone changes the list */
    size_t count;
    uint64_t generation; /* grows when a piece goes */
};

struct reader_piece {
    int64_t number;
    struct store *store;
};

/* One set of read-only connections, opened when first needed. */
struct reader {
    struct lock lock; /* rank CATALOG_READ: held while in use */
    struct catalog *catalog;
    struct store *main;
    struct store *jobs;
    struct reader_piece *pieces;
    size_t pieces_count;
    uint64_t generation; /* of the list that `pieces` was checked against */
};

/* Schema and format of a piece; creates what is missing. */
enum err_code piece_open_store(const char *path, struct store **store_out,
                               struct err *err) MUST_USE;

/* Path of a piece; mem_free. */
char *piece_path(const char *folder, int64_t number);
bool piece_parse_name(const char *name, int64_t *number_out);
/* The number of the first piece of a day, and when that day ends (UTC). */
int64_t piece_number_of_day(int64_t wall_us);
int64_t piece_end_us(int64_t number);

/* Load the files of the folder; none is fine. Start only. */
enum err_code pieces_open(struct catalog *catalog, struct err *err) MUST_USE;
void pieces_close(struct catalog *catalog);
/* Put a piece on the list that only readers will open. */
void pieces_note(struct catalog *catalog, int64_t number);

/* Numbers, newest first. */
size_t pieces_numbers(struct catalog *catalog, int64_t numbers_out[CATALOG_PIECES_MAX]);

/* Writer thread: by number, or the current one; NULL when absent. */
struct piece *pieces_find(struct catalog *catalog, int64_t number);
struct piece *pieces_current(struct catalog *catalog);

/* Writer thread, outside transactions: make `number` the newest piece. */
enum err_code pieces_add(struct catalog *catalog, int64_t number, struct piece **piece_out,
                         struct err *err) MUST_USE;
/* Writer thread, outside transactions: close and delete the files. */
enum err_code pieces_remove(struct catalog *catalog, int64_t number, struct err *err) MUST_USE;

/* Bytes of a piece's files. */
int64_t piece_bytes(const struct catalog *catalog, int64_t number);
/* Bytes of a SQLite file with its log. */
int64_t database_bytes(const char *path);

/* ---- readers ---- */

void readers_init(struct catalog *catalog);
void readers_deinit(struct catalog *catalog);

/* Blocks while all are in use. `CLEANUP(reader_drop) struct reader *reader = reader_take(c);` */
struct reader *reader_take(struct catalog *catalog) __attribute__((warn_unused_result));
void reader_drop(struct reader **reader);

enum err_code reader_main(struct reader *reader, struct store **store_out,
                          struct err *err) MUST_USE;
enum err_code reader_jobs(struct reader *reader, struct store **store_out,
                          struct err *err) MUST_USE;
/* Errors: ERR_NOT_FOUND the piece is gone. */
enum err_code reader_piece(struct reader *reader, int64_t number, struct store **store_out,
                           struct err *err) MUST_USE;

/* The lowest value that the one-column statement `sql` gives in any piece; INT64_MAX = none. */
enum err_code catalog_lowest(struct catalog *catalog, const char *sql, int64_t *lowest_out,
                             struct err *err) MUST_USE;
