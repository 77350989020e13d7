/*
 * Credentials: what is put on the wire, and the life of an OAuth2 token.
 */
#include "storage/remote/auth.h"

#include "storage/base/mem.h"
#include "tests/unit/storage/remote/remote_kit.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static void expect_seen(struct kit *kit, const char *path, const char *name, const char *value)
{
    CLEANUP(mem_cleanup) char *seen = lying_server_seen(kit->server, path, name);
    cr_expect_str_eq(seen, value, "%s of %s", name, path);
}

Test(auth, bearer_and_basic_are_headers)
{
    static const struct {
        struct remote_auth_options options;
        const char *header;
    } cases[] = {
        {{.type = REMOTE_AUTH_BEARER, .token = {(const uint8_t *)"a.b-c", 5}}, "Bearer a.b-c"},
        /* RFC 7617 section 2 */
        {{.type = REMOTE_AUTH_BASIC,
          .username = {(const uint8_t *)"Aladdin", 7},
          .password = {(const uint8_t *)"open sesame", 11}},
         "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {{.type = REMOTE_AUTH_BASIC,
          .username = {(const uint8_t *)"u", 1},
          .password = {(const uint8_t *)"a:b", 3}},
         "Basic dTphOmI="},
    };
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200\n/no 401");
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(remote_auth_free) struct remote_auth *auth = NULL;
        cr_assert_eq(remote_auth_new(&cases[i].options, &auth, &kit.err), ERR_OK, "%s",
                     kit.err.msg);
        cr_assert_eq(kit_call(&kit, "/", (struct remote_request){.auth = auth}), ERR_OK);
        expect_seen(&kit, "/", "authorization", cases[i].header);
        int before = lying_server_requests(kit.server, "/no");
        cr_assert_eq(kit_call(&kit, "/no", (struct remote_request){.auth = auth}), ERR_OK);
        cr_expect_eq(kit.answer.status, 401);
        cr_expect_eq(lying_server_requests(kit.server, "/no"), before + 1, "nothing to refresh");
    }
}

Test(auth, refuses_what_no_header_may_carry)
{
    static char long_text[REMOTE_AUTH_SECRET_BYTES_MAX + 1];
    memset(long_text, 'x', sizeof long_text);
    const struct span empty = {0};
    const struct span good = span_of_text("good");
    const struct span split = span_of_text("hush\r\nX: y");
    const struct span blank = span_of_text("hu sh");
    const struct span colon = span_of_text("hu:sh");
    const struct span too_long = span_of(long_text, sizeof long_text);
    const struct {
        const char *name;
        struct remote_auth_options options;
    } cases[] = {
        {"no token", {.type = REMOTE_AUTH_BEARER, .token = empty}},
        {"split token", {.type = REMOTE_AUTH_BEARER, .token = split}},
        {"blank in token", {.type = REMOTE_AUTH_BEARER, .token = blank}},
        {"long token", {.type = REMOTE_AUTH_BEARER, .token = too_long}},
        {"split user", {.type = REMOTE_AUTH_BASIC, .username = split, .password = good}},
        {"split password", {.type = REMOTE_AUTH_BASIC, .username = good, .password = split}},
        {"colon in user", {.type = REMOTE_AUTH_BASIC, .username = colon, .password = good}},
        {"long password", {.type = REMOTE_AUTH_BASIC, .username = good, .password = too_long}},
        {"two that are too long together",
         {.type = REMOTE_AUTH_BASIC,
          .username = span_part(too_long, 0, REMOTE_AUTH_SECRET_BYTES_MAX),
          .password = span_part(too_long, 0, REMOTE_AUTH_SECRET_BYTES_MAX)}},
        {"no token url", {.type = REMOTE_AUTH_CLIENT_CREDENTIALS, .client_id = good}},
        {"no client id", {.type = REMOTE_AUTH_CLIENT_CREDENTIALS, .token_url = "https://a/"}},
        {"wrong token url",
         {.type = REMOTE_AUTH_CLIENT_CREDENTIALS, .token_url = "ftp://a/", .client_id = good}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        struct remote_auth *auth = NULL;
        cr_expect_eq(remote_auth_new(&cases[i].options, &auth, &err), ERR_INVALID, "%s",
                     cases[i].name);
        cr_expect_null(auth);
        cr_expect(strstr(err.msg, "hu") == NULL, "%s: %s", cases[i].name, err.msg);
    }
}

/* ---- OAuth2 ---- */

static struct remote_auth *client_of(struct kit *kit, const char *scope)
{
    struct remote_auth *auth = NULL;
    const struct remote_auth_options options = {
        .type = REMOTE_AUTH_CLIENT_CREDENTIALS,
        .token_url = kit_url(kit, "/token"),
        .client_id = span_of_text("cli:ent"),
        .client_secret = span_of_text("s&cret"),
        .scope = span_of_text(scope),
    };
    cr_assert_eq(remote_auth_new(&options, &auth, &kit->err), ERR_OK, "%s", kit->err.msg);
    return auth;
}

#define TOKEN(text, life)                                                                          \
    "/token 200 type=application/json "                                                            \
    "body=\"{\\\"access_token\\\":\\\"" text "\\\",\\\"token_type\\\":\\\"bearer\\\","             \
    "\\\"expires_in\\\":" life "}\"\n"

Test(auth, a_token_is_fetched_once_and_kept)
{
    CLEANUP(kit_end) struct kit kit = kit_begin(TOKEN("t1", "3600") "/ 200");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "read write");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(kit_call(&kit, "/", (struct remote_request){.auth = auth}), ERR_OK, "%s",
                     kit.err.msg);
        expect_seen(&kit, "/", "authorization", "Bearer t1");
    }
    cr_expect_eq(lying_server_requests(kit.server, "/token"), 1);
    expect_seen(&kit, "/token", "", "POST /token HTTP/1.1");
    expect_seen(&kit, "/token", "content-type", "application/x-www-form-urlencoded");
    expect_seen(&kit, "/token", "body", "grant_type=client_credentials&scope=read%20write");
    /* base64 of cli%3Aent:s%26cret */
    expect_seen(&kit, "/token", "authorization", "Basic Y2xpJTNBZW50OnMlMjZjcmV0");
}

Test(auth, a_refused_token_is_fetched_anew_once)
{
    CLEANUP(kit_end)
    struct kit kit = kit_begin(TOKEN("t1", "3600") TOKEN("t2", "3600") "/ 401\n/ 200\n/never 401");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "");
    cr_assert_eq(kit_call(&kit, "/", (struct remote_request){.auth = auth}), ERR_OK);
    cr_expect_eq(kit.answer.status, 200);
    expect_seen(&kit, "/", "authorization", "Bearer t2");
    cr_expect_eq(lying_server_requests(kit.server, "/token"), 2);
    cr_assert_eq(kit_call(&kit, "/never", (struct remote_request){.auth = auth}), ERR_OK);
    cr_expect_eq(kit.answer.status, 401);
    cr_expect_eq(lying_server_requests(kit.server, "/never"), 2);
    cr_expect_eq(lying_server_requests(kit.server, "/token"), 3);
}

Test(auth, a_token_is_renewed_before_it_ends)
{
    CLEANUP(kit_end)
    struct kit kit = kit_begin(TOKEN("t1", "30") TOKEN("t2", "31.5") "/ 200");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "");
    static const struct {
        const char *header;
        int fetches;
    } cases[] = {{"Bearer t1", 1}, {"Bearer t2", 2}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_eq(kit_call(&kit, "/", (struct remote_request){.auth = auth}), ERR_OK);
        expect_seen(&kit, "/", "authorization", cases[i].header);
        cr_expect_eq(lying_server_requests(kit.server, "/token"), cases[i].fetches);
    }
}

Test(auth, answers_that_are_no_token)
{
    static const struct {
        const char *answer;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"400 body=\"{\\\"error\\\":\\\"invalid_client\\\"}\"", ERR_UNAUTHENTICATED, "client_id"},
        {"401", ERR_UNAUTHENTICATED, "client_id"},
        {"403", ERR_UNAUTHENTICATED, "client_id"},
        {"404", ERR_NOT_FOUND, "404"},
        {"500", ERR_IO, "500"},
        {"503 retry-after=3", ERR_BUSY, "wait 3 s"},
        {"hang", ERR_CANCELLED, NULL},
        {"204", ERR_INVALID, "status"},
        {"302 location=/elsewhere", ERR_INVALID, "redirects"},
        {"200 body=hush", ERR_INVALID, "no JSON"},
        {"200 body=\"{}\"", ERR_INVALID, "access_token"},
        {"200 body=\"{\\\"access_token\\\":7}\"", ERR_INVALID, "access_token"},
        {"200 body=\"{\\\"access_token\\\":\\\"\\\"}\"", ERR_INVALID, "access_token"},
        {"200 body=\"{\\\"access_token\\\":\\\"hush\\\\\\\\r\\\\\\\\nX: y\\\"}\"", ERR_INVALID,
         "access_token"},
        {"200 body=\"{\\\"access_token\\\":\\\"hush\\\",\\\"token_type\\\":\\\"mac\\\"}\"",
         ERR_INVALID, "token_type"},
        {"200 body=x repeat=20000", ERR_TOO_LARGE, "body"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char script[256];
        (void)snprintf(script, sizeof script, "/token %s\n/ 200", cases[i].answer); /* fits */
        CLEANUP(kit_end) struct kit kit = kit_begin(script);
        CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "");
        _Atomic bool cancelled = cases[i].code == ERR_CANCELLED;
        const struct remote_request request = {.auth = auth, .cancelled = &cancelled};
        cr_expect_eq(kit_call(&kit, "/", request), cases[i].code, "%s: %s", cases[i].answer,
                     kit.err.msg);
        cr_expect(cases[i].says == NULL || strstr(kit.err.msg, cases[i].says) != NULL, "%s: %s",
                  cases[i].answer, kit.err.msg);
        cr_expect(strstr(kit.err.msg, "hush") == NULL, "%s", kit.err.msg);
        cr_expect_eq(lying_server_requests(kit.server, "/"), 0);
    }
}

Test(auth, the_token_server_is_guarded_alike)
{
    CLEANUP(kit_end) struct kit tokens = kit_begin(TOKEN("t1", "3600"));
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&tokens, "");
    cr_expect_eq(kit_call(&kit, "/", (struct remote_request){.auth = auth}), ERR_FORBIDDEN);
    cr_expect(strstr(kit.err.msg, "fetch an access token") != NULL, "%s", kit.err.msg);
    cr_expect_eq(lying_server_connections(tokens.server), 0);
    cr_expect_eq(lying_server_connections(kit.server), 0);
}

Test(auth, a_header_beside_it_is_refused)
{
    CLEANUP(kit_end) struct kit kit = kit_begin(TOKEN("t1", "3600") "/ 200");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "");
    const struct remote_header header = {"authorization", "Bearer x"};
    const struct remote_request request = {.auth = auth, .headers = &header, .headers_count = 1};
    cr_expect_eq(kit_call(&kit, "/", request), ERR_INVALID);
}

/* ---- threads ---- */

struct worker {
    pthread_t thread;
    struct kit *kit;
    struct remote_auth *auth;
    char url[64];
    enum err_code code;
    int status;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct err err = {0};
    struct remote_answer answer;
    remote_answer_init(&answer);
    const struct remote_request request = {.url = worker->url, .auth = worker->auth};
    worker->code = remote_call(worker->kit->remote, &request, &answer, &err);
    worker->status = answer.status;
    remote_answer_deinit(&answer);
    return NULL;
}

Test(auth, threads_share_one_fetch)
{
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/token 200 delay=100 "
                  "body=\"{\\\"access_token\\\":\\\"t1\\\",\\\"expires_in\\\":1}\"\n/ 200");
    CLEANUP(remote_auth_free) struct remote_auth *auth = client_of(&kit, "");
    struct worker workers[8];
    for (size_t i = 0; i < COUNT(workers); i++) {
        workers[i] = (struct worker){.kit = &kit, .auth = auth};
        (void)snprintf(workers[i].url, sizeof workers[i].url, "%s", kit_url(&kit, "/")); /* fits */
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < COUNT(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        cr_expect_eq(workers[i].code, ERR_OK);
        cr_expect_eq(workers[i].status, 200);
    }
    int fetches = lying_server_requests(kit.server, "/token");
    cr_expect(fetches >= 1 && fetches < 8, "%d", fetches);
}
