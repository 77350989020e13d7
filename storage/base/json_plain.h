/*
 * The longest runs of JSON strings are plain ASCII: how long is the one here?
 * Shared by those who write and those who read strings at speed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Length of the run at the start that stands for itself in a JSON string and is
 * ASCII: no quote, no backslash, no control character.
 */
static inline size_t json_plain_run(const uint8_t *data, size_t size)
{
    const uint64_t ones = 0x0101010101010101U;
    const uint64_t tops = 0x8080808080808080U;
    size_t at = 0;
    for (; size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, data + at, sizeof word);
        uint64_t quote = word ^ ones * '"';
        uint64_t backslash = word ^ ones * '\\';
        /* the lowest flag is exact; higher ones may be borrowed from it */
        uint64_t flags = (((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                          ((backslash - ones) & ~backslash) | word) &
                         tops;
        if (flags != 0) {
            return at + (size_t)__builtin_ctzll(flags) / 8;
        }
    }
    while (at < size && data[at] >= 0x20 && data[at] < 0x80 && data[at] != '"' &&
           data[at] != '\\') {
        at++;
    }
    return at;
}
