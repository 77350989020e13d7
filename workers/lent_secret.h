/*
 * Secrets as definitions use them: lent by whoever wrote the definition, for as long
 * as he may use secrets himself. Tasks and webhooks open them here and nowhere else.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"

struct catalog;

/*
 * Append a secret's text.
 *
 *   author  a principal's id: of the version of the definition that asks
 *   text    to be wiped (secret_wipe) and freed by the caller
 *
 * Errors:  ERR_FORBIDDEN the author may not use secrets any more; ERR_NOT_FOUND the secret, by
 *          name, or the author; ERR_INVALID no name; those of catalog_secret_open.
 * Thread:  any.
 */
enum err_code lent_secret_open(struct catalog *catalog, const struct id *author, struct span name,
                               struct buffer *text, struct err *err) MUST_USE;
