/*
 * Version checksums: what is written, and what is found wrong.
 */
#include "storage/delta/version_checksum.h"

#include "storage/base/json.h"
#include "storage/object/object.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <string.h>

#define NAME "_delta_log/00000000000000000001.crc"

static struct delta_state *two_versions(struct object_store *store)
{
    CLEANUP(delta_state_release) struct delta_state *first = support_create(store, true);
    struct delta_transaction *transaction =
        delta_transaction_begin(first, store, DELTA_READS_NOTHING);
    const struct delta_file file = support_file("a");
    delta_transaction_add(transaction, &file);
    delta_transaction_set_txn(transaction, "app", 7);
    struct err err = {0};
    struct delta_state *second = support_commit(transaction);
    cr_assert_eq(version_checksum_write(store, second, &err), ERR_OK, "%s", err.msg);
    return second;
}

static void read_text(struct object_store *store, const char *name, struct buffer *text)
{
    struct err err = {0};
    cr_assert_eq(object_get(store, name, text, &err), ERR_OK, "%s: %s", name, err.msg);
}

Test(version_checksum, says_what_the_table_came_to)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *state = two_versions(store);
    CLEANUP(buffer_deinit) struct buffer text;
    CLEANUP(json_free) struct json *checksum = NULL;
    int64_t number = 0;
    bool found = false;
    buffer_init(&text, 1 << 20);
    read_text(store, NAME, &text);
    cr_assert_eq(json_parse(buffer_span(&text), &checksum, &err), ERR_OK, "%s", err.msg);
    cr_expect(json_as_integer(json_get(checksum, "numFiles"), &number) && number == 1);
    cr_expect(json_as_integer(json_get(checksum, "tableSizeBytes"), &number) &&
              number == state->files_bytes);
    cr_expect(json_as_integer(json_get(checksum, "numMetadata"), &number) && number == 1);
    cr_expect_str_eq(json_text(json_get(json_get(checksum, "metadata"), "id")),
                     state->metadata->id);
    cr_expect(
        json_as_integer(json_get(json_get(checksum, "protocol"), "minWriterVersion"), &number) &&
        number == 7);
    const struct json *txn = json_at(json_get(checksum, "setTransactions"), 0);
    cr_expect_str_eq(json_text(json_get(txn, "appId")), "app");
    cr_expect_eq(version_checksum_verify(store, state, &found, &err), ERR_OK, "%s", err.msg);
    cr_expect(found);
    /* another writer's stays */
    cr_assert_eq(object_replace(store, NAME, span_of_text("{}"), &err), ERR_OK);
    cr_assert_eq(version_checksum_write(store, state, &err), ERR_OK);
    buffer_reset(&text);
    read_text(store, NAME, &text);
    cr_expect(span_equal_text(buffer_span(&text), "{}"));
    object_store_close(&store);
}

Test(version_checksum, is_held_against_the_log)
{
    static const struct {
        const char *text;
        const char *message; /* NULL = it is right */
    } cases[] = {
        {"{\"tableSizeBytes\":SIZE,\"numFiles\":1}", NULL},
        {"{\"tableSizeBytes\":SIZE,\"numFiles\":2}", "it says numFiles 2, the log comes to 1"},
        {"{\"tableSizeBytes\":1,\"numFiles\":1}", "it says tableSizeBytes 1"},
        {"{\"tableSizeBytes\":SIZE}", "it does not say numFiles"},
        {"{\"tableSizeBytes\":SIZE,\"numFiles\":1,\"numDeletionVectorsOpt\":3}",
         "numDeletionVectorsOpt 3"},
        {"{", "checksum of version 1"},
        {"[]", "it does not say tableSizeBytes"},
    };
    struct object_store *store = object_store_new_memory();
    CLEANUP(delta_state_release) struct delta_state *state = two_versions(store);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        bool found = false;
        CLEANUP(buffer_deinit) struct buffer text;
        buffer_init(&text, 4096);
        const char *size = strstr(cases[i].text, "SIZE");
        if (size != NULL) {
            buffer_append(&text, cases[i].text, (size_t)(size - cases[i].text));
            buffer_append_format(&text, "%lld", (long long)state->files_bytes);
        }
        buffer_append_text(&text, size != NULL ? size + 4 : cases[i].text);
        cr_assert_eq(object_replace(store, NAME, buffer_span(&text), &err), ERR_OK);
        enum err_code code = version_checksum_verify(store, state, &found, &err);
        cr_expect_eq(code, cases[i].message == NULL ? ERR_OK : ERR_CORRUPT, "%s", cases[i].text);
        cr_expect(cases[i].message == NULL || strstr(err.msg, cases[i].message) != NULL, "%s: %s",
                  cases[i].text, err.msg);
    }
    struct err err = {0};
    bool found = true;
    cr_assert_eq(object_remove(store, NAME, &err), ERR_OK);
    cr_expect_eq(version_checksum_verify(store, state, &found, &err), ERR_OK);
    cr_expect_not(found);
    object_store_close(&store);
}
