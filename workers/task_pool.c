/*
 * Pools of task threads. See task_pool.h for the contract.
 *
 * All state is under one lock; work and grants run outside it.
 */
#include "workers/task_pool.h"

#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

enum { LABELS_BYTES = 128 };

struct ticket_line {
    struct pool_ticket *first;
    struct pool_ticket *last;
};

struct pool {
    struct task_pools *pools;
    size_t places_free;
    struct ticket_line waiting; /* for a place */
    struct ticket_line ready;   /* for a thread, which is on its way */
    struct wake wake;           /* threads wait for `ready` */
    pthread_t *threads;
    size_t threads_count;
    struct metric *running_gauge;
    struct metric *waiting_gauge;
};

struct task_pools {
    task_pool_grant_fn *granted;
    void *arg;
    struct lock lock; /* rank QUEUE; guards everything below */
    struct pool *pools;
    size_t count;
    bool closing;
};

static void line_push(struct ticket_line *line, struct pool_ticket *ticket)
{
    ticket->next = NULL;
    if (line->last != NULL) {
        line->last->next = ticket;
    } else {
        line->first = ticket;
    }
    line->last = ticket;
}

static struct pool_ticket *line_pop(struct ticket_line *line)
{
    struct pool_ticket *ticket = line->first;
    if (ticket != NULL) {
        line->first = ticket->next;
        line->last = line->first != NULL ? line->last : NULL;
        ticket->next = NULL;
    }
    return ticket;
}

static void line_remove(struct ticket_line *line, struct pool_ticket *ticket)
{
    struct pool_ticket *before = NULL;
    struct pool_ticket *at = line->first;
    while (at != ticket) {
        before = at;
        at = at->next;
        assert(at != NULL);
    }
    if (before != NULL) {
        before->next = ticket->next;
    } else {
        line->first = ticket->next;
    }
    line->last = line->last == ticket ? before : line->last;
    ticket->next = NULL;
}

/* ---- threads ---- */

static void *thread_main(void *arg)
{
    struct pool *pool = arg;
    struct task_pools *pools = pool->pools;
    lock_take(&pools->lock);
    for (;;) {
        struct pool_ticket *ticket = line_pop(&pool->ready);
        if (ticket != NULL) {
            void (*work)(void *arg) = ticket->work;
            void *work_arg = ticket->arg;
            lock_drop(&pools->lock);
            work(work_arg); /* calls task_pools_done */
            lock_take(&pools->lock);
        } else if (pools->closing) {
            break;
        } else {
            wake_wait(&pool->wake, &pools->lock);
        }
    }
    lock_drop(&pools->lock);
    return NULL;
}

static void open_pool(struct task_pools *pools, struct pool *pool, const struct job_pool *what)
{
    char labels[LABELS_BYTES];
    (void)snprintf(labels, sizeof labels, "pool=\"%s\"", what->name); /* fits */
    pool->pools = pools;
    pool->places_free = what->places;
    pool->running_gauge = metric_register(METRIC_GAUGE, "sluice_tasks_running", labels,
                                          "Places of a pool that tasks hold or run in.");
    pool->waiting_gauge = metric_register(METRIC_GAUGE, "sluice_tasks_waiting", labels,
                                          "Tasks that wait for a place in a pool.");
    wake_init(&pool->wake);
    pool->threads = mem_zeroed(what->places, sizeof *pool->threads);
    for (; pool->threads_count < what->places; pool->threads_count++) {
        int result = pthread_create(&pool->threads[pool->threads_count], NULL, thread_main, pool);
        assert(result == 0);
    }
}

struct task_pools *task_pools_open(const struct job_pools *what, task_pool_grant_fn *granted,
                                   void *arg)
{
    struct task_pools *pools = mem_zeroed(1, sizeof *pools);
    pools->granted = granted;
    pools->arg = arg;
    pools->count = what->count;
    pools->pools = mem_zeroed(what->count, sizeof *pools->pools);
    lock_init(&pools->lock, LOCK_RANK_QUEUE);
    for (size_t i = 0; i < what->count; i++) {
        open_pool(pools, &pools->pools[i], &what->items[i]);
    }
    return pools;
}

void task_pools_close(struct task_pools **pools)
{
    if (*pools == NULL) {
        return;
    }
    struct task_pools *closed = *pools;
    lock_take(&closed->lock);
    closed->closing = true;
    for (size_t i = 0; i < closed->count; i++) {
        wake_all(&closed->pools[i].wake);
    }
    lock_drop(&closed->lock);
    for (size_t i = 0; i < closed->count; i++) {
        struct pool *pool = &closed->pools[i];
        for (size_t t = 0; t < pool->threads_count; t++) {
            int result = pthread_join(pool->threads[t], NULL);
            assert(result == 0);
        }
        metric_set(pool->running_gauge, 0);
        metric_set(pool->waiting_gauge, 0);
        wake_deinit(&pool->wake);
        mem_free(pool->threads);
    }
    lock_deinit(&closed->lock);
    mem_free(closed->pools);
    mem_free(closed);
    *pools = NULL;
}

/* ---- places ---- */

bool task_pools_reserve(struct task_pools *pools, size_t index, int64_t owner,
                        struct pool_ticket *ticket)
{
    assert(index < pools->count);
    assert(ticket->state == TICKET_NONE);
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pools->lock);
    (void)scope; /* held to the end */
    struct pool *pool = &pools->pools[index];
    *ticket = (struct pool_ticket){.pool = index, .owner = owner};
    if (pool->places_free == 0) {
        ticket->state = TICKET_WAITING;
        line_push(&pool->waiting, ticket);
        metric_add(pool->waiting_gauge, 1);
        return false;
    }
    ticket->state = TICKET_HELD;
    pool->places_free--;
    metric_add(pool->running_gauge, 1);
    return true;
}

bool task_pools_is_held(struct task_pools *pools, const struct pool_ticket *ticket)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pools->lock);
    (void)scope; /* held to the end */
    return ticket->state == TICKET_HELD;
}

void task_pools_run(struct task_pools *pools, struct pool_ticket *ticket, void (*work)(void *arg),
                    void *arg)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pools->lock);
    (void)scope; /* held to the end */
    assert(ticket->state == TICKET_HELD);
    struct pool *pool = &pools->pools[ticket->pool];
    ticket->state = TICKET_RUNNING;
    ticket->work = work;
    ticket->arg = arg;
    line_push(&pool->ready, ticket);
    wake_one(&pool->wake);
}

/* A place is free: the next in line has it. Returns whom to tell, 0 = nobody. Holds the lock. */
static int64_t pass_on(struct pool *pool)
{
    struct pool_ticket *next = line_pop(&pool->waiting);
    if (next == NULL) {
        pool->places_free++;
        metric_add(pool->running_gauge, -1);
        return 0;
    }
    next->state = TICKET_HELD;
    metric_add(pool->waiting_gauge, -1);
    return next->owner;
}

void task_pools_done(struct task_pools *pools, struct pool_ticket *ticket)
{
    lock_take(&pools->lock);
    assert(ticket->state == TICKET_RUNNING);
    ticket->state = TICKET_NONE;
    int64_t owner = pass_on(&pools->pools[ticket->pool]);
    lock_drop(&pools->lock);
    if (owner != 0) {
        pools->granted(pools->arg, owner);
    }
}

void task_pools_give_back(struct task_pools *pools, struct pool_ticket *ticket)
{
    int64_t owner = 0;
    lock_take(&pools->lock);
    struct pool *pool = &pools->pools[ticket->pool];
    if (ticket->state == TICKET_WAITING) {
        line_remove(&pool->waiting, ticket);
        metric_add(pool->waiting_gauge, -1);
    } else {
        assert(ticket->state == TICKET_HELD);
        owner = pass_on(pool);
    }
    ticket->state = TICKET_NONE;
    lock_drop(&pools->lock);
    if (owner != 0) {
        pools->granted(pools->arg, owner);
    }
}
