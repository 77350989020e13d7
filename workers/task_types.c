/*
 * One row a task type that works on a thread. See task_types.h.
 */
#include "workers/task_types.h"

#include "workers/task_check.h"
#include "workers/task_export.h"
#include "workers/task_http_request.h"
#include "workers/task_ingest.h"
#include "workers/task_maintenance.h"

task_run_fn *const task_types[JOB_TASK_TYPE_COUNT] = {
    [JOB_TASK_INGEST] = task_ingest_run,
    [JOB_TASK_CHECK] = task_check_run,
    [JOB_TASK_EXPORT] = task_export_run,
    [JOB_TASK_OPTIMIZE] = task_optimize_run,
    [JOB_TASK_VACUUM] = task_vacuum_run,
    [JOB_TASK_RESTORE] = task_restore_run,
    [JOB_TASK_HTTP_REQUEST] = task_http_request_run,
};
