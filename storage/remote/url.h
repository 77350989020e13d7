/*
 * The URLs we send requests to: a strict reading that leaves nothing for another
 * parser to understand differently, references resolved against a base, and the
 * origin, which is all that messages and metrics may show of a URL (paths and
 * queries may carry secrets).
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    URL_BYTES_MAX = 4096,
    URL_HOST_BYTES_MAX = 253,
    URL_ORIGIN_BYTES = URL_HOST_BYTES_MAX + 24, /* scheme, brackets, port, NUL */
};

/* Parts of one URL; spans borrow from the text that was parsed. */
struct url {
    bool secure;      /* https */
    struct span host; /* as written; an IPv6 literal without its brackets */
    bool host_is_ipv6;
    uint16_t port;      /* the scheme's when none is written */
    struct span target; /* path and query; empty when the URL ends after the authority */
};

/*
 * http or https, a host of letters, digits, '-', '.', '_' (or an IPv6 literal in
 * brackets), an optional port, a path and query of visible ASCII. No user name or
 * password, no backslash, no fragment, at most URL_BYTES_MAX.
 *
 * Errors:  ERR_INVALID saying which rule is broken, without echoing the URL.
 * Memory:  borrows from `text`.
 * Thread:  reentrant.
 * Source:  RFC 3986; narrower on purpose.
 */
enum err_code url_parse(struct span text, struct url *url_out, struct err *err) MUST_USE;

/*
 * Resolve `reference` (a Location or Link target) against `base` and append the
 * absolute URL, checked as url_parse does; a fragment is left out.
 *
 *   url  unchanged on failure
 *
 * Errors:  ERR_INVALID.
 * Source:  RFC 3986 section 5.2.
 */
enum err_code url_resolve(const struct url *base, struct span reference, struct buffer *url,
                          struct err *err) MUST_USE;

/* Same scheme, host (letters' case aside) and port. */
bool url_same_origin(const struct url *a, const struct url *b);

/*
 * "https:api.example.com:443": scheme, lower-case host, port. Without slashes, because
 * it is also the name of the origin's breaker and stands in a path there.
 */
void url_origin(const struct url *url, char text_out[URL_ORIGIN_BYTES]);
