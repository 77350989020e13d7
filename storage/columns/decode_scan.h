/*
 * The byte scans under the decoders, sixteen bytes a step where the machine has
 * SSE2 (every x86-64 does) and byte by byte elsewhere. Both forms stop at the
 * same byte; private to the decoders, split_scan.c and encode_csv.c.
 */
#pragma once

#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { SCAN_STEP = 16 };

/*
 * Every scan starts at `p`, never reads at or past `readable_end`, and returns
 * the first byte that stops it, or `readable_end`. `high` is set, never cleared,
 * when a byte passed over is not ASCII.
 */

static inline bool scan_json_stops(uint8_t byte)
{
    return byte == '"' || byte == '\\' || byte < 0x20;
}

static inline bool scan_csv_stops(uint8_t byte)
{
    return byte == ',' || byte == '"' || byte == '\n' || byte == '\r' || byte == 0;
}

#if defined(__SSE2__)

static inline __m128i scan_load(const uint8_t *p)
{
    /* an unaligned load; the cast is what the intrinsic asks for */
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline unsigned scan_json_mask(__m128i bytes)
{
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));
}

static inline unsigned scan_csv_mask(__m128i bytes)
{
    __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i feed = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
    __m128i carriage = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r'));
    __m128i zero = _mm_cmpeq_epi8(bytes, _mm_setzero_si128());
    __m128i ends = _mm_or_si128(_mm_or_si128(feed, carriage), zero);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(comma, quote), ends));
}

#define SCAN_STEPS(mask_of)                                                                        \
    while ((size_t)(readable_end - p) >= SCAN_STEP) {                                              \
        __m128i bytes = scan_load(p);                                                              \
        unsigned stops = mask_of(bytes);                                                           \
        unsigned highs = (unsigned)_mm_movemask_epi8(bytes);                                       \
        if (stops != 0) {                                                                          \
            unsigned before = (stops & (~stops + 1U)) - 1U;                                        \
            *high |= (highs & before) != 0;                                                        \
            return p + __builtin_ctz(stops);                                                       \
        }                                                                                          \
        *high |= highs != 0;                                                                       \
        p += SCAN_STEP;                                                                            \
    }
#else
#define SCAN_STEPS(mask_of)
#endif

/* To the first quote, backslash or control character. */
static inline const uint8_t *scan_json_text(const uint8_t *p, const uint8_t *readable_end,
                                            bool *high)
{
    SCAN_STEPS(scan_json_mask)
    while (p < readable_end && !scan_json_stops(*p)) {
        *high |= *p >= 0x80;
        p++;
    }
    return p;
}

/* To the first comma, quote, line end or NUL. */
static inline const uint8_t *scan_csv_text(const uint8_t *p, const uint8_t *readable_end,
                                           bool *high)
{
    SCAN_STEPS(scan_csv_mask)
    while (p < readable_end && !scan_csv_stops(*p)) {
        *high |= *p >= 0x80;
        p++;
    }
    return p;
}

#undef SCAN_STEPS

static inline bool scan_is_ascii(struct span text)
{
    const uint8_t *p = text.data;
    size_t left = text.size;
    uint64_t high = 0;
    for (; left >= sizeof high; left -= sizeof high, p += sizeof high) {
        uint64_t word = 0;
        memcpy(&word, p, sizeof word);
        high |= word;
    }
    for (; left > 0; left--, p++) {
        high |= *p;
    }
    return (high & UINT64_C(0x8080808080808080)) == 0;
}

/* Do the `size` bytes at `p` (of which `readable` may be read) equal those of `text`? */
static inline bool scan_equals(const uint8_t *p, size_t readable, const uint8_t *text, size_t size)
{
    return readable >= size && memcmp(p, text, size) == 0;
}
