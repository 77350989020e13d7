/*
 * Plain bytes → gzip or zstd, piece by piece, for files and bodies that we send.
 *
 * The same bytes in give the same bytes out, however they were cut into pieces
 * and whenever it was: no time stamp, no name, and the compressors are fed
 * blocks of one size. (Another release of zlib or libzstd may differ.)
 * What comes out is what inflate.h takes.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"
#include "storage/columns/inflate.h"

enum {
    DEFLATE_BLOCK_BYTES = 128 << 10, /* fed to a compressor at a time */
    DEFLATE_GZIP_LEVEL = 6,
    DEFLATE_ZSTD_LEVEL = 3, /* a window of 2 MiB: within INFLATE_ZSTD_WINDOW_LOG_MAX */
};

struct deflater; /* one stream; one thread at a time */

/*
 *   encoding  CONTENT_IDENTITY passes bytes on as they are
 * Memory:  deflater_close.
 * Errors:  ERR_NOMEM.
 */
enum err_code deflater_open(enum content_encoding encoding, struct deflater **deflater_out,
                            struct err *err) MUST_USE;
void deflater_close(struct deflater **deflater);

/*
 * Take `plain` and append what came out so far to `compressed`, which may be
 * nothing; the caller empties it when it likes.
 * Errors:  ERR_NOMEM; ERR_TOO_LARGE the ceiling of `compressed`.
 */
enum err_code deflater_write(struct deflater *deflater, struct span plain,
                             struct buffer *compressed, struct err *err) MUST_USE;

/* Append the rest. The stream takes nothing more; still close it. Errors: as deflater_write. */
enum err_code deflater_finish(struct deflater *deflater, struct buffer *compressed,
                              struct err *err) MUST_USE;
