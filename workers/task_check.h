/*
 * The task type check: expectations on a table, or on the rows that this run brought.
 *
 * What is judged is pinned at the first attempt (version, versions of the run and of
 * referenced tables), so that every attempt finds the same. Rows that are to leave are
 * deleted through the lane, in pieces that enter the catalog once each, and win over
 * nothing that came after the pinned version; quarantined ones become dead letters with
 * their row in the same transaction. The task ends when these are merged.
 *
 * Values: passed, version, rows_judged, rows_removed, rows_kept (changed meanwhile),
 * violations, results (counts and places of every expectation).
 * An expectation with action fail that falls short fails the task for good, and then no
 * row leaves.
 */
#pragma once

#include "workers/task.h"

task_run_fn task_check_run;
