/*
 * The task type export: a table, as of a version, filtered and projected, to a file
 * below an export root or to a server.
 *
 * What is exported is pinned at the first attempt (table, version, columns), so that
 * every attempt writes the same bytes, whatever happens to the table meanwhile.
 * Values: rows, bytes, version.
 */
#pragma once

#include "workers/task.h"

task_run_fn task_export_run;
