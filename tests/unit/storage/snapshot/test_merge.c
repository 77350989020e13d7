/*
 * The rules of merging, one story each.
 */
#include "tests/unit/storage/snapshot/fixture.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"

#include <criterion/criterion.h>

static const struct fixture_options keyed = {.merge = TABLE_DELETION_VECTORS, .sequence = true};

/* What lookup_keys says of "a". */
static void expect_row(const struct fixture *fixture, const char *when, const char *expected)
{
    struct buffer text;
    buffer_init(&text, 4096);
    fixture_lookup(fixture, "a", &text);
    buffer_append_byte(&text, '\0');
    cr_expect_str_eq((const char *)text.data, expected, "%s: %s", when, (const char *)text.data);
    buffer_deinit(&text);
}

#define ROW(u, n)                                                                                  \
    "{\"id\":\"a\",\"updated\":" #u ",\"amount\":" #n                                              \
    ",\"note\":null,\"region\":null,\"member\":null}"

Test(merge, decides_by_sequence)
{
    static const struct {
        const char *name;
        struct record_words records[4];
        size_t count;
        int64_t applied;
        int64_t superseded;
        int64_t rejected;
        const char *expected;
    } cases[] = {
        {"insert", {{FRAME_UPSERT, "a", 1, 10, NULL, NULL, NULL}}, 1, 1, 0, 0, ROW(1, 10)},
        {"later wins",
         {{FRAME_UPSERT, "a", 1, 10, NULL, NULL, NULL},
          {FRAME_UPSERT, "a", 2, 20, NULL, NULL, NULL}},
         2,
         2,
         0,
         0,
         ROW(2, 20)},
        {"older loses",
         {{FRAME_UPSERT, "a", 2, 20, NULL, NULL, NULL},
          {FRAME_UPSERT, "a", 1, 10, NULL, NULL, NULL}},
         2,
         1,
         1,
         0,
         ROW(2, 20)},
        {"equal: the later one",
         {{FRAME_UPSERT, "a", 2, 20, NULL, NULL, NULL},
          {FRAME_UPSERT, "a", 2, 30, NULL, NULL, NULL}},
         2,
         2,
         0,
         0,
         ROW(2, 30)},
        {"delete",
         {{FRAME_UPSERT, "a", 2, 20, NULL, NULL, NULL},
          {FRAME_DELETE, "a", 3, 0, NULL, NULL, NULL}},
         2,
         2,
         0,
         0,
         ""},
        {"a deleted row stays away",
         {{FRAME_UPSERT, "a", 2, 20, NULL, NULL, NULL},
          {FRAME_DELETE, "a", 4, 0, NULL, NULL, NULL},
          {FRAME_UPSERT, "a", 3, 30, NULL, NULL, NULL}},
         3,
         2,
         1,
         0,
         ""},
        {"delete before its insert",
         {{FRAME_DELETE, "a", 4, 0, NULL, NULL, NULL},
          {FRAME_INSERT, "a", 3, 30, NULL, NULL, NULL}},
         2,
         1,
         1,
         0,
         ""},
        {"a newer one brings it back",
         {{FRAME_DELETE, "a", 4, 0, NULL, NULL, NULL},
          {FRAME_INSERT, "a", 5, 30, NULL, NULL, NULL}},
         2,
         2,
         0,
         0,
         ROW(5, 30)},
        {"insert of a live key",
         {{FRAME_UPSERT, "a", 4, 40, NULL, NULL, NULL},
          {FRAME_INSERT, "a", 5, 30, NULL, NULL, NULL}},
         2,
         1,
         0,
         1,
         ROW(4, 40)},
        {"patch keeps fields",
         {{FRAME_UPSERT, "a", 4, 40, NULL, NULL, NULL},
          {FRAME_PATCH, "a", 5, INT32_MIN, NULL, "-", "-"}},
         2,
         2,
         0,
         0,
         ROW(5, 40)},
        {"patch sets null",
         {{FRAME_UPSERT, "a", 4, 40, NULL, NULL, NULL},
          {FRAME_PATCH, "a", 5, INT32_MAX, "-", "-", "-"}},
         2,
         2,
         0,
         0,
         ROW(5, null)},
        {"patch of an absent key",
         {{FRAME_PATCH, "a", 5, 50, "-", "-", "-"}},
         1,
         1,
         0,
         0,
         ROW(5, 50)},
        {"old patch",
         {{FRAME_UPSERT, "a", 4, 40, NULL, NULL, NULL}, {FRAME_PATCH, "a", 3, 1, "-", "-", "-"}},
         2,
         1,
         1,
         0,
         ROW(4, 40)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* All in one commit, and each record in a commit of its own. */
        for (int split = 0; split < 2; split++) {
            struct fixture fixture = fixture_make(&keyed);
            size_t step = split == 0 ? cases[i].count : 1;
            int64_t applied = 0;
            int64_t superseded = 0;
            int64_t rejected = 0;
            for (size_t at = 0; at < cases[i].count; at += step) {
                struct frame *frame = fixture_frame(&fixture, cases[i].records + at, step);
                struct merge_outcome outcome = fixture_merge(&fixture, frame);
                applied += outcome.batches[0].applied;
                superseded += outcome.batches[0].superseded;
                rejected += (int64_t)outcome.batches[0].rejections_count;
                merge_outcome_deinit(&outcome);
                frame_free(&frame);
            }
            cr_expect_eq(applied, cases[i].applied, "%s: applied %lld", cases[i].name,
                         (long long)applied);
            cr_expect_eq(superseded, cases[i].superseded, "%s: superseded", cases[i].name);
            cr_expect_eq(rejected, cases[i].rejected, "%s: rejected", cases[i].name);
            expect_row(&fixture, cases[i].name, cases[i].expected);
            fixture_verify(&fixture, cases[i].name);
            fixture_remove(&fixture);
        }
    }
}
