/*
 * The tap puts a guard between a connection's socket and libmicrohttpd, and keeps
 * the absolute deadlines of connections.
 *
 * libmicrohttpd parses what it reads before anybody is asked, so the guard must sit
 * below it. The tap does that by defining the two functions through which the
 * library reads, recv(2) and gnutls_record_recv: the dynamic linker binds the
 * library's calls to the program's definitions (ELF symbol interposition, as memory
 * allocators do it). Descriptors that are not tapped pass straight through.
 * tap_start proves that the binding holds, and every request is checked against
 * the guard's count of heads, so a build in which it does not hold cannot serve.
 *
 * Deadlines are absolute, because an inactivity timeout is reset by every byte of a
 * slow client. One thread closes what is overdue with shutdown(2).
 */
#pragma once

#include "server/guard.h"
#include "storage/base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap_options {
    int64_t head_ms;               /* from the first byte of a head (or the accept) to its end */
    int64_t body_ms;               /* grace of a body, to which each byte received adds time … */
    int64_t body_bytes_per_second; /* … at this rate */
};

/* One tapped connection; owned by tap.c from tap_open to tap_close. */
struct tap;

/* Check the binding, start the thread of deadlines. Errors: ERR_UNSUPPORTED not bound. */
enum err_code tap_start(const struct tap_options *options, struct err *err) MUST_USE;
void tap_stop(void);

/*
 * A connection was accepted, nothing has been read. Called by the thread that will
 * read it. Returns NULL when the descriptor is beyond the table: close it.
 */
struct tap *tap_open(int fd, bool is_tls);

/* It is about to be closed; what the client still sends is drained for a moment. */
void tap_close(struct tap **tap);

/* Read-only, by the connection's thread. */
const struct guard *tap_guard(const struct tap *tap);

/* See guard_end_body; by the connection's thread. */
void tap_end_body(struct tap *tap);

/* The answer must be taken by the client until `deadline_us`; 0 = no deadline. Any thread. */
void tap_set_deadline(struct tap *tap, int64_t deadline_us);
