/* Path and method → route, over the real table. */
#include "server/routes.h"

#include <criterion/criterion.h>
#include <string.h>

Test(router, finds_routes)
{
    static const struct {
        const char *method;
        const char *path;
        const char *operation; /* NULL = none */
        const char *allow;     /* when the path is known */
        const char *first;     /* path parameter */
    } cases[] = {
        {"GET", "/livez", "livez", NULL, NULL},
        {"HEAD", "/livez", "livez", NULL, NULL},
        {"GET", "/v1/tables", "table_list", NULL, NULL},
        {"PUT", "/v1/tables/claims", "table_put", NULL, "claims"},
        {"HEAD", "/v1/tables/claims", "table_get", NULL, "claims"},
        {"DELETE", "/v1/tables/claims", "table_delete", NULL, "claims"},
        {"POST", "/v1/tables/claims/batches", "batch_post", NULL, "claims"},
        {"POST", "/v1/tables/claims/rows/query", "row_query", NULL, "claims"},
        {"GET", "/v1/members/M%2F1", "member_get", NULL, "M%2F1"},
        {"POST", "/v1/members/lookup", "member_lookup", NULL, NULL},
        {"GET", "/v1/members/lookups", "member_get", NULL, "lookups"},
        {"GET", "/v1/members/lookup", NULL, "POST", NULL},
        {"POST", "/v1/tables", NULL, "GET, HEAD", NULL},
        {"PATCH", "/v1/tables/claims", NULL, "DELETE, GET, HEAD, PUT", NULL},
        {"get", "/livez", NULL, "GET, HEAD", NULL},
        {"GET", "", NULL, NULL, NULL},
        {"GET", "/", NULL, NULL, NULL},
        {"GET", "*", NULL, NULL, NULL},
        {"GET", "livez", NULL, NULL, NULL},
        {"GET", "/livez/", NULL, NULL, NULL},
        {"GET", "//livez", NULL, NULL, NULL},
        {"GET", "/LIVEZ", NULL, NULL, NULL},
        {"GET", "/v1/tables//rows", NULL, NULL, NULL},
        {"GET", "/v1/tables/./rows", NULL, NULL, NULL},
        {"GET", "/v1/tables/../rows", NULL, NULL, NULL},
        {"GET", "/v1/tables/claims/rows/x", NULL, NULL, NULL},
        {"GET", "/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct route_match match;
        route_find(cases[i].method, span_of_text(cases[i].path), &match);
        const char *operation = match.route != NULL ? match.route->operation_id : "none";
        cr_expect_str_eq(operation, cases[i].operation != NULL ? cases[i].operation : "none",
                         "%s %s", cases[i].method, cases[i].path);
        cr_expect_str_eq(match.allow, cases[i].allow != NULL ? cases[i].allow : "", "%s %s",
                         cases[i].method, cases[i].path);
        if (cases[i].operation == NULL) {
            cr_expect_eq(match.path_known, cases[i].allow != NULL, "%s", cases[i].path);
        }
        if (cases[i].first != NULL) {
            cr_expect(span_equal_text(match.parameters[0], cases[i].first), "%s", cases[i].path);
        }
    }
}

/* What the gate and the body's admission rely on. */
Test(router, table_is_complete)
{
    for (size_t i = 0; i < routes_count; i++) {
        const struct route *route = &routes[i];
        bool is_public =
            strncmp(route->path, "/v1/", 4) != 0 && strcmp(route->path, "/metrics") != 0;
        cr_expect_eq(route->action == NULL, is_public, "%s", route->operation_id);
        cr_expect_eq(route->body_bytes_max > 0, route->content_types != NULL, "%s",
                     route->operation_id);
        cr_expect_gt(route->arena_bytes_max, 0, "%s", route->operation_id);
        cr_expect_not_null(route->query_names, "%s", route->operation_id);
        cr_expect_not_null(route->handler, "%s", route->operation_id);
    }
}
