/*
 * What a check found, as the values of its task: counts and places, never values of
 * rows.
 */
#pragma once

#include "storage/columns/expectation.h"
#include "storage/snapshot/check.h"
#include "workers/task.h"

#include <stdint.h>

enum { TASK_REPORT_BYTES_MAX = 48 << 10 }; /* examples are left out beyond it */

/*
 *   removed, kept  rows that left, and that changed meanwhile and stayed
 */
void task_report_check(struct task_attempt *attempt, const struct snapshot *snapshot,
                       const struct expectations *list, const struct check_result *result,
                       int64_t removed, int64_t kept);
