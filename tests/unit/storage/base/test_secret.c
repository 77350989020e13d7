/*
 * Secrets: keys that persist, sealing that notices every change.
 */
#include "storage/base/secret.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>

#include <string.h>
#include <sys/stat.h>

static struct secret_keys *open_keys(const char *path)
{
    struct secret_keys *keys = NULL;
    struct err err = {0};
    cr_assert_eq(secret_init(&err), ERR_OK, "%s", err.msg);
    cr_assert_eq(secret_keys_open(path, &keys, &err), ERR_OK, "%s", err.msg);
    return keys;
}

Test(secret, keys_are_made_once_and_kept)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "secrets/root.key");
    CLEANUP(secret_keys_close) struct secret_keys *first = open_keys(path);
    CLEANUP(secret_keys_close) struct secret_keys *second = open_keys(path);
    for (unsigned i = 0; i < SECRET_PURPOSE_COUNT; i++) {
        cr_expect(secret_equal(secret_key(first, i), secret_key(second, i), SECRET_KEY_BYTES));
        for (unsigned j = 0; j < i; j++) {
            cr_expect_not(
                secret_equal(secret_key(first, i), secret_key(first, j), SECRET_KEY_BYTES));
        }
    }
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600U);

    CLEANUP(mem_cleanup) char *other_path = temp_dir_join(&dir, "other.key");
    CLEANUP(secret_keys_close) struct secret_keys *other = open_keys(other_path);
    cr_expect_not(secret_equal(secret_key(first, 0), secret_key(other, 0), SECRET_KEY_BYTES));
}

Test(secret, a_readable_key_file_is_refused)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "root.key");
    struct secret_keys *keys = open_keys(path);
    secret_keys_close(&keys);
    static const mode_t modes[] = {0640, 0604, 0644, 0620, 0601};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct err err = {0};
        cr_assert_eq(chmod(path, modes[i]), 0);
        cr_expect_eq(secret_keys_open(path, &keys, &err), ERR_FORBIDDEN);
        cr_expect_not_null(strstr(err.msg, "chmod 600"), "%s", err.msg);
    }
    cr_expect_null(keys);
}

Test(secret, a_damaged_key_file_is_refused_at_every_byte)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "root.key");
    CLEANUP(buffer_deinit) struct buffer file;
    struct err err = {0};
    struct secret_keys *keys = open_keys(path);
    secret_keys_close(&keys);
    buffer_init(&file, 1024);
    cr_assert_eq(file_read(path, &file, &err), ERR_OK);
    for (size_t i = 0; i < file.size; i++) {
        file.data[i] ^= 1;
        cr_assert_eq(file_replace_derived(path, buffer_span(&file), &err), ERR_OK);
        cr_expect_eq(secret_keys_open(path, &keys, &err), ERR_CORRUPT, "byte %zu", i);
        file.data[i] ^= 1;
    }
    for (size_t size = 0; size < file.size; size += 7) {
        cr_assert_eq(file_replace_derived(path, span_of(file.data, size), &err), ERR_OK);
        cr_expect_eq(secret_keys_open(path, &keys, &err), ERR_CORRUPT, "size %zu", size);
    }
}

Test(secret, hash_depends_on_purpose_and_bytes)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "root.key");
    CLEANUP(secret_keys_close) struct secret_keys *keys = open_keys(path);
    uint8_t a[SECRET_HASH_BYTES];
    uint8_t b[SECRET_HASH_BYTES];
    secret_hash(keys, SECRET_TOKENS, span_of_text("x"), a);
    secret_hash(keys, SECRET_TOKENS, span_of_text("x"), b);
    cr_expect(secret_equal(a, b, sizeof a));
    secret_hash(keys, SECRET_IDENTIFIERS, span_of_text("x"), b);
    cr_expect_not(secret_equal(a, b, sizeof a));
    secret_hash(keys, SECRET_TOKENS, span_of_text("y"), b);
    cr_expect_not(secret_equal(a, b, sizeof a));
    secret_hash(keys, SECRET_TOKENS, (struct span){0}, b);
    cr_expect_not(secret_equal(a, b, sizeof a));
}

Test(secret, sealed_text_opens_only_unchanged_and_in_its_context)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "root.key");
    CLEANUP(secret_keys_close) struct secret_keys *keys = open_keys(path);
    CLEANUP(buffer_deinit) struct buffer sealed;
    CLEANUP(buffer_deinit) struct buffer plain;
    struct err err = {0};
    struct span context = span_of_text("rows of members");
    buffer_init(&sealed, 256);
    buffer_init(&plain, 256);
    secret_seal(keys, SECRET_PAGES, span_of_text("position 7"), context, &sealed);
    cr_assert_eq(sealed.size, 10U + SECRET_SEAL_OVERHEAD_BYTES);
    cr_expect_eq(secret_unseal(keys, SECRET_PAGES, buffer_span(&sealed), context, &plain, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&plain), "position 7"));

    buffer_reset(&plain);
    for (size_t i = 0; i < sealed.size; i++) {
        sealed.data[i] ^= 0x40;
        cr_expect_eq(secret_unseal(keys, SECRET_PAGES, buffer_span(&sealed), context, &plain, &err),
                     ERR_INVALID, "byte %zu", i);
        sealed.data[i] ^= 0x40;
        struct span cut = span_of(sealed.data, i);
        cr_expect_eq(secret_unseal(keys, SECRET_PAGES, cut, context, &plain, &err), ERR_INVALID);
    }
    cr_expect_eq(secret_unseal(keys, SECRET_PAGES, buffer_span(&sealed), span_of_text("other"),
                               &plain, &err),
                 ERR_INVALID);
    cr_expect_eq(secret_unseal(keys, SECRET_TOKENS, buffer_span(&sealed), context, &plain, &err),
                 ERR_INVALID);
    cr_expect_eq(plain.size, 0U);
}

Test(secret, sealing_nothing_works_and_differs_each_time)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "root.key");
    CLEANUP(secret_keys_close) struct secret_keys *keys = open_keys(path);
    CLEANUP(buffer_deinit) struct buffer a;
    CLEANUP(buffer_deinit) struct buffer b;
    CLEANUP(buffer_deinit) struct buffer plain;
    struct span nothing = {0};
    struct err err = {0};
    buffer_init(&a, 64);
    buffer_init(&b, 64);
    buffer_init(&plain, 64);
    secret_seal(keys, SECRET_PAGES, nothing, nothing, &a);
    secret_seal(keys, SECRET_PAGES, nothing, nothing, &b);
    cr_expect_not(span_equal(buffer_span(&a), buffer_span(&b)));
    cr_expect_eq(secret_unseal(keys, SECRET_PAGES, buffer_span(&a), nothing, &plain, &err), ERR_OK);
    cr_expect_eq(plain.size, 0U);
}

Test(secret, random)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    secret_random(a, sizeof a);
    secret_random(b, sizeof b);
    cr_expect_not(secret_equal(a, b, sizeof a));
    secret_wipe(a, sizeof a);
    cr_expect(secret_equal(a, (uint8_t[32]){0}, sizeof a));

    unsigned seen[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint64_t value = secret_random_below(10);
        cr_assert_lt(value, 10U);
        seen[value]++;
    }
    for (int i = 0; i < 10; i++) {
        /* a thousand expected; 800 is six standard deviations away */
        cr_expect_gt(seen[i], 800U, "%d came %u times", i, seen[i]);
    }
    cr_expect_eq(secret_random_below(1), 0U);
    cr_expect_lt(secret_random_below(UINT64_MAX), UINT64_MAX);
}
