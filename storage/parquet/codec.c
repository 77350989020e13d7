/*
 * Page compression. See codec.h for the contract.
 * Source: parquet-format Compression.md.
 */
#include "storage/parquet/codec.h"

#include "storage/base/cursor.h"
#include "storage/parquet/format.h"

#include <assert.h>
#include <lz4.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    ZSTD_LEVEL = 1,
    GZIP_WINDOW_BITS = 15 + 32, /* zlib's "gzip or zlib header, find out" */
    LZ4_HADOOP_HEAD_BYTES = 8,
};

void codec_deinit(struct codec *codec)
{
    ZSTD_freeCCtx(codec->zstd_packer);
    ZSTD_freeDCtx(codec->zstd_unpacker);
    *codec = (struct codec){0};
}

void codec_pack_zstd(struct codec *codec, struct span raw, struct buffer *out)
{
    if (codec->zstd_packer == NULL) {
        codec->zstd_packer = ZSTD_createCCtx();
        assert(codec->zstd_packer != NULL);
    }
    size_t bound = ZSTD_compressBound(raw.size);
    uint8_t *target = buffer_reserve(out, bound);
    if (target == NULL) {
        return; /* sticky in the buffer */
    }
    size_t size =
        ZSTD_compressCCtx(codec->zstd_packer, target, bound, raw.data, raw.size, ZSTD_LEVEL);
    assert(!ZSTD_isError(size)); /* the bound was given; nothing else can fail */
    buffer_advance(out, size);
}

static bool unpack_zstd(struct codec *codec, struct span packed, uint8_t *raw, size_t raw_size)
{
    if (codec->zstd_unpacker == NULL) {
        codec->zstd_unpacker = ZSTD_createDCtx();
        assert(codec->zstd_unpacker != NULL);
    }
    size_t size =
        ZSTD_decompressDCtx(codec->zstd_unpacker, raw, raw_size, packed.data, packed.size);
    return !ZSTD_isError(size) && size == raw_size;
}

static bool unpack_snappy(struct span packed, uint8_t *raw, size_t raw_size)
{
    size_t size = 0;
    const char *source = (const char *)packed.data;
    if (snappy_uncompressed_length(source, packed.size, &size) != SNAPPY_OK || size != raw_size) {
        return false;
    }
    return snappy_uncompress(source, packed.size, (char *)raw, &size) == SNAPPY_OK &&
           size == raw_size;
}

/* Several members may follow each other; each starts a fresh stream. */
static bool inflate_members(z_stream *stream)
{
    for (;;) {
        int result = inflate(stream, Z_NO_FLUSH);
        if (result != Z_STREAM_END) {
            return false;
        }
        if (stream->avail_in == 0 || stream->avail_out == 0) {
            return stream->avail_out == 0;
        }
        if (inflateReset(stream) != Z_OK) {
            return false;
        }
    }
}

static bool unpack_gzip(struct span packed, uint8_t *raw, size_t raw_size)
{
    union {
        const uint8_t *given;
        uint8_t *taken; /* zlib only reads through it */
    } input = {.given = packed.data};
    z_stream stream = {.next_in = input.taken,
                       .avail_in = (uInt)packed.size,
                       .next_out = raw,
                       .avail_out = (uInt)raw_size};
    if (inflateInit2(&stream, GZIP_WINDOW_BITS) != Z_OK) {
        return false;
    }
    bool ok = inflate_members(&stream);
    (void)inflateEnd(&stream); /* frees; the result was judged above */
    return ok;
}

static bool unpack_lz4_block(struct span packed, uint8_t *raw, size_t raw_size)
{
    if (packed.size > INT32_MAX || raw_size > INT32_MAX) {
        return false;
    }
    int size = LZ4_decompress_safe((const char *)packed.data, (char *)raw, (int)packed.size,
                                   (int)raw_size);
    return size >= 0 && (size_t)size == raw_size;
}

/* Hadoop's framing: big-endian raw and packed size before each block. */
static bool unpack_lz4_hadoop(struct span packed, uint8_t *raw, size_t raw_size)
{
    struct cursor in = cursor_of(packed);
    size_t done = 0;
    while (cursor_left(&in) >= LZ4_HADOOP_HEAD_BYTES) {
        uint32_t block_raw = cursor_u32_big_endian(&in);
        uint32_t block_packed = cursor_u32_big_endian(&in);
        struct span block = cursor_bytes(&in, block_packed);
        if (in.failed || block_raw > raw_size - done ||
            !unpack_lz4_block(block, raw + done, block_raw)) {
            return false;
        }
        done += block_raw;
    }
    return cursor_left(&in) == 0 && done == raw_size;
}

static bool unpack_lz4_frame(struct span packed, uint8_t *raw, size_t raw_size)
{
    LZ4F_dctx *context = NULL;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
        return false;
    }
    size_t done = 0;
    size_t taken = 0;
    size_t hint = 1;
    while (hint != 0 && taken < packed.size) {
        size_t out = raw_size - done;
        size_t in = packed.size - taken;
        hint = LZ4F_decompress(context, raw + done, &out, packed.data + taken, &in, NULL);
        if (LZ4F_isError(hint) || (out == 0 && in == 0)) {
            hint = 1;
            break;
        }
        done += out;
        taken += in;
    }
    (void)LZ4F_freeDecompressionContext(context); /* frees; nothing to learn */
    return hint == 0 && done == raw_size;
}

/* The deprecated codec was written in three ways; a wrong guess does not unpack to the size. */
static bool unpack_lz4(struct span packed, uint8_t *raw, size_t raw_size)
{
    return unpack_lz4_hadoop(packed, raw, raw_size) || unpack_lz4_frame(packed, raw, raw_size) ||
           unpack_lz4_block(packed, raw, raw_size);
}

static bool copy(struct span packed, uint8_t *raw, size_t raw_size)
{
    if (packed.size != raw_size) {
        return false;
    }
    if (raw_size > 0) {
        memcpy(raw, packed.data, raw_size);
    }
    return true;
}

bool codec_may_unpack(int method, size_t packed_size, size_t raw_size)
{
    enum {
        SNAPPY_RATIO = 22,    /* a copy of 64 bytes takes three */
        DEFLATE_RATIO = 1032, /* a copy of 258 bytes takes two bits */
        LZ4_RATIO = 255,      /* one more byte of a length */
        ZSTD_RATIO = 43691,   /* a block of 128 KiB takes three bytes */
    };
    switch (method) {
    case PARQUET_UNCOMPRESSED:
        return packed_size == raw_size;
    case PARQUET_SNAPPY:
        return raw_size / SNAPPY_RATIO <= packed_size;
    case PARQUET_GZIP:
        return raw_size / DEFLATE_RATIO <= packed_size;
    case PARQUET_LZ4:
    case PARQUET_LZ4_RAW:
        return raw_size / LZ4_RATIO <= packed_size;
    case PARQUET_ZSTD:
        return raw_size / ZSTD_RATIO <= packed_size;
    default:
        return true;
    }
}

enum err_code codec_unpack(struct codec *codec, int method, struct span packed, uint8_t *raw_out,
                           size_t raw_size, struct err *err)
{
    bool ok = false;
    switch (method) {
    case PARQUET_UNCOMPRESSED:
        ok = copy(packed, raw_out, raw_size);
        break;
    case PARQUET_SNAPPY:
        ok = unpack_snappy(packed, raw_out, raw_size);
        break;
    case PARQUET_GZIP:
        ok = unpack_gzip(packed, raw_out, raw_size);
        break;
    case PARQUET_LZ4:
        ok = unpack_lz4(packed, raw_out, raw_size);
        break;
    case PARQUET_ZSTD:
        ok = unpack_zstd(codec, packed, raw_out, raw_size);
        break;
    case PARQUET_LZ4_RAW:
        ok = unpack_lz4_block(packed, raw_out, raw_size);
        break;
    default:
        return err_set(err, ERR_UNSUPPORTED, "codec %s (%d) is not supported",
                       parquet_codec_name(method), method);
    }
    if (!ok) {
        return err_set(err, ERR_CORRUPT, "%s body of %zu bytes does not unpack to %zu bytes",
                       parquet_codec_name(method), packed.size, raw_size);
    }
    return ERR_OK;
}

uint32_t codec_checksum(struct span bytes)
{
    return (uint32_t)crc32(0, bytes.data, (uInt)bytes.size);
}
