/*
 * Odd values as text. See odd_text.h.
 * Source: parquet-format LogicalTypes.md "TIME", "INTERVAL", "UUID", "FLOAT16".
 */
#include "storage/parquet/odd_text.h"

#include "storage/parquet/format.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NANOSECONDS_PER_SECOND INT64_C(1000000000)

enum { SECONDS_PER_DAY = 86400 };

/* What snprintf wrote, which always fits. */
static size_t written(int size)
{
    assert(size > 0);
    assert(size < ODD_TEXT_BYTES_MAX);
    return (size_t)size;
}

bool odd_time_text(int64_t time, int unit, char text_out[ODD_TEXT_BYTES_MAX], size_t *size_out)
{
    int64_t per_second = unit == PARQUET_UNIT_MILLIS   ? 1000
                         : unit == PARQUET_UNIT_MICROS ? 1000000
                                                       : NANOSECONDS_PER_SECOND;
    if (time < 0 || time >= SECONDS_PER_DAY * per_second) {
        return false;
    }
    int seconds = (int)(time / per_second);
    int64_t nanoseconds = time % per_second * (NANOSECONDS_PER_SECOND / per_second);
    size_t size = written(snprintf(text_out, ODD_TEXT_BYTES_MAX, "%02d:%02d:%02d", seconds / 3600,
                                   seconds / 60 % 60, seconds % 60));
    if (nanoseconds % 1000 != 0) {
        size += written(
            snprintf(text_out + size, ODD_TEXT_BYTES_MAX - size, ".%09" PRId64, nanoseconds));
    } else if (nanoseconds != 0) {
        size += written(snprintf(text_out + size, ODD_TEXT_BYTES_MAX - size, ".%06" PRId64,
                                 nanoseconds / 1000));
    }
    *size_out = size;
    return true;
}

size_t odd_interval_text(const uint8_t bytes[ODD_INTERVAL_BYTES], char text_out[ODD_TEXT_BYTES_MAX])
{
    uint32_t parts[3];
    memcpy(parts, bytes, sizeof parts);
    return written(snprintf(text_out, ODD_TEXT_BYTES_MAX,
                            "P%" PRIu32 "M%" PRIu32 "DT%" PRIu32 ".%03" PRIu32 "S", parts[0],
                            parts[1], parts[2] / 1000, parts[2] % 1000));
}

size_t odd_uuid_text(const uint8_t bytes[ODD_UUID_BYTES], char text_out[ODD_TEXT_BYTES_MAX])
{
    static const char digits[] = "0123456789abcdef";
    size_t size = 0;
    for (size_t i = 0; i < ODD_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text_out[size++] = '-';
        }
        text_out[size++] = digits[bytes[i] >> 4];
        text_out[size++] = digits[bytes[i] & 15];
    }
    return size;
}

double odd_float16(const uint8_t bytes[ODD_FLOAT16_BYTES])
{
    enum { EXPONENT_MAX = 31, FRACTION_BITS = 10, BIAS = 15 };
    unsigned bits = bytes[0] | (unsigned)bytes[1] << 8;
    int exponent = (int)(bits >> FRACTION_BITS & EXPONENT_MAX);
    int fraction = (int)(bits & ((1U << FRACTION_BITS) - 1));
    double magnitude = 0;
    if (exponent == EXPONENT_MAX) {
        magnitude = fraction == 0 ? (double)INFINITY : (double)NAN;
    } else if (exponent == 0) {
        magnitude = ldexp(fraction, 1 - BIAS - FRACTION_BITS);
    } else {
        magnitude = ldexp(fraction + (1 << FRACTION_BITS), exponent - BIAS - FRACTION_BITS);
    }
    return bits >> 15 != 0 ? -magnitude : magnitude;
}
