/*
 * gzip or zstd → plain bytes, step by step, for files and streams that need not
 * fit in memory. Bodies of requests, which do, go through inflate.h.
 *
 * However small or large the steps are, the same bytes come out. Memory is one
 * window: 32 KiB of gzip, at most 128 MiB of zstd (what its own tool takes unasked).
 */
#pragma once

#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/inflate.h"

#include <stddef.h>
#include <stdint.h>

enum { INFLATER_ZSTD_WINDOW_LOG_MAX = 27 };

struct inflater; /* one stream; one thread at a time */

/*
 *   encoding  CONTENT_IDENTITY passes bytes on as they are
 * Memory:  inflater_close.
 * Errors:  ERR_NOMEM.
 */
enum err_code inflater_open(enum content_encoding encoding, struct inflater **inflater_out,
                            struct err *err) MUST_USE;
/* Accepts NULL inside; nulls. */
void inflater_close(struct inflater **inflater);

/*
 * Inflate from the start of `*compressed`, which moves on behind what was taken in.
 *
 *   out, room  where plain bytes go; room > 0
 *   size_out   how many came; 0 only when `*compressed` is used up and nothing is left
 *              inside: give more, or end
 *
 * Errors:  ERR_INVALID damaged, or followed by what is not of this encoding (at which byte is
 *          in the message); ERR_TOO_LARGE a window over the limit; ERR_NOMEM.
 */
enum err_code inflater_step(struct inflater *inflater, struct span *compressed, uint8_t *out,
                            size_t room, size_t *size_out, struct err *err) MUST_USE;

/* There is nothing more to take in: was that all of it? Errors: ERR_INVALID cut off. */
enum err_code inflater_end(const struct inflater *inflater, struct err *err) MUST_USE;

/* Which encoding the first bytes of a stream show (4 are enough); CONTENT_IDENTITY when none. */
enum content_encoding inflate_detect(struct span start);
