/*
 * What a job is: a client's JSON, checked as a whole, as an immutable struct.
 *
 * One pass collects *every* error with its JSON pointer, so that a client fixes a
 * definition once. What only the outside knows (does the table exist, may this
 * principal read it) is asked in the same pass through struct job_world.
 *
 * Source: Databricks Jobs API 2.2 for names and meanings; the task types are ours.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DEFINITION_BYTES_MAX = 1 << 20, /* of the canonical JSON */
    DEFINITION_NAME_BYTES_MAX = 256,
    DEFINITION_DESCRIPTION_BYTES_MAX = 4096,
    DEFINITION_TASKS_MAX = 1000,
    DEFINITION_DEPENDENCIES_MAX = 1000, /* of one task */
    DEFINITION_KEY_BYTES_MAX =
        100, /* task keys, parameters, values, secrets, pools: A–Z a–z 0–9 _ - */
    DEFINITION_PARAMETERS_MAX = 100,
    DEFINITION_PARAMETER_BYTES_MAX = 10000, /* one value as text */
    DEFINITION_TAGS_MAX = 25,
    DEFINITION_TAG_BYTES_MAX = 256,
    DEFINITION_TRIGGERS_MAX = 10,
    DEFINITION_TRIGGER_TABLES_MAX = 100,
    DEFINITION_HEALTH_RULES_MAX = 5,
    DEFINITION_WEBHOOKS_MAX = 5, /* of one event */
    DEFINITION_CONCURRENT_RUNS_MAX = 1000,
    DEFINITION_RETRIES_MAX = 1000, /* beside -1 = without limit */
    DEFINITION_RETRY_INTERVAL_MS_MAX = 86400000,
    DEFINITION_TIMEOUT_SECONDS_MAX = 30 * 86400,
    DEFINITION_FOR_EACH_INPUTS_MAX = 5000,
    DEFINITION_FOR_EACH_CONCURRENCY_MAX = 100,
    DEFINITION_EXPECTATIONS_MAX = 200, /* of one task */
    DEFINITION_PROBLEMS_MAX = 1000,    /* kept; how many more there were is counted */
    DEFINITION_EVERY_SECONDS_MIN = 10,
    DEFINITION_EVERY_SECONDS_MAX = 31 * 86400,
};

/* ---- tasks ---- */

enum job_task_type {
    JOB_TASK_INGEST = 1,
    JOB_TASK_CHECK,
    JOB_TASK_EXPORT,
    JOB_TASK_OPTIMIZE,
    JOB_TASK_VACUUM,
    JOB_TASK_RESTORE,
    JOB_TASK_HTTP_REQUEST,
    JOB_TASK_CONDITION, /* from here on decided by the runner without a thread */
    JOB_TASK_FOR_EACH,
    JOB_TASK_RUN_JOB,
    JOB_TASK_TYPE_COUNT,
};

const char *job_task_type_name(enum job_task_type type); /* "ingest" */
bool job_task_type_parse(struct span name, enum job_task_type *type_out);

enum job_run_if {
    RUN_IF_ALL_SUCCESS,
    RUN_IF_AT_LEAST_ONE_SUCCESS,
    RUN_IF_NONE_FAILED,
    RUN_IF_ALL_DONE,
    RUN_IF_AT_LEAST_ONE_FAILED,
    RUN_IF_ALL_FAILED,
    RUN_IF_COUNT,
};
const char *job_run_if_name(enum job_run_if run_if); /* "ALL_SUCCESS" */

struct job_dependency {
    size_t task;      /* index into the tasks */
    bool has_outcome; /* of a condition: only this outcome leads here */
    bool outcome;
};

enum job_condition_op {
    CONDITION_EQUAL_TO,
    CONDITION_NOT_EQUAL,
    CONDITION_GREATER_THAN,
    CONDITION_GREATER_THAN_OR_EQUAL,
    CONDITION_LESS_THAN,
    CONDITION_LESS_THAN_OR_EQUAL,
    CONDITION_OP_COUNT,
};

struct job_task {
    const char *key;
    enum job_task_type type;
    size_t dependencies_count;
    const struct job_dependency *dependencies;
    enum job_run_if run_if;
    int32_t max_retries; /* -1 = without limit */
    int64_t min_retry_interval_us;
    bool retry_on_timeout;
    int64_t timeout_us; /* of one attempt (for_each, run_job: of the whole); 0 = none */
    bool disabled;
    const char *pool;        /* "default" when the definition names none */
    const struct json *body; /* the object named after the type, defaults filled in */

    enum job_condition_op condition_op; /* condition: operands are left and right of the body */
    const struct job_task *each;        /* for_each: the task run for each input */
    int64_t concurrency;                /* for_each: iterations at once */
    int64_t job_id;                     /* run_job */
};

/* ---- when it runs ---- */

enum job_catch_up {
    CATCH_UP_NONE, /* fire times missed while the server was down are left out */
    CATCH_UP_LAST, /* one run for the latest of them */
    CATCH_UP_ALL,  /* one run each */
};

struct definition_schedule {
    const char *cron;      /* quartz_cron_expression; NULL: every_seconds */
    int64_t every_seconds; /* 0: cron */
    const char *timezone_id;
    bool paused;
    enum job_catch_up catch_up;
};

enum job_trigger_type {
    JOB_TRIGGER_TABLE_UPDATE = 1,
    JOB_TRIGGER_FILE_ARRIVAL,
    JOB_TRIGGER_CONTINUOUS,
    JOB_TRIGGER_JOB_FINISHED,
};

struct definition_trigger {
    enum job_trigger_type type;
    bool paused;
    /* table_update */
    size_t tables_count;
    const char *const *tables;
    bool all_updated; /* ALL_UPDATED; else ANY_UPDATED */
    int64_t min_interval_us;
    /* file_arrival */
    const char *path;  /* a folder below a source root */
    const char *glob;  /* of the file names in it */
    int64_t settle_us; /* a file counts when it has not changed for so long */
    /* job_finished */
    int64_t job_id;
    uint32_t results; /* bit 1 << enum run_result (graph.h) */
};

/* ---- the rest of a job ---- */

struct definition_parameter {
    const char *name;
    const struct json
        *default_value; /* string, number or boolean; NULL: must be given by the run */
};

struct definition_tag {
    const char *name;
    const char *value;
};

struct definition_webhook {
    const char *url;
    const char *secret; /* NULL, or text with {{secrets.NAME}} */
};

enum job_event {
    JOB_EVENT_START,
    JOB_EVENT_SUCCESS,
    JOB_EVENT_FAILURE,
    JOB_EVENT_DURATION, /* health rule RUN_DURATION_SECONDS passed */
    JOB_EVENT_COUNT,
};

struct job_definition {
    const char *name;        /* "" for a one-off run without one */
    const char *description; /* "" */
    size_t parameters_count;
    const struct definition_parameter *parameters;
    size_t tasks_count;
    const struct job_task *tasks;
    const size_t *order; /* task indexes, each after those it depends on */
    bool has_schedule;
    struct definition_schedule schedule;
    size_t triggers_count;
    const struct definition_trigger *triggers;
    int64_t max_concurrent_runs; /* 0 = every run is refused a place */
    bool queue_enabled;          /* a run without a place waits; else it ends at once */
    int64_t timeout_us;          /* of a run; 0 = none */
    size_t tags_count;
    const struct definition_tag *tags;
    const char *run_as;          /* principal's name; NULL = the job's creator */
    int64_t duration_warning_us; /* health rule; 0 = none */
    size_t webhooks_count[JOB_EVENT_COUNT];
    const struct definition_webhook *webhooks[JOB_EVENT_COUNT];
    const struct json *json; /* canonical: defaults filled in, members in one order */
};

/* ---- what is wrong with a definition ---- */

struct definition_problem {
    char *pointer;    /* "/tasks/3/depends_on/0/task_key"; "" = the whole */
    const char *code; /* "unknown_task", static; see definition_problem.h */
    char *message;    /* a sentence that says what to do */
};

/* Zeroed is empty. */
struct definition_problems {
    struct definition_problem *items; /* in the order of the document as far as it goes */
    size_t count;
    size_t left_out; /* beyond DEFINITION_PROBLEMS_MAX */
};
void definition_problems_deinit(struct definition_problems *problems);

/* ---- the outside, asked while checking ---- */

struct job_world {
    void *arg;
    int64_t job_id;      /* whose definition this is; 0 = not stored yet, or a one-off run */
    const char *creator; /* principal's name */
    enum err_code (*table_exists)(void *arg, const char *table, bool *exists_out, struct err *err);
    /*
     * Does this part of a task's body ("expectations", "columns", "filters") fit the columns
     * that the table has now? ERR_INVALID: no; the message is "/pointer: sentence", from the
     * part's root ("expectations": from the array).
     */
    enum err_code (*part_fits)(void *arg, enum job_task_type type, const char *table,
                               const struct json *part, struct err *err);
    /* May a job read (write: `writes`) below this path? ERR_FORBIDDEN, ERR_INVALID: no, and why. */
    enum err_code (*path_fits)(void *arg, const char *path, bool writes, struct err *err);
    enum err_code (*job_exists)(void *arg, int64_t job_id, bool *exists_out, struct err *err);
    enum err_code (*secret_exists)(void *arg, const char *name, bool *exists_out, struct err *err);
    enum err_code (*pool_exists)(void *arg, const char *name, bool *exists_out, struct err *err);
    enum err_code (*principal_exists)(void *arg, const char *name, bool *exists_out,
                                      struct err *err);
    /* May `principal` do `action` on `table` ("*": on every table)? */
    enum err_code (*allows)(void *arg, const char *principal, const char *action, const char *table,
                            bool *allowed_out, struct err *err);
    /* The jobs that the stored job runs (run_job, also inside for_each); mem_free. */
    enum err_code (*jobs_run_by)(void *arg, int64_t job_id, int64_t **job_ids_out,
                                 size_t *count_out, struct err *err);
    /* The stored jobs that start when job `job_id` (may be 0) has ended (job_finished
     * triggers); mem_free. */
    enum err_code (*jobs_awaiting)(void *arg, int64_t job_id, int64_t **job_ids_out,
                                   size_t *count_out, struct err *err);
};

struct job_parse_options {
    bool one_off; /* POST /v1/runs: no schedule, no triggers, a name is not needed */
    const struct job_world *world; /* NULL: the definition alone (stored ones that are read back) */
};

/*
 * Check a definition and make it a struct.
 *
 *   json            any value; borrowed for the call
 *   problems        appended to; all that was found
 *   definition_out  holds one reference; untouched when there are problems
 *
 * Errors:  ERR_INVALID there are problems (the message is the first one and their number);
 *          ERR_TOO_LARGE over DEFINITION_BYTES_MAX; those of the world's functions.
 * Thread:  reentrant. The struct is immutable and may be shared.
 */
enum err_code job_definition_parse(const struct json *json, const struct job_parse_options *options,
                                   struct definition_problems *problems,
                                   const struct job_definition **definition_out,
                                   struct err *err) MUST_USE;

/* Stored text, which was canonical JSON once. Errors: ERR_CORRUPT. */
enum err_code job_definition_read(struct span text, const struct job_definition **definition_out,
                                  struct err *err) MUST_USE;

/* Any thread. */
const struct job_definition *job_definition_acquire(const struct job_definition *definition);
void job_definition_release(const struct job_definition **definition);

/* Index of a task by key; false when there is none. */
bool job_definition_find(const struct job_definition *definition, struct span key,
                         size_t *task_out);

/*
 * The jobs run by run_job tasks, those inside for_each too, each once; mem_free.
 */
int64_t *job_definition_jobs_run(const struct job_definition *definition, size_t *count_out);

/* The jobs of job_finished triggers, paused ones too; mem_free. */
int64_t *job_definition_jobs_awaited(const struct job_definition *definition, size_t *count_out);

/*
 * The parameters of a run: given ones over defaults.
 *
 *   given           object of name → string, number or boolean, or NULL
 *   parameters_out  object with every parameter of the definition; json_free
 *
 * Errors:  ERR_INVALID all problems are in `problems`: unknown name, wrong type, too long, missing.
 */
enum err_code job_definition_parameters(const struct job_definition *definition,
                                        const struct json *given,
                                        struct definition_problems *problems,
                                        struct json **parameters_out, struct err *err) MUST_USE;

/*
 * Check a task's body after its templates were expanded: a value may have another type
 * or range than the field wants, which only now can be seen.
 *
 * Errors:  ERR_INVALID the first problem with its pointer below the body.
 */
enum err_code job_task_check_expanded(enum job_task_type type, const struct json *body,
                                      struct err *err) MUST_USE;
