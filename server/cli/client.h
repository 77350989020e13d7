/*
 * The commands' HTTP client: one connection to one server with one token. Requests
 * of the server to others go through storage/remote.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdint.h>

enum {
    CLIENT_ANSWER_BYTES_MAX = 256 << 20,
    CLIENT_HEADERS_MAX = 8,
    CLIENT_ETAG_BYTES = 128, /* with quotes and NUL */
    CLIENT_RETRIES_MAX = 30, /* of 429 and 503, each after its Retry-After */
};

struct client;

/* Where the server is and who asks; NULL = from the data directory. */
struct client_options {
    const char *data; /* DIR: DIR/endpoint and DIR/admin.token; default ./data */
    const char *url;  /* http://host:port */
    const char
        *token_file; /* first line is the token; SLUICE_TOKEN goes before the data directory */
};

/*
 * Errors:  ERR_NOT_FOUND no endpoint (is the server running?) or token file;
 *          ERR_INVALID an empty token.
 */
enum err_code client_open(const struct client_options *options, struct client **client_out,
                          struct err *err) MUST_USE;
void client_close(struct client **client);

/* One request; spans are borrowed for the call. */
struct client_request {
    const char *method;
    const char *path;         /* with query, encoded */
    const char *content_type; /* NULL = no body */
    struct span body;
    const char *headers[CLIENT_HEADERS_MAX]; /* "Name: value", NULL-terminated early */
};

struct client_answer {
    int status;
    char etag[CLIENT_ETAG_BYTES]; /* as the server wrote it; "" = none, or longer than that */
    struct buffer body;           /* initialised by client_call; buffer_deinit */
};

/*
 * Send and wait for the answer; 429 and 503 are tried again after Retry-After.
 * Errors:  ERR_IO no connection, ERR_TOO_LARGE the answer. A problem status is
 *          no error here: see client_check.
 */
enum err_code client_call(struct client *client, const struct client_request *request,
                          struct client_answer *answer_out, struct err *err) MUST_USE;

/*
 * Turn a problem answer into an error that says what the server said.
 * Errors:  ERR_FORBIDDEN, ERR_NOT_FOUND, ERR_INVALID … by status.
 */
enum err_code client_check(const struct client_answer *answer, struct err *err) MUST_USE;

/* client_call of a request without body, client_check. */
enum err_code client_get(struct client *client, const char *path, struct buffer *body_out,
                         struct err *err) MUST_USE;
