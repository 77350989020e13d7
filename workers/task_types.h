/*
 * The task types that this program has: one function each.
 */
#pragma once

#include "storage/jobs/definition.h"
#include "workers/task.h"

/* By enum job_task_type; NULL for those that the runner decides itself. */
extern task_run_fn *const task_types[JOB_TASK_TYPE_COUNT];
