/*
 * Jobs and runs for tests, on top of the catalog's fixture. Every verb stops the test
 * when it fails.
 */
#pragma once

#include "storage/catalog/runs.h"

#include <stdint.h>

/* A job of this name with definition {"name":…}, without schedule. */
int64_t make_job(const char *name);
struct job read_job(int64_t job_id);

/* A run of a job at its current version; token NULL = none. */
int64_t make_run(int64_t job_id, const char *token);
struct job_run read_run(int64_t run_id);

/* Task 0 begins attempt `number`: node RUNNING, run RUNNING. */
void begin_task(int64_t run_id, int32_t number);
/* It ends with `result` under `incarnation`; the node is TERMINATED, the run as it is. */
enum err_code end_task(int64_t run_id, int32_t number, int64_t incarnation, enum run_result result,
                       struct err *err);
/* The run ends. */
void end_run(int64_t run_id, enum run_result result);

/* The only node of a run; how many attempts and the newest of them. */
struct run_task read_task(int64_t run_id);
struct run_attempt read_attempt(int64_t run_id, size_t *count_out);
