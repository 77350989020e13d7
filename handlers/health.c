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

/* What is wrong, as items of the problem; returns how many. */
static size_t find_failing(struct problem_item items_out[HEALTH_CHECKS_MAX])
{
    size_t failing = 0;
    size_t count = atomic_load(&checks_count);
    for (size_t i = 0; i < count; i++) {
        const char *detail = NULL;
        if (!checks[i].check(checks[i].arg, &detail)) {
            items_out[failing] = (struct problem_item){
                .code = checks[i].name, .message = detail != NULL ? detail : "not ready"};
            failing++;
        }
    }
    return failing;
}

enum handler_result handle_readyz(struct services *services, struct exchange *exchange)
{
    (void)services; /* services register their checks */
    if (atomic_load(&stopping)) {
        return problem_answer(exchange, 503, "stopping", "the server is stopping");
    }
    struct problem_item failing[HEALTH_CHECKS_MAX];
    size_t failing_count = find_failing(failing);
    if (failing_count > 0) {
        return problem_items(exchange, 503, "not_ready", "the server cannot do its work now",
                             failing, failing_count, (int64_t)failing_count);
    }
    buffer_append_text(&exchange->answer, "{\"status\":\"ok\",\"checks\":[");
    size_t count = atomic_load(&checks_count);
    for (size_t i = 0; i < count; i++) {
        buffer_append_format(&exchange->answer, "%s{\"name\":\"%s\",\"ok\":true}", i > 0 ? "," : "",
                             checks[i].name);
    }
    buffer_append_text(&exchange->answer, "]}\n");
    exchange->status = 200;
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
