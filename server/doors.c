/* A ring of work and the threads that empty it; see doors.h. */
#include "server/doors.h"

#include "storage/base/lock.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <pthread.h>

struct doors {
    struct lock lock; /* guards all below but the threads */
    struct wake wake;
    void **ring;
    size_t ring_size;
    size_t first;
    size_t count;
    size_t idle_count; /* threads that wait for work */
    bool waking;       /* one of them was woken and has not looked yet */
    bool closing;
    doors_run_fn *run;
    pthread_t *threads;
    size_t threads_count;
};

/*
 * One thread at a time: whoever finds more work than its own wakes the next one. So a burst of
 * short work is done by few threads, and work that blocks leaves the rest to others.
 */
static void wake_another(struct doors *doors)
{
    if (doors->count > 0 && doors->idle_count > 0 && !doors->waking) {
        doors->waking = true;
        wake_one(&doors->wake);
    }
}

/* NULL when closing and nothing is left. */
static void *next_work(struct doors *doors)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&doors->lock);
    while (doors->count == 0) {
        if (doors->closing) {
            return NULL;
        }
        doors->idle_count++;
        wake_wait(&doors->wake, &doors->lock);
        doors->idle_count--;
        doors->waking = false;
    }
    void *work = doors->ring[doors->first];
    doors->first = (doors->first + 1) % doors->ring_size;
    doors->count--;
    wake_another(doors);
    return work;
}

static void *serve(void *arg)
{
    struct doors *doors = arg;
    for (;;) {
        void *work = next_work(doors);
        if (work == NULL) {
            return NULL;
        }
        doors->run(work);
    }
}

enum err_code doors_open(size_t threads_count, size_t queue_max, doors_run_fn *run,
                         struct doors **doors_out, struct err *err)
{
    assert(threads_count > 0);
    assert(queue_max > 0);
    CLEANUP(doors_close) struct doors *doors = mem_zeroed(1, sizeof *doors);
    lock_init(&doors->lock, LOCK_RANK_QUEUE);
    wake_init(&doors->wake);
    doors->run = run;
    doors->ring_size = queue_max;
    doors->ring = mem_zeroed(queue_max, sizeof *doors->ring);
    doors->threads = mem_zeroed(threads_count, sizeof *doors->threads);
    while (doors->threads_count < threads_count) {
        int failed = pthread_create(&doors->threads[doors->threads_count], NULL, serve, doors);
        if (failed != 0) {
            return err_set_sys(err, ERR_NOMEM, failed, "start door thread %zu of %zu",
                               doors->threads_count + 1, threads_count);
        }
        doors->threads_count++;
    }
    *doors_out = doors;
    doors = NULL;
    return ERR_OK;
}

void doors_close(struct doors **doors)
{
    struct doors *closing = *doors;
    if (closing == NULL) {
        return;
    }
    lock_take(&closing->lock);
    closing->closing = true;
    wake_all(&closing->wake);
    lock_drop(&closing->lock);
    for (size_t i = 0; i < closing->threads_count; i++) {
        (void)pthread_join(closing->threads[i], NULL); /* started, and joined once */
    }
    assert(closing->count == 0);
    wake_deinit(&closing->wake);
    lock_deinit(&closing->lock);
    mem_free(closing->threads);
    mem_free(closing->ring);
    mem_free(closing);
    *doors = NULL;
}

bool doors_submit(struct doors *doors, void *work)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&doors->lock);
    if (doors->closing || doors->count == doors->ring_size) {
        return false;
    }
    doors->ring[(doors->first + doors->count) % doors->ring_size] = work;
    doors->count++;
    wake_another(doors);
    return true;
}

size_t doors_queued(struct doors *doors)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&doors->lock);
    return doors->count;
}
