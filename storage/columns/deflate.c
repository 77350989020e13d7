/*
 * Content-Encoding, outbound: gzip by zlib and zstd. See deflate.h.
 */
#include "storage/columns/deflate.h"

#include "storage/base/mem.h"

#include <assert.h>
#define ZLIB_CONST /* input stays const */
#include <zlib.h>
#include <zstd.h>

enum {
    GZIP_WINDOW_BITS = 15 + 16, /* 32 KiB window, gzip wrapper (zlib.h deflateInit2) */
    GZIP_MEMORY_LEVEL = 8,
    GZIP_OS_UNKNOWN = 255,
    STEP_BYTES = 64 << 10, /* room made for each call of a compressor */
};

struct deflater {
    enum content_encoding encoding;
    struct buffer block; /* bytes not yet fed; never a whole block */
    z_stream gzip;
    bool has_gzip;
    gz_header header; /* zlib reads it with the first block */
    ZSTD_CCtx *zstd;
    bool finished;
};

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a compressor");
}

/* ---- opening ---- */

/* spec: RFC 1952 section 2.3.1 — MTIME 0 says that no time stamp is available */
static enum err_code open_gzip(struct deflater *deflater, struct err *err)
{
    int result = deflateInit2(&deflater->gzip, DEFLATE_GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS,
                              GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    if (result != Z_OK) {
        return no_memory(err);
    }
    deflater->has_gzip = true;
    deflater->header = (gz_header){.time = 0, .os = GZIP_OS_UNKNOWN};
    result = deflateSetHeader(&deflater->gzip, &deflater->header);
    assert(result == Z_OK);
    return ERR_OK;
}

static enum err_code open_zstd(struct deflater *deflater, struct err *err)
{
    deflater->zstd = ZSTD_createCCtx();
    if (deflater->zstd == NULL) {
        return no_memory(err);
    }
    size_t level =
        ZSTD_CCtx_setParameter(deflater->zstd, ZSTD_c_compressionLevel, DEFLATE_ZSTD_LEVEL);
    size_t checksum = ZSTD_CCtx_setParameter(deflater->zstd, ZSTD_c_checksumFlag, 1);
    assert(!ZSTD_isError(level));
    assert(!ZSTD_isError(checksum));
    return ERR_OK;
}

enum err_code deflater_open(enum content_encoding encoding, struct deflater **deflater_out,
                            struct err *err)
{
    CLEANUP(deflater_close) struct deflater *deflater = mem_zeroed(1, sizeof *deflater);
    deflater->encoding = encoding;
    buffer_init(&deflater->block, DEFLATE_BLOCK_BYTES);
    if (encoding == CONTENT_GZIP) {
        TRY(open_gzip(deflater, err));
    } else if (encoding == CONTENT_ZSTD) {
        TRY(open_zstd(deflater, err));
    }
    *deflater_out = deflater;
    deflater = NULL;
    return ERR_OK;
}

void deflater_close(struct deflater **deflater)
{
    if (*deflater == NULL) {
        return;
    }
    if ((*deflater)->has_gzip) {
        (void)deflateEnd(&(*deflater)->gzip); /* only reports what was left unwritten */
    }
    (void)ZSTD_freeCCtx((*deflater)->zstd); /* accepts NULL; cannot fail */
    buffer_deinit(&(*deflater)->block);
    mem_free(*deflater);
    *deflater = NULL;
}

/* ---- feeding ---- */

static enum err_code feed_gzip(struct deflater *deflater, struct span block, bool last,
                               struct buffer *compressed, struct err *err)
{
    z_stream *stream = &deflater->gzip;
    stream->next_in = block.data;
    stream->avail_in = (uInt)block.size;
    for (;;) {
        stream->next_out = buffer_reserve(compressed, STEP_BYTES);
        if (stream->next_out == NULL) {
            return buffer_check(compressed, "compressed bytes", err);
        }
        stream->avail_out = STEP_BYTES;
        int result = deflate(stream, last ? Z_FINISH : Z_NO_FLUSH);
        assert(result != Z_STREAM_ERROR);
        buffer_advance(compressed, STEP_BYTES - stream->avail_out);
        if (last ? result == Z_STREAM_END : stream->avail_in == 0 && stream->avail_out > 0) {
            return ERR_OK;
        }
    }
}

static enum err_code feed_zstd(struct deflater *deflater, struct span block, bool last,
                               struct buffer *compressed, struct err *err)
{
    ZSTD_inBuffer input = {.src = block.data, .size = block.size};
    for (;;) {
        uint8_t *room = buffer_reserve(compressed, STEP_BYTES);
        if (room == NULL) {
            return buffer_check(compressed, "compressed bytes", err);
        }
        ZSTD_outBuffer output = {.dst = room, .size = STEP_BYTES};
        size_t left = ZSTD_compressStream2(deflater->zstd, &output, &input,
                                           last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            return no_memory(err);
        }
        buffer_advance(compressed, output.pos);
        if (last ? left == 0 : input.pos == input.size) {
            return ERR_OK;
        }
    }
}

static enum err_code feed(struct deflater *deflater, struct span block, bool last,
                          struct buffer *compressed, struct err *err)
{
    switch (deflater->encoding) {
    case CONTENT_GZIP:
        return feed_gzip(deflater, block, last, compressed, err);
    case CONTENT_ZSTD:
        return feed_zstd(deflater, block, last, compressed, err);
    case CONTENT_IDENTITY:
        break;
    }
    buffer_append_span(compressed, block);
    return buffer_check(compressed, "bytes", err);
}

enum err_code deflater_write(struct deflater *deflater, struct span plain,
                             struct buffer *compressed, struct err *err)
{
    assert(!deflater->finished);
    while (plain.size > 0) {
        size_t room = DEFLATE_BLOCK_BYTES - deflater->block.size;
        size_t size = plain.size < room ? plain.size : room;
        buffer_append(&deflater->block, plain.data, size);
        plain = span_of(plain.data + size, plain.size - size);
        if (deflater->block.size == DEFLATE_BLOCK_BYTES) {
            TRY(feed(deflater, buffer_span(&deflater->block), false, compressed, err));
            buffer_reset(&deflater->block);
        }
    }
    return ERR_OK;
}

enum err_code deflater_finish(struct deflater *deflater, struct buffer *compressed, struct err *err)
{
    assert(!deflater->finished);
    deflater->finished = true;
    return feed(deflater, buffer_span(&deflater->block), true, compressed, err);
}
