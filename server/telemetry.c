/* Access log and request metrics; see telemetry.h. */
#include "server/telemetry.h"

#include "server/routes.h"
#include "server/trace.h"
#include "storage/base/clock.h"
#include "storage/base/log.h"
#include "storage/base/mem.h"
#include "storage/base/metrics.h"
#include "storage/catalog/access.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
    CLASSES = 5, /* 1xx … 5xx */
    LABEL_BYTES = 160,
    RETRY_SECONDS_MAX = 30,
    RATE_WINDOW_US = 1000000,
};

/* Series of one operation; the last one is for requests that reached none. */
struct series {
    struct metric *requests[CLASSES];
    struct metric *duration;
    struct metric *bytes_in;
};

static struct series *all;
static struct metric *in_flight;
static struct metric *bytes_out_total;
static _Atomic int64_t in_flight_count;
static _Atomic int64_t finished_count;
/* The rate at which requests finish, measured over at least RATE_WINDOW_US. */
static _Atomic int64_t rate_per_second;
static _Atomic int64_t marked_us;
static _Atomic int64_t marked_count;

static void register_series(struct series *series, const char *operation)
{
    char labels[LABEL_BYTES];
    for (int i = 1; i < CLASSES; i++) { /* 1xx is not ours to send */
        (void)snprintf(labels, sizeof labels, "operation=\"%s\",status=\"%dxx\"", operation,
                       i + 1); /* operation names are short */
        series->requests[i] = metric_register(METRIC_COUNTER, "sluice_http_requests_total", labels,
                                              "Requests answered.");
    }
    (void)snprintf(labels, sizeof labels, "operation=\"%s\"", operation); /* as above */
    series->duration = metric_register(METRIC_HISTOGRAM, "sluice_http_request_duration_seconds",
                                       labels, "From the end of the head to the last byte sent.");
    series->bytes_in = metric_register(METRIC_COUNTER, "sluice_http_request_body_bytes_total",
                                       labels, "Body bytes received.");
}

void telemetry_open(void)
{
    if (all != NULL) {
        return;
    }
    all = mem_zeroed(routes_count + 1, sizeof *all);
    for (size_t i = 0; i < routes_count; i++) {
        register_series(&all[i], routes[i].operation_id);
    }
    register_series(&all[routes_count], "none");
    in_flight = metric_register(METRIC_GAUGE, "sluice_http_requests_in_flight", "",
                                "Requests that have begun and are not answered.");
    bytes_out_total = metric_register(METRIC_COUNTER, "sluice_http_response_body_bytes_total", "",
                                      "Body bytes sent.");
    atomic_store(&marked_us, clock_monotonic_us());
}

void telemetry_begin(void)
{
    metric_set(in_flight, atomic_fetch_add(&in_flight_count, 1) + 1);
}

/* spec: W3C Trace Context — version "-" trace-id "-" …; a head that was broken off has none */
static struct span trace_id_of(const char *trace_parent)
{
    size_t size = trace_parent[0] != '\0' ? 32 : 0;
    return span_of(trace_parent + 3, size);
}

static void write_line(const struct exchange *exchange, const char *method, int64_t duration_us,
                       int64_t bytes_in, int64_t bytes_out)
{
    const struct route *route = exchange->route;
    struct log_line line;
    log_begin(&line, LOG_INFO, "request");
    log_text(&line, LOG_REQUEST_ID, exchange->request_id.text);
    log_span(&line, LOG_TRACE_ID, trace_id_of(exchange->trace_parent));
    log_text(&line, LOG_PRINCIPAL, exchange->principal != NULL ? exchange->principal->name : NULL);
    log_text(&line, LOG_OPERATION, route != NULL ? route->operation_id : NULL);
    log_text(&line, LOG_METHOD, method);
    log_text(&line, LOG_ROUTE, route != NULL ? route->path : NULL);
    log_text(&line, LOG_TABLE, exchange->log_table[0] != '\0' ? exchange->log_table : NULL);
    log_text(&line, LOG_SUBJECT, exchange->log_subject[0] != '\0' ? exchange->log_subject : NULL);
    log_text(&line, LOG_BATCH,
             exchange->log_batch.text[0] != '\0' ? exchange->log_batch.text : NULL);
    if (exchange->log_version >= 0) {
        log_integer(&line, LOG_VERSION, exchange->log_version);
    }
    log_integer(&line, LOG_STATUS, exchange->status);
    log_text(&line, LOG_CODE, exchange->log_code);
    if (exchange->status >= 500 && exchange->err.code != ERR_OK) {
        log_text(&line, LOG_ERROR_TEXT, exchange->err.msg);
    }
    log_integer(&line, LOG_DURATION_US, duration_us);
    log_integer(&line, LOG_BYTES_IN, bytes_in);
    log_integer(&line, LOG_BYTES_OUT, bytes_out);
    if (exchange->log_records > 0) {
        log_integer(&line, LOG_RECORDS, exchange->log_records);
    }
    log_span(&line, LOG_REMOTE, exchange->remote);
    log_end(&line);
}

void telemetry_finish(const struct exchange *exchange, const char *method, int64_t bytes_in,
                      int64_t bytes_out)
{
    assert(all != NULL);
    size_t index = exchange->route != NULL ? (size_t)(exchange->route - routes) : routes_count;
    const struct series *series = &all[index];
    int64_t duration_us = clock_monotonic_us() - exchange->started_us;
    int class = exchange->status / 100 - 1;
    if (class >= 1 && class < CLASSES) {
        metric_add(series->requests[class], 1);
    }
    metric_observe_us(series->duration, duration_us);
    metric_add(series->bytes_in, bytes_in);
    metric_add(bytes_out_total, bytes_out);
    metric_set(in_flight, atomic_fetch_sub(&in_flight_count, 1) - 1);
    atomic_fetch_add(&finished_count, 1);
    write_line(exchange, method, duration_us, bytes_in, bytes_out);
}

int64_t telemetry_in_flight(void)
{
    return atomic_load(&in_flight_count);
}

/* Races between callers cost accuracy of one hint, nothing else. */
int64_t telemetry_retry_seconds(int64_t queued)
{
    int64_t now_us = clock_monotonic_us();
    int64_t since_us = now_us - atomic_load(&marked_us);
    if (since_us >= RATE_WINDOW_US) {
        int64_t finished = atomic_load(&finished_count);
        int64_t before = atomic_exchange(&marked_count, finished);
        atomic_store(&rate_per_second, (finished - before) * 1000000 / since_us);
        atomic_store(&marked_us, now_us);
    }
    int64_t wait = queued / (atomic_load(&rate_per_second) + 1) + 1;
    return wait < RETRY_SECONDS_MAX ? wait : RETRY_SECONDS_MAX;
}
