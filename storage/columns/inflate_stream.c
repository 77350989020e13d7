/*
 * gzip by zlib and zstd, in steps. See inflate_stream.h.
 */
#include "storage/columns/inflate_stream.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#define ZLIB_CONST /* input stays const */
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { GZIP_WINDOW_BITS = 15 + 16 /* 32 KiB window, gzip wrapper only (zlib.h inflateInit2) */ };

struct inflater {
    enum content_encoding encoding;
    int64_t taken;   /* compressed bytes so far */
    bool is_between; /* behind a whole member or frame: the stream may end here */
    bool is_empty;   /* nothing was taken in yet */
    z_stream gzip;
    bool has_gzip;
    ZSTD_DCtx *zstd;
};

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a decompressor");
}

enum err_code inflater_open(enum content_encoding encoding, struct inflater **inflater_out,
                            struct err *err)
{
    CLEANUP(inflater_close) struct inflater *inflater = mem_zeroed(1, sizeof *inflater);
    inflater->encoding = encoding;
    inflater->is_empty = true;
    if (encoding == CONTENT_GZIP) {
        if (inflateInit2(&inflater->gzip, GZIP_WINDOW_BITS) != Z_OK) {
            return no_memory(err);
        }
        inflater->has_gzip = true;
    }
    if (encoding == CONTENT_ZSTD) {
        inflater->zstd = ZSTD_createDCtx();
        if (inflater->zstd == NULL) {
            return no_memory(err);
        }
        size_t result = ZSTD_DCtx_setParameter(inflater->zstd, ZSTD_d_windowLogMax,
                                               INFLATER_ZSTD_WINDOW_LOG_MAX);
        assert(!ZSTD_isError(result)); /* a constant within zstd's bounds */
    }
    *inflater_out = inflater;
    inflater = NULL;
    return ERR_OK;
}

void inflater_close(struct inflater **inflater)
{
    if (*inflater == NULL) {
        return;
    }
    if ((*inflater)->has_gzip) {
        (void)inflateEnd(&(*inflater)->gzip); /* only reports misuse */
    }
    (void)ZSTD_freeDCtx((*inflater)->zstd); /* accepts NULL, cannot fail */
    mem_free(*inflater);
    *inflater = NULL;
}

/* ---- steps ---- */

/* One call of zlib. spec: RFC 1952 section 2.2 — a file is a series of members */
static enum err_code gzip_step(struct inflater *inflater, struct span input, uint8_t *out,
                               size_t room, size_t *used_out, size_t *size_out, struct err *err)
{
    z_stream *stream = &inflater->gzip;
    if (inflater->is_between) {
        (void)inflateReset(stream); /* fails for a broken stream only, and this one ended */
    }
    stream->next_in = input.data;
    stream->avail_in = input.size < UINT_MAX ? (uInt)input.size : UINT_MAX;
    stream->next_out = out;
    stream->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
    size_t offered = stream->avail_in;
    size_t space = stream->avail_out;
    int result = inflate(stream, Z_NO_FLUSH);
    *used_out = offered - stream->avail_in;
    *size_out = space - stream->avail_out;
    if (result == Z_MEM_ERROR) {
        return no_memory(err);
    }
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return err_set(err, ERR_INVALID, "the gzip data is damaged at byte %" PRId64 ": %s",
                       inflater->taken + (int64_t)*used_out,
                       stream->msg != NULL ? stream->msg : "not gzip data");
    }
    inflater->is_between = result == Z_STREAM_END;
    return ERR_OK;
}

static enum err_code zstd_fault(const struct inflater *inflater, size_t result, struct err *err)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        return err_set(err, ERR_TOO_LARGE,
                       "the zstd data needs a window over %d MiB; compress it without --ultra and "
                       "--long",
                       (1 << INFLATER_ZSTD_WINDOW_LOG_MAX) >> 20);
    case ZSTD_error_memory_allocation:
        return no_memory(err);
    default:
        return err_set(err, ERR_INVALID, "the zstd data is damaged after byte %" PRId64 ": %s",
                       inflater->taken, ZSTD_getErrorName(result));
    }
}

/* One call of zstd. spec: RFC 8878 section 3 — frames, skippable ones among them */
static enum err_code zstd_step(struct inflater *inflater, struct span input, uint8_t *out,
                               size_t room, size_t *used_out, size_t *size_out, struct err *err)
{
    ZSTD_inBuffer in = {.src = input.data, .size = input.size};
    ZSTD_outBuffer target = {.dst = out, .size = room};
    size_t result = ZSTD_decompressStream(inflater->zstd, &target, &in);
    if (ZSTD_isError(result)) {
        return zstd_fault(inflater, result, err);
    }
    *used_out = in.pos;
    *size_out = target.pos;
    inflater->is_between = result == 0;
    return ERR_OK;
}

static enum err_code step(struct inflater *inflater, struct span input, uint8_t *out, size_t room,
                          size_t *used_out, size_t *size_out, struct err *err)
{
    switch (inflater->encoding) {
    case CONTENT_GZIP:
        return gzip_step(inflater, input, out, room, used_out, size_out, err);
    case CONTENT_ZSTD:
        return zstd_step(inflater, input, out, room, used_out, size_out, err);
    case CONTENT_IDENTITY:
        break;
    }
    *used_out = input.size < room ? input.size : room;
    *size_out = *used_out;
    if (*used_out > 0) {
        memcpy(out, input.data, *used_out);
    }
    inflater->is_between = true;
    return ERR_OK;
}

enum err_code inflater_step(struct inflater *inflater, struct span *compressed, uint8_t *out,
                            size_t room, size_t *size_out, struct err *err)
{
    assert(room > 0);
    size_t used = 0;
    size_t size = 0;
    do {
        /* behind a whole member nothing is left inside, and a new one must have a first byte */
        if (compressed->size == 0 && (inflater->is_between || inflater->is_empty)) {
            break;
        }
        TRY(step(inflater, *compressed, out, room, &used, &size, err));
        inflater->is_empty = inflater->is_empty && used == 0;
        inflater->taken += (int64_t)used;
        *compressed = span_of(compressed->data + used, compressed->size - used);
    } while (size == 0 && used > 0);
    *size_out = size;
    return ERR_OK;
}

enum err_code inflater_end(const struct inflater *inflater, struct err *err)
{
    if (inflater->is_between || inflater->encoding == CONTENT_IDENTITY) {
        return ERR_OK;
    }
    return err_set(err, ERR_INVALID, "the %s data is cut off after %" PRId64 " bytes",
                   inflater->encoding == CONTENT_GZIP ? "gzip" : "zstd", inflater->taken);
}

enum content_encoding inflate_detect(struct span start)
{
    /* spec: RFC 1952 section 2.3.1 — ID1, ID2, and CM 8; RFC 8878 sections 3.1.1 and 3.1.2 */
    if (start.size >= 3 && memcmp(start.data, "\x1f\x8b\x08", 3) == 0) {
        return CONTENT_GZIP;
    }
    if (start.size >= 4 &&
        (memcmp(start.data, "\x28\xb5\x2f\xfd", 4) == 0 ||
         (memcmp(start.data + 1, "\x2a\x4d\x18", 3) == 0 && (start.data[0] & 0xf0) == 0x50))) {
        return CONTENT_ZSTD;
    }
    return CONTENT_IDENTITY;
}
