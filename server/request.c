/* Admission, body and dispatch of one request; see request.h. */
#include "server/request.h"

#include "handlers/access_audit.h"
#include "handlers/problem.h"
#include "server/routes.h"
#include "server/target.h"
#include "server/telemetry.h"
#include "server/trace.h"
#include "storage/base/clock.h"
#include "storage/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    ARENA_BEFORE_ROUTE_BYTES = 64 << 10, /* until the route names its own ceiling */
    RESERVE_STEP_BYTES = 256 << 10,      /* of a chunked body, whose length nobody announced */
    STATUS_CLIENT_GONE = 499,            /* in the log only */
};

enum run_state {
    RUN_IDLE,
    RUN_RUNNING,  /* the handler has not returned */
    RUN_PARKED,   /* it returned HANDLER_WAIT and the connection rests */
    RUN_FINISHED, /* exchange_finish was called */
};

struct request *request_new(struct request_front *front, const char *target)
{
    struct request *request = mem_zeroed(1, sizeof *request);
    struct exchange *exchange = &request->exchange;
    request->front = front;
    request->target = mem_copy_text(target);
    request->framing.content_length = -1;
    exchange->server = request;
    exchange->request_id = id_new_ordered();
    exchange->started_us = clock_monotonic_us();
    exchange->log_version = -1;
    arena_init(&exchange->arena, ARENA_BEFORE_ROUTE_BYTES);
    buffer_init(&exchange->answer, REQUEST_ANSWER_BYTES_MAX);
    telemetry_begin();
    return request;
}

void request_free(struct request **request)
{
    struct request *ending = *request;
    if (ending == NULL) {
        return;
    }
    struct exchange *exchange = &ending->exchange;
    if (!ending->queued) {
        exchange->status = STATUS_CLIENT_GONE;
    }
    telemetry_finish(exchange, ending->method, ending->bytes_in, (int64_t)exchange->answer.size);
    access_release(&ending->identity);
    atomic_fetch_sub(&ending->front->body_memory_used, ending->body_reserved);
    buffer_deinit(&ending->body);
    buffer_deinit(&exchange->answer);
    arena_deinit(&exchange->arena);
    mem_free(ending->target);
    mem_free(ending);
    *request = NULL;
}

bool request_has_body(const struct request *request)
{
    return request->framing.chunked || request->framing.content_length > 0;
}

/* ---- admission ---- */

static bool is_our_method(const char *method)
{
    static const char *const ours[] = {"GET", "HEAD", "PUT", "POST", "DELETE"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(method, ours[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Sets exchange->route, or answers. */
static bool find_route(struct request *request, struct span path, struct route_match *match)
{
    struct exchange *exchange = &request->exchange;
    if (!target_path_is_sound(path)) {
        (void)problem_answer(exchange, 400, "malformed_request",
                             "the path has a broken escape, an encoded NUL or is not UTF-8");
        return false;
    }
    route_find(request->method, path, match);
    if (match->route != NULL) {
        exchange->route = match->route;
        exchange->arena.used_max = (size_t)match->route->arena_bytes_max + ARENA_BEFORE_ROUTE_BYTES;
        return true;
    }
    if (match->path_known || !is_our_method(request->method)) {
        exchange_set_header(exchange, "Allow", "%s",
                            match->path_known ? match->allow : "GET, HEAD, PUT, POST, DELETE");
        (void)problem_answer(exchange, 405, "method_not_allowed",
                             "this path does not have that method; see Allow");
        return false;
    }
    (void)problem_answer(exchange, 404, "not_found", "there is no such path; see /docs");
    return false;
}

static bool is_type(struct span header, const char *type)
{
    if (header.size == 0) {
        return false;
    }
    const uint8_t *end = memchr(header.data, ';', header.size);
    size_t size = end != NULL ? (size_t)(end - header.data) : header.size;
    while (size > 0 && header.data[size - 1] == ' ') {
        size--;
    }
    return size == strlen(type) && strncasecmp((const char *)header.data, type, size) == 0;
}

/* A charset other than UTF-8 would be misread, so it is refused. */
static bool has_foreign_charset(struct span header)
{
    static const char name[] = "charset=";
    const uint8_t *at = memmem(header.data, header.size, name, sizeof name - 1);
    if (at == NULL) {
        return false;
    }
    at += sizeof name - 1;
    size_t left = header.size - (size_t)(at - header.data);
    if (left > 0 && *at == '"') {
        at++;
        left--;
    }
    return left < 5 || strncasecmp((const char *)at, "utf-8", 5) != 0;
}

static bool admit_type(struct exchange *exchange)
{
    const struct route *route = exchange->route;
    struct span type = exchange_header(exchange, "content-type");
    bool known = false;
    for (size_t i = 0; type.size > 0 && route->content_types[i] != NULL; i++) {
        known = known || is_type(type, route->content_types[i]);
    }
    if (!known || has_foreign_charset(type)) {
        (void)problem_answer(exchange, 415, "unsupported_media_type",
                             "Content-Type must be one of those at /docs#%s, in UTF-8",
                             route->operation_id);
        return false;
    }
    struct span coding = exchange_header(exchange, "content-encoding");
    bool takes = route->takes_encoding && (is_type(coding, "gzip") || is_type(coding, "zstd"));
    if (coding.size > 0 && !is_type(coding, "identity") && !takes) {
        exchange_set_header(exchange, "Accept-Encoding", "%s",
                            route->takes_encoding ? "gzip, zstd" : "identity");
        (void)problem_answer(exchange, 415, "unsupported_media_type", "Content-Encoding must be %s",
                             route->takes_encoding ? "gzip, zstd or absent" : "absent");
        return false;
    }
    return true;
}

/* Take `bytes` more from the budget that all bodies share. */
static bool reserve(struct request *request, int64_t bytes)
{
    struct request_front *front = request->front;
    int64_t used = atomic_fetch_add(&front->body_memory_used, bytes) + bytes;
    if (used > front->body_memory_bytes_max) {
        atomic_fetch_sub(&front->body_memory_used, bytes);
        return false;
    }
    request->body_reserved += bytes;
    return true;
}

static void answer_busy(struct request *request, const char *what)
{
    struct exchange *exchange = &request->exchange;
    exchange_set_header(exchange, "Retry-After", "%" PRId64,
                        telemetry_retry_seconds(telemetry_in_flight()));
    (void)problem_answer(exchange, 503, "busy", "%s; try again", what);
}

static void answer_too_large(struct exchange *exchange)
{
    (void)problem_answer(exchange, 413, "too_large",
                         "the body is over the limit of %" PRId64 " bytes; split it",
                         exchange->route->body_bytes_max);
}

static bool admit_body(struct request *request)
{
    struct exchange *exchange = &request->exchange;
    const struct route *route = exchange->route;
    int64_t length = request->framing.content_length;
    if (!request_has_body(request)) {
        if (route->body_required && length < 0) {
            (void)problem_answer(exchange, 411, "length_required", "this operation needs a body");
            return false;
        }
        return true;
    }
    if (route->body_bytes_max == 0) {
        (void)problem_answer(exchange, 413, "too_large", "this operation takes no body");
        return false;
    }
    if (length > route->body_bytes_max) {
        answer_too_large(exchange);
        return false;
    }
    if (!admit_type(exchange)) {
        return false;
    }
    buffer_init(&request->body, (size_t)route->body_bytes_max);
    if (length > 0 && !reserve(request, length)) {
        answer_busy(request, "the memory for request bodies is used up");
        return false;
    }
    return true;
}

bool request_admit(struct request *request, enum guard_refusal refusal, struct span authorization,
                   struct span traceparent)
{
    struct exchange *exchange = &request->exchange;
    trace_accept(traceparent, &exchange->request_id, exchange->trace_parent);
    if (refusal != GUARD_FINE) {
        const struct guard_reason *reason = guard_reason(refusal);
        request->close_after = true;
        (void)problem_answer(exchange, reason->status, reason->code, "%s", reason->detail);
        return false;
    }
    struct span path = {0};
    struct span query = {0};
    struct route_match match;
    target_split(span_of_text(request->target), &path, &query);
    if (!find_route(request, path, &match)) {
        return false;
    }
    if (exchange->route->action != NULL && atomic_load(&request->front->stopping)) {
        request->close_after = true;
        (void)problem_answer(exchange, 503, "stopping", "the server is stopping");
        return false;
    }
    if (target_decode_parameters(&match, exchange) != ERR_OK) {
        (void)problem_err(exchange);
        return false;
    }
    if (exchange->route->identifier != NULL) {
        access_audit_note_subject(request->front->services, exchange,
                                  exchange->parameters[exchange->route->identifier_index]);
    }
    if (!gate_admit(request->front->gate, exchange, authorization, &request->identity)) {
        return false;
    }
    if (target_decode_query(query, exchange) != ERR_OK) {
        (void)problem_err_as(exchange, problem_status(exchange->err.code), "unknown_parameter");
        return false;
    }
    return admit_body(request);
}

/* ---- body ---- */

/* The rest of the body is dropped; what was kept goes at once. */
static void refuse_body(struct request *request)
{
    buffer_deinit(&request->body);
    atomic_fetch_sub(&request->front->body_memory_used, request->body_reserved);
    request->body_reserved = 0;
    request->answered = true;
    request->close_after = true;
}

bool request_receive(struct request *request, struct span bytes, bool *unwanted_out)
{
    request->bytes_in += (int64_t)bytes.size;
    if (!request->answered) {
        int64_t needed = (int64_t)(request->body.size + bytes.size);
        if (needed > request->exchange.route->body_bytes_max) {
            answer_too_large(&request->exchange);
            refuse_body(request);
        } else if (needed > request->body_reserved &&
                   !reserve(request, needed - request->body_reserved + RESERVE_STEP_BYTES)) {
            answer_busy(request, "the memory for request bodies is used up");
            refuse_body(request);
        } else {
            if (request->body.size == 0 && request->framing.content_length > 0) {
                /* all of it at once, so that it need not be moved; what never comes is never
                 * touched */
                (void)buffer_reserve(&request->body, (size_t)request->framing.content_length);
            }
            buffer_append_span(&request->body, bytes);
            return true;
        }
    }
    *unwanted_out = true;
    request->drained_bytes += (int64_t)bytes.size;
    return request->drained_bytes <= REQUEST_DRAIN_BYTES_MAX;
}

/* ---- running ---- */

/* What every answer obeys, whoever wrote it. */
static void complete_answer(struct request *request)
{
    struct exchange *exchange = &request->exchange;
    assert(exchange->status >= 200);
    assert(exchange->status <= 599);
    if (exchange->answer.overflowed) {
        (void)problem_answer(exchange, 413, "too_large",
                             "the answer is over %d bytes; ask for less at once",
                             REQUEST_ANSWER_BYTES_MAX);
    }
    request->answered = true;
}

static void rest_and_submit(struct request *request)
{
    struct request_front *front = request->front;
    front->suspend(request);
    atomic_store(&request->run_state, RUN_IDLE);
    if (!doors_submit(front->doors, request)) {
        answer_busy(request, "all workers are busy");
        complete_answer(request);
        front->resume(request);
    }
}

/* The handler parked the exchange: rest, unless it has been finished meanwhile. */
static void settle_wait(struct request *request, bool resting)
{
    if (!resting) {
        request->front->suspend(request);
    }
    int expected = RUN_RUNNING;
    if (!atomic_compare_exchange_strong(&request->run_state, &expected, RUN_PARKED)) {
        complete_answer(request);
        request->front->resume(request);
    }
}

/* True when the answer is in place; false when the connection rests: `request` is not ours then. */
static bool run_handler(struct request *request)
{
    struct exchange *exchange = &request->exchange;
    bool on_door = exchange->on_door_thread;
    atomic_store(&request->run_state, RUN_RUNNING);
    switch (exchange->route->handler(request->front->services, exchange)) {
    case HANDLER_DONE:
        complete_answer(request);
        return true;
    case HANDLER_WAIT:
        settle_wait(request, on_door);
        return false;
    case HANDLER_DEFER:
        assert(!on_door);
        rest_and_submit(request);
        return false;
    }
    assert(false);
    return true;
}

bool request_run(struct request *request, enum guard_refusal refusal)
{
    struct exchange *exchange = &request->exchange;
    if (request->answered) {
        return true; /* refused while its body came in */
    }
    if (refusal != GUARD_FINE) {
        const struct guard_reason *reason = guard_reason(refusal);
        (void)problem_answer(exchange, reason->status, reason->code, "%s", reason->detail);
        request->close_after = true;
        complete_answer(request);
        return true;
    }
    exchange->body = buffer_span(&request->body);
    if (exchange->route->never_blocks) {
        return run_handler(request);
    }
    rest_and_submit(request);
    return false;
}

void request_run_on_door(void *work)
{
    struct request *request = work;
    request->exchange.on_door_thread = true;
    if (run_handler(request)) {
        request->front->resume(request);
    }
}

void request_finish(struct exchange *exchange)
{
    struct request *request = exchange->server;
    if (atomic_exchange(&request->run_state, RUN_FINISHED) == RUN_PARKED) {
        complete_answer(request);
        request->front->resume(request);
    }
}
