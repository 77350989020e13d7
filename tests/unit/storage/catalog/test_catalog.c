#include "storage/catalog/catalog.h"

#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/tables.h"
#include "storage/journal/journal.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(catalog, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;

Test(catalog, keeps_its_instance_until_a_new_one_is_minted)
{
    struct err err = {0};
    struct id first = catalog_instance(fixture.catalog);
    fixture_reopen();
    cr_expect_str_eq(catalog_instance(fixture.catalog).text, first.text);
    struct id minted;
    cr_assert_eq(catalog_mint_instance(fixture.catalog, &minted, &err), ERR_OK, "%s", err.msg);
    cr_expect_str_neq(minted.text, first.text);
    fixture_reopen();
    cr_expect_str_eq(catalog_instance(fixture.catalog).text, minted.text);
}

Test(catalog, drops_pieces_over_the_byte_budget_before_their_time)
{
    struct err err = {0};
    int64_t dropped = 0;
    int64_t early = 0;
    int64_t start_us = INT64_C(1800000000) * 1000000;
    fixture.options.pieces_bytes_max = 1;
    fixture_reopen();
    for (int day = 0; day < 3; day++) {
        clock_freeze_wall(start_us + day * day_us);
        const struct batch_accept accept = fixture_batch(1, 1);
        (void)fixture_accept(&accept);
        size_t count = 0;
        const struct batch *queued = fixture_queued(&count);
        const struct batch_outcome outcome = fixture_outcome(&queued[count - 1], BATCH_INDEXED);
        if (day != 1) {
            fixture_finish(&outcome, 1);
        }
    }
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK);
    cr_expect_eq(dropped, 2, "the fixture's own and the first: %" PRId64, dropped);
    cr_expect_eq(early, 1);
    size_t count = 0;
    (void)fixture_queued(&count);
    cr_expect_eq(count, 1, "unfinished work went");
    clock_freeze_wall(-1);
}

Test(catalog, begins_another_piece_when_one_is_large)
{
    fixture.options.piece_bytes_max = 100000;
    fixture_reopen();
    for (int i = 0; i < 400; i++) {
        const struct batch_accept accept = fixture_batch(1, 1);
        (void)fixture_accept(&accept);
    }
    struct catalog_statistics statistics;
    catalog_statistics(fixture.catalog, &statistics);
    cr_expect_gt(statistics.pieces_count, 1);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 400);
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(queued[i].position, (int64_t)i + 1);
    }
    fixture_reopen();
    (void)fixture_queued(&count);
    cr_expect_eq(count, 400);
}

/* user_version lies at byte 60 of the file, big endian. */
static void set_format(const char *name, const char format[4])
{
    char *path = file_join(fixture.folder, name);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, format, 4, 60), 4);
    cr_assert_eq(close(fd), 0);
    mem_free(path);
}

Test(catalog, refuses_a_newer_format)
{
    static const char *const names[] = {"catalog.db", "jobs.db"};
    fixture_close();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct err err = {0};
        set_format(names[i], "\0\0\0\x63");
        cr_expect_eq(
            catalog_open(fixture.folder, fixture.keys, &fixture.options, &fixture.catalog, &err),
            ERR_UNSUPPORTED, "%s", names[i]);
        cr_expect(strstr(err.msg, "newer") != NULL, "%s", err.msg);
        set_format(names[i], "\0\0\0\x01");
    }
    fixture_open();
}

/* ---- fsck ---- */

Test(catalog, read_only_shows_everything_and_changes_nothing)
{
    struct err err = {0};
    struct catalog_table *tables = NULL;
    size_t count = 0;
    const struct batch_accept accept = fixture_batch(1, 1);
    (void)fixture_accept(&accept);
    batches_begin_attempt(fixture.catalog, &fixture.table, 1, 1);
    struct id instance = catalog_instance(fixture.catalog);
    fixture_close();

    cr_assert_eq(catalog_open_read_only(fixture.folder, &fixture.catalog, &err), ERR_OK, "%s",
                 err.msg);
    cr_expect_str_eq(catalog_instance(fixture.catalog).text, instance.text);
    cr_assert_eq(
        catalog_table_list(fixture.catalog, false, NULL, 10, &fixture.arena, &tables, &count, &err),
        ERR_OK, "%s", err.msg);
    cr_expect_eq(count, 1);
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 1);
    cr_expect_eq(queued[0].interruptions, 0, "looking charged the attempt");
    cr_expect_eq(catalog_table_drop(fixture.catalog, &fixture.table, &err), ERR_UNSUPPORTED);
    fixture_reopen();
    queued = fixture_queued(&count);
    cr_expect_eq(queued[0].interruptions, 1);
}

static enum err_code accept_location(void *arg, const struct location *location, struct err *err)
{
    (void)location;
    (void)err;
    (*(int *)arg)++;
    return ERR_OK;
}

static enum err_code refuse_location(void *arg, const struct location *location, struct err *err)
{
    (void)arg;
    (void)location;
    return err_set(err, ERR_NOT_FOUND, "no such segment");
}

Test(catalog, verify_follows_references_and_finds_damage)
{
    struct err err = {0};
    struct catalog_report report;
    int seen = 0;
    for (int i = 0; i < 50; i++) {
        const struct batch_accept accept = fixture_batch(1, 1 + i);
        (void)fixture_accept(&accept);
    }
    fixture_close();
    cr_assert_eq(
        catalog_verify(fixture.folder, accept_location, accept_location, &seen, &report, &err),
        ERR_OK, "%s", err.msg);
    cr_expect_eq(report.files_count, 3);
    cr_expect_eq(report.unfinished_count, 50);
    cr_expect_eq(report.references_checked, 50);
    cr_expect_eq(seen, 50);
    cr_expect_eq(catalog_verify(fixture.folder, refuse_location, NULL, NULL, &report, &err),
                 ERR_CORRUPT);
    cr_expect(strstr(err.msg, "no such segment") != NULL, "%s", err.msg);

    struct file_names names = {0};
    cr_assert_eq(file_list(fixture.folder, &names, &err), ERR_OK);
    for (size_t i = 0; i < names.count; i++) {
        if (strncmp(names.names[i], "batches-", 8) == 0) {
            char *path = file_join(fixture.folder, names.names[i]);
            int fd = open(path, O_RDWR);
            uint8_t garbage[64];
            memset(garbage, 0xa5, sizeof garbage);
            for (int64_t page = 1; page < 12; page++) {
                cr_assert_eq(pwrite(fd, garbage, sizeof garbage, page * 4096), 64);
            }
            cr_assert_eq(close(fd), 0);
            mem_free(path);
        }
    }
    file_names_free(&names);
    cr_expect_eq(catalog_verify(fixture.folder, NULL, NULL, NULL, &report, &err), ERR_CORRUPT);
    cr_expect_eq(
        catalog_open(fixture.folder, fixture.keys, &fixture.options, &fixture.catalog, &err),
        ERR_CORRUPT, "the quick check at start saw nothing");
}

/* ---- crashes ---- */

/* What a child has been promised; outside the blast radius. */
struct ledger {
    _Atomic int64_t acked;
    _Atomic int64_t last_position;
};

/* Accepts with journal and keys until it is killed; key n is batch n. */
static void accept_until_killed(struct ledger *ledger, const char *journal_folder)
{
    struct err err = {0};
    struct journal *journal = NULL;
    (void)alarm(60); /* a fault that never comes must not hang the run */
    fixture_open();
    if (journal_open(journal_folder, JOURNAL_FRAMES, &journal, NULL, &err) != ERR_OK) {
        _exit(1);
    }
    for (int64_t n = atomic_load(&ledger->acked);; n++) {
        char text[32];
        (void)snprintf(text, sizeof text, "key-%" PRId64, n);
        struct idempotency_key key;
        idempotency_key_of(&fixture.principal, "POST", "/", span_of_text(text), &key);
        struct batch_accept accept = fixture_batch(1, 1);
        memset(accept.body_sha256, 0, sizeof accept.body_sha256);
        enum idempotency_outcome outcome;
        struct idempotency_answer answer;
        int64_t position = 0;
        if (idempotency_begin(fixture.catalog, &key, accept.body_sha256, &fixture.arena, &outcome,
                              &answer, &err) != ERR_OK) {
            _exit(2);
        }
        if (outcome == IDEMPOTENCY_FRESH) {
            accept.key = &key;
            if (journal_append(journal, span_of_text(text), &accept.frame, &err) != ERR_OK) {
                _exit(3);
            }
            journal_sync(journal, &accept.frame);
            if (batch_accept(fixture.catalog, &accept, &position, &err) != ERR_OK) {
                _exit(4);
            }
            idempotency_end(fixture.catalog, &key);
            if (position <= atomic_load(&ledger->last_position)) {
                _exit(5);
            }
            atomic_store(&ledger->last_position, position);
        } else if (outcome != IDEMPOTENCY_REPLAY) {
            _exit(6);
        }
        atomic_store(&ledger->acked, n + 1);
    }
}

static struct ledger *new_ledger(void)
{
    struct ledger *ledger =
        mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(ledger, MAP_FAILED);
    return ledger;
}

/* Every acknowledged batch is there once, its frame readable; at most one more. */
static void expect_ledger_kept(const struct ledger *ledger, const char *journal_folder,
                               const char *when)
{
    struct err err = {0};
    size_t count = 0;
    struct journal *journal = NULL;
    struct batch *batches = NULL;
    fixture_open();
    cr_assert_eq(journal_open(journal_folder, JOURNAL_FRAMES, &journal, NULL, &err), ERR_OK, "%s",
                 err.msg);
    cr_assert_eq(batches_queued(fixture.catalog, &fixture.table, 0, 1000000, INT64_MAX,
                                &fixture.arena, &batches, &count, &err),
                 ERR_OK, "%s", err.msg);
    int64_t acked = atomic_load(&ledger->acked);
    cr_expect((int64_t)count == acked || (int64_t)count == acked + 1,
              "%s: %zu stored, %" PRId64 " acknowledged", when, count, acked);
    for (size_t i = 0; i < count; i++) {
        char expected[32];
        struct buffer frame;
        (void)snprintf(expected, sizeof expected, "key-%zu", i);
        buffer_init(&frame, 4096);
        cr_expect_eq(journal_read(journal, &batches[i].frame, &frame, &err), ERR_OK, "%s: %s", when,
                     err.msg);
        cr_expect(span_equal_text(buffer_span(&frame), expected), "%s: batch %zu", when, i);
        buffer_deinit(&frame);
    }
    journal_close(&journal);
    fixture_close();
}

Test(catalog, kills_at_random_lose_and_double_nothing)
{
    char *journal_folder = temp_dir_join(&fixture.dir, "journal");
    struct ledger *ledger = new_ledger();
    fixture_close();
    for (int cycle = 0; cycle < 12; cycle++) {
        pid_t child = fork();
        if (child == 0) {
            accept_until_killed(ledger, journal_folder);
        }
        int64_t wanted = atomic_load(&ledger->acked) + (cycle * 7) % 11;
        int64_t deadline_us = clock_monotonic_us() + INT64_C(30000000);
        while (atomic_load(&ledger->acked) < wanted && clock_monotonic_us() < deadline_us) {
            (void)usleep(500);
        }
        (void)usleep((useconds_t)(cycle * 137)); /* somewhere in the next one */
        cr_assert_eq(kill(child, SIGKILL), 0);
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status), "cycle %d: the child ended by itself: %d", cycle, status);
        expect_ledger_kept(ledger, journal_folder, "after a kill");
    }
    cr_expect_gt(atomic_load(&ledger->acked), 0);
    mem_free(journal_folder);
    fixture_open();
}

#ifdef SLUICE_FAULTS

Test(catalog, every_crash_point_of_the_accept_path_keeps_the_promise)
{
    static const char *const points[] = {"journal.sync=crash", "catalog.commit=crash",
                                         "catalog.committed=crash", "journal.sync=fail"};
    char *journal_folder = temp_dir_join(&fixture.dir, "journal");
    struct ledger *ledger = new_ledger();
    fixture_close();
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (int passing = 1; passing <= 5; passing++) {
            pid_t child = fork();
            char faults[64];
            (void)snprintf(faults, sizeof faults, "%s@%d", points[i], passing);
            if (child == 0) {
                fault_arm(faults);
                accept_until_killed(ledger, journal_folder);
            }
            int status = 0;
            cr_assert_eq(waitpid(child, &status, 0), child);
            bool stopped =
                WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 74;
            cr_assert(stopped, "%s: status %d", faults, status);
            expect_ledger_kept(ledger, journal_folder, faults);
        }
    }
    cr_expect_gt(atomic_load(&ledger->acked), 10);
    mem_free(journal_folder);
    fixture_open();
}

Test(catalog, a_full_disk_at_the_commit_stores_nothing_and_passes)
{
    struct err err = {0};
    struct lane_statistics lane;
    int64_t position = 0;
    const struct batch_accept first = fixture_batch(1, 1);
    const struct batch_accept second = fixture_batch(1, 1);
    struct id other = id_new_random();
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(batch_accept(fixture.catalog, &first, &position, &err), ERR_NO_SPACE);
    cr_assert_eq(lane_statistics(fixture.catalog, &fixture.table, &lane, &err), ERR_OK);
    cr_expect_eq(lane.queued_count, 0);
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(catalog_table_drop(fixture.catalog, &fixture.table, &err), ERR_NO_SPACE);
    fault_arm("catalog.commit=fail@1");
    cr_expect_eq(catalog_table_create(fixture.catalog, "other", &other, "{}", 1, &err),
                 ERR_NO_SPACE);
    fault_arm("");
    cr_expect_eq(batch_accept(fixture.catalog, &second, &position, &err), ERR_OK,
                 "the table is still live");
    fixture_reopen();
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(queued[0].id.text, second.id.text);
    const struct batch_accept third = fixture_batch(1, 1);
    cr_expect_gt(fixture_accept(&third), position);
}

Test(catalog, positions_survive_a_crash_at_the_birth_of_a_piece)
{
    struct err err = {0};
    int64_t dropped = 0;
    int64_t early = 0;
    int64_t start_us = INT64_C(1800000000) * 1000000;
    clock_freeze_wall(start_us);
    for (int i = 0; i < 3; i++) {
        const struct batch_accept accept = fixture_batch(1, 1);
        (void)fixture_accept(&accept);
        size_t count = 0;
        const struct batch *queued = fixture_queued(&count);
        const struct batch_outcome outcome = fixture_outcome(&queued[0], BATCH_INDEXED);
        fixture_finish(&outcome, 1);
    }
    fixture_close();
    clock_freeze_wall(start_us + 20 * day_us);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60); /* a fault that never comes must not hang the run */
        fault_arm("catalog.commit=crash@1");
        fixture_open();
        const struct batch_accept accept = fixture_batch(1, 1);
        (void)fixture_accept(&accept);
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fixture_open();
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK, "%s", err.msg);
    cr_expect_geq(dropped, 1);
    fixture_reopen();
    const struct batch_accept accept = fixture_batch(1, 1);
    cr_expect_eq(fixture_accept(&accept), 4, "positions began anew");
    clock_freeze_wall(-1);
}

/* The harness is proven: with a planted bug the same ledger does not hold. */
Test(catalog, planted_acknowledgement_before_the_commit_is_found)
{
    char *journal_folder = temp_dir_join(&fixture.dir, "journal");
    struct ledger *ledger = new_ledger();
    fixture_close();
    pid_t child = fork();
    if (child == 0) {
        fault_arm("accept.ack-before-sync=skip@1,catalog.commit=crash@6");
        accept_until_killed(ledger, journal_folder);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    size_t count = 0;
    fixture_open();
    (void)fixture_queued(&count);
    cr_expect_gt(atomic_load(&ledger->acked), (int64_t)count, "the planted bug was not noticed");
    mem_free(journal_folder);
}

Test(catalog, planted_key_in_another_transaction_is_found)
{
    char *journal_folder = temp_dir_join(&fixture.dir, "journal");
    struct ledger *ledger = new_ledger();
    fixture_close();
    for (int cycle = 0; cycle < 2; cycle++) {
        pid_t child = fork();
        if (child == 0) {
            /* Commits: batch, key, batch, key …; the crash falls before a key's. */
            fault_arm("accept.idempotency-elsewhere=skip@1,catalog.commit=crash@4");
            accept_until_killed(ledger, journal_folder);
        }
        int status = 0;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status));
    }
    size_t count = 0;
    fixture_open();
    (void)fixture_queued(&count);
    cr_expect_gt((int64_t)count, atomic_load(&ledger->acked) + 1,
                 "the planted bug was not noticed: %zu stored", count);
    mem_free(journal_folder);
}

#endif
