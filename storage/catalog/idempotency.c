/*
 * Idempotency keys: claims in memory, answers in the pieces. See batches.h.
 *
 * A claim makes its holder the only one that may store the key, so looking the
 * stored keys up before the body is decoded is enough; the primary key of the
 * transaction that stores it is the second line.
 */
#include "storage/catalog/idempotency.h"

#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"
#include "storage/catalog/private.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const char sql_insert[] =
    "INSERT INTO idempotency(key, body_sha256, status, batch, body, created_at)"
    " VALUES(?, ?, ?, ?, ?, ?)";
static const char sql_find[] = "SELECT body_sha256, status, batch, body FROM idempotency"
                               " WHERE key = ? AND created_at > ?";

struct claim {
    struct idempotency_key key;
    struct claim *next;
};

/* ---- claims ---- */

void claims_init(struct claims *claims)
{
    *claims = (struct claims){0};
    lock_init(&claims->lock, LOCK_RANK_CACHE);
}

void claims_deinit(struct claims *claims)
{
    for (size_t i = 0; i < CLAIMS_BUCKETS; i++) {
        while (claims->buckets[i] != NULL) {
            struct claim *claim = claims->buckets[i];
            claims->buckets[i] = claim->next;
            mem_free(claim);
        }
    }
    lock_deinit(&claims->lock);
}

/* The link that points to the claim of `key`, or to the end of its chain. The lock is held. */
static struct claim **find_claim(struct claims *claims, const struct idempotency_key *key)
{
    size_t bucket = ((size_t)key->hash[0] << 8 | key->hash[1]) % CLAIMS_BUCKETS;
    struct claim **link = &claims->buckets[bucket];
    while (*link != NULL && memcmp((*link)->key.hash, key->hash, sizeof key->hash) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static bool take_claim(struct claims *claims, const struct idempotency_key *key)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&claims->lock);
    struct claim **link = find_claim(claims, key);
    if (*link != NULL) {
        return false;
    }
    *link = mem_zeroed(1, sizeof **link);
    (*link)->key = *key;
    return true;
}

void idempotency_end(struct catalog *catalog, const struct idempotency_key *key)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&catalog->claims.lock);
    struct claim **link = find_claim(&catalog->claims, key);
    struct claim *claim = *link;
    assert(claim != NULL);
    *link = claim->next;
    mem_free(claim);
}

/* ---- stored keys ---- */

void idempotency_key_of(const struct id *principal, const char *method, const char *path,
                        struct span client_key, struct idempotency_key *key_out)
{
    assert(client_key.size > 0);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_append_format(&text, "%s %s %s ", principal->text, method, path);
    buffer_append_span(&text, client_key);
    hash_sha256(buffer_span(&text), key_out->hash);
}

enum err_code idempotency_insert(struct store *store, const struct idempotency_key *key,
                                 const uint8_t body_sha256[BATCH_SHA256_BYTES], int status,
                                 const struct id *batch, struct span body, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_insert, &query, err));
    query_bind_bytes(&query, key->hash, sizeof key->hash);
    query_bind_bytes(&query, body_sha256, BATCH_SHA256_BYTES);
    query_bind_integer(&query, status);
    query_bind_id(&query, batch);
    query_bind_bytes(&query, body.data, body.size);
    query_bind_integer(&query, clock_wall_us());
    enum err_code code = query_run(&query, err);
    if (code == ERR_EXISTS) {
        return err_set(err, ERR_CONFLICT, "the idempotency key was used meanwhile: ask again");
    }
    return code;
}

struct stored_answer {
    bool found;
    uint8_t body_sha256[BATCH_SHA256_BYTES];
    struct idempotency_answer answer;
};

static enum err_code find_in_piece(struct store *store, const struct idempotency_key *key,
                                   int64_t since_us, struct arena *arena,
                                   struct stored_answer *stored, struct err *err)
{
    CLEANUP(query_end) struct query query = {0};
    TRY(query_begin(store, sql_find, &query, err));
    query_bind_bytes(&query, key->hash, sizeof key->hash);
    query_bind_integer(&query, since_us);
    TRY(query_next(&query, &stored->found, err));
    if (!stored->found) {
        return ERR_OK;
    }
    const char *body = NULL;
    TRY(query_bytes(&query, 0, stored->body_sha256, sizeof stored->body_sha256, err));
    stored->answer.status = (int)query_integer(&query, 1);
    TRY(query_id(&query, 2, &stored->answer.batch, err));
    TRY(query_text(&query, 3, arena, &body, err));
    stored->answer.body = span_of(body, query_span(&query, 3).size);
    return ERR_OK;
}

static enum err_code find_key(struct catalog *catalog, const struct idempotency_key *key,
                              struct arena *arena, struct stored_answer *stored, struct err *err)
{
    int64_t since_us = clock_wall_us() - catalog->options.retention_us;
    int64_t numbers[CATALOG_PIECES_MAX];
    size_t count = pieces_numbers(catalog, numbers);
    CLEANUP(reader_drop) struct reader *reader = reader_take(catalog);
    for (size_t i = 0; i < count && !stored->found; i++) { /* a replay's lies in an old piece */
        struct store *store = NULL;
        enum err_code code = reader_piece(reader, numbers[i], &store, err);
        if (code == ERR_NOT_FOUND) {
            err_clear(err); /* dropped since the list was taken */
            continue;
        }
        TRY(code);
        TRY(find_in_piece(store, key, since_us, arena, stored, err));
    }
    return ERR_OK;
}

enum err_code idempotency_begin(struct catalog *catalog, const struct idempotency_key *key,
                                const uint8_t body_sha256[BATCH_SHA256_BYTES], struct arena *arena,
                                enum idempotency_outcome *outcome_out,
                                struct idempotency_answer *answer_out, struct err *err)
{
    if (!take_claim(&catalog->claims, key)) {
        *outcome_out = IDEMPOTENCY_IN_FLIGHT;
        return ERR_OK;
    }
    struct stored_answer stored = {0};
    enum err_code code = find_key(catalog, key, arena, &stored, err);
    if (code == ERR_OK && !stored.found) {
        *outcome_out = IDEMPOTENCY_FRESH;
        return ERR_OK;
    }
    idempotency_end(catalog, key);
    TRY(code);
    if (memcmp(stored.body_sha256, body_sha256, BATCH_SHA256_BYTES) != 0) {
        *outcome_out = IDEMPOTENCY_MISMATCH;
        return ERR_OK;
    }
    *outcome_out = IDEMPOTENCY_REPLAY;
    *answer_out = stored.answer;
    return ERR_OK;
}

/* ---- storing an answer without a batch ---- */

struct store_answer {
    const struct idempotency_key *key;
    const uint8_t *body_sha256;
    int status;
    struct span body;
};

static enum err_code write_answer(struct transaction *transaction, void *arg, struct err *err)
{
    static const struct id no_batch = {.text = ""};
    const struct store_answer *answer = arg;
    struct store *store = NULL;
    TRY(transaction_piece(transaction, 0, &store, NULL, err));
    return idempotency_insert(store, answer->key, answer->body_sha256, answer->status, &no_batch,
                              answer->body, err);
}

enum err_code idempotency_store(struct catalog *catalog, const struct idempotency_key *key,
                                const uint8_t body_sha256[BATCH_SHA256_BYTES], int status,
                                struct span body, struct err *err)
{
    if (body.size > IDEMPOTENCY_ANSWER_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "an answer of %zu bytes is too large to be kept",
                       body.size);
    }
    struct store_answer answer = {
        .key = key, .body_sha256 = body_sha256, .status = status, .body = body};
    return catalog_write(catalog, write_answer, &answer, err);
}
