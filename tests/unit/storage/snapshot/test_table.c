/*
 * Tables beyond single merges: foreign writers, older versions, torn indexes,
 * definitions that grow, the registry.
 */
#include "tests/unit/storage/snapshot/fixture.h"

#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/transaction.h"
#include "storage/delta/vacuum.h"
#include "storage/object/object.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/history.h"
#include "storage/snapshot/images.h"
#include "storage/snapshot/index.h"
#include "storage/snapshot/lookup.h"
#include "storage/snapshot/manifest.h"
#include "storage/snapshot/output.h"
#include "storage/snapshot/scan.h"
#include "storage/snapshot/table_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

static void expect_text(const struct buffer *actual, const char *expected, const char *when)
{
    cr_expect(span_equal(buffer_span(actual), span_of_text(expected)), "%s: is\n%.*s", when,
              SPAN_PRINT(buffer_span(actual)));
}

static void expect_note(const struct fixture *fixture, const char *id, const char *note,
                        const char *when)
{
    struct buffer text;
    buffer_init(&text, 4096);
    fixture_lookup(fixture, id, &text);
    buffer_append_byte(&text, '\0');
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\"note\":%s", note);
    cr_expect(strstr((const char *)text.data, wanted) != NULL, "%s: %s is '%s'", when, id,
              (const char *)text.data);
    buffer_deinit(&text);
}

/* ---- foreign writers ---- */

Test(table, sees_foreign_rows_and_merges_over_them)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words own[] = {{FRAME_UPSERT, "a", 5, 1, "own", NULL, NULL}};
    fixture_put(&fixture, own, 1);
    struct record_words theirs[] = {{FRAME_UPSERT, "a", 7, 1, "theirs", NULL, NULL},
                                    {FRAME_UPSERT, "b", 3, 1, "theirs", NULL, NULL}};
    fixture_append_foreign(&fixture, theirs, 2);
    struct err err = {0};
    struct table_refresh_result refreshed = {0};
    cr_assert(table_refresh(fixture.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
    cr_expect(refreshed.changed);
    cr_expect_eq(refreshed.overwritten_from, -1);
    expect_note(&fixture, "a", "\"theirs\"", "two rows of one key: the newer");
    expect_note(&fixture, "b", "\"theirs\"", "a new key");
    /* A merge that does not know of the next append meets it all the same. */
    struct record_words more[] = {{FRAME_UPSERT, "c", 9, 1, "theirs", NULL, NULL}};
    fixture_append_foreign(&fixture, more, 1);
    struct record_words winner[] = {{FRAME_UPSERT, "a", 8, 1, "won", NULL, NULL},
                                    {FRAME_UPSERT, "c", 8, 1, "lost", NULL, NULL},
                                    {FRAME_DELETE, "b", 9, 1, NULL, NULL, NULL}};
    struct frame *frame = fixture_frame(&fixture, winner, 3);
    struct merge_outcome outcome = fixture_merge(&fixture, frame);
    cr_expect_eq(outcome.rows_removed, 3, "all rows of the keys go: %lld",
                 (long long)outcome.rows_removed);
    cr_expect_eq(outcome.batches[0].superseded, 1);
    expect_note(&fixture, "a", "\"won\"", "over both rows");
    expect_note(&fixture, "c", "\"theirs\"", "newer than ours");
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    cr_expect_eq(statistics.duplicates_count, 1);
    merge_outcome_deinit(&outcome);
    frame_free(&frame);
    fixture_verify(&fixture, "after foreign appends");
    fixture_remove(&fixture);
}

Test(table, reports_an_overwritten_version_once)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words first[] = {{FRAME_UPSERT, "a", 1, 1, "one", NULL, NULL}};
    struct record_words second[] = {{FRAME_UPSERT, "a", 2, 1, "two", NULL, NULL}};
    fixture_put(&fixture, first, 1);
    fixture_put(&fixture, second, 1);
    CLEANUP(mem_cleanup)
    char *path = temp_dir_join(&fixture.dir, "tables/t/_delta_log/00000000000000000002.json");
    struct err err = {0};
    const char *foreign = "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\"}}\n";
    cr_assert(file_replace(path, span_of_text(foreign), &err) == ERR_OK, "%s", err.msg);
    struct frame *frame = fixture_frame(&fixture, second, 1);
    struct merge_input input = fixture_input(&fixture, frame);
    struct merge_outcome outcome = {0};
    cr_expect(table_merge(fixture.table, &input, 1, &outcome, &err) == ERR_CONFLICT, "%s", err.msg);
    struct table_refresh_result refreshed = {0};
    cr_assert(table_refresh(fixture.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(refreshed.overwritten_from, 2);
    cr_expect_eq(refreshed.overwritten_position, 2);
    expect_note(&fixture, "a", "\"one\"", "ours is lost");
    /* The lost batch again, at a new position and its old order. */
    input.order_position = 2;
    cr_assert(table_merge(fixture.table, &input, 1, &outcome, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(outcome.batches[0].applied, 1);
    expect_note(&fixture, "a", "\"two\"", "applied again");
    cr_assert(table_refresh(fixture.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(refreshed.overwritten_from, -1, "reported once");
    fixture_verify(&fixture, "after an overwrite");
    merge_outcome_deinit(&outcome);
    frame_free(&frame);
    fixture_remove(&fixture);
}

/* The commit is not in the manifest of a process that was killed, and remembered all the same. */
Test(table, reports_a_version_that_was_overwritten_after_a_kill)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words first[] = {{FRAME_UPSERT, "a", 1, 1, "one", NULL, NULL}};
    struct record_words second[] = {{FRAME_UPSERT, "a", 2, 1, "two", NULL, NULL}};
    fixture_put(&fixture, first, 1);
    table_store_index(fixture.table);
    fixture_put(&fixture, second, 1);
    CLEANUP(mem_cleanup)
    char *path = temp_dir_join(&fixture.dir, "tables/t/_delta_log/00000000000000000002.json");
    struct err err = {0};
    const char *foreign = "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\"}}\n";
    cr_assert(file_replace(path, span_of_text(foreign), &err) == ERR_OK, "%s", err.msg);
    fixture_reopen_killed(&fixture);
    struct table_refresh_result refreshed = {0};
    cr_assert(table_refresh(fixture.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(refreshed.overwritten_from, 2);
    cr_expect_eq(refreshed.overwritten_position, 2);
    fixture_remove(&fixture);
}

/* ---- the index between opens ---- */

static void put_many(struct fixture *fixture, int first, int count, int64_t updated)
{
    struct record_words *records = mem_zeroed((size_t)count, sizeof *records);
    char(*ids)[16] = mem_zeroed((size_t)count, sizeof *ids);
    for (int i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%05d", first + i);
        records[i] = (struct record_words){FRAME_UPSERT, ids[i], updated, i, "n", "r", "m"};
    }
    fixture_put(fixture, records, (size_t)count);
    mem_free(records);
    mem_free(ids);
}

static void read_file(const struct fixture *fixture, const char *name, struct buffer *bytes)
{
    struct err err = {0};
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&fixture->dir, name);
    cr_assert(file_read(path, bytes, &err) == ERR_OK, "%s", err.msg);
}

Test(table, extends_an_index_that_is_behind)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    table_store_index(fixture.table);
    put_many(&fixture, 50, 100, 2);
    put_many(&fixture, 80, 20, 3);
    fixture_reopen_killed(&fixture); /* the manifest knows of one of three commits */
    fixture_verify(&fixture, "extended");
    put_many(&fixture, 0, 150, 4);
    fixture_verify(&fixture, "merged on");
    fixture_reopen(&fixture, false);
    fixture_verify(&fixture, "opened again");
    fixture_remove(&fixture);
}

/* Unsynced row images may have lost their bytes where the file system was mounted anew. */
Test(table, believes_no_row_images_of_another_mount)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    table_store_index(fixture.table);
    char folder[64];
    (void)snprintf(folder, sizeof folder, "index/%s", fixture.uuid.text); /* fits */
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&fixture.dir, folder);
    CLEANUP(mem_cleanup) char *images = file_join(path, "images-1.img");
    struct manifest manifest = {0};
    struct err err = {0};
    cr_assert(manifest_read(path, &manifest, &err) == ERR_OK, "%s", err.msg);
    (void)snprintf(manifest.mount, sizeof manifest.mount, "another"); /* fits */
    cr_assert(manifest_write(path, &manifest, &err) == ERR_OK, "%s", err.msg);
    manifest_deinit(&manifest);
    int fd = open(images, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    static const uint8_t zeros[64];
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
    cr_assert_eq(close(fd), 0);
    fixture_reopen_killed(&fixture);
    fixture_verify(&fixture, "images made again");
    fixture_remove(&fixture);
}

/* Merges write nothing; what is stored goes again when it is of no use any more. */
Test(table, stores_its_index_when_told_and_removes_what_it_stored)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    put_many(&fixture, 100, 100, 2);
    char folder[64];
    (void)snprintf(folder, sizeof folder, "index/%s", fixture.uuid.text); /* fits */
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&fixture.dir, folder);
    CLEANUP(mem_cleanup) char *images = file_join(path, "images-1.img");
    CLEANUP(mem_cleanup) char *run = file_join(path, "run-0-1.run");
    cr_expect_not(file_exists(images));
    cr_expect_not(file_exists(run));
    table_store_index(fixture.table);
    cr_expect(file_exists(images));
    cr_expect(file_exists(run));
    put_many(&fixture, 0, 100, 3); /* empties the first file */
    struct err err = {0};
    cr_expect(file_exists(images));
    for (int i = 4; i < 30; i++) {
        put_many(&fixture, 0, 100, i); /* and folds the run */
    }
    cr_expect(file_exists(run), "the manifest names it");
    table_store_index(fixture.table);
    cr_expect_not(file_exists(images));
    cr_expect_not(file_exists(run));
    fixture_reopen_killed(&fixture);
    fixture_verify(&fixture, "killed after it was stored");
    struct file_names names = {0};
    cr_assert(file_list(path, &names, &err) == ERR_OK);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
    cr_expect_eq(names.count, 2 + snapshot->files_count + snapshot->index->kinds[0].count,
                 "%zu files", names.count);
    file_names_free(&names);
    fixture_remove(&fixture);
}

/* Each file of the index cut, and with one byte changed: found at the open, and healed. */
Test(table, heals_torn_index_files)
{
    static const char *const names[] = {"manifest", "run-0-1.run", "images-1.img", "run-1-2.run"};
    struct fixture_options options = keyed;
    options.lookup = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int how = 0; how < 3; how++) {
            struct fixture fixture = fixture_make(&options);
            put_many(&fixture, 0, 100, 1);
            table_store_index(fixture.table);
            char name[128];
            (void)snprintf(name, sizeof name, "index/%s/%s", fixture.uuid.text, names[i]);
            struct buffer bytes;
            buffer_init(&bytes, 1 << 20);
            read_file(&fixture, name, &bytes);
            CLEANUP(mem_cleanup) char *path = temp_dir_join(&fixture.dir, name);
            struct err err = {0};
            table_release(&fixture.table);
            tables_close(&fixture.tables);
            if (how == 0) {
                bytes.size /= 2;
            } else {
                bytes.data[how == 1 ? 0 : bytes.size - 20] ^= 1;
            }
            cr_assert(how == 1 && strncmp(names[i], "images", 6) == 0
                          ? file_remove(path, &err) == ERR_OK
                          : file_replace(path, buffer_span(&bytes), &err) == ERR_OK);
            fixture_reopen(&fixture, false);
            char when[64];
            (void)snprintf(when, sizeof when, "%s %d", names[i], how);
            fixture_verify(&fixture, when);
            buffer_deinit(&bytes);
            fixture_remove(&fixture);
        }
    }
}

/* An image damaged while it is mapped: the row comes from its data file. */
Test(table, reads_the_data_file_when_an_image_is_damaged)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words record = {FRAME_UPSERT, "a", 1, 1, "whole", NULL, NULL};
    fixture_put(&fixture, &record, 1);
    fixture_reopen(&fixture, false); /* from now on it is mapped */
    char name[128];
    (void)snprintf(name, sizeof name, "index/%s/images-1.img", fixture.uuid.text);
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&fixture.dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0);
    cr_assert(pwrite(fd, "\xff", 1, 8) == 1);
    cr_assert(close(fd) == 0);
    expect_note(&fixture, "a", "\"whole\"", "damaged image");
    fixture_remove(&fixture);
}

static void collect_entries(const struct fixture *fixture, uint32_t kind,
                            struct index_entry **entries_out, size_t *count_out)
{
    const struct snapshot *snapshot = table_snapshot(fixture->table);
    const struct index_set *set = &snapshot->index->kinds[kind];
    size_t count = 0;
    struct index_entry *entries = mem_zeroed(100000, sizeof *entries);
    for (size_t i = 0; i < set->count; i++) {
        for (size_t j = 0; j < set->runs[i]->count; j++) {
            entries[count] = set->runs[i]->entries[j];
            entries[count].file = 0; /* numbers are given anew */
            const struct snapshot_file *file = NULL;
            count += snapshot_entry_is_alive(snapshot, &set->runs[i]->entries[j], &file);
        }
    }
    index_entries_sort(entries, count);
    snapshot_release(&snapshot);
    *entries_out = entries;
    *count_out = count;
}

Test(table, rebuilds_the_index_that_was_extended)
{
    struct fixture_options options = keyed;
    options.lookup = true;
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < 20; i++) { /* more runs than are kept: folded on the way */
        put_many(&fixture, i * 37 % 400, 100, i);
    }
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    cr_expect(statistics.index_runs_count <= 2 * INDEX_SMALL_RUNS_MAX, "%lld runs",
              (long long)statistics.index_runs_count);
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct index_entry *extended = NULL;
        struct index_entry *rebuilt = NULL;
        size_t extended_count = 0;
        size_t rebuilt_count = 0;
        collect_entries(&fixture, kind, &extended, &extended_count);
        fixture_reopen(&fixture, true);
        collect_entries(&fixture, kind, &rebuilt, &rebuilt_count);
        cr_assert_eq(extended_count, rebuilt_count);
        for (size_t i = 0; i < extended_count; i++) {
            cr_assert(extended[i].hash == rebuilt[i].hash &&
                      extended[i].sequence == rebuilt[i].sequence &&
                      extended[i].row == rebuilt[i].row);
        }
        mem_free(extended);
        mem_free(rebuilt);
    }
    fixture_remove(&fixture);
}

/* Their ids are none that a small table has. */
static void add_runs(struct index_view *view, const char *folder, size_t runs_count,
                     size_t entries_count)
{
    struct index_entry *entries = mem_zeroed(entries_count, sizeof *entries);
    for (size_t i = 0; i < entries_count; i++) {
        entries[i].hash = i;
    }
    for (size_t i = 0; i < runs_count; i++) {
        struct err err = {0};
        struct index_run *run = NULL;
        cr_assert(index_run_build(folder, 0, 1000 + i, entries, entries_count, &run, &err) ==
                  ERR_OK);
        index_view_add(view, &run);
    }
    mem_free(entries);
}

static size_t count_runs(const struct index_view *view, size_t entries_from, size_t entries_to)
{
    size_t count = 0;
    for (size_t i = 0; i < view->kinds[0].count; i++) {
        size_t entries = view->kinds[0].runs[i]->count;
        count += entries >= entries_from && entries <= entries_to;
    }
    return count;
}

/* A commit waits while its runs are folded. */
Test(table, commits_leave_large_runs_to_maintenance)
{
    enum { SMALL = INDEX_SMALL_ENTRIES_MAX, LARGE = SMALL + 1 };
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    const uint8_t hash_key[HASH_KEY_BYTES] = {0};
    CLEANUP(index_view_release) struct index_view *view = index_view_new(1, hash_key);
    add_runs(view, NULL, INDEX_RUNS_CALM + 1, LARGE);
    add_runs(view, NULL, INDEX_SMALL_RUNS_MAX, SMALL);
    cr_assert_eq(table_fold_runs(fixture.table, view, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(count_runs(view, SMALL, SMALL), INDEX_SMALL_RUNS_MAX, "few are left alone");
    add_runs(view, NULL, 1, SMALL);
    cr_assert_eq(table_fold_runs(fixture.table, view, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(count_runs(view, SMALL, SMALL), INDEX_SMALL_RUNS_MAX - 1, "two are one now");
    cr_expect_eq(count_runs(view, LARGE, LARGE), INDEX_RUNS_CALM + 1);
    add_runs(view, NULL, INDEX_RUNS_FOREGROUND_MAX - INDEX_RUNS_CALM - 1, LARGE); /* nobody came */
    cr_assert_eq(table_fold_runs(fixture.table, view, &err), ERR_OK, "%s", err.msg);
    cr_expect(view->kinds[0].count <= INDEX_RUNS_FOREGROUND_MAX);
    fixture_remove(&fixture);
}

static void maintain_index(struct fixture *fixture)
{
    struct err err = {0};
    for (bool more = true; more;) {
        cr_assert(table_index_maintain(fixture->table, &more, &err) == ERR_OK, "%s", err.msg);
    }
}

Test(table, maintains_runs_down_to_few)
{
    struct fixture fixture = fixture_make(&keyed);
    for (int i = 0; i < 30; i++) {
        put_many(&fixture, 0, 200, i); /* every entry but the last 200 is dead */
    }
    maintain_index(&fixture);
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    cr_expect(statistics.index_runs_count <= INDEX_RUNS_CALM);
    cr_expect(statistics.index_entries_count < 2000, "%lld entries for 200 rows",
              (long long)statistics.index_entries_count);
    fixture_verify(&fixture, "maintained");
    fixture_remove(&fixture);
}

/* ---- append tables and lookups ---- */

Test(table, appends_and_pages_lookups)
{
    struct fixture_options options = {.merge = TABLE_APPEND, .lookup = true};
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < 5; i++) {
        struct record_words rows[] = {{FRAME_INSERT, "x", 0, i, "a", NULL, "m1"},
                                      {FRAME_INSERT, "x", 0, i, "b", NULL, "m2"},
                                      {FRAME_INSERT, "x", 0, i, "c", NULL, "m1"}};
        fixture_put(&fixture, rows, 3);
    }
    struct err err = {0};
    for (int round = 0; round < 2; round++) {
        const struct snapshot *snapshot = table_snapshot(fixture.table);
        struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text("m1")};
        struct buffer after;
        buffer_init(&after, 64);
        size_t rows = 0;
        for (bool more = true; more;) {
            struct lookup_options page = {.limit = 3, .after = buffer_span(&after)};
            struct lookup_result result = {0};
            cr_assert(lookup_value(snapshot, 0, &value, &page, &result, &err) == ERR_OK, "%s",
                      err.msg);
            rows += result.count;
            more = result.more;
            cr_assert(!more || result.count == 3);
            buffer_reset(&after);
            buffer_append_span(&after, result.rows[result.count - 1].place);
            lookup_result_deinit(&result);
        }
        cr_expect_eq(rows, 10);
        buffer_deinit(&after);
        snapshot_release(&snapshot);
        fixture_verify(&fixture, "append table");
        fixture_reopen(&fixture, true);
    }
    fixture_remove(&fixture);
}

Test(table, answers_the_root_by_its_key)
{
    struct fixture_options options = keyed;
    options.root = true;
    struct fixture fixture = fixture_make(&options);
    put_many(&fixture, 0, 50, 1);
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text("k00007")};
    struct lookup_result result = {0};
    struct err err = {0};
    cr_assert(lookup_value(snapshot, 0, &value, NULL, &result, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(result.count, 1);
    cr_expect_eq(snapshot->index->kinds[1].count, 0, "no runs twice");
    lookup_result_deinit(&result);
    snapshot_release(&snapshot);
    fixture_remove(&fixture);
}

/* ---- older versions ---- */

Test(table, shows_older_versions)
{
    struct fixture_options options = keyed;
    options.lookup = true;
    struct fixture fixture = fixture_make(&options);
    struct record_words one[] = {{FRAME_UPSERT, "a", 1, 1, "one", NULL, "m"},
                                 {FRAME_UPSERT, "b", 1, 1, "one", NULL, "m"}};
    struct record_words two[] = {{FRAME_UPSERT, "a", 2, 1, "two", NULL, "m"},
                                 {FRAME_DELETE, "b", 2, 0, NULL, NULL, NULL}};
    fixture_put(&fixture, one, 2);
    fixture_put(&fixture, two, 2);
    struct err err = {0};
    const struct snapshot *old = NULL;
    for (int again = 0; again < 2; again++) { /* the second time from the cache */
        cr_assert(table_snapshot_at_version(fixture.table, 1, &old, &err) == ERR_OK, "%s", err.msg);
        struct buffer text;
        buffer_init(&text, 4096);
        fixture_rows(old, &text);
        expect_text(&text,
                    "{\"id\":\"a\",\"updated\":1,\"amount\":1,\"note\":\"one\",\"region\":null,"
                    "\"member\":\"m\"}\n"
                    "{\"id\":\"b\",\"updated\":1,\"amount\":1,\"note\":\"one\",\"region\":null,"
                    "\"member\":\"m\"}\n",
                    "version 1");
        buffer_deinit(&text);
        struct row_value value = {.type = COLUMN_STRING, .bytes = span_of_text("m")};
        struct lookup_result result = {0};
        cr_assert(lookup_value(old, 0, &value, NULL, &result, &err) == ERR_OK, "%s", err.msg);
        cr_expect_eq(result.count, 2);
        lookup_result_deinit(&result);
        struct frame *keys = fixture_frame(&fixture, one, 2);
        cr_assert(lookup_keys(old, keys, &result, &err) == ERR_OK, "%s", err.msg);
        cr_expect(result.rows[0].found && result.rows[1].found);
        lookup_result_deinit(&result);
        frame_free(&keys);
        snapshot_release(&old);
    }
    cr_expect(table_snapshot_at_version(fixture.table, 9, &old, &err) == ERR_NOT_FOUND);
    cr_assert(table_snapshot_at_time(fixture.table, INT64_MAX, &old, &err) == ERR_OK);
    cr_expect_eq(old->version, 2);
    snapshot_release(&old);
    cr_expect(table_snapshot_at_time(fixture.table, 1000, &old, &err) == ERR_NOT_FOUND);
    CLEANUP(mem_cleanup) char *folder = temp_dir_join(&fixture.dir, "tables/t");
    cr_assert(snapshot_open_folder(folder, -1, &old, &err) == ERR_OK, "%s", err.msg);
    cr_expect_eq(snapshot_rows_count(old), 1);
    snapshot_release(&old);
    fixture_remove(&fixture);
}

Test(table, tells_its_history)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 10, 1);
    struct record_words theirs = {FRAME_UPSERT, "z", 1, 1, NULL, NULL, NULL};
    fixture_append_foreign(&fixture, &theirs, 1);
    put_many(&fixture, 5, 10, 2);
    struct err err = {0};
    struct history history = {0};
    cr_assert(history_read(table_store(fixture.table), -1, 3, &history, &err) == ERR_OK, "%s",
              err.msg);
    cr_assert_eq(history.count, 3);
    cr_expect(history.more);
    cr_expect(history.entries[0].ours && !history.entries[1].ours && history.entries[2].ours);
    cr_expect_eq(history.entries[0].version, 3);
    cr_expect_eq(history.entries[0].position_to, 2);
    cr_expect_eq(history.entries[0].batches_count, 1);
    cr_expect_eq(history.entries[0].rows_added, 10);
    cr_expect_eq(history.entries[0].rows_removed, 5);
    cr_expect_str_eq(history.entries[0].operation, "MERGE");
    history_free(&history);
    fixture_remove(&fixture);
}

/* ---- outcomes ---- */

Test(table, reads_large_outcomes_back)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 3000, 1);
    struct record_words *records = mem_zeroed(3000, sizeof *records);
    char(*ids)[16] = mem_zeroed(3000, sizeof *ids);
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%05d", i);
        records[i] = (struct record_words){FRAME_INSERT, ids[i], 2, i, "n", "r", "m"};
    }
    struct frame *frame = fixture_frame(&fixture, records, 3000);
    struct merge_outcome outcome = fixture_merge(&fixture, frame);
    cr_expect_eq(outcome.batches[0].rejections_count, 3000);
    fixture_reopen(&fixture, false);
    struct err err = {0};
    struct merge_batch_outcome read = {0};
    int64_t position = 2;
    cr_expect_eq(table_applied_position(fixture.table), position);
    cr_assert(table_outcomes_read(fixture.table, &position, 1, &read, &err) == ERR_OK, "%s",
              err.msg);
    cr_expect(read.already && read.counts_known);
    cr_expect_eq(read.version, 2);
    cr_assert_eq(read.rejections_count, 3000);
    cr_expect_eq(read.rejections[2999].row, 2999);
    cr_expect_eq(read.rejections[2999].code, MERGE_KEY_EXISTS);
    merge_batch_outcome_deinit(&read);
    merge_outcome_deinit(&outcome);
    frame_free(&frame);
    mem_free(records);
    mem_free(ids);
    fixture_remove(&fixture);
}

/* ---- tombstones ---- */

Test(table, forgets_tombstones_after_the_retention)
{
    struct fixture_options options = keyed;
    options.retention_seconds = 3600;
    struct fixture fixture = fixture_make(&options);
    int64_t now_us = clock_wall_us();
    struct record_words deleted = {FRAME_DELETE, "a", 9, 0, NULL, NULL, NULL};
    struct record_words late = {FRAME_UPSERT, "a", 3, 1, "late", NULL, NULL};
    fixture_put(&fixture, &deleted, 1);
    fixture_reopen(&fixture, false);
    fixture_put(&fixture, &late, 1);
    struct buffer text;
    buffer_init(&text, 4096);
    fixture_lookup(&fixture, "a", &text);
    expect_text(&text, "", "within the retention");
    clock_freeze_wall(now_us + INT64_C(3700) * 1000000);
    fixture_put(&fixture, &late, 1);
    expect_note(&fixture, "a", "\"late\"", "after it");
    clock_freeze_wall(-1);
    buffer_deinit(&text);
    fixture_remove(&fixture);
}

/* ---- definitions ---- */

static struct schema *with_column(const struct schema *schema, const char *name)
{
    struct err err = {0};
    CLEANUP(json_free) struct json *definition = schema_to_json(schema);
    const struct json *fields = json_get(json_get(definition, "schema"), "fields");
    struct json *field = json_new_object();
    json_set_text(field, "name", name);
    json_set_text(field, "type", "string");
    json_append((struct json *)(uintptr_t)fields, field); /* the document is ours */
    struct schema *next = NULL;
    struct schema *evolved = NULL;
    bool same = false;
    cr_assert(schema_parse(definition, &next, &err) == ERR_OK, "%s", err.msg);
    cr_assert(schema_evolve(schema, next, &evolved, &same, &err) == ERR_OK, "%s", err.msg);
    schema_release(&next);
    return evolved;
}

Test(table, takes_new_columns)
{
    struct fixture fixture = fixture_make(&keyed);
    struct record_words one = {FRAME_UPSERT, "a", 1, 1, "one", NULL, NULL};
    fixture_put(&fixture, &one, 1);
    struct schema *next = with_column(fixture.schema, "extra");
    struct err err = {0};
    cr_assert(table_change_schema(fixture.table, next, &err) == ERR_OK, "%s", err.msg);
    struct buffer text;
    buffer_init(&text, 4096);
    fixture_lookup(&fixture, "a", &text);
    expect_text(&text,
                "{\"id\":\"a\",\"updated\":1,\"amount\":1,\"note\":\"one\",\"region\":null,"
                "\"member\":null,\"extra\":null}",
                "a row of before");
    /* A batch accepted under the old definition is merged under the new one. */
    struct record_words two = {FRAME_UPSERT, "b", 1, 1, "two", NULL, NULL};
    fixture_put(&fixture, &two, 1);
    fixture_verify(&fixture, "mixed versions");
    schema_release(&fixture.schema);
    fixture.schema = next;
    fixture_reopen(&fixture, true);
    fixture_verify(&fixture, "rebuilt");
    buffer_deinit(&text);
    fixture_remove(&fixture);
}

/* ---- checkpoints and compaction ---- */

Test(table, compacts_small_files_and_dense_vectors)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    for (int i = 0; i < 40; i++) {
        put_many(&fixture, i * 100, 100, i);
        struct compact_plan plan;
        compact_plan(fixture.table, true, &plan);
        if (plan.count > 0) {
            struct compact_result result = {0};
            cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s",
                      err.msg);
            cr_expect(result.committed);
        }
        compact_plan_deinit(&plan);
    }
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    cr_expect(statistics.files_count <= COMPACT_SMALL_FILES_MAX + COMPACT_BASE_FILES_MAX,
              "%lld files", (long long)statistics.files_count);
    put_many(&fixture, 0, 3000, 100);
    struct compact_plan plan;
    compact_plan(fixture.table, true, &plan);
    cr_assert(plan.count > 0, "files with many dead rows are purged");
    struct compact_result result = {0};
    const _Atomic bool stop = true;
    cr_expect(compact_run(fixture.table, &plan, &stop, &result, &err) == ERR_CANCELLED);
    err_clear(&err);
    cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s", err.msg);
    cr_expect(result.rows_purged > 0);
    compact_plan_deinit(&plan);
    struct delta_checkpoint_result checkpoint = {0};
    cr_assert(table_checkpoint(fixture.table,
                               &(struct delta_checkpoint_options){.now_ms = clock_wall_us() / 1000},
                               &checkpoint, &err) == ERR_OK,
              "%s", err.msg);
    cr_expect_not(table_checkpoint_is_due(fixture.table, clock_wall_us() / 1000));
    fixture_verify(&fixture, "compacted");
    fixture_reopen(&fixture, false);
    fixture_verify(&fixture, "opened from a checkpoint");
    fixture_remove(&fixture);
}

/* Dead rows are purged file by file, so that one file must not hold all rows. */
Test(table, compacts_into_files_that_take_turns)
{
    enum { FILES = 33, FILE_ROWS = 5000 };
    _Static_assert((int)FILES * FILE_ROWS > (int)COMPACT_SHARE_ROWS_MIN,
                   "more than one file holds");
    struct fixture fixture = fixture_make(&keyed);
    for (int i = 0; i < FILES; i++) {
        put_many(&fixture, i * FILE_ROWS, FILE_ROWS, i);
    }
    struct err err = {0};
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan(fixture.table, true, &plan);
    cr_expect_eq(plan.live_rows, COMPACT_SHARE_ROWS_MIN / FILE_ROWS * FILE_ROWS, "%lld rows",
                 (long long)plan.live_rows);
    struct compact_result result = {0};
    cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s", err.msg);
    fixture_verify(&fixture, "taking turns");
    fixture_remove(&fixture);
}

/* Live rows of what compaction would take now, 0 = nothing. */
static int64_t planned_rows(const struct fixture *fixture, bool resting)
{
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan(fixture->table, resting, &plan);
    cr_expect_leq(plan.count, 1);
    return plan.live_rows;
}

static void put_files(struct fixture *fixture)
{
    for (int i = 0; i < 4; i++) {
        put_many(fixture, i * 10000, 10000, 1);
    }
}

Test(table, purges_a_file_when_half_of_it_is_dead_or_the_table_rests)
{
    struct fixture fixture = fixture_make(&keyed);
    put_files(&fixture);
    put_many(&fixture, 0, 3000, 2);
    cr_expect_eq(planned_rows(&fixture, false), 0, "7 %% of all rows are dead");
    cr_expect_eq(planned_rows(&fixture, true), 7000);
    put_many(&fixture, 3000, 2500, 2);
    cr_expect_eq(planned_rows(&fixture, false), 4500);
    fixture_remove(&fixture);
}

Test(table, purges_the_worst_file_when_too_many_rows_of_all_are_dead)
{
    struct fixture fixture = fixture_make(&keyed);
    put_files(&fixture);
    put_many(&fixture, 10000, 2000, 2);
    put_many(&fixture, 20000, 3500, 2);
    put_many(&fixture, 30000, 2500, 2);
    cr_expect_eq(planned_rows(&fixture, false), 0, "8,000 of 48,000");
    put_many(&fixture, 0, 2500, 2);
    cr_expect_eq(planned_rows(&fixture, false), 6500, "10,500 of 50,500");
    fixture_remove(&fixture);
}

enum { FOLDED_BY_NONE = INDEX_SMALL_ENTRIES_MAX + 1 }; /* entries: too many for a commit to fold */

/* Publish as many more runs of rows that are gone. */
static void publish_runs(struct fixture *fixture, size_t runs_count, size_t entries_count)
{
    struct table *table = fixture->table;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&table->commit);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(table);
    CLEANUP(index_view_release) struct index_view *view = index_view_copy(snapshot->index);
    add_runs(view, table->index_folder, runs_count, entries_count);
    struct file_list files;
    file_list_copy(&files, snapshot);
    table_publish(table, snapshot->schema, snapshot->state, &files, view);
    file_list_deinit(&files);
}

static size_t count_files(const struct fixture *fixture, const char *prefix)
{
    struct err err = {0};
    CLEANUP(file_names_free) struct file_names names = {0};
    cr_assert_eq(file_list(fixture->table->index_folder, &names, &err), ERR_OK, "%s", err.msg);
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++) {
        count += strncmp(names.names[i], prefix, strlen(prefix)) == 0;
    }
    return count;
}

static size_t count_run_files(const struct fixture *fixture)
{
    return count_files(fixture, "run-");
}

/* Merged again and again between two manifests, large runs would fill the disk until the hour is
 * over. */
Test(table, drops_the_files_of_merged_runs_that_no_manifest_names)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    table_store_index(fixture.table);
    size_t named = count_run_files(&fixture);
    publish_runs(&fixture, INDEX_RUNS_CALM + 1, FOLDED_BY_NONE);
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    struct err err = {0};
    for (size_t i = 0; i < snapshot->index->kinds[0].count; i++) {
        struct index_run *run = snapshot->index->kinds[0].runs[i];
        if (run->count > INDEX_SMALL_ENTRIES_MAX) {
            cr_assert_eq(index_run_store(run, fixture.table->index_folder, &err), ERR_OK);
        }
    }
    snapshot_release(&snapshot);
    cr_assert_eq(count_run_files(&fixture), named + INDEX_RUNS_CALM + 1);
    maintain_index(&fixture);
    cr_expect_eq(count_run_files(&fixture), named, "what the manifest names stays");
    table_store_index(fixture.table);
    cr_expect_eq(count_run_files(&fixture), 1, "the merged one");
    fixture_reopen(&fixture, false);
    fixture_verify(&fixture, "opened from its manifest");
    fixture_remove(&fixture);
}

/* Commits fold large runs where maintenance does not come; their files must not stay, either. */
Test(table, drops_the_files_of_large_runs_that_commits_folded)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    table_store_index(fixture.table);
    publish_runs(&fixture, INDEX_RUNS_FOREGROUND_MAX + 1,
                 DERIVED_STREAM_BYTES / sizeof(struct index_entry) + 1);
    put_many(&fixture, 0, 100, 2);
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    cr_assert_leq(snapshot->index->kinds[0].count, INDEX_RUNS_FOREGROUND_MAX, "the commit folded");
    snapshot_release(&snapshot);
    maintain_index(&fixture);
    table_store_index(fixture.table);
    cr_expect_eq(count_run_files(&fixture), 1, "%zu files", count_run_files(&fixture));
    fixture_remove(&fixture);
}

/* The same of the row images of large files, which compaction replaces again and again. */
Test(table, drops_the_files_of_images_that_no_manifest_names)
{
    struct fixture fixture = fixture_make(&keyed);
    table_store_index(fixture.table);
    for (int turn = 0; turn < 3; turn++) {
        put_many(&fixture, 0, 100000, turn);
        cr_assert_gt(count_files(&fixture, "images-"), 0U, "large enough to be a file at once");
        fixture_compact(&fixture);
        maintain_index(&fixture);
        CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
        cr_expect_leq(count_files(&fixture, "images-"), snapshot->files_count, "turn %d", turn);
    }
    table_store_index(fixture.table);
    fixture_reopen(&fixture, false);
    fixture_verify(&fixture, "opened from its manifest");
    fixture_remove(&fixture);
}

/* A compaction whose input is gone before it ends was in vain: nothing of it stays. */
Test(table, drops_the_files_of_compactions_that_were_in_vain)
{
    for (int all = 0; all < 2; all++) {
        struct fixture fixture = fixture_make(&keyed);
        struct err err = {0};
        put_many(&fixture, 0, 160000, 0);
        put_many(&fixture, 0, 60000, 1);
        CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
        struct compact_result result = {0};
        compact_plan(fixture.table, true, &plan);
        cr_assert_gt(plan.count, 0U);
        put_many(&fixture, all == 1 ? 0 : 60000, all == 1 ? 160000 : 100000, 2);
        cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s", err.msg);
        maintain_index(&fixture);
        CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
        cr_expect_leq(count_files(&fixture, "images-"), snapshot->files_count, "case %d", all);
        CLEANUP(object_list_free) struct object_list list = {0};
        const struct object_list_options data = {0};
        cr_assert(object_list(table_store(fixture.table), &data, &list, &err) == ERR_OK);
        size_t removed = 0; /* by merges: these stay until a vacuum */
        for (size_t i = 0; i < list.count; i++) {
            removed += strncmp(list.items[i].name, "part-", 5) == 0;
        }
        removed -= snapshot->files_count;
        cr_expect_eq(removed, all == 1 ? 2U : 1U, "case %d: %zu", all, removed);
        fixture_verify(&fixture, "after it");
        fixture_remove(&fixture);
    }
}

Test(table, stores_its_index_once_in_a_while)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100, 1);
    const int64_t begun_us = 1000000000;
    table_store_index_when_due(fixture.table, begun_us);
    size_t stored = count_run_files(&fixture);
    put_many(&fixture, 100, 100, 1);
    table_store_index_when_due(fixture.table, begun_us + TABLE_STORE_US - 1);
    cr_expect_eq(count_run_files(&fixture), stored);
    table_store_index_when_due(fixture.table, begun_us + TABLE_STORE_US);
    cr_expect_gt(count_run_files(&fixture), stored);
    fixture_reopen(&fixture, false);
    fixture_verify(&fixture, "opened from its manifest");
    fixture_remove(&fixture);
}

Test(table, merges_runs_between_the_rows_of_a_compaction)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 12000, 1);
    put_many(&fixture, 12000, 12000, 1);
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan_thorough(fixture.table, &plan);
    cr_assert_eq(plan.count, 2);
    publish_runs(&fixture, INDEX_RUNS_CALM + 1, FOLDED_BY_NONE);
    struct err err = {0};
    struct compact_result result = {0};
    cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s", err.msg);
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    cr_expect(statistics.index_runs_count < INDEX_RUNS_CALM, "%lld runs",
              (long long)statistics.index_runs_count);
    fixture_verify(&fixture, "runs merged meanwhile");
    fixture_remove(&fixture);
}

Test(table, asks_merges_to_wait_for_compaction_that_is_behind)
{
    struct fixture fixture = fixture_make(&keyed);
    for (int i = 0; i < TABLE_PAUSE_FROM_MERGES; i++) {
        put_many(&fixture, i, 5, i);
    }
    cr_expect_eq(table_pause_us(fixture.table, 0), 0);
    for (int i = 0; i < 10; i++) {
        put_many(&fixture, i, 5, 1000 + i);
    }
    cr_expect_eq(table_pause_us(fixture.table, 0), 10 * TABLE_PAUSE_US_A_MERGE);
    struct err err = {0};
    for (bool more = true; more;) {
        CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
        struct compact_result result = {0};
        compact_plan(fixture.table, true, &plan);
        more = plan.count > 0;
        if (more) {
            cr_assert(compact_run(fixture.table, &plan, NULL, &result, &err) == ERR_OK, "%s",
                      err.msg);
            cr_expect_eq(table_pause_us(fixture.table, 0), 0, "%zu files together", plan.count);
        }
    }
    put_many(&fixture, 0, 5, 2000);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0);
    for (int i = 0; i < 1000; i++) {
        table_note_backlog(fixture.table, 1);
    }
    cr_expect_eq(table_pause_us(fixture.table, 0), TABLE_PAUSE_US_MAX, "no longer than this");
    fixture_remove(&fixture);
}

Test(table, asks_merges_to_wait_while_too_many_rows_are_dead)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 90000, 1);
    put_many(&fixture, 0, 35000, 2);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0, "35,000 of 125,000 are normal");
    put_many(&fixture, 35000, 8000, 2);
    /* 43,000 of 133,000 where 24 % and 8,192 are normal: 21 thousandths too many */
    const int64_t pause_us = 21 * TABLE_PAUSE_US_A_THOUSANDTH;
    cr_expect_eq(table_pause_us(fixture.table, 0), pause_us);
    cr_expect_eq(table_pause_us(fixture.table, TABLE_PAUSE_US_MAX), pause_us);
    cr_expect_eq(table_pause_us(fixture.table, 20 * TABLE_PAUSE_US_MAX), 20 * pause_us,
                 "a share of a merge that takes a second");
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    table_note_settled(fixture.table, snapshot);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0, "nothing would come of waiting");
    snapshot_release(&snapshot);
    put_many(&fixture, 43000, 5000, 3);
    cr_expect_eq(table_pause_us(fixture.table, 0), 36 * TABLE_PAUSE_US_A_THOUSANDTH,
                 "5,000 of 138,000 more than were settled");
    fixture_compact(&fixture);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0);
    fixture_remove(&fixture);
}

Test(table, asks_merges_to_wait_while_too_much_of_the_index_is_dead)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 100000, 1);
    publish_runs(&fixture, 2, FOLDED_BY_NONE);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0, "231,074 entries of 100,000 rows are normal");
    publish_runs(&fixture, 1, FOLDED_BY_NONE);
    /* 296,611 where 258,192 are normal: 384 thousandths of the rows */
    cr_expect_eq(table_pause_us(fixture.table, 0),
                 384 * TABLE_PAUSE_US_A_THOUSANDTH / TABLE_PAUSE_INDEX_SHARE);
    maintain_index(&fixture);
    cr_expect_eq(table_pause_us(fixture.table, 0), 0);
    fixture_remove(&fixture);
}

Test(table, wants_a_checkpoint_after_many_commits_or_when_it_rests)
{
    struct fixture fixture = fixture_make(&keyed);
    for (int i = 0; i < 8; i++) {
        put_many(&fixture, 0, 10, i);
    }
    int64_t now_ms = clock_wall_us() / 1000;
    cr_expect_not(table_checkpoint_is_due(fixture.table, now_ms + 5000),
                  "nine with the one that made the table are few");
    put_many(&fixture, 0, 10, 9);
    now_ms = clock_wall_us() / 1000;
    cr_expect_not(table_checkpoint_is_due(fixture.table, now_ms), "more may come at once");
    cr_expect(table_checkpoint_is_due(fixture.table, now_ms + 5000), "it rests");
    for (int i = 10; i < 100; i++) {
        put_many(&fixture, 0, 10, i);
    }
    cr_expect(table_checkpoint_is_due(fixture.table, clock_wall_us() / 1000), "many");
    fixture_remove(&fixture);
}

/* Each is written whole, with every tombstone: the larger it is, the more log comes between. */
Test(table, wants_large_checkpoints_less_often)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    struct delta_checkpoint_result checkpoint = {0};
    put_many(&fixture, 0, 10, 0);
    cr_assert(table_checkpoint(fixture.table,
                               &(struct delta_checkpoint_options){.now_ms = clock_wall_us() / 1000},
                               &checkpoint, &err) == ERR_OK,
              "%s", err.msg);
    for (int i = 1; i <= 100; i++) {
        put_many(&fixture, 0, 10, i);
    }
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
    int64_t log_bytes = snapshot->state->log_bytes;
    int64_t now_ms = clock_wall_us() / 1000;
    cr_expect(table_checkpoint_is_due(fixture.table, now_ms));
    fixture.table->checkpoint_bytes = log_bytes / 2 + 1;
    cr_expect_not(table_checkpoint_is_due(fixture.table, now_ms), "a byte short");
    fixture.table->checkpoint_bytes = log_bytes / 2;
    cr_expect(table_checkpoint_is_due(fixture.table, now_ms));
    fixture.table->checkpoint_bytes = INT64_MAX;
    cr_expect(table_checkpoint_is_due(fixture.table, now_ms + 10 * 60 * 1000), "old");
    fixture_remove(&fixture);
}

/* ---- the registry ---- */

Test(table, makes_drops_and_makes_again)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 0, 10, 1);
    struct err err = {0};
    const struct id second = id_new_random();
    cr_expect(tables_create(fixture.tables, "t", &second, fixture.schema, &err) == ERR_EXISTS);
    cr_expect(tables_create(fixture.tables, "../t", &second, fixture.schema, &err) == ERR_INVALID);
    cr_assert(tables_drop(fixture.tables, "t", &err) == ERR_OK, "%s", err.msg);
    cr_expect(tables_drop(fixture.tables, "t", &err) == ERR_NOT_FOUND);
    table_release(&fixture.table);
    cr_assert(tables_create(fixture.tables, "t", &second, fixture.schema, &err) == ERR_OK, "%s",
              err.msg);
    cr_assert(tables_find_by_uuid(fixture.tables, &second, &fixture.table, &err) == ERR_OK);
    cr_expect_eq(table_version(fixture.table), 0, "a new table");
    struct id *uuids = NULL;
    size_t count = 0;
    int64_t now_us = clock_wall_us();
    cr_assert(tables_vacuum_dropped(fixture.tables, now_us, INT64_C(3600) * 1000000, &uuids, &count,
                                    &err) == ERR_OK,
              "%s", err.msg);
    cr_expect_eq(count, 0, "kept until the retention has passed");
    mem_free(uuids);
    cr_assert(tables_vacuum_dropped(fixture.tables, now_us + INT64_C(7200) * 1000000,
                                    INT64_C(3600) * 1000000, &uuids, &count, &err) == ERR_OK,
              "%s", err.msg);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(uuids[0].text, fixture.uuid.text);
    mem_free(uuids);
    fixture_remove(&fixture);
}

Test(table, adopts_its_own_unfinished_creation_only)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    table_release(&fixture.table);
    tables_close(&fixture.tables);
    CLEANUP(mem_cleanup) char *root = temp_dir_join(&fixture.dir, "tables");
    CLEANUP(mem_cleanup) char *index_root = temp_dir_join(&fixture.dir, "index");
    struct tables_options options = {
        .root = root, .index_root = index_root, .instance = fixture.instance, .index_key = "key"};
    cr_assert(tables_open(&options, &fixture.tables, &err) == ERR_OK);
    /* The catalog has never heard of it: same identity is adopted, another one moved aside. */
    const struct id other = id_new_random();
    cr_assert(tables_create(fixture.tables, "t", &other, fixture.schema, &err) == ERR_OK, "%s",
              err.msg);
    cr_assert(tables_find(fixture.tables, "t", &fixture.table, &err) == ERR_OK);
    put_many(&fixture, 0, 5, 1);
    table_release(&fixture.table);
    tables_close(&fixture.tables);
    cr_assert(tables_open(&options, &fixture.tables, &err) == ERR_OK);
    cr_expect(tables_create(fixture.tables, "t", &fixture.uuid, fixture.schema, &err) == ERR_EXISTS,
              "a table with rows is never moved");
    cr_expect(tables_attach(fixture.tables, "t", &fixture.uuid, fixture.schema, &err) ==
                  ERR_CONFLICT,
              "another identity");
    fixture_remove(&fixture);
}

Test(table, takes_snapshots_of_several_tables)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    const struct id second = id_new_random();
    cr_assert(tables_create(fixture.tables, "u", &second, fixture.schema, &err) == ERR_OK);
    struct tables_list list = {0};
    tables_list_get(fixture.tables, &list);
    cr_assert_eq(list.count, 2);
    cr_expect_str_eq(table_name(list.items[0]), "t");
    const struct snapshot *snapshots[2];
    tables_snapshot_set(fixture.tables, list.items, 2, snapshots);
    put_many(&fixture, 0, 5, 1);
    cr_expect_eq(snapshots[0]->version, 0, "as it was");
    cr_expect_eq(snapshots[1]->version, 0);
    snapshot_release(&snapshots[0]);
    snapshot_release(&snapshots[1]);
    tables_list_free(&list);
    fixture_remove(&fixture);
}

/* ---- what a commit waits for ---- */

/* The data and its folder, the entry and the log's folder; one more for a file of vectors. */
Test(table, commits_with_few_syncs)
{
    struct fixture fixture = fixture_make(&keyed);
    struct object_store *store = table_store(fixture.table);
    put_many(&fixture, 0, 4000, 1);
    int64_t before = object_store_syncs_count(store);
    put_many(&fixture, 4000, 1000, 2);
    cr_expect_eq(object_store_syncs_count(store) - before, 4, "rows that are new");
    before = object_store_syncs_count(store);
    put_many(&fixture, 100, 20, 3);
    cr_expect_eq(object_store_syncs_count(store) - before, 4, "a small vector is in the log");
    struct record_words *records = mem_zeroed(1000, sizeof *records);
    char(*ids)[16] = mem_zeroed(1000, sizeof *ids);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%05d", i * 3);
        records[i] = (struct record_words){FRAME_UPSERT, ids[i], 4, i, "n", "r", "m"};
    }
    before = object_store_syncs_count(store);
    fixture_put(&fixture, records, 1000);
    cr_expect_eq(object_store_syncs_count(store) - before, 5, "a large one has a file");
    mem_free(records);
    mem_free(ids);
    fixture_remove(&fixture);
}
