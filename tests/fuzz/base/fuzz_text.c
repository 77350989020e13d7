/*
 * The text parsers: what is accepted must format to text that reads back as the
 * same value; decoders must undo their encoders.
 */
#include "storage/base/id.h"
#include "storage/base/text.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_integer(struct span text)
{
    int64_t value = 0;
    int64_t back = 0;
    if (text_parse_int64(text, &value)) {
        char formatted[TEXT_DOUBLE_BYTES];
        size_t size = text_format_int64(value, formatted);
        assert(text_parse_int64(span_of(formatted, size), &back) && back == value);
    }
}

static void try_double(struct span text)
{
    double value = 0;
    double back = 0;
    if (!text_parse_double(text, &value)) {
        return;
    }
    char formatted[TEXT_DOUBLE_BYTES];
    size_t size = text_format_double(value, formatted);
    assert(text_parse_double(span_of(formatted, size), &back));
    assert(memcmp(&back, &value, sizeof value) == 0);
    if (text.size < 1000) {
        char copy[1000] = {0};
        memcpy(copy, text.data, text.size);
        assert(strtod(copy, NULL) == value);
    }
}

static void try_decimal(struct span text, int precision, int scale)
{
    __int128 value = 0;
    __int128 back = 0;
    if (text_parse_decimal(text, precision, scale, &value)) {
        char formatted[TEXT_DECIMAL_BYTES];
        size_t size = text_format_decimal(value, scale, formatted);
        assert(text_parse_decimal(span_of(formatted, size), precision, scale, &back));
        assert(back == value);
    }
}

static void try_calendar(struct span text)
{
    char formatted[TEXT_TIMESTAMP_BYTES];
    int32_t days = 0;
    int32_t days_back = 0;
    int64_t us = 0;
    int64_t us_back = 0;
    if (text_parse_date(text, &days)) {
        size_t size = text_format_date(days, formatted);
        assert(span_equal(text, span_of(formatted, size)));
        assert(text_parse_date(span_of(formatted, size), &days_back) && days_back == days);
    }
    if (text_parse_timestamp(text, &us)) {
        size_t size = text_format_timestamp(us, formatted);
        assert(text_parse_timestamp(span_of(formatted, size), &us_back) && us_back == us);
    }
    if (text_parse_timestamp_ntz(text, &us)) {
        size_t size = text_format_timestamp_ntz(us, formatted);
        assert(text_parse_timestamp_ntz(span_of(formatted, size), &us_back) && us_back == us);
    }
}

/* Any bytes as a number of days and microseconds. */
static void try_format(struct span bytes)
{
    int64_t us = 0;
    char formatted[TEXT_TIMESTAMP_BYTES];
    if (bytes.size >= sizeof us) {
        memcpy(&us, bytes.data, sizeof us);
        assert(text_format_timestamp(us, formatted) < TEXT_TIMESTAMP_BYTES);
        assert(text_format_date((int32_t)us, formatted) < TEXT_TIMESTAMP_BYTES);
    }
}

typedef bool (*decode_fn)(struct span text, struct buffer *bytes);
typedef void (*encode_fn)(struct span bytes, struct buffer *text);

static void try_encoding(struct span bytes, encode_fn encode, decode_fn decode)
{
    CLEANUP(buffer_deinit) struct buffer encoded;
    CLEANUP(buffer_deinit) struct buffer decoded;
    buffer_init(&encoded, SIZE_MAX);
    buffer_init(&decoded, SIZE_MAX);
    encode(bytes, &encoded);
    assert(decode(buffer_span(&encoded), &decoded));
    assert(span_equal(buffer_span(&decoded), bytes));

    /* and the input as somebody else's encoding: one value has one text */
    buffer_reset(&decoded);
    buffer_reset(&encoded);
    if (decode(bytes, &decoded)) {
        encode(buffer_span(&decoded), &encoded);
        assert(encoded.size == bytes.size);
    }
}

static void try_percent(struct span text)
{
    CLEANUP(buffer_deinit) struct buffer decoded;
    CLEANUP(buffer_deinit) struct buffer encoded;
    CLEANUP(buffer_deinit) struct buffer again;
    buffer_init(&decoded, SIZE_MAX);
    buffer_init(&encoded, SIZE_MAX);
    buffer_init(&again, SIZE_MAX);
    if (text_percent_decode(text, true, &decoded)) {
        text_percent_encode(buffer_span(&decoded), "", &encoded);
        assert(text_percent_decode(buffer_span(&encoded), false, &again));
        assert(span_equal(buffer_span(&decoded), buffer_span(&again)));
    }
}

static void try_utf8(struct span text)
{
    size_t bad = 0;
    if (text_is_utf8(text, &bad)) {
        assert(text_code_points(text) <= text.size);
        return;
    }
    assert(bad < text.size);
    assert(text_utf8_sequence(span_of(text.data + bad, text.size - bad)) == 0);
    size_t ignored = 0;
    assert(text_is_utf8(span_of(text.data, bad), &ignored));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    struct id id;
    try_integer(text);
    try_double(text);
    try_decimal(text, 38, 0);
    try_decimal(text, 38, 38);
    try_decimal(text, 9, 2);
    try_calendar(text);
    try_format(text);
    try_encoding(text, text_base64_encode, text_base64_decode);
    try_encoding(text, text_base64url_encode, text_base64url_decode);
    try_encoding(text, text_hex_encode, text_hex_decode);
    try_percent(text);
    try_utf8(text);
    assert(!id_parse(text, &id) || strlen(id.text) == ID_TEXT_BYTES - 1);
    return 0;
}
