/*
 * Errors as answers: application/problem+json (RFC 9457), the only place that
 * maps an error code to an HTTP status. A problem carries `type`, `title`,
 * `status`, `detail`, `code`, `request_id`, `retryable` and, where a body was
 * judged, `errors`. It never carries record contents, keys or tokens, because
 * messages of `struct err` never do.
 *
 * Every function here completes the answer and returns HANDLER_DONE, so that a
 * failing branch of a handler is one line: `return problem_err(exchange);`.
 */
#pragma once

#include "handlers/exchange.h"
#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROBLEM_ERRORS_MAX = 100,  /* items of `errors`; `errors_total` tells how many there were */
    PROBLEM_RETRY_SECONDS = 1, /* Retry-After when nobody computed a better one */
};

/* One entry of `errors`. */
struct problem_item {
    int64_t line;        /* of the body, from 1; 0 = not a line's fault */
    const char *pointer; /* RFC 6901; NULL = the whole line or body */
    const char *code;    /* stable, lower case */
    const char *message; /* for people; never contains a value */
};

/* Where problem types are described; the code is the fragment. */
#define PROBLEM_TYPE_PREFIX "/docs#problem-"

/* HTTP status and `code` of an error code: ERR_INVALID is 400 "invalid", and so on. */
int problem_status(enum err_code code);
const char *problem_code(enum err_code code);

/* Answer exchange->err (its code must not be ERR_OK) with problem_status of its code. */
enum handler_result problem_err(struct exchange *exchange);

/* The same with another status or a more telling `code` than the error's own. */
enum handler_result problem_err_as(struct exchange *exchange, int status, const char *code);

/*
 * Answer `status` with a stable `code` and a detail for people.
 * 401, 429, 503 and 507 get the header they need (WWW-Authenticate, Retry-After)
 * unless the handler has set it.
 */
enum handler_result problem_answer(struct exchange *exchange, int status, const char *code,
                                   const char *detail, ...) __attribute__((format(printf, 4, 5)));

/*
 * As problem_answer, with `errors`: the first PROBLEM_ERRORS_MAX of `items` and,
 * when there were more, `errors_total`.
 */
enum handler_result problem_items(struct exchange *exchange, int status, const char *code,
                                  const char *detail, const struct problem_item *items,
                                  size_t count, int64_t total);
