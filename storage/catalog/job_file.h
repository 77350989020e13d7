/*
 * jobs.db: its schema, its opening, and the incarnation that every opening raises.
 * Private to the catalog.
 */
#pragma once

#include "storage/base/err.h"

#include <stdint.h>

struct catalog;
struct catalog_report;
struct store;

#define JOB_FILE_NAME "jobs.db"

/*
 * Open or create it, check it, raise the incarnation and close what attempts the last
 * process left running: one transaction. Start only, after attempts_open and before
 * attempts_charge.
 */
enum err_code job_file_open(struct catalog *catalog, struct err *err) MUST_USE;

/* The next number of a counter, taken inside the closure's transaction. */
enum err_code job_file_next_job(struct store *store, int64_t *job_id_out, struct err *err) MUST_USE;
enum err_code job_file_next_run(struct store *store, int64_t *run_id_out, struct err *err) MUST_USE;
enum err_code job_file_next_finish(struct store *store, int64_t *finish_out,
                                   struct err *err) MUST_USE;

/* fsck: count, and check what foreign keys cannot say. Errors: ERR_CORRUPT. */
enum err_code job_file_examine(struct store *store, struct catalog_report *report,
                               struct err *err) MUST_USE;
