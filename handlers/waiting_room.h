/*
 * Requests that wait for a batch to reach a rung of the ladder, or for a run to end
 * (Prefer: wait=N, after=<batch>). A parked exchange costs no thread: one thread of
 * the room resumes it when its subject made progress or its time is up.
 */
#pragma once

#include "handlers/exchange.h"
#include "storage/base/id.h"

#include <stdbool.h>
#include <stdint.h>

struct waiting_room;

enum { WAITING_ROOM_MAX = 10000 }; /* parked exchanges; more are answered at once */

/*
 * Look again: has what the exchange waits for happened? Runs on the room's
 * thread; may read the catalog, must not wait. Returns true when the answer is
 * in place, which it must be when `timed_out` is true.
 */
typedef bool waiting_look_fn(struct services *services, struct exchange *exchange, bool timed_out);

struct waiting_room *waiting_room_open(struct services *services);

/* Answer everybody as timed out and park nobody any more. Notifying stays harmless. */
void waiting_room_dismiss(struct waiting_room *room);

/* Dismisses, waits until all are answered, frees. Accepts NULL inside; nulls. */
void waiting_room_close(struct waiting_room **room);

/*
 * Park an exchange; the handler returns HANDLER_WAIT right after this.
 *
 *   subject      whose progress matters: a table's identity, or waiting_room_run
 *   deadline_us  clock_monotonic_us at which `look` is called with timed_out
 *
 * Returns false when the room is full or closing: the handler answers itself.
 * `look` is called once soon after parking, so that progress between the
 * handler's own look and the parking is not missed.
 */
bool waiting_room_park(struct waiting_room *room, struct exchange *exchange,
                       const struct id *subject, int64_t deadline_us,
                       waiting_look_fn *look) MUST_USE;

/* Something about the subject changed. Any thread, never blocks long. */
void waiting_room_notify(struct waiting_room *room, const struct id *subject);

/* The subject that stands for a run of a job. */
struct id waiting_room_run(int64_t run_id);

int64_t waiting_room_count(struct waiting_room *room);
