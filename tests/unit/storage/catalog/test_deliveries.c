#include "storage/catalog/deliveries.h"

#include "storage/base/clock.h"
#include "tests/unit/storage/catalog/fixture.h"
#include "tests/unit/storage/catalog/job_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(deliveries, .init = fixture_set_up, .fini = fixture_tear_down);

static const int64_t day_us = INT64_C(86400) * 1000000;

static struct id add(int64_t run_id, const char *body)
{
    struct err err = {0};
    const struct delivery_new delivery = {.id = id_new_ordered(),
                                          .event = "run.started",
                                          .url = "http://127.0.0.1:9/hook",
                                          .secret = "{{secrets.hook}}",
                                          .body = span_of_text(body)};
    const struct run_change change = {
        .run_id = run_id, .deliveries = &delivery, .deliveries_count = 1};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
    return delivery.id;
}

static struct delivery get(const struct id *id)
{
    struct err err = {0};
    struct delivery delivery;
    cr_assert_eq(delivery_get(fixture.catalog, id, &fixture.arena, &delivery, &err), ERR_OK, "%s",
                 err.msg);
    return delivery;
}

static size_t count_due(int64_t now_us)
{
    struct err err = {0};
    struct delivery *due = NULL;
    size_t count = 0;
    cr_assert_eq(deliveries_due(fixture.catalog, now_us, 10, &fixture.arena, &due, &count, &err),
                 ERR_OK, "%s", err.msg);
    return count;
}

static void finish(const struct id *id, enum delivery_state state, int64_t due_us)
{
    struct err err = {0};
    const struct delivery_outcome outcome = {
        .state = state, .due_us = due_us, .status = 500, .error = "answered 500"};
    cr_assert_eq(delivery_finish(fixture.catalog, id, &outcome, &err), ERR_OK, "%s", err.msg);
}

Test(deliveries, ids_have_one_text)
{
    char text[DELIVERY_ID_TEXT_BYTES];
    struct id id = id_new_ordered();
    struct id parsed;
    delivery_id_format(&id, text);
    cr_expect_eq(strlen(text), DELIVERY_ID_TEXT_BYTES - 1);
    cr_expect(delivery_id_parse(span_of_text(text), &parsed));
    cr_expect_str_eq(parsed.text, id.text);
    static const char *const wrong[] = {"",
                                        "msg_",
                                        "msg_0123456789abcdef0123456789abcde",
                                        "msg_0123456789abcdef0123456789abcdefa",
                                        "msg-0123456789abcdef0123456789abcdef",
                                        "msg_0123456789abcdef0123456789abcdeg",
                                        "msg_01234567-9abcdef0123456789abcdef"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_not(delivery_id_parse(span_of_text(wrong[i]), &parsed), "%s", wrong[i]);
    }
}

Test(deliveries, states_have_names)
{
    for (int state = DELIVERY_PENDING; state <= DELIVERY_GONE; state++) {
        enum delivery_state parsed = 0;
        cr_expect(delivery_state_parse(span_of_text(delivery_state_name(state)), &parsed));
        cr_expect_eq((int)parsed, state);
    }
    enum delivery_state parsed = 0;
    cr_expect_not(delivery_state_parse(span_of_text("PENDING"), &parsed));
}

Test(deliveries, keep_id_body_and_place_over_restarts_and_tries)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    struct id id = add(run_id, "{\"type\":\"run.started\"}");
    int64_t now_us = clock_wall_us();
    int64_t due_us = 0;
    fixture_reopen();
    cr_expect_eq(count_due(now_us), 1, "an event is due at once");
    struct delivery delivery = get(&id);
    cr_expect_eq(delivery.run_id, run_id);
    cr_expect_eq(delivery.job_id, 1);
    cr_expect_str_eq(delivery.event, "run.started");
    cr_expect_str_eq(delivery.url, "http://127.0.0.1:9/hook");
    cr_expect_str_eq(delivery.secret, "{{secrets.hook}}");
    cr_expect(span_equal_text(delivery.body, "{\"type\":\"run.started\"}"));
    finish(&id, DELIVERY_PENDING, now_us + day_us);
    cr_expect_eq(count_due(now_us), 0);
    cr_assert_eq(deliveries_next_due(fixture.catalog, &due_us, &err), ERR_OK);
    cr_expect_eq(due_us, now_us + day_us);
    delivery = get(&id);
    cr_expect_eq(delivery.tries, 1);
    cr_expect_eq(delivery.status, 500);
    cr_expect_str_eq(delivery.error, "answered 500");
    cr_expect(span_equal_text(delivery.body, "{\"type\":\"run.started\"}"));
}

Test(deliveries, end_once_and_can_be_replayed)
{
    struct err err = {0};
    struct delivery_counts counts;
    static const enum delivery_state ends[] = {DELIVERY_DELIVERED, DELIVERY_DEAD, DELIVERY_GONE};
    int64_t run_id = make_run(make_job("a"), NULL);
    for (size_t i = 0; i < 3; i++) {
        struct id id = add(run_id, "{}");
        cr_expect_eq(delivery_replay(fixture.catalog, &id, &err), ERR_CONFLICT);
        finish(&id, ends[i], 0);
        cr_expect_eq((int)get(&id).state, (int)ends[i]);
        finish(&id, DELIVERY_PENDING, 0);
        cr_expect_eq((int)get(&id).state, (int)ends[i], "a late try brought it back");
        cr_expect_eq(get(&id).tries, 1);
        cr_expect_eq(count_due(INT64_MAX), 0);
        cr_assert_eq(delivery_replay(fixture.catalog, &id, &err), ERR_OK, "%s", err.msg);
        cr_expect_eq(count_due(clock_wall_us()), 1);
        cr_expect_eq(get(&id).tries, 0);
        cr_expect_eq(get(&id).replays, 1);
        finish(&id, ends[i], 0);
    }
    cr_assert_eq(delivery_counts(fixture.catalog, &counts, &err), ERR_OK);
    cr_expect_eq(counts.pending, 0);
    cr_expect_eq(counts.dead, 2);
    struct id none = id_new_ordered();
    struct delivery delivery;
    int64_t due_us = 0;
    cr_expect_eq(delivery_replay(fixture.catalog, &none, &err), ERR_NOT_FOUND);
    cr_expect_eq(delivery_get(fixture.catalog, &none, &fixture.arena, &delivery, &err),
                 ERR_NOT_FOUND);
    cr_expect_eq(deliveries_next_due(fixture.catalog, &due_us, &err), ERR_OK);
    cr_expect_eq(due_us, INT64_MAX);
}

Test(deliveries, are_refused_over_their_limits)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    static char body[DELIVERY_BODY_BYTES_MAX + 1];
    memset(body, 'x', sizeof body);
    struct delivery_new delivery = {
        .id = id_new_ordered(), .event = "e", .url = "u", .body = span_of(body, sizeof body)};
    const struct run_change change = {
        .run_id = run_id, .deliveries = &delivery, .deliveries_count = 1, .state = RUN_RUNNING};
    cr_expect_eq(run_apply(fixture.catalog, &change, &err), ERR_TOO_LARGE);
    cr_expect_eq((int)read_run(run_id).state, RUN_QUEUED, "half a change was stored");
    delivery.body.size--;
    cr_expect_eq(run_apply(fixture.catalog, &change, &err), ERR_OK);
    cr_expect_null(get(&delivery.id).secret);
}

Test(deliveries, list_newest_first_with_filters)
{
    struct err err = {0};
    int64_t job_id = make_job("a");
    int64_t runs[2] = {make_run(job_id, NULL), make_run(0, NULL)};
    struct id ids[6];
    for (size_t i = 0; i < 6; i++) {
        ids[i] = add(runs[i % 2], "{}");
    }
    finish(&ids[0], DELIVERY_DEAD, 0);
    static const struct {
        struct delivery_filter filter;
        size_t count;
        size_t first;
    } cases[] = {
        {{0}, 6, 5},
        {{.job_id = 1}, 3, 4},
        {{.run_id = 2}, 3, 5},
        {{.state = DELIVERY_DEAD}, 1, 0},
        {{.run_id = 2, .state = DELIVERY_DEAD}, 0, 0},
    };
    struct delivery *page = NULL;
    size_t count = 0;
    bool more = false;
    struct id next;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(delivery_list(fixture.catalog, &cases[i].filter, NULL, 10, &fixture.arena,
                                   &page, &count, &more, &next, &err),
                     ERR_OK, "%s", err.msg);
        cr_expect_eq(count, cases[i].count, "case %zu: %zu", i, count);
        cr_expect_not(more);
        if (count > 0) {
            cr_expect_str_eq(page[0].id.text, ids[cases[i].first].text, "case %zu", i);
        }
    }
    size_t seen = 0;
    const struct id *after = NULL;
    do {
        cr_assert_eq(delivery_list(fixture.catalog, &(struct delivery_filter){0}, after, 4,
                                   &fixture.arena, &page, &count, &more, &next, &err),
                     ERR_OK);
        seen += count;
        after = &next;
    } while (more);
    cr_expect_eq(seen, 6);
}

Test(deliveries, retention_takes_ended_ones_only)
{
    struct err err = {0};
    int64_t removed = 0;
    bool more = true;
    int64_t run_id = make_run(make_job("a"), NULL);
    struct id ended = add(run_id, "{}");
    struct id pending = add(run_id, "{}");
    finish(&ended, DELIVERY_DELIVERED, 0);
    cr_assert_eq(
        deliveries_retain(fixture.catalog, clock_wall_us() - day_us, &removed, &more, &err),
        ERR_OK);
    cr_expect_eq(removed, 0);
    int64_t later_us = clock_wall_us() + day_us;
    cr_assert_eq(deliveries_retain(fixture.catalog, later_us, &removed, &more, &err), ERR_OK);
    cr_expect_eq(removed, 1);
    cr_expect_not(more);
    struct delivery delivery;
    cr_expect_eq(delivery_get(fixture.catalog, &ended, &fixture.arena, &delivery, &err),
                 ERR_NOT_FOUND);
    cr_expect_eq((int)get(&pending).state, DELIVERY_PENDING);
    finish(&ended, DELIVERY_DELIVERED, 0); /* a try that ends after its row went */
    for (int i = 0; i < 501; i++) {
        struct id id = add(run_id, "{}");
        finish(&id, DELIVERY_DEAD, 0);
    }
    cr_assert_eq(deliveries_retain(fixture.catalog, later_us, &removed, &more, &err), ERR_OK);
    cr_expect_eq(removed, 500, "a step is bounded");
    cr_expect(more);
    cr_assert_eq(deliveries_retain(fixture.catalog, later_us, &removed, &more, &err), ERR_OK);
    cr_expect_eq(removed, 1);
}

Test(deliveries, gone_ends_all_pending_ones_to_the_url)
{
    struct err err = {0};
    int64_t run_id = make_run(make_job("a"), NULL);
    struct id asked = add(run_id, "{}");
    struct id pending = add(run_id, "{}");
    struct id delivered = add(run_id, "{}");
    const struct delivery_new elsewhere = {.id = id_new_ordered(),
                                           .event = "run.started",
                                           .url = "http://127.0.0.1:9/other",
                                           .body = span_of_text("{}")};
    const struct run_change change = {
        .run_id = run_id, .deliveries = &elsewhere, .deliveries_count = 1};
    cr_assert_eq(run_apply(fixture.catalog, &change, &err), ERR_OK, "%s", err.msg);
    finish(&delivered, DELIVERY_DELIVERED, 0);
    finish(&asked, DELIVERY_GONE, 0);
    cr_expect_eq(get(&asked).state, DELIVERY_GONE);
    cr_expect_eq(get(&pending).state, DELIVERY_GONE);
    cr_expect_eq(get(&pending).tries, 0, "it was not tried");
    cr_expect_eq(get(&pending).status, 410);
    cr_expect_eq(get(&delivered).state, DELIVERY_DELIVERED);
    cr_expect_eq(get(&elsewhere.id).state, DELIVERY_PENDING);
    /* a late answer of one that was ended changes nothing more */
    struct id later = add(run_id, "{}");
    finish(&asked, DELIVERY_GONE, 0);
    cr_expect_eq(get(&later).state, DELIVERY_PENDING);
    cr_assert_eq(delivery_replay(fixture.catalog, &pending, &err), ERR_OK, "%s", err.msg);
    cr_expect_eq(get(&pending).state, DELIVERY_PENDING);
}
