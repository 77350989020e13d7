/*
 * Page compression. The only file of the room that sees the libraries.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/err.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reused contexts of one thread; created when first needed, zeroed to start. */
struct codec {
    void *zstd_packer;
    void *zstd_unpacker;
};
void codec_deinit(struct codec *codec);

/* Append `raw` to `out` as one zstd frame of level 1. */
void codec_pack_zstd(struct codec *codec, struct span raw, struct buffer *out);

/*
 * Could `packed_size` bytes unpack to `raw_size`? Asked before memory is taken for a claim.
 * True for methods that are refused anyhow.
 */
bool codec_may_unpack(int method, size_t packed_size, size_t raw_size);

/*
 * Unpack a page body to exactly `raw_size` bytes at `raw_out`; never writes more.
 *
 *   method  an enum parquet_codec from the file, any number
 *
 * Errors:  ERR_CORRUPT damaged, or another size than stated;
 *          ERR_UNSUPPORTED naming the codec.
 */
enum err_code codec_unpack(struct codec *codec, int method, struct span packed, uint8_t *raw_out,
                           size_t raw_size, struct err *err) MUST_USE;

/* CRC-32 (the one of gzip) of a page body, as page headers carry it. */
uint32_t codec_checksum(struct span bytes);
