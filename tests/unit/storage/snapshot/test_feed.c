/*
 * The change data feed: whatever the history, what it tells version by version makes every
 * version of the table, and it says rightly what was inserted, updated and deleted.
 */
#include "storage/snapshot/feed.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "storage/delta/checkpoint.h"
#include "storage/delta/log.h"
#include "storage/object/object.h"
#include "tests/unit/storage/snapshot/fixture.h"
#include "tests/unit/storage/snapshot/history_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

enum { HISTORIES = 60, VERSIONS = 12, IDS_MAX = 64, ID_BYTES = 16 };

/* Ids that were told in one version, by type. */
struct ids {
    char texts[IDS_MAX][ID_BYTES];
    size_t count;
};

struct told {
    struct bag *bag;
    struct ids by_type[4];
};

static const char *const types[] = {"insert", "update_preimage", "update_postimage", "delete"};

static bool has_id(const struct ids *ids, const char *id)
{
    for (size_t i = 0; i < ids->count; i++) {
        if (strcmp(ids->texts[i], id) == 0) {
            return true;
        }
    }
    return false;
}

static size_t type_index(struct span type)
{
    size_t index = 0;
    while (index < 4 && !span_equal_text(type, types[index])) {
        index++;
    }
    cr_assert(index < 4, "unknown type %.*s", SPAN_PRINT(type));
    return index;
}

static void apply_row(const struct feed_piece *piece, int64_t row, struct told *told,
                      const char *what)
{
    const struct frame *frame = piece->frame;
    size_t columns = frame->schema->fields_count;
    struct span type = {0};
    bool mask[32] = {false};
    CLEANUP(buffer_deinit) struct buffer line;
    buffer_init(&line, 1 << 20);
    if (piece->change_type != NULL) {
        type = span_of_text(piece->change_type);
    } else {
        type = column_bytes(&frame->columns[--columns], row);
    }
    memset(mask, true, columns);
    encode_json_row(frame, row, mask, &line);
    size_t index = type_index(type);
    struct ids *ids = &told->by_type[index];
    struct span id = column_bytes(&frame->columns[0], row);
    cr_assert(ids->count < IDS_MAX && id.size < ID_BYTES);
    memcpy(ids->texts[ids->count], id.data, id.size);
    ids->texts[ids->count++][id.size] = '\0';
    if (index == 0 || index == 2) {
        bag_add(told->bag, buffer_span(&line));
    } else {
        bag_remove(told->bag, buffer_span(&line), what);
    }
}

/* Each key is told once: as new, as gone, or as it was and as it is. */
static void check_types(const struct told *told, const char *what)
{
    const struct ids *inserts = &told->by_type[0];
    const struct ids *before = &told->by_type[1];
    const struct ids *after = &told->by_type[2];
    const struct ids *deletes = &told->by_type[3];
    cr_expect_eq(before->count, after->count, "%s", what);
    for (size_t i = 0; i < before->count; i++) {
        cr_expect(has_id(after, before->texts[i]), "%s: %s", what, before->texts[i]);
        cr_expect_not(has_id(inserts, before->texts[i]), "%s", what);
        cr_expect_not(has_id(deletes, before->texts[i]), "%s", what);
    }
    for (size_t i = 0; i < inserts->count; i++) {
        cr_expect_not(has_id(deletes, inserts->texts[i]), "%s: %s", what, inserts->texts[i]);
    }
}

static struct feed *open_at(struct fixture *fixture, const struct feed_place *start, int64_t to)
{
    struct err err = {0};
    struct feed *feed = NULL;
    const struct feed_options options = {
        .store = table_store(fixture->table), .start = *start, .to_version = to};
    cr_assert_eq(feed_open(&options, &feed, &err), ERR_OK, "%s", err.msg);
    return feed;
}

/* What versions from `first` to `to` told, a few rows at a time, in a new feed now and then. */
static void apply(struct fixture *fixture, int64_t first, int64_t to, uint64_t *dice,
                  struct told *told, const char *what)
{
    struct err err = {0};
    struct feed_place place = {.version = first};
    CLEANUP(feed_close) struct feed *feed = open_at(fixture, &place, to);
    for (;;) {
        struct feed_piece piece;
        bool done = false;
        int64_t most = 1 + (int64_t)history_roll(dice, 5);
        cr_assert_eq(feed_read(feed, most, &piece, &done, &err), ERR_OK, "%s: %s", what, err.msg);
        if (done) {
            return;
        }
        cr_assert(piece.frame->rows_count > 0);
        cr_assert(piece.frame->rows_count <= most);
        for (int64_t row = 0; row < piece.frame->rows_count; row++) {
            apply_row(&piece, row, told, what);
        }
        if (history_roll(dice, 3) == 0) {
            place = feed_place(feed);
            feed_close(&feed);
            feed = open_at(fixture, &place, to);
        }
    }
}

static void run_history(uint64_t seed)
{
    static struct bag bag;
    static struct told told;
    char what[96];
    uint64_t dice = seed;
    const struct fixture_options options = {.merge = seed % 3 == 0 ? TABLE_COPY_ON_WRITE
                                                                   : TABLE_DELETION_VECTORS,
                                            .partition = seed % 2 == 0,
                                            .sequence = seed % 5 == 0,
                                            .change_feed = true};
    struct fixture fixture = fixture_make(&options);
    for (int i = 0; i < VERSIONS; i++) {
        history_make_version(&fixture, &dice);
    }
    int64_t newest = table_version(fixture.table);
    bag.count = 0;
    for (int64_t version = 0; version <= newest; version++) {
        (void)snprintf(what, sizeof what, "seed %" PRIu64 ", version %" PRId64, seed, version);
        CLEANUP(snapshot_release)
        const struct snapshot *snapshot = history_snapshot(&fixture, version);
        told = (struct told){.bag = &bag};
        apply(&fixture, version, version, &dice, &told, what);
        bag_expect_rows(&bag, snapshot, what);
        check_types(&told, what);
    }
    fixture_remove(&fixture);
}

Test(feed, tells_every_version_of_any_history, .timeout = 300)
{
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        run_history(seed);
    }
}

static int64_t count_cdc(struct fixture *fixture, int64_t version)
{
    struct err err = {0};
    CLEANUP(delta_commit_release) const struct delta_commit *commit = NULL;
    cr_assert_eq(delta_commit_read(table_store(fixture->table), version, &commit, &err), ERR_OK,
                 "%s", err.msg);
    return (int64_t)commit->change_files_count;
}

static void expect_text(const struct feed_piece *piece, int64_t row, const char *expected)
{
    CLEANUP(buffer_deinit) struct buffer text;
    buffer_init(&text, 1 << 16);
    feed_write_row(piece, row, &text);
    buffer_append_byte(&text, '\0');
    cr_expect_str_eq((const char *)text.data, expected);
}

/* Only commits that take rows away need files; columns of one's choice are told. */
Test(feed, is_written_where_data_files_do_not_say_it)
{
    struct err err = {0};
    const struct fixture_options fixture_options = {.change_feed = true};
    struct fixture fixture = fixture_make(&fixture_options);
    history_put(&fixture, "a", 1);
    history_put(&fixture, "a", 2);
    cr_expect_eq(count_cdc(&fixture, 1), 0);
    cr_expect_eq(count_cdc(&fixture, 2), 1);
    static const char *const names[] = {"amount"};
    const struct feed_options options = {.store = table_store(fixture.table),
                                         .start = {.version = 1},
                                         .to_version = 2,
                                         .columns = names,
                                         .columns_count = 1};
    CLEANUP(feed_close) struct feed *feed = NULL;
    struct feed_piece piece;
    bool done = false;
    cr_assert_eq(feed_open(&options, &feed, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(feed_read(feed, 10, &piece, &done, &err), ERR_OK, "%s", err.msg);
    piece.timestamp_ms = 0;
    expect_text(&piece, 0,
                "{\"amount\":1,\"_change_type\":\"insert\",\"_commit_version\":1,"
                "\"_commit_timestamp\":\"1970-01-01T00:00:00.000000Z\"}");
    cr_assert_eq(feed_read(feed, 10, &piece, &done, &err), ERR_OK, "%s", err.msg);
    cr_assert_eq(piece.frame->rows_count, 2);
    piece.timestamp_ms = 0;
    expect_text(&piece, 0,
                "{\"amount\":1,\"_change_type\":\"update_preimage\",\"_commit_version\":2,"
                "\"_commit_timestamp\":\"1970-01-01T00:00:00.000000Z\"}");
    expect_text(&piece, 1,
                "{\"amount\":2,\"_change_type\":\"update_postimage\",\"_commit_version\":2,"
                "\"_commit_timestamp\":\"1970-01-01T00:00:00.000000Z\"}");
    cr_assert_eq(feed_read(feed, 10, &piece, &done, &err), ERR_OK, "%s", err.msg);
    cr_expect(done);
    fixture_remove(&fixture);
}

Test(feed, refuses_versions_without_one)
{
    struct err err = {0};
    const struct fixture_options fixture_options = {0};
    struct fixture fixture = fixture_make(&fixture_options);
    history_put(&fixture, "a", 1);
    struct feed_place start = {.version = 0};
    CLEANUP(feed_close) struct feed *feed = open_at(&fixture, &start, 1);
    struct feed_piece piece;
    bool done = false;
    cr_expect_eq(feed_read(feed, 10, &piece, &done, &err), ERR_CONFLICT);
    cr_expect_not_null(strstr(err.msg, "version 1 was written without"), "%s", err.msg);
    fixture_remove(&fixture);
}

Test(feed, refuses_places_that_there_are_not)
{
    const struct fixture_options fixture_options = {.change_feed = true};
    struct fixture fixture = fixture_make(&fixture_options);
    history_put(&fixture, "a", 1);
    history_put(&fixture, "a", 2);
    static const struct feed_place places[] = {
        {.version = 2, .side = 1},
        {.version = 2, .at = {.file = 2}},
        {.version = 2, .at = {.row = 3}},
        {.version = 1, .side = 2},
        {.version = 1, .side = CHANGE_ADDED, .at = {.file = 5}},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct err err = {0};
        struct feed_piece piece;
        bool done = false;
        CLEANUP(feed_close) struct feed *feed = open_at(&fixture, &places[i], 2);
        cr_expect_eq(feed_read(feed, 10, &piece, &done, &err), ERR_CORRUPT, "place %zu", i);
    }
    fixture_remove(&fixture);
}

Test(feed, says_when_the_log_is_too_short)
{
    struct err err = {0};
    const struct fixture_options fixture_options = {.change_feed = true};
    struct fixture fixture = fixture_make(&fixture_options);
    history_put(&fixture, "a", 1);
    history_put(&fixture, "a", 2);
    struct delta_checkpoint_result checkpoint = {0};
    cr_assert_eq(table_checkpoint(fixture.table, &(struct delta_checkpoint_options){.now_ms = 0},
                                  &checkpoint, &err),
                 ERR_OK, "%s", err.msg);
    static const char *const gone[] = {"_delta_log/00000000000000000000.json",
                                       "_delta_log/00000000000000000001.json"};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(object_remove(table_store(fixture.table), gone[i], &err), ERR_OK);
    }
    struct feed *feed = NULL;
    const struct feed_options options = {
        .store = table_store(fixture.table), .start = {.version = 1}, .to_version = 2};
    cr_expect_eq(feed_open(&options, &feed, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.msg, "ask from a later version"), "%s", err.msg);
    fixture_remove(&fixture);
}
