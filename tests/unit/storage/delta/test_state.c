/*
 * Replay rules, loading, following; and that following equals loading.
 */
#include "storage/delta/state.h"

#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define PROTOCOL "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n"
#define METADATA                                                                                   \
    "{\"metaData\":{\"id\":\"i\",\"format\":{\"provider\":\"parquet\",\"options\":{}},"            \
    "\"schemaString\":\"{}\",\"partitionColumns\":[],\"configuration\":{}}}\n"
#define ADD(path)                                                                                  \
    "{\"add\":{\"path\":\"" path                                                                   \
    "\",\"partitionValues\":{},\"size\":1,\"modificationTime\":1,\"dataChange\":true}}\n"
#define ADD_DV(path, dv)                                                                           \
    "{\"add\":{\"path\":\"" path                                                                   \
    "\",\"partitionValues\":{},\"size\":1,\"modificationTime\":1,\"dataChange\":true,"             \
    "\"deletionVector\":{\"storageType\":\"u\",\"pathOrInlineDv\":\"" dv                           \
    "\",\"offset\":1,\"sizeInBytes\":1,\"cardinality\":1}}}\n"
#define REMOVE(path)                                                                               \
    "{\"remove\":{\"path\":\"" path "\",\"dataChange\":true,\"deletionTimestamp\":9}}\n"
#define REMOVE_DV(path, dv)                                                                        \
    "{\"remove\":{\"path\":\"" path                                                                \
    "\",\"dataChange\":true,\"deletionTimestamp\":9,\"deletionVector\":{\"storageType\":\"u\","    \
    "\"pathOrInlineDv\":\"" dv "\",\"offset\":1,\"sizeInBytes\":1,\"cardinality\":1}}}\n"

enum { COMMITS_MAX = 6 };

Test(state, replays_by_path_and_vector)
{
    static const struct {
        const char *name;
        const char *commits[COMMITS_MAX];
        const char *live;
        int64_t tombstones;
    } cases[] = {
        {"add", {ADD("b") ADD("a")}, "a b", 0},
        {"remove", {ADD("a"), REMOVE("a")}, "", 1},
        {"remove of a stranger", {REMOVE("x")}, "", 1},
        {"add again", {ADD("a"), REMOVE("a"), ADD("a")}, "a", 0},
        {"statistics refresh", {ADD("a"), ADD("a")}, "a", 0},
        {"a vector replaces none", {ADD("a"), REMOVE("a") ADD_DV("a", "x")}, "a@1", 1},
        {"order in the commit does not matter", {ADD("a"), ADD_DV("a", "x") REMOVE("a")}, "a@1", 1},
        {"a vector replaces another",
         {ADD("a"), REMOVE("a") ADD_DV("a", "x"), REMOVE_DV("a", "x") ADD_DV("a", "y")},
         "a@1",
         2},
        {"removed with its vector",
         {ADD("a"), REMOVE("a") ADD_DV("a", "x"), REMOVE_DV("a", "x")},
         "",
         2},
        {"a remove of another vector leaves it", {ADD_DV("a", "x"), REMOVE_DV("a", "y")}, "a@1", 1},
        {"the vector is taken back", {ADD_DV("a", "x"), REMOVE_DV("a", "x") ADD("a")}, "a", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct object_store *store = object_store_new_memory();
        support_put_commit(store, 0, PROTOCOL METADATA);
        for (size_t j = 0; j < COMMITS_MAX && cases[i].commits[j] != NULL; j++) {
            support_put_commit(store, (int64_t)j + 1, cases[i].commits[j]);
        }
        CLEANUP(delta_state_release) struct delta_state *state = support_load(store);
        CLEANUP(mem_cleanup) char *live = support_live(state);
        cr_expect_str_eq(live, cases[i].live, "%s", cases[i].name);
        cr_expect_eq(state->tombstones_count, cases[i].tombstones, "%s", cases[i].name);
        object_store_close(&store);
    }
}

Test(state, newest_txn_domain_protocol_and_metadata_win)
{
    struct object_store *store = object_store_new_memory();
    support_put_commit(
        store, 0,
        PROTOCOL METADATA
        "{\"txn\":{\"appId\":\"a\",\"version\":5}}\n"
        "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"1\",\"removed\":false}}\n"
        "{\"domainMetadata\":{\"domain\":\"e\",\"configuration\":\"1\",\"removed\":false}}\n");
    support_put_commit(
        store, 1,
        "{\"txn\":{\"appId\":\"a\",\"version\":3}}\n"
        "{\"txn\":{\"appId\":\"b\",\"version\":1}}\n"
        "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"1\",\"removed\":true}}\n"
        "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":1}}\n");
    CLEANUP(delta_state_release) struct delta_state *state = support_load(store);
    int64_t version = 0;
    cr_expect(delta_state_txn(state, "a", &version));
    cr_expect_eq(version, 3, "latest, not largest");
    cr_expect(delta_state_txn(state, "b", &version));
    cr_expect_not(delta_state_txn(state, "c", &version));
    cr_expect_eq(delta_state_domains_count(state), 1);
    cr_expect_str_eq(delta_state_domain_at(state, 0)->domain, "e");
    cr_expect_eq(state->protocol->writer_version, 1);
    object_store_close(&store);
}

Test(state, refuses_logs_that_are_not_whole)
{
    static const struct {
        const char *name;
        const char *commits[COMMITS_MAX]; /* NULL = no such version */
        enum err_code code;
        const char *named;
    } cases[] = {
        {"nothing", {NULL}, ERR_NOT_FOUND, "no Delta table"},
        {"no protocol", {METADATA}, ERR_CORRUPT, "protocol"},
        {"no metadata", {PROTOCOL}, ERR_CORRUPT, "metaData"},
        {"a hole", {PROTOCOL METADATA, NULL, ADD("a")}, ERR_CORRUPT, "version 1 is missing"},
        {"no beginning", {NULL, PROTOCOL METADATA}, ERR_CORRUPT, "version 0 is missing"},
        {"half a line", {PROTOCOL METADATA, "{\"add\":{\"pa"}, ERR_CORRUPT, "commit 1: line 1"},
        {"a stranger",
         {METADATA "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,"
                   "\"readerFeatures\":[\"x\"],\"writerFeatures\":[\"x\"]}}\n"},
         ERR_UNSUPPORTED,
         "x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct object_store *store = object_store_new_memory();
        struct delta_state *state = NULL;
        struct err err = {0};
        for (size_t j = 0; j < COMMITS_MAX; j++) {
            if (cases[i].commits[j] != NULL) {
                support_put_commit(store, (int64_t)j, cases[i].commits[j]);
            }
        }
        cr_expect_eq(delta_state_load(store, &state, &err), cases[i].code, "%s: %s", cases[i].name,
                     err.msg);
        cr_expect_not_null(strstr(err.msg, cases[i].named), "%s: %s", cases[i].name, err.msg);
        object_store_close(&store);
    }
}

Test(state, loads_versions_and_says_which_there_are)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    support_put_commit(store, 0, PROTOCOL METADATA);
    support_put_commit(store, 1, ADD("a"));
    support_put_commit(store, 2, ADD("b"));
    for (int64_t version = 0; version <= 2; version++) {
        struct delta_state *state = NULL;
        cr_assert_eq(delta_state_load_version(store, version, &state, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(state->files_count, version);
        cr_expect_eq(state->version, version);
        delta_state_release(&state);
    }
    struct delta_state *state = NULL;
    cr_expect_eq(delta_state_load_version(store, 3, &state, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.msg, "0 to 2"), "%s", err.msg);
    object_store_close(&store);
}

Test(state, versions_by_time_are_monotonic)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    int64_t version = -1;
    support_put_commit(store, 0, PROTOCOL METADATA "{\"commitInfo\":{\"inCommitTimestamp\":1000}}");
    support_put_commit(store, 1, "{\"commitInfo\":{\"inCommitTimestamp\":2000}}");
    support_put_commit(store, 2, "{\"commitInfo\":{\"inCommitTimestamp\":3000}}");
    static const struct {
        int64_t at, version;
    } cases[] = {{1000, 0}, {1999, 0}, {2000, 1}, {2999, 1}, {9999999999999, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(delta_state_version_at(store, cases[i].at, &version, &err), ERR_OK);
        cr_expect_eq(version, cases[i].version, "at %lld", (long long)cases[i].at);
    }
    cr_expect_eq(delta_state_version_at(store, 999, &version, &err), ERR_NOT_FOUND);
    object_store_close(&store);
}

Test(state, history_is_newest_first_and_paged)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_history history = {0};
    support_put_commit(store, 0, PROTOCOL METADATA "{\"commitInfo\":{\"operation\":\"CREATE\"}}");
    support_put_commit(store, 1, ADD("a"));
    support_put_commit(store, 2, "{\"commitInfo\":{\"operation\":\"MERGE\"}}");
    cr_assert_eq(delta_history_read(store, -1, 2, &history, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(history.count, 2);
    cr_expect_eq(history.entries[0].version, 2);
    cr_expect_str_eq(json_text(json_get(history.entries[0].info, "operation")), "MERGE");
    cr_expect_null(history.entries[1].info);
    cr_expect_gt(history.entries[0].timestamp_ms, history.entries[1].timestamp_ms);
    delta_history_free(&history);
    cr_assert_eq(delta_history_read(store, 1, 10, &history, &err), ERR_OK);
    cr_assert_eq(history.count, 1);
    cr_expect_eq(history.entries[0].version, 0);
    delta_history_free(&history);
    object_store_close(&store);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* One random commit on `state`: adds, removes, vectors, a txn. */
static struct delta_state *random_commit(const struct delta_state *state,
                                         struct object_store *store, int step, uint32_t *seed)
{
    struct err err = {0};
    struct delta_transaction *transaction =
        delta_transaction_begin(state, store, DELTA_READS_TABLE);
    int64_t touched = state->files_count > 0 ? next_random(seed) % 4 : 0;
    for (int64_t i = 0; i < touched && i < state->files_count; i++) {
        const struct delta_file *file =
            delta_state_file_at(state, (i * 7 + step) % state->files_count);
        if (i > 0 && (i * 7 + step) % state->files_count <= step % state->files_count) {
            continue; /* a file at most once a commit */
        }
        if (next_random(seed) % 3 == 0) {
            delta_transaction_remove(transaction, file, true);
        } else {
            const struct delta_dv dv = support_dv(step);
            cr_assert_eq(delta_transaction_set_dv(transaction, file, &dv, &err), ERR_OK);
        }
    }
    for (uint32_t i = 0; i < next_random(seed) % 5; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "f-%08x-%d-%u", next_random(seed), step, i); /* fits */
        const struct delta_file file = support_file(path);
        delta_transaction_add(transaction, &file);
    }
    delta_transaction_set_txn(transaction, step % 2 == 0 ? "even" : "odd", step);
    return support_commit(transaction);
}

Test(state, following_equals_loading_with_and_without_checkpoints)
{
    enum { STEPS = 200, CHECK_EVERY = 20 };
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    uint32_t seed = 11;
    struct delta_state *state = support_create(store, true);
    struct delta_state *follower = delta_state_acquire(state);
    for (int step = 1; step <= STEPS; step++) {
        struct delta_state *next = random_commit(state, store, step, &seed);
        delta_state_release(&state);
        state = next;
        if (step % CHECK_EVERY != 0) {
            continue;
        }
        struct delta_state *loaded = support_load(store);
        support_expect_equal(state, loaded, "loaded");
        delta_state_release(&loaded);
        struct delta_commits commits = {0};
        cr_assert_eq(delta_state_update(follower, store, &commits, &loaded, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_eq(commits.count, CHECK_EVERY);
        support_expect_equal(state, loaded, "followed");
        delta_state_release(&follower);
        follower = loaded;
        delta_commits_free(&commits);
        if (step % (CHECK_EVERY * 2) == 0) {
            struct delta_checkpoint_result result = {0};
            cr_assert_eq(delta_checkpoint_write(store, state,
                                                &(struct delta_checkpoint_options){.now_ms = 1},
                                                &result, &err),
                         ERR_OK, "%s", err.msg);
            loaded = support_load(store);
            cr_expect_eq(loaded->checkpoint_version, state->version);
            support_expect_equal(state, loaded, "from the checkpoint");
            delta_state_release(&loaded);
        }
    }
    delta_state_release(&state);
    delta_state_release(&follower);
    object_store_close(&store);
}

Test(state, nothing_new_is_the_same_state)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *state = support_create(store, false);
    CLEANUP(delta_state_release) struct delta_state *same = NULL;
    cr_assert_eq(delta_state_update(state, store, NULL, &same, &err), ERR_OK);
    cr_expect_eq(same, state);
    object_store_close(&store);
}

/* Every call of a load fails once, in each way: an error, or the right state. */
Test(state, any_failing_read_is_an_error_or_harmless)
{
    struct object_store *inner = object_store_new_memory();
    struct err err = {0};
    uint32_t seed = 3;
    struct delta_state *state = support_create(inner, true);
    for (int step = 1; step <= 12; step++) {
        struct delta_state *next = random_commit(state, inner, step, &seed);
        delta_state_release(&state);
        state = next;
        struct delta_checkpoint_result result = {0};
        cr_assert(step % 5 != 0 ||
                  delta_checkpoint_write(inner, state,
                                         &(struct delta_checkpoint_options){.now_ms = 1}, &result,
                                         &err) == ERR_OK);
    }
    static const enum object_fault_kind kinds[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_TRUNCATE};
    for (size_t i = 0; i < 2; i++) {
        for (int64_t at = 1;; at++) {
            struct object_store *store = object_store_new_faulty(inner, kinds[i], at);
            struct delta_state *loaded = NULL;
            err_clear(&err);
            if (delta_state_load_whole(store, -1, &loaded, &err) == ERR_OK) {
                support_expect_equal(state, loaded, "under a fault");
            }
            delta_state_release(&loaded);
            bool done = object_store_calls_count(store) < at;
            object_store_close(&store);
            if (done) {
                cr_expect_gt(at, 5);
                break;
            }
        }
    }
    delta_state_release(&state);
    object_store_close(&inner);
}
