/*
 * Where an export goes: a file below an export root, or a server that takes it by
 * PUT. Bytes are written in order and appear as a whole, when published, or not at
 * all. Publishing the same bytes again changes nothing: the file is replaced by its
 * equal, the request carries the same Idempotency-Key.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"
#include "storage/base/span.h"
#include "workers/outgoing.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct remote;
struct roots;

enum { DESTINATION_DEADLINE_MS = 6 * 3600 * 1000 }; /* of one PUT, when the task has none */

/* Everything is borrowed until close. */
struct destination_options {
    const struct json *given; /* {"type":"file","path"} or {"type":"http","url","headers","auth"} */
    const struct roots *roots; /* folders that may be written */
    struct remote *remote;
    const char *spool; /* private folder of the process */
    outgoing_open_fn *open_secrets;
    void *open_arg;
    const char *idempotency_key;
    const char *media_type;
    const char *encoding; /* Content-Encoding; NULL = none */
    const _Atomic bool *cancelled;
};

struct destination;

/*
 * Errors:  ERR_INVALID, ERR_FORBIDDEN, ERR_BUSY of roots (storage/base/roots.h) and
 *          of outgoing_init, with the JSON pointer below `given`; ERR_NO_SPACE; ERR_IO.
 */
enum err_code destination_open(const struct destination_options *options,
                               struct destination **destination_out, struct err *err) MUST_USE;

/* Has the shape of row_sink.write; `self` is the destination. Errors: ERR_NO_SPACE, ERR_IO. */
enum err_code destination_write(void *self, struct span bytes, struct err *err) MUST_USE;

/*
 * Make it visible.
 *
 *   left_ms  until the task's deadline; INT64_MAX = none
 * Errors:  ERR_NO_SPACE, ERR_IO; of a server those of remote_call and remote_answer_check.
 * Durable: a file with its name, when ERR_OK.
 */
enum err_code destination_publish(struct destination *destination, int64_t left_ms,
                                  struct err *err) MUST_USE;

/* What was not published is removed. Accepts NULL inside; nulls. */
void destination_close(struct destination **destination);

/* For people: the path of the file, or the origin of the server. */
const char *destination_place(const struct destination *destination);
