/*
 * How we show another server who we are: bearer token, basic, or OAuth2 client
 * credentials with a token that is fetched, kept until shortly before it ends and
 * fetched anew once when the server refuses it. Secrets are copied in and wiped.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct remote;
struct remote_auth;

enum {
    REMOTE_AUTH_SECRET_BYTES_MAX = 4096,   /* one token, password or client secret */
    REMOTE_AUTH_TOKEN_BYTES_MAX = 7 << 10, /* an access token: must fit a header */
    REMOTE_AUTH_SKEW_SECONDS = 30,         /* a token is renewed so long before its end */
    REMOTE_AUTH_LIFE_SECONDS = 300,        /* of a token that does not say */
    REMOTE_AUTH_LIFE_SECONDS_MAX = 86400,  /* believed at most */
};

enum remote_auth_type { REMOTE_AUTH_BEARER, REMOTE_AUTH_BASIC, REMOTE_AUTH_CLIENT_CREDENTIALS };

/* Borrowed by remote_auth_new, which copies; fields of other types are not looked at. */
struct remote_auth_options {
    enum remote_auth_type type;
    struct span token;              /* bearer */
    struct span username, password; /* basic; a user name has no ':' */
    const char *token_url;          /* client credentials, from here on */
    struct span client_id, client_secret;
    struct span scope; /* may be empty */
};

/*
 * Errors:  ERR_INVALID a part that is missing, too long, or has bytes no header may carry.
 * Thread:  the handle is any thread's: threads share one token, one of them fetches it.
 */
enum err_code remote_auth_new(const struct remote_auth_options *options,
                              struct remote_auth **auth_out, struct err *err) MUST_USE;
/* Wipes. Accepts NULL inside; nulls. */
void remote_auth_free(struct remote_auth **auth);

/*
 * Append the value of the Authorization header, fetching a token when there is none.
 * The token request goes through remote_call: guard, breaker and limits hold for it too.
 *
 *   value  the caller wipes it (secret_wipe); unchanged on failure
 *
 * Errors:  those of remote_call; ERR_UNAUTHENTICATED the token server refuses the
 *          client; ERR_INVALID its answer is no token.
 * Thread:  any; blocks for the token request, others wait for the same one.
 * Source:  RFC 6749 section 4.4, RFC 6750, RFC 7617.
 */
enum err_code remote_auth_apply(struct remote_auth *auth, struct remote *remote,
                                const _Atomic bool *cancelled, struct buffer *value,
                                struct err *err) MUST_USE;

/*
 * The server answered 401 to `value`: forget the token if it is still the kept one.
 * True when asking again can help (client credentials).
 */
bool remote_auth_refused(struct remote_auth *auth, struct span value);
