/*
 * Headers and credentials of outgoing requests. See outgoing.h.
 */
#include "workers/outgoing.h"

#include "storage/base/mem.h"
#include "storage/base/secret.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* ---- texts that hold secrets ---- */

static void wipe_buffer(struct buffer *buffer)
{
    if (buffer->data != NULL) {
        secret_wipe(buffer->data, buffer->capacity);
    }
    buffer_deinit(buffer);
}

static void free_text(const char *text)
{
    if (text != NULL) {
        char *owned = (char *)(uintptr_t)text; /* ours; const only to those who send it */
        secret_wipe(owned, strlen(owned));
        mem_free(owned);
    }
}

/* The opened text as a string of its own, which free_text wipes. */
static enum err_code open_text(const struct json *value, outgoing_open_fn *open, void *arg,
                               const char **text_out, struct err *err)
{
    const char *text = json_text(value);
    if (text == NULL) {
        return err_set(err, ERR_INVALID, "must be a text");
    }
    CLEANUP(wipe_buffer) struct buffer opened;
    buffer_init(&opened, OUTGOING_TEXT_BYTES_MAX);
    /* room at once, so that no copy is left behind by growing */
    if (buffer_reserve(&opened, OUTGOING_TEXT_BYTES_MAX) == NULL) {
        return buffer_check(&opened, "the text", err);
    }
    TRY(open(arg, text, &opened, err));
    TRY(buffer_check(&opened, "the text with its secrets", err));
    if (opened.size > 0 && memchr(opened.data, '\0', opened.size) != NULL) {
        return err_set(err, ERR_INVALID, "must not hold a NUL, nor a secret with one");
    }
    char *copy = mem_alloc(opened.size + 1);
    if (opened.size > 0) {
        memcpy(copy, opened.data, opened.size);
    }
    copy[opened.size] = '\0';
    *text_out = copy;
    return ERR_OK;
}

/* ---- headers ---- */

/* Takes the value. */
static enum err_code put_header(struct outgoing *outgoing, const char *name, const char *value,
                                struct err *err)
{
    if (outgoing->headers_count == REMOTE_HEADERS_MAX) {
        free_text(value);
        return err_set(err, ERR_INVALID, "/headers: more than %d", REMOTE_HEADERS_MAX);
    }
    outgoing->headers[outgoing->headers_count++] =
        (struct remote_header){.name = mem_copy_text(name), .value = value};
    return ERR_OK;
}

static enum err_code take_headers(struct outgoing *outgoing, const struct json *headers,
                                  outgoing_open_fn *open, void *arg, struct err *err)
{
    const char *name = NULL;
    const struct json *value = NULL;
    for (size_t at = 0; json_member(headers, &at, &name, &value);) {
        const char *text = NULL;
        if (open_text(value, open, arg, &text, err) != ERR_OK) {
            return err_wrap(err, "/headers/%s", name);
        }
        TRY(put_header(outgoing, name, text, err));
    }
    return ERR_OK;
}

enum err_code outgoing_add(struct outgoing *outgoing, const char *name, const char *value,
                           struct err *err)
{
    for (size_t i = 0; i < outgoing->headers_count; i++) {
        if (strcasecmp(outgoing->headers[i].name, name) == 0) {
            return ERR_OK;
        }
    }
    return put_header(outgoing, name, mem_copy_text(value), err);
}

/* ---- credentials ---- */

enum { PARTS_MAX = 4 };

/* Texts of one auth object by name; "" where it has none. */
struct parts {
    const char *texts[PARTS_MAX];
    size_t count;
};

static void parts_deinit(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        free_text(parts->texts[i]);
    }
}

static enum err_code take_part(struct parts *parts, const struct json *auth, const char *name,
                               outgoing_open_fn *open, void *arg, struct span *part_out,
                               struct err *err)
{
    const struct json *value = json_get(auth, name);
    if (value == NULL) {
        *part_out = span_of_text("");
        return ERR_OK;
    }
    if (open_text(value, open, arg, &parts->texts[parts->count], err) != ERR_OK) {
        return err_wrap(err, "/auth/%s", name);
    }
    assert(parts->texts[parts->count] != NULL);
    *part_out = span_of_text(parts->texts[parts->count++]);
    return ERR_OK;
}

static enum err_code take_auth(struct outgoing *outgoing, const struct json *auth,
                               outgoing_open_fn *open, void *arg, struct err *err)
{
    CLEANUP(parts_deinit) struct parts parts = {0};
    struct remote_auth_options options = {0};
    struct span type = {0};
    struct span token_url = {0};
    (void)json_as_string(json_get(auth, "type"), &type); /* another kind is no type */
    if (span_equal_text(type, "bearer")) {
        options.type = REMOTE_AUTH_BEARER;
        TRY(take_part(&parts, auth, "token", open, arg, &options.token, err));
    } else if (span_equal_text(type, "basic")) {
        options.type = REMOTE_AUTH_BASIC;
        TRY(take_part(&parts, auth, "username", open, arg, &options.username, err));
        TRY(take_part(&parts, auth, "password", open, arg, &options.password, err));
    } else if (span_equal_text(type, "oauth2_client_credentials")) {
        options.type = REMOTE_AUTH_CLIENT_CREDENTIALS;
        TRY(take_part(&parts, auth, "token_url", open, arg, &token_url, err));
        TRY(take_part(&parts, auth, "client_id", open, arg, &options.client_id, err));
        TRY(take_part(&parts, auth, "client_secret", open, arg, &options.client_secret, err));
        TRY(take_part(&parts, auth, "scope", open, arg, &options.scope, err));
        options.token_url = (const char *)token_url.data;
    } else {
        return err_set(err, ERR_INVALID,
                       "/auth/type: give bearer, basic or oauth2_client_credentials");
    }
    return remote_auth_new(&options, &outgoing->auth, err) == ERR_OK ? ERR_OK
                                                                     : err_wrap(err, "/auth");
}

/* ---- public ---- */

enum err_code outgoing_init(struct outgoing *outgoing, const struct json *given,
                            outgoing_open_fn *open, void *arg, struct err *err)
{
    TRY(take_headers(outgoing, json_get(given, "headers"), open, arg, err));
    const struct json *auth = json_get(given, "auth");
    return json_kind(auth) == JSON_KIND_NULL ? ERR_OK : take_auth(outgoing, auth, open, arg, err);
}

void outgoing_deinit(struct outgoing *outgoing)
{
    for (size_t i = 0; i < outgoing->headers_count; i++) {
        mem_free((void *)(uintptr_t)outgoing->headers[i].name); /* ours, like the value */
        free_text(outgoing->headers[i].value);
    }
    remote_auth_free(&outgoing->auth);
    *outgoing = (struct outgoing){0};
}
