/*
 * A few threads of the process that wait for the disk. See file_sync.h.
 */
#include "storage/base/file_sync.h"

#include "storage/base/file.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    pthread_once_t once;
    struct lock lock; /* guards what follows */
    struct wake wake;
    struct file_sync *first;
    struct file_sync *last;
    pthread_t threads[FILE_SYNC_THREADS_MAX];
    int threads_count;
    int waiting_count; /* syncs that no thread took yet */
    int idle_count;
    bool stopping;
    pid_t owner; /* whose threads these are: not those of a child */
} pool = {.once = PTHREAD_ONCE_INIT};

/* At the end of the process; every sync has been ended by then. */
static void stop_pool(void)
{
    if (pool.owner != getpid()) {
        return;
    }
    lock_take(&pool.lock);
    pool.stopping = true;
    wake_all(&pool.wake);
    lock_drop(&pool.lock);
    for (int i = 0; i < pool.threads_count; i++) {
        int result = pthread_join(pool.threads[i], NULL);
        assert(result == 0);
    }
}

static void init_pool(void)
{
    lock_init(&pool.lock, LOCK_RANK_SYNCS);
    wake_init(&pool.wake);
    pool.owner = getpid();
    (void)atexit(stop_pool); /* without it the threads end with the process */
}

static void run(struct file_sync *sync)
{
    enum err_code code = sync->folder ? file_sync_open_directory(sync->fd, &sync->err)
                                      : file_sync_data(sync->fd, &sync->err);
    assert((code == ERR_OK) == (sync->err.code == ERR_OK));
    latch_open(&sync->done, 1);
}

static void *pool_main(void *arg)
{
    (void)arg;
    (void)pthread_setname_np(pthread_self(), "sync"); /* for whoever looks */
    lock_take(&pool.lock);
    for (;;) {
        while (pool.first == NULL && !pool.stopping) {
            pool.idle_count++;
            wake_wait(&pool.wake, &pool.lock);
            pool.idle_count--;
        }
        if (pool.first == NULL) {
            break;
        }
        struct file_sync *sync = pool.first;
        pool.first = sync->next;
        pool.waiting_count--;
        lock_drop(&pool.lock);
        run(sync);
        lock_take(&pool.lock);
    }
    lock_drop(&pool.lock);
    return NULL;
}

/* With the lock. One more thread, where there are more syncs than idle threads. */
static void add_thread(void)
{
    if (pool.waiting_count > pool.idle_count && pool.threads_count < FILE_SYNC_THREADS_MAX &&
        pthread_create(&pool.threads[pool.threads_count], NULL, pool_main, NULL) == 0) {
        pool.threads_count++;
    }
}

/* False: there is no thread, and none could be started. */
static bool hand_over(struct file_sync *sync)
{
    (void)pthread_once(&pool.once, init_pool); /* cannot fail for a valid control */
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&pool.lock);
    pool.waiting_count++;
    add_thread();
    if (pool.threads_count == 0) {
        pool.waiting_count--;
        return false;
    }
    if (pool.first == NULL) {
        pool.first = sync;
    } else {
        pool.last->next = sync;
    }
    pool.last = sync;
    wake_one(&pool.wake);
    return true;
}

void file_sync_begin(struct file_sync *sync, int fd, bool folder)
{
    assert(!sync->begun);
    *sync = (struct file_sync){.begun = true, .folder = folder, .fd = fd};
    if (!hand_over(sync)) {
        run(sync);
    }
}

enum err_code file_sync_end(struct file_sync *sync, struct err *err)
{
    if (!sync->begun) {
        return ERR_OK;
    }
    (void)latch_wait(&sync->done); /* says only that it is done */
    struct err outcome = sync->err;
    (void)close(sync->fd); /* what it held is synced, or lost already */
    *sync = (struct file_sync){0};
    if (outcome.code != ERR_OK) {
        *err = outcome;
    }
    return outcome.code;
}
