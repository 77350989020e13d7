/*
 * Webhook deliveries: events of runs on their way to an endpoint. Rows of jobs.db,
 * made by run_apply in the transaction of the state change they tell of, sent at
 * least once by the sender under one stable id with one stored body.
 *
 * The address and the secret's *reference* ("{{secrets.hook}}", never the secret) are
 * those of the moment of the event; a later change of the job changes nothing on its way.
 *
 * Thread:  every function any thread. Writing ones block for one group commit.
 * Durable: what a writing function did, when it returned ERR_OK.
 */
#pragma once

#include "storage/base/arena.h"
#include "storage/base/err.h"
#include "storage/base/id.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalog;

enum {
    DELIVERY_BODY_BYTES_MAX = 16 << 10,
    DELIVERY_URL_BYTES_MAX = 2048,
    DELIVERY_SECRET_BYTES_MAX = 256, /* of the reference */
    DELIVERY_EVENT_BYTES_MAX = 64,
    DELIVERY_ERROR_BYTES_MAX = 512, /* longer is cut */
    DELIVERY_ID_TEXT_BYTES = 37,    /* msg_ + 32 hexadecimal digits + NUL */
};

/* The text of a delivery's id: what goes out as `webhook-id` and names it in the API. */
void delivery_id_format(const struct id *id, char text_out[DELIVERY_ID_TEXT_BYTES]);
bool delivery_id_parse(struct span text, struct id *id_out);

/* Stored by number: values never change. */
enum delivery_state {
    DELIVERY_PENDING = 1,   /* to be sent at due_us */
    DELIVERY_DELIVERED = 2, /* answered with 2xx */
    DELIVERY_DEAD = 3,      /* given up after its tries */
    DELIVERY_GONE = 4,      /* the endpoint said 410 */
};
const char *delivery_state_name(enum delivery_state state); /* "pending" */
bool delivery_state_parse(struct span name, enum delivery_state *state_out);

/* For run_apply. Texts are borrowed for the call. */
struct delivery_new {
    struct id id;      /* id_new_ordered */
    const char *event; /* "run.failed" */
    const char *url;
    const char *secret; /* reference; NULL = unsigned */
    struct span body;   /* JSON, as it will go out each time */
    int64_t due_us;     /* wall; 0 = at once */
};

struct delivery {
    struct id id;
    int64_t job_id; /* 0 = of a one-off run */
    int64_t run_id;
    const char *event;
    const char *url;
    const char *secret; /* reference; NULL = unsigned */
    struct span body;
    enum delivery_state state;
    int32_t tries;   /* since it was made or last replayed */
    int32_t replays; /* by somebody */
    int64_t created_at_us;
    int64_t due_us;      /* DELIVERY_PENDING: the next try */
    int64_t tried_at_us; /* the last try ended; 0 = none */
    int32_t status;      /* of the last answer; 0 = none came */
    const char *error;   /* of the last try; "" = none */
};

/*
 * Pending ones with due_us <= now_us, the longest due first; strings in the arena. It knows
 * nothing of tries in flight: the sender keeps in mind which it is sending and asks for as
 * many more.
 */
enum err_code deliveries_due(struct catalog *catalog, int64_t now_us, size_t limit,
                             struct arena *arena, struct delivery **deliveries_out,
                             size_t *count_out, struct err *err) MUST_USE;

/* When the next pending one is due; INT64_MAX = none is pending. */
enum err_code deliveries_next_due(struct catalog *catalog, int64_t *due_us_out,
                                  struct err *err) MUST_USE;

/* How one try ended. */
struct delivery_outcome {
    enum delivery_state state; /* PENDING: try again at due_us */
    int64_t due_us;            /* wall, for PENDING */
    int32_t status;            /* of the answer; 0 = none came */
    const char *error;         /* no health information, no secret; NULL = none */
};

/*
 * Record a try. One that is not pending any more (its run and it were taken by retention, or
 * it was finished before) is left as it is: the try changes nothing then. DELIVERY_GONE also
 * ends all other pending ones to the same URL.
 *
 * Errors:  ERR_NO_SPACE; ERR_BUSY.
 */
enum err_code delivery_finish(struct catalog *catalog, const struct id *id,
                              const struct delivery_outcome *outcome, struct err *err) MUST_USE;

/*
 * Send it again, with the same id and body: pending, due at once, tries counted anew.
 *
 * Errors:  ERR_NOT_FOUND; ERR_CONFLICT it is pending already.
 */
enum err_code delivery_replay(struct catalog *catalog, const struct id *id,
                              struct err *err) MUST_USE;

/* Errors: ERR_NOT_FOUND; ERR_TOO_LARGE the arena. */
enum err_code delivery_get(struct catalog *catalog, const struct id *id, struct arena *arena,
                           struct delivery *delivery_out, struct err *err) MUST_USE;

/* What to list; zero = any. */
struct delivery_filter {
    int64_t job_id;
    int64_t run_id;
    int state; /* enum delivery_state */
};

/*
 * Newest first, after `after` (NULL = from the newest); `body` is left out.
 *
 *   more_out, next_out  is there more, and the `after` to ask for it with. A page may be short
 *                       before the end: the number of rows looked at is bounded
 */
enum err_code delivery_list(struct catalog *catalog, const struct delivery_filter *filter,
                            const struct id *after, size_t limit, struct arena *arena,
                            struct delivery **deliveries_out, size_t *count_out, bool *more_out,
                            struct id *next_out, struct err *err) MUST_USE;

struct delivery_counts {
    int64_t pending;
    int64_t dead; /* given up or gone: somebody may replay them */
};
enum err_code delivery_counts(struct catalog *catalog, struct delivery_counts *counts_out,
                              struct err *err) MUST_USE;

/*
 * Remove deliveries that ended before `before_us`; pending ones stay. A bounded step.
 *
 *   more_out  call again: there may be others
 */
enum err_code deliveries_retain(struct catalog *catalog, int64_t before_us, int64_t *removed_out,
                                bool *more_out, struct err *err) MUST_USE;
