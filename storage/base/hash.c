/*
 * Hashes over libxxhash, zlib, libsodium and gnutls. See hash.h for the contract.
 */
#include "storage/base/hash.h"

#include <assert.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <sodium.h>
#include <xxhash.h>
#include <zlib.h>

_Static_assert(HASH_KEY_BYTES == crypto_shorthash_KEYBYTES, "SipHash takes a 16-byte key");
_Static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(struct hash_wide), "128 bits");
_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "SipHash gives 64 bits");

/* The libraries want a valid pointer even for nothing. */
static const void *start_of(struct span bytes)
{
    return bytes.data != NULL ? (const void *)bytes.data : "";
}

uint64_t hash_checksum(struct span bytes)
{
    return XXH3_64bits(start_of(bytes), bytes.size);
}

uint32_t hash_crc32(struct span bytes)
{
    return (uint32_t)crc32_z(0, start_of(bytes), bytes.size);
}

uint64_t hash_keyed(const uint8_t key[HASH_KEY_BYTES], struct span bytes)
{
    uint64_t hash = 0;
    (void)crypto_shorthash((unsigned char *)&hash, start_of(bytes), bytes.size,
                           key); /* always returns 0 */
    return hash;
}

struct hash_wide hash_keyed_wide(const uint8_t key[HASH_KEY_BYTES], struct span bytes)
{
    struct hash_wide hash = {0};
    (void)crypto_shorthash_siphashx24((unsigned char *)&hash, start_of(bytes), bytes.size,
                                      key); /* always returns 0 */
    return hash;
}

void hash_sha256(struct span bytes, uint8_t digest_out[HASH_SHA256_BYTES])
{
    int result = gnutls_hash_fast(GNUTLS_DIG_SHA256, start_of(bytes), bytes.size, digest_out);
    assert(result == 0);
}

void hash_hmac_sha256(struct span key, struct span bytes, uint8_t digest_out[HASH_SHA256_BYTES])
{
    int result = gnutls_hmac_fast(GNUTLS_MAC_SHA256, start_of(key), key.size, start_of(bytes),
                                  bytes.size, digest_out);
    assert(result == 0);
}
