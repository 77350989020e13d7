/*
 * The guard reads a connection's byte stream before libmicrohttpd does and lets
 * only well-formed HTTP/1.x pass: one strict reading of heads and framing, so
 * that no second reading can differ (request smuggling).
 *
 * It hands on whole heads only. A head it refuses is replaced by GUARD_REFUSED_HEAD,
 * which no client can send, and everything behind it is swallowed; the adapter
 * then answers with the reason found here. A chunked body that breaks its framing
 * is ended early and its request marked as refused.
 *
 * Pure: no I/O, no clock. One guard a connection, used by that connection's thread.
 * Source:  RFC 9112 sections 2 to 7, RFC 9110 section 5; reliability-security 2.5.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GUARD_HEAD_BYTES_MAX = 16 << 10, /* request line and headers together */
    GUARD_TARGET_BYTES_MAX = 8 << 10,
    GUARD_METHOD_BYTES_MAX = 32,
    GUARD_HEADERS_MAX = 100,
    GUARD_CHUNK_DIGITS_MAX = 16,
};

/*
 * Stands for '?' in the targets that the guard hands on, and no client can send it:
 * the library would cut the query into parameters in its small pool, and leaves the
 * connection hanging when there are too many. target.c is who reads the query.
 */
#define GUARD_QUERY_MARK '\x1f'

/* The target of a replaced request; the guard lets no client send it. */
#define GUARD_REFUSED_TARGET "!refused"

enum guard_refusal {
    GUARD_FINE,
    GUARD_BAD_LINE_END,      /* LF without CR, CR without LF */
    GUARD_BAD_REQUEST_LINE,  /* not "METHOD SP target SP HTTP/x.y" */
    GUARD_BAD_HEADER,        /* no name, space before the colon, folded line, control byte */
    GUARD_BAD_HOST,          /* none or several */
    GUARD_BAD_LENGTH,        /* Content-Length not one plain number */
    GUARD_LENGTH_AND_CODING, /* Content-Length beside Transfer-Encoding */
    GUARD_BAD_CHUNK,         /* chunk size, extension, end or trailer */
    GUARD_BAD_CODING,        /* Transfer-Encoding other than chunked: 501 */
    GUARD_BAD_VERSION,       /* HTTP/x.y that we do not speak: 505 */
    GUARD_TARGET_TOO_LONG,   /* 414 */
    GUARD_HEAD_TOO_LARGE,    /* 431 */
    GUARD_LENGTH_TOO_LARGE,  /* 413 */
    GUARD_BODY_UNWANTED,     /* guard_end_body: the adapter has its own answer */
    GUARD_REFUSAL_COUNT,
};

/* HTTP status, problem code and a sentence for people. */
struct guard_reason {
    int status;
    const char *code;
    const char *detail;
};
const struct guard_reason *guard_reason(enum guard_refusal refusal);

enum guard_phase {
    GUARD_PHASE_HEAD,
    GUARD_PHASE_BODY,       /* Content-Length bytes */
    GUARD_PHASE_CHUNK_SIZE, /* a chunk's line, for the last one with the final empty line */
    GUARD_PHASE_CHUNK_DATA,
    GUARD_PHASE_CHUNK_END, /* CRLF behind a chunk's data */
    GUARD_PHASE_REFUSED,   /* everything further is swallowed */
};

/* Embedded by the connection; zeroed memory plus guard_init. */
struct guard {
    enum guard_phase phase;
    enum guard_refusal refusal;
    uint64_t refused_request; /* number of the refused request, from 1; 0 = none */
    uint64_t heads_count;     /* heads handed on, the replacement of a refused one included */
    uint64_t body_left;       /* bytes of the body or chunk still to come */
    uint64_t body_bytes;      /* of the current request so far */
    bool body_unwanted;       /* end the chunked body under way at its next chunk */
    bool line_seen;           /* the request line of the head under way was judged */
    size_t searched;          /* bytes of `held` known to hold no end of head */
    struct buffer held;       /* the beginning of a head or chunk line, not yet handed on */
    struct buffer ready;      /* to be handed on before anything new is read */
    size_t ready_taken;       /* of `ready` */
};

void guard_init(struct guard *guard);
void guard_deinit(struct guard *guard);

/*
 * Judge the next bytes of the stream. The heads in them are changed where the
 * library must not act: see GUARD_QUERY_MARK; Cookie headers, which it would parse
 * likewise and nobody reads, lose their name.
 *
 * Returns how many of the leading bytes may be handed on as they stand. What is
 * to be handed on after them, if anything, lies in `ready`: take it with
 * guard_take before feeding more.
 */
size_t guard_feed(struct guard *guard, uint8_t *bytes, size_t size);

/* Move up to `size` bytes of what is ready to `bytes_out`; returns how many. */
size_t guard_take(struct guard *guard, uint8_t *bytes_out, size_t size);

/*
 * The adapter will not take more of the body under way. A chunked one is ended for
 * it at its next chunk, so that the refusal can be answered; the connection is over
 * after that.
 */
void guard_end_body(struct guard *guard);

static inline bool guard_has_ready(const struct guard *guard)
{
    return guard->ready_taken < guard->ready.size;
}

/* Between requests, with nothing of the next one seen. */
static inline bool guard_is_idle(const struct guard *guard)
{
    return guard->phase == GUARD_PHASE_HEAD && guard->held.size == 0;
}
