/*
 * Page tokens: where a listing goes on, sealed under the instance's key and
 * bound to the operation and the principal, so that they say nothing and cannot
 * be made up or passed on.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"

/*
 * Seal `state` (taken and freed) into a token in the exchange's arena; NULL when
 * the arena is full.
 */
const char *page_token_seal(struct services *services, struct exchange *exchange,
                            struct json **state);

/* Append `,"next_page_token":` and the token, or null, to an answer that is written as text. */
void page_token_write(struct buffer *answer, const char *token);

/*
 * The state of a token that page_token_seal made for this operation and principal.
 *
 *   state_out  json_free; NULL when `token` is empty (the first page)
 *
 * Errors:  ERR_INVALID it is not ours, or of another listing; in exchange->err.
 */
enum err_code page_token_open(struct services *services, struct exchange *exchange,
                              struct span token, struct json **state_out) MUST_USE;
