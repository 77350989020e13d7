/*
 * Places of jobs: how many runs of each go on, and who waits for one. See
 * runner_private.h. Lines are under the runner's lock.
 */
#include "storage/base/mem.h"
#include "workers/runner_private.h"

#include <assert.h>

/* Caller holds the lock. */
static struct job_line *find_line(struct runner *runner, int64_t job_id)
{
    struct job_line *line = id_map_get(&runner->jobs, job_id);
    if (line == NULL) {
        line = mem_zeroed(1, sizeof *line);
        line->job_id = job_id;
        id_map_put(&runner->jobs, job_id, line);
    }
    return line;
}

static void drop_line_if_empty(struct runner *runner, struct job_line *line)
{
    if (line->running == 0 && line->first == NULL) {
        id_map_remove(&runner->jobs, line->job_id);
        mem_free(line);
    }
}

static void join_line(struct job_line *line, struct active_run *run)
{
    run->in_line = true;
    run->next_waiting = NULL;
    if (line->last != NULL) {
        line->last->next_waiting = run;
    } else {
        line->first = run;
    }
    line->last = run;
}

static void leave_line(struct job_line *line, struct active_run *run)
{
    struct active_run *before = NULL;
    for (struct active_run *at = line->first; at != run; at = at->next_waiting) {
        before = at;
    }
    if (before != NULL) {
        before->next_waiting = run->next_waiting;
    } else {
        line->first = run->next_waiting;
    }
    line->last = line->last == run ? before : line->last;
    run->in_line = false;
}

enum place runner_take_place(struct active_run *run, int64_t places_max, bool may_wait)
{
    struct runner *runner = run->runner;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    assert(!run->has_place);
    struct job_line *line = find_line(runner, run->job_id);
    bool first = line->first == NULL || line->first == run;
    if (first && line->running < places_max) {
        if (run->in_line) {
            leave_line(line, run);
        }
        run->has_place = true;
        line->running++;
        if (line->first != NULL && line->running < places_max) {
            runner_make_ready(line->first); /* there is another place */
        }
        return PLACE_TAKEN;
    }
    if (may_wait && places_max > 0) {
        if (!run->in_line) {
            join_line(line, run);
        }
        return PLACE_IN_LINE;
    }
    if (run->in_line) {
        leave_line(line, run);
    }
    drop_line_if_empty(runner, line);
    return PLACE_REFUSED;
}

void runner_leave_place(struct active_run *run)
{
    struct runner *runner = run->runner;
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&runner->lock);
    (void)scope; /* held to the end */
    if (!run->has_place && !run->in_line) {
        return;
    }
    struct job_line *line = find_line(runner, run->job_id);
    if (run->in_line) {
        leave_line(line, run);
    }
    if (run->has_place) {
        run->has_place = false;
        line->running--;
    }
    if (line->first != NULL) {
        runner_make_ready(line->first);
    }
    drop_line_if_empty(runner, line);
}

void places_take_up(struct active_run *run, bool has_place, bool *first_out)
{
    struct job_line *line = find_line(run->runner, run->job_id);
    if (has_place) {
        run->has_place = true;
        line->running++;
    } else {
        join_line(line, run);
    }
    *first_out = line->first == run;
}

void places_free(struct runner *runner)
{
    for (size_t i = 0; i < runner->jobs.capacity; i++) {
        mem_free(runner->jobs.slots[i].value);
    }
    id_map_deinit(&runner->jobs);
}
