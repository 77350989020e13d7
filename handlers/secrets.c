/*
 * Secrets: /v1/secrets. A value comes in and never goes out: no answer, log line or
 * audit record has it.
 */
#include "generated/operations.h"

#include "handlers/access_audit.h"
#include "handlers/page_token.h"
#include "handlers/problem.h"
#include "handlers/times.h"
#include "storage/catalog/secrets.h"

#include <string.h>

static struct json *secret_to_json(const struct catalog_secret *record)
{
    struct json *json = json_new_object();
    json_set_text(json, "name", record->name);
    json_set_integer(json, "version", record->version);
    times_set(json, "created_at", record->created_at_us);
    times_set(json, "changed_at", record->changed_at_us);
    return json;
}

/* The name in the path; NULL when no secret can have it. */
static const char *name_of(struct exchange *exchange)
{
    struct span name = exchange->parameters[0];
    return catalog_secret_name_is_valid(name) ? arena_text(&exchange->arena, name) : NULL;
}

static enum err_code put_secret(struct services *services, struct exchange *exchange,
                                const struct json *body, struct json **answer_out,
                                bool *created_out)
{
    static const char *const names[] = {"value", NULL};
    TRY(json_check_names(body, "", names, &exchange->err));
    const char *name = name_of(exchange);
    const char *value = json_text(json_get(body, "value"));
    if (name == NULL) {
        return err_set(&exchange->err, ERR_INVALID,
                       "a secret's name has 1 to %d letters, digits, '_' and '-'",
                       CATALOG_SECRET_NAME_BYTES_MAX);
    }
    if (value == NULL) {
        return err_set(&exchange->err, ERR_INVALID,
                       "/value: give the secret as a text without NUL");
    }
    struct catalog_secret record;
    TRY(catalog_secret_put(services->catalog, name, span_of_text(value), &record, created_out,
                           &exchange->err));
    TRY(access_audit_change(services, exchange, "secret.write", name));
    *answer_out = secret_to_json(&record);
    return ERR_OK;
}

enum handler_result handle_secret_put(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *body = NULL;
    CLEANUP(json_free) struct json *answer = NULL;
    bool created = false;
    if (exchange_body_json(exchange, &body) != ERR_OK ||
        put_secret(services, exchange, body, &answer, &created) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, created ? 201 : 200, &answer);
    return HANDLER_DONE;
}

enum handler_result handle_secret_delete(struct services *services, struct exchange *exchange)
{
    const char *name = name_of(exchange);
    if (name == NULL) {
        return problem_answer(exchange, 404, "not_found",
                              "there is no secret of this name; GET /v1/secrets lists them");
    }
    if (catalog_secret_delete(services->catalog, name, &exchange->err) != ERR_OK ||
        access_audit_change(services, exchange, "secret.delete", name) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_empty(exchange, 204);
    return HANDLER_DONE;
}

static enum err_code list_secrets(struct services *services, struct exchange *exchange,
                                  struct json **answer_out)
{
    int64_t limit = 100;
    TRY(exchange_query_integer(exchange, "limit", 1, 10000, &limit));
    CLEANUP(json_free) struct json *state = NULL;
    TRY(page_token_open(services, exchange, exchange_query(exchange, "page_token"), &state));
    struct catalog_secret *records = NULL;
    size_t count = 0;
    TRY(catalog_secret_list(services->catalog, json_text(json_get(state, "after")), (size_t)limit,
                            &exchange->arena, &records, &count, &exchange->err));

    struct json *answer = json_new_object();
    struct json *secrets = json_new_array();
    for (size_t i = 0; i < count; i++) {
        json_append(secrets, secret_to_json(&records[i]));
    }
    json_set(answer, "secrets", secrets);
    const char *next = NULL;
    if (count == (size_t)limit) {
        CLEANUP(json_free) struct json *next_state = json_new_object();
        json_set_text(next_state, "after", records[count - 1].name);
        next = page_token_seal(services, exchange, &next_state);
    }
    json_set_text(answer, "next_page_token", next);
    *answer_out = answer;
    return ERR_OK;
}

enum handler_result handle_secret_list(struct services *services, struct exchange *exchange)
{
    CLEANUP(json_free) struct json *answer = NULL;
    if (list_secrets(services, exchange, &answer) != ERR_OK) {
        return problem_err(exchange);
    }
    exchange_answer_json(exchange, 200, &answer);
    return HANDLER_DONE;
}
