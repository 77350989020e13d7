/*
 * Attempts: which lane positions were being merged when the process ended, and by
 * whose fault; and whose fault it was that attempts of runs' tasks ended with it.
 * Private to the catalog; the public halves are in batches.h and runs.h.
 *
 * A merge attempt is noted in a mapped page of `<folder>/crash-mark`, which outlives the
 * process but perhaps not a power cut: that is nobody's fault, and a merge waits for no disk
 * before it begins. One of a task is a row of jobs.db, durable before the work. Whether the
 * working thread itself died of a fatal signal is noted by catalog_mark_crash in the same
 * page; a kill -9 counts as an interruption only.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct run_attempt_id;

/* Map the mark; keep it for catalog_mark_crash. Start only. */
enum err_code attempts_open(struct catalog *catalog, struct err *err) MUST_USE;
void attempts_close(struct catalog *catalog);

/* Did the thread that worked on this attempt of a task die of a signal of its own? Start only. */
bool attempts_crashed(const struct catalog *catalog, int64_t run_id,
                      const struct run_attempt_id *attempt);

/*
 * Charge the batches of attempts that never ended, and wipe the mark. Start only, before the
 * writer runs and after everybody else has looked at it.
 */
enum err_code attempts_charge(struct catalog *catalog, struct err *err) MUST_USE;

/* The calling thread merges nothing any more, or works on no attempt. */
void attempts_unbind_thread(void);
