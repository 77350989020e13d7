/*
 * Content-Encoding: a compressed body → plain bytes, with a ceiling on what
 * comes out. The only door for compressed input from outside; the only user of
 * the streaming decompressors.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum content_encoding {
    CONTENT_IDENTITY,
    CONTENT_GZIP, /* RFC 1952, any number of members */
    CONTENT_ZSTD, /* RFC 8878, any number of frames, no dictionary */
};

enum {
    INFLATE_RATIO_MAX = 100,            /* plain : compressed, the default for request bodies */
    INFLATE_RATIO_FREE_BYTES = 1 << 20, /* plain bytes to which the ratio does not apply */
    INFLATE_MEMBERS_MAX = 100000,       /* gzip members or zstd frames of one body */
    INFLATE_ZSTD_WINDOW_LOG_MAX = 23,   /* 8 MiB, what RFC 9659 lets senders use */
};

/* Name of a Content-Encoding value, any case: identity, gzip, x-gzip, zstd. */
bool content_encoding_parse(struct span name, enum content_encoding *encoding_out);

/*
 * Inflate one body.
 *
 *   bytes_max   ceiling of the plain size in bytes, > 0
 *   ratio_max   ceiling of plain : compressed size once the plain size passes
 *               INFLATE_RATIO_FREE_BYTES, > 0
 *   plain_out   initialised here; the caller calls buffer_deinit. Untouched on
 *               failure. For CONTENT_IDENTITY it is a copy: callers pass plain
 *               bodies on without coming here.
 *
 * Memory:  the plain bytes, at most min(bytes_max, ratio), and a window of 8 MiB.
 * Errors:  ERR_TOO_LARGE over bytes_max, over the ratio, too many members, a
 *          window over 8 MiB; ERR_INVALID not of this encoding, cut off, damaged,
 *          or followed by other bytes.
 * Thread:  reentrant.
 * Source:  RFC 1952, RFC 8878, RFC 9659.
 */
enum err_code inflate_body(struct span body, enum content_encoding encoding, int64_t bytes_max,
                           int ratio_max, struct buffer *plain_out, struct err *err) MUST_USE;
