/*
 * Hashes over libxxhash, zlib, libsodium and gnutls. See hash.h for the contract.
 */
#include "storage/base/hash.h"

#include "storage/base/mem.h"

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

uint64_t hash_xxh64(struct span bytes)
{
    return XXH64(start_of(bytes), bytes.size, 0);
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

struct hash_stream {
    gnutls_hash_hd_t handle;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *stream = mem_zeroed(1, sizeof *stream);
    int result = gnutls_hash_init(&stream->handle, GNUTLS_DIG_SHA256);
    assert(result == 0);
    return stream;
}

void hash_stream_update(struct hash_stream *stream, struct span bytes)
{
    int result = gnutls_hash(stream->handle, start_of(bytes), bytes.size);
    assert(result == 0);
}

void hash_stream_digest(const struct hash_stream *stream, uint8_t digest_out[HASH_SHA256_BYTES])
{
    gnutls_hash_hd_t copy = gnutls_hash_copy(stream->handle);
    assert(copy != NULL);
    gnutls_hash_deinit(copy, digest_out);
}

void hash_stream_free(struct hash_stream **stream)
{
    if (*stream != NULL) {
        gnutls_hash_deinit((*stream)->handle, NULL);
        mem_free(*stream);
        *stream = NULL;
    }
}

void hash_hmac_sha256(struct span key, struct span bytes, uint8_t digest_out[HASH_SHA256_BYTES])
{
    int result = gnutls_hmac_fast(GNUTLS_MAC_SHA256, start_of(key), key.size, start_of(bytes),
                                  bytes.size, digest_out);
    assert(result == 0);
}
