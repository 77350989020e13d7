/*
 * An HTTP client for the commands, over libcurl; the only file that includes it.
 * One connection, kept alive. Retries what the server says may be retried.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"

#include <stddef.h>
#include <stdint.h>

struct client;

enum { CLIENT_HEADERS_MAX = 8, CLIENT_ANSWER_BYTES_MAX = 512 << 20, CLIENT_ATTEMPTS_MAX = 8 };

/* Where the server is and who we are; borrowed texts, NULL = not given. */
struct client_target {
    const char *url;        /* else the environment's SLUICE_URL, else <data>/endpoint */
    const char *token_file; /* else SLUICE_TOKEN_FILE, else <data>/admin.token */
    const char *data;
    const char *ca_file; /* PEM of the authority that signed the server's certificate */
};

/*
 * Errors:  ERR_NOT_FOUND no URL or token can be found (says where it looked);
 *          ERR_INVALID the URL; ERR_IO.
 */
enum err_code client_open(const struct client_target *target, struct client **client_out,
                          struct err *err) MUST_USE;
void client_close(struct client **client);

/* `sent` of `total` bytes of the body have left. */
typedef void client_progress_fn(void *arg, int64_t sent, int64_t total);

struct client_call {
    const char *method;
    const char *path;         /* with query, escaped */
    const char *headers[CLIENT_HEADERS_MAX]; /* "Name: value", NULL-terminated when fewer */
    struct span body;
    bool may_retry;           /* safe to repeat: waits as Retry-After says */
    client_progress_fn *progress; /* may be NULL */
    void *progress_arg;
};

/*
 * Send a request and collect the answer, whatever its status.
 *
 *   answer_out  reset, then holds the body
 *
 * Errors:  ERR_IO the server cannot be reached or broke off.
 */
enum err_code client_send(struct client *client, const struct client_call *call, int *status_out,
                          struct buffer *answer_out, struct err *err) MUST_USE;

/*
 * As client_send, with the answer parsed; NULL for an empty one.
 * Errors:  for a status of 400 and above, the code that fits it and the problem's
 *          detail as message.
 */
enum err_code client_send_json(struct client *client, const struct client_call *call,
                               struct json **answer_out, int *status_out,
                               struct err *err) MUST_USE;

/* Append `text` to a path or query, escaped. */
void client_escape(struct buffer *path, const char *text);
