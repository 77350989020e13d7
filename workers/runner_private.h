/*
 * What the files of the runner share. Nobody outside includes this.
 *
 *   runner.c         runs by id, threads, start and stop
 *   run_places.c     places of jobs under max_concurrent_runs
 *   run_load.c       a run out of the catalog
 *   run_waiting.c    a run that is not live: a place, a line, or its end
 *   run_step.c       one step: what happened → graph → catalog → effects
 *   run_attempts.c   attempts begin and end
 *   run_draft.c      what a step stores
 *   run_control.c    condition, for_each, run_job
 *   run_template.c   references in a task's body
 *   task_context.c   an attempt on its thread: everything of task.h
 *
 * Who may touch what: `struct active_run` has a part under the runner's lock; all the
 * rest of a run belongs to the thread that is in its step.
 */
#pragma once

#include "storage/base/lock.h"
#include "storage/catalog/access.h"
#include "storage/catalog/runs.h"
#include "storage/jobs/graph.h"
#include "storage/jobs/retry.h"
#include "storage/jobs/template.h"
#include "workers/id_map.h"
#include "workers/progress_board.h"
#include "workers/runner.h"
#include "workers/task_pool.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- an attempt on a thread ---- */

/* A pinned value that the attempt asked for. */
struct task_pinned {
    struct task_pinned *next;
    struct json *value;
};

/* One attempt, from the step that begins it to the step that takes its end. */
struct task_run {
    struct task_attempt attempt; /* what the task sees */

    /* set once by the step that begins it */
    struct runner *runner;
    size_t node; /* in the graph */
    struct run_attempt_id id;
    const struct job_definition *definition; /* a reference */
    const struct job_task *task;
    struct access_identity identity;
    struct id author; /* of the definition: lends it the secrets */
    struct json *body;
    char mark[TEMPLATE_MARK_BYTES + 1];
    char *idempotency_key;
    int64_t deadline_us; /* monotonic; INT64_MAX = none */
    int64_t started_us;  /* wall */
    struct pool_ticket *ticket;

    _Atomic bool cancelled;

    struct lock lock; /* rank CACHE; guards `progress` */
    struct task_progress progress;

    /* the task thread's until the end is posted */
    struct json *values;
    bool values_overflowed;
    struct json *versions_read;
    struct json *versions_written;
    struct task_pinned *pins;
    enum err_code code;
    struct err err;
    int64_t ended_us; /* wall */
    int64_t duration_us;
    bool stopped; /* the process stops: the end counts for nothing */

    struct task_run *next_ended; /* under the runner's lock, as the next */
    struct task_run *next_live;
};

struct task_run *task_run_new(struct runner *runner, const struct job_definition *definition);
void task_run_free(struct task_run **run);
/* On the task thread: from binding the thread to posting the end. */
void task_run_work(void *arg);

/* ---- a node, beside the graph's part of it ---- */

struct node_extra {
    struct json *values; /* NULL = none */
    bool values_changed; /* to be stored with the node */
    char *error_code;    /* NULL = none */
    char *error;
    struct task_run *attempt;   /* on its thread; NULL = none */
    struct pool_ticket *ticket; /* waits or is held; NULL = none */
    int64_t deadline_us;        /* monotonic, while the node runs; INT64_MAX = none */
    struct json *inputs;        /* for_each: as pinned; NULL = not read yet */
    int64_t child;              /* run_job: run id; 0 = not made yet */
    bool child_wanted;          /* … to be made once the change is stored */
    bool child_tried;           /* … and may have been, though nobody heard of it */
    bool child_looked_for;      /* … it may have ended */
    bool child_cancelled;       /* … it was told to end */
};

/* ---- a change on its way to the catalog ---- */

struct draft {
    bool pending; /* built, not stored yet */
    struct run_change change;
    struct run_task_change *tasks;
    struct run_attempt_end *ended;
    struct run_attempt_begin *begun;
    struct delivery_new *deliveries;
    char **texts; /* that the parts above borrow */
    size_t texts_count;
    struct task_run **starting; /* begun: they go once it is stored */
    size_t starting_count;
    struct task_run **gone; /* ended with it */
    size_t gone_count;
};

/* ---- a run ---- */

/* What a step takes with it from under the lock. */
struct step_news {
    bool look;
    bool stopping;          /* nothing may begin */
    struct task_run *ended; /* oldest first */
    int64_t *children;      /* mem_free */
    size_t children_count;
};

enum run_phase {
    PHASE_WAITING, /* nothing is in memory but the id */
    PHASE_LIVE,
    PHASE_GONE, /* ended, to be forgotten */
};

struct active_run {
    int64_t run_id;
    struct runner *runner;

    /* under the runner's lock */
    struct active_run *next_ready;
    struct active_run *next_waiting; /* in its job's line */
    struct active_run *next_timed, *previous_timed;
    int64_t job_id;
    bool ready;             /* in the line of runs to be stepped */
    bool stepping;          /* a thread is in its step */
    bool wanted;            /* woken while it was */
    bool look;              /* its row has to be read: something may have been asked for */
    bool in_line;           /* waits for a place of its job */
    bool has_place;         /* counts as running in its job's line */
    bool timed;             /* in the list of runs with a time */
    int64_t wake_us;        /* monotonic */
    struct task_run *ended; /* newest first */
    int64_t *children;      /* that ended */
    size_t children_count;

    /* the stepping thread's */
    enum run_phase phase;
    struct step_news news;                   /* not dealt with yet */
    const struct job_definition *definition; /* a reference; PHASE_LIVE from here on */
    struct graph *graph;
    struct node_extra **extras; /* [graph nodes] */
    size_t extras_count;
    int64_t number;
    char *name;
    enum run_trigger trigger;
    struct id run_as;
    struct id author; /* of the definition */
    struct id principal;
    struct json *parameters; /* merged */
    int64_t trigger_time_us;
    int64_t started_us; /* wall; 0 = not yet */
    int64_t parent_run_id;
    char **only; /* NULL = all */
    size_t only_count;
    enum run_state state;    /* as stored */
    enum run_result stopped; /* RESULT_NONE = it is not being stopped */
    bool warned;
    int64_t deadline_us; /* monotonic, as the two below; INT64_MAX = none */
    int64_t warning_us;
    int64_t retry_us;
    struct draft draft;
};

/* A job with runs: how many go on, who waits. Under the runner's lock. */
struct job_line {
    int64_t job_id;
    int64_t running;
    struct active_run *first, *last;
};

struct runner {
    struct runner_options options;
    struct job_pools pools; /* a copy */
    struct task_pools *threads;
    pthread_t steps[RUNNER_STEP_THREADS];

    struct lock lock;    /* rank QUEUE; guards what follows and a part of each run */
    struct wake wake;    /* step threads wait for ready runs */
    struct wake changed; /* runner_stop and runner_settle wait for quiet */
    struct id_map runs;  /* run id → active_run */
    struct id_map jobs;  /* job id → job_line */
    struct active_run *ready_first, *ready_last;
    struct active_run *timed;
    size_t stepping;
    struct task_run *live;        /* attempts on threads */
    struct retry_budget *budgets; /* [pools] */
    bool stopping;                /* nothing begins any more */
    bool finishing;               /* step threads leave when nothing is ready */
};

static inline struct catalog *run_catalog(const struct active_run *run)
{
    return run->runner->options.services.catalog;
}

/* What a node runs. */
static inline const struct job_task *run_task_of(const struct active_run *run,
                                                 const struct graph_node *node)
{
    const struct job_task *task = &run->definition->tasks[node->task];
    return node->iteration < 0 ? task : task->each;
}

static inline const struct job_task *run_task_at(const struct active_run *run, size_t node)
{
    return run_task_of(run, graph_node_at(run->graph, node));
}

/* Or is it decided by the runner itself? */
static inline bool task_has_thread(const struct job_task *task)
{
    return task->type < JOB_TASK_CONDITION;
}

/* ---- runner.c ---- */

/* The attempt ended: its run is to be stepped. On the task thread. */
void runner_take_end(struct runner *runner, struct task_run *attempt);
/* Put it among the running ones and on its way to a thread. */
void runner_start_attempt(struct runner *runner, struct task_run *attempt);
/* A child of `parent` ended. */
void runner_tell_parent(struct runner *runner, int64_t parent, int64_t child);

/* Have the run stepped. Caller holds the lock. */
void runner_make_ready(struct active_run *run);

/* ---- run_places.c ---- */

enum place { PLACE_TAKEN, PLACE_IN_LINE, PLACE_REFUSED };
/* A place under max_concurrent_runs, for a run that has none. */
enum place runner_take_place(struct active_run *run, int64_t places_max, bool may_wait);
/* Give it, or the one in line, up; the next in line is woken. */
void runner_leave_place(struct active_run *run);

/* At start, before there are threads: a run that holds a place, or stands in line for one. */
void places_take_up(struct active_run *run, bool has_place, bool *first_out);
void places_free(struct runner *runner);

/* Is a retry in this pool to be put off? Takes it from the budget if not. */
bool runner_puts_retry_off(struct runner *runner, size_t pool);
void runner_note_first(struct runner *runner, size_t pool);

/* ---- run_load.c ---- */

/* The definition of a run, and what its row says of it. Errors: as run_load. */
enum err_code run_read_definition(struct active_run *run, const struct job_run *row,
                                  struct err *err) MUST_USE;

/*
 * Make a run that waits a live one: parameters, graph and nodes as stored;
 * attempts of the last process are interrupted, a repair is taken.
 *
 * Errors:  ERR_CORRUPT, ERR_INVALID, ERR_NOT_FOUND: it can never be; others: try again.
 *          What was built so far is let go by run_unload.
 */
enum err_code run_load(struct active_run *run, const struct job_run *row, struct err *err) MUST_USE;
void run_unload(struct active_run *run);
/* After the graph grew. */
void run_match_extras(struct active_run *run);
struct node_extra *run_extra(const struct active_run *run, size_t node);
void node_extra_set_error(struct node_extra *extra, const char *code, const char *text);

/* ---- run_step.c ---- */

void run_step(struct active_run *run, struct step_news *news);
/* Live from here on: everything that is to be done now. */
void run_step_live(struct active_run *run);
/* Stop it, unless it is being stopped. */
void run_stop(struct active_run *run, enum run_result result, int64_t now_us);
/* Its time-out and its warning, counted from started_us. */
void run_set_times(struct active_run *run);
/* Store the draft. False: not stored, tried again later; or the run is dropped. */
bool run_store(struct active_run *run);
/* The draft is stored: do what it says. Is there more to store? */
bool run_take_effect(struct active_run *run);
void run_log(const struct active_run *run, const char *message, const struct err *err);
/* Something that passes (a full disk, too much to do): the run is stepped again soon. */
void run_try_again(struct active_run *run);
bool run_error_passes(enum err_code code);

/* ---- run_waiting.c ---- */

void run_step_waiting(struct active_run *run);

/* ---- run_attempts.c ---- */

/* An attempt ended: the graph and the draft are told. Takes it. */
void attempt_take_end(struct active_run *run, struct task_run *attempt);
/* A QUEUED node begins its attempt, or stands in line for a place, or cannot begin and fails. */
void attempt_begin(struct active_run *run, size_t node, int64_t now_us);
/* Nodes that wait for nothing any more leave the lines of their pools. */
void attempts_withdraw(struct active_run *run);
/* After the draft was stored: those it begins go to their threads, those it stops are told. */
void attempts_start(struct active_run *run);
void attempts_stop(struct active_run *run);

/* ---- run_draft.c ---- */

void draft_end_attempt(struct active_run *run, struct task_run *attempt, enum run_result result);
void draft_begin_attempt(struct active_run *run, struct task_run *attempt);
/* Deliveries of an event to those whom the definition names. */
void draft_tell(struct active_run *run, enum job_event event, enum run_result result,
                int64_t now_us);
/* Everything that changed since the last draft, and what the run comes to. Is there anything? */
bool draft_build(struct active_run *run, int64_t now_us);
void draft_deinit(struct draft *draft);

/* ---- run_control.c ---- */

/* Decide a QUEUED control task. The graph is advanced by the caller. */
void control_begin(struct active_run *run, size_t node, int64_t now_us);
/*
 * A for_each that runs and has no inputs yet gets them; when they cannot be stored just now, the
 * run is stepped again (run->retry_us). Did the node move on?
 */
bool control_iterate(struct active_run *run, size_t node, int64_t now_us);
/* Make and cancel child runs after the change was stored. Is there something to store? */
bool control_act(struct active_run *run);
/* A child may have ended: end its node. */
void control_look_at_child(struct active_run *run, size_t node, int64_t now_us);
/* {{input}} of an iteration. Errors: ERR_CORRUPT the pin is gone; those of reading. */
enum err_code control_input(struct active_run *run, const struct graph_node *node,
                            const struct json **input_out, struct err *err) MUST_USE;

/* ---- run_template.c ---- */

/*
 * Expand `value` for a node.
 *
 *   mark  of the attempt's secrets; "" = none are allowed
 */
enum err_code run_expand(struct active_run *run, const struct graph_node *node,
                         const struct json *value, const char *mark, struct json **value_out,
                         struct err *err) MUST_USE;
