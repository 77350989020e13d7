/*
 * Content-Encoding, inbound: gzip by zlib and zstd, both streamed into a buffer
 * whose ceiling is known before the first byte comes out.
 */
#include "storage/columns/inflate.h"

#include <assert.h>
#include <strings.h>
#define ZLIB_CONST /* input stays const */
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    STEP_BYTES_MIN = 64 << 10,  /* room made at least before each call of a decompressor */
    GZIP_WINDOW_BITS = 15 + 16, /* 32 KiB window, gzip wrapper only (zlib.h inflateInit2) */
};

bool content_encoding_parse(struct span name, enum content_encoding *encoding_out)
{
    static const struct {
        const char *name;
        enum content_encoding encoding;
    } known[] = {
        {"identity", CONTENT_IDENTITY},
        {"gzip", CONTENT_GZIP},
        {"x-gzip", CONTENT_GZIP}, /* spec: RFC 9110 section 8.4.1.3 — the same as gzip */
        {"zstd", CONTENT_ZSTD},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (name.size == strlen(known[i].name) &&
            strncasecmp((const char *)name.data, known[i].name, name.size) == 0) {
            *encoding_out = known[i].encoding;
            return true;
        }
    }
    return false;
}

/* ---- the ceiling -------------------------------------------------------------- */

/* What may come out of one body, and which of the two limits says so. */
struct inflate_limit {
    size_t bytes_max;
    bool by_ratio;
    int ratio_max;
};

static struct inflate_limit limit_of(struct span body, int64_t bytes_max, int ratio_max)
{
    struct inflate_limit limit = {.bytes_max = (size_t)bytes_max, .ratio_max = ratio_max};
    size_t by_ratio = 0;
    if (__builtin_mul_overflow(body.size, (size_t)ratio_max, &by_ratio)) {
        return limit;
    }
    if (by_ratio < INFLATE_RATIO_FREE_BYTES) {
        by_ratio = INFLATE_RATIO_FREE_BYTES;
    }
    if (by_ratio < limit.bytes_max) {
        limit.bytes_max = by_ratio;
        limit.by_ratio = true;
    }
    return limit;
}

static enum err_code over_limit(const struct inflate_limit *limit, struct err *err)
{
    if (limit->by_ratio) {
        return err_set(err, ERR_TOO_LARGE,
                       "the body grows more than %d times when inflated; post it less compressed",
                       limit->ratio_max);
    }
    return err_set(err, ERR_TOO_LARGE, "the inflated body has more than %zu bytes",
                   limit->bytes_max);
}

/*
 * Room for the next step, one byte more than the limit at most, so that the
 * step that passes it is seen. NULL once it is passed.
 */
static uint8_t *next_room(struct buffer *plain, const struct inflate_limit *limit, size_t *room_out)
{
    if (plain->size > limit->bytes_max) {
        return NULL;
    }
    size_t left = limit->bytes_max + 1 - plain->size;
    size_t room = plain->size > STEP_BYTES_MIN ? plain->size : STEP_BYTES_MIN; /* doubling */
    *room_out = room < left ? room : left;
    return buffer_reserve(plain, *room_out);
}

static enum err_code count_member(int *members, struct err *err)
{
    if (++*members > INFLATE_MEMBERS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the compressed body has more than %d parts",
                       INFLATE_MEMBERS_MAX);
    }
    return ERR_OK;
}

/* ---- gzip --------------------------------------------------------------------- */

static void stream_end(z_stream *stream)
{
    (void)inflateEnd(stream); /* only reports misuse */
}

static enum err_code gzip_fault(int result, const z_stream *stream, struct err *err)
{
    if (result == Z_MEM_ERROR) {
        return err_set(err, ERR_NOMEM, "no memory for inflating gzip");
    }
    return err_set(err, ERR_INVALID, "the gzip body is damaged at byte %lu: %s", stream->total_in,
                   stream->msg != NULL ? stream->msg : "not gzip data");
}

/* One call of inflate; `ended_out` says that a member ended with it. */
static enum err_code gzip_step(z_stream *stream, struct buffer *plain,
                               const struct inflate_limit *limit, bool *ended_out, struct err *err)
{
    size_t room = 0;
    stream->next_out = next_room(plain, limit, &room);
    if (stream->next_out == NULL) {
        return over_limit(limit, err);
    }
    stream->avail_out = (uInt)room;
    int result = inflate(stream, Z_NO_FLUSH);
    buffer_advance(plain, room - stream->avail_out);
    if (result == Z_BUF_ERROR && stream->avail_in == 0) {
        return err_set(err, ERR_INVALID, "the gzip body is cut off");
    }
    if (result != Z_OK && result != Z_STREAM_END) {
        return gzip_fault(result, stream, err);
    }
    *ended_out = result == Z_STREAM_END;
    return ERR_OK;
}

/* spec: RFC 1952 section 2.2 — a file is a series of members, one after the other */
static enum err_code inflate_gzip(struct span body, const struct inflate_limit *limit,
                                  struct buffer *plain, struct err *err)
{
    CLEANUP(stream_end)
    z_stream stream = {
        .next_in = body.data,
        .avail_in = (uInt)body.size,
    };
    int result = inflateInit2(&stream, GZIP_WINDOW_BITS);
    if (result != Z_OK) {
        return gzip_fault(result, &stream, err);
    }
    int members = 1;
    for (;;) {
        bool ended = false;
        TRY(gzip_step(&stream, plain, limit, &ended, err));
        if (ended && stream.avail_in == 0) {
            return ERR_OK;
        }
        if (ended) {
            TRY(count_member(&members, err));
            (void)inflateReset(&stream); /* fails for a broken stream only, and this one ended */
        }
    }
}

/* ---- zstd --------------------------------------------------------------------- */

static void context_free(ZSTD_DCtx **context)
{
    (void)ZSTD_freeDCtx(*context); /* accepts NULL, cannot fail */
}

static enum err_code zstd_fault(size_t result, size_t position, struct err *err)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_frameParameter_windowTooLarge:
        return err_set(err, ERR_TOO_LARGE,
                       "the zstd body needs a window over %d bytes; compress it at level 19 or "
                       "less, without --long and --ultra",
                       1 << INFLATE_ZSTD_WINDOW_LOG_MAX);
    case ZSTD_error_memory_allocation:
        return err_set(err, ERR_NOMEM, "no memory for inflating zstd");
    default:
        return err_set(err, ERR_INVALID, "the zstd body is damaged at byte %zu: %s", position,
                       ZSTD_getErrorName(result));
    }
}

/* One call of the decompressor; `ended_out` says that a frame ended with it. */
static enum err_code zstd_step(ZSTD_DCtx *context, ZSTD_inBuffer *input, struct buffer *plain,
                               const struct inflate_limit *limit, bool *ended_out, struct err *err)
{
    size_t room = 0;
    uint8_t *target = next_room(plain, limit, &room);
    if (target == NULL) {
        return over_limit(limit, err);
    }
    ZSTD_outBuffer output = {.dst = target, .size = room};
    size_t before = input->pos;
    size_t result = ZSTD_decompressStream(context, &output, input);
    if (ZSTD_isError(result)) {
        return zstd_fault(result, input->pos, err);
    }
    buffer_advance(plain, output.pos);
    *ended_out = result == 0;
    bool stuck = output.pos == 0 && input->pos == before;
    if (!*ended_out && input->pos == input->size && (stuck || output.pos < room)) {
        return err_set(err, ERR_INVALID, "the zstd body is cut off");
    }
    return ERR_OK;
}

/* spec: RFC 8878 section 3 — one or more frames, skippable ones among them */
static enum err_code inflate_zstd(struct span body, const struct inflate_limit *limit,
                                  struct buffer *plain, struct err *err)
{
    CLEANUP(context_free) ZSTD_DCtx *context = ZSTD_createDCtx();
    if (context == NULL) {
        return err_set(err, ERR_NOMEM, "no memory for inflating zstd");
    }
    size_t result =
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, INFLATE_ZSTD_WINDOW_LOG_MAX);
    assert(!ZSTD_isError(result)); /* a constant within zstd's bounds */
    ZSTD_inBuffer input = {.src = body.data, .size = body.size};
    int members = 1;
    for (;;) {
        bool ended = false;
        TRY(zstd_step(context, &input, plain, limit, &ended, err));
        if (ended && input.pos == input.size) {
            return ERR_OK;
        }
        if (ended) {
            TRY(count_member(&members, err));
        }
    }
}

/* ---- bodies ------------------------------------------------------------------- */

static enum err_code inflate_into(struct span body, enum content_encoding encoding,
                                  const struct inflate_limit *limit, struct buffer *plain,
                                  struct err *err)
{
    switch (encoding) {
    case CONTENT_IDENTITY:
        if (body.size > limit->bytes_max) {
            return over_limit(limit, err);
        }
        buffer_append_span(plain, body);
        return ERR_OK;
    case CONTENT_GZIP:
        return inflate_gzip(body, limit, plain, err);
    case CONTENT_ZSTD:
        return inflate_zstd(body, limit, plain, err);
    }
    assert(false && "a content_encoding");
    return ERR_INVALID;
}

enum err_code inflate_body(struct span body, enum content_encoding encoding, int64_t bytes_max,
                           int ratio_max, struct buffer *plain_out, struct err *err)
{
    assert(bytes_max > 0);
    assert(ratio_max > 0);
    if (body.size > UINT32_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the compressed body has more than %u bytes",
                       UINT32_MAX);
    }
    const struct inflate_limit limit = limit_of(body, bytes_max, ratio_max);
    CLEANUP(buffer_deinit) struct buffer plain;
    buffer_init(&plain, limit.bytes_max + 1);
    TRY(inflate_into(body, encoding, &limit, &plain, err));
    if (plain.size > limit.bytes_max) {
        return over_limit(&limit, err);
    }
    plain.size_max = limit.bytes_max > plain.capacity ? limit.bytes_max : plain.capacity;
    *plain_out = plain;
    plain = (struct buffer){0};
    return ERR_OK;
}
