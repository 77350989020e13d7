/* The request target: splitting and strict decoding. */
#include "server/target.h"

#include <criterion/criterion.h>
#include <string.h>

Test(target, splits)
{
    static const struct {
        const char *target;
        const char *path;
        const char *query;
    } cases[] = {
        {"/a", "/a", ""},
        {"/a?", "/a", ""},
        {"/a?b=c?d", "/a", "b=c?d"},
        {"http://host/a?b", "/a", "b"},
        {"http://host", "", ""},
        {"http://host?x=/y", "/y", ""},
        {"*", "", ""},
        {"host:443", "", ""},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span path = {0};
        struct span query = {0};
        target_split(span_of_text(cases[i].target), &path, &query);
        cr_expect(span_equal_text(path, cases[i].path), "%s: %.*s", cases[i].target,
                  SPAN_PRINT(path));
        cr_expect(span_equal_text(query, cases[i].query), "%s: %.*s", cases[i].target,
                  SPAN_PRINT(query));
    }
}

Test(target, judges_paths)
{
    static const struct {
        const char *path;
        bool sound;
    } cases[] = {
        {"/a/b", true},    {"/a%20b", true}, {"/%C3%A4", true},     {"", true},
        {"/a%00b", false}, {"/a%", false},   {"/a%4", false},       {"/a%zz", false},
        {"/a%ff", false},  {"/a%C3", false}, {"/%ed%a0%80", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(target_path_is_sound(span_of_text(cases[i].path)), cases[i].sound, "%s",
                     cases[i].path);
    }
}

static const char *const names[] = {"limit", "filter", "x", NULL};
static const struct route route = {
    .operation_id = "test", .query_names = names, .query_repeatable = 2};

static enum err_code decode(struct exchange *exchange, const char *query)
{
    memset(exchange, 0, sizeof *exchange);
    exchange->route = &route;
    arena_init(&exchange->arena, 1 << 16);
    return target_decode_query(span_of_text(query), exchange);
}

Test(target, decodes_queries)
{
    static const struct {
        const char *query;
        enum err_code code;
        size_t count;
        const char *limit;
    } cases[] = {
        {"", ERR_OK, 0, NULL},
        {"limit=5", ERR_OK, 1, "5"},
        {"limit=", ERR_OK, 1, ""},
        {"limit", ERR_OK, 1, ""},
        {"&&limit=a%20b+c&", ERR_OK, 1, "a b c"},
        {"li%6Dit=1", ERR_OK, 1, "1"},
        {"filter=a&filter=b&limit=%26%3D", ERR_OK, 3, "&="},
        {"limit=1&limit=2", ERR_INVALID, 0, NULL},
        {"Limit=1", ERR_INVALID, 0, NULL},
        {"nonsense=1", ERR_INVALID, 0, NULL},
        {"=1", ERR_INVALID, 0, NULL},
        {"limit=%", ERR_INVALID, 0, NULL},
        {"limit=%0", ERR_INVALID, 0, NULL},
        {"limit=%00", ERR_INVALID, 0, NULL},
        {"limit=%ff", ERR_INVALID, 0, NULL},
        {"%00limit=1", ERR_INVALID, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange;
        enum err_code code = decode(&exchange, cases[i].query);
        cr_expect_eq(code, cases[i].code, "%s: %s", cases[i].query, exchange.err.msg);
        if (code == ERR_OK) {
            cr_expect_eq(exchange.query_count, cases[i].count, "%s", cases[i].query);
            struct span limit = exchange_query(&exchange, "limit");
            cr_expect_eq(limit.data == NULL, cases[i].limit == NULL, "%s", cases[i].query);
            cr_expect(cases[i].limit == NULL || span_equal_text(limit, cases[i].limit), "%s",
                      cases[i].query);
        }
        arena_deinit(&exchange.arena);
    }
}

Test(target, limits_how_many)
{
    char query[EXCHANGE_QUERY_MAX * 8 + 16] = "";
    size_t size = 0;
    for (int i = 0; i < EXCHANGE_QUERY_MAX + 1; i++) {
        size += (size_t)snprintf(query + size, sizeof query - size, "filter&");
        if (i == EXCHANGE_QUERY_MAX - 1) {
            struct exchange exchange;
            cr_expect_eq(decode(&exchange, query), ERR_OK);
            arena_deinit(&exchange.arena);
        }
    }
    struct exchange exchange;
    cr_expect_eq(decode(&exchange, query), ERR_INVALID);
    arena_deinit(&exchange.arena);
}

Test(target, messages_hold_no_input)
{
    struct exchange exchange;
    cr_assert_eq(decode(&exchange, "secret_name=secret_value"), ERR_INVALID);
    cr_expect_null(strstr(exchange.err.msg, "secret"));
    arena_deinit(&exchange.arena);
}

Test(target, decodes_parameters)
{
    static const struct {
        const char *raw;
        enum err_code code;
        const char *value;
    } cases[] = {
        {"claims", ERR_OK, "claims"},    {"a%2Fb", ERR_OK, "a/b"},
        {"a+b", ERR_OK, "a+b"},          {"%C3%A4", ERR_OK, "\xc3\xa4"},
        {"%2e%2e", ERR_NOT_FOUND, NULL}, {"%2E", ERR_NOT_FOUND, NULL},
        {".%2e", ERR_NOT_FOUND, NULL},   {"...", ERR_OK, "..."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange exchange = {0};
        struct route_match match = {.parameters_count = 1,
                                    .parameters = {span_of_text(cases[i].raw)}};
        arena_init(&exchange.arena, 1 << 16);
        cr_expect_eq(target_decode_parameters(&match, &exchange), cases[i].code, "%s",
                     cases[i].raw);
        cr_expect(cases[i].value == NULL || span_equal_text(exchange.parameters[0], cases[i].value),
                  "%s", cases[i].raw);
        arena_deinit(&exchange.arena);
    }
}
