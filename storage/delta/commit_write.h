/*
 * The bytes of a commit file. Private to this folder: transactions and the
 * creation of tables write the same kind of file.
 */
#pragma once

#include "storage/delta/actions.h"

/* What goes into commitInfo; `read_version` -1 = the table is being created. */
struct commit_info_parts {
    int64_t timestamp_ms;
    const char *operation;
    const struct json *parameters;
    const struct json *metrics;
    const struct json *extension;
    const char *txn_id;
    int64_t read_version;
    bool blind_append;
};

/* The commitInfo of actions that have none yet. Errors: ERR_TOO_LARGE. */
enum err_code commit_info_set(struct delta_actions *actions, const struct commit_info_parts *parts,
                              struct err *err) MUST_USE;

/*
 * Every action as a line, commitInfo first, as with in-commit timestamps it must
 * be. `bytes` is initialised here. Errors: ERR_TOO_LARGE.
 */
enum err_code commit_encode(const struct delta_actions *actions, struct buffer *bytes,
                            struct err *err) MUST_USE;
