/*
 * Requests to other servers. One `struct remote` serves the process; remote_call
 * sends one request and brings the whole answer, or the reason why there is none.
 *
 * What always holds, whatever a request asks for:
 *   - every address is checked when its connection is opened (address.h), each hop of
 *     a redirect anew; plain http goes to allow-listed addresses only, TLS is verified;
 *   - no proxy, .netrc, cookie, HSTS or Alt-Svc state, and no environment variable is obeyed;
 *   - an answer that was cut short is an error, never a shorter answer;
 *   - head, body and time have limits;
 *   - the breaker of the origin (breaker.h) is asked first and told afterwards;
 *   - messages name the origin only: no path, no query, no header.
 *
 * What reaches the wire is in client.c, the only file of the room that includes curl.h;
 * breakers, redirects and credentials around it are in call.c.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct breakers;
struct remote;
struct remote_auth;

enum {
    REMOTE_HEADERS_MAX = 64,               /* of a request, our own left out */
    REMOTE_HEADER_BYTES_MAX = 8 << 10,     /* name and value of one */
    REMOTE_HEAD_BYTES_MAX = 256 << 10,     /* hard ceiling of an answer's head */
    REMOTE_REDIRECTS_MAX = 10,             /* hard ceiling */
    REMOTE_ERROR_BODY_BYTES_MAX = 16 << 10 /* kept of an answer whose status is not 2xx */
};

/* Zero means the default in brackets. */
struct remote_options {
    const char *allow;         /* the setting outgoing-allow; NULL = nothing beyond the public */
    const char *user_agent;    /* ["sluice"] */
    struct breakers *breakers; /* outlives the handle; NULL = none are used */
    const char *ca_file;       /* PEM bundle that is trusted [the system's] */
    /*
     * Answers for names, so that tests need no name server: "host:port:address", NULL last.
     * The guard looks at the address as if a name server had given it.
     */
    const char *const *resolve;
};

/*
 * Errors:  ERR_INVALID the allow list (message names the entry); ERR_IO libcurl cannot start.
 * Thread:  one at start; the handle is any thread's afterwards.
 */
enum err_code remote_open(const struct remote_options *options, struct remote **remote_out,
                          struct err *err) MUST_USE;
/* No call may be under way. Accepts NULL inside; nulls. */
void remote_close(struct remote **remote);

/* ---- a request ---- */

struct remote_header {
    const char *name;
    const char *value; /* may be a secret: copies are wiped */
};

/* Zero means the default in brackets; all are for the whole call, redirects included. */
struct remote_limits {
    int64_t connect_ms;                 /* name, connection and TLS of one hop [10 s] */
    int64_t deadline_ms;                /* from start to the last byte [60 s] */
    int64_t low_speed_bytes_per_second; /* slower than this … [1] */
    int64_t low_speed_seconds;          /* … for so long is ERR_IO [30 s] */
    int64_t head_bytes_max;             /* [64 KiB], at most REMOTE_HEAD_BYTES_MAX */
    int64_t body_bytes_max;             /* after decompression [16 MiB] */
};

/*
 * A piece of a 2xx answer's body, in order. A failure ends the call with that error.
 * Thread:  the caller's.
 */
typedef enum err_code remote_body_fn(void *arg, struct span piece, struct err *err);

/* Everything is borrowed for the call; zeroed fields mean what their comments say. */
struct remote_request {
    const char *method; /* GET, HEAD, POST, PUT, PATCH or DELETE; NULL = GET */
    const char *url;
    const struct remote_header *headers;
    size_t headers_count;
    struct remote_auth *auth; /* auth.h; NULL = none. OAuth2: 401 refreshes the token once */
    struct span body; /* sent with its length; only POST, PUT, PATCH (DELETE: when not empty) */

    remote_body_fn *take; /* where a 2xx body goes; NULL = into the answer's body */
    void *take_arg;

    bool accept_gzip; /* offer gzip; `take` and body_bytes_max see what it inflates to */
    /*
     * Take a 2xx body that ends with the connection (neither length nor chunks), though nobody
     * can tell its end from a cut. For answers whose body does not matter.
     */
    bool allow_undelimited;
    int redirects_max; /* followed for GET and HEAD; 0 = none: a 3xx is the answer */

    struct remote_limits limits;
    const _Atomic bool
        *cancelled; /* looked at about once a second and at each piece; may be NULL */
};

/* ---- an answer ---- */

/*
 * What is known of the exchange, also after a failure. Owned by the caller:
 * remote_answer_init once, any number of calls, remote_answer_deinit.
 */
struct remote_answer {
    int status;             /* of the last hop's final answer; 0 = none arrived */
    struct buffer head;     /* its header lines "name: value\n", read by remote_answer_header */
    struct buffer body;     /* without `take`, the 2xx body; of any other status its beginning */
    struct buffer url;      /* where the answer came from after redirects; never shown */
    int redirects_count;    /* followed */
    int64_t body_bytes;     /* after decompression; all of it, kept or not */
    int64_t retry_after_us; /* the server or the breaker asks to wait so long; -1 = says nothing */
    int64_t connected_us;   /* from the start, last hop; 0 = never, or a kept connection */
    int64_t first_byte_us;  /* from the start, last hop; 0 = never */
    int64_t total_us;
};

void remote_answer_init(struct remote_answer *answer);
void remote_answer_deinit(struct remote_answer *answer);

/*
 * Send and take in the answer. Any complete answer is ERR_OK, whatever its status: see
 * remote_answer_check. A redirect that is followed goes again through every check; it
 * never leads from https to http, and on another origin only the headers Accept,
 * Accept-Language, Range, If-* stay with the request (credentials do not).
 *
 *   answer  reset first; filled as far as it went, also on failure
 *
 * Errors:  ERR_FORBIDDEN   the address is guarded (message names the setting), or a
 *                          redirect leads to plain http;
 *          ERR_INVALID     URL, method or header malformed; too many redirects;
 *          ERR_BUSY        the breaker is open, nothing was sent: wait answer->retry_after_us;
 *          ERR_IO          no connection, TLS, a deadline, too slow, cut short, not HTTP:
 *                          may work later. Whether the server acted is unknown;
 *          ERR_TOO_LARGE   head or body over its limit;
 *          ERR_UNSUPPORTED a content encoding that was not offered, or a body whose end
 *                          cannot be told (see allow_undelimited);
 *          ERR_CANCELLED; any error of `take`, unchanged;
 *          with `auth`, those of remote_auth_apply.
 * Thread:  any; blocks up to deadline_ms (a name server that hangs may add its own timeout).
 *          Holds no lock while waiting.
 */
enum err_code remote_call(struct remote *remote, const struct remote_request *request,
                          struct remote_answer *answer, struct err *err) MUST_USE;

/*
 * Turn a status that is not 2xx into an error that says what to do. 304 is ERR_OK: only
 * who sent a condition gets one.
 *
 * Errors:  ERR_BUSY 429, 503 (see retry_after_us); ERR_IO 408, 425, 5xx;
 *          ERR_UNAUTHENTICATED 401; ERR_FORBIDDEN 403; ERR_NOT_FOUND 404, 410;
 *          ERR_CONFLICT 409; ERR_PRECONDITION 412, 428; ERR_TOO_LARGE 413;
 *          ERR_UNSUPPORTED 501; ERR_INVALID any other.
 */
enum err_code remote_answer_check(const struct remote_answer *answer, struct err *err) MUST_USE;

/*
 * The value of a header field, letters' case of the name aside, outer blanks removed;
 * data is NULL when there is none. With several fields of the name: the first.
 * Memory:  borrows from the answer until its next call.
 */
struct span remote_answer_header(const struct remote_answer *answer, const char *name);

/*
 * The target of the Link whose relation is `rel` ("next"), made absolute.
 *
 *   url        grows by it when found; never show it: it may carry a cursor
 *   found_out  false when no Link has that relation
 *
 * Errors:  ERR_INVALID a Link field that is malformed, or a target that is no URL of ours.
 * Source:  RFC 8288.
 */
enum err_code remote_answer_link(const struct remote_answer *answer, const char *rel,
                                 struct buffer *url, bool *found_out, struct err *err) MUST_USE;
