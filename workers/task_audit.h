/*
 * Audit records of tasks: health information leaves, or rows change, in the name of
 * run_as. As for requests, what cannot be recorded is not done.
 */
#pragma once

#include "storage/base/err.h"
#include "workers/task.h"

#include <stdint.h>

/*
 * Durable before this returns; to be called before the effect.
 *
 *   event   "table.export", "rows.remove", …
 *   action  what run_as needed for it ("rows.read")
 *   place   where it goes, for people; NULL = none
 *   count   rows
 *
 * Errors:  ERR_BUSY the trail cannot be written: try again later.
 */
enum err_code task_audit(struct task_attempt *attempt, const char *event, const char *action,
                         const char *table, const char *place, int64_t count,
                         struct err *err) MUST_USE;
