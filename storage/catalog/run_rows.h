/*
 * Rows of runs that more than one file reads. Private to the catalog.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/catalog/runs.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

/* What a closure knows of a run. */
struct run_row {
    int64_t job_id;
    int64_t version;
    enum run_state state;
    bool repair_asked;
    bool succeeded; /* SUCCESS, without failures */
};

/* Errors: ERR_NOT_FOUND. */
enum err_code run_row_get(struct store *store, int64_t run_id, struct run_row *row_out,
                          struct err *err) MUST_USE;
enum err_code no_such_run(int64_t run_id, struct err *err) MUST_USE;

/* Errors: ERR_BUSY one more active run of the job would be too many. */
enum err_code run_check_room(struct store *store, int64_t job_id, struct err *err) MUST_USE;
