/*
 * One request on the wire, over libcurl. See client.h and hop.h for the contracts.
 *
 * An easy handle is used by one call at a time and kept afterwards, with its
 * connections, for the next call to the same origin. Nothing libcurl could decide
 * by itself is left to it: no redirects, no credentials, no cookies, no proxies,
 * no decoding. The guard is asked by the callback that opens the socket, with the
 * very address that is then connected to.
 *
 * Every block that libcurl frees is wiped: headers with secrets are copied into
 * its buffers.
 */
#include "storage/remote/client.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/remote/address.h"
#include "storage/remote/gunzip.h"
#include "storage/remote/header.h"
#include "storage/remote/hop.h"
#include "storage/remote/url.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IDLE_MAX = 32,            /* handles kept */
    CONNECTIONS_PER_IDLE = 4, /* connections each may keep */
};

struct idle {
    CURL *curl;
    char origin[URL_ORIGIN_BYTES]; /* of its last call */
};

struct remote {
    struct address_allow *allow; /* set once at open, like all but the idle handles */
    struct breakers *breakers;
    char *user_agent;
    char *ca_file;              /* NULL = the system's */
    struct curl_slist *resolve; /* NULL = by name servers */
    struct lock lock;           /* rank CACHE; guards what follows */
    size_t idle_count;
    struct idle idle[IDLE_MAX]; /* longest unused first */
};

/* ---- libcurl's memory ---- */

/* Before each block; keeps the block aligned for any type. */
union block_head {
    size_t size;
    max_align_t align;
};

static void *block_alloc(size_t size)
{
    size_t total = 0;
    if (__builtin_add_overflow(size, sizeof(union block_head), &total)) {
        return NULL;
    }
    union block_head *head = mem_alloc(total);
    head->size = size;
    return head + 1;
}

static void block_free(void *block)
{
    if (block != NULL) {
        union block_head *head = (union block_head *)block - 1;
        secret_wipe(block, head->size);
        mem_free(head);
    }
}

static void *block_resize(void *block, size_t size)
{
    void *resized = block_alloc(size);
    if (resized != NULL && block != NULL) {
        size_t old = ((union block_head *)block - 1)->size;
        memcpy(resized, block, old < size ? old : size);
        block_free(block);
    }
    return resized;
}

static void *block_zeroed(size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total)) {
        return NULL;
    }
    void *block = block_alloc(total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

static char *block_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = block_alloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started = CURLE_FAILED_INIT; /* written once, under curl_once */

static void start_curl(void)
{
    curl_started = curl_global_init_mem(CURL_GLOBAL_DEFAULT, block_alloc, block_free, block_resize,
                                        block_text, block_zeroed);
}

/* ---- the handle ---- */

static struct curl_slist *resolve_list(const char *const *resolve)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; resolve != NULL && resolve[i] != NULL; i++) {
        list = curl_slist_append(list, resolve[i]);
    }
    return list;
}

enum err_code remote_open(const struct remote_options *options, struct remote **remote_out,
                          struct err *err)
{
    CLEANUP(address_allow_free) struct address_allow *allow = NULL;
    const char *list = options->allow != NULL ? options->allow : "";
    if (address_allow_parse(span_of_text(list), &allow, err) != ERR_OK) {
        return err_wrap(err, "outgoing-allow");
    }
    int result = pthread_once(&curl_once, start_curl);
    assert(result == 0);
    if (curl_started != CURLE_OK) {
        return err_set_sys(err, ERR_IO, (int)curl_started, "libcurl cannot start");
    }
    struct remote *remote = mem_zeroed(1, sizeof *remote);
    remote->allow = allow;
    allow = NULL;
    remote->breakers = options->breakers;
    remote->user_agent =
        mem_copy_text(options->user_agent != NULL ? options->user_agent : "sluice");
    remote->ca_file = options->ca_file != NULL ? mem_copy_text(options->ca_file) : NULL;
    remote->resolve = resolve_list(options->resolve);
    lock_init(&remote->lock, LOCK_RANK_CACHE);
    *remote_out = remote;
    return ERR_OK;
}

void remote_close(struct remote **remote)
{
    struct remote *closed = *remote;
    if (closed == NULL) {
        return;
    }
    for (size_t i = 0; i < closed->idle_count; i++) {
        curl_easy_cleanup(closed->idle[i].curl);
    }
    curl_slist_free_all(closed->resolve);
    lock_deinit(&closed->lock);
    address_allow_free(&closed->allow);
    mem_free(closed->user_agent);
    mem_free(closed->ca_file);
    mem_free(closed);
    *remote = NULL;
}

struct breakers *hop_breakers(const struct remote *remote)
{
    return remote->breakers;
}

static CURL *take_idle(struct remote *remote, const char *origin)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&remote->lock);
    for (size_t i = remote->idle_count; i-- > 0;) {
        if (strcmp(remote->idle[i].origin, origin) == 0) {
            CURL *curl = remote->idle[i].curl;
            remote->idle_count--;
            memmove(&remote->idle[i], &remote->idle[i + 1],
                    (remote->idle_count - i) * sizeof remote->idle[0]);
            return curl;
        }
    }
    return NULL;
}

/* Keep the handle; the one longest unused goes when there are too many. */
static void keep_idle(struct remote *remote, CURL *curl, const char *origin)
{
    CURL *dropped = NULL;
    {
        CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&remote->lock);
        if (remote->idle_count == IDLE_MAX) {
            dropped = remote->idle[0].curl;
            remote->idle_count--;
            memmove(&remote->idle[0], &remote->idle[1],
                    remote->idle_count * sizeof remote->idle[0]);
        }
        struct idle *idle = &remote->idle[remote->idle_count];
        remote->idle_count++;
        idle->curl = curl;
        (void)snprintf(idle->origin, sizeof idle->origin, "%s", origin); /* url_origin's size */
    }
    curl_easy_cleanup(dropped);
}

/* ---- one transfer ---- */

struct transfer {
    struct remote *remote;
    const struct hop *hop;
    struct remote_answer *answer;
    struct err *err;
    enum err_code code; /* of the first failure inside a callback; err is set then */

    struct err guard_err; /* why the guard refused an address */
    bool guarded;         /* it refused one */
    bool connecting;      /* it let one pass */

    int64_t head_bytes; /* of all heads and trailers */
    int status;         /* of the head under way */
    bool head_is_done;  /* of the final answer */
    bool body_is_begun;
    bool take_failed; /* the caller's own error */
    bool enough;      /* the rest of a body that does not matter was left unread */
    struct gunzip *gunzip;
};

static enum err_code fail(struct transfer *transfer, enum err_code code)
{
    transfer->code = code;
    return code;
}

/* Called with each address that is about to be connected to. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *target)
{
    struct transfer *transfer = arg;
    struct address address;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        address_of_socket(&target->addr, target->addrlen, &address, &transfer->guard_err) !=
            ERR_OK ||
        address_check(transfer->remote->allow, &address, transfer->hop->secure,
                      &transfer->guard_err) != ERR_OK) {
        transfer->guarded = true;
        return CURL_SOCKET_BAD;
    }
    transfer->connecting = true;
    return socket(target->family, target->socktype | SOCK_CLOEXEC, target->protocol);
}

static int watch(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                 curl_off_t up)
{
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    const struct transfer *transfer = arg;
    const _Atomic bool *cancelled = transfer->hop->request->cancelled;
    return cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed);
}

/* ---- the head ---- */

/* "HTTP/1.1 503 …"; 0 when there are no three digits. */
static int status_of(struct span line)
{
    const uint8_t *space = memchr(line.data, ' ', line.size);
    size_t at = space != NULL ? (size_t)(space - line.data) + 1 : line.size;
    if (line.size - at < 3) {
        return 0;
    }
    int status = 0;
    for (size_t i = at; i < at + 3; i++) {
        if (line.data[i] < '0' || line.data[i] > '9') {
            return 0;
        }
        status = status * 10 + (line.data[i] - '0');
    }
    return status;
}

/* A line that starts with a blank goes on from the one before. */
static void append_line(struct buffer *head, struct span line)
{
    bool goes_on = (line.data[0] == ' ' || line.data[0] == '\t') && head->size > 0;
    if (goes_on) {
        head->size--;
    }
    for (size_t i = 0; i < line.size; i++) {
        bool control = line.data[i] < ' ' || line.data[i] == 0x7f;
        buffer_append_byte(head, control ? ' ' : line.data[i]);
    }
    buffer_append_byte(head, '\n');
}

static size_t take_head(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct buffer *head = &transfer->answer->head;
    struct span line = span_of(bytes, size * count);
    size_t taken = line.size;
    transfer->head_bytes += (int64_t)taken;
    if (transfer->head_bytes > transfer->hop->limits->head_bytes_max) {
        fail(transfer,
             err_set(transfer->err, ERR_TOO_LARGE, "the answer's head has more than %lld bytes",
                     (long long)transfer->hop->limits->head_bytes_max));
        return 0;
    }
    while (line.size > 0 &&
           (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r')) {
        line.size--;
    }
    if (transfer->head_is_done) {
        return taken; /* a trailer: nobody asked for one */
    }
    if (line.size == 0) {
        transfer->head_is_done = transfer->status >= 200; /* 1xx: another head follows */
        transfer->answer->status = transfer->head_is_done ? transfer->status : 0;
    } else if (line.size >= 5 && memcmp(line.data, "HTTP/", 5) == 0) {
        buffer_reset(head);
        transfer->status = status_of(line);
    } else {
        append_line(head, line);
    }
    return taken;
}

/* ---- the body ---- */

static bool is_success(int status)
{
    return status >= 200 && status <= 299;
}

static struct span field(const struct transfer *transfer, const char *name)
{
    return remote_answer_header(transfer->answer, name);
}

static bool equal_text(struct span text, const char *other)
{
    return text.size == strlen(other) &&
           strncasecmp((const char *)text.data, other, text.size) == 0;
}

/* Does the head say where the body ends? Any transfer coding but chunks hides that. */
static bool is_delimited(const struct transfer *transfer)
{
    struct span coding = field(transfer, "Transfer-Encoding");
    if (coding.data != NULL) {
        return equal_text(coding, "chunked");
    }
    return strcmp(transfer->hop->request->method, "HEAD") == 0 || transfer->status == 204 ||
           field(transfer, "Content-Length").data != NULL;
}

/* Decide, when the head of a 2xx is complete, how its body is read. */
static enum err_code begin_body(struct transfer *transfer)
{
    transfer->body_is_begun = true;
    if (!is_success(transfer->status)) {
        return ERR_OK;
    }
    if (!transfer->hop->request->allow_undelimited && !is_delimited(transfer)) {
        return fail(transfer, err_set(transfer->err, ERR_UNSUPPORTED,
                                      "the answer says neither its length nor comes in chunks, so "
                                      "that its end cannot be told from a cut"));
    }
    struct span encoding = field(transfer, "Content-Encoding");
    if (encoding.size == 0 || equal_text(encoding, "identity")) {
        return ERR_OK;
    }
    bool is_gzip = equal_text(encoding, "gzip") || equal_text(encoding, "x-gzip");
    if (!is_gzip || !transfer->hop->request->accept_gzip) {
        return fail(transfer, err_set(transfer->err, ERR_UNSUPPORTED,
                                      "the answer has a content encoding that was not offered"));
    }
    transfer->gunzip = gunzip_new();
    return ERR_OK;
}

/* A piece of a 2xx body as the caller sees it. */
static enum err_code deliver(void *arg, struct span piece, struct err *err)
{
    struct transfer *transfer = arg;
    const struct remote_request *request = transfer->hop->request;
    struct remote_answer *answer = transfer->answer;
    int64_t body_bytes_max = transfer->hop->limits->body_bytes_max;
    answer->body_bytes += (int64_t)piece.size;
    if (answer->body_bytes > body_bytes_max) {
        return err_set(err, ERR_TOO_LARGE, "the answer's body has more than %lld bytes",
                       (long long)body_bytes_max);
    }
    if (request->take != NULL) {
        enum err_code code = request->take(request->take_arg, piece, err);
        transfer->take_failed = code != ERR_OK;
        return code;
    }
    buffer_append_span(&answer->body, piece);
    return buffer_check(&answer->body, "the answer's body", err);
}

/* Of any other status the beginning is kept; more of it is not even read. */
static bool keep_beginning(struct transfer *transfer, struct span piece)
{
    struct remote_answer *answer = transfer->answer;
    size_t room = REMOTE_ERROR_BODY_BYTES_MAX - answer->body.size;
    answer->body_bytes += (int64_t)piece.size;
    transfer->enough = piece.size > room;
    buffer_append(&answer->body, piece.data, transfer->enough ? room : piece.size);
    return !transfer->enough;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct span piece = span_of(bytes, size * count);
    if (!transfer->body_is_begun && begin_body(transfer) != ERR_OK) {
        return 0;
    }
    if (!is_success(transfer->status)) {
        return keep_beginning(transfer, piece) ? piece.size : 0;
    }
    enum err_code code = transfer->gunzip != NULL ? gunzip_push(transfer->gunzip, piece, deliver,
                                                                transfer, transfer->err)
                                                  : deliver(transfer, piece, transfer->err);
    if (code == ERR_OK && watch(transfer, 0, 0, 0, 0)) {
        code = err_set(transfer->err, ERR_CANCELLED, "the request was cancelled");
    }
    fail(transfer, code);
    return code == ERR_OK ? piece.size : 0;
}

/* ---- options ---- */

/* Short and of fixed texts: the breaker shows it. */
static const char *reason_of(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "name not found";
    case CURLE_COULDNT_CONNECT:
        return "no connection";
    case CURLE_OPERATION_TIMEDOUT:
        return "too slow";
    case CURLE_PARTIAL_FILE:
        return "answer cut short";
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return "connection lost";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return "TLS refused";
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
        return "not HTTP";
    default:
        return "transfer failed";
    }
}

static void append_header(struct curl_slist **list, const char *name, struct span value)
{
    struct buffer line;
    buffer_init(&line, (size_t)2 * REMOTE_HEADER_BYTES_MAX);
    buffer_append_text(&line, name);
    /* libcurl takes "Name:" for a header to leave out, and "Name;" for one without a value */
    buffer_append_text(&line, value.size > 0 ? ": " : ";");
    buffer_append_span(&line, value);
    buffer_append_byte(&line, 0);
    assert(!line.overflowed);
    *list = curl_slist_append(*list, (const char *)line.data);
    assert(*list != NULL);
    secret_wipe(line.data, line.size);
    buffer_deinit(&line);
}

static struct curl_slist *header_list(const struct hop *hop)
{
    /* without these three libcurl adds headers of its own choice */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool has_type = false;
    append_header(&list, "Accept-Encoding",
                  span_of_text(hop->request->accept_gzip ? "gzip" : "identity"));
    for (size_t i = 0; i < hop->headers_count; i++) {
        const struct remote_header *header = &hop->headers[i];
        append_header(&list, header->name, span_of_text(header->value));
        has_type = has_type || strcasecmp(header->name, "Content-Type") == 0;
    }
    if (!has_type) {
        list = curl_slist_append(list, "Content-Type:");
    }
    if (hop->authorization.size > 0) {
        append_header(&list, "Authorization", hop->authorization);
    }
    return list;
}

static void set_limits(CURL *curl, const struct hop *hop)
{
    const struct remote_limits *limits = hop->limits;
    int64_t connect_ms =
        limits->connect_ms < hop->remaining_ms ? limits->connect_ms : hop->remaining_ms;
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)hop->remaining_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)limits->low_speed_bytes_per_second);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)limits->low_speed_seconds);
}

/* What holds for every request. */
static void set_guards(CURL *curl, const struct remote *remote, const struct hop *hop)
{
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, hop->secure ? "https" : "http");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* not the environment's either */
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* threads */
    curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, (long)CONNECTIONS_PER_IDLE);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, remote->user_agent);
    if (remote->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, remote->ca_file);
    }
    if (remote->resolve != NULL) {
        curl_easy_setopt(curl, CURLOPT_RESOLVE, remote->resolve);
    }
}

static void set_callbacks(CURL *curl, struct transfer *transfer)
{
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
}

static void set_request(CURL *curl, const struct hop *hop)
{
    const struct remote_request *request = hop->request;
    curl_easy_setopt(curl, CURLOPT_URL, hop->url);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        return;
    }
    bool is_post = strcmp(request->method, "POST") == 0;
    bool is_patch = strcmp(request->method, "PATCH") == 0;
    if (is_post || is_patch || strcmp(request->method, "PUT") == 0 || request->body.size > 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.size > 0 ? (const char *)request->body.data : "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    /*
     * On a kept connection that turns out dead libcurl sends the request a second time by itself;
     * what is not idempotent gets a connection of its own.
     */
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, is_post || is_patch ? 1L : 0L);
}

/* ---- the outcome ---- */

static enum err_code describe_failure(const struct transfer *transfer, CURLcode result,
                                      const char **reason_out, struct err *err)
{
    if (transfer->code != ERR_OK) {
        *reason_out = transfer->take_failed ? NULL : "answer damaged";
        return transfer->code;
    }
    if (result == CURLE_ABORTED_BY_CALLBACK) {
        return err_set(err, ERR_CANCELLED, "the request was cancelled");
    }
    if (transfer->guarded && !transfer->connecting) {
        *err = transfer->guard_err;
        return err->code;
    }
    if (result == CURLE_OUT_OF_MEMORY) {
        /* our memory never runs out by an error: this is libcurl's limit on one header line */
        return err_set(err, ERR_TOO_LARGE, "a line of the answer's head is too long");
    }
    *reason_out = reason_of(result);
    return err_set_sys(err, ERR_IO, (int)result, "%s: %s", *reason_out, curl_easy_strerror(result));
}

/* The body of a 2xx that ended as its head said: also as its encoding says? */
static enum err_code end_body(struct transfer *transfer, const char **reason_out)
{
    if (!transfer->body_is_begun) {
        TRY(begin_body(transfer)); /* an empty one */
    }
    bool has_body = strcmp(transfer->hop->request->method, "HEAD") != 0 && transfer->status != 204;
    if (transfer->gunzip != NULL && has_body) {
        *reason_out = "answer cut short";
        return gunzip_end(transfer->gunzip, transfer->err);
    }
    return ERR_OK;
}

static enum err_code conclude(struct transfer *transfer, CURLcode result, const char **reason_out,
                              struct err *err)
{
    bool answered = transfer->head_is_done && transfer->code == ERR_OK;
    if (answered && result == CURLE_OK) {
        return end_body(transfer, reason_out);
    }
    /* the status says it all, even if its text never came to an end */
    if (answered && !is_success(transfer->status) && result != CURLE_ABORTED_BY_CALLBACK) {
        return ERR_OK;
    }
    if (result == CURLE_OK) {
        *reason_out = "not HTTP";
        return err_set(err, ERR_IO, "the server did not answer with HTTP");
    }
    return describe_failure(transfer, result, reason_out, err);
}

static void note_times(CURL *curl, struct remote_answer *answer)
{
    curl_off_t connected = 0;
    curl_off_t first_byte = 0;
    curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(curl, CURLINFO_STARTTRANSFER_TIME_T, &first_byte);
    answer->connected_us = (int64_t)connected;
    answer->first_byte_us = (int64_t)first_byte;
}

enum err_code hop_send(struct remote *remote, const struct hop *hop, struct remote_answer *answer,
                       const char **reason_out, struct err *err)
{
    CURL *curl = take_idle(remote, hop->origin);
    if (curl == NULL) {
        curl = curl_easy_init();
        assert(curl != NULL);
    }
    struct transfer transfer = {.remote = remote, .hop = hop, .answer = answer, .err = err};
    struct curl_slist *headers = header_list(hop);
    curl_easy_reset(curl); /* keeps the connections */
    set_guards(curl, remote, hop);
    set_limits(curl, hop);
    set_request(curl, hop);
    set_callbacks(curl, &transfer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    CURLcode result = curl_easy_perform(curl);
    note_times(curl, answer);
    enum err_code code = conclude(&transfer, result, reason_out, err);
    curl_easy_reset(curl); /* forgets headers, body and callbacks */
    curl_slist_free_all(headers);
    gunzip_free(&transfer.gunzip);
    keep_idle(remote, curl, hop->origin);
    return code;
}
