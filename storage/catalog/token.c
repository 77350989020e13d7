/*
 * API tokens. See token.h for the form.
 */
#include "storage/catalog/token.h"

#include "storage/base/hash.h"

#include <assert.h>
#include <string.h>

enum { BASE = 62, SECRET_RANDOM_BYTES = 32 };

static const char prefix[] = "slc_";
static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

enum {
    PREFIX_BYTES = sizeof prefix - 1,
    CHECKED_BYTES = TOKEN_TEXT_BYTES - TOKEN_CRC_BYTES,
};

/* `number`, big endian, as exactly `count` digits; what does not fit is dropped. */
static void write_base62(uint8_t *number, size_t size, char *text_out, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        unsigned remainder = 0;
        for (size_t j = 0; j < size; j++) {
            unsigned value = remainder << 8 | number[j];
            number[j] = (uint8_t)(value / BASE);
            remainder = value % BASE;
        }
        text_out[i - 1] = digits[remainder];
    }
}

static void write_crc(const char *text, char crc_out[TOKEN_CRC_BYTES])
{
    uint32_t crc = hash_crc32(span_of(text, CHECKED_BYTES));
    uint8_t number[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8),
                         (uint8_t)crc};
    write_base62(number, sizeof number, crc_out, TOKEN_CRC_BYTES);
}

void token_new(char text_out[TOKEN_TEXT_BYTES + 1], struct token_id *id_out)
{
    char *at = text_out;
    memcpy(at, prefix, PREFIX_BYTES);
    at += PREFIX_BYTES;
    for (size_t i = 0; i < TOKEN_ID_BYTES; i++) {
        *at++ = digits[secret_random_below(BASE)];
    }
    *at++ = '_';
    uint8_t secret[SECRET_RANDOM_BYTES];
    secret_random(secret, sizeof secret);
    write_base62(secret, sizeof secret, at, TOKEN_SECRET_BYTES);
    secret_wipe(secret, sizeof secret);
    at += TOKEN_SECRET_BYTES;
    write_crc(text_out, at);
    at += TOKEN_CRC_BYTES;
    *at = '\0';
    assert(at - text_out == TOKEN_TEXT_BYTES);
    memcpy(id_out->text, text_out + PREFIX_BYTES, TOKEN_ID_BYTES);
    id_out->text[TOKEN_ID_BYTES] = '\0';
}

static bool is_base62(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))) {
            return false;
        }
    }
    return true;
}

bool token_parse(struct span text, struct token_id *id_out)
{
    if (text.size != TOKEN_TEXT_BYTES || memcmp(text.data, prefix, PREFIX_BYTES) != 0) {
        return false;
    }
    const uint8_t *id = text.data + PREFIX_BYTES;
    const uint8_t *separator = id + TOKEN_ID_BYTES;
    if (!is_base62(id, TOKEN_ID_BYTES) || *separator != '_' ||
        !is_base62(separator + 1, TOKEN_SECRET_BYTES + TOKEN_CRC_BYTES)) {
        return false;
    }
    char crc[TOKEN_CRC_BYTES];
    write_crc((const char *)text.data, crc);
    if (memcmp(text.data + CHECKED_BYTES, crc, sizeof crc) != 0) {
        return false;
    }
    memcpy(id_out->text, id, TOKEN_ID_BYTES);
    id_out->text[TOKEN_ID_BYTES] = '\0';
    return true;
}

void token_hash(const struct secret_keys *keys, struct span text,
                uint8_t hash_out[SECRET_HASH_BYTES])
{
    secret_hash(keys, SECRET_TOKENS, text, hash_out);
}
