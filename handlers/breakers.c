/*
 * Circuit breakers of the servers we talk to: /v1/breakers. They live in memory: a
 * list is of this moment, and a restart closes them all.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "storage/remote/breaker.h"

#include <string.h>

/* Whole seconds, rounded up: a caller that waits so long finds it over. */
static int64_t seconds_up(int64_t us)
{
    return us / 1000000 + (us % 1000000 > 0);
}

static struct json *breaker_to_json(const struct breaker_view *view)
{
    struct json *json = json_new_object();
    json_set_text(json, "name", view->name);
    json_set_text(json, "state", breaker_state_name(view->state));
    json_set_text(json, "reason", view->reason[0] != '\0' ? view->reason : NULL);
    json_set_integer(json, "calls", view->calls_count);
    json_set_integer(json, "failures", view->failures_count);
    json_set_integer(json, "failures_in_a_row", view->failures_in_a_row);
    json_set_integer(json, "opened", view->opened_count);
    json_set_integer(json, "seconds_in_state", view->changed_us / 1000000);
    json_set(json, "retry_after_seconds",
             view->state == BREAKER_OPEN ? json_new_integer(seconds_up(view->retry_after_us))
                                         : json_new_null());
    return json;
}

static enum err_code list_breakers(struct services *services, struct exchange *exchange,
                                   struct json **answer_out)
{
    int64_t limit = 100;
    TRY(exchange_query_integer(exchange, "limit", 1, 10000, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    size_t views_max = limit < BREAKERS_MAX ? (size_t)limit : BREAKERS_MAX;
    struct breaker_view *views = arena_alloc(&exchange->arena, views_max * sizeof *views);
    if (views == NULL) {
        return err_set(&exchange->err, ERR_TOO_LARGE, "ask for fewer breakers at once");
    }
    size_t count =
        breaker_list(services->breakers, json_text(json_get(state, "after")), views_max, views);

    struct json *answer = json_new_object();
    struct json *breakers = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(breakers, breaker_to_json(&views[i]));
    }
    json_set(answer, "breakers", breakers);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_text(next_state, "after", views[count - 1].name);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_breaker_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_breakers(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}

static enum err_code reset_breaker(struct services *services, struct exchange *exchange,
                                   struct json **answer_out)
{
    const char *name = arena_text(&exchange->arena, exchange->parameters[0]);
    struct breaker_view view;
    TRY(breaker_reset(services->breakers, name, &exchange->err));
    TRY(access_audit_change(services, exchange, "breaker.reset", name));
    TRY(breaker_get(services->breakers, name, &view, &exchange->err));
    *answer_out = breaker_to_json(&view);
    return ERR_OK;
}

enum handler_result handle_breaker_reset(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (reset_breaker(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
