/*
 * Header fields of other people's servers.
 */
#include "storage/remote/header.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(header, finds_fields_of_a_name)
{
    const struct span head = span_of_text("Content-Type: text/csv\nLINK:  <a>; rel=next \t\n"
                                          "x-link: no\nlink:\nLink-x: no\nno colon\nlink: <b>");
    static const struct {
        const char *name;
        const char *values[4];
    } cases[] = {
        {"content-type", {"text/csv"}},
        {"link", {"<a>; rel=next", "", "<b>"}},
        {"x-link", {"no"}},
        {"etag", {NULL}},
        {"", {NULL}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t position = 0;
        size_t count = 0;
        struct span value = {0};
        while (header_next(head, cases[i].name, &position, &value)) {
            cr_assert_not_null(cases[i].values[count], "%s", cases[i].name);
            cr_expect(span_equal_text(value, cases[i].values[count]), "%s", cases[i].name);
            count++;
        }
        cr_expect_null(cases[i].values[count], "%s", cases[i].name);
    }
    size_t position = 0;
    struct span value;
    cr_expect_not(header_next((struct span){0}, "a", &position, &value));
}

Test(header, reads_when_to_try_again)
{
    /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const int64_t now = INT64_C(784111777);
    static const struct {
        const char *value;
        bool valid;
        int64_t seconds;
    } cases[] = {
        {"0", true, 0},
        {"120", true, 120},
        {" 120 ", true, 120},
        {"00120", true, 120},
        {"604800", true, HEADER_RETRY_SECONDS_MAX},
        {"604801", true, HEADER_RETRY_SECONDS_MAX},
        {"99999999999999999999999999", true, HEADER_RETRY_SECONDS_MAX},
        {"Sun, 06 Nov 1994 08:50:37 GMT", true, 60},
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 0},
        {"Sun, 06 Nov 1994 08:48:37 GMT", true, 0},
        {"Mon, 07 Nov 1994 08:49:37 GMT", true, 86400},
        {"Tue, 06 Nov 1994 08:50:37 GMT", true, 60},
        {"Sunday, 06-Nov-94 08:50:37 GMT", true, 60},
        {"Saturday, 06-Nov-69 08:50:37 GMT", true, HEADER_RETRY_SECONDS_MAX},
        {"Friday, 06-Nov-70 08:50:37 GMT", true, 0},
        {"Sun Nov  6 08:50:37 1994", true, 60},
        {"Sun Nov 06 08:50:37 1994", true, 60},
        {"Sun, 06 Nov 1994 08:49:60 GMT", true, 22},
        {"Wed, 31 Dec 9999 23:59:59 GMT", true, HEADER_RETRY_SECONDS_MAX},
        {"Mon, 01 Jan 0001 00:00:00 GMT", true, 0},
        {"", false, 0},
        {" ", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {"1.5", false, 0},
        {"1s", false, 0},
        {"soon", false, 0},
        {"Sun, 06 Nov 1994 08:49:37", false, 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT+1", false, 0},
        {"Sun, 06 Nov 1994 08:49:37 UTC", false, 0},
        {"Sun, 6 Nov 1994 08:49:37 GMT", false, 0},
        {"Sun, 06 Foo 1994 08:49:37 GMT", false, 0},
        {"Sun, 31 Nov 1994 08:49:37 GMT", false, 0},
        {"Sun, 00 Nov 1994 08:49:37 GMT", false, 0},
        {"Sun, 06 Nov 1994 24:49:37 GMT", false, 0},
        {"Sun, 06 Nov 1994 08:60:37 GMT", false, 0},
        {"Sun, 06 Nov 1994 08:49:61 GMT", false, 0},
        {"Sun, 06 Nov 0000 08:49:37 GMT", false, 0},
        {"Sunday, 06-Nov-1994 08:50:37 GMT", false, 0},
        {"1994-11-06T08:49:37Z", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t seconds = 42;
        cr_expect_eq(header_retry_after(span_of_text(cases[i].value), now * 1000000, &seconds),
                     cases[i].valid, "%s", cases[i].value);
        cr_expect_eq(seconds, cases[i].valid ? cases[i].seconds : 42, "%s: %ld", cases[i].value,
                     (long)seconds);
    }
}

Test(header, finds_the_next_page)
{
    static const struct {
        const char *value;
        enum header_link result;
        const char *target;
    } cases[] = {
        {"<https://a/?page=2>; rel=\"next\"", HEADER_LINK_FOUND, "https://a/?page=2"},
        {"<a>; rel=\"prev\", <b>; rel=\"next\", <c>; rel=\"last\"", HEADER_LINK_FOUND, "b"},
        {"<b>;rel=next", HEADER_LINK_FOUND, "b"},
        {"  <b>  ;  rel  =  next  ", HEADER_LINK_FOUND, "b"},
        {"<b>; REL=\"Next\"", HEADER_LINK_FOUND, "b"},
        {"<b>; rel=\"last next\"", HEADER_LINK_FOUND, "b"},
        {"<b>; title=\"a, <x>; rel=prev\"; rel=next", HEADER_LINK_FOUND, "b"},
        {"<b>; title=\"a \\\" b\"; rel=next", HEADER_LINK_FOUND, "b"},
        {"<a,b;c>; rel=next", HEADER_LINK_FOUND, "a,b;c"},
        {"<b>; rel=next; rel=prev", HEADER_LINK_FOUND, "b"},
        {"<b>; title; rel=next", HEADER_LINK_FOUND, "b"},
        {"<b>; title*=UTF-8''x; rel=next", HEADER_LINK_FOUND, "b"},
        {"<b>;; rel=next", HEADER_LINK_FOUND, "b"},
        {", ,<b>; rel=next", HEADER_LINK_FOUND, "b"},
        {"<>; rel=next", HEADER_LINK_FOUND, ""},
        {"<b>; rel=next, not a link", HEADER_LINK_FOUND, "b"},
        {"", HEADER_LINK_NONE, NULL},
        {" , ", HEADER_LINK_NONE, NULL},
        {"<b>", HEADER_LINK_NONE, NULL},
        {"<b>; rel=prev; rel=next", HEADER_LINK_NONE, NULL},
        {"<b>; rel=nextpage", HEADER_LINK_NONE, NULL},
        {"<b>; rel=\"next-page\"", HEADER_LINK_NONE, NULL},
        {"<b>; rel=https://a/next", HEADER_LINK_NONE, NULL},
        {"<b>; rev=next", HEADER_LINK_NONE, NULL},
        {"<b>; rel", HEADER_LINK_NONE, NULL},
        {"<b>; rel=\"\"", HEADER_LINK_NONE, NULL},
        {"b; rel=next", HEADER_LINK_MALFORMED, NULL},
        {"<b; rel=next", HEADER_LINK_MALFORMED, NULL},
        {"<b> rel=next", HEADER_LINK_MALFORMED, NULL},
        {"<b>; rel=\"next", HEADER_LINK_MALFORMED, NULL},
        {"<b>; rel=\"next\\\"", HEADER_LINK_MALFORMED, NULL},
        {"<a>; rel=prev <b>; rel=next", HEADER_LINK_MALFORMED, NULL},
        {"<a>; x=\"y\"z, <b>; rel=next", HEADER_LINK_MALFORMED, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct span target = span_of_text("untouched");
        enum header_link result = header_link_find(span_of_text(cases[i].value), "next", &target);
        cr_expect_eq(result, cases[i].result, "%s: %d", cases[i].value, result);
        cr_expect(
            span_equal_text(target, result == HEADER_LINK_FOUND ? cases[i].target : "untouched"),
            "%s: %.*s", cases[i].value, SPAN_PRINT(target));
    }
}
