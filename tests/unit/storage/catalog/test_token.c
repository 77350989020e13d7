#include "storage/catalog/token.h"

#include "storage/base/hash.h"

#include <criterion/criterion.h>
#include <string.h>

static void init_secrets(void)
{
    struct err err = {0};
    cr_assert_eq(secret_init(&err), ERR_OK);
}

TestSuite(token, .init = init_secrets);

Test(token, parses_what_it_makes)
{
    for (int i = 0; i < 1000; i++) {
        char text[TOKEN_TEXT_BYTES + 1];
        struct token_id made;
        struct token_id parsed;
        token_new(text, &made);
        cr_assert_eq(strlen(text), TOKEN_TEXT_BYTES);
        cr_assert(token_parse(span_of_text(text), &parsed), "%s", text);
        cr_assert_str_eq(made.text, parsed.text);
        cr_assert_eq(strncmp(text, "slc_", 4), 0);
        cr_assert_eq(strncmp(text + 4, made.text, TOKEN_ID_BYTES), 0);
    }
}

Test(token, refuses_every_single_change)
{
    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- ";
    char text[TOKEN_TEXT_BYTES + 1];
    struct token_id id;
    token_new(text, &id);
    for (size_t at = 0; at < TOKEN_TEXT_BYTES; at++) {
        char kept = text[at];
        for (size_t i = 0; i < sizeof digits; i++) { /* the terminating NUL too */
            if (digits[i] == kept) {
                continue;
            }
            text[at] = digits[i];
            cr_assert_not(token_parse(span_of(text, TOKEN_TEXT_BYTES), &id),
                          "byte %zu as %d was accepted", at, digits[i]);
        }
        text[at] = kept;
    }
    for (size_t size = 0; size < TOKEN_TEXT_BYTES; size++) {
        cr_assert_not(token_parse(span_of(text, size), &id), "cut to %zu", size);
    }
}

Test(token, accepts_a_token_made_by_the_written_rule)
{
    /* id, secret and CRC-32 computed outside: any other program can check a token. */
    char text[] = "slc_ABCDEFGHIJKL_0123456789abcdefghijABCDEFGHIJ0123456789abc??????";
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint32_t crc = hash_crc32(span_of(text, TOKEN_TEXT_BYTES - TOKEN_CRC_BYTES));
    for (size_t i = TOKEN_TEXT_BYTES; i > TOKEN_TEXT_BYTES - TOKEN_CRC_BYTES; i--) {
        text[i - 1] = digits[crc % 62];
        crc /= 62;
    }
    struct token_id id;
    cr_expect(token_parse(span_of_text(text), &id), "%s", text);
    cr_expect_str_eq(id.text, "ABCDEFGHIJKL");
}
