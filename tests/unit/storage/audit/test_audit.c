#include "storage/audit/audit.h"
#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/json.h"
#include "storage/base/mem.h"
#include "storage/journal/segments.h"
#include "tests/support/temp_dir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char magic[] = "SLUAUDT1"; /* of the audit room's segments */
static struct secret_keys *keys;
static struct temp_dir dir;
static char *folder;

static void set_up(void)
{
    struct err err = {0};
    dir = temp_dir_make();
    folder = temp_dir_join(&dir, "audit");
    char *path = temp_dir_join(&dir, "root.key");
    cr_assert_eq(secret_init(&err), ERR_OK);
    cr_assert_eq(secret_keys_open(path, &keys, &err), ERR_OK, "%s", err.msg);
    mem_free(path);
}

static void tear_down(void)
{
    secret_keys_close(&keys);
    mem_free(folder);
    temp_dir_remove(&dir);
}

TestSuite(audit, .init = set_up, .fini = tear_down);

static struct audit *open_trail(void)
{
    struct err err = {0};
    const struct audit_options options = {0};
    struct audit *audit = NULL;
    cr_assert_eq(audit_open(folder, keys, &options, &audit, &err), ERR_OK, "%s", err.msg);
    return audit;
}

static const struct audit_event looked_up = {
    .event = "lookup.read",
    .principal_id = "0193-principal",
    .token_id = "abcdefghijkl",
    .request_id = "0193-request",
    .action = "lookup.read",
    .resource = "members",
    .outcome = AUDIT_SUCCEEDED,
    .status = 200,
    .count = 1,
    .remote = "127.0.0.1",
};

static void write_events(struct audit *audit, int count)
{
    for (int i = 0; i < count; i++) {
        struct err err = {0};
        cr_assert_eq(audit_write(audit, &looked_up, NULL, &err), ERR_OK, "%s", err.msg);
    }
}

/* open + `count` events + close = count + 2 records */
static void make_trail(int count)
{
    struct audit *audit = open_trail();
    write_events(audit, count);
    audit_close(&audit);
}

static enum err_code verify(struct audit_report *report, struct err *err)
{
    return audit_verify(folder, keys, report, err);
}

/* ---- happy path ---- */

static bool keep_last(void *arg, int64_t sequence, struct span line)
{
    (void)sequence;
    struct buffer *last = arg;
    buffer_reset(last);
    buffer_append_span(last, line);
    return true;
}

Test(audit, writes_records_in_canonical_order)
{
    struct err err = {0};
    struct audit *audit = open_trail();
    char subject[AUDIT_SUBJECT_BYTES];
    audit_subject(keys, span_of_text("M00001"), subject);
    struct audit_event event = looked_up;
    event.subjects = (const char *const[]){subject};
    event.subjects_count = 1;
    event.detail = "quote \" and \xff";
    cr_assert_eq(audit_record_write(audit, &event, &err), ERR_OK, "%s", err.msg);
    struct buffer line;
    buffer_init(&line, 1 << 20);
    cr_assert_eq(audit_search(folder, 0, keep_last, &line, &err), ERR_OK, "%s", err.msg);
    struct json *record = NULL;
    cr_assert_eq(json_parse(buffer_span(&line), &record, &err), ERR_OK, "%s", err.msg);
    static const char *const expected[] = {
        "seq",      "time",    "mono_us", "event",    "principal", "token",  "request", "action",
        "resource", "outcome", "status",  "subjects", "count",     "remote", "detail",  "prev"};
    size_t position = 0;
    size_t members = 0;
    const char *name = NULL;
    const struct json *value = NULL;
    while (json_member(record, &position, &name, &value)) {
        cr_assert_lt(members, sizeof expected / sizeof expected[0]);
        cr_expect_str_eq(name, expected[members]);
        members++;
    }
    cr_expect_eq(members, sizeof expected / sizeof expected[0]);
    cr_expect_str_eq(json_text(json_at(json_get(record, "subjects"), 0)), subject);
    cr_expect(strstr(subject, "M00001") == NULL);
    json_free(&record);
    buffer_deinit(&line);
    audit_close(&audit);
}

Test(audit, chains_over_restarts_and_verifies)
{
    struct err err = {0};
    struct audit_report report;
    make_trail(10);
    make_trail(0);
    make_trail(5);
    cr_assert_eq(verify(&report, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(report.records_count, 10 + 5 + 6);
    cr_expect_eq(report.last_sequence, report.records_count);
    cr_expect_eq(report.torn_bytes, 0);
}

Test(audit, cuts_long_texts_between_characters)
{
    struct err err = {0};
    char text[2048];
    memset(text, 'x', sizeof text);
    for (size_t i = 501; i + 2 < sizeof text; i += 2) {
        memcpy(text + i, "\xc3\xa9", 2); /* é: the cut falls inside one */
    }
    text[2045] = '\0';
    struct audit *audit = open_trail();
    struct audit_event event = looked_up;
    event.detail = text;
    cr_assert_eq(audit_record_write(audit, &event, &err), ERR_OK);
    struct buffer line;
    buffer_init(&line, 1 << 20);
    cr_assert_eq(audit_search(folder, 0, keep_last, &line, &err), ERR_OK);
    struct json *record = NULL;
    cr_assert_eq(json_parse(buffer_span(&line), &record, &err), ERR_OK, "%s", err.msg);
    struct span detail;
    cr_assert(json_as_string(json_get(record, "detail"), &detail));
    cr_expect_leq(detail.size, AUDIT_TEXT_BYTES_MAX + 3);
    cr_expect(memcmp(detail.data + detail.size - 3, "\u2026", 3) == 0);
    json_free(&record);
    buffer_deinit(&line);
    audit_close(&audit);
}

Test(audit, syncs_in_the_background_within_its_promise)
{
    struct audit *audit = open_trail();
    write_events(audit, 3);
    struct audit_statistics statistics;
    int64_t deadline_us = clock_monotonic_us() + 20 * AUDIT_SYNC_WITHIN_US; /* a busy machine */
    do {
        audit_statistics(audit, &statistics);
    } while (statistics.synced_sequence < statistics.sequence &&
             clock_monotonic_us() < deadline_us);
    cr_expect_eq(statistics.synced_sequence, statistics.sequence);
    cr_expect(audit_healthy(audit));
    audit_close(&audit);
}

/* ---- tampering ---- */

static struct buffer read_segment(void)
{
    struct err err = {0};
    struct buffer bytes;
    char *path = file_join(folder, "000000000001.segment");
    buffer_init(&bytes, 64 << 20);
    cr_assert_eq(file_read(path, &bytes, &err), ERR_OK, "%s", err.msg);
    mem_free(path);
    return bytes;
}

static void write_segment(const struct buffer *bytes)
{
    struct err err = {0};
    char *path = file_join(folder, "000000000001.segment");
    cr_assert_eq(file_replace_derived(path, buffer_span(bytes), &err), ERR_OK, "%s", err.msg);
    mem_free(path);
}

Test(audit, finds_every_flipped_byte)
{
    make_trail(6);
    struct buffer bytes = read_segment();
    struct audit_report report;
    size_t end = bytes.size;
    while (end > 0 && bytes.data[end - 1] == 0) {
        end--;
    }
    size_t missed = 0;
    for (size_t at = SEGMENT_HEADER_BYTES; at < end; at++) {
        struct err err = {0};
        if (at + 8 < end && bytes.data[at] == 0 && bytes.data[at - 1] == '}') {
            continue; /* padding behind a record carries nothing */
        }
        bytes.data[at] ^= 0x01;
        /* Only up to the records: the preallocated rest would make this test slow. */
        struct buffer cut = {.data = bytes.data, .size = end, .size_max = end};
        write_segment(&cut);
        bool padding = bytes.data[at] == 0x01;
        if (verify(&report, &err) == ERR_OK && !padding) {
            missed++;
        }
        bytes.data[at] ^= 0x01;
    }
    cr_expect_eq(missed, 0, "%zu flips were not found", missed);
    buffer_deinit(&bytes);
}

/* The lines of the trail, to write other trails from. */
struct lines {
    struct buffer items[64];
    size_t count;
};

static bool keep_line(void *arg, int64_t sequence, struct span line)
{
    (void)sequence;
    struct lines *lines = arg;
    buffer_init(&lines->items[lines->count], 1 << 20);
    buffer_append_span(&lines->items[lines->count++], line);
    return true;
}

/* A forger who knows the file format: whole segments with right checksums. */
static void forge(const struct lines *lines, const size_t *order, size_t count)
{
    struct err err = {0};
    const struct segment_options options = {
        .magic = magic, .segment_bytes = 1 << 20, .record_bytes_max = AUDIT_RECORD_BYTES_MAX};
    char *anchor = file_join(folder, "anchor");
    struct buffer kept;
    buffer_init(&kept, 4096);
    cr_assert_eq(file_read(anchor, &kept, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(file_remove_tree(folder, &err), ERR_OK);
    struct segment_log *log = NULL;
    cr_assert_eq(segments_open(folder, &options, &log, NULL, &err), ERR_OK, "%s", err.msg);
    for (size_t i = 0; i < count; i++) {
        struct location location;
        cr_assert_eq(segments_append(log, buffer_span(&lines->items[order[i]]), &location, &err),
                     ERR_OK);
    }
    segments_close(&log);
    cr_assert_eq(file_write_derived(anchor, buffer_span(&kept), &err), ERR_OK, "%s", err.msg);
    buffer_deinit(&kept);
    mem_free(anchor);
}

Test(audit, finds_deleted_swapped_repeated_and_missing_last_records)
{
    static const struct {
        const char *name;
        size_t order[8];
        size_t count;
        bool whole;
    } cases[] = {
        {"untouched", {0, 1, 2, 3, 4, 5}, 6, true},
        {"first deleted", {1, 2, 3, 4, 5}, 5, false},
        {"middle deleted", {0, 1, 3, 4, 5}, 5, false},
        {"last deleted", {0, 1, 2, 3, 4}, 5, false},
        {"last three deleted", {0, 1, 2}, 3, false},
        {"all deleted", {0}, 0, false},
        {"two swapped", {0, 2, 1, 3, 4, 5}, 6, false},
        {"one repeated", {0, 1, 1, 2, 3, 4, 5}, 7, false},
        {"reversed", {5, 4, 3, 2, 1, 0}, 6, false},
    };
    make_trail(4);
    struct err err = {0};
    static struct lines lines;
    cr_assert_eq(audit_search(folder, 0, keep_line, &lines, &err), ERR_OK);
    cr_assert_eq(lines.count, 6);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct audit_report report;
        err_clear(&err);
        forge(&lines, cases[i].order, cases[i].count);
        cr_expect_eq(verify(&report, &err), cases[i].whole ? ERR_OK : ERR_CORRUPT, "%s: %s",
                     cases[i].name, err.msg);
    }
    for (size_t i = 0; i < lines.count; i++) {
        buffer_deinit(&lines.items[i]);
    }
}

Test(audit, refuses_to_go_on_behind_a_truncated_trail)
{
    make_trail(4);
    struct err err = {0};
    static struct lines lines;
    cr_assert_eq(audit_search(folder, 0, keep_line, &lines, &err), ERR_OK);
    forge(&lines, (const size_t[]){0, 1, 2}, 3);
    const struct audit_options options = {0};
    struct audit *audit = NULL;
    cr_expect_eq(audit_open(folder, keys, &options, &audit, &err), ERR_CORRUPT);
    cr_expect(strstr(err.msg, "ends at record 3, but 6 was written") != NULL, "%s", err.msg);
    for (size_t i = 0; i < lines.count; i++) {
        buffer_deinit(&lines.items[i]);
    }
}

Test(audit, finds_an_older_trail_put_back_with_its_anchor_of_another_key)
{
    make_trail(3);
    struct err err = {0};
    struct audit_report report;
    secret_keys_close(&keys);
    char *path = temp_dir_join(&dir, "other.key");
    cr_assert_eq(secret_keys_open(path, &keys, &err), ERR_OK);
    mem_free(path);
    cr_expect_eq(verify(&report, &err), ERR_CORRUPT);
    cr_expect(strstr(err.msg, "seal") != NULL, "%s", err.msg);
}

/* ---- many writers ---- */

enum { WRITERS = 8, EVENTS = 2000 };

static void *write_many(void *arg)
{
    write_events(arg, EVENTS);
    return NULL;
}

Test(audit, keeps_one_chain_under_many_writers)
{
    struct err err = {0};
    struct audit *audit = open_trail();
    pthread_t threads[WRITERS];
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, write_many, audit), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    int64_t took_us = clock_monotonic_us() - started_us;
    audit_close(&audit);
    struct audit_report report;
    started_us = clock_monotonic_us();
    cr_assert_eq(verify(&report, &err), ERR_OK, "%s", err.msg);
    int64_t verify_us = clock_monotonic_us() - started_us;
    cr_expect_eq(report.records_count, WRITERS * EVENTS + 2);
    cr_log_info("%.0f records/s written, %.0f records/s verified",
                WRITERS * EVENTS * 1e6 / (double)took_us,
                (double)report.records_count * 1e6 / (double)verify_us);
}

/* ---- crashes ---- */

Test(audit, a_killed_writer_leaves_a_trail_that_goes_on)
{
    void *shared =
        mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    _Atomic int64_t *written = shared;
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            (void)alarm(60); /* never outlive the test */
            struct audit *audit = open_trail();
            for (;;) {
                write_events(audit, 10);
                atomic_fetch_add(written, 10);
            }
        }
        int64_t wanted = atomic_load(written) + 100 * i + 10;
        while (atomic_load(written) < wanted && waitpid(child, NULL, WNOHANG) == 0) {
            (void)usleep(500);
        }
        cr_assert_eq(kill(child, SIGKILL), 0);
        cr_assert_eq(waitpid(child, NULL, 0), child);
    }
    struct err err = {0};
    struct audit_report report;
    make_trail(1);
    cr_assert_eq(verify(&report, &err), ERR_OK, "%s", err.msg);
    cr_expect_geq(report.records_count, atomic_load(written), "a written record is gone");
}

Test(audit, line_decode_refuses_what_is_no_record)
{
    static const char *const lines[] = {
        "",
        "{}",
        "{\"seq\":1}",
        "{\"seq\":0,\"prev\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
        "{\"seq\":-1,\"prev\":"
        "\"0000000000000000000000000000000000000000000000000000000000000000\"}",
        "{\"seq\":1,\"prev\":\"000000000000000000000000000000000000000000000000000000000000000g\"}",
        "{\"seq\":1,\"prev\":\"00000000000000000000000000000000000000000000000000000000000000\"}",
        "{\"seq\":99999999999999999999,\"prev\":"
        "\"0000000000000000000000000000000000000000000000000000000000000000\"}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct err err = {0};
        int64_t sequence = 0;
        uint8_t prev[32];
        cr_expect_eq(audit_line_decode(span_of_text(lines[i]), &sequence, prev, &err), ERR_CORRUPT,
                     "'%s'", lines[i]);
    }
}
