/*
 * Principals, assignments and tokens as rows of catalog.db. Every change rebuilds
 * the access snapshot before it is answered. See access.h.
 */
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/catalog/access.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <string.h>

enum { DESCRIPTION_BYTES_MAX = 256, SCOPE_BYTES_MAX = 64 * 129 };

static const int64_t day_us = INT64_C(86400) * 1000000;

static const char sql_count_principals[] = "SELECT count(*) FROM principals";
static const char sql_count_tokens[] = "SELECT count(*) FROM tokens";
static const char sql_count_live_tokens[] =
    "SELECT count(*) FROM tokens WHERE principal = ? AND revoked_at = 0 AND expires_at > ?";
static const char sql_insert_principal[] =
    "INSERT INTO principals(id, name, kind, disabled, created_at) VALUES(?, ?, ?, 0, ?)";
static const char sql_disable_principal[] = "UPDATE principals SET disabled = ? WHERE id = ?";
static const char sql_delete_assignments[] = "DELETE FROM assignments WHERE principal = ?";
static const char sql_insert_assignment[] =
    "INSERT INTO assignments(principal, ordinal, role, scope) VALUES(?, ?, ?, ?)";
static const char sql_get_principal[] =
    "SELECT id, name, kind, disabled, created_at FROM principals WHERE name = ?1 OR id = ?2";
static const char sql_list_principals[] = "SELECT id, name, kind, disabled, created_at FROM "
                                          "principals WHERE name > ? ORDER BY name LIMIT ?";
static const char sql_get_assignments[] =
    "SELECT role, scope FROM assignments WHERE principal = ? ORDER BY ordinal";
static const char sql_has_principal[] = "SELECT 1 FROM principals WHERE id = ?";
static const char sql_insert_token[] =
    "INSERT INTO tokens(id, principal, hash, description, created_at, expires_at)"
    " VALUES(?, ?, ?, ?, ?, ?)";
static const char sql_revoke_token[] =
    "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at = 0";
static const char sql_has_token[] = "SELECT created_at FROM tokens WHERE id = ?";
#define TOKEN_COLUMNS                                                                              \
    "SELECT t.id, t.principal, p.name, t.description, t.created_at, t.expires_at,"                 \
    " t.revoked_at, t.last_used_at FROM tokens t JOIN principals p ON p.id = t.principal"
static const char sql_get_token[] = TOKEN_COLUMNS " WHERE t.id = ?";
static const char sql_list_tokens[] =
    TOKEN_COLUMNS " WHERE (?1 IS NULL OR t.principal = ?1)"
                  " AND (?2 < 0 OR (t.created_at, t.id) < (?2, ?3))"
                  " ORDER BY t.created_at DESC, t.id DESC LIMIT ?4";

/* ---- rules ---- */

static bool is_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-@";
    size_t size = strlen(name);
    return size > 0 && size <= ACCESS_NAME_BYTES_MAX && strspn(name, allowed) == size;
}

/* A table pattern: a table name, or the start of one and '*'. */
static bool is_table_pattern(const char *pattern)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t size = strlen(pattern);
    size_t plain = strspn(pattern, allowed);
    return size > 0 && size <= ACCESS_PATTERN_BYTES_MAX &&
           (plain == size || (plain + 1 == size && pattern[plain] == '*'));
}

static bool is_role(const char *name)
{
    size_t count = 0;
    const struct access_role *roles = access_roles(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code check_assignment(const struct access_assignment *assignment, struct err *err)
{
    if (!is_role(assignment->role)) {
        return err_set(err, ERR_INVALID,
                       "there is no role '%.64s': use admin, operator, engineer, partner, "
                       "analyst or auditor",
                       assignment->role);
    }
    if (assignment->scope_count > ACCESS_SCOPE_MAX) {
        return err_set(err, ERR_TOO_LARGE, "more than %d table patterns in one assignment",
                       ACCESS_SCOPE_MAX);
    }
    for (size_t i = 0; i < assignment->scope_count; i++) {
        if (!is_table_pattern(assignment->scope[i])) {
            return err_set(err, ERR_INVALID,
                           "a table pattern is a table name, or the start of one and '*'");
        }
    }
    return ERR_OK;
}

static enum err_code check_assignments(const struct access_assignment *assignments, size_t count,
                                       struct err *err)
{
    if (count > ACCESS_ASSIGNMENTS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "more than %d roles for one principal",
                       ACCESS_ASSIGNMENTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(check_assignment(&assignments[i], err));
    }
    return ERR_OK;
}

/* The one number a counting statement answers. */
static enum err_code run_count(struct query *query, int64_t *count_out, struct err *err)
{
    bool row = false;
    TRY(query_next(query, &row, err));
    *count_out = row ? query_integer(query, 0) : 0;
    return ERR_OK;
}

/* ---- principals: writing ---- */

struct principal_change {
    struct id id;
    const char *name; /* NULL: an existing one */
    enum principal_kind kind;
    bool disabled;
    const struct access_assignment *assignments;
    size_t count;
};

static enum err_code insert_assignment(struct store *store, const struct principal_change *change,
                                       size_t index, struct err *err)
{
    const struct access_assignment *assignment = &change->assignments[index];
    CLEANUP(buffer_deinit) struct buffer scope;
    buffer_init(&scope, SCOPE_BYTES_MAX);
    for (size_t i = 0; i < assignment->scope_count; i++) {
        buffer_append_text(&scope, i == 0 ? "" : "\n");
        buffer_append_text(&scope, assignment->scope[i]);
    }
    TRY(buffer_check(&scope, "the table patterns of an assignment", err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_assignment, &query, err));
    query_bind_id(&query, &change->id);
    query_bind_integer(&query, (int64_t)index);
    query_bind_text(&query, assignment->role);
    query_bind_span(&query, buffer_span(&scope));
    return query_run(&query, err);
}

static enum err_code replace_assignments(struct store *store, const struct principal_change *change,
                                         struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_delete_assignments, &query, err));
    query_bind_id(&query, &change->id);
    TRY(query_run(&query, err));
    for (size_t i = 0; i < change->count; i++) {
        TRY(insert_assignment(store, change, i, err));
    }
    return ERR_OK;
}

static enum err_code check_principal_limit(struct store *store, struct err *err)
{
    int64_t count = 0;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_principals, &query, err));
    TRY(run_count(&query, &count, err));
    if (count >= ACCESS_PRINCIPALS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "there are %d principals already",
                       ACCESS_PRINCIPALS_MAX);
    }
    return ERR_OK;
}

static enum err_code insert_principal(struct store *store, const struct principal_change *change,
                                      struct err *err)
{
    TRY(check_principal_limit(store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_principal, &query, err));
    query_bind_id(&query, &change->id);
    query_bind_text(&query, change->name);
    query_bind_integer(&query, change->kind);
    query_bind_integer(&query, clock_wall_us());
    enum err_code code = query_run(&query, err);
    if (code == ERR_EXISTS) {
        return err_set(err, ERR_EXISTS, "there is a principal '%s' already", change->name);
    }
    TRY(code);
    return replace_assignments(store, change, err);
}

static enum err_code write_new_principal(struct transaction *transaction, void *arg,
                                         struct err *err)
{
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    TRY(insert_principal(store, arg, err));
    transaction_access_changed(transaction);
    return ERR_OK;
}

enum err_code principal_create(struct catalog *catalog, const char *name, enum principal_kind kind,
                               const struct access_assignment *assignments, size_t count,
                               struct id *id_out, struct err *err)
{
    if (!is_name(name)) {
        return err_set(err, ERR_INVALID,
                       "a principal's name has 1 to %d letters, digits, '.', '_', '-' or '@'",
                       ACCESS_NAME_BYTES_MAX);
    }
    TRY(check_assignments(assignments, count, err));
    struct principal_change change = {.id = id_new_random(),
                                      .name = name,
                                      .kind = kind,
                                      .assignments = assignments,
                                      .count = count};
    TRY(catalog_write(catalog, write_new_principal, &change, err));
    *id_out = change.id;
    return ERR_OK;
}

static enum err_code write_changed_principal(struct transaction *transaction, void *arg,
                                             struct err *err)
{
    const struct principal_change *change = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_disable_principal, &query, err));
    query_bind_integer(&query, change->disabled ? 1 : 0);
    query_bind_id(&query, &change->id);
    TRY(query_run(&query, err));
    if (store_changes(store) == 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no principal %s", change->id.text);
    }
    TRY(replace_assignments(store, change, err));
    transaction_access_changed(transaction);
    return ERR_OK;
}

enum err_code principal_update(struct catalog *catalog, const struct id *id, bool disabled,
                               const struct access_assignment *assignments, size_t count,
                               struct err *err)
{
    TRY(check_assignments(assignments, count, err));
    struct principal_change change = {
        .id = *id, .disabled = disabled, .assignments = assignments, .count = count};
    return catalog_write(catalog, write_changed_principal, &change, err);
}

/* ---- principals: reading ---- */

static enum err_code arena_full(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the answer is larger than its memory budget");
}

/* Split the stored lines of table patterns into an array of the arena. */
static enum err_code split_scope(const char *lines, struct arena *arena,
                                 struct access_assignment *assignment, struct err *err)
{
    size_t count = 0;
    const char **scope = arena_alloc(arena, ACCESS_SCOPE_MAX * sizeof *scope);
    if (scope == NULL) {
        return arena_full(err);
    }
    while (*lines != '\0' && count < ACCESS_SCOPE_MAX) {
        size_t size = strcspn(lines, "\n");
        scope[count] = arena_text(arena, span_of(lines, size));
        if (scope[count] == NULL) {
            return arena_full(err);
        }
        count++;
        lines += lines[size] == '\n' ? size + 1 : size;
    }
    assignment->scope = scope;
    assignment->scope_count = count;
    return ERR_OK;
}

static enum err_code read_assignments(struct store *store, struct arena *arena,
                                      struct principal_record *record, struct err *err)
{
    struct access_assignment *assignments =
        arena_alloc(arena, ACCESS_ASSIGNMENTS_MAX * sizeof *assignments);
    if (assignments == NULL) {
        return arena_full(err);
    }
    record->assignments = assignments;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get_assignments, &query, err));
    query_bind_id(&query, &record->id);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row || record->assignments_count == ACCESS_ASSIGNMENTS_MAX) {
            return ERR_OK;
        }
        struct access_assignment *assignment = &assignments[record->assignments_count];
        const char *lines = NULL;
        TRY(query_text(&query, 0, arena, &assignment->role, err));
        TRY(query_text(&query, 1, arena, &lines, err));
        TRY(split_scope(lines, arena, assignment, err));
        record->assignments_count++;
    }
}

static enum err_code read_principal(const struct query *query, struct arena *arena,
                                    struct principal_record *record, struct err *err)
{
    *record = (struct principal_record){
        .kind = (enum principal_kind)query_integer(query, 2),
        .disabled = query_integer(query, 3) != 0,
        .created_at_us = query_integer(query, 4),
    };
    TRY(query_id(query, 0, &record->id, err));
    return query_text(query, 1, arena, &record->name, err);
}

enum err_code principal_get(struct catalog *catalog, const char *name_or_id, struct arena *arena,
                            struct principal_record *record_out, struct err *err)
{
    struct id id = {.text = ""};
    (void)id_parse(span_of_text(name_or_id), &id); /* not an id: a name */
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    struct principal_record record = {0};
    {
        bool row = false;
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_get_principal, &query, err));
        query_bind_text(&query, name_or_id);
        query_bind_id(&query, &id);
        TRY(query_next(&query, &row, err));
        if (!row) {
            return err_set(err, ERR_NOT_FOUND, "there is no principal '%.*s'",
                           ACCESS_NAME_BYTES_MAX, name_or_id);
        }
        TRY(read_principal(&query, arena, &record, err));
    }
    TRY(read_assignments(store, arena, &record, err));
    *record_out = record;
    return ERR_OK;
}

static enum err_code read_principals(struct store *store, const char *after_name, size_t limit,
                                     struct arena *arena, struct principal_record *records,
                                     size_t *count, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_list_principals, &query, err));
    query_bind_text(&query, after_name == NULL ? "" : after_name);
    query_bind_integer(&query, (int64_t)limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(read_principal(&query, arena, &records[*count], err));
        (*count)++;
    }
}

enum err_code principal_list(struct catalog *catalog, const char *after_name, size_t limit,
                             struct arena *arena, struct principal_record **records_out,
                             size_t *count_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    struct principal_record *records = arena_alloc(arena, (limit + 1) * sizeof *records);
    if (records == NULL) {
        return arena_full(err);
    }
    size_t count = 0;
    TRY(read_principals(store, after_name, limit, arena, records, &count, err));
    for (size_t i = 0; i < count; i++) {
        TRY(read_assignments(store, arena, &records[i], err));
    }
    *records_out = records;
    *count_out = count;
    return ERR_OK;
}

/* ---- tokens: writing ---- */

struct token_change {
    struct id principal;
    struct token_id id;
    uint8_t hash[SECRET_HASH_BYTES];
    const char *description;
    int64_t expires_at_us;
    int64_t now_us;
};

static enum err_code check_token_limits(struct store *store, const struct token_change *change,
                                        struct err *err)
{
    int64_t count = 0;
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_has_principal, &query, err));
        query_bind_id(&query, &change->principal);
        TRY(run_count(&query, &count, err));
    }
    if (count == 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no principal %s", change->principal.text);
    }
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_count_tokens, &query, err));
        TRY(run_count(&query, &count, err));
    }
    if (count >= ACCESS_TOKENS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "there are %d tokens already", ACCESS_TOKENS_MAX);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_live_tokens, &query, err));
    query_bind_id(&query, &change->principal);
    query_bind_integer(&query, change->now_us);
    TRY(run_count(&query, &count, err));
    if (count >= ACCESS_TOKENS_LIVE_MAX) {
        return err_set(err, ERR_TOO_LARGE,
                       "the principal has %d live tokens already: revoke some first",
                       ACCESS_TOKENS_LIVE_MAX);
    }
    return ERR_OK;
}

static enum err_code insert_token(struct store *store, const struct token_change *change,
                                  struct err *err)
{
    TRY(check_token_limits(store, change, err));
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert_token, &query, err));
    query_bind_text(&query, change->id.text);
    query_bind_id(&query, &change->principal);
    query_bind_bytes(&query, change->hash, sizeof change->hash);
    query_bind_text(&query, change->description);
    query_bind_integer(&query, change->now_us);
    query_bind_integer(&query, change->expires_at_us);
    return query_run(&query, err);
}

static enum err_code write_new_token(struct transaction *transaction, void *arg, struct err *err)
{
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    TRY(insert_token(store, arg, err));
    transaction_access_changed(transaction);
    return ERR_OK;
}

/* A new token's text and the row that will stand for it. */
static void mint_token(struct catalog *catalog, char text[TOKEN_TEXT_BYTES + 1],
                       struct token_change *change)
{
    token_new(text, &change->id);
    token_hash(catalog->keys, span_of(text, TOKEN_TEXT_BYTES), change->hash);
    change->now_us = clock_wall_us();
}

enum err_code access_token_issue(struct catalog *catalog, const struct id *principal,
                                 const char *description, int64_t expires_at_us,
                                 char text_out[TOKEN_TEXT_BYTES + 1], struct token_id *id_out,
                                 struct err *err)
{
    struct token_change change = {.principal = *principal,
                                  .description = description == NULL ? "" : description,
                                  .expires_at_us = expires_at_us};
    if (strlen(change.description) > DESCRIPTION_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a token's description has at most %d bytes",
                       DESCRIPTION_BYTES_MAX);
    }
    char text[TOKEN_TEXT_BYTES + 1];
    mint_token(catalog, text, &change);
    if (expires_at_us <= change.now_us ||
        expires_at_us > change.now_us + ACCESS_TOKEN_DAYS_MAX * day_us) {
        return err_set(err, ERR_INVALID, "a token expires within the next %d days",
                       ACCESS_TOKEN_DAYS_MAX);
    }
    enum err_code code = catalog_write(catalog, write_new_token, &change, err);
    if (code == ERR_OK) {
        memcpy(text_out, text, sizeof text);
        *id_out = change.id;
    }
    secret_wipe(text, sizeof text);
    return code;
}

static enum err_code write_revocation(struct transaction *transaction, void *arg, struct err *err)
{
    const struct token_change *change = arg;
    struct store *store = NULL;
    TRY(transaction_main(transaction, &store, err));
    int64_t created_at = 0;
    {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_has_token, &query, err));
        query_bind_text(&query, change->id.text);
        TRY(run_count(&query, &created_at, err));
    }
    if (created_at == 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no token %s", change->id.text);
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_revoke_token, &query, err));
    query_bind_integer(&query, change->now_us);
    query_bind_text(&query, change->id.text);
    TRY(query_run(&query, err));
    transaction_access_changed(transaction);
    return ERR_OK;
}

enum err_code access_token_revoke(struct catalog *catalog, const struct token_id *id,
                                  struct err *err)
{
    struct token_change change = {.id = *id, .now_us = clock_wall_us()};
    return catalog_write(catalog, write_revocation, &change, err);
}

/* ---- tokens: reading ---- */

/* The row, with the time of use that memory knows better. */
static enum err_code read_token(const struct query *query, const struct access_snapshot *snapshot,
                                struct arena *arena, struct token_record *record, struct err *err)
{
    struct span id = query_span(query, 0);
    if (id.size != TOKEN_ID_BYTES) {
        return err_set(err, ERR_CORRUPT, "a stored token is malformed");
    }
    *record = (struct token_record){
        .created_at_us = query_integer(query, 4),
        .expires_at_us = query_integer(query, 5),
        .revoked_at_us = query_integer(query, 6),
        .last_used_at_us = query_integer(query, 7),
    };
    memcpy(record->id.text, id.data, id.size);
    TRY(query_id(query, 1, &record->principal, err));
    TRY(query_text(query, 2, arena, &record->principal_name, err));
    TRY(query_text(query, 3, arena, &record->description, err));
    struct snapshot_token *token = access_snapshot_token(snapshot, &record->id);
    int64_t used_us = token == NULL ? 0 : atomic_load(&token->last_used_us);
    if (used_us > record->last_used_at_us) {
        record->last_used_at_us = used_us;
    }
    return ERR_OK;
}

static enum err_code read_one_token(struct store *store, const struct token_id *id,
                                    const struct access_snapshot *snapshot, struct arena *arena,
                                    struct token_record *record, struct err *err)
{
    bool row = false;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_get_token, &query, err));
    query_bind_text(&query, id->text);
    TRY(query_next(&query, &row, err));
    if (!row) {
        return err_set(err, ERR_NOT_FOUND, "there is no token %s", id->text);
    }
    return read_token(&query, snapshot, arena, record, err);
}

enum err_code access_token_get(struct catalog *catalog, const struct token_id *id,
                               struct arena *arena, struct token_record *record_out,
                               struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    struct access_snapshot *snapshot = access_snapshot_acquire(&catalog->access);
    struct token_record record = {0};
    enum err_code code = read_one_token(store, id, snapshot, arena, &record, err);
    access_snapshot_release(snapshot);
    TRY(code);
    *record_out = record;
    return ERR_OK;
}

struct token_page {
    const struct id *principal;
    const struct token_id *after;
    size_t limit;
    struct token_record *records;
    size_t count;
};

static enum err_code read_token_page(struct store *store, const struct access_snapshot *snapshot,
                                     struct arena *arena, struct token_page *page, struct err *err)
{
    static const struct id nobody = {.text = ""};
    int64_t after_created = -1;
    if (page->after != NULL) {
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_has_token, &query, err));
        query_bind_text(&query, page->after->text);
        TRY(run_count(&query, &after_created, err));
    }
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_list_tokens, &query, err));
    query_bind_id(&query, page->principal == NULL ? &nobody : page->principal);
    query_bind_integer(&query, after_created);
    query_bind_text(&query, page->after == NULL ? "" : page->after->text);
    query_bind_integer(&query, (int64_t)page->limit);
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        TRY(read_token(&query, snapshot, arena, &page->records[page->count], err));
        page->count++;
    }
}

enum err_code access_token_list(struct catalog *catalog, const struct id *principal,
                                const struct token_id *after, size_t limit, struct arena *arena,
                                struct token_record **records_out, size_t *count_out,
                                struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    struct token_page page = {.principal = principal, .after = after, .limit = limit};
    page.records = arena_alloc(arena, (limit + 1) * sizeof *page.records);
    if (page.records == NULL) {
        return arena_full(err);
    }
    struct access_snapshot *snapshot = access_snapshot_acquire(&catalog->access);
    enum err_code code = read_token_page(store, snapshot, arena, &page, err);
    access_snapshot_release(snapshot);
    TRY(code);
    *records_out = page.records;
    *count_out = page.count;
    return ERR_OK;
}

/* ---- the first start ---- */

struct bootstrap {
    struct principal_change principal;
    struct token_change token;
};

static enum err_code has_principals(struct store *store, bool *has_out, struct err *err)
{
    int64_t count = 0;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_count_principals, &query, err));
    TRY(run_count(&query, &count, err));
    *has_out = count > 0;
    return ERR_OK;
}

static enum err_code is_started(struct catalog *catalog, bool *started_out, struct err *err)
{
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    struct store *store = NULL;
    TRY(reader_main(reader, &store, err));
    return has_principals(store, started_out, err);
}

/* Principal and token in one transaction: a crash leaves both or neither. */
static enum err_code write_bootstrap(struct transaction *transaction, void *arg, struct err *err)
{
    struct bootstrap *bootstrap = arg;
    struct store *store = NULL;
    bool started = false;
    TRY(transaction_main(transaction, &store, err));
    TRY(has_principals(store, &started, err));
    assert(!started);
    TRY(insert_principal(store, &bootstrap->principal, err));
    TRY(insert_token(store, &bootstrap->token, err));
    transaction_access_changed(transaction);
    return ERR_OK;
}

static enum err_code create_administrator(struct catalog *catalog, access_keep_fn *keep, void *arg,
                                          char text[TOKEN_TEXT_BYTES + 1], struct err *err)
{
    static const struct access_assignment everything = {.role = "admin"};
    struct bootstrap bootstrap = {
        .principal = {.id = id_new_random(),
                      .name = "admin",
                      .kind = PRINCIPAL_HUMAN,
                      .assignments = &everything,
                      .count = 1},
        .token = {.description = "made at the first start"},
    };
    mint_token(catalog, text, &bootstrap.token);
    bootstrap.token.principal = bootstrap.principal.id;
    bootstrap.token.expires_at_us = bootstrap.token.now_us + ACCESS_TOKEN_DAYS_MAX * day_us;
    TRY(keep(arg, span_of(text, TOKEN_TEXT_BYTES), err));
    if (FAULT("access.token-kept")) {
        return err_set(err, ERR_NO_SPACE, "create the first administrator");
    }
    return catalog_write(catalog, write_bootstrap, &bootstrap, err);
}

enum err_code access_bootstrap(struct catalog *catalog, access_keep_fn *keep, void *arg,
                               struct err *err)
{
    bool started = false;
    TRY(is_started(catalog, &started, err));
    if (started) {
        return ERR_OK;
    }
    char text[TOKEN_TEXT_BYTES + 1];
    enum err_code code = create_administrator(catalog, keep, arg, text, err);
    secret_wipe(text, sizeof text);
    return code;
}
