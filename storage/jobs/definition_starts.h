/*
 * Which jobs start which: by running them (run_job) and by having ended (job_finished).
 * Private to storage/jobs.
 */
#pragma once

#include "storage/jobs/definition.h"

/*
 * Would a run of job `from` lead to one of job `to`, directly or through others, once the
 * definition is in force? world->job_id stands for the job that is being defined, also
 * while it is 0; every other job is asked about through `world`. A job leads to itself.
 *
 * Errors: those of the world's functions.
 * Thread: reentrant. Time: each job once.
 */
enum err_code definition_leads_to(const struct job_definition *definition,
                                  const struct job_world *world, int64_t from, int64_t to,
                                  bool *leads_out, struct err *err) MUST_USE;
