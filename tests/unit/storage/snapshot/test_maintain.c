/*
 * Maintenance that somebody asked for: one at a time, thorough, and never under the
 * feet of a reader.
 */
#include "tests/unit/storage/snapshot/fixture.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/snapshot/compact.h"
#include "storage/snapshot/rewrite_sort.h"
#include "storage/snapshot/stored.h"

#include <criterion/criterion.h>
#include <pthread.h>

TestSuite(maintain, .timeout = 60);

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

static void put_many(struct fixture *fixture, int count)
{
    for (int32_t i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "k%d", i % 7);
        struct record_words record = {FRAME_UPSERT, id, i, i, NULL, NULL, NULL};
        fixture_put(fixture, &record, 1);
    }
}

static void optimize(struct fixture *fixture)
{
    struct err err = {0};
    for (;;) {
        CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
        compact_plan_thorough(fixture->table, &plan);
        if (plan.count == 0) {
            return;
        }
        struct compact_result result = {0};
        cr_assert_eq(compact_run(fixture->table, &plan, NULL, &result, &err), ERR_OK, "%s",
                     err.msg);
        cr_assert(result.committed);
    }
}

Test(maintain, thorough_compaction_leaves_one_file_where_the_usual_one_has_nothing_to_do)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 10);
    CLEANUP(compact_plan_deinit) struct compact_plan usual = {0};
    compact_plan(fixture.table, true, &usual);
    cr_expect_eq(usual.count, 0);
    CLEANUP(buffer_deinit) struct buffer before;
    CLEANUP(buffer_deinit) struct buffer after;
    buffer_init(&before, 1 << 20);
    buffer_init(&after, 1 << 20);
    CLEANUP(snapshot_release) const struct snapshot *old = table_snapshot(fixture.table);
    fixture_rows(old, &before);
    optimize(&fixture);
    CLEANUP(snapshot_release) const struct snapshot *new = table_snapshot(fixture.table);
    fixture_rows(new, &after);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)));
    cr_expect_eq(new->files_count, 1);
    cr_expect_eq(new->files[0].rows_count, 7, "dead rows are gone");
    fixture_verify(&fixture, "compacted");
    fixture_remove(&fixture);
}

/* The rows of the one file, in its order, as "region amount;". */
static void file_order(struct fixture *fixture, struct buffer *text)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
    struct err err = {0};
    struct stored stored = {0};
    cr_assert_eq(snapshot->files_count, 1);
    cr_assert_eq(stored_open(table_store(fixture->table), snapshot->schema, snapshot->files[0].file,
                             NULL, &stored, &err),
                 ERR_OK, "%s", err.msg);
    cr_assert_eq(stored_read_range(&stored, 0, stored.rows_count, frame, &err), ERR_OK);
    stored_close(&stored);
    for (int64_t row = 0; row < frame->rows_count; row++) {
        const struct column *region = &frame->columns[fixture->region];
        const struct column *amount = &frame->columns[fixture->amount];
        buffer_append_format(text, "%.*s %d;",
                             SPAN_PRINT(column_is_valid(region, row) ? column_bytes(region, row)
                                                                     : span_of_text("-")),
                             (int)amount->values.i32[row]);
    }
}

/* Every file once, in runs of a few rows; the index, its sequences and images stay true. */
static void sort_once(bool sequence, int64_t run_bytes)
{
    const struct fixture_options options = {
        .merge = TABLE_DELETION_VECTORS, .sequence = sequence, .lookup = true};
    struct fixture fixture = fixture_make(&options);
    static const char *const regions[] = {"west", "east", NULL, "north"};
    for (int32_t i = 0; i < 60; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "k%d", i % 24);
        struct record_words record = {FRAME_UPSERT, id, i, 100 - i, "n", regions[i % 4], NULL};
        fixture_put(&fixture, &record, 1);
    }
    CLEANUP(buffer_deinit) struct buffer before;
    CLEANUP(buffer_deinit) struct buffer after;
    CLEANUP(buffer_deinit) struct buffer order;
    buffer_init(&before, 1 << 20);
    buffer_init(&after, 1 << 20);
    buffer_init(&order, 1 << 20);
    CLEANUP(snapshot_release) const struct snapshot *old = table_snapshot(fixture.table);
    fixture_rows(old, &before);
    const size_t columns[] = {fixture.region, fixture.amount};
    const struct rewrite_sort sort = {
        .columns = columns, .count = 2, .scratch_folder = fixture.dir.path, .run_bytes = run_bytes};
    uint32_t newest = compact_newest(fixture.table);
    for (bool more = true; more;) {
        struct err err = {0};
        CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
        struct compact_result result = {0};
        compact_plan_sorted(fixture.table, &sort, newest, &plan);
        more = plan.count > 0;
        if (more) {
            cr_assert_eq(compact_run(fixture.table, &plan, NULL, &result, &err), ERR_OK, "%s",
                         err.msg);
            cr_assert(result.committed);
        }
    }
    CLEANUP(snapshot_release) const struct snapshot *new = table_snapshot(fixture.table);
    fixture_rows(new, &after);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&after)));
    file_order(&fixture, &order);
    buffer_append_byte(&order, 0);
    cr_expect_str_eq(
        (const char *)order.data,
        "- 42;- 46;- 50;- 54;- 58;- 62;east 43;east 47;east 51;east 55;east 59;east 63;"
        "north 41;north 45;north 49;north 53;north 57;north 61;west 44;west 48;west "
        "52;west 56;west 60;west 64;");
    fixture_verify(&fixture, "sorted");
    struct record_words late = {FRAME_UPSERT, "k3", 1, 7, "late", NULL, NULL};
    struct record_words next = {FRAME_PATCH, "k4", 100, 7, "-", "-", "-"};
    if (sequence) {
        fixture_put(&fixture, &late, 1); /* older than what is stored: the sequence is known */
    }
    fixture_put(&fixture, &next, 1);
    CLEANUP(buffer_deinit) struct buffer row;
    buffer_init(&row, 1 << 16);
    fixture_lookup(&fixture, "k3", &row);
    cr_expect_not_null(
        strstr((buffer_append_byte(&row, 0), (const char *)row.data), "\"amount\":49"), "%s",
        (const char *)row.data);
    buffer_reset(&row);
    fixture_lookup(&fixture, "k4", &row);
    cr_expect_not_null(
        strstr((buffer_append_byte(&row, 0), (const char *)row.data), "\"amount\":7"), "%s",
        (const char *)row.data);
    optimize(&fixture); /* by key again, from a file that is not */
    fixture_verify(&fixture, "compacted after");
    fixture_reopen(&fixture, true);
    fixture_verify(&fixture, "index rebuilt");
    fixture_remove(&fixture);
}

Test(maintain, files_are_sorted_by_chosen_columns)
{
    static const int64_t run_bytes[] = {0, 1, 200};
    for (size_t i = 0; i < sizeof run_bytes / sizeof run_bytes[0]; i++) {
        sort_once(true, run_bytes[i]);
        sort_once(false, run_bytes[i]);
    }
}

static int64_t vacuum(struct fixture *fixture, int64_t now_ms, bool dry_run)
{
    struct err err = {0};
    const struct table_vacuum_options options = {
        .now_ms = now_ms, .retention_ms = 3600 * 1000, .dry_run = dry_run};
    struct table_vacuum_result result = {0};
    cr_assert_eq(table_vacuum(fixture->table, &options, &result, &err), ERR_OK, "%s", err.msg);
    return result.files_removed;
}

/* ---- small files during a long run ---- */

/* `count` rows with keys from `first` on. */
static void put_range(struct fixture *fixture, int first, int count)
{
    struct record_words *records = mem_zeroed((size_t)count, sizeof *records);
    char(*ids)[16] = mem_zeroed((size_t)count, sizeof *ids);
    for (int i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%06d", first + i); /* fits */
        records[i] = (struct record_words){FRAME_UPSERT, ids[i], 1, i, "n", "r", "m"};
    }
    fixture_put(fixture, records, (size_t)count);
    mem_free(records);
    mem_free(ids);
}

/* Two tiny files beside many that are larger, all of them small: the many make more room. */
Test(maintain, the_most_files_that_are_alike_are_joined)
{
    enum { LARGE = 32000, MEDIUM = 500, TINY = 10, MEDIUM_FILES = COMPACT_SMALL_FILES_MAX - 1 };
    struct fixture fixture = fixture_make(&keyed);
    int next = 0;
    put_range(&fixture, next, LARGE);
    next += LARGE;
    for (int i = 0; i < MEDIUM_FILES; i++) {
        put_range(&fixture, next, MEDIUM);
        next += MEDIUM;
    }
    put_range(&fixture, next, TINY);
    put_range(&fixture, next + TINY, TINY);
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan(fixture.table, false, &plan);
    cr_expect_eq(plan.count, (size_t)MEDIUM_FILES + 1, "%zu files", plan.count);
    cr_expect_eq(plan.live_rows, (int64_t)MEDIUM_FILES * MEDIUM + TINY, "a tiny one comes along");
    fixture_remove(&fixture);
}

/* A run over the large files alone, begun when merges had made `small` files behind them. */
static size_t files_after_long_run(int small)
{
    enum { LARGE = 12000, SMALL = 10 };
    struct fixture fixture = fixture_make(&(struct fixture_options){0});
    put_range(&fixture, 0, LARGE);
    put_range(&fixture, LARGE, LARGE);
    struct compact_plan plan = {0};
    compact_plan_thorough(fixture.table, &plan);
    cr_assert_eq(plan.count, 2);
    for (int i = 0; i < small; i++) {
        put_range(&fixture, 2 * LARGE + i * SMALL, SMALL);
    }
    struct err err = {0};
    struct compact_result result = {0};
    cr_assert_eq(compact_run(fixture.table, &plan, NULL, &result, &err), ERR_OK, "%s", err.msg);
    cr_expect(result.committed);
    cr_expect_eq(result.rows_written, 2 * LARGE);
    compact_plan_deinit(&plan);
    fixture_verify(&fixture, "after a long run");
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    size_t files = snapshot->files_count;
    snapshot_release(&snapshot);
    struct table_statistics statistics;
    table_statistics_get(fixture.table, &statistics);
    bool joined = files == 2;
    cr_expect_eq(statistics.compactions_count, joined ? 2 : 1);
    cr_expect_eq(statistics.compacted_rows_count, 2 * LARGE + (joined ? small * SMALL : 0));
    fixture_remove(&fixture);
    return files;
}

Test(maintain, small_files_are_joined_during_a_long_run)
{
    cr_expect_eq(files_after_long_run(COMPACT_BETWEEN_MERGES - 3), 1 + COMPACT_BETWEEN_MERGES - 3,
                 "too few to care");
    cr_expect_eq(files_after_long_run(COMPACT_BETWEEN_MERGES + 4), 2,
                 "the run's, and one of all small ones");
}

Test(maintain, vacuum_spares_what_somebody_reads)
{
    struct fixture fixture = fixture_make(&keyed);
    put_many(&fixture, 10);
    const int64_t now_ms = clock_wall_us() / 1000;
    const int64_t later_ms = now_ms + INT64_C(100) * 86400 * 1000;
    const struct snapshot *reader = table_snapshot(fixture.table);
    CLEANUP(buffer_deinit) struct buffer before;
    CLEANUP(buffer_deinit) struct buffer during;
    buffer_init(&before, 1 << 20);
    buffer_init(&during, 1 << 20);
    fixture_rows(reader, &before);
    optimize(&fixture);

    cr_expect_eq(vacuum(&fixture, now_ms, false), 0, "everything is young");
    /* files that were dead before the reader came may go */
    int64_t spared = vacuum(&fixture, later_ms, true);
    cr_expect_eq(vacuum(&fixture, later_ms, false), spared);
    fixture_rows(reader, &during);
    cr_expect(span_equal(buffer_span(&before), buffer_span(&during)), "the reader goes on");
    snapshot_release(&reader);
    int64_t rest = vacuum(&fixture, later_ms, false);
    cr_expect_gt(rest, 0, "nobody reads them any more");
    cr_expect_eq(vacuum(&fixture, later_ms, false), 0);
    fixture_verify(&fixture, "vacuumed");
    fixture_remove(&fixture);
}

Test(maintain, a_retention_under_an_hour_is_refused)
{
    struct fixture fixture = fixture_make(&keyed);
    struct err err = {0};
    const struct table_vacuum_options options = {.now_ms = clock_wall_us() / 1000,
                                                 .retention_ms = 3599 * 1000};
    struct table_vacuum_result result = {0};
    cr_expect_eq(table_vacuum(fixture.table, &options, &result, &err), ERR_INVALID, "%s", err.msg);
    fixture_remove(&fixture);
}

static void *end_soon(void *arg)
{
    table_maintenance_end(arg);
    return NULL;
}

Test(maintain, one_at_a_time)
{
    struct fixture fixture = fixture_make(&keyed);
    cr_assert(table_maintenance_begin(fixture.table, 0));
    cr_expect_not(table_maintenance_begin(fixture.table, 0));
    cr_expect_not(table_maintenance_begin(fixture.table, clock_monotonic_us() + 1000));
    pthread_t other;
    cr_assert_eq(pthread_create(&other, NULL, end_soon, fixture.table), 0);
    cr_expect(table_maintenance_begin(fixture.table, clock_monotonic_us() + 30000000));
    cr_assert_eq(pthread_join(other, NULL), 0);
    table_maintenance_end(fixture.table);
    cr_assert(table_maintenance_begin(fixture.table, 0));
    table_maintenance_end(fixture.table);
    fixture_remove(&fixture);
}
