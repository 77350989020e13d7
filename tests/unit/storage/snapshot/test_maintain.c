/*
 * Maintenance that somebody asked for: one at a time, thorough, and never under the
 * feet of a reader.
 */
#include "tests/unit/storage/snapshot/fixture.h"

#include "storage/base/clock.h"
#include "storage/snapshot/compact.h"

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
    compact_plan(fixture.table, &usual);
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

static int64_t vacuum(struct fixture *fixture, int64_t now_ms, bool dry_run)
{
    struct err err = {0};
    const struct table_vacuum_options options = {
        .now_ms = now_ms, .retention_ms = 3600 * 1000, .dry_run = dry_run};
    struct table_vacuum_result result = {0};
    cr_assert_eq(table_vacuum(fixture->table, &options, &result, &err), ERR_OK, "%s", err.msg);
    return result.files_removed;
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
