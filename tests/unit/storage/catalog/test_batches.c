#include "storage/catalog/batches.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/catalog/dead_letters.h"
#include "storage/catalog/tables.h"
#include "tests/unit/storage/catalog/fixture.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

TestSuite(batches, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;

static struct batch get(const struct id *id)
{
    struct err err = {0};
    struct batch batch;
    cr_assert_eq(batch_get(fixture.catalog, id, &fixture.arena, &batch, &err), ERR_OK, "%s",
                 err.msg);
    return batch;
}

static struct lane_statistics lane(void)
{
    struct err err = {0};
    struct lane_statistics statistics;
    cr_assert_eq(lane_statistics(fixture.catalog, &fixture.table, &statistics, &err), ERR_OK);
    return statistics;
}

/* ---- acceptance ---- */

Test(batches, keeps_what_was_accepted)
{
    struct batch_accept accept = fixture_batch(998, 5);
    accept.received = 1000;
    accept.rejected = 2;
    accept.operation = FRAME_PATCH;
    int64_t position = fixture_accept(&accept);
    fixture_reopen();
    struct batch batch = get(&accept.id);
    cr_expect_str_eq(batch.id.text, accept.id.text);
    cr_expect_str_eq(batch.table.text, fixture.table.text);
    cr_expect_str_eq(batch.principal.text, fixture.principal.text);
    cr_expect_eq(batch.position, position);
    cr_expect_eq(batch.order_position, position);
    cr_expect_eq(batch.operation, FRAME_PATCH);
    cr_expect_eq(batch.state, BATCH_DURABLE);
    cr_expect_eq(batch.schema_version, 3);
    cr_expect_eq(batch.received, 1000);
    cr_expect_eq(batch.accepted, 998);
    cr_expect_eq(batch.rejected, 2);
    cr_expect_eq(batch.version, -1);
    cr_expect_eq(batch.frame.segment, 5);
    cr_expect_eq(batch.frame.size, 1000);
    cr_expect_eq(memcmp(batch.body_sha256, accept.body_sha256, sizeof batch.body_sha256), 0);
    cr_expect_eq(batch.crashes + batch.interruptions, 0);
    cr_expect_null(batch.failure);
    cr_expect_eq(lane().queued_count, 1);
    cr_expect_eq(lane().queued_records, 998);
    struct err err = {0};
    struct id nobody = id_new_ordered();
    cr_expect_eq(batch_get(fixture.catalog, &nobody, &fixture.arena, &batch, &err), ERR_NOT_FOUND);
}

Test(batches, gives_rising_positions_over_pieces_restarts_and_retention)
{
    struct err err = {0};
    int64_t start_us = INT64_C(1800000000) * 1000000;
    int64_t last = 0;
    int64_t dropped = 0;
    int64_t early = 0;
    for (int day = 0; day < 12; day++) {
        clock_freeze_wall(start_us + day * day_us);
        for (int i = 0; i < 3; i++) {
            const struct batch_accept accept = fixture_batch(1, 1);
            int64_t position = fixture_accept(&accept);
            cr_expect_gt(position, last, "day %d", day);
            last = position;
        }
        size_t count = 0;
        const struct batch *queued = fixture_queued(&count);
        cr_assert_eq(count, 3);
        for (size_t i = 0; i < count; i++) {
            const struct batch_outcome outcome = fixture_outcome(&queued[i], BATCH_INDEXED);
            fixture_finish(&outcome, 1);
        }
        cr_assert_eq(catalog_retain(fixture.catalog, &dropped, &early, &err), ERR_OK, "%s",
                     err.msg);
        fixture_reopen();
    }
    struct catalog_statistics statistics;
    catalog_statistics(fixture.catalog, &statistics);
    cr_expect_leq(statistics.pieces_count, 10);
    cr_expect_geq(statistics.pieces_count, 8);
    clock_freeze_wall(-1);
}

Test(batches, an_all_refused_batch_is_finished_at_once)
{
    struct batch_accept accept = fixture_batch(0, 0);
    accept.received = 4;
    accept.rejected = 4;
    (void)fixture_accept(&accept);
    struct batch batch = get(&accept.id);
    cr_expect_eq(batch.state, BATCH_INDEXED);
    cr_expect_eq(lane().queued_count, 0);
    size_t count = 9;
    (void)fixture_queued(&count);
    cr_expect_eq(count, 0);
}

/* ---- idempotency ---- */

static struct idempotency_key key_of(const char *text)
{
    struct idempotency_key key;
    idempotency_key_of(&fixture.principal, "POST", "/v1/tables/claims/batches", span_of_text(text),
                       &key);
    return key;
}

static enum idempotency_outcome begin(const struct idempotency_key *key, uint8_t body,
                                      struct idempotency_answer *answer)
{
    struct err err = {0};
    const uint8_t sha256[BATCH_SHA256_BYTES] = {body};
    enum idempotency_outcome outcome;
    cr_assert_eq(
        idempotency_begin(fixture.catalog, key, sha256, &fixture.arena, &outcome, answer, &err),
        ERR_OK, "%s", err.msg);
    return outcome;
}

Test(batches, an_idempotency_key_answers_once_and_is_kept_seven_days)
{
    struct idempotency_key key = key_of("order-1");
    struct idempotency_key other = key_of("order-2");
    struct idempotency_answer answer;
    int64_t start_us = INT64_C(1800000000) * 1000000;
    clock_freeze_wall(start_us);
    cr_assert_eq(begin(&key, 1, &answer), IDEMPOTENCY_FRESH);
    cr_expect_eq(begin(&key, 1, &answer), IDEMPOTENCY_IN_FLIGHT);
    cr_expect_eq(begin(&other, 1, &answer), IDEMPOTENCY_FRESH);
    idempotency_end(fixture.catalog, &other);

    struct batch_accept accept = fixture_batch(1, 1);
    memset(accept.body_sha256, 0, sizeof accept.body_sha256);
    accept.body_sha256[0] = 1;
    accept.key = &key;
    (void)fixture_accept(&accept);
    idempotency_end(fixture.catalog, &key);

    for (int day = 0; day < 7; day++) {
        clock_freeze_wall(start_us + day * day_us);
        cr_assert_eq(begin(&key, 1, &answer), IDEMPOTENCY_REPLAY, "day %d", day);
        cr_expect_eq(answer.status, 202);
        cr_expect_str_eq(answer.batch.text, accept.id.text);
        cr_expect_eq(begin(&key, 2, &answer), IDEMPOTENCY_MISMATCH);
        const struct batch_accept another = fixture_batch(1, 1); /* rolls the piece */
        (void)fixture_accept(&another);
        fixture_reopen();
    }
    clock_freeze_wall(start_us + 8 * day_us);
    cr_expect_eq(begin(&key, 2, &answer), IDEMPOTENCY_FRESH, "kept too long");
    idempotency_end(fixture.catalog, &key);
    clock_freeze_wall(-1);
}

Test(batches, an_idempotency_key_belongs_to_principal_method_and_path)
{
    struct idempotency_key keys[5];
    struct id other = id_new_random();
    struct span text = span_of_text("k");
    idempotency_key_of(&fixture.principal, "POST", "/a", text, &keys[0]);
    idempotency_key_of(&other, "POST", "/a", text, &keys[1]);
    idempotency_key_of(&fixture.principal, "PUT", "/a", text, &keys[2]);
    idempotency_key_of(&fixture.principal, "POST", "/b", text, &keys[3]);
    idempotency_key_of(&fixture.principal, "POST", "/a", span_of_text("l"), &keys[4]);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < i; j++) {
            cr_expect_neq(memcmp(&keys[i], &keys[j], sizeof keys[i]), 0, "%d %d", i, j);
        }
    }
}

Test(batches, a_stored_answer_without_batch_is_replayed)
{
    struct err err = {0};
    struct idempotency_key key = key_of("bad-1");
    struct idempotency_answer answer;
    const uint8_t sha256[BATCH_SHA256_BYTES] = {7};
    cr_assert_eq(begin(&key, 7, &answer), IDEMPOTENCY_FRESH);
    cr_assert_eq(idempotency_store(fixture.catalog, &key, sha256, 422,
                                   span_of_text("{\"code\":\"strict\"}"), &err),
                 ERR_OK, "%s", err.msg);
    idempotency_end(fixture.catalog, &key);
    cr_assert_eq(begin(&key, 7, &answer), IDEMPOTENCY_REPLAY);
    cr_expect_eq(answer.status, 422);
    cr_expect_str_eq(answer.batch.text, "");
    cr_expect(span_equal_text(answer.body, "{\"code\":\"strict\"}"));
    /* A second store of the same key is refused, whoever tries. */
    cr_expect_eq(idempotency_store(fixture.catalog, &key, sha256, 422, (struct span){0}, &err),
                 ERR_CONFLICT);
}

enum { RACE_THREADS = 8, RACE_KEYS = 50 };

static _Atomic int race_accepted[RACE_KEYS];

/* Everybody tries every key until it is answered: each may be accepted once. */
static void *race(void *arg)
{
    (void)arg;
    for (int i = 0; i < RACE_KEYS; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "race-%d", i);
        struct idempotency_key key = key_of(text);
        const uint8_t sha256[BATCH_SHA256_BYTES] = {9};
        for (;;) {
            struct err err = {0};
            struct arena arena;
            enum idempotency_outcome outcome;
            struct idempotency_answer answer;
            arena_init(&arena, 1 << 16);
            cr_assert_eq(
                idempotency_begin(fixture.catalog, &key, sha256, &arena, &outcome, &answer, &err),
                ERR_OK);
            arena_deinit(&arena);
            if (outcome == IDEMPOTENCY_REPLAY) {
                break;
            }
            if (outcome == IDEMPOTENCY_FRESH) {
                struct batch_accept accept = fixture_batch(1, 1);
                memcpy(accept.body_sha256, sha256, sizeof sha256);
                accept.key = &key;
                (void)fixture_accept(&accept);
                atomic_fetch_add(&race_accepted[i], 1);
                idempotency_end(fixture.catalog, &key);
            }
        }
    }
    return NULL;
}

Test(batches, racing_retries_are_accepted_once)
{
    pthread_t threads[RACE_THREADS];
    for (int i = 0; i < RACE_THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, race, NULL), 0);
    }
    for (int i = 0; i < RACE_THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < RACE_KEYS; i++) {
        cr_expect_eq(atomic_load(&race_accepted[i]), 1, "key %d", i);
    }
    cr_expect_eq(lane().queued_count, RACE_KEYS);
    cr_expect_eq(lane().position_last, RACE_KEYS);
}

/* ---- the queue ---- */

Test(batches, queue_is_bounded_by_count_and_bytes_but_never_empty)
{
    struct err err = {0};
    struct batch *batches = NULL;
    size_t count = 0;
    for (int i = 0; i < 10; i++) {
        const struct batch_accept accept = fixture_batch(2, 1 + i);
        (void)fixture_accept(&accept);
    }
    static const struct {
        int64_t after;
        size_t count_max;
        int64_t bytes_max;
        size_t expected;
        int64_t first;
    } cases[] = {
        {0, 100, INT64_MAX, 10, 1}, {0, 3, INT64_MAX, 3, 1},   {0, 100, 2500, 2, 1},
        {0, 100, 1, 1, 1},          {4, 100, INT64_MAX, 6, 5}, {10, 100, INT64_MAX, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(batches_queued(fixture.catalog, &fixture.table, cases[i].after,
                                    cases[i].count_max, cases[i].bytes_max, &fixture.arena,
                                    &batches, &count, &err),
                     ERR_OK);
        cr_expect_eq(count, cases[i].expected, "case %zu: %zu", i, count);
        if (count > 0) {
            cr_expect_eq(batches[0].position, cases[i].first, "case %zu", i);
        }
    }
    int64_t floor = 0;
    cr_assert_eq(batches_journal_floor(fixture.catalog, &floor, &err), ERR_OK);
    cr_expect_eq(floor, 1);
}

Test(batches, outcomes_climb_the_ladder_once)
{
    struct err err = {0};
    struct batch_accept accepts[3];
    for (int i = 0; i < 3; i++) {
        accepts[i] = fixture_batch(10, 1 + i);
        (void)fixture_accept(&accepts[i]);
    }
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    struct batch_outcome outcomes[2] = {fixture_outcome(&queued[0], BATCH_COMMITTED),
                                        fixture_outcome(&queued[1], BATCH_INDEXED)};
    outcomes[0].applied = 7;
    outcomes[0].superseded = 3;
    fixture_finish(outcomes, 2);
    fixture_finish(outcomes, 2); /* as after a crash between commit and answer */
    cr_expect_eq(lane().queued_count, 1);
    cr_expect_eq(lane().queued_bytes, 1000);
    struct batch batch = get(&accepts[0].id);
    cr_expect_eq(batch.state, BATCH_COMMITTED);
    cr_expect_eq(batch.version, 7);
    cr_expect_eq(batch.applied, 7);
    cr_expect_eq(batch.superseded, 3);
    cr_expect_gt(batch.finished_at_us, 0);
    cr_expect_eq(get(&accepts[1].id).state, BATCH_INDEXED);

    struct batch *committed = NULL;
    cr_assert_eq(batches_committed(fixture.catalog, &fixture.table, 10, &fixture.arena, &committed,
                                   &count, &err),
                 ERR_OK);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(committed[0].id.text, accepts[0].id.text);
    cr_assert_eq(batches_mark_indexed(fixture.catalog, &fixture.table, 6, &err), ERR_OK);
    cr_expect_eq(get(&accepts[0].id).state, BATCH_COMMITTED);
    cr_assert_eq(batches_mark_indexed(fixture.catalog, &fixture.table, 7, &err), ERR_OK);
    cr_expect_eq(get(&accepts[0].id).state, BATCH_INDEXED);
    int64_t floor = 0;
    cr_assert_eq(batches_journal_floor(fixture.catalog, &floor, &err), ERR_OK);
    cr_expect_eq(floor, 3);
}

Test(batches, a_foreign_overwrite_sends_them_back_at_their_positions)
{
    struct err err = {0};
    struct batch_accept accepts[3];
    for (int i = 0; i < 3; i++) {
        accepts[i] = fixture_batch(10, 1);
        (void)fixture_accept(&accepts[i]);
        size_t count = 0;
        const struct batch *queued = fixture_queued(&count);
        struct batch_outcome outcome =
            fixture_outcome(&queued[0], i == 1 ? BATCH_COMMITTED : BATCH_INDEXED);
        outcome.version = 5 + i;
        fixture_finish(&outcome, 1);
    }
    int64_t requeued = 0;
    cr_assert_eq(batches_requeue(fixture.catalog, &fixture.table, 6, &requeued, &err), ERR_OK);
    cr_expect_eq(requeued, 2);
    cr_expect_eq(lane().queued_count, 2);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 2);
    cr_expect_eq(queued[0].position, 2);
    cr_expect_eq(queued[1].position, 3);
    cr_expect_eq(queued[1].version, -1);
    fixture_reopen();
    cr_expect_eq(lane().queued_count, 2);
}

Test(batches, tables_with_work_are_known_at_start)
{
    struct err err = {0};
    struct id *tables = NULL;
    size_t count = 0;
    struct id idle = id_new_random();
    struct id committed = id_new_random();
    cr_assert_eq(catalog_table_create(fixture.catalog, "idle", &idle, "{}", 1, &err), ERR_OK);
    cr_assert_eq(catalog_table_create(fixture.catalog, "committed", &committed, "{}", 1, &err),
                 ERR_OK);
    struct batch_accept accept = fixture_batch(1, 1);
    (void)fixture_accept(&accept);
    accept = fixture_batch(1, 1);
    accept.table = committed;
    (void)fixture_accept(&accept);
    const struct batch_outcome outcome = {
        .id = accept.id, .state = BATCH_COMMITTED, .version = 1, .applied = 1};
    cr_assert_eq(batches_finish(fixture.catalog, &committed, &outcome, 1, &err), ERR_OK, "%s",
                 err.msg);
    fixture_reopen();
    cr_assert_eq(lanes_with_work(fixture.catalog, &fixture.arena, &tables, &count, &err), ERR_OK);
    cr_assert_eq(count, 2);
    for (size_t i = 0; i < count; i++) {
        cr_expect_neq(strcmp(tables[i].text, idle.text), 0);
    }
}

/* ---- attempts ---- */

Test(batches, attempts_that_end_with_the_process_are_charged)
{
    struct batch_accept accepts[3];
    for (int i = 0; i < 3; i++) {
        accepts[i] = fixture_batch(1, 1);
        (void)fixture_accept(&accepts[i]);
    }
    /* A process that is killed: nothing of the attempt is ended. */
    batches_begin_attempt(fixture.catalog, &fixture.table, 1, 2);
    fixture_reopen();
    cr_expect_eq(get(&accepts[0].id).interruptions, 1);
    cr_expect_eq(get(&accepts[1].id).interruptions, 1);
    cr_expect_eq(get(&accepts[2].id).interruptions, 0);
    fixture_reopen();
    cr_expect_eq(get(&accepts[0].id).interruptions, 1, "charged twice for one");

    /* A merge that dies of its own signal. */
    batches_begin_attempt(fixture.catalog, &fixture.table, 1, 1);
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq(get(&accepts[0].id).crashes, 1);
    cr_expect_eq(get(&accepts[0].id).interruptions, 1);

    /* One that ended well, one that was given up, and a crash of a thread that merges nothing. */
    batches_begin_attempt(fixture.catalog, &fixture.table, 1, 3);
    batches_end_attempt(fixture.catalog, &fixture.table);
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq(get(&accepts[0].id).crashes, 1);
    batches_begin_attempt(fixture.catalog, &fixture.table, 1, 1);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    const struct batch_outcome outcome = fixture_outcome(&queued[0], BATCH_INDEXED);
    fixture_finish(&outcome, 1);
    catalog_mark_crash();
    fixture_reopen();
    cr_expect_eq(get(&accepts[0].id).crashes, 1);
    cr_expect_eq(get(&accepts[1].id).interruptions, 1);
}

/* ---- group commit ---- */

enum { GROUP_THREADS = 16, GROUP_ACCEPTS = 100 };

static void *accept_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < GROUP_ACCEPTS; i++) {
        const struct batch_accept accept = fixture_batch(1, 1);
        (void)fixture_accept(&accept);
    }
    return NULL;
}

Test(batches, many_accepts_share_commits)
{
    pthread_t threads[GROUP_THREADS];
    struct catalog_statistics before;
    struct catalog_statistics after;
    catalog_statistics(fixture.catalog, &before);
    int64_t started_us = clock_monotonic_us();
    for (int i = 0; i < GROUP_THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, accept_many, NULL), 0);
    }
    for (int i = 0; i < GROUP_THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    int64_t took_us = clock_monotonic_us() - started_us;
    catalog_statistics(fixture.catalog, &after);
    int64_t commits = after.commits_count - before.commits_count;
    cr_expect_lt(commits, GROUP_THREADS * GROUP_ACCEPTS / 2);
    cr_expect_eq(lane().queued_count, GROUP_THREADS * GROUP_ACCEPTS);
    cr_expect_eq(lane().position_last, GROUP_THREADS * GROUP_ACCEPTS);
    cr_log_info("%.0f accepts/s in %" PRId64 " commits",
                GROUP_THREADS * GROUP_ACCEPTS * 1e6 / (double)took_us, commits);
}

Test(batches, rows_may_order_below_their_position_and_letters_do_not)
{
    struct err err = {0};
    int64_t first = 0;
    int64_t second = 0;
    struct batch_accept plain = fixture_batch(1, 1);
    cr_assert_eq(batch_accept(fixture.catalog, &plain, &first, &err), ERR_OK, "%s", err.msg);
    /* just above all that is there: the position itself is passed over */
    struct batch_accept ordered = fixture_batch(1, 1);
    ordered.order_position = first + 1;
    cr_assert_eq(batch_accept(fixture.catalog, &ordered, &second, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(second, first + 2);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 2);
    cr_expect_eq(queued[0].order_position, first);
    cr_expect_eq(queued[1].order_position, first + 1);
    cr_expect_eq(queued[1].position, first + 2);
}

/* ---- acceptances that nobody waits for ---- */

enum { LATER = 50 };

/* What the answering thread told, in the order it told it. */
static struct told {
    enum err_code code;
    int64_t queued; /* batches in the lane by then */
} told[LATER + 1];
static int told_count;
static struct latch all_told;

static void count_told(void)
{
    told_count++;
    if (told_count == LATER + 1) {
        latch_open(&all_told, 1);
    }
}

static void tell(void *arg, enum err_code code)
{
    (void)arg;
    struct lane_statistics lane = {0};
    struct err err = {0};
    cr_assert_eq(lane_statistics(fixture.catalog, &fixture.table, &lane, &err), ERR_OK);
    told[told_count] = (struct told){.code = code, .queued = lane.queued_count};
    count_told();
}

Test(batches, tells_those_that_do_not_wait)
{
    struct err errs[LATER + 1] = {0};
    for (int i = 0; i <= LATER; i++) {
        struct batch_accept accept = fixture_batch(1, 1 + i);
        if (i == LATER / 2) {
            accept.table = id_new_random(); /* one that is refused among the others */
        }
        cr_assert_eq(batch_accept_later(fixture.catalog, &accept, tell, NULL, &errs[i]), ERR_OK);
    }
    (void)latch_wait(&all_told);
    for (int i = 0; i <= LATER; i++) {
        int64_t accepted = i < LATER / 2 ? i + 1 : i;
        cr_expect_eq(told[i].code, i == LATER / 2 ? ERR_NOT_FOUND : ERR_OK, "%d", i);
        cr_expect_eq(errs[i].code, told[i].code);
        cr_expect_geq(told[i].queued, accepted, "told only when it is there");
    }
    size_t count = 0;
    (void)fixture_queued(&count);
    cr_expect_eq(count, (size_t)LATER);
    fixture_reopen();
    (void)fixture_queued(&count);
    cr_expect_eq(count, (size_t)LATER);
}

static void note_code(void *arg, enum err_code code)
{
    *(enum err_code *)arg = code;
    count_told();
}

/* Fails behind the row of its batch, in the middle of a group: nothing of it is left, all of the
 * others. */
Test(batches, one_that_fails_half_way_takes_nobody_with_it)
{
    fixture_hold_promises();
    struct err errs[LATER + 1] = {0};
    enum err_code codes[LATER + 1];
    struct batch_accept accepts[LATER + 1];
    const struct idempotency_key key = key_of("order-1");
    for (int i = 0; i <= LATER; i++) { /* the first one is held; the others wait in one group */
        accepts[i] = fixture_batch(1, 1 + i);
        accepts[i].key = i == 2 || i == LATER / 2 ? &key : NULL;
        cr_assert_eq(
            batch_accept_later(fixture.catalog, &accepts[i], note_code, &codes[i], &errs[i]),
            ERR_OK);
        fixture_wait_for_promise();
    }
    fixture_let_promises_go();
    (void)latch_wait(&all_told);
    struct catalog_statistics statistics;
    catalog_statistics(fixture.catalog, &statistics);
    cr_expect_eq(statistics.commits_count, 2); /* the first, the others */
    for (int turn = 0; turn < 2; turn++) {
        int64_t bytes = 0;
        for (int i = 0; i <= LATER; i++) {
            bool fails = i == LATER / 2;
            struct batch batch;
            struct err err = {0};
            cr_expect_eq(codes[i], fails ? ERR_CONFLICT : ERR_OK, "%d", i);
            cr_expect_eq(errs[i].code, codes[i]);
            cr_expect_eq(batch_get(fixture.catalog, &accepts[i].id, &fixture.arena, &batch, &err),
                         fails ? ERR_NOT_FOUND : ERR_OK);
            bytes += fails ? 0 : accepts[i].frame.size;
        }
        cr_expect_eq(lane().queued_count, LATER);
        cr_expect_eq(lane().queued_bytes, bytes);
        cr_expect_eq(lane().queued_records, LATER);
        fixture_reopen();
    }
}

static _Atomic int closed_count;

static void count_closed(void *arg, enum err_code code)
{
    (void)arg;
    cr_assert_eq(code, ERR_OK);
    atomic_fetch_add(&closed_count, 1);
}

Test(batches, tells_everybody_before_it_closes)
{
    struct err errs[LATER] = {0};
    for (int i = 0; i < LATER; i++) {
        const struct batch_accept accept = fixture_batch(1, 1 + i);
        cr_assert_eq(batch_accept_later(fixture.catalog, &accept, count_closed, NULL, &errs[i]),
                     ERR_OK);
    }
    fixture_close();
    cr_expect_eq(atomic_load(&closed_count), LATER);
    fixture_open();
}

Test(batches, tells_nobody_what_is_not_queued)
{
    fixture_close();
    struct err err = {0};
    struct catalog *reader = NULL;
    cr_assert_eq(catalog_open_read_only(fixture.folder, &reader, &err), ERR_OK, "%s", err.msg);
    const struct batch_accept accept = fixture_batch(1, 1);
    cr_expect_eq(batch_accept_later(reader, &accept, count_closed, NULL, &err), ERR_UNSUPPORTED);
    cr_expect_eq(atomic_load(&closed_count), 0);
    catalog_close(&reader);
    fixture_open();
}

/* ---- what waits for the disk ---- */

static int64_t syncs(void)
{
    struct catalog_statistics statistics;
    catalog_statistics(fixture.catalog, &statistics);
    return statistics.syncs_count;
}

/* An outcome can be read from the table's log again; what refers to a journal cannot be undone. */
Test(batches, wait_for_the_disk_when_accepted_and_not_when_merged)
{
    struct err err = {0};
    const struct batch_accept accept = fixture_batch(10, 1);
    int64_t before = syncs();
    (void)fixture_accept(&accept);
    const struct batch_accept second = fixture_batch(10, 2);
    (void)fixture_accept(&second);
    cr_expect_eq(syncs(), before + 2);
    size_t count = 0;
    const struct batch *queued = fixture_queued(&count);
    cr_assert_eq(count, 2);
    const struct batch_outcome merged = fixture_outcome(&queued[0], BATCH_INDEXED);
    fixture_finish(&merged, 1);
    cr_expect_eq(syncs(), before + 2);
    cr_expect_eq(get(&queued[0].id).state, BATCH_INDEXED);
    cr_assert_eq(catalog_sync(fixture.catalog, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(syncs(), before + 3);
    cr_assert_eq(catalog_sync(fixture.catalog, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(syncs(), before + 3, "there is nothing left to wait for");
    struct batch_outcome failed = fixture_outcome(&queued[1], BATCH_FAILED);
    failed.failure = "poison";
    failed.payloads = (struct location){.segment = 1, .offset = 48, .size = 100};
    fixture_finish(&failed, 1);
    cr_expect_eq(syncs(), before + 4, "its dead letter refers to the log of them");
    const struct batch_accept third = fixture_batch(10, 3);
    (void)fixture_accept(&third);
    const struct batch_outcome last = fixture_outcome(fixture_queued(&count), BATCH_INDEXED);
    fixture_finish(&last, 1);
    fixture_finish(&failed, 1); /* again: it waits, and there is nothing that it changes */
    before = syncs();
    cr_assert_eq(catalog_sync(fixture.catalog, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(syncs(), before + 1, "what changed nothing has not made the other durable");
}
