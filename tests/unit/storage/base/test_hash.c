/*
 * Hashes against published vectors.
 */
#include "storage/base/hash.h"

#include "storage/base/err.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

static void to_hex(const uint8_t digest[HASH_SHA256_BYTES], char text_out[65])
{
    for (size_t i = 0; i < HASH_SHA256_BYTES; i++) {
        (void)snprintf(text_out + 2 * i, 3, "%02x", digest[i]); /* fits */
    }
}

Test(hash, checksum_is_xxh3_with_seed_zero)
{
    cr_expect_eq(hash_checksum((struct span){0}), 0x2d06800538d394c2U);
    cr_expect_eq(hash_checksum(span_of_text("")), 0x2d06800538d394c2U);
    cr_expect_neq(hash_checksum(span_of_text("a")), hash_checksum(span_of_text("b")));
}

Test(hash, crc32_has_the_check_value_of_its_polynomial)
{
    cr_expect_eq(hash_crc32(span_of_text("123456789")), 0xcbf43926U);
    cr_expect_eq(hash_crc32((struct span){0}), 0U);
}

Test(hash, keyed_is_siphash_2_4)
{
    uint8_t key[HASH_KEY_BYTES];
    uint8_t input[15];
    for (uint8_t i = 0; i < sizeof key; i++) {
        key[i] = i;
    }
    for (uint8_t i = 0; i < sizeof input; i++) {
        input[i] = i;
    }
    /* source: the SipHash paper, appendix A */
    cr_expect_eq(hash_keyed(key, span_of(input, sizeof input)), 0xa129ca6149be45e5U);
    cr_expect_eq(hash_keyed(key, (struct span){0}), 0x726fdb47dd0e0e31U);
}

Test(hash, sha256_vectors)
{
    static const struct {
        const char *input;
        const char *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t digest[HASH_SHA256_BYTES];
        char text[65];
        hash_sha256(span_of_text(cases[i].input), digest);
        to_hex(digest, text);
        cr_expect_str_eq(text, cases[i].digest, "%s", cases[i].input);
    }
}

Test(hash, a_stream_gives_the_digest_of_all_its_pieces)
{
    uint8_t bytes[1000];
    uint8_t expected[HASH_SHA256_BYTES];
    uint8_t digest[HASH_SHA256_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    CLEANUP(hash_stream_free) struct hash_stream *stream = hash_stream_new();
    for (size_t at = 0, step = 0; at < sizeof bytes; at += step, step++) {
        step = step < sizeof bytes - at ? step : sizeof bytes - at;
        hash_stream_update(stream, span_of(bytes + at, step));
        hash_stream_digest(stream, digest);
        hash_sha256(span_of(bytes, at + step), expected);
        cr_expect_arr_eq(digest, expected, sizeof digest, "after %zu bytes", at + step);
    }
}

Test(hash, hmac_vectors)
{
    /* source: RFC 4231 4.2 and 4.3 */
    uint8_t digest[HASH_SHA256_BYTES];
    char text[65];
    hash_hmac_sha256(span_of_text("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                                  "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"),
                     span_of_text("Hi There"), digest);
    to_hex(digest, text);
    cr_expect_str_eq(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    hash_hmac_sha256(span_of_text("Jefe"), span_of_text("what do ya want for nothing?"), digest);
    to_hex(digest, text);
    cr_expect_str_eq(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
