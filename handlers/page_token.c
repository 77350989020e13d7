/*
 * Page tokens. See page_token.h for the contract.
 */
#include "handlers/page_token.h"

#include "storage/base/secret.h"
#include "storage/base/text.h"
#include "storage/catalog/access.h"

#include <assert.h>

enum { STATE_BYTES_MAX = 2048, TOKEN_BYTES_MAX = 4096 };

/* What a token is bound to: the operation and who asked. */
static struct span context_of(struct exchange *exchange)
{
    const char *principal = exchange->principal != NULL ? exchange->principal->id.text : "";
    const char *text =
        arena_format(&exchange->arena, "%s %s", exchange->route->operation_id, principal);
    return span_of_text(text != NULL ? text : "");
}

const char *page_token_seal(struct services *services, struct exchange *exchange,
                            struct json **state)
{
    struct buffer plain;
    struct buffer sealed;
    struct buffer text;
    buffer_init(&plain, STATE_BYTES_MAX);
    buffer_init(&sealed, STATE_BYTES_MAX + SECRET_SEAL_OVERHEAD_BYTES);
    buffer_init(&text, TOKEN_BYTES_MAX);
    json_write(*state, &plain);
    json_free(state);
    assert(!plain.overflowed); /* states are a few members of bounded size */
    secret_seal(services->keys, SECRET_PAGES, buffer_span(&plain), context_of(exchange), &sealed);
    text_base64url_encode(buffer_span(&sealed), &text);
    const char *token = arena_text(&exchange->arena, buffer_span(&text));
    buffer_deinit(&plain);
    buffer_deinit(&sealed);
    buffer_deinit(&text);
    return token;
}

static enum err_code open_token(struct services *services, struct exchange *exchange,
                                struct span token, struct buffer *sealed, struct buffer *plain,
                                struct json **state_out)
{
    if (!text_base64url_decode(token, sealed) || sealed->overflowed) {
        return err_set(&exchange->err, ERR_INVALID, "it is not a token of this service");
    }
    TRY(secret_unseal(services->keys, SECRET_PAGES, buffer_span(sealed), context_of(exchange),
                      plain, &exchange->err));
    return json_parse(buffer_span(plain), state_out, &exchange->err);
}

enum err_code page_token_open(struct services *services, struct exchange *exchange,
                              struct span token, struct json **state_out)
{
    if (token.size == 0) {
        *state_out = NULL;
        return ERR_OK;
    }
    struct buffer sealed;
    struct buffer plain;
    buffer_init(&sealed, TOKEN_BYTES_MAX);
    buffer_init(&plain, STATE_BYTES_MAX);
    enum err_code code = open_token(services, exchange, token, &sealed, &plain, state_out);
    buffer_deinit(&sealed);
    buffer_deinit(&plain);
    if (code != ERR_OK) {
        exchange->err.code = ERR_INVALID;
        return err_wrap(
            &exchange->err,
            "page_token: use next_page_token of the page before, with the same filters");
    }
    return ERR_OK;
}

void page_token_write(struct buffer *answer, const char *token)
{
    buffer_append_text(answer, ",\"next_page_token\":");
    if (token != NULL) {
        json_write_string(answer, span_of_text(token));
    } else {
        buffer_append_text(answer, "null");
    }
}
