/*
 * `sluice table restore|optimize|vacuum TABLE`: a run of one task on a server's table, and what
 * came of it.
 */
#pragma once

#include "server/cli/command.h"
#include "server/cli/run_watch.h"

#include <stdbool.h>
#include <stdint.h>

struct table_run_options {
    int64_t version;           /* restore: -1 = not given */
    int64_t timestamp_us;      /* restore: -1 = not given */
    int64_t retention_seconds; /* vacuum: -1 = the server's default */
    bool apply;                /* vacuum: remove, not only count */
    const char *sort_by;       /* optimize: names with commas between; NULL = none */
};

/* Is this a verb of these? */
bool table_run_has(const char *verb);

/*
 * Ask for the run, wait for its end, and print its values: with --json the document of the task.
 *
 *   success_out  false: it failed, and standard error says why
 */
enum err_code table_run(const struct command *command, struct client *client, const char *verb,
                        const char *table, const struct table_run_options *options,
                        bool *success_out, struct err *err) MUST_USE;
