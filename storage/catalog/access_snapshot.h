/*
 * The access snapshot: every principal, compiled grant and token in memory,
 * immutable but for the traces of use in its tokens. Private to the catalog.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/hash.h"
#include "storage/base/lock.h"
#include "storage/catalog/access.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* One action pattern of one role of one principal on one table pattern. */
struct compiled_grant {
    const char *role;   /* static */
    const char *action; /* static */
    const char *scope;  /* table pattern; NULL = actions without a table */
};

struct snapshot_token {
    struct token_id id;
    uint8_t hash[SECRET_HASH_BYTES];
    uint32_t principal;
    int64_t expires_at_us;
    int64_t revoked_at_us; /* 0 = not */
    _Atomic int64_t last_used_us;
    /* Two SipHashes of the text, once it was verified: spares the HMAC. 0 = not yet. */
    _Atomic uint64_t seen[2];
};

struct access_snapshot {
    _Atomic int64_t references;
    struct principal *principals;
    size_t principals_count;
    struct compiled_grant *grants;
    size_t grants_count;
    struct snapshot_token *tokens; /* sorted by id */
    size_t tokens_count;
    uint32_t *slots; /* hash table over tokens: index + 1, 0 = empty */
    size_t slots_mask;
    char *texts; /* scopes */
};

/* Embedded in the catalog. */
struct access_cache {
    struct lock lock; /* rank CACHE; guards `snapshot`, the pointer */
    struct access_snapshot *snapshot;
    uint8_t fast_keys[2][HASH_KEY_BYTES]; /* of this process; set once */
};

void access_cache_init(struct access_cache *cache);
void access_cache_deinit(struct access_cache *cache);

/* Read everything through the writer's connection and publish it. */
enum err_code access_cache_rebuild(struct access_cache *cache, struct store *store,
                                   struct err *err) MUST_USE;

/* Any thread. */
struct access_snapshot *access_snapshot_acquire(struct access_cache *cache);
void access_snapshot_release(struct access_snapshot *snapshot);

/* NULL when there is no token of the id. */
struct snapshot_token *access_snapshot_token(const struct access_snapshot *snapshot,
                                             const struct token_id *id);

/* Write times of use that are newer than the stored ones. Inside a closure, on catalog.db. */
enum err_code access_store_use(struct access_cache *cache, struct store *store,
                               struct err *err) MUST_USE;
