/*
 * Calls against a server that lies: every lie is an error with the right name,
 * and never a shorter answer.
 */
#include "storage/remote/client.h"

#include "storage/base/buffer.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/remote/breaker.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/storage/remote/remote_kit.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static void expect_seen(struct kit *kit, const char *path, const char *name, const char *value)
{
    CLEANUP(mem_cleanup) char *seen = lying_server_seen(kit->server, path, name);
    cr_expect_str_eq(seen, value, "%s of %s", name, path);
}

Test(client, brings_an_answer)
{
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/a?b=c 200 body=\"hello, world\" type=text/plain etag=\"\\\"v1\\\"\" "
                  "header=\"X-Two: 1\" header=\"x-two:   2  \"");
    cr_assert_eq(kit_call(&kit, "/a?b=c", (struct remote_request){0}), ERR_OK, "%s", kit.err.msg);
    cr_expect_eq(kit.answer.status, 200);
    cr_expect(span_equal_text(buffer_span(&kit.answer.body), "hello, world"));
    cr_expect_eq(kit.answer.body_bytes, 12);
    cr_expect(span_equal_text(remote_answer_header(&kit.answer, "content-TYPE"), "text/plain"));
    cr_expect(span_equal_text(remote_answer_header(&kit.answer, "etag"), "\"v1\""));
    cr_expect(span_equal_text(remote_answer_header(&kit.answer, "x-two"), "1"));
    cr_expect_null(remote_answer_header(&kit.answer, "x-three").data);
    cr_expect(span_equal_text(buffer_span(&kit.answer.url), kit_url(&kit, "/a?b=c")));
    cr_expect_eq(kit.answer.retry_after_us, -1);
    cr_expect(kit.answer.total_us > 0 && kit.answer.first_byte_us > 0);
    cr_expect_eq(remote_answer_check(&kit.answer, &kit.err), ERR_OK);
    expect_seen(&kit, "/a?b=c", "", "GET /a?b=c HTTP/1.1");
    expect_seen(&kit, "/a?b=c", "user-agent", "sluice/test");
    expect_seen(&kit, "/a?b=c", "accept-encoding", "identity");
    expect_seen(&kit, "/a?b=c", "content-length", "");
}

Test(client, sends_each_method_and_its_body)
{
    static const struct {
        const char *method;
        const char *body;
        const char *length;
    } cases[] = {
        {"GET", "", ""},       {"HEAD", "", ""},      {"DELETE", "", ""},
        {"DELETE", "{}", "2"}, {"POST", "", "0"},     {"POST", "{}", "2"},
        {"PUT", "", "0"},      {"PUT", "a,b\n", "4"}, {"PATCH", "{\"a\":1}", "7"},
    };
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=ok keep");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct remote_header headers[] = {
            {"X-Empty", ""}, {"X-Key", "value; with, things"}, {"Content-Type", "text/csv"}};
        const struct remote_request request = {.method = cases[i].method,
                                               .body = span_of_text(cases[i].body),
                                               .headers = headers,
                                               .headers_count = cases[i].body[0] != '\0' ? 3 : 2};
        char line[64];
        (void)snprintf(line, sizeof line, "%s /x HTTP/1.1", cases[i].method); /* fits */
        cr_assert_eq(kit_call(&kit, "/x", request), ERR_OK, "%s: %s", cases[i].method, kit.err.msg);
        cr_expect_eq(kit.answer.status, 200);
        cr_expect_eq(kit.answer.body.size, strcmp(cases[i].method, "HEAD") == 0 ? 0u : 2u);
        expect_seen(&kit, "/x", "", line);
        expect_seen(&kit, "/x", "body", cases[i].body);
        expect_seen(&kit, "/x", "content-length", cases[i].length);
        expect_seen(&kit, "/x", "content-type", cases[i].body[0] != '\0' ? "text/csv" : "");
        expect_seen(&kit, "/x", "x-key", "value; with, things");
        expect_seen(&kit, "/x", "expect", "");
    }
}

Test(client, keeps_connections_for_what_is_idempotent)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=ok keep");
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(kit_call(&kit, "/x", (struct remote_request){0}), ERR_OK);
    }
    cr_expect_eq(lying_server_connections(kit.server), 1);
    for (int i = 0; i < 2; i++) {
        const struct remote_request post = {.method = "POST", .body = span_of_text("{}")};
        cr_assert_eq(kit_call(&kit, "/x", post), ERR_OK);
    }
    cr_expect_eq(lying_server_connections(kit.server), 3);
}

Test(client, every_lie_has_a_name)
{
    static const struct {
        const char *lie;
        enum err_code code;
        int status;
        const char *says;
    } cases[] = {
        {"200 body=0123456789 cut=4", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 cut=0", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 length=11", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 length=99999999999", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 chunked=3 cut=4", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 chunked=3 cut=9", ERR_IO, 200, "cut short"},
        {"200 body=0123456789 length=none", ERR_UNSUPPORTED, 200, "cannot be told from a cut"},
        {"200 length=none", ERR_UNSUPPORTED, 200, "cannot be told from a cut"},
        {"200 body=x header=\"Content-Encoding: gzip\"", ERR_UNSUPPORTED, 200, "not offered"},
        {"200 body=x header=\"Content-Encoding: br\"", ERR_UNSUPPORTED, 200, "not offered"},
        {"200 body=x header=\"Transfer-Encoding: gzip\"", ERR_UNSUPPORTED, 200,
         "cannot be told from a cut"},
        {"hang", ERR_IO, 0, "too slow"},
        {"200 body=0123456789 drip=200", ERR_IO, 200, "too slow"},
        {"200 body=0123456789 delay=5000", ERR_IO, 0, "too slow"},
        {"close", ERR_IO, 0, "connection lost"},
        {"reset", ERR_IO, 0, "connection lost"},
        {"garbage", ERR_IO, 0, "not HTTP"},
        {"200 body=0123456789 endless chunked=10", ERR_TOO_LARGE, 200, "more than 1000 bytes"},
        {"200 body=0123456789 repeat=101", ERR_TOO_LARGE, 200, "more than 1000 bytes"},
        {"200 body=x filler=70000", ERR_TOO_LARGE, 0, "head has more than 65536 bytes"},
        {"200 body=x filler=200000", ERR_TOO_LARGE, 0, "head"},
        {"404 body=0123456789 filler=70000", ERR_TOO_LARGE, 0, "head has more than 65536 bytes"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char script[256];
        (void)snprintf(script, sizeof script, "/lie?key=hush %s", cases[i].lie); /* fits */
        CLEANUP(kit_end) struct kit kit = kit_begin(script);
        const struct remote_request request = {
            .limits = {.deadline_ms = 700, .body_bytes_max = 1000}};
        cr_expect_eq(kit_call(&kit, "/lie?key=hush", request), cases[i].code, "%s: %s",
                     cases[i].lie, kit.err.msg);
        cr_expect_eq(kit.answer.status, cases[i].status, "%s: %d", cases[i].lie, kit.answer.status);
        cr_expect(cases[i].says == NULL || strstr(kit.err.msg, cases[i].says) != NULL, "%s: %s",
                  cases[i].lie, kit.err.msg);
        cr_expect(strstr(kit.err.msg, "http:127.0.0.1:") != NULL, "%s", kit.err.msg);
        cr_expect(strstr(kit.err.msg, "hush") == NULL, "%s", kit.err.msg);
        cr_expect(strstr(kit.err.msg, "lie") == NULL, "%s", kit.err.msg);
        cr_expect(kit.answer.total_us < 5000000, "%s: %ld us", cases[i].lie,
                  (long)kit.answer.total_us);
    }
}

Test(client, takes_what_is_odd_but_whole)
{
    static const struct {
        const char *answer;
        struct remote_request request;
        int status;
        const char *body;
    } cases[] = {
        {"200 body=0123456789 chunked=3", {0}, 200, "0123456789"},
        {"200 body=0123456789 repeat=100", {.limits = {.body_bytes_max = 1000}}, 200, NULL},
        {"200", {0}, 200, ""},
        {"204 length=none", {0}, 204, ""},
        {"200 body=0123456789 length=none", {.allow_undelimited = true}, 200, "0123456789"},
        {"200 body=0123456789 length=none", {.method = "HEAD"}, 200, ""},
        {"200 body=ok header=\"Content-Encoding: identity\"", {0}, 200, "ok"},
        {"200 body=ok drip=1", {0}, 200, "ok"},
        {"200 body=ok delay=20", {0}, 200, "ok"},
        {"304", {0}, 304, ""},
        {"404 body=gone length=none", {0}, 404, "gone"},
        {"500 body=oops length=99", {0}, 500, "oops"},
        {"302 location=/elsewhere body=there", {0}, 302, "there"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char script[256];
        (void)snprintf(script, sizeof script, "/odd %s", cases[i].answer); /* fits */
        CLEANUP(kit_end) struct kit kit = kit_begin(script);
        cr_expect_eq(kit_call(&kit, "/odd", cases[i].request), ERR_OK, "%s: %s", cases[i].answer,
                     kit.err.msg);
        cr_expect_eq(kit.answer.status, cases[i].status, "%s: %d", cases[i].answer,
                     kit.answer.status);
        cr_expect(cases[i].body == NULL ||
                      span_equal_text(buffer_span(&kit.answer.body), cases[i].body),
                  "%s: %.*s", cases[i].answer, SPAN_PRINT(buffer_span(&kit.answer.body)));
    }
}

Test(client, reads_little_of_an_error_without_end)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 500 body=0123456789 endless chunked=10");
    cr_assert_eq(kit_call(&kit, "/x", (struct remote_request){0}), ERR_OK, "%s", kit.err.msg);
    cr_expect_eq(kit.answer.status, 500);
    cr_expect_eq(kit.answer.body.size, (size_t)REMOTE_ERROR_BODY_BYTES_MAX);
}

/* ---- gzip ---- */

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

Test(client, inflates_what_it_offered_to)
{
    static const uint8_t hello[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7,
                                    0x51, 0x28, 0xcf, 0x2f, 0xca, 0x49, 0x01, 0x00,
                                    0x3a, 0x72, 0xab, 0xff, 0x0c, 0x00, 0x00, 0x00};
    uint8_t twice[2 * sizeof hello];
    uint8_t broken[sizeof hello];
    memcpy(twice, hello, sizeof hello);
    memcpy(twice + sizeof hello, hello, sizeof hello);
    memcpy(broken, hello, sizeof hello);
    broken[sizeof hello - 8] ^= 1; /* the checksum */
    const struct {
        const char *name;
        const void *bytes;
        size_t size;
        int64_t body_bytes_max;
        enum err_code code;
        const char *body;
    } cases[] = {
        {"whole", hello, sizeof hello, 0, ERR_OK, "hello, world"},
        {"two members", twice, sizeof twice, 0, ERR_OK, "hello, worldhello, world"},
        {"at the limit", hello, sizeof hello, 12, ERR_OK, "hello, world"},
        {"over the limit", hello, sizeof hello, 11, ERR_TOO_LARGE, NULL},
        {"cut in the middle", hello, sizeof hello - 9, 0, ERR_IO, NULL},
        {"cut in the checksum", hello, sizeof hello - 1, 0, ERR_IO, NULL},
        {"second member cut", twice, sizeof twice - 4, 0, ERR_IO, NULL},
        {"second member is none", twice, sizeof hello + 1, 0, ERR_IO, NULL},
        {"wrong checksum", broken, sizeof broken, 0, ERR_IO, NULL},
        {"not gzip", "hello, world", 12, 0, ERR_IO, NULL},
        {"nothing", "", 0, 0, ERR_IO, NULL},
    };
    CLEANUP(temp_dir_remove) struct temp_dir dir = temp_dir_make();
    CLEANUP(mem_cleanup) char *path = temp_dir_join(&dir, "body");
    char script[512];
    (void)snprintf(script, sizeof script,
                   "/z 200 file=%s header=\"Content-Encoding: gzip\" chunked=5", path); /* fits */
    write_file(path, "", 0);
    CLEANUP(kit_end) struct kit kit = kit_begin(script);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct remote_request request = {
            .accept_gzip = true, .limits = {.body_bytes_max = cases[i].body_bytes_max}};
        write_file(path, cases[i].bytes, cases[i].size);
        cr_expect_eq(kit_call(&kit, "/z", request), cases[i].code, "%s: %s", cases[i].name,
                     kit.err.msg);
        if (cases[i].body != NULL) {
            cr_expect(span_equal_text(buffer_span(&kit.answer.body), cases[i].body), "%s",
                      cases[i].name);
            cr_expect_eq(kit.answer.body_bytes, (int64_t)strlen(cases[i].body));
        }
    }
    expect_seen(&kit, "/z", "accept-encoding", "gzip");
}

/* ---- a sink ---- */

struct sink {
    struct buffer bytes;
    size_t fail_at; /* 0 = never */
    _Atomic bool cancelled;
    bool cancel;
};

static enum err_code take(void *arg, struct span piece, struct err *err)
{
    struct sink *sink = arg;
    buffer_append_span(&sink->bytes, piece);
    atomic_store(&sink->cancelled, sink->cancel);
    if (sink->fail_at > 0 && sink->bytes.size >= sink->fail_at) {
        return err_set(err, ERR_NO_SPACE, "the sink is full");
    }
    return ERR_OK;
}

Test(client, streams_a_success_and_nothing_else)
{
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/x 500 body=trouble\n/x 200 body=0123456789 repeat=100000 chunked=1000\n"
                  "/x 200 body=0123456789 length=11");
    struct sink sink = {0};
    buffer_init(&sink.bytes, 2 << 20);
    const struct remote_request request = {.take = take, .take_arg = &sink};
    cr_assert_eq(kit_call(&kit, "/x", request), ERR_OK);
    cr_expect_eq(sink.bytes.size, 0u);
    cr_expect(span_equal_text(buffer_span(&kit.answer.body), "trouble"));
    cr_assert_eq(kit_call(&kit, "/x", request), ERR_OK);
    cr_expect_eq(sink.bytes.size, 1000000u);
    cr_expect_eq(kit.answer.body.size, 0u);
    cr_expect_eq(kit.answer.body_bytes, 1000000);
    buffer_reset(&sink.bytes);
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_IO, "the sink saw a beginning, and hears so");
    cr_expect_eq(sink.bytes.size, 10u);
    buffer_deinit(&sink.bytes);
}

Test(client, ends_with_the_sinks_error)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=0123456789 endless chunked=10");
    struct sink sink = {.fail_at = 100};
    buffer_init(&sink.bytes, 16 << 20);
    const struct remote_request request = {.take = take, .take_arg = &sink};
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_NO_SPACE);
    cr_expect(strstr(kit.err.msg, "the sink is full") != NULL, "%s", kit.err.msg);
    buffer_deinit(&sink.bytes);
}

Test(client, is_cancelled_before_and_within)
{
    CLEANUP(kit_end)
    struct kit kit = kit_begin("/hang hang\n/x 200 body=0123456789 endless chunked=10");
    struct sink sink = {.cancelled = true};
    buffer_init(&sink.bytes, 16 << 20);
    const struct remote_request hanging = {.cancelled = &sink.cancelled};
    cr_expect_eq(kit_call(&kit, "/hang", hanging), ERR_CANCELLED);
    cr_expect(kit.answer.total_us < 5000000);
    sink.cancel = true;
    atomic_store(&sink.cancelled, false);
    const struct remote_request endless = {
        .take = take, .take_arg = &sink, .cancelled = &sink.cancelled};
    cr_expect_eq(kit_call(&kit, "/x", endless), ERR_CANCELLED);
    buffer_deinit(&sink.bytes);
}

Test(client, gives_up_on_a_trickle)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=0123456789 repeat=100 drip=100");
    const struct remote_request request = {
        .limits = {.low_speed_bytes_per_second = 1000, .low_speed_seconds = 1}};
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_IO);
    cr_expect(strstr(kit.err.msg, "too slow") != NULL, "%s", kit.err.msg);
    cr_expect(kit.answer.total_us < 10000000);
}

Test(client, nobody_listens)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("");
    char url[64];
    (void)snprintf(url, sizeof url, "%s", kit_url(&kit, "/")); /* fits */
    lying_server_stop(&kit.server);
    cr_expect_eq(kit_call(&kit, NULL, (struct remote_request){.url = url}), ERR_IO);
    cr_expect(strstr(kit.err.msg, "no connection") != NULL, "%s", kit.err.msg);
    const struct remote_request unknown = {.url = "https://nobody.invalid/"};
    cr_expect_eq(kit_call(&kit, NULL, unknown), ERR_IO);
    cr_expect(strstr(kit.err.msg, "name not found") != NULL, "%s", kit.err.msg);
}

/* ---- threads ---- */

struct caller {
    pthread_t thread;
    const struct kit *kit;
    char url[64];
    int failures_count;
};

static void *call_often(void *arg)
{
    struct caller *caller = arg;
    struct remote_answer answer;
    remote_answer_init(&answer);
    for (int i = 0; i < 50; i++) {
        struct err err = {0};
        const struct remote_request request = {.url = caller->url};
        bool right = remote_call(caller->kit->remote, &request, &answer, &err) == ERR_OK &&
                     answer.status == 200 && answer.body.size == 1000;
        caller->failures_count += !right;
    }
    remote_answer_deinit(&answer);
    return NULL;
}

Test(client, threads_share_a_handle_and_its_connections)
{
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=0123456789 repeat=100 keep");
    struct caller callers[8];
    for (size_t i = 0; i < COUNT(callers); i++) {
        callers[i] = (struct caller){.kit = &kit};
        (void)snprintf(callers[i].url, sizeof callers[i].url, "%s", kit_url(&kit, "/x")); /* fits */
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < COUNT(callers); i++) {
        pthread_join(callers[i].thread, NULL);
        cr_expect_eq(callers[i].failures_count, 0);
    }
    cr_expect_eq(lying_server_requests(kit.server, "/x"), 400);
    cr_expect(lying_server_connections(kit.server) <= 8, "%d",
              lying_server_connections(kit.server));
}

/* ---- what is refused before anything is sent ---- */

Test(client, refuses_requests_that_are_malformed)
{
    static const struct {
        const char *says;
        struct remote_header header;
        struct remote_request request;
    } cases[] = {
        {"method", {NULL, NULL}, {.method = "TRACE"}},
        {"method", {NULL, NULL}, {.method = "get"}},
        {"method", {NULL, NULL}, {.method = "GET / HTTP/1.1\r\nX: y"}},
        {"no body", {NULL, NULL}, {.body = {(const uint8_t *)"x", 1}}},
        {"name", {"X Y", "z"}, {0}},
        {"name", {"", "z"}, {0}},
        {"name", {"X:", "z"}, {0}},
        {"name", {"X\r\nY", "z"}, {0}},
        {"control", {"X", "a\r\nY: b"}, {0}},
        {"control", {"X", "a\nb"}, {0}},
        {"Host cannot be chosen", {"Host", "other"}, {0}},
        {"cannot be chosen", {"content-length", "5"}, {0}},
        {"cannot be chosen", {"Transfer-Encoding", "chunked"}, {0}},
        {"cannot be chosen", {"Connection", "upgrade"}, {0}},
        {"https://", {NULL, NULL}, {.url = "file:///etc/passwd"}},
        {"user name", {NULL, NULL}, {.url = "https://a:b@c/"}},
    };
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct remote_request request = cases[i].request;
        request.headers = &cases[i].header;
        request.headers_count = cases[i].header.name != NULL;
        cr_expect_eq(kit_call(&kit, "/", request), ERR_INVALID, "%zu", i);
        cr_expect(strstr(kit.err.msg, cases[i].says) != NULL, "%zu: %s", i, kit.err.msg);
    }
    cr_expect_eq(lying_server_connections(kit.server), 0);
}

Test(client, obeys_no_environment)
{
    CLEANUP(kit_end) struct kit proxy = kit_begin("/ 200");
    CLEANUP(kit_end) struct kit kit = kit_begin("/ 200 body=direct");
    static const char *const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                        "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};
    for (size_t i = 0; i < COUNT(names); i++) {
        cr_assert_eq(setenv(names[i], kit_url(&proxy, ""), 1), 0);
    }
    cr_assert_eq(kit_call(&kit, "/", (struct remote_request){0}), ERR_OK, "%s", kit.err.msg);
    cr_expect(span_equal_text(buffer_span(&kit.answer.body), "direct"));
    cr_expect_eq(lying_server_connections(proxy.server), 0);
}

/* ---- statuses ---- */

Test(client, statuses_become_errors_that_say_what_to_do)
{
    static const struct {
        const char *answer;
        enum err_code code;
        int64_t retry_seconds;
        const char *says;
    } cases[] = {
        {"200", ERR_OK, -1, ""},
        {"204 length=none", ERR_OK, -1, ""},
        {"304", ERR_OK, -1, ""},
        {"302 location=/x", ERR_INVALID, -1, "use the URL it leads to"},
        {"400", ERR_INVALID, -1, "answers 400"},
        {"401", ERR_UNAUTHENTICATED, -1, "check the credentials"},
        {"403", ERR_FORBIDDEN, -1, "do not allow"},
        {"404", ERR_NOT_FOUND, -1, "check the URL"},
        {"408", ERR_IO, -1, "408"},
        {"409", ERR_CONFLICT, -1, "409"},
        {"410", ERR_NOT_FOUND, -1, "410"},
        {"412", ERR_PRECONDITION, -1, "412"},
        {"413", ERR_TOO_LARGE, -1, "413"},
        {"422", ERR_INVALID, -1, "422"},
        {"425", ERR_IO, -1, "425"},
        {"428", ERR_PRECONDITION, -1, "428"},
        {"429 retry-after=7", ERR_BUSY, 7, "wait 7 s"},
        {"429", ERR_BUSY, -1, "429"},
        {"429 retry-after=soon", ERR_BUSY, -1, "429"},
        {"500", ERR_IO, -1, "500"},
        {"501", ERR_UNSUPPORTED, -1, "501"},
        {"502", ERR_IO, -1, "502"},
        {"503 retry-after=120", ERR_BUSY, 120, "wait 120 s"},
        {"504", ERR_IO, -1, "504"},
        {"507", ERR_IO, -1, "507"},
        {"599 retry-after=1", ERR_IO, 1, "599"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char script[128];
        (void)snprintf(script, sizeof script, "/s?k=hush %s", cases[i].answer); /* fits */
        CLEANUP(kit_end) struct kit kit = kit_begin(script);
        cr_assert_eq(kit_call(&kit, "/s?k=hush", (struct remote_request){0}), ERR_OK, "%s: %s",
                     cases[i].answer, kit.err.msg);
        cr_expect_eq(remote_answer_check(&kit.answer, &kit.err), cases[i].code, "%s",
                     cases[i].answer);
        cr_expect(strstr(kit.err.msg, cases[i].says) != NULL, "%s: %s", cases[i].answer,
                  kit.err.msg);
        cr_expect(strstr(kit.err.msg, "hush") == NULL, "%s", kit.err.msg);
        int64_t expected = cases[i].retry_seconds < 0 ? -1 : cases[i].retry_seconds * 1000000;
        cr_expect_eq(kit.answer.retry_after_us, expected, "%s", cases[i].answer);
    }
}

Test(client, finds_the_next_page)
{
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/a/b?page=1 200 link=\"<?page=1>; rel=prev, <?page=2>; rel=\\\"next\\\"\"\n"
                  "/a/b?page=2 200 link=\"<?page=1>; rel=prev\" link=\"</c>; rel=next\"\n"
                  "/c 200\n/bad 200 link=\"<?page=3; rel=next\"\n/worse 200 "
                  "link=\"<file:///x>; rel=next\"");
    static const struct {
        const char *path;
        enum err_code code;
        const char *next; /* NULL = none */
    } cases[] = {
        {"/a/b?page=1", ERR_OK, "/a/b?page=2"},
        {"/a/b?page=2", ERR_OK, "/c"},
        {"/c", ERR_OK, NULL},
        {"/bad", ERR_INVALID, NULL},
        {"/worse", ERR_INVALID, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool found = false;
        struct buffer url;
        buffer_init(&url, 4096);
        cr_assert_eq(kit_call(&kit, cases[i].path, (struct remote_request){0}), ERR_OK);
        cr_expect_eq(remote_answer_link(&kit.answer, "next", &url, &found, &kit.err), cases[i].code,
                     "%s: %s", cases[i].path, kit.err.msg);
        cr_expect_eq(found, cases[i].next != NULL, "%s", cases[i].path);
        cr_expect(cases[i].next == NULL ||
                      span_equal_text(buffer_span(&url), kit_url(&kit, cases[i].next)),
                  "%s: %.*s", cases[i].path, SPAN_PRINT(buffer_span(&url)));
        buffer_deinit(&url);
    }
}

/* ---- the breaker ---- */

static int64_t now_us;

static int64_t test_now(void)
{
    return now_us;
}

static uint64_t longest(uint64_t limit)
{
    return limit - 1;
}

Test(client, asks_the_breaker_and_tells_it)
{
    now_us = 1000000000;
    const struct breakers_options breaker_options = {.now_us = test_now, .random_below = longest};
    struct breakers *breakers = breakers_new(&breaker_options);
    CLEANUP(kit_end)
    struct kit kit =
        kit_begin("/x 500\n/x hang\n/x 200 body=ab length=3\n/x 429 retry-after=60\n/x reset\n"
                  "/x 200 body=ok\n/y 404\n");
    remote_close(&kit.remote);
    const struct remote_options options = {.allow = "127.0.0.0/8", .breakers = breakers};
    cr_assert_eq(remote_open(&options, &kit.remote, &kit.err), ERR_OK);
    const struct remote_request request = {.limits = {.deadline_ms = 300}};
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(kit_call(&kit, "/y", request), ERR_OK, "a 404 is a healthy server's");
    }
    for (int i = 0; i < 5; i++) {
        enum err_code code = kit_call(&kit, "/x", request);
        cr_expect(code == ERR_OK || code == ERR_IO, "%d: %s", i, kit.err.msg);
    }
    int64_t begun_us = clock_monotonic_us();
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_BUSY);
    cr_expect(clock_monotonic_us() - begun_us < 5000, "refused within 5 ms");
    cr_expect_eq(kit.answer.retry_after_us, 5000000, "%ld", (long)kit.answer.retry_after_us);
    cr_expect(strstr(kit.err.msg, "connection lost") != NULL, "%s", kit.err.msg);
    cr_expect_eq(lying_server_requests(kit.server, "/x"), 5);
    now_us += 5000000;
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_OK, "%s", kit.err.msg);
    cr_expect_eq(kit_call(&kit, "/x", request), ERR_OK, "%s", kit.err.msg);
    cr_expect_eq(lying_server_requests(kit.server, "/x"), 7);
    remote_close(&kit.remote);
    breakers_free(&breakers);
}

Test(client, the_callers_own_failures_do_not_open_it)
{
    struct breakers *breakers = breakers_new(&(struct breakers_options){0});
    CLEANUP(kit_end) struct kit kit = kit_begin("/x 200 body=0123456789");
    remote_close(&kit.remote);
    const struct remote_options options = {.allow = "127.0.0.0/8", .breakers = breakers};
    cr_assert_eq(remote_open(&options, &kit.remote, &kit.err), ERR_OK);
    struct sink sink = {.fail_at = 1};
    buffer_init(&sink.bytes, 1024);
    for (int i = 0; i < 10; i++) {
        const struct remote_request full = {.take = take, .take_arg = &sink};
        cr_expect_eq(kit_call(&kit, "/x", full), ERR_NO_SPACE);
        const struct remote_request small = {.limits = {.body_bytes_max = 5}};
        cr_expect_eq(kit_call(&kit, "/x", small), ERR_TOO_LARGE);
    }
    cr_expect_eq(kit_call(&kit, "/x", (struct remote_request){0}), ERR_OK, "%s", kit.err.msg);
    buffer_deinit(&sink.bytes);
    remote_close(&kit.remote);
    breakers_free(&breakers);
}
