/*
 * Triggers: has what a trigger waits for happened? Looked at by the scheduler, one
 * trigger at a time; reads tables, folders and runs, writes nothing.
 *
 * What a trigger has seen is a small JSON text, stored with the run that it makes:
 *   table_update  {"fired_us":N,"tables":{"<uuid>":VERSION,…}}
 *   file_arrival  {"files":"<base64 of 8 bytes for each file seen and still there>"}
 *   job_finished  {"finish":N}
 *   continuous    {}
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct roots;
struct tables;

enum {
    TRIGGER_KEY_BYTES = 48, /* with NUL */
    TRIGGER_FILES_MAX =
        10000, /* seen and still there: ROOT_MATCHES_MAX, and fits JOB_TRIGGER_STATE_BYTES_MAX */
};

struct trigger_services {
    struct catalog *catalog;
    struct tables *tables;
    const struct roots *source_roots;
};

/* A trigger of a job, as far as looking at it needs to know the job. */
struct trigger {
    const struct definition_trigger *definition;
    int64_t job_id;
    int64_t changed_at_us; /* of the job's definition: what came before is not news */
};

/*
 * Names a trigger as long as it means the same: its type and a hash of what it watches
 * (not of how often or how long it waits).
 */
void trigger_key(const struct definition_trigger *trigger, char key_out[TRIGGER_KEY_BYTES]);

enum run_trigger trigger_run_kind(const struct definition_trigger *trigger);

/* What came of a look. */
struct trigger_look {
    bool fire;       /* make a run, with the state */
    bool changed;    /* the state is news even without a run (a baseline) */
    int64_t time_us; /* {{run.trigger_time}} */
    bool more;       /* look again at once: there are other events (job_finished) */
    int64_t due_us;  /* look again at this wall time at the latest; INT64_MAX = when told */
};

/*
 * Look at one trigger.
 *
 *   state      what it has seen; empty = it was never looked at
 *   now_us     wall
 *   arena      for what is read meanwhile
 *   state_out  initialised by the caller; what it has seen now
 *
 * Errors:  ERR_NOT_FOUND, ERR_FORBIDDEN the folder cannot be looked at; ERR_TOO_LARGE more
 *          files than TRIGGER_FILES_MAX; ERR_IO, ERR_CORRUPT. Try again later.
 * Thread:  one at a time for each trigger.
 */
enum err_code trigger_look(const struct trigger_services *services, const struct trigger *trigger,
                           struct span state, int64_t now_us, struct arena *arena,
                           struct buffer *state_out, struct trigger_look *look_out,
                           struct err *err) MUST_USE;
