/*
 * Restoring: any version of any history comes back, the index knows it, and what follows is
 * as on a table that never had been elsewhere.
 */
#include "storage/snapshot/restore.h"

#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/delta/table_files.h"
#include "storage/object/object.h"
#include "tests/unit/storage/snapshot/fixture.h"
#include "tests/unit/storage/snapshot/history_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HISTORIES = 60, VERSIONS = 10, TURNS = 4 };

static void rows_of(struct fixture *fixture, int64_t version, struct buffer *text)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = history_snapshot(fixture, version);
    buffer_reset(text);
    fixture_rows(snapshot, text);
}

static void expect_same(struct fixture *fixture, int64_t then, const char *what)
{
    CLEANUP(buffer_deinit) struct buffer expected;
    CLEANUP(buffer_deinit) struct buffer got;
    buffer_init(&expected, 1 << 24);
    buffer_init(&got, 1 << 24);
    rows_of(fixture, then, &expected);
    rows_of(fixture, table_version(fixture->table), &got);
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)),
              "%s: expected\n%.*s\ngot\n%.*s", what, SPAN_PRINT(buffer_span(&expected)),
              SPAN_PRINT(buffer_span(&got)));
}

static struct restore_result restore_to(struct fixture *fixture, int64_t version, const char *key,
                                        const char *what)
{
    struct err err = {0};
    struct restore_result result = {0};
    cr_assert_eq(table_restore(fixture->table, version, key, &result, &err), ERR_OK, "%s: %s", what,
                 err.msg);
    return result;
}

static void run_history(uint64_t seed)
{
    char what[96];
    uint64_t dice = seed;
    const struct fixture_options options = {.merge = seed % 3 == 0 ? TABLE_COPY_ON_WRITE
                                                                   : TABLE_DELETION_VECTORS,
                                            .partition = seed % 2 == 0,
                                            .sequence = seed % 5 == 0,
                                            .change_feed = seed % 4 == 0};
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < VERSIONS; i++) {
        history_make_version(&fixture, &dice);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t newest = table_version(fixture.table);
        int64_t target = (int64_t)history_roll(&dice, (uint64_t)newest + 1);
        (void)snprintf(what, sizeof what, "seed %" PRIu64 ", %" PRId64 " back to %" PRId64, seed,
                       newest, target);
        struct restore_result result = restore_to(&fixture, target, NULL, what);
        cr_assert_eq(result.version, newest + (result.committed ? 1 : 0), "%s", what);
        expect_same(&fixture, target, what);
        fixture_verify(&fixture, what);
        if (history_roll(&dice, 3) == 0) {
            fixture_reopen(&fixture, history_roll(&dice, 2) == 0);
            expect_same(&fixture, target, what);
            fixture_verify(&fixture, what);
        }
        history_make_version(&fixture, &dice);
        fixture_verify(&fixture, what);
    }
    fixture_remove(&fixture);
}

Test(restore, brings_back_every_version_of_any_history, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        run_history(seed);
    }
}

/* A run that ended behind the commit does it again; batches came in between. */
Test(restore, is_done_once_under_its_key)
{
    const struct fixture_options options = {0};
    struct fixture fixture = fixture_make(&options);
    history_put(&fixture, "a", 1);
    history_put(&fixture, "a", 2);
    struct restore_result first = restore_to(&fixture, 1, "restore-7", "first");
    cr_expect(first.committed);
    cr_expect_eq(first.version, 3);
    cr_expect_eq(first.rows_count, 1);
    history_put(&fixture, "a", 3);
    struct restore_result second = restore_to(&fixture, 1, "restore-7", "second");
    cr_expect_not(second.committed);
    cr_expect_eq(second.version, 4);
    expect_same(&fixture, 4, "the batch stays");
    fixture_reopen(&fixture, false);
    cr_expect_not(restore_to(&fixture, 1, "restore-7", "after a start").committed);
    cr_expect(restore_to(&fixture, 1, "restore-8", "another one").committed);
    expect_same(&fixture, 1, "another one");
    fixture_remove(&fixture);
}

#ifdef SLUICE_FAULTS
/* Killed right before or behind the commit: done again it comes to the same. */
Test(restore, is_whole_or_not_at_all_when_it_is_killed)
{
    static const struct {
        const char *fault;
        bool committed; /* by the one that was killed */
    } cases[] = {{"restore.before-commit=crash@1", false}, {"restore.after-commit=crash@1", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct fixture_options options = {0};
        struct fixture fixture = fixture_make(&options);
        history_put(&fixture, "a", 1);
        history_put(&fixture, "a", 2);
        pid_t child = fork();
        if (child == 0) {
            struct err err = {0};
            struct restore_result result = {0};
            fault_arm(cases[i].fault);
            _exit(table_restore(fixture.table, 1, "restore-7", &result, &err) == ERR_OK ? 0 : 1);
        }
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "%s: status %d", cases[i].fault, status);
        fixture_reopen(&fixture, false);
        cr_expect_eq(table_version(fixture.table), cases[i].committed ? 3 : 2, "%s",
                     cases[i].fault);
        cr_expect_eq(restore_to(&fixture, 1, "restore-7", "again").committed, !cases[i].committed,
                     "%s", cases[i].fault);
        cr_expect_eq(table_version(fixture.table), 3, "%s", cases[i].fault);
        expect_same(&fixture, 1, cases[i].fault);
        fixture_verify(&fixture, cases[i].fault);
        fixture_remove(&fixture);
    }
}
#endif

/* A deleted key whose row came back takes records as if it never had been deleted. */
Test(restore, makes_a_deletion_undone)
{
    const struct fixture_options options = {.sequence = true};
    struct fixture fixture = fixture_make(&options);
    struct record_words record = {.id = "a", .updated = 10, .amount = 1};
    fixture_put(&fixture, &record, 1);
    record = (struct record_words){.operation = FRAME_DELETE, .id = "a", .updated = 100};
    fixture_put(&fixture, &record, 1);
    (void)restore_to(&fixture, 1, NULL, "before the deletion");
    record = (struct record_words){.id = "a", .updated = 50, .amount = 2};
    fixture_put(&fixture, &record, 1);
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 16);
    fixture_lookup(&fixture, "a", &text);
    buffer_append_byte(&text, '\0');
    cr_expect_not_null(strstr((const char *)text.data, "\"amount\":2"), "%s", text.data);
    fixture_remove(&fixture);
}

Test(restore, of_the_same_rows_commits_nothing)
{
    const struct fixture_options options = {0};
    struct fixture fixture = fixture_make(&options);
    history_put(&fixture, "a", 1);
    struct restore_result result = restore_to(&fixture, 1, NULL, "now");
    cr_expect_not(result.committed);
    cr_expect_eq(result.version, 1);
    fixture_remove(&fixture);
}

Test(restore, refuses_what_cannot_come_back)
{
    struct err err = {0};
    struct restore_result result = {0};
    const struct fixture_options options = {0};
    struct fixture fixture = fixture_make(&options);
    history_put(&fixture, "a", 1);
    CLEANUP(delta_state_release) struct delta_state *then = history_state(&fixture, 1);
    history_put(&fixture, "a", 2);
    cr_expect_eq(table_restore(fixture.table, 9, NULL, &result, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.msg, "the newest is 2"), "%s", err.msg);
    err_clear(&err);
    CLEANUP(mem_cleanup) char *name = NULL;
    const struct delta_file *file = delta_state_file_at(then, 0);
    cr_assert_eq(delta_path_decode(table_store(fixture.table), file->path, &name, &err), ERR_OK);
    cr_assert_eq(object_remove(table_store(fixture.table), name, &err), ERR_OK);
    cr_expect_eq(table_restore(fixture.table, 1, NULL, &result, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.msg, "a vacuum has removed files of it"), "%s", err.msg);
    cr_expect_eq(table_version(fixture.table), 2);
    fixture_remove(&fixture);
}

Test(restore, is_refused_where_rows_are_only_added)
{
    struct err err = {0};
    struct restore_result result = {0};
    const struct fixture_options options = {.merge = TABLE_APPEND};
    struct fixture fixture = fixture_make(&options);
    history_put(&fixture, "a", 1);
    history_put(&fixture, "b", 1);
    cr_expect_eq(table_restore(fixture.table, 1, NULL, &result, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "append"), "%s", err.msg);
    fixture_remove(&fixture);
}
