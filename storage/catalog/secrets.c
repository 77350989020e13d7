/*
 * Secrets as rows of catalog.db. See secrets.h for the contract.
 *
 * A value is sealed under a key of its own purpose with "name NUL version" as
 * associated data: a row that somebody copies under another name, or puts back from
 * an older file over a newer one's version, does not open.
 */
#include "storage/catalog/secrets.h"

#include "storage/base/clock.h"
#include "storage/base/secret.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <string.h>

enum {
    SEALED_BYTES_MAX = CATALOG_SECRET_VALUE_BYTES_MAX + SECRET_SEAL_OVERHEAD_BYTES,
    CONTEXT_BYTES_MAX = CATALOG_SECRET_NAME_BYTES_MAX + 1 + sizeof(uint64_t),
};

static const char sql_count[] = "SELECT count(*) FROM secrets";
static const char sql_get[] = "SELECT version, created_at, sealed FROM secrets WHERE name = ?";
static const char sql_put[] =
    "INSERT INTO secrets(name, version, sealed, created_at, changed_at)"
    " VALUES(?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT(name) DO UPDATE SET version = ?2, sealed = ?3, changed_at = ?5";
static const char sql_delete[] = "DELETE FROM secrets WHERE name = ?";
static const char sql_list[] = "SELECT name, version, created_at, changed_at FROM secrets"
                               " WHERE name > ? ORDER BY name LIMIT ?";

bool catalog_secret_name_is_valid(struct span name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-";
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '\0' || strchr(allowed, name.data[i]) == NULL) {
            return false;
        }
    }
    return name.size > 0 && name.size <= CATALOG_SECRET_NAME_BYTES_MAX;
}

static enum err_code no_such_secret(const char *name, struct err *err)
{
    if (!catalog_secret_name_is_valid(span_of_text(name))) {
        return err_set(err, ERR_NOT_FOUND, "there is no secret of that name");
    }
    return err_set(err, ERR_NOT_FOUND, "there is no secret '%s': store it with PUT /v1/secrets/%s",
                   name, name);
}

/* What a sealed value is bound to. */
static struct span context_of(const char *name, int64_t version, struct buffer *context)
{
    buffer_append(context, name, strlen(name) + 1);
    buffer_append_u64(context, (uint64_t)version);
    assert(!context->overflowed);
    return buffer_span(context);
}

/* ---- writing ---- */

struct secret_change {
    const char *name;
    struct span value;
    struct catalog_secret record;
    bool created;
};

/* The version and time of the row there is; version 0 = none. */
static enum err_code read_current(struct store *store, const char *name,
                                  struct catalog_secret *record, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_text(&query, name);
    TRY(query_next(&query, &row, err));
    record->version = row ? query_integer(&query, 0) : 0;
    record->created_at_us = row ? query_integer(&query, 1) : 0;
    return ERR_OK;
}

static enum err_code check_count(struct store *store, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count, &query, err));
    TRY(query_next(&query, &row, err));
    if (row && query_integer(&query, 0) >= CATALOG_SECRETS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "there are %d secrets already: delete some first",
                       CATALOG_SECRETS_MAX);
    }
    return ERR_OK;
}

static enum err_code store_row(struct store *store, const struct catalog_secret *record,
                               struct span sealed, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_put, &query, err));
    query_bind_text(&query, record->name);
    query_bind_integer(&query, record->version);
    query_bind_bytes(&query, sealed.data, sealed.size);
    query_bind_integer(&query, record->created_at_us);
    query_bind_integer(&query, record->changed_at_us);
    return query_run(&query, err);
}

static enum err_code write_put(struct transaction *transaction, void *arg, struct err *err)
{
    struct secret_change *change = arg;
    struct catalog *catalog = transaction_catalog(transaction);
    struct catalog_secret record = {.name = change->name, .changed_at_us = clock_wall_us()};
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    TRY(read_current(store, change->name, &record, err));
    bool created = record.version == 0;
    if (created) {
        TRY(check_count(store, err));
        record.created_at_us = record.changed_at_us;
    }
    record.version++;
    struct buffer context;
    struct buffer sealed;
    buffer_init(&context, CONTEXT_BYTES_MAX);
    buffer_init(&sealed, SEALED_BYTES_MAX);
    secret_seal(catalog->keys, SECRET_VALUES, change->value,
                context_of(record.name, record.version, &context), &sealed);
    assert(!sealed.overflowed);
    enum err_code code = store_row(store, &record, buffer_span(&sealed), err);
    buffer_deinit(&context);
    buffer_deinit(&sealed);
    TRY(code);
    change->record = record;
    change->created = created;
    return ERR_OK;
}

enum err_code catalog_secret_put(struct catalog *catalog, const char *name, struct span value,
                                 struct catalog_secret *record_out, bool *created_out,
                                 struct err *err)
{
    if (!catalog_secret_name_is_valid(span_of_text(name))) {
        return err_set(err, ERR_INVALID, "a secret's name has 1 to %d letters, digits, '_' and '-'",
                       CATALOG_SECRET_NAME_BYTES_MAX);
    }
    if (value.size == 0) {
        return err_set(err, ERR_INVALID, "a secret's value is not empty; DELETE forgets a secret");
    }
    if (value.size > CATALOG_SECRET_VALUE_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "a secret's value has at most %d bytes",
                       CATALOG_SECRET_VALUE_BYTES_MAX);
    }
    struct secret_change change = {.name = name, .value = value};
    TRY(catalog_write(catalog, write_put, &change, err));
    *record_out = change.record;
    *created_out = change.created;
    return ERR_OK;
}

static enum err_code write_delete(struct transaction *transaction, void *arg, struct err *err)
{
    const char *name = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_delete, &query, err));
    query_bind_text(&query, name);
    TRY(query_run(&query, err));
    return store_changes(store) > 0 ? ERR_OK : no_such_secret(name, err);
}

enum err_code catalog_secret_delete(struct catalog *catalog, const char *name, struct err *err)
{
    char copy[CATALOG_SECRET_NAME_BYTES_MAX + 1];
    if (!catalog_secret_name_is_valid(span_of_text(name))) {
        return no_such_secret(name, err);
    }
    memcpy(copy, name, strlen(name) + 1);
    return catalog_write(catalog, write_delete, copy, err);
}

/* ---- reading ---- */

static enum err_code read_page(struct store *store, const char *after_name, size_t limit,
                               struct arena *arena, struct catalog_secret *records, size_t *count,
                               struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_list, &query, err));
    query_bind_text(&query, after_name == NULL ? "" : after_name);
    query_bind_integer(&query, (int64_t)limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        struct catalog_secret *record = &records[*count];
        TRY(query_text(&query, 0, arena, &record->name, err));
        record->version = query_integer(&query, 1);
        record->created_at_us = query_integer(&query, 2);
        record->changed_at_us = query_integer(&query, 3);
        (*count)++;
    }
}

enum err_code catalog_secret_list(struct catalog *catalog, const char *after_name, size_t limit,
                                  struct arena *arena, struct catalog_secret **records_out,
                                  size_t *count_out, struct err *err)
{
    size_t rows = limit < CATALOG_SECRETS_MAX ? limit : CATALOG_SECRETS_MAX;
    struct catalog_secret *records = arena_alloc(arena, (rows + 1) * sizeof *records);
    if (records == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the request needs more memory than it may use");
    }
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    size_t count = 0;
    TRY(reader_main(reader, &store, err));
    TRY(read_page(store, after_name, rows, arena, records, &count, err));
    *records_out = records;
    *count_out = count;
    return ERR_OK;
}

enum err_code catalog_secret_exists(struct catalog *catalog, const char *name, bool *exists_out,
                                    struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    struct catalog_secret record = {0};
    TRY(reader_main(reader, &store, err));
    TRY(read_current(store, name, &record, err));
    *exists_out = record.version > 0;
    return ERR_OK;
}

/* Open the row's value; the query stands on it. */
static enum err_code unseal_row(struct catalog *catalog, const struct query *query,
                                const char *name, struct buffer *value, struct err *err)
{
    struct buffer context;
    struct err unsealed = {0};
    buffer_init(&context, CONTEXT_BYTES_MAX);
    enum err_code code =
        secret_unseal(catalog->keys, SECRET_VALUES, query_span(query, 2),
                      context_of(name, query_integer(query, 0), &context), value, &unsealed);
    buffer_deinit(&context);
    if (code == ERR_INVALID) {
        return err_set(err, ERR_CORRUPT,
                       "the secret '%s' cannot be opened with this instance's keys: store it again",
                       name);
    }
    if (code != ERR_OK) {
        *err = unsealed;
    }
    return code;
}

enum err_code catalog_secret_open(struct catalog *catalog, const char *name, struct buffer *value,
                                  struct err *err)
{
    if (!catalog_secret_name_is_valid(span_of_text(name))) {
        return no_such_secret(name, err);
    }
    bool row = false;
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get, &query, err));
    query_bind_text(&query, name);
    TRY(query_next(&query, &row, err));
    return row ? unseal_row(catalog, &query, name, value, err) : no_such_secret(name, err);
}
