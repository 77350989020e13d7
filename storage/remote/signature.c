/*
 * Standard Webhooks signatures. See signature.h for the contract.
 */
#include "storage/remote/signature.h"

#include "storage/base/hash.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"

#include <assert.h>
#include <string.h>

static const char secret_prefix[] = "whsec_";
static const char version_prefix[] = "v1,";

enum {
    VERSION_PREFIX_BYTES = sizeof version_prefix - 1,
    DIGEST_TEXT_BYTES = 44, /* base64 of 32 bytes */
};

_Static_assert(VERSION_PREFIX_BYTES + DIGEST_TEXT_BYTES + 1 == 48, "SIGNATURE_VALUE_BYTES_MAX");

enum err_code signature_secret_parse(struct span text, struct signature_secret *secret_out,
                                     struct err *err)
{
    size_t prefix = sizeof secret_prefix - 1;
    if (text.size >= prefix && memcmp(text.data, secret_prefix, prefix) == 0) {
        text = span_part(text, prefix, text.size);
    }
    struct buffer bytes;
    buffer_init(&bytes, SIGNATURE_SECRET_BYTES_MAX);
    bool valid = text_base64_decode(text, &bytes) && !bytes.overflowed &&
                 bytes.size >= SIGNATURE_SECRET_BYTES_MIN;
    if (valid) {
        *secret_out = (struct signature_secret){.size = bytes.size};
        memcpy(secret_out->bytes, bytes.data, bytes.size);
    }
    if (bytes.data != NULL) {
        secret_wipe(bytes.data, bytes.capacity);
    }
    buffer_deinit(&bytes);
    if (!valid) {
        return err_set(err, ERR_INVALID,
                       "a webhook secret is 'whsec_' and the base64 of %d to %d random bytes (make "
                       "one with: openssl rand -base64 32)",
                       SIGNATURE_SECRET_BYTES_MIN, SIGNATURE_SECRET_BYTES_MAX);
    }
    return ERR_OK;
}

void signature_secret_wipe(struct signature_secret *secret)
{
    secret_wipe(secret, sizeof *secret);
}

/* What the HMAC is over: "id.timestamp.body". */
static void append_signed(struct buffer *text, struct span id, struct span timestamp,
                          struct span body)
{
    buffer_append_span(text, id);
    buffer_append_byte(text, '.');
    buffer_append_span(text, timestamp);
    buffer_append_byte(text, '.');
    buffer_append_span(text, body);
    assert(!text->overflowed);
}

static void buffer_init_signed(struct buffer *text)
{
    buffer_init(text, SIGNATURE_ID_BYTES_MAX + SIGNATURE_BODY_BYTES_MAX + TEXT_DOUBLE_BYTES + 2);
}

void signature_write(const struct signature_secret *secrets, size_t count,
                     const struct signature_message *message, struct buffer *value)
{
    assert(count > 0 && count <= SIGNATURE_SECRETS_MAX);
    assert(message->id.size > 0 && message->id.size <= SIGNATURE_ID_BYTES_MAX);
    assert(memchr(message->id.data, '.', message->id.size) == NULL);
    assert(message->body.size <= SIGNATURE_BODY_BYTES_MAX);
    struct buffer text;
    buffer_init_signed(&text);
    char timestamp[TEXT_DOUBLE_BYTES];
    size_t size = text_format_int64(message->timestamp_seconds, timestamp);
    append_signed(&text, message->id, span_of(timestamp, size), message->body);
    for (size_t i = 0; i < count; i++) {
        uint8_t digest[HASH_SHA256_BYTES];
        hash_hmac_sha256(span_of(secrets[i].bytes, secrets[i].size), buffer_span(&text), digest);
        buffer_append_text(value, i > 0 ? " " : "");
        buffer_append_text(value, version_prefix);
        text_base64_encode(span_of(digest, sizeof digest), value);
    }
    buffer_deinit(&text);
}

/* Is `signature` ("v1,…") the one of `digest`? Compared in constant time. */
static bool fits(struct span signature, const uint8_t digest[HASH_SHA256_BYTES])
{
    struct buffer given;
    buffer_init(&given, HASH_SHA256_BYTES);
    bool same =
        signature.size == VERSION_PREFIX_BYTES + DIGEST_TEXT_BYTES &&
        memcmp(signature.data, version_prefix, VERSION_PREFIX_BYTES) == 0 &&
        text_base64_decode(span_part(signature, VERSION_PREFIX_BYTES, signature.size), &given) &&
        given.size == HASH_SHA256_BYTES && secret_equal(given.data, digest, HASH_SHA256_BYTES);
    buffer_deinit(&given);
    return same;
}

/* One of the signatures in `value`, spaces between? Other versions are skipped. */
static bool any_fits(struct span value, const uint8_t digest[HASH_SHA256_BYTES])
{
    size_t at = 0;
    while (at < value.size) {
        const uint8_t *space = memchr(value.data + at, ' ', value.size - at);
        size_t end = space != NULL ? (size_t)(space - value.data) : value.size;
        if (fits(span_part(value, at, end), digest)) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

static enum err_code check_headers(struct span id, struct span timestamp, struct span body,
                                   int64_t *seconds_out, struct err *err)
{
    if (id.size == 0 || id.size > SIGNATURE_ID_BYTES_MAX || memchr(id.data, '.', id.size) != NULL) {
        return err_set(err, ERR_INVALID, "webhook-id has 1 to %d bytes and no '.'",
                       SIGNATURE_ID_BYTES_MAX);
    }
    if (timestamp.size >= TEXT_DOUBLE_BYTES || !text_parse_int64(timestamp, seconds_out)) {
        return err_set(err, ERR_INVALID, "webhook-timestamp is a number of seconds");
    }
    if (body.size > SIGNATURE_BODY_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a webhook's body has at most %d bytes",
                       SIGNATURE_BODY_BYTES_MAX);
    }
    return ERR_OK;
}

enum err_code signature_verify(const struct signature_secret *secrets, size_t count, struct span id,
                               struct span timestamp, struct span value, struct span body,
                               int64_t now_seconds, struct err *err)
{
    int64_t seconds = 0;
    int64_t age = 0;
    TRY(check_headers(id, timestamp, body, &seconds, err));
    if (__builtin_sub_overflow(now_seconds, seconds, &age) || age > SIGNATURE_TOLERANCE_SECONDS ||
        age < -SIGNATURE_TOLERANCE_SECONDS) {
        return err_set(err, ERR_FORBIDDEN, "webhook-timestamp is more than %d seconds away",
                       SIGNATURE_TOLERANCE_SECONDS);
    }
    struct buffer text;
    buffer_init_signed(&text);
    append_signed(&text, id, timestamp, body);
    bool valid = false;
    for (size_t i = 0; i < count && !valid; i++) {
        uint8_t digest[HASH_SHA256_BYTES];
        hash_hmac_sha256(span_of(secrets[i].bytes, secrets[i].size), buffer_span(&text), digest);
        valid = any_fits(value, digest);
    }
    buffer_deinit(&text);
    if (!valid) {
        return err_set(err, ERR_FORBIDDEN, "no signature fits the secret");
    }
    return ERR_OK;
}
