/*
 * /livez, /readyz, /metrics. Readiness is a list of named checks that services
 * register at start; each answers at once, from memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { HEALTH_CHECKS_MAX = 16 };

/* True when fine; `detail_out` is a static text that says what is wrong otherwise. Any thread. */
typedef bool health_check_fn(void *arg, const char **detail_out);

/* Register a check; at start, before the first request. `name` is static. */
void health_register(const char *name, health_check_fn *check, void *arg);

/* Forget all checks: at stop, before what they look at goes. */
void health_forget(void);

/* The server is stopping: /readyz answers 503 from now on. Any thread. */
void health_set_stopping(void);
