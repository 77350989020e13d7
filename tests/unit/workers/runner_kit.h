/*
 * A runner on a real catalog in a fresh folder, with fake tasks. JSON is written with ' for ".
 *
 * The fake task is an http_request whose body says what to do:
 *   {"do":"succeed"}                  optionally "values":{…}, "rows":N
 *   {"do":"fail","code":"io"}         "io" is worth another try, "invalid" is not
 *   {"do":"fail_until","attempt":N}   fails before its Nth attempt
 *   {"do":"gate"}                     waits until kit_open_gate, or until it is told to stop
 *   {"do":"secret"}                   opens the header x and leaves what came of it as value
 *   {"do":"pin"}                      pins its attempt's number and leaves it as value
 *   {"do":"abort"}                    dies of a fatal signal
 *   {"do":"effect"}                   leaves a file named after its idempotency key
 */
#pragma once

#include "storage/catalog/catalog.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/definition.h"
#include "workers/runner.h"

#include <stdint.h>

struct kit {
    struct catalog *catalog;
    struct runner *runner;
    struct id principal; /* the administrator */
    const char *pools;   /* the setting; set before kit_set_up or a restart */
};
extern struct kit kit;

/* Criterion's init and fini. */
void kit_set_up(void);
void kit_tear_down(void);

/* Only folder and keys, for a test that opens in a child. */
void kit_set_up_folder(void);
void kit_open(void);
void kit_close(void);
/* The runner is told to stop, catalog and runner are opened anew. */
void kit_restart(void);

/* A job; `members` are those beside its name. Stops the test when it is wrong. */
int64_t kit_job(const char *members);
/* One fake task: {"task_key":key,…}; `more` is members with a comma in front. Static, 16 in turn.
 */
const char *kit_task(const char *key, const char *body, const char *more);

int64_t kit_start(int64_t job_id);
/* Without telling the runner: the next one finds it. */
int64_t kit_make_run(int64_t job_id, const char *parameters, const char *only);
int64_t kit_start_with(int64_t job_id, const char *parameters, const char *only);

/* Until the run is terminated (10 s, then the test fails); its result. */
enum run_result kit_wait(int64_t run_id);
/* Until the run is in this state, or the node of task `task` in that. */
void kit_wait_state(int64_t run_id, enum run_state state);
void kit_wait_task(int64_t run_id, size_t task, enum task_state state);
/* Until so many attempts of it have failed, and it waits for the next. */
void kit_wait_failures(int64_t run_id, size_t task, int failures);
/* Until a run_job task names its run, which is returned. */
int64_t kit_wait_child(int64_t run_id, size_t task);
/* Until so many attempts wait at the gate. */
void kit_wait_gate(int count);
void kit_open_gate(void);
/* How many attempts of all tasks have begun since kit_set_up. */
int kit_attempts_begun(void);

/* Wall time is frozen, and goes on by so much; runs that wait look at it. */
void kit_pass_time(int64_t run_id, int64_t us);

/* Strings live until the test's end. */
struct job_run kit_run(int64_t run_id);
struct run_task kit_node(int64_t run_id, size_t task, int64_t iteration);
size_t kit_attempts(int64_t run_id, size_t task, int64_t iteration, struct run_attempt **out);
/* "SUCCESS FAILED …": the results of the tasks in order, "-" for none. Static. */
const char *kit_results(int64_t run_id);
/* A number among the values of a task; -1 = none. */
int64_t kit_value(int64_t run_id, size_t task, const char *name);
const char *kit_value_text(int64_t run_id, size_t task, const char *name);

/* Files that effects left, each once. */
size_t kit_effects(void);
