/*
 * Pools: how many tasks of a kind run at once. Each has places of its own (a
 * bulkhead), so that tasks that hang on one slow partner leave all others theirs.
 * Immutable once parsed; the definition of a job names one for each task.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    JOB_POOLS_MAX = 32,
    JOB_POOL_PLACES_MAX = 256, /* of one */
    JOB_PLACES_MAX = 512,      /* of all together: each place is a thread */
};

struct job_pool {
    char *name;
    size_t places;
};

struct job_pools {
    struct job_pool *items; /* "default" first */
    size_t count;
};

/*
 * Parse the setting `task-pools`: "partners=4, slow=2". Spaces around a comma and an
 * empty text are fine.
 *
 *   default_places  of the pool "default", which is always there (setting `task-threads`)
 *
 * Errors:  ERR_INVALID naming the entry and what is wrong with it; ERR_TOO_LARGE a limit.
 */
enum err_code job_pools_parse(struct span text, size_t default_places, struct job_pools *pools_out,
                              struct err *err) MUST_USE;

/* Accepts zeroed; leaves it zeroed. */
void job_pools_deinit(struct job_pools *pools);

/* False: there is none of this name. */
bool job_pools_find(const struct job_pools *pools, const char *name, size_t *index_out);
