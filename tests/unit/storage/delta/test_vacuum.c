/*
 * Vacuum and log clean-up: what must stay stays.
 */
#include "storage/delta/vacuum.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "tests/unit/storage/delta/support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const int64_t day_ms = 86400 * 1000;

/* The clock of a test: everything is put at `days` since the epoch. */
static void at_day(int64_t days)
{
    clock_freeze_wall(days * day_ms * 1000);
}

static void put(struct object_store *store, const char *name)
{
    struct err err = {0};
    cr_assert_eq(object_put(store, name, span_of_text("x"), &err), ERR_OK, "%s", err.msg);
}

static void expect_objects(struct object_store *store, const char *expected)
{
    struct err err = {0};
    CLEANUP(object_list_free) struct object_list list = {0};
    CLEANUP(buffer_deinit) struct buffer names = {0};
    buffer_init(&names, 10000);
    const struct object_list_options options = {.recursive = true};
    cr_assert_eq(object_list(store, &options, &list, &err), ERR_OK);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.items[i].name, "_delta_log/", 11) != 0) {
            buffer_append_format(&names, "%s ", list.items[i].name);
        }
    }
    cr_expect(span_equal_text(buffer_span(&names), expected), "%.*s", SPAN_PRINT(names));
}

static bool keep_pinned(void *self, const char *name)
{
    return strcmp(name, self) == 0;
}

/* Day 100: files; day 101: "dead" is removed and a file with a vector appears. */
static struct delta_state *make_table(struct object_store *store)
{
    at_day(100);
    struct delta_state *zero = support_create(store, true);
    static const char *const names[] = {"live",
                                        "dead",
                                        "orphan",
                                        "pinned",
                                        "p%=1/a b",
                                        "_hidden/x",
                                        "_sluice/t",
                                        "_change_data/c",
                                        "_p=1/stray",
                                        "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin",
                                        "deletion_vector_00000000-8816-431a-aaf6-d3fe2512ff61.bin"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        put(store, names[i]);
    }
    struct delta_transaction *adds = delta_transaction_begin(zero, store, DELTA_READS_NOTHING);
    const struct delta_file live = support_file("live");
    const struct delta_file dead = support_file("dead");
    struct delta_file marked = support_file("p%25%3D1/a%20b");
    marked.dv = (struct delta_dv){.storage = 'u',
                                  .has_offset = true,
                                  .offset = 1,
                                  .size = 36,
                                  .cardinality = 2,
                                  .path_or_inline = "^-aqEH.-t@S}K{vb[*k^"};
    delta_transaction_add(adds, &live);
    delta_transaction_add(adds, &dead);
    delta_transaction_add(adds, &marked);
    struct delta_state *one = support_commit(adds);
    at_day(101);
    struct delta_transaction *removes = delta_transaction_begin(one, store, DELTA_READS_FILES);
    delta_transaction_remove(removes, delta_state_file_by_path(one, "dead"), true);
    struct delta_state *two = support_commit(removes);
    delta_state_release(&zero);
    delta_state_release(&one);
    return two;
}

Test(vacuum, removes_only_what_nobody_may_want)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_vacuum_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = make_table(store);
    at_day(107);
    put(store, "young");
    char pinned[] = "pinned";
    struct delta_vacuum_options options = {.now_ms = 107 * day_ms + 1000,
                                           .retention_ms = -1,
                                           .keep = keep_pinned,
                                           .keep_self = pinned,
                                           .dry_run = true};
    cr_assert_eq(delta_vacuum(store, state, &options, &result, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(result.files_removed, 4);
    options.dry_run = false;
    cr_assert_eq(delta_vacuum(store, state, &options, &result, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(result.files_removed, 4);
    cr_expect_eq(result.bytes_removed, 4);
    expect_objects(store, "_hidden/x _sluice/t dead "
                          "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin live "
                          "p%=1/a b pinned young ");
    options.now_ms = 109 * day_ms;
    options.keep = NULL;
    cr_assert_eq(delta_vacuum(store, state, &options, &result, &err), ERR_OK);
    expect_objects(store, "_hidden/x _sluice/t "
                          "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin live "
                          "p%=1/a b young ");
    clock_freeze_wall(-1);
    object_store_close(&store);
}

Test(vacuum, refuses_a_retention_that_endangers_writes)
{
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_vacuum_result result = {0};
    CLEANUP(delta_state_release) struct delta_state *state = support_create(store, false);
    const struct delta_vacuum_options options = {.retention_ms = DELTA_VACUUM_MINIMUM_MS - 1};
    cr_expect_eq(delta_vacuum(store, state, &options, &result, &err), ERR_INVALID);
    object_store_close(&store);
}

static size_t count_log(struct object_store *store, int64_t *oldest_out)
{
    struct err err = {0};
    CLEANUP(object_list_free) struct object_list list = {0};
    const struct object_list_options options = {.folder = DELTA_LOG_FOLDER};
    size_t commits = 0;
    cr_assert_eq(object_list(store, &options, &list, &err), ERR_OK);
    for (size_t i = 0; i < list.count; i++) {
        int64_t version = 0;
        if (delta_log_parse_commit(list.items[i].name, &version)) {
            *oldest_out = commits == 0 ? version : *oldest_out;
            commits++;
        }
    }
    return commits;
}

/* One commit a day from day 100 on, a checkpoint every tenth. */
Test(vacuum, the_log_is_cut_at_an_old_checkpoint)
{
    enum { COMMITS = 60 };
    struct object_store *store = object_store_new_memory();
    struct err err = {0};
    struct delta_log_cleanup_result result = {0};
    at_day(100);
    struct delta_state *state = support_create(store, false);
    for (int i = 1; i <= COMMITS; i++) {
        at_day(100 + i);
        char path[32];
        (void)snprintf(path, sizeof path, "f%d", i); /* fits */
        const struct delta_file file = support_file(path);
        struct delta_transaction *adds = delta_transaction_begin(state, store, DELTA_READS_NOTHING);
        delta_transaction_add(adds, &file);
        struct delta_state *next = support_commit(adds);
        delta_state_release(&state);
        state = next;
        struct delta_checkpoint_result checkpoint = {0};
        const struct delta_checkpoint_options then = {.now_ms = (100 + i) * day_ms};
        cr_assert(i % 10 != 0 ||
                  delta_checkpoint_write(store, state, &then, &checkpoint, &err) == ERR_OK);
    }
    int64_t oldest = -1;
    /* now is day 160 noon; 30 days before is day 130: version 30 is old enough, and a checkpoint */
    cr_assert_eq(delta_log_cleanup(store, state, 160 * day_ms + day_ms / 2, &result, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect_eq(result.oldest_version, 30);
    cr_expect_eq(result.removed_count, 30 + 2);
    cr_expect_eq(count_log(store, &oldest), COMMITS - 30 + 1);
    cr_expect_eq(oldest, 30);
    CLEANUP(delta_state_release) struct delta_state *loaded = support_load(store);
    support_expect_equal(state, loaded, "after the clean-up");
    CLEANUP(delta_state_release) struct delta_state *oldest_state = NULL;
    cr_expect_eq(delta_state_load_version(store, 35, &oldest_state, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(oldest_state->files_count, 35);
    cr_assert_eq(delta_log_cleanup(store, state, 160 * day_ms, &result, &err), ERR_OK);
    cr_expect_eq(result.removed_count, 0);
    delta_state_release(&state);
    clock_freeze_wall(-1);
    object_store_close(&store);
}
