/*
 * Steps of sources: each is taken once, with its batch or not at all, over restarts,
 * pieces, retention and crashes.
 */
#include "storage/catalog/sources.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/mem.h"
#include "storage/catalog/source_book.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(sources, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;
enum { RUN = 77 };

static struct source_step step_of(uint8_t source, int64_t number, const char *checkpoint)
{
    return (struct source_step){
        .source = {source, 9, 9},
        .step = number,
        .checkpoint = span_of_text(checkpoint),
        .run_id = RUN,
        .task_key = "load",
    };
}

static enum err_code take(uint8_t source, int64_t number, const char *checkpoint)
{
    struct err err = {0};
    const struct source_step step = step_of(source, number, checkpoint);
    return source_step_record(fixture.catalog, &step, &err);
}

static enum err_code bring(uint8_t source, int64_t number, const char *checkpoint)
{
    struct err err = {0};
    int64_t position = 0;
    const struct source_step step = step_of(source, number, checkpoint);
    struct batch_accept accept = fixture_batch(10, 1);
    accept.step = &step;
    return batch_accept(fixture.catalog, &accept, &position, &err);
}

static void expect_position(uint8_t source, int64_t step, const char *checkpoint)
{
    struct err err = {0};
    int64_t found = -1;
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, SOURCE_CHECKPOINT_BYTES_MAX);
    const struct source_step wanted = step_of(source, 1, "");
    cr_assert_eq(source_position(fixture.catalog, wanted.source, &found, &text, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(found, step, "source %d is at %" PRId64, source, found);
    cr_expect(span_equal_text(buffer_span(&text), checkpoint), "source %d: %.*s", source,
              SPAN_PRINT(buffer_span(&text)));
}

static void finish_all(enum batch_state state)
{
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    for (size_t i = 0; i < count; i++) {
        const struct batch_outcome outcome = fixture_outcome(&queued[i], state);
        fixture_finish(&outcome, 1);
    }
}

Test(sources, a_step_is_taken_once_and_in_order)
{
    expect_position(1, 0, "");
    cr_expect_eq(bring(1, 2, "x"), ERR_CONFLICT, "step 1 is missing");
    cr_expect_eq(bring(1, 1, "a"), ERR_OK);
    cr_expect_eq(bring(1, 1, "other"), ERR_EXISTS);
    cr_expect_eq(take(1, 1, "other"), ERR_EXISTS);
    cr_expect_eq(take(1, 2, "b"), ERR_OK);
    cr_expect_eq(bring(1, 4, "d"), ERR_CONFLICT);
    cr_expect_eq(bring(1, 3, "c"), ERR_OK);
    cr_expect_eq(bring(2, 1, "z"), ERR_OK, "sources do not know each other");
    for (int i = 0; i < 2; i++) {
        expect_position(1, 3, "c");
        expect_position(2, 1, "z");
        expect_position(3, 0, "");
        cr_expect_eq(bring(1, 3, "c"), ERR_EXISTS);
        size_t count = 0;
        (void)fixture_queued(&count);
        cr_expect_eq(count, 3, "a refused step leaves no batch: %zu", count);
        fixture_reopen();
    }
}

Test(sources, tells_what_a_task_came_to)
{
    struct err err = {0};
    struct source_tally tally;
    cr_assert_eq(bring(1, 1, ""), ERR_OK);
    cr_assert_eq(bring(1, 2, ""), ERR_OK);
    cr_assert_eq(take(1, 3, ""), ERR_OK);
    cr_assert_eq(source_tally(fixture.catalog, RUN, "load", &tally, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(tally.steps_count, 3);
    cr_expect_eq(tally.batches_count, 2);
    cr_expect_eq(tally.received, 20);
    cr_expect_eq(tally.unfinished_count, 2);
    cr_expect_eq(tally.version_first, -1);
    finish_all(BATCH_INDEXED);
    cr_assert_eq(bring(1, 4, ""), ERR_OK);
    finish_all(BATCH_FAILED);
    cr_assert_eq(source_tally(fixture.catalog, RUN, "load", &tally, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(tally.unfinished_count, 0);
    cr_expect_eq(tally.applied, 20);
    cr_expect_eq(tally.failed_count, 1);
    cr_expect_neq(tally.failed_batch.text[0], '\0');
    cr_expect_eq(tally.version_first, 7);
    cr_expect_eq(tally.version_last, 7);
    cr_assert_eq(source_tally(fixture.catalog, RUN, "other", &tally, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(tally.steps_count, 0);
}

static void expect_versions(int64_t run_id, const struct id *table, size_t count,
                            int64_t unfinished)
{
    struct err err = {0};
    struct source_versions versions = {0};
    cr_assert_eq(source_run_versions(fixture.catalog, run_id, table, &versions, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_eq(versions.count, count);
    cr_expect_eq(versions.unfinished_count, unfinished);
    for (size_t i = 0; i < versions.count; i++) {
        cr_expect_eq(versions.items[i], 7, "as fixture_outcome says");
    }
    mem_free(versions.items);
}

Test(sources, tells_the_versions_that_hold_what_a_run_brought)
{
    const struct id nobody = id_new_random();
    expect_versions(RUN, &fixture.table, 0, 0);
    cr_assert_eq(bring(1, 1, ""), ERR_OK);
    cr_assert_eq(bring(2, 1, ""), ERR_OK);
    expect_versions(RUN, &fixture.table, 0, 1); /* of a state each */
    finish_all(BATCH_INDEXED);
    cr_assert_eq(bring(1, 2, ""), ERR_OK);
    expect_versions(RUN, &fixture.table, 1, 1);
    finish_all(BATCH_FAILED);
    expect_versions(RUN, &fixture.table, 1, 0);
    expect_versions(RUN + 1, &fixture.table, 0, 0);
    expect_versions(RUN, &nobody, 0, 0);
}

static enum err_code add_finding(void *arg, struct span findings, struct err *err)
{
    struct buffer *all = arg;
    buffer_append_span(all, findings);
    buffer_append_byte(all, ' ');
    return buffer_check(all, "the findings", err);
}

Test(sources, keeps_what_was_found_out_about_a_step)
{
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer all;
    buffer_init(&all, 1000);
    struct source_step step = step_of(1, 1, "a");
    step.findings = span_of_text("[1,2]");
    cr_assert_eq(source_step_record(fixture.catalog, &step, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(take(1, 2, "b"), ERR_OK);
    cr_assert_eq(source_findings(fixture.catalog, RUN, "load", add_finding, &all, &err), ERR_OK,
                 "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&all), "[1,2] "), "%.*s", SPAN_PRINT(buffer_span(&all)));
    cr_assert_eq(source_findings(fixture.catalog, RUN, "other", add_finding, &all, &err), ERR_OK);
    cr_expect_eq(all.size, 6);
}

/* ---- pieces ---- */

Test(sources, positions_outlive_the_pieces_they_stood_in)
{
    struct err err = {0};
    int64_t start_us = INT64_C(1800000000) * 1000000;
    int64_t dropped = 0;
    int64_t early = 0;
    int64_t sum = 0;
    for (int day = 0; day < 24; day++) {
        char checkpoint[16];
        clock_freeze_wall(start_us + day * day_us);
        (void)snprintf(checkpoint, sizeof checkpoint, "day %d", day);
        cr_assert_eq(bring(1, day + 1, checkpoint), ERR_OK, "day %d", day);
        if (day == 0) {
            cr_assert_eq(bring(2, 1, "once"), ERR_OK);
        }
        finish_all(BATCH_INDEXED);
        cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK, "%s",
                     err.msg);
        sum += dropped;
        expect_position(1, day + 1, checkpoint);
        expect_position(2, 1, "once");
        if (day % 3 == 0) {
            fixture_reopen();
        }
        cr_expect_eq(bring(1, day + 1, ""), ERR_EXISTS, "day %d", day);
        cr_expect_eq(bring(2, 1, ""), ERR_EXISTS, "day %d", day);
    }
    cr_expect_geq(sum, 14, "pieces were dropped");
    cr_expect_eq(bring(2, 2, "again"), ERR_OK);
    expect_position(2, 2, "again");
    clock_freeze_wall(-1);
}

Test(sources, a_piece_of_before_there_were_steps_is_opened)
{
    struct batch_accept accept = fixture_batch(1, 1);
    (void)fixture_accept(&accept);
    fixture_close();
    char path[256];
    char name[16];
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm day;
    cr_assert_not_null(gmtime_r(&now, &day));
    (void)strftime(name, sizeof name, "%Y%m%d", &day);
    (void)snprintf(path, sizeof path, "%s/batches-%s.db", fixture.folder, name);
    sqlite3 *database = NULL;
    cr_assert_eq(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(database, "DROP TABLE source_steps; PRAGMA user_version = 1", NULL,
                              NULL, NULL),
                 SQLITE_OK);
    sqlite3_close(database);
    fixture_open();
    cr_expect_eq(bring(1, 1, "a"), ERR_OK);
    expect_position(1, 1, "a");
}

/* ---- memory ---- */

Test(sources, the_book_finds_what_was_put_in)
{
    struct source_book book = {0};
    enum { COUNT = 1000 };
    int64_t steps[COUNT] = {0};
    uint64_t state = 42;
    for (int i = 0; i < 20000; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        int which = (int)(state >> 33) % COUNT;
        /* all hashes end in the same few places, so that chains are long and wrap around */
        struct source_entry entry = {
            .source = {(uint8_t)(which % 4 + 253), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                       (uint8_t)which, (uint8_t)(which >> 8)},
            .step = (int64_t)(state >> 60) % 3 == 0 ? 0 : i + 1,
            .piece = which % 7 + 1,
        };
        source_book_set(&book, &entry);
        steps[which] = entry.step;
        cr_assert_eq(source_book_get(&book, entry.source).step, entry.step);
        if (i % 5000 == 4999) {
            source_book_forget_piece(&book, i / 5000 + 1);
        }
        for (int j = 0; i % 500 == 499 && j < COUNT; j++) {
            memcpy(entry.source + 8, (uint8_t[]){(uint8_t)j, (uint8_t)(j >> 8)}, 2);
            entry.source[0] = (uint8_t)(j % 4 + 253);
            if (i % 5000 == 4999 && j % 7 + 1 == i / 5000 + 1) {
                steps[j] = 0;
            }
            cr_assert_eq(source_book_get(&book, entry.source).step, steps[j], "%d at %d", j, i);
        }
    }
    source_book_deinit(&book);
}

/* ---- crashes ---- */

#ifdef SLUICE_FAULTS

Test(sources, a_commit_that_fails_takes_back_the_step)
{
    cr_assert_eq(bring(1, 1, "a"), ERR_OK);
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(bring(1, 2, "b"), ERR_NO_SPACE);
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(take(2, 1, "b"), ERR_NO_SPACE);
    fault_arm("");
    expect_position(1, 1, "a");
    cr_expect_eq(take(2, 1, "b"), ERR_OK);
    cr_expect_eq(bring(1, 2, "c"), ERR_OK);
    expect_position(1, 2, "c");
}

struct taker {
    pthread_t thread;
    int64_t step;
    enum err_code code;
};

static void *run_taker(void *arg)
{
    struct taker *taker = arg;
    taker->code = taker->step == 0 ? bring(9, 1, "") : take(1, taker->step, "");
    return NULL;
}

static void wait_for_queue(int64_t count)
{
    struct catalog_statistics statistics;
    do {
        sched_yield();
        catalog_statistics(fixture.catalog, &statistics);
    } while (statistics.waiting_count != count);
}

Test(sources, steps_of_one_group_are_taken_back_together)
{
    fixture_hold_promises();
    struct taker takers[4] = {{.step = 0}, {.step = 1}, {.step = 2}, {.step = 3}};
    fault_arm("catalog.commit=fail@2");
    for (int64_t i = 0; i < 4; i++) { /* the first one is held; the others wait in one group */
        cr_assert_eq(pthread_create(&takers[i].thread, NULL, run_taker, &takers[i]), 0);
        fixture_wait_for_promise(); /* else the second may come into its group */
        wait_for_queue(i);
    }
    fixture_let_promises_go();
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(takers[i].thread, NULL), 0);
        cr_expect_eq(takers[i].code, i == 0 ? ERR_OK : ERR_NO_SPACE, "taker %d", i);
    }
    fault_arm("");
    expect_position(1, 0, "");
    cr_expect_eq(take(1, 2, ""), ERR_CONFLICT);
    cr_expect_eq(take(1, 1, ""), ERR_OK);
}

enum { STEPS = 5, RECORDS_PER_STEP = 10 };

/* What a reader of a source does: continue where it stands, to its end. */
static void read_source(void)
{
    (void)alarm(60); /* a fault that never comes must not hang the run */
    fixture_open();
    struct err err = {0};
    CLEANUP(buffer_deinit) struct buffer checkpoint;
    buffer_init(&checkpoint, SOURCE_CHECKPOINT_BYTES_MAX);
    int64_t step = 0;
    const struct source_step source = step_of(1, 1, "");
    if (source_position(fixture.catalog, source.source, &step, &checkpoint, &err) != ERR_OK) {
        _exit(2);
    }
    for (int64_t next = step + 1; next <= STEPS; next++) {
        char text[16];
        (void)snprintf(text, sizeof text, "at %" PRId64, next);
        enum err_code code = next == 3 ? take(1, next, text) : bring(1, next, text);
        if (code != ERR_OK) {
            _exit(3);
        }
    }
    _exit(0);
}

/* Run it with faults armed; true when it came to its end. */
static bool read_in_child(const char *faults)
{
    pid_t child = fork();
    if (child == 0) {
        fault_arm(faults);
        read_source();
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "%s: status %d", faults, status);
    return !WIFSIGNALED(status);
}

/* Records in the queue once the source was read to its end. */
static int64_t records_of_all(void)
{
    size_t count = 0;
    int64_t sum = 0;
    fixture_open();
    const struct batch *queued = fixture_queued(&count);
    for (size_t i = 0; i < count; i++) {
        sum += queued[i].accepted;
    }
    expect_position(1, STEPS, "at 5");
    fixture_close();
    return sum;
}

Test(sources, every_crash_point_leaves_the_batches_of_one_uninterrupted_reading)
{
    static const char *const points[] = {"catalog.commit=crash", "catalog.committed=crash"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (int passing = 1; passing <= STEPS; passing++) {
            fixture_tear_down();
            fixture_set_up();
            fixture_close();
            char faults[64];
            (void)snprintf(faults, sizeof faults, "%s@%d", points[i], passing);
            cr_expect_not(read_in_child(faults), "%s never came", faults);
            cr_expect(read_in_child(""), "%s", faults);
            cr_expect_eq(records_of_all(), 4 * RECORDS_PER_STEP, "%s", faults);
        }
    }
    fixture_open();
}

Test(sources, planted_checkpoint_in_another_transaction_is_found)
{
    fixture_close();
    /* commits: batch 1, its step, batch 2 … the crash falls between a batch and its step */
    cr_expect_not(read_in_child("accept.step-elsewhere=skip@1,catalog.commit=crash@2"));
    cr_expect(read_in_child(""));
    cr_expect_gt(records_of_all(), 4 * RECORDS_PER_STEP, "the planted bug was not noticed");
    fixture_open();
}

Test(sources, a_crash_between_folding_and_removing_loses_no_step)
{
    static const char *const points[] = {"sources.fold=crash@1", "sources.folded=crash@1",
                                         "sources.fold=fail@1"};
    int64_t start_us = INT64_C(1800000000) * 1000000;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        fixture_tear_down();
        clock_freeze_wall(start_us);
        fixture_set_up();
        cr_assert_eq(bring(1, 1, "a"), ERR_OK);
        cr_assert_eq(bring(1, 2, "b"), ERR_OK);
        finish_all(BATCH_INDEXED);
        fixture_close();
        clock_freeze_wall(start_us + 20 * day_us);
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(60);
            struct err err = {0};
            int64_t dropped = 0;
            int64_t early = 0;
            fixture_open();
            (void)bring(2, 1, ""); /* makes today's piece */
            fault_arm(points[i]);
            _exit(catalog_retain(fixture.catalog, &dropped, &early, &err) == ERR_OK ? 1 : 0);
        }
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0,
                  "%s", points[i]);
        fixture_open();
        expect_position(1, 2, "b");
        cr_expect_eq(bring(1, 2, ""), ERR_EXISTS, "%s", points[i]);
        struct err err = {0};
        int64_t dropped = 0;
        int64_t early = 0;
        cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect_geq(dropped, 1, "%s", points[i]);
        expect_position(1, 2, "b");
        fixture_reopen();
        cr_expect_eq(bring(1, 2, ""), ERR_EXISTS, "%s", points[i]);
        cr_expect_eq(bring(1, 3, "c"), ERR_OK, "%s", points[i]);
    }
    clock_freeze_wall(-1);
}

#endif
