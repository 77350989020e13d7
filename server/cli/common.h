/* What the commands share: how they report, and the flags that find a server. */
#pragma once

#include "server/cli/client.h"
#include "server/cli/options.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/json.h"

/* For an option list: the four flags of a client_target. */
#define COMMON_TARGET_OPTIONS(target)                                                        \
    {"url", &(target).url, NULL, NULL, "URL", "server (default: SLUICE_URL, DIR/endpoint)"}, \
        {"token-file", &(target).token_file, NULL, NULL, "FILE",                             \
         "token (default: SLUICE_TOKEN_FILE, DIR/admin.token)"},                             \
        {"data", &(target).data, NULL, NULL, "DIR", "data directory (default: data)"},       \
        {"ca-file", &(target).ca_file, NULL, NULL, "FILE", "certificate authority, for https"}

/* Print "sluice NAME: message" on stderr; returns the sysexits code of the error. */
int common_fail(const char *name, const struct err *err);

/* One line of JSON on stdout; false when stdout is gone. */
void common_print_json(const struct json *value);

/* Text of a member, "-" when it is absent or null; numbers and booleans are printed. */
const char *common_text(const struct json *object, const char *member, char *scratch, size_t size);
