/*
 * A call: the request checked, one hop after the other, each past its breaker and
 * with the credentials it may carry. See client.h for the contract.
 */
#include "storage/remote/client.h"

#include "storage/base/clock.h"
#include "storage/base/field_name.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/base/secret.h"
#include "storage/remote/auth.h"
#include "storage/remote/breaker.h"
#include "storage/remote/header.h"
#include "storage/remote/hop.h"
#include "storage/remote/url.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { AUTHORIZATION_BYTES_MAX = REMOTE_HEADER_BYTES_MAX };

static const struct remote_limits default_limits = {
    .connect_ms = 10000,
    .deadline_ms = 60000,
    .low_speed_bytes_per_second = 1,
    .low_speed_seconds = 30,
    .head_bytes_max = 64 << 10,
    .body_bytes_max = 16 << 20,
};

/* One call under way. */
struct call {
    struct remote *remote;
    struct remote_request request; /* method filled in */
    struct remote_limits limits;   /* filled in */
    struct remote_answer *answer;  /* its url is the one under way, with a NUL behind it */
    int64_t started_us;
    bool crossed;             /* a redirect led to another origin: credentials stay behind */
    bool refreshed;           /* a refused token was fetched anew once */
    struct buffer credential; /* the Authorization value of the last hop; wiped */
};

/* ---- metrics ---- */

static struct {
    struct metric *answered;
    struct metric *failed;
    struct metric *refused;
    struct metric *duration;
    struct metric *received;
} metrics;

static pthread_once_t metrics_once = PTHREAD_ONCE_INIT;

static void register_metrics(void)
{
    static const char name[] = "sluice_outgoing_requests_total";
    static const char help[] = "Requests to other servers by what became of them.";
    metrics.answered = metric_register(METRIC_COUNTER, name, "outcome=\"answered\"", help);
    metrics.failed = metric_register(METRIC_COUNTER, name, "outcome=\"failed\"", help);
    metrics.refused = metric_register(METRIC_COUNTER, name, "outcome=\"refused\"", help);
    metrics.duration = metric_register(METRIC_HISTOGRAM, "sluice_outgoing_request_duration_seconds",
                                       "", "Time of a request to another server.");
    metrics.received = metric_register(METRIC_COUNTER, "sluice_outgoing_answer_bytes_total", "",
                                       "Bytes of answers of other servers, decompressed.");
}

static void count_hop(const struct remote_answer *answer, enum err_code code, int64_t took_us)
{
    struct metric *outcome = code == ERR_OK          ? metrics.answered
                             : code == ERR_FORBIDDEN ? metrics.refused
                                                     : metrics.failed;
    metric_add(outcome, 1);
    metric_observe_us(metrics.duration, took_us);
    metric_add(metrics.received, answer->body_bytes);
}

/* ---- checking a request ---- */

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(text, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Nothing that could end the header: no control character but the tab. */
static bool is_value(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

static enum err_code check_header(const struct remote_request *request,
                                  const struct remote_header *header, struct err *err)
{
    size_t name_size = strlen(header->name);
    if (!field_name_is_valid(header->name)) {
        return err_set(err, ERR_INVALID,
                       "a header's name has letters, digits and '-' only, %d at most",
                       FIELD_NAME_BYTES_MAX);
    }
    if (field_name_is_reserved(header->name)) {
        return err_set(err, ERR_INVALID, "the header %s cannot be chosen: leave it out",
                       header->name);
    }
    if (request->auth != NULL && strcasecmp(header->name, "Authorization") == 0) {
        return err_set(err, ERR_INVALID,
                       "there are both the header Authorization and auth: leave one out");
    }
    if (!is_value(header->value) || strlen(header->value) > REMOTE_HEADER_BYTES_MAX - name_size) {
        return err_set(err, ERR_INVALID,
                       "the value of header %s has control characters or more than %d bytes",
                       header->name, REMOTE_HEADER_BYTES_MAX);
    }
    return ERR_OK;
}

static enum err_code check_request(const struct remote_request *request, struct err *err)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    bool known = false;
    for (size_t i = 0; i < COUNT(methods) && !known; i++) {
        known = strcmp(request->method, methods[i]) == 0;
    }
    if (!known) {
        return err_set(err, ERR_INVALID,
                       "the method is one of GET, HEAD, POST, PUT, PATCH, DELETE");
    }
    bool bodiless = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (bodiless && request->body.size > 0) {
        return err_set(err, ERR_INVALID, "a %s request has no body", request->method);
    }
    if (request->headers_count > REMOTE_HEADERS_MAX) {
        return err_set(err, ERR_INVALID, "a request has at most %d headers", REMOTE_HEADERS_MAX);
    }
    for (size_t i = 0; i < request->headers_count; i++) {
        TRY(check_header(request, &request->headers[i], err));
    }
    return ERR_OK;
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static struct remote_limits filled(const struct remote_limits *limits)
{
    const struct remote_limits *d = &default_limits;
    struct remote_limits all = {
        .connect_ms = or_default(limits->connect_ms, d->connect_ms),
        .deadline_ms = or_default(limits->deadline_ms, d->deadline_ms),
        .low_speed_bytes_per_second =
            or_default(limits->low_speed_bytes_per_second, d->low_speed_bytes_per_second),
        .low_speed_seconds = or_default(limits->low_speed_seconds, d->low_speed_seconds),
        .head_bytes_max = or_default(limits->head_bytes_max, d->head_bytes_max),
        .body_bytes_max = or_default(limits->body_bytes_max, d->body_bytes_max),
    };
    if (all.head_bytes_max > REMOTE_HEAD_BYTES_MAX) {
        all.head_bytes_max = REMOTE_HEAD_BYTES_MAX;
    }
    return all;
}

/* ---- one hop ---- */

/* On another origin only what says which bytes are wanted goes along. */
static bool may_cross(const char *name)
{
    static const char *const harmless[] = {"Accept",   "Accept-Language",    "Range",
                                           "If-Match", "If-None-Match",      "If-Modified-Since",
                                           "If-Range", "If-Unmodified-Since"};
    return is_one_of(name, harmless, COUNT(harmless));
}

static size_t choose_headers(const struct call *call,
                             struct remote_header chosen_out[REMOTE_HEADERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < call->request.headers_count; i++) {
        if (!call->crossed || may_cross(call->request.headers[i].name)) {
            chosen_out[count++] = call->request.headers[i];
        }
    }
    return count;
}

static void wipe_credential(struct call *call)
{
    if (call->credential.data != NULL) {
        secret_wipe(call->credential.data, call->credential.size);
    }
    buffer_reset(&call->credential);
}

/* Microseconds that `answer` asks to wait; -1 when it does not. */
static int64_t retry_after_us(const struct remote_answer *answer)
{
    int64_t seconds = 0;
    struct span value = remote_answer_header(answer, "Retry-After");
    if (value.data == NULL || !header_retry_after(value, clock_wall_us(), &seconds)) {
        return -1;
    }
    return seconds * 1000000;
}

/* A server that answers so is not well, or wants to be left alone. */
static bool is_unwell(int status)
{
    return status == 429 || (status >= 500 && status != 501 && status != 505);
}

static void tell_breaker(struct breakers *breakers, struct breaker_pass *pass,
                         const struct remote_answer *answer, enum err_code code, const char *reason)
{
    char status[24];
    if (code == ERR_OK && is_unwell(answer->status)) {
        (void)snprintf(status, sizeof status, "status %d", answer->status); /* fits */
        breaker_leave(breakers, pass, BREAKER_FAILURE, status, answer->retry_after_us);
    } else if (code == ERR_OK) {
        breaker_leave(breakers, pass, BREAKER_SUCCESS, NULL, 0);
    } else if (code == ERR_IO && reason != NULL) {
        breaker_leave(breakers, pass, BREAKER_FAILURE, reason, 0);
    } else {
        breaker_leave(breakers, pass, BREAKER_UNKNOWN, NULL, 0);
    }
}

static void begin_answer(struct remote_answer *answer)
{
    answer->status = 0;
    buffer_reset(&answer->head);
    buffer_reset(&answer->body);
    answer->body_bytes = 0;
    answer->retry_after_us = -1;
    answer->connected_us = 0;
    answer->first_byte_us = 0;
}

static enum err_code send_past_breaker(struct call *call, const struct hop *hop, struct err *err)
{
    struct breakers *breakers = hop_breakers(call->remote);
    struct breaker_pass pass = {0};
    const char *reason = NULL;
    if (breakers != NULL) {
        enum err_code code = breaker_enter(breakers, hop->origin, &pass, err);
        if (code != ERR_OK) {
            call->answer->retry_after_us = pass.retry_after_us;
            return code;
        }
    }
    int64_t begun_us = clock_monotonic_us();
    enum err_code code = hop_send(call->remote, hop, call->answer, &reason, err);
    if (code == ERR_OK) {
        call->answer->retry_after_us = retry_after_us(call->answer);
    } else {
        err_wrap(err, "%s", hop->origin);
    }
    count_hop(call->answer, code, clock_monotonic_us() - begun_us);
    if (breakers != NULL) {
        tell_breaker(breakers, &pass, call->answer, code, reason);
    }
    return code;
}

/* The hop to answer->url, with the credentials that may go there. */
static enum err_code send_hop(struct call *call, const struct url *url, struct err *err)
{
    struct remote_header headers[REMOTE_HEADERS_MAX];
    char origin[URL_ORIGIN_BYTES];
    url_origin(url, origin);
    begin_answer(call->answer);
    wipe_credential(call);
    if (call->request.auth != NULL && !call->crossed) {
        TRY(remote_auth_apply(call->request.auth, call->remote, call->request.cancelled,
                              &call->credential, err));
    }
    int64_t used_ms = (clock_monotonic_us() - call->started_us) / 1000;
    if (used_ms >= call->limits.deadline_ms) {
        return err_set(err, ERR_IO, "%s: the time for the request was over before it was sent",
                       origin);
    }
    const struct hop hop = {
        .request = &call->request,
        .limits = &call->limits,
        .url = (const char *)call->answer->url.data,
        .origin = origin,
        .secure = url->secure,
        .headers = headers,
        .headers_count = choose_headers(call, headers),
        .authorization = buffer_span(&call->credential),
        .remaining_ms = call->limits.deadline_ms - used_ms,
    };
    return send_past_breaker(call, &hop, err);
}

/* ---- redirects ---- */

static bool is_redirect(const struct call *call)
{
    int status = call->answer->status;
    bool safe =
        strcmp(call->request.method, "GET") == 0 || strcmp(call->request.method, "HEAD") == 0;
    return safe && call->request.redirects_max > 0 &&
           (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           remote_answer_header(call->answer, "Location").size > 0;
}

/* Put `url` into answer->url, with a NUL behind it that its size leaves out. */
static void set_url(struct remote_answer *answer, struct span url)
{
    buffer_reset(&answer->url);
    buffer_append_span(&answer->url, url);
    buffer_append_byte(&answer->url, 0);
    assert(!answer->url.overflowed);
    answer->url.size--;
}

static enum err_code take_redirect(struct call *call, const struct url *from, struct err *err)
{
    struct remote_answer *answer = call->answer;
    int redirects_max = call->request.redirects_max < REMOTE_REDIRECTS_MAX
                            ? call->request.redirects_max
                            : REMOTE_REDIRECTS_MAX;
    if (answer->redirects_count == redirects_max) {
        return err_set(err, ERR_INVALID, "there are more than %d redirects", redirects_max);
    }
    struct buffer target;
    buffer_init(&target, URL_BYTES_MAX);
    enum err_code code = url_resolve(from, remote_answer_header(answer, "Location"), &target, err);
    if (code == ERR_OK) {
        struct url to;
        code = url_parse(buffer_span(&target), &to, err);
        assert(code == ERR_OK);
        if (from->secure && !to.secure) {
            code = err_set(err, ERR_FORBIDDEN, "it redirects from https to plain http");
        } else {
            call->crossed = call->crossed || !url_same_origin(from, &to);
        }
    }
    if (code == ERR_OK) {
        set_url(answer, buffer_span(&target));
        answer->redirects_count++;
    }
    buffer_deinit(&target);
    return code;
}

/* Send, follow, and ask once more with a new token. */
static enum err_code run(struct call *call, struct err *err)
{
    for (;;) {
        struct url url;
        TRY(url_parse(buffer_span(&call->answer->url), &url, err));
        TRY(send_hop(call, &url, err));
        if (is_redirect(call)) {
            if (take_redirect(call, &url, err) != ERR_OK) {
                char origin[URL_ORIGIN_BYTES];
                url_origin(&url, origin);
                return err_wrap(err, "%s", origin);
            }
            continue;
        }
        bool refused = call->answer->status == 401 && call->credential.size > 0;
        if (refused && !call->refreshed &&
            remote_auth_refused(call->request.auth, buffer_span(&call->credential))) {
            call->refreshed = true;
            continue;
        }
        return ERR_OK;
    }
}

enum err_code remote_call(struct remote *remote, const struct remote_request *request,
                          struct remote_answer *answer, struct err *err)
{
    int result = pthread_once(&metrics_once, register_metrics);
    assert(result == 0);
    struct call call = {
        .remote = remote,
        .request = *request,
        .limits = filled(&request->limits),
        .answer = answer,
        .started_us = clock_monotonic_us(),
    };
    struct url url;
    call.request.method = request->method != NULL ? request->method : "GET";
    begin_answer(answer);
    buffer_reset(&answer->url);
    answer->redirects_count = 0;
    answer->total_us = 0;
    TRY(check_request(&call.request, err));
    TRY(url_parse(span_of_text(request->url), &url, err));
    set_url(answer, span_of_text(request->url));
    answer->body.size_max =
        request->take == NULL && call.limits.body_bytes_max > REMOTE_ERROR_BODY_BYTES_MAX
            ? (size_t)call.limits.body_bytes_max
            : REMOTE_ERROR_BODY_BYTES_MAX;
    buffer_init(&call.credential, AUTHORIZATION_BYTES_MAX);
    /* all at once: growing would leave copies behind that nobody wipes */
    (void)buffer_reserve(&call.credential, request->auth != NULL ? AUTHORIZATION_BYTES_MAX : 0);
    enum err_code code = run(&call, err);
    wipe_credential(&call);
    buffer_deinit(&call.credential);
    answer->total_us = clock_monotonic_us() - call.started_us;
    return code;
}

/* ---- answers ---- */

void remote_answer_init(struct remote_answer *answer)
{
    *answer = (struct remote_answer){.retry_after_us = -1};
    buffer_init(&answer->head, REMOTE_HEAD_BYTES_MAX);
    buffer_init(&answer->body, REMOTE_ERROR_BODY_BYTES_MAX);
    buffer_init(&answer->url, URL_BYTES_MAX + 1);
}

void remote_answer_deinit(struct remote_answer *answer)
{
    buffer_deinit(&answer->head);
    buffer_deinit(&answer->body);
    buffer_deinit(&answer->url);
}

static enum err_code code_of_status(int status)
{
    static const struct {
        int status;
        enum err_code code;
    } codes[] = {
        {401, ERR_UNAUTHENTICATED},
        {403, ERR_FORBIDDEN},
        {404, ERR_NOT_FOUND},
        {408, ERR_IO},
        {409, ERR_CONFLICT},
        {410, ERR_NOT_FOUND},
        {412, ERR_PRECONDITION},
        {413, ERR_TOO_LARGE},
        {425, ERR_IO},
        {428, ERR_PRECONDITION},
        {429, ERR_BUSY},
        {501, ERR_UNSUPPORTED},
        {503, ERR_BUSY},
    };
    for (size_t i = 0; i < COUNT(codes); i++) {
        if (codes[i].status == status) {
            return codes[i].code;
        }
    }
    return status >= 500 ? ERR_IO : ERR_INVALID;
}

/* "https:api.example.com:443" of an answer. */
static void answer_origin(const struct remote_answer *answer, char text_out[URL_ORIGIN_BYTES])
{
    struct err ignored = {0};
    struct url url;
    text_out[0] = '\0';
    if (url_parse(buffer_span(&answer->url), &url, &ignored) == ERR_OK) {
        url_origin(&url, text_out);
    }
}

enum err_code remote_answer_check(const struct remote_answer *answer, struct err *err)
{
    int status = answer->status;
    if ((status >= 200 && status <= 299) || status == 304) {
        return ERR_OK;
    }
    char origin[URL_ORIGIN_BYTES];
    answer_origin(answer, origin);
    if (status >= 300 && status <= 399) {
        return err_set(err, ERR_INVALID,
                       "%s redirects (status %d), which is not followed here; use the URL it "
                       "leads to",
                       origin, status);
    }
    enum err_code code = code_of_status(status);
    if (code == ERR_BUSY && answer->retry_after_us >= 0) {
        return err_set(err, code, "%s answers %d and asks to wait %" PRId64 " s", origin, status,
                       answer->retry_after_us / 1000000);
    }
    const char *advice = code == ERR_UNAUTHENTICATED ? ": check the credentials"
                         : code == ERR_FORBIDDEN     ? ": the credentials do not allow this"
                         : code == ERR_NOT_FOUND     ? ": check the URL"
                                                     : "";
    return err_set(err, code, "%s answers %d%s", origin, status, advice);
}

struct span remote_answer_header(const struct remote_answer *answer, const char *name)
{
    size_t position = 0;
    struct span value = {0};
    (void)header_next(buffer_span(&answer->head), name, &position, &value); /* none: data is NULL */
    return value;
}

enum err_code remote_answer_link(const struct remote_answer *answer, const char *rel,
                                 struct buffer *url, bool *found_out, struct err *err)
{
    size_t position = 0;
    struct span value;
    struct url base;
    TRY(url_parse(buffer_span(&answer->url), &base, err));
    while (header_next(buffer_span(&answer->head), "Link", &position, &value)) {
        struct span target;
        enum header_link result = header_link_find(value, rel, &target);
        if (result == HEADER_LINK_MALFORMED) {
            return err_set(err, ERR_INVALID, "the answer has a Link header that is malformed");
        }
        if (result == HEADER_LINK_FOUND) {
            TRY(url_resolve(&base, target, url, err));
            *found_out = true;
            return ERR_OK;
        }
    }
    *found_out = false;
    return ERR_OK;
}
