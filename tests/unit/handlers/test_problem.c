/* Errors as problem answers. */
#include "handlers/problem.h"

#include <criterion/criterion.h>
#include <string.h>

static struct exchange make(void)
{
    struct exchange exchange = {0};
    arena_init(&exchange.arena, 1 << 16);
    buffer_init(&exchange.answer, 1 << 16);
    exchange.request_id = id_new_random();
    return exchange;
}

static void done(struct exchange *exchange)
{
    buffer_deinit(&exchange->answer);
    arena_deinit(&exchange->arena);
}

static struct json *answer_of(struct exchange *exchange)
{
    struct json *json = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(buffer_span(&exchange->answer), &json, &err), ERR_OK, "%s", err.msg);
    return json;
}

static const char *header_of(const struct exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->answer_headers_count; i++) {
        if (strcmp(exchange->answer_headers[i].name, name) == 0) {
            return exchange->answer_headers[i].value;
        }
    }
    return NULL;
}

Test(problem, maps_every_error_code)
{
    static const struct {
        enum err_code code;
        int status;
        const char *header;
    } cases[] = {
        {ERR_INVALID, 400, NULL},
        {ERR_UNAUTHENTICATED, 401, "WWW-Authenticate"},
        {ERR_FORBIDDEN, 403, NULL},
        {ERR_NOT_FOUND, 404, NULL},
        {ERR_CONFLICT, 409, NULL},
        {ERR_TOO_LARGE, 413, NULL},
        {ERR_BUSY, 503, "Retry-After"},
        {ERR_UNSUPPORTED, 422, NULL},
        {ERR_CORRUPT, 500, NULL},
        {ERR_EXISTS, 409, NULL},
        {ERR_PRECONDITION, 412, NULL},
        {ERR_NO_SPACE, 507, "Retry-After"},
        {ERR_IO, 503, "Retry-After"},
        {ERR_NOMEM, 503, "Retry-After"},
        {ERR_CANCELLED, 503, "Retry-After"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange = make();
        cr_assert_eq(err_set(&exchange.err, cases[i].code, "it is \"so\"\n"), cases[i].code);
        cr_expect_eq(problem_err(&exchange), HANDLER_DONE);
        struct json *json = answer_of(&exchange);
        int64_t status = 0;
        cr_expect_eq(exchange.status, cases[i].status, "%s", err_code_name(cases[i].code));
        cr_expect(json_as_integer(json_get(json, "status"), &status) && status == cases[i].status);
        cr_expect_str_eq(json_text(json_get(json, "code")), problem_code(cases[i].code));
        cr_expect_str_eq(json_text(json_get(json, "request_id")), exchange.request_id.text);
        cr_expect_str_eq(exchange.answer_type, "application/problem+json");
        cr_expect(cases[i].header == NULL || header_of(&exchange, cases[i].header) != NULL, "%d",
                  cases[i].status);
        json_free(&json);
        done(&exchange);
    }
}

Test(problem, says_nothing_of_inner_faults)
{
    struct exchange exchange = make();
    cr_assert_eq(err_set(&exchange.err, ERR_CORRUPT, "/data/x: checksum"), ERR_CORRUPT);
    (void)problem_err(&exchange);
    cr_expect_null(memmem(exchange.answer.data, exchange.answer.size, "/data", 5));
    done(&exchange);
}

Test(problem, keeps_a_computed_retry_after)
{
    struct exchange exchange = make();
    exchange_set_header(&exchange, "Retry-After", "7");
    (void)problem_answer(&exchange, 503, "busy", "wait %d", 7);
    cr_expect_str_eq(header_of(&exchange, "Retry-After"), "7");
    done(&exchange);
}

Test(problem, lists_items_up_to_a_limit)
{
    struct problem_item items[PROBLEM_ERRORS_MAX + 1];
    for (int i = 0; i <= PROBLEM_ERRORS_MAX; i++) {
        items[i] = (struct problem_item){
            .line = i, .pointer = i % 2 == 0 ? "/a~1\"" : NULL, .code = "range", .message = "m"};
    }
    struct exchange exchange = make();
    buffer_append_text(&exchange.answer, "half an answer");
    (void)problem_items(&exchange, 422, "unprocessable", "no", items, PROBLEM_ERRORS_MAX + 1, 4711);
    struct json *json = answer_of(&exchange);
    int64_t total = 0;
    cr_expect_eq(json_count(json_get(json, "errors")), PROBLEM_ERRORS_MAX);
    cr_expect(json_as_integer(json_get(json, "errors_total"), &total) && total == 4711);
    cr_expect_null(json_get(json_at(json_get(json, "errors"), 0), "line"), "line 0 is no line");
    cr_expect_str_eq(json_text(json_get(json_at(json_get(json, "errors"), 2), "pointer")),
                     "/a~1\"");
    json_free(&json);
    done(&exchange);
}
