/* Liveness, readiness and metrics: cheap, from memory, never blocking. */
#include "handlers/health.h"

#include "generated/operations.h"
#include "handlers/exchange.h"
#include "handlers/problem.h"
#include "storage/base/metrics.h"

#include <assert.h>
#include <stdatomic.h>

static struct {
    const char *name;
    health_check_fn *check;
    void *arg;
} checks[HEALTH_CHECKS_MAX];
static atomic_size_t checks_count; /* grows at start, before the first request */
static atomic_bool stopping;

void health_register(const char *name, health_check_fn *check, void *arg)
{
    size_t count = atomic_load(&checks_count);
    assert(count < HEALTH_CHECKS_MAX);
    checks[count].name = name;
    checks[count].check = check;
    checks[count].arg = arg;
    atomic_store(&checks_count, count + 1);
}

void health_forget(void)
{
    atomic_store(&checks_count, 0);
    atomic_store(&stopping, false);
}

void health_set_stopping(void)
{
    atomic_store(&stopping, true);
}

enum handler_result handle_livez(struct services *services, struct exchange *exchange)
{
    (void)services; /* alive is what answers */
    buffer_append_text(&exchange->answer, "{\"status\":\"ok\"}\n");
    exchange->status = 200;
    return HANDLER_DONE;
}

static bool write_check(struct exchange *exchange, size_t index)
{
    const char *detail = NULL;
    bool ok = checks[index].check(checks[index].arg, &detail);
    buffer_append_format(&exchange->answer, "%s{\"name\":\"%s\",\"ok\":%s", index > 0 ? "," : "",
                         checks[index].name, ok ? "true" : "false");
    if (!ok && detail != NULL) {
        buffer_append_format(&exchange->answer, ",\"detail\":\"%s\"", detail);
    }
    buffer_append_text(&exchange->answer, "}");
    return ok;
}

enum handler_result handle_readyz(struct services *services, struct exchange *exchange)
{
    (void)services; /* services register their checks */
    if (atomic_load(&stopping)) {
        return problem_answer(exchange, 503, "stopping", "the server is stopping");
    }
    bool ok = true;
    size_t count = atomic_load(&checks_count);
    buffer_append_text(&exchange->answer, "{\"checks\":[");
    for (size_t i = 0; i < count; i++) {
        ok = write_check(exchange, i) && ok;
    }
    buffer_append_format(&exchange->answer, "],\"status\":\"%s\"}\n", ok ? "ok" : "failing");
    if (!ok) {
        exchange_set_header(exchange, "Retry-After", "%d", PROBLEM_RETRY_SECONDS);
        exchange->log_code = "not_ready";
    }
    exchange->status = ok ? 200 : 503;
    return HANDLER_DONE;
}

enum handler_result handle_metrics(struct services *services, struct exchange *exchange)
{
    (void)services; /* metrics are registered process-wide */
    metrics_write(&exchange->answer);
    exchange->answer_type = "text/plain; version=0.0.4; charset=utf-8";
    exchange->status = 200;
    return HANDLER_DONE;
}
