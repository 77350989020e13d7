/*
 * Follow a run until it ends: asks the server again and again, and shows what changed.
 */
#pragma once

#include "server/cli/command.h"

#include <stdint.h>

/* Exit code of commands that follow a run which ends, but not with SUCCESS. */
enum { EX_RUN_FAILED = 1 };

enum run_watch_mode {
    RUN_WATCH_SILENT, /* nothing: the caller says what came of it */
    RUN_WATCH_QUIET,  /* nothing until the end, then one line */
    RUN_WATCH_SHOW,   /* a picture redrawn in place on a terminal; elsewhere a line a change */
};

/*
 * Returns when the run is TERMINATED. With --json each change is the run's document in one
 * line (quiet: the last one only).
 *
 *   success_out  the result is SUCCESS
 *
 * A server that cannot be reached for a while (it is being restarted; the run goes on behind that)
 * is asked again for RUN_WATCH_LOST_SECONDS.
 * Errors:  ERR_NOT_FOUND no such run; ERR_IO the server stays away.
 */
enum { RUN_WATCH_LOST_SECONDS = 60 };
enum err_code run_watch(const struct command *command, struct client *client, int64_t run_id,
                        enum run_watch_mode mode, bool *success_out, struct err *err) MUST_USE;

/* GET /v1/runs/{id} with all pages of its tasks in one document. */
enum err_code run_fetch(struct client *client, int64_t run_id, struct json **run_out,
                        struct err *err) MUST_USE;
