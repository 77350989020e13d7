/*
 * gzip content encoding over zlib. See gunzip.h for the contract.
 */
#define ZLIB_CONST
#include "storage/remote/gunzip.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <zlib.h>

enum { PIECE_BYTES = 64 << 10, GZIP_WINDOW_BITS = 15 + 16 };

struct gunzip {
    z_stream stream;
    bool complete; /* at the end of a member */
    uint8_t piece[PIECE_BYTES];
};

struct gunzip *gunzip_new(void)
{
    struct gunzip *gunzip = mem_zeroed(1, sizeof *gunzip);
    int result = inflateInit2(&gunzip->stream, GZIP_WINDOW_BITS);
    assert(result == Z_OK);
    return gunzip;
}

void gunzip_free(struct gunzip **gunzip)
{
    if (*gunzip != NULL) {
        (void)inflateEnd(&(*gunzip)->stream); /* only says that the state was in order */
        mem_free(*gunzip);
        *gunzip = NULL;
    }
}

/* One call of inflate and what it gave. */
static enum err_code inflate_piece(struct gunzip *gunzip, gunzip_take_fn *take, void *arg,
                                   struct err *err)
{
    z_stream *stream = &gunzip->stream;
    stream->next_out = gunzip->piece;
    stream->avail_out = PIECE_BYTES;
    int result = inflate(stream, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return err_set(err, ERR_IO, "the answer's gzip encoding is damaged");
    }
    gunzip->complete = result == Z_STREAM_END;
    struct span piece = span_of(gunzip->piece, PIECE_BYTES - stream->avail_out);
    return piece.size > 0 ? take(arg, piece, err) : ERR_OK;
}

enum err_code gunzip_push(struct gunzip *gunzip, struct span bytes, gunzip_take_fn *take, void *arg,
                          struct err *err)
{
    assert(bytes.size <= UINT_MAX);
    z_stream *stream = &gunzip->stream;
    stream->next_in = bytes.data;
    stream->avail_in = (uInt)bytes.size;
    /* a full piece may have left output behind even when the input is used up */
    while (stream->avail_in > 0 || stream->avail_out == 0) {
        if (gunzip->complete) {
            if (stream->avail_in == 0) {
                break;
            }
            int result = inflateReset(stream);
            assert(result == Z_OK);
            gunzip->complete = false;
        }
        TRY(inflate_piece(gunzip, take, arg, err));
    }
    return ERR_OK;
}

enum err_code gunzip_end(const struct gunzip *gunzip, struct err *err)
{
    if (!gunzip->complete) {
        return err_set(err, ERR_IO, "the answer's gzip encoding was cut short");
    }
    return ERR_OK;
}
