/*
 * Randomness, keys and sealing over libsodium. See secret.h for the contract.
 *
 * The root key is never used itself: each purpose has a key derived from it, so
 * that a hash of one purpose says nothing to another.
 */
#include "storage/base/secret.h"

#include "storage/base/file.h"
#include "storage/base/hash.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    ROOT_BYTES = crypto_kdf_KEYBYTES,
    CHECK_BYTES = 8,
    MAGIC_BYTES = 8,
    KEY_FILE_BYTES = MAGIC_BYTES + ROOT_BYTES + CHECK_BYTES,
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
};

_Static_assert(SECRET_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "one key size");
_Static_assert(SECRET_SEAL_OVERHEAD_BYTES == NONCE_BYTES + TAG_BYTES, "what sealing adds");
_Static_assert((int)SECRET_HASH_BYTES == (int)HASH_SHA256_BYTES, "hashes are HMAC-SHA-256");

static const char magic[MAGIC_BYTES + 1] = "sluicek1";
static const char derivation_context[crypto_kdf_CONTEXTBYTES + 1] = "sluice-1";

/* Derivation numbers of what is not a purpose; purposes count from FIRST_PURPOSE. */
enum { CHECK_NUMBER = 1, FIRST_PURPOSE = 16 };

struct secret_keys {
    uint8_t keys[SECRET_PURPOSE_COUNT][SECRET_KEY_BYTES]; /* set once at open */
};

enum err_code secret_init(struct err *err)
{
    if (sodium_init() < 0) {
        return err_set(err, ERR_IO, "libsodium did not start");
    }
    return ERR_OK;
}

void secret_random(void *bytes_out, size_t size)
{
    uint8_t *at = bytes_out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0) {
            /* without randomness nothing here is a secret: stop rather than go on */
            if (errno != EINTR) {
                abort();
            }
            continue;
        }
        at += got;
        size -= (size_t)got;
    }
}

uint64_t secret_random_below(uint64_t limit)
{
    assert(limit > 0);
    /* values below 2^64 mod limit would make small results more likely: draw again */
    uint64_t skewed = (0 - limit) % limit;
    uint64_t value = 0;
    do {
        secret_random(&value, sizeof value);
    } while (value < skewed);
    return value % limit;
}

bool secret_equal(const void *a, const void *b, size_t size)
{
    return sodium_memcmp(a, b, size) == 0;
}

void secret_wipe(void *bytes, size_t size)
{
    sodium_memzero(bytes, size);
}

static void derive(const uint8_t root[ROOT_BYTES], uint64_t number, uint8_t *key_out, size_t size)
{
    int result = crypto_kdf_derive_from_key(key_out, size, number, derivation_context, root);
    assert(result == 0);
}

/* What the key file says about its root key, so that a damaged one is noticed. */
static void check_value(const uint8_t root[ROOT_BYTES], uint8_t check_out[CHECK_BYTES])
{
    uint8_t derived[crypto_kdf_BYTES_MIN];
    derive(root, CHECK_NUMBER, derived, sizeof derived);
    memcpy(check_out, derived, CHECK_BYTES);
}

static void write_key_file(const uint8_t root[ROOT_BYTES], uint8_t file_out[KEY_FILE_BYTES])
{
    memcpy(file_out, magic, MAGIC_BYTES);
    memcpy(file_out + MAGIC_BYTES, root, ROOT_BYTES);
    check_value(root, file_out + MAGIC_BYTES + ROOT_BYTES);
}

/* Another process may win the race to create it: then its key is the key. */
static enum err_code create_key_file(const char *path, struct err *err)
{
    uint8_t root[ROOT_BYTES];
    uint8_t file[KEY_FILE_BYTES];
    secret_random(root, sizeof root);
    write_key_file(root, file);
    enum err_code result = file_publish(path, span_of(file, sizeof file), err);
    secret_wipe(root, sizeof root);
    secret_wipe(file, sizeof file);
    if (result == ERR_EXISTS) {
        err_clear(err);
        return ERR_OK;
    }
    return result;
}

static enum err_code make_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return ERR_OK;
    }
    CLEANUP(mem_cleanup) char *parent = mem_copy_text(path);
    parent[slash - path] = '\0';
    return file_make_directory(parent, err);
}

static enum err_code check_private(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return err_set_errno(err, errno, "look at %s", path);
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return err_set(err, ERR_FORBIDDEN, "%s can be read by other users; run: chmod 600 %s", path,
                       path);
    }
    return ERR_OK;
}

/* Read and verify the root key; the caller wipes it. */
static enum err_code read_root(const char *path, uint8_t root_out[ROOT_BYTES], struct err *err)
{
    uint8_t file[KEY_FILE_BYTES];
    uint8_t check[CHECK_BYTES];
    CLEANUP(file_close) int fd = -1;
    int64_t size = 0;
    TRY(file_open_read(path, &fd, &size, err));
    if (size != KEY_FILE_BYTES) {
        return err_set(err, ERR_CORRUPT, "%s has %lld bytes, not %d: restore it from a backup",
                       path, (long long)size, KEY_FILE_BYTES);
    }
    TRY(file_read_at(fd, 0, file, sizeof file, err));
    check_value(file + MAGIC_BYTES, check);
    bool sound = memcmp(file, magic, MAGIC_BYTES) == 0 &&
                 secret_equal(file + MAGIC_BYTES + ROOT_BYTES, check, CHECK_BYTES);
    if (sound) {
        memcpy(root_out, file + MAGIC_BYTES, ROOT_BYTES);
    }
    secret_wipe(file, sizeof file);
    return sound ? ERR_OK
                 : err_set(err, ERR_CORRUPT, "%s is damaged: restore it from a backup", path);
}

enum err_code secret_keys_open(const char *path, struct secret_keys **keys_out, struct err *err)
{
    if (!file_exists(path)) {
        TRY(make_parent(path, err));
        TRY(create_key_file(path, err));
    }
    TRY(check_private(path, err));
    uint8_t root[ROOT_BYTES];
    TRY(read_root(path, root, err));

    struct secret_keys *keys = mem_zeroed(1, sizeof *keys);
    (void)sodium_mlock(keys, sizeof *keys); /* a limit on locked memory is no reason to stop */
    for (unsigned i = 0; i < SECRET_PURPOSE_COUNT; i++) {
        derive(root, FIRST_PURPOSE + i, keys->keys[i], SECRET_KEY_BYTES);
    }
    secret_wipe(root, sizeof root);
    *keys_out = keys;
    return ERR_OK;
}

void secret_keys_close(struct secret_keys **keys)
{
    if (*keys != NULL) {
        (void)sodium_munlock(*keys, sizeof **keys); /* wipes, whether or not it was locked */
        mem_free(*keys);
        *keys = NULL;
    }
}

const uint8_t *secret_key(const struct secret_keys *keys, enum secret_purpose purpose)
{
    assert(purpose < SECRET_PURPOSE_COUNT);
    return keys->keys[purpose];
}

void secret_hash(const struct secret_keys *keys, enum secret_purpose purpose, struct span bytes,
                 uint8_t hash_out[SECRET_HASH_BYTES])
{
    hash_hmac_sha256(span_of(secret_key(keys, purpose), SECRET_KEY_BYTES), bytes, hash_out);
}

void secret_seal_under(const uint8_t key[SECRET_KEY_BYTES], struct span plain, struct span context,
                       struct buffer *sealed)
{
    assert(plain.size <= SIZE_MAX - SECRET_SEAL_OVERHEAD_BYTES);
    uint8_t *out = buffer_reserve(sealed, plain.size + SECRET_SEAL_OVERHEAD_BYTES);
    if (out == NULL) {
        return;
    }
    secret_random(out, NONCE_BYTES);
    int result =
        crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_BYTES, NULL, plain.data, plain.size,
                                                   context.data, context.size, NULL, out, key);
    assert(result == 0);
    buffer_advance(sealed, plain.size + SECRET_SEAL_OVERHEAD_BYTES);
}

enum err_code secret_unseal_under(const uint8_t key[SECRET_KEY_BYTES], struct span sealed,
                                  struct span context, struct buffer *plain, struct err *err)
{
    if (sealed.size < SECRET_SEAL_OVERHEAD_BYTES) {
        return err_set(err, ERR_INVALID, "sealed text is too short");
    }
    size_t size = sealed.size - SECRET_SEAL_OVERHEAD_BYTES;
    /* room for one byte more, so that an empty text has somewhere to go too */
    uint8_t *out = buffer_reserve(plain, size + 1);
    if (out == NULL) {
        return buffer_check(plain, "sealed text", err);
    }
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed.data + NONCE_BYTES,
                                                   sealed.size - NONCE_BYTES, context.data,
                                                   context.size, sealed.data, key) != 0) {
        return err_set(err, ERR_INVALID, "sealed text is not ours or not for this use");
    }
    buffer_advance(plain, size);
    return ERR_OK;
}

void secret_seal(const struct secret_keys *keys, enum secret_purpose purpose, struct span plain,
                 struct span context, struct buffer *sealed)
{
    secret_seal_under(secret_key(keys, purpose), plain, context, sealed);
}

enum err_code secret_unseal(const struct secret_keys *keys, enum secret_purpose purpose,
                            struct span sealed, struct span context, struct buffer *plain,
                            struct err *err)
{
    return secret_unseal_under(secret_key(keys, purpose), sealed, context, plain, err);
}
