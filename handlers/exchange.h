/*
 * One request and its answer, as handlers see it: no libmicrohttpd here.
 * The server fills the request side, calls the handler on a door thread (or on
 * the network thread for operations that never block), sends the answer and
 * frees the arena.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/json.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct services; /* handlers/services.h */
struct exchange;

/* What a handler leaves behind. */
enum handler_result {
    HANDLER_DONE,  /* the answer is complete */
    HANDLER_WAIT,  /* parked: exchange_finish is called by another thread, perhaps before this
                      returns */
    HANDLER_DEFER, /* x-inline operations only: this request would block; run me on a door thread */
};

typedef enum handler_result handler_fn(struct services *services, struct exchange *exchange);

enum {
    ROUTE_PARAMETERS_MAX = 4,
    EXCHANGE_QUERY_MAX = 64,
    EXCHANGE_HEADERS_MAX = 24,
    EXCHANGE_SUBJECT_BYTES = 33, /* as AUDIT_SUBJECT_BYTES */
    EXCHANGE_ETAG_BYTES = 19,    /* 64 bits in hex and quotes */
};

/* One operation of openapi/openapi.yaml; the table is generated from it. */
struct route {
    const char *operation_id;
    const char *method;
    const char *path;       /* "/v1/tables/{table}/batches" */
    size_t literal_bytes;   /* of the path, before its first parameter */
    const char *action;     /* x-permission action, e.g. "batch.post"; NULL = public */
    const char *resource;   /* path parameter that names the table, or NULL */
    size_t resource_index;  /* its place among the path parameters */
    const char *identifier; /* x-identifier: path parameter that names a person, or NULL */
    size_t identifier_index;
    bool reads_phi;         /* x-phi: the answer needs an audit record before it leaves */
    bool never_blocks;      /* x-inline: runs on the network thread */
    bool body_required;     /* 411 without one */
    bool takes_encoding;    /* the body may be gzip or zstd */
    int64_t body_bytes_max; /* x-body-limit; 0 = no body allowed */
    int64_t arena_bytes_max;
    const char *const *query_names;   /* allowed query parameters, NULL-terminated */
    uint64_t query_repeatable;        /* bit i: the i-th name may be given several times */
    const char *const *content_types; /* accepted request types, NULL-terminated; NULL = none */
    handler_fn *handler;
};

struct exchange_pair {
    struct span name; /* lower case for headers */
    struct span value;
};

/* Who a token stands for, with the grants it holds; resolved by the gate. */
struct principal;

struct exchange {
    /* --- request, set by the server before the handler runs --- */
    const struct route *route;
    struct id request_id;
    char trace_parent[56];             /* W3C traceparent of this request, accepted or minted */
    const struct principal *principal; /* NULL for public routes */
    const char *token_id;              /* public id of its token; NULL for public routes */
    bool on_door_thread; /* false while an x-inline operation is on the network thread */
    struct span parameters[ROUTE_PARAMETERS_MAX]; /* path parameters in path order, decoded */
    size_t query_count;
    struct exchange_pair query[EXCHANGE_QUERY_MAX]; /* decoded */
    size_t headers_count;
    struct exchange_pair headers[EXCHANGE_HEADERS_MAX]; /* the ones handlers may use */
    struct span remote;                                 /* address text, for audit */
    struct span body;   /* as received, before Content-Encoding is undone */
    int64_t started_us; /* monotonic */
    struct arena arena;
    struct err err; /* the one error of this request */

    /* --- answer, set by the handler --- */
    int status;
    struct buffer answer;
    const char *answer_type; /* content type; NULL = application/json */
    char etag[EXCHANGE_ETAG_BYTES];
    size_t answer_headers_count;
    struct {
        const char *name; /* static */
        char *value;      /* in the arena, or `etag` */
    } answer_headers[EXCHANGE_HEADERS_MAX];

    /* --- what the access log and audit say; set by handlers as they learn it --- */
    char log_table[132];                      /* exchange_note_table */
    char log_subject[EXCHANGE_SUBJECT_BYTES]; /* keyed hash of the person the URL names */
    struct id log_batch;                      /* empty text = none */
    int64_t log_records;
    int64_t log_version;  /* -1 = none */
    const char *log_code; /* problem code of the answer, static; NULL = none */

    void *parked; /* what a handler that answered HANDLER_WAIT remembers; in the arena */
    void *server; /* the adapter's own state */
};

/* Request side. Missing: empty span with NULL data. Header names lower case. */
struct span exchange_header(const struct exchange *exchange, const char *name);
struct span exchange_query(const struct exchange *exchange, const char *name);

/* Content-Type without its parameters. */
struct span exchange_media_type(const struct exchange *exchange);

/*
 * What `Prefer` asks for (RFC 7240), all Prefer headers taken together: is the
 * preference named, and its value without quotes ("" when it has none).
 */
bool exchange_prefers(const struct exchange *exchange, const char *name, struct span *value_out);

/*
 * Whole-number query parameter within [minimum, maximum]; `*value_out` keeps the
 * caller's default when it is absent.
 * Errors:  ERR_INVALID naming the parameter and the range.
 */
enum err_code exchange_query_integer(struct exchange *exchange, const char *name, int64_t minimum,
                                     int64_t maximum, int64_t *value_out) MUST_USE;

/* `true` or `false`, as above. */
enum err_code exchange_query_boolean(struct exchange *exchange, const char *name,
                                     bool *value_out) MUST_USE;

/*
 * Does If-None-Match hold `etag` (quoted, without a comma)? Then the answer is 304.
 * Source: RFC 9110 section 13.1.2.
 */
bool exchange_is_current(const struct exchange *exchange, const char *etag);

/* The table that the access log and the audit name. */
void exchange_note_table(struct exchange *exchange, const char *name);

/* Answer side. A header set twice keeps the last value; `name` must be static. */
void exchange_set_header(struct exchange *exchange, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The entity tag of an answer with that content, as a header; for exchange_is_current. */
const char *exchange_set_etag(struct exchange *exchange, struct span content);
/* Status and JSON body; takes and frees the value. Drops what `answer` held before. */
void exchange_answer_json(struct exchange *exchange, int status, struct json **value);
/* Status and no body (204, 304). */
void exchange_answer_empty(struct exchange *exchange, int status);

/* Parse the request body as one JSON object into a value freed by json_free. */
enum err_code exchange_body_json(struct exchange *exchange, struct json **body_out) MUST_USE;

/*
 * Complete a parked exchange: the answer is in place. Any thread, once.
 * Implemented by the server through the hook it installed.
 */
typedef void exchange_finish_fn(struct exchange *exchange);
void exchange_set_finish_hook(exchange_finish_fn *hook);
void exchange_finish(struct exchange *exchange);
