/*
 * Page bodies: values_begin/values_fit/values_next in every encoding and type,
 * values_read_dictionary, hybrid_read_*, codec_unpack with every codec. What zstd packs is unpacked
 * as it was.
 *
 * Input: type, encoding, width or length, count (2 bytes), size of the
 * dictionary page (2 bytes), then that page and the data page.
 */
#include "storage/base/cursor.h"
#include "storage/base/mem.h"
#include "storage/parquet/codec.h"
#include "storage/parquet/values.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { BATCH = 1000, CANARY = 0xa5 };

static void decode_values(const struct values_page *page)
{
    struct err err = {0};
    struct values_decoder decoder = {0};
    uint8_t *out = mem_alloc(BATCH * VALUES_SLOT_BYTES_MAX);
    if (values_begin(&decoder, page, &err) == ERR_OK) {
        size_t left = page->values_max;
        while (left > 0) {
            size_t step = left < BATCH ? left : BATCH;
            if (values_fit(&decoder, step, &step, &err) != ERR_OK) {
                break;
            }
            assert(step > 0 && step <= left);
            if (values_next(&decoder, step, out, &err) != ERR_OK) {
                break;
            }
            left -= step;
        }
    }
    values_deinit(&decoder);
    mem_free(out);
}

static void decode_levels(struct span bytes, unsigned width, size_t count)
{
    uint8_t levels[BATCH];
    uint32_t codes[BATCH];
    size_t step = count < BATCH ? count : BATCH;
    struct hybrid hybrid = hybrid_of(bytes, width % 9);
    while (hybrid_read_u8(&hybrid, levels, step) && step > 0 && count > step) {
        count -= step;
    }
    hybrid = hybrid_of(bytes, width % (HYBRID_WIDTH_MAX + 1));
    (void)hybrid_read_u32(&hybrid, codes, step);
    hybrid = hybrid_of_bit_packed(bytes, width % 9, step);
    (void)hybrid_read_u8(&hybrid, levels, step);
}

static void unpack(struct span bytes, size_t raw_size)
{
    struct codec codec = {0};
    uint8_t *raw = mem_alloc(raw_size + 1); /* a byte too many is seen */
    for (int method = PARQUET_UNCOMPRESSED; method <= PARQUET_LZ4_RAW + 1; method++) {
        struct err err = {0};
        raw[raw_size] = CANARY;
        enum err_code code = codec_unpack(&codec, method, bytes, raw, raw_size, &err);
        assert(raw[raw_size] == CANARY);
        assert(code != ERR_OK || codec_may_unpack(method, bytes.size, raw_size));
        assert(code == ERR_OK || code == ERR_CORRUPT || code == ERR_UNSUPPORTED);
    }
    mem_free(raw);
    codec_deinit(&codec);
}

static void pack(struct span bytes)
{
    struct codec codec = {0};
    struct err err = {0};
    struct buffer packed;
    buffer_init(&packed, SIZE_MAX);
    uint8_t *raw = mem_alloc(bytes.size + 1);
    codec_pack_zstd(&codec, bytes, &packed);
    enum err_code code =
        codec_unpack(&codec, PARQUET_ZSTD, buffer_span(&packed), raw, bytes.size, &err);
    assert(code == ERR_OK && span_equal(span_of(raw, bytes.size), bytes));
    mem_free(raw);
    buffer_deinit(&packed);
    codec_deinit(&codec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_of(span_of(data, size));
    uint8_t type = cursor_u8(&in);
    uint8_t encoding = cursor_u8(&in);
    uint8_t width = cursor_u8(&in);
    uint16_t count = cursor_u16(&in);
    struct span dictionary_bytes = cursor_bytes(&in, cursor_u16(&in));
    if (in.failed) {
        return 0;
    }
    struct values_page page = {.type = (enum parquet_type)(type % 8),
                               .fixed_bytes = width > 0 ? width : 1,
                               .encoding = encoding,
                               .bytes = cursor_bytes(&in, cursor_left(&in)),
                               .values_max = count};
    struct values_dictionary dictionary = {0};
    struct values_page dictionary_page = page;
    dictionary_page.bytes = dictionary_bytes;
    dictionary_page.encoding = PARQUET_PLAIN;
    dictionary_page.values_max = width;
    struct err err = {0};
    dictionary.slots = mem_alloc((size_t)(width + 1) * VALUES_SLOT_BYTES_MAX);
    dictionary.capacity = width;
    if (values_check_dictionary(&dictionary_page, &err) == ERR_OK &&
        values_read_dictionary(&dictionary, &dictionary_page, &err) == ERR_OK) {
        page.dictionary = &dictionary;
    }
    decode_values(&page);
    decode_levels(page.bytes, width, count);
    unpack(page.bytes, count);
    pack(page.bytes);
    mem_free(dictionary.slots);
    return 0;
}
