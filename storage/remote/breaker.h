/*
 * Circuit breakers: one for each origin we talk to. Closed, calls pass and are
 * counted; after 5 failures in a row, or when half of the calls of the last minute
 * failed, it opens and calls are refused at once; when its time is over it lets one
 * probe through, and closes or opens for longer by that probe's outcome.
 *
 * remote_call does all of this by itself; others use it for what is not HTTP.
 * Thread:  any, for every function; none blocks or does I/O.
 */
#pragma once

#include "storage/base/err.h"
#include "storage/remote/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BREAKER_NAME_BYTES = URL_ORIGIN_BYTES, /* with NUL */
    BREAKER_REASON_BYTES = 64,
    BREAKERS_MAX =
        1024, /* the one longest without a call makes room, unless it is open or in use */
    BREAKER_WINDOW_SLOTS = 12,
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* "closed", "open", "half_open". */
const char *breaker_state_name(enum breaker_state state);

/* Zero means the default in brackets. */
struct breakers_options {
    int failures_in_a_row;   /* open after so many [5] */
    int failure_percent;     /* … or when this part of the window's calls failed [50] … */
    int window_calls_min;    /* … of at least so many [20] */
    int64_t window_us;       /* [60 s] */
    int64_t open_us;         /* first time open, doubled by each failed probe [5 s] */
    int64_t open_us_max;     /* [5 min] */
    int64_t (*now_us)(void); /* monotonic [clock_monotonic_us] */
    uint64_t (*random_below)(uint64_t limit); /* for jitter [secret_random_below] */
    /* Called after each change of state, without a lock; for logs. May be NULL. */
    void (*changed)(void *arg, const char *name, enum breaker_state state, const char *reason);
    void *changed_arg;
};

struct breakers;

struct breakers *breakers_new(const struct breakers_options *options);
/* No pass may be out. Accepts NULL inside; nulls. */
void breakers_free(struct breakers **breakers);

/* Permission for one call; embedded by the caller, given back by breaker_leave. */
struct breaker_pass {
    struct breaker *breaker; /* NULL = none is held */
    uint64_t generation; /* an outcome from before a reset or a change of state is not counted */
    bool probe;
    int64_t retry_after_us; /* after ERR_BUSY: how long to wait, > 0 */
};

/*
 * Ask before a call.
 *
 *   name  of the origin (url_origin), at most BREAKER_NAME_BYTES - 1 bytes
 *   pass  holds a permission after ERR_OK; after ERR_BUSY only retry_after_us is set
 *
 * Errors:  ERR_BUSY open, or a probe is under way (message names the breaker, the reason
 *          and how long to wait); too many breakers in use.
 */
enum err_code breaker_enter(struct breakers *breakers, const char *name, struct breaker_pass *pass,
                            struct err *err) MUST_USE;

enum breaker_outcome {
    BREAKER_SUCCESS,
    BREAKER_FAILURE,
    BREAKER_UNKNOWN, /* says nothing about the other side: cancelled, refused by ourselves */
};

/*
 * Tell the outcome, exactly once per permission; a pass that holds none is ignored.
 *
 *   reason          of a failure, short and free of secrets ("status 503"); NULL otherwise
 *   retry_after_us  the other side asks to wait so long: it stays open at least that long
 *                   (at most open_us_max); <= 0 = says nothing
 */
void breaker_leave(struct breakers *breakers, struct breaker_pass *pass,
                   enum breaker_outcome outcome, const char *reason, int64_t retry_after_us);

/* What is shown of one. */
struct breaker_view {
    char name[BREAKER_NAME_BYTES];
    enum breaker_state state;
    int64_t calls_count;    /* of the window */
    int64_t failures_count; /* of the window */
    int64_t failures_in_a_row;
    int64_t opened_count;              /* since the process started or the breaker was forgotten */
    int64_t retry_after_us;            /* open: until the probe may pass; 0 otherwise */
    int64_t changed_us;                /* since the last change of state */
    char reason[BREAKER_REASON_BYTES]; /* of the last failure; "" = none yet */
};

/*
 * In order of name, at most `limit`, from the first after `after_name` (NULL = start).
 * Returns how many were written.
 */
size_t breaker_list(struct breakers *breakers, const char *after_name, size_t limit,
                    struct breaker_view *views_out);

/* Errors: ERR_NOT_FOUND. */
enum err_code breaker_get(struct breakers *breakers, const char *name,
                          struct breaker_view *view_out, struct err *err) MUST_USE;

/* Close it and forget its failures; outcomes of calls under way are not counted. Errors:
 * ERR_NOT_FOUND. */
enum err_code breaker_reset(struct breakers *breakers, const char *name, struct err *err) MUST_USE;
