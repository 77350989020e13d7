/*
 * Credentials. See auth.h for the contract.
 *
 * One thread at a time fetches a token, without the lock; the others wait for it.
 * When it fails they do not all try in turn: each takes the failure as its own.
 */
#include "storage/remote/auth.h"

#include "storage/base/clock.h"
#include "storage/base/json.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/remote/client.h"
#include "storage/remote/url.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

enum {
    TOKEN_ANSWER_BYTES_MAX = REMOTE_ERROR_BODY_BYTES_MAX,
    TOKEN_DEADLINE_MS = 30000,
    WAIT_SLICE_US = 250000, /* how often a waiting thread looks whether it is cancelled */
};

struct remote_auth {
    enum remote_auth_type type; /* set once, like what follows */
    char *token_url;
    struct buffer fixed; /* bearer, basic: the header's value; client: that of the token request */
    struct buffer form;  /* body of the token request */

    struct lock lock; /* rank CACHE; guards what follows */
    struct wake fetched;
    bool fetching;
    uint64_t attempts;   /* fetches that ended */
    struct err failure;  /* of the last fetch; ERR_OK: it succeeded */
    struct buffer value; /* "Bearer …"; empty = no token */
    int64_t renew_at_us; /* monotonic */
};

static void buffer_wipe(struct buffer *buffer)
{
    if (buffer->data != NULL) {
        secret_wipe(buffer->data, buffer->capacity);
    }
    buffer_reset(buffer);
}

/* All of its memory at once: growing would leave copies behind that nobody wipes. */
static void buffer_init_secret(struct buffer *buffer, size_t size)
{
    buffer_init(buffer, size);
    (void)buffer_reserve(buffer, size); /* within the ceiling just given */
}

/* ---- making one ---- */

/* Visible ASCII: what a bearer token is made of, and more than its grammar. */
static bool is_visible(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return text.size > 0;
}

/* spec: RFC 7617 — neither may hold control characters, the user name no colon. */
static bool is_basic_part(struct span text, bool with_colon)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f || (!with_colon && text.data[i] == ':')) {
            return false;
        }
    }
    return true;
}

static enum err_code check_size(struct span part, const char *name, struct err *err)
{
    if (part.size > REMOTE_AUTH_SECRET_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "auth: %s has more than %d bytes", name,
                       REMOTE_AUTH_SECRET_BYTES_MAX);
    }
    return ERR_OK;
}

static enum err_code set_bearer(struct remote_auth *auth, const struct remote_auth_options *options,
                                struct err *err)
{
    TRY(check_size(options->token, "token", err));
    if (!is_visible(options->token)) {
        return err_set(err, ERR_INVALID,
                       "auth: a bearer token has visible characters only, at least one");
    }
    buffer_append_text(&auth->fixed, "Bearer ");
    buffer_append_span(&auth->fixed, options->token);
    return ERR_OK;
}

static void append_basic(struct buffer *value, struct span username, struct span password)
{
    struct buffer pair;
    buffer_init_secret(&pair, (size_t)8 * REMOTE_AUTH_SECRET_BYTES_MAX);
    buffer_append_span(&pair, username);
    buffer_append_byte(&pair, ':');
    buffer_append_span(&pair, password);
    buffer_append_text(value, "Basic ");
    text_base64_encode(buffer_span(&pair), value);
    buffer_wipe(&pair);
    buffer_deinit(&pair);
}

static enum err_code set_basic(struct remote_auth *auth, const struct remote_auth_options *options,
                               struct err *err)
{
    TRY(check_size(options->username, "username", err));
    TRY(check_size(options->password, "password", err));
    if (!is_basic_part(options->username, false) || !is_basic_part(options->password, true)) {
        return err_set(err, ERR_INVALID,
                       "auth: username and password have no control characters, username no ':'");
    }
    append_basic(&auth->fixed, options->username, options->password);
    return ERR_OK;
}

/* spec: RFC 6749 2.3.1 — id and secret are form-encoded before they are basic credentials. */
static void set_client(struct remote_auth *auth, const struct remote_auth_options *options)
{
    struct buffer id;
    struct buffer secret;
    buffer_init_secret(&id, (size_t)3 * REMOTE_AUTH_SECRET_BYTES_MAX);
    buffer_init_secret(&secret, (size_t)3 * REMOTE_AUTH_SECRET_BYTES_MAX);
    text_percent_encode(options->client_id, "", &id);
    text_percent_encode(options->client_secret, "", &secret);
    append_basic(&auth->fixed, buffer_span(&id), buffer_span(&secret));
    buffer_append_text(&auth->form, "grant_type=client_credentials");
    if (options->scope.size > 0) {
        buffer_append_text(&auth->form, "&scope=");
        text_percent_encode(options->scope, "", &auth->form);
    }
    buffer_wipe(&id);
    buffer_deinit(&id);
    buffer_wipe(&secret);
    buffer_deinit(&secret);
}

static enum err_code set_client_credentials(struct remote_auth *auth,
                                            const struct remote_auth_options *options,
                                            struct err *err)
{
    struct url url;
    TRY(check_size(options->client_id, "client_id", err));
    TRY(check_size(options->client_secret, "client_secret", err));
    TRY(check_size(options->scope, "scope", err));
    if (options->token_url == NULL || options->client_id.size == 0) {
        return err_set(err, ERR_INVALID, "auth: token_url and client_id are needed");
    }
    if (url_parse(span_of_text(options->token_url), &url, err) != ERR_OK) {
        return err_wrap(err, "auth: token_url");
    }
    auth->token_url = mem_copy_text(options->token_url);
    set_client(auth, options);
    return ERR_OK;
}

enum err_code remote_auth_new(const struct remote_auth_options *options,
                              struct remote_auth **auth_out, struct err *err)
{
    CLEANUP(remote_auth_free) struct remote_auth *auth = mem_zeroed(1, sizeof *auth);
    auth->type = options->type;
    buffer_init_secret(&auth->fixed, REMOTE_HEADER_BYTES_MAX);
    buffer_init(&auth->form, (size_t)4 * REMOTE_AUTH_SECRET_BYTES_MAX);
    buffer_init_secret(&auth->value, REMOTE_HEADER_BYTES_MAX);
    lock_init(&auth->lock, LOCK_RANK_CACHE);
    wake_init(&auth->fetched);
    switch (options->type) {
    case REMOTE_AUTH_BEARER:
        TRY(set_bearer(auth, options, err));
        break;
    case REMOTE_AUTH_BASIC:
        TRY(set_basic(auth, options, err));
        break;
    case REMOTE_AUTH_CLIENT_CREDENTIALS:
        TRY(set_client_credentials(auth, options, err));
        break;
    }
    if (auth->fixed.overflowed) {
        return err_set(err, ERR_INVALID, "auth: the credentials do not fit a header of %d bytes",
                       REMOTE_HEADER_BYTES_MAX);
    }
    *auth_out = auth;
    auth = NULL;
    return ERR_OK;
}

void remote_auth_free(struct remote_auth **auth)
{
    struct remote_auth *freed = *auth;
    if (freed == NULL) {
        return;
    }
    buffer_wipe(&freed->fixed);
    buffer_wipe(&freed->form);
    buffer_wipe(&freed->value);
    buffer_deinit(&freed->fixed);
    buffer_deinit(&freed->form);
    buffer_deinit(&freed->value);
    wake_deinit(&freed->fetched);
    lock_deinit(&freed->lock);
    mem_free(freed->token_url);
    mem_free(freed);
    *auth = NULL;
}

/* ---- fetching a token ---- */

/* A token and how long it is good for. */
struct grant {
    struct buffer value; /* "Bearer …" */
    int64_t life_seconds;
};

static enum err_code bad_token(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "the token server's answer %s", what);
}

static enum err_code parse_grant(struct span body, struct grant *grant, struct err *err)
{
    CLEANUP(json_free) struct json *answer = NULL;
    struct err ignored = {0};
    struct span token;
    struct span type;
    if (json_parse(body, &answer, &ignored) != ERR_OK) {
        return bad_token(err, "is no JSON"); /* where the parser stopped says nothing to anybody */
    }
    if (!json_as_string(json_get(answer, "access_token"), &token) || !is_visible(token) ||
        token.size > REMOTE_AUTH_TOKEN_BYTES_MAX) {
        return bad_token(err, "has no access_token that fits a header");
    }
    if (json_as_string(json_get(answer, "token_type"), &type) &&
        (type.size != 6 || strncasecmp((const char *)type.data, "bearer", 6) != 0)) {
        return bad_token(err, "has a token_type that is not Bearer");
    }
    double life = 0;
    int64_t life_seconds = REMOTE_AUTH_LIFE_SECONDS;
    if (json_as_real(json_get(answer, "expires_in"), &life) && life >= 0) {
        life_seconds =
            life < REMOTE_AUTH_LIFE_SECONDS_MAX ? (int64_t)life : REMOTE_AUTH_LIFE_SECONDS_MAX;
    }
    grant->life_seconds = life_seconds;
    buffer_append_text(&grant->value, "Bearer ");
    buffer_append_span(&grant->value, token);
    return ERR_OK;
}

/* spec: RFC 6749 5.2 — 400 with an error code, or 401, is the server's no to this client. */
static enum err_code check_token_status(const struct remote_answer *answer, struct err *err)
{
    if (answer->status == 400 || answer->status == 401 || answer->status == 403) {
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the token server refuses the client (status %d): check client_id, "
                       "client_secret and scope",
                       answer->status);
    }
    if (answer->status != 200) {
        enum err_code code = remote_answer_check(answer, err);
        return code != ERR_OK ? code : bad_token(err, "has a status other than 200");
    }
    return ERR_OK;
}

static enum err_code fetch_grant(struct remote_auth *auth, struct remote *remote,
                                 const _Atomic bool *cancelled, struct grant *grant,
                                 struct err *err)
{
    struct buffer basic;
    buffer_init_secret(&basic, REMOTE_HEADER_BYTES_MAX + 1);
    buffer_append_span(&basic, buffer_span(&auth->fixed));
    buffer_append_byte(&basic, 0);
    const struct remote_header headers[] = {
        {"Content-Type", "application/x-www-form-urlencoded"},
        {"Accept", "application/json"},
        {"Authorization", (const char *)basic.data},
    };
    const struct remote_request request = {
        .method = "POST",
        .url = auth->token_url,
        .headers = headers,
        .headers_count = sizeof headers / sizeof headers[0],
        .body = buffer_span(&auth->form),
        .limits = {.deadline_ms = TOKEN_DEADLINE_MS, .body_bytes_max = TOKEN_ANSWER_BYTES_MAX},
        .cancelled = cancelled,
    };
    struct remote_answer answer;
    remote_answer_init(&answer);
    (void)buffer_reserve(&answer.body, TOKEN_ANSWER_BYTES_MAX); /* as buffer_init_secret */
    enum err_code code = remote_call(remote, &request, &answer, err);
    if (code == ERR_OK) {
        code = check_token_status(&answer, err);
    }
    if (code == ERR_OK) {
        code = parse_grant(buffer_span(&answer.body), grant, err);
    }
    buffer_wipe(&answer.body);
    remote_answer_deinit(&answer);
    buffer_wipe(&basic);
    buffer_deinit(&basic);
    return code;
}

/* The caller holds the lock, has set `fetching`, and gets the lock back. */
static void fetch_and_keep(struct remote_auth *auth, struct remote *remote,
                           const _Atomic bool *cancelled)
{
    struct err err = {0};
    struct grant grant = {0};
    lock_drop(&auth->lock);
    buffer_init_secret(&grant.value, REMOTE_HEADER_BYTES_MAX);
    int64_t asked_at_us = clock_monotonic_us();
    enum err_code code = fetch_grant(auth, remote, cancelled, &grant, &err);
    lock_take(&auth->lock);
    buffer_wipe(&auth->value);
    if (code == ERR_OK) {
        /* a life shorter than the skew is used for the call that asked, and no other */
        int64_t life = grant.life_seconds - REMOTE_AUTH_SKEW_SECONDS;
        auth->renew_at_us = asked_at_us + (life > 0 ? life : 0) * 1000000;
        buffer_append_span(&auth->value, buffer_span(&grant.value));
    }
    auth->failure = err;
    auth->attempts++;
    auth->fetching = false;
    wake_all(&auth->fetched);
    buffer_wipe(&grant.value);
    buffer_deinit(&grant.value);
}

static bool is_cancelled(const _Atomic bool *cancelled)
{
    return cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed);
}

/* Wait until another thread's fetch has ended. The caller holds the lock. */
static enum err_code wait_for_fetch(struct remote_auth *auth, const _Atomic bool *cancelled,
                                    struct err *err)
{
    uint64_t attempts = auth->attempts;
    while (auth->attempts == attempts) {
        if (is_cancelled(cancelled)) {
            return err_set(err, ERR_CANCELLED, "the request was cancelled");
        }
        (void)wake_wait_until(&auth->fetched, &auth->lock,
                              clock_monotonic_us() + WAIT_SLICE_US); /* looked at above */
    }
    return ERR_OK;
}

static enum err_code apply_client_credentials(struct remote_auth *auth, struct remote *remote,
                                              const _Atomic bool *cancelled, struct buffer *value,
                                              struct err *err)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&auth->lock);
    bool fresh = false; /* a fetch ended while we looked: its token is good whatever its life */
    while (auth->value.size == 0 || (!fresh && clock_monotonic_us() >= auth->renew_at_us)) {
        bool mine = !auth->fetching;
        if (mine) {
            auth->fetching = true;
            fetch_and_keep(auth, remote, cancelled);
        } else {
            TRY(wait_for_fetch(auth, cancelled, err));
        }
        /* somebody else's cancellation is not ours: try ourselves */
        bool others = !mine && auth->failure.code == ERR_CANCELLED;
        if (auth->failure.code != ERR_OK && !others) {
            *err = auth->failure;
            return err_wrap(err, "fetch an access token");
        }
        fresh = !others;
    }
    buffer_append_span(value, buffer_span(&auth->value));
    return buffer_check(value, "the credentials", err);
}

enum err_code remote_auth_apply(struct remote_auth *auth, struct remote *remote,
                                const _Atomic bool *cancelled, struct buffer *value,
                                struct err *err)
{
    if (auth->type == REMOTE_AUTH_CLIENT_CREDENTIALS) {
        return apply_client_credentials(auth, remote, cancelled, value, err);
    }
    buffer_append_span(value, buffer_span(&auth->fixed));
    return buffer_check(value, "the credentials", err);
}

bool remote_auth_refused(struct remote_auth *auth, struct span value)
{
    if (auth->type != REMOTE_AUTH_CLIENT_CREDENTIALS) {
        return false;
    }
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&auth->lock);
    if (span_equal(buffer_span(&auth->value), value)) {
        buffer_wipe(&auth->value);
    }
    return true;
}
