/*
 * HTTP/1.1 over libmicrohttpd, the only file that knows it. An epoll thread pool
 * reads and answers; handlers that may block run on door threads while their
 * connection rests. Guard and tap sit below the library, see server/tap.h.
 */
#pragma once

#include "handlers/services.h"
#include "server/gate.h"
#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http;

enum { HTTP_URL_BYTES = 96 };

struct http_options {
    const char *host;            /* numeric address or name; without brackets */
    uint16_t port;               /* 0 = pick one */
    const char *tls_certificate; /* PEM text, NULL = plain HTTP */
    const char *tls_key;         /* PEM text */
    int64_t network_threads;
    int64_t door_threads;
    int64_t door_queue_max; /* requests waiting for a door thread; more are 503 */
    int64_t connections_max;
    int64_t connections_per_address_max; /* 0 = no limit */
    int64_t idle_seconds;                /* a kept-alive connection without a request */
    int64_t head_ms;                     /* absolute, see tap.h */
    int64_t body_ms;
    int64_t transfer_bytes_per_second_min; /* slower bodies and readers are cut off */
    int64_t body_memory_bytes_max;
    struct services *services;
    struct gate *gate;
};

/*
 * Listen and serve. Outlived by everything in the options.
 * Errors:  ERR_INVALID host, certificate or key; ERR_EXISTS the port is taken; ERR_IO.
 */
enum err_code http_open(const struct http_options *options, struct http **http_out,
                        struct err *err) MUST_USE;

/* "http://127.0.0.1:8080", with the port that was picked. */
const char *http_url(const struct http *http);

/* Accept no further connection. Requests that come on open ones are answered 503. */
void http_quiesce(struct http *http);

/*
 * Wait until requests in flight have their answers, at most until `deadline_us`
 * (monotonic), then close all connections and end the threads.
 * Errors:  ERR_BUSY some are still running at the deadline: nothing was closed, end
 *          the process.
 */
enum err_code http_close(struct http **http, int64_t deadline_us, struct err *err) MUST_USE;
