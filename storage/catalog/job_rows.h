/*
 * Rows of jobs.db that more than one file writes. Private to the catalog; every
 * function runs inside a closure's transaction.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/catalog/deliveries.h"
#include "storage/catalog/jobs.h"

#include <stdint.h>

struct store;
struct transaction;

/* What the closure knows of a job that is not deleted. */
struct job_row {
    int32_t version;
    struct job_schedule schedule;
    int64_t runs_count;
};

/* Errors: ERR_NOT_FOUND. */
enum err_code job_row_get(struct store *store, int64_t job_id, struct job_row *row_out,
                          struct err *err) MUST_USE;
enum err_code no_such_job(int64_t job_id, struct err *err) MUST_USE;

/* Errors: ERR_PRECONDITION `version` is not the row's. */
enum err_code job_row_check_version(const struct job_row *row, int64_t job_id, int32_t version,
                                    struct err *err) MUST_USE;

/* A version of a definition that no run refers to yet. */
struct version_row {
    int64_t job_id;
    int64_t version;
    const char *name;
    const char *definition;
    struct id author;
    struct id run_as;
};
enum err_code version_insert(struct store *store, const struct version_row *version,
                             struct err *err) MUST_USE;
/* A run refers to it from now on (1) or no longer (-1). */
enum err_code version_count_run(struct store *store, int64_t job_id, int64_t version, int change,
                                struct err *err) MUST_USE;
/* Forget versions that are neither current nor referred to, and the job when it is deleted and has
 * none left (and the key that made it is old). */
enum err_code versions_forget(struct transaction *transaction, struct store *store, int64_t job_id,
                              struct err *err) MUST_USE;

enum err_code schedule_store(struct store *store, int64_t job_id,
                             const struct job_schedule *schedule, struct err *err) MUST_USE;
enum err_code trigger_store(struct store *store, int64_t job_id,
                            const struct job_trigger_state *trigger, struct err *err) MUST_USE;
enum err_code trigger_check(const struct job_trigger_state *trigger, struct err *err) MUST_USE;

/* Mark a job's active runs as to be cancelled; those marked already keep who did. */
enum err_code runs_mark_cancel(struct store *store, int64_t job_id, const struct id *by,
                               struct err *err) MUST_USE;
enum err_code runs_count_active(struct store *store, int64_t job_id, int64_t *count_out,
                                struct err *err) MUST_USE;

/* Errors: ERR_TOO_LARGE. Before the transaction. */
enum err_code delivery_check(const struct delivery_new *delivery, struct err *err) MUST_USE;
enum err_code delivery_insert(struct store *store, int64_t job_id, int64_t run_id,
                              const struct delivery_new *delivery, struct err *err) MUST_USE;

/* Errors: ERR_TOO_LARGE `text` (NULL is none) has over `bytes_max` bytes; `what` names it. */
enum err_code text_check(const char *text, size_t bytes_max, const char *what,
                         struct err *err) MUST_USE;
