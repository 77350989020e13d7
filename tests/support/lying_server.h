/*
 * An HTTP server on loopback that answers as its script says: late, wrong, cut
 * short, without end. For tests of whoever talks to other servers; records what
 * it was asked. tests/tools/lying_server.c is the same as a program.
 *
 * Script: one answer a line, "PATH WHAT [option…]". The n-th request for a path gets
 * the n-th line of that path; the last line stays. PATH with a query matches that
 * query only; a path nobody wrote is 404. A line that starts with '#' is a comment.
 *
 *   WHAT     a status, or: hang (reads, never answers) · close (after reading) ·
 *            reset (RST after reading) · garbage (bytes that are no HTTP)
 *   body=T   text; \n, \t, \r, \" are understood; in quotes when it has blanks
 *   file=P   the body is the file's content at the moment of asking
 *   repeat=N the body N times
 *   endless  the body again and again until the client leaves
 *   type=T   Content-Type                 etag=T, location=T, link=T, retry-after=T  likewise
 *   header=T any header line              (%PORT% in a header is the server's port)
 *   length=N claims N bytes               length=none: neither length nor chunks
 *   chunked=N  in chunks of N bytes
 *   cut=N    closes the connection after N bytes of the body
 *   drip=N   one byte of the body every N milliseconds
 *   delay=N  waits N milliseconds before answering
 *   filler=N a header of N bytes
 *   keep     keeps the connection open for the next request
 *   verify=S webhook: this answer only when a signature fits the secret S, 401 otherwise
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct lying_server;

/* Does a webhook's signature fit? Given by who links storage/remote; NULL = nobody verifies. */
typedef bool lying_verify_fn(const char *secret, struct span id, struct span timestamp,
                             struct span signature, struct span body);

struct lying_options {
    const char *script;
    const char *tls_host;    /* serve TLS with a certificate for this name or address, made now */
    const char *tls_ca_path; /* where the certificate is written, to be trusted */
    uint16_t port;           /* 0 = any */
    FILE *log;               /* one JSON line a request; NULL = none */
    lying_verify_fn *verify;
};

/* Stops the process when the script is wrong or there is no socket. */
struct lying_server *lying_server_start(const struct lying_options *options);
/* Ends every connection. Accepts NULL inside; nulls. */
void lying_server_stop(struct lying_server **server);

uint16_t lying_server_port(const struct lying_server *server);
/* Connections accepted so far. */
int lying_server_connections(struct lying_server *server);
/* Requests for a path (with query) so far; NULL = all. */
int lying_server_requests(struct lying_server *server, const char *path);

/*
 * A header of the last request for `path`, "" when it had none; NUL-terminated copy, free with
 * mem_free. `name` "" is the request line, "body" the body.
 */
char *lying_server_seen(struct lying_server *server, const char *path, const char *name);
