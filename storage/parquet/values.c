/*
 * Values of pages. See values.h for the contract.
 * Source: parquet-format Encodings.md.
 */
#include "storage/parquet/values.h"

#include "storage/base/mem.h"
#include "storage/parquet/reader.h"

#include <assert.h>
#include <string.h>

enum { INT96_BYTES = 12, JULIAN_DAY_OF_EPOCH = 2440588, LENGTH_BYTES = 4, STRIPE = 256 };

#define MICROSECONDS_PER_DAY UINT64_C(86400000000)

enum values_kind values_kind_of(enum parquet_type type)
{
    switch (type) {
    case PARQUET_TYPE_BOOLEAN:
        return VALUES_U8;
    case PARQUET_TYPE_INT32:
        return VALUES_I32;
    case PARQUET_TYPE_INT64:
    case PARQUET_TYPE_INT96:
        return VALUES_I64;
    case PARQUET_TYPE_FLOAT:
    case PARQUET_TYPE_DOUBLE:
        return VALUES_F64;
    case PARQUET_TYPE_BYTE_ARRAY:
    case PARQUET_TYPE_FIXED:
        return VALUES_SPANS;
    case PARQUET_TYPE_NONE:
        break;
    }
    assert(false && "a leaf has a type");
    return VALUES_U8;
}

size_t values_slot_bytes(enum values_kind kind)
{
    static const uint8_t sizes[] = {[VALUES_U8] = 1,
                                    [VALUES_I32] = 4,
                                    [VALUES_I64] = 8,
                                    [VALUES_F64] = 8,
                                    [VALUES_SPANS] = sizeof(struct span)};
    _Static_assert(sizeof(struct span) <= VALUES_SLOT_BYTES_MAX, "slots hold spans");
    return sizes[kind];
}

static enum err_code too_few(const struct values_decoder *decoder, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "page has fewer %s values of type %s than its header says",
                   parquet_encoding_name(decoder->encoding), parquet_type_name(decoder->type));
}

/* ---- PLAIN ---- */

static size_t plain_width(const struct values_decoder *decoder)
{
    switch (decoder->type) {
    case PARQUET_TYPE_INT32:
    case PARQUET_TYPE_FLOAT:
        return 4;
    case PARQUET_TYPE_INT64:
    case PARQUET_TYPE_DOUBLE:
        return 8;
    case PARQUET_TYPE_INT96:
        return INT96_BYTES;
    case PARQUET_TYPE_FIXED:
        return (size_t)decoder->fixed_bytes;
    case PARQUET_TYPE_BOOLEAN:
    case PARQUET_TYPE_BYTE_ARRAY:
    case PARQUET_TYPE_NONE:
        break;
    }
    return 0;
}

static enum err_code plain_booleans(struct values_decoder *decoder, size_t count, uint8_t *out,
                                    struct err *err)
{
    if (count > decoder->bytes.size * 8 - decoder->position) {
        return too_few(decoder, err);
    }
    const uint8_t *bits = decoder->bytes.data;
    for (size_t i = 0; i < count; i++) {
        size_t bit = decoder->position + i;
        out[i] = bits[bit >> 3] >> (bit & 7) & 1;
    }
    decoder->position += count;
    return ERR_OK;
}

static enum err_code plain_spans(struct values_decoder *decoder, size_t count, struct span *out,
                                 struct err *err)
{
    const uint8_t *data = decoder->bytes.data;
    size_t size = decoder->bytes.size;
    size_t position = decoder->position;
    for (size_t i = 0; i < count; i++) {
        if (LENGTH_BYTES > size - position) {
            return too_few(decoder, err);
        }
        uint32_t length;
        memcpy(&length, data + position, sizeof length);
        position += LENGTH_BYTES;
        if (length > size - position) {
            return too_few(decoder, err);
        }
        out[i] = span_of(data + position, length);
        position += length;
    }
    decoder->position = position;
    return ERR_OK;
}

/*
 * Nanoseconds of the day and Julian day, as Impala and Spark write them. The
 * arithmetic wraps as Spark's does: its writer wraps for years beyond 200,000,
 * and only wrapping back gives what was written.
 */
static int64_t int96_to_us(const uint8_t *bytes)
{
    int64_t nanoseconds;
    int32_t julian_day;
    memcpy(&nanoseconds, bytes, sizeof nanoseconds);
    memcpy(&julian_day, bytes + sizeof nanoseconds, sizeof julian_day);
    uint64_t days = (uint64_t)((int64_t)julian_day - JULIAN_DAY_OF_EPOCH);
    return (int64_t)(days * MICROSECONDS_PER_DAY + (uint64_t)(nanoseconds / 1000));
}

static void convert_int96(const uint8_t *bytes, size_t count, int64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = int96_to_us(bytes + i * INT96_BYTES);
    }
}

static void convert_floats(const uint8_t *bytes, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        out[i] = (double)value;
    }
}

/* Fixed-width values that lie back to back. */
static void convert_fixed(const struct values_decoder *decoder, const uint8_t *bytes, size_t count,
                          void *out)
{
    size_t width = plain_width(decoder);
    switch (decoder->type) {
    case PARQUET_TYPE_INT96:
        convert_int96(bytes, count, out);
        return;
    case PARQUET_TYPE_FLOAT:
        convert_floats(bytes, count, out);
        return;
    case PARQUET_TYPE_FIXED: {
        struct span *spans = out;
        for (size_t i = 0; i < count; i++) {
            spans[i] = span_of(bytes + i * width, width);
        }
        return;
    }
    case PARQUET_TYPE_INT32:
    case PARQUET_TYPE_INT64:
    case PARQUET_TYPE_DOUBLE:
    case PARQUET_TYPE_BOOLEAN:
    case PARQUET_TYPE_BYTE_ARRAY:
    case PARQUET_TYPE_NONE:
        break;
    }
    if (count > 0) {
        memcpy(out, bytes, count * width);
    }
}

static enum err_code next_plain(struct values_decoder *decoder, size_t count, void *out,
                                struct err *err)
{
    if (decoder->type == PARQUET_TYPE_BOOLEAN) {
        return plain_booleans(decoder, count, out, err);
    }
    if (decoder->type == PARQUET_TYPE_BYTE_ARRAY) {
        return plain_spans(decoder, count, out, err);
    }
    size_t width = plain_width(decoder);
    assert(width > 0);
    if (count > (decoder->bytes.size - decoder->position) / width) {
        return too_few(decoder, err);
    }
    const uint8_t *bytes = decoder->bytes.data + decoder->position;
    decoder->position += count * width;
    convert_fixed(decoder, bytes, count, out);
    return ERR_OK;
}

/* ---- dictionary ---- */

static bool codes_in_range(const uint32_t *codes, size_t count, size_t limit)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = codes[i] > largest ? codes[i] : largest;
    }
    return largest < limit;
}

static void look_up(const struct values_dictionary *dictionary, enum values_kind kind,
                    const uint32_t *codes, size_t count, size_t at, void *out)
{
    switch (kind) {
    case VALUES_U8:
        for (size_t i = 0; i < count; i++) {
            ((uint8_t *)out)[at + i] = ((const uint8_t *)dictionary->slots)[codes[i]];
        }
        break;
    case VALUES_I32:
        for (size_t i = 0; i < count; i++) {
            ((int32_t *)out)[at + i] = ((const int32_t *)dictionary->slots)[codes[i]];
        }
        break;
    case VALUES_I64:
    case VALUES_F64: /* as bits */
        for (size_t i = 0; i < count; i++) {
            ((int64_t *)out)[at + i] = ((const int64_t *)dictionary->slots)[codes[i]];
        }
        break;
    case VALUES_SPANS:
        for (size_t i = 0; i < count; i++) {
            ((struct span *)out)[at + i] = ((const struct span *)dictionary->slots)[codes[i]];
        }
        break;
    }
}

static enum err_code next_coded(struct values_decoder *decoder, size_t count, void *out,
                                struct err *err)
{
    uint32_t codes[STRIPE];
    enum values_kind kind = values_kind_of(decoder->type);
    for (size_t at = 0; at < count; at += STRIPE) {
        size_t step = count - at < STRIPE ? count - at : STRIPE;
        if (!hybrid_read_u32(&decoder->hybrid, codes, step)) {
            return too_few(decoder, err);
        }
        if (!codes_in_range(codes, step, decoder->dictionary->count)) {
            return err_set(err, ERR_CORRUPT, "dictionary index beyond its %zu values",
                           decoder->dictionary->count);
        }
        look_up(decoder->dictionary, kind, codes, step, at, out);
    }
    return ERR_OK;
}

/* ---- the other encodings ---- */

static enum err_code next_integers(struct values_decoder *decoder, size_t count, void *out,
                                   struct err *err)
{
    if (decoder->type == PARQUET_TYPE_INT64) {
        return delta_integers_next(&decoder->integers, out, count, err);
    }
    int32_t *narrow = out;
    int64_t wide[STRIPE];
    for (size_t at = 0; at < count; at += STRIPE) {
        size_t step = count - at < STRIPE ? count - at : STRIPE;
        TRY(delta_integers_next(&decoder->integers, wide, step, err));
        for (size_t i = 0; i < step; i++) {
            narrow[at + i] = (int32_t)wide[i];
        }
    }
    return ERR_OK;
}

/* DELTA_BYTE_ARRAY may hold FIXED values; each then has the width or the file lies. */
static enum err_code next_strings(struct values_decoder *decoder, size_t count, struct span *out,
                                  struct err *err)
{
    TRY(delta_strings_next(&decoder->strings, out, count, err));
    for (size_t i = 0; decoder->type == PARQUET_TYPE_FIXED && i < count; i++) {
        if (out[i].size != (size_t)decoder->fixed_bytes) {
            return err_set(err, ERR_CORRUPT, "value of %zu bytes in a column of %d", out[i].size,
                           decoder->fixed_bytes);
        }
    }
    return ERR_OK;
}

/* Byte k of value i is at k * stride + i: gather each value's bytes. */
static enum err_code next_split(struct values_decoder *decoder, size_t count, void *out,
                                struct err *err)
{
    size_t width = plain_width(decoder);
    if (count > decoder->stride - decoder->given) {
        return too_few(decoder, err);
    }
    if (count * width > decoder->scratch_capacity) {
        decoder->scratch = mem_resize(decoder->scratch, count, width);
        decoder->scratch_capacity = count * width;
    }
    uint8_t *joined = decoder->scratch;
    for (size_t k = 0; k < width; k++) {
        const uint8_t *stream = decoder->bytes.data + k * decoder->stride + decoder->given;
        for (size_t i = 0; i < count; i++) {
            joined[i * width + k] = stream[i];
        }
    }
    decoder->given += count;
    convert_fixed(decoder, joined, count, out);
    return ERR_OK;
}

/* ---- pages ---- */

static enum err_code unsupported(const struct values_decoder *decoder, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "encoding %s (%d) of type %s is not supported",
                   parquet_encoding_name(decoder->encoding), decoder->encoding,
                   parquet_type_name(decoder->type));
}

static enum err_code begin_coded(struct values_decoder *decoder, const struct values_page *page,
                                 struct err *err)
{
    if (page->dictionary == NULL) {
        return err_set(err, ERR_CORRUPT, "page refers to a dictionary that the column lacks");
    }
    decoder->dictionary = page->dictionary;
    if (page->bytes.size == 0) { /* a page of nulls may have no width byte; reading then fails */
        decoder->hybrid = hybrid_of(page->bytes, 1);
        return ERR_OK;
    }
    unsigned width = page->bytes.data[0];
    if (width > HYBRID_WIDTH_MAX) {
        return err_set(err, ERR_CORRUPT, "dictionary indexes of %u bits", width);
    }
    decoder->hybrid = hybrid_of(span_of(page->bytes.data + 1, page->bytes.size - 1), width);
    return ERR_OK;
}

/* Booleans as runs: a length, then the runs. */
static enum err_code begin_runs(struct values_decoder *decoder, const struct values_page *page,
                                struct err *err)
{
    if (page->type != PARQUET_TYPE_BOOLEAN) {
        return unsupported(decoder, err);
    }
    uint32_t size = 0;
    if (page->bytes.size >= LENGTH_BYTES) {
        memcpy(&size, page->bytes.data, sizeof size);
    }
    if (page->bytes.size < LENGTH_BYTES || size > page->bytes.size - LENGTH_BYTES) {
        return err_set(err, ERR_CORRUPT, "runs of booleans end past the page");
    }
    decoder->hybrid = hybrid_of(span_of(page->bytes.data + LENGTH_BYTES, size), 1);
    return ERR_OK;
}

static enum err_code begin_split(struct values_decoder *decoder, const struct values_page *page,
                                 struct err *err)
{
    size_t width = plain_width(decoder);
    if (width == 0 || page->type == PARQUET_TYPE_INT96) {
        return unsupported(decoder, err);
    }
    if (page->bytes.size % width != 0) {
        return err_set(err, ERR_CORRUPT, "split streams of %zu bytes for values of %zu",
                       page->bytes.size, width);
    }
    decoder->stride = page->bytes.size / width;
    decoder->given = 0;
    return ERR_OK;
}

static enum err_code begin_delta(struct values_decoder *decoder, const struct values_page *page,
                                 struct err *err)
{
    bool is_bytes = page->type == PARQUET_TYPE_BYTE_ARRAY;
    switch (page->encoding) {
    case PARQUET_DELTA_BINARY_PACKED:
        if (page->type != PARQUET_TYPE_INT32 && page->type != PARQUET_TYPE_INT64) {
            return unsupported(decoder, err);
        }
        return delta_integers_begin(&decoder->integers, page->bytes, page->values_max, err);
    case PARQUET_DELTA_LENGTH_BYTE_ARRAY:
        if (!is_bytes) {
            return unsupported(decoder, err);
        }
        return delta_strings_begin(&decoder->strings, page->bytes, false, page->values_max, err);
    default:
        if (!is_bytes && page->type != PARQUET_TYPE_FIXED) {
            return unsupported(decoder, err);
        }
        return delta_strings_begin(&decoder->strings, page->bytes, true, page->values_max, err);
    }
}

enum err_code values_begin(struct values_decoder *decoder, const struct values_page *page,
                           struct err *err)
{
    decoder->type = page->type;
    decoder->fixed_bytes = page->fixed_bytes;
    decoder->encoding = page->encoding;
    decoder->bytes = page->bytes;
    decoder->position = 0;
    switch (page->encoding) {
    case PARQUET_PLAIN:
        return ERR_OK;
    case PARQUET_PLAIN_DICTIONARY:
    case PARQUET_RLE_DICTIONARY:
        return begin_coded(decoder, page, err);
    case PARQUET_RLE:
        return begin_runs(decoder, page, err);
    case PARQUET_DELTA_BINARY_PACKED:
    case PARQUET_DELTA_LENGTH_BYTE_ARRAY:
    case PARQUET_DELTA_BYTE_ARRAY:
        /* a page of nulls may be empty; nothing is then asked of it */
        return page->bytes.size == 0 ? ERR_OK : begin_delta(decoder, page, err);
    case PARQUET_BYTE_STREAM_SPLIT:
        return begin_split(decoder, page, err);
    default:
        return unsupported(decoder, err);
    }
}

enum err_code values_fit(struct values_decoder *decoder, size_t count, size_t *fit_out,
                         struct err *err)
{
    if (decoder->encoding == PARQUET_DELTA_BYTE_ARRAY && decoder->bytes.size > 0) {
        return delta_strings_fit(&decoder->strings, count, fit_out, err);
    }
    *fit_out = count;
    return ERR_OK;
}

enum err_code values_next(struct values_decoder *decoder, size_t count, void *out, struct err *err)
{
    if (count == 0) {
        return ERR_OK;
    }
    if (decoder->bytes.size == 0 && decoder->encoding != PARQUET_PLAIN) {
        return too_few(decoder, err); /* the delta decoders were not begun */
    }
    switch (decoder->encoding) {
    case PARQUET_PLAIN:
        return next_plain(decoder, count, out, err);
    case PARQUET_RLE:
        return hybrid_read_u8(&decoder->hybrid, out, count) ? ERR_OK : too_few(decoder, err);
    case PARQUET_DELTA_BINARY_PACKED:
        return next_integers(decoder, count, out, err);
    case PARQUET_DELTA_LENGTH_BYTE_ARRAY:
    case PARQUET_DELTA_BYTE_ARRAY:
        return next_strings(decoder, count, out, err);
    case PARQUET_BYTE_STREAM_SPLIT:
        return next_split(decoder, count, out, err);
    default:
        return next_coded(decoder, count, out, err);
    }
}

void values_deinit(struct values_decoder *decoder)
{
    delta_strings_deinit(&decoder->strings);
    mem_free(decoder->scratch);
    *decoder = (struct values_decoder){0};
}

enum err_code values_check_dictionary(const struct values_page *page, struct err *err)
{
    if (page->encoding != PARQUET_PLAIN && page->encoding != PARQUET_PLAIN_DICTIONARY) {
        return err_set(err, ERR_UNSUPPORTED, "dictionary page of encoding %s (%d)",
                       parquet_encoding_name(page->encoding), page->encoding);
    }
    if (page->values_max > PARQUET_DICTIONARY_VALUES_MAX) {
        return err_set(err, ERR_UNSUPPORTED, "dictionary of %zu values; the limit is %d",
                       page->values_max, PARQUET_DICTIONARY_VALUES_MAX);
    }
    /* a value takes what its type does, so that a lie about the count costs no memory */
    size_t least = page->type == PARQUET_TYPE_BOOLEAN ? page->bytes.size * 8 : page->bytes.size;
    const struct values_decoder decoder = {.type = page->type, .fixed_bytes = page->fixed_bytes};
    size_t width = page->type == PARQUET_TYPE_BYTE_ARRAY ? LENGTH_BYTES : plain_width(&decoder);
    if (page->values_max > (width > 0 ? least / width : least)) {
        return err_set(err, ERR_CORRUPT, "dictionary of %zu values in %zu bytes", page->values_max,
                       page->bytes.size);
    }
    return ERR_OK;
}

enum err_code values_read_dictionary(struct values_dictionary *dictionary,
                                     const struct values_page *page, struct err *err)
{
    assert(page->values_max <= dictionary->capacity);
    struct values_decoder decoder = {.type = page->type,
                                     .fixed_bytes = page->fixed_bytes,
                                     .encoding = PARQUET_PLAIN,
                                     .bytes = page->bytes};
    dictionary->count = 0;
    TRY(next_plain(&decoder, page->values_max, dictionary->slots, err));
    dictionary->count = page->values_max;
    return ERR_OK;
}
