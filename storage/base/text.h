/*
 * Text forms: UTF-8, numbers, base64, hex, percent-encoding and the
 * calendar. Every conversion is exact and independent of locale and time zone.
 * Parsers take the whole span or refuse it.
 */
#pragma once

#include "storage/base/buffer.h"
#include "storage/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Well-formed UTF-8 (no surrogates, no overlong forms); offset of the first bad byte if not. */
bool text_is_utf8(struct span text, size_t *bad_offset_out);

/* Bytes of the well-formed sequence `text` starts with (1 to 4); 0 when there is none. */
size_t text_utf8_sequence(struct span text);

/* Code points of well-formed UTF-8. */
size_t text_code_points(struct span utf8);

/* -?[0-9]+ within int64; no plus sign, no spaces. */
bool text_parse_int64(struct span text, int64_t *value_out);

/* JSON number grammar, correctly rounded; false for malformed or overflow to infinity. */
bool text_parse_double(struct span text, double *value_out);

enum { TEXT_DOUBLE_BYTES = 32, TEXT_DECIMAL_BYTES = 44, TEXT_TIMESTAMP_BYTES = 36 };

/* Shortest text that reads back as the same double, JSON grammar; returns its length. */
size_t text_format_double(double value, char text_out[TEXT_DOUBLE_BYTES]);
size_t text_format_int64(int64_t value, char text_out[TEXT_DOUBLE_BYTES]);
/* The same, appended: what formats would do, without their cost. */
void text_append_int64(int64_t value, struct buffer *out);

/*
 * Decimals are unscaled 128-bit integers with the column's scale.
 * Parsing accepts JSON number grammar (exponents too) and refuses digits that
 * the scale would lose or more than `precision` digits.
 */
bool text_parse_decimal(struct span text, int precision, int scale, __int128 *unscaled_out);
size_t text_format_decimal(__int128 unscaled, int scale, char text_out[TEXT_DECIMAL_BYTES]);

/*
 * Days since 1970-01-01, proleptic Gregorian, years 0001–9999; "YYYY-MM-DD" only.
 * Formatting takes any value; a year outside that range is printed with its sign.
 */
bool text_parse_date(struct span text, int32_t *days_out);
size_t text_format_date(int32_t days, char text_out[TEXT_TIMESTAMP_BYTES]);
int32_t text_days_of(int year, int month, int day);

/* A date of the proleptic Gregorian calendar, and the date of a day since 1970-01-01. */
struct text_civil {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};
struct text_civil text_civil_of(int32_t days);

/*
 * RFC 3339 with 'T' or space, zone required ('Z' or ±hh:mm), up to six fraction
 * digits (further ones must be zero); microseconds since the epoch, UTC.
 */
bool text_parse_timestamp(struct span text, int64_t *us_out);
/* As above without zone (timestamp_ntz). */
bool text_parse_timestamp_ntz(struct span text, int64_t *us_out);
/* "YYYY-MM-DDThh:mm:ss.ffffffZ", six digits always; ntz without the Z. */
size_t text_format_timestamp(int64_t us, char text_out[TEXT_TIMESTAMP_BYTES]);
size_t text_format_timestamp_ntz(int64_t us, char text_out[TEXT_TIMESTAMP_BYTES]);

/*
 * RFC 4648; decoders refuse foreign characters, bad padding and stray bits in the
 * last character. A decoder that returns false leaves `bytes` as it was; one that
 * would pass the ceiling of `bytes` marks it as overflowed, as every append does.
 */
void text_base64_encode(struct span bytes, struct buffer *text);
bool text_base64_decode(struct span text, struct buffer *bytes);
/* Unpadded URL-safe alphabet, for page tokens. */
void text_base64url_encode(struct span bytes, struct buffer *text);
bool text_base64url_decode(struct span text, struct buffer *bytes);
void text_hex_encode(struct span bytes, struct buffer *text);
bool text_hex_decode(struct span text, struct buffer *bytes);

/* Percent-encode everything outside A–Z a–z 0–9 - . _ ~ and the characters of `keep`. */
void text_percent_encode(struct span bytes, const char *keep, struct buffer *text);
/* False for a broken escape or a NUL, encoded or not. */
bool text_percent_decode(struct span text, bool plus_is_space, struct buffer *bytes);
