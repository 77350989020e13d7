/* libmicrohttpd 0.9.75: daemon, callbacks, answers; see http.h. */
#include "server/http.h"

#include "server/listen.h"
#include "server/request.h"
#include "server/tap.h"
#include "server/telemetry.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/base/sched.h"
#include "storage/base/text.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum {
    /* Request head, answer head and upload slices. The library clears it after every request,
     * so more costs more: 64 KiB took an eighth of the time of a small answer. */
    CONNECTION_POOL_BYTES = 32 << 10,
    ANSWER_GRACE_MS = 10000, /* of a reader, to which the rate adds time */
    DRAIN_LOOK_NS = 2000000, /* between two looks whether requests are done */
    REMOTE_BYTES = 64,
};

/* TLS 1.2 and 1.3, forward secrecy and authenticated encryption only. */
static const char tls_priorities[] =
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+AES-256-GCM:+AES-128-GCM:"
    "+CHACHA20-POLY1305:+AEAD:+SHA256:+SHA384:+SIGN-ALL:+GROUP-ALL:+COMP-NULL:+CTYPE-X509";

_Static_assert(CONNECTION_POOL_BYTES >= 2 * GUARD_HEAD_BYTES_MAX, "heads fit the library's pool");

struct http {
    struct http_options options;
    struct request_front front;
    struct MHD_Daemon *daemon;
    int listen_fd; /* its threads use it until the daemon has stopped, quiesced or not */
    bool quiesced; /* it is ours to close */
    char url[HTTP_URL_BYTES];
    _Atomic int64_t connections_count;
    struct metric *connections;
};

/* One connection; lives from the accept to its close. */
struct peer {
    struct http *http;
    struct tap *tap; /* NULL: beyond the table, gets no answer */
    uint64_t requests_count;
    char remote[REMOTE_BYTES];
};

/* ---- connections ---- */

static void open_peer(struct http *http, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct peer *peer = mem_zeroed(1, sizeof *peer);
    peer->http = http;
    listen_format_address(address->client_addr, peer->remote, sizeof peer->remote);
    peer->tap = tap_open(fd->connect_fd, http->options.tls_certificate != NULL);
    *context = peer;
    metric_set(http->connections, atomic_fetch_add(&http->connections_count, 1) + 1);
}

/* The library makes its threads itself. */
static void be_prompt_once(void)
{
    static _Thread_local bool prompt;
    if (!prompt) {
        prompt = true;
        sched_be_prompt();
    }
}

static void notify_connection(void *arg, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    struct http *http = arg;
    be_prompt_once();
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        open_peer(http, connection, context);
        return;
    }
    struct peer *peer = *context;
    tap_close(&peer->tap);
    mem_free(peer);
    *context = NULL;
    metric_set(http->connections, atomic_fetch_sub(&http->connections_count, 1) - 1);
}

static struct peer *peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* ---- requests ---- */

/* The raw target, before the library decodes or cuts anything. */
static void *begin_request(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct http *http = arg;
    struct peer *peer = peer_of(connection);
    struct request *request = request_new(&http->front, target);
    for (char *at = strchr(request->target, GUARD_QUERY_MARK); at != NULL;
         at = strchr(at, GUARD_QUERY_MARK)) {
        *at = '?';
    }
    request->connection = connection;
    request->peer = peer;
    peer->requests_count++;
    request->number = peer->requests_count;
    request->exchange.remote = span_of_text(peer->remote);
    return request;
}

/* The target is decoded by target.c; the library must not touch it. */
static size_t leave_escaped(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

/* Headers that handlers may use; lower case. */
static const char *const handed_on[] = {
    "accept",        "content-encoding", "content-type", "if-match",
    "if-none-match", "idempotency-key",  "prefer",       "user-agent",
};

struct head_values {
    struct request *request;
    struct span authorization;
    struct span traceparent;
};

static bool equals_ignoring_case(const char *name, size_t size, const char *lower)
{
    for (size_t i = 0; i < size; i++) {
        char byte = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + ('a' - 'A')) : name[i];
        if (byte != lower[i]) {
            return false;
        }
    }
    return lower[size] == '\0';
}

static void add_header(struct exchange *exchange, const char *name, struct span value)
{
    if (exchange->headers_count < EXCHANGE_HEADERS_MAX) {
        exchange->headers[exchange->headers_count] =
            (struct exchange_pair){span_of_text(name), value};
        exchange->headers_count++;
    }
}

/* The guard has seen to it that framing headers occur once and are sound. */
static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    struct head_values *values = arg;
    while (value_size > 0 && (value[value_size - 1] == ' ' || value[value_size - 1] == '\t')) {
        value_size--;
    }
    struct span text = span_of(value, value_size);
    for (size_t i = 0; i < sizeof handed_on / sizeof handed_on[0]; i++) {
        if (equals_ignoring_case(name, name_size, handed_on[i])) {
            add_header(&values->request->exchange, handed_on[i], text);
            return MHD_YES;
        }
    }
    if (equals_ignoring_case(name, name_size, "authorization")) {
        values->authorization = text;
    } else if (equals_ignoring_case(name, name_size, "traceparent")) {
        values->traceparent = text;
    } else if (equals_ignoring_case(name, name_size, "transfer-encoding")) {
        values->request->framing.chunked = true;
    } else if (equals_ignoring_case(name, name_size, "content-length") &&
               !text_parse_int64(text, &values->request->framing.content_length)) {
        values->request->framing.content_length = INT64_MAX;
    }
    return MHD_YES;
}

static enum guard_refusal refusal_of(const struct request *request)
{
    const struct peer *peer = request->peer;
    const struct guard *guard = tap_guard(peer->tap);
    /* Without this the guard is not below the library, and nothing it promises holds. */
    assert(request->number <= guard->heads_count);
    return guard->refused_request == request->number ? guard->refusal : GUARD_FINE;
}

/* ---- answers ---- */

static void add_answer_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES) {
        struct log_line line;
        log_begin(&line, LOG_WARN, "an answer header was left out");
        log_text(&line, LOG_PATH, name);
        log_end(&line);
    }
}

static struct MHD_Response *make_response(struct request *request)
{
    struct exchange *exchange = &request->exchange;
    struct buffer *answer = &exchange->answer;
    bool empty = exchange->status == 204 || exchange->status == 304;
    /* The bytes stay the request's: it is freed after the library is done with them. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        empty ? 0 : answer->size, answer->data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return NULL;
    }
    if (!empty) {
        add_answer_header(response, "Content-Type",
                          exchange->answer_type != NULL ? exchange->answer_type
                                                        : "application/json");
    }
    add_answer_header(response, "X-Request-Id", exchange->request_id.text);
    add_answer_header(response, "traceparent", exchange->trace_parent);
    for (size_t i = 0; i < exchange->answer_headers_count; i++) {
        add_answer_header(response, exchange->answer_headers[i].name,
                          exchange->answer_headers[i].value);
    }
    if (exchange->route == NULL || exchange->route->action != NULL) {
        add_answer_header(response, "Cache-Control", "no-store");
    }
    struct http *http = ((struct peer *)request->peer)->http;
    if (http->options.tls_certificate != NULL) {
        add_answer_header(response, "Strict-Transport-Security", "max-age=31536000");
    }
    if (request->close_after || atomic_load(&http->front.stopping)) {
        add_answer_header(response, "Connection", "close");
    }
    return response;
}

static enum MHD_Result queue_answer(struct request *request)
{
    const struct peer *peer = request->peer;
    const struct http_options *options = &peer->http->options;
    struct MHD_Response *response = make_response(request);
    if (response == NULL) {
        return MHD_NO;
    }
    int64_t size = (int64_t)request->exchange.answer.size;
    int64_t allowed_us =
        (int64_t)ANSWER_GRACE_MS * 1000 + size / options->transfer_bytes_per_second_min * 1000000;
    tap_set_deadline(peer->tap, clock_monotonic_us() + allowed_us);
    request->queued = true;
    enum MHD_Result result =
        MHD_queue_response(request->connection, (unsigned)request->exchange.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the library's callbacks ---- */

/*
 * First call, the head is complete: admit. A refused request with a body is
 * answered now, which closes its connection before the body is read; any other
 * answer waits for the second call, or the library would close every connection.
 */
static enum MHD_Result admit(struct request *request, const char *method)
{
    struct peer *peer = request->peer;
    request->began = true;
    if (peer->tap == NULL) {
        return MHD_NO;
    }
    memcpy(request->method, method, strnlen(method, sizeof request->method - 1)); /* was zeroed */
    struct head_values values = {.request = request};
    (void)MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, take_header,
                                      &values); /* how many is of no interest */
    /* A body that is refused later must not refuse its head: only a replaced head does. */
    enum guard_refusal refusal =
        strcmp(request->target, GUARD_REFUSED_TARGET) == 0 ? refusal_of(request) : GUARD_FINE;
    if (request_admit(request, refusal, values.authorization, values.traceparent)) {
        return MHD_YES;
    }
    request->answered = true;
    if (request_has_body(request)) {
        request->close_after = true;
        return queue_answer(request);
    }
    return MHD_YES;
}

static enum MHD_Result receive(struct request *request, const char *bytes, size_t *size)
{
    struct peer *peer = request->peer;
    bool unwanted = false;
    bool go_on = request_receive(request, span_of(bytes, *size), &unwanted);
    *size = 0;
    if (unwanted) {
        tap_end_body(peer->tap);
    }
    return go_on ? MHD_YES : MHD_NO;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **context)
{
    (void)arg;
    (void)connection;
    (void)url;     /* decoded by the library's rules: begin_request kept it as it came */
    (void)version; /* the guard's business */
    struct request *request = *context;
    if (!request->began) {
        return admit(request, method);
    }
    if (*upload_size > 0) {
        return receive(request, upload, upload_size);
    }
    if (request->queued) {
        return MHD_YES;
    }
    if (!request->answered && !request_run(request, refusal_of(request))) {
        return MHD_YES; /* rests; this is called again when it is resumed */
    }
    return queue_answer(request);
}

static void complete(void *arg, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)connection;
    (void)code; /* what the client made of it is seen by whether an answer was queued */
    struct request *request = *context;
    if (request == NULL) {
        return;
    }
    struct peer *peer = request->peer;
    if (peer->tap != NULL && request->queued) {
        tap_set_deadline(peer->tap, 0);
    }
    request_free(&request);
    *context = NULL;
}

static void suspend(struct request *request)
{
    MHD_suspend_connection(request->connection);
}

static void resume(struct request *request)
{
    MHD_resume_connection(request->connection);
}

static void log_library(void *arg, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void log_library(void *arg, const char *format, va_list arguments)
{
    (void)arg;
    char text[256];
    struct log_line line;
    (void)vsnprintf(text, sizeof text, format, arguments); /* a longer one is cut */
    log_begin(&line, LOG_DEBUG, "libmicrohttpd");
    log_text(&line, LOG_ERROR_TEXT, text);
    log_end(&line);
}

/* ---- opening and closing ---- */

static enum err_code start_daemon(struct http *http, struct err *err)
{
    const struct http_options *options = &http->options;
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)options->tls_certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)options->tls_key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    if (options->tls_certificate != NULL) {
        flags |= MHD_USE_TLS;
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, http, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
        MHD_OPTION_LISTEN_SOCKET, http->listen_fd, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)options->network_threads, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)options->connections_per_address_max, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)options->idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_POOL_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_URI_LOG_CALLBACK,
        begin_request, http, MHD_OPTION_NOTIFY_CONNECTION, notify_connection, http,
        MHD_OPTION_NOTIFY_COMPLETED, complete, http, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (http->daemon == NULL) {
        return err_set(err, ERR_INVALID,
                       options->tls_certificate != NULL
                           ? "the HTTP server does not start; do certificate and key fit?"
                           : "the HTTP server does not start");
    }
    return ERR_OK;
}

/* A descriptor a connection, and as many again for files and what else is open. */
static void raise_descriptor_limit(int64_t connections_max)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections_max + 4096;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* with fewer, fewer connections are accepted */
    }
}

static void free_http(struct http **http)
{
    struct http *closing = *http;
    if (closing == NULL) {
        return;
    }
    if (closing->daemon != NULL) {
        MHD_stop_daemon(closing->daemon);
        closing->listen_fd = closing->quiesced ? closing->listen_fd : -1; /* closed with it */
    }
    doors_close(&closing->front.doors);
    tap_stop();
    file_close(&closing->listen_fd);
    mem_free(closing);
    *http = NULL;
}

static enum err_code start(struct http *http, struct err *err)
{
    const struct http_options *options = &http->options;
    struct tap_options tap = {
        .head_ms = options->head_ms,
        .body_ms = options->body_ms,
        .body_bytes_per_second = options->transfer_bytes_per_second_min,
    };
    uint16_t port = 0;
    TRY(tap_start(&tap, err));
    TRY(doors_open((size_t)options->door_threads, (size_t)options->door_queue_max,
                   request_run_on_door, &http->front.doors, err));
    TRY(listen_open(options->host, options->port, &http->listen_fd, &port, err));
    bool six = strchr(options->host, ':') != NULL;
    (void)snprintf(http->url, sizeof http->url, "%s://%s%s%s:%u",
                   options->tls_certificate != NULL ? "https" : "http", six ? "[" : "",
                   options->host, six ? "]" : "", port); /* hosts are short */
    return start_daemon(http, err);
}

enum err_code http_open(const struct http_options *options, struct http **http_out, struct err *err)
{
    CLEANUP(free_http) struct http *http = mem_zeroed(1, sizeof *http);
    http->options = *options;
    http->listen_fd = -1;
    http->front = (struct request_front){
        .services = options->services,
        .gate = options->gate,
        .body_memory_bytes_max = options->body_memory_bytes_max,
        .suspend = suspend,
        .resume = resume,
    };
    http->connections =
        metric_register(METRIC_GAUGE, "sluice_http_connections", "", "Open connections.");
    raise_descriptor_limit(options->connections_max);
    telemetry_open();
    exchange_set_finish_hook(request_finish);
    TRY(start(http, err));
    *http_out = http;
    http = NULL;
    return ERR_OK;
}

const char *http_url(const struct http *http)
{
    return http->url;
}

/* The socket stays open: a thread of the library may be about to accept from its number. */
void http_quiesce(struct http *http)
{
    atomic_store(&http->front.stopping, true);
    int fd = MHD_quiesce_daemon(http->daemon);
    if (fd >= 0) {
        http->quiesced = true;
        (void)shutdown(fd, SHUT_RD); /* connecting is refused from here on; it cannot fail */
    }
}

enum err_code http_close(struct http **http, int64_t deadline_us, struct err *err)
{
    while (telemetry_in_flight() > 0) {
        if (clock_monotonic_us() >= deadline_us) {
            return err_set(err, ERR_BUSY, "%lld requests are still running",
                           (long long)telemetry_in_flight());
        }
        struct timespec look = {.tv_nsec = DRAIN_LOOK_NS};
        (void)nanosleep(&look, NULL); /* an early wake looks early */
    }
    free_http(http);
    return ERR_OK;
}
