/*
 * Requests that must never reach a server of ours (SSRF). A listener on loopback
 * counts connections: refused means that not one packet was sent to it.
 */
#include "storage/remote/client.h"

#include "storage/base/mem.h"
#include "storage/remote/auth.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/storage/remote/remote_kit.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static struct remote *open_remote(const struct remote_options *options)
{
    struct err err = {0};
    struct remote *remote = NULL;
    cr_assert_eq(remote_open(options, &remote, &err), ERR_OK, "%s", err.msg);
    return remote;
}

static enum err_code get(struct remote *remote, const char *url, struct err *err)
{
    struct remote_answer answer;
    const struct remote_request request = {
        .url = url, .redirects_max = 5, .limits = {.deadline_ms = 3000}};
    remote_answer_init(&answer);
    err_clear(err);
    enum err_code code = remote_call(remote, &request, &answer, err);
    if (code != ERR_OK) {
        cr_expect_eq(answer.status, 0, "%s", url);
    }
    remote_answer_deinit(&answer);
    return code;
}

/* The listener's connections, counted when a late one would have shown: after one more of ours. */
static void expect_untouched(struct kit *kit, const char *what)
{
    int before = lying_server_connections(kit->server);
    cr_assert_eq(kit_call(kit, "/", (struct remote_request){0}), ERR_OK, "%s", kit->err.msg);
    cr_expect_eq(before, 0, "%s", what);
    cr_expect_eq(lying_server_connections(kit->server), 1, "%s", what);
}

Test(guard, no_way_of_writing_loopback_gets_through)
{
    static const struct {
        const char *host;
        enum err_code code;
    } cases[] = {
        {"127.0.0.1", ERR_FORBIDDEN},
        {"127.0.0.2", ERR_FORBIDDEN},
        {"127.255.255.254", ERR_FORBIDDEN},
        {"localhost", ERR_FORBIDDEN},
        {"LOCALHOST", ERR_FORBIDDEN},
        {"localhost.", ERR_IO}, /* some resolvers know it, others do not */
        {"a.localhost", ERR_FORBIDDEN},
        {"0.0.0.0", ERR_FORBIDDEN},
        {"127.0.0.1.", ERR_IO},
        {"[::1]", ERR_FORBIDDEN},
        {"[0:0:0:0:0:0:0:1]", ERR_FORBIDDEN},
        {"[::]", ERR_FORBIDDEN},
        {"[::ffff:127.0.0.1]", ERR_FORBIDDEN},
        {"[::ffff:7f00:1]", ERR_FORBIDDEN},
        {"[::FFFF:127.0.0.1]", ERR_FORBIDDEN},
        {"[::127.0.0.1]", ERR_FORBIDDEN},
        {"[64:ff9b::127.0.0.1]", ERR_FORBIDDEN},
        {"[2002:7f00:1::]", ERR_FORBIDDEN},
        {"[2001:0:7f00:1::]", ERR_FORBIDDEN},
        {"2130706433", ERR_INVALID},
        {"017700000001", ERR_INVALID},
        {"0x7f000001", ERR_INVALID},
        {"0x7f.0x0.0x0.0x1", ERR_INVALID},
        {"0177.0.0.1", ERR_INVALID},
        {"0177.0.0.01", ERR_INVALID},
        {"127.1", ERR_INVALID},
        {"127.0.1", ERR_INVALID},
        {"127.0.0.1.1", ERR_INVALID},
        {"0", ERR_INVALID},
        {"00", ERR_INVALID},
        {"0x0", ERR_INVALID},
        {"6425673729", ERR_INVALID}, /* 127.0.0.1 modulo 2^32 */
        {"127.0.0.1%00", ERR_INVALID},
        {"127。0。0。1", ERR_INVALID},
        {"①②⑦.⓪.⓪.①", ERR_INVALID},
        {"example.com@127.0.0.1", ERR_INVALID},
        {"127.0.0.1\\@example.com", ERR_INVALID},
        {"127.0.0.1#@example.com", ERR_INVALID},
        {"127.0.0.1\t", ERR_INVALID},
        {"%31%32%37.0.0.1", ERR_INVALID},
        {"[::1%25lo]", ERR_INVALID},
    };
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200");
    CLEANUP(remote_close) struct remote *remote = open_remote(&(struct remote_options){0});
    for (size_t i = 0; i < COUNT(cases); i++) {
        static const char *const schemes[] = {"http", "https"};
        for (size_t k = 0; k < COUNT(schemes); k++) {
            char url[256];
            struct err err = {0};
            (void)snprintf(url, sizeof url, "%s://%s:%u/?key=hush", schemes[k], cases[i].host,
                           lying_server_port(kit.server)); /* fits */
            enum err_code code = get(remote, url, &err);
            cr_assert(code == cases[i].code || (cases[i].code == ERR_IO && code == ERR_FORBIDDEN),
                      "%s: %s", url, err.msg);
            cr_expect(cases[i].code != ERR_FORBIDDEN || strstr(err.msg, "outgoing-allow") != NULL,
                      "%s: %s", url, err.msg);
            cr_expect(strstr(err.msg, "hush") == NULL, "%s", err.msg);
        }
    }
    expect_untouched(&kit, "forms of loopback");
}

/* A name server's answer, put in by hand: the guard must look at it, not at the name. */
struct named {
    const char *name;
    const char *addresses;
    const char *says;
};

static void expect_refused(const struct named *named, const char *scheme, unsigned port)
{
    char answer[256];
    char url[256];
    struct err err = {0};
    (void)snprintf(answer, sizeof answer, "%s:%u:%s", named->name, port,
                   named->addresses);                                          /* fits */
    (void)snprintf(url, sizeof url, "%s://%s:%u/", scheme, named->name, port); /* fits */
    const char *const resolve[] = {answer, NULL};
    CLEANUP(remote_close)
    struct remote *remote = open_remote(&(struct remote_options){.resolve = resolve});
    cr_assert_eq(get(remote, url, &err), ERR_FORBIDDEN, "%s: %s", named->name, err.msg);
    cr_expect(strstr(err.msg, named->says) != NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, named->addresses) == NULL, "not the address: %s", err.msg);
}

Test(guard, names_are_judged_by_what_they_resolve_to)
{
    static const struct named cases[] = {
        {"to-loopback.example", "127.0.0.1", "a loopback address"},
        {"to-zero.example", "0.0.0.0", "an unspecified address"},
        {"to-loopback6.example", "[::1]", "a loopback address"},
        {"to-mapped.example", "[::ffff:127.0.0.1]", "an IPv6 form of another address"},
        {"to-both.example", "127.0.0.1,[::1]", "a loopback address"},
    };
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200");
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_refused(&cases[i], "http", lying_server_port(kit.server));
        expect_refused(&cases[i], "https", lying_server_port(kit.server));
    }
    expect_untouched(&kit, "names of loopback");
}

/* A network without routes: were the guard to let an address pass, nothing would leave. */
static bool leave_the_network(void)
{
    return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

Test(guard, names_of_other_networks_are_refused)
{
    static const struct named cases[] = {
        {"to-private.example", "10.0.0.1", "a private address"},
        {"to-metadata.example", "169.254.169.254", "a link-local address"},
        {"to-metadata6.example", "[fd00:ec2::254]", "a private address"},
        {"to-shared.example", "100.64.0.1", "a shared (carrier) address"},
        {"to-link.example", "[fe80::1]", "a link-local address"},
        {"to-nat64.example", "[64:ff9b::a00:1]", "an IPv6 form of another address"},
        {"to-6to4.example", "[2002:a00:1::]", "an IPv6 form of another address"},
        {"to-group.example", "224.0.0.1", "a multicast address"},
        {"to-all.example", "255.255.255.255", "the broadcast address"},
        {"to-paper.example", "192.0.2.1", "a documentation address"},
        {"to-many.example", "10.0.0.1,192.168.0.1,127.0.0.1", "address"},
    };
    static const struct named public = {"to-public.example", "9.9.9.9", "use https"};
    if (!leave_the_network()) {
        cr_skip_test("no network namespaces here");
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        expect_refused(&cases[i], "https", 443);
    }
    expect_refused(&public, "http", 80);
}

Test(guard, the_allow_list_names_address_and_port)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200");
    uint16_t port = lying_server_port(kit.server);
    const struct {
        const char *allow;
        uint16_t port;
        enum err_code code;
    } cases[] = {
        {"127.0.0.1", 0, ERR_OK},
        {"127.0.0.0/8", 0, ERR_OK},
        {"127.0.0.1:%u", port, ERR_OK},
        {"10.0.0.0/8, 127.0.0.1:%u", port, ERR_OK},
        {"127.0.0.1:%u", (uint16_t)(port ^ 1), ERR_FORBIDDEN},
        {"127.0.0.2", 0, ERR_FORBIDDEN},
        {"::ffff:127.0.0.1", 0, ERR_FORBIDDEN},
        {"::/0", 0, ERR_FORBIDDEN},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char allow[64];
        struct err err = {0};
        (void)snprintf(allow, sizeof allow, "%.*s", (int)strcspn(cases[i].allow, "%"),
                       cases[i].allow); /* fits */
        if (cases[i].port != 0) {
            size_t size = strlen(allow);
            (void)snprintf(allow + size, sizeof allow - size, "%u", cases[i].port); /* fits */
        }
        CLEANUP(remote_close)
        struct remote *remote = open_remote(&(struct remote_options){.allow = allow});
        cr_expect_eq(get(remote, kit_url(&kit, "/"), &err), cases[i].code, "%s: %s", allow,
                     err.msg);
    }
}

Test(guard, a_wrong_allow_list_opens_nothing)
{
    struct err err = {0};
    struct remote *remote = NULL;
    const struct remote_options options = {.allow = "10.0.0.0/8, localhost"};
    cr_expect_eq(remote_open(&options, &remote, &err), ERR_INVALID);
    cr_expect_null(remote);
    cr_expect(strstr(err.msg, "outgoing-allow: entry 'localhost'") != NULL, "%s", err.msg);
}

/* ---- redirects ---- */

Test(guard, redirects_are_guarded_at_each_hop)
{
    CLEANUP(kit_end) struct kit inner = kit_begin("/ 200 body=secret");
    char script[1024];
    unsigned port = lying_server_port(inner.server);
    (void)snprintf(script, sizeof script,
                   "/plain 302 location=http://127.0.0.1:%u/\n"
                   "/name 302 location=http://localhost:%u/\n"
                   "/other 302 location=http://127.0.0.2:%u/\n"
                   "/zero 301 location=http://0.0.0.0:%u/\n"
                   "/short 303 location=http://127.1:%u/\n"
                   "/six 307 location=http://[::1]:%u/\n"
                   "/mapped 308 location=http://[::ffff:127.0.0.1]:%u/\n"
                   "/tls 302 location=https://127.0.0.1:%u/\n"
                   "/relative 302 location=//127.0.0.1:%u/\n"
                   "/twice 302 location=/plain\n"
                   "/user 302 location=http://a:b@127.0.0.1:%u/\n"
                   "/file 302 location=file:///etc/passwd\n"
                   "/gopher 302 location=gopher://127.0.0.1:%u/_x\n",
                   port, port, port, port, port, port, port, port, port, port, port); /* fits */
    CLEANUP(kit_end) struct kit kit = kit_begin(script);
    static const struct {
        const char *path;
        enum err_code code;
    } cases[] = {
        {"/plain", ERR_FORBIDDEN},  {"/name", ERR_FORBIDDEN}, {"/other", ERR_FORBIDDEN},
        {"/zero", ERR_FORBIDDEN},   {"/short", ERR_INVALID},  {"/six", ERR_FORBIDDEN},
        {"/mapped", ERR_FORBIDDEN}, {"/tls", ERR_FORBIDDEN},  {"/relative", ERR_FORBIDDEN},
        {"/twice", ERR_FORBIDDEN},  {"/user", ERR_INVALID},   {"/file", ERR_INVALID},
        {"/gopher", ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct remote_request request = {.redirects_max = 5};
        cr_expect_eq(kit_call(&kit, cases[i].path, request), cases[i].code, "%s: %s", cases[i].path,
                     kit.err.msg);
    }
    expect_untouched(&inner, "redirects");
}

Test(guard, redirects_are_followed_as_far_as_allowed)
{
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/a/1 302 location=2\n/a/2 301 location=../b?x=1#part\n/b?x=1 200 body=end\n"
                  "/loop 302 location=/loop\n/none 302 body=here\n/see 303 location=/b?x=1\n");
    cr_assert_eq(kit_call(&kit, "/a/1", (struct remote_request){.redirects_max = 2}), ERR_OK, "%s",
                 kit.err.msg);
    cr_expect_eq(kit.answer.status, 200);
    cr_expect_eq(kit.answer.redirects_count, 2);
    cr_expect(span_equal_text(buffer_span(&kit.answer.body), "end"));
    cr_expect(span_equal_text(buffer_span(&kit.answer.url), kit_url(&kit, "/b?x=1")));
    cr_expect_eq(kit_call(&kit, "/a/1", (struct remote_request){.redirects_max = 1}), ERR_INVALID);
    cr_expect(strstr(kit.err.msg, "more than 1 redirects") != NULL, "%s", kit.err.msg);
    cr_expect_eq(kit_call(&kit, "/loop", (struct remote_request){.redirects_max = 999}),
                 ERR_INVALID);
    cr_expect_eq(lying_server_requests(kit.server, "/loop"), REMOTE_REDIRECTS_MAX + 1);
    cr_expect_eq(kit_call(&kit, "/none", (struct remote_request){.redirects_max = 5}), ERR_OK);
    cr_expect_eq(kit.answer.status, 302);
    const struct remote_request post = {.method = "POST", .redirects_max = 5};
    cr_expect_eq(kit_call(&kit, "/see", post), ERR_OK);
    cr_expect_eq(kit.answer.status, 303, "only GET and HEAD follow");
}

static struct remote_auth *bearer(const char *token)
{
    struct err err = {0};
    struct remote_auth *auth = NULL;
    const struct remote_auth_options options = {.type = REMOTE_AUTH_BEARER,
                                                .token = span_of_text(token)};
    cr_assert_eq(remote_auth_new(&options, &auth, &err), ERR_OK, "%s", err.msg);
    return auth;
}

Test(guard, credentials_do_not_cross_to_another_origin)
{
    CLEANUP(kit_end) struct kit other = kit_begin("/there 200\n");
    char script[256];
    (void)snprintf(script, sizeof script,
                   "/same 302 location=/here\n/here 200\n"
                   "/away 302 location=http://127.0.0.1:%u/there\n",
                   lying_server_port(other.server)); /* fits */
    CLEANUP(kit_end) struct kit kit = kit_begin(script);
    remote_close(&kit.remote);
    kit.remote = open_remote(&(struct remote_options){.allow = "127.0.0.1"});
    CLEANUP(remote_auth_free) struct remote_auth *auth = bearer("hush");
    const struct remote_header headers[] = {
        {"X-Api-Key", "hush"}, {"Cookie", "hush"}, {"Accept", "text/csv"}};
    const struct remote_request request = {
        .auth = auth, .headers = headers, .headers_count = 3, .redirects_max = 1};
    static const struct {
        const char *name;
        const char *here;
        const char *there;
    } cases[] = {{"authorization", "Bearer hush", ""},
                 {"x-api-key", "hush", ""},
                 {"cookie", "hush", ""},
                 {"accept", "text/csv", "text/csv"}};
    cr_assert_eq(kit_call(&kit, "/same", request), ERR_OK, "%s", kit.err.msg);
    cr_assert_eq(kit_call(&kit, "/away", request), ERR_OK, "%s", kit.err.msg);
    cr_expect_eq(kit.answer.status, 200);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(mem_cleanup) char *here = lying_server_seen(kit.server, "/here", cases[i].name);
        CLEANUP(mem_cleanup) char *there = lying_server_seen(other.server, "/there", cases[i].name);
        cr_expect_str_eq(here, cases[i].here);
        cr_expect_str_eq(there, cases[i].there);
    }
}

/* ---- TLS ---- */

Test(guard, tls_is_verified_always)
{
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *ca = temp_dir_join(&dir, "ca.pem");
    struct lying_server *server = lying_server_start(&(struct lying_options){
        .script = "/ 200 body=safe\n/down 302 location=http://127.0.0.1:%PORT%/",
        .tls_host = "hooks.example",
        .tls_ca_path = ca});
    unsigned port = lying_server_port(server);
    char right[64];
    char wrong[64];
    (void)snprintf(right, sizeof right, "hooks.example:%u:127.0.0.1", port); /* fits */
    (void)snprintf(wrong, sizeof wrong, "other.example:%u:127.0.0.1", port); /* fits */
    const char *const resolve[] = {right, wrong, NULL};
    const struct {
        const char *name;
        const char *host;
        const char *ca_file;
        const char *path;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"trusted", "hooks.example", ca, "/", ERR_OK, ""},
        {"trusted, another name", "other.example", ca, "/", ERR_IO, "TLS refused"},
        {"trusted, by address", "127.0.0.1", ca, "/", ERR_IO, "TLS refused"},
        {"not trusted", "hooks.example", NULL, "/", ERR_IO, "TLS refused"},
        {"down to plain http", "hooks.example", ca, "/down", ERR_FORBIDDEN, "plain http"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char url[128];
        struct err err = {0};
        struct remote_answer answer;
        const struct remote_options options = {
            .allow = "127.0.0.1", .ca_file = cases[i].ca_file, .resolve = resolve};
        CLEANUP(remote_close) struct remote *remote = open_remote(&options);
        (void)snprintf(url, sizeof url, "https://%s:%u%s", cases[i].host, port,
                       cases[i].path); /* fits */
        remote_answer_init(&answer);
        const struct remote_request request = {.url = url, .redirects_max = 3};
        cr_expect_eq(remote_call(remote, &request, &answer, &err), cases[i].code, "%s: %s",
                     cases[i].name, err.msg);
        cr_expect(strstr(err.msg, cases[i].says) != NULL, "%s: %s", cases[i].name, err.msg);
        remote_answer_deinit(&answer);
    }
    cr_expect_eq(lying_server_requests(server, NULL), 2, "only who trusts asks");
    lying_server_stop(&server);
}
