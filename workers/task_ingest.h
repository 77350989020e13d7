/*
 * The task type ingest: records from a source into a table, through the same steps as a
 * posted batch, in pieces. Each piece is one transaction: batch, dead letters, place in
 * the lane, and how far the source was read (storage/catalog/sources.h), so an attempt
 * that dies anywhere is continued, and makes the batches of an uninterrupted one.
 *
 * The list of files is pinned at the first attempt. A file that is not what it was then
 * fails the task; one whose content was taken before, in this run or another, is
 * skipped. Services and tables are gone on with where an earlier run left them
 * (source_http.h, source_table.h).
 *
 * The task ends when all its batches are indexed.
 * Values: received, accepted, rejected, dropped, quarantined, applied, superseded,
 * rejected_at_merge (records); pieces; version and first_version (of the table; absent
 * when nothing was written); files and files_skipped; source_version (of the table that was
 * read); expectations (counts and places).
 */
#pragma once

#include "workers/task.h"

task_run_fn task_ingest_run;
