/*
 * A second graph executor, as naive as can be: no order, no increments. After each
 * event every rule is tried on every task again until nothing changes. The property
 * test holds storage/jobs/graph.c against it.
 *
 * It knows no JSON and no struct of the product; results and states are words.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MODEL_TASKS = 8, MODEL_INPUTS = 6 };

/* What a task is. */
struct model_task {
    char kind; /* 'p' plain, 'c' condition, 'l' loop (for_each) */
    int rule;  /* 0 all success … 5 all failed, as the API lists them */
    int dependencies[MODEL_TASKS];
    char outcomes[MODEL_TASKS]; /* 't', 'f', or ' ' for none asked */
    int dependencies_count;
    int retries; /* -1 = without limit */
    bool retry_on_timeout;
    bool disabled;
    bool chosen;
    int width; /* loop: at once */
    int64_t interval_us;
};

/* One task or iteration. */
struct model_item {
    const char *state;  /* "BLOCKED" … */
    const char *result; /* "SUCCESS" …; "" = none */
    int attempts, failures, interruptions, crashes;
    int64_t due_us;
    char outcome; /* 't', 'f', or ' ' */
};

struct model {
    struct model_task tasks[MODEL_TASKS];
    int tasks_count;
    struct model_item items[MODEL_TASKS];
    struct model_item turns[MODEL_TASKS][MODEL_INPUTS]; /* of loops */
    int turns_known[MODEL_TASKS];                       /* that exist; they never go away */
    int inputs[MODEL_TASKS];                            /* -1 = not known */
    const char *stopped;                                /* result; NULL = not */
};

/* turn -1: the task itself. */
struct model_item *model_item(struct model *model, int task, int turn);

void model_reset(struct model *model);
void model_settle(struct model *model, int64_t now_us);
void model_begin(struct model *model, int task, int turn);
void model_end(struct model *model, int task, int turn, const char *result, bool permanent,
               char outcome, int64_t delay_us, bool allowed, int64_t now_us);
void model_inputs(struct model *model, int task, int count);
void model_interrupt(struct model *model, int task, int turn, bool crashed, int64_t now_us);
void model_stop(struct model *model, const char *result);
void model_stop_one(struct model *model, int task, int turn, const char *result);
bool model_repair(struct model *model, const bool *named); /* NULL: all */
bool model_finished(struct model *model);
const char *model_result(const struct model *model);
