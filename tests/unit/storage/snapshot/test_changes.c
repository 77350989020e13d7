/*
 * Rows that commits changed: whatever the history, adding and removing them version by
 * version makes every version of the table.
 */
#include "storage/snapshot/changes.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "tests/unit/storage/snapshot/fixture.h"
#include "tests/unit/storage/snapshot/history_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HISTORIES = 60, VERSIONS = 12 };

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

static struct changes *changes_at(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    struct changes *changes = NULL;
    const struct changes_options options = {.store = table_store(fixture->table)};
    CLEANUP(delta_state_release) struct delta_state *before = history_state(fixture, version - 1);
    CLEANUP(delta_state_release) struct delta_state *after = history_state(fixture, version);
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
    CLEANUP(delta_state_release) struct delta_state *state = history_state(fixture, version);
    cr_assert_eq(changes_of_version(&options, state, &changes, &err), ERR_OK, "%s", err.msg);
    bag->count = 0;
    apply_side(changes, CHANGE_ADDED, 5, bag, what);
}

/* ---- histories ---- */

static void run_history(uint64_t seed)
{
    static struct bag bag;
    static struct bag whole;
    char what[96];
    uint64_t dice = seed;
    const struct fixture_options options = {.partition = seed % 2 == 0};
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < VERSIONS; i++) {
        history_make_version(&fixture, &dice);
    }
    int64_t newest = table_version(fixture.table);
    bag.count = 0;
    for (int64_t version = 1; version <= newest; version++) {
        (void)snprintf(what, sizeof what, "seed %" PRIu64 ", version %" PRId64, seed, version);
        CLEANUP(changes_free) struct changes *changes = changes_at(&fixture, version);
        CLEANUP(snapshot_release)
        const struct snapshot *snapshot = history_snapshot(&fixture, version);
        bool removed = false;
        size_t before = bag.count;
        struct err err = {0};
        cr_assert_eq(changes_remove_rows(changes, &removed, &err), ERR_OK, "%s", err.msg);
        apply_side(changes, CHANGE_REMOVED, 1 + (int64_t)history_roll(&dice, 4), &bag, what);
        cr_assert_eq(removed, bag.count < before, "%s", what);
        apply_side(changes, CHANGE_ADDED, 1 + (int64_t)history_roll(&dice, 4), &bag, what);
        bag_expect_rows(&bag, snapshot, what);
        fill(&fixture, version, &whole, what);
        bag_expect_rows(&whole, snapshot, what);
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
    history_compact(&fixture);
    put_numbered(&fixture, 4, 4); /* a vector, and files of a row */
    CLEANUP(delta_state_release)
    struct delta_state *state = history_state(&fixture, table_version(fixture.table));
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
    history_compact(&fixture);
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
    CLEANUP(delta_state_release) struct delta_state *state = history_state(&fixture, 2);
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
