/*
 * The task types optimize and vacuum: what maintenance does by itself, when somebody
 * asks for it and thoroughly.
 *
 *   optimize  index runs are merged, files joined as far as they fit into one, dead rows
 *             purged; until nothing is left. Values: version, files_removed, files_written,
 *             rows_written, rows_purged.
 *   vacuum    files go that nobody refers to any more. Values: files_seen, files_removed,
 *             bytes_removed, dry_run.
 *
 * Both may end anywhere and begin anew: each step is whole by itself.
 */
#pragma once

#include "workers/task.h"

task_run_fn task_optimize_run;
task_run_fn task_vacuum_run;
