/*
 * Codecs: what the libraries pack unpacks to the stated size and no other.
 */
#include "storage/parquet/codec.h"
#include "storage/base/mem.h"
#include "storage/parquet/format.h"
#include "tests/unit/storage/parquet/samples.h"

#include <criterion/criterion.h>

#include <string.h>

enum { RAW_BYTES = 10000 };

static void fill(uint8_t *raw)
{
    for (size_t i = 0; i < RAW_BYTES; i++) {
        raw[i] = (uint8_t)(sample_random(3, i / 7) % 11);
    }
}

Test(codec, zstd_round_trips_and_sizes_must_agree)
{
    CLEANUP(codec_deinit) struct codec codec = {0};
    CLEANUP(buffer_deinit) struct buffer packed;
    buffer_init(&packed, 1 << 20);
    uint8_t raw[RAW_BYTES];
    uint8_t again[RAW_BYTES + 1];
    fill(raw);
    codec_pack_zstd(&codec, span_of(raw, RAW_BYTES), &packed);
    cr_expect_lt(packed.size, RAW_BYTES / 2);
    struct err err = {0};
    cr_assert_eq(codec_unpack(&codec, PARQUET_ZSTD, buffer_span(&packed), again, RAW_BYTES, &err),
                 ERR_OK);
    cr_expect_arr_eq(raw, again, RAW_BYTES);
    static const size_t wrong[] = {RAW_BYTES - 1, RAW_BYTES + 1, 1};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(
            codec_unpack(&codec, PARQUET_ZSTD, buffer_span(&packed), again, wrong[i], &err),
            ERR_CORRUPT);
    }
    packed.size--;
    cr_expect_eq(codec_unpack(&codec, PARQUET_ZSTD, buffer_span(&packed), again, RAW_BYTES, &err),
                 ERR_CORRUPT);
}

/* "abcdefgh" twenty times, or once, as other programs packed it. */
Test(codec, unpacks_other_writers_forms)
{
    static const struct {
        const char *name;
        int method;
        uint8_t bytes[80];
        size_t size;
        size_t raw_size;
    } cases[] = {
        {"snappy", PARQUET_SNAPPY, {0x08, 0x1c, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}, 10, 8},
        {"gzip",
         PARQUET_GZIP,
         {0x1f, 0x8b, 0x08, 0,    0,    0,    0,    0,    0,    0x03, 0x4b, 0x4c, 0x4a, 0x4e,
          0x49, 0x4d, 0x4b, 0xcf, 0x00, 0x00, 0x50, 0x2a, 0xef, 0xae, 0x08, 0,    0,    0},
         28,
         8},
        {"two gzip members",
         PARQUET_GZIP,
         {0x1f, 0x8b, 0x08, 0,    0,    0,    0,    0,    0,    0x03, 0x4b, 0x4c, 0x4a, 0x4e,
          0x49, 0x4d, 0x4b, 0xcf, 0x00, 0x00, 0x50, 0x2a, 0xef, 0xae, 0x08, 0,    0,    0,
          0x1f, 0x8b, 0x08, 0,    0,    0,    0,    0,    0,    0x03, 0x4b, 0x4c, 0x4a, 0x4e,
          0x49, 0x4d, 0x4b, 0xcf, 0x00, 0x00, 0x50, 0x2a, 0xef, 0xae, 0x08, 0,    0,    0},
         56,
         16},
        {"raw lz4", PARQUET_LZ4_RAW, {0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}, 9, 8},
        {"raw lz4 under the old name",
         PARQUET_LZ4,
         {0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'},
         9,
         8},
        {"hadoop lz4",
         PARQUET_LZ4,
         {0, 0, 0, 8, 0, 0, 0, 9, 0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'},
         17,
         8},
        {"two hadoop lz4 blocks",
         PARQUET_LZ4,
         {0, 0, 0, 8, 0, 0, 0, 9, 0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h',
          0, 0, 0, 8, 0, 0, 0, 9, 0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'},
         34,
         16},
        {"nothing", PARQUET_UNCOMPRESSED, {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}, 8, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(codec_deinit) struct codec codec = {0};
        uint8_t raw[64];
        struct err err = {0};
        struct span packed = span_of(cases[i].bytes, cases[i].size);
        enum err_code code =
            codec_unpack(&codec, cases[i].method, packed, raw, cases[i].raw_size, &err);
        cr_expect_eq(code, ERR_OK, "%s: %s", cases[i].name, err.msg);
        for (size_t at = 0; code == ERR_OK && at < cases[i].raw_size; at += 8) {
            cr_expect_arr_eq(raw + at, "abcdefgh", 8, "%s", cases[i].name);
        }
        /* one byte less or more than it holds */
        cr_expect_eq(
            codec_unpack(&codec, cases[i].method, packed, raw, cases[i].raw_size - 1, &err),
            ERR_CORRUPT, "%s", cases[i].name);
        cr_expect_eq(
            codec_unpack(&codec, cases[i].method, packed, raw, cases[i].raw_size + 1, &err),
            ERR_CORRUPT, "%s", cases[i].name);
    }
}

Test(codec, names_what_it_does_not_support)
{
    CLEANUP(codec_deinit) struct codec codec = {0};
    static const struct {
        int method;
        const char *name;
    } cases[] = {{PARQUET_LZO, "LZO"}, {PARQUET_BROTLI, "BROTLI"}, {42, "42"}, {-1, "-1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        uint8_t raw[1];
        cr_expect_eq(codec_unpack(&codec, cases[i].method, span_of("x", 1), raw, 1, &err),
                     ERR_UNSUPPORTED);
        cr_expect_not_null(strstr(err.msg, cases[i].name), "%s", err.msg);
    }
}

Test(codec, claims_beyond_what_a_method_can_do_are_told)
{
    static const struct {
        int method;
        size_t packed, most;
    } cases[] = {
        {PARQUET_UNCOMPRESSED, 100, 100}, {PARQUET_SNAPPY, 100, 2221},
        {PARQUET_GZIP, 100, 104231},      {PARQUET_LZ4, 100, 25754},
        {PARQUET_LZ4_RAW, 100, 25754},    {PARQUET_ZSTD, 100, 4412790},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect(codec_may_unpack(cases[i].method, cases[i].packed, cases[i].most), "%zu", i);
        cr_expect_not(codec_may_unpack(cases[i].method, cases[i].packed, cases[i].most + 1), "%zu",
                      i);
    }
}

Test(codec, the_best_that_zstd_does_is_no_lie)
{
    enum { ZEROS = 64 << 20 };
    CLEANUP(codec_deinit) struct codec codec = {0};
    CLEANUP(mem_cleanup) uint8_t *zeros = mem_zeroed(ZEROS, 1);
    CLEANUP(buffer_deinit) struct buffer packed;
    buffer_init(&packed, 2 * ZEROS);
    codec_pack_zstd(&codec, span_of(zeros, ZEROS), &packed);
    cr_expect(codec_may_unpack(PARQUET_ZSTD, packed.size, ZEROS), "%zu", packed.size);
}
