/*
 * Scans by key: what the index names and what reading all files finds are the
 * same rows in the same order, page by page.
 */
#include "storage/snapshot/scan_key.h"

#include "storage/base/mem.h"
#include "storage/columns/encode_json.h"
#include "tests/unit/storage/snapshot/fixture.h"

#include <criterion/criterion.h>

enum { KEYS = 60, VERSIONS = 12 };

/* xorshift: the same runs everywhere. */
struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return dice->state % sides;
}

/* "k00" … and one beyond, which is nobody's. */
static const char *key_text(size_t key, char text[8])
{
    (void)snprintf(text, 8, "k%02zu", key);
    return text;
}

static void fill(struct dice *dice, struct record_words *records, char texts[][8], size_t count,
                 bool deletes)
{
    static const char *const regions[] = {"north", "south", NULL};
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct record_words){
            .operation = deletes && roll(dice, 4) == 0 ? FRAME_DELETE : FRAME_UPSERT,
            .id = key_text(roll(dice, KEYS), texts[i]),
            .updated = (int64_t)roll(dice, 20),
            .amount = (int32_t)roll(dice, 10),
            .note = "n",
            .region = regions[roll(dice, 3)],
        };
    }
}

/* All rows as JSON lines; pages of `limit` taken from the two snapshots in turn. */
static int64_t listing(const struct snapshot *const snapshots[2], const struct scan_filter *filters,
                       size_t count, int64_t limit, struct buffer *lines)
{
    struct err err = {0};
    int64_t visited = 0;
    struct scan_request request = {.filters = filters, .filters_count = count, .limit = limit};
    size_t turn = 0;
    for (bool done = false; !done; turn++) {
        CLEANUP(scan_result_deinit) struct scan_result page = {0};
        cr_assert(scan_run(snapshots[turn % 2], &request, &page, &err) == ERR_OK, "%s", err.msg);
        cr_assert(page.frame->rows_count <= limit);
        for (int64_t row = 0; row < page.frame->rows_count; row++) {
            encode_json_row(page.frame, row, NULL, lines);
            buffer_append_byte(lines, '\n');
        }
        visited += page.visited_rows;
        request.start = page.next;
        done = page.done;
        cr_assert_lt(turn, 1000, "the listing goes on");
    }
    return visited;
}

static void compare(const struct snapshot *indexed, const struct snapshot *plain,
                    const struct scan_filter *filters, size_t count, const char *when)
{
    static const int64_t limits[] = {1, 3, 1000};
    struct buffer expected;
    struct buffer actual;
    buffer_init(&expected, 16 << 20);
    buffer_init(&actual, 16 << 20);
    const struct snapshot *const none[2] = {plain, plain};
    (void)listing(none, filters, count, 1000, &expected);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct snapshot *const pairs[][2] = {
            {indexed, indexed}, {indexed, plain}, {plain, indexed}};
        for (size_t j = 0; j < sizeof pairs / sizeof pairs[0]; j++) {
            buffer_reset(&actual);
            (void)listing(pairs[j], filters, count, limits[i], &actual);
            cr_assert(span_equal(buffer_span(&actual), buffer_span(&expected)),
                      "%s, by %lld, way %zu:\n%.*sinstead of\n%.*s", when, (long long)limits[i], j,
                      SPAN_PRINT(buffer_span(&actual)), SPAN_PRINT(buffer_span(&expected)));
        }
    }
    buffer_deinit(&expected);
    buffer_deinit(&actual);
}

/* Some random filters that name keys, alone and with others. */
static void compare_all(const struct fixture *fixture, struct dice *dice,
                        const struct snapshot *indexed, const struct snapshot *plain,
                        const char *when)
{
    cr_assert_eq(indexed->version, plain->version);
    for (int round = 0; round < 12; round++) {
        char texts[8][8];
        struct row_value keys[8];
        size_t keys_count = 1 + roll(dice, 8);
        for (size_t i = 0; i < keys_count; i++) {
            keys[i] =
                (struct row_value){.type = COLUMN_STRING,
                                   .bytes = span_of_text(key_text(roll(dice, KEYS + 1), texts[i]))};
        }
        const struct row_value five = {.type = COLUMN_INTEGER, .integer = 5};
        const struct scan_filter filters[] = {
            {fixture->id, keys_count == 1 ? SCAN_EQUAL : SCAN_IN, keys, keys_count},
            {fixture->amount, SCAN_LESS, &five, 1},
            {fixture->id, SCAN_GREATER_OR_EQUAL, &keys[0], 1},
        };
        compare(indexed, plain, filters, 1 + roll(dice, 3), when);
    }
}

Test(scan_key, finds_what_a_scan_finds)
{
    static const struct fixture_options kinds[] = {
        {.merge = TABLE_DELETION_VECTORS, .sequence = true},
        {.merge = TABLE_DELETION_VECTORS, .sequence = true, .partition = true, .lookup = true},
        {.merge = TABLE_COPY_ON_WRITE, .root = true},
    };
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct fixture fixture = fixture_make(&kinds[kind]);
        struct dice dice = {.state = 88172645463325252u + kind};
        const struct snapshot *held[VERSIONS];
        for (size_t i = 0; i < VERSIONS; i++) {
            struct record_words records[40];
            char texts[40][8];
            bool foreign = i % 5 == 3 && kinds[kind].merge == TABLE_DELETION_VECTORS;
            fill(&dice, records, texts, 40, !foreign);
            if (foreign) {
                struct err err = {0};
                struct table_refresh_result refreshed = {0};
                fixture_append_foreign(&fixture, records, 10);
                cr_assert(table_refresh(fixture.table, &refreshed, &err) == ERR_OK, "%s", err.msg);
            } else {
                fixture_put(&fixture, records, 40);
            }
            held[i] = table_snapshot(fixture.table);
            struct snapshot plain = *held[i];
            plain.index = NULL;
            compare_all(&fixture, &dice, held[i], &plain, "the newest version");
        }
        fixture_reopen(&fixture, true);
        for (size_t i = 0; i < VERSIONS; i++) {
            struct err err = {0};
            CLEANUP(snapshot_release) const struct snapshot *then = NULL;
            cr_assert(table_snapshot_at_version(fixture.table, held[i]->version, &then, &err) ==
                          ERR_OK,
                      "%s", err.msg);
            compare_all(&fixture, &dice, held[i], then, "an older version");
            snapshot_release(&held[i]);
        }
        fixture_remove(&fixture);
    }
}

Test(scan_key, reads_the_rows_of_the_key_only)
{
    const struct fixture_options options = {.merge = TABLE_DELETION_VECTORS};
    struct fixture fixture = fixture_make(&options);
    struct dice dice = {.state = 42};
    for (int i = 0; i < 5; i++) {
        struct record_words records[40];
        char texts[40][8];
        fill(&dice, records, texts, 40, false);
        fixture_put(&fixture, records, 40);
    }
    const struct snapshot *snapshot = table_snapshot(fixture.table);
    const struct row_value twice[] = {{.type = COLUMN_STRING, .bytes = span_of_text("k07")},
                                      {.type = COLUMN_STRING, .bytes = span_of_text("k07")}};
    CLEANUP(mem_cleanup) struct row_value *many = mem_zeroed(SCAN_KEYS_MAX + 1, sizeof *many);
    for (size_t i = 0; i <= SCAN_KEYS_MAX; i++) {
        many[i] = twice[0];
    }
    const struct scan_filter equal = {fixture.id, SCAN_EQUAL, twice, 1};
    const struct scan_filter doubled = {fixture.id, SCAN_IN, twice, 2};
    const struct scan_filter other = {fixture.id, SCAN_NOT_EQUAL, twice, 1};
    const struct scan_filter most = {fixture.id, SCAN_IN, many, SCAN_KEYS_MAX};
    const struct {
        const char *name;
        const struct scan_filter *filter;
        bool found;
    } cases[] = {
        {"eq", &equal, true}, {"in", &doubled, true}, {"ne", &other, false}, {"most", &most, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        CLEANUP(scan_places_deinit) struct scan_places places = {0};
        bool found = false;
        cr_assert(scan_places_of_key(snapshot, cases[i].filter, 1, &places, &found, &err) ==
                  ERR_OK);
        cr_expect_eq(found, cases[i].found, "%s", cases[i].name);
        cr_expect_eq(places.count, cases[i].found ? 1 : 0, "%s: %zu", cases[i].name, places.count);
    }
    struct err err = {0};
    struct scan_places places = {0};
    bool found = true;
    const struct scan_filter over = {fixture.id, SCAN_IN, many, SCAN_KEYS_MAX + 1};
    cr_assert(scan_places_of_key(snapshot, &over, 1, &places, &found, &err) == ERR_OK);
    cr_expect_not(found, "too many combinations are scanned for");
    struct buffer lines;
    buffer_init(&lines, 1 << 20);
    const struct snapshot *const both[2] = {snapshot, snapshot};
    cr_expect_eq(listing(both, &equal, 1, 10, &lines), 1, "one row is visited");
    buffer_deinit(&lines);
    snapshot_release(&snapshot);
    fixture_remove(&fixture);
}
