/*
 * The waiting room: a list of parked exchanges and one thread. See the header.
 *
 * A visitor is looked at without the lock, so while it is being looked at it is
 * in no list that anybody else walks.
 */
#include "handlers/waiting_room.h"

#include "storage/base/clock.h"
#include "storage/base/lock.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* One parked exchange. */
struct visitor {
    struct visitor *next;
    struct exchange *exchange;
    struct id subject;
    int64_t deadline_us; /* monotonic */
    waiting_look_fn *look;
    bool due; /* its subject made progress, or it has not been looked at yet */
};

struct waiting_room {
    struct services *services;
    struct lock lock; /* guards everything below */
    struct wake wake;
    struct visitor *visitors; /* not being looked at */
    int64_t count;            /* parked, being looked at included */
    bool looking;             /* the thread is looking, outside the lock */
    bool progress_missed;     /* a notify came while `looking`: look at all once more */
    bool closing;
    pthread_t thread;
    struct metric *parked;
};

static int64_t earliest_deadline(const struct waiting_room *room)
{
    int64_t earliest = INT64_MAX;
    for (const struct visitor *v = room->visitors; v != NULL; v = v->next) {
        if (v->deadline_us < earliest) {
            earliest = v->deadline_us;
        }
    }
    return earliest;
}

/* Unlink those that are due or out of time into a list of their own. */
static struct visitor *take_due(struct waiting_room *room, int64_t now_us)
{
    struct visitor *taken = NULL;
    struct visitor **link = &room->visitors;
    while (*link != NULL) {
        struct visitor *visitor = *link;
        if (visitor->due || room->closing || visitor->deadline_us <= now_us) {
            *link = visitor->next;
            visitor->next = taken;
            taken = visitor;
        } else {
            link = &visitor->next;
        }
    }
    return taken;
}

/* Look at each; answered ones are finished and freed, the others come back. */
static struct visitor *look_at(struct waiting_room *room, struct visitor *visitors, bool closing,
                               int64_t *finished_out)
{
    struct visitor *staying = NULL;
    int64_t finished = 0;
    while (visitors != NULL) {
        struct visitor *visitor = visitors;
        visitors = visitor->next;
        bool timed_out = closing || visitor->deadline_us <= clock_monotonic_us();
        if (visitor->look(room->services, visitor->exchange, timed_out)) {
            exchange_finish(visitor->exchange);
            mem_free(visitor);
            finished++;
        } else {
            assert(!timed_out);
            visitor->due = false;
            visitor->next = staying;
            staying = visitor;
        }
    }
    *finished_out = finished;
    return staying;
}

static void put_back(struct waiting_room *room, struct visitor *staying)
{
    while (staying != NULL) {
        struct visitor *visitor = staying;
        staying = visitor->next;
        visitor->due = room->progress_missed;
        visitor->next = room->visitors;
        room->visitors = visitor;
    }
    room->progress_missed = false;
}

static void *room_main(void *arg)
{
    struct waiting_room *room = arg;
    lock_take(&room->lock);
    for (;;) {
        struct visitor *due = take_due(room, clock_monotonic_us());
        if (due == NULL) {
            if (room->closing) {
                break;
            }
            int64_t deadline_us = earliest_deadline(room);
            if (deadline_us == INT64_MAX) {
                wake_wait(&room->wake, &room->lock);
            } else {
                (void)wake_wait_until(&room->wake, &room->lock, deadline_us); /* looked at above */
            }
            continue;
        }
        bool closing = room->closing;
        room->looking = true;
        lock_drop(&room->lock);

        int64_t finished = 0;
        struct visitor *staying = look_at(room, due, closing, &finished);

        lock_take(&room->lock);
        room->looking = false;
        room->count -= finished;
        metric_set(room->parked, room->count);
        put_back(room, staying);
    }
    lock_drop(&room->lock);
    return NULL;
}

struct waiting_room *waiting_room_open(struct services *services)
{
    struct waiting_room *room = mem_zeroed(1, sizeof *room);
    room->services = services;
    lock_init(&room->lock, LOCK_RANK_WAITERS);
    wake_init(&room->wake);
    room->parked = metric_register(METRIC_GAUGE, "sluice_waiting_requests", "",
                                   "Requests that wait for a batch or a run.");
    int result = pthread_create(&room->thread, NULL, room_main, room);
    assert(result == 0);
    return room;
}

void waiting_room_dismiss(struct waiting_room *room)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&room->lock);
    (void)scope; /* held to the end */
    room->closing = true;
    wake_all(&room->wake);
}

void waiting_room_close(struct waiting_room **room)
{
    if (*room == NULL) {
        return;
    }
    struct waiting_room *closed = *room;
    waiting_room_dismiss(closed);
    int result = pthread_join(closed->thread, NULL);
    assert(result == 0);

    assert(closed->visitors == NULL);
    wake_deinit(&closed->wake);
    lock_deinit(&closed->lock);
    mem_free(closed);
    *room = NULL;
}

bool waiting_room_park(struct waiting_room *room, struct exchange *exchange,
                       const struct id *subject, int64_t deadline_us, waiting_look_fn *look)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&room->lock);
    (void)scope; /* held to the end */
    if (room->closing || room->count >= WAITING_ROOM_MAX) {
        return false;
    }
    struct visitor *visitor = mem_zeroed(1, sizeof *visitor);
    *visitor = (struct visitor){
        .next = room->visitors,
        .exchange = exchange,
        .subject = *subject,
        .deadline_us = deadline_us,
        .look = look,
        .due = true,
    };
    room->visitors = visitor;
    room->count++;
    metric_set(room->parked, room->count);
    wake_one(&room->wake);
    return true;
}

void waiting_room_notify(struct waiting_room *room, const struct id *subject)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&room->lock);
    (void)scope; /* held to the end */
    bool any = false;
    for (struct visitor *v = room->visitors; v != NULL; v = v->next) {
        if (strcmp(v->subject.text, subject->text) == 0) {
            v->due = true;
            any = true;
        }
    }
    room->progress_missed = room->progress_missed || room->looking;
    if (any) {
        wake_one(&room->wake);
    }
}

struct id waiting_room_run(int64_t run_id)
{
    struct id subject;
    assert(run_id > 0);
    assert(run_id < INT64_C(1) << 48);
    (void)snprintf(subject.text, sizeof subject.text, "00000000-0000-8000-8000-%012" PRIx64,
                   (uint64_t)run_id); /* fits; no table has an identity of version 8 */
    return subject;
}

int64_t waiting_room_count(struct waiting_room *room)
{
    CLEANUP(lock_scope_end) struct lock *scope = lock_scope(&room->lock);
    (void)scope; /* held to the end */
    return room->count;
}
