/*
 * Deciding: token → principal → grant, from the snapshot in memory. The roles
 * are this file's table. See access.h.
 */
#include "storage/catalog/access.h"

#include "storage/catalog/private.h"

#include <assert.h>
#include <string.h>

/* ---- roles ---- */

#define ACTIONS(...)                                                                               \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static const struct access_role roles[] = {
    {
        .name = "admin",
        .description = "Everything.",
        .actions = ACTIONS("*"),
        .unscoped = ACTIONS("table.read", "batch.read", "dead_letter.read"),
    },
    {
        .name = "operator",
        .description = "Keeps the service running: sees states and dead letters without their "
                       "payloads, replays, runs jobs as they are defined, resets breakers, reads "
                       "metrics. No health information.",
        .actions = ACTIONS("table.read", "batch.read", "batch.read_any", "dead_letter.read",
                           "dead_letter.replay", "dead_letter.discard", "job.read", "job.run",
                           "run.*", "breaker.*", "webhook.*", "metrics.read", "principal.read",
                           "role.read", "token.read", "access.explain"),
        .unscoped =
            ACTIONS("table.read", "batch.read", "batch.read_any", "dead_letter.read", "role.read"),
    },
    {
        .name = "engineer",
        .description = "Defines tables and jobs, posts, reads and replays everything in them. "
                       "Limited to tables: sees and runs its own jobs only.",
        .actions = ACTIONS("table.*", "batch.*", "rows.*", "lookup.*", "member.*", "dead_letter.*",
                           "job.*", "run.*", "secret.*", "breaker.*", "webhook.*", "metrics.read",
                           "role.read"),
        .unscoped = ACTIONS("table.read", "table.infer", "batch.read", "batch.read_any",
                            "dead_letter.*", "member.read", "job.*", "run.*", "role.read"),
    },
    {
        .name = "partner",
        .description = "Posts batches and sees what became of its own.",
        .actions = ACTIONS("table.read", "batch.post", "batch.read", "dead_letter.read"),
        .unscoped = ACTIONS("table.read", "batch.read", "dead_letter.read"),
    },
    {
        .name = "analyst",
        .description = "Reads rows and looks up members.",
        .actions = ACTIONS("table.read", "rows.read", "lookup.read", "member.read"),
        .unscoped = ACTIONS("table.read", "member.read"),
    },
    {
        .name = "auditor",
        .description = "Sees who may and did do what; no health information.",
        .actions =
            ACTIONS("audit.read", "access.explain", "principal.read", "role.read", "token.read",
                    "table.read", "batch.read", "batch.read_any", "job.read", "run.read",
                    "secret.list", "breaker.read", "webhook.read", "metrics.read"),
        .unscoped = ACTIONS("table.read", "batch.read", "batch.read_any", "role.read"),
    },
};

const struct access_role *access_roles(size_t *count_out)
{
    *count_out = sizeof roles / sizeof roles[0];
    return roles;
}

/* ---- deciding ---- */

bool access_pattern_matches(const char *pattern, const char *text)
{
    size_t at = 0;
    while (pattern[at] != '\0' && pattern[at] == text[at]) {
        at++;
    }
    bool open_end = pattern[at] == '*' && pattern[at + 1] == '\0';
    return open_end || (pattern[at] == '\0' && text[at] == '\0');
}

static bool grant_holds(const struct compiled_grant *grant, const char *action, const char *table)
{
    if (table == NULL || grant->scope == NULL) {
        return table == NULL && grant->scope == NULL &&
               access_pattern_matches(grant->action, action);
    }
    return access_pattern_matches(grant->action, action) &&
           access_pattern_matches(grant->scope, table);
}

static const struct compiled_grant *deciding_grant(const struct principal *principal,
                                                   const char *action, const char *table)
{
    const struct compiled_grant *grants = principal->snapshot->grants + principal->grants_first;
    for (uint32_t i = 0; i < principal->grants_count && !principal->disabled; i++) {
        if (grant_holds(&grants[i], action, table)) {
            return &grants[i];
        }
    }
    return NULL;
}

bool access_allows(const struct principal *principal, const char *action, const char *table)
{
    return deciding_grant(principal, action, table) != NULL;
}

void access_explain(const struct principal *principal, const char *action, const char *table,
                    struct access_explanation *explanation_out)
{
    const struct compiled_grant *grant = deciding_grant(principal, action, table);
    *explanation_out = (struct access_explanation){.allowed = grant != NULL};
    if (grant != NULL) {
        explanation_out->role = grant->role;
        explanation_out->grant = grant->action;
        explanation_out->scope = grant->scope;
    }
}

/* ---- who ---- */

/* Is this the text that the stored hash is of? The HMAC is spared once it has said yes. */
static bool text_is_genuine(struct catalog *catalog, struct snapshot_token *token, struct span text)
{
    const struct access_cache *cache = &catalog->access;
    uint64_t fast[2] = {hash_keyed(cache->fast_keys[0], text) | 1,
                        hash_keyed(cache->fast_keys[1], text) | 1};
    if (atomic_load_explicit(&token->seen[0], memory_order_relaxed) == fast[0] &&
        atomic_load_explicit(&token->seen[1], memory_order_relaxed) == fast[1]) {
        return true;
    }
    uint8_t hash[SECRET_HASH_BYTES];
    token_hash(catalog->keys, text, hash);
    if (!secret_equal(hash, token->hash, sizeof hash)) {
        return false;
    }
    /* Only the one genuine text of this token is ever stored, so halves never mix. */
    atomic_store_explicit(&token->seen[0], fast[0], memory_order_relaxed);
    atomic_store_explicit(&token->seen[1], fast[1], memory_order_relaxed);
    return true;
}

static enum err_code check_token(struct catalog *catalog, const struct access_snapshot *snapshot,
                                 struct span text, int64_t now_us,
                                 struct snapshot_token **token_out, struct err *err)
{
    struct token_id id;
    if (!token_parse(text, &id)) {
        return err_set(err, ERR_UNAUTHENTICATED, "the token is malformed");
    }
    struct snapshot_token *token = access_snapshot_token(snapshot, &id);
    if (token == NULL || !text_is_genuine(catalog, token, text)) {
        return err_set(err, ERR_UNAUTHENTICATED, "the token is unknown");
    }
    if (token->revoked_at_us != 0) {
        return err_set(err, ERR_UNAUTHENTICATED, "token %s is revoked", id.text);
    }
    if (now_us >= token->expires_at_us) {
        return err_set(err, ERR_UNAUTHENTICATED, "token %s has expired", id.text);
    }
    if (snapshot->principals[token->principal].disabled) {
        return err_set(err, ERR_UNAUTHENTICATED, "the principal of token %s is disabled", id.text);
    }
    *token_out = token;
    return ERR_OK;
}

enum err_code access_authenticate(struct catalog *catalog, struct span token_text, int64_t now_us,
                                  struct access_identity *identity_out, struct err *err)
{
    struct access_snapshot *snapshot = access_snapshot_acquire(&catalog->access);
    struct snapshot_token *token = NULL;
    enum err_code code = check_token(catalog, snapshot, token_text, now_us, &token, err);
    if (code != ERR_OK) {
        access_snapshot_release(snapshot);
        return code;
    }
    assert(token != NULL);
    atomic_store_explicit(&token->last_used_us, now_us, memory_order_relaxed);
    *identity_out = (struct access_identity){.principal = &snapshot->principals[token->principal],
                                             .token = token->id};
    return ERR_OK;
}

void access_release(struct access_identity *identity)
{
    if (identity->principal != NULL) {
        union {
            const struct access_snapshot *shared;
            struct access_snapshot *counted;
        } snapshot = {.shared = identity->principal->snapshot};
        access_snapshot_release(snapshot.counted);
        *identity = (struct access_identity){0};
    }
}

enum err_code access_find(struct catalog *catalog, const char *name_or_id,
                          struct access_identity *identity_out, struct err *err)
{
    struct access_snapshot *snapshot = access_snapshot_acquire(&catalog->access);
    for (size_t i = 0; i < snapshot->principals_count; i++) {
        const struct principal *principal = &snapshot->principals[i];
        if (strcmp(principal->name, name_or_id) == 0 ||
            strcmp(principal->id.text, name_or_id) == 0) {
            *identity_out = (struct access_identity){.principal = principal};
            return ERR_OK;
        }
    }
    access_snapshot_release(snapshot);
    return err_set(err, ERR_NOT_FOUND, "there is no principal '%.*s'", ACCESS_NAME_BYTES_MAX,
                   name_or_id);
}
