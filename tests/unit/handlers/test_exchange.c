/* Reading requests and filling answers. */
#include "handlers/exchange.h"

#include <criterion/criterion.h>
#include <string.h>

static struct exchange make(const char *prefer, const char *other)
{
    struct exchange exchange = {0};
    arena_init(&exchange.arena, 1 << 16);
    buffer_init(&exchange.answer, 1 << 16);
    exchange.headers[0] = (struct exchange_pair){span_of_text("prefer"), span_of_text(prefer)};
    exchange.headers[1] = (struct exchange_pair){span_of_text("prefer"), span_of_text(other)};
    exchange.headers[2] =
        (struct exchange_pair){span_of_text("if-none-match"), span_of_text(other)};
    exchange.headers_count = 3;
    return exchange;
}

static void done(struct exchange *exchange)
{
    buffer_deinit(&exchange->answer);
    arena_deinit(&exchange->arena);
}

Test(exchange, finds_preferences)
{
    static const struct {
        const char *prefer;
        const char *other;
        const char *name;
        const char *value; /* NULL = absent */
    } cases[] = {
        {"wait=10", "", "wait", "10"},
        {"respond-async, wait=10", "", "respond-async", ""},
        {"respond-async, wait=10", "", "wait", "10"},
        {" Wait = \"10\" ; x=y , handling=strict", "", "wait", "10"},
        {" Wait = \"10\" ; x=y , handling=strict", "", "handling", "strict"},
        {"ack=committed", "wait=3", "wait", "3"},
        {"waiting=1", "", "wait", NULL},
        {"x=wait", "", "wait", NULL},
        {",,;=", "", "wait", NULL},
        {"", "", "wait", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange = make(cases[i].prefer, cases[i].other);
        struct span value = {0};
        bool found = exchange_prefers(&exchange, cases[i].name, &value);
        cr_expect_eq(found, cases[i].value != NULL, "%s", cases[i].prefer);
        cr_expect(!found || span_equal_text(value, cases[i].value), "%s: %.*s", cases[i].prefer,
                  SPAN_PRINT(value));
        done(&exchange);
    }
}

Test(exchange, compares_entity_tags)
{
    static const struct {
        const char *held;
        bool current;
    } cases[] = {
        {"\"v1\"", true},   {"\"v0\", \"v1\"", true}, {"*", true},
        {"W/\"v1\"", true}, {"\"v10\"", false},       {"v1", false},
        {"", false},        {"\"v2\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange = make("", cases[i].held);
        cr_expect_eq(exchange_is_current(&exchange, "\"v1\""), cases[i].current, "%s",
                     cases[i].held);
        done(&exchange);
    }
}

Test(exchange, reads_typed_query_parameters)
{
    struct exchange exchange = make("", "");
    int64_t limit = 100;
    bool flag = true;
    exchange.query[0] = (struct exchange_pair){span_of_text("limit"), span_of_text("7")};
    exchange.query[1] = (struct exchange_pair){span_of_text("flag"), span_of_text("false")};
    exchange.query[2] = (struct exchange_pair){span_of_text("bad"), span_of_text("x")};
    exchange.query_count = 3;
    cr_expect_eq(exchange_query_integer(&exchange, "absent", 1, 10, &limit), ERR_OK);
    cr_expect_eq(limit, 100, "the default stays");
    cr_expect_eq(exchange_query_integer(&exchange, "limit", 1, 10, &limit), ERR_OK);
    cr_expect_eq(limit, 7);
    cr_expect_eq(exchange_query_integer(&exchange, "limit", 8, 10, &limit), ERR_INVALID);
    cr_expect_eq(exchange_query_integer(&exchange, "limit", 1, 6, &limit), ERR_INVALID);
    cr_expect_eq(exchange_query_integer(&exchange, "bad", 1, 10, &limit), ERR_INVALID);
    cr_expect_eq(exchange_query_boolean(&exchange, "flag", &flag), ERR_OK);
    cr_expect_not(flag);
    cr_expect_eq(exchange_query_boolean(&exchange, "bad", &flag), ERR_INVALID);
    done(&exchange);
}

Test(exchange, sets_headers_once_and_keeps_them_on_one_line)
{
    struct exchange exchange = make("", "");
    exchange_set_header(&exchange, "Location", "/a");
    exchange_set_header(&exchange, "X", "1");
    exchange_set_header(&exchange, "Location", "/b%s", "\r\nSet-Cookie: x");
    cr_expect_eq(exchange.answer_headers_count, 2);
    cr_expect_str_eq(exchange.answer_headers[0].value, "/b  Set-Cookie: x");
    done(&exchange);
}

Test(exchange, bodies_are_one_object)
{
    static const struct {
        const char *body;
        enum err_code code;
    } cases[] = {
        {"{}", ERR_OK},
        {"", ERR_INVALID},
        {"[]", ERR_INVALID},
        {"{", ERR_INVALID},
        {"{} x", ERR_INVALID},
        {"null", ERR_INVALID},
        {"{\"a\":1,\"a\":2}", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange = make("", "");
        struct json *body = NULL;
        exchange.body = span_of_text(cases[i].body);
        cr_expect_eq(exchange_body_json(&exchange, &body), cases[i].code, "%s", cases[i].body);
        json_free(&body);
        done(&exchange);
    }
}
