#include "storage/catalog/dead_letters.h"

#include "storage/base/clock.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void set_up_small_quota(void)
{
    fixture.options.dead_letter_bytes_max = 1000;
    fixture_set_up();
}

TestSuite(dead_letters, .init = set_up_small_quota, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const struct record_error two_errors[] = {
    {.line = 3,
     .pointer = TEXT("/quantity"),
     .code = TEXT("type"),
     .message = TEXT("not a number"),
     .operation = FRAME_DELETE,
     .payload_start = 0,
     .payload_size = 100},
    {.line = 9,
     .code = TEXT("unknown_field"),
     .message = TEXT("m"),
     .payload_start = 100,
     .payload_size = 50},
};

static struct batch_accept refused_batch(void)
{
    struct batch_accept accept = fixture_batch(5, 2);
    accept.received = 7;
    accept.rejected = 2;
    accept.errors = two_errors;
    accept.errors_count = 2;
    accept.payloads = (struct location){.segment = 4, .offset = 48, .size = 150};
    return accept;
}

static struct dead_letter *list(const struct dead_letter_filter *filter, const struct id *after,
                                size_t limit, size_t *count)
{
    struct err err = {0};
    struct dead_letter *letters = NULL;
    cr_assert_eq(dead_letter_list(fixture.catalog, filter, after, limit, &fixture.arena, &letters,
                                  count, &err),
                 ERR_OK, "%s", err.msg);
    return letters;
}

static struct dead_letter get(const struct id *id)
{
    struct err err = {0};
    struct dead_letter letter;
    cr_assert_eq(dead_letter_get(fixture.catalog, id, &fixture.arena, &letter, &err), ERR_OK, "%s",
                 err.msg);
    return letter;
}

static struct lane_statistics lane(void)
{
    struct err err = {0};
    struct lane_statistics statistics;
    cr_assert_eq(lane_statistics(fixture.catalog, &fixture.table, &statistics, &err), ERR_OK);
    return statistics;
}

Test(dead_letters, keep_place_reason_and_payload)
{
    struct err err = {0};
    const struct batch_accept accept = refused_batch();
    int64_t position = fixture_accept(&accept);
    fixture_reopen();
    size_t count = 0;
    const struct dead_letter_filter all = {0};
    const struct dead_letter *letters = list(&all, NULL, 10, &count);
    cr_assert_eq(count, 2);
    struct dead_letter letter = get(&letters[1].id); /* newest first */
    cr_expect_eq(letter.line, 3);
    cr_expect_str_eq(letter.pointer, "/quantity");
    cr_expect_str_eq(letter.code, "type");
    cr_expect_str_eq(letter.message, "not a number");
    cr_expect_eq(letter.operation, FRAME_DELETE, "the record's, not its batch's");
    cr_expect_eq(letter.state, DEAD_LETTER_PENDING);
    cr_expect_eq(letter.batch_position, position);
    cr_expect_eq(letter.payload.segment, 4);
    cr_expect_eq(letter.payload.size, 150);
    cr_expect_eq(letter.payload_start, 0);
    cr_expect_eq(letter.payload_size, 100);
    cr_expect_str_eq(letter.batch.text, accept.id.text);
    cr_expect_str_eq(letter.principal.text, fixture.principal.text);
    cr_expect_eq(lane().dead_letter_count, 2);
    cr_expect_eq(lane().dead_letter_bytes, 150);
    int64_t floor = 0;
    cr_assert_eq(dead_letters_journal_floor(fixture.catalog, &floor, &err), ERR_OK);
    cr_expect_eq(floor, 4);

    struct batch_error *errors = NULL;
    cr_assert_eq(
        batch_errors(fixture.catalog, &accept.id, -1, 1, &fixture.arena, &errors, &count, &err),
        ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_eq(errors[0].line, 3);
    cr_assert_eq(batch_errors(fixture.catalog, &accept.id, errors[0].ordinal, 10, &fixture.arena,
                              &errors, &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(errors[0].code, "unknown_field");
    cr_expect_str_eq(errors[0].pointer, "");
}

Test(dead_letters, are_listed_by_filter_in_pages)
{
    struct err err = {0};
    struct batch_accept first = refused_batch();
    (void)fixture_accept(&first);
    for (int i = 0; i < 4; i++) {
        const struct batch_accept accept = refused_batch();
        (void)fixture_accept(&accept);
    }
    const struct dead_letter_filter all = {0};
    size_t total = 0;
    size_t count = 0;
    struct id last = {.text = ""};
    do {
        const struct dead_letter *letters = list(&all, total == 0 ? NULL : &last, 3, &count);
        for (size_t i = 0; i < count; i++) {
            cr_expect(total + i == 0 || strcmp(letters[i].id.text, last.text) < 0, "order");
            last = letters[i].id;
        }
        total += count;
    } while (count == 3);
    cr_expect_eq(total, 10);

    const struct {
        const char *name;
        struct dead_letter_filter filter;
        size_t expected;
    } cases[] = {
        {"table", {.table = fixture.table}, 10},
        {"other table", {.table = fixture.principal}, 0},
        {"batch", {.batch = first.id}, 2},
        {"code", {.code = "type"}, 5},
        {"table and code", {.table = fixture.table, .code = "type"}, 5},
        {"batch and code", {.batch = first.id, .code = "unknown_field"}, 1},
        {"principal", {.principal = fixture.principal}, 10},
        {"other principal", {.principal = fixture.table}, 0},
        {"state", {.state = DEAD_LETTER_PENDING}, 10},
        {"other state", {.state = DEAD_LETTER_APPLIED}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)list(&cases[i].filter, NULL, 100, &count);
        cr_expect_eq(count, cases[i].expected, "%s: %zu", cases[i].name, count);
    }
    struct dead_letter_group *groups = NULL;
    cr_assert_eq(
        dead_letter_groups(fixture.catalog, &all, 10, &fixture.arena, &groups, &count, &err),
        ERR_OK);
    cr_assert_eq(count, 2);
    cr_expect_eq(groups[0].count, 5);
    cr_expect_eq(groups[1].count, 5);
}

Test(dead_letters, obey_the_quota_of_their_table)
{
    struct err err = {0};
    int64_t position = 0;
    for (int i = 0; i < 6; i++) {
        const struct batch_accept accept = refused_batch();
        (void)fixture_accept(&accept);
    }
    const struct batch_accept over = refused_batch();
    cr_expect_eq(batch_accept(fixture.catalog, &over, &position, &err), ERR_NO_SPACE);
    cr_expect(strstr(err.msg, "900 of 1000 bytes") != NULL, "%s", err.msg);
    cr_expect_eq(lane().queued_count, 6, "the refused batch left something");
    const struct batch_accept good = fixture_batch(1, 1);
    (void)fixture_accept(&good);

    size_t count = 0;
    const struct dead_letter_filter all = {0};
    const struct dead_letter *letters = list(&all, NULL, 1, &count);
    cr_assert_eq(dead_letter_discard(fixture.catalog, &letters[0].id, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(dead_letter_discard(fixture.catalog, &letters[0].id, &err), ERR_CONFLICT);
    cr_expect_eq(lane().dead_letter_bytes, 850);
    (void)fixture_accept(&over);
    fixture_reopen();
    cr_expect_eq(lane().dead_letter_bytes, 1000);
    cr_expect_eq(lane().dead_letter_count, 13);
}

/* ---- replay ---- */

static struct dead_letter one_letter(void)
{
    const struct batch_accept accept = refused_batch();
    (void)fixture_accept(&accept);
    size_t count = 0;
    const struct dead_letter_filter of_batch = {.batch = accept.id, .code = "type"};
    const struct dead_letter *letters = list(&of_batch, NULL, 1, &count);
    cr_assert_eq(count, 1);
    return letters[0];
}

static enum err_code replay(const struct dead_letter *letter, bool forced,
                            struct batch_accept *accept_out, struct err *err)
{
    int64_t position = 0;
    *accept_out = fixture_batch(1, 3);
    return dead_letter_replay(fixture.catalog, &letter->id, forced, accept_out, &position, err);
}

static struct batch batch_of(const struct id *id)
{
    struct err err = {0};
    struct batch batch;
    cr_assert_eq(batch_get(fixture.catalog, id, &fixture.arena, &batch, &err), ERR_OK, "%s",
                 err.msg);
    return batch;
}

Test(dead_letters, are_replayed_exactly_once_at_their_original_position)
{
    struct err err = {0};
    struct batch_accept accept;
    struct batch_accept second;
    struct dead_letter letter = one_letter();
    const struct batch_accept between = fixture_batch(1, 1);
    (void)fixture_accept(&between);
    cr_assert_eq(replay(&letter, false, &accept, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(replay(&letter, true, &second, &err), ERR_CONFLICT);
    cr_expect(strstr(err.msg, "replaying") != NULL, "%s", err.msg);
    struct batch batch = batch_of(&accept.id);
    cr_expect(batch.replay);
    cr_expect_not(batch.forced);
    cr_expect_eq(batch.position, 3);
    cr_expect_eq(batch.order_position, 1);
    cr_expect_str_eq(get(&letter.id).replay_batch.text, accept.id.text);

    struct batch_outcome outcome = fixture_outcome(&batch, BATCH_INDEXED);
    fixture_finish(&outcome, 1);
    fixture_finish(&outcome, 1);
    cr_expect_eq(get(&letter.id).state, DEAD_LETTER_APPLIED);
    cr_expect_gt(get(&letter.id).resolved_at_us, 0);
    cr_expect_eq(lane().dead_letter_count, 1);
    cr_expect_eq(lane().dead_letter_bytes, 50);
    cr_expect_eq(replay(&letter, true, &second, &err), ERR_CONFLICT, "applied twice");
    cr_expect_eq(dead_letter_discard(fixture.catalog, &letter.id, &err), ERR_CONFLICT);
}

Test(dead_letters, settle_by_what_the_replay_came_to)
{
    static const struct {
        const char *name;
        enum batch_state state;
        int64_t applied, superseded, rejected;
        enum dead_letter_state expected;
        const char *code;
    } cases[] = {
        {"applied", BATCH_INDEXED, 1, 0, 0, DEAD_LETTER_APPLIED, "type"},
        {"nothing to do", BATCH_INDEXED, 0, 0, 0, DEAD_LETTER_APPLIED, "type"},
        {"superseded", BATCH_COMMITTED, 0, 1, 0, DEAD_LETTER_SUPERSEDED, "type"},
        {"rejected", BATCH_INDEXED, 0, 0, 1, DEAD_LETTER_PENDING, "key_exists"},
        {"failed", BATCH_FAILED, 0, 0, 0, DEAD_LETTER_PENDING, "poison"},
    };
    static const struct record_error key_exists = {
        .line = 1, .code = TEXT("key_exists"), .message = TEXT("present"), .payload_size = -1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        struct batch_accept accept;
        struct dead_letter letter = one_letter();
        int64_t letters_before = lane().dead_letter_count;
        cr_assert_eq(replay(&letter, false, &accept, &err), ERR_OK, "%s", err.msg);
        struct batch batch = batch_of(&accept.id);
        struct batch_outcome outcome = fixture_outcome(&batch, cases[i].state);
        outcome.applied = cases[i].applied;
        outcome.superseded = cases[i].superseded;
        outcome.rejected_at_merge = cases[i].rejected;
        outcome.errors = &key_exists;
        outcome.errors_count = cases[i].rejected > 0 ? 1 : 0;
        outcome.failure = "poison";
        fixture_finish(&outcome, 1);
        letter = get(&letter.id);
        cr_expect_eq(letter.state, cases[i].expected, "%s", cases[i].name);
        cr_expect_str_eq(letter.code, cases[i].code, "%s", cases[i].name);
        int64_t freed = cases[i].expected == DEAD_LETTER_APPLIED ? 1 : 0;
        cr_expect_eq(lane().dead_letter_count, letters_before - freed, "%s", cases[i].name);
    }
}

Test(dead_letters, superseded_ones_need_force)
{
    struct err err = {0};
    struct batch_accept accept;
    struct dead_letter letter = one_letter();
    cr_assert_eq(replay(&letter, false, &accept, &err), ERR_OK);
    struct batch batch = batch_of(&accept.id);
    struct batch_outcome outcome = fixture_outcome(&batch, BATCH_INDEXED);
    outcome.applied = 0;
    outcome.superseded = 1;
    fixture_finish(&outcome, 1);
    cr_expect_eq(replay(&letter, false, &accept, &err), ERR_CONFLICT);
    cr_expect(strstr(err.msg, "force") != NULL, "%s", err.msg);
    cr_assert_eq(replay(&letter, true, &accept, &err), ERR_OK, "%s", err.msg);
    cr_expect(batch_of(&accept.id).forced);
}

Test(dead_letters, merges_and_poison_make_them_too)
{
    static const struct record_error key_exists = {
        .line = 2, .code = TEXT("key_exists"), .message = TEXT("present"), .payload_size = 40};
    struct err err = {0};
    struct batch_accept accepts[2] = {fixture_batch(3, 1), fixture_batch(3, 1)};
    (void)fixture_accept(&accepts[0]);
    (void)fixture_accept(&accepts[1]);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    struct batch_outcome outcomes[2] = {fixture_outcome(&queued[0], BATCH_INDEXED),
                                        fixture_outcome(&queued[1], BATCH_FAILED)};
    outcomes[0].applied = 2;
    outcomes[0].rejected_at_merge = 1;
    outcomes[0].errors = &key_exists;
    outcomes[0].errors_count = 1;
    outcomes[0].payloads = (struct location){.segment = 1, .offset = 48, .size = 40};
    outcomes[1].failure = "poison";
    outcomes[1].failure_message = "merging it ended the process twice";
    outcomes[1].payloads = (struct location){.segment = 1, .offset = 120, .size = 1000};
    fixture_finish(outcomes, 2);
    fixture_finish(outcomes, 2);
    cr_expect_str_eq(batch_of(&accepts[1].id).failure, "poison");
    cr_expect_eq(batch_of(&accepts[1].id).state, BATCH_FAILED);
    const struct dead_letter_filter all = {0};
    const struct dead_letter *letters = list(&all, NULL, 10, &count);
    cr_assert_eq(count, 2, "%zu", count);
    cr_expect_str_eq(letters[0].code, "poison");
    cr_expect_eq(letters[0].line, 0);
    cr_expect_eq(letters[0].payload_size, 1000);
    cr_expect_str_eq(letters[1].code, "key_exists");
    cr_expect_eq(lane().queued_count, 0);
    cr_expect_eq(lane().dead_letter_bytes, 1040, "over the quota, but never dropped");
    struct batch_error *errors = NULL;
    cr_assert_eq(batch_errors(fixture.catalog, &accepts[0].id, -1, 10, &fixture.arena, &errors,
                              &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
}

/* ---- retention ---- */

Test(dead_letters, open_ones_keep_their_piece_for_their_own_time)
{
    struct err err = {0};
    int64_t dropped = 0;
    int64_t early = 0;
    int64_t start_us = INT64_C(1800000000) * 1000000;
    clock_freeze_wall(start_us);
    struct dead_letter letter = one_letter();
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    const struct batch_outcome outcome = fixture_outcome(&queued[0], BATCH_INDEXED);
    fixture_finish(&outcome, 1);
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK);
    cr_expect_eq(dropped, 1, "the empty piece of the fixture's own day goes");

    clock_freeze_wall(start_us + 20 * day_us);
    const struct batch_accept roll = fixture_batch(1, 1);
    (void)fixture_accept(&roll);
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK);
    cr_expect_eq(dropped, 0);
    /* A replay of an old letter lies in the letter's piece and is queued like any other. */
    struct batch_accept accept;
    cr_assert_eq(replay(&letter, false, &accept, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(batch_of(&accept.id).piece, letter.piece);
    queued = fixture_queued(&count);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(queued[1].id.text, accept.id.text);

    clock_freeze_wall(start_us + 100 * day_us);
    const struct batch_accept again = fixture_batch(1, 1);
    (void)fixture_accept(&again);
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK);
    cr_expect_eq(dropped, 0, "an unfinished replay went");
    const struct batch_outcome done = fixture_outcome(&queued[1], BATCH_INDEXED);
    fixture_finish(&done, 1);
    cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK);
    cr_expect_eq(dropped, 1);
    cr_expect_eq(early, 0);
    cr_expect_eq(lane().dead_letter_count, 0, "what went still counts");
    struct dead_letter gone;
    cr_expect_eq(dead_letter_get(fixture.catalog, &letter.id, &fixture.arena, &gone, &err),
                 ERR_NOT_FOUND);
    clock_freeze_wall(-1);
}
