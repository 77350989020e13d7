/*
 * Building and publishing the access snapshot. See access_snapshot.h.
 */
#include "storage/catalog/access_snapshot.h"

#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/catalog/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_PER_TOKEN = 2 };

static const char sql_principals[] = "SELECT id, name, kind, disabled FROM principals ORDER BY id";
static const char sql_assignments[] =
    "SELECT principal, role, scope FROM assignments ORDER BY principal, ordinal";
static const char sql_tokens[] =
    "SELECT id, principal, hash, expires_at, revoked_at, last_used_at FROM tokens ORDER BY id";
static const char sql_use_token[] =
    "UPDATE tokens SET last_used_at = ?1 WHERE id = ?2 AND last_used_at < ?1";

/* ---- life ---- */

void access_cache_init(struct access_cache *cache)
{
    *cache = (struct access_cache){0};
    lock_init(&cache->lock, LOCK_RANK_CACHE);
    secret_random(cache->fast_keys, sizeof cache->fast_keys);
}

static void release_snapshot(struct access_snapshot *snapshot)
{
    if (snapshot == NULL || atomic_fetch_sub(&snapshot->references, 1) != 1) {
        return;
    }
    mem_free(snapshot->principals);
    mem_free(snapshot->grants);
    mem_free(snapshot->tokens);
    mem_free(snapshot->slots);
    mem_free(snapshot->texts);
    mem_free(snapshot);
}

static void free_draft(struct access_snapshot **snapshot)
{
    release_snapshot(*snapshot);
    *snapshot = NULL;
}

void access_cache_deinit(struct access_cache *cache)
{
    release_snapshot(cache->snapshot);
    secret_wipe(cache->fast_keys, sizeof cache->fast_keys);
    lock_deinit(&cache->lock);
    cache->snapshot = NULL;
}

struct access_snapshot *access_snapshot_acquire(struct access_cache *cache)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&cache->lock);
    atomic_fetch_add(&cache->snapshot->references, 1);
    return cache->snapshot;
}

void access_snapshot_release(struct access_snapshot *snapshot)
{
    release_snapshot(snapshot);
}

/* ---- finding ---- */

static size_t slot_of(const struct access_snapshot *snapshot, const struct token_id *id)
{
    return (size_t)hash_checksum(span_of(id->text, TOKEN_ID_BYTES)) & snapshot->slots_mask;
}

struct snapshot_token *access_snapshot_token(const struct access_snapshot *snapshot,
                                             const struct token_id *id)
{
    for (size_t slot = slot_of(snapshot, id); snapshot->slots[slot] != 0;
         slot = (slot + 1) & snapshot->slots_mask) {
        struct snapshot_token *token = &snapshot->tokens[snapshot->slots[slot] - 1];
        if (memcmp(token->id.text, id->text, TOKEN_ID_BYTES) == 0) {
            return token;
        }
    }
    return NULL;
}

static int compare_principal(const void *key, const void *element)
{
    const struct id *id = key;
    const struct principal *principal = element;
    return strcmp(id->text, principal->id.text);
}

static struct principal *find_principal(const struct access_snapshot *snapshot, const struct id *id)
{
    return bsearch(id, snapshot->principals, snapshot->principals_count,
                   sizeof *snapshot->principals, compare_principal);
}

/* ---- building ---- */

/* Room for one more of `count` elements; grows by doubling. */
static void *make_room(void *elements, size_t count, size_t size)
{
    bool full = count == 0 || (count >= 16 && (count & (count - 1)) == 0);
    return full ? mem_resize(elements, count < 16 ? 16 : count * 2, size) : elements;
}

static enum err_code load_principals(struct access_snapshot *snapshot, struct store *store,
                                     struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_principals, &query, err));
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        struct principal principal = {.kind = (enum principal_kind)query_integer(&query, 2),
                                      .disabled = query_integer(&query, 3) != 0,
                                      .snapshot = snapshot};
        TRY(query_id(&query, 0, &principal.id, err));
        struct span name = query_span(&query, 1);
        if (name.size > ACCESS_NAME_BYTES_MAX) {
            return err_set(err, ERR_CORRUPT, "a principal's name is too long");
        }
        memcpy(principal.name, name.data, name.size);
        snapshot->principals =
            make_room(snapshot->principals, snapshot->principals_count, sizeof principal);
        snapshot->principals[snapshot->principals_count++] = principal;
    }
}

static const struct access_role *find_role(struct span name)
{
    size_t count = 0;
    const struct access_role *roles = access_roles(&count);
    for (size_t i = 0; i < count; i++) {
        if (span_equal_text(name, roles[i].name)) {
            return &roles[i];
        }
    }
    return NULL;
}

static void add_grants(struct access_snapshot *snapshot, const struct access_role *role,
                       const char *const *actions, const char *scope)
{
    for (size_t i = 0; actions[i] != NULL; i++) {
        snapshot->grants =
            make_room(snapshot->grants, snapshot->grants_count, sizeof *snapshot->grants);
        snapshot->grants[snapshot->grants_count++] =
            (struct compiled_grant){.role = role->name, .action = actions[i], .scope = scope};
    }
}

/* Grants of one role on the table patterns of `scope` (lines, owned by the snapshot). */
static void compile_assignment(struct access_snapshot *snapshot, const struct access_role *role,
                               char *scope)
{
    if (scope[0] == '\0') {
        add_grants(snapshot, role, role->actions, "*");
        add_grants(snapshot, role, role->actions, NULL);
        return;
    }
    add_grants(snapshot, role, role->unscoped, NULL);
    for (char *pattern = scope; pattern != NULL;) {
        char *end = strchr(pattern, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        add_grants(snapshot, role, role->actions, pattern);
        pattern = end;
    }
}

/*
 * Scopes are read twice: once for their size, so that the texts never move under
 * the grants that point into them.
 */
static enum err_code measure_scopes(struct store *store, size_t *bytes_out, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_assignments, &query, err));
    *bytes_out = 0;
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        *bytes_out += query_span(&query, 2).size + 1;
    }
}

static enum err_code load_grants(struct access_snapshot *snapshot, struct store *store,
                                 struct err *err)
{
    size_t bytes = 0;
    TRY(measure_scopes(store, &bytes, err));
    snapshot->texts = mem_zeroed(bytes + 1, 1);
    char *text = snapshot->texts;
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_assignments, &query, err));
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        struct id id;
        TRY(query_id(&query, 0, &id, err));
        struct principal *principal = find_principal(snapshot, &id);
        const struct access_role *role = find_role(query_span(&query, 1));
        if (principal == NULL || role == NULL) {
            continue; /* a role of another version grants nothing here */
        }
        struct span scope = query_span(&query, 2);
        memcpy(text, scope.data == NULL ? (const uint8_t *)"" : scope.data, scope.size);
        if (principal->grants_count == 0) {
            principal->grants_first = (uint32_t)snapshot->grants_count;
        }
        compile_assignment(snapshot, role, text);
        principal->grants_count = (uint32_t)snapshot->grants_count - principal->grants_first;
        text += scope.size + 1;
    }
}

static enum err_code load_token(const struct access_snapshot *snapshot, const struct query *query,
                                struct snapshot_token *token, struct err *err)
{
    struct span id = query_span(query, 0);
    struct id principal_id;
    TRY(query_id(query, 1, &principal_id, err));
    const struct principal *principal = find_principal(snapshot, &principal_id);
    if (id.size != TOKEN_ID_BYTES || principal == NULL) {
        return err_set(err, ERR_CORRUPT, "a stored token is malformed");
    }
    memcpy(token->id.text, id.data, TOKEN_ID_BYTES);
    TRY(query_bytes(query, 2, token->hash, sizeof token->hash, err));
    token->principal = (uint32_t)(principal - snapshot->principals);
    token->expires_at_us = query_integer(query, 3);
    token->revoked_at_us = query_integer(query, 4);
    atomic_init(&token->last_used_us, query_integer(query, 5));
    return ERR_OK;
}

static enum err_code load_tokens(struct access_snapshot *snapshot, struct store *store,
                                 struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_tokens, &query, err));
    for (;;) {
        bool row = false;
        TRY(query_next(&query, &row, err));
        if (!row) {
            return ERR_OK;
        }
        snapshot->tokens =
            make_room(snapshot->tokens, snapshot->tokens_count, sizeof *snapshot->tokens);
        struct snapshot_token *token = &snapshot->tokens[snapshot->tokens_count];
        memset(token, 0, sizeof *token);
        TRY(load_token(snapshot, &query, token, err));
        snapshot->tokens_count++;
    }
}

static void build_slots(struct access_snapshot *snapshot)
{
    size_t slots = 16;
    while (slots < snapshot->tokens_count * SLOTS_PER_TOKEN) {
        slots *= 2;
    }
    snapshot->slots = mem_zeroed(slots, sizeof *snapshot->slots);
    snapshot->slots_mask = slots - 1;
    for (size_t i = 0; i < snapshot->tokens_count; i++) {
        size_t slot = slot_of(snapshot, &snapshot->tokens[i].id);
        while (snapshot->slots[slot] != 0) {
            slot = (slot + 1) & snapshot->slots_mask;
        }
        snapshot->slots[slot] = (uint32_t)i + 1;
    }
}

/* What is known of the use of tokens goes on to the new snapshot. */
static void carry_use(const struct access_snapshot *from, struct access_snapshot *to)
{
    for (size_t i = 0; from != NULL && i < from->tokens_count; i++) {
        struct snapshot_token *old = &from->tokens[i];
        struct snapshot_token *token = access_snapshot_token(to, &old->id);
        int64_t used_us = atomic_load(&old->last_used_us);
        if (token != NULL && used_us > atomic_load(&token->last_used_us)) {
            atomic_store(&token->last_used_us, used_us);
        }
    }
}

enum err_code access_cache_rebuild(struct access_cache *cache, struct store *store, struct err *err)
{
    CLEANUP(free_draft) struct access_snapshot *snapshot = mem_zeroed(1, sizeof *snapshot);
    atomic_init(&snapshot->references, 1);
    TRY(load_principals(snapshot, store, err));
    TRY(load_grants(snapshot, store, err));
    TRY(load_tokens(snapshot, store, err));
    build_slots(snapshot);
    carry_use(cache->snapshot, snapshot); /* only the rebuilding thread replaces it */

    struct access_snapshot *old = NULL;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&cache->lock);
        old = cache->snapshot;
        cache->snapshot = snapshot;
        snapshot = NULL;
    }
    release_snapshot(old);
    return ERR_OK;
}

enum err_code access_store_use(struct access_cache *cache, struct store *store, struct err *err)
{
    const struct access_snapshot *snapshot = cache->snapshot;
    for (size_t i = 0; i < snapshot->tokens_count; i++) {
        struct snapshot_token *token = &snapshot->tokens[i];
        int64_t used_us = atomic_load(&token->last_used_us);
        if (used_us == 0) {
            continue;
        }
        CLEANUP(query_end) struct query query = {0};
        TRY(query_begin(store, sql_use_token, &query, err));
        query_bind_integer(&query, used_us);
        query_bind_span(&query, span_of(token->id.text, TOKEN_ID_BYTES));
        TRY(query_run(&query, err));
    }
    return ERR_OK;
}
