/*
 * Tokens: /v1/tokens. The text of a token is in one answer only.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/base/clock.h"
#include "storage/base/secret.h"
#include "storage/catalog/access.h"

#include <inttypes.h>
#include <string.h>

enum { EXPIRES_SECONDS_MIN = 1, EXPIRES_SECONDS_MAX = 31622400, EXPIRES_SECONDS_DEFAULT = 7776000 };

enum { OWN_TOKENS_MAX = 1000 }; /* looked at for another live one, newest first */

static const char *state_of(const struct token_record *record, int64_t now_us)
{
    if (record->revoked_at_us != 0) {
        return "revoked";
    }
    return record->expires_at_us <= now_us ? "expired" : "active";
}

static struct json *token_to_json(const struct token_record *record)
{
    struct json *json = json_new_object();
    json_set_text(json, "token_id", record->id.text);
    json_set_text(json, "principal", record->principal_name);
    json_set_text(json, "description", record->description[0] != '\0' ? record->description : NULL);
    json_set_text(json, "state", state_of(record, clock_wall_us()));
    times_set(json, "created_at", record->created_at_us);
    times_set(json, "expires_at", record->expires_at_us);
    times_set(json, "revoked_at", record->revoked_at_us);
    times_set(json, "last_used_at", record->last_used_at_us);
    return json;
}

/* What a token is asked for. */
struct token_request {
    struct id principal;
    const char *description;
    int64_t expires_at_us;
};

static enum err_code parse_request(struct services *services, struct exchange *exchange,
                                   const struct json *body, struct token_request *request_out)
{
    static const char *const names[] = {"principal", "description", "expires_in_seconds", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    const char *principal = json_text(json_get(body, "principal"));
    const struct json *description = json_get(body, "description");
    const struct json *expires = json_get(body, "expires_in_seconds");
    int64_t seconds = EXPIRES_SECONDS_DEFAULT;
    if (principal == NULL) {
        return err_set(&exchange->err, ERR_INVALID, "/principal: give the principal's name");
    }
    if (description != NULL && json_text(description) == NULL) {
        return err_set(&exchange->err, ERR_INVALID, "/description: give a text");
    }
    if (expires != NULL && (!json_as_integer(expires, &seconds) || seconds < EXPIRES_SECONDS_MIN ||
                            seconds > EXPIRES_SECONDS_MAX)) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/expires_in_seconds: give a number from %d to %d", EXPIRES_SECONDS_MIN,
                       EXPIRES_SECONDS_MAX);
    }
    struct principal_record record;
    TRY(principal_get(services->catalog, principal, &exchange->arena, &record, &exchange->err));
    *request_out = (struct token_request){
        .principal = record.id,
        .description = description != NULL ? json_text(description) : "",
        .expires_at_us = clock_wall_us() + seconds * 1000000,
    };
    return ERR_OK;
}

/* Issue, record, and only then show: an unrecorded token is revoked again. */
static enum err_code issue(struct services *services, struct exchange *exchange,
                           const struct token_request *request, struct json **answer_out)
{
    char text[TOKEN_TEXT_BYTES + 1];
    struct token_id id;
    struct token_record record;
    TRY(access_token_issue(services->catalog, &request->principal, request->description,
                           request->expires_at_us, text, &id, &exchange->err));
    enum err_code code = access_audit_change(services, exchange, "token.issue", id.text);
    if (code == ERR_OK) {
        code = access_token_get(services->catalog, &id, &exchange->arena, &record, &exchange->err);
    }
    if (code == ERR_OK) {
        *answer_out = token_to_json(&record);
        json_set_text(*answer_out, "token", text);
        exchange_set_header(exchange, "Location", "/v1/tokens/%s", id.text);
    } else {
        struct err ignored = {0};
        err_ignore(access_token_revoke(services->catalog, &id, &ignored)); /* nobody has seen it */
    }
    secret_wipe(text, sizeof text);
    return code;
}

enum handler_result handle_token_create(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(json_free) struct json *answer = NULL;
    struct token_request request;
    if (exchange_body_json(exchange, &body) != ERR_OK ||
        parse_request(services, exchange, body, &request) != ERR_OK ||
        issue(services, exchange, &request, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_set_header(exchange, "Cache-Control", "no-store");
    exchange_answer_json(exchange, 201, &answer);
    return HANDLER_DONE;
}

/*
 * A caller may not revoke the token it is asking with when it has no other: with an
 * administrator's last one that would lock everybody out. All other revocations
 * leave the caller's own token, and so a way back.
 */
static enum err_code keep_a_way_in(struct services *services, struct exchange *exchange,
                                   const struct token_id *revoked)
{
    if (strcmp(revoked->text, exchange->token_id) != 0) {
        return ERR_OK;
    }
    struct token_record *records = NULL;
    size_t count = 0;
    TRY(access_token_list(services->catalog, &exchange->principal->id, NULL, OWN_TOKENS_MAX,
                          &exchange->arena, &records, &count, &exchange->err));
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < count; i++) {
        if (strcmp(records[i].id.text, revoked->text) != 0 &&
            strcmp(state_of(&records[i], now_us), "active") == 0) {
            return ERR_OK;
        }
    }
    return err_set(&exchange->err, ERR_CONFLICT,
                   "this is the token you are asking with and your only live one; create another "
                   "first, and revoke this one with it");
}

enum handler_result handle_token_revoke(struct services *services, struct exchange *exchange)
{
    struct token_id id = {0};
    struct span text = exchange->parameters[0];
    if (text.size != TOKEN_ID_BYTES) {
        return problem_answer(exchange, 404, "not_found",
                              "there is no token of this id; GET /v1/tokens lists them");
    }
    memcpy(id.text, text.data, TOKEN_ID_BYTES);
    if (keep_a_way_in(services, exchange, &id) != ERR_OK ||
        access_token_revoke(services->catalog, &id, &exchange->err) != ERR_OK ||
        access_audit_change(services, exchange, "token.revoke", id.text) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_empty(exchange, 204);
    return HANDLER_DONE;
}

/* The principal that `?principal=` names, or NULL for all. */
static enum err_code filter_principal(struct services *services, struct exchange *exchange,
                                      struct id *id_out, const struct id **filter_out)
{
    struct span name = exchange_query(exchange, "principal");
    *filter_out = NULL;
    if (name.data == NULL) {
        return ERR_OK;
    }
    struct principal_record record;
    TRY(principal_get(services->catalog, arena_text(&exchange->arena, name), &exchange->arena,
                      &record, &exchange->err));
    *id_out = record.id;
    *filter_out = id_out;
    return ERR_OK;
}

static enum err_code list_tokens(struct services *services, struct exchange *exchange,
                                 struct json **answer_out)
{
    int64_t limit = 100;
    TRY(exchange_query_integer(exchange, "limit", 1, 10000, &limit));
    struct id principal;
    const struct id *filter = NULL;
    TRY(filter_principal(services, exchange, &principal, &filter));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    struct token_id after = {0};
    const char *after_text = json_text(json_get(state, "after"));
    if (after_text != NULL && strlen(after_text) == TOKEN_ID_BYTES) {
        memcpy(after.text, after_text, TOKEN_ID_BYTES);
    }
    struct token_record *records = NULL;
    size_t count = 0;
    TRY(access_token_list(services->catalog, filter, after.text[0] != '\0' ? &after : NULL,
                          (size_t)limit, &exchange->arena, &records, &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *tokens = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(tokens, token_to_json(&records[i]));
    }
    json_set(answer, "tokens", tokens);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_text(next_state, "after", records[count - 1].id.text);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_token_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_tokens(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
