/*
 * Object stores: what every kind promises, what each fault does.
 */
#include "storage/object/object.h"

#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/base/roots.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char text[] = "abcdefghij";

static struct span contents(void)
{
    return span_of_text(text);
}

/* Each promise is checked on both kinds; the local one gets a folder. */
struct stores {
    struct temp_dir dir;
    struct object_store *items[2];
};

static struct stores open_stores(void)
{
    struct err err = {0};
    struct stores stores = {.dir = temp_dir_make()};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&stores.dir, "store/");
    stores.items[0] = object_store_new_memory();
    cr_assert_eq(object_store_open_local(path, &stores.items[1], &err), ERR_OK, "%s", err.msg);
    return stores;
}

static void close_stores(struct stores *stores)
{
    object_store_close(&stores->items[0]);
    object_store_close(&stores->items[1]);
    temp_dir_remove(&stores->dir);
}

static void expect_contents(struct object_store *store, const char *name, const char *expected)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer bytes = {0};
    buffer_init(&bytes, 1000);
    cr_expect_eq(object_get(store, name, &bytes, &err), ERR_OK, "%s: %s", name, err.msg);
    cr_expect(span_equal_text(buffer_span(&bytes), expected), "%s holds something else", name);
}

Test(object, refuses_names_that_lead_out)
{
    static const char *const names[] = {"",     "/a",     "a/",    "a//b", ".",  "..",
                                        "../a", "a/../b", "a/./b", "a/..", "./a"};
    struct object_store *store = object_store_new_memory();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err err = {0};
        cr_expect_eq(object_put(store, names[i], contents(), &err), ERR_INVALID, "'%s'", names[i]);
    }
    char *long_name = mem_zeroed(OBJECT_NAME_BYTES_MAX + 2, 1);
    memset(long_name, 'a', OBJECT_NAME_BYTES_MAX);
    struct err err = {0};
    cr_expect_eq(object_put(store, long_name, contents(), &err), ERR_OK);
    long_name[OBJECT_NAME_BYTES_MAX] = 'a';
    cr_expect_eq(object_put(store, long_name, contents(), &err), ERR_INVALID);
    mem_free(long_name);
    object_store_close(&store);
}

Test(object, keeps_what_was_put)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        cr_expect_eq(object_put(store, "a/b c/d=1%20", contents(), &err), ERR_OK, "%s", err.msg);
        expect_contents(store, "a/b c/d=1%20", text);
        cr_expect_eq(object_put(store, "a/b c/d=1%20", contents(), &err), ERR_EXISTS);
        int64_t size = 0;
        int64_t modified_ms = 0;
        cr_expect_eq(object_stat(store, "a/b c/d=1%20", &size, &modified_ms, &err), ERR_OK);
        cr_expect_eq(size, 10);
        cr_expect_gt(modified_ms, 1600000000000);
        cr_expect_eq(object_stat(store, "a/absent", &size, &modified_ms, &err), ERR_NOT_FOUND);
    }
}

Test(object, put_if_absent_has_one_winner)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        cr_expect_eq(object_put_if_absent(store, "log/1", contents(), &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(object_put_if_absent(store, "log/1", span_of_text("other"), &err), ERR_EXISTS);
        expect_contents(store, "log/1", text);
    }
}

Test(object, replaces_and_removes)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        cr_expect_eq(object_replace(store, "log/hint", contents(), &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(object_replace(store, "log/hint", span_of_text("new"), &err), ERR_OK);
        expect_contents(store, "log/hint", "new");
        cr_expect_eq(object_remove(store, "log/hint", &err), ERR_OK);
        cr_expect_eq(object_remove(store, "log/hint", &err), ERR_OK, "absent is fine");
        CLEANUP(buffer_deinit) struct buffer bytes = {0};
        buffer_init(&bytes, 100);
        cr_expect_eq(object_get(store, "log/hint", &bytes, &err), ERR_NOT_FOUND);
    }
}

Test(object, streams_and_aborts)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        CLEANUP(object_stream_abort) struct object_stream *stream = NULL;
        cr_assert_eq(object_stream_begin(store, "p=1/file", &stream, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(object_stream_append(stream, span_of_text("abc"), &err), ERR_OK);
        cr_expect_eq(object_stream_append(stream, span_of_text(""), &err), ERR_OK);
        cr_expect_eq(object_stream_append(stream, span_of_text("defg"), &err), ERR_OK);
        cr_expect_eq(object_stream_finish(&stream, &err), ERR_OK);
        expect_contents(store, "p=1/file", "abcdefg");
        cr_expect_eq(object_stream_begin(store, "p=1/file", &stream, &err), ERR_EXISTS);
        cr_assert_eq(object_stream_begin(store, "gone", &stream, &err), ERR_OK);
        object_stream_abort(&stream);
        int64_t size = 0;
        cr_expect_eq(object_stat(store, "gone", &size, &size, &err), ERR_NOT_FOUND);
    }
}

Test(object, reads_ranges_even_after_removal)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        char bytes[11] = {0};
        CLEANUP(object_close) struct object *object = NULL;
        cr_assert_eq(object_put(store, "file", contents(), &err), ERR_OK);
        cr_assert_eq(object_open(store, "file", &object, &err), ERR_OK);
        cr_assert_eq(object_remove(store, "file", &err), ERR_OK);
        cr_expect_eq(object_size(object), 10);
        cr_expect_eq(object_read_at(object, 3, bytes, 4, &err), ERR_OK);
        cr_expect_str_eq(bytes, "defg");
        cr_expect_eq(object_read_at(object, 10, bytes, 0, &err), ERR_OK);
        cr_expect_eq(object_read_at(object, 7, bytes, 4, &err), ERR_CORRUPT);
        cr_expect_eq(object_read_at(object, -1, bytes, 1, &err), ERR_CORRUPT);
    }
}

static void expect_list(struct object_store *store, const struct object_list_options *options,
                        const char *expected)
{
    struct err err = {0};
    CLEANUP(object_list_free) struct object_list list = {0};
    CLEANUP(buffer_deinit) struct buffer names = {0};
    buffer_init(&names, 1000);
    cr_assert_eq(object_list(store, options, &list, &err), ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < list.count; i++) {
        buffer_append_format(&names, "%s ", list.items[i].name);
        cr_expect_eq(list.items[i].size, options->details ? 10 : -1);
    }
    cr_expect(span_equal_text(buffer_span(&names), expected), "got '%.*s'", (int)names.size,
              (const char *)names.data);
}

Test(object, lists_sorted_from_a_name_on)
{
    static const char *const names[] = {"b",         "log/2", "log/10",    "log/1", "log/.tmp",
                                        "log/sub/x", "a=1/f", ".hidden/f", "logs/1"};
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct object_store *store = stores.items[i];
        struct err err = {0};
        for (size_t j = 0; j < sizeof names / sizeof *names; j++) {
            cr_assert_eq(object_put(store, names[j], contents(), &err), ERR_OK, "%s", err.msg);
        }
        expect_list(store, &(struct object_list_options){.folder = "log"}, "log/1 log/10 log/2 ");
        expect_list(store,
                    &(struct object_list_options){
                        .folder = "log", .details = true, .start_after = "log/10"},
                    "log/2 ");
        expect_list(store, &(struct object_list_options){.recursive = true},
                    "a=1/f b log/1 log/10 log/2 log/sub/x logs/1 ");
        expect_list(store, &(struct object_list_options){.folder = ""}, "b ");
        expect_list(store, &(struct object_list_options){.folder = "absent"}, "");
    }
}

Test(object, a_local_commit_costs_four_fsyncs)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    struct object_store *store = stores.items[1];
    struct err err = {0};
    cr_assert_eq(object_put(store, "log/0", contents(), &err), ERR_OK); /* folders are there now */
    int64_t before = object_store_syncs_count(store);
    cr_assert_eq(object_put(store, "data", contents(), &err), ERR_OK);
    cr_assert_eq(object_sync(store, "", &err), ERR_OK);
    cr_assert_eq(object_put_if_absent(store, "log/1", contents(), &err), ERR_OK);
    cr_expect_eq(object_store_syncs_count(store) - before, 4);
}

Test(object, local_paths_and_durability_are_told)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    CLEANUP(mem_cleanup) char *none = object_local_path(stores.items[0], "a");
    CLEANUP(mem_cleanup) char *some = object_local_path(stores.items[1], "a/b");
    cr_expect_null(none);
    cr_expect(strncmp(some, stores.dir.path, strlen(stores.dir.path)) == 0);
    cr_expect(strcmp(some + strlen(some) - 10, "/store/a/b") == 0, "%s", some);
    cr_expect(object_store_read_back_is_durable(stores.items[0]));
    cr_expect_not(object_store_read_back_is_durable(stores.items[1]));
}

Test(object, faults_happen_once_and_as_asked)
{
    struct object_store *inner = object_store_new_memory();
    struct err err = {0};
    int64_t size = 0;

    struct object_store *store = object_store_new_faulty(inner, OBJECT_FAULT_BEFORE, 1);
    cr_expect_eq(object_put(store, "before", contents(), &err), ERR_IO);
    cr_expect_eq(object_stat(inner, "before", &size, &size, &err), ERR_NOT_FOUND);
    cr_expect_eq(object_put(store, "before", contents(), &err), ERR_OK);
    cr_expect_eq(object_store_calls_count(store), 2);
    object_store_close(&store);

    store = object_store_new_faulty(inner, OBJECT_FAULT_AFTER, 1);
    cr_expect_eq(object_put_if_absent(store, "after", contents(), &err), ERR_IO);
    expect_contents(inner, "after", text);
    object_store_close(&store);

    store = object_store_new_faulty(inner, OBJECT_FAULT_TRUNCATE, 1);
    cr_expect_eq(object_put(store, "half", contents(), &err), ERR_IO);
    expect_contents(inner, "half", "abcde");
    object_store_close(&store);

    store = object_store_new_faulty(inner, OBJECT_FAULT_TRUNCATE, 1);
    expect_contents(store, "after", "abcde");
    expect_contents(store, "after", text);
    object_store_close(&store);

    store = object_store_new_faulty(inner, OBJECT_FAULT_TRUNCATE, 1);
    CLEANUP(object_close) struct object *object = NULL;
    cr_expect_eq(object_open(store, "after", &object, &err), ERR_OK);
    cr_expect_eq(object_size(object), 5);
    object_close(&object);
    object_store_close(&store);
    object_store_close(&inner);
}

/* ---- groups ---- */

/* `count` objects, two to a folder, the last one as a stream. */
static enum err_code put_group(struct object_group *group, size_t count, struct err *err)
{
    for (size_t i = 0; i + 1 < count; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "f%zu/o%zu", i / 2, i);
        TRY(object_group_put(group, name, contents(), err));
    }
    CLEANUP(object_stream_abort) struct object_stream *stream = NULL;
    TRY(object_group_stream_begin(group, "last/stream", &stream, err));
    TRY(object_stream_append(stream, contents(), err));
    return object_stream_finish(&stream, err);
}

static enum err_code write_group(struct object_store *store, size_t count, struct err *err)
{
    CLEANUP(object_group_end) struct object_group *group = NULL;
    TRY(object_group_begin(store, count, &group, err));
    TRY(put_group(group, count, err));
    return object_group_sync(group, err);
}

Test(object, makes_groups_durable_together)
{
    static const size_t counts[] = {1, 2, OBJECT_GROUP_FEW, OBJECT_GROUP_FEW + 1, 300};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        CLEANUP(close_stores) struct stores stores = open_stores();
        for (size_t i = 0; i < 2; i++) {
            struct object_store *store = stores.items[i];
            struct err err = {0};
            int64_t before = object_store_syncs_count(store);
            cr_assert_eq(write_group(store, counts[c], &err), ERR_OK, "%s", err.msg);
            int64_t syncs = object_store_syncs_count(store) - before;
            if (i == 1 && counts[c] > OBJECT_GROUP_FEW) {
                cr_expect_eq(syncs, 1, "%zu objects in %lld syncs", counts[c], (long long)syncs);
            } else {
                int64_t folders = (int64_t)counts[c] / 2 + 1;
                cr_expect_eq(syncs, (int64_t)counts[c] + folders, "%zu objects in %lld syncs",
                             counts[c], (long long)syncs);
            }
            expect_contents(store, "last/stream", text);
            if (counts[c] > 1) {
                expect_contents(store, "f0/o0", text);
                cr_expect_eq(write_group(store, counts[c], &err), ERR_EXISTS);
            }
        }
    }
}

static size_t count_names(struct object_store *store)
{
    struct err err = {0};
    struct object_list list = {0};
    struct object_list_options options = {.recursive = true};
    cr_assert_eq(object_list(store, &options, &list, &err), ERR_OK, "%s", err.msg);
    size_t count = list.count;
    object_list_free(&list);
    return count;
}

/* One put_if_absent that makes its group durable; whoever loses the race leaves nothing. */
Test(object, publishes_what_refers_to_a_group)
{
    static const size_t counts[] = {1, 3, OBJECT_GROUP_FEW + 1};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        CLEANUP(close_stores) struct stores stores = open_stores();
        for (size_t i = 0; i < 2; i++) {
            struct object_store *store = stores.items[i];
            struct err err = {0};
            CLEANUP(object_group_end) struct object_group *group = NULL;
            cr_assert_eq(object_group_begin(store, counts[c], &group, &err), ERR_OK);
            cr_assert_eq(put_group(group, counts[c], &err), ERR_OK, "%s", err.msg);
            cr_assert_eq(object_group_publish(group, "log/1", contents(), &err), ERR_OK, "%s",
                         err.msg);
            expect_contents(store, "log/1", text);
            cr_expect_eq(count_names(store), counts[c] + 1);
            CLEANUP(object_group_end) struct object_group *late = NULL;
            cr_assert_eq(object_group_begin(store, 1, &late, &err), ERR_OK);
            cr_assert_eq(object_group_put(late, "late", contents(), &err), ERR_OK);
            cr_expect_eq(object_group_publish(late, "log/1", contents(), &err), ERR_EXISTS);
            cr_expect_eq(object_group_publish(late, "../1", contents(), &err), ERR_INVALID);
            cr_expect_eq(count_names(store), counts[c] + 2, "the late one's object alone");
        }
    }
}

Test(object, refuses_names_of_a_group_that_lead_out)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    for (size_t i = 0; i < 2; i++) {
        struct err err = {0};
        CLEANUP(object_group_end) struct object_group *group = NULL;
        struct object_stream *stream = NULL;
        cr_assert_eq(object_group_begin(stores.items[i], 1000, &group, &err), ERR_OK);
        cr_expect_eq(object_group_put(group, "../x", contents(), &err), ERR_INVALID);
        err_clear(&err);
        cr_expect_eq(object_group_stream_begin(group, "/x", &stream, &err), ERR_INVALID);
    }
}

Test(object, syncs_what_an_abandoned_group_left)
{
    CLEANUP(close_stores) struct stores stores = open_stores();
    struct object_store *store = stores.items[1];
    struct err err = {0};
    struct object_group *group = NULL;
    cr_assert_eq(object_group_begin(store, 1000, &group, &err), ERR_OK);
    cr_assert_eq(object_group_put(group, "folder/a", contents(), &err), ERR_OK);
    object_group_end(&group);
    object_group_end(&group);
    cr_assert_eq(object_put(store, "folder/b", contents(), &err), ERR_OK);
    int64_t before = object_store_syncs_count(store);
    cr_assert_eq(object_sync(store, "folder", &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(object_store_syncs_count(store) - before, 2, "the folder's own name first");
    cr_assert_eq(object_sync(store, "folder", &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(object_store_syncs_count(store) - before, 3, "once");
}

Test(object, tells_every_fault_of_a_group)
{
    static const enum object_fault_kind kinds[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool more = true;
        for (int64_t at = 1; more; at++) {
            struct err err = {0};
            struct object_store *inner = object_store_new_memory();
            struct object_store *faulty = object_store_new_faulty(inner, kinds[k], at);
            enum err_code code = write_group(faulty, 5, &err);
            more = object_store_calls_count(faulty) >= at;
            cr_expect_eq(code, more ? ERR_IO : ERR_OK, "call %lld", (long long)at);
            object_store_close(&faulty);
            object_store_close(&inner);
        }
    }
}

/* ---- below a root ---- */

struct rooted {
    struct temp_dir dir;
    struct roots *roots;
    struct object_store *store;
};

static void put_file(const struct temp_dir *dir, const char *name, const char *bytes)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(dir, name);
    CLEANUP(mem_cleanup) char *folder = mem_copy_text(path);
    *strrchr(folder, '/') = '\0';
    cr_assert_eq(file_make_directory(folder, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(file_write_derived(path, span_of_text(bytes), &err), ERR_OK, "%s", err.msg);
}

/* drop/table with two objects, links out of it, and a secret beside the root. */
static struct rooted open_rooted(void)
{
    struct err err = {0};
    struct rooted rooted = {.dir = temp_dir_make()};
    put_file(&rooted.dir, "secret/key", "secret");
    put_file(&rooted.dir, "drop/table/a", text);
    put_file(&rooted.dir, "drop/table/folder/b", "b");
    put_file(&rooted.dir, "drop/beside", "beside");
    CLEANUP(mem_cleanup) char *drop = temp_dir_join(&rooted.dir, "drop");
    CLEANUP(mem_cleanup) char *out = temp_dir_join(&rooted.dir, "drop/table/out");
    CLEANUP(mem_cleanup) char *key = temp_dir_join(&rooted.dir, "drop/table/key");
    CLEANUP(mem_cleanup) char *inside = temp_dir_join(&rooted.dir, "drop/table/inside");
    CLEANUP(mem_cleanup) char *pipe = temp_dir_join(&rooted.dir, "drop/table/pipe");
    cr_assert_eq(symlink("../../secret", out), 0);
    cr_assert_eq(symlink("../../secret/key", key), 0);
    cr_assert_eq(symlink("a", inside), 0);
    cr_assert_eq(mkfifo(pipe, 0600), 0);
    cr_assert_eq(roots_open(drop, "source-roots", &rooted.roots, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(object_store_open_rooted(rooted.roots, "table", &rooted.store, &err), ERR_OK, "%s",
                 err.msg);
    return rooted;
}

static void close_rooted(struct rooted *rooted)
{
    object_store_close(&rooted->store);
    roots_close(&rooted->roots);
    temp_dir_remove(&rooted->dir);
}

Test(object, a_folder_below_a_root_is_read)
{
    CLEANUP(close_rooted) struct rooted rooted = open_rooted();
    CLEANUP(object_list_free) struct object_list list = {0};
    CLEANUP(object_close) struct object *object = NULL;
    struct err err = {0};
    char bytes[3];
    int64_t size = 0;
    int64_t modified_ms = 0;
    expect_contents(rooted.store, "a", text);
    expect_contents(rooted.store, "folder/b", "b");
    cr_expect_eq(object_stat(rooted.store, "a", &size, &modified_ms, &err), ERR_OK);
    cr_expect_eq(size, 10);
    cr_expect(modified_ms > 0);
    cr_assert_eq(object_open(rooted.store, "a", &object, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(object_read_at(object, 2, bytes, 3, &err), ERR_OK);
    cr_expect_eq(memcmp(bytes, "cde", 3), 0);
    cr_expect_eq(object_read_at(object, 8, bytes, 3, &err), ERR_CORRUPT);
    err_clear(&err);
    const struct object_list_options options = {.recursive = true, .details = true};
    cr_assert_eq(object_list(rooted.store, &options, &list, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(list.count, 2, "links and pipes are no objects");
    cr_expect_str_eq(list.items[0].name, "a");
    cr_expect_eq(list.items[0].size, 10);
    cr_expect_str_eq(list.items[1].name, "folder/b");
    const struct object_list_options none = {.folder = "nowhere"};
    object_list_free(&list);
    cr_expect_eq(object_list(rooted.store, &none, &list, &err), ERR_OK);
    cr_expect_eq(list.count, 0);
    cr_expect_eq(object_stat(rooted.store, "nowhere", &size, &modified_ms, &err), ERR_NOT_FOUND);
}

Test(object, nothing_leads_out_of_a_folder_below_a_root)
{
    static const char *const names[] = {"key", "out/key", "inside", "pipe", "folder"};
    CLEANUP(close_rooted) struct rooted rooted = open_rooted();
    CLEANUP(buffer_deinit) struct buffer bytes;
    CLEANUP(object_list_free) struct object_list list = {0};
    buffer_init(&bytes, 1000);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err err = {0};
        struct object *object = NULL;
        cr_expect_eq(object_get(rooted.store, names[i], &bytes, &err), ERR_FORBIDDEN, "%s: %s",
                     names[i], err.msg);
        err_clear(&err);
        cr_expect_eq(object_open(rooted.store, names[i], &object, &err), ERR_FORBIDDEN, "%s",
                     names[i]);
    }
    cr_expect_eq(bytes.size, 0);
    struct err err = {0};
    const struct object_list_options out = {.folder = "out", .recursive = true};
    cr_expect_eq(object_list(rooted.store, &out, &list, &err), ERR_FORBIDDEN, "%s", err.msg);
    err_clear(&err);
    struct object_store *store = NULL;
    cr_expect_eq(object_store_open_rooted(rooted.roots, "table/out", &store, &err), ERR_FORBIDDEN);
    err_clear(&err);
    cr_expect_eq(object_store_open_rooted(rooted.roots, "../secret", &store, &err), ERR_FORBIDDEN);
    err_clear(&err);
    cr_expect_eq(object_store_open_rooted(rooted.roots, "nowhere", &store, &err), ERR_NOT_FOUND);
}

Test(object, a_folder_below_a_root_is_not_written_to)
{
    CLEANUP(close_rooted) struct rooted rooted = open_rooted();
    struct object_store *store = rooted.store;
    struct object_stream *stream = NULL;
    const enum err_code codes[] = {
        object_put(store, "c", contents(), &(struct err){0}),
        object_put_if_absent(store, "c", contents(), &(struct err){0}),
        object_replace(store, "a", contents(), &(struct err){0}),
        object_stream_begin(store, "c", &stream, &(struct err){0}),
        object_sync(store, "", &(struct err){0}),
        object_remove(store, "a", &(struct err){0}),
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        cr_expect_eq(codes[i], ERR_FORBIDDEN, "call %zu", i);
    }
    expect_contents(store, "a", text);
}
