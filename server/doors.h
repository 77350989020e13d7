/*
 * Door threads: they run the handlers that may block (decoding, journal, catalog),
 * so that the network threads never do. A bounded queue in front; when it is full
 * the caller refuses.
 */
#pragma once

#include "storage/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct doors;

typedef void doors_run_fn(void *work);

/* threads_count threads that call `run` for each piece of work. */
enum err_code doors_open(size_t threads_count, size_t queue_max, doors_run_fn *run,
                         struct doors **doors_out, struct err *err) MUST_USE;

/* Runs what is queued, then ends the threads. */
void doors_close(struct doors **doors);

/* Returns false when the queue is full. Any thread, never blocks. */
bool doors_submit(struct doors *doors, void *work);

size_t doors_queued(struct doors *doors);
