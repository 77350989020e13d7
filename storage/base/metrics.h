/*
 * Metrics: counters, gauges and histograms with fixed, low-cardinality labels.
 * Registered once at start; updates are one atomic add. The server renders them
 * as Prometheus text; no metric ever has a member, key or batch in a label.
 */
#pragma once

#include "storage/base/buffer.h"

#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric; /* one time series; lives until the process ends */

/*
 * Register or find the series `name` with `labels` (Prometheus label text
 * without braces, e.g. `table="members"`, or ""). The help text and kind must
 * be the same for all series of a name. Names end in _total, _seconds, _bytes…
 * Histograms observe seconds with fixed buckets from 50 µs to 60 s.
 * Thread: any; takes LOCK_RANK_METRICS. Keep the pointer, do not look up on hot paths.
 */
struct metric *metric_register(enum metric_kind kind, const char *name, const char *labels,
                               const char *help);

void metric_add(struct metric *metric, int64_t amount); /* counter up; gauge up or down */
void metric_set(struct metric *metric, int64_t value);  /* gauge */
void metric_observe_us(struct metric *metric, int64_t microseconds); /* histogram */
int64_t metric_value(const struct metric *metric);                   /* counter or gauge */

/*
 * Hide all series whose labels equal `labels` (a deleted table). Their pointers
 * stay valid; registering one again shows it again, from zero.
 */
void metric_forget(const char *labels);

/* Prometheus text format 0.0.4, sorted by name. */
void metrics_write(struct buffer *text);
