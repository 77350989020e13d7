/*
 * The runner: which runs there are, whose turn it is, and the threads. What a step
 * does is in run_step.c. See runner.h for the contract, runner_private.h for the map.
 */
#include "workers/runner.h"

#include "storage/base/clock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "workers/runner_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECOVERY_PAGE = 500,
    RECOVERY_ARENA_BYTES = 64 << 20,
    BUDGET_WINDOW_US = 60000000,
    BUDGET_PERCENT = 100,
    BUDGET_FLOOR = 100, /* retries a minute in a pool with few first attempts */
};

/* ---- the line of runs that are to be stepped; the caller holds the lock ---- */

void runner_make_ready(struct active_run *run)
{
    struct runner *runner = run->runner;
    if (run->stepping) {
        run->wanted = true;
        return;
    }
    if (run->ready) {
        return;
    }
    run->ready = true;
    run->next_ready = NULL;
    if (runner->ready_last != NULL) {
        runner->ready_last->next_ready = run;
    } else {
        runner->ready_first = run;
    }
    runner->ready_last = run;
    wake_one(&runner->wake);
}

static struct active_run *pop_ready(struct runner *runner)
{
    struct active_run *run = runner->ready_first;
    if (run != NULL) {
        runner->ready_first = run->next_ready;
        runner->ready_last = runner->ready_first != NULL ? runner->ready_last : NULL;
        run->ready = false;
    }
    return run;
}

static void set_wake(struct active_run *run, int64_t wake_us)
{
    struct runner *runner = run->runner;
    bool timed = wake_us != INT64_MAX;
    run->wake_us = wake_us;
    if (timed && !run->timed) {
        run->previous_timed = NULL;
        run->next_timed = runner->timed;
        if (runner->timed != NULL) {
            runner->timed->previous_timed = run;
        }
        runner->timed = run;
    } else if (!timed && run->timed) {
        if (run->previous_timed != NULL) {
            run->previous_timed->next_timed = run->next_timed;
        } else {
            runner->timed = run->next_timed;
        }
        if (run->next_timed != NULL) {
            run->next_timed->previous_timed = run->previous_timed;
        }
    }
    run->timed = timed;
}

/* Make ready what is due; the time the next one is. */
static int64_t wake_due(struct runner *runner, int64_t now_us)
{
    int64_t next_us = INT64_MAX;
    for (struct active_run *run = runner->timed; run != NULL; run = run->next_timed) {
        if (run->stepping || run->ready) {
            continue;
        }
        if (run->wake_us <= now_us) {
            runner_make_ready(run);
        } else if (run->wake_us < next_us) {
            next_us = run->wake_us;
        }
    }
    return next_us;
}

static struct active_run *find_or_add(struct runner *runner, int64_t run_id)
{
    struct active_run *run = id_map_get(&runner->runs, run_id);
    if (run == NULL) {
        run = mem_zeroed(1, sizeof *run);
        run->run_id = run_id;
        run->runner = runner;
        run->wake_us = INT64_MAX;
        run->deadline_us = INT64_MAX;
        run->warning_us = INT64_MAX;
        run->retry_us = INT64_MAX;
        id_map_put(&runner->runs, run_id, run);
    }
    return run;
}

void runner_wake(struct runner *runner, int64_t run_id)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    if (!runner->stopping) {
        struct active_run *run = find_or_add(runner, run_id);
        run->look = true;
        runner_make_ready(run);
    }
}

static void wake_for_place(void *arg, int64_t run_id)
{
    struct runner *runner = arg;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    struct active_run *run = id_map_get(&runner->runs, run_id);
    if (run != NULL) {
        runner_make_ready(run);
    }
}

void runner_tell_parent(struct runner *runner, int64_t parent, int64_t child)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    struct active_run *run = id_map_get(&runner->runs, parent);
    if (run == NULL) {
        return; /* it looks at its children when it is loaded */
    }
    run->children = mem_resize(run->children, run->children_count + 1, sizeof *run->children);
    run->children[run->children_count++] = child;
    runner_make_ready(run);
}

/* ---- attempts ---- */

void runner_start_attempt(struct runner *runner, struct task_run *attempt)
{
    lock_take(&runner->lock);
    attempt->next_live = runner->live;
    runner->live = attempt;
    if (runner->stopping) {
        atomic_store(&attempt->cancelled, true);
    }
    lock_drop(&runner->lock);
    task_pools_run(runner->threads, attempt->ticket, task_run_work, attempt);
}

void runner_take_end(struct runner *runner, struct task_run *attempt)
{
    lock_take(&runner->lock);
    struct task_run **link = &runner->live;
    while (*link != attempt) {
        link = &(*link)->next_live;
    }
    *link = attempt->next_live;
    attempt->stopped = attempt->code != ERR_OK && runner->stopping;
    struct active_run *run = id_map_get(&runner->runs, attempt->attempt.run_id);
    bool orphan = run == NULL;
    if (!orphan) {
        attempt->next_ended = run->ended;
        run->ended = attempt;
        runner_make_ready(run);
    }
    wake_all(&runner->changed);
    lock_drop(&runner->lock);
    if (orphan) { /* the run was dropped under it */
        task_run_free(&attempt);
    }
}

bool runner_progress(struct runner *runner, int64_t run_id, size_t task, int64_t iteration,
                     struct task_progress *progress_out)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    for (struct task_run *run = runner->live; run != NULL; run = run->next_live) {
        if (run->attempt.run_id == run_id && run->id.task == task &&
            run->id.iteration == iteration) {
            lock_take(&run->lock);
            *progress_out = run->progress;
            lock_drop(&run->lock);
            return true;
        }
    }
    return false;
}

/* ---- retries ---- */

bool runner_puts_retry_off(struct runner *runner, size_t pool)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    return !retry_budget_take(&runner->budgets[pool], clock_monotonic_us());
}

void runner_note_first(struct runner *runner, size_t pool)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    retry_budget_note_first(&runner->budgets[pool], clock_monotonic_us());
}

/* ---- step threads ---- */

static void take_news(struct active_run *run, struct step_news *news)
{
    *news = (struct step_news){
        .look = run->look,
        .stopping = run->runner->stopping,
        .children = run->children,
        .children_count = run->children_count,
    };
    while (run->ended != NULL) { /* turn it round: oldest first */
        struct task_run *attempt = run->ended;
        run->ended = attempt->next_ended;
        attempt->next_ended = news->ended;
        news->ended = attempt;
    }
    run->look = false;
    run->children = NULL;
    run->children_count = 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the run is to be stepped without anybody waking it. */
static int64_t next_time(const struct active_run *run, int64_t now_us)
{
    int64_t next_us = run->retry_us;
    if (run->phase != PHASE_LIVE) {
        return next_us;
    }
    next_us = earlier(next_us, run->stopped == RESULT_NONE ? run->deadline_us : INT64_MAX);
    next_us = earlier(next_us, run->warned ? INT64_MAX : run->warning_us);
    for (size_t i = 0; i < run->extras_count; i++) {
        if (graph_node_at(run->graph, i)->state == TASK_RUNNING) {
            next_us = earlier(next_us, run->extras[i]->deadline_us);
        }
    }
    int64_t due_us = graph_next_due(run->graph);
    if (due_us != INT64_MAX) { /* wall time; looked at again each second, for clocks are set */
        int64_t left_us = due_us - clock_wall_us();
        left_us = left_us < 0 ? 0 : left_us > 1000000 ? 1000000 : left_us;
        next_us = earlier(next_us, now_us + left_us);
    }
    return next_us;
}

static void free_ends(struct task_run *first)
{
    while (first != NULL) {
        struct task_run *attempt = first;
        first = attempt->next_ended;
        task_run_free(&attempt);
    }
}

static void free_run(struct active_run *run)
{
    run_unload(run);
    free_ends(run->ended);
    free_ends(run->news.ended);
    mem_free(run->children);
    mem_free(run->news.children);
    mem_free(run);
}

/* After a step. Caller holds the lock. Returns a run to be freed, or NULL. */
static struct active_run *settle_run(struct active_run *run)
{
    struct runner *runner = run->runner;
    run->stepping = false;
    runner->stepping--;
    bool wanted = run->wanted;
    run->wanted = false;
    struct active_run *freed = NULL;
    if (run->phase == PHASE_GONE) {
        bool look = run->look; /* its repair was asked for meanwhile */
        set_wake(run, INT64_MAX);
        id_map_remove(&runner->runs, run->run_id);
        freed = run;
        if (look && !runner->stopping) {
            struct active_run *again = find_or_add(runner, run->run_id);
            again->look = true;
            runner_make_ready(again);
        }
    } else {
        set_wake(run, next_time(run, clock_monotonic_us()));
        if (wanted) {
            runner_make_ready(run);
        }
    }
    wake_all(&runner->changed);
    return freed;
}

static void step(struct runner *runner, struct active_run *run)
{
    struct step_news news;
    take_news(run, &news);
    run->stepping = true;
    runner->stepping++;
    lock_drop(&runner->lock);
    run_step(run, &news);
    lock_take(&runner->lock);
    struct active_run *freed = settle_run(run);
    if (freed != NULL) {
        lock_drop(&runner->lock);
        free_run(freed);
        lock_take(&runner->lock);
    }
}

static void *step_main(void *arg)
{
    struct runner *runner = arg;
    lock_take(&runner->lock);
    for (;;) {
        int64_t next_us = runner->stopping ? INT64_MAX : wake_due(runner, clock_monotonic_us());
        struct active_run *run = pop_ready(runner);
        if (run != NULL) {
            step(runner, run);
        } else if (runner->finishing) {
            break;
        } else if (next_us == INT64_MAX) {
            wake_wait(&runner->wake, &runner->lock);
        } else {
            (void)wake_wait_until(&runner->wake, &runner->lock, next_us); /* looked at above */
        }
    }
    lock_drop(&runner->lock);
    return NULL;
}

/* ---- start ---- */

/* A run that the last process left. The threads are not there yet: no lock is needed. */
static void take_up(struct runner *runner, const struct job_run *row)
{
    struct active_run *run = find_or_add(runner, row->run_id);
    bool going = row->state == RUN_RUNNING || row->state == RUN_TERMINATING;
    bool first = true;
    run->job_id = row->job_id;
    if (row->job_id != 0) {
        places_take_up(run, going, &first);
    }
    if (going || first || row->state == RUN_QUEUED || row->cancel_asked_at_us != 0) {
        runner_make_ready(run); /* others wait for those before them */
    }
}

static enum err_code take_up_all(struct runner *runner, struct err *err)
{
    CLEANUP(arena_deinit) struct arena arena;
    arena_init(&arena, RECOVERY_ARENA_BYTES);
    int64_t after = 0;
    for (;;) {
        struct job_run *rows = NULL;
        size_t count = 0;
        arena_reset(&arena);
        TRY(runs_unfinished(runner->options.services.catalog, after, RECOVERY_PAGE, &arena, &rows,
                            &count, err));
        for (size_t i = 0; i < count; i++) {
            take_up(runner, &rows[i]);
        }
        if (count == 0) {
            return ERR_OK;
        }
        after = rows[count - 1].run_id;
    }
}

static void copy_pools(const struct job_pools *from, struct job_pools *to)
{
    to->items = mem_zeroed(from->count, sizeof *to->items);
    to->count = from->count;
    for (size_t i = 0; i < from->count; i++) {
        to->items[i] = (struct job_pool){.name = mem_copy_text(from->items[i].name),
                                         .places = from->items[i].places};
    }
}

static void free_runner(struct runner **runner)
{
    struct runner *freed = *runner;
    for (size_t i = 0; i < freed->runs.capacity; i++) {
        if (freed->runs.slots[i].value != NULL) {
            free_run(freed->runs.slots[i].value);
        }
    }
    places_free(freed);
    id_map_deinit(&freed->runs);
    job_pools_deinit(&freed->pools);
    mem_free(freed->budgets);
    wake_deinit(&freed->changed);
    wake_deinit(&freed->wake);
    lock_deinit(&freed->lock);
    mem_free(freed);
    *runner = NULL;
}

enum err_code runner_start(const struct runner_options *options, struct runner **runner_out,
                           struct err *err)
{
    struct runner *runner = mem_zeroed(1, sizeof *runner);
    runner->options = *options;
    runner->options.pools = NULL; /* borrowed for this call only */
    copy_pools(options->pools, &runner->pools);
    runner->budgets = mem_zeroed(runner->pools.count, sizeof *runner->budgets);
    for (size_t i = 0; i < runner->pools.count; i++) {
        retry_budget_init(&runner->budgets[i],
                          &(struct retry_budget_options){.window_us = BUDGET_WINDOW_US,
                                                         .percent = BUDGET_PERCENT,
                                                         .floor = BUDGET_FLOOR});
    }
    lock_init(&runner->lock, LOCK_RANK_QUEUE);
    wake_init(&runner->wake);
    wake_init(&runner->changed);
    if (take_up_all(runner, err) != ERR_OK) {
        free_runner(&runner);
        return err->code;
    }
    runner->threads = task_pools_open(&runner->pools, wake_for_place, runner);
    for (size_t i = 0; i < RUNNER_STEP_THREADS; i++) {
        int result = pthread_create(&runner->steps[i], NULL, step_main, runner);
        assert(result == 0);
    }
    *runner_out = runner;
    return ERR_OK;
}

/* ---- stop ---- */

static bool is_stepping_or_ready(const struct runner *runner)
{
    return runner->stepping > 0 || runner->ready_first != NULL;
}

void runner_stop(struct runner **runner)
{
    if (*runner == NULL) {
        return;
    }
    struct runner *stopped = *runner;
    lock_take(&stopped->lock);
    stopped->stopping = true;
    for (struct task_run *run = stopped->live; run != NULL; run = run->next_live) {
        atomic_store(&run->cancelled, true);
    }
    lock_drop(&stopped->lock);
    progress_board_wake(stopped->options.services.progress);

    lock_take(&stopped->lock);
    while (stopped->live != NULL || is_stepping_or_ready(stopped)) {
        wake_wait(&stopped->changed, &stopped->lock);
    }
    stopped->finishing = true;
    wake_all(&stopped->wake);
    lock_drop(&stopped->lock);
    for (size_t i = 0; i < RUNNER_STEP_THREADS; i++) {
        int result = pthread_join(stopped->steps[i], NULL);
        assert(result == 0);
    }
    task_pools_close(&stopped->threads);
    free_runner(runner);
}

void runner_settle(struct runner *runner)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    while (is_stepping_or_ready(runner)) {
        wake_wait(&runner->changed, &runner->lock);
    }
}
