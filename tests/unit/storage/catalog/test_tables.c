#include "storage/catalog/tables.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(tables, .init = fixture_set_up, .fini = fixture_tear_down);

Test(tables, keeps_definition_version_and_etag)
{
    struct err err = {0};
    struct catalog_table first;
    struct catalog_table second;
    cr_assert_eq(catalog_table_get(fixture.catalog, "claims", &fixture.arena, &first, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_str_eq(first.definition, "{}");
    cr_expect_eq(first.definition_version, 1);
    cr_assert_eq(catalog_table_change(fixture.catalog, &fixture.table, 1, "{\"a\":1}", 2, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_eq(catalog_table_change(fixture.catalog, &fixture.table, 1, "{\"a\":2}", 2, &err),
                 ERR_PRECONDITION);
    fixture_reopen();
    cr_assert_eq(
        catalog_table_get_by_uuid(fixture.catalog, &fixture.table, &fixture.arena, &second, &err),
        ERR_OK);
    cr_expect_str_eq(second.definition, "{\"a\":1}");
    cr_expect_eq(second.definition_version, 2);
    cr_expect_str_neq(first.etag, second.etag);
    cr_expect_geq(second.changed_at_us, second.created_at_us);
}

Test(tables, checks_names)
{
    static const struct {
        const char *name;
        enum err_code code;
    } cases[] = {
        {"members", ERR_OK},      {"m2_x", ERR_OK},     {"claims", ERR_EXISTS},
        {"", ERR_INVALID},        {"2m", ERR_INVALID},  {"_m", ERR_INVALID},
        {"Members", ERR_INVALID}, {"a-b", ERR_INVALID}, {"a/b", ERR_INVALID},
        {"..", ERR_INVALID},      {"a.b", ERR_INVALID}, {"m\xc3\xa9", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct id uuid = id_new_random();
        cr_expect_eq(catalog_table_create(fixture.catalog, cases[i].name, &uuid, "{}", 1, &err),
                     cases[i].code, "'%s': %s", cases[i].name, err.msg);
    }
    struct err err = {0};
    struct id uuid = id_new_random();
    char name[CATALOG_TABLE_NAME_BYTES_MAX + 2];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(catalog_table_create(fixture.catalog, name, &uuid, "{}", 1, &err), ERR_INVALID);
    name[CATALOG_TABLE_NAME_BYTES_MAX] = '\0';
    cr_expect_eq(catalog_table_create(fixture.catalog, name, &uuid, "{}", 1, &err), ERR_OK);
}

Test(tables, drops_only_without_queue_and_frees_the_name)
{
    struct err err = {0};
    struct catalog_table record;
    const struct batch_accept accept = fixture_batch(1, 1);
    (void)fixture_accept(&accept);
    cr_expect_eq(catalog_table_drop(fixture.catalog, &fixture.table, &err), ERR_CONFLICT);
    cr_expect(strstr(err.msg, "1 batches") != NULL, "%s", err.msg);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    const struct batch_outcome outcome = fixture_outcome(&queued[0], BATCH_INDEXED);
    fixture_finish(&outcome, 1);
    cr_expect_eq(catalog_table_forget(fixture.catalog, &fixture.table, &err), ERR_CONFLICT);
    cr_assert_eq(catalog_table_drop(fixture.catalog, &fixture.table, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(catalog_table_drop(fixture.catalog, &fixture.table, &err), ERR_NOT_FOUND);
    cr_expect_eq(catalog_table_get(fixture.catalog, "claims", &fixture.arena, &record, &err),
                 ERR_NOT_FOUND);
    int64_t position = 0;
    const struct batch_accept late = fixture_batch(1, 1);
    cr_expect_eq(batch_accept(fixture.catalog, &late, &position, &err), ERR_NOT_FOUND);

    struct id again = id_new_random();
    cr_assert_eq(catalog_table_create(fixture.catalog, "claims", &again, "{}", 1, &err), ERR_OK);
    struct catalog_table *records = NULL;
    cr_assert_eq(
        catalog_table_list(fixture.catalog, true, NULL, 10, &fixture.arena, &records, &count, &err),
        ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(records[0].uuid.text, fixture.table.text);
    fixture_reopen();
    cr_expect_eq(batch_accept(fixture.catalog, &late, &position, &err), ERR_NOT_FOUND);
    cr_expect_eq(catalog_table_forget(fixture.catalog, &fixture.table, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(catalog_table_forget(fixture.catalog, &fixture.table, &err), ERR_NOT_FOUND);
}

Test(tables, lists_in_pages_by_name)
{
    static const char *const names[] = {"b", "d", "a", "e"};
    struct err err = {0};
    for (size_t i = 0; i < 4; i++) {
        struct id uuid = id_new_random();
        cr_assert_eq(catalog_table_create(fixture.catalog, names[i], &uuid, "{}", 1, &err), ERR_OK);
    }
    char found[8] = "";
    const char *after = NULL;
    size_t count = 0;
    do {
        struct catalog_table *records = NULL;
        cr_assert_eq(catalog_table_list(fixture.catalog, false, after, 2, &fixture.arena, &records,
                                        &count, &err),
                     ERR_OK);
        for (size_t i = 0; i < count; i++) {
            found[strlen(found)] = records[i].name[0];
            after = records[i].name;
        }
    } while (count == 2);
    cr_expect_str_eq(found, "abcde");
}
