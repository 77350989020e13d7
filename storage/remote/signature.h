/*
 * Signatures of webhooks as Standard Webhooks has them: a receiver with the same
 * secret can tell that a message is ours, whole, and not an old one sent again.
 *
 *     webhook-id: <id>
 *     webhook-timestamp: <seconds since 1970>
 *     webhook-signature: v1,<base64 of HMAC-SHA-256 over "id.timestamp.body"> …
 *
 * Pure; no clock. Thread: reentrant.
 * Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SIGNATURE_SECRET_BYTES_MIN = 24,
    SIGNATURE_SECRET_BYTES_MAX = 64,
    SIGNATURE_SECRETS_MAX = 4, /* valid at once while secrets are rotated */
    SIGNATURE_ID_BYTES_MAX = 256,
    SIGNATURE_BODY_BYTES_MAX = 1 << 20,
    SIGNATURE_VALUE_BYTES_MAX = SIGNATURE_SECRETS_MAX * 48, /* what signature_write appends */
    SIGNATURE_TOLERANCE_SECONDS = 300,                      /* what receivers allow by convention */
};

struct signature_secret {
    uint8_t bytes[SIGNATURE_SECRET_BYTES_MAX];
    size_t size;
};

/*
 * "whsec_" and base64, or the base64 alone.
 * Errors:  ERR_INVALID not base64, or not 24 to 64 bytes (never echoes the text).
 */
enum err_code signature_secret_parse(struct span text, struct signature_secret *secret_out,
                                     struct err *err) MUST_USE;
void signature_secret_wipe(struct signature_secret *secret);

/* What is signed; borrowed. */
struct signature_message {
    struct span id; /* no '.', 1 to SIGNATURE_ID_BYTES_MAX bytes */
    int64_t timestamp_seconds;
    struct span body;
};

/*
 * Append the value of webhook-signature: one signature a secret, spaces between.
 *
 *   secrets  1 to SIGNATURE_SECRETS_MAX of them, the newest first
 */
void signature_write(const struct signature_secret *secrets, size_t count,
                     const struct signature_message *message, struct buffer *value);

/*
 * Is one of the signatures in `value` made with one of the secrets?
 *
 *   timestamp    the header's text
 *   now_seconds  the receiver's clock
 *
 * Errors:  ERR_INVALID a header is malformed; ERR_FORBIDDEN no signature fits, or the
 *          timestamp is more than SIGNATURE_TOLERANCE_SECONDS away from now.
 */
enum err_code signature_verify(const struct signature_secret *secrets, size_t count, struct span id,
                               struct span timestamp, struct span value, struct span body,
                               int64_t now_seconds, struct err *err) MUST_USE;
