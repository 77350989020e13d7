/*
 * Secrets: random bytes, keyed hashes, authenticated sealing, and the file
 * that holds the instance's keys. The only file that includes sodium.h.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SECRET_KEY_BYTES = 32,
    SECRET_HASH_BYTES = 32,
    SECRET_SEAL_OVERHEAD_BYTES = 40, /* nonce 24 + tag 16 (XChaCha20-Poly1305) */
};

/* Purposes of the instance's keys; each has a key of its own derived from the root. */
enum secret_purpose {
    SECRET_TOKENS,      /* keyed hash of API tokens */
    SECRET_IDENTIFIERS, /* keyed hash of member identifiers in logs and audit */
    SECRET_INDEX,       /* keyed hash of the key index (first 16 bytes) */
    SECRET_PAGES,       /* sealing of page tokens */
    SECRET_VALUES,      /* sealing of the secrets that jobs use */
    SECRET_PURPOSE_COUNT,
};

/* Once at start, before any other function here. */
enum err_code secret_init(struct err *err) MUST_USE;

void secret_random(void *bytes_out, size_t size);
uint64_t secret_random_below(uint64_t limit);

/* The keys of one instance; set once at open, wiped at close. */
struct secret_keys;

/*
 * Load `<data>/secrets/root.key`, or create it (0600, durable) at the first start.
 * Errors:  ERR_FORBIDDEN the file is readable by others (says chmod 600);
 *          ERR_CORRUPT wrong length or check value; ERR_IO.
 */
enum err_code secret_keys_open(const char *path, struct secret_keys **keys_out,
                               struct err *err) MUST_USE;
void secret_keys_close(struct secret_keys **keys);

const uint8_t *secret_key(const struct secret_keys *keys, enum secret_purpose purpose);

/* HMAC-SHA-256 under a purpose's key. */
void secret_hash(const struct secret_keys *keys, enum secret_purpose purpose, struct span bytes,
                 uint8_t hash_out[SECRET_HASH_BYTES]);

/* Constant-time comparison. */
bool secret_equal(const void *a, const void *b, size_t size);
void secret_wipe(void *bytes, size_t size);

/* Authenticated encryption; `context` is bound to the result but not kept in it. */
void secret_seal(const struct secret_keys *keys, enum secret_purpose purpose, struct span plain,
                 struct span context, struct buffer *sealed);
/* Errors:  ERR_INVALID not sealed by us for this context. */
enum err_code secret_unseal(const struct secret_keys *keys, enum secret_purpose purpose,
                            struct span sealed, struct span context, struct buffer *plain,
                            struct err *err) MUST_USE;

/* The same under a key of the caller's own (secret_random), which it wipes. */
void secret_seal_under(const uint8_t key[SECRET_KEY_BYTES], struct span plain, struct span context,
                       struct buffer *sealed);
enum err_code secret_unseal_under(const uint8_t key[SECRET_KEY_BYTES], struct span sealed,
                                  struct span context, struct buffer *plain,
                                  struct err *err) MUST_USE;
