/*
 * Text of values that Parquet has a type for and frames have not: times of day,
 * intervals, UUIDs. Nothing is lost: each text says the value exactly.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ODD_TEXT_BYTES_MAX = 48,
    ODD_INTERVAL_BYTES = 12,
    ODD_UUID_BYTES = 16,
    ODD_FLOAT16_BYTES = 2,
};

/*
 * "hh:mm:ss", with six digits of a fraction when there is one, nine when it is no whole µs.
 *
 *   unit  enum parquet_unit
 *
 * False outside of one day.
 */
bool odd_time_text(int64_t time, int unit, char text_out[ODD_TEXT_BYTES_MAX], size_t *size_out);

/* ISO 8601 "P14M3DT0.250S": months, days and milliseconds, little endian, as they are stored. */
size_t odd_interval_text(const uint8_t bytes[ODD_INTERVAL_BYTES],
                         char text_out[ODD_TEXT_BYTES_MAX]);

/* RFC 9562, lower case. */
size_t odd_uuid_text(const uint8_t bytes[ODD_UUID_BYTES], char text_out[ODD_TEXT_BYTES_MAX]);

/* IEEE 754 binary16, little endian; exact. */
double odd_float16(const uint8_t bytes[ODD_FLOAT16_BYTES]);
