/*
 * Base64, hex and percent-encoding. See text.h for the contract.
 */
#include "storage/base/text.h"

#include <assert.h>
#include <string.h>

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of each character of the two alphabets plus one; 0 for strangers. */
#define LETTER_VALUES                                                                              \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,        \
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, \
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23,            \
    ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,            \
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37,            \
    ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,            \
    ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51,            \
    ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58,            \
    ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62

static const uint8_t base64_values[256] = {LETTER_VALUES, ['+'] = 63, ['/'] = 64};
static const uint8_t base64url_values[256] = {LETTER_VALUES, ['-'] = 63, ['_'] = 64};

static void encode_group(const uint8_t *in, const char *alphabet, uint8_t *out)
{
    uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    out[0] = (uint8_t)alphabet[bits >> 18];
    out[1] = (uint8_t)alphabet[bits >> 12 & 63];
    out[2] = (uint8_t)alphabet[bits >> 6 & 63];
    out[3] = (uint8_t)alphabet[bits & 63];
}

/* spec: RFC 4648 4 — groups of three bytes; a rest of n bytes gives n + 1 characters */
static void base64_encode(struct span bytes, const char *alphabet, bool padded, struct buffer *text)
{
    size_t groups = bytes.size / 3;
    size_t rest = bytes.size % 3;
    if (groups >= SIZE_MAX / 4 - 1) {
        text->overflowed = true;
        return;
    }
    size_t size = groups * 4 + (rest == 0 ? 0 : padded ? 4 : rest + 1);
    uint8_t *out = buffer_reserve(text, size);
    if (out == NULL) {
        return;
    }
    for (size_t i = 0; i < groups; i++) {
        encode_group(bytes.data + 3 * i, alphabet, out + 4 * i);
    }
    if (rest > 0) {
        uint8_t last_in[3] = {0};
        uint8_t last_out[4];
        memcpy(last_in, bytes.data + 3 * groups, rest);
        encode_group(last_in, alphabet, last_out);
        memset(last_out + rest + 1, '=', 3 - rest);
        memcpy(out + 4 * groups, last_out, size - 4 * groups);
    }
    buffer_advance(text, size);
}

/* Up to four characters to three bytes; returns how many bytes, 0 for a malformed group. */
static size_t decode_group(const uint8_t *in, size_t size, const uint8_t values[256], uint8_t *out)
{
    assert(size <= 4);
    uint32_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t value = values[in[i]];
        if (value == 0) {
            return 0;
        }
        bits |= (uint32_t)(value - 1) << (18 - 6 * i);
    }
    /* one character carries no whole byte; bits beyond the last whole byte must be zero */
    if (size < 2 || (bits & 0xffffffU >> 8 * (size - 1)) != 0) {
        return 0;
    }
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    return size - 1;
}

static bool base64_decode(struct span text, const uint8_t values[256], struct buffer *bytes)
{
    if (text.size == 0) {
        return true;
    }
    size_t groups = (text.size - 1) / 4; /* all but the last, which may be short */
    const uint8_t *rest = text.data + 4 * groups;
    size_t rest_size = text.size - 4 * groups;
    size_t size = groups * 3 + rest_size * 3 / 4;
    uint8_t *out = buffer_reserve(bytes, size);
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < groups; i++) {
        if (decode_group(text.data + 4 * i, 4, values, out + 3 * i) != 3) {
            return false;
        }
    }
    uint8_t last[3];
    size_t last_size = decode_group(rest, rest_size, values, last);
    if (last_size == 0) {
        return false;
    }
    memcpy(out + groups * 3, last, last_size);
    buffer_advance(bytes, size);
    return true;
}

void text_base64_encode(struct span bytes, struct buffer *text)
{
    base64_encode(bytes, base64_alphabet, true, text);
}

bool text_base64_decode(struct span text, struct buffer *bytes)
{
    if (text.size % 4 != 0) {
        return false;
    }
    size_t size = text.size;
    for (size_t padding = 0; padding < 2 && size > 0 && text.data[size - 1] == '='; padding++) {
        size--;
    }
    return base64_decode(span_of(text.data, size), base64_values, bytes);
}

void text_base64url_encode(struct span bytes, struct buffer *text)
{
    base64_encode(bytes, base64url_alphabet, false, text);
}

bool text_base64url_decode(struct span text, struct buffer *bytes)
{
    return base64_decode(text, base64url_values, bytes);
}

static const char hex_digits[] = "0123456789abcdef";

/* The value of a hexadecimal digit of either case, or -1. */
static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    uint8_t lower = digit | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte of two hexadecimal digits, or -1. */
static int hex_byte(const uint8_t *digits)
{
    int high = hex_value(digits[0]);
    int low = hex_value(digits[1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void text_hex_encode(struct span bytes, struct buffer *text)
{
    for (size_t i = 0; i < bytes.size; i++) {
        const char digits[2] = {hex_digits[bytes.data[i] >> 4], hex_digits[bytes.data[i] & 15]};
        buffer_append(text, digits, sizeof digits);
    }
}

bool text_hex_decode(struct span text, struct buffer *bytes)
{
    if (text.size % 2 != 0) {
        return false;
    }
    uint8_t *out = buffer_reserve(bytes, text.size / 2);
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.size / 2; i++) {
        int byte = hex_byte(text.data + 2 * i);
        if (byte < 0) {
            return false;
        }
        out[i] = (uint8_t)byte;
    }
    buffer_advance(bytes, text.size / 2);
    return true;
}

/* spec: RFC 3986 2.3 — unreserved characters are never escaped */
static bool is_unreserved(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c) != NULL);
}

void text_percent_encode(struct span bytes, const char *keep, struct buffer *text)
{
    static const char upper_digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        if (is_unreserved(byte) || (byte != '\0' && strchr(keep, byte) != NULL)) {
            buffer_append_byte(text, byte);
        } else {
            const char escape[3] = {'%', upper_digits[byte >> 4], upper_digits[byte & 15]};
            buffer_append(text, escape, sizeof escape);
        }
    }
}

/* One character or escape of `text` at *at, which moves past it; -1 when malformed. */
static int percent_next(struct span text, bool plus_is_space, size_t *at)
{
    uint8_t c = text.data[(*at)++];
    if (c == '%') {
        int byte = text.size - *at < 2 ? -1 : hex_byte(text.data + *at);
        *at += 2;
        return byte == 0 ? -1 : byte;
    }
    if (c == '\0') {
        return -1;
    }
    return c == '+' && plus_is_space ? ' ' : c;
}

bool text_percent_decode(struct span text, bool plus_is_space, struct buffer *bytes)
{
    uint8_t *out = buffer_reserve(bytes, text.size);
    if (out == NULL) {
        return false;
    }
    size_t size = 0;
    for (size_t at = 0; at < text.size; size++) {
        int byte = percent_next(text, plus_is_space, &at);
        if (byte < 0) {
            return false;
        }
        out[size] = (uint8_t)byte;
    }
    buffer_advance(bytes, size);
    return true;
}
