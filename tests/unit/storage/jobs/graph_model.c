#include "tests/unit/storage/jobs/graph_model.h"

#include <stddef.h>
#include <string.h>

static bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

static bool bad(const char *result)
{
    return is(result, "FAILED") || is(result, "TIMEDOUT") || is(result, "CANCELED") ||
           is(result, "UPSTREAM_FAILED") || is(result, "UPSTREAM_CANCELED");
}

static bool over(const struct model_item *item)
{
    return is(item->state, "TERMINATED");
}

struct model_item *model_item(struct model *model, int task, int turn)
{
    return turn < 0 ? &model->items[task] : &model->turns[task][turn];
}

static void make_fresh(struct model_item *item)
{
    int attempts = item->attempts;
    *item =
        (struct model_item){.state = "BLOCKED", .result = "", .attempts = attempts, .outcome = ' '};
}

void model_reset(struct model *model)
{
    for (int t = 0; t < model->tasks_count; t++) {
        model->items[t].attempts = 0;
        make_fresh(&model->items[t]);
        model->turns_known[t] = 0;
        model->inputs[t] = -1;
    }
    model->stopped = NULL;
}

static void finish(struct model *model, int task, int turn, const char *result)
{
    struct model_item *item = model_item(model, task, turn);
    item->state = "TERMINATED";
    item->result = result;
    item->due_us = 0;
    if (turn >= 0) {
        return;
    }
    for (int i = 0; i < model->turns_known[task]; i++) {
        if (!over(&model->turns[task][i])) {
            finish(model, task, i, i < model->inputs[task] ? "CANCELED" : "SKIPPED");
        }
    }
}

/* ---- the rules of starting ---- */

/* One letter per dependency: s success, x excluded, d disabled, f failure, c cancellation. */
static bool letters_of(const struct model *model, int task, char *letters)
{
    const struct model_task *what = &model->tasks[task];
    for (int i = 0; i < what->dependencies_count; i++) {
        const struct model_item *item = &model->items[what->dependencies[i]];
        if (!over(item)) {
            return false;
        }
        char letter = 's';
        if (is(item->result, "SUCCESS") && what->outcomes[i] != ' ' &&
            what->outcomes[i] != item->outcome) {
            letter = 'x';
        } else if (is(item->result, "EXCLUDED")) {
            letter = 'x';
        } else if (is(item->result, "DISABLED")) {
            letter = 'd';
        } else if (is(item->result, "CANCELED") || is(item->result, "UPSTREAM_CANCELED")) {
            letter = 'c';
        } else if (bad(item->result)) {
            letter = 'f';
        }
        letters[i] = letter;
    }
    letters[what->dependencies_count] = '\0';
    return true;
}

static bool any(const char *letters, const char *of)
{
    return strpbrk(letters, of) != NULL;
}

static bool only(const char *letters, const char *of)
{
    return strspn(letters, of) == strlen(letters);
}

/* NULL: it starts. */
static const char *instead(int rule, const char *letters)
{
    if (letters[0] == '\0') {
        return NULL;
    }
    if (only(letters, "x")) {
        return "EXCLUDED";
    }
    const char *blame = any(letters, "f")   ? "UPSTREAM_FAILED"
                        : any(letters, "c") ? "UPSTREAM_CANCELED"
                                            : "DISABLED";
    switch (rule) {
    case 0:
        return only(letters, "sx") ? NULL : blame;
    case 1:
        return any(letters, "sx") ? NULL : blame;
    case 2:
        return !any(letters, "fc") && !only(letters, "d") ? NULL : blame;
    case 3:
        return NULL;
    case 4:
        return any(letters, "fc") ? NULL : only(letters, "d") ? "DISABLED" : "EXCLUDED";
    default:
        return only(letters, "fc") ? NULL : only(letters, "d") ? "DISABLED" : "EXCLUDED";
    }
}

/* ---- settling: each function says whether it changed something ---- */

static bool try_start(struct model *model, int task)
{
    struct model_item *item = &model->items[task];
    char letters[MODEL_TASKS + 1];
    if (!is(item->state, "BLOCKED")) {
        return false;
    }
    if (!model->tasks[task].chosen) {
        finish(model, task, -1, "SKIPPED");
        return true;
    }
    if (model->tasks[task].disabled) {
        finish(model, task, -1, "DISABLED");
        return true;
    }
    if (!letters_of(model, task, letters)) {
        return false;
    }
    const char *result = instead(model->tasks[task].rule, letters);
    if (result != NULL) {
        finish(model, task, -1, result);
    } else {
        item->state = "QUEUED";
    }
    return true;
}

static bool try_wake(struct model_item *item, int64_t now_us)
{
    if (!is(item->state, "WAITING_FOR_RETRY") || item->due_us > now_us) {
        return false;
    }
    item->state = "QUEUED";
    item->due_us = 0;
    return true;
}

static int busy_turns(const struct model *model, int task)
{
    int busy = 0;
    for (int i = 0; i < model->inputs[task]; i++) {
        const char *state = model->turns[task][i].state;
        busy += !is(state, "BLOCKED") && !is(state, "TERMINATED");
    }
    return busy;
}

static bool try_turn(struct model *model, int task)
{
    if (!is(model->items[task].state, "RUNNING") ||
        busy_turns(model, task) >= model->tasks[task].width) {
        return false;
    }
    for (int i = 0; i < model->inputs[task]; i++) {
        if (is(model->turns[task][i].state, "BLOCKED")) {
            model->turns[task][i].state = "QUEUED";
            return true;
        }
    }
    return false;
}

static bool try_end_loop(struct model *model, int task)
{
    struct model_item *item = &model->items[task];
    if (is(item->state, "TERMINATING") && busy_turns(model, task) == 0) {
        finish(model, task, -1, item->result);
        return true;
    }
    if (!is(item->state, "RUNNING") || model->inputs[task] < 0) {
        return false;
    }
    bool failed = false;
    bool canceled = false;
    for (int i = 0; i < model->inputs[task]; i++) {
        if (!over(&model->turns[task][i])) {
            return false;
        }
        canceled = canceled || is(model->turns[task][i].result, "CANCELED");
        failed = failed || is(model->turns[task][i].result, "FAILED") ||
                 is(model->turns[task][i].result, "TIMEDOUT");
    }
    finish(model, task, -1, failed ? "FAILED" : canceled ? "CANCELED" : "SUCCESS");
    return true;
}

void model_settle(struct model *model, int64_t now_us)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (int t = model->tasks_count - 1; t >= 0; t--) {
            changed = changed || try_start(model, t) || try_wake(&model->items[t], now_us);
            if (model->tasks[t].kind != 'l') {
                continue;
            }
            for (int i = 0; i < model->inputs[t]; i++) {
                changed = changed || try_wake(&model->turns[t][i], now_us);
            }
            changed = changed || try_turn(model, t) || try_end_loop(model, t);
        }
    }
}

/* ---- events ---- */

void model_begin(struct model *model, int task, int turn)
{
    struct model_item *item = model_item(model, task, turn);
    item->state = "RUNNING";
    item->attempts++;
}

void model_end(struct model *model, int task, int turn, const char *result, bool permanent,
               char outcome, int64_t delay_us, bool allowed, int64_t now_us)
{
    const struct model_task *what = &model->tasks[task];
    struct model_item *item = model_item(model, task, turn);
    if (is(result, "SUCCESS")) {
        item->outcome = outcome;
        finish(model, task, turn, "SUCCESS");
        return;
    }
    if (is(item->state, "TERMINATING")) {
        result = item->result;
    }
    bool again = allowed && model->stopped == NULL;
    if (turn >= 0 && !is(model->items[task].state, "RUNNING")) {
        again = false;
    }
    if (is(result, "CANCELED")) {
        again = false;
    } else {
        item->failures++;
        again = again && (what->retries < 0 || item->failures <= what->retries);
        again = again && (is(result, "FAILED") ? !permanent : what->retry_on_timeout);
    }
    if (again) {
        item->state = "WAITING_FOR_RETRY";
        item->result = "";
        item->due_us = now_us + delay_us;
    } else {
        finish(model, task, turn, result);
    }
}

void model_inputs(struct model *model, int task, int count)
{
    for (; model->turns_known[task] < count; model->turns_known[task]++) {
        struct model_item *item = &model->turns[task][model->turns_known[task]];
        item->attempts = 0;
        make_fresh(item);
    }
    for (int i = 0; i < count; i++) {
        if (over(&model->turns[task][i])) { /* was not needed before, is now */
            make_fresh(&model->turns[task][i]);
        }
    }
    model->inputs[task] = count;
}

void model_interrupt(struct model *model, int task, int turn, bool crashed, int64_t now_us)
{
    struct model_item *item = model_item(model, task, turn);
    item->interruptions++;
    item->crashes += crashed;
    if (item->interruptions == 10 || item->crashes == 2) {
        finish(model, task, turn, "FAILED");
    } else if (is(item->state, "TERMINATING")) {
        model_end(model, task, turn, "CANCELED", false, ' ', model->tasks[task].interval_us, true,
                  now_us);
    } else {
        item->state = "QUEUED";
    }
}

static void halt(struct model *model, int task, int turn, const char *result)
{
    struct model_item *item = model_item(model, task, turn);
    if (is(item->state, "RUNNING")) {
        item->state = "TERMINATING";
        item->result = result;
    } else if (!over(item) && !is(item->state, "TERMINATING")) {
        const struct model_task *what = &model->tasks[task];
        finish(model, task, turn,
               turn < 0 && !what->chosen    ? "SKIPPED"
               : turn < 0 && what->disabled ? "DISABLED"
                                            : "CANCELED");
    }
}

void model_stop_one(struct model *model, int task, int turn, const char *result)
{
    for (int i = 0; turn < 0 && i < model->inputs[task]; i++) {
        halt(model, task, i, result);
    }
    halt(model, task, turn, result);
}

void model_stop(struct model *model, const char *result)
{
    for (int t = 0; model->stopped == NULL && t < model->tasks_count; t++) {
        model_stop_one(model, t, -1, result);
    }
    model->stopped = model->stopped == NULL ? result : model->stopped;
}

/* Again: what failed among the named; anew: what is behind such a one, however far. */
bool model_repair(struct model *model, const bool *named)
{
    bool again[MODEL_TASKS] = {false};
    bool anew[MODEL_TASKS] = {false};
    bool something = false;
    for (int t = 0; t < model->tasks_count; t++) {
        const struct model_task *what = &model->tasks[t];
        again[t] = what->chosen && !what->disabled && (named == NULL || named[t]) &&
                   bad(model->items[t].result);
        something = something || again[t];
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (int t = 0; t < model->tasks_count; t++) {
            const struct model_task *what = &model->tasks[t];
            for (int i = 0; i < what->dependencies_count; i++) {
                int d = what->dependencies[i];
                if (what->chosen && !what->disabled && !anew[t] && (again[d] || anew[d])) {
                    anew[t] = true;
                    changed = true;
                }
            }
        }
    }
    for (int t = 0; t < model->tasks_count; t++) {
        if (!again[t] && !anew[t]) {
            continue;
        }
        make_fresh(&model->items[t]);
        for (int i = 0; i < model->turns_known[t]; i++) {
            if (anew[t] || bad(model->turns[t][i].result)) {
                make_fresh(&model->turns[t][i]);
            }
        }
        model->inputs[t] = anew[t] ? -1 : model->inputs[t];
    }
    model->stopped = something ? NULL : model->stopped;
    return something;
}

bool model_finished(struct model *model)
{
    for (int t = 0; t < model->tasks_count; t++) {
        if (!over(&model->items[t])) {
            return false;
        }
        for (int i = 0; i < model->turns_known[t]; i++) {
            if (!over(&model->turns[t][i])) {
                return false;
            }
        }
    }
    return true;
}

const char *model_result(const struct model *model)
{
    if (model->stopped != NULL) {
        return model->stopped;
    }
    bool any_bad = false;
    for (int t = 0; t < model->tasks_count; t++) {
        if (!bad(model->items[t].result)) {
            continue;
        }
        any_bad = true;
        bool leaf = true;
        for (int d = 0; d < model->tasks_count; d++) {
            const char *result = model->items[d].result;
            for (int i = 0; i < model->tasks[d].dependencies_count; i++) {
                leaf = leaf && (model->tasks[d].dependencies[i] != t || is(result, "DISABLED") ||
                                is(result, "SKIPPED"));
            }
        }
        if (leaf) {
            return "FAILED";
        }
    }
    return any_bad ? "SUCCESS_WITH_FAILURES" : "SUCCESS";
}
