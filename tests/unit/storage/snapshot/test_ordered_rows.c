/*
 * The order of an export: by key, whatever the files look like.
 */
#include "storage/snapshot/ordered_rows.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/snapshot/compact.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(ordered_rows, .timeout = 120);

enum { TEXT_BYTES_MAX = 64 << 20, KEYS = 400 };

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};
static const struct fixture_options append = {.merge = TABLE_APPEND};

struct ask {
    int64_t step;
    int64_t run_bytes;
    const struct scan_filter *filters;
    size_t filters_count;
    const bool *columns;
    int64_t *runs_out;
};

/* The rows as JSON lines in the order they come. */
static void read_all(const struct fixture *fixture, const struct ask *ask, struct buffer *text)
{
    struct err err = {0};
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    const struct ordered_rows_options options = {.snapshot = snapshot,
                                                 .columns = ask->columns,
                                                 .filters = ask->filters,
                                                 .filters_count = ask->filters_count,
                                                 .scratch_folder = fixture->dir.path,
                                                 .run_bytes = ask->run_bytes};
    CLEANUP(ordered_rows_close) struct ordered_rows *rows = NULL;
    cr_assert_eq(ordered_rows_open(&options, &rows, &err), ERR_OK, "%s", err.msg);
    buffer_init(text, TEXT_BYTES_MAX);
    for (bool more = true; more;) {
        CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
        cr_assert_eq(ordered_rows_next(rows, ask->step, frame, &more, &err), ERR_OK, "%s", err.msg);
        cr_assert_leq(frame->rows_count, ask->step);
        encode_ndjson_rows(frame, 0, frame->rows_count, ask->columns, text);
    }
    if (ask->runs_out != NULL) {
        *ask->runs_out = ordered_rows_runs_count(rows);
    }
    struct ordered_rows_work work = ordered_rows_work(rows);
    if (ask->filters_count == 0 && work.total >= 0) {
        cr_expect_eq(work.done, work.total, "%lld of %lld", (long long)work.done,
                     (long long)work.total);
    }
}

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static const char *key_name(size_t i)
{
    static char names[KEYS][16];
    (void)snprintf(names[i], sizeof names[i], "k%zu", i); /* k10 sorts before k2 */
    return names[i];
}

/* The same history of 40 changes a key, cut into commits of random size by `seed`. */
static void fill(struct fixture *fixture, uint64_t seed)
{
    uint64_t state = 5;
    uint64_t cuts = seed;
    enum { STEPS = 3000, COMMIT_MAX = 200 };
    struct record_words records[COMMIT_MAX];
    size_t count = 0;
    for (int64_t i = 0; i < STEPS; i++) {
        uint64_t dice = next(&state);
        records[count++] = (struct record_words){
            .operation = dice % 5 == 0 ? FRAME_DELETE : FRAME_UPSERT,
            .id = key_name(dice / 5 % KEYS),
            .updated = i,
            .amount = (int32_t)i,
            .note = dice % 3 == 0 ? NULL : "noted",
        };
        if (count == COMMIT_MAX || next(&cuts) % 40 == 0) {
            fixture_put(fixture, records, count);
            count = 0;
        }
    }
    fixture_put(fixture, records, count);
}

static void expect_same(const struct buffer *a, const struct buffer *b, const char *when)
{
    cr_expect(span_equal(buffer_span(a), buffer_span(b)), "%s", when);
}

/* fixture_rows sorts lines of JSON, whose first member is the key: the same order. */
static void expect_sorted(const struct fixture *fixture, const struct buffer *text,
                          const char *when)
{
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture->table);
    CLEANUP(buffer_deinit) struct buffer sorted;
    buffer_init(&sorted, TEXT_BYTES_MAX);
    fixture_rows(snapshot, &sorted);
    expect_same(&sorted, text, when);
}

Test(ordered_rows, the_cut_into_commits_and_files_does_not_show)
{
    CLEANUP(buffer_deinit) struct buffer first = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct fixture fixture = fixture_make(&keyed);
        fill(&fixture, seed);
        const struct ask ask = {.step = 97};
        CLEANUP(buffer_deinit) struct buffer before;
        read_all(&fixture, &ask, &before);
        expect_sorted(&fixture, &before, "by key");
        fixture_compact(&fixture);
        CLEANUP(buffer_deinit) struct buffer after;
        read_all(&fixture, &ask, &after);
        expect_same(&before, &after, "compacted");
        if (seed == 1) {
            buffer_init(&first, TEXT_BYTES_MAX);
            buffer_append_span(&first, buffer_span(&before));
        }
        expect_same(&first, &before, "another cut");
        fixture_remove(&fixture);
    }
}

/* Unsorted, with keys twice in a file and in several files. */
static void fill_foreign(struct fixture *fixture, size_t files, size_t rows)
{
    uint64_t state = 11;
    CLEANUP(mem_cleanup) struct record_words *records = mem_zeroed(rows, sizeof *records);
    for (size_t file = 0; file < files; file++) {
        for (size_t i = 0; i < rows; i++) {
            records[i] = (struct record_words){.id = key_name(next(&state) % KEYS),
                                               .updated = (int64_t)(next(&state) % 3),
                                               .amount = (int32_t)(next(&state) % 4),
                                               .note = "theirs"};
        }
        fixture_append_foreign(fixture, records, rows);
    }
    struct err err = {0};
    struct table_refresh_result refreshed = {0};
    cr_assert_eq(table_refresh(fixture->table, &refreshed, &err), ERR_OK, "%s", err.msg);
}

/* Lines ascend by the key, the text behind {"id":" up to the next quote. */
static void expect_keys_ascend(const struct buffer *text, int64_t lines_expected)
{
    char last[32] = "";
    int64_t lines = 0;
    for (size_t at = 0; at < text->size;) {
        const uint8_t *line = text->data + at;
        const uint8_t *feed = memchr(line, '\n', text->size - at);
        cr_assert_not_null(feed);
        char key[32] = "";
        const uint8_t *start = line + strlen("{\"id\":\"");
        const uint8_t *end = memchr(start, '"', (size_t)(feed - start));
        cr_assert_not_null(end);
        memcpy(key, start, (size_t)(end - start));
        cr_assert_leq(strcmp(last, key), 0, "%s before %s", last, key);
        memcpy(last, key, sizeof last);
        lines++;
        at = (size_t)(feed + 1 - text->data);
    }
    cr_expect_eq(lines, lines_expected);
}

Test(ordered_rows, foreign_files_are_sorted_in_runs_of_any_size)
{
    enum { FILES = 5, ROWS = 2500 };
    struct fixture fixture = fixture_make(&keyed);
    fill_foreign(&fixture, FILES, ROWS);
    static const struct {
        int64_t run_bytes;
        int64_t runs_min, runs_max;
    } cases[] = {
        {0, 1, 1}, {200000, 2, 10}, {1, 13, 15}, /* a run a chunk of 1024 rows */
    };
    CLEANUP(buffer_deinit) struct buffer expected = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t runs = 0;
        const struct ask ask = {.step = 1000, .run_bytes = cases[i].run_bytes, .runs_out = &runs};
        CLEANUP(buffer_deinit) struct buffer text;
        read_all(&fixture, &ask, &text);
        expect_keys_ascend(&text, FILES * ROWS);
        cr_expect_geq(runs, cases[i].runs_min, "case %zu: %lld", i, (long long)runs);
        cr_expect_leq(runs, cases[i].runs_max, "case %zu: %lld", i, (long long)runs);
        if (i == 0) {
            buffer_init(&expected, TEXT_BYTES_MAX);
            buffer_append_span(&expected, buffer_span(&text));
        }
        expect_same(&expected, &text, "the size of runs does not show");
    }
    fixture_remove(&fixture);
}

Test(ordered_rows, more_files_than_can_be_open_are_merged_first)
{
    struct fixture fixture = fixture_make(&keyed);
    enum { FILES = 3 * ORDERED_SOURCES_MAX + 5 };
    for (int32_t i = 0; i < FILES; i++) {
        struct record_words records[] = {
            {FRAME_UPSERT, key_name((size_t)i * 7 % KEYS), i, i, NULL, NULL, NULL},
            {FRAME_UPSERT, key_name((size_t)i * 11 % KEYS), i, -i, NULL, NULL, NULL}};
        fixture_put(&fixture, records, 2);
    }
    int64_t runs = 0;
    const struct ask ask = {.step = 50, .runs_out = &runs};
    CLEANUP(buffer_deinit) struct buffer text;
    read_all(&fixture, &ask, &text);
    expect_sorted(&fixture, &text, "by key");
    cr_expect_geq(runs, 3);
    fixture_remove(&fixture);
}

Test(ordered_rows, filters_and_columns_hold)
{
    struct fixture fixture = fixture_make(&keyed);
    fill(&fixture, 9);
    const struct row_value limit = {.type = COLUMN_INTEGER, .integer = 2500};
    const struct scan_filter filter = {
        .column = fixture.amount, .operator= SCAN_GREATER, .values = &limit, .values_count = 1};
    const bool amount_only[] = {false, false, true, false, false, false};
    const struct ask ask = {
        .step = 10, .filters = &filter, .filters_count = 1, .columns = amount_only};
    CLEANUP(buffer_deinit) struct buffer text;
    read_all(&fixture, &ask, &text);
    cr_assert_gt(text.size, 0);
    buffer_append_byte(&text, '\0');
    for (const char *line = (const char *)text.data; *line != '\0';) {
        int amount = 0;
        cr_assert_eq(sscanf(line, "{\"amount\":%d}", &amount), 1, "%.30s", line);
        cr_expect_gt(amount, 2500);
        line = strchr(line, '\n') + 1;
    }
    fixture_remove(&fixture);
}

Test(ordered_rows, append_tables_come_as_they_were_accepted)
{
    struct fixture fixture = fixture_make(&append);
    CLEANUP(buffer_deinit) struct buffer expected;
    buffer_init(&expected, TEXT_BYTES_MAX);
    for (int32_t i = 0; i < 12; i++) {
        struct record_words records[] = {{FRAME_INSERT, "z", 0, i, NULL, NULL, NULL},
                                         {FRAME_INSERT, "a", 0, -i, NULL, NULL, NULL}};
        struct frame *frame = fixture_frame(&fixture, records, 2);
        encode_ndjson_rows(frame, 0, 2, NULL, &expected);
        frame_free(&frame);
        fixture_put(&fixture, records, 2);
    }
    const struct ask ask = {.step = 5};
    CLEANUP(buffer_deinit) struct buffer text;
    read_all(&fixture, &ask, &text);
    expect_same(&expected, &text, "as accepted");
    fixture_remove(&fixture);
}

/* ---- being stopped ---- */

static enum err_code stop_at(void *self, struct err *err)
{
    int *left = self;
    return (*left)-- > 0 ? ERR_OK : err_set(err, ERR_CANCELLED, "stopped");
}

Test(ordered_rows, can_be_stopped_at_every_check)
{
    struct fixture fixture = fixture_make(&keyed);
    fill(&fixture, 4);
    fill_foreign(&fixture, 2, 3000);
    CLEANUP(snapshot_release) const struct snapshot *snapshot = table_snapshot(fixture.table);
    bool finished = false;
    for (int checks = 0; !finished && checks < 10000; checks += 1 + checks / 4) {
        struct err err = {0};
        int left = checks;
        const struct ordered_rows_options options = {.snapshot = snapshot,
                                                     .scratch_folder = fixture.dir.path,
                                                     .run_bytes = 1,
                                                     .check = stop_at,
                                                     .self = &left};
        CLEANUP(ordered_rows_close) struct ordered_rows *rows = NULL;
        enum err_code code = ordered_rows_open(&options, &rows, &err);
        for (bool more = true; more && code == ERR_OK;) {
            CLEANUP(frame_free) struct frame *frame = frame_new(snapshot->schema);
            code = ordered_rows_next(rows, 500, frame, &more, &err);
        }
        cr_assert(code == ERR_OK || code == ERR_CANCELLED, "%s", err.msg);
        finished = code == ERR_OK;
    }
    cr_expect(finished);
    fixture_remove(&fixture);
}
