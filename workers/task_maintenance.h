/*
 * The task types optimize, vacuum and restore: what is done to a table as a whole when
 * somebody asks for it.
 *
 *   optimize  index runs are merged, files joined as far as they fit into one, dead rows
 *             purged; until nothing is left. Values: version, files_removed, files_written,
 *             rows_written, rows_purged.
 *   vacuum    files go that nobody refers to any more. Values: files_seen, files_removed,
 *             bytes_removed, dry_run.
 *
 *   restore   the rows of an earlier version come back (storage/snapshot/restore.h). Values:
 *             version, restored_version, files_added, files_removed, rows, committed.
 *
 * All may end anywhere and begin anew: each step is whole by itself, and a restore is done once in
 * its run.
 */
#pragma once

#include "workers/task.h"

task_run_fn task_optimize_run;
task_run_fn task_vacuum_run;
task_run_fn task_restore_run;
