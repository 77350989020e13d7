/*
 * Where the schedule of a definition stands when the definition is stored: begun anew,
 * or left to the scheduler.
 */
#pragma once

#include "storage/catalog/jobs.h"
#include "storage/jobs/definition.h"
#include "storage/jobs/schedule.h"

#include <stdbool.h>
#include <stdint.h>

/*
 *   anchor_us  of an interval (schedule.h)
 *
 * Memory:  schedule_deinit.
 * Errors:  as schedule_init.
 */
enum err_code job_schedule_open(const struct definition_schedule *timing, int64_t anchor_us,
                                struct schedule *schedule_out, struct err *err) MUST_USE;

/* Does the schedule of `next` go on where that of `stored` stands? */
bool job_schedule_same_timing(const struct job_definition *stored,
                              const struct job_definition *next);

/* Have both the same interval, so that its grid stays? */
bool job_schedule_same_interval(const struct job_definition *a, const struct job_definition *b);

/*
 * A schedule that begins, is changed, paused or resumed now.
 * Errors:  as schedule_init.
 */
enum err_code job_schedule_begin(const struct job_definition *definition, int64_t anchor_us,
                                 int64_t now_us, struct job_schedule *schedule_out,
                                 struct err *err) MUST_USE;
