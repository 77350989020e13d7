/*
 * Jobs by what people call them: a number, or a name.
 */
#pragma once

#include "server/cli/client.h"
#include "storage/base/err.h"

#include <stdint.h>

enum { JOB_FIND_SHOWN_MAX = 5 }; /* numbers named when a name is not unique */

/*
 * The job that `text` means: digits are its number (which is not asked for at the server),
 * all else its name.
 *
 * Errors:  ERR_NOT_FOUND no job of this name; ERR_INVALID several, with their numbers; ERR_IO.
 */
enum err_code job_find(struct client *client, const char *text, int64_t *job_id_out,
                       struct err *err) MUST_USE;

/* The job of this very name, 0 when there is none. Errors: ERR_INVALID several; ERR_IO. */
enum err_code job_find_named(struct client *client, const char *name, int64_t *job_id_out,
                             struct err *err) MUST_USE;
