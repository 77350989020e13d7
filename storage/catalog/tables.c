/*
 * Tables as rows of catalog.db. See tables.h.
 */
#include "storage/catalog/tables.h"

#include "storage/base/clock.h"
#include "storage/catalog/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char sql_count_live[] = "SELECT count(*) FROM tables WHERE dropped_at = 0";
static const char sql_insert[] =
    "INSERT INTO tables(uuid, name, definition, definition_version, created_at, changed_at)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?5)";
static const char sql_change[] =
    "UPDATE tables SET definition = ?, definition_version = ?, changed_at = ?"
    " WHERE uuid = ? AND dropped_at = 0 AND definition_version = ?";
static const char sql_drop[] = "UPDATE tables SET dropped_at = ? WHERE uuid = ? AND dropped_at = 0";
static const char sql_forget[] = "DELETE FROM tables WHERE uuid = ? AND dropped_at <> 0";
#define TABLE_COLUMNS                                                                              \
    "SELECT uuid, name, definition, definition_version, created_at, changed_at, dropped_at"        \
    " FROM tables"
static const char sql_get[] = TABLE_COLUMNS " WHERE name = ? AND dropped_at = 0";
static const char sql_get_by_uuid[] = TABLE_COLUMNS " WHERE uuid = ?";
static const char sql_list[] =
    TABLE_COLUMNS " WHERE dropped_at = 0 AND name > ? ORDER BY name LIMIT ?";
static const char sql_list_dropped[] =
    TABLE_COLUMNS " WHERE dropped_at <> 0 AND ?1 IS NOT NULL ORDER BY name, uuid LIMIT ?2";

/* One change; which fields count depends on the closure. */
struct table_write {
    struct id uuid;
    const char *name;
    const char *definition;
    int32_t current_version;
    int32_t version;
};

static bool is_table_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz";
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t size = strlen(name);
    return size > 0 && size <= CATALOG_TABLE_NAME_BYTES_MAX && strchr(first, name[0]) != NULL &&
           strspn(name, allowed) == size;
}

static enum err_code check_definition(const char *definition, struct err *err)
{
    if (strlen(definition) > CATALOG_DEFINITION_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a table's definition has at most %d bytes",
                       CATALOG_DEFINITION_BYTES_MAX);
    }
    return ERR_OK;
}

static enum err_code no_such_table(const struct id *uuid, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no such table (%s)", uuid->text);
}

/* ---- writing ---- */

static enum err_code check_live_limit(struct store *store, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_live, &query, err));
    TRY(query_next(&query, &row, err));
    if (row && query_integer(&query, 0) >= CATALOG_TABLES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "there are %d tables already", CATALOG_TABLES_MAX);
    }
    return ERR_OK;
}

static enum err_code write_create(struct transaction *transaction, void *arg, struct err *err)
{
    const struct table_write *table = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    TRY(check_live_limit(store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert, &query, err));
    query_bind_id(&query, &table->uuid);
    query_bind_text(&query, table->name);
    query_bind_text(&query, table->definition);
    query_bind_integer(&query, table->version);
    query_bind_integer(&query, clock_wall_us());
    enum err_code code = query_run(&query, err);
    if (code == ERR_EXISTS) {
        return err_set(err, ERR_EXISTS, "there is a table '%s' already", table->name);
    }
    TRY(code);
    /* Left over when the commit fails: a lane of a uuid that is never used again. */
    (void)lanes_add(&transaction_catalog(transaction)->lanes, &table->uuid, true);
    return ERR_OK;
}

enum err_code catalog_table_create(struct catalog *catalog, const char *name, const struct id *uuid,
                                   const char *definition, int32_t definition_version,
                                   struct err *err)
{
    if (!is_table_name(name)) {
        return err_set(err, ERR_INVALID,
                       "a table's name begins with a letter and has 1 to %d lower-case letters, "
                       "digits and '_'",
                       CATALOG_TABLE_NAME_BYTES_MAX);
    }
    TRY(check_definition(definition, err));
    struct table_write table = {
        .uuid = *uuid, .name = name, .definition = definition, .version = definition_version};
    return catalog_write(catalog, write_create, &table, err);
}

static enum err_code write_change(struct transaction *transaction, void *arg, struct err *err)
{
    const struct table_write *table = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    const struct lane *lane = lanes_find(&transaction_catalog(transaction)->lanes, &table->uuid);
    if (lane == NULL || lane->live == 0) {
        return no_such_table(&table->uuid, err);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_change, &query, err));
    query_bind_text(&query, table->definition);
    query_bind_integer(&query, table->version);
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, &table->uuid);
    query_bind_integer(&query, table->current_version);
    TRY(query_run(&query, err));
    if (store_changes(store) == 0) {
        return err_set(err, ERR_PRECONDITION,
                       "the definition is no longer at version %" PRId32 ": read it again",
                       table->current_version);
    }
    return ERR_OK;
}

enum err_code catalog_table_change(struct catalog *catalog, const struct id *uuid,
                                   int32_t current_version, const char *definition, int32_t version,
                                   struct err *err)
{
    TRY(check_definition(definition, err));
    struct table_write table = {.uuid = *uuid,
                                .definition = definition,
                                .current_version = current_version,
                                .version = version};
    return catalog_write(catalog, write_change, &table, err);
}

static enum err_code write_drop(struct transaction *transaction, void *arg, struct err *err)
{
    const struct table_write *table = arg;
    struct lane *lane = lanes_find(&transaction_catalog(transaction)->lanes, &table->uuid);
    if (lane == NULL || lane->live == 0) {
        return no_such_table(&table->uuid, err);
    }
    /* Only this thread accepts batches, so the count cannot grow before the commit. */
    if (lane->statistics.queued_count > 0) {
        return err_set(err, ERR_CONFLICT,
                       "%" PRId64 " batches are queued: wait until they are in "
                       "the table",
                       lane->statistics.queued_count);
    }
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_drop, &query, err));
    query_bind_integer(&query, clock_wall_us());
    query_bind_id(&query, &table->uuid);
    TRY(query_run(&query, err));
    transaction_change_lane(transaction, lane, &(struct lane_change){.live = -1});
    return ERR_OK;
}

enum err_code catalog_table_drop(struct catalog *catalog, const struct id *uuid, struct err *err)
{
    struct table_write table = {.uuid = *uuid};
    return catalog_write(catalog, write_drop, &table, err);
}

static enum err_code write_forget(struct transaction *transaction, void *arg, struct err *err)
{
    const struct table_write *table = arg;
    const struct lane *lane = lanes_find(&transaction_catalog(transaction)->lanes, &table->uuid);
    if (lane != NULL && lane->live != 0) {
        return err_set(err, ERR_CONFLICT, "the table is not dropped");
    }
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_forget, &query, err));
    query_bind_id(&query, &table->uuid);
    TRY(query_run(&query, err));
    return store_changes(store) > 0 ? ERR_OK : no_such_table(&table->uuid, err);
}

enum err_code catalog_table_forget(struct catalog *catalog, const struct id *uuid, struct err *err)
{
    struct table_write table = {.uuid = *uuid};
    return catalog_write(catalog, write_forget, &table, err);
}

/* ---- reading ---- */

void catalog_table_set_definition(struct catalog_table *record, const char *definition,
                                  int32_t version)
{
    record->definition = definition;
    record->definition_version = version;
    (void)snprintf(record->etag, sizeof record->etag, "\"%s-%" PRId32 "\"", record->uuid.text,
                   version); /* fits */
}

static enum err_code read_table(const struct query *query, struct arena *arena,
                                struct catalog_table *record, struct err *err)
{
    *record = (struct catalog_table){
        .definition_version = (int32_t)query_integer(query, 3),
        .created_at_us = query_integer(query, 4),
        .changed_at_us = query_integer(query, 5),
        .dropped_at_us = query_integer(query, 6),
    };
    TRY(query_id(query, 0, &record->uuid, err));
    TRY(query_text(query, 1, arena, &record->name, err));
    TRY(query_text(query, 2, arena, &record->definition, err));
    catalog_table_set_definition(record, record->definition, record->definition_version);
    return ERR_OK;
}

static enum err_code read_only_row(struct query *query, struct arena *arena, bool *found_out,
                                   struct catalog_table *record_out, struct err *err)
{
    struct catalog_table record = {0};
    TRY(query_next(query, found_out, err));
    if (*found_out) {
        TRY(read_table(query, arena, &record, err));
        *record_out = record;
    }
    return ERR_OK;
}

enum err_code catalog_table_get(struct catalog *catalog, const char *name, struct arena *arena,
                                struct catalog_table *record_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool found = false;
    TRY(reader_main(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_text(&query, name);
    TRY(read_only_row(&query, arena, &found, record_out, err));
    return found ? ERR_OK
                 : err_set(err, ERR_NOT_FOUND, "there is no table '%.*s'",
                           CATALOG_TABLE_NAME_BYTES_MAX, name);
}

enum err_code catalog_table_get_by_uuid(struct catalog *catalog, const struct id *uuid,
                                        struct arena *arena, struct catalog_table *record_out,
                                        struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    bool found = false;
    TRY(reader_main(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get_by_uuid, &query, err));
    query_bind_id(&query, uuid);
    TRY(read_only_row(&query, arena, &found, record_out, err));
    return found ? ERR_OK : no_such_table(uuid, err);
}

enum err_code catalog_table_list(struct catalog *catalog, bool dropped, const char *after_name,
                                 size_t limit, struct arena *arena,
                                 struct catalog_table **records_out, size_t *count_out,
                                 struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    struct catalog_table *records = arena_alloc(arena, (limit + 1) * sizeof *records);
    if (records == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, dropped ? sql_list_dropped : sql_list, &query, err));
    query_bind_text(&query, after_name == NULL ? "" : after_name);
    query_bind_integer(&query, (int64_t)limit);
    size_t count = 0;
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            break;
        }
        TRY(read_table(&query, arena, &records[count++], err));
    }
    *records_out = records;
    *count_out = count;
    return ERR_OK;
}
