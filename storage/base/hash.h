/*
 * Hashes that are not secrets: checksums of our own files and keyed hashes of
 * keys. XXH3 comes from libxxhash, CRC-32 from zlib, SipHash from libsodium, and
 * SHA-256 from gnutls, which uses the processor's SHA instructions (five times
 * libsodium's speed, and every body and audit record is hashed).
 */
#pragma once

#include "storage/base/span.h"

#include <stdint.h>

/* XXH3-64: the checksum of everything derived or journalled. */
uint64_t hash_checksum(struct span bytes);

/* XXH64 with seed 0, as Parquet's Bloom filters use it. */
uint64_t hash_xxh64(struct span bytes);

/* CRC-32 with zlib's polynomial, as Delta's deletion vectors and Parquet pages use it. */
uint32_t hash_crc32(struct span bytes);

enum { HASH_KEY_BYTES = 16 };

/* SipHash-2-4 under a 16-byte key: the key index's hash, safe against chosen keys. */
uint64_t hash_keyed(const uint8_t key[HASH_KEY_BYTES], struct span bytes);

/* The same with 128 bits: values that no chance makes equal, for sets that keep no values. */
struct hash_wide {
    uint64_t low;
    uint64_t high;
};
struct hash_wide hash_keyed_wide(const uint8_t key[HASH_KEY_BYTES], struct span bytes);

enum { HASH_SHA256_BYTES = 32 };

void hash_sha256(struct span bytes, uint8_t digest_out[HASH_SHA256_BYTES]);

/* The same over bytes that come piece by piece. One thread at a time. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_update(struct hash_stream *stream, struct span bytes);
/* Of all bytes so far; more may follow. */
void hash_stream_digest(const struct hash_stream *stream, uint8_t digest_out[HASH_SHA256_BYTES]);
/* Accepts NULL inside; nulls. */
void hash_stream_free(struct hash_stream **stream);

/* HMAC-SHA-256 (RFC 2104); `key` is a secret of any length. */
void hash_hmac_sha256(struct span key, struct span bytes, uint8_t digest_out[HASH_SHA256_BYTES]);
