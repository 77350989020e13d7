/*
 * Webhook deliveries as handlers show and replay them.
 */
#include "generated/operations.h"

#include "storage/catalog/deliveries.h"
#include "tests/unit/handlers/job_stage.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(webhooks, .init = stage_set_up, .fini = stage_tear_down);

static const struct route list_route = {.operation_id = "webhook_list", .action = "webhook.read"};
static const struct route get_route = {.operation_id = "webhook_get", .action = "webhook.read"};
static const struct route replay_route = {.operation_id = "webhook_replay",
                                          .action = "webhook.replay"};
static int due_calls;

static void note_due(void *arg)
{
    (void)arg;
    due_calls++;
}

/* A delivery of a new run; its text id. */
static void make_delivery(char text_out[DELIVERY_ID_TEXT_BYTES])
{
    const struct delivery_new delivery = {.id = id_new_ordered(),
                                          .event = "run.failed",
                                          .url = "https://hooks.example.org/1",
                                          .secret = "{{secrets.hook}}",
                                          .body = span_of_text("{\"run_id\":1}")};
    const struct run_change change = {
        .run_id = stage_make_run(stage_make_job()), .deliveries = &delivery, .deliveries_count = 1};
    stage_apply(&change);
    delivery_id_format(&delivery.id, text_out);
}

static void finish(const char *text, enum delivery_state state)
{
    struct err err = {0};
    struct id id;
    const struct delivery_outcome outcome = {.state = state, .status = 500, .error = "said 500"};
    cr_assert(delivery_id_parse(span_of_text(text), &id));
    cr_assert_eq(delivery_finish(stage.services.catalog, &id, &outcome, &err), ERR_OK);
}

static const char *text_of(const struct json *json, const char *name)
{
    const char *text = json_text(json_get(json, name));
    return text == NULL ? "(none)" : text;
}

Test(webhooks, are_shown_with_their_body_but_not_their_secret)
{
    char id[DELIVERY_ID_TEXT_BYTES];
    make_delivery(id);
    struct exchange exchange = stage_request(&get_route, id, NULL);
    cr_expect_eq(handle_webhook_get(&stage.services, &exchange), HANDLER_DONE);
    CLEANUP(json_free) struct json *json = stage_answer(&exchange, 200);
    cr_expect_str_eq(text_of(json, "webhook_id"), id);
    cr_expect_str_eq(text_of(json, "event"), "run.failed");
    cr_expect_str_eq(text_of(json, "state"), "pending");
    cr_expect_str_eq(text_of(json, "body"), "{\"run_id\":1}");
    cr_expect_null(memmem(exchange.answer.data, exchange.answer.size, "secrets", 7));
    stage_done(&exchange);
    static const char *const unknown[] = {"msg_01939a3e6f0a7c439b7e1d2b1a0c5f66", "msg_", "1"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        exchange = stage_request(&get_route, unknown[i], NULL);
        cr_expect_eq(handle_webhook_get(&stage.services, &exchange), HANDLER_DONE);
        cr_expect_eq(exchange.status, 404, "%s", unknown[i]);
        stage_done(&exchange);
    }
}

Test(webhooks, are_listed_in_pages)
{
    char ids[3][DELIVERY_ID_TEXT_BYTES];
    for (size_t i = 0; i < 3; i++) {
        make_delivery(ids[i]);
    }
    finish(ids[1], DELIVERY_DEAD);
    struct exchange exchange = stage_request(&list_route, NULL, NULL);
    exchange.query_count = 1;
    exchange.query[0] = (struct exchange_pair){span_of_text("limit"), span_of_text("2")};
    cr_expect_eq(handle_webhook_list(&stage.services, &exchange), HANDLER_DONE);
    CLEANUP(json_free) struct json *first = stage_answer(&exchange, 200);
    const struct json *list = json_get(first, "webhooks");
    cr_assert_eq(json_count(list), 2);
    cr_expect_str_eq(text_of(json_at(list, 0), "webhook_id"), ids[2]);
    cr_expect_null(json_get(json_at(list, 0), "body"));
    stage_done(&exchange);

    exchange = stage_request(&list_route, NULL, NULL);
    exchange.query_count = 1;
    exchange.query[0] = (struct exchange_pair){span_of_text("page_token"),
                                               span_of_text(text_of(first, "next_page_token"))};
    cr_expect_eq(handle_webhook_list(&stage.services, &exchange), HANDLER_DONE);
    CLEANUP(json_free) struct json *second = stage_answer(&exchange, 200);
    list = json_get(second, "webhooks");
    cr_assert_eq(json_count(list), 1);
    cr_expect_str_eq(text_of(json_at(list, 0), "webhook_id"), ids[0]);
    stage_done(&exchange);

    exchange = stage_request(&list_route, NULL, NULL);
    exchange.query_count = 1;
    exchange.query[0] = (struct exchange_pair){span_of_text("state"), span_of_text("dead")};
    cr_expect_eq(handle_webhook_list(&stage.services, &exchange), HANDLER_DONE);
    CLEANUP(json_free) struct json *dead = stage_answer(&exchange, 200);
    list = json_get(dead, "webhooks");
    cr_assert_eq(json_count(list), 1);
    cr_expect_str_eq(text_of(json_at(list, 0), "webhook_id"), ids[1]);
    stage_done(&exchange);

    exchange = stage_request(&list_route, NULL, NULL);
    exchange.query_count = 1;
    exchange.query[0] = (struct exchange_pair){span_of_text("state"), span_of_text("DEAD")};
    cr_expect_eq(handle_webhook_list(&stage.services, &exchange), HANDLER_DONE);
    cr_expect_eq(exchange.status, 400);
    stage_done(&exchange);
}

Test(webhooks, are_replayed_once_they_ended)
{
    char id[DELIVERY_ID_TEXT_BYTES];
    make_delivery(id);
    stage.services.jobs.webhooks_due = note_due;
    struct exchange exchange = stage_request(&replay_route, id, NULL);
    cr_expect_eq(handle_webhook_replay(&stage.services, &exchange), HANDLER_DONE);
    cr_expect_eq(exchange.status, 409, "it is pending");
    cr_expect_eq(due_calls, 0);
    stage_done(&exchange);
    finish(id, DELIVERY_GONE);
    exchange = stage_request(&replay_route, id, NULL);
    cr_expect_eq(handle_webhook_replay(&stage.services, &exchange), HANDLER_DONE);
    CLEANUP(json_free) struct json *json = stage_answer(&exchange, 202);
    cr_expect_str_eq(text_of(json, "state"), "pending");
    cr_expect_str_eq(text_of(json, "body"), "{\"run_id\":1}");
    cr_expect_eq(due_calls, 1);
    stage_done(&exchange);
}
