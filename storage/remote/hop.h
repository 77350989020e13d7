/*
 * One request and its answer on the wire, without redirects, breakers and
 * credentials: what call.c composes and client.c does. Private to the room.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/remote/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Everything is borrowed for the call. */
struct hop {
    const struct remote_request *request; /* method set, checked */
    const struct remote_limits *limits;   /* filled in */
    const char *url;                      /* checked by url_parse */
    const char *origin;
    bool secure;
    const struct remote_header *headers; /* those that go to this origin */
    size_t headers_count;
    struct span authorization; /* the header's value; empty = none */
    int64_t remaining_ms;      /* until the call's deadline, > 0 */
};

/*
 * Send and take in. Fills head, body, status, counts and times of `answer`.
 *
 *   reason_out  of an ERR_IO of the server's making, for the breaker: short, a constant;
 *               NULL when `take` failed
 *
 * Errors:  as remote_call, without its redirects, breaker and auth.
 */
enum err_code hop_send(struct remote *remote, const struct hop *hop, struct remote_answer *answer,
                       const char **reason_out, struct err *err) MUST_USE;

struct breakers *hop_breakers(const struct remote *remote);
