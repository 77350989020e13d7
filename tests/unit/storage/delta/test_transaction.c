/*
 * Commits: what is written, what concurrent winners mean, and what is left of a
 * commit when the store fails.
 */
#include "storage/delta/transaction.h"

#include "storage/base/mem.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void expect_commit_text(struct object_store *store, int64_t version, const char *part)
{
    char name[DELTA_LOG_NAME_BYTES];
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer text = {0};
    buffer_init(&text, 1 << 20);
    delta_log_commit_name(version, name);
    cr_assert_eq(object_get(store, name, &text, &err), ERR_OK);
    buffer_append_byte(&text, '\0');
    cr_expect_not_null(strstr((const char *)text.data, part), "%s lacks %s", text.data, part);
}

/* Add one file on `state`. */
static struct delta_state *append(const struct delta_state *state, struct object_store *store,
                                  const char *path)
{
    struct delta_transaction *transaction =
        delta_transaction_begin(state, store, DELTA_READS_NOTHING);
    const struct delta_file file = support_file(path);
    delta_transaction_add(transaction, &file);
    return support_commit(transaction);
}

Test(transaction, writes_what_other_engines_expect)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *first = support_create(store, true);
    expect_commit_text(store, 0, "{\"commitInfo\":{\"timestamp\":");
    expect_commit_text(store, 0, "\"operation\":\"CREATE TABLE\"");
    expect_commit_text(store, 0,
                       "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,"
                       "\"readerFeatures\":[\"deletionVectors\"],\"writerFeatures\":"
                       "[\"appendOnly\",\"invariants\",\"deletionVectors\"]}}");
    expect_commit_text(store, 0, "\"delta.enableDeletionVectors\":\"true\"");
    CLEANUP(delta_state_release) struct delta_state *second = append(first, store, "a");
    expect_commit_text(store, 1,
                       "\"readVersion\":0,\"isolationLevel\":\"Serializable\","
                       "\"isBlindAppend\":true");
    expect_commit_text(store, 1, "\"engineInfo\":\"sluice/0.1.0\",\"txnId\":\"");

    struct delta_transaction *transaction =
        delta_transaction_begin(second, store, DELTA_READS_TABLE);
    const struct delta_dv dv = support_dv(4);
    const struct delta_file *file = delta_state_file_at(second, 0);
    struct json *extension = json_new_object();
    json_set_text(extension, "tombstones", "_sluice/t.bin");
    cr_assert_eq(delta_transaction_set_dv(transaction, file, &dv, &err), ERR_OK);
    delta_transaction_set_txn(transaction, "app", 7);
    delta_transaction_set_operation(transaction, "MERGE", NULL, NULL);
    delta_transaction_set_extension(transaction, extension);
    CLEANUP(delta_state_release) struct delta_state *third = support_commit(transaction);
    expect_commit_text(store, 2, "\"operation\":\"MERGE\"");
    expect_commit_text(store, 2, "\"isBlindAppend\":false");
    expect_commit_text(store, 2, "\"sluice\":{\"tombstones\":\"_sluice/t.bin\"}");
    expect_commit_text(store, 2, "{\"txn\":{\"appId\":\"app\",\"version\":7,\"lastUpdated\":");
    expect_commit_text(store, 2, "{\"remove\":{\"path\":\"a\",\"deletionTimestamp\":");
    expect_commit_text(store, 2, "\"nullCount\\\":{\\\"id\\\":0},\\\"tightBounds\\\":false}\"");
    cr_expect_eq(third->rows_count, 9);
    cr_expect_eq(third->deleted_rows_count, 1);
    int64_t version = 0;
    cr_expect(delta_state_txn(third, "app", &version) && version == 7);
    object_store_close(&store);
}

Test(transaction, a_table_is_created_once)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *state = support_create(store, false);
    const struct delta_table_options options = {.schema_string = SCHEMA_TEXT};
    cr_expect_eq(delta_table_create(store, &options, json_new_object(), &state, &err), ERR_EXISTS);
    cr_expect_eq(state->protocol->writer_version, 2);
    object_store_close(&store);
}

Test(transaction, a_table_without_its_beginning_is_still_a_table)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_state *state = NULL;
    const struct delta_table_options options = {.schema_string = SCHEMA_TEXT};
    support_put_commit(store, 7, "{\"commitInfo\":{}}\n");
    cr_expect_eq(delta_table_create(store, &options, NULL, &state, &err), ERR_EXISTS);
    object_store_close(&store);
}

enum ours { OURS_APPEND, OURS_MERGE, OURS_COMPACT };

/* Begin each kind of transaction on a table with files a and b; merge and compact touch a. */
static struct delta_transaction *begin_ours(enum ours ours, const struct delta_state *state,
                                            struct object_store *store)
{
    static const enum delta_reads reads[] = {DELTA_READS_NOTHING, DELTA_READS_TABLE,
                                             DELTA_READS_FILES};
    struct delta_transaction *transaction = delta_transaction_begin(state, store, reads[ours]);
    const struct delta_file file = support_file("new");
    if (ours != OURS_APPEND) {
        delta_transaction_remove(transaction, delta_state_file_by_path(state, "a"),
                                 ours == OURS_MERGE);
    }
    delta_transaction_add(transaction, &file);
    delta_transaction_set_txn(transaction, "app", 10);
    return transaction;
}

#define WINNER_ADD                                                                                 \
    "{\"add\":{\"path\":\"w\",\"partitionValues\":{},\"size\":1,\"modificationTime\":1,"           \
    "\"dataChange\":true}}\n"
#define WINNER_REMOVE(path)                                                                        \
    "{\"remove\":{\"path\":\"" path "\",\"dataChange\":true,\"deletionTimestamp\":1}}\n"
#define WINNER_METADATA(schema)                                                                    \
    "{\"metaData\":{\"id\":\"%s\",\"format\":{\"provider\":\"parquet\",\"options\":{}},"           \
    "\"schemaString\":" schema ",\"partitionColumns\":[],\"configuration\":{}}}\n"

Test(transaction, conflict_matrix)
{
    static const struct {
        const char *name;
        const char *winner;
        enum delta_conflict append, merge, compact;
    } cases[] = {
        {"blind append", WINNER_ADD, DELTA_CONFLICT_NONE, DELTA_CONFLICT_ADDED,
         DELTA_CONFLICT_NONE},
        {"removes ours", WINNER_REMOVE("a"), DELTA_CONFLICT_NONE, DELTA_CONFLICT_FILES,
         DELTA_CONFLICT_FILES},
        {"removes another", WINNER_REMOVE("b"), DELTA_CONFLICT_NONE, DELTA_CONFLICT_NONE,
         DELTA_CONFLICT_NONE},
        {"rewrites another", WINNER_REMOVE("b") WINNER_ADD, DELTA_CONFLICT_NONE,
         DELTA_CONFLICT_ADDED, DELTA_CONFLICT_NONE},
        {"information only", "{\"commitInfo\":{}}\n", DELTA_CONFLICT_NONE, DELTA_CONFLICT_NONE,
         DELTA_CONFLICT_NONE},
        {"our txn", "{\"txn\":{\"appId\":\"app\",\"version\":10}}\n", DELTA_CONFLICT_APPLIED,
         DELTA_CONFLICT_APPLIED, DELTA_CONFLICT_APPLIED},
        {"a later txn", "{\"txn\":{\"appId\":\"app\",\"version\":11}}\n", DELTA_CONFLICT_APPLIED,
         DELTA_CONFLICT_APPLIED, DELTA_CONFLICT_APPLIED},
        {"an older txn", "{\"txn\":{\"appId\":\"app\",\"version\":9}}\n", DELTA_CONFLICT_TXN,
         DELTA_CONFLICT_TXN, DELTA_CONFLICT_TXN},
        {"another txn", "{\"txn\":{\"appId\":\"other\",\"version\":10}}\n", DELTA_CONFLICT_NONE,
         DELTA_CONFLICT_NONE, DELTA_CONFLICT_NONE},
        {"new schema", WINNER_METADATA("\"{}\""), DELTA_CONFLICT_METADATA, DELTA_CONFLICT_METADATA,
         DELTA_CONFLICT_METADATA},
        {"a protocol we cannot write",
         "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":8}}\n",
         DELTA_CONFLICT_PROTOCOL, DELTA_CONFLICT_PROTOCOL, DELTA_CONFLICT_PROTOCOL},
        {"a protocol we can write",
         "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n", DELTA_CONFLICT_NONE,
         DELTA_CONFLICT_NONE, DELTA_CONFLICT_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (enum ours ours = OURS_APPEND; ours <= OURS_COMPACT; ours++) {
            struct object_store *store = object_store_new_memory();
            struct err err = {0};
            struct delta_commit_result result = {0};
            CLEANUP(delta_state_release) struct delta_state *zero = support_create(store, false);
            CLEANUP(delta_state_release) struct delta_state *one = append(zero, store, "a");
            CLEANUP(delta_state_release) struct delta_state *two = append(one, store, "b");
            CLEANUP(delta_transaction_free)
            struct delta_transaction *transaction = begin_ours(ours, two, store);
            support_put_commit(store, 3, cases[i].winner);
            enum delta_conflict expected = ours == OURS_APPEND  ? cases[i].append
                                           : ours == OURS_MERGE ? cases[i].merge
                                                                : cases[i].compact;
            enum err_code code = delta_transaction_commit(transaction, &result, &err);
            cr_expect_eq(code, expected == DELTA_CONFLICT_NONE ? ERR_OK : ERR_CONFLICT,
                         "%s, ours %d: %s", cases[i].name, ours, err.msg);
            cr_expect_eq(result.conflict, expected, "%s, ours %d", cases[i].name, ours);
            cr_assert_eq(result.winners.count, 1);
            cr_expect_eq(result.version, code == ERR_OK ? 4 : -1);
            cr_expect_eq(result.state->version, code == ERR_OK ? 4 : 3);
            if (code == ERR_OK) {
                CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
                support_expect_equal(result.state, loaded, cases[i].name);
            }
            delta_commit_result_deinit(&result);
            object_store_close(&store);
        }
    }
}

Test(transaction, all_winners_are_handed_over)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_commit_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *zero = support_create(store, false);
    CLEANUP(delta_state_release) struct delta_state *one = append(zero, store, "a");
    CLEANUP(delta_transaction_free)
    struct delta_transaction *transaction = begin_ours(OURS_MERGE, one, store);
    support_put_commit(store, 2, "{\"commitInfo\":{}}\n");
    support_put_commit(store, 3, WINNER_REMOVE("a"));
    support_put_commit(store, 4, WINNER_ADD);
    cr_expect_eq(delta_transaction_commit(transaction, &result, &err), ERR_CONFLICT);
    cr_expect_eq(result.conflict, DELTA_CONFLICT_FILES);
    cr_expect_eq(result.winners.count, 3);
    cr_expect_eq(result.state->version, 4);
    cr_expect_not_null(strstr(err.msg, "version 3"), "%s", err.msg);
    delta_commit_result_deinit(&result);
    object_store_close(&store);
}

Test(transaction, an_applied_txn_is_not_applied_again)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_commit_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *zero = support_create(store, false);
    struct delta_transaction *first = delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    delta_transaction_set_txn(first, "app", 5);
    CLEANUP(delta_state_release) struct delta_state *one = support_commit(first);
    CLEANUP(delta_transaction_free)
    struct delta_transaction *again = delta_transaction_begin(one, store, DELTA_READS_NOTHING);
    delta_transaction_set_txn(again, "app", 5);
    cr_expect_eq(delta_transaction_commit(again, &result, &err), ERR_CONFLICT);
    cr_expect_eq(result.conflict, DELTA_CONFLICT_APPLIED);
    cr_expect_eq(result.attempts, 0);
    delta_commit_result_deinit(&result);
    object_store_close(&store);
}

Test(transaction, refuses_what_the_table_forbids)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_state *zero = NULL;
    struct delta_commit_result result = {0};
    const struct delta_table_options options = {.schema_string = SCHEMA_TEXT, .append_only = true};
    cr_assert_eq(delta_table_create(store, &options, NULL, &zero, &err), ERR_OK);
    struct delta_state *one = append(zero, store, "a");
    struct delta_transaction *removes = begin_ours(OURS_MERGE, one, store);
    cr_expect_eq(delta_transaction_commit(removes, &result, &err), ERR_INVALID);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&removes);
    struct delta_transaction *compacts = begin_ours(OURS_COMPACT, one, store);
    err_clear(&err);
    cr_expect_eq(delta_transaction_commit(compacts, &result, &err), ERR_OK, "%s", err.msg);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&compacts);
    delta_state_release(&one);
    delta_state_release(&zero);
    object_store_close(&store);
}

Test(transaction, a_vector_needs_a_row_count)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *zero = support_create(store, true);
    struct delta_transaction *adds = delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    struct delta_file file = support_file("a");
    file.stats = NULL;
    delta_transaction_add(adds, &file);
    CLEANUP(delta_state_release) struct delta_state *one = support_commit(adds);
    CLEANUP(delta_transaction_free)
    struct delta_transaction *marks = delta_transaction_begin(one, store, DELTA_READS_TABLE);
    const struct delta_dv dv = support_dv(1);
    cr_expect_eq(delta_transaction_set_dv(marks, delta_state_file_at(one, 0), &dv, &err),
                 ERR_INVALID);
    object_store_close(&store);
}

/* How often our file is in the table: exactly once when OK was said, at most once otherwise. */
Test(transaction, a_store_that_fails_never_doubles_or_loses)
{
    static const enum object_fault_kind kinds[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER,
                                                   OBJECT_FAULT_TRUNCATE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int64_t at = 1; at < 10; at++) {
            struct object_store *inner = object_store_new_memory();
            struct err err = {0};
            struct delta_commit_result result = {0};
            struct delta_state *zero = support_create(inner, false);
            struct object_store *store = object_store_new_faulty(inner, kinds[i], at);
            struct delta_transaction *transaction =
                delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
            const struct delta_file file = support_file("a");
            delta_transaction_add(transaction, &file);
            support_put_commit(inner, 1, WINNER_ADD);
            enum err_code code = delta_transaction_commit(transaction, &result, &err);
            struct delta_state *loaded = support_load(inner);
            CLEANUP(mem_cleanup) char *live = support_live(loaded);
            if (code == ERR_OK) {
                cr_expect_str_eq(live, "a w", "kind %zu at %lld", i, (long long)at);
                cr_expect_eq(loaded->version, 2);
                support_expect_equal(result.state, loaded, "after the fault");
            } else {
                cr_expect(strcmp(live, "w") == 0 || loaded->version == 2);
            }
            delta_commit_result_deinit(&result);
            delta_transaction_free(&transaction);
            delta_state_release(&loaded);
            delta_state_release(&zero);
            object_store_close(&store);
            object_store_close(&inner);
        }
    }
}

Test(transaction, an_ambiguous_put_is_resolved_by_reading_back)
{
    struct object_store *inner = object_store_new_memory();
    struct err err = {0};
    struct delta_commit_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *zero = support_create(inner, false);
    struct object_store *store = object_store_new_faulty(inner, OBJECT_FAULT_AFTER, 1);
    struct delta_transaction *transaction =
        delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    const struct delta_file file = support_file("a");
    delta_transaction_add(transaction, &file);
    cr_expect_eq(delta_transaction_commit(transaction, &result, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(result.version, 1);
    cr_expect_eq(result.winners.count, 0);
    bool ours = false;
    cr_expect_eq(delta_commit_is_ours(inner, 1, result.hash, &ours, &err), ERR_OK);
    cr_expect(ours);
    cr_expect_eq(delta_commit_is_ours(inner, 0, result.hash, &ours, &err), ERR_OK);
    cr_expect_not(ours);
    cr_expect_eq(delta_commit_is_ours(inner, 9, result.hash, &ours, &err), ERR_OK);
    cr_expect_not(ours);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    object_store_close(&store);
    object_store_close(&inner);
}

Test(transaction, on_a_local_folder_an_unknown_outcome_is_an_error)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    struct object_store *inner = NULL;
    struct err err = {0};
    struct delta_commit_result result = {0};
    cr_assert_eq(object_store_open_local(dir.path, &inner, &err), ERR_OK);
    struct delta_state *zero = support_create(inner, false);
    struct object_store *store = object_store_new_faulty(inner, OBJECT_FAULT_AFTER, 1);
    struct delta_transaction *transaction =
        delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    cr_expect_eq(delta_transaction_commit(transaction, &result, &err), ERR_IO);
    cr_expect_not_null(strstr(err.msg, "unknown"), "%s", err.msg);
    cr_expect_eq(result.version, -1);
    delta_commit_result_deinit(&result);
    delta_transaction_free(&transaction);
    delta_state_release(&zero);
    object_store_close(&store);
    object_store_close(&inner);
}
