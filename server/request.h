/*
 * One request on its way through the server, without any HTTP library: admission
 * by its head, collecting its body within budgets, running its handler.
 */
#pragma once

#include "handlers/exchange.h"
#include "handlers/services.h"
#include "server/doors.h"
#include "server/gate.h"
#include "server/guard.h"
#include "storage/catalog/access.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

enum {
    REQUEST_METHOD_BYTES = GUARD_METHOD_BYTES_MAX + 1,
    REQUEST_ANSWER_BYTES_MAX = 256 << 20,
    REQUEST_DRAIN_BYTES_MAX = 16 << 20, /* of a body that is refused while it comes in */
};

/* What all requests share; set once before the first. */
struct request_front {
    struct services *services;
    struct gate *gate;
    struct doors *doors;
    int64_t body_memory_bytes_max; /* bodies of all requests together */
    _Atomic int64_t body_memory_used;
    _Atomic bool stopping; /* new requests are refused; those under way end */
    /* The network side lets a request rest, and wakes it; resume from any thread. */
    void (*suspend)(struct request *request);
    void (*resume)(struct request *request);
};

/* What the framing of the head says, as the guard let it pass. */
struct request_framing {
    int64_t content_length; /* -1 = not given */
    bool chunked;
};

struct request {
    struct exchange exchange; /* exchange.server points back here */
    struct request_front *front;
    void *connection; /* the network side's */
    void *peer;       /* the network side's */
    char method[REQUEST_METHOD_BYTES];
    char *target;    /* as it came; owned */
    uint64_t number; /* on its connection, from 1 */
    struct request_framing framing;
    struct access_identity identity;
    struct buffer body;
    int64_t body_reserved; /* of the shared budget */
    int64_t bytes_in;
    int64_t drained_bytes;
    bool began;       /* counted as in flight */
    bool answered;    /* the answer is complete; set before resume */
    bool queued;      /* handed to the network side */
    bool close_after; /* the connection cannot be used again */
    _Atomic int run_state;
};

/* A request whose target is known; freed by request_free. Counts as in flight. */
struct request *request_new(struct request_front *front, const char *target);
/* Writes the log line, gives everything back. */
void request_free(struct request **request);

/*
 * Decide by the head alone whether the request goes on: path, method, gate, query,
 * type, size. The network side has set method, framing, peer address and headers.
 *
 *   refusal        of the guard, GUARD_FINE for a sound head
 *   authorization, traceparent  header values, empty when absent
 *
 * Returns false when it is refused; the answer is in place.
 */
bool request_admit(struct request *request, enum guard_refusal refusal, struct span authorization,
                   struct span traceparent);

/* Does the head announce a body? */
bool request_has_body(const struct request *request);

/*
 * More of the body. What is over a limit is dropped and the answer set; returns
 * false when even dropping has to end: close the connection.
 *
 *   unwanted_out  nothing further is wanted: see guard_end_body
 */
bool request_receive(struct request *request, struct span bytes, bool *unwanted_out);

/*
 * The body is complete, or broken as `refusal` says: run the handler, here or on a
 * door thread.
 *
 * Returns true when the answer is in place. False: the connection rests until
 * `resume` is called, and the request belongs to somebody else until then.
 */
bool request_run(struct request *request, enum guard_refusal refusal);

/* For doors_open: runs a struct request. */
void request_run_on_door(void *work);

/* For exchange_set_finish_hook. */
void request_finish(struct exchange *exchange);
