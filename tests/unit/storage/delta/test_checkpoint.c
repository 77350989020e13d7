/*
 * Checkpoints: what is written reads back, hints may lie, broken ones are passed
 * over, every kind of name is known.
 */
#include "storage/delta/checkpoint.h"

#include "storage/base/mem.h"
#include "storage/delta/checkpoint_read.h"
#include "storage/delta/removed.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* A table with every kind of action: partitions, tags, vectors, tombstones, txns, domains. */
static struct delta_state *make_table(struct object_store *store)
{
    struct err err = {0};
    struct delta_state *zero = support_create(store, true);
    struct delta_transaction *adds = delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    const struct delta_pair values[] = {{"p", "x ü"}, {"q", NULL}};
    const struct delta_pair tags[] = {{"sluice.position", "17"}};
    for (int i = 0; i < 20; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "f%02d", i); /* fits */
        struct delta_file file = support_file(path);
        file.partition_values = values;
        file.partition_values_count = i % 3 == 0 ? 2 : 0;
        file.tags = tags;
        file.tags_count = (size_t)(i % 2);
        file.stats = i == 7 ? NULL : file.stats;
        file.base_row_id = i == 9 ? 90 : -1;
        delta_transaction_add(adds, &file);
    }
    delta_transaction_set_txn(adds, "app", 5);
    struct delta_state *one = support_commit(adds);
    struct delta_transaction *marks = delta_transaction_begin(one, store, DELTA_READS_TABLE);
    delta_transaction_remove(marks, delta_state_file_at(one, 0), true);
    for (int i = 1; i < 4; i++) {
        const struct delta_dv dv = support_dv(i);
        cr_assert_eq(delta_transaction_set_dv(marks, delta_state_file_at(one, i), &dv, &err),
                     ERR_OK);
    }
    delta_transaction_set_txn(marks, "other", 1);
    struct delta_state *two = support_commit(marks);
    support_put_commit(store, 3,
                       "{\"domainMetadata\":{\"domain\":\"d\",\"configuration\":\"{}\","
                       "\"removed\":false}}\n"
                       "{\"remove\":{\"path\":\"bare\",\"deletionTimestamp\":1}}\n");
    struct delta_state *three = NULL;
    cr_assert_eq(delta_state_update(two, store, NULL, &three, &err), ERR_OK, "%s", err.msg);
    delta_state_release(&zero);
    delta_state_release(&one);
    delta_state_release(&two);
    return three;
}

/* Remove the commits that a checkpoint of `version` covers, so that it must be used. */
static void drop_commits(struct object_store *store, int64_t version)
{
    struct err err = {0};
    for (int64_t i = 0; i <= version; i++) {
        char name[DELTA_LOG_NAME_BYTES];
        delta_log_commit_name(i, name);
        cr_assert_eq(object_remove(store, name, &err), ERR_OK);
    }
}

static void put_hint(struct object_store *store, const char *text)
{
    struct err err = {0};
    cr_assert_eq(object_replace(store, "_delta_log/_last_checkpoint", span_of_text(text), &err),
                 ERR_OK);
}

Test(checkpoint, reads_back_equal_and_alone)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_eq(result.version, 3);
    cr_expect_eq(result.adds_count, 19);
    cr_expect_eq(result.actions_count, 1 + 1 + 2 + 1 + 19 + 5);
    drop_commits(store, 3);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    cr_expect_eq(loaded->checkpoint_version, 3);
    support_expect_equal(state, loaded, "alone");
    object_store_close(&store);
}

static struct delta_state *load_bare(struct object_store *store)
{
    struct err err = {0};
    struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load(store, &state, &err), ERR_OK, "%s", err.msg);
    return state;
}

Test(checkpoint, leaves_out_expired_tombstones)
{
    static const struct {
        int64_t after_ms; /* of the retention's end of one removed at 1,000 ms */
        int64_t tombstones;
    } cases[] = {{-1, 2}, {0, 1}, {1000, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct object_store *store = object_store_new_memory();
        struct err err = {0};
        struct delta_checkpoint_result result = {0};
        delta_state_release(&(struct delta_state *){support_create(store, false)});
        support_put_commit(store, 1,
                           "{\"remove\":{\"path\":\"old\",\"deletionTimestamp\":1000}}\n"
                           "{\"remove\":{\"path\":\"never said\"}}\n"
                           "{\"remove\":{\"path\":\"young\",\"deletionTimestamp\":2000}}\n");
        CLEANUP(delta_state_release) struct delta_state *state = load_bare(store);
        const int64_t week_ms = 7LL * 86400 * 1000;
        cr_assert_eq(delta_checkpoint_write(store, state,
                                            &(struct delta_checkpoint_options){
                                                .now_ms = week_ms + 1000 + cases[i].after_ms},
                                            &result, &err),
                     ERR_OK, "%s", err.msg);
        drop_commits(store, 1);
        CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
        cr_expect_eq(loaded->tombstones_count, cases[i].tombstones, "case %zu", i);
        object_store_close(&store);
    }
}

struct calls {
    int count;
    enum err_code code;
};

static enum err_code count_call(void *arg, struct err *err)
{
    struct calls *calls = arg;
    calls->count++;
    return calls->code == ERR_OK ? ERR_OK : err_set(err, calls->code, "told to end");
}

Test(checkpoint, something_else_is_done_between_many_tombstones)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    CLEANUP(delta_state_release) struct delta_state *zero = support_create(store, false);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 4 << 20);
    for (int i = 0; i < 10000; i++) {
        buffer_append_format(&text, "{\"remove\":{\"path\":\"f%d\",\"deletionTimestamp\":5}}\n", i);
    }
    buffer_append_byte(&text, '\0');
    support_put_commit(store, 1, (const char *)text.data);
    CLEANUP(delta_state_release) struct delta_state *state = load_bare(store);
    struct delta_checkpoint_result result = {0};
    struct calls calls = {.code = ERR_CANCELLED};
    const struct delta_checkpoint_options options = {.between = count_call, .between_arg = &calls};
    char name[DELTA_LOG_NAME_BYTES];
    int64_t size = 0;
    checkpoint_classic_name(1, name);
    cr_expect_eq(delta_checkpoint_write(store, state, &options, &result, &err), ERR_CANCELLED);
    cr_expect_eq(object_stat(store, name, &size, &size, &err), ERR_NOT_FOUND, "it was ended");
    calls = (struct calls){0};
    err_clear(&err);
    cr_assert_eq(delta_checkpoint_write(store, state, &options, &result, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(result.removed_count, 10000);
    cr_expect_eq(result.removed_oldest_ms, 0);
    cr_expect_eq(calls.count, 4, "twice while it is written, twice while it is read back");
    object_store_close(&store);
}

Test(checkpoint, keeps_the_tombstones_of_the_one_before)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *three = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, three, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    drop_commits(store, 3);
    /* one that comes back is none any more, one that goes is one */
    support_put_commit(store, 4,
                       "{\"remove\":{\"path\":\"f05\",\"deletionTimestamp\":5}}\n"
                       "{\"add\":{\"path\":\"bare\",\"partitionValues\":{},\"size\":1,"
                       "\"modificationTime\":1,\"dataChange\":true}}\n");
    CLEANUP(delta_state_release) struct delta_state *followed = NULL;
    cr_assert_eq(delta_state_update(three, store, NULL, &followed, &err), ERR_OK, "%s", err.msg);
    CLEANUP(delta_state_release) struct delta_state *bare = load_bare(store);
    cr_expect_eq(bare->tombstones_count, 0);
    cr_expect_eq(bare->files_count, followed->files_count);
    cr_assert_eq(delta_checkpoint_write(
                     store, bare, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    cr_expect_eq(result.actions_count, 1 + 1 + 2 + 1 + 19 + 5);
    drop_commits(store, 4);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    cr_expect_eq(loaded->checkpoint_version, 4);
    support_expect_equal(followed, loaded, "of a state without tombstones");
    object_store_close(&store);
}

struct seen {
    const struct delta_state *whole;
    int64_t count;
};

static enum err_code see(void *self, const struct delta_file *file, struct err *err)
{
    (void)err;
    struct seen *seen = self;
    cr_expect(delta_state_file_is_removed(seen->whole, file), "%s", file->path);
    seen->count++;
    return ERR_OK;
}

Test(checkpoint, tombstones_are_found_whatever_the_log_has)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *whole = make_table(store);
    CLEANUP(delta_state_release) struct delta_state *from_commits = load_bare(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, whole, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    CLEANUP(delta_state_release) struct delta_state *from_checkpoint = load_bare(store);
    cr_expect_eq(from_checkpoint->checkpoint_version, 3);
    const struct delta_state *const states[] = {whole, from_commits, from_checkpoint};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct seen seen = {.whole = whole};
        cr_assert_eq(delta_removed_each(states[i], store, see, &seen, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(seen.count, whole->tombstones_count, "state %zu", i);
    }
    /* the checkpoint has another name */
    CLEANUP(buffer_deinit) struct buffer bytes;
    buffer_init(&bytes, 1 << 20);
    char name[DELTA_LOG_NAME_BYTES];
    checkpoint_classic_name(3, name);
    cr_assert_eq(object_get(store, name, &bytes, &err), ERR_OK);
    cr_assert_eq(object_remove(store, name, &err), ERR_OK);
    cr_assert_eq(object_put(store,
                            "_delta_log/00000000000000000003.checkpoint.0000000001.0000000001"
                            ".parquet",
                            buffer_span(&bytes), &err),
                 ERR_OK);
    struct seen seen = {.whole = whole};
    cr_assert_eq(delta_removed_each(from_checkpoint, store, see, &seen, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(seen.count, whole->tombstones_count);
    object_store_close(&store);
}

/* Somebody cleaned up under us: another way into the log has them, too. */
Test(checkpoint, is_written_when_the_one_before_is_gone)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *whole = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, whole, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    CLEANUP(delta_state_release) struct delta_state *bare = load_bare(store);
    char name[DELTA_LOG_NAME_BYTES];
    checkpoint_classic_name(3, name);
    cr_assert_eq(object_remove(store, name, &err), ERR_OK);
    cr_assert_eq(delta_checkpoint_write(
                     store, bare, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK, "%s", err.msg);
    drop_commits(store, 3);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    support_expect_equal(whole, loaded, "written again");
    object_store_close(&store);
}

Test(checkpoint, a_hint_that_lies_does_not_matter)
{
    static const char *const hints[] = {
        NULL,
        "",
        "{",
        "{\"version\":-1}",
        "{\"version\":99,\"size\":1}",
        "[]",
        "{\"version\":\"3\"}",
        "{\"version\":2,\"size\":1}",
        "{\"version\":3,\"si",
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        struct object_store *store = object_store_new_memory();
        struct err err = {0};
        struct delta_checkpoint_result result = {0};
        CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
        cr_assert_eq(delta_checkpoint_write(store, state,
                                            &(struct delta_checkpoint_options){.now_ms = 0},
                                            &result, &err),
                     ERR_OK);
        if (hints[i] != NULL) {
            put_hint(store, hints[i]);
        } else {
            cr_assert_eq(object_remove(store, "_delta_log/_last_checkpoint", &err), ERR_OK);
        }
        CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
        support_expect_equal(state, loaded, hints[i] != NULL ? hints[i] : "missing");
        object_store_close(&store);
    }
}

Test(checkpoint, a_broken_one_is_passed_over)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK);
    char name[DELTA_LOG_NAME_BYTES];
    checkpoint_classic_name(3, name);
    cr_assert_eq(object_replace(store, name, span_of_text("PAR1 nonsense PAR1"), &err), ERR_OK);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    cr_expect_eq(loaded->checkpoint_version, -1);
    support_expect_equal(state, loaded, "from commits");
    drop_commits(store, 0);
    struct delta_state *none = NULL;
    cr_expect_eq(delta_state_load(store, &none, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.msg, "checkpoint of version 3"), "%s", err.msg);
    object_store_close(&store);
}

Test(checkpoint, removes_the_side_file_of_what_it_replaces)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    int64_t size = 0;
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    cr_assert_eq(object_put(store, "_delta_log/._last_checkpoint.crc", span_of_text("x"), &err),
                 ERR_OK);
    cr_assert_eq(delta_checkpoint_write(
                     store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK);
    cr_expect_eq(object_stat(store, "_delta_log/._last_checkpoint.crc", &size, &size, &err),
                 ERR_NOT_FOUND);
    object_store_close(&store);
}

Test(checkpoint, a_failing_store_announces_nothing)
{
    for (int64_t at = 1; at < 8; at++) {
        struct object_store *inner = object_store_new_memory();
        struct err err = {0};
        struct delta_checkpoint_result result = {0};
        CLEANUP(delta_state_release) struct delta_state *state = make_table(inner);
        struct object_store *store = object_store_new_faulty(inner, OBJECT_FAULT_BEFORE, at);
        enum err_code code = delta_checkpoint_write(
            store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err);
        char name[DELTA_LOG_NAME_BYTES];
        int64_t size = 0;
        checkpoint_classic_name(3, name);
        bool written = object_stat(inner, name, &size, &size, &err) == ERR_OK;
        cr_expect(written || code != ERR_OK);
        cr_expect(written || checkpoint_hint(inner) == -1, "at %lld", (long long)at);
        object_store_close(&store);
        object_store_close(&inner);
    }
}

Test(checkpoint, names)
{
    static const struct {
        const char *name;
        bool good;
        enum checkpoint_kind kind;
        int64_t version, part, parts;
    } cases[] = {
        {"00000000000000000010.checkpoint.parquet", true, CHECKPOINT_CLASSIC, 10, 1, 1},
        {"00000000000000000010.checkpoint.0000000002.0000000003.parquet", true, CHECKPOINT_PART, 10,
         2, 3},
        {"00000000000000000010.checkpoint.0000000004.0000000003.parquet", false, 0, 0, 0, 0},
        {"00000000000000000010.checkpoint.0000000000.0000000003.parquet", false, 0, 0, 0, 0},
        {"00000000000000000010.checkpoint.0000000001.0000010000.parquet", true, CHECKPOINT_PART, 10,
         1, 10000},
        {"00000000000000000010.checkpoint.0000000001.0000010001.parquet", false, 0, 0, 0, 0},
        {"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", true,
         CHECKPOINT_V2_JSON, 10, 1, 1},
        {"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet", true,
         CHECKPOINT_V2_PARQUET, 10, 1, 1},
        {"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a1.json", false, 0, 0, 0,
         0},
        {"00000000000000000010.checkpoint.parquet.tmp", false, 0, 0, 0, 0},
        {"00000000000000000010.json", false, 0, 0, 0, 0},
        {"10.checkpoint.parquet", false, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[200];
        struct checkpoint_name parsed = {0};
        (void)snprintf(name, sizeof name, "_delta_log/%s", cases[i].name); /* fits */
        cr_expect_eq(checkpoint_name_parse(name, &parsed), cases[i].good, "%s", cases[i].name);
        cr_expect_eq(parsed.kind, cases[i].kind, "%s", cases[i].name);
        cr_expect_eq(parsed.version, cases[i].version, "%s", cases[i].name);
        cr_expect_eq(parsed.part, cases[i].part, "%s", cases[i].name);
        cr_expect_eq(parsed.parts, cases[i].parts, "%s", cases[i].name);
    }
}

/* A V2 checkpoint in JSON whose files lie in a sidecar, which is one of our own files. */
Test(checkpoint, v2_json_with_a_sidecar)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK);
    CLEANUP(buffer_deinit) struct buffer file = {0};
    buffer_init(&file, 1 << 20);
    char name[DELTA_LOG_NAME_BYTES];
    checkpoint_classic_name(3, name);
    cr_assert_eq(object_get(store, name, &file, &err), ERR_OK);
    cr_assert_eq(object_put(store, "_delta_log/_sidecars/a b.parquet", buffer_span(&file), &err),
                 ERR_OK);
    cr_assert_eq(object_remove(store, name, &err), ERR_OK);
    static const char v2[] = "{\"checkpointMetadata\":{\"version\":3}}\n"
                             "{\"sidecar\":{\"path\":\"a%20b.parquet\",\"sizeInBytes\":1,"
                             "\"modificationTime\":1}}\n";
    cr_assert_eq(object_put(store,
                            "_delta_log/00000000000000000003.checkpoint."
                            "80a083e8-7026-4e79-81be-64bd76c43a11.json",
                            span_of_text(v2), &err),
                 ERR_OK);
    drop_commits(store, 3);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    support_expect_equal(state, loaded, "sidecar");
    object_store_close(&store);
}

/* A multi-part checkpoint counts only when every part is there. */
Test(checkpoint, incomplete_parts_are_ignored)
{
    static const char *const parts[] = {
        "_delta_log/00000000000000000003.checkpoint.0000000001.0000000002.parquet",
        "_delta_log/00000000000000000003.checkpoint.0000000002.0000000002.parquet"};
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_checkpoint_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    cr_assert_eq(delta_checkpoint_write(
                     store, state, &(struct delta_checkpoint_options){.now_ms = 0}, &result, &err),
                 ERR_OK);
    CLEANUP(buffer_deinit) struct buffer file = {0};
    buffer_init(&file, 1 << 20);
    char name[DELTA_LOG_NAME_BYTES];
    checkpoint_classic_name(3, name);
    cr_assert_eq(object_get(store, name, &file, &err), ERR_OK);
    cr_assert_eq(object_remove(store, name, &err), ERR_OK);
    for (int64_t i = 0; i < 2; i++) {
        cr_assert_eq(object_put(store, parts[i], buffer_span(&file), &err), ERR_OK);
        CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
        cr_expect_eq(loaded->checkpoint_version, i == 0 ? -1 : 3);
        support_expect_equal(state, loaded, "parts");
    }
    object_store_close(&store);
}
