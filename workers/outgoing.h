/*
 * What a definition says of an outgoing request: its headers and who we are to the
 * other side, with secrets opened. Used by tasks that talk to other servers.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/remote/auth.h"
#include "storage/remote/client.h"

#include <stdbool.h>
#include <stddef.h>

enum { OUTGOING_TEXT_BYTES_MAX = 16 << 10 }; /* one value, opened */

/* Replaces the secrets in a text: task_open_secrets. The result is wiped here. */
typedef enum err_code outgoing_open_fn(void *arg, const char *text, struct buffer *text_out,
                                       struct err *err);

/* Zeroed before init; deinit wipes. */
struct outgoing {
    struct remote_header headers[REMOTE_HEADERS_MAX];
    size_t headers_count;
    struct remote_auth *auth; /* NULL = none */
};

/*
 *   given  an object with "headers" {name: text} and "auth" as the definition has them
 * Errors:  ERR_INVALID a header that cannot be sent, too many; those of `open` and of
 *          remote_auth_new; with the JSON pointer, never with a value.
 */
enum err_code outgoing_init(struct outgoing *outgoing, const struct json *given,
                            outgoing_open_fn *open, void *arg, struct err *err) MUST_USE;
void outgoing_deinit(struct outgoing *outgoing);

/* A header of ours, unless the definition gives one of the name. Errors: ERR_INVALID too many. */
enum err_code outgoing_add(struct outgoing *outgoing, const char *name, const char *value,
                           struct err *err) MUST_USE;
