/*
 * API tokens as text: `slc_<id>_<secret><crc>`. Pure, no I/O.
 *
 *   id      12 characters base62, public: names the token in lists, logs, audit
 *   secret  43 characters base62 = 256 random bits
 *   crc     6 characters base62 = CRC-32 of all that precedes: refuses typing
 *           errors without a look-up and lets secret scanners find leaked tokens
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/secret.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TOKEN_ID_BYTES = 12,
    TOKEN_SECRET_BYTES = 43,
    TOKEN_CRC_BYTES = 6,
    TOKEN_TEXT_BYTES = 4 + TOKEN_ID_BYTES + 1 + TOKEN_SECRET_BYTES + TOKEN_CRC_BYTES, /* 66 */
};

struct token_id {
    char text[TOKEN_ID_BYTES + 1];
};

/* A new token; the text is a secret: wipe it when shown. */
void token_new(char text_out[TOKEN_TEXT_BYTES + 1], struct token_id *id_out);

/* Form and checksum; says nothing about whether the token exists. */
bool token_parse(struct span text, struct token_id *id_out);

/* What is stored: HMAC-SHA-256 of the whole text under SECRET_TOKENS. */
void token_hash(const struct secret_keys *keys, struct span text,
                uint8_t hash_out[SECRET_HASH_BYTES]);
