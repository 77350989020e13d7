/*
 * Task threads in pools. Each pool has so many places and as many threads: tasks that
 * hang in one pool take nothing from another. Who finds no place waits in line.
 *
 * A place is taken in two steps, because an attempt must be durable before its work
 * starts: reserve (at once, or granted later), then run. In between the place is held.
 */
#pragma once

#include "storage/jobs/pools.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct task_pools;

enum pool_ticket_state { TICKET_NONE, TICKET_WAITING, TICKET_HELD, TICKET_RUNNING };

/* A claim on a place. Embedded by its owner, who keeps it until it is NONE again. Zeroed = NONE. */
struct pool_ticket {
    struct pool_ticket *next; /* in line, or on its way to a thread */
    size_t pool;
    int64_t owner; /* who is told when the place is granted */
    enum pool_ticket_state state;
    void (*work)(void *arg);
    void *arg;
};

/* A place was granted to a ticket of `owner`. Any thread; holds no lock of the pools. */
typedef void task_pool_grant_fn(void *arg, int64_t owner);

/* Starts the threads. `pools` is borrowed for the call. */
struct task_pools *task_pools_open(const struct job_pools *pools, task_pool_grant_fn *granted,
                                   void *arg);

/* Lets running work end; what only waits or is held is forgotten. Accepts NULL inside; nulls. */
void task_pools_close(struct task_pools **pools);

/*
 * Ask for a place.
 * Returns true when it is held at once; else the ticket waits in line and its owner is told.
 */
bool task_pools_reserve(struct task_pools *pools, size_t pool, int64_t owner,
                        struct pool_ticket *ticket);

/* Is the place held? For a ticket that waited. */
bool task_pools_is_held(struct task_pools *pools, const struct pool_ticket *ticket);

/* HELD → RUNNING: `work(arg)` on a thread of the pool; before it returns it calls task_pools_done.
 */
void task_pools_run(struct task_pools *pools, struct pool_ticket *ticket, void (*work)(void *arg),
                    void *arg);

/* The running work is over: the place goes to the next in line. The ticket is NONE. */
void task_pools_done(struct task_pools *pools, struct pool_ticket *ticket);

/* Take back a ticket that waits or is held. */
void task_pools_give_back(struct task_pools *pools, struct pool_ticket *ticket);
