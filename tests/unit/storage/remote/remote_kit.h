/*
 * A lying server and a handle that may talk to it.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/remote/client.h"
#include "tests/support/lying_server.h"

/* What a test of calls needs; kit_end closes all. */
struct kit {
    struct lying_server *server;
    struct remote *remote;
    struct remote_answer answer;
    struct err err;
};

/* Start a server and open a handle that its address is allowed to. */
struct kit kit_begin(const char *script);
void kit_end(struct kit *kit);

/* "http://127.0.0.1:PORT" and the path; overwritten by the next call. */
const char *kit_url(const struct kit *kit, const char *path);

/* Call, with method and URL of `request` filled in when they are NULL. */
enum err_code kit_call(struct kit *kit, const char *path, struct remote_request request);
