/*
 * Access: principals, roles made of grants, role assignments limited to tables,
 * and tokens. Stored in catalog.db; decided from an immutable snapshot in memory
 * that is swapped after every change, so that the gate needs no SQLite and a
 * revocation holds as soon as the revoking call has returned. Default deny.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"
#include "storage/catalog/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    ACCESS_NAME_BYTES_MAX = 128,    /* principals; letters, digits, . _ - @ */
    ACCESS_PATTERN_BYTES_MAX = 128, /* an action or table pattern */
    ACCESS_PRINCIPALS_MAX = 10000,
    ACCESS_TOKENS_MAX = 100000,   /* stored, expired and revoked ones included */
    ACCESS_TOKENS_LIVE_MAX = 100, /* live tokens per principal */
    ACCESS_ASSIGNMENTS_MAX = 32,  /* roles per principal */
    ACCESS_SCOPE_MAX = 64,        /* table patterns per assignment */
    ACCESS_TOKEN_DAYS_MAX = 366,
};

/*
 * Patterns: "*" matches all; a trailing "*" matches any rest ("batch.*",
 * "claims_*"); everything else must be equal.
 */
bool access_pattern_matches(const char *pattern, const char *text);

/* ---- who ---- */

enum principal_kind { PRINCIPAL_HUMAN, PRINCIPAL_SERVICE };

struct access_snapshot;

/*
 * Who a token stands for, as the gate resolves it. Immutable; each successful
 * access_authenticate holds a reference on the snapshot it lies in.
 */
struct principal {
    struct id id;
    char name[ACCESS_NAME_BYTES_MAX + 1];
    enum principal_kind kind;
    const struct access_snapshot *snapshot; /* private */
    uint32_t grants_first, grants_count;    /* private: compiled grants in the snapshot */
    bool disabled;                          /* never true for an authenticated principal */
};

/* What a token resolved to; lives on the caller's side of the gate. */
struct access_identity {
    const struct principal *principal;
    struct token_id token;
};

/*
 * Resolve a token's text. About a microsecond, no SQLite, no I/O.
 *
 *   now_us        wall time
 *   identity_out  holds a reference: access_release
 *
 * Errors:  ERR_UNAUTHENTICATED malformed, unknown, expired, revoked or of a disabled
 *          principal; the message says which (for the audit record, not for the answer).
 */
enum err_code access_authenticate(struct catalog *catalog, struct span token_text, int64_t now_us,
                                  struct access_identity *identity_out, struct err *err) MUST_USE;
void access_release(struct access_identity *identity);

/*
 * May the principal do `action` ("rows.read") on `table`?
 *
 *   table  name, or NULL for actions without one; an assignment limited to some
 *          tables allows an action without a table only when the role lists it
 *          as unscoped (reading one's own batches, say)
 */
bool access_allows(const struct principal *principal, const char *action, const char *table);

/* Why access_allows says what it says. Texts are borrowed with the principal. */
struct access_explanation {
    bool allowed;
    const char *role;  /* that allowed it; NULL when denied */
    const char *grant; /* its action pattern */
    const char *scope; /* the table pattern of the assignment */
};
void access_explain(const struct principal *principal, const char *action, const char *table,
                    struct access_explanation *explanation_out);

/* For explaining somebody else: by name or id text. Errors: ERR_NOT_FOUND. access_release. */
enum err_code access_find(struct catalog *catalog, const char *name_or_id,
                          struct access_identity *identity_out, struct err *err) MUST_USE;

/* ---- roles: built in, one table in access.c ---- */

struct access_role {
    const char *name;
    const char *description;
    const char *const *actions;  /* patterns, NULL-terminated */
    const char *const *unscoped; /* of them, those that an assignment limited to tables allows
                                    without a table; the handler shows only what is allowed */
};
/* "admin" first; count in count_out. Static. */
const struct access_role *access_roles(size_t *count_out);

/* ---- principals ---- */

/* One role of one principal, limited to tables. */
struct access_assignment {
    const char *role;
    size_t scope_count;       /* 0 = all tables */
    const char *const *scope; /* table patterns */
};

struct principal_record {
    struct id id;
    const char *name;
    enum principal_kind kind;
    bool disabled;
    int64_t created_at_us;
    size_t assignments_count;
    const struct access_assignment *assignments;
};

/*
 * Errors:  ERR_EXISTS the name; ERR_INVALID name, unknown role, scope; ERR_TOO_LARGE a limit.
 */
enum err_code principal_create(struct catalog *catalog, const char *name, enum principal_kind kind,
                               const struct access_assignment *assignments, size_t count,
                               struct id *id_out, struct err *err) MUST_USE;

/* Replace the assignments and the disabled flag. Errors: ERR_NOT_FOUND and as above. */
enum err_code principal_update(struct catalog *catalog, const struct id *id, bool disabled,
                               const struct access_assignment *assignments, size_t count,
                               struct err *err) MUST_USE;

/* By name or id text; strings in the arena. Errors: ERR_NOT_FOUND, ERR_TOO_LARGE arena. */
enum err_code principal_get(struct catalog *catalog, const char *name_or_id, struct arena *arena,
                            struct principal_record *record_out, struct err *err) MUST_USE;

/* In order of name, after `after_name` (NULL = from the start), at most `limit`. */
enum err_code principal_list(struct catalog *catalog, const char *after_name, size_t limit,
                             struct arena *arena, struct principal_record **records_out,
                             size_t *count_out, struct err *err) MUST_USE;

/* ---- tokens ---- */

struct token_record {
    struct token_id id;
    struct id principal;
    const char *principal_name;
    const char *description; /* "" = none */
    int64_t created_at_us;
    int64_t expires_at_us;
    int64_t revoked_at_us;   /* 0 = not */
    int64_t last_used_at_us; /* within a minute, 0 = never */
};

/*
 * Issue a token. The text exists only in text_out: show it once, wipe it.
 *
 * Errors:  ERR_NOT_FOUND the principal; ERR_INVALID expiry in the past or beyond
 *          ACCESS_TOKEN_DAYS_MAX, or a text too long; ERR_TOO_LARGE too many live tokens.
 */
enum err_code access_token_issue(struct catalog *catalog, const struct id *principal,
                                 const char *description, int64_t expires_at_us,
                                 char text_out[TOKEN_TEXT_BYTES + 1], struct token_id *id_out,
                                 struct err *err) MUST_USE;

/* Refused from the moment this returns. Revoking twice is ERR_OK. Errors: ERR_NOT_FOUND. */
enum err_code access_token_revoke(struct catalog *catalog, const struct token_id *id,
                                  struct err *err) MUST_USE;

enum err_code access_token_get(struct catalog *catalog, const struct token_id *id,
                               struct arena *arena, struct token_record *record_out,
                               struct err *err) MUST_USE;

/* Newest first; of one principal or all (NULL); after `after` (NULL = from the newest). */
enum err_code access_token_list(struct catalog *catalog, const struct id *principal,
                                const struct token_id *after, size_t limit, struct arena *arena,
                                struct token_record **records_out, size_t *count_out,
                                struct err *err) MUST_USE;

/* Put the token's text where the administrator finds it: durable when it returns ERR_OK. */
typedef enum err_code access_keep_fn(void *arg, struct span token_text, struct err *err);

/*
 * The first start: when no principal exists, create "admin" with the role admin
 * and a token of ACCESS_TOKEN_DAYS_MAX days.
 *
 *   keep  is called with the token before it opens anything: a crash in between
 *         leaves a text that is good for nothing, and the next start mints
 *         another. The other way round the only token could be lost for ever.
 *         Not called when principals exist.
 *
 * Errors:  those of keep; ERR_NO_SPACE.
 * Thread:  before the first request.
 */
enum err_code access_bootstrap(struct catalog *catalog, access_keep_fn *keep, void *arg,
                               struct err *err) MUST_USE;
