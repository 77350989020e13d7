/*
 * UTF-8 (RFC 3629). See text.h for the contract.
 */
#include "storage/base/text.h"

#include <string.h>

/* The top bit of each of eight bytes: set in every byte that is not ASCII. */
static const uint64_t high_bits = 0x8080808080808080U;

/* Length of the ASCII run at the start; the common case of all our text. */
static size_t ascii_run(const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (size - at >= 2 * sizeof(uint64_t)) {
        uint64_t words[2];
        memcpy(words, data + at, sizeof words);
        if (((words[0] | words[1]) & high_bits) != 0) {
            break;
        }
        at += sizeof words;
    }
    while (at < size && data[at] < 0x80) {
        at++;
    }
    return at;
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* spec: RFC 3629 4 — UTF8-3: no overlong forms (E0), no surrogates (ED) */
static bool is_three_bytes(const uint8_t *b)
{
    uint8_t low = b[0] == 0xe0 ? 0xa0 : 0x80;
    uint8_t high = b[0] == 0xed ? 0x9f : 0xbf;
    return b[1] >= low && b[1] <= high && is_continuation(b[2]);
}

/* spec: RFC 3629 4 — UTF8-4: no overlong forms (F0), nothing above U+10FFFF (F4) */
static bool is_four_bytes(const uint8_t *b)
{
    uint8_t low = b[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = b[0] == 0xf4 ? 0x8f : 0xbf;
    return b[1] >= low && b[1] <= high && is_continuation(b[2]) && is_continuation(b[3]);
}

size_t text_utf8_sequence(struct span text)
{
    const uint8_t *b = text.data;
    if (text.size >= 1 && b[0] < 0x80) {
        return 1;
    }
    if (text.size >= 2 && b[0] >= 0xc2 && b[0] <= 0xdf) {
        return is_continuation(b[1]) ? 2 : 0;
    }
    if (text.size >= 3 && b[0] >= 0xe0 && b[0] <= 0xef) {
        return is_three_bytes(b) ? 3 : 0;
    }
    if (text.size >= 4 && b[0] >= 0xf0 && b[0] <= 0xf4) {
        return is_four_bytes(b) ? 4 : 0;
    }
    return 0;
}

bool text_is_utf8(struct span text, size_t *bad_offset_out)
{
    size_t at = 0;
    while (at < text.size) {
        at += ascii_run(text.data + at, text.size - at);
        while (at < text.size && text.data[at] >= 0x80) {
            size_t size = text_utf8_sequence(span_of(text.data + at, text.size - at));
            if (size == 0) {
                *bad_offset_out = at;
                return false;
            }
            at += size;
        }
    }
    return true;
}

size_t text_code_points(struct span utf8)
{
    size_t count = 0;
    for (size_t i = 0; i < utf8.size; i++) {
        count += !is_continuation(utf8.data[i]);
    }
    return count;
}
