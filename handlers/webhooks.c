/*
 * Webhook deliveries: /v1/webhooks. What was to be told, to whom, and how far it got;
 * replaying sends the same body under the same id again.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/catalog/deliveries.h"

#include <inttypes.h>

enum { LIST_DEFAULT = 100, LIST_MAX = 1000 };

static struct json *delivery_to_json(struct exchange *exchange, const struct delivery *delivery)
{
    char id[DELIVERY_ID_TEXT_BYTES];
    bool pending = delivery->state == DELIVERY_PENDING;
    struct json *json = json_new_object();
    delivery_id_format(&delivery->id, id);
    json_set_text(json, "webhook_id", id);
    json_set_text(json, "event", delivery->event);
    json_set(json, "job_id",
             delivery->job_id != 0 ? json_new_integer(delivery->job_id) : json_new_null());
    json_set_integer(json, "run_id", delivery->run_id);
    json_set_text(json, "url", delivery->url);
    json_set_boolean(json, "signed", delivery->secret != NULL);
    json_set_text(json, "state", delivery_state_name(delivery->state));
    json_set_integer(json, "tries", delivery->tries);
    json_set_integer(json, "replays", delivery->replays);
    times_set(json, "created_at", delivery->created_at_us);
    times_set(json, "next_try_at", pending ? delivery->due_us : 0);
    times_set(json, "tried_at", delivery->tried_at_us);
    json_set(json, "status",
             delivery->status != 0 ? json_new_integer(delivery->status) : json_new_null());
    json_set_text(json, "error", delivery->error[0] != '\0' ? delivery->error : NULL);
    struct json *links = json_new_object();
    json_set_text(links, "self", arena_format(&exchange->arena, "/v1/webhooks/%s", id));
    json_set_text(links, "run",
                  arena_format(&exchange->arena, "/v1/runs/%" PRId64, delivery->run_id));
    json_set_text(links, "replay", arena_format(&exchange->arena, "/v1/webhooks/%s/replay", id));
    json_set(json, "links", links);
    return json;
}

static enum err_code parse_filter(struct exchange *exchange, struct delivery_filter *filter_out)
{
    struct delivery_filter filter = {0};
    enum delivery_state state;
    struct span text = exchange_query(exchange, "state");
    TRY(exchange_query_integer(exchange, "job_id", 1, INT64_MAX, &filter.job_id));
    TRY(exchange_query_integer(exchange, "run_id", 1, INT64_MAX, &filter.run_id));
    if (text.data != NULL) {
        if (!delivery_state_parse(text, &state)) {
            return err_set(&exchange->err, ERR_INVALID,
                           "state: give pending, delivered, dead or gone");
        }
        filter.state = (int)state;
    }
    *filter_out = filter;
    return ERR_OK;
}

/* A page may be short before the end; next_page_token alone tells the end. */
static enum err_code list_deliveries(struct services *services, struct exchange *exchange,
                                     struct json **answer_out)
{
    int64_t limit = LIST_DEFAULT;
    struct delivery_filter filter;
    struct id after;
    struct id next;
    struct span text;
    bool more = false;
    TRY(parse_filter(exchange, &filter));
    TRY(exchange_query_integer(exchange, "limit", 1, LIST_MAX, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    bool has_after = json_as_string(json_get(state, "after"), &text) && id_parse(text, &after);
    struct delivery *deliveries = NULL;
    size_t count = 0;
    TRY(delivery_list(services->catalog, &filter, has_after ? &after : NULL, (size_t)limit,
                      &exchange->arena, &deliveries, &count, &more, &next, &exchange->err));

    struct json *answer = json_new_object();
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(list, delivery_to_json(exchange, &deliveries[i]));
    }
    json_set(answer, "webhooks", list);
    const char *token = NULL;
    if (more) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_text(next_state, "after", next.text);
        token = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", token);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_webhook_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_deliveries(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

static enum err_code find(struct services *services, struct exchange *exchange,
                          struct delivery *delivery_out)
{
    struct id id;
    if (!delivery_id_parse(exchange->parameters[0], &id)) {
        return err_set(&exchange->err, ERR_NOT_FOUND,
                       "there is no such delivery; GET /v1/webhooks lists them");
    }
    return delivery_get(services->catalog, &id, &exchange->arena, delivery_out, &exchange->err);
}

static enum handler_result answer_delivery(struct services *services, struct exchange *exchange,
                                           int status)
{
    struct delivery delivery;
    if (find(services, exchange, &delivery) != ERR_OK) {
        return problem_err(exchange);
    }
    CLEANUP(json_free) struct json *json = delivery_to_json(exchange, &delivery);
    json_set(json, "body", json_new_string(delivery.body));
    exchange_answer_json(exchange, status, &json);
    return HANDLER_DONE;
}

enum handler_result handle_webhook_get(struct services *services, struct exchange *exchange)
{
    return answer_delivery(services, exchange, 200);
}

enum handler_result handle_webhook_replay(struct services *services, struct exchange *exchange)
{
    struct delivery delivery;
    if (find(services, exchange, &delivery) != ERR_OK ||
        delivery_replay(services->catalog, &delivery.id, &exchange->err) != ERR_OK) {
        return problem_err(exchange);
    }
    if (services->jobs.webhooks_due != NULL) {
        services->jobs.webhooks_due(services->jobs.arg);
    }
    char id[DELIVERY_ID_TEXT_BYTES];
    delivery_id_format(&delivery.id, id);
    if (access_audit_change(services, exchange, "webhook.replay", id) != ERR_OK) {
        return problem_err(exchange);
    }
    return answer_delivery(services, exchange, 202);
}
