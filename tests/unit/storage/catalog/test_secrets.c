/*
 * Secrets: in once, out only to who opens them, never readable on disk, and bound
 * to their row.
 */
#include "storage/catalog/secrets.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/store.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

TestSuite(secrets, .init = fixture_set_up, .fini = fixture_tear_down);

static struct catalog_secret put(const char *name, const char *value, bool created)
{
    struct err err = {0};
    struct catalog_secret record;
    bool is_new = !created;
    cr_assert_eq(
        catalog_secret_put(fixture.catalog, name, span_of_text(value), &record, &is_new, &err),
        ERR_OK, "%s", err.msg);
    cr_expect_eq(is_new, created, "%s", name);
    cr_expect_str_eq(record.name, name);
    return record;
}

static enum err_code open_value(const char *name, const char *expected)
{
    struct err err = {0};
    struct buffer value;
    buffer_init(&value, CATALOG_SECRET_VALUE_BYTES_MAX + 1);
    enum err_code code = catalog_secret_open(fixture.catalog, name, &value, &err);
    cr_expect(code != ERR_OK || span_equal_text(buffer_span(&value), expected), "%s", name);
    cr_expect(code == ERR_OK || value.size == 0, "%s", name);
    buffer_deinit(&value);
    return code;
}

static void expect_exists(const char *name, bool expected)
{
    struct err err = {0};
    bool exists = !expected;
    cr_assert_eq(catalog_secret_exists(fixture.catalog, name, &exists, &err), ERR_OK);
    cr_expect_eq(exists, expected, "%s", name);
}

Test(secrets, are_put_opened_replaced_and_forgotten)
{
    struct err err = {0};
    struct catalog_secret first = put("api", "hush", true);
    cr_expect_eq(first.version, 1);
    cr_expect_eq(first.created_at_us, first.changed_at_us);
    cr_expect_eq(open_value("api", "hush"), ERR_OK);
    struct catalog_secret second = put("api", "hush again", false);
    cr_expect_eq(second.version, 2);
    cr_expect_eq(second.created_at_us, first.created_at_us);
    cr_expect_geq(second.changed_at_us, first.changed_at_us);
    fixture_reopen();
    cr_expect_eq(open_value("api", "hush again"), ERR_OK);
    expect_exists("api", true);
    cr_expect_eq(catalog_secret_delete(fixture.catalog, "api", &err), ERR_OK);
    cr_expect_eq(open_value("api", ""), ERR_NOT_FOUND);
    expect_exists("api", false);
    cr_expect_eq(catalog_secret_delete(fixture.catalog, "api", &err), ERR_NOT_FOUND);
    cr_expect_eq(put("api", "hush", true).version, 1);
}

Test(secrets, names_and_values_have_rules)
{
    static char long_name[CATALOG_SECRET_NAME_BYTES_MAX + 2];
    memset(long_name, 'n', sizeof long_name - 1);
    static char value[CATALOG_SECRET_VALUE_BYTES_MAX + 1];
    memset(value, 'v', sizeof value);
    const struct {
        const char *name;
        size_t value_size;
        enum err_code code;
    } cases[] = {
        {"a", 1, ERR_OK},
        {"Az09_-", sizeof value - 1, ERR_OK},
        {long_name + 1, 1, ERR_OK},
        {long_name, 1, ERR_INVALID},
        {"", 1, ERR_INVALID},
        {"a b", 1, ERR_INVALID},
        {"a.b", 1, ERR_INVALID},
        {"a/b", 1, ERR_INVALID},
        {"h\xc3\xa9", 1, ERR_INVALID},
        {"a}}", 1, ERR_INVALID},
        {"a", 0, ERR_INVALID},
        {"a", sizeof value, ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct catalog_secret record;
        bool created = false;
        cr_expect_eq(catalog_secret_put(fixture.catalog, cases[i].name,
                                        span_of(value, cases[i].value_size), &record, &created,
                                        &err),
                     cases[i].code, "'%s': %s", cases[i].name, err.msg);
        if (cases[i].code == ERR_INVALID && cases[i].value_size > 0) {
            cr_expect_eq(catalog_secret_delete(fixture.catalog, cases[i].name, &err),
                         ERR_NOT_FOUND);
            cr_expect_eq(open_value(cases[i].name, ""), ERR_NOT_FOUND);
        }
    }
}

Test(secrets, are_listed_by_name_without_values)
{
    static const char *const names[] = {"b", "a", "C", "a-1", "_x"};
    static const char *const sorted[] = {"C", "_x", "a", "a-1", "b"};
    for (size_t i = 0; i < COUNT(names); i++) {
        put(names[i], "hush", true);
    }
    struct err err = {0};
    struct catalog_secret *records = NULL;
    size_t count = 0;
    cr_assert_eq(
        catalog_secret_list(fixture.catalog, NULL, 10, &fixture.arena, &records, &count, &err),
        ERR_OK);
    cr_assert_eq(count, COUNT(sorted));
    for (size_t i = 0; i < count; i++) {
        cr_expect_str_eq(records[i].name, sorted[i]);
        cr_expect_eq(records[i].version, 1);
    }
    cr_assert_eq(
        catalog_secret_list(fixture.catalog, "a", 1, &fixture.arena, &records, &count, &err),
        ERR_OK);
    cr_assert_eq(count, 1u);
    cr_expect_str_eq(records[0].name, "a-1");
}

Test(secrets, there_is_a_most)
{
    struct err err = {0};
    struct catalog_secret record;
    bool created = false;
    char name[16];
    for (int i = 0; i < CATALOG_SECRETS_MAX; i++) {
        (void)snprintf(name, sizeof name, "s%d", i); /* fits */
        cr_assert_eq(
            catalog_secret_put(fixture.catalog, name, span_of_text("v"), &record, &created, &err),
            ERR_OK, "%s", err.msg);
    }
    cr_expect_eq(
        catalog_secret_put(fixture.catalog, "more", span_of_text("v"), &record, &created, &err),
        ERR_TOO_LARGE);
    cr_expect_eq(put("s0", "w", false).version, 2);
}

Test(secrets, are_not_readable_in_any_file)
{
    static const char canary[] = "canary-7c1f9a";
    struct err err = {0};
    put("one", canary, true);
    put("one", "canary-7c1f9a-newer", false);
    fixture_close();
    CLEANUP(file_names_free) struct file_names names = {0};
    cr_assert_eq(file_list(fixture.folder, &names, &err), ERR_OK);
    cr_expect(names.count > 0);
    for (size_t i = 0; i < names.count; i++) {
        CLEANUP(mem_cleanup) char *path = file_join(fixture.folder, names.names[i]);
        struct buffer bytes;
        buffer_init(&bytes, 64 << 20);
        cr_assert_eq(file_read(path, &bytes, &err), ERR_OK, "%s", err.msg);
        cr_expect_null(memmem(bytes.data, bytes.size, canary, strlen(canary)), "%s", path);
        buffer_deinit(&bytes);
    }
    fixture_open();
}

/* What somebody with the file, but without the keys, can do to it. */
static void change_file(const char *sql)
{
    struct err err = {0};
    fixture_close();
    CLEANUP(mem_cleanup) char *path = file_join(fixture.folder, "catalog.db");
    struct store *store = NULL;
    cr_assert_eq(store_open(path, STORE_WRITER, &store, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(store_run(store, sql, &err), ERR_OK, "%s", err.msg);
    store_close(&store);
    fixture_open();
}

Test(secrets, are_bound_to_their_row)
{
    static const char copied[] =
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'other')"
        " WHERE name = 'mine'";
    static const char *const changes[] = {
        copied,
        "UPDATE secrets SET version = version + 1 WHERE name = 'mine'",
        "UPDATE secrets SET sealed = zeroblob(64) WHERE name = 'mine'",
        "UPDATE secrets SET sealed = x'' WHERE name = 'mine'",
        "UPDATE secrets SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE name = 'mine'",
    };
    for (size_t i = 0; i < COUNT(changes); i++) {
        put("mine", "hush", i == 0);
        put("other", "hush hush", i == 0);
        cr_expect_eq(open_value("mine", "hush"), ERR_OK);
        change_file(changes[i]);
        cr_expect_eq(open_value("mine", ""), ERR_CORRUPT, "%s", changes[i]);
        cr_expect_eq(open_value("other", "hush hush"), ERR_OK);
    }
}
