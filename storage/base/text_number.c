/*
 * Integers, doubles and decimals as text. See text.h for the contract.
 *
 * All three read the JSON number grammar (RFC 8259 6); a double goes through
 * the C library only where exact arithmetic on doubles does not suffice.
 */
#include "storage/base/text.h"

#include "storage/base/mem.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    INT64_DIGITS_MAX = 19,   /* digits that always fit uint64_t */
    EXACT_POWER_MAX = 22,    /* 10^22 is the largest power of ten a double holds exactly */
    DECIMAL_DIGITS_MAX = 38, /* digits of a 128-bit decimal */
    EXPONENT_MAX = 1000000,  /* larger ones saturate; no double and no decimal gets there */
    DOUBLE_TEXT_STACK = 128, /* longer number texts are copied to the heap for strtod */
    SHORT_FRACTION_MAX = 6,  /* fraction digits tried without the C library */
};

static const uint64_t exact_integer_max = 1ULL << 53; /* below it every integer is a double */

static const double powers_of_ten[EXACT_POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

static bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

bool text_parse_int64(struct span text, int64_t *value_out)
{
    if (text.size == 0) {
        return false;
    }
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    bool negative = *at == '-';
    at += negative;
    if (at == end) {
        return false;
    }
    uint64_t value = 0;
    const uint8_t *safe_end = end - at > INT64_DIGITS_MAX - 1 ? at + INT64_DIGITS_MAX - 1 : end;
    for (; at < safe_end; at++) {
        if (!is_digit(*at)) {
            return false;
        }
        value = value * 10 + (uint64_t)(*at - '0');
    }
    for (; at < end; at++) {
        if (!is_digit(*at) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return false;
        }
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *value_out = (int64_t)(negative ? 0 - value : value);
    return true;
}

/* A number's text cut into its parts; integer and fraction point into the text. */
struct number {
    struct span integer;  /* digits, without a leading zero unless it is the only one */
    struct span fraction; /* digits, may be empty */
    uint64_t digits;      /* of both as one integer; wrapped when over INT64_DIGITS_MAX */
    int exponent;         /* saturated at ±EXPONENT_MAX */
    bool negative;
};

/* The run of digits at *at, appended to *value too. */
static struct span take_digits(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    const uint8_t *start = *at;
    const uint8_t *p = start;
    uint64_t digits = *value;
    for (; p < end && is_digit(*p); p++) {
        digits = digits * 10 + (uint64_t)(*p - '0');
    }
    *value = digits;
    *at = p;
    return span_of(start, (size_t)(p - start));
}

static int exponent_of(struct span digits, bool negative)
{
    int exponent = 0;
    for (size_t i = 0; i < digits.size; i++) {
        exponent = exponent * 10 + (digits.data[i] - '0');
        exponent = exponent > EXPONENT_MAX ? EXPONENT_MAX : exponent;
    }
    return negative ? -exponent : exponent;
}

/* spec: RFC 8259 6 — number = [ minus ] int [ frac ] [ exp ] */
static bool split_number(struct span text, struct number *number_out)
{
    if (text.size == 0) {
        return false;
    }
    struct number number = {0};
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    number.negative = *at == '-';
    at += number.negative;
    number.integer = take_digits(&at, end, &number.digits);
    if (number.integer.size == 0 || (number.integer.size > 1 && number.integer.data[0] == '0')) {
        return false;
    }
    if (at < end && *at == '.') {
        at++;
        number.fraction = take_digits(&at, end, &number.digits);
        if (number.fraction.size == 0) {
            return false;
        }
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        bool negative = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        uint64_t ignored = 0; /* an exponent saturates instead */
        struct span digits = take_digits(&at, end, &ignored);
        if (digits.size == 0) {
            return false;
        }
        number.exponent = exponent_of(digits, negative);
    }
    *number_out = number;
    return at == end;
}

/*
 * Clinger's fast path: an integer below 2^53 times or over an exact power of ten
 * is one correctly rounded operation. False when the number is not of that kind.
 */
static bool exact_double(const struct number *number, double *value_out)
{
    if (number->fraction.size > INT64_DIGITS_MAX ||
        number->integer.size > INT64_DIGITS_MAX - number->fraction.size) {
        return false;
    }
    uint64_t digits = number->digits;
    int power = number->exponent - (int)number->fraction.size;
    if (digits > exact_integer_max || power < -EXACT_POWER_MAX || power > EXACT_POWER_MAX) {
        return false;
    }
    double value =
        power < 0 ? (double)digits / powers_of_ten[-power] : (double)digits * powers_of_ten[power];
    *value_out = number->negative ? -value : value;
    return true;
}

static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(c_locale != (locale_t)0);
}

/* The C library's reading in the C locale: correctly rounded for any length. */
static double library_double(struct span text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_c_locale); /* cannot fail */

    char stack[DOUBLE_TEXT_STACK];
    CLEANUP(mem_cleanup) char *heap = NULL;
    char *copy = stack;
    if (text.size >= sizeof stack) {
        heap = mem_alloc(text.size + 1);
        copy = heap;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return strtod_l(copy, NULL, c_locale);
}

bool text_parse_double(struct span text, double *value_out)
{
    struct number number;
    if (!split_number(text, &number)) {
        return false;
    }
    double value = 0;
    if (!exact_double(&number, &value)) {
        value = library_double(text);
        if (isinf(value)) {
            return false;
        }
    }
    *value_out = value;
    return true;
}

/* Decimal digits of `value`, right-aligned before `end`; returns where they start. */
static char *digits_before(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

/* Copy with a terminating NUL; returns the length. */
static size_t put_text(char *out, const char *start, const char *end)
{
    size_t size = (size_t)(end - start);
    memcpy(out, start, size);
    out[size] = '\0';
    return size;
}

size_t text_format_int64(int64_t value, char text_out[TEXT_DOUBLE_BYTES])
{
    char digits[TEXT_DOUBLE_BYTES];
    char *end = digits + sizeof digits;
    char *start = digits_before(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0) {
        *--start = '-';
    }
    return put_text(text_out, start, end);
}

void text_append_int64(int64_t value, struct buffer *out)
{
    char digits[TEXT_DOUBLE_BYTES];
    buffer_append(out, digits, text_format_int64(value, digits));
}

/* `digits` with a point before the last `scale` ones, zeros filled in where none are left. */
static char *point_before(char *end, uint64_t digits, int scale)
{
    for (int i = 0; i < scale; i++) {
        *--end = (char)('0' + digits % 10);
        digits /= 10;
    }
    if (scale > 0) {
        *--end = '.';
    }
    return digits_before(end, digits);
}

/*
 * Numbers people write have few fraction digits. The smallest scale at which
 * integer / 10^scale gives the value back is their shortest text, because that
 * division is exactly what a reader of the text computes. Returns 0 for others.
 */
static size_t format_short_double(double value, char *text_out)
{
    double magnitude = fabs(value);
    if (magnitude >= 1e15 || (magnitude < 1e-6 && magnitude != 0)) {
        return 0;
    }
    for (int scale = 0; scale <= SHORT_FRACTION_MAX; scale++) {
        double scaled = magnitude * powers_of_ten[scale];
        if (scaled >= (double)exact_integer_max) {
            return 0;
        }
        uint64_t digits = (uint64_t)(scaled + 0.5);
        if ((double)digits / powers_of_ten[scale] == magnitude) {
            char text[TEXT_DOUBLE_BYTES];
            char *end = text + sizeof text;
            char *start = point_before(end, digits, scale);
            if (signbit(value)) {
                *--start = '-';
            }
            return put_text(text_out, start, end);
        }
    }
    return 0;
}

/* "1e+05" to "1e5": the sign and the zeros of an exponent that say nothing. */
static size_t trim_exponent(char *text)
{
    char *exponent = strchr(text, 'e');
    if (exponent == NULL) {
        return strlen(text);
    }
    char *out = exponent + 1;
    const char *in = out;
    if (*in == '-') {
        out++;
        in++;
    } else if (*in == '+') {
        in++;
    }
    while (*in == '0') {
        in++;
    }
    size_t size = strlen(in);
    memmove(out, in, size + 1);
    return (size_t)(out - text) + size;
}

size_t text_format_double(double value, char text_out[TEXT_DOUBLE_BYTES])
{
    assert(isfinite(value));
    size_t size = format_short_double(value, text_out);
    if (size > 0) {
        return size;
    }
    for (int precision = 15; precision <= 17; precision++) {
        int length = snprintf(text_out, TEXT_DOUBLE_BYTES, "%.*g", precision, value);
        assert(length > 0 && length < TEXT_DOUBLE_BYTES);
        double back = 0;
        if (text_parse_double(span_of(text_out, (size_t)length), &back) && back == value) {
            break;
        }
    }
    return trim_exponent(text_out);
}

/*
 * The digits of a decimal without the zeros at both ends, so that what is left
 * decides precision and scale alone.
 */
struct significand {
    unsigned __int128 value;
    int digits; /* of value */
    int zeros;  /* trailing zeros left out */
};

/* False when more digits are significant than any decimal holds. */
static bool add_digits(struct significand *sum, struct span digits)
{
    for (size_t i = 0; i < digits.size; i++) {
        unsigned digit = (unsigned)(digits.data[i] - '0');
        if (digit == 0) {
            /* zeros before the first digit count for nothing */
            sum->zeros += sum->digits > 0 && sum->zeros < EXPONENT_MAX;
            continue;
        }
        if (sum->zeros + 1 > DECIMAL_DIGITS_MAX - sum->digits) {
            return false;
        }
        for (int z = 0; z < sum->zeros; z++) {
            sum->value *= 10;
        }
        sum->value = sum->value * 10 + digit;
        sum->digits += sum->zeros + 1;
        sum->zeros = 0;
    }
    return true;
}

bool text_parse_decimal(struct span text, int precision, int scale, __int128 *unscaled_out)
{
    assert(precision >= 1 && precision <= DECIMAL_DIGITS_MAX);
    assert(scale >= 0 && scale <= precision);
    struct number number;
    struct significand sum = {0};
    if (!split_number(text, &number) || number.fraction.size > EXPONENT_MAX ||
        !add_digits(&sum, number.integer) || !add_digits(&sum, number.fraction)) {
        return false;
    }
    if (sum.digits == 0) {
        *unscaled_out = 0;
        return true;
    }
    int shift = sum.zeros + number.exponent - (int)number.fraction.size + scale;
    if (shift < 0 || shift > precision - sum.digits) {
        return false;
    }
    for (int i = 0; i < shift; i++) {
        sum.value *= 10;
    }
    *unscaled_out = number.negative ? -(__int128)sum.value : (__int128)sum.value;
    return true;
}

size_t text_format_decimal(__int128 unscaled, int scale, char text_out[TEXT_DECIMAL_BYTES])
{
    assert(scale >= 0 && scale <= DECIMAL_DIGITS_MAX);
    char text[TEXT_DECIMAL_BYTES];
    char *end = text + sizeof text;
    char *start = end;
    unsigned __int128 rest =
        unscaled < 0 ? 0 - (unsigned __int128)unscaled : (unsigned __int128)unscaled;
    for (int i = 0; rest > 0 || i <= scale; i++) {
        if (i == scale && scale > 0) {
            *--start = '.';
        }
        *--start = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    if (unscaled < 0) {
        *--start = '-';
    }
    return put_text(text_out, start, end);
}
