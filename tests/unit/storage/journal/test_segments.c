#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/fault.h"
#include "storage/base/file.h"
#include "storage/base/mem.h"
#include "storage/journal/segments.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct segment_options small_options = {
    .magic = "SLUTEST1", .segment_bytes = 4096, .record_bytes_max = 16384};

static struct segment_log *open_log(const char *folder, struct segment_recovery *recovery)
{
    struct err err = {0};
    struct segment_log *log = NULL;
    cr_assert_eq(segments_open(folder, &small_options, &log, recovery, &err), ERR_OK, "%s",
                 err.msg);
    return log;
}

static struct location append_text(struct segment_log *log, const char *text)
{
    struct err err = {0};
    struct location location = {0};
    cr_assert_eq(segments_append(log, span_of_text(text), &location, &err), ERR_OK, "%s", err.msg);
    return location;
}

static void expect_record(struct segment_log *log, const struct location *location,
                          const char *text)
{
    struct err err = {0};
    struct buffer record;
    buffer_init(&record, 1 << 20);
    cr_expect_eq(segments_read(log, location, &record, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(buffer_span(&record), text), "'%s'", text);
    buffer_deinit(&record);
}

/* ---- happy path ---- */

Test(segments, reads_back_what_was_appended_over_segments_and_restarts)
{
    struct temp_dir dir = temp_dir_make();
    enum { RECORDS = 300 };
    static struct location locations[RECORDS];
    struct segment_log *log = open_log(dir.path, NULL);
    for (int i = 0; i < RECORDS; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "record %d %.*s", i, i % 40,
                       "0123456789012345678901234567890123456789");
        locations[i] = append_text(log, text);
        if (i % 100 == 50) {
            segments_close(&log);
            log = open_log(dir.path, NULL);
        }
    }
    segments_sync(log, &locations[RECORDS - 1]);
    cr_expect_gt(locations[RECORDS - 1].segment, 2);
    for (int i = 0; i < RECORDS; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "record %d %.*s", i, i % 40,
                       "0123456789012345678901234567890123456789");
        expect_record(log, &locations[i], text);
    }
    segments_close(&log);
    temp_dir_remove(&dir);
}

Test(segments, gives_a_large_record_a_segment_of_its_own_size)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct segment_log *log = open_log(dir.path, NULL);
    uint8_t *bytes = mem_zeroed(16385, 1);
    memset(bytes, 'x', 16385);
    struct location location;
    (void)append_text(log, "small");
    cr_expect_eq(segments_append(log, span_of(bytes, 16384), &location, &err), ERR_OK);
    cr_expect_eq(segments_append(log, span_of(bytes, 16385), &location, &err), ERR_TOO_LARGE);
    struct location after = append_text(log, "after");
    cr_expect_gt(after.segment, location.segment);
    struct buffer record;
    buffer_init(&record, 1 << 20);
    cr_expect_eq(segments_read(log, &location, &record, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(record.size, 16384);
    buffer_deinit(&record);
    mem_free(bytes);
    segments_close(&log);
    temp_dir_remove(&dir);
}

static bool has_next(const struct temp_dir *dir)
{
    CLEANUP(mem_cleanup) char *path = file_join(dir->path, "next");
    return access(path, F_OK) == 0;
}

static int64_t bytes_of(struct segment_log *log)
{
    struct segment_statistics statistics;
    segments_statistics(log, &statistics);
    return statistics.bytes;
}

/* Append and sync until the next segment's file is there. */
static struct location fill_half(struct segment_log *log, const struct temp_dir *dir)
{
    struct location location = {0};
    for (int i = 0; i < 100 && !has_next(dir); i++) {
        location = append_text(log, "some text that fills the segments of this log");
        segments_sync(log, &location);
    }
    cr_assert(has_next(dir));
    cr_expect_gt(location.offset, 1500);
    cr_expect_lt(location.offset, 2600, "in the middle, not at the end");
    return location;
}

Test(segments, makes_the_next_file_when_one_is_half_full)
{
    struct temp_dir dir = temp_dir_make();
    struct segment_log *log = open_log(dir.path, NULL);
    struct location half = fill_half(log, &dir);
    cr_expect_eq(bytes_of(log), 2 * 4096, "what is allocated is told");
    struct location last = half;
    while (last.segment == half.segment) {
        last = append_text(log, "not synced");
    }
    cr_expect_eq(last.segment, half.segment + 1);
    cr_expect_not(has_next(&dir), "it was taken");
    expect_record(log, &half, "some text that fills the segments of this log");
    expect_record(log, &last, "not synced");
    (void)fill_half(log, &dir);
    segments_close(&log);
    cr_expect_not(has_next(&dir), "an unused one goes at the end");
    log = open_log(dir.path, NULL);
    expect_record(log, &last, "not synced");
    segments_close(&log);
    temp_dir_remove(&dir);
}

Test(segments, a_next_file_that_is_too_small_or_left_over_is_not_used)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct segment_log *log = open_log(dir.path, NULL);
    struct location half = fill_half(log, &dir);
    uint8_t *bytes = mem_zeroed(10000, 1);
    struct location large;
    cr_expect_eq(segments_append(log, span_of(bytes, 10000), &large, &err), ERR_OK, "%s", err.msg);
    mem_free(bytes);
    cr_expect_eq(large.segment, half.segment + 1);
    cr_expect_not(has_next(&dir));
    segments_close(&log);

    CLEANUP(mem_cleanup) char *path = file_join(dir.path, "next");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "torn", 4), 4);
    close(fd);
    struct segment_recovery recovery;
    log = open_log(dir.path, &recovery);
    cr_expect_eq(recovery.newest, large.segment);
    cr_expect_not(has_next(&dir));
    struct location after = append_text(log, "after a kill");
    cr_expect_eq(after.segment, large.segment + 1);
    expect_record(log, &after, "after a kill");
    segments_close(&log);
    temp_dir_remove(&dir);
}

static void expect_read(struct segment_reader *reader, const struct location *location,
                        const char *text)
{
    struct err err = {0};
    struct span record = {0};
    cr_assert_eq(segment_reader_read(reader, location, &record, &err), ERR_OK, "%s", err.msg);
    cr_expect(span_equal_text(record, text), "'%s'", text);
}

/* Forwards, backwards, over segments, and what was written behind what was read along. */
Test(segments, read_many_records_with_one_reader)
{
    enum { RECORDS = 300 };
    struct temp_dir dir = temp_dir_make();
    static struct location locations[RECORDS + 1];
    static char texts[RECORDS + 1][64];
    struct segment_log *log = open_log(dir.path, NULL);
    struct segment_reader reader;
    segments_reader_begin(log, &reader);
    for (int i = 0; i <= RECORDS; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "record %d %.*s", i, i % 40,
                       "0123456789012345678901234567890123456789");
    }
    for (int i = 0; i < RECORDS; i++) {
        locations[i] = append_text(log, texts[i]);
        if (i % 3 == 0) {
            expect_read(&reader, &locations[i], texts[i]); /* now and then, as it grows */
        }
    }
    for (int i = 0; i < RECORDS; i++) {
        expect_read(&reader, &locations[i], texts[i]);
    }
    for (int i = RECORDS - 1; i >= 0; i--) {
        expect_read(&reader, &locations[i], texts[i]);
    }
    locations[RECORDS] = append_text(log, texts[RECORDS]);
    expect_read(&reader, &locations[RECORDS], texts[RECORDS]);
    cr_expect_gt(locations[RECORDS].segment, 2);
    struct err err = {0};
    struct span record = {0};
    struct location wrong = locations[5];
    wrong.offset += 8;
    cr_expect_eq(segment_reader_read(&reader, &wrong, &record, &err), ERR_CORRUPT);
    wrong = locations[5];
    wrong.size++;
    cr_expect_eq(segment_reader_read(&reader, &wrong, &record, &err), ERR_CORRUPT);
    wrong.size = INT64_MAX;
    cr_expect_eq(segment_reader_read(&reader, &wrong, &record, &err), ERR_CORRUPT);
    wrong = locations[5];
    wrong.segment = 99;
    cr_expect_eq(segment_reader_read(&reader, &wrong, &record, &err), ERR_NOT_FOUND);
    expect_read(&reader, &locations[7], texts[7]);
    segment_reader_deinit(&reader);
    segments_close(&log);
    temp_dir_remove(&dir);
}

/* ---- torn tails ---- */

static void copy_cut(const char *from, const char *to_folder, size_t size, int64_t flip)
{
    struct err err = {0};
    struct buffer bytes;
    buffer_init(&bytes, 1 << 20);
    cr_assert_eq(file_read(from, &bytes, &err), ERR_OK, "%s", err.msg);
    if (flip >= 0) {
        bytes.data[flip] ^= 0x40;
    }
    char *path = file_join(to_folder, "000000000001.segment");
    cr_assert_eq(file_remove(path, &err), ERR_OK);
    cr_assert_eq(
        file_write_derived(path, span_of(bytes.data, size < bytes.size ? size : bytes.size), &err),
        ERR_OK, "%s", err.msg);
    mem_free(path);
    buffer_deinit(&bytes);
}

static void remove_segments(const char *folder)
{
    struct err err = {0};
    cr_assert_eq(file_remove_tree(folder, &err), ERR_OK);
    cr_assert_eq(file_make_directory(folder, &err), ERR_OK);
}

static const char *const three[] = {"first record", "second, a little longer record", "third"};

Test(segments, cuts_a_torn_tail_at_every_byte)
{
    struct temp_dir dir = temp_dir_make();
    char *source = temp_dir_join(&dir, "source");
    char *target = temp_dir_join(&dir, "target");
    struct location locations[3];
    struct segment_log *log = open_log(source, NULL);
    for (int i = 0; i < 3; i++) {
        locations[i] = append_text(log, three[i]);
    }
    segments_close(&log);
    char *path = file_join(source, "000000000001.segment");
    int64_t ends[4] = {SEGMENT_HEADER_BYTES};
    for (int i = 0; i < 3; i++) {
        ends[i + 1] = locations[i].offset + SEGMENT_RECORD_HEADER_BYTES + locations[i].size;
    }
    remove_segments(target);
    for (int64_t size = SEGMENT_HEADER_BYTES; size <= ends[3]; size++) {
        int whole = 0;
        while (whole < 3 && (ends[whole + 1] + 7) / 8 * 8 <= size) {
            whole++;
        }
        copy_cut(path, target, (size_t)size, -1);
        struct segment_recovery recovery;
        log = open_log(target, &recovery);
        cr_expect_eq(recovery.records_count, whole, "cut at %" PRId64 ": %" PRId64, size,
                     recovery.records_count);
        struct location next = append_text(log, "written after the cut");
        for (int i = 0; i < whole; i++) {
            expect_record(log, &locations[i], three[i]);
        }
        expect_record(log, &next, "written after the cut");
        segments_close(&log);
        log = open_log(target, &recovery);
        cr_expect_eq(recovery.records_count, whole + 1, "reopened after a cut at %" PRId64, size);
        segments_close(&log);
    }
    mem_free(path);
    mem_free(source);
    mem_free(target);
    temp_dir_remove(&dir);
}

Test(segments, never_joins_a_new_record_with_old_bytes_behind_a_cut)
{
    /* Damage the second of three equal-sized records, then write one of the same size. */
    struct temp_dir dir = temp_dir_make();
    struct segment_log *log = open_log(dir.path, NULL);
    (void)append_text(log, "aaaaaaaa");
    struct location second = append_text(log, "bbbbbbbb");
    (void)append_text(log, "cccccccc");
    segments_close(&log);
    char *path = temp_dir_join(&dir, "000000000001.segment");
    copy_cut(path, dir.path, SIZE_MAX, second.offset + SEGMENT_RECORD_HEADER_BYTES);
    struct segment_recovery recovery;
    log = open_log(dir.path, &recovery);
    cr_expect_eq(recovery.records_count, 1);
    cr_expect_gt(recovery.cut_bytes, 0);
    (void)append_text(log, "dddddddd");
    segments_close(&log);
    log = open_log(dir.path, &recovery);
    cr_expect_eq(recovery.records_count, 2, "the old third record came back");
    segments_close(&log);
    mem_free(path);
    temp_dir_remove(&dir);
}

static bool count_visits(void *arg, const struct location *location, struct span payload)
{
    (void)location;
    (void)payload;
    (*(int *)arg)++;
    return true;
}

Test(segments, finds_every_flipped_byte)
{
    struct temp_dir dir = temp_dir_make();
    char *source = temp_dir_join(&dir, "source");
    char *target = temp_dir_join(&dir, "target");
    struct location locations[3];
    struct segment_log *log = open_log(source, NULL);
    for (int i = 0; i < 3; i++) {
        locations[i] = append_text(log, three[i]);
    }
    segments_close(&log);
    char *path = file_join(source, "000000000001.segment");
    remove_segments(target);
    for (int64_t at = SEGMENT_HEADER_BYTES; at < locations[2].offset; at++) {
        int record = at < locations[1].offset ? 0 : 1;
        struct err err = {0};
        copy_cut(path, target, SIZE_MAX, at);
        struct buffer bytes;
        buffer_init(&bytes, 1 << 20);
        bool padding =
            at >= locations[record].offset + SEGMENT_RECORD_HEADER_BYTES + locations[record].size;
        enum err_code code =
            segments_read_closed(target, small_options.magic, &locations[record], &bytes, &err);
        cr_expect_eq(code, padding ? ERR_OK : ERR_CORRUPT, "byte %" PRId64 ": %s", at, err.msg);
        buffer_deinit(&bytes);
    }
    mem_free(path);
    mem_free(source);
    mem_free(target);
    temp_dir_remove(&dir);
}

Test(segments, reports_damage_in_an_older_segment_and_a_missing_one)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct segment_log *log = open_log(dir.path, NULL);
    struct location location = {0};
    while (location.segment < 3) {
        location = append_text(log, "some text that fills the segments of this log");
    }
    segments_close(&log);
    int visits = 0;
    int64_t torn = 0;
    cr_expect_eq(
        segments_walk(dir.path, small_options.magic, NULL, count_visits, &visits, &torn, &err),
        ERR_OK, "%s", err.msg);
    cr_expect_gt(visits, 50);
    cr_expect_eq(torn, 0);

    char *path = temp_dir_join(&dir, "000000000001.segment");
    int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "X", 1, 200), 1);
    cr_assert_eq(close(fd), 0);
    cr_expect_eq(
        segments_walk(dir.path, small_options.magic, NULL, count_visits, &visits, &torn, &err),
        ERR_CORRUPT);
    cr_expect(strstr(err.msg, "000000000001.segment at ") != NULL, "%s", err.msg);
    mem_free(path);

    path = temp_dir_join(&dir, "000000000002.segment");
    cr_assert_eq(unlink(path), 0);
    mem_free(path);
    cr_expect_eq(
        segments_walk(dir.path, small_options.magic, &location, count_visits, &visits, &torn, &err),
        ERR_CORRUPT, "a missing segment went unnoticed");
    temp_dir_remove(&dir);
}

Test(segments, refuses_a_header_of_another_kind_or_number)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct segment_log *log = open_log(dir.path, NULL);
    (void)append_text(log, "text");
    segments_close(&log);
    const struct segment_options other = {
        .magic = "SLUOTHER", .segment_bytes = 4096, .record_bytes_max = 100};
    cr_expect_eq(segments_open(dir.path, &other, &log, NULL, &err), ERR_CORRUPT);

    char *one = temp_dir_join(&dir, "000000000001.segment");
    char *two = temp_dir_join(&dir, "000000000002.segment");
    cr_assert_eq(rename(one, two), 0);
    cr_expect_eq(segments_open(dir.path, &small_options, &log, NULL, &err), ERR_CORRUPT);
    mem_free(one);
    mem_free(two);
    temp_dir_remove(&dir);
}

/* ---- removing ---- */

Test(segments, removes_old_segments_but_neither_pinned_nor_fresh_ones)
{
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    struct segment_log *log = open_log(dir.path, NULL);
    static struct location locations[500];
    int count = 0;
    do {
        locations[count] = append_text(log, "some text that fills the segments of this log");
    } while (locations[count++].segment < 4);
    int64_t removed = -1;
    cr_expect_eq(segments_remove_below(log, 100, 0, &removed, &err), ERR_OK);
    cr_expect_eq(removed, 0, "pinned segments went");
    for (int i = 0; i < count; i++) {
        segments_unpin(log, &locations[i]);
    }
    cr_expect_eq(segments_remove_below(log, 100, INT64_C(60000000), &removed, &err), ERR_OK);
    cr_expect_eq(removed, 0, "fresh segments went");
    cr_expect_eq(segments_remove_below(log, 2, 0, &removed, &err), ERR_OK);
    cr_expect_eq(removed, 1);
    cr_expect_eq(segments_remove_below(log, 100, 0, &removed, &err), ERR_OK);
    cr_expect_eq(removed, 2, "the segment being written stays");
    struct buffer record;
    buffer_init(&record, 100);
    cr_expect_eq(segments_read(log, &locations[0], &record, &err), ERR_NOT_FOUND);
    buffer_deinit(&record);
    segments_close(&log);
    log = open_log(dir.path, NULL);
    struct location next = append_text(log, "numbers go on");
    cr_expect_geq(next.segment, 4);
    segments_close(&log);
    temp_dir_remove(&dir);
}

/* ---- group sync ---- */

enum { SYNC_THREADS = 16, SYNC_RECORDS = 200 };

struct sync_crew {
    struct segment_log *log;
    pthread_barrier_t together;
};

/* In every other round all have appended before the first of them syncs. */
static void *append_and_sync(void *arg)
{
    struct sync_crew *crew = arg;
    for (int i = 0; i < SYNC_RECORDS; i++) {
        struct location location =
            append_text(crew->log, "a record of a thread that waits for its sync");
        if (i % 2 == 0) {
            (void)pthread_barrier_wait(&crew->together);
        }
        segments_sync(crew->log, &location);
        if (i % 2 == 0) {
            (void)pthread_barrier_wait(&crew->together);
        }
    }
    return NULL;
}

Test(segments, syncs_many_appenders_with_few_calls)
{
    struct temp_dir dir = temp_dir_make();
    struct sync_crew crew = {.log = open_log(dir.path, NULL)};
    cr_assert_eq(pthread_barrier_init(&crew.together, NULL, SYNC_THREADS), 0);
    pthread_t threads[SYNC_THREADS];
    for (int i = 0; i < SYNC_THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, append_and_sync, &crew), 0);
    }
    for (int i = 0; i < SYNC_THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    struct segment_statistics statistics;
    segments_statistics(crew.log, &statistics);
    cr_expect_eq(statistics.appends_count, SYNC_THREADS * SYNC_RECORDS);
    /* one for all of a round together, at most one each in the others, one for each file left */
    int64_t most = SYNC_RECORDS / 2 * (1 + SYNC_THREADS) + statistics.segments_count;
    cr_expect_leq(statistics.syncs_count, most);
    cr_expect_eq(statistics.oldest_unsynced_us, 0);
    segments_close(&crew.log);
    (void)pthread_barrier_destroy(&crew.together);
    temp_dir_remove(&dir);
}

/* ---- full disk ---- */

Test(segments, refuses_without_space_and_recovers)
{
    /*
     * More than the file system has: the preallocation is refused as on a full one.
     * tmpfs refuses before it takes a block; a disk would be full for everybody while
     * it tries.
     */
    struct statfs status;
    if (statfs("/dev/shm", &status) != 0 || status.f_type != TMPFS_MAGIC ||
        setenv("TMPDIR", "/dev/shm", 1) != 0) {
        (void)fprintf(stderr, "SKIPPED refuses_without_space_and_recovers: /dev/shm is no tmpfs\n");
        return;
    }
    struct temp_dir dir = temp_dir_make();
    struct err err = {0};
    const struct segment_options huge = {
        .magic = "SLUTEST1", .segment_bytes = INT64_C(1) << 42, .record_bytes_max = 100};
    struct segment_log *log = NULL;
    struct location location = {0};
    cr_assert_eq(segments_open(dir.path, &huge, &log, NULL, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(segments_append(log, span_of_text("x"), &location, &err), ERR_NO_SPACE);
    segments_close(&log);
    log = open_log(dir.path, NULL);
    location = append_text(log, "space is back");
    expect_record(log, &location, "space is back");
    segments_close(&log);
    temp_dir_remove(&dir);
}

/* ---- crash points ---- */

#ifdef SLUICE_FAULTS

static const struct segment_options faulty_options = {.magic = "SLUTEST1",
                                                      .segment_bytes = 4096,
                                                      .record_bytes_max = 16384,
                                                      .sync_fault = "journal.sync"};

Test(segments, stops_the_process_when_a_sync_fails)
{
    struct temp_dir dir = temp_dir_make();
    pid_t child = fork();
    if (child == 0) {
        struct err err = {0};
        struct segment_log *log = NULL;
        struct location location;
        fault_arm("journal.sync=fail@3");
        if (segments_open(dir.path, &faulty_options, &log, NULL, &err) != ERR_OK) {
            _exit(1);
        }
        for (int i = 0; i < 10; i++) {
            if (segments_append(log, span_of_text("text"), &location, &err) != ERR_OK) {
                _exit(2);
            }
            segments_sync(log, &location);
        }
        _exit(3);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 74, "status %d", status);
    struct segment_recovery recovery;
    struct segment_log *log = open_log(dir.path, &recovery);
    cr_expect_eq(recovery.records_count, 3);
    segments_close(&log);
    temp_dir_remove(&dir);
}

#endif
