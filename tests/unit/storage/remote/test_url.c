/*
 * URLs: what is taken, what is refused, references resolved as RFC 3986 has it.
 */
#include "storage/remote/url.h"

#include <criterion/criterion.h>

#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

Test(url, takes_apart_what_it_takes)
{
    static const struct {
        const char *text;
        bool secure;
        const char *host;
        uint16_t port;
        const char *target;
        const char *origin;
    } cases[] = {
        {"https://a", true, "a", 443, "", "https:a:443"},
        {"http://a", false, "a", 80, "", "http:a:80"},
        {"HTTPS://API.Example.com/x", true, "API.Example.com", 443, "/x",
         "https:api.example.com:443"},
        {"https://a:8443/b?c=d&e=%20", true, "a", 8443, "/b?c=d&e=%20", "https:a:8443"},
        {"https://a?b", true, "a", 443, "?b", "https:a:443"},
        {"https://a/?b=https://c", true, "a", 443, "/?b=https://c", "https:a:443"},
        {"https://a/@b:c", true, "a", 443, "/@b:c", "https:a:443"},
        {"http://127.0.0.1:9000/", false, "127.0.0.1", 9000, "/", "http:127.0.0.1:9000"},
        {"http://[::1]:9000/", false, "::1", 9000, "/", "http:[::1]:9000"},
        {"https://[2001:DB8::1]", true, "2001:DB8::1", 443, "", "https:[2001:db8::1]:443"},
        {"https://a_b-c.d.", true, "a_b-c.d.", 443, "", "https:a_b-c.d.:443"},
        {"https://xn--bcher-kva.example/", true, "xn--bcher-kva.example", 443, "/",
         "https:xn--bcher-kva.example:443"},
        {"https://1.example", true, "1.example", 443, "", "https:1.example:443"},
        {"https://a:1", true, "a", 1, "", "https:a:1"},
        {"https://a:65535", true, "a", 65535, "", "https:a:65535"},
        {"https://a:00443/", true, "a", 443, "/", "https:a:443"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct url url = {0};
        cr_assert_eq(url_parse(span_of_text(cases[i].text), &url, &err), ERR_OK, "%s: %s",
                     cases[i].text, err.msg);
        char origin[URL_ORIGIN_BYTES];
        url_origin(&url, origin);
        cr_expect_eq(url.secure, cases[i].secure, "%s", cases[i].text);
        cr_expect_eq(url.port, cases[i].port, "%s", cases[i].text);
        cr_expect(span_equal_text(url.host, cases[i].host), "%s", cases[i].text);
        cr_expect(span_equal_text(url.target, cases[i].target), "%s", cases[i].text);
        cr_expect_str_eq(origin, cases[i].origin);
    }
}

Test(url, refuses_what_could_be_read_in_two_ways)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "starts with https://"},
        {"a", "starts with https://"},
        {"//a/", "starts with https://"},
        {"ftp://a/", "starts with https://"},
        {"file:///etc/passwd", "starts with https://"},
        {"gopher://127.0.0.1:6379/_INFO", "starts with https://"},
        {"https:/a", "starts with https://"},
        {"https:a", "starts with https://"},
        {" https://a", "byte 1"},
        {"https://a ", "byte 10"},
        {"https://a/\t", "byte 11"},
        {"https://a/\r\nX: y", "byte 11"},
        {"https://a\\@b/", "byte 10"},
        {"https://b\xc3\xbc"
         "cher/",
         "byte 10"},
        {"https://a/{{secrets.x}}", "byte 11"},
        {"https://a/#b", "fragment"},
        {"https://", "host"},
        {"https:///a", "host"},
        {"https://?a", "host"},
        {"https://:443/", "host"},
        {"https://user@a/", "user name or password"},
        {"https://user:secret@a/", "user name or password"},
        {"https://a@b@c/", "user name or password"},
        {"https://a%2eb/", "letters, digits"},
        {"https://a,b/", "letters, digits"},
        {"https://a;b/", "letters, digits"},
        {"https://a:/", "port"},
        {"https://a:0/", "port"},
        {"https://a:65536/", "port"},
        {"https://a:000443/", "port"},
        {"https://a:+1/", "port"},
        {"https://a:80:80/", "port"},
        {"https://[::1/", "brackets"},
        {"https://[::1]a/", "port"},
        {"https://[127.0.0.1]/", "brackets"},
        {"https://[fe80::1%25lo]/", "brackets"},
        {"https://[v1.a]/", "brackets"},
        {"http://2130706433/", "four decimal"},
        {"http://127.1/", "four decimal"},
        {"http://127.0.1/", "four decimal"},
        {"http://0/", "four decimal"},
        {"http://0x7f000001/", "four decimal"},
        {"http://0X7F.1/", "four decimal"},
        {"http://0x7f.0x0.0x0.0x1/", "four decimal"},
        {"http://0177.0.0.1/", "four decimal"},
        {"http://017700000001/", "four decimal"},
        {"http://127.0.0.1./", NULL},
        {"http://127.0.0.01/", "four decimal"},
        {"http://127.0.0.0x1/", "four decimal"},
        {"http://127.0.0.1.1/", "four decimal"},
        {"http://256.0.0.1/", "four decimal"},
        {"http://a.1/", "four decimal"},
        {"http://2130706433./", "four decimal"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct url url = {.port = 7};
        enum err_code code = url_parse(span_of_text(cases[i].text), &url, &err);
        if (cases[i].says == NULL) {
            cr_expect_eq(code, ERR_OK, "%s", cases[i].text);
            continue;
        }
        cr_expect_eq(code, ERR_INVALID, "%s", cases[i].text);
        cr_expect_eq(url.port, 7, "%s", cases[i].text);
        cr_expect(strstr(err.msg, cases[i].says) != NULL, "%s says: %s", cases[i].text, err.msg);
        cr_expect(strstr(err.msg, "secret") == NULL, "%s", err.msg);
    }
}

Test(url, has_limits)
{
    static char text[URL_BYTES_MAX + 2] = "https://a/";
    struct err err = {0};
    struct url url;
    memset(text + 10, 'p', sizeof text - 11);
    cr_expect_eq(url_parse(span_of(text, URL_BYTES_MAX), &url, &err), ERR_OK);
    cr_expect_eq(url_parse(span_of(text, URL_BYTES_MAX + 1), &url, &err), ERR_INVALID);
    memset(text + 8, 'h', sizeof text - 9);
    cr_expect_eq(url_parse(span_of(text, 8 + URL_HOST_BYTES_MAX), &url, &err), ERR_OK);
    cr_expect_eq(url_parse(span_of(text, 8 + URL_HOST_BYTES_MAX + 1), &url, &err), ERR_INVALID);
    /* the longest origin there is */
    char origin[URL_ORIGIN_BYTES];
    memcpy(text + 8 + URL_HOST_BYTES_MAX, ":65535", 6);
    cr_assert_eq(url_parse(span_of(text, 8 + URL_HOST_BYTES_MAX + 6), &url, &err), ERR_OK);
    url_origin(&url, origin);
    cr_expect_eq(strlen(origin), strlen("https:") + URL_HOST_BYTES_MAX + strlen(":65535"));
}

Test(url, resolves_references)
{
    static const struct {
        const char *base;
        const char *reference;
        const char *url; /* NULL = refused */
    } cases[] = {
        /* RFC 3986 5.4.1 and 5.4.2, the base's fragment aside */
        {"http://a/b/c/d;p?q", "g", "http://a/b/c/g"},
        {"http://a/b/c/d;p?q", "./g", "http://a/b/c/g"},
        {"http://a/b/c/d;p?q", "g/", "http://a/b/c/g/"},
        {"http://a/b/c/d;p?q", "/g", "http://a/g"},
        {"http://a/b/c/d;p?q", "//g", "http://g"},
        {"http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y"},
        {"http://a/b/c/d;p?q", "g?y", "http://a/b/c/g?y"},
        {"http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q"},
        {"http://a/b/c/d;p?q", "g?y#s", "http://a/b/c/g?y"},
        {"http://a/b/c/d;p?q", ";x", "http://a/b/c/;x"},
        {"http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q"},
        {"http://a/b/c/d;p?q", ".", "http://a/b/c/"},
        {"http://a/b/c/d;p?q", "./", "http://a/b/c/"},
        {"http://a/b/c/d;p?q", "..", "http://a/b/"},
        {"http://a/b/c/d;p?q", "../", "http://a/b/"},
        {"http://a/b/c/d;p?q", "../g", "http://a/b/g"},
        {"http://a/b/c/d;p?q", "../..", "http://a/"},
        {"http://a/b/c/d;p?q", "../../g", "http://a/g"},
        {"http://a/b/c/d;p?q", "../../../g", "http://a/g"},
        {"http://a/b/c/d;p?q", "../../../../g", "http://a/g"},
        {"http://a/b/c/d;p?q", "/./g", "http://a/g"},
        {"http://a/b/c/d;p?q", "/../g", "http://a/g"},
        {"http://a/b/c/d;p?q", "g.", "http://a/b/c/g."},
        {"http://a/b/c/d;p?q", "..g", "http://a/b/c/..g"},
        {"http://a/b/c/d;p?q", "./../g", "http://a/b/g"},
        {"http://a/b/c/d;p?q", "./g/.", "http://a/b/c/g/"},
        {"http://a/b/c/d;p?q", "g/./h", "http://a/b/c/g/h"},
        {"http://a/b/c/d;p?q", "g/../h", "http://a/b/c/h"},
        {"http://a/b/c/d;p?q", "g;x=1/../y", "http://a/b/c/y"},
        {"http://a/b/c/d;p?q", "g?y/../x", "http://a/b/c/g?y/../x"},
        {"https://a:8443", "g", "https://a:8443/g"},
        {"https://a:443/x", "/g", "https://a/g"},
        {"https://a?x", "?y", "https://a?y"},
        {"https://[::1]:9/x", "/g", "https://[::1]:9/g"},
        {"https://a/x", "HTTP://b/y", "HTTP://b/y"},
        {"https://a/x", "http://b/y#z", "http://b/y"},
        {"https://a/x", "//b:81/y", "https://b:81/y"},
        {"https://a/x", "/caf\xc3\xa9 {1}|", "https://a/caf%C3%A9%20%7B1%7D%7C"},
        {"https://a/x", "y?u=http://b/", "https://a/y?u=http://b/"},
        {"https://a/x", "file:///etc/passwd", NULL},
        {"https://a/x", "gopher://b/", NULL},
        {"https://a/x", "javascript:x", NULL},
        {"https://a/x", "https:b", NULL},
        {"https://a/x", "///b", NULL},
        {"https://a/x", "/\\b", NULL},
        {"https://a/x", "/a\r\nb", NULL},
        {"https://a/x", "//u:p@b/", NULL},
        {"https://a/x", "http://0x7f.1/", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct url base;
        struct buffer url;
        buffer_init(&url, URL_BYTES_MAX + 10);
        buffer_append_text(&url, "kept ");
        cr_assert_eq(url_parse(span_of_text(cases[i].base), &base, &err), ERR_OK);
        enum err_code code = url_resolve(&base, span_of_text(cases[i].reference), &url, &err);
        cr_expect_eq(code, cases[i].url != NULL ? ERR_OK : ERR_INVALID, "%s: %s",
                     cases[i].reference, err.msg);
        buffer_append_byte(&url, 0);
        cr_expect_str_eq((const char *)url.data + 5, cases[i].url != NULL ? cases[i].url : "",
                         "%s + %s", cases[i].base, cases[i].reference);
        buffer_deinit(&url);
    }
}

Test(url, resolves_within_its_limit)
{
    static char reference[URL_BYTES_MAX + 1];
    struct err err = {0};
    struct url base;
    struct buffer url;
    buffer_init(&url, (size_t)2 * URL_BYTES_MAX);
    cr_assert_eq(url_parse(span_of_text("https://a/b"), &base, &err), ERR_OK);
    memset(reference, 'r', sizeof reference);
    size_t fits = URL_BYTES_MAX - strlen("https://a/");
    cr_expect_eq(url_resolve(&base, span_of(reference, fits), &url, &err), ERR_OK);
    cr_expect_eq(url.size, (size_t)URL_BYTES_MAX);
    buffer_reset(&url);
    cr_expect_eq(url_resolve(&base, span_of(reference, fits + 1), &url, &err), ERR_INVALID);
    cr_expect_eq(url_resolve(&base, span_of(reference, sizeof reference), &url, &err), ERR_INVALID);
    memset(reference, ' ', sizeof reference);
    cr_expect_eq(url_resolve(&base, span_of(reference, fits / 2), &url, &err), ERR_INVALID);
    cr_expect_eq(url.size, 0u);
    buffer_deinit(&url);
}

Test(url, origins_are_scheme_host_and_port)
{
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } cases[] = {
        {"https://a/x", "https://A:443/y?z", true},     {"https://a/", "http://a/", false},
        {"https://a/", "https://a:444/", false},        {"https://a/", "https://b/", false},
        {"https://a/", "https://a.b/", false},          {"https://a/", "https://a./", false},
        {"https://[::1]/", "https://[::1]:443/", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct url a;
        struct url b;
        cr_assert_eq(url_parse(span_of_text(cases[i].a), &a, &err), ERR_OK);
        cr_assert_eq(url_parse(span_of_text(cases[i].b), &b, &err), ERR_OK);
        cr_expect_eq(url_same_origin(&a, &b), cases[i].same, "%s %s", cases[i].a, cases[i].b);
    }
}
