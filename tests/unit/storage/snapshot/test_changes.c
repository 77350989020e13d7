/*
 * Rows that commits changed: whatever the history, adding and removing them version by
 * version makes every version of the table.
 */
#include "storage/snapshot/changes.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "storage/snapshot/compact.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HISTORIES = 60, VERSIONS = 12, KEYS = 15, LINES_MAX = 2000, LINE_BYTES = 160 };

/* ---- a bag of rows as JSON lines, sorted ---- */

struct bag {
    char lines[LINES_MAX][LINE_BYTES];
    size_t count;
};

static void bag_add(struct bag *bag, struct span line)
{
    cr_assert(bag->count < LINES_MAX);
    cr_assert(line.size < LINE_BYTES);
    memcpy(bag->lines[bag->count], line.data, line.size);
    bag->lines[bag->count++][line.size] = '\0';
}

static void bag_remove(struct bag *bag, struct span line, const char *what)
{
    for (size_t i = 0; i < bag->count; i++) {
        if (span_equal_text(line, bag->lines[i])) {
            memcpy(bag->lines[i], bag->lines[--bag->count], LINE_BYTES);
            return;
        }
    }
    cr_assert_fail("%s: a row was removed that was not there: %.*s", what, SPAN_PRINT(line));
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void expect_rows(struct bag *bag, const struct snapshot *snapshot, const char *what)
{
    CLEANUP(buffer_deinit) struct buffer expected;
    CLEANUP(buffer_deinit) struct buffer got;
    buffer_init(&expected, 1 << 24);
    buffer_init(&got, 1 << 24);
    fixture_rows(snapshot, &expected);
    qsort(bag->lines, bag->count, LINE_BYTES, compare_lines);
    for (size_t i = 0; i < bag->count; i++) {
        buffer_append_text(&got, bag->lines[i]);
        buffer_append_byte(&got, '\n');
    }
    cr_assert(span_equal(buffer_span(&expected), buffer_span(&got)),
              "%s: expected\n%.*s\ngot\n%.*s", what, SPAN_PRINT(buffer_span(&expected)),
              SPAN_PRINT(buffer_span(&got)));
}

/* ---- reading ---- */

/* One side, a few rows at a time, in a new struct changes now and then. */
static void apply_side(struct changes *changes, enum change_side side, int64_t rows_max,
                       struct bag *bag, const char *what)
{
    struct change_place place = {0};
    CLEANUP(buffer_deinit) struct buffer line;
    buffer_init(&line, 1 << 20);
    if (changes_schema(changes, side) == NULL) {
        return;
    }
    for (bool done = false; !done;) {
        struct err err = {0};
        CLEANUP(frame_free) struct frame *frame = frame_new(changes_schema(changes, side));
        cr_assert_eq(changes_read(changes, side, rows_max, &place, frame, &done, &err), ERR_OK,
                     "%s: %s", what, err.msg);
        cr_assert(frame->rows_count <= rows_max);
        for (int64_t row = 0; row < frame->rows_count; row++) {
            buffer_reset(&line);
            encode_json_row(frame, row, NULL, &line);
            if (side == CHANGE_ADDED) {
                bag_add(bag, buffer_span(&line));
            } else {
                bag_remove(bag, buffer_span(&line), what);
            }
        }
    }
}

static struct delta_state *state_of(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    struct delta_state *state = NULL;
    cr_assert_eq(delta_state_load_version(table_store(fixture->table), version, &state, &err),
                 ERR_OK, "%s", err.msg);
    return state;
}

static struct changes *changes_at(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    struct changes *changes = NULL;
    const struct changes_options options = {.store = table_store(fixture->table)};
    CLEANUP(delta_state_release) struct delta_state *before = state_of(fixture, version - 1);
    CLEANUP(delta_state_release) struct delta_state *after = state_of(fixture, version);
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    cr_assert_eq(delta_commit_read(options.store, version, &commit, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(changes_of_commit(&options, before, commit, after, &changes, &err), ERR_OK, "%s",
                 err.msg);
    return changes;
}

static void fill(struct fixture *fixture, int64_t version, struct bag *bag, const char *what)
{
    struct err err = {0};
    CLEANUP(changes_free) struct changes *changes = NULL;
    const struct changes_options options = {.store = table_store(fixture->table)};
    CLEANUP(delta_state_release) struct delta_state *state = state_of(fixture, version);
    cr_assert_eq(changes_of_version(&options, state, &changes, &err), ERR_OK, "%s", err.msg);
    bag->count = 0;
    apply_side(changes, CHANGE_ADDED, 5, bag, what);
}

static const struct snapshot *snapshot_of(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    const struct snapshot *snapshot = NULL;
    struct table_refresh_result result = {0};
    cr_assert_eq(table_refresh(fixture->table, &result, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(table_snapshot_at_version(fixture->table, version, &snapshot, &err), ERR_OK, "%s",
                 err.msg);
    return snapshot;
}

/* ---- histories ---- */

static uint64_t roll(uint64_t *state, uint64_t sides)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % sides;
}

static void compact_all(struct fixture *fixture)
{
    struct err err = {0};
    CLEANUP(compact_plan_deinit) struct compact_plan plan = {0};
    compact_plan_thorough(fixture->table, &plan);
    struct compact_result result = {0};
    if (plan.count == 0) {
        return; /* as few files as can be */
    }
    cr_assert_eq(compact_run(fixture->table, &plan, NULL, &result, &err), ERR_OK, "%s", err.msg);
}

static void make_version(struct fixture *fixture, uint64_t *dice)
{
    struct record_words records[8];
    char ids[8][16];
    char notes[8][16];
    size_t count = 1 + roll(dice, 8);
    if (roll(dice, 6) == 0) {
        compact_all(fixture);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "k%d", (int)roll(dice, KEYS));
        (void)snprintf(notes[i], sizeof notes[i], "n%d", (int)roll(dice, 1000));
        records[i] = (struct record_words){
            .operation = roll(dice, 4) == 0 ? FRAME_DELETE : FRAME_UPSERT,
            .id = ids[i],
            .amount = (int32_t)roll(dice, 100),
            .note = notes[i],
            .region = roll(dice, 2) == 0 ? "north" : "south",
        };
    }
    fixture_put(fixture, records, count);
}

static void run_history(uint64_t seed)
{
    static struct bag bag;
    static struct bag whole;
    char what[96];
    uint64_t dice = seed;
    const struct fixture_options options = {.partition = seed % 2 == 0};
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < VERSIONS; i++) {
        make_version(&fixture, &dice);
    }
    int64_t newest = table_version(fixture.table);
    bag.count = 0;
    for (int64_t version = 1; version <= newest; version++) {
        (void)snprintf(what, sizeof what, "seed %" PRIu64 ", version %" PRId64, seed, version);
        CLEANUP(changes_free) struct changes *changes = changes_at(&fixture, version);
        CLEANUP(snapshot_release)
        const struct snapshot *snapshot = snapshot_of(&fixture, version);
        bool removed = false;
        size_t before = bag.count;
        struct err err = {0};
        cr_assert_eq(changes_remove_rows(changes, &removed, &err), ERR_OK, "%s", err.msg);
        apply_side(changes, CHANGE_REMOVED, 1 + (int64_t)roll(&dice, 4), &bag, what);
        cr_assert_eq(removed, bag.count < before, "%s", what);
        apply_side(changes, CHANGE_ADDED, 1 + (int64_t)roll(&dice, 4), &bag, what);
        expect_rows(&bag, snapshot, what);
        fill(&fixture, version, &whole, what);
        expect_rows(&whole, snapshot, what);
    }
    fixture_remove(&fixture);
}

Test(changes, make_every_version_of_any_history, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        run_history(seed);
    }
}

/* ---- places, columns ---- */

static void put_numbered(struct fixture *fixture, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "k%03d", i);
        const struct record_words record = {.id = id, .amount = i, .note = "x"};
        fixture_put(fixture, &record, 1);
    }
}

Test(changes, are_read_from_any_place_on)
{
    struct err err = {0};
    const struct fixture_options fixture_options = {0};
    struct fixture fixture = fixture_make(&fixture_options);
    put_numbered(&fixture, 0, 12);
    compact_all(&fixture);
    put_numbered(&fixture, 4, 4); /* a vector, and files of a row */
    CLEANUP(delta_state_release)
    struct delta_state *state = state_of(&fixture, table_version(fixture.table));
    static const char *const names[] = {"amount"};
    const struct changes_options options = {
        .store = table_store(fixture.table),
        .columns = {[CHANGE_ADDED] = {names, 1}},
    };
    for (int64_t first = 0; first <= 12; first++) {
        CLEANUP(changes_free) struct changes *one = NULL;
        CLEANUP(changes_free) struct changes *two = NULL;
        struct change_place place = {0};
        bool done = false;
        cr_assert_eq(changes_of_version(&options, state, &one, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(changes_of_version(&options, state, &two, &err), ERR_OK, "%s", err.msg);
        cr_assert_eq(changes_schema(one, CHANGE_ADDED)->fields_count, 1);
        CLEANUP(frame_free) struct frame *frame = frame_new(changes_schema(one, CHANGE_ADDED));
        CLEANUP(frame_free) struct frame *rest = frame_new(changes_schema(two, CHANGE_ADDED));
        if (first > 0) {
            cr_assert_eq(changes_read(one, CHANGE_ADDED, first, &place, frame, &done, &err), ERR_OK,
                         "%s", err.msg);
        }
        cr_assert_eq(frame->rows_count, first);
        cr_assert_eq(changes_read(two, CHANGE_ADDED, 100, &place, rest, &done, &err), ERR_OK, "%s",
                     err.msg);
        cr_expect(done);
        cr_expect_eq(frame->rows_count + rest->rows_count, 12);
        bool seen[12] = {false};
        for (int64_t i = 0; i < 12; i++) {
            const struct frame *of = i < first ? frame : rest;
            seen[of->columns[0].values.i32[i < first ? i : i - first]] = true;
        }
        for (int i = 0; i < 12; i++) {
            cr_expect(seen[i], "from %" PRId64 " on: row %d is missing", first, i);
        }
    }
    fixture_remove(&fixture);
}

Test(changes, are_none_where_files_were_only_rewritten)
{
    static struct bag bag;
    struct err err = {0};
    bool removed = true;
    const struct fixture_options fixture_options = {0};
    struct fixture fixture = fixture_make(&fixture_options);
    put_numbered(&fixture, 0, 5);
    compact_all(&fixture);
    CLEANUP(changes_free)
    struct changes *changes = changes_at(&fixture, table_version(fixture.table));
    cr_assert_eq(changes_remove_rows(changes, &removed, &err), ERR_OK, "%s", err.msg);
    cr_expect_not(removed);
    bag.count = 0;
    apply_side(changes, CHANGE_ADDED, 10, &bag, "compaction");
    apply_side(changes, CHANGE_REMOVED, 10, &bag, "compaction");
    cr_expect_eq(bag.count, 0);
    fixture_remove(&fixture);
}

Test(changes, refuse_what_is_not_there)
{
    struct err err = {0};
    const struct fixture_options fixture_options = {0};
    struct fixture fixture = fixture_make(&fixture_options);
    put_numbered(&fixture, 0, 2);
    CLEANUP(delta_state_release) struct delta_state *state = state_of(&fixture, 2);
    static const char *const names[] = {"id", "colour"};
    struct changes_options options = {
        .store = table_store(fixture.table),
        .columns = {[CHANGE_ADDED] = {names, 2}},
    };
    CLEANUP(changes_free) struct changes *changes = NULL;
    cr_expect_eq(changes_of_version(&options, state, &changes, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.msg, "'colour'"), "%s", err.msg);
    err_clear(&err);
    options.columns[CHANGE_ADDED] = (struct change_columns){0};
    cr_assert_eq(changes_of_version(&options, state, &changes, &err), ERR_OK, "%s", err.msg);
    static const struct change_place places[] = {{3, 0}, {0, 2}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        CLEANUP(frame_free) struct frame *frame = frame_new(changes_schema(changes, CHANGE_ADDED));
        struct change_place place = places[i];
        bool done = false;
        cr_expect_eq(changes_read(changes, CHANGE_ADDED, 10, &place, frame, &done, &err),
                     ERR_CORRUPT, "place %zu", i);
        err_clear(&err);
    }
    options.column_bytes_max = 3; /* of four bytes a row */
    changes_free(&changes);
    cr_assert_eq(changes_of_version(&options, state, &changes, &err), ERR_OK, "%s", err.msg);
    CLEANUP(frame_free) struct frame *frame = frame_new(changes_schema(changes, CHANGE_ADDED));
    struct change_place place = {0};
    bool done = false;
    cr_expect_eq(changes_read(changes, CHANGE_ADDED, 10, &place, frame, &done, &err),
                 ERR_TOO_LARGE);
    cr_expect_eq(place.file, 0);
    fixture_remove(&fixture);
}
